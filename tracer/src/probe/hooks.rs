//! The hooks of the kernel side: which concern comes in where.

use tracer_common::config::Call;

/// What is added to the name of a hook's second program, which does the work where the first
/// one missed the event (see the kernel side's `pairs`).
const AGAIN: &str = "_again";

/// The programs every backend has, by the name of their tracepoint or with [`AGAIN`] added
/// to it, in the order in which they are to be attached.
pub const TRACEPOINTS: [&str; 11] = [
    "sched_process_fork",
    "sched_process_fork_again",
    "sched_process_exec",
    "sched_process_exec_again",
    "sched_process_exit",
    "sched_process_exit_again",
    "signal_generate",
    "signal_deliver",
    "cgroup_mkdir",
    "cgroup_rmdir",
    "cgroup_attach_task",
];

/// Whether the program is the second one on its hook.
#[must_use]
pub fn is_second(program: &str) -> bool {
    program.ends_with(AGAIN)
}

/// The name of the program's hook: that of the first program on it.
#[must_use]
pub fn first(program: &str) -> &str {
    program.strip_suffix(AGAIN).unwrap_or(program)
}

/// A concern with several ways in, of which the first that works is taken. Each is chosen
/// for by itself: a function that can't be hooked costs no other concern its own.
#[derive(Debug)]
pub struct Concern {
    /// What it shows.
    pub shows: &'static str,
    /// What the kernel side calls it.
    pub call: Call,
    /// The kernel functions that show it, the one that shows most first.
    pub functions: &'static [Function],
    /// Whether the fentry backend is none without one of the functions.
    pub is_essential: bool,
    /// The syscalls that lead to the functions.
    pub syscalls: &'static [Syscall],
    /// The programs at the exit of each of the syscalls.
    pub exit: &'static [&'static str],
}

impl Concern {
    /// What the kernel calls its functions.
    pub fn symbols(&self) -> impl Iterator<Item = String> {
        self.functions.iter().map(Function::symbol)
    }
}

/// A kernel function, and its programs.
#[derive(Debug)]
pub struct Function {
    name: &'static str,
    /// Whether it is the entry of the syscall of this name, which each architecture calls
    /// otherwise.
    is_syscall: bool,
    /// Its programs at the function's entry.
    pub entry: &'static [&'static str],
    /// Its programs at the function's exit.
    pub exit: &'static [&'static str],
    /// Structs whose members only its programs need.
    pub needs: &'static [&'static str],
}

impl Function {
    /// What the kernel calls it. (The entries of syscalls: `arch/*/include/asm/syscall_wrapper.h`.)
    #[must_use]
    pub fn symbol(&self) -> String {
        let prefix = match (self.is_syscall, std::env::consts::ARCH) {
            (false, _) => "",
            (true, "aarch64") => "__arm64_sys_",
            (true, _) => "__x64_sys_",
        };
        format!("{prefix}{}", self.name)
    }
}

/// A syscall with a tracepoint.
#[derive(Debug)]
pub struct Syscall {
    /// Its name.
    pub name: &'static str,
    /// Whether every architecture has it.
    pub is_everywhere: bool,
    /// The programs at its entry.
    pub entry: &'static [&'static str],
}

