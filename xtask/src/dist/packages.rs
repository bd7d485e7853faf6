//! The Debian package and the RPM: tracer/Cargo.toml says what is in them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};

use super::{Dist, archive::FROM_TREE};
use crate::{process, tool::install, workspace};

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
    renew_times(dist, target)?;
    process::run(rpm(dist, target).arg(&dist.results))
}

/// In an RPM no file is newer than the commit, but one that was there before it keeps its time, as in
/// a tree that was checked out earlier. So all are made newer first.
fn renew_times(dist: &Dist, target: &str) -> Result<()> {
    let tree = FROM_TREE.map(|file| workspace::root().join(file));
    for path in tree.into_iter().chain([dist.program(target)]) {
        let file = File::options().append(true).open(&path);
        file.and_then(|file| file.set_modified(SystemTime::now()))
            .with_context(|| format!("cannot set the time of {}", path.display()))?;
    }
    Ok(())
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
