//! Two programs on one hook.
//!
//! The kernel passes a program over while the same program is running already on the CPU
//! (`bpf_prog->active`, in `bpf_trace_run` and `__bpf_prog_enter_recur`). Where programs
//! can be preempted that happens: to functions on kernels with full or lazy preemption, to
//! tracepoints as well since they no longer turn preemption off (seen on 7.2: an exit of
//! some hundred). Then a second program on the same hook does the work. An event is lost
//! only if both were passed over.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::LruHashMap};

/// Threads whose event the first program has taken on, until the second one has come by.
#[map]
static TAKEN: LruHashMap<u64, u8> = LruHashMap::with_max_entries(8192, 0);

/// Which of the two a program is. The kernel calls those of a tracepoint in the order in
/// which they were attached; those of a function in no order to rely on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The one that always does the work.
    First,
    /// The one that does it if the first one was passed over.
    Second,
}

impl Turn {
    /// For the first program of a tracepoint: the event is its own.
    #[inline(always)]
    pub fn take(self) {
        if self == Self::First {
            let _ = TAKEN.insert(bpf_get_current_pid_tgid(), 1, 0);
        }
    }

    /// For the second program of a tracepoint: whether the first one has taken the event.
    #[inline(always)]
    pub fn is_taken(self) -> bool {
        self == Self::Second && TAKEN.remove(bpf_get_current_pid_tgid()).is_ok()
    }
}
