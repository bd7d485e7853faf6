//! One start of a service, folded: each fact, in order of time, changes state of bounded size.
//!
//! What decides is state of its own and is never dropped: who the main process is, what it does
//! on every recorded signal, which signals are open, who said READY=1. The events beside it are
//! for people, and for the rules as evidence; [`Events`] bounds them.

mod mains;
mod mask_events;
mod members;
mod messages;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use hashbrown::HashMap;
use tracer_common::signal::SignalSet;

pub use self::members::{End, Member};
use super::{
    admission::{Claim, KnownProcess},
    events::{Class, EventPlace, Events, Kind, Record, SenderFrom},
    fate::{self, Fates},
    signals::{Amendment, Dispositions},
};
use crate::{
    model::{
        event::{Consumer, DispositionKind, ProcessRef, SignalSent},
        signal::Signal,
    },
    observation::{Fact, Generate, ProcessId, Program, Task, fact_task},
};

/// Processes besides the main one that systemd itself started; the last ones are kept.
const MAX_CONTROLS: usize = 1_000;

/// What every start is folded with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The signals whose dispositions the kernel side reports.
    pub recorded: SignalSet,
    /// Notify sockets that processes of the service were given.
    pub sockets: &'a [String],
    /// There are so many events of all starts that each has little room.
    pub is_tight: bool,
}

/// How far a start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// The reload signal is taken.
    pub handler: bool,
    /// READY=1 was said.
    pub ready: bool,
    /// The main process has exited.
    pub exited: bool,
}

/// One start of a service.
#[derive(Clone, Debug)]
pub struct Start {
    /// systemd's invocation id.
    pub invocation_id: Option<String>,
    /// The main process, and the ones it was before a hand-over: each with when it became
    /// that.
    pub mains: Vec<(u64, KnownProcess)>,
    /// The main process that was said to be it.
    pub chosen: Option<ProcessId>,
    /// What the main process was before that.
    pub supervisor: Option<ProcessId>,
    /// Processes that systemd itself started beside the main one, for ExecStartPost= and its
    /// like.
    pub controls: Vec<KnownProcess>,
    /// It ran before the capture: when that joined.
    pub joined_at: Option<u64>,
    /// Its processes that have not ended.
    pub alive: BTreeSet<ProcessId>,
    /// Whether the main process has exited, and well.
    pub main_exited_well: Option<bool>,
    /// Those of the main processes that are taken for that as the one before, when it ended,
    /// left them running, each with the time of that end.
    guessed: Vec<(ProcessId, u64)>,
    /// The last main process, where systemd has called it that without saying since when.
    since_unknown: Option<ProcessId>,
    /// What came in place of main processes that had ended, newest last: each with those before.
    replaced: Vec<(u64, KnownProcess)>,
    /// Since when systemd has it as up, `CLOCK_BOOTTIME` ns.
    came_up: Option<u64>,
    /// The main process was sent a signal by another that tells it to end.
    pub told_to_stop: bool,
    /// Goes up with each change.
    pub revision: u64,
    /// The revision that was told last.
    pub told: u64,
    /// How far it had come at a revision.
    pub stage: Option<(u64, Stage)>,
    first_at: Option<u64>,
    last_at: u64,
    access: Vec<(u64, String)>,
    members: HashMap<ProcessId, Member>,
    ended: VecDeque<ProcessId>,
    fates: Fates,
    events: Events,
    ready: Vec<Claim>,
    /// What there was no room for, and a verdict could depend on: processes whose signals could
    /// not be followed, main processes, commands, and changes of who may speak.
    unfollowed: u64,
    /// Every fact, in the order they were told.
    #[cfg(test)]
    pub learned: Vec<(u64, Fact)>,
}

