//! Debian packages that the commands need.

use std::{process::Command, sync::Once};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Installs the packages that are missing, after saying so.
pub fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("{purpose} needs packages that are not installed: {}", missing.join(" "));
    process::need_root("installing them with apt-get")?;
    update()?;
    process::run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("cannot install what {purpose} needs"))
}

/// Whether all of the packages are here.
pub fn are_installed(packages: &[&str]) -> bool {
    packages.iter().copied().all(is_installed)
}

fn is_installed(package: &str) -> bool {
    process::output(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

/// The package lists, once per run.
fn update() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| result = process::run(apt_get().arg("update")));
    result.context("cannot fetch the package lists: is this Debian, with a network?")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "Dpkg::Use-Pty=0", "-qq"]);
    command
}

/// Address of the Debian archive that this machine installs from.
pub fn archive() -> Result<String> {
    let targets = || {
        process::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
            "Origin: Debian",
            "Label: Debian",
        ]))
    };
    let mut found = targets()?;
    if found.is_empty() {
        // What apt knows of its sources it has from their lists.
        update()?;
        found = targets()?;
    }
    match found.lines().next() {
        Some(address) => Ok(address.trim_end_matches('/').to_owned()),
        None => bail!("no Debian archive is configured in /etc/apt: the tests need one"),
    }
}
