//! The same step in another run, where it has another number: a start has other helpers each time, and
//! what is counted by forks, or by masks around them, is told by what it comes after.

use std::ops::RangeInclusive;

use smol_str::SmolStr;
use tracer_common::{
    event::COMM_LEN,
    place::{ANEW, COMMAND, CountedFrom, FORKS_APART, FORKS_SHARING, Name, Order, child_place},
};

use super::{
    interval::Planned,
    steps::{Forked, Key, Kind, Process, Since, Steps, parent},
};
use crate::model::{document::OutcomeState, signal::Signal};

/// How the helpers that come before a worker are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helpers {
    /// They are counted as workers are: which of them it is, is not known as one is forked.
    Counted,
    /// Who ends, or executes another program than the worker does, is counted no more from then on.
    LeftOut,
}

impl Planned {
    /// The order to place `signal` there, however many helpers the start has; `of` are the steps of the
    /// untouched run. Where notify messages go is yet to be told.
    #[must_use]
    pub fn order(&self, signal: Signal, of: &Steps, helpers: Helpers) -> Order {
        let mut order = self.at.order(signal);
        let key = self.at.key_of_start();
        if let Some(fork) = of.fork_of_worker(order.process)
            && let Some(since) = of.process_at(fork.process).and_then(|it| it.since_steady(fork))
        {
            // Of the exit of a child, the name in the order is that of the child.
            let leaves = key.is_some_and(|key| key.kind != Kind::Begin);
            let left = of.left_of(fork).filter(|_| helpers == Helpers::LeftOut && leaves);
            let number = left.as_ref().map_or(since.number, |(number, _)| *number);
            if let Some(place) = child_place(fork.process, ANEW.saturating_add(number)) {
                order.process = place;
                order.counted_from[0] = counted_from(&since, fork.process);
                if let Some((_, program)) = left {
                    (order.leaves_out, order.child) = (1, name(program));
                }
            }
        }
        if let Some(key) = key.filter(|key| !key.is_steady())
            && let Some(since) = of.process_at(key.process).and_then(|it| it.since_steady(key))
        {
            order.number = ANEW.saturating_add(since.number);
            order.counted_from[1] = counted_from(&since, order.process);
        }
        order
    }

    /// Whether its number depends on helpers: it is about a worker, or the fork of one, or a mask.
    #[must_use]
    pub fn is_counted_by_helpers(&self, of: &Steps) -> bool {
        let is_unsteady = self.at.key_of_start().is_some_and(|key| !key.is_steady());
        is_unsteady || of.fork_of_worker(self.at.place()).is_some()
    }

    /// Whether it is right at the fork of a worker.
    #[must_use]
    pub fn is_at_fork(&self) -> bool {
        let is_fork = |key: Key| matches!(key.kind, Kind::Child | Kind::Begin);
        self.at.key_of_start().is_some_and(is_fork)
    }

    /// The same interval by the number that it has in the run `other`, where other helpers come between
    /// the last step whose number does not depend on them and it: a worker is the same one of the
    /// processes that live on, a mask the same one of those that are told. `None` where there is none,
    /// or it is counted by nothing else.
    #[must_use]
    pub fn renumbered(&self, of: &Steps, other: &Steps) -> Option<Self> {
        let place = of.place_in(other, self.at.place())?;
        let at = match self.at.key_of_start() {
            Some(key) if key.kind == Kind::Child => {
                self.at.with_key(of.fork_in(other, key, place)?)
            }
            Some(key) if !key.is_steady() => {
                let steady = of.process_at(key.process)?.since_steady(key)?.step.key;
                let which = of.masks_after(steady, key.kind)?.position(|it| it == key)?;
                let steady = Key { process: place, ..steady };
                self.at.with_key(other.masks_after(steady, key.kind)?.nth(which)?)
            }
            _ if of.fork_of_worker(self.at.place()).is_some() => self.at.with_place(place),
            _ => return None,
        };
        Some(Self { at, ..self.clone() })
    }

    /// The same interval as it is in the run `other`, in which the process `pid` was hit; the steps of
    /// the untouched run are `of`. `None` where that is none of it.
    #[must_use]
    pub fn alike(&self, of: &Steps, other: &Steps, pid: u32) -> Option<Self> {
        let Some(key) = self.at.key_of_start() else { return Some(self.clone()) };
        Some(Self { at: self.at.with_key(alike(key, of, other, pid)?), ..self.clone() })
    }

