//! `cargo xtask race-daemons`: what a signal does at each instant of the start of Debian's daemons, as
//! tables in docs/race-daemons.md.

use anyhow::Result;
use clap::Args;

use crate::{process, test};

/// Options of the command.
#[derive(Args)]
pub struct Options {}

/// Runs the command: the tests that hold the tables, told to write them.
pub fn run(_: &Options) -> Result<()> {
    process::need_root("racing daemons in a container")?;
    process::run(
        test::privileged(&["--test", "all"])?
            .args(["--ignored", "--test-threads=1", "race::daemons::"])
            .env("SIGREADY_UPDATE", "1"),
    )
}
