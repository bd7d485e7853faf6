//! All processes that are there at one go.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use smol_str::SmolStr;
use tracer_common::signal::SignalSet;

use super::{
    KTHREADD, has_started_at, link, pids, signalfds, stat::Stat, state_of, status::Status,
};
use crate::{
    host::{
        bounded::{Bounded, Patience},
        cgroups::Hierarchies,
        clock, program,
        read::of_process,
    },
    model::{event::Consumer, raw_name},
    observation::{Environment, Fact, Observation, ProcessId, Program, TICK_NS, Task},
};

/// How long reading of one process may take, and of all.
const READING: Patience =
    Patience { each: Duration::from_millis(20), all: Duration::from_secs(10) };
/// How long it may take to find those that wait.
const SORTING: Duration = Duration::from_millis(100);

/// Every process that is there and no zombie, as observations, each of a moment before it was
/// read: what is told to have happened since then is not undone by it. The oldest are first, so
/// parents come before their children. One that can't be read in time is left out.
///
/// Who reads `stat` of a process, or opens its environment, waits for it to finish its exec
/// (`exec_update_lock`), in which it can have files closed by a file system of its own that
/// never answers.
#[must_use]
pub fn snapshot(hierarchies: &Hierarchies) -> Vec<Observation> {
    let mut pids = pids();
    waiting_last(&mut pids, |pid| *pid);
    let theirs = hierarchies.clone();
    let read = move |pid| {
        let at = clock::boot_ns();
        let (id, fact) = found(pid, &theirs)?;
        let reads = reads(pid, &fact);
        Some((id, Observation { at, fact }, reads))
    };
    let read = in_time("sigready-proc", &pids, read).into_iter().flatten().flatten();
    let (mut found, mut readers) = (Vec::new(), Vec::new());
    for (id, observation, reads) in read {
        found.push((id, observation));
        readers.extend(reads.map(|fact| (id, fact)));
    }
    read_programs(&mut found);
    found.sort_by_key(|(id, _)| (id.start_ticks, id.pid));
    in_order_of_time(&mut found);
    let mut readers: HashMap<ProcessId, Fact> = readers.into_iter().collect();
    let observations = found.into_iter().flat_map(|(id, observation)| {
        let at = observation.at;
        let reader = readers.remove(&id).map(|fact| Observation { at, fact });
        [Some(observation), reader].into_iter().flatten()
    });
    observations.collect()
}

/// That a process which was found reads signals from signalfds: of what it does not block there is
/// nothing to be read.
fn reads(pid: u32, found: &Fact) -> Option<Fact> {
    let Fact::Found { task, state, .. } = found else { return None };
    if state.blocked == SignalSet::EMPTY {
        return None;
    }
    let set = SignalSet(signalfds::of(pid).0 & state.blocked.0);
    (set != SignalSet::EMPTY).then(|| Fact::Consume {
        task: task.clone(),
        consumer: Consumer::Signalfd,
        set,
        state: *state,
    })
}

/// Gives a parent that was read after its child the earlier time.
fn in_order_of_time(found: &mut [(ProcessId, Observation)]) {
    let mut next = u64::MAX;
    for (_, observation) in found.iter_mut().rev() {
        observation.at = observation.at.min(next);
        next = observation.at;
    }
}

/// Reads what there is to know of each: `None` of those that can't be read in time.
fn in_time<Q: Clone + PartialEq + Send + 'static, A: Send + 'static>(
    name: &'static str,
    processes: &[Q],
    read: impl Fn(Q) -> A + Send + Sync + 'static,
) -> Vec<Option<A>> {
    Bounded::new(name, read).ask(processes, READING)
}

/// Adds what runs in processes, as far as that can be read.
fn read_programs(found: &mut [(ProcessId, Observation)]) {
    let ids: Vec<ProcessId> = found.iter().map(|(id, _)| *id).collect();
    let reader = program::Reader::default();
    let read = move |id| reader.read(id);
    let programs = in_time("sigready-program", &ids, read);
    for ((_, observation), read) in found.iter_mut().zip(programs) {
        if let (Fact::Found { program, .. }, Some(Some(read))) = (&mut observation.fact, read) {
            *program = read.program;
        }
    }
}

