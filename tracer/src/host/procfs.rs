//! Processes that are there already, as /proc shows them (proc(5)).
//!
//! Names, paths and environments are bytes that their process chose: what is not UTF-8 in
//! them is replaced, as in the kernel side's records. Every file is read to a limit.

use std::{
    fs,
    path::Path,
    str,
    time::{Duration, Instant},
};

use smol_str::SmolStr;
use tracer_common::signal::SignalSet;

use crate::{
    host::{
        bounded::{Bounded, Patience},
        cgroups::Hierarchies,
        clock, program,
        read::of_process,
    },
    observation::{Environment, Fact, Observation, ProcessId, Program, State, TICK_NS, Task},
};

/// The parent of kernel threads.
const KTHREADD: u32 = 2;

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
        found(pid, &theirs).map(|(id, fact)| (id, Observation { at, fact }))
    };
    let found = in_time("sigready-proc", &pids, read);
    let mut found: Vec<(ProcessId, Observation)> = found.into_iter().flatten().flatten().collect();
    read_programs(&mut found);
    found.sort_by_key(|(id, _)| (id.start_ticks, id.pid));
    in_order_of_time(&mut found);
    found.into_iter().map(|(_, observation)| observation).collect()
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

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where `/proc/PID/exe` leads.
fn link(pid: u32) -> Option<String> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let text = exe.to_string_lossy();
    Some(text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned())
}

/// `/proc/PID/stat`, as far as it is of use.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: String,
    state: u8,
    parent: u32,
    threads: u32,
    start_ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let mut stat = Self::parse(&of_process(format!("/proc/{pid}/stat")).ok()?)?;
        // In a time namespace it is set off before it is counted in ticks (`do_task_stat`), so
        // the host's can be told to the tick where the offset is in whole ticks.
        let ticks = clock::boot_offset_ns() / TICK_NS.cast_signed();
        stat.start_ticks = stat.start_ticks.saturating_add_signed(-ticks);
        Some(stat)
    }

    /// The name stands in parentheses and may have some itself, and spaces and line ends.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let open = bytes.iter().position(|byte| *byte == b'(')?;
        let close = bytes.iter().rposition(|byte| *byte == b')')?;
        let comm = lossy(bytes.get(open + 1..close)?);
        let rest: Vec<&[u8]> = bytes[close + 1..].trim_ascii().split(|it| *it == b' ').collect();
        // Fields 3, 4, 20 and 22 of proc_pid_stat(5).
        let field = |number: usize| rest.get(number - 3).copied();
        Some(Self {
            comm,
            state: *field(3)?.first()?,
            parent: number(field(4)?)?,
            threads: number(field(20)?)?,
            start_ticks: number(field(22)?)?,
        })
    }

    /// Whether the process has ended. (A first thread that has, while others go on, is shown
    /// as a zombie as well.)
    fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

/// `/proc/PID/status`, as far as it is of use.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    /// Of this thread.
    state: u8,
    comm: String,
    tgid: u32,
    parent: u32,
    uid: u32,
    ns_pid: u32,
    threads: u32,
    pending: u64,
    shared_pending: u64,
    blocked: u64,
    ignored: u64,
    caught: u64,
}

impl Status {
    fn of(pid: u32) -> Option<Self> {
        Some(Self::parse(&of_process(format!("/proc/{pid}/status")).ok()?))
    }

    fn of_thread(pid: u32, thread: u32) -> Option<Self> {
        let path = format!("/proc/{pid}/task/{thread}/status");
        Some(Self::parse(&of_process(path).ok()?))
    }

    /// The kernel writes line ends in names as `\n`, so that each line is a field.
    fn parse(bytes: &[u8]) -> Self {
        let mut status = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (key, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let mut words = value.split(u8::is_ascii_whitespace);
            let mask = || {
                let digits = str::from_utf8(value).ok();
                digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
            };
            match key {
                b"State" => status.state = value.first().copied().unwrap_or(0),
                // The kernel writes line ends and backslashes in it as `\\n` and `\\\\`
                // (`proc_task_name`).
                b"Name" => status.comm = lossy(value),
                b"PPid" => status.parent = number(value).unwrap_or(0),
                b"Tgid" => status.tgid = number(value).unwrap_or(0),
                b"Uid" => status.uid = words.next().and_then(number).unwrap_or(u32::MAX),
                b"NSpid" => status.ns_pid = words.next_back().and_then(number).unwrap_or(0),
                b"Threads" => status.threads = number(value).unwrap_or(0),
                b"SigPnd" => status.pending = mask(),
                b"ShdPnd" => status.shared_pending = mask(),
                b"SigBlk" => status.blocked = mask(),
                b"SigIgn" => status.ignored = mask(),
                b"SigCgt" => status.caught = mask(),
                _ => {}
            }
        }
        status
    }

    /// Whether the process has ended (see [`Stat::is_zombie`]).
    fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }

    /// What the thread blocks: everything, once it has ended.
    fn mask(&self) -> u64 {
        if matches!(self.state, b'Z' | b'X') { u64::MAX } else { self.blocked }
    }
}

