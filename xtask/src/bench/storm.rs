//! Signals as fast as they can be sent: what is seen, what is lost, and that both are all.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::getpid,
};
use serde_json::Value;

use super::{
    Row, load,
    spread::Spread,
    tracer::{Tracer, Whom},
};

/// Signals of a round.
const SIGNALS: u32 = 300_000;

/// Sends them to this process while it is traced.
pub fn measure(sigready: &Path, directory: &Path, rounds: usize) -> Result<Vec<Row>> {
    load::handle_signals()?;
    let file = directory.join("storm.json");
    let output = file.to_str().context("the target directory's path is not UTF-8")?;
    let (mut rates, mut losses) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let options = ["--output", output, "--buffer", "16384"];
        let tracer = Tracer::start(sigready, Whom::Bench, &options)?;
        let begun = Instant::now();
        for _ in 0..SIGNALS {
            kill(getpid(), Signal::SIGUSR1)?;
        }
        rates.push(f64::from(SIGNALS) / begun.elapsed().as_secs_f64());
        tracer.end()?;
        let report: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        let lost = report["capture"]["losses"]["signal"].as_u64().unwrap_or(0);
        let seen = seen(&report);
        if seen + lost != u64::from(SIGNALS) {
            bail!("{SIGNALS} signals were sent, {seen} seen and {lost} counted as lost");
        }
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        losses.push(lost as f64 / f64::from(SIGNALS) * 100.0);
    }
    let row = |what: &str, unit: &str, values: &[f64]| {
        Spread::of(values).map(|value| Row {
            what: what.to_owned(),
            with: "a trace of this".to_owned(),
            unit: unit.to_owned(),
            value,
            beside: None,
            ratio: None,
        })
    };
    let rows = [
        row("signals sent to oneself and handled, traced", "/s", &rates),
        row("of these lost, and counted", "%", &losses),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// The signals in a report: its events, and those that were left out of it.
fn seen(report: &Value) -> u64 {
    let starts = report["services"].as_array().into_iter().flatten();
    let starts = starts.flat_map(|service| service["activations"].as_array().into_iter().flatten());
    let is = |it: &&Value| it["kind"] == "signal" && it["signal"] == "USR1";
    let of = |start: &Value| {
        let events = start["events"].as_array().into_iter().flatten().filter(is).count() as u64;
        let left_out = start["left_out"].as_array().into_iter().flatten().filter(is);
        events + left_out.filter_map(|group| group["count"].as_u64()).sum::<u64>()
    };
    starts.map(of).sum()
}
