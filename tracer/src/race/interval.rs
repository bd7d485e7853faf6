//! The intervals between the steps of a start.

use smol_str::SmolStr;
use tracer_common::place::Order;

use super::{
    child_exit::Exit,
    second::Second,
    steps::{Key, Kind, Process, Step, Steps},
    sweep::Call,
};
use crate::model::{
    event::ProcessRef,
    race::{Reach, ReportedStep, Role, StepKind},
    signal::Signal,
};

/// The most intervals of a start that are raced, for each signal.
pub const MAX_INTERVALS: usize = 100;

/// Where a signal is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Right after the step that begins an interval.
    Step(Key),
    /// At the end of a system call.
    Call(Call),
    /// As the process is told that a child has ended.
    ChildExit(Exit),
    /// At the call of the handler of a first one.
    Second(Second),
    /// Right after a step that a first one at rest has the service make: that is sent from outside.
    AfterRest(Key),
    /// At rest, to the process at this place: no step of the kernel's is there, and it is sent from
    /// outside.
    Rest(u64),
    /// As systemd takes the unit for active, to the process at this place: the same.
    Active(u64),
}

impl At {
    /// The step that was the last one when the signal came; `None` where the kernel counted to it.
    fn key(&self) -> Option<Key> {
        match self {
            Self::Step(key) | Self::AfterRest(key) => Some(*key),
            Self::Second(second) => Some(second.reset),
            Self::Call(_) | Self::ChildExit(_) | Self::Rest(_) | Self::Active(_) => None,
        }
    }

    /// The same where that step is one of the start.
    pub(super) fn key_of_start(&self) -> Option<Key> {
        self.key().filter(|_| !matches!(self, Self::AfterRest(_)))
    }

    /// The same with that step.
    pub(super) fn with_key(self, key: Key) -> Self {
        match self {
            Self::Second(second) => {
                let first = Key { process: key.process, ..second.first };
                Self::Second(Second { first, reset: key })
            }
            Self::AfterRest(_) => Self::AfterRest(key),
            Self::Step(_) => Self::Step(key),
            other => other,
        }
    }

    /// The same in the process at another place.
    pub(super) fn with_place(self, process: u64) -> Self {
        match self {
            Self::ChildExit(exit) => Self::ChildExit(Exit { process, ..exit }),
            other => other.key().map_or(other, |key| other.with_key(Key { process, ..key })),
        }
    }

    /// The place of the process that is hit.
    #[must_use]
    pub fn place(&self) -> u64 {
        match self {
            Self::Step(key) | Self::AfterRest(key) => key.process,
            Self::Call(call) => call.process,
            Self::ChildExit(exit) => exit.process,
            Self::Second(second) => second.reset.process,
            Self::Rest(process) | Self::Active(process) => *process,
        }
    }

    /// Whether it is no instant of the kernel's: the signal is sent by this tool, or by a reload.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self, Self::Rest(_) | Self::Active(_))
    }

    /// The order to place `signal` there; where notify messages go is yet to be told. Where it is
    /// sent, the kernel side places nothing.
    #[must_use]
    pub(super) fn order(&self, signal: Signal) -> Order {
        match self {
            Self::Rest(_) | Self::Active(_) => Order::default(),
            Self::Step(key) | Self::AfterRest(key) => key.order(signal),
            Self::Call(call) => call.order(signal),
            Self::ChildExit(exit) => exit.order(signal),
            Self::Second(second) => second.order(signal),
        }
    }
}

/// An interval that is to be raced, or an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What `--only` takes.
    pub id: String,
    /// Where the signal is placed.
    pub at: At,
    /// The process.
    pub process: ProcessRef,
    /// The programs that it executed by that step, or that the child does that it forks there.
    pub programs: Vec<SmolStr>,
    /// Whether it is the main process.
    pub main: bool,
    /// The step that begins it, in words.
    pub after: ReportedStep,
    /// The step that ends it.
    pub before: Option<ReportedStep>,
    /// When it ends, at the latest with what was looked at, ns on the timeline.
    pub to_ns: i64,
    /// Whether a reload reaches it.
    pub reached: Reach,
}

