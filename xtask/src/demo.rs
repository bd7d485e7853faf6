//! `cargo xtask demo`: the main job on a service that starts as Patroni did.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{apt, process, workspace};

/// Options of the command.
#[derive(Args)]
pub struct Options {}

/// The interpreter. Not the first in PATH, which may be a version manager's script.
const PYTHON: &str = "/usr/bin/python3";

/// What a traced run is to come to.
struct Expected {
    /// Exit status of sigready.
    status: i32,
    /// The alerts of the start, by id.
    alerts: &'static [&'static str],
    /// What became of the reload signal.
    fate: &'static str,
}

/// Runs the command.
pub fn run(_: &Options) -> Result<()> {
    process::need_root("tracing with eBPF")?;
    apt::install(&["python3"], "the demo")?;
    let sigready = workspace::sigready()?;

    println!(
        "\nA service imports its modules, then installs its SIGHUP handler, then says READY=1.\n\
         First, the reload comes 50 ms after its exec: too early.\n"
    );
    show(
        &sigready,
        "early",
        "HUP@50ms",
        &Expected { status: 3, alerts: &["reload-before-handler"], fate: "killed" },
    )?;
    println!("\nNow the same service is reloaded once it has said READY=1: in time.\n");
    show(&sigready, "in-time", "HUP@ready", &Expected { status: 0, alerts: &[], fate: "handled" })?;
    println!("\nBoth runs came out as they were to: killed when too early, handled in time.");
    Ok(())
}

/// Traces the service, prints the report, and holds it against what was expected.
fn show(sigready: &Path, name: &str, send: &str, expected: &Expected) -> Result<()> {
    let directory = workspace::target().join("demo");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let capture = directory.join(format!("{name}.json"));
    let status = traced(sigready, &capture, send)?;
    // Printed from the capture, so that it fits where this command's output goes.
    process::run(Command::new(sigready).args(["report", "--fail-on", "never"]).arg(&capture))?;

    let text = fs::read_to_string(&capture)
        .with_context(|| format!("cannot read {}", capture.display()))?;
    let document: Value = serde_json::from_str(&text).context("the capture is malformed")?;
    let start = &document["services"][0]["activations"][0];
    let alerts = strings(&start["alerts"], "id");
    let fates = strings(&start["events"], "fate");
    if status != Some(expected.status) || alerts != expected.alerts || fates != [expected.fate] {
        bail!(
            "the run with --send {send} was to exit with {}, alerts {:?}, the signal {}; it \
             exited with {status:?}, alerts {alerts:?}, signals {fates:?}",
            expected.status,
            expected.alerts,
            expected.fate
        );
    }
    Ok(())
}

/// Runs the service under `sigready run`; gives the exit status.
fn traced(sigready: &Path, capture: &PathBuf, send: &str) -> Result<Option<i32>> {
    let status = Command::new(sigready)
        .args(["run", "--quiet", "--until", "exit", "--timeout", "30s", "--send", send])
        .args(["--format", "json", "--output"])
        .arg(capture)
        .args(["--", PYTHON])
        .arg(workspace::root().join("xtask/demo/slow_start.py"))
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", sigready.display()))?;
    Ok(status.code())
}

/// The string `member` of each element of `list` that has one.
fn strings<'a>(list: &'a Value, member: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|element| element[member].as_str()).collect()
}
