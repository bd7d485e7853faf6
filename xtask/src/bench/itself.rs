//! How soon a tracer is live, how soon it is gone, and what it holds meanwhile.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};

use super::{
    DETACHED, Row,
    peer::{self, Running},
    spread::Spread,
    tracer::{Tracer, Whom},
};

/// How long a trace is quiet before its memory is looked at.
const QUIET: Duration = Duration::from_secs(2);
/// What is run: it tells when, in ns.
const COMMAND: [&str; 2] = ["/bin/date", "+%s%N"];

/// What the tracers are compared by.
const NAMES: [&str; 4] =
    ["sigready", "bpftrace with as many programs", "perf trace of signals", "strace -f"];

/// Measures them in turns.
pub fn measure(sigready: &Path, rounds: usize) -> Result<Vec<Row>> {
    let mut starts = vec![Vec::new(); NAMES.len()];
    let mut ends = starts.clone();
    let mut memory = vec![Vec::new(); 2];
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let mut run = Command::new(sigready);
        run.args(["run", "--type", "simple", "--output", "/dev/null", "--"]).args(COMMAND);
        let mut bpftrace = peer::bpftrace(peer::AS_MANY);
        bpftrace.args(["-c", &COMMAND.join(" ")]);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null"]).args(COMMAND);
        let perf = peer::perf(&COMMAND);
        for (index, command) in [run, bpftrace, perf, strace].into_iter().enumerate() {
            thread::sleep(DETACHED);
            let (start, end) = start_and_end(command)?;
            starts[index].push(start);
            ends[index].push(end);
        }
        thread::sleep(DETACHED);
        let tracer = Tracer::start(sigready, Whom::Another, &[])?;
        let running = Running::bpftrace(peer::AS_MANY)?;
        thread::sleep(QUIET);
        memory[0].push(resident(tracer.id())?);
        memory[1].push(resident(running.id())?);
        tracer.end()?;
    }
    let rows = [
        ("from its start until live", "ns", starts),
        ("from the command's end on", "ns", ends),
        ("memory of a quiet trace", "bytes", memory),
    ];
    let rows = rows.iter().flat_map(|(what, unit, values)| {
        values.iter().enumerate().filter_map(move |(index, own)| {
            Some(Row {
                what: (*what).to_owned(),
                with: NAMES[index].to_owned(),
                unit: (*unit).to_owned(),
                value: Spread::of(own)?,
                beside: (index > 0).then(|| NAMES[0].to_owned()),
                ratio: Spread::of_ratios(own, &values[0]).filter(|_| index > 0),
            })
        })
    });
    Ok(rows.collect())
}

/// How long a tracer needs until the command runs, and from then to its own end, ns.
fn start_and_end(mut command: Command) -> Result<(f64, f64)> {
    let before = now();
    let output = command.stdin(Stdio::null()).output().context("cannot run a tracer")?;
    let after = now();
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().find_map(|line| line.trim().parse::<f64>().ok());
    let Some(told) = told else {
        bail!("{command:?} did not run its command: {}", String::from_utf8_lossy(&output.stderr));
    };
    Ok((told - before, after - told))
}

#[allow(clippy::cast_precision_loss, reason = "microseconds are told apart")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_nanos() as f64)
}

/// Memory in use, bytes (proc_pid_status(5): `VmRSS`, in KiB).
fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("it has ended")?;
    field(&status, "VmRSS:").context("it has ended")
}

/// A field of /proc/PID/status that is in KiB, in bytes.
pub fn field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}
