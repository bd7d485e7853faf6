//! Which service, and which start of it, each fact belongs to.
//!
//! Facts come in order of time. A process belongs to a service by its cgroup or by
//! descent. A process that systemd starts is in systemd's own cgroup until it is moved,
//! and what it is for is known from its environment at its exec; so the facts of such a
//! process wait with it until then.

mod known;
mod main_process;
mod place;
mod service;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
};

pub use self::service::{ServiceStarts, StartState, Verdict};
use super::{
    events::MANY,
    processes::{Place, Process, Processes},
    scope::Named,
    setup::Setup,
    start::{Context, Stage, Start},
};
use crate::{
    model::document::{Activation, ServiceKind, Severity},
    observation::{Environment, Fact, Observation, ProcessId, Task, UnitNews, fact_task},
};

/// Services that are kept. One that is over, with its cgroup gone, gives way to a new one.
const MAX_SERVICES: usize = 4_096;
/// Facts that wait for one process's exec.
const MAX_WAITING: usize = 200;
/// Facts that wait for the execs of all processes.
const MAX_WAITING_OF_ALL: usize = 100_000;
/// Notify sockets of one service.
const MAX_SOCKETS: usize = 64;

/// Everything attributed so far.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    processes: Processes,
    /// The process that was started as the command; `None` while that is not known.
    pub command: Option<u32>,
    /// The processes that were asked for by their pids. A later one of that pid is another.
    selected: HashMap<u32, ProcessId>,
    /// By their numbers, in order of first appearance.
    services: BTreeMap<u64, ServiceStarts>,
    next: u64,
    by_path: HashMap<String, u64>,
    /// Facts from before an exec, and services, that there was no room for.
    forgotten: u64,
    /// Services that gave way to others.
    pub services_left_out: u64,
    /// Those that give way next, oldest first: they were over, and told least, when all were
    /// looked at.
    leaving: VecDeque<u64>,
    /// How little they told.
    least: u8,
    /// Processes that were said to be the service.
    pub candidates: u64,
    /// Facts that wait for an exec.
    waiting: usize,
    /// Events of all starts.
    events: usize,
    /// What systemds said of services before any process of them was in its place, with the time.
    early: VecDeque<(u64, UnitNews)>,
    /// Of that, what there was no room for.
    early_left_out: u64,
}

