//! The hooks of the kernel side: which concern comes in where.

use tracer_common::config::Call;

/// What is added to the name of a hook's second program, which does the work where the
/// kernel passed the first one over (see the kernel side's `understudy`).
const AGAIN: &str = "_again";

/// The programs every backend has, by the name of their tracepoint or with [`AGAIN`] added
/// to it, in the order in which they are to be attached.
pub const TRACEPOINTS: [&str; 10] = [
    "sched_process_fork",
    "sched_process_fork_again",
    "sched_process_exec",
    "sched_process_exec_again",
    "sched_process_exit",
    "sched_process_exit_again",
    "signal_generate",
    "signal_deliver",
    "cgroup_mkdir",
    "cgroup_attach_task",
];

/// The name of the program's hook: that of the first program on it.
#[must_use]
pub fn first(program: &str) -> &str {
    program.strip_suffix(AGAIN).unwrap_or(program)
}

/// A concern that either a kernel function shows or the syscalls that lead to it. Each
/// is chosen for by itself: a function that can't be hooked costs no other concern its own.
#[derive(Debug)]
pub struct Concern {
    /// What it shows.
    pub shows: &'static str,
    /// The kernel function.
    pub function: &'static str,
    /// What the kernel side calls it.
    pub call: Call,
    /// Its programs at the function's entry.
    pub entry: &'static [&'static str],
    /// Its programs at the function's exit.
    pub exit: &'static [&'static str],
    /// Structs whose members the programs of the function need, and those of the syscalls
    /// don't.
    pub needs: &'static [&'static str],
    /// Whether the fentry backend is none without this function.
    pub is_essential: bool,
    /// Syscalls in place of the function, and whether every architecture has them.
    pub syscalls: &'static [(&'static str, bool)],
}

/// The concerns with two ways in.
pub const CONCERNS: [Concern; 5] = [
    Concern {
        shows: "signal handlers",
        function: "do_sigaction",
        call: Call::Sigaction,
        entry: &["enter_do_sigaction", "enter_do_sigaction_again"],
        exit: &["exit_do_sigaction", "exit_do_sigaction_again"],
        needs: &[],
        is_essential: true,
        syscalls: &[("rt_sigaction", true)],
    },
    Concern {
        shows: "blocked signals",
        function: "sigprocmask",
        call: Call::Sigprocmask,
        entry: &["enter_sigprocmask", "enter_sigprocmask_again"],
        exit: &["exit_sigprocmask", "exit_sigprocmask_again"],
        needs: &[],
        is_essential: false,
        syscalls: &[("rt_sigprocmask", true)],
    },
    Concern {
        shows: "signalfd",
        function: "do_signalfd4",
        call: Call::Signalfd,
        entry: &["enter_do_signalfd4"],
        exit: &["exit_do_signalfd4"],
        needs: &[],
        is_essential: false,
        syscalls: &[("signalfd", false), ("signalfd4", true)],
    },
    Concern {
        shows: "waiting for signals",
        function: "do_sigtimedwait",
        call: Call::Sigtimedwait,
        entry: &["enter_do_sigtimedwait"],
        exit: &["exit_do_sigtimedwait"],
        needs: &[],
        is_essential: false,
        syscalls: &[("rt_sigtimedwait", true)],
    },
    Concern {
        shows: "notify messages",
        function: "unix_dgram_sendmsg",
        call: Call::Send,
        entry: &["enter_unix_dgram_sendmsg", "enter_unix_dgram_sendmsg_again"],
        exit: &["exit_unix_dgram_sendmsg", "exit_unix_dgram_sendmsg_again"],
        needs: &["msghdr", "iov_iter", "iter_type"],
        is_essential: true,
        syscalls: &[
            ("write", true),
            ("writev", true),
            ("sendto", true),
            ("sendmsg", true),
            ("sendmmsg", true),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tracer_common::pairs::PAIRS;

    use super::*;

    #[test]
    fn the_hooks_with_two_programs_are_those_that_the_kernel_side_counts() {
        let functions = CONCERNS.iter().flat_map(|concern| [concern.entry, concern.exit]);
        let programs = functions.flatten().chain(&TRACEPOINTS);
        let twice: BTreeSet<&str> =
            programs.filter_map(|program| program.strip_suffix(AGAIN)).collect();
        assert_eq!(twice, BTreeSet::from(PAIRS));
    }
}
