//! The Debian package and the RPM: tracer/Cargo.toml says what is in them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::Dist;
use crate::{process, tool::install};

/// The release of cargo-deb.
const DEB: &str = "3.8.0";
/// The release of cargo-generate-rpm.
const RPM: &str = "0.21.1";
/// A version that is lower than any that is released, to upgrade from.
pub const LOWER: &str = "0.0.1";

/// Makes both from the program that was built.
pub fn make(dist: &Dist, target: &str) -> Result<()> {
    install("cargo-deb", DEB, &["--debug"])?;
    install("cargo-generate-rpm", RPM, &["--debug"])?;
    process::run(deb(dist, target).arg(&dist.results))?;
    process::run(rpm(dist, target).arg(&dist.results))
}

/// Makes both once more, into `directory`, as the version before.
pub fn make_lower(dist: &Dist, target: &str, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    process::run(deb(dist, target).arg(directory).args(["--deb-version", &format!("{LOWER}-1")]))?;
    let version = format!("version = \"{LOWER}\"");
    process::run(rpm(dist, target).arg(directory).args(["--set-metadata", &version]))
}

/// The package in a directory with that beginning and that end, of which there is one.
pub fn find(directory: &Path, beginning: &str, end: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(beginning) && name.ends_with(end) {
            found.push(path);
        }
    }
    match <[_; 1]>::try_from(found) {
        Ok([package]) => Ok(package),
        Err(found) => bail!("{} packages {beginning}…{end}, and not one: {found:?}", found.len()),
    }
}

/// What makes the Debian package; the directory for it is missing.
fn deb(dist: &Dist, target: &str) -> Command {
    let mut command = dist.cargo();
    command.args(["deb", "--package", "sigready", "--locked", "--no-build", "--no-strip"]).args([
        "--profile",
        "dist",
        "--target",
        target,
        "--output",
    ]);
    command
}

/// What makes the RPM; the directory for it is missing.
fn rpm(dist: &Dist, target: &str) -> Command {
    let mut command = dist.cargo();
    command
        .args(["generate-rpm", "--package", "tracer", "--profile", "dist"])
        .args(["--target", target, "--auto-req", "disabled", "--source-date", &dist.time])
        .arg("--target-dir")
        .arg(&dist.build)
        .arg("--output");
    command
}
