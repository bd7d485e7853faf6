//! Two programs on one hook.
//!
//! The kernel skips a program where it would run within itself on a CPU: while the same
//! program is running there already (`bpf_prog->active`, in `bpf_trace_run` and
//! `__bpf_prog_enter_recur`). It counts the event as missed. Where programs can be preempted
//! that happens: at functions on kernels with full or lazy preemption, and at tracepoints too
//! since these no longer turn preemption off (seen on 7.2: 3 of 100 exits in a storm of them).
//! Then the second program on the hook does the work.
//!
//! An event is lost only if both programs missed it. For that both have to be preempted on one
//! CPU at one time. The kernel's counts of what each missed don't tell that, so it is noted
//! here: of two programs that run at one time, the one that began while the other one was
//! preempted looks at its end whether its own thread was switched away from. (What goes
//! unnoticed is a preemption in the few instructions before the first note and after the last.)

use core::ptr;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{Array, PerCpuArray},
};
use tracer_common::pairs::{PAIRS, Running};

use crate::kernel::with_current;

/// By hook, on each CPU.
#[map]
static RUNNING: PerCpuArray<Running> = PerCpuArray::with_max_entries(PAIRS.len() as u32, 0);

/// Places for threads whose event the first program has taken: a power of two.
const PLACES: u32 = 8192;

/// Threads whose event the first program has taken, until the second one has come by. Each has
/// the place that its id gives, which it holds for microseconds: where two want one at a time,
/// an event is told twice. What a thread leaves there as it ends, the next one there overwrites.
#[map]
static TAKEN: Array<u64> = Array::with_max_entries(PLACES, 0);

/// The current thread, and its place in [`TAKEN`].
#[inline(always)]
fn place() -> (u64, Option<*mut u64>) {
    let thread = bpf_get_current_pid_tgid();
    (thread, TAKEN.get_ptr_mut(thread as u32 % PLACES))
}

/// Which of a hook's two programs it is. The kernel calls those of a tracepoint in the order in
/// which they were attached; those of a function in no order to rely on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// It always does the work.
    First,
    /// It does the work if the first one missed the event.
    Second,
}

/// Runs a program of a hook ([`PAIRS`]).
#[inline(always)]
pub fn run(pair: u32, program: Program, work: impl FnOnce()) {
    let Some(running) = RUNNING.get_ptr_mut(pair) else {
        return;
    };
    begin(running, program);
    work();
    end(running, program);
}

/// Notes that a program begins. What it notes is kept in the map during the work, as the
/// verifier would follow each of the two ways through all of it.
#[inline(always)]
fn begin(running: *mut Running, program: Program) {
    let (mine, others) = program.places();
    // SAFETY: words of a per-CPU value, of which only this program writes its own. Volatile,
    // as the other program, which comes in between, reads what is written.
    unsafe {
        let other_runs = ptr::read_volatile(&raw const (*running).runs[others]);
        ptr::write_volatile(&raw mut (*running).runs[mine], 1);
        // One that has called itself has begun before.
        if other_runs != 0 && ptr::read_volatile(&raw const (*running).began[mine]) == 0 {
            let began = 1 + switches();
            ptr::write_volatile(&raw mut (*running).began[mine], began);
        }
    }
}

/// How often another thread has run in place of the current one.
#[inline(always)]
fn switches() -> u64 {
    with_current!(|task| task.switches())
}

/// Notes that it has ended, and whether it was preempted while the other one was.
#[inline(always)]
fn end(running: *mut Running, program: Program) {
    let (mine, _) = program.places();
    // SAFETY: as in `begin`.
    unsafe {
        let began = ptr::read_volatile(&raw const (*running).began[mine]);
        if began != 0 {
            if began != 1 + switches() {
                ptr::write_volatile(&raw mut (*running).preempted[mine], 1);
            }
            ptr::write_volatile(&raw mut (*running).began[mine], 0);
        }
        ptr::write_volatile(&raw mut (*running).runs[mine], 0);
    }
}

impl Program {
    /// Its own place in [`Running`], and the other one's.
    #[inline(always)]
    const fn places(self) -> (usize, usize) {
        match self {
            Self::First => (0, 1),
            Self::Second => (1, 0),
        }
    }

    /// The first program of a tracepoint takes the event.
    #[inline(always)]
    pub fn take(self) {
        if self == Self::First
            && let (thread, Some(place)) = place()
        {
            // SAFETY: a word of a map, which other threads write whole.
            unsafe { ptr::write_volatile(place, thread) };
        }
    }

    /// Whether the second program of a tracepoint has nothing to do: the first one has taken
    /// the event.
    #[inline(always)]
    pub fn is_taken(self) -> bool {
        let Self::Second = self else {
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
