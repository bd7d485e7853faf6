//! The processes of a start: how they begin and end, and what each of them is.

use smol_str::SmolStr;
use tracer_common::signal::SignalSet;

use super::{Context, Start, mask_events::Held};
use crate::{
    model::{event::Consumer, signal::Signal},
    observation::{ProcessId, Program, SignalState, Task},
    timeline::{
        admission,
        events::{Class, Kind, Record},
        executor::is_executor,
        masks::MOMENT_NS,
        signals::{Dispositions, ProcessSignals},
    },
};

/// Processes of one start whose signals are followed at a time.
const MAX_PROCESSES: usize = 16_384;

/// Ended processes that are remembered, for what is sent to them while they are zombies.
const MAX_ENDED: usize = 64;

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
    pub comm: SmolStr,
    /// Its program.
    pub exe: Option<SmolStr>,
    /// Its first exec that was seen.
    pub first_exec: Option<u64>,
    /// Its end.
    pub ended: Option<End>,
    /// What it does on signals.
    pub signals: ProcessSignals,
    /// When it sent its last notify message.
    pub(super) last_message: Option<u64>,
    /// When it last asked systemd to tell it that its messages were read.
    pub(super) last_barrier: Option<u64>,
    /// Changes of its masks that are no events yet.
    pub(super) held: Vec<Held>,
    /// The processes it shares its handlers with.
    shares_with: Vec<ProcessId>,
    /// Its signals as /proc told them last, those that are not recorded too.
    pub found: Option<SignalState>,
    /// Who started it, if that was seen.
    parent: Option<ProcessId>,
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

    /// What it did on signals at a time, if anything was seen of it by then. A child is told of as
    /// it is there, a moment after its birth, and has its parent's ways in between.
    #[must_use]
    pub fn signals_at(&self, at: u64) -> Option<Dispositions> {
        let at_birth = || self.parent.and(self.signals.changes().first()).map(|first| first.now);
        self.signals.at(at).or_else(|| at_birth().filter(|_| at >= self.start_ns))
    }

    /// Changes of its masks that are no events yet.
    #[must_use]
    pub fn held(&self) -> &[Held] {
        &self.held
    }
}

impl Start {
    /// Notes how a process looks, and what time has made of its masks.
    pub(super) fn see(&mut self, context: Context<'_>, at: u64, task: &Task) {
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
    pub(super) fn member_mut(&mut self, context: Context<'_>, task: &Task) -> &mut Member {
        if self.members.len() >= MAX_PROCESSES && !self.members.contains_key(&task.id) {
            // The main ones are not among those that give way, and those that have ended go first.
            let is_main = |id: &ProcessId| self.mains.iter().any(|(_, main)| main.id == *id);
            let ended = self.ended.iter().find(|id| !is_main(id) && self.members.contains_key(*id));
            let victim = ended.or_else(|| self.members.keys().find(|id| !is_main(id))).copied();
            if let Some(victim) = victim {
                self.members.remove(&victim);
                self.unfollowed += 1;
            }
        }
        self.members.entry(task.id).or_insert_with(|| Member::new(task, context.recorded))
    }

    pub(super) fn executed(
        &mut self,
        context: Context<'_>,
        at: u64,
        task: &Task,
        (exe, filename): (&SmolStr, &str),
        program: Program,
        state: &SignalState,
    ) {
        let member = self.member_mut(context, task);
        let is_own = !is_executor(exe);
        member.signals.exec(at, state, program, is_own);
        member.exe = Some(exe.clone());
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
        let filename = (filename != exe).then(|| filename.to_owned());
        let exe = exe.clone();
        let class = self.class(Kind::Exec, task.id, at);
        let record = Record::Exec { process, exe, filename, now, background };
        self.events.add(at, task.id, class, record, context.is_tight);
        self.revision += 1;
    }

    pub(super) fn forked(
        &mut self,
        context: Context<'_>,
        at: u64,
        parent: &Task,
        child: &Task,
        shares_handlers: bool,
        state: &SignalState,
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
        if shares_handlers {
            // Of one that is heard of here first, what the other sets is all there is to know.
            let shared = self.member_mut(context, parent).shares_with.clone();
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
    pub(super) fn share(&mut self, at: u64, id: ProcessId) {
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

    pub(super) fn exited(
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
    pub(super) fn forget(&mut self, id: ProcessId) {
        let mut mains = self.mains.iter().chain(&self.replaced);
        let is_main = mains.any(|(_, main)| main.id == id);
        if !is_main && self.members.get(&id).is_some_and(|member| member.ended.is_some()) {
            self.members.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_processes_that_have_ended_the_last_ones_are_remembered_and_main_ones_besides() {
        let task = |pid| Task::of(ProcessId { pid, start_ticks: 1 });
        let context = Context { recorded: SignalSet::EMPTY, sockets: &[], is_tight: false };
        let mut start = Start::new(None);
        let last = MAX_ENDED as u32 + 2;
        start.set_main(0, admission::KnownProcess { id: task(1).id, ns_pid: 1 });
        for pid in 1..=last {
            start.member_mut(context, &task(pid));
            start.exited(context, u64::from(pid), &task(pid), (None, 0, false), SignalSet::EMPTY);
        }
        let known = |pid| start.members.contains_key(&task(pid).id);
        assert_eq!([1, 2, 3, last].map(known), [true, false, true, true]);
        assert_eq!(start.members.len(), 1 + MAX_ENDED);
    }
}
