//! Man pages, completions and the Debian changelog, which go into every package.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use super::Dist;
use crate::process;

/// Writes them.
pub fn write(dist: &Dist) -> Result<()> {
    let pages = dist.pages();
    if pages.exists() {
        fs::remove_dir_all(&pages).context("cannot remove the pages made before")?;
    }
    process::run(
        dist.cargo()
            .args(["run", "--quiet", "--locked", "--package", "sigready", "--example", "pages"])
            .arg("--")
            .arg(&pages),
    )?;
    let date = process::output(
        Command::new("date")
            .env("LC_ALL", "C")
            .args(["--utc", "-R", "-d"])
            .arg(format!("@{}", dist.time)),
    )?;
    let changelog = format!(
        "sigready ({}-1) unstable; urgency=medium\n\n  * See /usr/share/doc/sigready/CHANGELOG.md.\n\n \
         -- The sigready developers <sigready@example.org>  {date}\n",
        dist.version
    );
    fs::write(pages.join("changelog"), changelog).context("cannot write the changelog")
}
