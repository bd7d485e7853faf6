//! Whom a signal's handler serves besides. To compare all actions of a process takes as long as half
//! of what else is told of a signal, and hardly ever comes to something else than for the signal
//! before: it holds for a moment.

use core::ptr;

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray},
};
use tracer_common::event::Handler;

use crate::kernel::{Actions, Pointer, Room, Task, now};

/// What was found of a handler.
#[repr(C)]
#[derive(Clone, Copy)]
struct Found {
    /// When, ns; 0 where nothing was.
    at_ns: u64,
    /// The thread group, and the signal.
    of: u64,
    /// The handler's address.
    address: u64,
    handler: Handler,
}

/// Places on each CPU: a power of two.
const PLACES: u32 = 64;

/// What was found last of the handlers that share a place.
#[map]
static FOUND: PerCpuArray<Found> = PerCpuArray::with_max_entries(PLACES, 0);

/// When a process in scope last set an action for a recorded signal, or executed a program, ns.
#[map]
static CHANGED: Array<u64> = Array::with_max_entries(1, 0);

/// For how long it holds at most, ns: a process may give the handler to signals that are not
/// recorded.
const HOLDS_NS: u64 = 100_000_000;

/// A process in scope does something else on signals now than before.
#[inline(always)]
pub fn changed() {
    if let Some(changed) = CHANGED.get_ptr_mut(0) {
        // SAFETY: a word of a map, which is written whole: one time or another, of the same moment.
        unsafe { ptr::write_volatile(changed, now()) };
    }
}

/// Whom the handler at `address` serves, which `target` has for `signal` at the time `at_ns`.
#[inline(always)]
pub fn by(
    target: Task<impl Pointer>,
    signal: u32,
    actions: Actions,
    address: u64,
    at_ns: u64,
) -> Handler {
    let of = u64::from(target.tgid()) << 32 | u64::from(signal);
    let place = target.tgid().wrapping_mul(5) + signal;
    let (Some(found), Some(changed)) = (FOUND.get_ptr_mut(place % PLACES), CHANGED.get_ptr_mut(0))
    else {
        return Handler::default();
    };
    // SAFETY: a per-CPU value of one program, which runs with interrupts off; and a word of a map.
    let (found, changed) = unsafe { (&mut *found, ptr::read_volatile(changed)) };
    let holds = found.of == of
        && found.address == address
        && changed < found.at_ns
        && at_ns.wrapping_sub(found.at_ns) < HOLDS_NS;
    if !holds {
        let handler = actions.handler(address, Room::Generate);
        *found = Found { at_ns, of, address, handler };
    }
    found.handler
}
