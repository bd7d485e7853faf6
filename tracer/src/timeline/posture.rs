//! What a process does on the reload signal, followed through time.

use std::collections::{HashMap, HashSet};

use tracer_common::signal::{MAX_SIGNAL, SignalSet};

use super::{
    event::{Consumer, DispositionKind, Runtime},
    masks::Half,
    observation::{Fact, ProcessId, State},
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
    /// The language runtime that the handler is of, if it is not the program's own.
    pub runtime: Option<Runtime>,
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
        (self.caught && self.runtime.is_none()) || (self.blocked && self.consumer.is_some())
    }

    fn with(self, state: &State, signal: Signal) -> Self {
        let has = |set: SignalSet| set.intersects(signal.set());
        let caught = has(state.caught);
        Self {
            ignored: has(state.ignored),
            caught,
            blocked: has(state.blocked),
            consumer: self.consumer,
            runtime: self.runtime.filter(|_| caught),
        }
    }
}

/// The postures of the processes of one activation.
pub struct Postures<'a> {
    signal: Signal,
    runtimes: &'a Runtimes,
    of: HashMap<ProcessId, Posture>,
    /// How many masks are set for a moment now.
    moments: HashMap<ProcessId, u32>,
    /// The processes whose runtime passes signals on.
    forwarding: HashSet<ProcessId>,
}

impl<'a> Postures<'a> {
    /// Nobody's yet.
    #[must_use]
    pub fn new(signal: Signal, runtimes: &'a Runtimes) -> Self {
        Self {
            signal,
            runtimes,
            of: HashMap::new(),
            moments: HashMap::new(),
            forwarding: HashSet::new(),
        }
    }

    /// A process's posture now.
    #[must_use]
    pub fn get(&self, id: ProcessId) -> Posture {
        self.of.get(&id).copied().unwrap_or_default()
    }

    /// Takes half of a momentary mask in: what is blocked only meanwhile doesn't count.
    pub fn moment(&mut self, id: ProcessId, half: Half) {
        let open = self.moments.entry(id).or_default();
        *open = match half {
            Half::Set => *open + 1,
            Half::Restored => open.saturating_sub(1),
        };
    }

    /// A process's posture with this state now.
    fn now(&self, id: ProcessId, state: &State) -> Posture {
        let before = self.get(id);
        let now = before.with(state, self.signal);
        match self.moments.get(&id) {
            Some(1..) => Posture { blocked: before.blocked, ..now },
            _ => now,
        }
    }

    /// Takes a fact in; gives the process whose posture it tells, and what it is now.
    pub fn learn(&mut self, at: u64, fact: &Fact) -> Option<(ProcessId, Posture)> {
        let (id, posture) = match fact {
            Fact::Found { task, state, .. } => {
                let mut posture = Posture::default().with(state, self.signal);
                posture.runtime = self.runtimes.of(task.id, at).filter(|_| posture.caught);
                (task.id, posture)
            }
            Fact::Fork { child, state, parent } => {
                let mut posture = self.get(parent.id).with(state, self.signal);
                // The child has the descriptors, but not the threads that wait.
                posture.consumer = posture.consumer.filter(|way| *way == Consumer::Signalfd);
                (child.id, posture)
            }
            // An exec takes the handlers away, and with them whoever waited.
            Fact::Exec { task, state, .. } => {
                self.forwarding.remove(&task.id);
                self.moments.remove(&task.id);
                (task.id, Posture::default().with(state, self.signal))
            }
            Fact::Disposition { task, state, signal, shared_by, .. } => {
                let mut posture = self.now(task.id, state);
                if *signal == self.signal {
                    let runtime = self.runtimes.installed(task.id, at, *shared_by);
                    // Go leaves a HUP alone that was ignored from the start, as by nohup(1),
                    // until the program asks for it.
                    let asked_for = self.forwarding.contains(&task.id);
                    posture.runtime = runtime.filter(|_| posture.caught && !asked_for);
                }
                (task.id, posture)
            }
            Fact::Mask { task, state, before, after } => {
                let mut posture = self.now(task.id, state);
                if is_forwarder(*before, *after) {
                    self.forwarding.insert(task.id);
                    if posture.runtime == Some(Runtime::CatchAll) {
                        posture.runtime = self.runtimes.forwards(task.id, at);
                    }
                }
                (task.id, posture)
            }
            Fact::Consume { task, state, consumer, set } => {
                let mut posture = self.now(task.id, state);
                if set.intersects(self.signal.set()) {
                    posture.consumer = Some(*consumer);
                }
                (task.id, posture)
            }
            // It came to the program, which is still there: the handler is its own.
            Fact::Deliver { task, signal, disposition: DispositionKind::Handler, once: false }
                if *signal == self.signal && self.runtimes.is_proven(task.id, at) =>
            {
                (task.id, Posture { runtime: None, ..self.get(task.id) })
            }
            // `SA_RESETHAND`: the kernel takes the handler away as it calls it.
            Fact::Deliver { task, signal, disposition: DispositionKind::Handler, once: true }
                if *signal == self.signal =>
            {
                (task.id, Posture { caught: false, runtime: None, ..self.get(task.id) })
            }
            _ => return None,
        };
        self.of.insert(id, posture);
        Some((id, posture))
    }
}

/// Whether a thread has just become the one that takes signals for the program: it
/// blocks the ordinary ones, but not those that a runtime must never miss.
fn is_forwarder(before: SignalSet, after: SignalSet) -> bool {
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
    fn installed(&self, id: ProcessId, at: u64, shared_by: u32) -> Option<Runtime> {
        let last_exec = self.last_exec(id, at);
        let complete_before = self
            .shared
            .get(&id)
            .is_some_and(|seen| seen.iter().any(|seen| (last_exec..at).contains(seen)));
        self.of(id, at).filter(|_| shared_by >= CATCH_ALL || !complete_before)
    }

    /// The runtime that a handler in force at `at` turned out to be of.
    fn of(&self, id: ProcessId, at: u64) -> Option<Runtime> {
        let next_exec = self.next_exec(id, at);
        self.shared
            .get(&id)
            .is_some_and(|seen| seen.iter().any(|seen| (at..next_exec).contains(seen)))
            .then_some(Runtime::CatchAll)
    }

    /// What a runtime's handler is once it passes signals on, from `at`: the program's
    /// own if the reload signal came and went well, still deadly if not, else unknown.
    fn forwards(&self, id: ProcessId, at: u64) -> Option<Runtime> {
        let next_exec = self.next_exec(id, at);
        let came = self.delivered.get(&id).into_iter().flatten();
        match came.copied().find(|came| (at..next_exec).contains(came)) {
            None => Some(Runtime::Forwarding),
            Some(first) if self.is_proven(id, first) => None,
            Some(_) => Some(Runtime::CatchAll),
        }
    }

    /// Whether the process did not die of the signal that came to its handler at `at`.
    fn is_proven(&self, id: ProcessId, at: u64) -> bool {
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
