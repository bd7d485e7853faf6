//! The programs that place a signal at a step of a command.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use anyhow::{Context as _, Result};
use aya::{
    Btf as AyaBtf, Ebpf, Endianness, Pod,
    maps::{Array, HashMap, MapData},
    programs::BtfTracePoint,
};
use nix::unistd::gettid;
use tracer_common::place::{Order, Placed};

use super::{
    attach::{Attached, attach_syscall, program},
    btf,
    links::Link,
    refusal, tracefs,
    verify::{self, Unverified},
};

/// How the names of the programs begin: no event is lost where one of these misses it.
pub const PREFIX: &str = "place_";

/// The maps that are given room for a command and all it starts, and how much: more than a
/// service starts, and threads that are in a call at one time.
pub const ROOM: [(&str, u32); 2] = [("PLACE_PROCESSES", 32_768), ("PLACE_CALLS", 4_096)];

/// The programs at tracepoints, each with its tracepoint.
const TRACEPOINTS: [(&str, &str); 4] = [
    ("place_sched_process_fork", "sched_process_fork"),
    ("place_sched_process_exec", "sched_process_exec"),
    ("place_sched_process_exit", "sched_process_exit"),
    ("place_signal_deliver", "signal_deliver"),
];

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
const SYSCALLS: [AtSyscalls; 15] = [
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
    placed: Array<MapData, PlacedBytes>,
    processes: HashMap<MapData, u32, [u8; PROCESS_LEN]>,
}

/// Bytes of the kernel side's `Process`.
const PROCESS_LEN: usize = 64;

/// An [`Order`] as the map has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct OrderBytes(Order);

/// A [`Placed`] as the map has it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct PlacedBytes(Placed);

// SAFETY: both are plain data without padding (`bytemuck::Pod`).
unsafe impl Pod for OrderBytes {}
// SAFETY: as above.
unsafe impl Pod for PlacedBytes {}

impl Placer {
    /// Loads and attaches the programs, behind those that record.
    ///
    /// # Errors
    ///
    /// The kernel refuses one: before 5.3 it has no `bpf_send_signal`.
    pub fn attach(attached: &mut Attached) -> Result<Self> {
        let bytes = btf::read()?;
        let types = AyaBtf::parse(&bytes, Endianness::default())
            .context("cannot parse the kernel's type information")?;
        let ebpf = &mut attached.ebpf;
        let unverified = SYSCALLS.iter().map(|it| (it.program, it.program)).chain(TRACEPOINTS);
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
        for (name, hook) in TRACEPOINTS {
            let program: &mut BtfTracePoint = program(ebpf, name)?;
            let link = program.attach().and_then(|id| program.take_link(id));
            links.push(Box::new(link.map_err(|error| refusal::of_program(hook, error))?));
        }
        let this = Self {
            order: Array::try_from(map(ebpf, "PLACE_ORDER")?)?,
            placed: Array::try_from(map(ebpf, "PLACE_PLACED")?)?,
            processes: HashMap::try_from(map(ebpf, "PLACE_PROCESSES")?)?,
        };
        attached.keep(links);
        Ok(this)
    }

    /// Tells where the next command is to be sent what; the thread that calls this is to start
    /// it.
    pub fn arm(&mut self, order: Order) -> Result<()> {
        self.disarm()?;
        let left: Vec<u32> = self.processes.keys().filter_map(Result::ok).collect();
        for pid in left {
            // One may be gone meanwhile.
            let _ = self.processes.remove(&pid);
        }
        let mut order = order;
        order.starter = gettid().as_raw().unsigned_abs();
        let placed = self.placed.set(0, PlacedBytes(Placed::default()), 0);
        let ordered = self.order.set(0, OrderBytes(order), 0);
        placed.and(ordered).context("cannot tell the kernel side where to place the signal")
    }

    /// Nothing is to be placed any more.
    pub fn disarm(&mut self) -> Result<()> {
        self.order
            .set(0, OrderBytes(Order::default()), 0)
            .context("cannot tell the kernel side to place no signal")
    }

    /// What was placed since it was told where.
    pub fn placed(&self) -> Result<Placed> {
        let placed = self.placed.get(&0, 0).context("cannot read where the signal was placed")?;
        Ok(placed.0)
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
