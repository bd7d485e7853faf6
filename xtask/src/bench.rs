//! `cargo xtask bench`: what a trace costs those who are not traced, and the tracer itself.
//! Ratios of one run: on a noisy machine a time says little, and two times of one moment much.

mod load;
mod tracer;

use anyhow::{Result, bail};
use clap::Args;

use self::{load::Load, tracer::Tracer};
use crate::{process, workspace};

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// How often each is measured; the best time counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// What runs meanwhile: words for it, and the options of `sigready trace`.
struct Setting {
    name: &'static str,
    arguments: &'static [&'static str],
}

/// A process that does nothing stands for what is traced.
const SETTINGS: [Setting; 4] = [
    Setting { name: "one process, fentry", arguments: &["--backend", "fentry"] },
    Setting { name: "one process, tracepoint", arguments: &["--backend", "tracepoint"] },
    Setting { name: "all, fentry", arguments: &["--backend", "fentry", "--all"] },
    Setting { name: "all, tracepoint", arguments: &["--backend", "tracepoint", "--all"] },
];

/// The best times of each load, ns; infinite where it was not measured.
type Times = Vec<f64>;

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    process::need_root("tracing with eBPF")?;
    let sigready = workspace::sigready()?;
    let loads = load::all()?;
    let mut plain: Times = vec![f64::INFINITY; loads.len()];
    let mut meanwhile: Vec<Times> = vec![plain.clone(); SETTINGS.len()];
    let mut spent = [0.0_f64; SETTINGS.len()];
    // In turns, so that a busy moment of the machine falls on all of them.
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        measure(&loads, &mut plain)?;
        for (index, setting) in SETTINGS.iter().enumerate() {
            let tracer = match Tracer::start(&sigready, setting.arguments) {
                Ok(tracer) => tracer,
                Err(error) if round == 1 => {
                    eprintln!("left out, {}: {error:#}", setting.name);
                    continue;
                }
                Err(_) => continue,
            };
            measure(&loads, &mut meanwhile[index])?;
            spent[index] += tracer.end()?;
        }
    }
    if meanwhile.iter().flatten().all(|time| time.is_infinite()) {
        bail!("nothing could be traced here: see 'sigready doctor'");
    }
    print!("{}", table(&loads, &plain, &meanwhile));
    for (setting, seconds) in SETTINGS.iter().zip(spent).filter(|(_, seconds)| *seconds > 0.0) {
        #[allow(clippy::cast_precision_loss, reason = "a handful of rounds")]
        let share = seconds / options.rounds as f64;
        println!("\n{}: {share:.2} s of processor time for the tracer in a round", setting.name);
    }
    Ok(())
}

fn measure(loads: &[Load], best: &mut Times) -> Result<()> {
    for (load, best) in loads.iter().zip(best) {
        *best = best.min(load.time()?);
    }
    Ok(())
}

/// In Markdown.
fn table(loads: &[Load], plain: &Times, meanwhile: &[Times]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = SETTINGS.iter().map(|setting| setting.name.to_owned());
    let head = [String::new(), "no trace".to_owned()].into_iter().chain(names);
    let rule = ["---".to_owned()].into_iter().chain(vec!["---:".to_owned(); SETTINGS.len() + 1]);
    let rows = loads.iter().enumerate().map(|(row, load)| {
        let ratios = meanwhile.iter().map(|times| {
            let ratio = times[row] / plain[row];
            if ratio.is_finite() { format!("{ratio:.2} ×") } else { "—".to_owned() }
        });
        let begin = [load.name.to_owned(), time(plain[row])];
        line(begin.into_iter().chain(ratios).collect())
    });
    [line(head.collect()), line(rule.collect())].into_iter().chain(rows).collect()
}

fn time(ns: f64) -> String {
    if ns < 1_000.0 { format!("{ns:.0} ns") } else { format!("{:.1} µs", ns / 1_000.0) }
}
