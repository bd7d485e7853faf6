//! One start of a service, folded: each fact, in order of time, changes state of bounded size.
//!
//! What decides is state of its own and is never dropped: who the main process is, what it does
//! on every recorded signal, which signals are open, who said READY=1. The events beside it are
//! for people, and for the rules as evidence; [`Events`] bounds them.

mod mains;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use tracer_common::signal::SignalSet;

use super::{
    admission::{self, Admission, Claim, Known, Speakers},
    events::{Class, Events, Kind, Place, Record},
    executor::is_executor,
    fate::{self, Fates},
    masks::MOMENT_NS,
    notify::{self, Meaning, Message},
    origin,
    signals::{Amendment, Dispositions, ProcessSignals},
};
use crate::{
    model::{
        event::{Consumer, DispositionKind, ProcessRef, SignalSent},
        signal::Signal,
        unit::UnitFacts,
    },
    observation::{Datagram, Fact, Generate, ProcessId, Program, State, Task, fact_task},
};

/// Processes besides the main one that systemd itself started; the last ones are kept.
const MAX_CONTROLS: usize = 1_000;
/// Changes of `NotifyAccess=` by messages; the first and the last ones are kept.
const MAX_ACCESS: usize = 64;
/// Processes of one start whose signals are followed at a time.
const MAX_PROCESSES: usize = 16_384;
/// Ended processes that are remembered, for what is sent to them while they are zombies.
const MAX_ENDED: usize = 64;
/// READY=1 messages that are remembered; those of main processes besides.
const MAX_READY: usize = 64;
/// The first ones of one sender that are.
const MAX_READY_OF_ONE: usize = 4;
/// Changes of masks of one process that may turn out to be of a moment.
const MAX_HELD: usize = 64;

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

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When, `CLOCK_BOOTTIME` ns.
    pub at: u64,
    /// The signal that killed it.
    pub signal: Option<Signal>,
    /// Its exit code otherwise.
    pub code: u8,
}

/// A process of a start.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its id in its own pid namespace, 0 if unknown.
    pub ns_pid: u32,
    /// Its start, ns after boot.
    pub start_ns: u64,
    /// Its name when it was last seen.
    pub comm: String,
    /// Its program.
    pub exe: Option<Arc<str>>,
    /// Its first exec that was seen.
    pub first_exec: Option<u64>,
    /// Its end.
    pub ended: Option<End>,
    /// What it does on signals.
    pub signals: ProcessSignals,
    /// When it sent its last notify message.
    last_message: Option<u64>,
    /// When it last asked systemd to tell it that its messages were read.
    last_barrier: Option<u64>,
    /// Changes of its masks that are no events yet.
    held: Vec<Held>,
    /// The processes it shares its handlers with.
    shares_with: Vec<ProcessId>,
    /// Its signals as /proc told them last, those that are not recorded too.
    pub found: Option<State>,
    /// Who started it, if that was seen.
    parent: Option<ProcessId>,
}

/// A change of a mask that is an event unless it is taken back within a moment.
#[derive(Clone, Debug)]
pub struct Held {
    /// When it was.
    pub at: u64,
    tid: u32,
    mask: SignalSet,
    before: Dispositions,
    now: Dispositions,
}

impl Held {
    /// The event that it is.
    #[must_use]
    pub fn record(&self, process: ProcessRef) -> Record {
        let Self { tid, mask, before, now, .. } = *self;
        Record::Mask { process, tid, mask, before, now }
    }
}

impl Member {
    fn new(task: &Task, recorded: SignalSet) -> Self {
        Self {
            ns_pid: task.ns_pid,
            start_ns: task.start_ns,
            comm: task.comm.clone(),
            exe: None,
            first_exec: None,
            ended: None,
            signals: ProcessSignals::unknown(recorded),
            last_message: None,
            last_barrier: None,
            held: Vec::new(),
            shares_with: Vec::new(),
            found: None,
            parent: None,
        }
    }

    /// Changes of its masks that are no events yet.
    #[must_use]
    pub fn held(&self) -> &[Held] {
        &self.held
    }
}

