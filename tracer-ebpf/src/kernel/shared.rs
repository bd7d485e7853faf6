//! What the threads of a process share: `struct signal_struct` and `struct sighand_struct`.

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_probe_read_kernel, macros::map, maps::PerCpuArray};
use tracer_common::{
    event::{DISPOSITION_DEFAULT, DISPOSITION_HANDLER, DISPOSITION_IGNORED, Handler},
    signal::{MAX_SIGNAL, SignalSet},
};

use super::{Address, Pointer, nonzero, offset};

/// `signal->flags`: the thread group is stopped.
pub const SIGNAL_STOP_STOPPED: u32 = 0x1;
/// `signal->flags`: the thread group is exiting (include/linux/sched/signal.h).
pub const SIGNAL_GROUP_EXIT: u32 = 0x4;
/// `signal->flags`: an init that ignores signals without a handler.
pub const SIGNAL_UNKILLABLE: u32 = 0x40;
/// `sa_handler`: do what the kernel does by default.
const SIG_DFL: u64 = 0;
/// `sa_handler`: ignore the signal.
pub(super) const SIG_IGN: u64 = 1;
/// A fault of memory, the same number on every architecture this runs on.
const SIGSEGV: u32 = 11;

/// The most that a `struct k_sigaction` has: `sa_handler`, `sa_flags`, `sa_restorer` and
/// `sa_mask`, of a word each.
const MAX_ACTION_LEN: u64 = 32;

/// A copy of a process's actions.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Copied([u8; (MAX_SIGNAL as u64 * MAX_ACTION_LEN) as usize]);

/// Room for those, which is too large for the stack: one for each [`Room`].
#[map]
static ACTIONS: PerCpuArray<Copied> = PerCpuArray::with_max_entries(3, 0);

/// Whose room it is. A program may be preempted by another one, though never by itself.
#[derive(Clone, Copy)]
pub enum Room {
    /// The first program at the exit of setting an action.
    First,
    /// The second one.
    Second,
    /// The program at the sending of a signal.
    Generate,
}

/// A `struct signal_struct`: what the threads of a group share.
#[derive(Clone, Copy)]
pub struct Signals<P>(pub P);

impl<P: Pointer> Signals<P> {
    /// `SIGNAL_*` flags.
    #[inline(always)]
    pub fn flags(self) -> u32 {
        self.0.read(offset!(signal_flags))
    }

    /// The exit status of a group that is exiting as one.
    #[inline(always)]
    pub fn group_exit_code(self) -> u32 {
        self.0.read(offset!(signal_group_exit_code))
    }

    /// How many threads have not come to their end.
    #[inline(always)]
    pub fn live(self) -> u32 {
        self.0.read(offset!(signal_live))
    }

    /// The signals that wait for the process.
    #[inline(always)]
    pub fn pending(self) -> SignalSet {
        SignalSet(self.0.read(offset!(signal_shared_pending)))
    }
}

/// What the threads of a process share.
#[derive(Clone, Copy)]
pub struct Shared<P> {
    /// Its `struct signal_struct`.
    pub signals: Signals<P>,
    /// Its `struct sighand_struct`.
    pub sighand: P,
}

/// What a process does on each signal: the actions in its `struct sighand_struct`. An address,
/// as which of them is asked for is not constant.
#[derive(Clone, Copy)]
pub struct Actions(Address);

impl Actions {
    #[inline(always)]
    pub(super) fn of(sighand: Address) -> Self {
        Self(sighand + offset!(sighand_action))
    }

    /// That for `signal`.
    #[inline(always)]
    pub fn action(self, signal: u32) -> Option<Action> {
        self.at(signal).map(Action::at)
    }

    /// The `sa_handler` of that for `signal`, where nothing else of it is needed.
    #[inline(always)]
    pub fn handler_of(self, signal: u32) -> Option<u64> {
        self.at(signal).map(|action| action.read(offset!(k_sigaction_handler)))
    }

    #[inline(always)]
    fn at(self, signal: u32) -> Option<Address> {
        if signal == 0 || signal > MAX_SIGNAL {
            return None;
        }
        Some(self.0 + u64::from(signal - 1) * offset!(k_sigaction_size))
    }

    /// Which signals have `address` as their handler, and which have SIGSEGV's. The actions
    /// are read at one go, as a helper's call costs more than all that it copies.
    #[inline(always)]
    pub fn handler(self, address: u64, room: Room) -> Handler {
        let mut handler = Handler::default();
        let size = offset!(k_sigaction_size);
        let Some(actions) = ACTIONS.get_ptr_mut(room as u32).filter(|_| size <= MAX_ACTION_LEN)
        else {
            return handler;
        };
        // SAFETY: `size` keeps what is copied within `actions`, and the helper leaves zeros
        // where it can't read.
        unsafe {
            bpf_probe_read_kernel(
                actions.cast::<c_void>(),
                MAX_SIGNAL * size as u32,
                self.0.get() as *const c_void,
            );
        }
        let at = |index: u32| {
            let offset = u64::from(index) * size + offset!(k_sigaction_handler);
            // SAFETY: within the action of a signal, as the verifier, which knows the offsets,
            // makes sure; aligned as in the kernel.
            unsafe { actions.cast::<u64>().byte_add(offset as usize).read() }
        };
        let fault = at(SIGSEGV - 1);
        for index in 0..MAX_SIGNAL {
            let other = at(index);
            handler.serves.0 |= (nonzero(other ^ address) ^ 1) << index;
            handler.faults.0 |= (nonzero(other ^ fault) ^ 1) << index;
        }
        if fault <= SIG_IGN {
            handler.faults = SignalSet::EMPTY;
        }
        handler
    }
}

/// What a process does on a signal (`struct k_sigaction`).
#[derive(Clone, Copy)]
pub struct Action {
    /// `sa_handler`: 0 default, 1 ignore, else an address.
    pub handler: u64,
    /// `sa_flags`
    pub flags: u64,
}

impl Action {
    /// Reads one.
    #[inline(always)]
    pub fn at(action: impl Pointer) -> Self {
        Self {
            handler: action.read(offset!(k_sigaction_handler)),
            flags: action.read(offset!(k_sigaction_flags)),
        }
    }

    /// `DISPOSITION_*`
    #[inline(always)]
    pub fn disposition(self) -> u32 {
        disposition_of(self.handler)
    }
}

/// `DISPOSITION_*` of an action with this `sa_handler`.
#[inline(always)]
pub fn disposition_of(handler: u64) -> u32 {
    match handler {
        SIG_DFL => DISPOSITION_DEFAULT,
        SIG_IGN => DISPOSITION_IGNORED,
        _ => DISPOSITION_HANDLER,
    }
}
