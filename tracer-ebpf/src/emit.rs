//! The way up: the ring buffer, and the count of what did not fit.
//!
//! To wake the reader takes longer than all else a program does (15 of 17 µs of a fork's, in
//! a virtual machine, where it is an interrupt that leaves the guest). So where the whole
//! host is reported, records wait for the reader to come by, but for those that make it look
//! something up in /proc while it is there to be seen, and unless the ring fills up. Signals that
//! come one after the other wait in any case.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use bytemuck::Pod;
use tracer_common::event::{Header, KINDS, Kind};

use crate::{
    kernel::{Pointer, Task, now, with_current, zero},
    pairs::Program,
    scope,
};

/// Records on their way to user space. The loader sets its size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Records that found no room, by kind.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(KINDS, 0);

/// For how long after a wake the next one waits, ns, where one would follow another: in a storm of
/// signals, or where the reader is behind.
const PAUSE_NS: u64 = 1_000_000;

/// When the reader was woken by such a record.
#[map]
static WOKEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// How a record of this kind, of the time `at_ns`, is sent: whether it wakes the reader. It comes
/// by by itself, some 50 ms after it has been there.
#[inline(always)]
fn wakes(kind: Kind, at_ns: u64) -> u64 {
    let wakes = match kind {
        Kind::Generate => is_rare(at_ns),
        Kind::Deliver => !scope::everything() && is_rare(at_ns),
        Kind::Exec | Kind::Notify | Kind::Cgroup => true,
        _ => !scope::everything() || fills() && is_rare(at_ns),
    };
    // Not if the reader has read all that came before, as the kernel would have it by itself: it
    // may sleep over what woke nobody.
    u64::from(if wakes { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

/// Whether a quarter of the ring waits to be read.
#[inline(always)]
fn fills() -> bool {
    let used = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    used > EVENTS.query(u64::from(BPF_RB_RING_SIZE)) / 4
}

/// Whether the reader was not woken a moment ago. It is now.
#[inline(always)]
fn is_rare(at_ns: u64) -> bool {
    let Some(woken) = WOKEN.get_ptr_mut(0) else {
        return true;
    };
    // SAFETY: a per-CPU value. Programs that interrupt each other may wake once more or less.
    let woken = unsafe { &mut *woken };
    if at_ns.wrapping_sub(*woken) < PAUSE_NS {
        return false;
    }
    *woken = at_ns;
    true
}

/// The start of a record about `task`, the thread that runs this program, now.
#[inline(always)]
pub fn header(kind: Kind, task: Task<impl Pointer>) -> Header {
    Header { kind: kind as u32, reserved: 0, at_ns: now(), task: task.describe_current() }
}

/// The same where nothing else is told of the thread.
#[inline(always)]
pub fn header_of_current(kind: Kind) -> Header {
    with_current!(|task| header(kind, task))
}

/// The start of a record about another thread, now.
#[inline(always)]
pub fn header_of_other(kind: Kind, task: Task<impl Pointer>) -> Header {
    Header { kind: kind as u32, reserved: 0, at_ns: now(), task: task.describe() }
}

/// Who puts a record together: programs that may preempt each other are told apart. Signals are
/// sent and delivered, and cgroups told of (`TRACE_CGROUP_PATH`), with interrupts off.
#[derive(Clone, Copy)]
pub enum Maker {
    /// The programs at a fork.
    Fork(Program),
    /// Those at an exec.
    Exec(Program),
    /// Those at an exit.
    Exit(Program),
    /// Those at the end of the system calls that change what is done on signals.
    Change(Program),
    /// Those at the end of setting an action.
    Disposition(Program),
    /// Those at the end of setting a mask.
    Mask(Program),
    /// That at the end of making a signalfd.
    Signalfd,
    /// That at the beginning of a wait for signals.
    Waiting,
    /// That at the end of one.
    Taken,
    /// That at the sending of a signal.
    Generate,
    /// The same, as it tells of the sender.
    Sender,
    /// Those of cgroups.
    Cgroup,
}

impl Maker {
    /// Its place in [`MADE`].
    #[inline(always)]
    const fn place(self) -> u32 {
        match self {
            Self::Fork(program) => program as u32,
            Self::Exec(program) => 2 + program as u32,
            Self::Exit(program) => 4 + program as u32,
            Self::Disposition(program) => 6 + program as u32,
            Self::Mask(program) => 8 + program as u32,
            Self::Signalfd => 10,
            Self::Waiting => 11,
            Self::Taken => 12,
            Self::Generate => 13,
            Self::Sender => 14,
            Self::Cgroup => 15,
            Self::Change(program) => 16 + program as u32,
        }
    }
}

/// How many places there are.
const PLACES: u32 = Maker::Change(Program::Second).place() + 1;

/// Room for any record that is made there.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Room([u8; 1024]);

/// The records that are being put together, by [`Maker`]. They are made here and not in the ring:
/// verifiers up to 6.1 follow each way to room in the ring by itself (`refsafe` in
/// kernel/bpf/verifier.c).
#[map]
static MADE: PerCpuArray<Room> = PerCpuArray::with_max_entries(PLACES, 0);

/// Makes and sends a record, which `fill` gets zeroed. Whether there was room for it in the ring.
#[inline(always)]
pub fn record<T: Pod>(kind: Kind, maker: Maker, fill: impl FnOnce(&mut T)) -> bool {
    let Some(record) = begin::<T>(maker) else {
        lost(kind);
        return false;
    };
    fill(record);
    send(kind, record)
}

/// Room for a record, zeroed. It is too large for the stack, and what is stored there the verifier
/// forgets, so that each finding does not double the ways it has to follow.
#[inline(always)]
pub fn begin<T: Pod>(maker: Maker) -> Option<&'static mut T> {
    const {
        assert!(size_of::<T>() <= size_of::<Room>() && align_of::<T>() <= align_of::<Room>());
    }
    let record = MADE.get_ptr_mut(maker.place())?.cast::<T>();
    zero(record);
    // SAFETY: there is room for a `T`, zeros are a valid one, and the kernel doesn't run a program
    // twice at a time on a CPU.
    Some(unsafe { &mut *record })
}

/// Sends a record. Whether there was room for it in the ring.
#[inline(always)]
pub fn send<T: Pod>(kind: Kind, record: &T) -> bool {
    // SAFETY: all records begin with a header (`tracer_common::event`).
    let header = unsafe { &*ptr::from_ref(record).cast::<Header>() };
    bytes(kind, header.at_ns, bytemuck::bytes_of(record))
}

/// Sends a record of the time `at_ns` that has been put together elsewhere. The kernel also refuses where it does not
/// get the lock of the ring (`__bpf_ringbuf_reserve`), so it is tried twice. Whether there was room
/// for it.
#[inline(always)]
pub fn bytes(kind: Kind, at_ns: u64, record: &[u8]) -> bool {
    let flags = wakes(kind, at_ns);
    let output = || EVENTS.output::<[u8]>(record, flags);
    let is_sent = output().or_else(|_| output()).is_ok();
    if !is_sent {
        lost(kind);
    }
    is_sent
}

/// Counts one record that could not be sent.
#[inline(always)]
pub fn lost(kind: Kind) {
    lost_many(kind, 1);
}

/// Counts records that could not be sent.
#[inline(always)]
pub fn lost_many(kind: Kind, number: u64) {
    if let Some(count) = LOST.get_ptr_mut(kind as u32) {
        // SAFETY: a per-CPU value; this program is the only one that runs on the CPU
        // with it, apart from interrupts, which may cost a count but nothing else.
        unsafe { *count += number };
    }
}
