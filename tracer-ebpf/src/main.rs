//! sigready's kernel side: the hooks.
//!
//! Each function here is one way in, and hands over to the handler of its
//! concern. The kernel prototype it relies on stands above it.
#![no_std]
#![no_main]
#![allow(
    clippy::inline_always,
    clippy::needless_pass_by_value,
    reason = "each program is verified as a whole, and its entry point is given its context by value"
)]

mod cgroup;
mod disposition;
mod emit;
mod entered;
mod function;
mod kernel;
mod notify;
mod pairs;
mod place;
mod process;
mod scope;
mod sender;
mod served;
mod signal;
mod syscall;

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, tracepoint},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, TracePointContext},
};

use aya_log_ebpf::warn;
use tracer_common::pairs::place;

use crate::{
    kernel::{Address, Cgroup, Task, Typed},
    pairs::{Program, run},
};

/// Lets the kernel call GPL-only helpers.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The pointer to a structure that is argument `n`.
#[inline(always)]
fn pointer(context: &BtfTracePointContext, n: usize) -> Typed {
    Typed::new(context.arg::<u64>(n))
}

/// The pointer to text, or to what only looks like a structure, that is argument `n`.
#[inline(always)]
fn address(context: &BtfTracePointContext, n: usize) -> Address {
    Address::new(context.arg::<u64>(n))
}

