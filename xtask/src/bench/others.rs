//! What others on the host pay while a tracer runs.

use std::{path::Path, thread};

use anyhow::{Result, bail};

use super::{
    DETACHED, Row,
    load::Load,
    peer::{self, Running},
    spread::Spread,
    tracer::{Tracer, Whom},
};

/// What runs meanwhile.
pub enum Meanwhile {
    /// Nothing.
    Nothing,
    /// bpftrace with this script.
    Bpftrace(&'static str),
    /// sigready with these options.
    Sigready(Whom, &'static [&'static str]),
}

/// A name, and what runs meanwhile.
pub type Setting = (&'static str, Meanwhile);

/// The first is what the others are compared with.
pub const SETTINGS: [Setting; 11] = [
    ("nothing", Meanwhile::Nothing),
    ("empty programs at two hooks", Meanwhile::Bpftrace(peer::EMPTY)),
    ("bpftrace that counts there", Meanwhile::Bpftrace(peer::COUNTING)),
    ("empty programs at all hooks", Meanwhile::Bpftrace(peer::AS_MANY_EMPTY)),
    ("bpftrace that tells of each sent", Meanwhile::Bpftrace(peer::TELLING)),
    ("a trace of another, fentry", Meanwhile::Sigready(Whom::Another, &["--backend", "fentry"])),
    (
        "a trace of another, tracepoint",
        Meanwhile::Sigready(Whom::Another, &["--backend", "tracepoint"]),
    ),
    ("a trace of this, fentry", Meanwhile::Sigready(Whom::Bench, &["--backend", "fentry"])),
    ("a trace of this, tracepoint", Meanwhile::Sigready(Whom::Bench, &["--backend", "tracepoint"])),
    ("a trace of all, fentry", Meanwhile::Sigready(Whom::All, &["--backend", "fentry"])),
    ("a trace of all, tracepoint", Meanwhile::Sigready(Whom::All, &["--backend", "tracepoint"])),
];

/// Keeps what runs meanwhile.
enum Kept {
    Nothing,
    Bpftrace(Running),
    Sigready(Tracer),
}

/// Measures all loads under all settings, in turns. The first of them is nothing.
pub fn measure(
    sigready: &Path,
    settings: &[Setting],
    loads: &[Load],
    rounds: usize,
) -> Result<Vec<Row>> {
    // By setting and load, of each round.
    let mut times: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); loads.len()]; settings.len()];
    for round in 1..=rounds {
        for ((name, meanwhile), times) in settings.iter().zip(&mut times) {
            eprintln!("round {round} of {rounds}: {name}");
            let kept = match begin(meanwhile, sigready) {
                Ok(kept) => kept,
                Err(error) => {
                    if round == 1 {
                        eprintln!("left out, {name}: {error:#}");
                    }
                    continue;
                }
            };
            for (load, times) in loads.iter().zip(times) {
                times.push(load.time()?);
            }
            end(kept)?;
            // Until it is, system calls go on to take the slow way.
            thread::sleep(DETACHED);
        }
    }
    let of_traces = |(index, (_, what)): (usize, &Setting)| match what {
        Meanwhile::Sigready(..) => Some(&times[index]),
        _ => None,
    };
    if settings.iter().enumerate().filter_map(of_traces).flatten().all(Vec::is_empty) {
        bail!("nothing could be traced here: see 'sigready doctor'");
    }
    let row = |load: usize, what: &Load, setting: usize| {
        let value = Spread::of(&times[setting][load])?;
        let ratio = Spread::of_ratios(&times[setting][load], &times[0][load]);
        Some(Row {
            what: what.name.to_owned(),
            with: settings[setting].0.to_owned(),
            unit: "ns".to_owned(),
            value,
            beside: (setting > 0).then(|| settings[0].0.to_owned()),
            ratio: ratio.filter(|_| setting > 0),
        })
    };
    let rows = loads.iter().enumerate().flat_map(|(index, load)| {
        (0..settings.len()).filter_map(move |setting| row(index, load, setting))
    });
    Ok(rows.collect())
}

fn begin(meanwhile: &Meanwhile, sigready: &Path) -> Result<Kept> {
    Ok(match meanwhile {
        Meanwhile::Nothing => Kept::Nothing,
        Meanwhile::Bpftrace(script) => Kept::Bpftrace(Running::bpftrace(script)?),
        Meanwhile::Sigready(whom, options) => {
            Kept::Sigready(Tracer::start(sigready, *whom, options)?)
        }
    })
}

fn end(kept: Kept) -> Result<()> {
    match kept {
        Kept::Nothing => {}
        Kept::Bpftrace(running) => drop(running),
        Kept::Sigready(tracer) => tracer.end()?,
    }
    Ok(())
}