/// A syscall that every architecture has.
const fn syscall(name: &'static str, entry: &'static [&'static str]) -> Syscall {
    Syscall { name, is_everywhere: true, entry }
}

/// The entry of a syscall at whose end it is seen what the process had given it.
const fn leaving(name: &'static str, exit: &'static [&'static str]) -> Function {
    Function { name, is_syscall: true, entry: &[], exit, needs: &["pt_regs"] }
}

/// The programs at the exit of each syscall that changes what a process does on signals.
const CHANGE: &[&str] = &["sys_exit_change", "sys_exit_change_again"];
/// Those at the entry of each that sends.
const SEND: &[&str] = &["sys_enter_send", "sys_enter_send_again"];

/// The concerns with several ways in.
pub const CONCERNS: [Concern; 8] = [
    Concern {
        shows: "signal handlers",
        call: Call::Sigaction,
        functions: &[Function {
            name: "do_sigaction",
            is_syscall: false,
            entry: &["enter_do_sigaction", "enter_do_sigaction_again"],
            exit: &["exit_do_sigaction", "exit_do_sigaction_again"],
            needs: &[],
        }],
        is_essential: true,
        syscalls: &[syscall(
            "rt_sigaction",
            &["sys_enter_rt_sigaction", "sys_enter_rt_sigaction_again"],
        )],
        exit: CHANGE,
    },
    Concern {
        shows: "blocked signals",
        call: Call::Sigprocmask,
        functions: &[
            Function {
                name: "sigprocmask",
                is_syscall: false,
                entry: &["enter_sigprocmask", "enter_sigprocmask_again"],
                exit: &["exit_sigprocmask", "exit_sigprocmask_again"],
                needs: &[],
            },
            Function {
                name: "rt_sigprocmask",
                is_syscall: true,
                entry: &["enter_rt_sigprocmask", "enter_rt_sigprocmask_again"],
                exit: &["exit_rt_sigprocmask", "exit_rt_sigprocmask_again"],
                needs: &[],
            },
        ],
        is_essential: false,
        syscalls: &[syscall(
            "rt_sigprocmask",
            &["sys_enter_rt_sigprocmask", "sys_enter_rt_sigprocmask_again"],
        )],
        exit: CHANGE,
    },
    Concern {
        shows: "signalfd",
        call: Call::Signalfd,
        functions: &[Function {
            name: "do_signalfd4",
            is_syscall: false,
            entry: &["enter_do_signalfd4"],
            exit: &["exit_do_signalfd4"],
            needs: &[],
        }],
        is_essential: false,
        syscalls: &[
            Syscall { name: "signalfd", is_everywhere: false, entry: &["sys_enter_signalfd"] },
            syscall("signalfd4", &["sys_enter_signalfd"]),
        ],
        exit: CHANGE,
    },
    Concern {
        shows: "waiting for signals",
        call: Call::Sigtimedwait,
        functions: &[
            Function {
                name: "do_sigtimedwait",
                is_syscall: false,
                entry: &["enter_do_sigtimedwait"],
                exit: &["exit_do_sigtimedwait"],
                needs: &[],
            },
            Function {
                name: "rt_sigtimedwait",
                is_syscall: true,
                entry: &["enter_rt_sigtimedwait"],
                exit: &["exit_rt_sigtimedwait"],
                needs: &["pt_regs"],
            },
        ],
        is_essential: false,
        syscalls: &[syscall("rt_sigtimedwait", &["sys_enter_rt_sigtimedwait"])],
        exit: &["sys_exit_rt_sigtimedwait"],
    },
    Concern {
        shows: "notify sockets that can't be connected to",
        call: Call::Connect,
        functions: &[leaving("connect", &["exit_connect"])],
        is_essential: false,
        syscalls: &[syscall("connect", &["sys_enter_connect"])],
        exit: &["sys_exit_connect"],
    },
    // Where notify messages are seen at syscalls, those are seen there, too.
    Concern {
        shows: "notify messages that fail before they come to a socket",
        call: Call::Sendto,
        functions: &[leaving("sendto", &["exit_sendto"])],
        is_essential: false,
        syscalls: &[],
        exit: &[],
    },
    Concern {
        shows: "notify messages that fail before they come to a socket",
        call: Call::Sendmsg,
        functions: &[leaving("sendmsg", &["exit_sendmsg"])],
        is_essential: false,
        syscalls: &[],
        exit: &[],
    },
    Concern {
        shows: "notify messages",
        call: Call::Send,
        functions: &[Function {
            name: "unix_dgram_sendmsg",
            is_syscall: false,
            entry: &["enter_unix_dgram_sendmsg", "enter_unix_dgram_sendmsg_again"],
            exit: &["exit_unix_dgram_sendmsg", "exit_unix_dgram_sendmsg_again"],
            needs: &["msghdr", "iov_iter", "iter_type"],
        }],
        is_essential: true,
        syscalls: &[
            syscall("write", SEND),
            syscall("writev", SEND),
            syscall("sendto", SEND),
            syscall("sendmsg", SEND),
            syscall("sendmmsg", SEND),
        ],
        exit: &["sys_exit_send", "sys_exit_send_again"],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tracer_common::pairs::PAIRS;

    use super::*;

    #[test]
    fn the_hooks_with_two_programs_are_those_that_the_kernel_side_counts() {
        let of_functions = CONCERNS
            .iter()
            .flat_map(|concern| concern.functions)
            .flat_map(|function| [function.entry, function.exit]);
        let of_syscalls = CONCERNS.iter().flat_map(|concern| {
            concern.syscalls.iter().map(|syscall| syscall.entry).chain([concern.exit])
        });
        let programs = of_functions.chain(of_syscalls).flatten().chain(&TRACEPOINTS);
        let twice: BTreeSet<&str> =
            programs.filter_map(|program| program.strip_suffix(AGAIN)).collect();
        assert_eq!(twice, BTreeSet::from(PAIRS));
    }

    /// A hook's programs by the name of the first: alone, or with the second one.
    fn named(programs: &[&str]) -> String {
        let name = first(programs[0]);
        match programs {
            [only] => assert_eq!(*only, name),
            [one, again] => {
                assert_eq!((*one, *again), (name, format!("{name}_again").as_str()));
            }
            more => panic!("{more:?}"),
        }
        name.to_owned()
    }

    #[test]
    fn each_function_has_the_programs_of_its_own_entry_and_exit() {
        for function in CONCERNS.iter().flat_map(|concern| concern.functions) {
            if !function.entry.is_empty() {
                assert_eq!(named(function.entry), format!("enter_{}", function.name));
            }
            assert_eq!(named(function.exit), format!("exit_{}", function.name));
            assert!(function.symbol().ends_with(function.name));
            assert_eq!(function.symbol() == function.name, !function.is_syscall);
        }
    }

    #[test]
    fn each_syscall_has_the_programs_of_its_own_entry_or_concern() {
        for concern in &CONCERNS {
            for syscall in concern.syscalls {
                // The two signalfds have one, and all sends.
                let name = match concern.call {
                    Call::Send => "send",
                    _ => syscall.name.trim_end_matches('4'),
                };
                assert_eq!(named(syscall.entry), format!("sys_enter_{name}"));
            }
            let exit = match (concern.call, concern.syscalls) {
                (Call::Send, _) => "send",
                (Call::Sigaction | Call::Sigprocmask | Call::Signalfd, _) => "change",
                (_, [first, ..]) => first.name,
                (_, []) => {
                    assert!(concern.exit.is_empty());
                    continue;
                }
            };
            assert_eq!(named(concern.exit), format!("sys_exit_{exit}"));
        }
    }

    #[test]
    fn each_concern_is_chosen_by_its_own_call() {
        let functions = |call| {
            let concern = CONCERNS.iter().find(|concern| concern.call == call).unwrap();
            concern.functions.iter().map(|function| function.name).collect::<Vec<_>>()
        };
        assert_eq!(functions(Call::Sigaction), ["do_sigaction"]);
        assert_eq!(functions(Call::Sigprocmask), ["sigprocmask", "rt_sigprocmask"]);
        assert_eq!(functions(Call::Signalfd), ["do_signalfd4"]);
        assert_eq!(functions(Call::Sigtimedwait), ["do_sigtimedwait", "rt_sigtimedwait"]);
        assert_eq!(functions(Call::Send), ["unix_dgram_sendmsg"]);
        assert_eq!(functions(Call::Connect), ["connect"]);
        assert_eq!(functions(Call::Sendto), ["sendto"]);
        assert_eq!(functions(Call::Sendmsg), ["sendmsg"]);
    }
}
