//! `sigready race`: a signal at every instant of a command's start, on purpose.

mod jobs;
mod unit;

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{self, BufWriter, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use sigready::{
    host::clock,
    model::{
        document::{Tool, WallTime},
        race::{self as model, SCHEMA},
        raw_name,
        signal::Signal,
        text::Outside,
        unit::{FactsSource, UnitFacts},
    },
    observation::Anchor,
    probe::attach::{Reach, Request},
    race::{unplaceable, untested},
    report::{self, race::RaceFormat},
    session::{
        Between, Found, MAX_RECORDED, Observer, Part, Raced, Racer, Recorded, Rounds, Rules,
        Runner, Startable, Streams, Wanted, heed, host, instant,
    },
    timeline::Progress,
};

use super::{Verdict, fault::Fault, given_command, in_event_loop, messages::Messages, progress};
use crate::cli::{RaceOptions, ServiceType, SignalSource};

/// Room for events that wait to be read, in KiB.
const BUFFER: u32 = 4_096;

/// Races the command or the unit.
pub fn run(options: &RaceOptions, messages: &Messages) -> Result<Verdict, Fault> {
    heed();
    if let Some(unit) = &options.unit {
        return unit::run(options, unit, messages);
    }
    if options.by == SignalSource::Reload {
        return Err(Fault::usage(
            "--by reload has systemd reload a unit, which --unit names; a command has none: \
             --by kill sends the signal with a real sender",
        ));
    }
    let rules = rules(options)?;
    if options.jobs > 1 {
        return jobs::run(options, &rules, messages);
    }
    if jobs::is_part(options) {
        jobs::end_with_the_one_that_waits();
    }
    let startable = Startable::check(&options.command, options.user.as_deref())?;
    let request = request(options, &rules.signals, Reach::ChildrenOf(std::process::id()))?;
    let (line, anchor) = (Line(progress::Line::start(messages, " (Ctrl-C ends)")), clock::anchor());
    let race = in_event_loop(async {
        let raced = Raced {
            startable: &startable,
            facts: facts(options),
            name: given_command::name(&options.command),
            arguments: given_command::words(&options.command),
            notifies: options.service_type != ServiceType::Simple,
            streams: if messages.is_verbose() { Streams::Stderr } else { Streams::None },
            counts: counts(options),
            between: options.between.clone().map(|line| Between { line, limit: options.timeout }),
        };
        let mut runner = Runner::Command(Racer::attach(raced, &request, &line)?);
        let found = race(&mut runner, &rules, &line).await?;
        let race = result(options, &rules, anchor, &runner, found);
        if let Runner::Command(racer) = runner {
            racer.end();
        }
        Ok(race)
    })?;
    drop(line);
    verdict(&race, options, messages)
}

/// All runs.
async fn race(runner: &mut Runner<'_>, rules: &Rules, line: &Line<'_>) -> anyhow::Result<Found> {
    let say = |what: &dyn Display| line.0.say(what);
    let leftovers = BTreeMap::new();
    let mut rounds = Rounds { racer: runner, rules, observer: line, say: &say, leftovers };
    Box::pin(rounds.race()).await
}

/// The result.
fn result(
    options: &RaceOptions,
    rules: &Rules,
    anchor: Anchor,
    runner: &Runner<'_>,
    found: Found,
) -> model::Race {
    let Found { untouched, signals, leftovers, .. } = found;
    let untested = untested(&signals, &untouched);
    let bad = signals
        .iter()
        .flat_map(model::SignalRace::all)
        .any(|interval| interval.bad && interval.counts);
    model::Race {
        schema: SCHEMA.to_owned(),
        tool: Tool {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        host: host(),
        command: given_command::words(&options.command),
        options: repeated(options),
        name: runner.name().to_owned(),
        unit: options.unit.is_some().then(|| runner.name().to_owned()),
        service_type: rules.service_type.clone(),
        by: rules.by,
        strict: rules.strict,
        backend: runner.backend().to_owned(),
        started_at: WallTime(anchor.wall),
        duration_ns: clock::boot_ns().saturating_sub(anchor.boot_ns),
        runs: runner.runs(),
        untouched,
        leftovers,
        bad,
        untested,
        signals,
    }
}

/// Writes the result, and says what it comes to.
fn verdict(
    race: &model::Race,
    options: &RaceOptions,
    messages: &Messages,
) -> Result<Verdict, Fault> {
    write(race, options, messages)?;
    // The one that waits for it says what all of it comes to.
    if jobs::is_part(options) {
        return Ok(Verdict::Clean);
    }
    if race.bad {
        return Ok(Verdict::Alerts);
    }
    if !race.untested.is_empty() {
        let why: Vec<String> =
            race.untested.iter().map(|why| Outside::new(why).to_string()).collect();
        return Err(Fault::Failed(anyhow!("not tested: {}", why.join("; "))));
    }
    Ok(Verdict::Clean)
}

/// Notes, and what is done now.
struct Line<'a>(progress::Line<'a>);

impl Observer for Line<'_> {
    fn note(&self, sentence: &dyn Display) {
        self.0.note(sentence);
    }

    fn progress(&self, _: &Progress) {}
}

