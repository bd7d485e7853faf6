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
pub struct Options {
    /// A program that is there already; without it, it is built first.
    #[arg(long)]
    pub sigready: Option<PathBuf>,
}

/// The interpreter. Not the first in PATH, which may be a version manager's script.
pub const PYTHON: &str = "/usr/bin/python3";

/// The service is quick: it has done all within half a second.
const QUICK: [&str; 4] = ["--quiet-time", "900ms", "--settle", "200ms"];

/// What a traced run is to come to.
struct Expected {
    /// Exit status of sigready.
    status: i32,
    /// The alerts of the start, by id.
    alerts: &'static [&'static str],
    /// What became of the reload signal.
    fate: &'static str,
}

/// What HUP does in an interval of the start, and whether that is bad and counts.
type Did = (&'static str, bool);

const KILLS: Did = ("killed", true);
const HELD_BACK: Did = ("killed", false);
const TAKEN: Did = ("taken", false);
/// The interval that begins with the handler.
const HANDLER: (&str, Did) = ("exec1.action1", TAKEN);

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    process::need_root("tracing with eBPF")?;
    apt::install(&["python3"], "the demo")?;
    let sigready = match &options.sigready {
        Some(program) => program.clone(),
        None => workspace::sigready()?,
    };

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

    println!(
        "\nAt which instants of its start does a reload kill it? First as it was, with \
         Type=simple: systemd sends reloads from the fork on.\n"
    );
    race(&sigready, "race-before", "simple", &[("fork", KILLS), ("exec1", KILLS), HANDLER])?;
    println!(
        "\nAnd as it was mended, with Type=notify: systemd holds reloads back until READY=1, \
         and the handler is there by then.\n"
    );
    race(
        &sigready,
        "race-after",
        "notify",
        &[("fork", HELD_BACK), ("exec1", HELD_BACK), HANDLER, ("exec1.ready1", TAKEN)],
    )?;
    println!("\nBefore its mend a reload killed it in half a second of its start; now in none.");
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

/// Races the service, prints the result, and holds it against what was expected of its intervals.
fn race(sigready: &Path, name: &str, kind: &str, expected: &[(&str, Did)]) -> Result<()> {
    let file = workspace::target().join("demo").join(format!("{name}.json"));
    let status = Command::new(sigready)
        .args(["race", "--quiet", "--type", kind])
        .args(QUICK)
        .args(["--format", "json", "--output"])
        .arg(&file)
        .args(["--", PYTHON])
        .arg(service())
        .arg("--stay")
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", sigready.display()))?;
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let race: Value = serde_json::from_str(&text).context("the result is malformed")?;
    let signal = &race["signals"][0];
    let intervals = signal["intervals"].as_array().context("the result has no intervals")?;
    let rest = &signal["rest"];
    for interval in intervals.iter().chain([rest]) {
        println!(
            "  {:20} {:10} {}",
            interval["id"].as_str().unwrap_or_default(),
            interval["outcome"].as_str().unwrap_or_default(),
            interval["tries"][0]["what"].as_str().unwrap_or_default(),
        );
    }
    println!("\n{}", signal["sentence"].as_str().unwrap_or_default());
    let found: Vec<(String, String, bool)> = intervals
        .iter()
        .map(|it| {
            let word = |member: &str| it[member].as_str().unwrap_or_default().to_owned();
            let counts = it["bad"] == true && it["counts"] == true;
            (word("id"), word("outcome"), counts)
        })
        .collect();
    let wanted: Vec<(String, String, bool)> = expected
        .iter()
        .map(|(id, (outcome, counts))| (format!("HUP@{id}"), (*outcome).to_owned(), *counts))
        .collect();
    if rest["outcome"] != "taken" {
        bail!("the race with --type {kind} was to find that HUP is taken at rest: {rest}");
    }
    let expected = if wanted.iter().any(|(_, _, counts)| *counts) { 3 } else { 0 };
    if found != wanted || status.code() != Some(expected) {
        bail!(
            "the race with --type {kind} was to exit with {expected} and find {wanted:?}; it \
             exited with {:?} and found {found:?}",
            status.code()
        );
    }
    Ok(())
}

/// The service's program.
pub fn service() -> PathBuf {
    workspace::root().join("xtask/demo/slow_start.py")
}

/// Runs the service under `sigready run`; gives the exit status.
fn traced(sigready: &Path, capture: &PathBuf, send: &str) -> Result<Option<i32>> {
    let status = Command::new(sigready)
        .args(["run", "--quiet", "--until", "exit", "--timeout", "30s", "--send", send])
        .args(["--format", "json", "--output"])
        .arg(capture)
        .args(["--", PYTHON])
        .arg(service())
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", sigready.display()))?;
    Ok(status.code())
}

/// The string `member` of each element of `list` that has one.
fn strings<'a>(list: &'a Value, member: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|element| element[member].as_str()).collect()
}
