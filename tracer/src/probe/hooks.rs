//! The hooks of the kernel side: which concern comes in where.

use tracer_common::config::Call;

/// Hooks every backend has.
pub const TRACEPOINTS: [&str; 7] = [
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "signal_generate",
    "signal_deliver",
    "cgroup_mkdir",
    "cgroup_attach_task",
];

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
    /// Its program at the function's entry, if it needs one.
    pub entry: Option<&'static str>,
    /// Its program at the function's exit.
    pub exit: &'static str,
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
        entry: None,
        exit: "exit_do_sigaction",
        needs: &[],
        is_essential: true,
        syscalls: &[("rt_sigaction", true)],
    },
    Concern {
        shows: "blocked signals",
        function: "sigprocmask",
        call: Call::Sigprocmask,
        entry: Some("enter_sigprocmask"),
        exit: "exit_sigprocmask",
        needs: &[],
        is_essential: false,
        syscalls: &[("rt_sigprocmask", true)],
    },
    Concern {
        shows: "signalfd",
        function: "do_signalfd4",
        call: Call::Signalfd,
        entry: Some("enter_do_signalfd4"),
        exit: "exit_do_signalfd4",
        needs: &[],
        is_essential: false,
        syscalls: &[("signalfd", false), ("signalfd4", true)],
    },
    Concern {
        shows: "waiting for signals",
        function: "do_sigtimedwait",
        call: Call::Sigtimedwait,
        entry: Some("enter_do_sigtimedwait"),
        exit: "exit_do_sigtimedwait",
        needs: &[],
        is_essential: false,
        syscalls: &[("rt_sigtimedwait", true)],
    },
    Concern {
        shows: "notify messages",
        function: "unix_dgram_sendmsg",
        call: Call::Send,
        entry: Some("enter_unix_dgram_sendmsg"),
        exit: "exit_unix_dgram_sendmsg",
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
