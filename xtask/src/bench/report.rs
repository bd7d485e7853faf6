//! `sigready report` on a large file, beside jq.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Row, itself, spread::Spread};
use crate::process;

/// About how large it is, bytes.
const SIZE: usize = 200 << 20;
/// Events of each of its starts.
const EVENTS: usize = 200;

/// Reads it once with each: it takes long enough.
pub fn measure(sigready: &Path, directory: &Path) -> Result<Vec<Row>> {
    let large = directory.join("large.jsonl");
    make(sigready, directory, &large)?;
    let mut rows = Vec::new();
    let mut jq = Command::new("jq");
    jq.args(["-c", "."]).arg(&large);
    let (beside, beside_memory) = time(jq)?;
    rows.push(("jq -c".to_owned(), beside, beside_memory, None));
    for format in ["jsonl", "json", "table"] {
        let mut report = Command::new(sigready);
        report.args(["report", "--format", format]).arg(&large);
        let (taken, memory) = time(report)?;
        rows.push((format!("sigready report --format {format}"), taken, memory, Some(beside)));
    }
    fs::remove_file(&large)?;
    let rows = rows.into_iter().flat_map(|(with, taken, memory, beside)| {
        let row = |what: &str, unit: &str, number: f64, ratio: Option<f64>| {
            Some(Row {
                what: what.to_owned(),
                with: with.clone(),
                unit: unit.to_owned(),
                value: Spread::of(&[number])?,
                beside: ratio.map(|_| "jq -c".to_owned()),
                ratio: ratio.and_then(|ratio| Spread::of(&[ratio])),
            })
        };
        [
            row("200 MiB of JSON Lines", "ns", taken, beside.map(|beside| taken / beside)),
            row("memory for it", "bytes", memory, None),
        ]
    });
    Ok(rows.flatten().collect())
}

/// A report of many services with many events each, made of a real one.
fn make(sigready: &Path, directory: &Path, large: &Path) -> Result<()> {
    let small = directory.join("small.jsonl");
    let mut run = Command::new(sigready);
    run.args(["run", "--type", "simple", "--output"]).arg(&small).args(["--", "/bin/true"]);
    process::run(&mut run)?;
    let text = fs::read_to_string(&small)?;
    let records: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let one = |name: &str| {
        let found = records.iter().find(|record| record["record"] == name);
        found.cloned().with_context(|| format!("no {name} record"))
    };
    let events: Vec<&Value> = records.iter().filter(|record| record["record"] == "event").collect();
    let mut out = BufWriter::new(File::create(large)?);
    let mut written = 0;
    let mut line = |record: &Value| -> Result<usize> {
        let text = record.to_string();
        writeln!(out, "{text}")?;
        Ok(text.len() + 1)
    };
    written += line(&one("capture")?)?;
    let mut services = 0;
    while written < SIZE {
        let [mut service, mut start] = [one("service")?, one("activation")?];
        service["service"] = json!(services);
        service["name"] = json!(format!("demo-{services}.service"));
        start["service"] = json!(services);
        written += line(&service)? + line(&start)?;
        for (index, event) in events.iter().cycle().take(EVENTS).enumerate() {
            let mut event = (*event).clone();
            (event["service"], event["event"]) = (json!(services), json!(index));
            written += line(&event)?;
        }
        services += 1;
    }
    let counts = json!({
        "record": "end", "services": services, "activations": services,
        "events": services * EVENTS, "alerts": 0,
    });
    line(&counts)?;
    Ok(out.flush()?)
}

/// How long a command takes, ns, and the most memory it was seen to use, bytes.
fn time(mut command: Command) -> Result<(f64, f64)> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut most = 0.0_f64;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
        let peak = status.ok().and_then(|status| itself::field(&status, "VmHWM:"));
        most = most.max(peak.unwrap_or(0.0));
        thread::sleep(Duration::from_millis(5));
    };
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok((begun.elapsed().as_secs_f64() * 1e9, most))
}
