//! The steps of a start, told from its facts, and how each is found again.

use std::{collections::BTreeMap, fmt};

use smol_str::SmolStr;
use tracer_common::place::{self, COMMAND, STEPS, child_place};

pub use tracer_common::place::Step as Kind;

use crate::{
    model::{
        event::{Consumer, DispositionKind, ProcessRef},
        race::StepKind,
        signal::Signal,
    },
    observation::{Datagram, Fact, Observation, ProcessId, Task},
    timeline::{
        is_executor,
        notify::{Meaning, meaning, parse},
    },
};

/// The most facts of a start that steps are told from.
pub const MAX_FACTS: usize = 65_536;

/// A mask that was set for less is none: a signal that comes meanwhile waits for that long, and
/// then does what it does in the interval.
const MOMENT_NS: u64 = 1_000_000;
/// The same of one of all signals, which the C library sets around a fork and the start of a
/// thread: where the host is busy, that takes long.
const MOMENT_OF_ALL_NS: u64 = 20_000_000;

/// What the C library blocks around a fork, at least: all that can be blocked but real-time signals.
const EVERY: u64 = 0x7fff_ffff & !(1 << 8 | 1 << 18);

/// What a step is, and which one of its kind: by this it is found again in another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The place of its process in the tree of the command's: `tracer_common::place::COMMAND`
    /// for the command itself.
    pub process: u64,
    /// How many programs the process has executed by then.
    pub execs: u32,
    /// What it is.
    pub kind: Kind,
    /// Which one of its kind since then, from 1 on.
    pub number: u32,
}

impl fmt::Display for Key {
    /// As in `--only`: `fork`, `exec1`, `exec1.action2`, `child2.exec1.ready1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for child in children(self.process) {
            write!(f, "child{child}.")?;
        }
        if self.execs > 0 {
            write!(f, "exec{}", self.execs)?;
        }
        let word = match self.kind {
            Kind::Begin => return f.write_str("fork"),
            Kind::Exec => return Ok(()),
            Kind::Action => "action",
            Kind::Block => "block",
            Kind::Unblock => "unblock",
            Kind::Signalfd => "signalfd",
            Kind::Sigwait => "sigwait",
            Kind::Reset => "reset",
            Kind::Ready => "ready",
            Kind::Reloading => "reloading",
            Kind::Stopping => "stopping",
        };
        let dot = if self.execs > 0 { "." } else { "" };
        write!(f, "{dot}{word}{}", self.number)
    }
}

/// The place that forks of these numbers lead to, the command's first.
pub(super) fn place_of(forks: &[u32]) -> Option<u64> {
    forks.iter().try_fold(COMMAND, |place, fork| child_place(place, *fork))
}

/// The numbers of the forks that lead to a place, the command's first.
pub(super) fn children(place: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut rest = place;
    while rest > COMMAND {
        numbers.push(rest & 0xfff);
        rest >>= 12;
    }
    numbers.reverse();
    numbers
}

/// A step of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is.
    pub key: Key,
    /// When it was, `CLOCK_BOOTTIME` ns.
    pub at: u64,
    /// In words.
    pub what: String,
    /// The same as one of few kinds.
    pub told: StepKind,
    /// Whether it set a handler for one delivery.
    pub once: bool,
}

/// A process of the command.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its place in the tree.
    pub place: u64,
    /// Who it is, by its name and program at the end.
    pub who: ProcessRef,
    /// When it was forked, `CLOCK_BOOTTIME` ns.
    pub began: u64,
    /// When it ended.
    pub ended: Option<u64>,
    execs: u32,
    forks: u32,
    counts: [u32; STEPS],
    /// Whether every thread blocks the signal.
    blocked: bool,
    block: Option<Block>,
    steps: Vec<Step>,
}

impl Process {
    /// What it did, in order of time.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The last step of it until a time.
    #[must_use]
    pub fn step_at(&self, at: u64) -> Option<&Step> {
        self.steps.iter().rev().find(|step| step.at <= at)
    }
}

/// Where the threads of a process began to block the signal.
#[derive(Clone, Copy, Debug)]
struct Block {
    since: u64,
    /// The step's place in the list.
    index: usize,
    /// How many children the process had started by then.
    forks: u32,
    /// Whether it was all signals that they began to block.
    all: bool,
}

