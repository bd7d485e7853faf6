//! The changes of what a process does, which are kept in bounded number.

use tracer_common::signal::SignalSet;

use super::{
    ProcessSignals,
    dispositions::{Dispositions, members, without},
};
use crate::model::disposition::Reaction;

/// Changes kept of one process. Beyond, those in the middle are dropped: the first ones after
/// an exec and the last ones decide.
pub const MAX_CHANGES: usize = 128;

/// A change of what a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, `CLOCK_BOOTTIME` ns.
    pub at: u64,
    /// What it does from then on.
    pub now: Dispositions,
    /// It came with an exec.
    pub exec: bool,
}

impl ProcessSignals {
    /// Its changes, in order of time.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What it did at a time, if anything was seen of it by then.
    #[must_use]
    pub fn at(&self, at: u64) -> Option<Dispositions> {
        let last = self.changes.iter().rev().find(|change| change.at <= at);
        last.map(|change| change.now)
    }

    /// What it did before a time, and from that on.
    #[must_use]
    pub fn around(&self, at: u64) -> (Dispositions, Dispositions) {
        let before = at.checked_sub(1).and_then(|before| self.at(before));
        (before.unwrap_or_default(), self.at(at).unwrap_or_default())
    }

    /// Changes there was no room for.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn change(&mut self, at: u64, now: Dispositions, exec: bool) {
        if !exec && self.changes.last().is_some_and(|last| last.now == now) {
            return;
        }
        // One that is told late takes its place after those that are known.
        let at = self.changes.last().map_or(at, |last| at.max(last.at));
        if self.changes.len() >= MAX_CHANGES && !self.leave_out_a_turn() {
            self.changes.remove(self.least_telling());
            self.dropped += 1;
        }
        self.changes.push(Change { at, now, exec });
    }

    /// A program that blocks signals around its wait for input does so at each turn of its loop.
    /// Of three turns that are the same the one between is left out, if there are such: no
    /// verdict depends on it. It is the one that held for the shortest time.
    fn leave_out_a_turn(&mut self) -> bool {
        let is_same = |a: &Change, b: &Change| a.now == b.now && !a.exec && !b.exec;
        let same: Vec<bool> =
            self.changes.windows(3).map(|turn| is_same(&turn[0], &turn[2])).collect();
        let held = |index: &usize| self.changes[index + 1].at - self.changes[*index].at;
        let firsts = same.windows(4).enumerate().filter(|(_, same)| same.iter().all(|it| *it));
        let shortest = firsts.flat_map(|(first, _)| [first + 2, first + 3]).min_by_key(held);
        if let Some(shortest) = shortest {
            self.changes.drain(shortest..shortest + 2);
        }
        shortest.is_some()
    }

    /// The change that is dropped first: in the middle of what came before the last exec, or
    /// else of what came after it. The first and the last exec stay, and what brought the first
    /// handler for a signal since then.
    fn least_telling(&self) -> usize {
        let first_exec = self.changes.iter().position(|change| change.exec);
        let last_exec = self.changes.iter().rposition(|change| change.exec);
        let program = last_exec.unwrap_or(0);
        let (from, to) = if program > MAX_CHANGES / 2 {
            (0, program)
        } else {
            (program, self.changes.len() - 1)
        };
        let taken = |change: &Change| {
            members(self.recorded)
                .filter(|signal| change.now.of(*signal).reaction() == Reaction::Takes)
                .fold(SignalSet::EMPTY, |set, signal| set.union(signal.set()))
        };
        let mut seen = SignalSet::EMPTY;
        let brings_first = self.changes.iter().enumerate().map(|(index, change)| {
            if index < program {
                return false;
            }
            let new = without(taken(change), seen);
            seen = seen.union(new);
            new != SignalSet::EMPTY
        });
        let stays: Vec<bool> = brings_first
            .enumerate()
            .map(|(index, brings_first)| {
                brings_first || Some(index) == first_exec || Some(index) == last_exec
            })
            .collect();
        let middle = from + (to - from) / 2;
        let free = (from + 1..to).filter(|index| !stays[*index]);
        free.min_by_key(|index| index.abs_diff(middle)).unwrap_or(middle)
    }

    /// From one time on, and until another, no more than `most` was blocked.
    pub(super) fn limit_blocked(&mut self, since: u64, until: u64, most: SignalSet) {
        let first = self.first_since(since);
        for change in self.changes[first..].iter_mut().filter(|change| change.at < until) {
            change.now.limit_blocked(most);
        }
        self.join_same(first);
    }

    /// A moment is over that began at a time, before which no more than `blocked` was blocked;
    /// with it, this is what the process does. What was blocked but for that moment is forgotten.
    /// What is not: a signal that was sent meanwhile and waited, one that somebody was there to
    /// take, and until the last change of what is done on a signal its being blocked, as what
    /// was sent before that met another disposition.
    pub(super) fn forget_moment(&mut self, since: u64, blocked: SignalSet, now: &Dispositions) {
        let first = self.first_since(since);
        let mut next = *now;
        let mut changes_later = self.sent_since(since);
        for change in self.changes[first..].iter_mut().rev() {
            changes_later = changes_later.union(change.now.differ_unblocked(&next));
            next = change.now;
            change.now.limit_blocked(blocked.union(changes_later).union(change.now.awaited()));
        }
        self.join_same(first);
    }

    /// The first of its changes since a time.
    fn first_since(&self, since: u64) -> usize {
        self.changes.iter().rposition(|change| change.at < since).map_or(0, |before| before + 1)
    }

    /// Those from one on that change nothing any more are none.
    fn join_same(&mut self, first: usize) {
        let mut index = first.max(1);
        while index < self.changes.len() {
            let [before, this] = [self.changes[index - 1], self.changes[index]];
            if this.now == before.now && !this.exec {
                self.changes.remove(index);
            } else {
                index += 1;
            }
        }
    }
}
