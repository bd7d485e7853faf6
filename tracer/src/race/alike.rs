//! The same step in another run, where it has another number: a start has other helpers each time, and
//! what is counted by forks, or by masks around them, is told by what it comes after.

use smol_str::SmolStr;
use tracer_common::{
    event::COMM_LEN,
    place::{ANEW, CountedFrom, FORKS_APART, FORKS_SHARING, Name, Order, child_place},
};

use super::{
    interval::Planned,
    steps::{Forked, Key, Kind, Process, Since, Steps, parent},
};
use crate::model::signal::Signal;

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
        let Some(key) = self.at.key_of_start() else { return order };
        if let Some(fork) = of.fork_of_worker(key.process)
            && let Some(since) = of.process_at(fork.process).and_then(|it| it.since_steady(fork))
        {
            let left =
                of.left_of(fork).filter(|_| helpers == Helpers::LeftOut && key.kind != Kind::Begin);
            let number = left.as_ref().map_or(since.number, |(number, _)| *number);
            if let Some(place) = child_place(fork.process, ANEW.saturating_add(number)) {
                order.process = place;
                order.counted_from[0] = counted_from(&since, fork.process);
                if let Some((_, program)) = left {
                    (order.leaves_out, order.child) = (1, name(program));
                }
            }
        }
        if !key.is_steady()
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
        let key = self.at.key_of_start();
        key.is_some_and(|key| of.worker_fork(key).is_some() || !key.is_steady())
    }

    /// The same interval by the number that it has in the run `other`, where other helpers come between
    /// the last step whose number does not depend on them and it: a worker is the same one of the
    /// processes that live on, a mask the same one of those that are told. `None` where there is none,
    /// or it is counted by nothing else.
    #[must_use]
    pub fn renumbered(&self, of: &Steps, other: &Steps) -> Option<Self> {
        let key = self.at.key_of_start()?;
        let key = match of.worker_fork(key) {
            Some(fork) => {
                let which = of.forks_of_workers(fork).position(|it| it == fork)?;
                let now = other.forks_of_workers(fork).nth(which)?;
                if key == fork { now } else { Key { process: other.subject(now)?.place, ..key } }
            }
            None if key.is_steady() => return None,
            None => {
                let which = of.masks_after(key, of)?.position(|it| it == key)?;
                other.masks_after(key, of)?.nth(which)?
            }
        };
        Some(Self { at: self.at.with_key(key), ..self.clone() })
    }

    /// The same interval as it is in the run `other`, in which the process `pid` was hit; the steps of
    /// the untouched run are `of`. `None` where that is none of it.
    #[must_use]
    pub fn alike(&self, of: &Steps, other: &Steps, pid: u32) -> Option<Self> {
        let Some(key) = self.at.key_of_start() else { return Some(self.clone()) };
        Some(Self { at: self.at.with_key(alike(key, of, other, pid)?), ..self.clone() })
    }
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
    /// The fork that decides which number a step of a worker has, or the fork of one.
    fn worker_fork(&self, key: Key) -> Option<Key> {
        self.fork_of_worker(key.process).or(Some(key).filter(|key| key.kind == Kind::Child))
    }

    /// The forks of children that live on, of the process that makes this one, since the same exec.
    fn forks_of_workers(&self, fork: Key) -> impl Iterator<Item = Key> {
        let steps = self.process_at(fork.process).into_iter().flat_map(Process::steps);
        let is_such = move |key: &Key| key.kind == Kind::Child && key.execs == fork.execs;
        steps.map(|step| step.key).filter(is_such)
    }

    /// The masks of a process that are told, and come after the same step as the one of the run `of`.
    fn masks_after(&self, key: Key, of: &Self) -> Option<impl Iterator<Item = Key>> {
        let steady = of.process_at(key.process)?.since_steady(key)?.step.key;
        let process = self.process_at(key.process)?;
        let from = process.steps().iter().skip_while(move |step| step.key != steady).skip(1);
        let until = from.take_while(|step| !step.key.is_steady()).map(|step| step.key);
        Some(until.filter(move |it| it.kind == key.kind))
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
        let parent = self.process_at(parent(process.place))?;
        let is_it =
            |it: &&Forked| self.subject(it.step.key).is_some_and(|it| it.place == process.place);
        parent.forked().iter().find(is_it).map(|it| it.step.key)
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