    /// Whether the process `pid`, which was hit at `at` in the run `other`, is the same one among those
    /// that are forked as it is; the steps of the untouched run are `of`.
    #[must_use]
    pub fn is_of_same_process(&self, of: &Steps, other: &Steps, (pid, at): (u32, u64)) -> Same {
        let (Some(own), Some(others)) = (of.process_at(self.at.place()), other.process_of(pid))
        else {
            return Same::No;
        };
        let fork = self.at.key_of_start().filter(|key| key.kind == Kind::Child);
        let (own, others) = match fork {
            Some(fork) => {
                let last = others.forked().iter().rfind(|it| it.step.at <= at);
                let child = last.and_then(|it| other.subject(it.step.key));
                let (Some(own), Some(others)) = (of.subject(fork), child) else { return Same::No };
                (own, others)
            }
            None => (own, others),
        };
        match of.is_same(own, other, others, at) {
            false => Same::No,
            // What the parent does there is the same whoever it forks.
            true if fork.is_some() || of.is_main(own) => Same::Yes,
            true => of.is_worker(own, other, others, at),
        }
    }
}

/// Whether a process is the same one as in another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// It is, as far as forks tell.
    Yes,
    /// It has exited, and as many as there are workers run beside it: it was a helper, or another worker
    /// was started in its place.
    Unknown,
    /// The same, and there are helpers that are forked as it is.
    Helper,
    /// It is another one.
    No,
}

/// Forks and masks of the process at a place are counted from this step on.
fn counted_from(since: &Since<'_>, process: u64) -> CountedFrom {
    let Key { kind, execs, number, .. } = since.step.key;
    let forks = match since.fork {
        Some(fork) if fork.shares_memory => FORKS_SHARING,
        Some(_) => FORKS_APART,
        None => 0,
    };
    CountedFrom { process, step: kind as u32, execs, number, forks }
}

/// The name of a program as the kernel has it; zeros for none.
fn name(program: Option<&SmolStr>) -> Name {
    let mut bytes = [0; COMM_LEN];
    let name = program.map(|name| name.as_bytes()).unwrap_or_default();
    for (byte, of_name) in bytes.iter_mut().zip(name) {
        *byte = *of_name;
    }
    bytemuck::cast(bytes)
}

/// The step of the run `other` that is like this one of the run `of`, where the process `pid` was hit.
fn alike(key: Key, of: &Steps, other: &Steps, pid: u32) -> Option<Key> {
    let forks_alike = |own: Key, others: Key| {
        let (parent, other) = (other.process_at(own.process)?, of.process_at(others.process)?);
        parent.forks_alike(own, other, others).then_some(own)
    };
    let process = match of.fork_of_worker(key.process) {
        // A worker is one that comes from a fork like its own.
        Some(fork) => {
            let process = other.process_of(pid)?;
            forks_alike(other.fork_of(process)?, fork)?;
            process
        }
        None => other.process_at(key.process)?,
    };
    if key.kind == Kind::Child {
        return forks_alike(process.forked().last()?.step.key, key);
    }
    process.like(of.process_at(key.process)?, key)
}

impl Steps {
    /// The place in the run `other` of the process at a place, where that is a worker: it is the same one
    /// of the processes that live on.
    fn place_in(&self, other: &Self, place: u64) -> Option<u64> {
        let Some(fork) = self.fork_of_worker(place) else { return Some(place) };
        let fork = self.fork_in(other, fork, self.place_in(other, fork.process)?)?;
        Some(other.subject(fork)?.place)
    }

    /// The fork of a worker in the run `other`, where its parent is at `place`.
    fn fork_in(&self, other: &Self, fork: Key, place: u64) -> Option<Key> {
        let which = self.forks_of_workers(fork).position(|it| it == fork)?;
        other.forks_of_workers(Key { process: place, ..fork }).nth(which)
    }

    /// The forks of children that live on, of the process that makes this one, since the same exec.
    fn forks_of_workers(&self, fork: Key) -> impl Iterator<Item = Key> {
        let steps = self.process_at(fork.process).into_iter().flat_map(Process::steps);
        let is_such = move |key: &Key| key.kind == Kind::Child && key.execs == fork.execs;
        steps.map(|step| step.key).filter(is_such)
    }

    /// The masks of a kind that are told, of the process of a step that does not depend on helpers, from
    /// that on to the next such step.
    fn masks_after(&self, steady: Key, kind: Kind) -> Option<impl Iterator<Item = Key>> {
        let process = self.process_at(steady.process)?;
        let from = process.steps().iter().skip_while(move |step| step.key != steady).skip(1);
        let until = from.take_while(|step| !step.key.is_steady()).map(|step| step.key);
        Some(until.filter(move |it| it.kind == kind))
    }

