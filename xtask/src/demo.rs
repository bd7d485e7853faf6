//! `cargo xtask demo`: the main job on a service that starts as Patroni did.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{apt, process, workspace};

/// Options of the command.
#[derive(Args)]
pub struct Options {}

/// Runs the command.
pub fn run(_: &Options) -> Result<()> {
    process::need_root("tracing with eBPF")?;
    apt::install(&["python3"], "the demo")?;
    process::run(workspace::cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "sigready",
    ]))?;
    let sigready = workspace::target().join("release/sigready");
    let service = workspace::root().join("xtask/demo/slow_start.py");

    println!(
        "\nA service that takes its time to import modules, then installs its SIGHUP handler,\n\
         then says READY=1. First, the reload comes 50 ms after its exec: too early.\n"
    );
    let early = traced(&sigready, &service, "HUP@50ms")?;
    println!("\nThe same service, reloaded once it has said READY=1.\n");
    let in_time = traced(&sigready, &service, "HUP@ready")?;

    if early != Some(3) {
        bail!("the early reload was to raise an alert (exit status 3), but gave {early:?}");
    }
    if in_time != Some(0) {
        bail!("the reload in time was to raise no alert (exit status 0), but gave {in_time:?}");
    }
    println!("\nThe first report shows what thousands of services would do; the second, the mend.");
    Ok(())
}

/// Runs the service under `sigready run`, its report on our stdout.
fn traced(sigready: &Path, service: &PathBuf, send: &str) -> Result<Option<i32>> {
    let status = Command::new(sigready)
        .args(["run", "--until", "exit", "--timeout", "30s", "--output", "/dev/stdout"])
        .args(["--send", send, "--", "/usr/bin/python3"])
        .arg(service)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", sigready.display()))?;
    Ok(status.code())
}
