//! Instants among the system calls of a start: to find what the program does with a signal that
//! it takes while it is half set up.

use std::fmt;

use tracer_common::place::{self, COMMAND, Counted};

use super::{
    interval::{At, Planned},
    steps::{Steps, order, place_of, write_children},
};
use crate::model::{
    race::{Interval, Outcome, ReportedStep, Role, SignalRace, StepKind, Try},
    signal::Signal,
};

/// The end of a system call of a thread: by this it is found again in another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The place of its process in the tree of the command's.
    pub process: u64,
    /// How many programs the process has executed by then.
    pub execs: u32,
    /// How many threads the process had started before it since then.
    pub thread: u32,
    /// Which one of the thread's it is since then, from 1 on.
    pub number: u32,
}

impl fmt::Display for Call {
    /// As in `--only`: `exec1.call412`, `child2.exec1.thread3.call7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_children(f, self.process)?;
        if self.execs > 0 {
            write!(f, "exec{}.", self.execs)?;
        }
        if self.thread > 0 {
            write!(f, "thread{}.", self.thread)?;
        }
        write!(f, "call{}", self.number)
    }
}

impl Call {
    /// The one that was counted.
    #[must_use]
    pub fn of(counted: &Counted) -> Self {
        let Counted { process, execs, thread, number, .. } = *counted;
        Self { process, execs, thread, number }
    }

    /// The same by the number that its process is told by.
    fn told(self, steps: &Steps) -> Self {
        Self { process: steps.told_place(self.process), ..self }
    }

    /// The one that `--only` names; `None` where it names none.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let mut words = id.split('.').peekable();
        let number = |word: &str, before: &str| -> Option<u32> {
            word.strip_prefix(before)?.parse().ok().filter(|number| *number > 0)
        };
        let mut forks = Vec::new();
        while let Some(fork) = words.peek().and_then(|word| number(word, "child")) {
            forks.push(fork);
            words.next();
        }
        let mut of = |before: &str| {
            let found = words.peek().and_then(|word| number(word, before));
            found.inspect(|_| _ = words.next())
        };
        let (execs, thread) = (of("exec").unwrap_or(0), of("thread").unwrap_or(0));
        let call = Self { process: place_of(&forks)?, execs, thread, number: of("call")? };
        words.next().is_none().then_some(call)
    }

    /// The order to place `signal` there.
    #[must_use]
    pub fn order(&self, signal: Signal) -> place::Order {
        let Self { process, execs, thread, number } = *self;
        place::Order { thread, ..order(signal, place::CALL, process, execs, number) }
    }
}

/// What is said of a run in which a thread does not come to a call: how many it makes may depend on how
/// threads take turns.
pub const FEWER_CALLS: &str = "the thread made fewer system calls in this run";

/// Whether an instant was not reached as there was no such call, where most others of the sweep were:
/// it is one of many, and what a start does not do there is nothing to be tested.
pub(super) fn is_beyond(race: &SignalRace, interval: &Interval, missed: &Try) -> bool {
    interval.after.kind == StepKind::Call
        && missed.what == FEWER_CALLS
        && 2 * race.sweep.iter().filter(|it| it.outcome != Outcome::NotReached).count()
            > race.sweep.len()
}

/// When the start ends, `CLOCK_BOOTTIME` ns: that of a service that says READY=1 with that, or with its
/// last step if that is later. Another one's goes on for as long as it was looked at.
pub(super) fn start_end(steps: &Steps) -> u64 {
    let last = steps.main().and_then(|main| main.steps().last()).map(|step| step.at);
    steps.ready().map_or(u64::MAX, |ready| last.map_or(ready, |last| last.max(ready)))
}

/// The ends of system calls that the main process came to while it started, in order of time.
#[must_use]
pub fn calls(counted: &[Counted], steps: &Steps) -> Vec<Counted> {
    let end = start_end(steps);
    let place = steps.main().map_or(COMMAND, |main| main.place);
    let is_of = |call: &&Counted| call.process == place && call.at_ns != 0 && call.at_ns <= end;
    let mut calls: Vec<Counted> = counted.iter().filter(is_of).copied().collect();
    calls.sort_by_key(|call| call.at_ns);
    calls
}

/// So many instants, spread evenly over the calls.
#[must_use]
pub fn sweep(
    calls: &[Counted],
    steps: &Steps,
    signal: Signal,
    role: Role,
    service_type: &str,
    count: usize,
) -> Vec<Planned> {
    let count = count.min(calls.len());
    // In the middle of each of so many equal parts.
    let indices = (0..count).map(|index| (2 * index + 1) * calls.len() / (2 * count));
    indices.filter_map(|index| instant(calls, index, steps, signal, role, service_type)).collect()
}

/// The instant of a call that `--only` names. Where the untouched start did not come to it, it is
/// placed all the same.
#[must_use]
pub fn one(
    calls: &[Counted],
    call: Call,
    steps: &Steps,
    signal: Signal,
    role: Role,
    service_type: &str,
) -> Option<Planned> {
    let index = calls.iter().position(|counted| Call::of(counted).told(steps) == call)?;
    instant(calls, index, steps, signal, role, service_type)
}

fn instant(
    calls: &[Counted],
    index: usize,
    steps: &Steps,
    signal: Signal,
    role: Role,
    service_type: &str,
) -> Option<Planned> {
    let counted = calls.get(index)?;
    let (call, process) = (Call::of(counted), steps.main()?);
    let ns = i128::from(counted.at_ns) - i128::from(steps.zero());
    let at_ns = ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
    let what = format!("system call {} of {}", index + 1, calls.len());
    Some(Planned {
        id: format!("{signal}@{}", call.told(steps)),
        at: At::Call(call),
        process: process.who.clone(),
        programs: Vec::new(),
        main: true,
        after: ReportedStep { kind: StepKind::Call, what, at_ns },
        before: None,
        to_ns: at_ns,
        reached: super::reach(steps, role, service_type, counted.at_ns, counted.at_ns + 1),
    })
}

/// The instants that came out otherwise than the intervals of the main process that they are in.
pub(super) fn differing<'a>(
    intervals: &'a [Interval],
    instants: &'a [Interval],
) -> impl Iterator<Item = &'a Interval> {
    let around = |instant: &Interval| {
        let before = |it: &&Interval| it.main == instant.main && it.from_ns <= instant.from_ns;
        intervals.iter().rev().find(before).map(|it| it.outcome)
    };
    instants.iter().filter(move |it| {
        it.outcome != Outcome::NotReached && around(it).is_none_or(|around| around != it.outcome)
    })
}

/// What came of the instants, beside what the intervals that they are in came to.
#[must_use]
pub fn swept(intervals: &[Interval], sweep: &[Interval], calls: u64) -> Option<String> {
    let tried = sweep.iter().filter(|it| it.outcome != Outcome::NotReached).count();
    if tried == 0 {
        return None;
    }
    let others: Vec<&Interval> = differing(intervals, sweep).collect();
    let instants = if tried == 1 { "instant" } else { "instants" };
    let all = format!("{tried} {instants} among the {calls} system calls of its start");
    Some(match others.first() {
        None => format!("At {all} it came out as the interval around does."),
        Some(first) => format!(
            "At {} of {all} it came out otherwise than the interval around does: the first is {}, \
             {}.",
            others.len(),
            first.id,
            first.outcome.word()
        ),
    })
}
