//! Instants that are no step of the kernel's. At rest the start is over, and nothing has changed since:
//! what a runtime, or a program by a mark in its memory, does with a signal may be another there than
//! right after the last step. And from when systemd takes a unit for active it sends reloads.

use super::{
    interval::{At, Planned, Timeline},
    steps::Steps,
};
use crate::model::{
    document::{OutcomeState, ProcessOutcome},
    race::{Interval, Outcome, ReportedStep, Role, StepKind},
    signal::Signal,
    span,
};

/// The instant at rest of the main process of a start that was over at `end` (`CLOCK_BOOTTIME` ns).
#[must_use]
pub fn rest(
    steps: &Steps,
    signal: Signal,
    role: Role,
    service_type: &str,
    end: u64,
) -> Option<Planned> {
    let told = (rest_id(signal), StepKind::Rest, "at rest");
    sent(steps, role, service_type, (end, end), At::Rest, told)
}

/// The moment at which systemd took a unit for active, of its main process; `None` where it never did.
/// Of a command, the one at which another process than the main one said READY=1, which is no step of
/// that; `None` where it said so itself.
#[must_use]
pub fn active(
    steps: &Steps,
    signal: Signal,
    role: Role,
    service_type: &str,
    end: u64,
) -> Option<Planned> {
    let is_said = matches!(service_type, "notify" | "notify-reload");
    let (at, what) = match steps.active() {
        Some(_) => (steps.active_since()?, "as systemd takes it for active"),
        None if is_said => (steps.ready_of_another()?, "as another process says READY=1"),
        None => return None,
    };
    let told = (format!("{signal}@active"), StepKind::Active, what);
    sent(steps, role, service_type, (at, end), At::Active, told)
}

/// The instant at `at` of the main process of a start that was looked at until `end`: its place, its id,
/// and how it is told.
fn sent(
    steps: &Steps,
    role: Role,
    service_type: &str,
    (at, end): (u64, u64),
    place: impl FnOnce(u64) -> At,
    (id, kind, what): (String, StepKind, &str),
) -> Option<Planned> {
    let main = steps.main()?;
    let at_ns = Timeline { zero: steps.zero(), end }.at(at);
    Some(Planned {
        id,
        at: place(main.place),
        process: main.who.clone(),
        programs: Vec::new(),
        main: true,
        after: ReportedStep { kind, what: what.to_owned(), at_ns },
        before: None,
        to_ns: at_ns,
        reached: super::reach(steps, role, service_type, at, at.saturating_add(1)),
    })
}

/// What `--only` takes for the instant at rest.
#[must_use]
pub fn rest_id(signal: Signal) -> String {
    format!("{signal}@rest")
}

/// Why the signal was not sent at rest in a start that never came to it: it ended by itself as told, or
/// still changed after `lasted_ns`.
#[must_use]
pub fn never_comes(outcome: &ProcessOutcome, lasted_ns: u64) -> String {
    let lasted = span::length(lasted_ns);
    match (outcome.state, outcome.code) {
        (OutcomeState::Exited, Some(code)) => {
            format!("it ended by itself, with code {code}, before it was at rest")
        }
        (OutcomeState::Exited, None) => "it ended by itself before it was at rest".to_owned(),
        (OutcomeState::Killed, _) => "it died before it was at rest".to_owned(),
        _ => format!(
            "it was not at rest within {lasted}: what it does on a signal, or who its children \
             are, changed again and again"
        ),
    }
}

/// What is said of a signal that was sent as systemd took the unit for active, if it did harm and the
/// interval around is not told to, or the other way round.
pub(super) fn sentence_of_active(
    name: &str,
    harm: &str,
    active: &Interval,
    main: &[&Interval],
) -> Option<String> {
    let around = main.iter().rev().find(|it| it.from_ns <= active.from_ns);
    let differs = around.is_none_or(|around| around.outcome != active.outcome);
    let is_known = active.outcome != Outcome::NotReached;
    let tells = differs && is_known && (active.bad || around.is_some_and(|it| it.bad));
    let what = if active.bad { harm.to_owned() } else { harmless(name, active.outcome) };
    tells.then(|| format!("As soon as systemd takes it for active {what}"))
}

/// What a signal does that does no harm.
fn harmless(name: &str, outcome: Outcome) -> String {
    match outcome {
        Outcome::Taken => "it is taken".to_owned(),
        Outcome::HeldBack => "systemd holds it back".to_owned(),
        Outcome::Ignored => "it is lost".to_owned(),
        Outcome::Pending => "it waits, and is never taken".to_owned(),
        _ => format!("it ends {name}"),
    }
}

/// What is said of the instant at rest where the last interval does not say it: it came out otherwise
/// than the signal does right after the last step, or nothing is known of it.
pub(super) fn sentence(
    name: &str,
    harm: &str,
    rest: &Interval,
    last: Option<Outcome>,
) -> Option<String> {
    if rest.outcome != Outcome::NotReached && last == Some(rest.outcome) {
        return None;
    }
    Some(match rest.outcome {
        _ if rest.bad => format!("At rest {harm}"),
        Outcome::NotReached => match rest.tries.first() {
            Some(only) => format!("Nothing was tried at rest: {}", only.what),
            None => "Nothing was tried at rest".to_owned(),
        },
        outcome => format!("At rest {}", harmless(name, outcome)),
    })
}
