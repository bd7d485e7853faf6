//! Which service, and which start of it, each fact belongs to.
//!
//! Facts come in order of time. A process belongs to a service by its cgroup or by
//! descent. A process that systemd starts is in systemd's own cgroup until it is moved,
//! and what it is for is known from its environment at its exec; so the facts of such a
//! process wait with it until then.

mod main_process;

use std::collections::{BTreeSet, HashMap};

use super::{
    collected::{Collected, fact_task},
    document::ServiceKind,
    notify,
    observation::{Environment, Fact, Observation, ProcessId, Task},
    processes::{Place, Processes, Seat},
    scope::{Named, Scope},
};

/// Services that are kept.
const MAX_SERVICES: usize = 4_096;
/// Facts that wait for one process's exec.
const MAX_WAITING: usize = 200;
/// Notify sockets of one service.
const MAX_SOCKETS: usize = 64;
/// Facts kept of all services together; beyond, only those of weight.
const MAX_FACTS: u64 = 1_000_000;
/// What systemd (255 and later) executes first in every process it starts. It executes
/// the service's own program, with the environment that tells what that is for.
const EXECUTOR: &str = "systemd-executor";

/// Everything attributed so far.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    processes: Processes,
    /// The processes that were asked for by their pids. A later one of that pid is another.
    selected: HashMap<u32, ProcessId>,
    /// In order of first appearance.
    pub services: Vec<Service>,
    by_path: HashMap<String, usize>,
    /// Services and activations that there was no room for.
    pub forgotten: u64,
    /// Facts taken, of all services.
    taken: u64,
}

/// A service and its starts.
#[derive(Clone, Debug)]
pub struct Service {
    /// Name, kind, and cgroup (empty where it isn't one's).
    pub named: Named,
    /// Oldest first.
    pub activations: Vec<Start>,
    /// Notify sockets that its processes were given.
    pub sockets: Vec<String>,
}

/// One start.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its facts.
    pub collected: Collected,
    /// How far it had come when it had so many facts.
    pub stage: Option<(u64, Stage)>,
    alive: BTreeSet<ProcessId>,
    main_exited_well: Option<bool>,
}

/// How far a start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The reload signal is taken.
    pub handler: bool,
    /// READY=1 was said.
    pub ready: bool,
    /// The main process has exited.
    pub exited: bool,
}

impl Start {
    /// Whether nothing of it is left.
    fn is_over(&self) -> bool {
        self.main_exited_well.is_some() && self.alive.is_empty()
    }
}

impl Attribution {
    /// Takes the next fact.
    pub fn learn(&mut self, scope: &Scope, observation: Observation) {
        let Observation { at, fact } = observation;
        match &fact {
            Fact::CgroupPath { hierarchy: 0, id, path } => {
                self.processes.learn_path(*id, path);
                return;
            }
            Fact::CgroupPath { .. } | Fact::Loss { .. } => return,
            Fact::Left { id, .. } => {
                if let Some(Seat::In(service, start)) = self.processes.seat(*id) {
                    self.collect(service, start, at, fact);
                }
                return;
            }
            Fact::Found { task, parent, cgroup, .. } => {
                let parent = self.processes.with_pid(*parent);
                self.meet(task, parent);
                if let Some(process) = self.processes.get_mut(task.id) {
                    process.cgroup.clone_from(cgroup);
                }
                self.join_by_descent(parent, task.id);
            }
            Fact::Fork { parent, child, .. } => {
                self.meet(parent, None);
                self.meet(child, Some(parent.id));
                self.inherit(parent, child);
            }
            Fact::CgroupAttach { task, tracks_units: true, path, .. } => {
                self.meet(task, None);
                if let Some(process) = self.processes.get_mut(task.id) {
                    let was_there = process.cgroup.replace(path.clone()).as_ref() == Some(path);
                    // systemd moves a process itself and has it move itself.
                    if was_there && process.place != Place::Outside {
                        return;
                    }
                }
            }
            fact => {
                if let Some(task) = fact_task(fact) {
                    self.meet(task, None);
                }
            }
        }
        let Some(task) = fact_task(&fact).cloned() else {
            return;
        };
        self.seat(scope, &task, at, &fact);
        self.store(task.id, at, fact);
    }

    /// The ids of processes in scope that have not ended.
    pub fn live(&self) -> impl Iterator<Item = ProcessId> {
        self.services
            .iter()
            .flat_map(|service| &service.activations)
            .flat_map(|start| start.alive.iter().copied())
    }

    /// Gives those that still wait their place, for want of anything better to know.
    pub fn settle(&mut self) {
        let waiting = self.processes.waiting();
        for (id, service) in waiting {
            self.place_in_start(id, service, &Environment::default());
        }
    }

    /// Notes a process. One that has another's pid has taken it over.
    fn meet(&mut self, task: &Task, parent: Option<ProcessId>) {
        if let Some(gone) = self.processes.meet(task, parent) {
            self.leave(gone);
            self.processes.end(gone);
        }
    }

