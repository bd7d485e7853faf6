//! The steps of a start, told from its facts.

mod key;
pub(super) mod process;

pub use self::{
    key::{Key, Kind},
    process::{Process, Step},
};
pub(super) use self::{
    key::{order, parent, place_of, write_children},
    process::{FRESH_NS, Forked, Since},
};

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;
use tracer_common::place::COMMAND;

use crate::{
    model::{
        event::{Consumer, DispositionKind, ProcessRef},
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

/// What the C library blocks around a fork, at least: all that can be blocked but real-time signals.
const EVERY: u64 = 0x7fff_ffff & !(1 << 8 | 1 << 18);

/// What became of a unit for its systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// It took the unit for active at this time, `CLOCK_BOOTTIME` ns.
    Since(u64),
    /// It never did.
    Never,
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
    /// Until when it was looked at.
    end: u64,
    processes: BTreeMap<ProcessId, Process>,
    command: Option<ProcessId>,
    /// The places of its workers, and of those that they come from.
    told: BTreeSet<u64>,
    /// The place of the main process.
    main: u64,
    /// When READY=1 and STOPPING=1 were said first, by whom ever.
    ready: Option<u64>,
    stopping: Option<u64>,
    /// When the command first executed a program of its own.
    exec: Option<u64>,
    /// Of a unit: whether and when systemd took it for active.
    active: Option<Active>,
    /// Of a unit: whether systemd has a reload to send.
    can_reload: Option<bool>,
}

impl Steps {
    /// Tells them from the facts of a run of a command, whose notify socket is `socket`, up to `end`
    /// (`CLOCK_BOOTTIME` ns), as if nothing had come after it: a mask that a signal ends at once was
    /// a step when the signal came.
    #[must_use]
    pub fn of(
        facts: &[Observation],
        signal: Signal,
        origin: Origin,
        socket: Option<&str>,
        end: u64,
    ) -> Self {
        let mut this = Self {
            signal,
            origin,
            socket: socket.map(str::to_owned),
            end,
            processes: BTreeMap::new(),
            command: None,
            told: BTreeSet::new(),
            main: COMMAND,
            ready: None,
            stopping: None,
            exec: None,
            active: None,
            can_reload: None,
        };
        // Records of several CPUs overtake each other by microseconds.
        let mut ordered: Vec<&Observation> = facts.iter().filter(|it| it.at <= end).collect();
        ordered.sort_by_key(|observation| observation.at);
        for observation in ordered {
            this.learn(observation.at, &observation.fact);
        }
        let workers: BTreeMap<ProcessId, u64> =
            this.running().map(|(id, process)| (*id, process.place)).collect();
        for place in workers.values() {
            let up = std::iter::successors(Some(*place), |place| Some(parent(*place)));
            this.told.extend(up.take_while(|place| *place > COMMAND));
        }
        let numbers = workers.into_iter().map(|(id, place)| (id, this.number(place))).collect();
        for process in this.processes.values_mut() {
            process.keep_forks_of(&numbers);
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

    /// The process that was started first: the command itself, or what systemd starts of a unit.
    #[must_use]
    pub fn command(&self) -> Option<&Process> {
        self.processes.get(&self.command?)
    }

    /// The main process: the command, but of a unit with `Type=forking`.
    #[must_use]
    pub fn main(&self) -> Option<&Process> {
        self.process_at(self.main)
    }

    /// The process that started the main one, and is another: that of `Type=forking`.
    #[must_use]
    pub fn starter(&self) -> Option<&Process> {
        self.command().filter(|_| self.main != COMMAND)
    }

    /// The place of the last process with this id, in its own namespace or in ours.
    #[must_use]
    pub fn place_of(&self, pid: u32) -> Option<u64> {
        let last = |is_it: &dyn Fn(&ProcessRef) -> bool| {
            let all = self.processes.values().filter(|it| is_it(&it.who));
            all.max_by_key(|it| it.began).map(|it| it.place)
        };
        last(&|who| who.ns_pid == Some(pid)).or_else(|| last(&|who| who.pid == pid))
    }

    /// The last process with this id in our namespace.
    pub(super) fn process_of(&self, pid: u32) -> Option<&Process> {
        self.processes.values().filter(|it| it.who.pid == pid).max_by_key(|it| it.began)
    }

    /// The process at a place.
    #[must_use]
    pub fn process_at(&self, place: u64) -> Option<&Process> {
        self.processes.values().find(|process| process.place == place)
    }

    /// The processes that it started and that run at the end: its workers.
    pub fn workers(&self) -> impl Iterator<Item = &Process> {
        self.running().map(|(_, process)| process).filter(|process| process.place != self.main)
    }

    /// Those that it started and that run at the end.
    fn running(&self) -> impl Iterator<Item = (&ProcessId, &Process)> {
        self.processes.iter().filter(|(_, process)| {
            process.place != COMMAND
                && process.ended.is_none()
                && process.is_settled(self.end)
                && !self.is_helper(process)
        })
    }

    /// Whether the process at a place is a worker, or one comes from it.
    pub(super) fn leads_to_worker(&self, place: u64) -> bool {
        self.told.contains(&place)
    }

    /// Which one the process at a place is of those that its parent started and that live on, or started
    /// such: a start may have another number of helpers each time, and the same workers.
    fn number(&self, place: u64) -> u32 {
        let like = self.told.range(..=place).filter(|it| parent(**it) == parent(place));
        like.count().try_into().unwrap_or(u32::MAX)
    }

    /// The place with the numbers that [`Steps::number`] gives; that itself where it is none of those.
    pub(super) fn told_place(&self, place: u64) -> u64 {
        let numbers = |place| (place > COMMAND).then(|| self.number(place));
        let up = std::iter::successors(Some(place), |place| Some(parent(*place)));
        let mut forks: Vec<u32> = up.map_while(numbers).collect();
        forks.reverse();
        if self.told.contains(&place) { place_of(&forks).unwrap_or(place) } else { place }
    }

    /// A step by the numbers that it is told by: those of workers, and of the forks of workers.
    #[must_use]
    pub fn told(&self, key: Key) -> Key {
        let process = self.told_place(key.process);
        let steps = self.process_at(key.process).into_iter().flat_map(Process::steps);
        let is_like = |it: &Key| it.kind == Kind::Child && it.execs == key.execs;
        let until = steps.map(|step| step.key).filter(is_like).take_while(|it| *it <= key).count();
        match key.kind {
            Kind::Child if until > 0 => {
                Key { process, number: until.try_into().unwrap_or(u32::MAX), ..key }
            }
            _ => Key { process, ..key },
        }
    }

    /// The process that a step is about: of the fork of a child, that child.
    #[must_use]
    pub fn subject(&self, key: Key) -> Option<&Process> {
        let process = self.process_at(key.process)?;
        if key.kind == Kind::Child {
            self.processes.get(&process.child(key)?)
        } else {
            Some(process)
        }
    }

    /// Whether a process runs a program that another child of the same process has run and come to
    /// the end of: which one of these is there when the start was looked at last is chance.
    fn is_helper(&self, process: &Process) -> bool {
        let (parent, program) = (parent(process.place), process.program());
        program.is_some()
            && self.processes.values().any(|other| {
                other.ended.is_some()
                    && parent == self::parent(other.place)
                    && program == other.program()
            })
    }

    /// Until when the start was looked at, `CLOCK_BOOTTIME` ns.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// When READY=1 was said first.
    #[must_use]
    pub fn ready(&self) -> Option<u64> {
        self.ready
    }

    /// The same where it was another process than the main one that said it.
    #[must_use]
    pub fn ready_of_another(&self) -> Option<u64> {
        let is_own = |at: u64| {
            let mut steps = self.main().into_iter().flat_map(Process::steps);
            steps.any(|step| step.key.kind == Kind::Ready && step.at == at)
        };
        self.ready.filter(|at| !is_own(*at))
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

    /// The same of a unit of which this is known.
    #[must_use]
    pub fn with_active(mut self, active: Active) -> Self {
        self.active = Some(active);
        self
    }

    /// The same where the main process is the one at this place.
    #[must_use]
    pub fn with_main(mut self, place: u64) -> Self {
        self.main = place;
        self
    }

    /// The same of a unit that systemd can reload, or can't.
    #[must_use]
    pub fn with_reload(mut self, can_reload: Option<bool>) -> Self {
        self.can_reload = can_reload;
        self
    }

    /// Whether systemd has a reload to send, where that is known.
    #[must_use]
    pub fn can_reload(&self) -> Option<bool> {
        self.can_reload
    }

    /// When systemd took the unit for active, if it is known to have.
    #[must_use]
    pub fn active_since(&self) -> Option<u64> {
        match self.active? {
            Active::Since(at) => Some(at),
            Active::Never => None,
        }
    }

    /// Whether and when systemd took the unit for active; `None` where that is not known, as of a
    /// command.
    #[must_use]
    pub fn active(&self) -> Option<Active> {
        self.active
    }

    fn learn(&mut self, at: u64, fact: &Fact) {
        match fact {
            Fact::Fork { parent, child, shares_memory, state, .. } => {
                let blocked = state.blocked.intersects(self.signal.set());
                self.forked(at, parent, (child, *shares_memory), blocked);
            }
            Fact::Exec { task, exe, file, state, .. } => {
                let blocked = state.blocked.intersects(self.signal.set());
                let Some(process) = self.processes.get_mut(&task.id) else { return };
                process.executed(at, &task.comm, (exe, file), blocked);
                if process.place == COMMAND && !is_executor(exe) {
                    self.exec.get_or_insert(at);
                }
            }
            // Before 255 systemd moves what it has forked into the unit's cgroup.
            Fact::CgroupAttach { task, .. }
                if self.origin == Origin::Main(task.id.pid) && self.command.is_none() =>
            {
                self.command = Some(task.id);
                self.begun(at, COMMAND, task, None, false, "in the cgroup of the unit");
            }
            Fact::Exit { task, signal, code, .. } => {
                if let Some(process) = self.processes.get_mut(&task.id) {
                    process.exited(at, *signal, *code);
                }
            }
            Fact::Disposition { task, signal, disposition, once, .. } if *signal == self.signal => {
                let what = match disposition {
                    DispositionKind::Handler if *once => "handler set, for one delivery",
                    DispositionKind::Handler => "handler set",
                    DispositionKind::Ignored => "ignored from here on",
                    _ => "default from here on",
                };
                let Some(process) = self.processes.get_mut(&task.id) else { return };
                process.step(at, Kind::Action, what.to_owned());
                if *disposition == DispositionKind::Handler {
                    process.handles(at, *once);
                }
            }
            Fact::Mask { task, before, after, state } => {
                let set = self.signal.set();
                let is_step = !before.is_of_a_runtime() && !after.is_of_a_runtime();
                if is_step
                    && before.intersects(set) != after.intersects(set)
                    && let Some(process) = self.processes.get_mut(&task.id)
                {
                    let all = after.0 & EVERY == EVERY;
                    process.masked(at, after.intersects(set), state.blocked.intersects(set), all);
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

    fn forked(
        &mut self,
        at: u64,
        parent: &Task,
        (child, shares_memory): (&Task, bool),
        blocked: bool,
    ) {
        let is_command = match self.origin {
            Origin::ChildOf(starter) => parent.id.pid == starter,
            Origin::Main(main) => child.id.pid == main,
        };
        let place = if is_command && self.command.is_none() {
            self.command = Some(child.id);
            Some(COMMAND)
        } else {
            self.processes
                .get_mut(&parent.id)
                .and_then(|parent| parent.forks(at, child.id, shares_memory))
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
        let process = Process::begun(at, place, who, blocked, what);
        self.processes.insert(child.id, process);
    }

    fn acted(&mut self, at: u64, task: &Task, kind: Kind, what: &str) {
        if let Some(process) = self.processes.get_mut(&task.id) {
            process.step(at, kind, what.to_owned());
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
