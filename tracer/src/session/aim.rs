//! Which process is the new main process of a unit that is being restarted, and when it runs its
//! program: then its reload signal is sent. Which one it is systemd alone knows: ExecStartPre=
//! and a starter look the same from outside. That it runs the kernel side tells.

use std::collections::HashMap;

use crate::{
    model::signal::Signal,
    observation::{Fact, Observation, ProcessId},
    timeline::is_executor,
};

/// Processes of the units that are remembered: more than start at a time.
const MAX_RUNNING: usize = 4_096;

/// The units whose new main processes are waited for, and the processes that run.
#[derive(Debug, Default)]
pub struct Aim {
    targets: Vec<Target>,
    /// Those that have begun to run a program of their unit since the restart was asked for.
    running: HashMap<ProcessId, Running>,
    /// The signals that were taken to be sent.
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Target {
    unit: String,
    signal: Signal,
    /// What systemd said last, as its own pids go.
    main_pid: Option<u32>,
    /// systemd said last that it is up, with no main process that systemd knows.
    is_up_without: bool,
    /// systemd said last that its new main process has ended.
    is_gone: bool,
}

/// A signal that was taken to be sent. Times are `CLOCK_BOOTTIME` ns.
#[derive(Debug)]
struct Taken {
    due: Due,
    sent: Option<u64>,
    /// When its process ended, which the kernel may tell before it is known that it was sent.
    ended: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    /// Its id in its own pid namespace.
    ns_pid: u32,
    /// Since when, `CLOCK_BOOTTIME` ns.
    since: u64,
}

/// A signal that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The unit.
    pub unit: String,
    /// Its new main process.
    pub process: ProcessId,
    /// The signal.
    pub signal: Signal,
    /// Since when it runs its program, `CLOCK_BOOTTIME` ns.
    pub since: u64,
}

impl Aim {
    /// At these units, with the signal for each.
    pub fn new(units: &[String], signal: Signal) -> Self {
        let target = |unit: &String| Target {
            unit: unit.clone(),
            signal,
            main_pid: None,
            is_up_without: false,
            is_gone: false,
        };
        Self { targets: units.iter().map(target).collect(), ..Self::default() }
    }

    /// The units that still wait.
    pub fn units(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| target.unit.as_str())
    }

    /// Why nothing was sent to those that still wait, of which systemd still restarts some, or
    /// came to none that was alive: a sentence each.
    pub fn untested(&self, restarting: &[String]) -> impl Iterator<Item = String> {
        let too_late = self.taken.iter().filter(|it| it.ended.is_some() && it.ended <= it.sent);
        let too_late = too_late.map(|Taken { due: Due { unit, .. }, .. }| {
            format!("{unit}'s new main process had ended when its reload signal was sent")
        });
        let waiting = self.targets.iter().map(|Target { unit, is_up_without, is_gone, .. }| {
            let why = if *is_up_without {
                format!("{unit} is up, and systemd knows no main process of it")
            } else if *is_gone {
                format!("{unit}'s new main process ended before systemd had told which one it is")
            } else if restarting.contains(unit) {
                format!("{unit} had no new main process by the end, as its restart was not over")
            } else {
                format!("{unit} had no new main process")
            };
            format!("{why}: its reload signal was not sent")
        });
        too_late.chain(waiting)
    }

    /// Takes an observation. Tells whether the main process may be another now.
    pub fn learn(&mut self, observation: &Observation) -> bool {
        let (id, ns_pid, since) = match &observation.fact {
            // systemd's own program executes the unit's.
            Fact::Exec { exe, .. } if is_executor(exe) => return true,
            Fact::Exec { task, .. } => (task.id, task.ns_pid, observation.at),
            Fact::Fork { parent, child, .. } => match self.running.get(&parent.id) {
                // A daemon that puts itself into the background, in its parent's program.
                Some(running) => (child.id, child.ns_pid, running.since),
                None => return true,
            },
            Fact::CgroupAttach { .. } => return true,
            Fact::Exit { task, .. } => {
                self.running.remove(&task.id);
                for taken in self.taken.iter_mut().filter(|it| it.due.process == task.id) {
                    taken.ended = Some(observation.at);
                }
                return true;
            }
            _ => return false,
        };
        if self.running.len() < MAX_RUNNING {
            self.running.insert(id, Running { ns_pid, since });
        }
        true
    }

    /// systemd said which signal a unit reloads by.
    pub fn reloads_by(&mut self, unit: &str, signal: Signal) {
        for target in self.targets.iter_mut().filter(|target| target.unit == unit) {
            target.signal = signal;
        }
    }

    /// systemd said which main process a unit has, 0 for none.
    pub fn has_main(&mut self, unit: &str, pid: u32) {
        for target in self.targets.iter_mut().filter(|target| target.unit == unit) {
            target.main_pid = Some(pid).filter(|pid| *pid != 0);
            (target.is_up_without, target.is_gone) = (false, false);
        }
    }

    /// systemd said that a unit is up, and that it knows no main process of it.
    pub fn is_up_without(&mut self, unit: &str) {
        for target in self.targets.iter_mut().filter(|target| target.unit == unit) {
            (target.main_pid, target.is_up_without) = (None, true);
        }
    }

    /// systemd said that the new main process of a unit has ended.
    pub fn is_gone(&mut self, unit: &str) {
        for target in self.targets.iter_mut().filter(|target| target.unit == unit) {
            (target.main_pid, target.is_up_without, target.is_gone) = (None, false, true);
        }
    }

    /// A signal was sent, at this time (`CLOCK_BOOTTIME` ns).
    pub fn was_sent(&mut self, due: &Due, at: u64) {
        for taken in self.taken.iter_mut().filter(|it| it.due == *due) {
            taken.sent = Some(at);
        }
    }

    /// Takes the signals that are due. Whether a process is of the systemd that was asked only
    /// `is_of` can tell: others may have units of that name, and the same pid in a namespace of
    /// theirs.
    pub fn take_due(&mut self, own_pids: bool, is_of: impl Fn(ProcessId) -> bool) -> Vec<Due> {
        let running = &self.running;
        let mut due = Vec::new();
        self.targets.retain(|target| {
            let is_it = |id: &ProcessId, it: &Running| {
                let pid = if own_pids { it.ns_pid } else { id.pid };
                target.main_pid == Some(pid) && is_of(*id)
            };
            let Some((process, it)) = running.iter().find(|(id, it)| is_it(id, it)) else {
                return true;
            };
            due.push(Due {
                unit: target.unit.clone(),
                process: *process,
                signal: target.signal,
                since: it.since,
            });
            false
        });
        let taken = due.iter().map(|due| Taken { due: due.clone(), sent: None, ended: None });
        self.taken.extend(taken);
        due
    }
}