    /// A child starts where its parent is, unless it was put elsewhere at once.
    fn inherit(&mut self, parent: &Task, child: &Task) {
        let Some(from) = self.processes.get(parent.id) else {
            return;
        };
        let (cgroup, seat) = (from.cgroup.clone(), from.place.seat());
        let elsewhere = parent.cgroup_id != child.cgroup_id;
        if let Some(process) = self.processes.get_mut(child.id)
            && (!elsewhere || process.cgroup.is_none())
        {
            process.cgroup = cgroup;
        }
        if elsewhere {
            self.join_by_descent(Some(parent.id), child.id);
            return;
        }
        match seat {
            Seat::In(service, start) => self.sit(child.id, service, start),
            Seat::Waiting(service) => {
                self.processes.set_place(child.id, Place::Waiting(service, Vec::new()));
            }
            Seat::Outside => {}
        }
    }

    /// What descends from a command or a process that was asked for belongs to it,
    /// whatever its cgroup.
    fn join_by_descent(&mut self, parent: Option<ProcessId>, id: ProcessId) {
        if let Some(Seat::In(service, start)) = parent.and_then(|id| self.processes.seat(id))
            && self.is_tree(service)
        {
            self.sit(id, service, start);
        }
    }

    /// Whether a service is a tree of processes and not the contents of a cgroup.
    fn is_tree(&self, service: usize) -> bool {
        matches!(self.services[service].named.kind, ServiceKind::Command | ServiceKind::Process)
    }

    /// Takes a process off its start's living.
    fn leave(&mut self, id: ProcessId) {
        if let Some(Seat::In(service, start)) = self.processes.seat(id) {
            self.services[service].activations[start].alive.remove(&id);
        }
    }

    /// Finds a process's service, and its start if that can be told by now.
    fn seat(&mut self, scope: &Scope, task: &Task, at: u64, fact: &Fact) {
        let id = task.id;
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
            self.arrive(id, parent, service, at, fact);
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

    /// A process comes into a service.
    fn arrive(
        &mut self,
        id: ProcessId,
        parent: Option<ProcessId>,
        service: usize,
        at: u64,
        fact: &Fact,
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
            (_, None) if is_tree => {
                self.place_in_start(id, service, &Environment::default());
            }
            (Fact::Exec { .. } | Fact::Fork { .. } | Fact::CgroupAttach { .. }, None) => {
                self.processes.set_place(id, Place::Waiting(service, Vec::new()));
            }
            // Seen in the middle of its life: nothing more will tell.
            (_, None) => self.place_in_start(id, service, &Environment::default()),
        }
    }

    fn sit(&mut self, id: ProcessId, service: usize, start: usize) {
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

    /// The service of this name and path, new if need be.
    fn service(&mut self, named: Named) -> Option<usize> {
        let key = if named.path.is_empty() { named.name.clone() } else { named.path.clone() };
        if let Some(index) = self.by_path.get(&key) {
            return Some(*index);
        }
        if self.services.len() >= MAX_SERVICES {
            self.forgotten += 1;
            return None;
        }
        self.services.push(Service { named, activations: Vec::new(), sockets: Vec::new() });
        self.by_path.insert(key, self.services.len() - 1);
        Some(self.services.len() - 1)
    }

    /// Keeps a fact with its process, and does what it changes in the start.
    fn store(&mut self, id: ProcessId, at: u64, fact: Fact) {
        if let Some(process) = self.processes.get_mut(id)
            && let Place::Waiting(_, facts) = &mut process.place
        {
            if facts.len() < MAX_WAITING {
                facts.push((at, fact));
            }
            return;
        }
        let Some(Seat::In(service, start)) = self.processes.seat(id) else {
            if matches!(fact, Fact::Exit { .. }) {
                self.processes.end(id);
            }
            return;
        };
        match &fact {
            Fact::Exec { environment, .. } | Fact::Found { environment, .. } => {
                self.note_socket(service, environment.notify_socket.as_deref());
            }
            Fact::Notify(datagram) => {
                let main_pid = datagram
                    .payload
                    .as_deref()
                    .map(|payload| notify::parse(payload, datagram.length))
                    .filter(|message| datagram.errno == 0 && message.malformed.is_none())
                    .and_then(|message| main_process::main_pid(&message.assignments));
                let sockets = self.services[service].sockets.iter().map(String::as_str);
                if let Some(pid) = main_pid
                    && notify::is_notify_socket(&datagram.destination, sockets)
                {
                    self.hand_over(service, start, at, pid);
                }
            }
            _ => {}
        }
        let ended = match &fact {
            Fact::Exit { signal, code, .. } => Some(signal.is_none() && *code == 0),
            _ => None,
        };
        self.collect(service, start, at, fact);
        if let Some(well) = ended {
            self.ended(id, service, start, at, well);
            self.processes.end(id);
        }
    }

    fn collect(&mut self, service: usize, start: usize, at: u64, fact: Fact) {
        self.taken += 1;
        let is_full = self.taken > MAX_FACTS;
        self.services[service].activations[start].collected.add(at, fact, is_full);
    }

    fn note_socket(&mut self, service: usize, socket: Option<&str>) {
        let sockets = &mut self.services[service].sockets;
        if let Some(socket) = socket
            && sockets.len() < MAX_SOCKETS
            && !sockets.iter().any(|known| known == socket)
        {
            sockets.push(socket.to_owned());
        }
    }
}
