//! When a start of a service begins, and which process is its main one.

use super::{Attribution, StartState, place::Waited};
use crate::{
    observation::{Datagram, Environment, ProcessId},
    timeline::{
        admission::{Claim, KnownProcess},
        notify,
        processes::Place,
        setup::Setup,
        start::Start,
    },
};

impl Attribution {
    /// A process as systemd knows it.
    fn known(&self, id: ProcessId) -> KnownProcess {
        let ns_pid = self.processes.get(id).map_or(0, |process| process.ns_pid);
        KnownProcess { id, ns_pid: if ns_pid == 0 { id.pid } else { ns_pid } }
    }

    /// Decides whether a process that came from outside of the service begins a new
    /// start of it, and whether it is the main process. Gives the facts that waited.
    #[must_use]
    pub(super) fn place_in_start(
        &mut self,
        id: ProcessId,
        number: u64,
        environment: &Environment,
    ) -> Vec<Waited> {
        let (since, known) = (self.waiting_since(id), self.known(id));
        let Some(service) = self.services.get_mut(&number) else {
            return Vec::new();
        };
        let (last, begins) = match service.last() {
            None => (0, true),
            Some((last, state)) => {
                let begins = match (&environment.invocation_id, state.invocation_id()) {
                    (Some(this), Some(open)) => this != open,
                    (_, open) => match state {
                        // One that died before its exec shows no id: the main process after a
                        // command of ExecStartPre=, or before one of ExecStopPost=.
                        StartState::Open(start) => {
                            let known = &service.known;
                            let goes_on = open.is_some_and(|id| known.went_on_at(id, since));
                            let had_no_main = start.mains.is_empty();
                            // Of what is named as another command systemd's word alone counts: more
                            // than one may come before the main process.
                            let is_over = start.is_over() && !environment.control
                                || open.is_some_and(|id| known.was_over_at(id, since))
                                || had_no_main && known.was_over_in(start.began()..=since);
                            // What is older than a start begins none after it.
                            let is_older = since != 0 && since < start.began();
                            is_over && !goes_on && !is_older
                        }
                        StartState::Final(_) => true,
                    },
                };
                (last, begins)
            }
        };
        let start = if begins {
            service.begin(Start::new(environment.invocation_id.clone()))
        } else {
            last
        };
        let Some(begun) = service.open_mut(start) else {
            // What comes after the end of a start that is final.
            self.processes.set_place(id, Place::Outside);
            return Vec::new();
        };
        if begun.invocation_id.is_none() {
            begun.invocation_id.clone_from(&environment.invocation_id);
        }
        let is_vacant = begun.mains.is_empty() || begun.main_exited_well.is_some();
        // A oneshot that remains may run more once it is up, which is not told that it is.
        let is_late = !begun.mains.is_empty() && begun.is_up_at(since);
        if is_vacant && !is_late && !environment.control && begun.chosen.is_none() {
            begun.set_main(since, known);
        } else {
            begun.add_control(known);
        }
        self.enter(id, number, start)
    }

    /// A process is one that was said to be the service. The first of a start is its main process
    /// to the end.
    pub(super) fn choose_main(&mut self, id: ProcessId, service: u64, start: u64, at: u64) {
        let known = self.known(id);
        let Some(process) = self.processes.get_mut(id).filter(|process| !process.is_candidate)
        else {
            return;
        };
        process.is_candidate = true;
        self.candidates += 1;
        if let Some(start) = self.start_mut(service, start) {
            start.choose_main(at, known);
        }
    }

    /// Since when the facts of a waiting process count: its whole life.
    pub(super) fn waiting_since(&self, id: ProcessId) -> u64 {
        let first = self.processes.get(id).and_then(|process| process.waiting.first());
        first.map_or(0, |(at, _)| *at)
    }

    /// Of the processes found running that nobody in the service started, the oldest is
    /// the main one. /proc lists them by pid, which may put a child first.
    pub(super) fn prefer_older(
        &mut self,
        id: ProcessId,
        service: u64,
        start: u64,
        environment: &Environment,
    ) {
        let known = self.known(id);
        if let Some(start) = self.start_mut(service, start)
            && !environment.control
            && start.joined_at.is_some()
            && let [(_, main)] = start.mains.as_mut_slice()
            && id.start_ticks < main.id.start_ticks
        {
            *main = known;
        }
    }

