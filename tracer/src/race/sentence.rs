//! A race in a sentence or two.

use super::{child_exit, rest, second::hurt, sweep::swept};
use crate::model::{
    race::{Interval, Outcome, Reach, Role, SignalRace, StepKind, Untouched},
    signal::Signal,
    span::span,
};

/// Spans of time that are named.
const MAX_SPANS: usize = 3;

/// What may be bad, each told for itself: the last two of a signal that is to end it.
const HARMFUL: [Outcome; 6] = [
    Outcome::Killed,
    Outcome::Crashed,
    Outcome::Hung,
    Outcome::Ended,
    Outcome::Ignored,
    Outcome::Pending,
];

/// A time after the exec, or before it.
fn after_exec(ns: i64) -> String {
    if ns < 0 { format!("{} before the exec", span(-ns)) } else { span(ns) }
}

/// What a signal did, in a few sentences.
#[must_use]
pub fn sentences(
    name: &str,
    service_type: &str,
    race: &SignalRace,
    untouched: &Untouched,
) -> String {
    let (signal, up) = (race.signal, untouched.active_ns.or(untouched.ready_ns));
    let service_type = (untouched.can_reload != Some(false)).then_some(service_type);
    let rest = race.rest.as_ref();
    let others = race.active.iter().chain(&race.second).chain(&race.child_exits);
    let between = others.chain(&race.sweep).any(|it| it.bad);
    let first =
        of_intervals(name, signal, race.role, service_type, up, (&race.intervals, rest, between));
    let main: Vec<&Interval> = race.intervals.iter().filter(|it| it.main).collect();
    let active = race.active.as_ref().and_then(|active| {
        rest::sentence_of_active(
            name,
            &does(signal, race.role, active.outcome, name),
            active,
            &main,
        )
    });
    let active = active.map(|sentence| format!("{sentence}."));
    let second = hurt(name, signal, &race.second);
    let exits = child_exit::sentence(&race.intervals, &race.child_exits);
    let swept = swept(&race.intervals, &race.sweep, untouched.calls.unwrap_or(0));
    let all = Some(first).filter(|first| !first.is_empty()).into_iter();
    all.chain(active).chain(second).chain(exits).chain(swept).collect::<Vec<_>>().join(" ")
}

/// What a signal did in all intervals of a start, and at rest if that was to be raced. `service_type`
/// is `None` for a unit that systemd can't reload, `up_ns` when systemd takes the service for active.
#[must_use]
pub fn sentence(
    name: &str,
    signal: Signal,
    role: Role,
    service_type: Option<&str>,
    up_ns: Option<i64>,
    (intervals, rest): (&[Interval], Option<&Interval>),
) -> String {
    of_intervals(name, signal, role, service_type, up_ns, (intervals, rest, false))
}

