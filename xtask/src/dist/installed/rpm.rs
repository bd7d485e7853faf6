//! The RPM in a root that has nothing else.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{super::packages, Pair};
use crate::{
    apt,
    dist::{self, Dist},
    process,
};

/// Installs what is needed for it.
pub fn prepare() -> Result<()> {
    apt::install(&["rpm", "qemu-user-static"], "installing the RPMs")
}

/// Installs, upgrades, uses and removes it.
pub fn check(dist: &Dist, processor: &str, rpms: &Pair) -> Result<()> {
    let root = dist.build.join("rpm-root");
    dist::renew(&root)?;
    let rpm = |arguments: &[&str]| {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(&root).args(["--dbpath", "/var/lib/rpm"]).args(arguments);
        command
    };
    process::run(&mut rpm(&["--initdb"]))?;
    let needed = process::output(rpm(&["--query", "--requires", "--package"]).arg(&rpms.now))?;
    // Everything has a shell but this root.
    let mut needed = needed.lines();
    if let Some(more) = needed.find(|it| *it != "/bin/sh" && !it.starts_with("rpmlib(")) {
        bail!("{} needs {more}: the program is to need no library", rpms.now.display());
    }
    let before = files(&root)?;
    for (package, version) in [(&rpms.before, packages::LOWER), (&rpms.now, &dist.version)] {
        process::run(rpm(&["--upgrade", "--ignorearch", "--nodeps", "--verbose"]).arg(package))?;
        let installed = process::output(&mut rpm(&["--query", "sigready"]))?;
        if installed != format!("sigready-{version}-1.{processor}") {
            bail!("after {} rpm has {installed}", package.display());
        }
    }
    process::run(&mut rpm(&["--verify", "--nodeps", "sigready"]))?;
    let program = root.join("usr/bin/sigready");
    let said = if processor == env::consts::ARCH {
        process::output(Command::new(&program).arg("--version"))?
    } else {
        let emulator = format!("qemu-{processor}-static");
        process::output(Command::new(emulator).arg(&program).arg("--version"))?
    };
    if said != format!("sigready {}", dist.version) {
        bail!("{} says '{said}'", program.display());
    }
    process::run(&mut rpm(&["--erase", "sigready"]))?;
    // Directories that the package does not own stay, as everywhere.
    let left: Vec<PathBuf> = files(&root)?.difference(&before).cloned().collect();
    if !left.is_empty() {
        bail!("the RPM for {processor} leaves behind {left:?}");
    }
    eprintln!("RPM for {processor}: installed, upgraded, used and removed without a trace");
    Ok(())
}

/// The files below a root, but rpm's own.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let found = process::output(Command::new("find").arg(root).args([
        "-path",
        "*/var/lib/rpm",
        "-prune",
        "-o",
        "!",
        "-type",
        "d",
        "-print",
    ]))
    .context("cannot look at what rpm has installed")?;
    Ok(found.lines().map(PathBuf::from).collect())
}
