//! Others that do something like it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};

/// Programs at the two hooks that signals come through, which do nothing: the least that any
/// tracer of signals can cost.
pub const EMPTY: &str =
    "tracepoint:signal:signal_generate { } tracepoint:signal:signal_deliver { }";
/// The same, counting.
pub const COUNTING: &str = "tracepoint:signal:signal_generate { @generated = count() } \
                            tracepoint:signal:signal_deliver { @delivered = count() }";
/// The same, with a record of each signal that is sent: the least that a tracer which tells of them
/// can cost.
pub const TELLING: &str = "tracepoint:signal:signal_generate { printf(\"%d\\n\", args->sig) } \
                           tracepoint:signal:signal_deliver { }";
/// About as many hooks as sigready has with system calls.
macro_rules! hooks {
    () => {
        "\
tracepoint:signal:signal_generate, tracepoint:signal:signal_deliver, \
tracepoint:sched:sched_process_fork, tracepoint:sched:sched_process_exec, \
tracepoint:sched:sched_process_exit, tracepoint:cgroup:cgroup_mkdir, \
tracepoint:cgroup:cgroup_rmdir, tracepoint:cgroup:cgroup_attach_task, \
tracepoint:syscalls:sys_enter_rt_sigaction, tracepoint:syscalls:sys_exit_rt_sigaction, \
tracepoint:syscalls:sys_enter_rt_sigprocmask, tracepoint:syscalls:sys_exit_rt_sigprocmask, \
tracepoint:syscalls:sys_enter_signalfd4, tracepoint:syscalls:sys_exit_signalfd4, \
tracepoint:syscalls:sys_enter_rt_sigtimedwait, tracepoint:syscalls:sys_exit_rt_sigtimedwait, \
tracepoint:syscalls:sys_enter_sendto, tracepoint:syscalls:sys_exit_sendto, \
tracepoint:syscalls:sys_enter_sendmsg, tracepoint:syscalls:sys_exit_sendmsg, \
tracepoint:syscalls:sys_enter_sendmmsg, tracepoint:syscalls:sys_exit_sendmmsg, \
tracepoint:syscalls:sys_enter_write, tracepoint:syscalls:sys_exit_write, \
tracepoint:syscalls:sys_enter_writev, tracepoint:syscalls:sys_exit_writev "
    };
}
/// About as many programs as sigready has with system calls, each counting.
pub const AS_MANY: &str = concat!(hooks!(), "{ @[probe] = count() }");
/// The same, which do nothing: the least that a trace of others can cost where it has to hook system
/// calls.
pub const AS_MANY_EMPTY: &str = concat!(hooks!(), "{ }");

/// Mounts what tracers read, where nobody has, for itself alone. It is one process throughout.
const WITH_TRACEFS: &str =
    "[ -e /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
     exec \"$@\"";

/// bpftrace with a script.
pub fn bpftrace(script: &str) -> Command {
    let mut command = with_tracefs("bpftrace");
    command.args(["-e", script]);
    command
}

/// perf trace of the two hooks that signals come through, of a command and what that starts.
pub fn perf(of: &[&str]) -> Command {
    let mut command = with_tracefs("perf");
    command.args(["trace", "--output", "/dev/null", "--event", PERF_EVENTS, "--"]).args(of);
    command
}

/// What perf trace watches.
const PERF_EVENTS: &str = "signal:signal_generate,signal:signal_deliver";

fn with_tracefs(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", WITH_TRACEFS, "sh", program]);
    command
}

/// One that runs until it is ended.
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts bpftrace and waits until its programs are there: they count themselves.
    pub fn bpftrace(script: &str) -> Result<Self> {
        // The interval is attached with the others, and comes again and again.
        let script = format!("{script} interval:ms:10 {{ printf(\"live\\n\") }}");
        let mut command = bpftrace(&script);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot run bpftrace")?;
        let stdout = child.stdout.take().context("bpftrace has no stdout")?;
        let running = Self { child };
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while line.trim() != "live" {
            line.clear();
            if stdout.read_line(&mut line)? == 0 {
                bail!("bpftrace ended: can it trace here?");
            }
        }
        thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        Ok(running)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