/// Puts those last that wait for a device or a file system, and may never be read: they cost
/// the others nothing. Where there are too many to look at in time, the rest stays as it is.
pub fn waiting_last<T>(processes: &mut [T], pid_of: impl Fn(&T) -> u32) {
    waiting_last_until(Instant::now() + SORTING, processes, pid_of);
}

fn waiting_last_until<T>(limit: Instant, processes: &mut [T], pid_of: impl Fn(&T) -> u32) {
    let waits = |pid: u32| {
        Instant::now() < limit && Status::of(pid).is_some_and(|status| status.state == b'D')
    };
    processes.sort_by_cached_key(|process| waits(pid_of(process)));
}

/// A process that is there and neither a zombie nor the kernel's.
pub(super) fn found(pid: u32, hierarchies: &Hierarchies) -> Option<(ProcessId, Fact)> {
    let stat = Stat::of(pid)?;
    // A zombie's end was before: whoever waits for it would wait for ever.
    if stat.parent == KTHREADD || pid == KTHREADD || stat.is_zombie() {
        return None;
    }
    let id = ProcessId { pid, start_ticks: stat.start_ticks };
    let status = Status::of(pid)?;
    let cgroup = hierarchies.path_of(pid);
    let in_unit = cgroup.as_ref().is_some_and(|path| path.contains(".service"));
    let fact = Fact::Found {
        task: Task {
            id,
            tid: pid,
            ns_pid: status.ns_pid,
            uid: status.uid,
            start_ns: stat.start_ticks * TICK_NS,
            cgroup_id: 0,
            comm: stat.comm.into(),
        },
        parent: stat.parent,
        exe: link(pid).map(SmolStr::from),
        program: Program::Unread,
        cgroup,
        environment: if in_unit { environment(pid) } else { Environment::default() },
        state: state_of(pid, &status),
    };
    has_started_at(id).then_some((id, fact))
}