/// The intervals of a start, the main process's first, and how many there are no more room for.
/// The start was looked at until `end` (`CLOCK_BOOTTIME` ns).
#[must_use]
pub fn plan(
    steps: &Steps,
    signal: Signal,
    role: Role,
    service_type: &str,
    end: u64,
) -> (Vec<Planned>, u64) {
    let on_timeline = Timeline { zero: steps.zero(), end };
    let mut planned = Vec::new();
    for (is_main, process) in processes(steps, role) {
        for (index, step) in process.steps().iter().enumerate() {
            let next = process.steps().get(index + 1);
            let before = on_timeline.before(process, next);
            let to = next.map(|next| next.at).or(process.ended).unwrap_or(end);
            planned.push(Planned {
                id: format!("{signal}@{}", steps.told(step.key)),
                at: At::Step(step.key),
                process: process.who.clone(),
                programs: programs(steps, step.key),
                main: is_main,
                after: on_timeline.step(step),
                before,
                to_ns: on_timeline.at(to),
                reached: if is_main {
                    super::reach(steps, role, service_type, step.at, to)
                } else {
                    Reach::NotByReload
                },
            });
        }
    }
    let left_out = planned.len().saturating_sub(MAX_INTERVALS);
    planned.truncate(MAX_INTERVALS);
    (planned, left_out as u64)
}

/// The processes that a signal is sent to, and whether each is the main one.
pub(super) fn processes(steps: &Steps, role: Role) -> impl Iterator<Item = (bool, &Process)> {
    // What is right for another depends on how a reload is sent; what ends the service ends all of
    // them.
    let others = steps.starter().into_iter().chain(steps.workers());
    let others = others.filter(move |_| role == Role::Reload);
    steps.main().map(|main| (true, main)).into_iter().chain(others.map(|it| (false, it)))
}

/// The programs by which a process is known again in another run: what another child of the same
/// number executes may be something else. Before its first exec that is what it executes later.
pub(super) fn programs(steps: &Steps, key: Key) -> Vec<SmolStr> {
    let programs = steps.subject(key).map(Process::programs).unwrap_or_default();
    let by_then = if key.kind == Kind::Child { 0 } else { key.execs as usize };
    let count = if by_then == 0 { programs.len() } else { by_then };
    programs.iter().take(count).cloned().collect()
}

/// From moments to the timeline of the untouched run.
pub(super) struct Timeline {
    pub zero: u64,
    pub end: u64,
}

impl Timeline {
    pub fn at(&self, at: u64) -> i64 {
        let ns = i128::from(at.min(self.end)) - i128::from(self.zero);
        ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    pub fn step(&self, step: &Step) -> ReportedStep {
        ReportedStep { kind: step.told, what: step.what.clone(), at_ns: self.at(step.at) }
    }

    /// What ends an interval that `next` follows on.
    fn before(&self, process: &Process, next: Option<&Step>) -> Option<ReportedStep> {
        let exit = process.ended.map(|at| ReportedStep {
            kind: StepKind::Exit,
            what: "exit".to_owned(),
            at_ns: self.at(at),
        });
        next.map(|next| self.step(next)).or(exit)
    }
}

impl Planned {
    /// Up to when steps may come before a signal that was placed at `at`. A wait is told of where it
    /// begins, which may be a moment after the system call.
    #[must_use]
    pub fn until(&self, at: u64) -> u64 {
        let is_wait = matches!(self.at, At::Step(key) if key.kind == Kind::Sigwait);
        if is_wait { at.saturating_add(1_000_000) } else { at }
    }

    /// Whether a signal that was placed at `at` in another run, with these steps, is in this
    /// interval: the last step by then is the one that begins it.
    #[must_use]
    pub fn holds(&self, steps: &Steps, at: u64) -> bool {
        let Some(key) = self.at.key() else { return true };
        let Some(process) = steps.process_at(key.process) else { return false };
        process.was_last(key, self.until(at)) && self.does_alike(process)
    }

    /// Whether a process sets the same action there: what a helper sets may have the number of what a
    /// worker does. The main process is itself, whatever it sets in this run.
    fn does_alike(&self, process: &Process) -> bool {
        let At::Step(key) = self.at else { return true };
        let mut steps = process.steps().iter();
        let does = steps.find(|step| step.key == key).map(|step| step.what.as_str());
        self.main || key.kind != Kind::Action || does == Some(&self.after.what)
    }

    /// Whether in another run, with these steps, the process is the same as far as that is known:
    /// by what it has executed.
    #[must_use]
    pub fn is_of(&self, steps: &Steps) -> bool {
        let Some(key) = self.at.key() else { return true };
        let programs = programs(steps, key);
        programs.iter().zip(&self.programs).all(|(one, other)| one == other)
            && (programs.is_empty() || !self.programs.is_empty())
    }
}
