//! What a process does on the reload signal, followed through time.

use std::collections::HashMap;

use super::{
    event::{Consumer, DispositionKind},
    observation::{Fact, ProcessId, State},
};
use crate::signal::Signal;

/// From how many signals on a handler they share is a runtime's catch-all. Go's runtime
/// has 60; a daemon that logs every fatal signal with one handler stays far below.
pub const CATCH_ALL: u32 = 20;

/// How many other signals Go's signal goroutine keeps blocked while it lets one through
/// (`ensureSigM` in the runtime's signal_unix.go).
const STILL_BLOCKED: u32 = 30;

/// How long after its delivery a signal may still be in its handler, ns.
const HANDLING_NS: u64 = 1_000_000_000;

/// What a process does on the reload signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posture {
    /// `SIG_IGN`
    pub ignored: bool,
    /// Has a handler.
    pub caught: bool,
    /// Every thread blocks it.
    pub blocked: bool,
    /// It is taken without a handler.
    pub consumer: Option<Consumer>,
    /// The handler is a language runtime's, which kills.
    pub catch_all: bool,
}

impl Posture {
    /// What the kernel would do.
    #[must_use]
    pub fn disposition(self) -> DispositionKind {
        if self.blocked {
            DispositionKind::Blocked
        } else if self.ignored {
            DispositionKind::Ignored
        } else if self.caught {
            DispositionKind::Handler
        } else {
            DispositionKind::Default
        }
    }

    /// Whether the signal reaches the program's own code.
    #[must_use]
    pub fn takes(self) -> bool {
        (self.caught && !self.catch_all) || self.consumer.is_some()
    }

    fn with(self, state: &State, signal: Signal) -> Self {
        let has = |set: tracer_common::signal::SignalSet| set.intersects(signal.set());
        let caught = has(state.caught);
        Self {
            ignored: has(state.ignored),
            caught,
            blocked: has(state.blocked),
            consumer: self.consumer,
            catch_all: self.catch_all && caught,
        }
    }
}

/// The postures of the processes of one activation.
pub struct Postures<'a> {
    signal: Signal,
    runtimes: &'a Runtimes,
    of: HashMap<ProcessId, Posture>,
    /// When a thread last began to handle the signal.
    handling: HashMap<(ProcessId, u32), u64>,
}

impl<'a> Postures<'a> {
    /// Nobody's yet.
    #[must_use]
    pub fn new(signal: Signal, runtimes: &'a Runtimes) -> Self {
        Self { signal, runtimes, of: HashMap::new(), handling: HashMap::new() }
    }

    /// A process's posture now.
    #[must_use]
    pub fn get(&self, id: ProcessId) -> Posture {
        self.of.get(&id).copied().unwrap_or_default()
    }

    /// Takes a fact in; gives the process whose posture it tells, and what it is now.
    pub fn learn(&mut self, at: u64, fact: &Fact) -> Option<(ProcessId, Posture)> {
        let (id, posture) = match fact {
            Fact::Found { task, state, .. } => {
                let mut posture = Posture::default().with(state, self.signal);
                posture.catch_all = posture.caught && self.runtimes.is_catch_all(task.id, at);
                (task.id, posture)
            }
            Fact::Fork { child, state, parent } => {
                (child.id, self.get(parent.id).with(state, self.signal))
            }
            // An exec takes the handlers away, and with them whoever waited.
            Fact::Exec { task, state, .. } => {
                (task.id, Posture::default().with(state, self.signal))
            }
            Fact::Disposition { task, state, signal, .. } => {
                let mut posture = self.get(task.id).with(state, self.signal);
                if *signal == self.signal {
                    posture.catch_all = posture.caught && self.runtimes.is_catch_all(task.id, at);
                }
                (task.id, posture)
            }
            Fact::Mask { task, state, before, after } => {
                let mut posture = self.get(task.id).with(state, self.signal);
                let bit = self.signal.set();
                let let_through = before.intersects(bit)
                    && !after.intersects(bit)
                    && after.0.count_ones() >= STILL_BLOCKED;
                // A runtime's handler that is about to die of the signal does the same.
                let handling = self.handling.get(&(task.id, task.tid));
                let dies = handling.is_some_and(|since| at.saturating_sub(*since) <= HANDLING_NS);
                if posture.catch_all && let_through && !dies {
                    posture.catch_all = false;
                }
                (task.id, posture)
            }
            Fact::Consume { task, state, consumer, set } => {
                let mut posture = self.get(task.id).with(state, self.signal);
                if set.intersects(self.signal.set()) {
                    posture.consumer = Some(*consumer);
                }
                (task.id, posture)
            }
            Fact::Deliver { task, signal, disposition: DispositionKind::Handler, once: false }
                if *signal == self.signal =>
            {
                self.handling.insert((task.id, task.tid), at);
                return None;
            }
            // `SA_RESETHAND`: the kernel takes the handler away as it calls it.
            Fact::Deliver { task, signal, disposition: DispositionKind::Handler, once: true }
                if *signal == self.signal =>
            {
                (task.id, Posture { caught: false, catch_all: false, ..self.get(task.id) })
            }
            _ => return None,
        };
        self.of.insert(id, posture);
        Some((id, posture))
    }
}

/// Which processes had a runtime's catch-all handler, known in hindsight: the runtime
/// installs it signal by signal, and only the last ones show how many share it.
#[derive(Debug, Default)]
pub struct Runtimes {
    /// When it was seen to be shared.
    shared_at: HashMap<ProcessId, Vec<u64>>,
    /// When a process executed another program, which ends it.
    execs: HashMap<ProcessId, Vec<u64>>,
}

impl Runtimes {
    /// Looks through all facts of an activation.
    pub fn find<'f>(facts: impl Iterator<Item = (u64, &'f Fact)>) -> Self {
        let mut found = Self::default();
        for (at, fact) in facts {
            match fact {
                Fact::Disposition { task, shared_by, .. } if *shared_by >= CATCH_ALL => {
                    found.shared_at.entry(task.id).or_default().push(at);
                }
                Fact::Generate(generate) if generate.shared_by >= CATCH_ALL => {
                    found.shared_at.entry(generate.target.id).or_default().push(at);
                }
                Fact::Exec { task, .. } => found.execs.entry(task.id).or_default().push(at),
                _ => {}
            }
        }
        found
    }

    /// Whether the handler installed at `at` turned out to be a catch-all.
    #[must_use]
    pub fn is_catch_all(&self, id: ProcessId, at: u64) -> bool {
        let next_exec = self
            .execs
            .get(&id)
            .and_then(|execs| execs.iter().copied().find(|exec| *exec > at))
            .unwrap_or(u64::MAX);
        self.shared_at
            .get(&id)
            .is_some_and(|seen| seen.iter().any(|seen| (at..next_exec).contains(seen)))
    }
}
