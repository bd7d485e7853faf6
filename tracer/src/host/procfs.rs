//! Processes that are there already, as /proc shows them.

use std::{path::Path, time::Duration};

use procfs::process::{self, Process, Status};
use tracer_common::signal::SignalSet;

use crate::{
    host::{
        bounded::{Bounded, Patience},
        cgroups::Hierarchies,
        clock,
    },
    observation::{Environment, Fact, Observation, ProcessId, State, TICK_NS, Task},
};

/// The parent of kernel threads.
const KTHREADD: i32 = 2;

/// How long reading of one process may take, and of all.
const READING: Patience =
    Patience { each: Duration::from_millis(20), all: Duration::from_hours(1) };

/// Every process that is there, as observations of this moment, the oldest first: so
/// parents come before their children. One that can't be read in time is left out.
///
/// Who reads `stat` of a process, or opens its environment, waits for it to finish its exec
/// (`exec_update_lock`), in which it can have files closed by a file system of its own that
/// never answers.
#[must_use]
pub fn snapshot(hierarchies: &Hierarchies) -> Vec<Observation> {
    let Ok(processes) = process::all_processes() else {
        return Vec::new();
    };
    // By id and not opened, which could be more files than a process may have open.
    let mut pids: Vec<u32> = processes.flatten().map(|process| process.pid as u32).collect();
    waiting_last(&mut pids, |pid| *pid);
    let theirs = hierarchies.clone();
    let read = move |pid: u32| found(&Process::new(pid as i32).ok()?, &theirs);
    let facts = Bounded::new("sigready-proc", read).ask(&pids, READING);
    let mut facts: Vec<(ProcessId, Fact)> = facts.into_iter().flatten().flatten().collect();
    facts.sort_by_key(|(id, _)| (id.start_ticks, id.pid));
    facts.into_iter().map(|(_, fact)| Observation { at: clock::boot_ns(), fact }).collect()
}

/// Puts those last that wait for a device or a file system, and may never be read: they cost
/// the others nothing.
pub fn waiting_last<T>(processes: &mut [T], pid_of: impl Fn(&T) -> u32) {
    let waits = |pid: u32| {
        let status = Process::new(pid as i32).and_then(|process| process.status());
        status.is_ok_and(|status| status.state.starts_with('D'))
    };
    processes.sort_by_cached_key(|process| waits(pid_of(process)));
}

/// Every process and its cgroup.
#[must_use]
pub fn cgroups(hierarchies: &Hierarchies) -> Vec<(u32, String)> {
    let of = |process: Process| Some((process.pid as u32, hierarchies.path_of(&process)?));
    process::all_processes()
        .map(|processes| processes.flatten().filter_map(of).collect())
        .unwrap_or_default()
}

/// How a process stands now; may wait for it (see [`snapshot`]). `None` if it is gone, or another has its pid.
#[must_use]
pub fn left(id: ProcessId) -> Option<Observation> {
    let process = Process::new(id.pid as i32).ok()?;
    if process.stat().ok()?.starttime != id.start_ticks {
        return None;
    }
    let state = state(&process)?;
    Some(Observation { at: clock::boot_ns(), fact: Fact::Left { id, state } })
}

/// The program a process runs now; may wait for it (see [`snapshot`]). `None` if that can't be told.
#[must_use]
pub fn exe(id: ProcessId) -> Option<String> {
    let process = Process::new(id.pid as i32).ok()?;
    let exe = process.exe().ok()?;
    // Read after the link: had the pid been taken over before, this would show it.
    (process.stat().ok()?.starttime == id.start_ticks).then(|| path_text(&exe))
}

/// Whether this very process is there, and no zombie. May wait for it (see [`snapshot`]).
#[must_use]
pub fn is_there(id: ProcessId) -> bool {
    let stat = Process::new(id.pid as i32).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.starttime == id.start_ticks && stat.state != 'Z')
}

/// The name of a process that is there, unless it is a zombie. Waits for nothing.
#[must_use]
pub fn name(pid: u32) -> Option<String> {
    let status = Process::new(pid as i32).ok()?.status().ok()?;
    (!status.state.starts_with('Z')).then_some(status.name)
}

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A process that is no zombie.
    Process,
    /// A thread, but the first, of this process.
    Thread {
        /// Its thread group.
        of: u32,
    },
    /// A thread of the kernel.
    Kernel,
    /// Nothing, or a zombie.
    Nothing,
}

/// What this id stands for now. /proc has threads too, though it does not list them. Waits for
/// nothing.
#[must_use]
pub fn kind(id: u32) -> Kind {
    let Ok(status) = Process::new(id as i32).and_then(|process| process.status()) else {
        return Kind::Nothing;
    };
    if status.tgid != id as i32 {
        Kind::Thread { of: status.tgid as u32 }
    } else if status.state.starts_with('Z') {
        Kind::Nothing
    } else if status.pid == KTHREADD || status.ppid == KTHREADD {
        Kind::Kernel
    } else {
        Kind::Process
    }
}

/// The children of a process.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let of_thread = |task: process::Task| task.children().ok();
    Process::new(pid as i32)
        .and_then(|process| process.tasks())
        .map(|tasks| tasks.flatten().filter_map(of_thread).flatten().collect())
        .unwrap_or_default()
}

fn path_text(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned()
}

fn found(process: &Process, hierarchies: &Hierarchies) -> Option<(ProcessId, Fact)> {
    let stat = process.stat().ok()?;
    if stat.ppid == KTHREADD || stat.pid == KTHREADD {
        return None;
    }
    let status = process.status().ok()?;
    let cgroup = hierarchies.path_of(process);
    let in_unit = cgroup.as_ref().is_some_and(|path| path.contains(".service"));
    let id = ProcessId { pid: stat.pid as u32, start_ticks: stat.starttime };
    let fact = Fact::Found {
        task: Task {
            id,
            tid: stat.pid as u32,
            ns_pid: status.nspid.as_ref().and_then(|ids| ids.last()).map_or(0, |id| *id as u32),
            uid: status.ruid,
            start_ns: stat.starttime * TICK_NS,
            cgroup_id: 0,
            comm: stat.comm,
        },
        parent: stat.ppid as u32,
        exe: process.exe().ok().map(|exe| path_text(&exe)),
        cgroup,
        environment: if in_unit { environment(process) } else { Environment::default() },
        state: state_of(process, &status),
    };
    Some((id, fact))
}

fn environment(process: &Process) -> Environment {
    let Ok(variables) = process.environ() else {
        return Environment::default();
    };
    let value = |name: &str| {
        variables.get(std::ffi::OsStr::new(name)).map(|value| value.to_string_lossy().into_owned())
    };
    Environment {
        invocation_id: value("INVOCATION_ID"),
        notify_socket: value("NOTIFY_SOCKET"),
        control: value("MAINPID").is_some() || value("SERVICE_RESULT").is_some(),
    }
}

fn state(process: &Process) -> Option<State> {
    Some(state_of(process, &process.status().ok()?))
}

fn state_of(process: &Process, status: &Status) -> State {
    let mut blocked = status.sigblk;
    // `SigBlk` is the first thread's; what is blocked must be so in all of them.
    if blocked != 0 && status.threads > 1 {
        for thread in process.tasks().into_iter().flatten().flatten() {
            if let Ok(status) = thread.status() {
                blocked &= status.sigblk;
            }
        }
    }
    State {
        ignored: SignalSet(status.sigign),
        caught: SignalSet(status.sigcgt),
        blocked: SignalSet(blocked),
        pending: SignalSet(status.sigpnd | status.shdpnd),
    }
}