/// One start of a service.
#[derive(Clone, Debug)]
pub struct Start {
    /// systemd's invocation id.
    pub invocation_id: Option<String>,
    /// The main process, and the ones it was before a hand-over: each with when it became
    /// that.
    pub mains: Vec<(u64, Known)>,
    /// The main process that was said to be it.
    pub chosen: Option<ProcessId>,
    /// What the main process was before that.
    pub supervisor: Option<ProcessId>,
    /// Processes that systemd itself started beside the main one, for ExecStartPost= and its
    /// like.
    pub controls: Vec<Known>,
    /// It ran before the capture: when that joined.
    pub joined_at: Option<u64>,
    /// Its processes that have not ended.
    pub alive: BTreeSet<ProcessId>,
    /// Whether the main process has exited, and well.
    pub main_exited_well: Option<bool>,
    /// Those of the main processes that are taken for that as the one before, when it ended,
    /// left them running.
    guessed: Vec<ProcessId>,
    /// The last main process, where systemd has called it that without saying since when.
    since_unknown: Option<ProcessId>,
    /// What came in place of main processes that had ended, newest last: each with those before.
    replaced: Vec<(u64, Known)>,
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
    /// Processes whose signals could not be followed.
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
    pub fn main_at(&self, at: u64) -> Option<Known> {
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

    /// What becomes of a message of its service, under these settings of the unit.
    #[must_use]
    pub fn admission(&self, facts: Option<&UnitFacts>, claim: &Claim) -> Admission {
        let changed = self.access.iter().rev().find(|(since, _)| *since < claim.at);
        let speakers = Speakers {
            main: self.main_at(claim.at),
            controls: &self.controls,
            changed: changed.map(|(_, access)| access.as_str()),
        };
        admission::judge(speakers, facts, claim)
    }

    /// Notes a process that systemd itself started beside the main one.
    pub fn add_control(&mut self, control: Known) {
        if self.controls.len() >= MAX_CONTROLS {
            self.controls.remove(0);
        }
        self.controls.push(control);
    }

    /// Notes that a message has changed who may speak.
    pub fn change_access(&mut self, at: u64, access: &str) {
        if self.access.len() >= MAX_ACCESS {
            self.access.remove(MAX_ACCESS / 2);
        }
        self.access.push((at, access.to_owned()));
        self.revision += 1;
    }

    /// A process by its id in its own pid namespace.
    fn known(&self, task: &Task) -> ProcessRef {
        ProcessRef {
            pid: task.id.pid,
            ns_pid: (task.ns_pid != 0 && task.ns_pid != task.id.pid).then_some(task.ns_pid),
            comm: task.comm.clone(),
            exe: self.members.get(&task.id).and_then(|it| it.exe.as_deref().map(str::to_owned)),
            uid: None,
        }
    }

    fn sender(&self, task: &Task) -> ProcessRef {
        ProcessRef { uid: (task.uid != u32::MAX).then_some(task.uid), ..self.known(task) }
    }

    /// Takes the next fact.
    pub fn learn(&mut self, context: Context<'_>, at: u64, fact: Fact) {
        #[cfg(test)]
        self.learned.push((at, fact.clone()));
        self.first_at = Some(self.first_at.map_or(at, |first| first.min(at)));
        self.last_at = self.last_at.max(at);
        if let Some(task) = fact_task(&fact) {
            self.see(context, at, task);
        }
        match fact {
            Fact::Found { task, exe, program, state, .. } => {
                let member = self.member_mut(context, &task);
                member.signals.found(at, &state, program);
                member.found = Some(state);
                member.exe = exe.map(Arc::from);
                let now = member.signals.now();
                self.change(context, at, &task, (Dispositions::default(), now), None, true);
            }
            Fact::Fork { parent, child, shares_handlers, state } => {
                self.forked(context, at, &parent, &child, shares_handlers, &state);
            }
            Fact::Exec { task, exe, filename, program, state, .. } => {
                self.executed(context, at, &task, (exe, filename), program, &state);
            }
            Fact::Exit { task, signal, code, core_dumped, state } => {
                self.exited(context, at, &task, (signal, code, core_dumped), state.pending);
            }
            Fact::ThreadExit { task, pending } => {
                self.fates.thread_ended(&mut self.events, at, &task, pending);
            }
            Fact::Generate(generate) => self.generated(context, at, &generate),
            Fact::Deliver { task, signal, disposition, once, unkillable } => {
                self.delivered(context, at, &task, signal, disposition, once, unkillable);
            }
            Fact::Taken { task, signal } => {
                self.fates.taken(&mut self.events, at, &task, signal);
                self.revision += 1;
            }
            Fact::Disposition { task, signal, disposition, once, handler, loaded, state } => {
                if disposition == DispositionKind::Ignored {
                    self.fates.thrown_out(&mut self.events, at, task.id, signal);
                }
                let member = self.member_mut(context, &task);
                let amendments = member.signals.action(at, signal, handler, loaded, &state);
                let runtime = member.signals.now().runtime(signal);
                if context.recorded.intersects(signal.set()) {
                    let process = self.known(&task);
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
                self.masked(context, at, &task, (before, after), &state);
            }
            Fact::Consume { task, consumer, set, state } => {
                let member = self.member_mut(context, &task);
                let before = member.signals.now();
                member.signals.consume(at, consumer, set, &state);
                let now = member.signals.now();
                self.change(context, at, &task, (before, now), Some(consumer), false);
                self.revision += 1;
            }
            Fact::Notify(datagram) => self.notified(context, at, *datagram),
            Fact::CgroupAttach { task, path, .. } => {
                let record = Record::Cgroup { process: self.known(&task), path };
                let class = self.class(Kind::Cgroup, task.id, at);
                self.events.add(at, task.id, class, record, context.is_tight);
            }
            Fact::Left { id, state } => {
                self.fates.looked_at(&mut self.events, id, state.pending);
                if let Some(member) = self.members.get_mut(&id) {
                    member.found = Some(state);
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

    /// Notes how a process looks, and what time has made of its masks.
    fn see(&mut self, context: Context<'_>, at: u64, task: &Task) {
        if self.alive.contains(&task.id) {
            self.member_mut(context, task);
        }
        let Some(member) = self.members.get_mut(&task.id) else {
            return;
        };
        if member.ns_pid == 0 {
            member.ns_pid = task.ns_pid;
        }
        if member.comm != task.comm {
            member.comm.clone_from(&task.comm);
        }
        if !member.held.is_empty() {
            self.let_go_of_masks(context, task.id, at.saturating_sub(MOMENT_NS));
        }
    }

    /// The process, which is met now if it wasn't before.
    fn member_mut(&mut self, context: Context<'_>, task: &Task) -> &mut Member {
        if self.members.len() >= MAX_PROCESSES && !self.members.contains_key(&task.id) {
            // The main ones are not among those that give way, and those that have ended go first.
            let is_main = |id: &ProcessId| self.mains.iter().any(|(_, main)| main.id == *id);
            let ended = self.ended.iter().find(|id| !is_main(id) && self.members.contains_key(id));
            let victim = ended.or_else(|| self.members.keys().find(|id| !is_main(id))).copied();
            if let Some(victim) = victim {
                self.members.remove(&victim);
                self.unfollowed += 1;
            }
        }
        self.members.entry(task.id).or_insert_with(|| Member::new(task, context.recorded))
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

    fn executed(
        &mut self,
        context: Context<'_>,
        at: u64,
        task: &Task,
        (exe, filename): (String, String),
        program: Program,
        state: &State,
    ) {
        let member = self.member_mut(context, task);
        let is_own = !is_executor(&exe);
        member.signals.exec(at, state, program, is_own);
        member.exe = Some(exe.as_str().into());
        if is_own {
            member.first_exec.get_or_insert(at);
        }
        let now = member.signals.now();
        let parent = member.parent.and_then(|parent| self.members.get(&parent));
        let interrupt = Signal::INT.set();
        let background = now.ignored.intersects(interrupt)
            && parent.is_some_and(|it| !it.signals.now().ignored.intersects(interrupt));
        self.let_go_of_masks(context, task.id, u64::MAX);
        self.stop_sharing(task.id);
        let process = self.known(task);
        let filename = (filename != exe).then_some(filename);
        let class = self.class(Kind::Exec, task.id, at);
        let record = Record::Exec { process, exe, filename, now, background };
        self.events.add(at, task.id, class, record, context.is_tight);
        self.revision += 1;
    }

    fn forked(
        &mut self,
        context: Context<'_>,
        at: u64,
        parent: &Task,
        child: &Task,
        shares_handlers: bool,
        state: &State,
    ) {
        let from = self.members.get(&parent.id);
        let exe = from.and_then(|parent| parent.exe.clone());
        let signals = from.map_or_else(
            || ProcessSignals::unknown(context.recorded).child(at, state),
            |parent| parent.signals.child(at, state),
        );
        let member = self.member_mut(context, child);
        member.signals = signals;
        member.parent = Some(parent.id);
        if exe.is_some() {
            member.exe = exe;
        }
        if shares_handlers && self.members.contains_key(&parent.id) {
            let shared = self.members[&parent.id].shares_with.clone();
            for one in shared.iter().copied().chain([parent.id]) {
                if let Some(member) = self.members.get_mut(&one) {
                    member.shares_with.push(child.id);
                }
                self.member_mut(context, child).shares_with.push(one);
            }
        }
        let record = Record::Fork { process: self.known(child), parent: self.known(parent) };
        let class = self.class(Kind::Fork, parent.id, at);
        self.events.add(at, child.id, class, record, context.is_tight);
    }

    /// Those that have one table of handlers with a process have what it has set.
    fn share(&mut self, at: u64, id: ProcessId) {
        let Some(member) = self.members.get(&id).filter(|it| !it.shares_with.is_empty()) else {
            return;
        };
        let (now, others) = (member.signals.now(), member.shares_with.clone());
        for other in others {
            if let Some(other) = self.members.get_mut(&other) {
                other.signals.shared(at, now);
            }
        }
    }

    fn stop_sharing(&mut self, id: ProcessId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        for other in std::mem::take(&mut member.shares_with) {
            if let Some(other) = self.members.get_mut(&other) {
                other.shares_with.retain(|one| *one != id);
            }
        }
    }

    fn amend(&mut self, id: ProcessId, amendments: impl IntoIterator<Item = Amendment>) {
        for amendment in amendments {
            self.events.amend(id, amendment);
            self.revision += 1;
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
        let sender: Option<Arc<str>> = generate.sender.as_ref().map(|it| it.comm.as_str().into());
        let sent = SignalSent {
            signal,
            sender: generate
                .sender
                .as_ref()
                .map(|task| origin::sender(self.sender(task), task, generate.origin.as_deref())),
            target: self.known(&generate.target),
            tid: generate.to_thread.then_some(generate.target.tid),
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
        let class = Class { detail, sender: sender.clone(), ..self.class(Kind::Signal, id, at) };
        let record = Record::Signal { sent, fate_at: None };
        let place: Place = self.events.add(at, id, class, record, context.is_tight);
        let to_main = self.mains.iter().any(|(_, main)| main.id == id);
        let asks = [Signal::TERM, Signal::INT].contains(&signal) && !by_itself;
        self.told_to_stop |= asks && self.main() == Some(id);
        self.fates.sent(&mut self.events, at, generate, place, sender, to_main, whose);
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

    fn masked(
        &mut self,
        context: Context<'_>,
        at: u64,
        task: &Task,
        (set, restored): (SignalSet, SignalSet),
        state: &State,
    ) {
        let member = self.member_mut(context, task);
        let before = member.signals.now();
        let ended = member.signals.mask(at, task.tid, (set, restored), state);
        let now = member.signals.now();
        if let Some(since) = ended {
            // It was for a moment, and so was what the thread did meanwhile.
            member.held.retain(|held| held.tid != task.tid || held.at < since);
        } else if before != now && before.blocked == now.blocked {
            // A runtime begins to pass signals on to the program.
            self.change(context, at, task, (before, now), None, false);
        } else if before != now {
            let held = Held { at, tid: task.tid, mask: restored, before, now };
            member.held.push(held);
            if member.held.len() > MAX_HELD {
                self.let_go_of_masks(context, task.id, u64::MAX);
            }
        }
        self.revision += 1;
    }

    /// Changes of masks up to a time were for longer than a moment: they are events.
    fn let_go_of_masks(&mut self, context: Context<'_>, id: ProcessId, until: u64) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let events: Vec<Held> = member.held.extract_if(.., |held| held.at < until).collect();
        for held in events {
            let record = held.record(self.reference(id));
            let class = self.class(Kind::Mask, id, held.at);
            self.events.add(held.at, id, class, record, context.is_tight);
        }
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
            exe: member.and_then(|it| it.exe.as_deref().map(str::to_owned)),
            uid: None,
        }
    }

    fn exited(
        &mut self,
        context: Context<'_>,
        at: u64,
        task: &Task,
        (signal, code, core_dumped): (Option<Signal>, u8, bool),
        pending: SignalSet,
    ) {
        let id = task.id;
        self.let_go_of_masks(context, id, u64::MAX);
        let now = self.members.get(&id).map(|member| member.signals.now()).unwrap_or_default();
        let has_signalfd = |signal| now.of(signal).consumer == Some(Consumer::Signalfd);
        self.fates.ended(&mut self.events, at, id, (signal, code), pending, has_signalfd);
        let record = Record::Exit { process: self.known(task), signal, code, core_dumped };
        let detail = signal.map_or(u32::from(code != 0), |signal| 2 + signal.number());
        let class = Class { detail, ..self.class(Kind::Exit, id, at) };
        self.events.add(at, id, class, record, context.is_tight);
        self.stop_sharing(id);
        self.revision += 1;
        let Some(member) = self.members.get_mut(&id).filter(|member| member.ended.is_none()) else {
            return;
        };
        member.ended = Some(End { at, signal, code });
        let amendments = member.signals.ended(at, signal, code);
        let spoke =
            member.last_message.is_some_and(|last| at.saturating_sub(last) <= admission::SOON_NS);
        self.amend(id, amendments);
        if spoke {
            self.claims_of(id, |claim| claim.ended = Some(at));
        }
        self.ended.push_back(id);
        if self.ended.len() > MAX_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.forget(oldest);
        }
    }

    /// Forgets an ended process that is no main one.
    fn forget(&mut self, id: ProcessId) {
        let mut mains = self.mains.iter().chain(&self.replaced);
        let is_main = mains.any(|(_, main)| main.id == id);
        if !is_main && self.members.get(&id).is_some_and(|member| member.ended.is_some()) {
            self.members.remove(&id);
        }
    }

    /// Changes what is known of the messages that a process sent.
    fn claims_of(&mut self, sender: ProcessId, mut change: impl FnMut(&mut Claim)) {
        for stored in self.events.iter_mut().filter(|stored| stored.id == sender) {
            if let Record::Notify { claim, .. } = &mut stored.record {
                change(claim);
            }
        }
        for claim in self.ready.iter_mut().filter(|claim| claim.sender == sender) {
            change(claim);
        }
    }

    fn notified(&mut self, context: Context<'_>, at: u64, datagram: Datagram) {
        let given = context.sockets.iter().map(String::as_str);
        if !notify::is_notify_socket(&datagram.destination, given) {
            return;
        }
        let message = datagram
            .payload
            .as_deref()
            .map(|payload| notify::parse(payload, datagram.length))
            .unwrap_or_default();
        let mut claim = Claim::new(at, &datagram, &message);
        let id = datagram.sender.id;
        if let Some(member) = self.members.get_mut(&id) {
            member.last_message = member.last_message.max(Some(at));
            claim.ended = member.ended.map(|end| end.at);
            if claim.waited {
                member.last_barrier = member.last_barrier.max(Some(at));
            }
            // Messages may be told in another order than they were sent in.
            claim.waited |= member.last_barrier >= Some(at);
        }
        if message.is_barrier() {
            self.claims_of(id, |earlier| earlier.waited |= earlier.at <= at);
        }
        let meaning = notify::meaning(&message.assignments);
        if meaning == Some(Meaning::Ready) {
            self.note_ready(&claim);
        }
        let mut sender = self.sender(&datagram.sender);
        // /proc was read later, and may tell of the next program already.
        sender.exe = sender.exe.or(datagram.exe);
        let detail = match meaning {
            None => 0,
            Some(Meaning::Stopping) => 1,
            Some(Meaning::Ready) => 2,
            Some(Meaning::Reloading) => 3,
        } | u32::from(claim.errno != 0) << 4;
        let class = Class { detail, ..self.class(Kind::Notify, id, at) };
        let Message { assignments, .. } = message;
        let Datagram { destination, length, .. } = datagram;
        let record = Record::Notify { sender, destination, assignments, length, claim };
        self.events.add(at, id, class, record, context.is_tight);
        self.revision += 1;
    }

    /// Remembers a READY=1: the first ones of each sender.
    fn note_ready(&mut self, claim: &Claim) {
        let is_same = |earlier: &Claim| {
            (earlier.sender, earlier.claimed, earlier.errno == 0)
                == (claim.sender, claim.claimed, claim.errno == 0)
        };
        // The main process may change between two of one sender's, and they may be told late.
        let same = self.ready.iter().enumerate().filter(|(_, earlier)| is_same(earlier));
        let last = same.clone().max_by_key(|(_, earlier)| earlier.at).map(|(index, _)| index);
        let (count, is_main) =
            (same.count(), self.mains.iter().any(|(_, main)| main.id == claim.sender));
        match last {
            Some(last) if count >= MAX_READY_OF_ONE && claim.at < self.ready[last].at => {
                self.ready[last] = claim.clone();
            }
            Some(_) if count >= MAX_READY_OF_ONE => {}
            _ if is_main || self.ready.len() < MAX_READY => self.ready.push(claim.clone()),
            _ => {}
        }
    }
}
