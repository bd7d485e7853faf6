//! Two programs on one hook.
//!
//! The kernel passes a program over while the same program is running already on the CPU
//! (`bpf_prog->active`, in `bpf_trace_run` and `__bpf_prog_enter_recur`). Where programs
//! can be preempted that happens: to functions on kernels with full or lazy preemption, to
//! tracepoints as well since they no longer turn preemption off (seen on 7.2: 3 of
//! 100 exits in a storm of them). Then a second program on the same hook does the work. An
//! event is lost only if both were passed over, and for that both have to be running on one
//! CPU, for two threads that were put aside: this is noted, as the kernel's counts of what
//! each was passed over for don't tell.

use core::ptr;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use tracer_common::pairs::PAIRS;

/// Whether the lead and the understudy of a hook are running on a CPU. Each has its own
/// byte, which no other program writes, so that being put aside anywhere does no harm.
#[map]
static RUNNING: PerCpuArray<[u8; 2]> = PerCpuArray::with_max_entries(PAIRS.len() as u32, 0);

/// Not 0 for a hook both of whose programs were running at one time on a CPU.
#[map]
static BOTH: PerCpuArray<u64> = PerCpuArray::with_max_entries(PAIRS.len() as u32, 0);

/// Threads whose event the lead has taken on, until the understudy has come by.
#[map]
static TAKEN: LruHashMap<u64, u8> = LruHashMap::with_max_entries(8192, 0);

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
    let Some(running) = RUNNING.get_ptr_mut(pair) else {
        return;
    };
    let running = running.cast::<u8>();
    let (mine, others) = match role {
        Role::Lead => (0, 1),
        Role::Understudy => (1, 0),
    };
    // SAFETY: two bytes of a per-CPU value. Volatile, as the other program, which comes in
    // between, reads what is written.
    unsafe {
        ptr::write_volatile(running.add(mine), 1);
        if ptr::read_volatile(running.add(others)) != 0
            && let Some(both) = BOTH.get_ptr_mut(pair)
        {
            *both = 1;
        }
    }
    work();
    // SAFETY: as above.
    unsafe { ptr::write_volatile(running.add(mine), 0) };
}

impl Role {
    /// The lead of a tracepoint takes the event on.
    #[inline(always)]
    pub fn take(self) {
        if self == Self::Lead {
            let _ = TAKEN.insert(bpf_get_current_pid_tgid(), 1, 0);
        }
    }

    /// Whether it is for the understudy of a tracepoint to do nothing: the lead has the event.
    #[inline(always)]
    pub fn is_taken(self) -> bool {
        self == Self::Understudy && TAKEN.remove(bpf_get_current_pid_tgid()).is_ok()
    }
}
