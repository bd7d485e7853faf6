//! The programs that place a signal at a step of a command.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapData},
    programs::BtfTracePoint,
};
use nix::unistd::gettid;
use tracer_common::place::{Child, ChildExit, Counted, Name, Order, Placed, STEPS, ToldOfExit};

use super::{
    attach::{Attached, attach_syscall, program, typedef},
    btf::{self, Btf},
    links::Link,
    refusal, tracefs,
    verify::{self, Unverified},
};

/// How the names of the programs begin: no event is lost where one of these misses it.
pub const PREFIX: &str = "place_";

/// The most ends of system calls that are told of; the later ones are not swept over.
pub const MAX_COUNTED: u32 = 65_536;

/// The most ends of children that processes are told of in a run; later ones are no steps.
pub const MAX_CHILD_EXITS: u32 = 4_096;

/// The maps that are given room for a command and all it starts, and how much: more than a
/// service starts, and threads that are in a call at one time.
pub const ROOM: [(&str, u32); 6] = [
    ("PLACE_PROCESSES", 32_768),
    ("PLACE_CALLS", 4_096),
    ("PLACE_THREADS", 32_768),
    ("PLACE_COUNTED", MAX_COUNTED),
    ("PLACE_ENDED", MAX_CHILD_EXITS),
    ("PLACE_CHILD_EXITS", MAX_CHILD_EXITS),
];

/// The programs at tracepoints, each with its tracepoint.
const TRACEPOINTS: [(&str, &str); 5] = [
    ("place_sys_enter", "sys_enter"),
    ("place_sched_process_fork", "sched_process_fork"),
    ("place_sched_process_exec", "sched_process_exec"),
    ("place_sched_process_exit", "sched_process_exit"),
    ("place_signal_deliver", "signal_deliver"),
];

/// The program that counts system calls, for a sweep alone.
const COUNTING: (&str, &str) = ("place_sys_exit", "sys_exit");

/// The program that follows what systemd moves into cgroups, for a unit alone.
const JOINING: (&str, &str) = ("place_cgroup_attach_task", "cgroup_attach_task");

/// A program at syscalls.
struct AtSyscalls {
    program: &'static str,
    /// `sys_enter` or `sys_exit`.
    end: &'static str,
    /// By name; whether every architecture has it.
    syscalls: &'static [(&'static str, bool)],
}

const fn at(
    program: &'static str,
    end: &'static str,
    syscalls: &'static [(&'static str, bool)],
) -> AtSyscalls {
    AtSyscalls { program, end, syscalls }
}

const ENTER: &str = "sys_enter";
const EXIT: &str = "sys_exit";
const SIGNALFD: [(&str, bool); 2] = [("signalfd", false), ("signalfd4", true)];
const MESSAGES: [(&str, bool); 2] = [("sendmsg", true), ("sendmmsg", true)];

/// The programs at syscalls, exits first: what was remembered at an entry is forgotten there.
const SYSCALLS: [AtSyscalls; 18] = [
    at("place_exit_prctl", EXIT, &[("prctl", true)]),
    at("place_enter_prctl", ENTER, &[("prctl", true)]),
    at(
        "place_exit_fork",
        EXIT,
        &[("clone", true), ("clone3", true), ("fork", false), ("vfork", false)],
    ),
    at("place_exit_rt_sigaction", EXIT, &[("rt_sigaction", true)]),
    at("place_enter_rt_sigaction", ENTER, &[("rt_sigaction", true)]),
    at("place_exit_rt_sigprocmask", EXIT, &[("rt_sigprocmask", true)]),
    at("place_enter_rt_sigprocmask", ENTER, &[("rt_sigprocmask", true)]),
    at("place_exit_signalfd", EXIT, &SIGNALFD),
    at("place_enter_signalfd", ENTER, &SIGNALFD),
    at("place_exit_wait4", EXIT, &[("wait4", true)]),
    at("place_exit_waitid", EXIT, &[("waitid", true)]),
    at("place_enter_waitid", ENTER, &[("waitid", true)]),
    at("place_enter_rt_sigtimedwait", ENTER, &[("rt_sigtimedwait", true)]),
    at(
        "place_exit_send",
        EXIT,
        &[
            ("write", true),
            ("writev", true),
            ("sendto", true),
            ("sendmsg", true),
            ("sendmmsg", true),
        ],
    ),
    at("place_enter_write", ENTER, &[("write", true)]),
    at("place_enter_writev", ENTER, &[("writev", true)]),
    at("place_enter_sendto", ENTER, &[("sendto", true)]),
    at("place_enter_sendmsg", ENTER, &MESSAGES),
];

/// The maps that the programs are told by, and tell by.
pub struct Placer {
    order: Array<MapData, OrderBytes>,
    placement: Placement,
    processes: HashMap<MapData, u32, [u8; PROCESS_LEN]>,
    counted: Array<MapData, CountedBytes>,
    ended: HashMap<MapData, ChildBytes, Name>,
    child_exits: HashMap<MapData, ToldOfExitBytes, ChildExitBytes>,
}

/// Where the kernel side tells what it has placed. Clones are of the same.
#[derive(Clone)]
pub struct Placement(Arc<Mutex<Array<MapData, PlacedBytes>>>);

/// Bytes of the kernel side's `Process`.
const PROCESS_LEN: usize = 32 + 4 * STEPS;

/// An [`Order`] as the map has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct OrderBytes(Order);

/// A [`Placed`] as the map has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct PlacedBytes(Placed);

/// A [`Counted`] as the map has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct CountedBytes(Counted);

/// A [`Child`] as the map has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct ChildBytes(Child);

/// A [`ToldOfExit`] as the map has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct ToldOfExitBytes(ToldOfExit);