    /// The fork that the process at a place comes from, among the steps of its parent, where that is
    /// no main process.
    fn fork_of_worker(&self, place: u64) -> Option<Key> {
        if self.main().is_some_and(|main| main.place == place) {
            return None;
        }
        let parent = self.process_at(parent(place))?;
        let is_it = |key: &Key| self.subject(*key).is_some_and(|it| it.place == place);
        parent.steps().iter().map(|step| step.key).filter(|it| it.kind == Kind::Child).find(is_it)
    }

    /// The fork that a process comes from.
    fn fork_of(&self, process: &Process) -> Option<Key> {
        let parent = self.parent(process)?;
        let is_it =
            |it: &&Forked| self.subject(it.step.key).is_some_and(|it| it.place == process.place);
        parent.forked().iter().find(is_it).map(|it| it.step.key)
    }

    /// Whether a process is the one of the run `other`, in which one was hit at `at`: each that leads to
    /// it is the same one of those that are forked as it is.
    fn is_same(&self, own: &Process, other: &Self, others: &Process, at: u64) -> bool {
        if self.is_main(own) || other.is_main(others) {
            return own.place == others.place;
        }
        let parents = (self.parent(own), other.parent(others));
        let (Some(own_parent), Some(others_parent)) = parents else { return false };
        other.which(others, at).contains(self.which(own, u64::MAX).start())
            && self.is_same(own_parent, other, others_parent, at)
    }

    /// Whether a process is the command, or the main one.
    fn is_main(&self, process: &Process) -> bool {
        process.place == COMMAND || self.main().is_some_and(|main| main.place == process.place)
    }

    /// Which one a process is of the children of its parent that are forked as it is, and live on or
    /// start such: the least that it may be, and the most. One that ended once another was hit at `at`
    /// may have done so by that.
    fn which(&self, process: &Process, at: u64) -> RangeInclusive<usize> {
        let (mut least, mut most) = (1, 1);
        for other in self.forked_like(process).take_while(|it| it.place != process.place) {
            let lives = self.leads_to_worker(other.place);
            least += usize::from(lives);
            most += usize::from(lives || other.ended.is_none_or(|ended| ended >= at));
        }
        least..=most
    }

    /// Whether a process of the run `other` that was hit at `at`, and may have exited, is the worker `own`,
    /// and no helper that is forked as that is. What ended later may have done so by that.
    fn is_worker(&self, own: &Process, other: &Self, others: &Process, at: u64) -> Same {
        let is_worker = |it: &&Process| self.leads_to_worker(it.place);
        let workers = self.forked_like(own).filter(is_worker).count();
        let mut beside: Vec<_> = other.forked_like(others).collect();
        beside.retain(|it| it.place != others.place);
        let running = beside.iter().filter(|it| it.ended.is_none()).count();
        let is_over = |it: &&Process| it.ended.is_some_and(|ended| ended < at);
        let has_helpers =
            beside.iter().any(is_over) || self.forked_like(own).any(|it| !is_worker(&it));
        match others.outcome.state == OutcomeState::Exited && running >= workers {
            false => Same::Yes,
            true if has_helpers => Same::Helper,
            true => Same::Unknown,
        }
    }

    /// The children of the parent of a process that are forked as it is, in their order.
    fn forked_like(&self, process: &Process) -> impl Iterator<Item = &Process> {
        let parent = self.parent(process);
        let fork = self.fork_of(process);
        let forks = parent.into_iter().flat_map(Process::forked);
        let alike = forks.filter(move |it| {
            parent.zip(fork).is_some_and(|(parent, fork)| {
                it.step.key.execs == fork.execs && parent.forks_alike(it.step.key, parent, fork)
            })
        });
        alike.filter_map(|it| self.subject(it.step.key))
    }

    /// The process that forked another one.
    fn parent(&self, process: &Process) -> Option<&Process> {
        self.process_at(parent(process.place))
    }

    /// Which one a worker is of the children that its parent has started, where helpers are left out,
    /// and the name of the first program that it executes, if it executes one.
    fn left_of(&self, fork: Key) -> Option<(u32, Option<&SmolStr>)> {
        let parent = self.process_at(fork.process)?;
        let since = parent.since_steady(fork)?;
        let (last, program) = (since.fork?, self.subject(fork)?.first_program(u64::MAX));
        let is_left = |it: &&Forked| {
            self.subject(it.step.key).is_some_and(|child| match child.first_program(last.step.at) {
                Some(first) => Some(first) == program,
                None => child.ended.is_none_or(|ended| ended >= last.step.at),
            })
        };
        let number = parent.forks_until(last, since.step).filter(is_left).count();
        Some((number.try_into().ok()?, program))
    }
}