fn found(pid: u32, hierarchies: &Hierarchies) -> Option<(ProcessId, Fact)> {
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
            .map(lossy)
    };
    Environment {
        invocation_id: value("INVOCATION_ID"),
        notify_socket: value("NOTIFY_SOCKET"),
        control: value("MAINPID").is_some() || value("SERVICE_RESULT").is_some(),
    }
}

fn state_of(pid: u32, status: &Status) -> State {
    let mut blocked = status.mask();
    // `SigBlk` is the first thread's; what is blocked must be so in all of them.
    if blocked != 0 && status.threads > 1 {
        for thread in threads(pid) {
            blocked &= Status::of_thread(pid, thread).map_or(u64::MAX, |status| status.mask());
        }
    }
    State {
        ignored: SignalSet(status.ignored),
        caught: SignalSet(status.caught),
        blocked: SignalSet(blocked),
        pending: SignalSet(status.pending | status.shared_pending),
        ..State::default()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        os::unix::ffi::OsStrExt as _,
        process::{Child, Command},
        sync::mpsc,
        thread,
    };

    use nix::{
        sys::signal::{SigSet, Signal as NixSignal, kill},
        unistd::Pid,
    };

    use super::*;

    /// Starts a program, and waits until it is there: `spawn` comes back when the new program
    /// has its memory, before it has its name and its environment (`exec_mmap`).
    fn start(command: &mut Command) -> Child {
        let child = command.spawn().unwrap();
        while of_process(format!("/proc/{}/environ", child.id())).unwrap().is_empty() {
            thread::yield_now();
        }
        child
    }

    fn id_of(child: &Child) -> ProcessId {
        ProcessId { pid: child.id(), start_ticks: Stat::of(child.id()).unwrap().start_ticks }
    }

    #[test]
    fn a_name_may_hold_parentheses_spaces_line_ends_and_half_a_letter() {
        let rest = b" S 17 1 1 0 -1 4194304 9 0 0 0 1 2 0 0 20 0 3 0 98765 1 2\n";
        for name in [&b"cat"[..], b"a) R 1 (b", b") S 2", b"x\ny", b"", b"xxxxxxxxxxxxxx\xc3"] {
            let line = [b"4711 (", name, b")", rest].concat();
            let stat = Stat::parse(&line).unwrap();
            assert_eq!(stat.comm, lossy(name));
            assert_eq!((stat.state, stat.parent), (b'S', 17));
            assert_eq!((stat.threads, stat.start_ticks), (3, 98765));
        }
        for cut in [&b""[..], b"1", b"1 (cat", b"1 (cat)", b"1 (cat) S 17 1 1", b"1 )cat( S"] {
            assert_eq!(Stat::parse(cut), None);
        }
    }

    #[test]
    fn the_fields_of_a_status_are_told_from_a_name_that_looks_like_one() {
        let text = b"Name:\tUid:\\nSigBlk:\t1\xff\nState:\tR (running)\nTgid:\t4\nPPid:\t3\n\
            Uid:\t33\t0\t0\t0\nNSpid:\t812\t5\nThreads:\t2\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000000002\n\
            SigBlk:\t8000000000000004\nSigIgn:\t0000000000000008\nSigCgt:\t0000000000000010\n";
        let expected = Status {
            state: b'R',
            comm: "Uid:\\nSigBlk:\t1\u{fffd}".to_owned(),
            tgid: 4,
            parent: 3,
            uid: 33,
            ns_pid: 5,
            threads: 2,
            pending: 1,
            shared_pending: 2,
            blocked: 0x8000_0000_0000_0004,
            ignored: 8,
            caught: 16,
        };
        assert_eq!(Status::parse(text), expected);
    }

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
    fn a_process_whose_name_and_path_are_not_utf_8_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(OsStr::from_bytes(b"xxxxxxxxxxxxxx\xc3\xbc\xff"));
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = start(Command::new(&program).arg("60"));
        assert_eq!(name(child.id()).as_deref(), Some("xxxxxxxxxxxxxx\u{fffd}"));
        assert!(exe(id_of(&child)).unwrap().ends_with("/xxxxxxxxxxxxxx\u{fc}\u{fffd}"));
        let facts = snapshot(&Hierarchies::default());
        let is_it = |it: &&Observation| matches!(&it.fact, Fact::Found { task, .. } if task.id.pid == child.id());
        assert_eq!(facts.iter().filter(is_it).count(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
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
    fn a_process_whose_first_thread_has_ended_is_there() {
        let ended =
            Stat { comm: String::new(), state: b'Z', parent: 1, threads: 1, start_ticks: 1 };
        assert!(ended.is_zombie());
        assert!(!Stat { threads: 2, ..ended }.is_zombie());
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
        assert_eq!(found.invocation_id.as_deref(), Some("0\u{fffd}"));
        assert_eq!((found.notify_socket, found.control), (None, true));
    }
}