impl Start {
    /// One that nothing is known of but perhaps its invocation id.
    #[must_use]
    pub fn new(invocation_id: Option<String>) -> Self {
        Self {
            invocation_id,
            mains: Vec::new(),
            chosen: None,
            supervisor: None,
            controls: Vec::new(),
            joined_at: None,
            alive: BTreeSet::new(),
            main_exited_well: None,
            guessed: Vec::new(),
            since_unknown: None,
            replaced: Vec::new(),
            came_up: None,
            told_to_stop: false,
            revision: 1,
            told: 0,
            stage: None,
            first_at: None,
            last_at: 0,
            access: Vec::new(),
            members: HashMap::new(),
            ended: VecDeque::new(),
            fates: Fates::default(),
            events: Events::default(),
            ready: Vec::new(),
            unfollowed: 0,
            #[cfg(test)]
            learned: Vec::new(),
        }
    }

    /// The main process now.
    #[must_use]
    pub fn main(&self) -> Option<ProcessId> {
        self.mains.last().map(|(_, main)| main.id)
    }

    /// The main process at a time. Before the first one became that, its own past counts.
    #[must_use]
    pub fn main_at(&self, at: u64) -> Option<KnownProcess> {
        let since = self.mains.iter().rev().find(|(since, _)| *since <= at);
        since.or(self.mains.first()).map(|(_, main)| *main)
    }

