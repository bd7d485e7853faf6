//! A second signal after the first: a handler for one delivery (`SA_RESETHAND`) takes one alone, and
//! what comes before it is set again meets the default action. And a first one may have the service
//! execute itself anew, or set what it does on the signal: the second one comes right after that.

use tracer_common::place::Order;

use super::{
    interval::{At, Planned, Timeline, processes, programs},
    rest::rest_id,
    steps::{Key, Kind, Process, Step, Steps},
};
use crate::model::{
    race::{Interval, Outcome, Reach, ReportedStep, Role, StepKind},
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

/// The instants of a second signal: right after the first, where a start has handlers for one delivery;
/// and where a service executes a program, or sets what it does on the signal, as a first one has come at
/// rest. `steps` are those until then, `rested` those of the whole run where that one was sent. What ends
/// the service needs no second one.
#[must_use]
pub fn seconds(
    steps: &Steps,
    rested: Option<&Steps>,
    signal: Signal,
    role: Role,
    service_type: &str,
) -> Vec<Planned> {
    let start = Start { steps, signal, role, service_type };
    let at_handlers = processes(steps, role).filter(|_| role != Role::End);
    let at_handlers = at_handlers.flat_map(|it| start.at_handlers(it));
    let rested = rested.filter(|_| role == Role::Reload);
    let after_rest = rested.and_then(|steps| Some((start.last()?, Start { steps, ..start })));
    at_handlers.chain(after_rest.iter().flat_map(|(last, run)| run.after(last))).collect()
}

/// A start in which second signals are placed.
#[derive(Clone, Copy)]
struct Start<'a> {
    steps: &'a Steps,
    signal: Signal,
    role: Role,
    service_type: &'a str,
}

impl<'a> Start<'a> {
    /// The last step of the main process.
    fn last(&self) -> Option<&'a Step> {
        self.steps.main()?.steps().last()
    }

    /// Where a process has a handler for one delivery.
    fn at_handlers(
        self,
        (is_main, process): (bool, &'a Process),
    ) -> impl Iterator<Item = Planned> + use<'a> {
        let once = process.steps().iter().enumerate().filter(|(_, step)| step.once);
        once.map(move |(index, step)| {
            let is_reset =
                |it: &&Step| it.key.kind == Kind::Reset && it.key.execs == step.key.execs;
            let before = process.steps()[..index].iter().filter(is_reset).count();
            let number = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
            let reset = Key { kind: Kind::Reset, number, ..step.key };
            // That handler is there until another action is set, or it is called.
            let sets = |it: &&Step| matches!(it.key.kind, Kind::Exec | Kind::Action | Kind::Reset);
            let next = process.steps()[index + 1..].iter().find(sets).map(|next| next.at);
            let to = next.or(process.ended).unwrap_or(self.steps.end());
            let signal = self.signal;
            let told = (
                format!("{signal}@{}+reset{number}", self.steps.told(step.key)),
                format!("a first {signal} was taken by a handler for one delivery"),
            );
            let at = At::Second(Second { first: step.key, reset });
            self.planned((is_main, process), step, to, at, told)
        })
    }

    /// After this step, what changes what the main process does on the signal. Where the handler alone is
    /// set anew, nothing changes; nor is there a second one where the first has ended it.
    fn after(self, last: &'a Step) -> impl Iterator<Item = Planned> + use<'a> {
        let main = self.steps.main().filter(|main| main.ended.is_none());
        let steps = main.into_iter().flat_map(|main| main.steps().iter().map(move |it| (main, it)));
        let changes = |step: &Step| match step.key.kind {
            Kind::Exec => true,
            Kind::Action => !step.handles || step.key.execs > last.key.execs,
            _ => false,
        };
        let changing = steps.filter(move |(_, it)| it.at > last.at && changes(it));
        changing.take(MAX_AFTER_REST).map(move |(main, step)| {
            let signal = self.signal;
            let told = (
                format!("{}+{}", rest_id(signal), self.steps.told(step.key)),
                format!("a first {signal} at rest, then {}", step.what),
            );
            self.planned((true, main), step, step.at, At::AfterRest(step.key), told)
        })
    }

    /// A second signal after a step of a process, in the interval that goes on until `to`; its id, and
    /// what comes before it in words.
    fn planned(
        self,
        (main, process): (bool, &Process),
        step: &Step,
        to: u64,
        at: At,
        (id, what): (String, String),
    ) -> Planned {
        let Self { steps, role, service_type, .. } = self;
        let timeline = Timeline { zero: steps.zero(), end: steps.end() };
        let reached = if main {
            super::reach(steps, role, service_type, step.at, to)
        } else {
            Reach::NotByReload
        };
        Planned {
            id,
            at,
            process: process.who.clone(),
            programs: programs(steps, step.key),
            main,
            after: ReportedStep { kind: StepKind::Second, what, at_ns: timeline.at(step.at) },
            before: None,
            to_ns: timeline.at(to),
            reached,
        }
    }
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