/// The same; `between`: it does harm at another instant than right after a step.
fn of_intervals(
    name: &str,
    signal: Signal,
    role: Role,
    service_type: Option<&str>,
    up_ns: Option<i64>,
    (intervals, rest, between): (&[Interval], Option<&Interval>, bool),
) -> String {
    let main: Vec<&Interval> = intervals.iter().filter(|it| it.main).collect();
    let mut sentences = Vec::new();
    let count = main.len();
    let noun = if count == 1 { "interval" } else { "intervals" };
    for outcome in HARMFUL {
        let bad: Vec<&Interval> =
            main.iter().copied().filter(|it| it.bad && it.outcome == outcome).collect();
        if !bad.is_empty() {
            let many = format!("in {} of {count} {noun}", bad.len());
            sentences.push(format!(
                "{} {}, {many}",
                does(signal, role, outcome, name),
                when(&main, &bad, differs(rest, outcome))
            ));
        }
    }
    let is_harmless = sentences.is_empty();
    if is_harmless && count > 0 && main.iter().any(|it| it.outcome != Outcome::NotReached) {
        let is_known = |it: &&Interval| !it.bad && it.outcome != Outcome::NotReached;
        let nor = if rest.is_some_and(|it| is_known(&it)) { ", nor at rest" } else { "" };
        let at = if between { "right after no step" } else { "at no instant" };
        sentences.push(format!("{signal} harms {name} {at} of its start{nor}: {count} {noun}"));
    }
    // It is said of the instant at rest, too.
    let holds = rest.is_none_or(|it| it.outcome == Outcome::Taken || ends_before(it, &main));
    if let Some(tail) = tail(&main, role).filter(|_| !is_harmless && holds && !between) {
        let last = sentences.len() - 1;
        sentences[last] = format!("{}; {tail}", sentences[last]);
    }
    let last = main.last().map(|it| it.outcome);
    let harm = |it: &Interval| does(signal, role, it.outcome, name);
    sentences.extend(rest.and_then(|it| rest::sentence(name, &harm(it), it, last)));
    if role == Role::Reload {
        sentences.extend(lost(&main, rest));
    }
    let held: Vec<&Interval> =
        main.iter().copied().filter(|it| it.outcome == Outcome::HeldBack).collect();
    if !held.is_empty() {
        let who = match service_type {
            Some(kind @ ("notify" | "notify-reload")) => {
                format!("As Type={kind} systemd holds reloads")
            }
            _ => "Reloads through systemd are held".to_owned(),
        };
        let up = up_ns.filter(|up| held.iter().any(|it| it.from_ns < *up && *up < it.to_ns));
        let within = up.map_or_else(String::new, |up| {
            format!(" (it is active from {} on, within one of them)", after_exec(up))
        });
        sentences.push(format!(
            "{who} back {}, in {} of {count} intervals{within}; a kill by a script still hits",
            when(&main, &held, differs(rest, Outcome::HeldBack)),
            held.len()
        ));
    } else if main.iter().any(|it| it.bad && it.reached == Reach::NotByReload) {
        if service_type.is_none() {
            sentences.push(format!(
                "systemd has no reload for {name} (no ExecReload=); a kill by a script hits"
            ));
        } else if let (Some(up), Some(kind)) = (up_ns, service_type) {
            sentences.push(format!(
                "As Type={kind} systemd holds reloads back until {}; a kill by a script \
                 still hits",
                after_exec(up)
            ));
        }
    } else if main.iter().any(|it| it.bad) && role == Role::Reload && service_type == Some("simple")
    {
        sentences.push(
            "As Type=simple systemd sends reloads from the fork on, before the exec".to_owned(),
        );
    }
    let workers: Vec<&Interval> = intervals.iter().filter(|it| !it.main && it.bad).collect();
    if let Some(first) = workers.first() {
        let many = intervals.iter().filter(|it| !it.main).count();
        sentences.push(format!(
            "Sent to a process that {name} started ({}), it does harm in {} of {many} intervals",
            first.process.comm,
            workers.len(),
        ));
    }
    let missed = intervals.iter().filter(|it| it.outcome == Outcome::NotReached).count();
    if missed > 0 {
        sentences.push(format!(
            "{missed} of {} intervals {} not reached, so nothing is known of {}",
            intervals.len(),
            if missed == 1 { "was" } else { "were" },
            if missed == 1 { "it" } else { "them" }
        ));
    }
    let unsteady = intervals.iter().filter(|it| !it.steady).count();
    if unsteady > 0 {
        sentences.push(format!("{unsteady} came out now one way, now another"));
    }
    sentences.iter().map(|sentence| format!("{sentence}.")).collect::<Vec<_>>().join(" ")
}

/// Where a reload is thrown away, or waits for good.
fn lost(main: &[&Interval], rest: Option<&Interval>) -> Vec<String> {
    let mut sentences = Vec::new();
    for (outcome, what) in
        [(Outcome::Ignored, "is lost"), (Outcome::Pending, "waits, and is never taken,")]
    {
        let of: Vec<&Interval> = main.iter().copied().filter(|it| it.outcome == outcome).collect();
        if !of.is_empty() {
            let many = format!("in {} of {} intervals", of.len(), main.len());
            let when = when(main, &of, differs(rest, outcome));
            sentences.push(format!("It {what} {when}, {many}"));
        }
    }
    sentences
}

