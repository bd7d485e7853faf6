//! Where a process belongs: its service, and the start of it.

use super::Attribution;
use crate::{
    model::{document::ServiceKind, event::Fate, exit_status},
    observation::{Environment, Fact, GenerateResult, ProcessId, Task},
    timeline::{
        executor::{is_executor, is_for_another},
        fate,
        processes::Place,
        scope::{Named, Scope},
        setup::Setup,
    },
};

/// A fact that waited until it was known which start it belongs to.
pub(super) struct Waited {
    service: u64,
    start: u64,
    pub at: u64,
    fact: Fact,
}

impl Attribution {
    /// Finds a process's service, and its start if that can be told by now.
    pub(super) fn find_place(&mut self, setup: &Setup, task: &Task, at: u64, fact: &Fact) {
        let id = task.id;
        let Some(process) = self.processes.get_mut(id).filter(|process| !process.ended) else {
            return;
        };
        // One whose end was not seen, or is forgotten: it is a zombie, and begins nothing.
        if process.place == Place::Outside && is_sent_to_the_dead(fact) {
            return;
        }
        // Where it is tells its service, once; how it came there may tell more.
        let is_settled = process.is_placed && !is_arrival(fact);
        process.is_placed = true;
        if is_settled && !matches!(process.place, Place::Waiting(_)) {
            return;
        }
        if !is_settled {
            self.find_service(setup, task, at, fact);
        }
        let is_helper = self.processes.get(id).is_some_and(|process| process.is_helper);
        // The exec, or an end before it, tells the start.
        if let Some(Place::Waiting(service)) = self.processes.place(id) {
            match fact {
                Fact::Exec { exe, .. } if is_executor(exe) => {}
                // What a module of PAM executes for a process that is about to become the service
                // is no program of it, and shows no id.
                Fact::Exec { environment, .. }
                    if is_helper && environment.invocation_id.is_none() && self.is_before(id) =>
                {
                    self.put_outside(id);
                }
                Fact::Exec { environment, .. } => {
                    let waited = self.place_in_start(id, service, environment);
                    self.tell_waited(setup, waited);
                }
                // systemd's own helpers do their work and end without an exec: by themselves, or
                // killed by who forked them, which is about to become the service.
                Fact::Exit { .. } if is_helper => self.put_outside(id),
                // What could not be set up or executed says so by its code.
                Fact::Exit { signal: None, code, .. } if exit_status::set_up(*code).is_none() => {
                    self.put_outside(id);
                }
                Fact::Exit { task, .. } => {
                    let environment = Environment {
                        control: self.is_for_another(service, &task.comm),
                        ..Environment::default()
                    };
                    let waited = self.place_in_start(id, service, &environment);
                    self.tell_waited(setup, waited);
                }
                _ => {}
            }
        }
    }

    /// Whether the parent of a process is yet to become what it is to be.
    fn is_before(&self, id: ProcessId) -> bool {
        let parent = self.processes.get(id).and_then(|process| process.parent);
        let parent = parent.and_then(|parent| self.processes.get(parent));
        parent.is_some_and(|it| !it.ended && matches!(it.place, Place::Waiting(_)))
    }

    /// Whether a process that ended before its exec was to run what is not the service's program.
    fn is_for_another(&self, service: u64, comm: &str) -> bool {
        let service = self.services.get(&service);
        let facts = service.and_then(|service| service.known.facts.as_ref());
        let exec_start = facts.and_then(|facts| facts.exec_start.as_deref());
        exec_start.is_some_and(|exec_start| is_for_another(comm, exec_start))
    }

    /// Finds a process's service, and moves it there.
    fn find_service(&mut self, setup: &Setup, task: &Task, at: u64, fact: &Fact) {
        let (id, scope) = (task.id, &setup.scope);
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let (place, parent) = (process.place, process.parent);
        let service = match (place, scope) {
            (_, Scope::Command { parent: tracer, name }) => {
                // The tracer starts processes of its own too.
                let is_command = self.command.is_none_or(|command| command == id.pid)
                    && matches!(fact, Fact::Fork { parent, .. } if parent.id.pid == *tracer);
                is_command.then(|| Named {
                    name: name.clone(),
                    kind: ServiceKind::Command,
                    path: String::new(),
                })
            }
            // It was asked for as what it is, and not as a part of its unit.
            (Place::In(tree, _), _) if self.is_tree(tree) => None,
            // systemd's main process stays that, wherever it is moved.
            (Place::In(of, start), _) if self.is_main(of, start, id) => None,
            _ => self.service_asked_for(setup, id),
        };
        let service = service.and_then(|named| self.service(named));
        let moved = match (place, service) {
            (Place::Outside, Some(_)) => true,
            // A move to another unit's cgroup leaves the old one.
            (Place::In(old, _) | Place::Waiting(old), Some(new)) => old != new,
            _ => false,
        };
        if let (true, Some(service)) = (moved, service) {
            self.tell_departure(setup, id, at, fact);
            self.leave(id);
            let is_new = task.start_ns >= setup.anchor.boot_ns;
            self.arrive(setup, id, parent, service, at, fact, is_new);
        } else if matches!(fact, Fact::CgroupAttach { .. }) && service.is_none() {
            self.move_out(setup, id, at, fact);
        }
    }

