//! The processes that were met: who started them, which cgroup they are in, and the
//! place in a service that each was given.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use hashbrown::{HashMap, hash_map::Entry};

use crate::observation::{Fact, Generate, Parent, ProcessId, Task};

/// Paths of cgroups that are kept: as many as a scan of the host finds, and 65,536 that are made
/// after it.
const MAX_PATHS: usize = 327_680;
/// Paths that are kept of cgroups that are gone.
const MAX_GONE: usize = 1_024;
/// Ended processes that are kept, for what is sent to them while they are zombies.
const MAX_ENDED: usize = 1_024;

/// A process as far as its place is concerned.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Process {
    /// Its id in its own pid namespace.
    pub ns_pid: u32,
    /// Who started it, if that was seen.
    pub parent: Option<ProcessId>,
    /// Its cgroup's path.
    pub cgroup: Option<String>,
    /// Where it belongs.
    pub place: Place,
    /// Its place was looked for where its cgroup is now.
    pub is_placed: bool,
    /// What it did before its place was known.
    pub waiting: Vec<(u64, Fact)>,
    /// Forked by a process that had not yet executed what it was started for.
    pub is_helper: bool,
    /// Its start, or that of its program, was seen.
    pub born: bool,
    /// Its exit was seen.
    pub ended: bool,
    /// It is one that was said to be the service.
    pub is_candidate: bool,
}

/// Where a process belongs. Services and starts are named by their numbers, which are not
/// used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No service in scope.
    Outside,
    /// In this service, its start not known before its exec.
    Waiting(u64),
    /// In this service, and this start of it.
    In(u64, u64),
}

/// Every process met that hasn't been forgotten.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    table: HashMap<ProcessId, Process>,
    /// The process that has a pid now.
    by_pid: HashMap<u32, ProcessId>,
    /// Oldest first.
    ended: VecDeque<ProcessId>,
    /// Of cgroups in the unified hierarchy, by their ids, which are not used again.
    paths: HashMap<u64, String>,
    /// Those of them that are gone, the one that has been so for longest first.
    gone: VecDeque<u64>,
    /// Paths that there was no room for.
    pub paths_left_out: u64,
}

impl Processes {
    /// A cgroup in the unified hierarchy has this path.
    pub fn learn_path(&mut self, id: u64, path: &str) {
        if self.paths.len() >= MAX_PATHS && !self.paths.contains_key(&id) {
            self.paths_left_out += 1;
            return;
        }
        self.paths.insert(id, path.to_owned());
    }

