//! How long a race takes, and how many starts; beside it, as many starts as strace would need to
//! inject a signal at each system call.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Row, spread::Spread};
use crate::demo;

/// How often one interval is raced, to find what a run takes.
const REPEATED: u32 = 20;
/// The interval: the signal ends the service a moment after its exec, so that all else of the run is
/// the race's.
const INTERVAL: &str = "HUP@exec1";

/// Races the demo's service.
pub fn measure(sigready: &Path, directory: &Path, rounds: usize) -> Result<Vec<Row>> {
    let service = demo::service();
    let file = directory.join("race.json");
    let (mut whole, mut starts, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let all = race(sigready, &service, &file, &[])?;
        whole.push(number(&all, "/duration_ns")?);
        starts.push(number(&all, "/runs")?);
        let repeated = |times: u32| {
            let options = ["--only", INTERVAL, "--repeat", &times.to_string()];
            race(sigready, &service, &file, &options)
        };
        let (once, often) = (repeated(1)?, repeated(1 + REPEATED)?);
        // The untouched run lasts as long as the service takes to its READY=1, which varies.
        let without = |race: &Value| -> Result<f64> {
            let ready = number(race, "/untouched/ready_ns")? - number(race, "/untouched/from_ns")?;
            Ok(number(race, "/duration_ns")? - ready)
        };
        more.push((without(&often)? - without(&once)?) / f64::from(REPEATED));
    }
    let calls = calls(&service, &directory.join("calls.txt"))?;
    let row = |what: &str, with: &str, unit: &str, values: &[f64], beside: Option<&[f64]>| {
        Some(Row {
            what: what.to_owned(),
            with: with.to_owned(),
            unit: unit.to_owned(),
            value: Spread::of(values)?,
            beside: beside.map(|_| "sigready race".to_owned()),
            ratio: beside.and_then(|beside| Spread::of_ratios(values, beside)),
        })
    };
    let strace = vec![calls; starts.len()];
    let rows = [
        row("the demo's service raced with HUP", "sigready race", "ns", &whole, None),
        row("a run that the signal ends at the exec", "sigready race", "ns", &more, None),
        row("starts that takes", "sigready race", "starts", &starts, None),
        row(
            "starts that takes",
            "strace --inject, each call once",
            "starts",
            &strace,
            Some(&starts),
        ),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// The result of a race.
fn race(sigready: &Path, service: &Path, file: &Path, options: &[&str]) -> Result<Value> {
    let status = Command::new(sigready)
        .args(["race", "--quiet", "--settle", "200ms"])
        .args(options)
        .args(["--format", "json", "--output"])
        .arg(file)
        .args(["--", demo::PYTHON])
        .arg(service)
        .arg("--stay")
        .stdin(Stdio::null())
        .status()
        .context("cannot run sigready")?;
    if status.code() != Some(0) {
        bail!("a race of the demo's service ended with {status}");
    }
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).context("the result of a race is malformed")
}

fn number(race: &Value, pointer: &str) -> Result<f64> {
    let found = race.pointer(pointer).and_then(Value::as_f64);
    found.with_context(|| format!("the result of a race has no {pointer}"))
}

/// The system calls of the same start until READY=1, by strace, which writes one to a line.
#[allow(clippy::cast_precision_loss, reason = "some thousands")]
fn calls(service: &Path, file: &Path) -> Result<f64> {
    let socket = file.with_extension("socket");
    let _ = fs::remove_file(&socket);
    let listening = std::os::unix::net::UnixDatagram::bind(&socket)
        .context("cannot make a notify socket for strace's turn")?;
    let mut strace = Command::new("strace")
        .args(["--follow-forks", "--quiet=all", "--output"])
        .arg(file)
        .arg(demo::PYTHON)
        .arg(service)
        .env("NOTIFY_SOCKET", &socket)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run strace")?;
    let heard = listening.recv(&mut [0; 256]);
    // The service ends by itself.
    let status = strace.wait()?;
    heard.context("the service did not say READY=1 under strace")?;
    fs::remove_file(&socket)?;
    if !status.success() {
        bail!("strace failed: {status}");
    }
    let text = fs::read_to_string(file)?;
    let begun = text.lines().take_while(|line| !line.contains("READY=1"));
    Ok(begun.filter(|line| line.contains('(')).count() as f64)
}