    /// What a process belongs to that was asked for itself, or by its cgroup.
    fn service_asked_for(&mut self, setup: &Setup, id: ProcessId) -> Option<Named> {
        let process = self.processes.get(id)?;
        let by_cgroup = process.cgroup.as_deref().and_then(|path| setup.scope.service_at(path));
        let is_asked_for = process.place == Place::Outside && setup.scope.selects_process(id.pid);
        if is_asked_for && self.is_selected(id) {
            let (name, kind) = (format!("pid {}", id.pid), ServiceKind::Process);
            return Some(Named { name, kind, path: String::new() });
        }
        by_cgroup
    }

    /// A process that was there before the capture may start another before it is looked at: it
    /// is where its cgroup says, and so is its child, which may never execute anything.
    pub(super) fn join_parent(&mut self, setup: &Setup, parent: &Task, at: u64) {
        let is_older = parent.start_ns < setup.anchor.boot_ns;
        let is_unplaced = self.processes.get(parent.id).is_some_and(|process| {
            process.place == Place::Outside && !process.is_placed && !process.ended
        });
        if !is_older || !is_unplaced {
            return;
        }
        let named = self.service_asked_for(setup, parent.id);
        if let Some(service) = named.and_then(|named| self.service(named)) {
            if let Some(process) = self.processes.get_mut(parent.id) {
                process.is_placed = true;
            }
            self.join(setup, parent.id, service, at);
        }
    }

    /// Tells the start that a process leaves where that goes: nothing more is seen of it there.
    fn tell_departure(&mut self, setup: &Setup, id: ProcessId, at: u64, fact: &Fact) {
        if let Some(Place::In(service, start)) = self.processes.place(id)
            && matches!(fact, Fact::CgroupAttach { .. })
        {
            self.tell(setup, service, start, at, fact);
        }
    }

    /// A process belongs to no service, and what waited with it neither.
    pub(super) fn put_outside(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get_mut(id) {
            process.place = Place::Outside;
            self.waiting -= std::mem::take(&mut process.waiting).len();
        }
    }

    /// Whether this is the first process seen of a pid that was asked for.
    fn is_selected(&mut self, id: ProcessId) -> bool {
        *self.selected.entry(id.pid).or_insert(id) == id
    }

    /// A process was moved to a cgroup that is no service's in scope, as a login moves its
    /// session out of the unit of sshd. systemd's main process stays that wherever it is.
    fn move_out(&mut self, setup: &Setup, id: ProcessId, at: u64, fact: &Fact) {
        if let Some(Place::In(service, start)) = self.processes.place(id)
            && !self.is_tree(service)
            && !self.is_main(service, start, id)
        {
            self.tell_departure(setup, id, at, fact);
            self.leave(id);
            self.processes.set_place(id, Place::Outside);
        }
    }

    fn is_main(&self, service: u64, start: u64, id: ProcessId) -> bool {
        let start = self.services.get(&service).and_then(|service| service.open(start));
        start.is_some_and(|start| start.main() == Some(id))
    }