/// Whether it is known to come out otherwise than so at rest.
fn differs(rest: Option<&Interval>, outcome: Outcome) -> bool {
    rest.is_some_and(|it| it.outcome != outcome && it.outcome != Outcome::NotReached)
}

/// Whether there is no instant at rest, as the start ends by itself.
fn ends_before(rest: &Interval, main: &[&Interval]) -> bool {
    let ends = |it: &&Interval| it.before.as_ref().is_some_and(|it| it.kind == StepKind::Exit);
    rest.outcome == Outcome::NotReached && main.last().is_some_and(ends)
}

fn does(signal: Signal, role: Role, outcome: Outcome, name: &str) -> String {
    match outcome {
        Outcome::Killed | Outcome::Ended if role == Role::End => {
            format!("{signal} does not end {name} cleanly")
        }
        Outcome::Crashed => format!("{signal} crashes {name}"),
        Outcome::Hung => format!("{signal} hangs {name}"),
        Outcome::Ended => format!("{signal} has {name} end"),
        Outcome::Ignored => format!("{name} ignores {signal}"),
        Outcome::Pending => format!("{name} blocks {signal}, and never takes it,"),
        _ => format!("{signal} kills {name}"),
    }
}

/// The spans of intervals of the main process, those that follow one another as one.
fn when(main: &[&Interval], of: &[&Interval], not_at_rest: bool) -> String {
    let mut spans: Vec<(&Interval, &Interval)> = Vec::new();
    for interval in main {
        if !of.iter().any(|it| it.id == interval.id) {
            continue;
        }
        match spans.last_mut() {
            Some((_, last)) if follows(main, last, interval) => *last = interval,
            _ => spans.push((interval, interval)),
        }
    }
    let told = spans.iter().take(MAX_SPANS).map(|(first, last)| from_to(first, last, not_at_rest));
    let words = told.collect::<Vec<_>>().join(" and ");
    let more = spans.len().saturating_sub(MAX_SPANS);
    if more > 0 { format!("{words} and {more} more times") } else { words }
}

fn follows(main: &[&Interval], one: &Interval, other: &Interval) -> bool {
    main.windows(2).any(|pair| pair[0].id == one.id && pair[1].id == other.id)
}

fn from_to(first: &Interval, last: &Interval, not_at_rest: bool) -> String {
    let from = match first.after.kind {
        StepKind::Fork => "fork".to_owned(),
        StepKind::Exec if first.from_ns == 0 => "exec".to_owned(),
        _ => span(first.from_ns),
    };
    match &last.before {
        // So short that both are alike.
        Some(_) if from == span(last.to_ns) => {
            format!("at {from} for {}", span(last.to_ns - first.from_ns))
        }
        Some(_) => format!("from {from} to {}", span(last.to_ns)),
        None if not_at_rest => format!("from {from} on, though not at rest"),
        None => format!("from {from} on"),
    }
}

/// Whether an outcome is what a handler does.
fn is_by_handler(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Taken | Outcome::Ended | Outcome::Hung | Outcome::Crashed)
}

/// What is said of the end of the start, where every interval of it is harmless.
fn tail(main: &[&Interval], role: Role) -> Option<String> {
    let harmless = main.iter().rev().take_while(|it| it.outcome == Outcome::Taken).count();
    let first = main.get(main.len() - harmless)?;
    let before = &main[..main.len() - harmless];
    let from = match first.after.kind {
        // It had another one before, which took it or did harm with it.
        StepKind::Action if before.iter().any(|it| is_by_handler(it.outcome)) => {
            span(first.from_ns)
        }
        StepKind::Action => "its handler".to_owned(),
        StepKind::Ready => "READY=1".to_owned(),
        _ => span(first.from_ns),
    };
    let what = if role == Role::Reload { "reload" } else { "one" };
    Some(format!("from {from} on every {what} is taken"))
}
