//! The same step in another run, where it has another number: a start has other helpers each time, and
//! what is counted by forks, or by masks around them, is told by what it comes after.

use super::{
    interval::{At, Planned},
    steps::{Key, Kind, Process, Steps, parent},
};
use crate::model::signal::Signal;

impl Planned {
    /// The same interval as it is in the run `other`, where the steps of the untouched run are `of`;
    /// `None` where it is not found there.
    #[must_use]
    pub fn renumbered(&self, of: &Steps, other: &Steps) -> Option<Self> {
        let At::Step(key) = self.at else { return None };
        let like = alike(key, of, other)?;
        let now = Self { at: At::Step(like), ..self.clone() };
        now.is_of(other).then_some(now)
    }

    /// Why one that has been renumbered was not reached.
    #[must_use]
    pub fn missed_as(&self, signal: Signal) -> String {
        let At::Step(key) = self.at else { return String::new() };
        format!(
            "it has another number in each run, as how many helpers the start has differs: in the last \
             one it was {signal}@{key}"
        )
    }
}

/// The step of the run `other` that is like this one of the run `of`.
fn alike(key: Key, of: &Steps, other: &Steps) -> Option<Key> {
    let place = match of.fork_of(key.process) {
        // A worker is the one that comes from a fork like its own.
        Some(fork) if of.main().is_none_or(|main| main.place != key.process) => {
            let parents = (of.process_at(fork.process)?, other.process_at(fork.process)?);
            other.subject(step_alike(fork, parents)?)?.place
        }
        _ => key.process,
    };
    let like = step_alike(key, (of.process_at(key.process)?, other.process_at(place)?))?;
    Some(Key { process: place, ..like })
}

/// Whether the number of a step does not depend on helpers, which are forked, with masks around it.
fn is_steady(kind: Kind) -> bool {
    !matches!(kind, Kind::Child | Kind::Block | Kind::Unblock)
}

/// Of a mask, the last step of its process before it whose number does not depend on helpers. It is
/// told without its process, which may be another one in another run.
pub(super) fn steady_before_mask(process: &Process, key: Key) -> Option<Key> {
    if !matches!(key.kind, Kind::Block | Kind::Unblock) {
        return None;
    }
    let before = process.steps().iter().take_while(|step| step.key != key);
    let last = before.map(|step| step.key).filter(|it| is_steady(it.kind)).last()?;
    Some(Key { process: 0, ..last })
}

/// The same of a process and the one that it is in the other run: of that kind it is the one that comes
/// as the same since the last step of another kind whose number does not depend on helpers.
fn step_alike(key: Key, (one, other): (&Process, &Process)) -> Option<Key> {
    let index = one.steps().iter().position(|step| step.key == key)?;
    if is_steady(key.kind) {
        return Some(key);
    }
    let begin = one.steps()[..index].iter().rposition(|step| is_steady(step.key.kind))?;
    let steady = one.steps()[begin].key;
    let is_of_kind = |it: &&Key| it.kind == key.kind;
    let since = one.steps()[begin..=index].iter().map(|step| &step.key);
    let rank = since.filter(is_of_kind).count();
    // The number alone is the same: it may be another process.
    let is_it = |it: &Key| Key { process: 0, ..*it } == Key { process: 0, ..steady };
    let found = other.steps().iter().position(|step| is_it(&step.key))?;
    let after = other.steps()[found + 1..].iter().map(|step| &step.key);
    let after = after.take_while(|it| it.execs == key.execs && !is_steady(it.kind));
    after.filter(is_of_kind).nth(rank - 1).copied()
}

impl Steps {
    /// The fork that the process at a place comes from, among the steps of its parent.
    fn fork_of(&self, place: u64) -> Option<Key> {
        let parent = self.process_at(parent(place))?;
        let is_it = |key: &Key| self.subject(*key).is_some_and(|it| it.place == place);
        parent.steps().iter().map(|step| step.key).filter(|it| it.kind == Kind::Child).find(is_it)
    }
}