    /// A process comes into a service. A new one was started during the capture.
    #[allow(clippy::too_many_arguments, reason = "they are what tells where it belongs")]
    fn arrive(
        &mut self,
        setup: &Setup,
        id: ProcessId,
        parent: Option<ProcessId>,
        service: u64,
        at: u64,
        fact: &Fact,
        is_new: bool,
    ) {
        let with_parent = parent.and_then(|parent| match self.processes.place(parent) {
            Some(Place::In(of, start)) if of == service => Some(start),
            _ => None,
        });
        let is_tree = self.is_tree(service);
        match (fact, with_parent) {
            (_, Some(start)) => self.put(setup, id, service, start),
            (Fact::Found { environment, .. }, None) => {
                let waited = self.place_in_start(id, service, environment);
                self.tell_waited(setup, waited);
                if let Some(Place::In(service, start)) = self.processes.place(id) {
                    self.prefer_older(id, service, start, environment);
                    if let Some(start) = self.start_mut(service, start) {
                        start.joined_at.get_or_insert(at);
                    }
                    if let Some(service) = self.services.get_mut(&service) {
                        service.drop_left_behind();
                    }
                }
            }
            // What the tracer started, or was pointed at, is the main process from the start.
            (_, None) if is_tree => self.join(setup, id, service, at),
            // Its exec is yet to come. The kernel tells of its move only after that is done:
            // what it does on another CPU meanwhile is reported first. What waited in another
            // unit goes with it.
            (_, None) if is_new || is_arrival(fact) => {
                self.processes.set_place(id, Place::Waiting(service));
            }
            // Seen in the middle of its life: nothing more will tell.
            (_, None) => self.join(setup, id, service, at),
        }
    }

    /// Places a process of which nothing more will be known. Unless its start was seen,
    /// it was there before the capture.
    fn join(&mut self, setup: &Setup, id: ProcessId, service: u64, at: u64) {
        let waited = self.place_in_start(id, service, &Environment::default());
        self.tell_waited(setup, waited);
        let born = self.processes.get(id).is_none_or(|process| process.born);
        if let Some(Place::In(service, start)) = self.processes.place(id)
            && !born
            && let Some(start) = self.start_mut(service, start)
        {
            start.joined_at.get_or_insert(at);
        }
    }

    /// Puts a process into a start, with the facts that waited.
    pub(super) fn put(&mut self, setup: &Setup, id: ProcessId, service: u64, start: u64) {
        let waited = self.enter(id, service, start);
        self.tell_waited(setup, waited);
    }

    /// Puts a process into a start. Gives the facts that waited.
    #[must_use]
    pub(super) fn enter(&mut self, id: ProcessId, service: u64, start: u64) -> Vec<Waited> {
        let waiting = match self.processes.get_mut(id) {
            Some(process) => {
                process.place = Place::In(service, start);
                std::mem::take(&mut process.waiting)
            }
            None => return Vec::new(),
        };
        if let Some(begun) = self.start_mut(service, start) {
            begun.alive.insert(id);
        }
        self.waiting -= waiting.len();
        let waited = waiting.into_iter().map(|(at, fact)| Waited { service, start, at, fact });
        waited.collect()
    }

    /// Tells what waited to the starts that it belongs to.
    pub(super) fn tell_waited(&mut self, setup: &Setup, waited: Vec<Waited>) {
        for Waited { service, start, at, fact } in waited {
            self.tell(setup, service, start, at, &fact);
        }
    }
}

/// Whether a fact is a signal that was thrown away, as its process exits or has ended.
fn is_sent_to_the_dead(fact: &Fact) -> bool {
    matches!(fact, Fact::Generate(sent)
        if sent.result == GenerateResult::Ignored && fate::at_sending(sent) == Fate::Dropped)
}

/// Whether a fact is one that a process comes into a service by.
fn is_arrival(fact: &Fact) -> bool {
    matches!(fact, Fact::Exec { .. } | Fact::Fork { .. } | Fact::CgroupAttach { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{event::DispositionKind, signal::Signal},
        timeline::tests::story::{DEMO, Story},
    };

    #[test]
    fn facts_wait_no_longer_than_it_is_unknown_where_their_process_belongs() {
        let waiting = |story: Story| {
            let (mut attribution, setup) = (Attribution::default(), story.setup());
            story.observations.iter().for_each(|it| attribution.learn(&setup, &mut it.clone()));
            attribution.waiting
        };
        let attached = || {
            let story = Story::unit().attach(0, 10, DEMO);
            story.action(1, 10, Signal::HUP, DispositionKind::Default, 0)
        };
        assert_eq!(waiting(attached()), 2);
        assert_eq!(waiting(attached().exec_in(2, 10, "/bin/demo", "a")), 0);
        assert_eq!(waiting(attached().exit(2, 10, 0)), 0, "it was a helper");
        assert_eq!(waiting(attached().killed(2, 10, Signal::HUP)), 0);
        let again = attached().exit(2, 10, 0).attach(3, 11, DEMO);
        assert_eq!(waiting(again), 1);
    }
}
