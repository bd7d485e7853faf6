//! A Debian root of another architecture than the host's: systemd, and what the tests call.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::arch::Arch;
use crate::{apt, ebpf::hex, process, workspace};

/// The release of Debian: systemd 252, as in the machines of the host's architecture.
const SUITE: &str = "bookworm";
/// What makes it boot, and what those tests call that tell kernels and backends apart.
const PACKAGES: [&str; 21] = [
    "bpftool",
    "bsdutils",
    "busybox",
    "dbus",
    "gcc",
    // 32-bit programs are built with it. It needs no library.
    "gcc-arm-linux-gnueabihf",
    "iproute2",
    "jq",
    "kmod",
    "libc6-dev",
    "libcap2-bin",
    "mount",
    "procps",
    "python3",
    "python3-systemd",
    "strace",
    "systemd",
    "systemd-container",
    "systemd-sysv",
    "udev",
    "util-linux",
];

/// The root's path, built if it isn't there.
pub fn prepare(arch: Arch) -> Result<PathBuf> {
    // All of it is in this file.
    let hash = hex(&Sha256::digest(include_bytes!("foreign.rs"))[..4]);
    let root = workspace::target().join(format!("roots/{SUITE}-{}-{hash}", arch.debian()));
    if root.exists() {
        return Ok(root);
    }
    eprintln!("building a {SUITE} root for {}: some minutes, once", arch.debian());
    let unfinished = root.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).context("cannot remove an unfinished root")?;
    }
    build(arch, &unfinished)?;
    fs::rename(&unfinished, &root).context("cannot put the finished root in place")?;
    Ok(root)
}

fn build(arch: Arch, root: &Path) -> Result<()> {
    let emulator = format!("qemu-{}", arch.target().split('-').next().unwrap_or_default());
    process::run(Command::new("update-binfmts").args(["--enable", &emulator]))
        .context("programs of another architecture can't be run here, which package scripts are")?;
    process::run(
        Command::new("mmdebstrap")
            .args(["--mode=root", "--variant=minbase", "--architectures", arch.debian()])
            .args(["--include", &PACKAGES.join(","), SUITE])
            .arg(root)
            .arg(apt::archive()?),
    )?;
    // Tests start what they test; a boot is to start nothing else.
    for started in ["multi-user.target.wants", "timers.target.wants"] {
        let directory = root.join("etc/systemd/system").join(started);
        fs::remove_dir_all(&directory).ok();
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    Ok(())
}
