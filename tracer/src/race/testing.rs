//! Starts for tests, in a few words. Times are in ms.

use tracer_common::signal::SignalSet;

use super::{Origin, Steps, plan, role};
use crate::{
    model::{
        document::{OutcomeState, ProcessOutcome},
        event::{Consumer, DispositionKind, ProcessRef},
        race::{Interval, Outcome, Reach, ReportedStep, StepKind, Try},
        signal::Signal,
    },
    observation::{
        Datagram, Environment, Fact, Handler, Observation, ProcessId, Program, SignalState, Task,
    },
};

/// The tracer, which starts the command.
pub const TRACER: u32 = 1;
/// The command.
pub const COMMAND: u32 = 100;
/// Its notify socket.
pub const SOCKET: &str = "/run/x/notify";
const MS: u64 = 1_000_000;

/// Facts of a start.
#[derive(Default)]
pub struct Story {
    facts: Vec<Observation>,
    blocked: SignalSet,
}

fn task(pid: u32) -> Task {
    Task { comm: "demo".into(), ..Task::of(ProcessId { pid, start_ticks: 1 }) }
}

impl Story {
    /// The command, forked at 0 and executed at 2.
    pub fn command() -> Self {
        Self::default().fork(0, TRACER, COMMAND).exec(2, COMMAND, "/usr/bin/demo")
    }

    fn fact(mut self, at: u64, fact: Fact) -> Self {
        self.facts.push(Observation { at: at * MS, fact });
        self
    }

    fn state(&self) -> SignalState {
        SignalState { blocked: self.blocked, ..SignalState::default() }
    }

    pub fn fork(self, at: u64, parent: u32, child: u32) -> Self {
        let (parent, child, state) = (task(parent), task(child), self.state());
        self.fact(
            at,
            Fact::Fork { parent, child, shares_handlers: false, shares_memory: false, state },
        )
    }

    /// One whose child runs in its parent's memory.
    pub fn fork_in_memory(self, at: u64, parent: u32, child: u32) -> Self {
        let mut this = self.fork(at, parent, child);
        let last = this.facts.last_mut();
        if let Some(Observation { fact: Fact::Fork { shares_memory, .. }, .. }) = last {
            *shares_memory = true;
        }
        this
    }

    pub fn exec(self, at: u64, pid: u32, exe: &str) -> Self {
        let file = exe.rsplit('/').next().unwrap();
        let fact = Fact::Exec {
            task: Task { comm: file.into(), ..task(pid) },
            filename: exe.to_owned(),
            exe: exe.into(),
            file: file.into(),
            program: Program::Plain,
            environment: Environment::default(),
            state: self.state(),
        };
        self.fact(at, fact)
    }

    /// A handler that takes one signal alone.
    pub fn handler_for_one(self, at: u64, pid: u32) -> Self {
        let mut this = self.handler(at, pid);
        let last = this.facts.last_mut();
        if let Some(Observation { fact: Fact::Disposition { once, .. }, .. }) = last {
            *once = true;
        }
        this
    }

    pub fn action(self, at: u64, pid: u32, signal: Signal, disposition: DispositionKind) -> Self {
        let fact = Fact::Disposition {
            task: task(pid),
            signal,
            disposition,
            once: false,
            handler: Handler::default(),
            loaded: None,
            state: self.state(),
        };
        self.fact(at, fact)
    }

    pub fn handler(self, at: u64, pid: u32) -> Self {
        self.action(at, pid, Signal::HUP, DispositionKind::Handler)
    }

    /// Its only thread blocks HUP, or does no longer; at so many ns.
    pub fn mask_ns(mut self, at: u64, pid: u32, blocks: bool) -> Self {
        let before = self.blocked;
        self.blocked = if blocks { Signal::HUP.set() } else { SignalSet::EMPTY };
        let (after, state) = (self.blocked, self.state());
        self.facts
            .push(Observation { at, fact: Fact::Mask { task: task(pid), before, after, state } });
        self
    }

    pub fn mask(self, at: u64, pid: u32, blocks: bool) -> Self {
        self.mask_ns(at * MS, pid, blocks)
    }

    /// The only thread blocks all signals that a program can block, or none.
    pub fn mask_of_all(self, at: u64, pid: u32, blocks: bool) -> Self {
        self.masked(at, pid, if blocks { SignalSet(!(3 << 31)) } else { SignalSet::EMPTY })
    }

    /// The same of all there are, as the C library does around a fork.
    pub fn mask_of_runtime(self, at: u64, pid: u32, blocks: bool) -> Self {
        self.masked(at, pid, if blocks { SignalSet(u64::MAX) } else { SignalSet::EMPTY })
    }

