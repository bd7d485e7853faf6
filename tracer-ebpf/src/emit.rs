//! The way up: the ring buffer, and the count of what did not fit.
//!
//! To wake the reader takes longer than all else a program does (15 of 17 µs of a fork's, in
//! a virtual machine, where it is an interrupt that leaves the guest). So where the whole
//! host is reported, records wait for the reader to come by, but for those that make it look
//! something up in /proc while it is there to be seen, and unless the ring fills up.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    macros::map,
    maps::{PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use bytemuck::Pod;
use tracer_common::event::{Header, KINDS, Kind};

use crate::{
    kernel::{Pointer, Task, now, with_current, zero},
    scope,
};

/// Records on their way to user space. The loader sets its size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Records that found no room, by kind.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(KINDS, 0);

/// How a record of this kind is sent: whether it wakes the reader.
#[inline(always)]
fn wakes(kind: Kind) -> u64 {
    if !scope::everything() {
        // If it has read all that came before.
        return 0;
    }
    let is_looked_up = matches!(kind, Kind::Exec | Kind::Generate | Kind::Notify | Kind::Cgroup);
    let fills = || {
        let used = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
        used > EVENTS.query(u64::from(BPF_RB_RING_SIZE)) / 4
    };
    u64::from(if is_looked_up || fills() { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
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

/// Room for a record. The kernel also refuses where it does not get the lock of the ring
/// (`__bpf_ringbuf_reserve`), so it is tried twice.
#[inline(always)]
fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    EVENTS.reserve::<T>(0).or_else(|| EVENTS.reserve::<T>(0))
}

/// Sends a record. It is made in place, where `fill` gets it zeroed: most are too large for the
/// stack, and what is stored there the verifier forgets, so that each finding does not double
/// the ways it has to follow. Whether there was room for it.
#[inline(always)]
pub fn record<T: Pod>(kind: Kind, fill: impl FnOnce(&mut T)) -> bool {
    let Some(mut entry) = reserve::<T>() else {
        lost(kind);
        return false;
    };
    zero(entry.as_mut_ptr());
    // SAFETY: the memory is reserved for a `T`, and zeros are a valid `Pod`.
    fill(unsafe { entry.assume_init_mut() });
    entry.submit(wakes(kind));
    true
}

/// Sends a record that has been put together elsewhere. It is tried twice, as for [`reserve`].
#[inline(always)]
pub fn bytes(kind: Kind, record: &[u8]) {
    let output = || EVENTS.output::<[u8]>(record, wakes(kind));
    if output().or_else(|_| output()).is_err() {
        lost(kind);
    }
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
