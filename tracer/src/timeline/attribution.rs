//! Which service, and which start of it, each fact belongs to.
//!
//! Facts come in order of time. A process belongs to a service by its cgroup or by
//! descent. A process that systemd starts is in systemd's own cgroup until it is moved,
//! and what it is for is known from its environment at its exec; so the facts of such a
//! process wait with it until then.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    collected::{Collected, fact_task},
    document::ServiceKind,
    notify,
    observation::{Environment, Fact, Observation, ProcessId, Task},
    scope::{Named, Scope},
};

/// Starts of one service that are kept; the oldest goes first.
const MAX_ACTIVATIONS: usize = 200;
/// Services that are kept.
const MAX_SERVICES: usize = 4_096;
/// Facts that wait for one process's exec.
const MAX_WAITING: usize = 200;
/// Notify sockets of one service.
const MAX_SOCKETS: usize = 64;

/// Everything attributed so far.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    processes: HashMap<ProcessId, Process>,
    /// The process that has a pid now.
    by_pid: HashMap<u32, ProcessId>,
    /// Paths of cgroups in the unified hierarchy.
    paths: HashMap<u64, String>,
    /// In order of first appearance.
    pub services: Vec<Service>,
    by_path: HashMap<String, usize>,
    /// Services and activations that there was no room for.
    pub forgotten: u64,
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
    alive: HashSet<ProcessId>,
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

/// A process as far as its place is concerned.
#[derive(Clone, Debug)]
struct Process {
    ns_pid: u32,
    parent: Option<ProcessId>,
    cgroup: Option<String>,
    place: Place,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// No service in scope.
    Outside,
    /// In a service, its start not known before its exec.
    Waiting(usize, Vec<(u64, Fact)>),
    /// In a start of a service.
    In(usize, usize),
}

/// A [`Place`] without the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Outside,
    Waiting(usize),
    In(usize, usize),
}

impl Place {
    fn seat(&self) -> Seat {
        match self {
            Self::Outside => Seat::Outside,
            Self::Waiting(service, _) => Seat::Waiting(*service),
            Self::In(service, start) => Seat::In(*service, *start),
        }
    }
}

