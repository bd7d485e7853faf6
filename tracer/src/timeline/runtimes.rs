//! Language runtimes: whose a handler is, which the kernel doesn't know.

use std::collections::{HashMap, HashSet};

use tracer_common::signal::{MAX_SIGNAL, SignalSet};

use crate::{
    model::{
        event::{DispositionKind, Runtime},
        signal::Signal,
    },
    observation::{Fact, Handler, ProcessId},
};

/// From how many signals on a handler they share is a runtime's catch-all, if the faults are
/// among them. Go's runtime has 60; bash has 17 for a trap on EXIT, in this order: HUP INT
/// ILL TRAP ABRT FPE BUS SEGV SYS PIPE ALRM TERM XCPU XFSZ VTALRM USR1 USR2, without those
/// that are ignored, as PIPE is under systemd (`initialize_terminating_signals` in its sig.c).
const CATCH_ALL: u32 = 12;

/// The faults: ILL BUS FPE SEGV.
const FAULTS: SignalSet = set(&[4, 7, 8, 11]);

/// How many signals the thread blocks that Go's runtime sets aside when the program asks
/// for signals (`ensureSigM` in signal_unix.go): all that it may.
const SET_ASIDE: u32 = 30;

/// How long a process lives at most after a runtime has decided to die of a signal, ns.
const RE_RAISE_NS: u64 = 1_000_000_000;

/// The signals that have one handler in a Java virtual machine: ILL BUS FPE SEGV PIPE XFSZ
/// (`PosixSignals::install_signal_handlers` in OpenJDK's signals_posix.cpp).
const JVM_FAULTS: SignalSet = set(&[4, 7, 8, 11, 13, 25]);

/// The signals that a Java virtual machine takes to shut down: HUP INT TERM
/// (`java.lang.Terminator.setup`).
const JVM_SHUTDOWN: SignalSet = set(&[1, 2, 15]);

/// The signal on which it prints its threads, QUIT. It has the same handler for those that
/// shut it down and for what programs ask for (`os::user_handler`), set before or after them.
const JVM_BREAK: SignalSet = set(&[3]);

/// What Ruby's interpreter has a handler for before the program begins: HUP INT QUIT USR1 USR2
/// ALRM TERM (`Init_signal` in its signal.c).
const RUBYS: SignalSet = set(&[1, 2, 3, 10, 12, 14, 15]);

const fn set(signals: &[u32]) -> SignalSet {
    let mut set = SignalSet::EMPTY;
    let mut index = 0;
    while index < signals.len() {
        set = set.union(SignalSet::of(signals[index]));
        index += 1;
    }
    set
}

/// Whether a handler is a runtime's for nearly all signals.
#[must_use]
pub fn is_catch_all(handler: Handler) -> bool {
    catches_all(handler.serves)
}

/// Whether these signals are so many, and among them those that no program has one handler
/// for together with its reload signal.
fn catches_all(signals: SignalSet) -> bool {
    signals.0 & FAULTS.0 == FAULTS.0 && signals.0.count_ones() >= CATCH_ALL
}

/// Whether a handler of `signal` is that of a Java virtual machine, which shuts down on it
/// unless the program has asked for it.
#[must_use]
pub fn is_jvms(handler: Handler, signal: Signal) -> bool {
    let has_faults = handler.faults.0 & JVM_FAULTS.0 == JVM_FAULTS.0;
    has_faults
        && !handler.faults.intersects(handler.serves)
        && signal.set().intersects(JVM_SHUTDOWN)
}

/// Whether it is as the virtual machine sets it first, before it serves anything that the
/// program asks for.
#[must_use]
pub fn is_jvms_first(handler: Handler, signal: Signal) -> bool {
    let own = JVM_SHUTDOWN.union(JVM_BREAK);
    is_jvms(handler, signal) && handler.serves.0 & !own.0 == 0
}

/// Whether a process that catches these signals runs a language runtime.
fn is_runtimes(caught: SignalSet) -> bool {
    let of_jvm = JVM_FAULTS.union(JVM_SHUTDOWN).union(JVM_BREAK);
    // Where INT was ignored, as in a shell's background, it stays so.
    let of_jvm = of_jvm.0 & !Signal::INT.set().0;
    catches_all(caught) || caught.0 & of_jvm == of_jvm
}

/// The exit code of a Java virtual machine that a signal has shut down.
#[must_use]
pub fn jvm_exit_code(signal: Signal) -> u8 {
    128 + signal.number() as u8
}

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

/// A program that a process runs.
#[derive(Debug)]
struct Program {
    since: u64,
    /// Whether it is Ruby's interpreter.
    is_ruby: bool,
}

impl Program {
    fn new(since: u64, exe: &str) -> Self {
        // `ruby3.1`, as Debian has it.
        let name = exe.rsplit('/').next().unwrap_or_default();
        Self { since, is_ruby: name.starts_with("ruby") }
    }
}

/// What is known in hindsight of runtimes and their handlers. A catch-all is installed
/// signal by signal, and only the last ones show how many share it; whether a signal goes
/// on to the program shows when one has come.
#[derive(Debug, Default)]
pub struct Runtimes {
    /// When the reload signal's handler was seen to be a catch-all.
    shared: HashMap<ProcessId, Vec<u64>>,
    /// When a process executed which programs. The next one ends the one before.
    programs: HashMap<ProcessId, Vec<Program>>,
    /// When the reload signal came to a handler.
    delivered: HashMap<ProcessId, Vec<u64>>,
    /// When the process died of the reload signal.
    died: HashMap<ProcessId, u64>,
    /// When another sent it the reload signal last, and when it did so itself.
    sent: HashMap<ProcessId, u64>,
    raised: HashMap<ProcessId, u64>,
    /// Those that were seen to be Java virtual machines.
    jvms: HashSet<ProcessId>,
    /// Those of them that exited as after the reload signal.
    shut_down: HashSet<ProcessId>,
}

