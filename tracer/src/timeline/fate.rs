//! What became of each signal, told from what followed it.

use std::collections::HashMap;

use super::runtimes;
use crate::{
    model::{
        event::{DispositionKind, Fate},
        signal::Signal,
    },
    observation::{Fact, Generate, GenerateResult, ProcessId, Task},
};

/// How soon a runtime that gives up on a signal sends it to itself again, ns.
const RE_RAISE_NS: u64 = 100_000_000;

/// Signals whose default action is nothing (`SIG_KERNEL_IGNORE_MASK`): CHLD CONT URG WINCH.
const IGNORED_BY_DEFAULT: [u32; 4] = [17, 18, 23, 28];

/// One signal and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub fate: Fate,
    /// When, if that was not at once.
    pub at: Option<u64>,
}

/// A signal whose fate is open.
struct Open {
    /// Index of its fact.
    index: usize,
    /// The thread, if it was sent to one and not to the process.
    thread: Option<u32>,
    disposition: DispositionKind,
    /// Taken from the queue to do its default action, which for a signal that dumps
    /// core, or one that was blocked, comes later than its sending.
    defaulted: bool,
    /// The kernel decided at once that it kills.
    condemned: bool,
}

/// Fates by the index of the signal's fact. The facts are in order of time.
#[must_use]
pub fn tell(facts: &[(u64, &Fact)]) -> HashMap<usize, Outcome> {
    let mut fates = Fates::default();
    for (index, (at, fact)) in facts.iter().enumerate() {
        fates.learn(index, *at, fact);
    }
    re_raised(facts, &mut fates.told);
    shut_down(facts, &mut fates.told);
    fates.told
}

#[derive(Default)]
struct Fates {
    told: HashMap<usize, Outcome>,
    open: HashMap<(ProcessId, Signal), Vec<Open>>,
}

impl Fates {
    fn learn(&mut self, index: usize, at: u64, fact: &Fact) {
        match fact {
            Fact::Generate(generate) => self.generated(index, generate),
            Fact::Deliver { task, signal, disposition, .. } => {
                self.delivered(at, task, *signal, *disposition);
            }
            Fact::Taken { task, signal } => {
                if let Some(open) = self.take(task, *signal) {
                    self.tell(open.index, Fate::Handled, Some(at));
                }
            }
            // POSIX: setting SIG_IGN throws away what is pending (`do_sigaction`).
            Fact::Disposition { task, signal, disposition: DispositionKind::Ignored, .. } => {
                for open in self.open.remove(&(task.id, *signal)).unwrap_or_default() {
                    self.tell(open.index, Fate::Dropped, Some(at));
                }
            }
            Fact::Exit { task, signal, state, .. } => {
                self.exited(at, task.id, *signal, state.pending);
            }
            Fact::Left { id, state } => {
                let of_process: Vec<Signal> =
                    self.open.keys().filter(|(owner, _)| owner == id).map(|(_, s)| *s).collect();
                for signal in of_process {
                    if !state.pending.intersects(signal.set()) {
                        self.found_taken(*id, signal, |_| true);
                    }
                }
            }
            _ => {}
        }
    }

    fn tell(&mut self, index: usize, fate: Fate, at: Option<u64>) {
        self.told.insert(index, Outcome { fate, at });
    }

    /// The one that a thread takes first: its own before the process's
    /// (`dequeue_signal`).
    fn first(&mut self, task: &Task, signal: Signal) -> Option<(&mut Vec<Open>, usize)> {
        let open = self.open.get_mut(&(task.id, signal))?;
        let own = open.iter().position(|open| open.thread == Some(task.tid));
        let first = own.or_else(|| open.iter().position(|open| open.thread.is_none()))?;
        Some((open, first))
    }

    fn take(&mut self, task: &Task, signal: Signal) -> Option<Open> {
        let (open, first) = self.first(task, signal)?;
        Some(open.remove(first))
    }

    fn generated(&mut self, index: usize, generate: &Generate) {
        let (id, signal) = (generate.target.id, generate.signal);
        let condemned =
            generate.dying_of == Some(signal) && generate.disposition == DispositionKind::Default;
        let harmless = generate.disposition == DispositionKind::Default
            && IGNORED_BY_DEFAULT.contains(&signal.number());
        let fate = match generate.result {
            GenerateResult::Ignored
                if generate.disposition == DispositionKind::Ignored || harmless =>
            {
                Fate::Ignored
            }
            // There was no room, or the process is exiting: only then it throws away what it
            // doesn't ignore.
            GenerateResult::Ignored | GenerateResult::Overflow => Fate::Dropped,
            GenerateResult::AlreadyPending => Fate::Coalesced,
            GenerateResult::Queued | GenerateResult::LostInfo if harmless => Fate::Ignored,
            GenerateResult::Queued | GenerateResult::LostInfo if condemned => Fate::Killed,
            GenerateResult::Queued | GenerateResult::LostInfo => Fate::Pending,
        };
        self.tell(index, fate, None);
        if matches!(fate, Fate::Pending | Fate::Killed) {
            let thread = generate.to_thread.then_some(generate.target.tid);
            // A second one is put into the same queue only if the first is not there any more.
            if signal.number() < 32 {
                self.found_taken(id, signal, |open| open.thread == thread);
            }
            let disposition = generate.disposition;
            self.open.entry((id, signal)).or_default().push(Open {
                index,
                thread,
                disposition,
                defaulted: false,
                condemned,
            });
        }
    }

