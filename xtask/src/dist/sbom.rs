//! The list of what is linked in (CycloneDX), with versions, licences and checksums.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use super::Dist;
use crate::{process, tool::install, workspace};

/// The release of cargo-cyclonedx.
const VERSION: &str = "0.5.9";

/// Writes it.
pub fn write(dist: &Dist) -> Result<()> {
    install("cargo-cyclonedx", VERSION, &["--debug"])?;
    // It writes beside each Cargo.toml, and names the directory: so not in this tree.
    let copy = std::env::temp_dir().join("sigready-sbom");
    if copy.exists() {
        fs::remove_dir_all(&copy).context("cannot remove the copy made before")?;
    }
    process::run(
        Command::new("git")
            .current_dir(workspace::root())
            .args(["clone", "--quiet", "--no-hardlinks", "."])
            .arg(&copy),
    )?;
    process::run(
        dist.cargo()
            .current_dir(&copy)
            .args(["cyclonedx", "--format", "json", "--target", super::TARGETS[0]])
            .args(["--no-build-deps", "--manifest-path"])
            .arg(copy.join("tracer/Cargo.toml")),
    )?;
    let name = format!("sigready-{}.cdx.json", dist.version);
    fs::copy(copy.join("tracer/sigready.cdx.json"), dist.results.join(name))
        .context("cargo-cyclonedx wrote no list")?;
    fs::remove_dir_all(&copy).context("cannot remove the copy")
}
