//! When a start of a service begins, and which process is its main one.

use std::collections::BTreeSet;

use super::{Attribution, Start};
use crate::{
    observation::{Datagram, Environment, ProcessId},
    timeline::{admission, builder::Setup, collected::Collected, notify, processes::Place},
};

/// Starts of one service that are kept; the oldest goes first.
const MAX_ACTIVATIONS: usize = 200;
/// Hand-overs of one start that are kept; the last one always is.
const MAX_HAND_OVERS: usize = 1_000;
/// Processes besides the main one of one start that are kept.
const MAX_CONTROLS: usize = 1_000;

impl Attribution {
    /// Decides whether a process that came from outside of the service begins a new
    /// start of it, and whether it is the main process.
    pub(super) fn place_in_start(
        &mut self,
        id: ProcessId,
        service: usize,
        environment: &Environment,
    ) {
        let since = self.waiting_since(id);
        let starts = &mut self.services[service].activations;
        let begins = match starts.last() {
            None => true,
            Some(last) => match (&environment.invocation_id, &last.collected.invocation_id) {
                (Some(this), Some(open)) => this != open,
                _ => last.is_over(),
            },
        };
        if begins {
            if starts.len() >= MAX_ACTIVATIONS {
                self.forget_oldest(service);
            }
            let starts = &mut self.services[service].activations;
            starts.push(Start {
                collected: Collected::new(environment.invocation_id.clone()),
                stage: None,
                alive: BTreeSet::new(),
                main_exited_well: None,
            });
        }
        let index = self.services[service].activations.len() - 1;
        let start = &mut self.services[service].activations[index];
        if start.collected.invocation_id.is_none() {
            start.collected.invocation_id.clone_from(&environment.invocation_id);
        }
        let vacant = start.collected.mains.is_empty() || start.main_exited_well.is_some();
        let controls = &mut start.collected.controls;
        if vacant && !environment.control {
            // What was before it, such as ExecStartPre=, was not the main process.
            controls.extend(start.collected.mains.iter().map(|(_, id)| *id));
            start.collected.mains = vec![(since, id)];
            start.main_exited_well = None;
        } else if controls.len() < MAX_CONTROLS {
            controls.push(id);
        }
        self.sit(id, service, index);
    }

    /// Since when the facts of a waiting process count: its whole life.
    fn waiting_since(&self, id: ProcessId) -> u64 {
        match self.processes.get(id).map(|process| &process.place) {
            Some(Place::Waiting(_, facts)) => facts.first().map_or(0, |(at, _)| *at),
            _ => 0,
        }
    }

    fn forget_oldest(&mut self, service: usize) {
        let oldest = self.services[service].activations.remove(0);
        self.taken -= oldest.collected.count();
        self.forgotten += 1;
        for process in self.processes.iter_mut() {
            match &mut process.place {
                Place::In(of, 0) if *of == service => process.place = Place::Outside,
                Place::In(of, start) if *of == service => *start -= 1,
                _ => {}
            }
        }
    }

    /// Of the processes found running that nobody in the service started, the oldest is
    /// the main one. /proc lists them by pid, which may put a child first.
    pub(super) fn prefer_older(
        &mut self,
        id: ProcessId,
        service: usize,
        start: usize,
        environment: &Environment,
    ) {
        let collected = &mut self.services[service].activations[start].collected;
        if !environment.control
            && collected.joined_at.is_some()
            && let [(_, main)] = collected.mains.as_mut_slice()
            && id.start_ticks < main.start_ticks
        {
            *main = id;
        }
    }

    /// `MAINPID=`: the process with this id in the sender's own namespace, or in ours. And
    /// `NOTIFYACCESS=`: who may speak from now on.
    pub(super) fn hand_over(
        &mut self,
        setup: &Setup,
        service: usize,
        start: usize,
        at: u64,
        datagram: &Datagram,
    ) {
        let sockets = self.services[service].sockets.iter().map(String::as_str);
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
        let facts = self.services[service].known.facts.as_ref().or(setup.facts.as_ref()).cloned();
        let begun = &mut self.services[service].activations[start];
        let claimed = admission::claimed(datagram);
        let (accepted, _) =
            admission::judge(&begun.collected, facts.as_ref(), at, datagram, claimed, &message);
        if accepted == Some(false) {
            return;
        }
        let changes = &mut begun.collected.access;
        if let Some(access) = access.filter(|_| changes.len() < MAX_HAND_OVERS) {
            changes.push((at, access.to_owned()));
        }
        let Some(pid) = pid else {
            return;
        };
        let begun = &self.services[service].activations[start];
        let sender = &datagram.sender;
        let by_ours = begun.alive.iter().find(|id| id.pid == pid);
        // One that has another id in ours is in another namespace.
        let is_own = |id: &&ProcessId| {
            id.pid != pid && self.processes.get(**id).is_some_and(|process| process.ns_pid == pid)
        };
        let by_own = begun.alive.iter().find(is_own);
        let in_ours = sender.ns_pid == sender.id.pid;
        let heir = if in_ours { by_ours.or(by_own) } else { by_own.or(by_ours) }.copied();
        if let Some(heir) = heir.filter(|heir| begun.collected.main() != Some(*heir)) {
            // The message itself is judged by who was the main process before it.
            self.crown(service, start, at.saturating_add(1), heir);
        }
    }

    /// Makes a process the main one from `at` on.
    pub(super) fn crown(&mut self, service: usize, start: usize, at: u64, heir: ProcessId) {
        let begun = &mut self.services[service].activations[start];
        let mains = &mut begun.collected.mains;
        if mains.len() >= MAX_HAND_OVERS {
            mains.pop();
        }
        // systemd may tell of it under the time of an older state.
        let since = mains.last().map_or(at, |(since, _)| at.max(*since));
        mains.push((since, heir));
        begun.main_exited_well = None;
    }

    /// A process of a start ended. If it was the main one, and well, and of a unit, what
    /// it left running is the service: it put itself into the background.
    pub(super) fn ended(
        &mut self,
        id: ProcessId,
        service: usize,
        start: usize,
        at: u64,
        well: bool,
    ) {
        let is_tree = self.is_tree(service);
        let begun = &mut self.services[service].activations[start];
        begun.alive.remove(&id);
        if begun.collected.main() != Some(id) {
            return;
        }
        begun.main_exited_well = Some(well);
        if !well || is_tree {
            return;
        }
        let orphan = |heir: &&ProcessId| {
            self.processes
                .get(**heir)
                .and_then(|process| process.parent)
                .is_some_and(|parent| parent == id || !self.processes.is_alive(parent))
        };
        let begun = &self.services[service].activations[start];
        let heir =
            begun.alive.iter().filter(orphan).min_by_key(|heir| (heir.start_ticks, heir.pid));
        if let Some(heir) = heir.copied() {
            self.crown(service, start, at, heir);
        }
    }
}

/// Who may speak from now on, as a message says it.
fn notify_access(assignments: &[(String, String)]) -> Option<&str> {
    let (_, access) = assignments.iter().rev().find(|(key, _)| key == "NOTIFYACCESS")?;
    ["none", "main", "exec", "all"].into_iter().find(|known| known == access)
}

/// The process a message hands over to.
fn main_pid(assignments: &[(String, String)]) -> Option<u32> {
    assignments.iter().rev().find(|(key, _)| key == "MAINPID")?.1.parse().ok()
}
