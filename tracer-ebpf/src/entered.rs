//! What a thread was given where it entered a call, kept until it leaves the call.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray},
};
use tracer_common::{
    config::{CALLS, Call},
    event::Address,
};

use crate::{
    kernel::{config, now},
    understudy::Role,
};

/// A call between entry and exit.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entered {
    /// When it was entered, ns.
    pub at_ns: u64,
    /// A [`Call`] as its number.
    call: u64,
    /// Up to five words, which ones depends on the call.
    pub arguments: [u64; 5],
}

/// Calls that threads are in, by thread. None of the hooked calls makes another one.
#[map]
static ENTERED: LruHashMap<u64, Entered> = LruHashMap::with_max_entries(8192, 0);

/// Where the messages go that threads are sending.
#[map]
static DESTINATIONS: LruHashMap<u64, Address> = LruHashMap::with_max_entries(2048, 0);

/// Where a message is sent: the hooks at which an address is found.
#[derive(Clone, Copy)]
pub enum Entry {
    /// The kernel function that all come through.
    Function,
    /// `write`
    Write,
    /// `writev`
    Writev,
    /// `sendto`
    Sendto,
    /// `sendmsg`
    Sendmsg,
    /// `sendmmsg`
    Sendmmsg,
}

/// How many there are.
const ENTRIES: u32 = 6;

/// Room for an address that is too large for the stack: one for each entry and one for
/// their exit, for each [`Role`]. A program may be preempted by another one, though never
/// by itself.
#[map]
static ADDRESS: PerCpuArray<Address> = PerCpuArray::with_max_entries(2 * (ENTRIES + 1), 0);

/// How often the loader came through each hooked function. The compiler may have built a
/// function into its callers, and then a hook on it is never reached.
#[map]
static CALLED: Array<u32> = Array::with_max_entries(CALLS, 0);

/// A hooked function is being left.
#[inline(always)]
pub fn count(call: Call) {
    if (bpf_get_current_pid_tgid() >> 32) as u32 != config().loader {
        return;
    }
    if let Some(count) = CALLED.get_ptr_mut(call as u32) {
        // SAFETY: only the loader's one thread gets here.
        unsafe { *count += 1 };
    }
}

/// Remembers a call being entered.
#[inline(always)]
pub fn remember(call: Call, arguments: [u64; 5]) {
    let entered = Entered { at_ns: now(), call: call as u64, arguments };
    let _ = ENTERED.insert(bpf_get_current_pid_tgid(), entered, 0);
}

/// The call being left, if its entry was remembered. (A thread that is killed in a call
/// never leaves it, and its id may come again.)
#[inline(always)]
pub fn recall(call: Call) -> Option<Entered> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: copied before it is removed; only this thread writes its entry.
    let entered = unsafe { ENTERED.get(thread) }.copied()?;
    let _ = ENTERED.remove(thread);
    (entered.call == call as u64).then_some(entered)
}

/// An empty address to be filled at an entry.
#[inline(always)]
pub fn new_destination(entry: Entry, role: Role) -> Option<&'static mut Address> {
    let address = ADDRESS.get_ptr_mut(2 * entry as u32 + role as u32)?;
    // SAFETY: a per-CPU value that only this entry's program of this role uses.
    let address = unsafe { &mut *address };
    address.length = 0;
    Some(address)
}

/// Remembers where the message goes whose sending is being entered.
#[inline(always)]
pub fn remember_destination(address: &Address) {
    let _ = DESTINATIONS.insert(bpf_get_current_pid_tgid(), address, 0);
}

/// Room for the address of the send being left, with what was remembered of it.
#[inline(always)]
pub fn recall_destination(role: Role) -> Option<&'static mut Address> {
    let address = ADDRESS.get_ptr_mut(2 * ENTRIES + role as u32)?;
    // SAFETY: a per-CPU value that only the exit's program of this role uses.
    let address = unsafe { &mut *address };
    // SAFETY: only this thread writes its entry.
    match unsafe { DESTINATIONS.get(bpf_get_current_pid_tgid()) } {
        Some(remembered) => *address = *remembered,
        None => address.length = 0,
    }
    Some(address)
}

/// The send is over.
#[inline(always)]
pub fn forget_destination() {
    let _ = DESTINATIONS.remove(bpf_get_current_pid_tgid());
}
