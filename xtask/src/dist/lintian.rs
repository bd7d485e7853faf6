//! What Debian's own checker says of the packages.

use std::{fs, process::Command};

use anyhow::Result;

use super::Dist;
use crate::{apt, process};

/// Fails if it finds an error.
pub fn check(dist: &Dist) -> Result<()> {
    apt::install(&["lintian"], "checking the Debian packages")?;
    for entry in fs::read_dir(&dist.results)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            process::run(
                Command::new("lintian")
                    .args(["--allow-root", "--fail-on", "error", "--tag-display-limit", "0"])
                    .arg(file),
            )?;
        }
    }
    Ok(())
}