impl Attribution {
    /// What there was no room for, by kind.
    #[must_use]
    pub fn losses(&self) -> [(&'static str, u64); 3] {
        [
            ("start", self.forgotten),
            ("cgroup", self.processes.paths_left_out),
            ("systemd", self.early_left_out),
        ]
    }

    /// The services with their numbers, in order of first appearance.
    pub fn services(&self) -> impl Iterator<Item = (u64, &ServiceStarts)> {
        self.services.iter().map(|(number, service)| (*number, service))
    }

    /// The number that the next service will have.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Notes how far a start has come.
    pub fn set_stage(&mut self, service: u64, start: u64, stage: Stage) {
        if let Some(start) = self.start_mut(service, start) {
            start.stage = Some((start.revision, stage));
        }
    }

    /// Notes that every start has been told as it is now.
    pub fn tell_all(&mut self) {
        for (_, state) in self.services.values_mut().flat_map(ServiceStarts::starts_mut) {
            if let StartState::Open(start) = state {
                start.told = start.revision;
            }
        }
    }

    /// Notes the worst that was found in a final start.
    pub fn set_worst(&mut self, service: u64, start: u64, worst: Option<Severity>) {
        let service = self.services.get_mut(&service);
        if let Some(StartState::Final(last)) = service.and_then(|service| service.state_mut(start))
        {
            last.verdict = worst.map_or(Verdict::Clean, Verdict::Worst);
        }
    }

    /// Takes the next fact.
    pub fn learn(&mut self, setup: &Setup, observation: &mut Observation) {
        let next = self.next;
        self.take_in(setup, observation);
        for new in next..self.next {
            self.learn_early(new);
        }
    }

    fn take_in(&mut self, setup: &Setup, observation: &mut Observation) {
        let Observation { at, fact } = observation;
        let at = *at;
        match fact {
            Fact::Unit(news) => return self.learn_unit(at, mem::take(&mut **news)),
            Fact::CgroupPath { hierarchy, path, id } => {
                if *hierarchy == 0 {
                    self.processes.learn_path(*id, path);
                }
                self.set_gone(path, false);
                return;
            }
            Fact::CgroupGone { hierarchy, path, id } => {
                if *hierarchy == 0 {
                    self.processes.forget_path(*id);
                }
                self.set_gone(path, true);
                return;
            }
            // v1's controllers have hierarchies of their own, which say nothing of units.
            Fact::Loss { .. } | Fact::CgroupAttach { tracks_units: false, .. } => return,
            Fact::Left { id, .. } => {
                if let Some(Place::In(service, start)) = self.processes.place(*id) {
                    self.tell(setup, service, start, at, fact);
                }
                return;
            }
            Fact::Found { task, parent, cgroup, environment, .. } => {
                // What its start or its end showed tells more.
                let placed = |known: &Process| known.born && known.place != Place::Outside;
                if self.processes.get(task.id).is_some_and(|known| known.ended || placed(known)) {
                    return;
                }
                let parent = self.processes.with_pid(*parent);
                self.meet(task, parent);
                if let Some(process) = self.processes.get_mut(task.id) {
                    process.cgroup.clone_from(cgroup);
                    process.is_placed = false;
                }
                self.join_by_descent(setup, parent, task.id);
                if let Some(Place::In(service, start)) = self.processes.place(task.id) {
                    self.prefer_older(task.id, service, start, environment);
                }
            }
            Fact::Fork { parent, child, .. } => {
                self.meet(parent, None);
                self.join_parent(setup, parent, at);
                self.meet(child, Some(parent.id));
                if let Some(process) = self.processes.get_mut(child.id) {
                    process.born = true;
                }
                self.inherit(setup, parent, child);
            }
            Fact::CgroupAttach { task, tracks_units: true, path, .. } => {
                self.meet(task, None);
                self.set_gone(path, false);
                if let Some(process) = self.processes.get_mut(task.id) {
                    let was_there = process.cgroup.replace(path.clone()).as_ref() == Some(path);
                    // systemd moves a process itself and has it move itself.
                    if was_there && process.place != Place::Outside {
                        return;
                    }
                    process.is_placed = false;
                }
            }
            Fact::Generate(generate) => {
                self.meet(&generate.target, None);
                self.processes.find_cgroups(generate);
            }
            Fact::Exec { task, .. } => {
                self.meet(task, None);
                if let Some(process) = self.processes.get_mut(task.id) {
                    process.born = true;
                }
            }
            _ => {
                if let Some(task) = fact_task(fact) {
                    self.meet(task, None);
                }
            }
        }
        if let Some(task) = fact_task(fact) {
            self.find_place(setup, task, at, fact);
            self.store(setup, task.id, at, fact);
        }
    }

    /// The ids of processes in scope that have not ended.
    pub fn live(&self) -> impl Iterator<Item = ProcessId> {
        self.open().flat_map(|start| start.alive.iter().copied())
    }

    /// The processes with signals whose fates are open.
    pub fn awaited(&self) -> impl Iterator<Item = ProcessId> {
        self.open().flat_map(Start::waiting)
    }

    fn open(&self) -> impl Iterator<Item = &Start> {
        self.services.values().flat_map(ServiceStarts::starts).filter_map(
            |(_, state)| match state {
                StartState::Open(start) => Some(&**start),
                StartState::Final(_) => None,
            },
        )
    }

    /// Gives those that still wait their place, for want of anything better to know.
    pub fn settle(&mut self, setup: &Setup) {
        let mut waited = Vec::new();
        for (id, service) in self.processes.waiting() {
            // One that came into the service as it ended shows no end of its own.
            let since = self.waiting_since(id);
            let known = self.services.get(&service).map(|service| &service.known);
            let has_ended = known.is_some_and(|known| known.was_over_in(since..));
            let environment = Environment { control: has_ended, ..Environment::default() };
            waited.extend(self.place_in_start(id, service, &environment));
            if has_ended {
                self.leave(id);
                self.lost_main(id, since);
            }
        }
        // Those that share handlers change each other's.
        waited.sort_by_key(|it| it.at);
        self.tell_waited(setup, waited);
    }

    /// A process whose end was not seen came into its service at `since`. If systemd started the
    /// main process then, it was that one, and what had come before were commands.
    fn lost_main(&mut self, id: ProcessId, since: u64) {
        let Some(Place::In(service, start)) = self.processes.place(id) else { return };
        let Some(of) = self.services.get_mut(&service) else { return };
        let Some(open) = of.open(start) else { return };
        let id = open.invocation_id.as_deref();
        let was_main = id.is_some_and(|id| of.known.started_main_since(id, since));
        if was_main
            && !open.is_up_at(since)
            && let Some(open) = of.open_mut(start)
        {
            open.had_no_main();
        }
    }

    /// A cgroup was removed, or is there.
    fn set_gone(&mut self, path: &str, is_gone: bool) {
        if let Some(service) = self.by_path.get(path).and_then(|it| self.services.get_mut(it)) {
            service.is_gone = is_gone;
        }
    }

    /// Notes a process. One that has another's pid has taken it over.
    fn meet(&mut self, task: &Task, parent: Option<ProcessId>) {
        if let Some(gone) = self.processes.meet(task, parent) {
            self.leave(gone);
            if matches!(self.processes.place(gone), Some(Place::Waiting(_))) {
                self.put_outside(gone);
            }
            self.processes.end(gone);
        }
    }

    /// A child starts where its parent is, unless it was put elsewhere at once.
    fn inherit(&mut self, setup: &Setup, parent: &Task, child: &Task) {
        let Some(from) = self.processes.get(parent.id) else {
            return;
        };
        let (cgroup, place) = (from.cgroup.clone(), from.place);
        let elsewhere = parent.cgroup_id != child.cgroup_id;
        if let Some(process) = self.processes.get_mut(child.id)
            && (!elsewhere || process.cgroup.is_none())
        {
            process.cgroup = cgroup;
        }
        if elsewhere {
            self.join_by_descent(setup, Some(parent.id), child.id);
            return;
        }
        match place {
            Place::In(service, start) => self.put(setup, child.id, service, start),
            Place::Waiting(_) => {
                if let Some(process) = self.processes.get_mut(child.id) {
                    process.place = place;
                    process.is_helper = true;
                }
            }
            Place::Outside => {}
        }
    }

    /// What descends from a command or a process that was asked for belongs to it,
    /// whatever its cgroup.
    fn join_by_descent(&mut self, setup: &Setup, parent: Option<ProcessId>, id: ProcessId) {
        if let Some(Place::In(service, start)) = parent.and_then(|id| self.processes.place(id))
            && self.is_tree(service)
        {
            self.put(setup, id, service, start);
        }
    }

    /// Whether a service is a tree of processes and not the contents of a cgroup.
    fn is_tree(&self, service: u64) -> bool {
        let kind = self.services.get(&service).map(|service| service.named.kind);
        matches!(kind, Some(ServiceKind::Command | ServiceKind::Process))
    }

    /// An open start of a service, to change it.
    fn start_mut(&mut self, service: u64, start: u64) -> Option<&mut Start> {
        self.services.get_mut(&service)?.open_mut(start)
    }

    /// Takes a process off its start's living.
    fn leave(&mut self, id: ProcessId) {
        if let Some(Place::In(service, start)) = self.processes.place(id)
            && let Some(start) = self.start_mut(service, start)
        {
            start.alive.remove(&id);
        }
    }

    /// The service of this name and path, new if need be.
    fn service(&mut self, named: Named) -> Option<u64> {
        if let Some(number) = self.by_path.get(named.key()) {
            return Some(*number);
        }
        if self.services.len() >= MAX_SERVICES && !self.make_room() {
            self.forgotten += 1;
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.by_path.insert(named.key().to_owned(), number);
        self.services.insert(number, ServiceStarts::new(named));
        Some(number)
    }

    /// Leaves out the least telling service that is over, the oldest of its kind.
    fn make_room(&mut self) -> bool {
        let weight = |number: &u64| {
            let service = self.services.get(number).filter(|service| service.is_over());
            service.map(ServiceStarts::weight)
        };
        // There are thousands: to look at all of them for each one would take longer than all else.
        if self.leaving.front().and_then(weight) != Some(self.least) {
            let over = self.services.keys().filter_map(|number| Some((weight(number)?, *number)));
            let least = over.clone().map(|(weight, _)| weight).min().unwrap_or_default();
            let telling_least = over.filter(|(weight, _)| *weight == least);
            self.leaving = telling_least.map(|(_, number)| number).collect();
            self.least = least;
        }
        let Some(number) = self.leaving.pop_front() else {
            return false;
        };
        if let Some(ServiceStarts { named, .. }) = self.services.remove(&number) {
            self.by_path.remove(named.key());
        }
        self.services_left_out += 1;
        true
    }

    /// Keeps a fact with its process while that waits for its exec, else tells it to its start.
    fn store(&mut self, setup: &Setup, id: ProcessId, at: u64, fact: &Fact) {
        let is_full = self.waiting >= MAX_WAITING_OF_ALL;
        let (place, process) = match self.processes.get_mut(id) {
            Some(process) => (process.place, process),
            None => return,
        };
        match place {
            Place::Waiting(_) if process.waiting.len() < MAX_WAITING && !is_full => {
                process.waiting.push((at, fact.clone()));
                self.waiting += 1;
                return;
            }
            Place::Waiting(_) => {
                self.forgotten += 1;
                return;
            }
            Place::Outside => {
                if matches!(fact, Fact::Exit { .. }) {
                    self.processes.end(id);
                }
                return;
            }
            Place::In(..) => {}
        }
        let Place::In(service, start) = place else { return };
        if setup.main.as_ref().is_some_and(|pattern| pattern.matches(fact)) {
            self.choose_main(id, service, start, at);
        }
        match fact {
            Fact::Exec { environment, .. } | Fact::Found { environment, .. } => {
                self.note_socket(service, start, environment.notify_socket.as_deref());
            }
            Fact::Notify(datagram) => self.obey(setup, service, start, at, datagram),
            _ => {}
        }
        let ended = match fact {
            Fact::Exit { signal, code, .. } => Some(signal.is_none() && *code == 0),
            _ => None,
        };
        self.tell(setup, service, start, at, fact);
        if let Some(well) = ended {
            self.ended(id, service, start, at, well);
            self.processes.end(id);
        }
    }

    /// Folds a fact into a start.
    fn tell(&mut self, setup: &Setup, service: u64, start: u64, at: u64, fact: &Fact) {
        let Some(service) = self.services.get_mut(&service) else {
            return;
        };
        let sockets = mem::take(&mut service.sockets);
        if let Some(start) = service.open_mut(start) {
            let before = start.events().weight();
            let context = Context {
                recorded: setup.recorded,
                sockets: &sockets,
                is_tight: self.events >= MANY,
            };
            start.learn(context, at, fact);
            self.events = (self.events + start.events().weight()).saturating_sub(before);
        }
        service.sockets = sockets;
    }

    /// Makes an open start final, with this timeline.
    pub fn finish(&mut self, service: u64, start: u64, activation: Activation) {
        if let Some(service) = self.services.get_mut(&service) {
            service.known.forget(activation.invocation_id.as_deref());
            service.finish(start, activation);
        }
    }

    /// A process of this start was given a notify socket. Where there are too many, what is sent to
    /// it is not told from other datagrams.
    fn note_socket(&mut self, service: u64, start: u64, socket: Option<&str>) {
        let (Some(service), Some(socket)) = (self.services.get_mut(&service), socket) else {
            return;
        };
        if service.sockets.iter().any(|known| known == socket) {
            return;
        }
        if service.sockets.len() < MAX_SOCKETS {
            service.sockets.push(socket.to_owned());
        } else if let Some(start) = service.open_mut(start) {
            start.follow_less();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observation::Observation,
        timeline::tests::story::{STARTER, Story},
    };

    #[test]
    fn of_cgroups_that_are_gone_the_last_keep_their_paths_and_other_hierarchies_have_others() {
        let left = |hierarchy: u32| {
            let (mut attribution, setup) = (Attribution::default(), Story::unit().setup());
            for id in 1..=2_000_u64 {
                let path = || format!("/{id}");
                for fact in [
                    Fact::CgroupPath { hierarchy: 0, id, path: path() },
                    Fact::CgroupGone { hierarchy, id, path: path() },
                ] {
                    attribution.learn(&setup, &mut Observation { at: id, fact });
                }
            }
            let has_path = |id: &u64| {
                let id = ProcessId { pid: *id as u32, start_ticks: 1 };
                let task = Task { cgroup_id: u64::from(id.pid), ..Task::of(id) };
                attribution.processes.meet(&task, None);
                attribution.processes.get(id).is_some_and(|process| process.cgroup.is_some())
            };
            (1..=2_000).filter(has_path).count()
        };
        assert_eq!((left(0), left(1)), (1_024, 2_000));
    }

    #[test]
    fn the_events_of_all_starts_are_counted_by_their_weight() {
        let story = Story::command().fork(0, STARTER, 10).exec(1, 10, "/bin/demo").handler(5, 10);
        let story = story.notify(6, 10, &format!("STATUS={}", "x".repeat(1_000)));
        let (mut attribution, setup) = (Attribution::default(), story.setup());
        for (index, observation) in story.observations.iter().enumerate() {
            attribution.learn(&setup, &mut observation.clone());
            let weight: usize = attribution.open().map(|start| start.events().weight()).sum();
            assert_eq!(attribution.events, weight);
            assert!(weight > index);
        }
    }
}
