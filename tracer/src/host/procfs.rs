//! Processes that are there already, as /proc shows them (proc(5)).
//!
//! Names, paths and environments are bytes that their process chose: what is not UTF-8 in
//! them is replaced, as in the kernel side's records. Every file is read to a limit.

use std::{fs, path::Path, str};

use stat::Stat;
use status::Status;
use tracer_common::signal::SignalSet;

use crate::{
    host::{cgroups::Hierarchies, clock, read::of_process},
    model::raw_name,
    observation::{Fact, Observation, ProcessId, SignalState},
};

mod signalfds;
mod sigwait;
mod snapshot;
mod stat;
mod status;

pub use snapshot::{snapshot, waiting_last};

/// The parent of kernel threads.
const KTHREADD: u32 = 2;

/// A process's place in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The process.
    pub pid: u32,
    /// 0 for the unified hierarchy, else systemd's v1 hierarchy.
    pub hierarchy: u32,
    /// From the hierarchy's root.
    pub path: String,
}

/// The cgroups of every process, in the unified hierarchy and in systemd's.
#[must_use]
pub fn memberships(hierarchies: &Hierarchies) -> Vec<Membership> {
    pids().into_iter().flat_map(|pid| memberships_of(pid, hierarchies)).collect()
}

/// Those of one process: none if it is gone.
#[must_use]
pub fn memberships_of(pid: u32, hierarchies: &Hierarchies) -> Vec<Membership> {
    let of = |(hierarchy, path)| Membership { pid, hierarchy, path };
    hierarchies.paths_of(pid).into_iter().map(of).collect()
}

/// How a process stands now; may wait for it (see [`snapshot`]). `None` if it is gone, or another has its pid.
#[must_use]
pub fn left(id: ProcessId) -> Option<Observation> {
    let state = state_of(id.pid, &Status::of(id.pid)?);
    // Read afterwards: had the pid been taken over before, this would show it.
    has_started_at(id).then(|| Observation { at: clock::boot_ns(), fact: Fact::Left { id, state } })
}

/// The signals for which a process has signalfds.
#[must_use]
pub fn reads(pid: u32) -> SignalSet {
    signalfds::of(pid)
}

/// The program a process runs now; may wait for it (see [`snapshot`]). `None` if that can't be told.
#[must_use]
pub fn exe(id: ProcessId) -> Option<String> {
    let exe = link(id.pid)?;
    has_started_at(id).then_some(exe)
}

/// Whether this very process is there, and no zombie. May wait for it (see [`snapshot`]).
#[must_use]
pub fn is_there(id: ProcessId) -> bool {
    Stat::of(id.pid).is_some_and(|stat| stat.start_ticks == id.start_ticks && !stat.is_zombie())
}

/// The process that has this pid now.
#[must_use]
pub fn id(pid: u32) -> Option<ProcessId> {
    Stat::of(pid).map(|stat| ProcessId { pid, start_ticks: stat.start_ticks })
}

/// Whether it is the init of a pid namespace below the host's.
#[must_use]
pub fn is_init(pid: u32) -> bool {
    Status::of(pid).is_some_and(|status| status.ns_pid == 1 && pid != 1)
}

/// The name of a process that is there, unless it is a zombie. Waits for nothing.
#[must_use]
pub fn name(pid: u32) -> Option<String> {
    Status::of(pid).filter(|status| !status.is_zombie()).map(|status| status.comm)
}

/// Whether a process is stopped (SIGSTOP). Waits for nothing.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    Status::of(pid).is_some_and(|status| status.state == b'T')
}

/// Whether a process waits in the kernel, for good: for a device, or for the exec of a child that it
/// has lent its memory to (vfork). Waits for nothing.
#[must_use]
pub fn waits_for_good(pid: u32) -> bool {
    Status::of(pid).is_some_and(|status| status.state == b'D')
}

/// Whether one of these signals is pending for a process, or for its first thread. Waits for nothing.
#[must_use]
pub fn has_pending(pid: u32, signals: SignalSet) -> bool {
    let is_there =
        |status: Status| SignalSet(status.pending | status.shared_pending).intersects(signals);
    Status::of(pid).is_some_and(is_there)
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
    let Some(status) = Status::of(id) else {
        return Kind::Nothing;
    };
    if status.tgid != id {
        Kind::Thread { of: status.tgid }
    } else if status.is_zombie() {
        Kind::Nothing
    } else if id == KTHREADD || status.parent == KTHREADD {
        Kind::Kernel
    } else {
        Kind::Process
    }
}

/// A process in brief.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The process.
    pub id: ProcessId,
    /// Its id in its own pid namespace.
    pub ns_pid: u32,
    /// Its name.
    pub comm: String,
    /// Real user id.
    pub uid: u32,
    /// Its parent's pid.
    pub parent: u32,
}