impl Block {
    /// Whether what ended at `at`, after so many forks, was for a moment: the C library's around
    /// a fork, or a short one.
    fn was_short(&self, at: u64, forks: u32) -> bool {
        let moment = if self.all { MOMENT_OF_ALL_NS } else { MOMENT_NS };
        at.saturating_sub(self.since) <= moment || self.all && forks > self.forks
    }
}

/// By what the command is known among the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is the first child of this process.
    ChildOf(u32),
    /// It is this process, the main one of a unit: the kernel side has told. 0 if it never came.
    Main(u32),
}

/// The steps of a start, for one signal.
#[derive(Clone, Debug)]
pub struct Steps {
    signal: Signal,
    origin: Origin,
    /// The path of the command's notify socket.
    socket: Option<String>,
    processes: BTreeMap<ProcessId, Process>,
    command: Option<ProcessId>,
    /// When READY=1 and STOPPING=1 were said first, by whom ever.
    ready: Option<u64>,
    stopping: Option<u64>,
    /// When the command first executed a program of its own.
    exec: Option<u64>,
    /// Of a unit: when systemd took it for active.
    active: Option<u64>,
}

impl Steps {
    /// Tells them from the facts of a run of a command, whose notify socket is `socket`.
    #[must_use]
    pub fn of(facts: &[Observation], signal: Signal, origin: Origin, socket: Option<&str>) -> Self {
        let mut this = Self {
            signal,
            origin,
            socket: socket.map(str::to_owned),
            processes: BTreeMap::new(),
            command: None,
            ready: None,
            stopping: None,
            exec: None,
            active: None,
        };
        // Records of several CPUs overtake each other by microseconds.
        let mut ordered: Vec<&Observation> = facts.iter().collect();
        ordered.sort_by_key(|observation| observation.at);
        for observation in ordered {
            this.learn(observation.at, &observation.fact);
        }
        this
    }

    /// Whether a fact is one that steps are told from.
    #[must_use]
    pub fn needs(fact: &Fact) -> bool {
        matches!(
            fact,
            Fact::Fork { .. }
                | Fact::Exec { .. }
                | Fact::Exit { .. }
                | Fact::Disposition { .. }
                | Fact::Mask { .. }
                | Fact::Consume { .. }
                | Fact::Deliver { .. }
                | Fact::CgroupAttach { .. }
                | Fact::Notify(_)
        )
    }

    /// The command's own process.
    #[must_use]
    pub fn command(&self) -> Option<&Process> {
        self.processes.get(&self.command?)
    }

    /// The process at a place.
    #[must_use]
    pub fn process_at(&self, place: u64) -> Option<&Process> {
        self.processes.values().find(|process| process.place == place)
    }

    /// The processes that it started and that run at the end: its workers.
    pub fn workers(&self) -> impl Iterator<Item = &Process> {
        self.processes
            .values()
            .filter(|process| process.place != COMMAND && process.ended.is_none())
    }

    /// When READY=1 was said first.
    #[must_use]
    pub fn ready(&self) -> Option<u64> {
        self.ready
    }

    /// When STOPPING=1 was said first.
    #[must_use]
    pub fn stopping(&self) -> Option<u64> {
        self.stopping
    }

    /// Zero of the timeline: the command's first exec, else its fork.
    #[must_use]
    pub fn zero(&self) -> u64 {
        self.exec.or(self.command().map(|command| command.began)).unwrap_or(0)
    }

    /// The same of a unit that systemd took for active then, or never.
    #[must_use]
    pub fn with_active(mut self, active: Option<u64>) -> Self {
        self.active = Some(active.unwrap_or(u64::MAX));
        self
    }

    /// When systemd took the unit for active: `u64::MAX` for never, `None` where that is not known,
    /// as of a command.
    #[must_use]
    pub fn active(&self) -> Option<u64> {
        self.active
    }

