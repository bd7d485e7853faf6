//! What the reader of the kernel side's records takes for an event, from the ring to its place in
//! the timeline. It is stopped while signals are sent, and the time of its processor is read as it
//! takes in what waits: so nothing is in it but that.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpid},
};
use serde_json::Value;

use super::{
    Row, load,
    spread::Spread,
    tracer::{Tracer, Whom},
};
use crate::process;

/// Signals of a round. The ring has room for them.
const SIGNALS: u32 = 40_000;
/// KiB of the ring.
const BUFFER: &str = "65536";
/// It has taken in all when it does nothing for so long.
const IDLE: Duration = Duration::from_millis(300);
/// ns that it may take meanwhile and do nothing.
const NOTHING: u64 = 2_000_000;
/// The longest it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Signals to this process from itself, and from another that sends all of them.
pub fn measure(sigready: &Path, directory: &Path, rounds: usize) -> Result<Vec<Row>> {
    load::handle_signals()?;
    let to_self = || {
        for _ in 0..SIGNALS {
            kill(getpid(), Signal::SIGUSR1)?;
        }
        Ok(())
    };
    let from_another = || {
        let script = format!(
            "i=0; while [ $i -lt {SIGNALS} ]; do kill -USR1 {}; i=$((i+1)); done",
            std::process::id()
        );
        process::run(Command::new("sh").args(["-c", &script]))
    };
    let mut rows = Vec::new();
    for (what, send) in [
        ("an event of signals to oneself, taken in", &to_self as &dyn Fn() -> Result<()>),
        ("an event of signals from another, taken in", &from_another),
    ] {
        let mut times = Vec::new();
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}");
            times.push(time(sigready, directory, send)?);
        }
        rows.extend(Spread::of(&times).map(|value| Row {
            what: what.to_owned(),
            with: "sigready, one processor".to_owned(),
            unit: "ns".to_owned(),
            value,
            beside: None,
            ratio: None,
        }));
    }
    Ok(rows)
}

/// ns for an event.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn time(sigready: &Path, directory: &Path, send: &dyn Fn() -> Result<()>) -> Result<f64> {
    let file = directory.join("collector.json");
    let output = file.to_str().context("the target directory's path is not UTF-8")?;
    let tracer = Tracer::start(sigready, Whom::Bench, &["--output", output, "--buffer", BUFFER])?;
    let pid = Pid::from_raw(tracer.id().cast_signed());
    kill(pid, Signal::SIGSTOP)?;
    send()?;
    let before = used(tracer.id())?;
    kill(pid, Signal::SIGCONT)?;
    let begun = Instant::now();
    let mut last = before;
    loop {
        thread::sleep(IDLE);
        let now = used(tracer.id())?;
        if now - last < NOTHING {
            last = now;
            break;
        }
        last = now;
        if begun.elapsed() > PATIENCE {
            bail!("sigready has not taken in {SIGNALS} signals in {PATIENCE:?}");
        }
    }
    tracer.end()?;
    let report: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    let events = report["capture"]["events"].as_u64().context("the report counts no events")?;
    if report["capture"]["lost"] != 0 {
        bail!("the ring had no room for {SIGNALS} signals");
    }
    Ok((last - before) as f64 / events as f64)
}

/// The time that a process's threads have run, ns (Documentation/scheduler/sched-stats.rst).
fn used(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("sigready has ended")? {
        // A thread may have ended meanwhile.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        sum += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}
