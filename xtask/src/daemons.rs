//! `cargo xtask daemons`: what Debian's daemons do when they are reloaded during their start,
//! as a table in docs/daemons.md.

use anyhow::Result;
use clap::Args;

use crate::{process, test};

/// Options of the command.
#[derive(Args)]
pub struct Options {}

/// Runs the command: the test that holds the table, told to write it.
pub fn run(_: &Options) -> Result<()> {
    process::need_root("tracing daemons in a container")?;
    process::run(
        test::privileged(&["--test", "all"])?
            .args(["--ignored", "debian::"])
            .env("SIGREADY_UPDATE", "1"),
    )
}
