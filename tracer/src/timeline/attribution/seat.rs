//! Where a process belongs: its service, and the start of it.

use super::Attribution;
use crate::{
    model::document::ServiceKind,
    observation::{Environment, Fact, ProcessId, Task},
    timeline::{
        builder::Setup,
        processes::{Place, Seat},
        scope::{Named, Scope},
    },
};

/// What systemd (255 and later) executes first in every process it starts. It executes
/// the service's own program, with the environment that tells what that is for.
const EXECUTOR: &str = "systemd-executor";

impl Attribution {
    /// Finds a process's service, and its start if that can be told by now.
    pub(super) fn seat(&mut self, setup: &Setup, task: &Task, at: u64, fact: &Fact) {
        let (id, scope) = (task.id, &setup.scope);
        let Some(process) = self.processes.get(id).filter(|process| !process.ended) else {
            return;
        };
        let (seat, parent) = (process.place.seat(), process.parent);
        let named = process.cgroup.as_deref().and_then(|path| scope.service_at(path));
        let service = match (seat, scope) {
            (_, Scope::Command { parent: tracer, name }) => {
                let of_tracer =
                    matches!(fact, Fact::Fork { parent, .. } if parent.id.pid == *tracer);
                of_tracer.then(|| Named {
                    name: name.clone(),
                    kind: ServiceKind::Command,
                    path: String::new(),
                })
            }
            (Seat::Outside, _) if scope.selects_process(id.pid) && self.is_selected(id) => {
                Some(Named {
                    name: format!("pid {}", id.pid),
                    kind: ServiceKind::Process,
                    path: String::new(),
                })
            }
            // It was asked for as what it is, and not as a part of its unit.
            (Seat::In(tree, _), _) if self.is_tree(tree) => None,
            _ => named,
        };
        let service = service.and_then(|named| self.service(named));
        let moved = match (seat, service) {
            (Seat::Outside, Some(_)) => true,
            // A move to another unit's cgroup leaves the old one.
            (Seat::In(old, _) | Seat::Waiting(old), Some(new)) => old != new,
            _ => false,
        };
        if let (true, Some(service)) = (moved, service) {
            self.leave(id);
            let is_new = task.start_ns >= setup.anchor.boot_ns;
            self.arrive(id, parent, service, at, fact, is_new);
        } else if matches!(fact, Fact::CgroupAttach { .. }) && service.is_none() {
            self.move_out(id);
        }
        // The exec, or an end before it, tells the start.
        if let Some(Seat::Waiting(service)) = self.processes.seat(id) {
            match fact {
                Fact::Exec { exe, .. } if exe.rsplit('/').next() == Some(EXECUTOR) => {}
                Fact::Exec { environment, .. } => self.place_in_start(id, service, environment),
                // systemd's own helpers do their work and end without an exec.
                Fact::Exit { signal: None, .. } => self.processes.set_place(id, Place::Outside),
                Fact::Exit { .. } => self.place_in_start(id, service, &Environment::default()),
                _ => {}
            }
        }
    }

    /// Whether this is the first process seen of a pid that was asked for.
    fn is_selected(&mut self, id: ProcessId) -> bool {
        *self.selected.entry(id.pid).or_insert(id) == id
    }

    /// A process was moved to a cgroup that is no service's in scope, as a login moves its
    /// session out of the unit of sshd. systemd's main process stays that wherever it is.
    fn move_out(&mut self, id: ProcessId) {
        if let Some(Seat::In(service, start)) = self.processes.seat(id)
            && !self.is_tree(service)
            && self.services[service].activations[start].collected.main() != Some(id)
        {
            self.leave(id);
            self.processes.set_place(id, Place::Outside);
        }
    }

    /// A process comes into a service. A new one was started during the capture.
    fn arrive(
        &mut self,
        id: ProcessId,
        parent: Option<ProcessId>,
        service: usize,
        at: u64,
        fact: &Fact,
        is_new: bool,
    ) {
        let with_parent = parent.and_then(|parent| match self.processes.seat(parent) {
            Some(Seat::In(of, start)) if of == service => Some(start),
            _ => None,
        });
        let is_tree = self.is_tree(service);
        match (fact, with_parent) {
            (_, Some(start)) => self.sit(id, service, start),
            (Fact::Found { environment, .. }, None) => {
                self.place_in_start(id, service, environment);
                if let Some(Seat::In(service, start)) = self.processes.seat(id) {
                    self.prefer_older(id, service, start, environment);
                    let collected = &mut self.services[service].activations[start].collected;
                    collected.joined_at.get_or_insert(at);
                }
            }
            // What the tracer started, or was pointed at, is the main process from the start.
            (_, None) if is_tree => self.join(id, service, at),
            // Its exec is yet to come. The kernel tells of its move only after that is done:
            // what it does on another CPU meanwhile is reported first.
            (_, None) if is_new || is_arrival(fact) => {
                if let Some(process) = self.processes.get_mut(id) {
                    // What waited in another unit goes with it.
                    let waited = match std::mem::replace(&mut process.place, Place::Outside) {
                        Place::Waiting(_, facts) => facts,
                        _ => Vec::new(),
                    };
                    process.place = Place::Waiting(service, waited);
                }
            }
            // Seen in the middle of its life: nothing more will tell.
            (_, None) => self.join(id, service, at),
        }
    }

    /// Places a process of which nothing more will be known. Unless its start was seen,
    /// it was there before the capture.
    fn join(&mut self, id: ProcessId, service: usize, at: u64) {
        self.place_in_start(id, service, &Environment::default());
        let born = self.processes.get(id).is_none_or(|process| process.born);
        if let Some(Seat::In(service, start)) = self.processes.seat(id)
            && !born
        {
            let collected = &mut self.services[service].activations[start].collected;
            collected.joined_at.get_or_insert(at);
        }
    }

    /// Places a process in a start, with the facts that waited.
    pub(super) fn sit(&mut self, id: ProcessId, service: usize, start: usize) {
        let waited = match self.processes.get_mut(id) {
            Some(process) => std::mem::replace(&mut process.place, Place::In(service, start)),
            None => return,
        };
        self.services[service].activations[start].alive.insert(id);
        if let Place::Waiting(_, facts) = waited {
            for (at, fact) in facts {
                self.collect(service, start, at, fact);
            }
        }
    }
}

/// Whether a fact is one that a process comes into a service by.
fn is_arrival(fact: &Fact) -> bool {
    matches!(fact, Fact::Exec { .. } | Fact::Fork { .. } | Fact::CgroupAttach { .. })
}
