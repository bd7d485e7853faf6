//! Language runtimes: whose a handler is, which the kernel doesn't know.

use std::collections::HashMap;

use tracer_common::signal::{MAX_SIGNAL, SignalSet};

use super::{
    event::{DispositionKind, Runtime},
    observation::{Fact, ProcessId},
};
use crate::signal::Signal;

/// From how many signals on a handler they share is a runtime's catch-all. Go's runtime
/// has 60; a daemon that logs every fatal signal with one handler stays far below.
pub const CATCH_ALL: u32 = 20;

/// How many signals the thread blocks that Go's runtime sets aside when the program asks
/// for signals (`ensureSigM` in signal_unix.go): all that it may.
const SET_ASIDE: u32 = 30;

/// How long a process lives at most after a runtime has decided to die of a signal, ns.
const RE_RAISE_NS: u64 = 1_000_000_000;

/// Whether a thread has just become the one that takes signals for the program: it
/// blocks the ordinary ones, but not those that a runtime must never miss.
#[must_use]
pub fn is_forwarder(before: SignalSet, after: SignalSet) -> bool {
    let last = SignalSet::of(MAX_SIGNAL);
    after.intersects(last)
        && !before.intersects(last)
        && !after.intersects(Signal::HUP.set())
        && after.0.count_ones() >= SET_ASIDE
}

/// What is known in hindsight of runtimes and their catch-all handlers. A runtime
/// installs its handler signal by signal, and only the last ones show how many share it;
/// whether a signal goes on to the program shows when one has come.
#[derive(Debug, Default)]
pub struct Runtimes {
    /// When a handler was seen to be shared.
    shared: HashMap<ProcessId, Vec<u64>>,
    /// When a process executed another program, which ends it.
    execs: HashMap<ProcessId, Vec<u64>>,
    /// When the reload signal came to a handler.
    delivered: HashMap<ProcessId, Vec<u64>>,
    /// When the process died of the reload signal.
    died: HashMap<ProcessId, u64>,
}

impl Runtimes {
    /// Looks through all facts of an activation.
    pub fn find<'f>(reload: Signal, facts: impl Iterator<Item = (u64, &'f Fact)>) -> Self {
        let mut found = Self::default();
        for (at, fact) in facts {
            match fact {
                Fact::Disposition { task, shared_by, .. } if *shared_by >= CATCH_ALL => {
                    found.shared.entry(task.id).or_default().push(at);
                }
                Fact::Generate(generate) if generate.shared_by >= CATCH_ALL => {
                    found.shared.entry(generate.target.id).or_default().push(at);
                }
                Fact::Exec { task, .. } => found.execs.entry(task.id).or_default().push(at),
                Fact::Deliver { task, signal, disposition: DispositionKind::Handler, .. }
                    if *signal == reload =>
                {
                    found.delivered.entry(task.id).or_default().push(at);
                }
                Fact::Exit { task, signal, .. } if *signal == Some(reload) => {
                    found.died.insert(task.id, at);
                }
                _ => {}
            }
        }
        found
    }

    /// The runtime that a handler installed at `at`, with `shared_by` signals on it then,
    /// turned out to be of. Few signals on it when the catch-all was already complete:
    /// then it is another.
    #[must_use]
    pub fn installed(&self, id: ProcessId, at: u64, shared_by: u32) -> Option<Runtime> {
        let last_exec = self.last_exec(id, at);
        let complete_before = self
            .shared
            .get(&id)
            .is_some_and(|seen| seen.iter().any(|seen| (last_exec..at).contains(seen)));
        self.of(id, at).filter(|_| shared_by >= CATCH_ALL || !complete_before)
    }

    /// The runtime that a handler in force at `at` turned out to be of.
    #[must_use]
    pub fn of(&self, id: ProcessId, at: u64) -> Option<Runtime> {
        let next_exec = self.next_exec(id, at);
        self.shared
            .get(&id)
            .is_some_and(|seen| seen.iter().any(|seen| (at..next_exec).contains(seen)))
            .then_some(Runtime::CatchAll)
    }

    /// What a runtime's handler is once it passes signals on, from `at`: the program's
    /// own if the reload signal came and went well, still deadly if not, else unknown.
    #[must_use]
    pub fn forwards(&self, id: ProcessId, at: u64) -> Option<Runtime> {
        let next_exec = self.next_exec(id, at);
        let came = self.delivered.get(&id).into_iter().flatten();
        match came.copied().find(|came| (at..next_exec).contains(came)) {
            None => Some(Runtime::Forwarding),
            Some(first) if self.is_proven(id, first) => None,
            Some(_) => Some(Runtime::CatchAll),
        }
    }

    /// Whether the process did not die of the signal that came to its handler at `at`.
    #[must_use]
    pub fn is_proven(&self, id: ProcessId, at: u64) -> bool {
        self.died.get(&id).is_none_or(|died| died.saturating_sub(at) > RE_RAISE_NS)
    }

    fn last_exec(&self, id: ProcessId, at: u64) -> u64 {
        let execs = self.execs.get(&id).into_iter().flatten();
        execs.copied().rfind(|exec| *exec <= at).unwrap_or(0)
    }

    fn next_exec(&self, id: ProcessId, at: u64) -> u64 {
        let execs = self.execs.get(&id).into_iter().flatten();
        execs.copied().find(|exec| *exec > at).unwrap_or(u64::MAX)
    }
}
