//! Two programs on one hook.
//!
//! The kernel passes a program over while the same program is running already on the CPU
//! (`bpf_prog->active`, in `bpf_trace_run` and `__bpf_prog_enter_recur`). Where programs
//! can be preempted that happens: to functions on kernels with full or lazy preemption, to
//! tracepoints as well since they no longer turn preemption off (seen on 7.2: 3 of
//! 100 exits in a storm of them). Then a second program on the same hook does the work. An
//! event is lost only if both were passed over, and for that both have to be put aside on one
//! CPU at one time. This is noted, as the kernel's counts of what each was passed over for
//! don't tell: of two that run at one time, the one that began while the other was put aside
//! finds at its end whether its own thread was switched away from. (What goes unnoticed is
//! to be put aside in the few instructions before the first note and after the last.)

use core::ptr;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{Array, PerCpuArray},
};
use tracer_common::pairs::{PAIRS, Turns};

use crate::kernel::with_current;

/// By hook, on each CPU.
#[map]
static TURNS: PerCpuArray<Turns> = PerCpuArray::with_max_entries(PAIRS.len() as u32, 0);

/// Places for threads whose event the lead has taken on: a power of two.
const PLACES: u32 = 8192;

/// Threads whose event the lead has taken on, until the understudy has come by. Each has the
/// place that its id gives, which it holds for microseconds: where two want one at a time, an
/// event is told twice. What a thread leaves there as it ends, the next one there overwrites.
#[map]
static TAKEN: Array<u64> = Array::with_max_entries(PLACES, 0);

/// The current thread, and its place in [`TAKEN`].
#[inline(always)]
fn place() -> (u64, Option<*mut u64>) {
    let thread = bpf_get_current_pid_tgid();
    (thread, TAKEN.get_ptr_mut(thread as u32 % PLACES))
}

/// Which of the two a program has. The kernel calls those of a tracepoint in the order in
/// which they were attached; those of a function in no order to rely on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It always does the work.
    Lead,
    /// It does the work if the lead was passed over.
    Understudy,
}

/// Runs the program that has this role on a hook ([`PAIRS`]).
#[inline(always)]
pub fn perform(pair: u32, role: Role, work: impl FnOnce()) {
    let Some(turns) = TURNS.get_ptr_mut(pair) else {
        return;
    };
    begin(turns, role);
    work();
    end(turns, role);
}

/// Notes that a program begins. What it notes is kept in the map during the work, as the
/// verifier would follow each of the two ways through all of it.
#[inline(always)]
fn begin(turns: *mut Turns, role: Role) {
    let (mine, others) = role.places();
    // SAFETY: words of a per-CPU value, of which only this program writes its own. Volatile,
    // as the other program, which comes in between, reads what is written.
    unsafe {
        let other_runs = ptr::read_volatile(&raw const (*turns).running[others]);
        ptr::write_volatile(&raw mut (*turns).running[mine], 1);
        if other_runs != 0 {
            let began = 1 + switches();
            ptr::write_volatile(&raw mut (*turns).began[mine], began);
        }
    }
}

/// How often another thread has run in place of the current one.
#[inline(always)]
fn switches() -> u64 {
    with_current!(|task| task.switches())
}

/// Notes that it has ended, and whether it was put aside while the other one was.
#[inline(always)]
fn end(turns: *mut Turns, role: Role) {
    let (mine, _) = role.places();
    // SAFETY: as in `begin`.
    unsafe {
        let began = ptr::read_volatile(&raw const (*turns).began[mine]);
        if began != 0 {
            if began != 1 + switches() {
                ptr::write_volatile(&raw mut (*turns).aside[mine], 1);
            }
            ptr::write_volatile(&raw mut (*turns).began[mine], 0);
        }
        ptr::write_volatile(&raw mut (*turns).running[mine], 0);
    }
}

impl Role {
    /// Its own place in [`Turns`], and the other one's.
    #[inline(always)]
    const fn places(self) -> (usize, usize) {
        match self {
            Self::Lead => (0, 1),
            Self::Understudy => (1, 0),
        }
    }

    /// The lead of a tracepoint takes the event on.
    #[inline(always)]
    pub fn take(self) {
        if self == Self::Lead
            && let (thread, Some(place)) = place()
        {
            // SAFETY: a word of a map, which other threads write whole.
            unsafe { ptr::write_volatile(place, thread) };
        }
    }

    /// Whether it is for the understudy of a tracepoint to do nothing: the lead has the event.
    #[inline(always)]
    pub fn is_taken(self) -> bool {
        let Self::Understudy = self else {
            return false;
        };
        let (thread, Some(place)) = place() else {
            return false;
        };
        // SAFETY: as in `take`.
        unsafe {
            let taken = ptr::read_volatile(place) == thread;
            if taken {
                ptr::write_volatile(place, 0);
            }
            taken
        }
    }
}
