//! Hooks with two programs, of which the second one does the work where the kernel passed
//! the first one over.

/// The first program of each. Its place is that of the hook in the maps by hook.
pub const PAIRS: [&str; 21] = [
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
    "sys_exit_rt_sigaction",
    "sys_enter_rt_sigprocmask",
    "sys_exit_rt_sigprocmask",
    "sys_enter_write",
    "sys_enter_writev",
    "sys_enter_sendto",
    "sys_enter_sendmsg",
    "sys_enter_sendmmsg",
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
    fn a_hook_is_found_by_its_whole_name() {
        assert_eq!(place("sched_process_fork"), Some(0));
        assert_eq!(place("sys_exit_send"), Some(20));
        assert_eq!(place("sched_process"), None);
        assert_eq!(place("signal_generate"), None);
    }
}