    fn masked(mut self, at: u64, pid: u32, set: SignalSet) -> Self {
        let before = self.blocked;
        self.blocked = set;
        let (after, state) = (self.blocked, self.state());
        self.fact(at, Fact::Mask { task: task(pid), before, after, state })
    }

    /// A thread's own mask, where another thread goes on without it.
    pub fn mask_of_thread(self, at: u64, pid: u32, blocks: bool) -> Self {
        let (set, none) = (Signal::HUP.set(), SignalSet::EMPTY);
        let (before, after) = if blocks { (none, set) } else { (set, none) };
        let state = self.state();
        self.fact(at, Fact::Mask { task: task(pid), before, after, state })
    }

    pub fn consume(self, at: u64, pid: u32, consumer: Consumer) -> Self {
        let (set, state) = (Signal::HUP.set(), self.state());
        self.fact(at, Fact::Consume { task: task(pid), consumer, set, state })
    }

    pub fn called_once(self, at: u64, pid: u32) -> Self {
        let fact = Fact::Deliver {
            task: task(pid),
            signal: Signal::HUP,
            disposition: DispositionKind::Handler,
            once: true,
            unkillable: false,
        };
        self.fact(at, fact)
    }

    pub fn says(self, at: u64, pid: u32, text: &str) -> Self {
        self.says_to(at, pid, SOCKET, text)
    }

    pub fn says_to(self, at: u64, pid: u32, socket: &str, text: &str) -> Self {
        let datagram = Datagram {
            sender: task(pid),
            exe: None,
            claimed_pid: None,
            destination: socket.to_owned(),
            payload: Some(text.as_bytes().to_vec()),
            length: text.len() as u32,
            errno: 0,
            not_connected: false,
        };
        self.fact(at, Fact::Notify(Box::new(datagram)))
    }

    pub fn exit(self, at: u64, pid: u32) -> Self {
        let state = self.state();
        self.fact(
            at,
            Fact::Exit { task: task(pid), signal: None, code: 0, core_dumped: false, state },
        )
    }

    pub fn killed(self, at: u64, pid: u32, signal: Signal) -> Self {
        let (state, signal) = (self.state(), Some(signal));
        let exit = Fact::Exit { task: task(pid), signal, code: 0, core_dumped: false, state };
        self.fact(at, exit)
    }

    pub fn facts(&self) -> &[Observation] {
        &self.facts
    }

    pub fn steps(&self) -> Steps {
        self.steps_of(Signal::HUP)
    }

    pub fn steps_until(&self, end: u64) -> Steps {
        Steps::of(&self.facts, Signal::HUP, Origin::ChildOf(TRACER), Some(SOCKET), end)
    }

    pub fn steps_of(&self, signal: Signal) -> Steps {
        Steps::of(&self.facts, signal, Origin::ChildOf(TRACER), Some(SOCKET), 1_000 * MS)
    }

    /// The ids of the intervals for HUP, each with its end in ms from the exec.
    pub fn intervals(&self, service_type: &str) -> Vec<(String, i64, Reach)> {
        let (planned, _) =
            plan(&self.steps(), Signal::HUP, role(Signal::HUP, &[]), service_type, 1_000 * MS);
        planned.into_iter().map(|it| (it.id, it.to_ns / MS.cast_signed(), it.reached)).collect()
    }
}

/// A command that runs on.
pub fn running() -> ProcessOutcome {
    ProcessOutcome { state: OutcomeState::Running, signal: None, code: None }
}

/// The command, or what it started.
pub fn a_process(main: bool) -> ProcessRef {
    let pid = if main { COMMAND } else { COMMAND + 1 };
    ProcessRef { pid, ns_pid: None, comm: "demo".into(), exe: None, uid: None }
}

/// A try with this outcome.
pub fn a_try(outcome: Outcome, bad: bool) -> Try {
    Try {
        outcome,
        what: format!("it was {}", outcome.word()),
        bad,
        placed_ns: Some(0),
        signal: None,
        exit: None,
        reload: None,
        attempts: 1,
    }
}

/// An interval of the main process after a step of this kind, in ms, with one try.
pub fn an_interval(
    id: &str,
    after: StepKind,
    (from, to): (i64, Option<i64>),
    (outcome, bad): (Outcome, bool),
) -> Interval {
    let ms = MS.cast_signed();
    let end = to.unwrap_or(1_000);
    Interval {
        id: format!("HUP@{id}"),
        process: a_process(true),
        main: true,
        after: ReportedStep { kind: after, what: id.to_owned(), at_ns: from * ms },
        before: to.map(|to| ReportedStep {
            kind: StepKind::Action,
            what: "the next".to_owned(),
            at_ns: to * ms,
        }),
        from_ns: from * ms,
        to_ns: end * ms,
        reached: Reach::Reached,
        outcome,
        bad,
        counts: true,
        steady: true,
        tries: vec![a_try(outcome, bad)],
    }
}