    /// What was open is no longer pending, though nobody was seen to take it: a signalfd
    /// was read. (Had it killed, the process would be gone.)
    fn found_taken(&mut self, id: ProcessId, signal: Signal, which: impl Fn(&Open) -> bool) {
        let Some(open) = self.open.get_mut(&(id, signal)) else {
            return;
        };
        let taken: Vec<Open> = open.extract_if(.., |open| which(open)).collect();
        for open in taken.into_iter().filter(|open| !open.condemned) {
            self.tell(open.index, Fate::Handled, None);
        }
    }

    fn delivered(&mut self, at: u64, task: &Task, signal: Signal, as_what: DispositionKind) {
        match as_what {
            DispositionKind::Default => {
                if let Some((open, first)) = self.first(task, signal) {
                    open[first].defaulted = true;
                }
            }
            DispositionKind::Ignored => {
                if let Some(open) = self.take(task, signal) {
                    self.tell(open.index, Fate::Ignored, Some(at));
                }
            }
            DispositionKind::Handler | DispositionKind::Blocked => {
                if let Some(open) = self.take(task, signal) {
                    self.tell(open.index, Fate::Handled, Some(at));
                }
            }
        }
    }

    /// The exit tells the truth about everything still open.
    fn exited(
        &mut self,
        at: u64,
        id: ProcessId,
        killed_by: Option<Signal>,
        pending: tracer_common::signal::SignalSet,
    ) {
        let signals: Vec<Signal> =
            self.open.keys().filter(|(owner, _)| *owner == id).map(|(_, s)| *s).collect();
        for signal in signals {
            for open in self.open.remove(&(id, signal)).unwrap_or_default() {
                let later = (!open.condemned).then_some(at);
                if killed_by == Some(signal) && (open.condemned || open.defaulted) {
                    self.tell(open.index, Fate::Killed, later);
                } else if open.condemned || open.defaulted {
                    self.tell(open.index, Fate::Dropped, Some(at));
                } else if pending.intersects(signal.set()) {
                    // It waited until there was nobody left to take it.
                    self.tell(open.index, Fate::Pending, None);
                } else if open.disposition == DispositionKind::Default && killed_by == Some(signal)
                {
                    self.tell(open.index, Fate::Killed, later);
                } else {
                    self.tell(open.index, Fate::Handled, None);
                }
            }
        }
    }
}

/// A runtime that does not want a signal resets it to its default and sends it to
/// itself: then the one that came first is what killed the process.
fn re_raised(facts: &[(u64, &Fact)], told: &mut HashMap<usize, Outcome>) {
    let killers: Vec<(usize, u64, &Generate)> = facts
        .iter()
        .enumerate()
        .filter_map(|(index, (at, fact))| match fact {
            Fact::Generate(generate) if is_own(generate) => Some((index, *at, generate.as_ref())),
            _ => None,
        })
        .filter(|(index, ..)| told.get(index).is_some_and(|o| o.fate == Fate::Killed))
        .collect();
    for (killer, killed_at, generate) in killers {
        let first = facts[..killer].iter().enumerate().rev().find(|(index, (at, fact))| {
            matches!(fact, Fact::Generate(earlier)
                if earlier.signal == generate.signal
                    && earlier.target.id == generate.target.id
                    && !is_own(earlier)
                    // A runtime's may clean up first.
                    && (killed_at - at <= RE_RAISE_NS
                        || runtimes::is_catch_all(earlier.handler)))
                && told.get(index).is_some_and(|outcome| outcome.fate == Fate::Handled)
        });
        if let Some((index, _)) = first {
            let outcome = Outcome { fate: Fate::Killed, at: Some(killed_at) };
            told.insert(index, outcome);
        }
    }
}

/// A Java virtual machine that nobody has told otherwise shuts down on a signal and exits
/// with a code that says which: the first one to come is what ended it.
fn shut_down(facts: &[(u64, &Fact)], told: &mut HashMap<usize, Outcome>) {
    let taken: Vec<(usize, u64, &Generate)> = facts
        .iter()
        .enumerate()
        .filter_map(|(index, (at, fact))| match fact {
            Fact::Generate(generate)
                if runtimes::is_jvms(generate.handler, generate.signal)
                    && told.get(&index).is_some_and(|it| it.fate == Fate::Handled) =>
            {
                Some((index, *at, generate.as_ref()))
            }
            _ => None,
        })
        .collect();
    if taken.is_empty() {
        return;
    }
    for (exited_at, fact) in facts {
        let Fact::Exit { task, signal: None, code, .. } = fact else {
            continue;
        };
        let first = taken.iter().find(|(_, at, generate)| {
            at <= exited_at
                && generate.target.id == task.id
                && runtimes::jvm_exit_code(generate.signal) == *code
        });
        if let Some((index, ..)) = first {
            told.insert(*index, Outcome { fate: Fate::Killed, at: Some(*exited_at) });
        }
    }
}

/// Sent by a process to itself.
fn is_own(generate: &Generate) -> bool {
    generate.sender.as_ref().is_some_and(|sender| sender.id == generate.target.id)
}
