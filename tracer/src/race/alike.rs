//! The same step in another run, where it has another number: a start has other helpers each time, and
//! what is counted by forks, or by masks around them, is told by what it comes after.

use tracer_common::place::{ANEW, CountedFrom, Order, child_place};

use super::{
    interval::{At, Planned},
    steps::{Key, Kind, Process, Step, Steps, parent},
};
use crate::model::signal::Signal;

impl Planned {
    /// The order to place `signal` there, however many helpers the start has; `of` are the steps of the
    /// untouched run. Where notify messages go is yet to be told.
    #[must_use]
    pub fn order(&self, signal: Signal, of: &Steps) -> Order {
        let mut order = self.at.order(signal);
        let At::Step(key) = self.at else { return order };
        if let Some(fork) = of.fork_of_worker(key.process)
            && let Some((steady, since)) =
                of.process_at(fork.process).and_then(|it| it.since_steady(fork))
            && let Some(place) = child_place(fork.process, ANEW.saturating_add(since))
        {
            order.process = place;
            order.counted_from[0] = counted_from(steady, fork.process);
        }
        if !key.is_steady()
            && let Some((steady, since)) =
                of.process_at(key.process).and_then(|it| it.since_steady(key))
        {
            order.number = ANEW.saturating_add(since);
            order.counted_from[1] = counted_from(steady, order.process);
        }
        order
    }

    /// Whether it is counted by forks: it is about a worker, or the fork of one.
    #[must_use]
    pub fn is_counted_by_forks(&self, of: &Steps) -> bool {
        matches!(self.at, At::Step(key) if of.worker_fork(key).is_some())
    }

    /// The same interval by the number that it has in the run `other`, where other helpers come between
    /// the last step whose number does not depend on them and the worker: it is the same one of the
    /// processes that live on. `None` where there is none, or it is counted by nothing else.
    #[must_use]
    pub fn renumbered(&self, of: &Steps, other: &Steps) -> Option<Self> {
        let At::Step(key) = self.at else { return None };
        let fork = of.worker_fork(key)?;
        let which = of.forks_of_workers(fork).position(|it| it == fork)?;
        let now = other.forks_of_workers(fork).nth(which)?;
        let key = if key == fork { now } else { Key { process: other.subject(now)?.place, ..key } };
        Some(Self { at: At::Step(key), ..self.clone() })
    }

    /// The same interval as it is in the run `other`, where the steps of the untouched run are `of`;
    /// `None` where it is not found there.
    #[must_use]
    pub fn alike(&self, of: &Steps, other: &Steps) -> Option<Self> {
        let At::Step(key) = self.at else { return Some(self.clone()) };
        Some(Self { at: At::Step(alike(key, of, other)?), ..self.clone() })
    }
}

/// Forks and masks of the process at a place are counted from this step on.
fn counted_from(step: &Step, process: u64) -> CountedFrom {
    let Key { kind, execs, number, .. } = step.key;
    CountedFrom { process, step: kind as u32, execs, number, reserved: 0 }
}

/// The step of the run `other` that is like this one of the run `of`.
fn alike(key: Key, of: &Steps, other: &Steps) -> Option<Key> {
    let process = match of.fork_of_worker(key.process) {
        // A worker is the one that comes from a fork like its own.
        Some(fork) => {
            let fork = other.process_at(fork.process)?.like(of.process_at(fork.process)?, fork)?;
            other.subject(fork)?
        }
        None => other.process_at(key.process)?,
    };
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
}
