//! `cargo xtask test`: every test, and what they need.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::{apt, process, root, workspace};

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// Run only tests whose name contains this.
    pub filter: Option<String>,
}

/// Packages on the machine that runs the tests.
const PACKAGES: [&str; 9] = [
    "bpftool",
    "gcc",
    "jq",
    "libc6-dev",
    "procps",
    "python3",
    "strace",
    "systemd-container",
    "util-linux",
];

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    let begun = Instant::now();
    let mut left_out = Vec::new();
    plain_tests(options)?;
    if process::is_root() {
        privileged_tests(options)?;
    } else {
        left_out.push("the tests on real kernels and under real systemd: they need root");
    }
    eprintln!("\nAll tests that ran passed, in {} s.", begun.elapsed().as_secs());
    for what in &left_out {
        eprintln!("LEFT OUT: {what}");
    }
    if process::is_ci() && !left_out.is_empty() {
        bail!("tests were left out, which must not happen where CI=true");
    }
    Ok(())
}

/// Tests that need nothing but the compiler.
fn plain_tests(options: &Options) -> Result<()> {
    eprintln!("== tests without privileges");
    process::run(
        workspace::cargo()
            .args(["test", "--locked", "--no-fail-fast", "--workspace", "--exclude", "tracer-ebpf"])
            .args(options.filter.as_deref()),
    )
}

/// Tests that attach to the kernel, run daemons and boot systemd.
fn privileged_tests(options: &Options) -> Result<()> {
    eprintln!("== tests on this kernel and under real systemd");
    apt::install(&PACKAGES, "testing on this kernel")?;
    let root = root::prepare()?;
    process::run(
        workspace::cargo()
            .args(["test", "--locked", "--no-fail-fast", "--package", "sigready", "--"])
            // Each attaches its own programs: more at a time would only wait for each other.
            .args(["--ignored", "--test-threads=2"])
            .args(options.filter.as_deref())
            .env("SIGREADY_ROOT", root),
    )?;
    nothing_left_attached()
}

/// The last word of the tests: no program of ours is still in the kernel.
fn nothing_left_attached() -> Result<()> {
    let programs = process::output(Command::new("bpftool").args(["prog", "list"]))?;
    let ours: Vec<&str> =
        programs.lines().filter(|line| line.contains("name signal_generate")).collect();
    if !ours.is_empty() {
        bail!("programs were left in the kernel:\n{}", ours.join("\n"));
    }
    Ok(())
}