    /// A cgroup is gone. Its path is kept for a while: what was in it may be told late.
    pub fn forget_path(&mut self, id: u64) {
        if !self.paths.contains_key(&id) {
            return;
        }
        self.gone.push_back(id);
        if self.gone.len() > MAX_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.paths.remove(&oldest);
        }
    }

    /// Fills in the cgroups that a signal's sender and its parents were in, where /proc did not
    /// tell them any more.
    pub fn find_cgroups(&self, generate: &mut Generate) {
        let (Some(sender), Some(origin)) = (&generate.sender, &mut generate.origin) else {
            return;
        };
        let path = |id: u64| self.paths.get(&id).filter(|path| *path != "/").cloned();
        let own = path(sender.cgroup_id).filter(|_| origin.cgroup.is_none());
        let is_unknown = |parent: &Parent| parent.cgroup.is_none();
        let of_parents = origin.parents.iter().filter(|parent| is_unknown(parent));
        if own.is_none() && of_parents.clone().all(|parent| path(parent.cgroup_id).is_none()) {
            return;
        }
        let origin = Arc::make_mut(origin);
        origin.cgroup = origin.cgroup.take().or(own);
        for parent in origin.parents.iter_mut().filter(|parent| is_unknown(parent)) {
            parent.cgroup = path(parent.cgroup_id);
        }
    }

    /// Notes a process. Gives the one whose pid it has taken over: that one's end was
    /// not seen.
    pub fn meet(&mut self, task: &Task, parent: Option<ProcessId>) -> Option<ProcessId> {
        let path = || self.paths.get(&task.cgroup_id).filter(|path| *path != "/").cloned();
        let process = match self.table.entry(task.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                vacant.insert(Process {
                    ns_pid: task.ns_pid,
                    parent,
                    cgroup: path(),
                    place: Place::Outside,
                    is_placed: false,
                    waiting: Vec::new(),
                    is_helper: false,
                    born: false,
                    ended: false,
                    is_candidate: false,
                });
                return self.by_pid.insert(task.id.pid, task.id);
            }
        };
        // One that has not ended has its pid still.
        if process.ended {
            return None;
        }
        if process.cgroup.is_none()
            && let Some(path) = path()
        {
            process.cgroup = Some(path);
            process.is_placed = false;
        }
        if process.ns_pid == 0 {
            process.ns_pid = task.ns_pid;
        }
        process.parent = process.parent.or(parent);
        None
    }

    /// A process, if it is known.
    #[must_use]
    pub fn get(&self, id: ProcessId) -> Option<&Process> {
        self.table.get(&id)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, id: ProcessId) -> Option<&mut Process> {
        self.table.get_mut(&id)
    }

    /// The processes that wait for their exec, each with its service.
    #[must_use]
    pub fn waiting(&self) -> BTreeMap<ProcessId, u64> {
        let service = |process: &Process| match process.place {
            Place::Waiting(service) => Some(service),
            _ => None,
        };
        self.table.iter().filter_map(|(id, process)| Some((*id, service(process)?))).collect()
    }

    /// The process that has this pid now.
    #[must_use]
    pub fn with_pid(&self, pid: u32) -> Option<ProcessId> {
        self.by_pid.get(&pid).copied()
    }

    /// Whether a process is known and has not ended.
    #[must_use]
    pub fn is_alive(&self, id: ProcessId) -> bool {
        self.get(id).is_some_and(|process| !process.ended)
    }

    /// Where a process belongs.
    #[must_use]
    pub fn place(&self, id: ProcessId) -> Option<Place> {
        self.get(id).map(|process| process.place)
    }

    /// Gives a process its place.
    pub fn set_place(&mut self, id: ProcessId, place: Place) {
        if let Some(process) = self.table.get_mut(&id) {
            process.place = place;
        }
    }

    /// A process ended. It keeps its place for a while: a zombie can be sent signals.
    pub fn end(&mut self, id: ProcessId) {
        if self.by_pid.get(&id.pid) == Some(&id) {
            self.by_pid.remove(&id.pid);
        }
        let Some(process) = self.table.get_mut(&id).filter(|process| !process.ended) else {
            return;
        };
        process.ended = true;
        self.ended.push_back(id);
        if self.ended.len() > MAX_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.table.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observation::Origin,
        timeline::tests::story::{STARTER, Story},
    };

    fn task(pid: u32, cgroup_id: u64) -> Task {
        Task { cgroup_id, ..Task::of(ProcessId { pid, start_ticks: 0 }) }
    }

    /// That of a process in a cgroup with this id.
    fn cgroup(processes: &mut Processes, id: u64) -> Option<String> {
        let task = task(id as u32, id);
        processes.meet(&task, None);
        processes.get(task.id).unwrap().cgroup.clone()
    }

    #[test]
    fn of_too_many_cgroups_the_newest_are_counted() {
        let mut processes = Processes::default();
        for id in 1..=MAX_PATHS as u64 + 2 {
            processes.learn_path(id, &format!("/{id}"));
        }
        processes.learn_path(1, "/moved");
        assert_eq!(processes.paths_left_out, 2);
        let last = MAX_PATHS as u64;
        assert_eq!(cgroup(&mut processes, 1).as_deref(), Some("/moved"));
        assert_eq!(cgroup(&mut processes, last), Some(format!("/{last}")));
        assert_eq!(cgroup(&mut processes, last + 1), None);
    }

    #[test]
    fn a_cgroup_keeps_its_path_however_many_others_come_and_go() {
        let mut processes = Processes::default();
        processes.learn_path(1, "/system.slice/a.service");
        let others = 2..=MAX_PATHS as u64 + 10;
        for id in others.clone() {
            processes.learn_path(id, &format!("/{id}"));
            processes.forget_path(id);
        }
        assert_eq!(processes.paths_left_out, 0);
        assert_eq!(cgroup(&mut processes, 1).as_deref(), Some("/system.slice/a.service"));
        let told_late = others.end() - MAX_GONE as u64 + 1;
        assert_eq!(cgroup(&mut processes, told_late), Some(format!("/{told_late}")));
        assert_eq!(cgroup(&mut processes, told_late - 1), None);
        processes.forget_path(others.end() + 1);
        assert_eq!(processes.paths.len(), 1 + MAX_GONE);
    }

    #[test]
    fn an_end_that_is_told_late_does_not_take_the_pid_of_who_has_it_now() {
        let mut processes = Processes::default();
        let [old, new] = [0, 1].map(|start_ticks| ProcessId { pid: 7, start_ticks });
        assert_eq!(processes.meet(&Task::of(old), None), None);
        assert_eq!(processes.meet(&Task::of(new), None), Some(old));
        processes.end(old);
        assert_eq!(processes.with_pid(7), Some(new));
        processes.end(new);
        assert_eq!(processes.with_pid(7), None);
    }

    #[test]
    fn the_last_processes_that_ended_keep_their_places_for_a_while() {
        let mut processes = Processes::default();
        let pids = 1..=MAX_ENDED as u32 + 1;
        for pid in pids.clone() {
            processes.meet(&task(pid, 0), None);
            processes.set_place(task(pid, 0).id, Place::In(1, 2));
        }
        for pid in pids.clone() {
            processes.end(task(pid, 0).id);
        }
        assert_eq!(processes.place(task(1, 0).id), None);
        assert!(pids.skip(1).all(|pid| processes.place(task(pid, 0).id).is_some()));
        assert_eq!(processes.table.len(), MAX_ENDED);
    }

    #[test]
    fn the_cgroups_of_a_sender_and_its_parents_are_filled_in_where_they_are_not_known() {
        type Cgroup = (u64, Option<&'static str>);
        let mut processes = Processes::default();
        for (id, path) in [(1, "/"), (2, "/a.service"), (3, "/b.service")] {
            processes.learn_path(id, path);
        }
        let filled = |own: Cgroup, parent: Cgroup| {
            let story = Story::command().fork(0, STARTER, 10).hup(1, STARTER, 10);
            let Some(Fact::Generate(mut sent)) =
                story.observations.last().map(|it| it.fact.clone())
            else {
                panic!("a signal was sent");
            };
            sent.sender = Some(task(7, own.0));
            let parents = vec![Parent {
                id: task(6, 0).id,
                ns_pid: 6,
                cgroup_id: parent.0,
                comm: "sh".into(),
                command: None,
                cgroup: parent.1.map(str::to_owned),
            }];
            let cgroup = own.1.map(str::to_owned);
            sent.origin = Some(Arc::new(Origin { cgroup, parents, ..Origin::default() }));
            processes.find_cgroups(&mut sent);
            let origin = sent.origin.unwrap();
            (origin.cgroup.clone(), origin.parents[0].cgroup.clone())
        };
        let some = |path: &str| Some(path.to_owned());
        assert_eq!(filled((2, None), (3, None)), (some("/a.service"), some("/b.service")));
        assert_eq!(filled((2, None), (9, None)), (some("/a.service"), None));
        assert_eq!(filled((9, None), (3, None)), (None, some("/b.service")));
        assert_eq!(filled((2, Some("/x")), (3, Some("/y"))), (some("/x"), some("/y")));
        // Who was in the root when it was looked up may have come from anywhere.
        assert_eq!(filled((1, None), (1, None)), (None, None));
    }

    #[test]
    fn the_first_id_in_its_own_namespace_that_is_told_of_a_process_stays() {
        let mut processes = Processes::default();
        let told = |processes: &mut Processes, ns_pid| {
            processes.meet(&Task { ns_pid, ..task(7, 0) }, None);
            processes.get(task(7, 0).id).unwrap().ns_pid
        };
        assert_eq!([0, 3, 0, 4].map(|ns_pid| told(&mut processes, ns_pid)), [0, 3, 3, 3]);
    }
}