/// A [`ChildExit`] as the map has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct ChildExitBytes(ChildExit);

// SAFETY: all are plain data without padding (`bytemuck::Pod`).
unsafe impl Pod for OrderBytes {}
// SAFETY: as above.
unsafe impl Pod for PlacedBytes {}
// SAFETY: as above.
unsafe impl Pod for CountedBytes {}
// SAFETY: as above.
unsafe impl Pod for ChildBytes {}
// SAFETY: as above.
unsafe impl Pod for ToldOfExitBytes {}
// SAFETY: as above.
unsafe impl Pod for ChildExitBytes {}

impl Placer {
    /// Loads and attaches the programs, behind those that record. With `counts`, system calls are
    /// counted; with `joins`, a unit's main process is found.
    ///
    /// # Errors
    ///
    /// The kernel refuses one: before 5.3 it has no `bpf_send_signal`.
    pub fn attach(attached: &mut Attached, counts: bool, joins: bool) -> Result<Self> {
        let bytes = btf::read()?;
        let ebpf = &mut attached.ebpf;
        let more = [counts.then_some(COUNTING), joins.then_some(JOINING)];
        let tracepoints = || TRACEPOINTS.into_iter().chain(more.into_iter().flatten());
        let names: Vec<_> = tracepoints().map(|(_, hook)| typedef(hook)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let types = Btf::parse(&bytes, &names)?.hooks()?;
        let unverified = SYSCALLS.iter().map(|it| (it.program, it.program)).chain(tracepoints());
        let unverified = unverified.map(|(name, hook)| Unverified { name, hook });
        verify::all(ebpf, &types, unverified)?
            .map_err(|it| refusal::of_program(it.name, it.error))?;
        let mut links: Vec<Link> = Vec::new();
        tracefs::with(|| {
            for it in &SYSCALLS {
                for (syscall, is_everywhere) in it.syscalls {
                    let tracepoint = format!("{}_{syscall}", it.end);
                    links.extend(attach_syscall(ebpf, it.program, &tracepoint, *is_everywhere)?);
                }
            }
            Ok(())
        })?;
        for (name, hook) in tracepoints() {
            let program: &mut BtfTracePoint = program(ebpf, name)?;
            let link = program.attach().and_then(|id| program.take_link(id));
            links.push(Box::new(link.map_err(|error| refusal::of_program(hook, error))?));
        }
        let this = Self {
            order: Array::try_from(map(ebpf, "PLACE_ORDER")?)?,
            placement: Placement(Arc::new(Mutex::new(Array::try_from(map(
                ebpf,
                "PLACE_PLACED",
            )?)?))),
            processes: HashMap::try_from(map(ebpf, "PLACE_PROCESSES")?)?,
            counted: Array::try_from(map(ebpf, "PLACE_COUNTED")?)?,
            ended: HashMap::try_from(map(ebpf, "PLACE_ENDED")?)?,
            child_exits: HashMap::try_from(map(ebpf, "PLACE_CHILD_EXITS")?)?,
        };
        attached.keep(links);
        Ok(this)
    }

    /// Tells where the next command is to be sent what. Where it is not a systemd that starts it,
    /// the thread that calls this is to.
    pub fn arm(&mut self, order: Order) -> Result<()> {
        self.disarm()?;
        clear(&mut self.processes);
        clear(&mut self.ended);
        clear(&mut self.child_exits);
        let mut order = order;
        if order.manager == 0 {
            order.starter = gettid().as_raw().unsigned_abs();
        }
        let placed = self.placement.map().set(0, PlacedBytes(Placed::default()), 0);
        let ordered = self.order.set(0, OrderBytes(order), 0);
        placed.and(ordered).context("cannot tell the kernel side where to place the signal")
    }

    /// The ends of children that the command and what it started were told of since then.
    #[must_use]
    pub fn child_exits(&self) -> Vec<(ToldOfExit, ChildExit)> {
        let entries = self.child_exits.iter().filter_map(Result::ok);
        entries.map(|(told, exit)| (told.0, exit.0)).collect()
    }

    /// Nothing is to be placed any more.
    pub fn disarm(&mut self) -> Result<()> {
        self.order
            .set(0, OrderBytes(Order::default()), 0)
            .context("cannot tell the kernel side to place no signal")
    }

    /// Where it is told what was placed.
    #[must_use]
    pub fn placement(&self) -> Placement {
        self.placement.clone()
    }

    /// What was placed since it was told where.
    pub fn placed(&self) -> Result<Placed> {
        self.placement.placed()
    }

    /// The ends of system calls that the command and what it started came to since then, while
    /// nothing was to be placed. Of more than there was room for, the first.
    pub fn counted(&self) -> Result<Vec<Counted>> {
        let count = self.placed()?.counted.min(MAX_COUNTED);
        (0..count)
            .map(|index| {
                let counted = self.counted.get(&index, 0);
                counted.map(|it| it.0).context("cannot read which system calls were counted")
            })
            .collect()
    }
}

impl Placement {
    /// What was placed since the kernel side was told where.
    pub fn placed(&self) -> Result<Placed> {
        let placed = self.map().get(&0, 0);
        Ok(placed.context("cannot read where the signal was placed")?.0)
    }

    fn map(&self) -> MutexGuard<'_, Array<MapData, PlacedBytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Empties a map. Entries may go meanwhile.
fn clear<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>) {
    let left: Vec<K> = map.keys().filter_map(Result::ok).collect();
    for key in left {
        let _ = map.remove(&key);
    }
}

/// The address of a notify socket, as orders have it.
#[must_use]
pub fn address(socket: &Path) -> &[u8] {
    OsStr::as_bytes(socket.as_os_str())
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    ebpf.take_map(name).with_context(|| format!("the eBPF object has no map '{name}'"))
}
