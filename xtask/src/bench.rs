//! `cargo xtask bench`: what a trace costs those who are not traced, those who are, and itself.
//! Ratios of one run: on a noisy machine a time says little, and two times of one moment much.

mod collector;
mod itself;
mod load;
mod machine;
mod others;
mod peer;
mod race;
mod report;
mod spread;
mod storm;
mod tracer;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use self::spread::Spread;
use crate::{apt, process, workspace};

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// How often each is measured, in turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Write all that was measured to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure in a virtual machine with this one of Debian's kernels, where time is counted by
    /// instructions: what others pay, with both backends and without peers.
    #[arg(long, value_name = "KERNEL", value_parser = ["5.10", "6.1", "6.12", "7.2"])]
    machine: Option<String>,
    /// This is that machine, and this its sigready: the rows are printed as JSON.
    #[arg(long, value_name = "SIGREADY", hide = true, conflicts_with_all = ["json", "machine"])]
    in_machine: Option<PathBuf>,
}

/// What it is compared with, from Debian.
const PACKAGES: [&str; 4] = ["bpftrace", "jq", "linux-perf", "strace"];

/// How long the kernel may be busy with detaching what was measured last. Meanwhile perf events
/// can't be opened: it holds a lock (`event_mutex`, kernel/trace/trace_events.c).
const DETACHED: Duration = Duration::from_secs(3);

/// Something that was measured, with others in the same run.
#[derive(Serialize, Deserialize)]
struct Row {
    /// What is done.
    what: String,
    /// With or by what.
    with: String,
    /// ns, bytes, or whatever the row says.
    unit: String,
    /// What was measured.
    value: Spread,
    /// What stands beside it.
    beside: Option<String>,
    /// How many times as much, of each round.
    ratio: Option<Spread>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    process::need_root("tracing with eBPF")?;
    if let Some(sigready) = &options.in_machine {
        return machine::measure_here(sigready, options.rounds);
    }
    if let Some(kernel) = &options.machine {
        let (version, rows) = machine::measure(kernel, options.rounds)?;
        println!("## What others on the host pay, on Linux {version}, in instructions\n");
        return write(options.json.as_deref(), &print(rows));
    }
    apt::install(&PACKAGES, "comparing with others")?;
    let sigready = workspace::sigready()?;
    let directory = workspace::target().join("bench");
    fs::create_dir_all(&directory)?;
    let mut rows = Vec::new();
    println!("## What others on the host pay\n");
    let loads = load::all(&directory)?;
    rows.extend(print(others::measure(&sigready, &others::SETTINGS, &loads, options.rounds)?));
    println!("\n## Start, end and memory\n");
    rows.extend(print(itself::measure(&sigready, options.rounds)?));
    println!("\n## A storm of signals\n");
    rows.extend(print(storm::measure(&sigready, &directory, options.rounds)?));
    println!("\n## Taking in events\n");
    rows.extend(print(collector::measure(&sigready, &directory, options.rounds)?));
    println!("\n## Races\n");
    rows.extend(print(race::measure(&sigready, &directory, options.rounds)?));
    println!("\n## A large report\n");
    rows.extend(print(report::measure(&sigready, &directory)?));
    write(options.json.as_deref(), &rows)
}

fn write(file: Option<&Path>, rows: &[Row]) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = serde_json::to_string_pretty(rows)?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// In Markdown.
fn print(rows: Vec<Row>) -> Vec<Row> {
    println!("| what | with | median | min – max | beside it | ratio: median | min – max |");
    println!("|---|---|---:|---:|---|---:|---:|");
    for row in &rows {
        let value = |number: f64| spread::in_unit(number, &row.unit);
        let times = |number: f64| format!("{number:.2} ×");
        let (ratio, range) = row.ratio.map_or((String::new(), String::new()), |it| {
            (times(it.median), format!("{} – {}", times(it.min), times(it.max)))
        });
        println!(
            "| {} | {} | {} | {} – {} | {} | {ratio} | {range} |",
            row.what,
            row.with,
            value(row.value.median),
            value(row.value.min),
            value(row.value.max),
            row.beside.as_deref().unwrap_or(""),
        );
    }
    rows
}
