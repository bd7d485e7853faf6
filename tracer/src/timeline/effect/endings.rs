//! Whether the main process ended by a reload, and what came in its place.

use std::collections::BTreeSet;

use super::{EffectAt, Reloads};
use crate::model::{
    event::{Effect, Event, Fate, What},
    signal::Signal,
    unit::UnitFacts,
    unit_state,
};

/// How a process ended.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) at: i64,
    pub(super) signal: Option<Signal>,
}

/// A process that was started.
#[derive(Clone, Copy)]
pub(super) struct Child {
    pub(super) at: i64,
    pub(super) pid: u32,
    pub(super) parent: u32,
}

impl Reloads<'_> {
    /// The end of a process that was there at a time.
    pub(super) fn end_of(&self, pid: u32, at: i64) -> Option<End> {
        self.ends.get(&pid)?.iter().copied().find(|end| end.at >= at)
    }

    /// When another process became the main one in the place of the one that was reloaded, and which.
    pub(super) fn handed_over(&self, pid: u32, at: i64, settled: i64) -> Option<(i64, u32)> {
        let until = settled.saturating_add(self.around.settle_ns);
        let end = self.end_of(pid, at).filter(|end| end.at <= until);
        // systemd may look for it once the old one has ended.
        let by = end.map_or(until, |end| end.at.saturating_add(self.around.settle_ns));
        let mut mains = self.around.mains.iter();
        let next = mains.find(|(since, main)| *since > at && *main != pid)?;
        Some(*next).filter(|(since, _)| *since <= by)
    }

    /// The last one that became the main process by such steps: what comes between a starter and its
    /// daemon ends at once.
    fn last_of(&self, (mut since, mut main): (i64, u32), settled: i64) -> u32 {
        while let Some(next) = self.handed_over(main, since, settled) {
            (since, main) = next;
        }
        main
    }

    /// Whether the service puts itself into the background.
    pub(super) fn is_forking(&self) -> bool {
        self.around.facts.is_some_and(UnitFacts::is_forking)
    }

    /// The effect of a reload that met the starter of a service that puts itself into the background,
    /// and a daemon that the starter has left running is the main process since: no other took its
    /// place, and what became of the service is what became of the daemon. `None` where it was up.
    pub(super) fn of_starter(
        &self,
        index: usize,
        (at, settled): (i64, i64),
        starter: u32,
        next: (i64, u32),
    ) -> Option<EffectAt> {
        let daemon = self.last_of(next, settled);
        let is_first = self.around.mains.first().is_some_and(|(_, first)| *first == starter);
        let was_up = self.events[..index].iter().any(
            |event| matches!(&event.what, What::Systemd { state, .. } if unit_state::is_up(state)),
        );
        if !self.is_forking() || !is_first || was_up || !self.descends(daemon, starter) {
            return None;
        }
        let until = settled.saturating_add(self.around.settle_ns);
        let Some(end) = self.end_of(daemon, at) else {
            let is_long_enough = self.around.end_ns >= until;
            return Some((if is_long_enough { Effect::Survived } else { Effect::Unknown }, None));
        };
        // It had left the daemon in good order: that has a cause of its own, or what was noted
        // before.
        let own = self.end_of(starter, at).filter(|own| own.at <= end.at);
        let is_done = own.is_some_and(|own| own.signal.is_none());
        Some(match end.signal {
            _ if end.at > until => (Effect::Survived, None),
            _ if is_done || self.was_told_to_end(index, end.at) => (Effect::Unknown, None),
            Some(Signal::KILL) => (Effect::Unknown, None),
            Some(signal) if self.is_crash(signal) => (Effect::Crashed, Some(end.at)),
            _ => (Effect::Ended, Some(end.at)),
        })
    }

    /// Whether a process was started by another one, or by what that started.
    pub(super) fn descends(&self, pid: u32, from: u32) -> bool {
        let mut family = BTreeSet::from([from]);
        for child in &self.children {
            if family.contains(&child.parent) {
                family.insert(child.pid);
            }
        }
        pid != from && family.contains(&pid)
    }

    /// The main process ended soon after it took the reload. `None` where something else was to
    /// end it, or another reload: then only what was seen before tells.
    pub(super) fn of_end(&self, index: usize, at: i64, pid: u32, end: End) -> Option<EffectAt> {
        let later = self.events[index + 1..].iter().take_while(|event| event.at_ns <= end.at);
        // One that nothing took did not end it.
        let is_taken = |event: &Event| {
            !matches!(&event.what, What::Signal(sent)
                if matches!(sent.fate, Fate::Pending | Fate::Dropped | Fate::Ignored))
        };
        let has_later = { later }.any(|event| self.is_reload_of(event, pid) && is_taken(event));
        if has_later || self.was_told_to_end(index, end.at) {
            return None;
        }
        Some(match end.signal {
            // Somebody whom nobody saw: the kernel, as there was no memory left.
            Some(Signal::KILL) => return None,
            Some(signal) if self.is_crash(signal) => (Effect::Crashed, Some(end.at)),
            _ if self.has_successor(pid, at, end.at) => (Effect::Replaced, Some(end.at)),
            _ => (Effect::Ended, Some(end.at)),
        })
    }

    /// Whether what died of a signal that no other process sent has crashed. By TERM and INT programs
    /// end themselves in good order.
    pub(super) fn is_crash(&self, signal: Signal) -> bool {
        signal != self.around.signal && !signal.ends()
    }

    /// Whether the main process started its own program anew after a reload, and that lived on.
    pub(super) fn has_successor(&self, pid: u32, from: i64, ended: i64) -> bool {
        let started = self.children.iter().filter(|it| (from..=ended).contains(&it.at));
        let mut family = BTreeSet::from([pid]);
        let own = self.program(pid, ended);
        for child in started {
            if !family.contains(&child.parent) {
                continue;
            }
            family.insert(child.pid);
            let lives = self.end_of(child.pid, child.at).is_none_or(|end| end.at > ended);
            // One that has executed nothing yet is a copy.
            let program = self.program_since(child.pid, child.at);
            if lives && (program.is_none() || program == own) {
                return true;
            }
        }
        false
    }

    /// The program that a process ran at a time.
    fn program(&self, pid: u32, at: i64) -> Option<&str> {
        let before = self.events.iter().rev().filter(|event| event.at_ns <= at);
        { before }.find_map(|event| match &event.what {
            What::Exec { process, exe, .. } if process.pid == pid => exe.as_deref(),
            What::Signal(sent) if sent.target.pid == pid => sent.target.exe.as_deref(),
            _ => None,
        })
    }

    /// The last program that a process executed from a time on.
    fn program_since(&self, pid: u32, from: i64) -> Option<&str> {
        let after = self.events.iter().rev().take_while(|event| event.at_ns >= from);
        { after }.find_map(|event| match &event.what {
            What::Exec { process, exe, .. } if process.pid == pid => exe.as_deref(),
            _ => None,
        })
    }

    /// Whether the service may come to an end by itself: a command that systemd knows nothing of.
    pub(super) fn is_loose(&self) -> bool {
        self.around.facts.is_none_or(|facts| facts.restart.is_none())
    }
}
