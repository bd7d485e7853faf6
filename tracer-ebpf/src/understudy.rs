//! Two programs on one hook.
//!
//! The kernel passes a program over while the same program is running already on the CPU
//! (`bpf_prog->active`, in `bpf_trace_run` and `__bpf_prog_enter_recur`). Where programs
//! can be preempted that happens: to functions on kernels with full or lazy preemption, to
//! tracepoints as well since they no longer turn preemption off (seen on 7.2: 3 of
//! 100 exits in a storm of them). Then a second program on the same hook does the work. An
//! event is lost only if both were passed over.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::LruHashMap};

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
