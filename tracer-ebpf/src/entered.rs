//! What a thread was given where it entered a call, kept until it leaves the call.

use core::ptr;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};
use tracer_common::{
    config::{CALLS, Call},
    event::{ADDRESS_LEN, Address, Kind},
};

use crate::{
    emit,
    kernel::{config, copy, now},
    notify::{ROOMS, Room},
    pairs::Program,
    scope,
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
    /// How many of the messages that are being sent have been told.
    pub told: u64,
    /// Where the message goes, if it is one that is being sent.
    pub destination: Address,
}

impl Entered {
    /// Its call and the first word, read anew: the verifier knows nothing of either.
    #[inline(always)]
    pub fn call_and_word(&self) -> [u64; 2] {
        // SAFETY: references are valid to read.
        unsafe {
            [
                ptr::read_volatile(&raw const self.call),
                ptr::read_volatile(&raw const self.arguments[0]),
            ]
        }
    }
}

/// Threads that may be in hooked calls at one time. They are in them for microseconds, and
/// only threads in scope are remembered.
const MAX_ENTERED: u32 = 4096;

/// Calls that threads are in, by thread. None of the hooked calls makes another one. A
/// thread's entry goes when it leaves the call, at the latest when the thread ends.
#[map]
static ENTERED: HashMap<u64, Entered> = HashMap::with_max_entries(MAX_ENTERED, 0);

/// Room for a send that is being entered, which is too large for the stack, by [`Program`]. A program
/// may be preempted by the other one of its hook, though never by itself.
#[map]
static ENTERING: PerCpuArray<Entered> = PerCpuArray::with_max_entries(2, 0);

/// Room for the address of a message at the exit.
#[map]
static ADDRESS: PerCpuArray<Address> = PerCpuArray::with_max_entries(ROOMS, 0);

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

/// Remembers a call being entered, if its thread is in scope.
#[inline(always)]
pub fn remember(call: Call, program: Program, arguments: [u64; 5]) {
    if !scope::covers_current() {
        return;
    }
    let destination = Address { path: [0; ADDRESS_LEN], length: 0 };
    let entered = Entered { at_ns: now(), call: call as u64, arguments, told: 0, destination };
    insert(call, program, &entered);
}

/// Where there is no room for a call, what it would have shown is lost: counted by the first
/// program alone, as both of a hook come here. The kernel also refuses where it does not get the
/// lock of the map's bucket (`htab_lock_bucket`), so it is tried twice.
#[inline(always)]
fn insert(call: Call, program: Program, entered: &Entered) {
    let thread = bpf_get_current_pid_tgid();
    let is_refused = || ENTERED.insert(thread, entered, 0).is_err();
    if is_refused() && is_refused() && program == Program::First {
        emit::lost(kind(call));
    }
}

/// What a call is reported as.
const fn kind(call: Call) -> Kind {
    match call {
        Call::Sigaction => Kind::Disposition,
        Call::Sigprocmask => Kind::Mask,
        Call::Signalfd | Call::Sigtimedwait => Kind::Consume,
        Call::Send | Call::Connect | Call::Sendto | Call::Sendmsg => Kind::Notify,
    }
}

/// The call being left, if its entry was remembered. To be given to [`forget`].
#[inline(always)]
pub fn recall(call: Call) -> Option<&'static Entered> {
    // SAFETY: only this thread writes its entry, and only it takes it out of the map.
    let entered = unsafe { ENTERED.get(bpf_get_current_pid_tgid()) }?;
    (entered.call == call as u64).then_some(entered)
}

/// The same of any call that changes what is done on signals, to be written to.
#[inline(always)]
pub fn recall_change() -> Option<&'static mut Entered> {
    let entered = remembered()?;
    let changes = [Call::Sigaction as u64, Call::Sigprocmask as u64, Call::Signalfd as u64];
    changes.contains(&entered.call).then_some(entered)
}

/// The same of a send, to be written to.
#[inline(always)]
pub fn recall_send() -> Option<&'static mut Entered> {
    remembered().filter(|entered| entered.call == Call::Send as u64)
}

/// The call that this thread is in, of whatever kind.
#[inline(always)]
fn remembered() -> Option<&'static mut Entered> {
    let entered = ENTERED.get_ptr_mut(bpf_get_current_pid_tgid())?;
    // SAFETY: as in `recall`.
    Some(unsafe { &mut *entered })
}

/// The call is over, or its thread is.
#[inline(always)]
pub fn forget() {
    let _ = ENTERED.remove(bpf_get_current_pid_tgid());
}

/// Room for a send being entered, without an address yet.
#[inline(always)]
pub fn new_send(program: Program) -> Option<&'static mut Entered> {
    let entering = ENTERING.get_ptr_mut(program as u32)?;
    // SAFETY: a per-CPU value that only one program uses: sends are seen at one hook.
    let entering = unsafe { &mut *entering };
    entering.at_ns = now();
    entering.call = Call::Send as u64;
    entering.told = 0;
    entering.destination.length = 0;
    Some(entering)
}

/// Remembers a send being entered.
#[inline(always)]
pub fn remember_send(program: Program, send: &Entered) {
    insert(Call::Send, program, send);
}

/// Room for the address of the send being left, with what was remembered of it.
#[inline(always)]
pub fn destination(of: &Entered, room: Room) -> Option<&'static mut Address> {
    let address = new_address(room)?;
    copy(&of.destination, address);
    Some(address)
}

/// Room for an address, with whatever is there.
#[inline(always)]
pub fn new_address(room: Room) -> Option<&'static mut Address> {
    let address = ADDRESS.get_ptr_mut(room as u32)?;
    // SAFETY: a per-CPU value that only one program uses.
    Some(unsafe { &mut *address })
}