impl Runtimes {
    /// Looks through all facts of an activation.
    pub fn find<'f>(reload: Signal, facts: impl Iterator<Item = (u64, &'f Fact)>) -> Self {
        let mut found = Self::default();
        for (at, fact) in facts {
            match fact {
                Fact::Disposition { task, handler, .. } => {
                    found.handler(task.id, at, *handler, reload);
                }
                Fact::Generate(generate) => {
                    let id = generate.target.id;
                    found.handler(id, at, generate.handler, reload);
                    if generate.signal == reload {
                        let own = generate.sender.as_ref().is_some_and(|sender| sender.id == id);
                        let last = if own { &mut found.raised } else { &mut found.sent };
                        last.insert(id, at);
                    }
                }
                Fact::Exec { task, exe, .. } | Fact::Found { task, exe: Some(exe), .. } => {
                    found.programs.entry(task.id).or_default().push(Program::new(at, exe));
                }
                Fact::Deliver { task, signal, disposition: DispositionKind::Handler, .. }
                    if *signal == reload =>
                {
                    found.delivered.entry(task.id).or_default().push(at);
                }
                Fact::Exit { task, signal, .. } if *signal == Some(reload) => {
                    found.died.insert(task.id, at);
                }
                Fact::Exit { task, signal: None, code, .. }
                    if *code == jvm_exit_code(reload) && found.jvms.contains(&task.id) =>
                {
                    found.shut_down.insert(task.id);
                }
                _ => {}
            }
        }
        found
    }

    fn handler(&mut self, id: ProcessId, at: u64, handler: Handler, reload: Signal) {
        if is_catch_all(handler) && handler.serves.intersects(reload.set()) {
            self.shared.entry(id).or_default().push(at);
        }
        if is_jvms(handler, reload) {
            self.jvms.insert(id);
        }
    }

    /// The runtime that a handler installed at `at` turned out to be of. Few signals on it
    /// when the catch-all was already complete: then it is another.
    #[must_use]
    pub fn installed(&self, id: ProcessId, at: u64, handler: Handler) -> Option<Runtime> {
        let last_exec = self.last_exec(id, at);
        let complete_before = self
            .shared
            .get(&id)
            .is_some_and(|seen| seen.iter().any(|seen| (last_exec..at).contains(seen)));
        self.of(id, at).filter(|_| is_catch_all(handler) || !complete_before)
    }

    /// The runtime of a process that was found at `at`, catching these signals.
    #[must_use]
    pub fn found(
        &self,
        id: ProcessId,
        at: u64,
        signal: Signal,
        caught: SignalSet,
    ) -> Option<Runtime> {
        let is_runtimes =
            is_runtimes(caught) || self.is_rubys(id, at, signal) || self.of(id, at).is_some();
        is_runtimes.then(|| self.forwards(id, at)).flatten()
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
    #[must_use]
    pub fn forwards(&self, id: ProcessId, at: u64) -> Option<Runtime> {
        let next_exec = self.next_exec(id, at);
        let came = self.delivered.get(&id).into_iter().flatten();
        match came.copied().find(|came| (at..next_exec).contains(came)) {
            None => Some(Runtime::Forwarding),
            Some(first) if self.is_proven(id, first) => None,
            Some(_) if self.jvms.contains(&id) => Some(Runtime::Jvm),
            Some(_) => Some(Runtime::CatchAll),
        }
    }

    /// Whether the process did not die of the signal that came to its handler at `at`.
    #[must_use]
    pub fn is_proven(&self, id: ProcessId, at: u64) -> bool {
        let Some(died) = self.died.get(&id) else {
            // A virtual machine may take its time to shut down.
            return !self.shut_down.contains(&id);
        };
        // A script that cleans up first may take its time too: nothing else came meanwhile.
        let was_last = self.sent.get(&id).is_none_or(|sent| *sent <= at);
        let raised = self.raised.get(&id).is_some_and(|raised| (at..=*died).contains(raised));
        !(was_last && raised) && died.saturating_sub(at) > RE_RAISE_NS
    }

    /// Whether a process runs Ruby's interpreter, which has a handler of its own for `signal`.
    #[must_use]
    pub fn is_rubys(&self, id: ProcessId, at: u64, signal: Signal) -> bool {
        let program = self.programs_of(id).rfind(|program| program.since <= at);
        program.is_some_and(|it| it.is_ruby) && signal.set().intersects(RUBYS)
    }

    fn programs_of(&self, id: ProcessId) -> impl DoubleEndedIterator<Item = &Program> {
        self.programs.get(&id).into_iter().flatten()
    }

    fn last_exec(&self, id: ProcessId, at: u64) -> u64 {
        self.programs_of(id).map(|program| program.since).rfind(|it| *it <= at).unwrap_or(0)
    }

    fn next_exec(&self, id: ProcessId, at: u64) -> u64 {
        self.programs_of(id).map(|program| program.since).find(|it| *it > at).unwrap_or(u64::MAX)
    }
}