impl Attribution {
    /// Takes the next fact.
    pub fn learn(&mut self, scope: &Scope, observation: Observation) {
        let Observation { at, fact } = observation;
        match &fact {
            Fact::CgroupPath { hierarchy: 0, id, path } => {
                self.paths.insert(*id, path.clone());
                return;
            }
            Fact::CgroupPath { .. } | Fact::Loss { .. } => return,
            Fact::Left { id, .. } => {
                if let Some(Seat::In(service, start)) = self.place(*id).map(Place::seat) {
                    self.services[service].activations[start].collected.add(at, fact);
                }
                return;
            }
            Fact::Found { task, parent, cgroup, .. } => {
                let parent = self.by_pid.get(parent).copied();
                self.meet(task, parent);
                if let Some(process) = self.processes.get_mut(&task.id) {
                    process.cgroup.clone_from(cgroup);
                }
            }
            Fact::Fork { parent, child, .. } => {
                self.meet(parent, None);
                self.meet(child, Some(parent.id));
                self.inherit(parent, child);
            }
            Fact::CgroupAttach { task, tracks_units: true, path, .. } => {
                self.meet(task, None);
                if let Some(process) = self.processes.get_mut(&task.id) {
                    // systemd moves a process itself and has it move itself.
                    if process.cgroup.replace(path.clone()).as_ref() == Some(path) {
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
        let waiting: BTreeMap<ProcessId, usize> = self
            .processes
            .iter()
            .filter_map(|(id, process)| match process.place {
                Place::Waiting(service, _) => Some((*id, service)),
                _ => None,
            })
            .collect();
        for (id, service) in waiting {
            self.place_in_start(id, service, &Environment::default());
        }
    }

    fn place(&self, id: ProcessId) -> Option<&Place> {
        self.processes.get(&id).map(|process| &process.place)
    }

    /// Notes a process. One that has another's pid has taken it over.
    fn meet(&mut self, task: &Task, parent: Option<ProcessId>) {
        let path = self.paths.get(&task.cgroup_id).filter(|path| *path != "/");
        let process = self.processes.entry(task.id).or_insert_with(|| Process {
            ns_pid: task.ns_pid,
            parent,
            cgroup: path.cloned(),
            place: Place::Outside,
        });
        if process.cgroup.is_none() {
            process.cgroup = path.cloned();
        }
        process.parent = process.parent.or(parent);
        self.by_pid.insert(task.id.pid, task.id);
    }

    /// A child starts where its parent is, unless it was put elsewhere at once.
    fn inherit(&mut self, parent: &Task, child: &Task) {
        let Some(parent_process) = self.processes.get(&parent.id) else {
            return;
        };
        let (cgroup, seat) = (parent_process.cgroup.clone(), parent_process.place.seat());
        let elsewhere = parent.cgroup_id != child.cgroup_id;
        let Some(process) = self.processes.get_mut(&child.id) else {
            return;
        };
        if !elsewhere || process.cgroup.is_none() {
            process.cgroup = cgroup;
        }
        if elsewhere {
            return;
        }
        match seat {
            Seat::In(service, start) => {
                process.place = Place::In(service, start);
                self.services[service].activations[start].alive.insert(child.id);
            }
            Seat::Waiting(service) => process.place = Place::Waiting(service, Vec::new()),
            Seat::Outside => {}
        }
    }

    /// Finds a process's service, and its start if that can be told by now.
    fn seat(&mut self, scope: &Scope, task: &Task, at: u64, fact: &Fact) {
        let id = task.id;
        let Some(process) = self.processes.get(&id) else {
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
            (Seat::Outside, _) if scope.selects_process(id.pid) => Some(Named {
                name: format!("pid {}", id.pid),
                kind: ServiceKind::Process,
                path: String::new(),
            }),
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
            if let Seat::In(old, start) = seat {
                self.services[old].activations[start].alive.remove(&id);
            }
            self.arrive(id, parent, service, at, fact);
        }
        // The exec, or an end before it, tells the start.
        if let Some(Place::Waiting(service, _)) = self.place(id) {
            let service = *service;
            match fact {
                Fact::Exec { environment, .. } => self.place_in_start(id, service, environment),
                // systemd's own helpers do their work and end without an exec.
                Fact::Exit { signal: None, .. } => self.set_place(id, Place::Outside),
                Fact::Exit { .. } => self.place_in_start(id, service, &Environment::default()),
                _ => {}
            }
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
        let with_parent = parent.and_then(|parent| match self.place(parent) {
            Some(Place::In(of, start)) if *of == service => Some(*start),
            _ => None,
        });
        let kind = self.services[service].named.kind;
        match (fact, with_parent) {
            (_, Some(start)) => self.sit(id, service, start),
            (Fact::Found { environment, .. }, None) => {
                self.place_in_start(id, service, environment);
                if let Some(Place::In(service, start)) = self.place(id) {
                    let (service, start) = (*service, *start);
                    let collected = &mut self.services[service].activations[start].collected;
                    collected.joined_at.get_or_insert(at);
                }
            }
            // What the tracer started, or was pointed at, is the main process from the start.
            (_, None) if matches!(kind, ServiceKind::Command | ServiceKind::Process) => {
                self.place_in_start(id, service, &Environment::default());
            }
            (Fact::Exec { .. } | Fact::Fork { .. } | Fact::CgroupAttach { .. }, None) => {
                self.set_place(id, Place::Waiting(service, Vec::new()));
            }
            // Seen in the middle of its life: nothing more will tell.
            (_, None) => self.place_in_start(id, service, &Environment::default()),
        }
    }

    fn set_place(&mut self, id: ProcessId, place: Place) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.place = place;
        }
    }

    fn sit(&mut self, id: ProcessId, service: usize, start: usize) {
        let waited = match self.processes.get_mut(&id) {
            Some(process) => std::mem::replace(&mut process.place, Place::In(service, start)),
            None => return,
        };
        let start = &mut self.services[service].activations[start];
        start.alive.insert(id);
        if let Place::Waiting(_, facts) = waited {
            for (at, fact) in facts {
                start.collected.add(at, fact);
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

    /// Decides whether a process that came from outside of the service begins a new
    /// start of it, and whether it is the main process.
    fn place_in_start(&mut self, id: ProcessId, service: usize, environment: &Environment) {
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
                alive: HashSet::new(),
                main_exited_well: None,
            });
        }
        let index = self.services[service].activations.len() - 1;
        let start = &mut self.services[service].activations[index];
        if start.collected.invocation_id.is_none() {
            start.collected.invocation_id.clone_from(&environment.invocation_id);
        }
        let vacant = start.collected.mains.is_empty() || start.main_exited_well.is_some();
        if vacant && !environment.control {
            // What was before it, such as ExecStartPre=, was not the main process.
            start.collected.mains = vec![(since, id)];
            start.main_exited_well = None;
        }
        self.sit(id, service, index);
    }

    /// Since when the facts of a waiting process count: its whole life.
    fn waiting_since(&self, id: ProcessId) -> u64 {
        match self.place(id) {
            Some(Place::Waiting(_, facts)) => facts.first().map_or(0, |(at, _)| *at),
            _ => 0,
        }
    }

    fn forget_oldest(&mut self, service: usize) {
        self.services[service].activations.remove(0);
        self.forgotten += 1;
        for process in self.processes.values_mut() {
            match &mut process.place {
                Place::In(of, 0) if *of == service => process.place = Place::Outside,
                Place::In(of, start) if *of == service => *start -= 1,
                _ => {}
            }
        }
    }

    /// Keeps a fact with its process, and does what it changes in the start.
    fn store(&mut self, id: ProcessId, at: u64, fact: Fact) {
        if let Some(process) = self.processes.get_mut(&id)
            && let Place::Waiting(_, facts) = &mut process.place
        {
            if facts.len() < MAX_WAITING {
                facts.push((at, fact));
            }
            return;
        }
        let Some(Seat::In(service, start)) = self.place(id).map(Place::seat) else {
            if matches!(fact, Fact::Exit { .. }) {
                self.forget(id);
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
                    .and_then(|message| main_pid(&message.assignments));
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
        self.services[service].activations[start].collected.add(at, fact);
        if let Some(well) = ended {
            self.ended(id, service, start, at, well);
            self.forget(id);
        }
    }

    fn forget(&mut self, id: ProcessId) {
        self.processes.remove(&id);
        if self.by_pid.get(&id.pid) == Some(&id) {
            self.by_pid.remove(&id.pid);
        }
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

    /// `MAINPID=`: the process with this id in its own namespace, or in ours.
    fn hand_over(&mut self, service: usize, start: usize, at: u64, pid: u32) {
        let begun = &self.services[service].activations[start];
        let heir = begun
            .alive
            .iter()
            .copied()
            .find(|id| self.processes.get(id).is_some_and(|process| process.ns_pid == pid));
        let heir = heir.or_else(|| begun.alive.iter().copied().find(|id| id.pid == pid));
        let begun = &mut self.services[service].activations[start];
        if let Some(heir) = heir.filter(|heir| begun.collected.main() != Some(*heir)) {
            begun.collected.mains.push((at, heir));
            begun.main_exited_well = None;
        }
    }

    /// A process of a start ended. If it was the main one, and well, and of a unit, what
    /// it left running is the service: it put itself into the background.
    fn ended(&mut self, id: ProcessId, service: usize, start: usize, at: u64, well: bool) {
        let kind = self.services[service].named.kind;
        let begun = &mut self.services[service].activations[start];
        begun.alive.remove(&id);
        if begun.collected.main() != Some(id) {
            return;
        }
        begun.main_exited_well = Some(well);
        if !well || kind == ServiceKind::Command {
            return;
        }
        let orphan = |heir: &&ProcessId| {
            self.processes.get(heir).is_some_and(|process| {
                process
                    .parent
                    .is_some_and(|parent| parent == id || !self.processes.contains_key(&parent))
            })
        };
        let begun = &self.services[service].activations[start];
        let heir =
            begun.alive.iter().filter(orphan).min_by_key(|heir| (heir.start_ticks, heir.pid));
        if let Some(heir) = heir.copied() {
            let begun = &mut self.services[service].activations[start];
            begun.collected.mains.push((at, heir));
            begun.main_exited_well = None;
        }
    }
}

fn main_pid(assignments: &[(String, String)]) -> Option<u32> {
    assignments.iter().rev().find(|(key, _)| key == "MAINPID")?.1.parse().ok()
}