fn rules(options: &RaceOptions) -> Result<Rules, Fault> {
    let mut signals = options.signals.clone();
    if signals.is_empty() {
        signals.clone_from(&options.reload_signals);
    }
    if signals.is_empty() {
        signals.push(Signal::HUP);
    }
    let mut seen = Vec::new();
    signals.retain(|signal| {
        !seen.contains(signal) && {
            seen.push(*signal);
            true
        }
    });
    if let Some((signal, why)) = signals.iter().find_map(|it| Some((it, unplaceable(*it)?))) {
        return Err(Fault::usage(format_args!("{signal} can't be raced: {why}")));
    }
    Ok(Rules {
        signals,
        reloads: options.reload_signals.clone(),
        by: options.by.into(),
        sweep: usize::from(options.sweep),
        service_type: options.service_type.name().to_owned(),
        can_reload: None,
        strict: options.strict,
        only: options.only.clone(),
        part: match (options.plan, options.share.is_empty()) {
            (true, _) => Part::Plan,
            (false, true) => Part::All,
            (false, false) => Part::These(options.share.clone()),
        },
        repeat: options.repeat,
        timeout: options.timeout,
        quiet: options.quiet_time,
        settle: options.settle,
    })
}

fn request(options: &RaceOptions, signals: &[Signal], reach: Reach) -> Result<Request, Fault> {
    let most = MAX_RECORDED as usize;
    if signals.len() > most {
        return Err(Fault::usage(format_args!(
            "{} signals are too many to race at a time: the limit is {most}",
            signals.len()
        )));
    }
    let wanted = Wanted {
        signal: signals.first().copied(),
        record: signals.to_vec(),
        buffer: BUFFER,
        backend: options.backend.into(),
    };
    let recorded = Recorded::asked(&wanted)?;
    Ok(Request { places: true, ..recorded.request(reach) })
}

/// Whether system calls are counted: for a sweep, or for an instant of one.
fn counts(options: &RaceOptions) -> bool {
    let mut named = options.only.iter().chain(&options.share);
    options.sweep > 0 || named.any(|id| instant(id).is_some())
}

/// The unit that the command line stands for.
fn facts(options: &RaceOptions) -> UnitFacts {
    let access = if options.service_type == ServiceType::Simple { "none" } else { "main" };
    UnitFacts {
        service_type: Some(options.service_type.name().to_owned()),
        notify_access: Some(access.to_owned()),
        source: Some(FactsSource::CommandLine),
        ..UnitFacts::default()
    }
}

/// The options that an interval is to be raced again with.
fn repeated(options: &RaceOptions) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |option: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([option.to_owned(), value]);
        }
    };
    let (kind, usual) = (options.service_type, RaceOptions::USUAL);
    let other = |span: Duration, usual: Duration| {
        (span != usual).then(|| format!("{}ms", span.as_millis()))
    };
    add("--unit", options.unit.clone());
    add("--root", options.root.as_ref().map(|root| raw_name::os_text(root).into_owned()));
    add("--type", (kind != ServiceType::Notify).then(|| kind.name().to_owned()));
    for signal in &options.reload_signals {
        add("--reload-signal", Some(signal.to_string()));
    }
    add(
        "--by",
        (options.by != SignalSource::Kernel).then(|| model::By::from(options.by).word().to_owned()),
    );
    add("--timeout", other(options.timeout, usual.timeout));
    add("--quiet-time", other(options.quiet_time, usual.quiet));
    add("--settle", other(options.settle, usual.settle));
    add("--between", options.between.clone());
    add("--user", options.user.clone());
    if options.unit.is_some() {
        words.push("--yes".to_owned());
    }
    if options.strict {
        words.push("--strict".to_owned());
    }
    words
}

/// Writes the result to `--output` or to stdout.
fn write(race: &model::Race, options: &RaceOptions, messages: &Messages) -> Result<(), Fault> {
    let extension = options.output.as_deref().and_then(Path::extension);
    let by_name = match extension.and_then(|extension| extension.to_str()) {
        Some("json") => RaceFormat::Json,
        Some("xml") => RaceFormat::Junit,
        Some("svg") => RaceFormat::Svg,
        Some("html" | "htm") => RaceFormat::Html,
        _ => RaceFormat::Table,
    };
    let format = options.format.unwrap_or(by_name);
    let mut style = messages.style(&io::stdout());
    if let Some(path) = &options.output {
        style.color = false;
        let text = report::race::render(race, format, style)?;
        report::save_with(path, &mut |out| Ok(out.write_all(text.as_bytes())?))?;
        messages.note(format_args!("report written to {}", Outside::path(path)));
        // Who reads the log of a job has no file yet.
        for sentence in report::race::in_short(race) {
            messages.note(sentence);
        }
        return Ok(());
    }
    let text = report::race::render(race, format, style)?;
    let mut out = BufWriter::new(io::stdout());
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the report")?;
    Ok(())
}