    /// Does what a message asks for: `MAINPID=`, the process with this id in the sender's own
    /// namespace, or in ours, and `NOTIFYACCESS=`, who may speak from now on.
    pub(super) fn obey(
        &mut self,
        setup: &Setup,
        service: u64,
        start: u64,
        at: u64,
        datagram: &Datagram,
    ) {
        let Some(of) = self.services.get(&service) else {
            return;
        };
        let sockets = of.sockets.iter().map(String::as_str);
        if !notify::is_notify_socket(&datagram.destination, sockets) {
            return;
        }
        let payload = datagram.payload.as_deref().unwrap_or_default();
        let message = notify::parse(payload, datagram.length);
        let pid = main_pid(&message.assignments);
        let access = notify_access(&message.assignments);
        if pid.is_none() && access.is_none() {
            return;
        }
        let facts = of.known.facts.as_ref().or(setup.facts.as_ref()).cloned();
        let Some(begun) = of.open(start) else {
            return;
        };
        let claim = Claim::new(at, datagram, &message);
        let named = pid.and_then(|pid| self.named(begun, datagram, pid));
        // The message itself is judged by who was the main process before it, also where systemd
        // has told already who became that.
        if let (Some(named), Some(begun)) = (named, self.start_mut(service, start)) {
            begun.was_handed_over(at.saturating_add(1), named);
        }
        let Some(begun) = self.services.get(&service).and_then(|of| of.open(start)) else {
            return;
        };
        if begun.admission(facts.as_ref(), &claim).accepted == Some(false) {
            return;
        }
        let successor = named
            .filter(|successor| begun.main() != Some(*successor))
            .map(|successor| self.known(successor));
        let Some(begun) = self.start_mut(service, start) else {
            return;
        };
        if let Some(access) = access {
            begun.change_access(at, access);
        }
        if let Some(successor) = successor {
            begun.hand_over(at.saturating_add(1), successor);
        }
    }

    /// The process of a start that a message names by its pid.
    fn named(&self, start: &Start, datagram: &Datagram, pid: u32) -> Option<ProcessId> {
        let sender = &datagram.sender;
        let by_ours = start.alive.iter().find(|id| id.pid == pid);
        // One that has another id in ours is in another namespace.
        let is_own = |id: &&ProcessId| {
            id.pid != pid && self.processes.get(**id).is_some_and(|process| process.ns_pid == pid)
        };
        let by_own = start.alive.iter().find(is_own);
        let in_ours = sender.ns_pid == sender.id.pid;
        if in_ours { by_ours.or(by_own) } else { by_own.or(by_ours) }.copied()
    }

    /// A process of a start ended. If it was the main one, and well, of its own accord, and of a
    /// unit that may put itself into the background, what it left running is the service.
    pub(super) fn ended(&mut self, id: ProcessId, service: u64, start: u64, at: u64, well: bool) {
        let is_tree = self.is_tree(service);
        let Some(of) = self.services.get(&service) else { return };
        let may_fork = of.known.may_fork();
        let invocation_id = of.open(start).and_then(|start| start.invocation_id.as_deref());
        // What outlives it then is on its way out, too.
        let is_stopping = of.known.is_stopping(invocation_id, at);
        let Some(begun) = self.start_mut(service, start) else {
            return;
        };
        begun.alive.remove(&id);
        if begun.main() != Some(id) {
            return;
        }
        begun.main_exited_well = Some(well);
        if !well || is_tree || !may_fork || begun.told_to_stop || is_stopping {
            return;
        }
        let orphan = |successor: &&ProcessId| {
            self.processes
                .get(**successor)
                .and_then(|process| process.parent)
                .is_some_and(|parent| parent == id || !self.processes.is_alive(parent))
        };
        let Some(begun) = self.services.get(&service).and_then(|service| service.open(start))
        else {
            return;
        };
        let successor = begun
            .alive
            .iter()
            .filter(orphan)
            .min_by_key(|successor| (successor.start_ticks, successor.pid));
        let successor = successor.map(|successor| self.known(*successor));
        if let (Some(successor), Some(begun)) = (successor, self.start_mut(service, start)) {
            begun.guess(at, successor);
        }
    }
}

/// Who may speak from now on, as a message says it.
fn notify_access(assignments: &[(String, String)]) -> Option<&str> {
    let (_, access) = assignments.iter().find(|(key, _)| key == "NOTIFYACCESS")?;
    ["none", "main", "exec", "all"].into_iter().find(|known| known == access)
}

/// The process a message hands over to.
fn main_pid(assignments: &[(String, String)]) -> Option<u32> {
    assignments.iter().find(|(key, _)| key == "MAINPID")?.1.parse().ok()
}
