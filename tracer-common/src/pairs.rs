//! Hooks with two programs, of which the second one does the work where the first one missed
//! the event: the kernel skips a program that would run within itself.

use bytemuck::{Pod, Zeroable};

/// Which of a hook's two programs are running on a CPU. Each has its own words, which no other
/// program writes, so that a preemption anywhere does no harm.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Running {
    /// 1 for a program that is running.
    pub runs: [u64; 2],
    /// For a program that began while the other one was preempted: how often its own thread
    /// had been switched away from when it began, and 1. Else 0.
    pub began: [u64; 2],
    /// 1 for a program that was preempted while the other one was, too.
    pub preempted: [u64; 2],
}

impl Running {
    /// Whether both programs were ever preempted at one time: only then may both have missed
    /// an event.
    #[must_use]
    pub fn may_have_missed(&self) -> bool {
        self.began.iter().chain(&self.preempted).any(|word| *word != 0)
    }
}

/// The first program of each. Its place is that of the hook in the maps by hook.
pub const PAIRS: [&str; 16] = [
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "enter_do_sigaction",
    "exit_do_sigaction",
    "enter_sigprocmask",
    "exit_sigprocmask",
    "enter_rt_sigprocmask",
    "exit_rt_sigprocmask",
    "enter_unix_dgram_sendmsg",
    "exit_unix_dgram_sendmsg",
    "sys_enter_rt_sigaction",
    "sys_enter_rt_sigprocmask",
    "sys_exit_change",
    "sys_enter_send",
    "sys_exit_send",
];

/// The place of a hook, by the name of its first program.
#[must_use]
pub const fn place(first: &str) -> Option<u32> {
    let mut place = 0;
    while place < PAIRS.len() {
        if equal(PAIRS[place].as_bytes(), first.as_bytes()) {
            return Some(place as u32);
        }
        place += 1;
    }
    None
}

/// `==`, which is not const.
const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_that_were_preempted_at_one_time_may_have_missed_an_event() {
        let both_run = Running { runs: [1, 1], ..Running::default() };
        assert!(!both_run.may_have_missed());
        let second_was_preempted = Running { preempted: [0, 1], ..Running::default() };
        assert!(second_was_preempted.may_have_missed());
        let second_is_not_back_yet = Running { began: [0, 7], ..both_run };
        assert!(second_is_not_back_yet.may_have_missed());
    }

    #[test]
    fn a_hook_is_found_by_its_whole_name() {
        assert_eq!(place("sched_process_fork"), Some(0));
        assert_eq!(place("sys_exit_send"), Some(15));
        assert_eq!(place("sched_process"), None);
        assert_eq!(place("signal_generate"), None);
    }
}
