//! `cargo xtask deny`: what is linked in has a licence that may be, comes from the registry, and is
//! there once. `deny.toml` says what may be, and why advisories are not looked up.

use anyhow::Result;
use clap::Args;

use crate::{process, tool::install, workspace};

/// The release of cargo-deny.
const VERSION: &str = "0.20.2";

/// Options of the command.
#[derive(Args)]
pub struct Options {}

/// Runs the command.
pub fn run(_: &Options) -> Result<()> {
    // Optimised, it takes more than twice as long to build, and is used for a second.
    install("cargo-deny", VERSION, &["--debug"])?;
    process::run(
        workspace::cargo().args(["deny", "--locked", "check", "licenses", "bans", "sources"]),
    )
}
