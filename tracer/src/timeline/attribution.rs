//! Which service, and which start of it, each fact belongs to.
//!
//! Facts come in order of time. A process belongs to a service by its cgroup or by
//! descent. A process that systemd starts is in systemd's own cgroup until it is moved,
//! and what it is for is known from its environment at its exec; so the facts of such a
//! process wait with it until then.

mod known;
mod main_process;
mod seat;

use std::collections::{BTreeSet, HashMap};

use self::known::Known;
use super::{
    builder::Setup,
    collected::{Collected, fact_task},
    processes::{Place, Process, Processes, Seat},
    scope::Named,
};
use crate::{
    model::document::ServiceKind,
    observation::{Environment, Fact, Observation, ProcessId, Task},
};

/// Services that are kept.
const MAX_SERVICES: usize = 4_096;
/// Facts that wait for one process's exec.
const MAX_WAITING: usize = 200;
/// Notify sockets of one service.
const MAX_SOCKETS: usize = 64;
/// Facts kept of all services together; beyond, only those of weight.
const MAX_FACTS: u64 = 1_000_000;

/// Everything attributed so far.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    processes: Processes,
    /// The processes that were asked for by their pids. A later one of that pid is another.
    selected: HashMap<u32, ProcessId>,
    /// In order of first appearance.
    pub services: Vec<Service>,
    by_path: HashMap<String, usize>,
    /// Services, starts, and facts from before an exec that there was no room for.
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
    /// What systemd has said of it.
    pub known: Known,
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
    pub fn learn(&mut self, setup: &Setup, observation: Observation) {
        let Observation { at, fact } = observation;
        let fact = match fact {
            Fact::Unit(news) => return self.learn_unit(at, *news),
            fact => fact,
        };
        match &fact {
            Fact::CgroupPath { hierarchy: 0, id, path } => {
                self.processes.learn_path(*id, path);
                return;
            }
            // v1's controllers have hierarchies of their own, which say nothing of units.
            Fact::CgroupPath { .. }
            | Fact::Loss { .. }
            | Fact::CgroupAttach { tracks_units: false, .. } => return,
            Fact::Left { id, .. } => {
                if let Some(Seat::In(service, start)) = self.processes.seat(*id) {
                    self.collect(service, start, at, fact);
                }
                return;
            }
            Fact::Found { task, parent, cgroup, .. } => {
                // What its start or its end showed tells more.
                let placed = |known: &Process| known.born && known.place != Place::Outside;
                if self.processes.get(task.id).is_some_and(|known| known.ended || placed(known)) {
                    return;
                }
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
                if let Some(process) = self.processes.get_mut(child.id) {
                    process.born = true;
                }
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
            Fact::Exec { task, .. } => {
                self.meet(task, None);
                if let Some(process) = self.processes.get_mut(task.id) {
                    process.born = true;
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
        self.seat(setup, &task, at, &fact);
        self.store(setup, task.id, at, fact);
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
        self.services.push(Service {
            named,
            activations: Vec::new(),
            sockets: Vec::new(),
            known: Known::default(),
        });
        self.by_path.insert(key, self.services.len() - 1);
        Some(self.services.len() - 1)
    }

    /// Keeps a fact with its process, and does what it changes in the start.
    fn store(&mut self, setup: &Setup, id: ProcessId, at: u64, fact: Fact) {
        if let Some(process) = self.processes.get_mut(id)
            && let Place::Waiting(_, facts) = &mut process.place
        {
            if facts.len() < MAX_WAITING {
                facts.push((at, fact));
            } else {
                self.forgotten += 1;
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
                self.hand_over(setup, service, start, at, datagram);
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