fn environment(pid: u32) -> Environment {
    let variables = of_process(format!("/proc/{pid}/environ")).unwrap_or_default();
    let value = |name: &str| {
        variables
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .map(|name| raw_name::text(name).into_owned())
    };
    Environment {
        invocation_id: value("INVOCATION_ID"),
        notify_socket: value("NOTIFY_SOCKET"),
        control: value("MAINPID").is_some() || value("SERVICE_RESULT").is_some(),
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, process::Command, thread};

    use nix::{
        sys::{
            signal::{SigSet, Signal as NixSignal, kill},
            signalfd::SignalFd,
        },
        unistd::Pid,
    };

    use super::*;
    use crate::{
        host::procfs::{
            children, exe, name,
            tests::{id_of, start},
        },
        observation::SignalState,
    };

    #[test]
    fn a_parent_that_was_read_late_has_the_time_of_its_child() {
        let found = |pid, at| {
            let fact = Fact::Loss { kind: "x".into(), count: 1 };
            (ProcessId { pid, start_ticks: 1 }, Observation { at, fact })
        };
        let mut all = [found(1, 10), found(2, 50), found(3, 30), found(4, 40)];
        in_order_of_time(&mut all);
        assert_eq!(all.map(|(id, it)| (id.pid, it.at)), [(1, 10), (2, 30), (3, 30), (4, 40)]);
    }

    #[test]
    fn a_process_that_is_never_read_holds_the_reading_of_all_no_longer_than_it_may() {
        let read = |pid: u32| {
            if pid == 0 {
                thread::sleep(Duration::from_hours(1));
            }
            pid
        };
        let found = in_time("test", &[0, 0, 0], read);
        assert_eq!(found, [None; 3]);
    }

    #[test]
    fn processes_that_wait_for_a_device_are_put_last_as_far_as_there_is_time_to_look() {
        let directory = tempfile::tempdir().unwrap();
        let (source, program) = (directory.path().join("a.c"), directory.path().join("a"));
        // Who waits for its child's exec waits as for a device (`wait_for_vfork_done`).
        let text = "#include <unistd.h>\nint main(void) { if (!vfork()) pause(); return 0; }\n";
        fs::write(&source, text).unwrap();
        assert!(Command::new("cc").arg("-o").args([&program, &source]).status().unwrap().success());
        let mut waiting = Command::new(&program).spawn().unwrap();
        while Status::of(waiting.id()).unwrap().state != b'D' {
            thread::yield_now();
        }
        let order = [waiting.id(), std::process::id()];
        let mut late = order;
        waiting_last_until(Instant::now(), &mut late, |pid| *pid);
        let mut sorted = order;
        waiting_last(&mut sorted, |pid| *pid);
        let child = children(waiting.id());
        waiting.kill().unwrap();
        for child in child {
            kill(Pid::from_raw(child.cast_signed()), NixSignal::SIGKILL).unwrap();
        }
        waiting.wait().unwrap();
        assert_eq!((late, sorted), (order, [order[1], order[0]]));
    }

    #[test]
    fn of_a_long_environment_the_beginning_is_read() {
        let found = |filler: &str| {
            let mut command = Command::new("/bin/sleep");
            command.arg("60").env_clear().env("INVOCATION_ID", "7").env("MAINPID", "1");
            // They stand in the order of their names, which have room for 128 KiB each
            // (`MAX_ARG_STRLEN`).
            for number in 0..9 {
                command.env(format!("{filler}{number}"), "x".repeat(130_000));
            }
            let mut child = start(&mut command);
            let found = environment(child.id());
            child.kill().unwrap();
            child.wait().unwrap();
            (found.invocation_id, found.control)
        };
        assert_eq!(found("Z"), (Some("7".to_owned()), true));
        assert_eq!(found("J"), (Some("7".to_owned()), false));
        assert_eq!(found("A"), (None, false));
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let mut command = Command::new("/bin/sleep");
        command
            .arg("60")
            .env_clear()
            .env("INVOCATION_ID", OsStr::from_bytes(b"0\xff"))
            .env("XINVOCATION_ID", "1")
            .env("SERVICE_RESULT", "");
        let mut child = start(&mut command);
        let found = environment(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.invocation_id.as_deref(), Some("0\u{10feff}"));
        assert_eq!((found.notify_socket, found.control), (None, true));
    }

    #[test]
    fn a_process_that_reads_what_it_blocks_is_found_with_that() {
        let kept = SignalFd::new(&SigSet::from_iter([NixSignal::SIGPWR])).unwrap();
        let own = std::process::id();
        let (_, fact) = found(own, &Hierarchies::default()).unwrap();
        let power = SignalSet::of(NixSignal::SIGPWR as u32);
        let as_if = |blocked: SignalSet| {
            let Fact::Found { task, parent, exe, program, cgroup, environment, state } =
                fact.clone()
            else {
                panic!("{fact:?}");
            };
            let state = SignalState { blocked, ..state };
            reads(own, &Fact::Found { task, parent, exe, program, cgroup, environment, state })
        };
        assert_eq!(as_if(SignalSet::EMPTY), None);
        let set = match as_if(power.union(SignalSet::of(1))) {
            Some(Fact::Consume { set, consumer: Consumer::Signalfd, .. }) => set,
            other => panic!("{other:?}"),
        };
        assert!(set.contains(NixSignal::SIGPWR as u32) && !set.contains(1), "{set:?}");
        drop(kept);
    }

    #[test]
    fn a_process_whose_name_and_path_are_not_utf_8_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(OsStr::from_bytes(b"xxxxxxxxxxxxxx\xc3\xbc\xff"));
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = start(Command::new(&program).arg("60"));
        assert_eq!(name(child.id()).as_deref(), Some("xxxxxxxxxxxxxx\u{10fec3}"));
        assert!(exe(id_of(&child)).unwrap().ends_with("/xxxxxxxxxxxxxx\u{fc}\u{10feff}"));
        let facts = snapshot(&Hierarchies::default());
        let is_it = |it: &&Observation| matches!(&it.fact, Fact::Found { task, .. } if task.id.pid == child.id());
        assert_eq!(facts.iter().filter(is_it).count(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