/// A process in brief; may wait for it (see [`snapshot`]). `None` if it is gone.
#[must_use]
pub fn brief(pid: u32) -> Option<Brief> {
    let (stat, status) = (Stat::of(pid)?, Status::of(pid)?);
    let id = ProcessId { pid, start_ticks: stat.start_ticks };
    let (ns_pid, uid, parent) = (status.ns_pid, status.uid, stat.parent);
    has_started_at(id).then_some(Brief { id, ns_pid, comm: stat.comm, uid, parent })
}

/// The children of a process.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let of_thread = |thread: u32| {
        let bytes = of_process(format!("/proc/{pid}/task/{thread}/children")).ok()?;
        Some(bytes.split(u8::is_ascii_whitespace).filter_map(number).collect::<Vec<u32>>())
    };
    threads(pid).into_iter().filter_map(of_thread).flatten().collect()
}

fn has_started_at(id: ProcessId) -> bool {
    Stat::of(id.pid).is_some_and(|stat| stat.start_ticks == id.start_ticks)
}

/// The processes that are there now.
#[must_use]
pub fn pids() -> Vec<u32> {
    numbers_in("/proc")
}

fn threads(pid: u32) -> Vec<u32> {
    numbers_in(format!("/proc/{pid}/task"))
}

/// The entries of a directory that are numbers.
fn numbers_in(directory: impl AsRef<Path>) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A decimal number.
fn number<T: str::FromStr>(digits: &[u8]) -> Option<T> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Where `/proc/PID/exe` leads.
fn link(pid: u32) -> Option<String> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let text = raw_name::os_text(&exe);
    Some(text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned())
}

fn state_of(pid: u32, status: &Status) -> SignalState {
    // `SigBlk` is the first thread's; what is blocked must be so in all of them.
    let blocked = sigwait::blocked(pid, status);
    SignalState {
        ignored: SignalSet(status.ignored),
        caught: SignalSet(status.caught),
        blocked: blocked.by_all,
        blocked_unknown: blocked.unknown,
        pending: SignalSet(status.pending | status.shared_pending),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Child, Command},
        sync::mpsc,
        thread,
    };

    use nix::sys::signal::{SigSet, Signal as NixSignal};

    use super::{snapshot::found, *};

    /// Starts a program, and waits until it is there: `spawn` comes back when the new program
    /// has its memory, before it has its name and its environment (`exec_mmap`).
    pub(super) fn start(command: &mut Command) -> Child {
        let child = command.spawn().unwrap();
        while of_process(format!("/proc/{}/environ", child.id())).unwrap().is_empty() {
            thread::yield_now();
        }
        child
    }

    pub(super) fn id_of(child: &Child) -> ProcessId {
        ProcessId { pid: child.id(), start_ticks: Stat::of(child.id()).unwrap().start_ticks }
    }

    #[test]
    fn a_zombie_is_not_there_and_another_start_is_another_process() {
        let mut child = start(Command::new("/bin/sleep").arg("60"));
        let id = id_of(&child);
        let other = ProcessId { start_ticks: id.start_ticks + 1, ..id };
        assert!(is_there(id) && !is_there(other));
        assert!(exe(id).is_some() && exe(other).is_none());
        assert!(left(id).is_some() && left(other).is_none());
        assert_eq!(name(id.pid).as_deref(), Some("sleep"));
        assert!(found(id.pid, &Hierarchies::default()).is_some());
        child.kill().unwrap();
        while Stat::of(id.pid).unwrap().state != b'Z' {
            thread::yield_now();
        }
        assert!(!is_there(id) && name(id.pid).is_none());
        assert!(found(id.pid, &Hierarchies::default()).is_none());
        child.wait().unwrap();
        assert!(left(id).is_none() && exe(id).is_none());
    }

    #[test]
    fn what_is_blocked_is_so_in_every_thread() {
        let (usr1, usr2) = (SigSet::from(NixSignal::SIGUSR1), SigSet::from(NixSignal::SIGUSR2));
        let own = std::process::id();
        let (here, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let blocks_both = thread::spawn(move || {
            usr1.thread_block().unwrap();
            usr2.thread_block().unwrap();
            here.send(Status::of_thread(own, nix::unistd::gettid().as_raw().cast_unsigned()))
                .unwrap();
            let _ = ended.recv();
        });
        let thread = begun.recv().unwrap().unwrap();
        let first_blocks_one = Status { blocked: 1 << 9, threads: 2, ..Status::default() };
        assert_eq!(thread.mask() & 0xa00, 0xa00, "USR1 is 10 and USR2 12");
        // The other threads of these tests block neither.
        assert_eq!(state_of(own, &first_blocks_one).blocked, SignalSet::EMPTY);
        let alone = Status { threads: 1, ..first_blocks_one };
        assert_eq!(state_of(own, &alone).blocked, SignalSet(1 << 9));
        let dead = Status { state: b'Z', ..Status::default() };
        assert_eq!(dead.mask(), u64::MAX, "a thread that has ended takes no signal");
        drop(end);
        blocks_both.join().unwrap();
    }
}