    fn learn(&mut self, at: u64, fact: &Fact) {
        match fact {
            Fact::Fork { parent, child, state, .. } => {
                let blocked = state.blocked.intersects(self.signal.set());
                self.forked(at, parent, child, blocked);
            }
            Fact::Exec { task, exe, state, .. } => {
                let blocked = state.blocked.intersects(self.signal.set());
                let Some(process) = self.processes.get_mut(&task.id) else { return };
                process.who.comm.clone_from(&task.comm);
                process.who.exe = Some(exe.clone());
                process.execs += 1;
                process.counts = [0; STEPS];
                process.blocked = blocked;
                process.block = None;
                if process.place == COMMAND && !is_executor(exe) {
                    self.exec.get_or_insert(at);
                }
                let program = exe.rsplit('/').next().unwrap_or(exe);
                process.step(at, Kind::Exec, format!("exec of {program}"));
            }
            // Before 255 systemd moves what it has forked into the unit's cgroup.
            Fact::CgroupAttach { task, .. }
                if self.origin == Origin::Main(task.id.pid) && self.command.is_none() =>
            {
                self.command = Some(task.id);
                self.begun(at, COMMAND, task, None, false, "in the cgroup of the unit");
            }
            Fact::Exit { task, .. } => {
                if let Some(process) = self.processes.get_mut(&task.id) {
                    process.ended = Some(at);
                }
            }
            Fact::Disposition { task, signal, disposition, once, .. } if *signal == self.signal => {
                let what = match disposition {
                    DispositionKind::Handler if *once => "handler set, for one delivery",
                    DispositionKind::Handler => "handler set",
                    DispositionKind::Ignored => "ignored from here on",
                    _ => "default from here on",
                };
                self.acted(at, task, Kind::Action, what);
                let once = *once && *disposition == DispositionKind::Handler;
                self.takes_one(at, task, once);
            }
            Fact::Mask { task, before, after, state } => {
                let set = self.signal.set();
                if before.intersects(set) != after.intersects(set) {
                    let blocks = after.intersects(set);
                    let all = after.0 & EVERY == EVERY;
                    self.masked(at, task, blocks, state.blocked.intersects(set), all);
                }
            }
            Fact::Consume { task, consumer, set, .. } if set.intersects(self.signal.set()) => {
                match consumer {
                    Consumer::Signalfd => self.acted(at, task, Kind::Signalfd, "signalfd made"),
                    Consumer::Sigwait => self.acted(at, task, Kind::Sigwait, "sigwait begins"),
                }
            }
            Fact::Deliver { task, signal, once: true, disposition, .. }
                if *signal == self.signal && *disposition == DispositionKind::Handler =>
            {
                self.acted(at, task, Kind::Reset, "handler called, default from here on");
            }
            Fact::Notify(datagram) => self.said(at, datagram),
            _ => {}
        }
    }

    fn forked(&mut self, at: u64, parent: &Task, child: &Task, blocked: bool) {
        let is_command = match self.origin {
            Origin::ChildOf(starter) => parent.id.pid == starter,
            Origin::Main(main) => child.id.pid == main,
        };
        let place = if is_command && self.command.is_none() {
            self.command = Some(child.id);
            Some(COMMAND)
        } else {
            self.processes.get_mut(&parent.id).and_then(|parent| {
                parent.forks += 1;
                child_place(parent.place, parent.forks)
            })
        };
        let Some(place) = place else { return };
        let exe = self.processes.get(&parent.id).and_then(|parent| parent.who.exe.clone());
        self.begun(at, place, child, exe, blocked, "fork");
    }

    fn begun(
        &mut self,
        at: u64,
        place: u64,
        child: &Task,
        exe: Option<SmolStr>,
        blocked: bool,
        what: &str,
    ) {
        let who = ProcessRef {
            pid: child.id.pid,
            ns_pid: (child.ns_pid != child.id.pid).then_some(child.ns_pid),
            comm: child.comm.clone(),
            exe,
            uid: None,
        };
        let mut process = Process {
            place,
            who,
            began: at,
            ended: None,
            execs: 0,
            forks: 0,
            counts: [0; STEPS],
            blocked,
            block: None,
            steps: Vec::new(),
        };
        process.step(at, Kind::Begin, what.to_owned());
        self.processes.insert(child.id, process);
    }

    fn acted(&mut self, at: u64, task: &Task, kind: Kind, what: &str) {
        if let Some(process) = self.processes.get_mut(&task.id) {
            process.step(at, kind, what.to_owned());
        }
    }

