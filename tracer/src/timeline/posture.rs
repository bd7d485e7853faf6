//! What a process does on the reload signal, followed through time.

use std::collections::{HashMap, HashSet};

use tracer_common::signal::SignalSet;

use super::{
    masks::Half,
    runtimes::{self, Runtimes, is_forwarder},
};
use crate::{
    model::{
        event::{Consumer, DispositionKind, Runtime},
        signal::Signal,
    },
    observation::{Fact, Handler, ProcessId, State},
};

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

    /// The runtime, if it is one, that has installed a handler for the signal just now.
    fn installer(&self, id: ProcessId, at: u64, handler: Handler) -> Option<Runtime> {
        let before = self.get(id);
        // The same handler again is the program's wish: `Signal.handle()` in Java.
        if !before.caught && runtimes::is_jvms_first(handler, self.signal) {
            return Some(Runtime::Jvm);
        }
        if self.runtimes.is_rubys(id, at, self.signal) {
            // It sets its own before the program begins, unless the signal is ignored; a trap
            // sets it again.
            return (!before.caught && !before.ignored).then_some(Runtime::Ruby);
        }
        // Go leaves a HUP alone that was ignored from the start, as by nohup(1), until the
        // program asks for it.
        let asked_for = self.forwarding.contains(&id);
        self.runtimes.installed(id, at, handler).filter(|_| !asked_for)
    }

    /// Takes a fact in; gives the process whose posture it tells, and what it is now.
    pub fn learn(&mut self, at: u64, fact: &Fact) -> Option<(ProcessId, Posture)> {
        let (id, posture) = match fact {
            Fact::Found { task, state, .. } => {
                let mut posture = Posture::default().with(state, self.signal);
                posture.runtime = self
                    .runtimes
                    .found(task.id, at, self.signal, state.caught)
                    .filter(|_| posture.caught);
                (task.id, posture)
            }
            Fact::Fork { child, state, parent, .. } => {
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
            Fact::Disposition { task, state, signal, handler, .. } => {
                let mut posture = self.now(task.id, state);
                if *signal == self.signal {
                    posture.runtime =
                        self.installer(task.id, at, *handler).filter(|_| posture.caught);
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
            // It came to the program, which is still there: the handler is its own. That of a
            // runtime which sets it again for the program needs no such proof.
            Fact::Deliver {
                task,
                signal,
                disposition: DispositionKind::Handler,
                once: false,
                ..
            } if *signal == self.signal
                && !matches!(self.get(task.id).runtime, Some(Runtime::Jvm | Runtime::Ruby))
                && self.runtimes.is_proven(task.id, at) =>
            {
                (task.id, Posture { runtime: None, ..self.get(task.id) })
            }
            // `SA_RESETHAND`: the kernel takes the handler away as it calls it.
            Fact::Deliver {
                task,
                signal,
                disposition: DispositionKind::Handler,
                once: true,
                ..
            } if *signal == self.signal => {
                (task.id, Posture { caught: false, runtime: None, ..self.get(task.id) })
            }
            _ => return None,
        };
        self.of.insert(id, posture);
        Some((id, posture))
    }
}