/// Both programs ([`Program`]) of a hook.
macro_rules! twice {
    ($($(#[$doc:meta])* $kind:ident($hook:literal) $first:ident, $second:ident =>
        |$context:ident: $type:ty, $program:ident| $work:expr;)*) => {$(
        $(#[$doc])*
        #[$kind(function = $hook)]
        fn $first($context: $type) -> i32 {
            let $program = Program::First;
            run(const { place(stringify!($first)).unwrap() }, $program, || $work);
            0
        }

        /// Where the first one missed the event.
        #[$kind(function = $hook)]
        fn $second($context: $type) -> i32 {
            let $program = Program::Second;
            run(const { place(stringify!($first)).unwrap() }, $program, || $work);
            0
        }
    )*};
}

twice! {
    /// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
    btf_tracepoint("sched_process_fork") sched_process_fork, sched_process_fork_again =>
        |context: BtfTracePointContext, program| {
            process::forked(Task(pointer(&context, 0)), Task(pointer(&context, 1)), program);
        };
    /// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
    btf_tracepoint("sched_process_exec") sched_process_exec, sched_process_exec_again =>
        |context: BtfTracePointContext, program| {
            process::executed(Task(pointer(&context, 0)), pointer(&context, 2), program);
        };
    /// `sched_process_exit(struct task_struct *p)`; `bool group_dead` follows from 6.16 on.
    btf_tracepoint("sched_process_exit") sched_process_exit, sched_process_exit_again =>
        |context: BtfTracePointContext, program| process::exited(Task(pointer(&context, 0)), program);
    /// `do_sigaction(int sig, struct k_sigaction *act, struct k_sigaction *oact)`
    fentry("do_sigaction") enter_do_sigaction, enter_do_sigaction_again =>
        |context: FEntryContext, program| function::enter_sigaction(&context, program);
    /// Its end.
    fexit("do_sigaction") exit_do_sigaction, exit_do_sigaction_again =>
        |context: FExitContext, program| function::exit_sigaction(&context, program);
    /// `sigprocmask(int how, sigset_t *set, sigset_t *oldset)`
    fentry("sigprocmask") enter_sigprocmask, enter_sigprocmask_again =>
        |context: FEntryContext, program| function::enter_sigprocmask(&context, program);
    /// Its end.
    fexit("sigprocmask") exit_sigprocmask, exit_sigprocmask_again =>
        |context: FExitContext, program| function::exit_sigprocmask(&context, program);
    /// What `rt_sigprocmask` comes through where the compiler has built `sigprocmask` into it:
    /// `long __x64_sys_rt_sigprocmask(const struct pt_regs *regs)`, by its name on x86-64.
    fentry("__x64_sys_rt_sigprocmask") enter_rt_sigprocmask, enter_rt_sigprocmask_again =>
        |_context: FEntryContext, program| function::enter_rt_sigprocmask(program);
    /// Its end.
    fexit("__x64_sys_rt_sigprocmask") exit_rt_sigprocmask, exit_rt_sigprocmask_again =>
        |context: FExitContext, program| function::exit_rt_sigprocmask(&context, program);
    /// `unix_dgram_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)`
    fentry("unix_dgram_sendmsg") enter_unix_dgram_sendmsg, enter_unix_dgram_sendmsg_again =>
        |context: FEntryContext, program| function::enter_sendmsg(&context, program);
    /// Its end.
    fexit("unix_dgram_sendmsg") exit_unix_dgram_sendmsg, exit_unix_dgram_sendmsg_again =>
        |context: FExitContext, program| function::exit_sendmsg(&context, program);
}

// The kernel sends and delivers signals with interrupts off, and works on cgroups one at a
// time: these miss nothing.

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`
#[btf_tracepoint(function = "signal_generate")]
fn signal_generate(context: BtfTracePointContext) -> i32 {
    signal::generated(
        context.arg::<u32>(0),
        // It may be a number in place of a pointer.
        address(&context, 1),
        Task(pointer(&context, 2)),
        context.arg::<u32>(3) != 0,
        context.arg::<u32>(4),
    );
    0
}

/// `signal_deliver(int sig, struct kernel_siginfo *info, struct k_sigaction *ka)`
#[btf_tracepoint(function = "signal_deliver")]
fn signal_deliver(context: BtfTracePointContext) -> i32 {
    // To verifiers since 2025 the siginfo of both is a number (`raw_tp_null_args`).
    signal::delivered(context.arg::<u32>(0), address(&context, 1), pointer(&context, 2));
    0
}

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`
#[btf_tracepoint(function = "cgroup_mkdir")]
fn cgroup_mkdir(context: BtfTracePointContext) -> i32 {
    if cgroup::made(Cgroup(address(&context, 0)), address(&context, 1)).is_err() {
        warn!(&context, "too many cgroups to follow: what happens in a new one is not seen");
    }
    0
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`
#[btf_tracepoint(function = "cgroup_rmdir")]
fn cgroup_rmdir(context: BtfTracePointContext) -> i32 {
    cgroup::removed(Cgroup(address(&context, 0)), address(&context, 1));
    0
}

/// `cgroup_attach_task(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup)`
#[btf_tracepoint(function = "cgroup_attach_task")]
fn cgroup_attach_task(context: BtfTracePointContext) -> i32 {
    cgroup::attached(
        Cgroup(address(&context, 0)),
        address(&context, 1),
        Task(pointer(&context, 2)),
    );
    0
}

/// `do_signalfd4(int ufd, sigset_t *mask, int flags)`
#[fentry(function = "do_signalfd4")]
fn enter_do_signalfd4(context: FEntryContext) -> i32 {
    function::enter_signalfd(&context);
    0
}

/// Its end.
#[fexit(function = "do_signalfd4")]
fn exit_do_signalfd4(context: FExitContext) -> i32 {
    function::exit_signalfd(&context);
    0
}

/// `do_sigtimedwait(const sigset_t *which, kernel_siginfo_t *info, const struct timespec64 *ts)`
#[fentry(function = "do_sigtimedwait")]
fn enter_do_sigtimedwait(context: FEntryContext) -> i32 {
    function::enter_sigtimedwait(&context);
    0
}

/// Its end.
#[fexit(function = "do_sigtimedwait")]
fn exit_do_sigtimedwait(context: FExitContext) -> i32 {
    function::exit_sigtimedwait(&context);
    0
}

/// What `rt_sigtimedwait` comes through where `do_sigtimedwait` can't be hooked:
/// `long __x64_sys_rt_sigtimedwait(const struct pt_regs *regs)`, by its name on x86-64.
#[fentry(function = "__x64_sys_rt_sigtimedwait")]
fn enter_rt_sigtimedwait(context: FEntryContext) -> i32 {
    function::enter_rt_sigtimedwait(&context);
    0
}

/// Its end.
#[fexit(function = "__x64_sys_rt_sigtimedwait")]
fn exit_rt_sigtimedwait(context: FExitContext) -> i32 {
    function::exit_rt_sigtimedwait(&context);
    0
}

/// `long __x64_sys_connect(const struct pt_regs *regs)`, by its name on x86-64.
#[fexit(function = "__x64_sys_connect")]
fn exit_connect(context: FExitContext) -> i32 {
    function::exit_connect(&context);
    0
}

/// `long __x64_sys_sendto(const struct pt_regs *regs)`, by its name on x86-64.
#[fexit(function = "__x64_sys_sendto")]
fn exit_sendto(context: FExitContext) -> i32 {
    function::exit_sendto(&context);
    0
}

/// `long __x64_sys_sendmsg(const struct pt_regs *regs)`, by its name on x86-64.
#[fexit(function = "__x64_sys_sendmsg")]
fn exit_sendmsg(context: FExitContext) -> i32 {
    function::exit_sys_sendmsg(&context);
    0
}

// At syscalls a program is preempted only by those of newer kernels, and only there has the
// second one to be attached.
macro_rules! syscalls {
    ($($(#[$doc:meta])* $first:ident, $second:ident => $handler:ident;)*) => {$(
        $(#[$doc])*
        #[tracepoint]
        fn $first(context: TracePointContext) -> u32 {
            let place = const { place(stringify!($first)).unwrap() };
            run(place, Program::First, || syscall::$handler(&context, Program::First));
            0
        }

        /// Where the first one missed the event.
        #[tracepoint]
        fn $second(context: TracePointContext) -> u32 {
            let place = const { place(stringify!($first)).unwrap() };
            run(place, Program::Second, || syscall::$handler(&context, Program::Second));
            0
        }
    )*};
}

syscalls! {
    /// `rt_sigaction(int sig, const struct sigaction *act, struct sigaction *oact, size_t size)`
    sys_enter_rt_sigaction, sys_enter_rt_sigaction_again => enter_sigaction;
    /// `rt_sigprocmask(int how, sigset_t *set, sigset_t *oset, size_t size)`
    sys_enter_rt_sigprocmask, sys_enter_rt_sigprocmask_again => enter_sigprocmask;
    /// The end of these, and of `signalfd` and `signalfd4`.
    sys_exit_change, sys_exit_change_again => exit_change;
    /// `write(unsigned int fd, const char *buf, size_t count)`,
    /// `writev(unsigned long fd, const struct iovec *vec, unsigned long vlen)`,
    /// `sendto(int fd, void *buff, size_t len, unsigned int flags, struct sockaddr *addr, int addr_len)`,
    /// `sendmsg(int fd, struct user_msghdr *msg, unsigned int flags)` and
    /// `sendmmsg(int fd, struct mmsghdr *mmsg, unsigned int vlen, unsigned int flags)`
    sys_enter_send, sys_enter_send_again => enter_send;
    /// The end of each of these that send.
    sys_exit_send, sys_exit_send_again => exit_send;
}

/// `signalfd(int fd, sigset_t *mask, size_t size)`, absent on newer architectures, and
/// `signalfd4(int fd, sigset_t *mask, size_t size, int flags)`
#[tracepoint]
fn sys_enter_signalfd(context: TracePointContext) -> u32 {
    syscall::enter_signalfd(&context);
    0
}

/// `rt_sigtimedwait(const sigset_t *these, siginfo_t *info, const struct timespec *ts, size_t size)`
#[tracepoint]
fn sys_enter_rt_sigtimedwait(context: TracePointContext) -> u32 {
    syscall::enter_sigtimedwait(&context);
    0
}

/// Its end.
#[tracepoint]
fn sys_exit_rt_sigtimedwait(context: TracePointContext) -> u32 {
    syscall::exit_sigtimedwait(&context);
    0
}

/// `connect(int fd, struct sockaddr *addr, int addr_len)`
#[tracepoint]
fn sys_enter_connect(context: TracePointContext) -> u32 {
    syscall::enter_connect(&context);
    0
}

/// Its end.
#[tracepoint]
fn sys_exit_connect(context: TracePointContext) -> u32 {
    syscall::exit_connect(&context);
    0
}

// What places a signal: loaded by `race` alone.

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
#[btf_tracepoint(function = "sched_process_fork")]
fn place_sched_process_fork(context: BtfTracePointContext) -> i32 {
    place::forked(Task(pointer(&context, 0)), Task(pointer(&context, 1)));
    0
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[btf_tracepoint(function = "sched_process_exec")]
fn place_sched_process_exec(context: BtfTracePointContext) -> i32 {
    place::executed(Task(pointer(&context, 0)));
    0
}

/// `sched_process_exit(struct task_struct *p)`; `bool group_dead` follows from 6.16 on.
#[btf_tracepoint(function = "sched_process_exit")]
fn place_sched_process_exit(context: BtfTracePointContext) -> i32 {
    place::exited(Task(pointer(&context, 0)));
    0
}

/// `cgroup_attach_task(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup)`
#[btf_tracepoint(function = "cgroup_attach_task")]
fn place_cgroup_attach_task(context: BtfTracePointContext) -> i32 {
    place::attached(Cgroup(address(&context, 0)), Task(pointer(&context, 2)));
    0
}

/// `signal_deliver(int sig, struct kernel_siginfo *info, struct k_sigaction *ka)`
#[btf_tracepoint(function = "signal_deliver")]
fn place_signal_deliver(context: BtfTracePointContext) -> i32 {
    place::delivered(context.arg::<u32>(0), pointer(&context, 2));
    0
}

/// `sys_enter(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
fn place_sys_enter(_context: BtfTracePointContext) -> i32 {
    place::entered();
    0
}

/// `sys_exit(struct pt_regs *regs, long ret)`
#[btf_tracepoint(function = "sys_exit")]
fn place_sys_exit(_context: BtfTracePointContext) -> i32 {
    place::called();
    0
}

macro_rules! place_at_syscalls {
    ($($(#[$doc:meta])* $name:ident => |$context:ident| $work:expr;)*) => {$(
        $(#[$doc])*
        #[tracepoint]
        fn $name($context: TracePointContext) -> u32 {
            $work;
            0
        }
    )*};
}

place_at_syscalls! {
    /// `prctl(int option, …)`
    place_enter_prctl => |context| place::enter_prctl(&context);
    /// Its end.
    place_exit_prctl => |_context| place::exit_prctl();
    /// The end of `clone`, `clone3`, `fork` and `vfork`.
    place_exit_fork => |context| place::exit_fork(&context);
    /// `rt_sigaction(int sig, const struct sigaction *act, struct sigaction *oact, size_t size)`
    place_enter_rt_sigaction => |context| place::enter_sigaction(&context);
    /// Its end.
    place_exit_rt_sigaction => |context| place::exit_sigaction(&context);
    /// `rt_sigprocmask(int how, sigset_t *set, sigset_t *oset, size_t size)`
    place_enter_rt_sigprocmask => |context| place::enter_sigprocmask(&context);
    /// Its end.
    place_exit_rt_sigprocmask => |_context| place::exit_sigprocmask();
    /// `signalfd(int fd, sigset_t *mask, size_t size)` and `signalfd4`
    place_enter_signalfd => |context| place::enter_signalfd(&context);
    /// Their end.
    place_exit_signalfd => |context| place::exit_signalfd(&context);
    /// The end of `wait4(pid_t upid, int *stat_addr, int options, struct rusage *ru)`
    place_exit_wait4 => |context| place::exit_wait4(&context);
    /// `waitid(int which, pid_t upid, struct siginfo *infop, int options, struct rusage *ru)`
    place_enter_waitid => |context| place::enter_waitid(&context);
    /// Its end.
    place_exit_waitid => |context| place::exit_waitid(&context);
    /// `rt_sigtimedwait(const sigset_t *these, siginfo_t *info, const struct timespec *ts, size_t size)`
    place_enter_rt_sigtimedwait => |context| place::enter_sigtimedwait(&context);
    /// `write(unsigned int fd, const char *buf, size_t count)`
    place_enter_write => |context| place::enter_write(&context);
    /// `writev(unsigned long fd, const struct iovec *vec, unsigned long vlen)`
    place_enter_writev => |context| place::enter_writev(&context);
    /// `sendto(int fd, void *buff, size_t len, unsigned int flags, struct sockaddr *addr, int addr_len)`
    place_enter_sendto => |context| place::enter_sendto(&context);
    /// `sendmsg(int fd, struct user_msghdr *msg, unsigned int flags)` and `sendmmsg`
    place_enter_sendmsg => |context| place::enter_sendmsg(&context);
    /// The end of each of these that send.
    place_exit_send => |context| place::exit_send(&context);
}

/// Required of a program without `std`; the verifier refuses what could reach it.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
