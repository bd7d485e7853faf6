//! Waiting for the programs that run now.
//!
//! A program takes the time first, and sends its record at its end. Where its processor is taken
//! away in between, as from a virtual machine on a busy host, records of other processors come
//! first, and in the ring one that is reserved and not yet written hides all that follow
//! (`BPF_RINGBUF_BUSY_BIT`). So whoever reads for the last time what there is waits until these
//! programs are done.

use std::time::Duration;

use nix::{errno::Errno, libc};

use crate::host::bounded::{Bounded, Patience};

/// How long to wait: a grace period takes some ms, but on a busy host it can take long.
const LIMIT: Duration = Duration::from_millis(100);

/// What waits.
pub struct GracePeriod(Bounded<(), bool>);

impl GracePeriod {
    /// Nothing is waited for yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Bounded::new("sigready-rcu", |()| pass()))
    }

    /// Waits until all programs that run now have ended, for 100 ms at most. Whether they have, as
    /// far as is known.
    pub fn wait(&mut self) -> bool {
        self.0.ask(&[()], Patience { each: LIMIT, all: LIMIT }) == [Some(true)]
    }
}

/// Programs run in read-side sections of RCU (`__bpf_trace_run`, `__bpf_prog_enter_recur`,
/// `trace_call_bpf`), and this call waits until all of them that have begun are over
/// (`membarrier` in kernel/sched/membarrier.c: `synchronize_rcu`). Kernels without it, and those
/// with processors that have no tick, refuse.
fn pass() -> bool {
    // SAFETY: a system call on plain numbers.
    let passed = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    Errno::result(passed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_passes_each_time_it_is_waited_for() {
        let mut period = GracePeriod::new();
        // A busy machine may take longer than the limit once or twice.
        let passed = (0..20).filter(|_| period.wait()).count();
        assert!(passed > 0, "none in twenty");
    }
}