impl Due {
    /// How long its program has run at `now` (`CLOCK_BOOTTIME` ns), ns.
    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Environment, Program, SignalState, Task};

    const UNIT: &str = "a.service";

    fn task(pid: u32) -> Task {
        Task { ns_pid: pid - 100, ..Task::of(id(pid)) }
    }

    fn id(pid: u32) -> ProcessId {
        ProcessId { pid, start_ticks: 1 }
    }

    fn exec(pid: u32, exe: &str) -> Observation {
        let fact = Fact::Exec {
            task: task(pid),
            filename: exe.to_owned(),
            exe: exe.into(),
            file: exe.rsplit('/').next().unwrap().into(),
            program: Program::Unread,
            environment: Environment::default(),
            state: SignalState::default(),
        };
        Observation { at: 7, fact }
    }

    fn fork(parent: u32, child: u32) -> Observation {
        let (parent, child) = (task(parent), task(child));
        let fact = Fact::Fork {
            parent,
            child,
            shares_handlers: false,
            shares_memory: false,
            state: SignalState::default(),
        };
        Observation { at: 9, fact }
    }

    fn aim() -> Aim {
        Aim::new(&[UNIT.to_owned(), "b.service".to_owned()], Signal::HUP)
    }

    fn due(aim: &mut Aim) -> Vec<(u32, Signal)> {
        let due = aim.take_due(false, |_| true);
        due.into_iter().map(|due| (due.process.pid, due.signal)).collect()
    }

    #[test]
    fn a_main_process_is_due_with_its_exec_and_once() {
        let mut aim = aim();
        aim.has_main(UNIT, 200);
        assert!(due(&mut aim).is_empty(), "it has not executed its program");
        assert!(aim.learn(&exec(200, "/bin/a")));
        assert_eq!(due(&mut aim), [(200, Signal::HUP)]);
        aim.learn(&exec(201, "/bin/a"));
        aim.has_main(UNIT, 201);
        assert!(due(&mut aim).is_empty(), "a second start is not meant");
        assert_eq!(aim.units().collect::<Vec<_>>(), ["b.service"]);
    }

    #[test]
    fn what_runs_before_the_main_process_is_not_aimed_at() {
        let mut aim = aim();
        // ExecStartPre=, of which systemd says that it is no main process.
        aim.learn(&exec(200, "/bin/prepare"));
        aim.has_main(UNIT, 0);
        assert!(due(&mut aim).is_empty());
        // systemd's own program in the main process.
        aim.has_main(UNIT, 202);
        assert!(aim.learn(&exec(202, "/usr/lib/systemd/systemd-executor")));
        assert!(due(&mut aim).is_empty());
        aim.learn(&exec(202, "/bin/a"));
        assert_eq!(due(&mut aim), [(202, Signal::HUP)]);
    }

    #[test]
    fn a_unit_whose_main_process_systemd_does_not_know_is_told_of_as_that() {
        let mut aim = aim();
        aim.learn(&exec(200, "/etc/init.d/a"));
        aim.is_up_without(UNIT);
        assert!(due(&mut aim).is_empty());
        let untested: Vec<String> = aim.untested(&[]).collect();
        let unknown = "a.service is up, and systemd knows no main process of it";
        assert!(untested[0].starts_with(unknown), "{untested:?}");
        assert!(untested[1].contains("b.service had no new main process:"), "{untested:?}");
        aim.is_gone("b.service");
        let untested: Vec<String> = aim.untested(&[UNIT.to_owned()]).collect();
        let gone = "b.service's new main process ended before systemd had told which one it is";
        assert!(untested[1].starts_with(gone), "{untested:?}");
        aim.has_main(UNIT, 0);
        let untested: Vec<String> = aim.untested(&[UNIT.to_owned()]).collect();
        assert!(untested[0].contains("as its restart was not over"), "{untested:?}");
    }

    #[test]
    fn a_daemon_that_its_starter_left_is_due_once_systemd_knows_it() {
        let mut aim = aim();
        aim.learn(&exec(200, "/bin/a"));
        aim.learn(&fork(200, 203));
        aim.has_main(UNIT, 0);
        assert!(due(&mut aim).is_empty());
        aim.has_main(UNIT, 203);
        let due = aim.take_due(false, |_| true);
        assert_eq!((due[0].process.pid, due[0].signal), (203, Signal::HUP));
        assert_eq!(due[0].since, exec(200, "/bin/a").at, "it runs what its parent executed");
    }

    #[test]
    fn a_signal_to_a_process_that_had_ended_by_then_has_tested_nothing() {
        let told_of = |ended: u64, is_told_first: bool| {
            let mut aim = Aim::new(&[UNIT.to_owned()], Signal::HUP);
            aim.learn(&exec(200, "/bin/a"));
            aim.has_main(UNIT, 200);
            let due = aim.take_due(false, |_| true).remove(0);
            if !is_told_first {
                aim.was_sent(&due, 50);
            }
            let (task, state) = (task(200), SignalState::default());
            let fact = Fact::Exit { task, signal: None, code: 1, core_dumped: false, state };
            aim.learn(&Observation { at: ended, fact });
            assert!(!is_told_first || aim.untested(&[]).next().is_none(), "it may not be sent");
            if is_told_first {
                aim.was_sent(&due, 50);
            }
            aim.untested(&[]).collect::<Vec<_>>()
        };
        let late = "a.service's new main process had ended when its reload signal was sent";
        for is_told_first in [false, true] {
            assert_eq!(told_of(50, is_told_first), [late]);
            assert_eq!(told_of(51, is_told_first), [""; 0], "it may have ended of it");
        }
    }

    #[test]
    fn a_process_of_another_systemd_is_left_alone() {
        let mut aim = aim();
        aim.reloads_by(UNIT, Signal::TERM);
        aim.has_main(UNIT, 100);
        aim.learn(&exec(200, "/bin/a"));
        aim.learn(&exec(1_200, "/bin/a"));
        assert!(aim.take_due(false, |_| true).is_empty(), "its pids are not the host's");
        assert!(aim.take_due(true, |_| false).is_empty());
        let due = aim.take_due(true, |process| process == id(200));
        assert_eq!((due[0].process, due[0].signal), (id(200), Signal::TERM));
        assert_eq!(due[0].age(1_000_007), 1_000_000);
    }

    #[test]
    fn of_too_many_processes_the_first_are_remembered() {
        let mut aim = aim();
        for pid in 0..2 * MAX_RUNNING as u32 {
            aim.learn(&exec(1_000 + pid, "/bin/a"));
        }
        assert_eq!(aim.running.len(), MAX_RUNNING);
    }
}