    /// Whether the handler that was just set takes one signal alone.
    fn takes_one(&mut self, at: u64, task: &Task, once: bool) {
        let last = self.processes.get_mut(&task.id).and_then(|process| process.steps.last_mut());
        if let Some(last) = last.filter(|last| last.at == at) {
            last.once = once;
        }
    }

    /// A thread blocks the signal from now on, or does no longer; `blocked` if all of them do.
    /// Where it blocks, `all` signals or this one.
    fn masked(&mut self, at: u64, task: &Task, blocks: bool, blocked: bool, all: bool) {
        let Some(process) = self.processes.get_mut(&task.id) else { return };
        let kind = if blocks { Kind::Block } else { Kind::Unblock };
        let what = if blocks { "blocked" } else { "unblocked" };
        let changes = process.blocked != blocked;
        process.blocked = blocked;
        if !changes {
            process.count(kind);
            return;
        }
        // For a moment, with nothing in between.
        if let Some(block) = process.block.take()
            && !blocked
            && block.was_short(at, process.forks)
            && process.steps.len() == block.index + 1
        {
            process.count(kind);
            process.steps.truncate(block.index);
            return;
        }
        process.step(at, kind, what.to_owned());
        if blocked {
            let (index, forks) = (process.steps.len() - 1, process.forks);
            process.block = Some(Block { since: at, index, forks, all });
        }
    }

    fn said(&mut self, at: u64, datagram: &Datagram) {
        if datagram.errno != 0 || self.socket.as_deref() != Some(&datagram.destination) {
            return;
        }
        let Some(payload) = &datagram.payload else { return };
        let message = parse(payload, datagram.length);
        let meaning = meaning(&message.assignments).filter(|_| message.malformed.is_none());
        let (kind, what) = match meaning {
            Some(Meaning::Ready) => (Kind::Ready, "READY=1"),
            Some(Meaning::Reloading) => (Kind::Reloading, "RELOADING=1"),
            Some(Meaning::Stopping) => (Kind::Stopping, "STOPPING=1"),
            None => return,
        };
        match kind {
            Kind::Ready => self.ready = self.ready.or(Some(at)),
            Kind::Stopping => self.stopping = self.stopping.or(Some(at)),
            _ => {}
        }
        self.acted(at, &datagram.sender, kind, what);
    }
}

impl Process {
    /// Counts a step, and gives its number.
    fn count(&mut self, kind: Kind) -> u32 {
        let count = &mut self.counts[kind as usize];
        *count += 1;
        *count
    }

    fn step(&mut self, at: u64, kind: Kind, what: String) {
        let number = self.count(kind);
        // What is prepared in the command before its exec is the tracer's own doing.
        if self.place == COMMAND && self.execs == 0 && kind != Kind::Begin {
            return;
        }
        // Who waits again and again, or reads a descriptor anew, does so as before.
        if matches!(kind, Kind::Signalfd | Kind::Sigwait) && number > 1 {
            return;
        }
        let key = Key { process: self.place, execs: self.execs, kind, number };
        self.steps.push(Step { key, at, what, told: told(kind), once: false });
    }
}

fn told(kind: Kind) -> StepKind {
    match kind {
        Kind::Begin => StepKind::Fork,
        Kind::Exec => StepKind::Exec,
        Kind::Action => StepKind::Action,
        Kind::Block => StepKind::Block,
        Kind::Unblock => StepKind::Unblock,
        Kind::Signalfd => StepKind::Signalfd,
        Kind::Sigwait => StepKind::Sigwait,
        Kind::Reset => StepKind::Reset,
        Kind::Ready => StepKind::Ready,
        Kind::Reloading => StepKind::Reloading,
        Kind::Stopping => StepKind::Stopping,
    }
}

impl Key {
    /// The order to place `signal` at this step; where notify messages go is yet to be told.
    #[must_use]
    pub fn order(&self, signal: Signal) -> place::Order {
        place::Order {
            signal: signal.number(),
            sent: signal.number(),
            process: self.process,
            step: self.kind as u32,
            execs: self.execs,
            number: self.number,
            ..place::Order::default()
        }
    }
}
