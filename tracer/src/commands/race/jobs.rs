//! `sigready race --jobs`: the intervals are raced in several processes.

use std::ffi::OsString;

use anyhow::anyhow;
use clap::{ValueEnum as _, builder::PossibleValue};
use nix::sys::{prctl, signal::SIGINT};
use sigready::{
    host::clock,
    model::race::Race,
    race::{merge, shares},
    session::{Observer as _, Rules, Worked, work},
};

use super::{Line, repeated, verdict};
use crate::{
    cli::RaceOptions,
    commands::{Verdict, fault::Fault, in_event_loop, messages::Messages, progress},
};

/// Whether another process waits for the result of this one, which is a part.
pub fn is_part(options: &RaceOptions) -> bool {
    options.plan || !options.share.is_empty()
}

/// Has this process be interrupted once the one that waits for it is gone.
pub fn end_with_the_one_that_waits() {
    let _ = prctl::set_pdeathsig(SIGINT);
}

/// Races the command in several processes, and puts together what they found.
pub fn run(options: &RaceOptions, rules: &Rules, messages: &Messages) -> Result<Verdict, Fault> {
    let line = Line(progress::Line::start(messages, " (Ctrl-C ends)"));
    let anchor = clock::anchor();
    let shows = messages.is_verbose();
    let race = in_event_loop(async {
        line.0.say(&"the untouched run");
        let plan = arguments(options, rules, shows, &["--plan".to_owned()], true);
        let planned = work(vec![plan], shows, &|_| {}).await?;
        say(&planned, &line);
        let is_over = planned.interrupted;
        let Some(planned) = planned.races.into_iter().next() else {
            return Err(Fault::Failed(anyhow!("the race was ended in its untouched run")));
        };
        let shares = shares(&planned, options.jobs.into());
        let count = shares.len();
        let all = planned.signals.iter().map(|signal| signal.all().count()).sum::<usize>();
        let each = shares.into_iter().map(|ids| {
            let words: Vec<String> =
                ids.into_iter().flat_map(|id| ["--share".to_owned(), id]).collect();
            arguments(options, rules, shows, &words, false)
        });
        let each = if is_over { Vec::new() } else { each.collect() };
        let tell = |ended| {
            line.0.say(&format_args!("{all} intervals in {count} processes: {ended} are done"));
        };
        tell(0);
        let worked = work(each, shows, &tell).await?;
        say(&worked, &line);
        let interrupted = worked.interrupted || is_over;
        Ok(merge(planned, worked.races, interrupted))
    })?;
    drop(line);
    let duration_ns = clock::boot_ns().saturating_sub(anchor.boot_ns);
    verdict(&Race { duration_ns, ..race }, options, messages)
}

/// What the processes said beside their results.
fn say(worked: &Worked, line: &Line<'_>) {
    let mut said: Vec<&String> = worked.said.iter().collect();
    said.dedup();
    for it in said {
        line.note(it);
    }
}

/// What such a process is started with. The instants of a sweep are chosen once.
fn arguments(
    options: &RaceOptions,
    rules: &Rules,
    shows: bool,
    words: &[String],
    sweeps: bool,
) -> Vec<OsString> {
    let backend = options.backend.to_possible_value();
    let backend = backend.as_ref().map_or("auto", PossibleValue::get_name);
    let mut all: Vec<OsString> = Vec::new();
    all.push(if shows { "-v" } else { "-q" }.into());
    all.push("race".into());
    all.extend(["--format", "json", "--backend", backend].map(OsString::from));
    all.extend(repeated(options).into_iter().map(OsString::from));
    for signal in &rules.signals {
        all.extend(["--signal".to_owned(), signal.to_string()].map(OsString::from));
    }
    all.extend(["--repeat".to_owned(), rules.repeat.to_string()].map(OsString::from));
    if sweeps {
        all.extend(["--sweep".to_owned(), rules.sweep.to_string()].map(OsString::from));
    }
    all.extend(words.iter().map(OsString::from));
    all.push("--".into());
    all.extend(options.command.iter().cloned());
    all
}
