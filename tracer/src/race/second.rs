//! A second signal after the first: a handler for one delivery (`SA_RESETHAND`) takes one alone, and
//! what comes before it is set again meets the default action. And a first one may have the service
//! execute itself anew, or set what it does on the signal: the second one comes right after that.

use tracer_common::place::Order;

use super::{
    interval::{At, Planned, Timeline, processes, programs},
    rest::rest_id,
    steps::{Key, Kind, Steps},
};
use crate::model::{
    race::{Interval, Outcome, Reach, Role, StepKind},
    signal::Signal,
};

/// A second signal is placed after so many steps at most that a first one at rest has a service make.
const MAX_AFTER_REST: usize = 10;

/// Where a second signal is placed: as the handler of the first is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// After which step the first one comes.
    pub first: Key,
    /// The call of its handler.
    pub reset: Key,
}

impl Second {
    /// The order to place both.
    #[must_use]
    pub fn order(&self, signal: Signal) -> Order {
        Order {
            first_step: self.first.kind as u32,
            first_execs: self.first.execs,
            first_number: self.first.number,
            ..self.reset.order(signal)
        }
    }
}

/// Where a start has handlers for one delivery: the intervals in which a second signal comes right
/// after the first. What ends the service needs no second one.
#[must_use]
pub fn second(
    steps: &Steps,
    signal: Signal,
    role: Role,
    service_type: &str,
    end: u64,
) -> Vec<Planned> {
    let timeline = Timeline { zero: steps.zero(), end };
    let mut planned = Vec::new();
    for (is_main, process) in processes(steps, role).filter(|_| role != Role::End) {
        for (index, step) in process.steps().iter().enumerate().filter(|(_, step)| step.once) {
            let is_reset =
                |it: &&super::Step| it.key.kind == Kind::Reset && it.key.execs == step.key.execs;
            let before = process.steps()[..index].iter().filter(is_reset).count();
            let number = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
            let reset = Key { kind: Kind::Reset, number, ..step.key };
            // That handler is there until another action is set, or it is called.
            let sets =
                |it: &&super::Step| matches!(it.key.kind, Kind::Exec | Kind::Action | Kind::Reset);
            let next = process.steps()[index + 1..].iter().find(sets).map(|next| next.at);
            let to = next.or(process.ended).unwrap_or(end);
            let mut after = timeline.step(step);
            after.kind = StepKind::Second;
            after.what = format!("a first {signal} was taken by a handler for one delivery");
            planned.push(Planned {
                id: format!("{signal}@{}+reset{number}", steps.told(step.key)),
                at: At::Second(Second { first: step.key, reset }),
                process: process.who.clone(),
                programs: programs(steps, step.key),
                main: is_main,
                after,
                before: None,
                to_ns: timeline.at(to),
                reached: if is_main {
                    super::reach(steps, role, service_type, step.at, to)
                } else {
                    Reach::NotByReload
                },
            });
        }
    }
    planned
}

/// Where a service executes a program, or sets what it does on the signal, as a first one has come at
/// rest: the instants right after that. `at_rest` are the steps until then, `steps` those of the whole
/// run, which was looked at until `end`. Where the handler alone is set anew, nothing changes; where the
/// first one ends the service, it needs no second one.
#[must_use]
pub fn after_rest(
    at_rest: &Steps,
    steps: &Steps,
    signal: Signal,
    role: Role,
    service_type: &str,
    end: u64,
) -> Vec<Planned> {
    let last = at_rest.main().and_then(|main| main.steps().last());
    let main = steps.main().filter(|main| main.ended.is_none());
    let (Some(last), Some(main)) = (last.filter(|_| role == Role::Reload), main) else {
        return Vec::new();
    };
    let timeline = Timeline { zero: steps.zero(), end };
    let is_after = |step: &&super::Step| step.at > last.at;
    let changes = |step: &&super::Step| match step.key.kind {
        Kind::Exec => true,
        Kind::Action => !step.handles || step.key.execs > last.key.execs,
        _ => false,
    };
    let planned = |step: &super::Step| {
        let at_ns = timeline.at(step.at);
        let mut after = timeline.step(step);
        after.kind = StepKind::Second;
        after.what = format!("a first {signal} at rest, then {}", step.what);
        let reached = super::reach(steps, role, service_type, step.at, end);
        Planned {
            id: format!("{}+{}", rest_id(signal), steps.told(step.key)),
            at: At::AfterRest(step.key),
            process: main.who.clone(),
            programs: programs(steps, step.key),
            main: true,
            after,
            before: None,
            to_ns: at_ns,
            reached,
        }
    };
    let changing = main.steps().iter().filter(is_after).filter(changes);
    changing.take(MAX_AFTER_REST).map(planned).collect()
}

/// What a second signal does, where that is bad.
#[must_use]
pub(super) fn hurt(name: &str, signal: Signal, seconds: &[Interval]) -> Vec<String> {
    let rest = rest_id(signal);
    let (others, resets): (Vec<_>, Vec<_>) =
        seconds.iter().partition(|it: &&Interval| it.id.starts_with(&rest));
    let resets = hurt_after_one(name, signal, &resets);
    resets.into_iter().chain(hurt_after_rest(name, signal, &others)).collect()
}

/// The same of those right after what a first one at rest has the service do.
fn hurt_after_rest(name: &str, signal: Signal, seconds: &[&Interval]) -> Option<String> {
    let bad: Vec<_> = seconds.iter().filter(|it| it.bad).collect();
    let first = bad.first()?;
    Some(format!(
        "While {name} does what a first {signal} has it do, a second one does harm at {} of {} instants: \
         the first is {}, {}.",
        bad.len(),
        seconds.len(),
        first.id,
        first.outcome.word()
    ))
}

/// The same of those that meet a handler for one delivery.
fn hurt_after_one(name: &str, signal: Signal, seconds: &[&Interval]) -> Option<String> {
    let bad = seconds.iter().filter(|it| it.bad).count();
    let what = match seconds.iter().filter(|it| it.bad).map(|it| it.outcome).max()? {
        Outcome::Killed => "kills",
        Outcome::Crashed => "crashes",
        Outcome::Hung => "hangs",
        _ => "ends",
    };
    let after = match seconds.len() {
        1 => format!("After its handler has taken one {signal}"),
        many => format!("After {bad} of {many} handlers that take one {signal} alone"),
    };
    Some(format!("{after}, a second one {what} {name} until a handler is set again."))
}