    /// Whether nothing of it is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.main_exited_well.is_some() && self.alive.is_empty()
    }

    /// The time of the earliest fact, `CLOCK_BOOTTIME` ns; 0 without one.
    #[must_use]
    pub fn began(&self) -> u64 {
        self.first_at.unwrap_or(0)
    }

    /// The time of the latest fact, `CLOCK_BOOTTIME` ns.
    #[must_use]
    pub fn last_at(&self) -> u64 {
        self.last_at
    }

    /// A process of it, as far as it is remembered.
    #[must_use]
    pub fn member(&self, id: ProcessId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Its processes.
    pub fn members(&self) -> impl Iterator<Item = (ProcessId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Its events.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// READY=1 messages, one of each sender.
    #[must_use]
    pub fn ready(&self) -> &[Claim] {
        &self.ready
    }

    /// Processes and signals that could not be followed, as there were too many at a time.
    #[must_use]
    pub fn unfollowed(&self) -> u64 {
        self.unfollowed + self.fates.unfollowed()
    }

    /// Something of it is not followed, as there is too much of its kind.
    pub fn follow_less(&mut self) {
        self.unfollowed += 1;
    }

    /// Changes of `NotifyAccess=` by messages, with their times.
    #[cfg(test)]
    #[must_use]
    pub fn access(&self) -> &[(u64, String)] {
        &self.access
    }

    /// The processes with signals whose fates are open.
    pub fn waiting(&self) -> impl Iterator<Item = ProcessId> {
        self.fates.waiting()
    }

    /// Notes a process that systemd itself started beside the main one.
    pub fn add_control(&mut self, control: KnownProcess) {
        if self.controls.len() >= MAX_CONTROLS {
            self.controls.remove(0);
            self.unfollowed += 1;
        }
        self.controls.push(control);
    }

    /// A process by its id in its own pid namespace.
    fn known(&self, task: &Task) -> ProcessRef {
        ProcessRef {
            pid: task.id.pid,
            ns_pid: (task.ns_pid != 0 && task.ns_pid != task.id.pid).then_some(task.ns_pid),
            comm: task.comm.clone(),
            exe: self.members.get(&task.id).and_then(|it| it.exe.clone()),
            uid: None,
        }
    }

    fn sender(&self, task: &Task) -> ProcessRef {
        ProcessRef { uid: (task.uid != u32::MAX).then_some(task.uid), ..self.known(task) }
    }

    /// Takes the next fact.
    pub fn learn(&mut self, context: Context<'_>, at: u64, fact: &Fact) {
        #[cfg(test)]
        self.learned.push((at, fact.clone()));
        self.first_at = Some(self.first_at.map_or(at, |first| first.min(at)));
        self.last_at = self.last_at.max(at);
        if let Some(task) = fact_task(fact) {
            self.see(context, at, task);
        }
        match fact {
            Fact::Found { task, exe, program, state, .. } => {
                let member = self.member_mut(context, task);
                let is_first = member.signals.changes().is_empty();
                member.signals.found(at, state, *program);
                member.found = Some(*state);
                member.exe.clone_from(exe);
                let now = member.signals.now();
                if is_first {
                    self.change(context, at, task, (Dispositions::default(), now), None, true);
                }
            }
            Fact::Fork { parent, child, shares_handlers, state, .. } => {
                self.forked(context, at, parent, child, *shares_handlers, state);
            }
            Fact::Exec { task, exe, filename, program, state, .. } => {
                self.executed(context, at, task, (exe, filename), *program, state);
            }
            Fact::Exit { task, signal, code, core_dumped, state } => {
                self.exited(context, at, task, (*signal, *code, *core_dumped), state.pending);
            }
            Fact::ThreadExit { task, pending } => {
                self.fates.thread_ended(&mut self.events, at, task, *pending);
            }
            Fact::Generate(generate) => self.generated(context, at, generate),
            &Fact::Deliver { ref task, signal, disposition, once, unkillable } => {
                self.delivered(context, at, task, signal, disposition, once, unkillable);
            }
            Fact::Taken { task, signal } => {
                self.fates.taken(&mut self.events, at, task, *signal);
                self.revision += 1;
            }
            Fact::Disposition { task, signal, disposition, once, handler, loaded, state } => {
                let (signal, disposition, once) = (*signal, *disposition, *once);
                if disposition == DispositionKind::Ignored {
                    self.fates.thrown_out(&mut self.events, at, task.id, signal);
                }
                let member = self.member_mut(context, task);
                let amendments = member.signals.action(at, signal, *handler, *loaded, state);
                let runtime = member.signals.now().runtime(signal);
                if context.recorded.intersects(signal.set()) {
                    let process = self.known(task);
                    let detail = signal.number();
                    let class = Class { detail, ..self.class(Kind::Action, task.id, at) };
                    let record = Record::Action { process, signal, disposition, once, runtime };
                    self.events.add(at, task.id, class, record, context.is_tight);
                }
                self.amend(task.id, amendments);
                self.share(at, task.id);
                self.revision += 1;
            }
            Fact::Mask { task, before, after, state } => {
                self.masked(context, at, task, (*before, *after), state);
            }
            Fact::Consume { task, consumer, set, state } => {
                let member = self.member_mut(context, task);
                let before = member.signals.now();
                member.signals.consume(at, *consumer, *set, state);
                let now = member.signals.now();
                self.change(context, at, task, (before, now), Some(*consumer), false);
                self.revision += 1;
            }
            Fact::Notify(datagram) => self.notified(context, at, datagram),
            Fact::CgroupAttach { task, path, .. } => {
                let record = Record::Cgroup { process: self.known(task), path: path.clone() };
                let class = self.class(Kind::Cgroup, task.id, at);
                self.events.add(at, task.id, class, record, context.is_tight);
            }
            Fact::Left { id, state } => {
                self.fates.looked_at(&mut self.events, *id, state.pending);
                if let Some(member) = self.members.get_mut(id) {
                    member.found = Some(*state);
                }
                self.revision += 1;
            }
            Fact::CommandLine { .. }
            | Fact::CgroupPath { .. }
            | Fact::CgroupGone { .. }
            | Fact::Unit(_)
            | Fact::Loss { .. } => {}
        }
    }

    /// The class of an event that is about a process. Those of main processes are told apart.
    fn class(&self, kind: Kind, id: ProcessId, at: u64) -> Class {
        let of = self.main_at(at).filter(|main| main.id == id).map(|main| main.id);
        Class { kind, of, detail: 0, sender: None }
    }

    fn change(
        &mut self,
        context: Context<'_>,
        at: u64,
        task: &Task,
        (before, now): (Dispositions, Dispositions),
        consumer: Option<Consumer>,
        found: bool,
    ) {
        if before == now && !found {
            return;
        }
        let record = Record::Change { process: self.known(task), before, now, consumer, found };
        let class = self.class(Kind::Change, task.id, at);
        self.events.add(at, task.id, class, record, context.is_tight);
    }

    fn amend(&mut self, id: ProcessId, amendments: impl IntoIterator<Item = Amendment>) {
        for amendment in amendments {
            self.events.amend(id, amendment);
        }
    }

    fn generated(&mut self, context: Context<'_>, at: u64, generate: &Generate) {
        let (id, signal) = (generate.target.id, generate.signal);
        let by_itself = generate.sender.as_ref().is_some_and(|sender| sender.id == id);
        let mut runtime = None;
        let mut whose = (Program::Unread, None);
        if let Some(member) = self.members.get_mut(&id) {
            let amendments = member.signals.sent(at, signal, by_itself, generate.handler);
            runtime = member.signals.runtime_met(signal, generate.disposition);
            whose = (member.signals.program(), member.signals.now().runtime(signal));
            self.amend(id, amendments);
        }
        let sender = generate.sender.as_ref();
        let from = sender.zip(generate.origin.as_ref()).map(|(sender, origin)| SenderFrom {
            cgroup_id: sender.cgroup_id,
            origin: Arc::clone(origin),
        });
        let name = sender.map(|it| it.comm.clone());
        let sent = SignalSent {
            signal,
            sender: sender.map(|task| self.sender(task).into()),
            target: self.known(&generate.target),
            tid: generate.to_thread.then_some(generate.target.tid),
            unblocked: generate.unblocked.clone(),
            si_code: generate.si_code,
            disposition: generate.disposition,
            runtime,
            traced: generate.traced,
            fate: fate::at_sending(generate),
            fate_ns: None,
            effect: None,
            effect_ns: None,
        };
        let detail =
            signal.number() | (generate.disposition as u32) << 8 | u32::from(by_itself) << 16;
        let class = Class { detail, sender: name.clone(), ..self.class(Kind::Signal, id, at) };
        let record = Record::Signal { sent, sender: from, fate_at: None };
        let place: EventPlace = self.events.add(at, id, class, record, context.is_tight);
        let to_main = self.mains.iter().any(|(_, main)| main.id == id);
        let asks = [Signal::TERM, Signal::INT].contains(&signal) && !by_itself;
        self.told_to_stop |= asks && self.main() == Some(id);
        self.fates.sent(&mut self.events, at, generate, place, name, to_main, whose);
        self.revision += 1;
    }

    #[allow(clippy::too_many_arguments, reason = "they are what the kernel tells of a delivery")]
    fn delivered(
        &mut self,
        context: Context<'_>,
        at: u64,
        task: &Task,
        signal: Signal,
        disposition: DispositionKind,
        once: bool,
        unkillable: bool,
    ) {
        self.fates.delivered(&mut self.events, at, task, signal, disposition, unkillable);
        self.revision += 1;
        if disposition != DispositionKind::Handler {
            return;
        }
        let Some(member) = self.members.get_mut(&task.id) else {
            return;
        };
        let before = member.signals.now();
        let amendment = member.signals.delivered(at, signal, once);
        let now = member.signals.now();
        if once {
            // The handler is gone with this delivery.
            self.change(context, at, task, (before, now), None, false);
            self.share(at, task.id);
        }
        self.amend(task.id, amendment);
    }

    /// A process as it was last seen.
    #[must_use]
    pub fn reference(&self, id: ProcessId) -> ProcessRef {
        let member = self.members.get(&id);
        let ns_pid = member.map_or(0, |member| member.ns_pid);
        ProcessRef {
            pid: id.pid,
            ns_pid: (ns_pid != 0 && ns_pid != id.pid).then_some(ns_pid),
            comm: member.map(|member| member.comm.clone()).unwrap_or_default(),
            exe: member.and_then(|it| it.exe.clone()),
            uid: None,
        }
    }
}
