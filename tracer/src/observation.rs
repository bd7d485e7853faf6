//! What a timeline is built from: facts in the order they arrive, from the
//! kernel side or from /proc. The times are `CLOCK_BOOTTIME` ns.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use tracer_common::signal::SignalSet;

use crate::model::{
    document::Owner,
    event::{Consumer, DispositionKind, ThreadRef},
    runtime::Runtime,
    signal::Signal,
    unit::{UnitFacts, UnitState},
};

/// One instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    /// `CLOCK_BOOTTIME` ns.
    pub boot_ns: u64,
    /// Wall-clock time.
    pub wall: Timestamp,
}

/// Clock ticks per second of the start times in /proc (`USER_HZ`, 100 everywhere).
pub const TICK_NS: u64 = 10_000_000;

/// A process for as long as it lives. The start time counts in ticks, as /proc
/// has it, so that a process found there and one seen by the kernel side match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// Thread group id.
    pub pid: u32,
    /// Start time after boot, in [`TICK_NS`].
    pub start_ticks: u64,
}

/// A thread as an observation found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its process.
    pub id: ProcessId,
    /// Its thread id.
    pub tid: u32,
    /// The process's id in its own pid namespace.
    pub ns_pid: u32,
    /// Real user id.
    pub uid: u32,
    /// Start of the process, ns after boot (from /proc: to the tick).
    pub start_ns: u64,
    /// Its cgroup in the unified hierarchy.
    pub cgroup_id: u64,
    /// Its name.
    pub comm: SmolStr,
}

#[cfg(test)]
impl Task {
    /// The first thread of a process of root's, as tests take it for any.
    pub(crate) fn of(id: ProcessId) -> Self {
        let ProcessId { pid, start_ticks } = id;
        let start_ns = start_ticks * TICK_NS;
        Self { id, tid: pid, ns_pid: pid, uid: 0, start_ns, cgroup_id: 0, comm: SmolStr::default() }
    }
}

/// Whom a handler serves (see `tracer_common::event::Handler`).
pub use tracer_common::event::Handler;
/// The signal state of a process (see `tracer_common::event::SignalState`).
pub use tracer_common::event::SignalState;

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When it was true, `CLOCK_BOOTTIME` ns.
    pub at: u64,
    /// What was.
    pub fact: Fact,
}

/// What can be observed.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A process was there when the capture began (from /proc).
    Found {
        /// The process (its first thread).
        task: Task,
        /// Parent pid.
        parent: u32,
        /// Its program, where it could be read.
        exe: Option<SmolStr>,
        /// Its cgroup's path: systemd's hierarchy on v1, else the unified one.
        cgroup: Option<String>,
        /// What runs in it.
        program: Program,
        /// What its environment says of systemd.
        environment: Environment,
        /// Its signals.
        state: SignalState,
    },
    /// How a process stood at the end of the capture (from /proc).
    Left {
        /// The process.
        id: ProcessId,
        /// Its signals.
        state: SignalState,
    },
    /// A cgroup has this path: found at the start, or made now.
    CgroupPath {
        /// 0 for the unified hierarchy.
        hierarchy: u32,
        /// Id in that hierarchy.
        id: u64,
        /// From the hierarchy's root.
        path: String,
    },
    /// A task was moved into a cgroup.
    CgroupAttach {
        /// The task.
        task: Task,
        /// 0 for the unified hierarchy.
        hierarchy: u32,
        /// Whether that hierarchy is the one systemd tracks units in.
        tracks_units: bool,
        /// From the hierarchy's root.
        path: String,
    },
    /// A cgroup was removed.
    CgroupGone {
        /// 0 for the unified hierarchy.
        hierarchy: u32,
        /// Id in that hierarchy.
        id: u64,
        /// From the hierarchy's root.
        path: String,
    },
    /// A process was started.
    Fork {
        /// Who started it.
        parent: Task,
        /// The new process.
        child: Task,
        /// Whether the two have one table of handlers until one of them executes
        /// (`CLONE_SIGHAND` without `CLONE_THREAD`).
        shares_handlers: bool,
        /// Whether the child runs in its parent's memory until it executes (`CLONE_VM`, as of `vfork`
        /// and `posix_spawn`).
        shares_memory: bool,
        /// The signal state it starts with.
        state: SignalState,
    },
    /// A process replaced its program.
    Exec {
        /// The process, after.
        task: Task,
        /// What was asked for.
        filename: String,
        /// What was loaded: the resolved path where /proc still had it, else the name it was loaded by.
        exe: SmolStr,
        /// The name of the file that was loaded, without its directory, as the kernel has it.
        file: SmolStr,
        /// What runs in it.
        program: Program,
        /// What its environment says of systemd.
        environment: Environment,
        /// The signal state it starts with.
        state: SignalState,
    },
    /// The arguments that a process has: right after its exec, or found. Told where they matter.
    CommandLine {
        /// The process.
        task: Task,
        /// They, with spaces between them.
        line: String,
        /// What an interpreter is to run, with its own arguments, in the same way; `None` where
        /// it is no interpreter, or runs none.
        script: Option<String>,
    },
    /// A process ended.
    Exit {
        /// The process.
        task: Task,
        /// The signal that killed it.
        signal: Option<Signal>,
        /// Its exit code otherwise.
        code: u8,
        /// Whether it dumped core.
        core_dumped: bool,
        /// The signal state it ended with.
        state: SignalState,
    },
    /// A thread ended, and its process goes on. Told only of one with signals that wait for it
    /// alone: they go with it.
    ThreadExit {
        /// The thread.
        task: Task,
        /// What waited for it.
        pending: SignalSet,
    },
    /// A signal was generated.
    Generate(Box<Generate>),
    /// A thread took a signal from its queue.
    Deliver {
        /// The thread.
        task: Task,
        /// The signal.
        signal: Signal,
        /// `Default`, `Ignored` or `Handler`.
        disposition: DispositionKind,
        /// `SA_RESETHAND` was set: the disposition is the default from here on.
        once: bool,
        /// The process is an init, which no default action ends (`SIGNAL_UNKILLABLE`).
        unkillable: bool,
    },
    /// A process set what it does on a signal.
    Disposition {
        /// The thread that did.
        task: Task,
        /// The signal.
        signal: Signal,
        /// `Default`, `Ignored` or `Handler`.
        disposition: DispositionKind,
        /// `SA_RESETHAND`.
        once: bool,
        /// The handler now in force.
        handler: Handler,
        /// The virtual machine that the process has loaded after its exec, where that was looked
        /// for and found.
        loaded: Option<Runtime>,
        /// The process's signals now.
        state: SignalState,
    },
    /// A thread changed its mask.
    Mask {
        /// The thread.
        task: Task,
        /// Its mask before.
        before: SignalSet,
        /// Its mask now.
        after: SignalSet,
        /// The process's signals now.
        state: SignalState,
    },
    /// A thread made a signalfd or waits for signals.
    Consume {
        /// The thread.
        task: Task,
        /// How.
        consumer: Consumer,
        /// The signals.
        set: SignalSet,
        /// The process's signals now.
        state: SignalState,
    },
    /// A sigwait returned with a signal.
    Taken {
        /// The thread.
        task: Task,
        /// The signal.
        signal: Signal,
    },
    /// A datagram was sent to a named socket, or a connect() to one failed.
    Notify(Box<Datagram>),
    /// What systemd knows of a unit (from D-Bus or unit files).
    Unit(Box<UnitNews>),
    /// The kernel side lost this many more events.
    Loss {
        /// Name of the kind of event, or where it was lost.
        kind: Cow<'static, str>,
        /// How many.
        count: u64,
    },
}

/// What runs in a process, as its executable tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// The executable could not be read.
    #[default]
    Unread,
    /// A program without a runtime that has handlers of its own: each handler is its wish.
    Plain,
    /// One with this runtime.
    Of(Runtime),
}

/// What was learned of a unit. What is `None` was not learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitNews {
    /// Its service's cgroup, from the hierarchy's root: what tells units of one name in
    /// several containers apart.
    pub cgroup: String,
    /// Its settings.
    pub facts: Option<UnitFacts>,
    /// Why they could not be asked for, or what is doubtful about them.
    pub problem: Option<String>,
    /// How systemd sees it since the time of the observation.
    pub state: Option<UnitState>,
    /// `InvocationID`: the start this is the state of.
    pub invocation_id: Option<String>,
    /// Whether systemd's pids are those of a pid namespace of its own.
    pub own_pids: bool,
    /// Whose it is.
    pub owner: Option<Owner>,
}

/// What a process's environment says of systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `INVOCATION_ID`: one activation of one unit.
    pub invocation_id: Option<String>,
    /// `NOTIFY_SOCKET`.
    pub notify_socket: Option<String>,
    /// Started beside or after the main process (`MAINPID` or `SERVICE_RESULT` is
    /// set): an ExecReload=, ExecStartPost=, ExecStop= or ExecStopPost= process.
    pub control: bool,
}

/// A signal at the moment it was generated.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Generate {
    /// Who sent it; `None` if the kernel made it.
    pub sender: Option<Task>,
    /// Where the sender comes from; `None` where the target itself sent it.
    pub origin: Option<Arc<Origin>>,
    /// Whom it was sent to.
    pub target: Task,
    /// The signal.
    pub signal: Signal,
    /// What the kernel did with it.
    pub result: GenerateResult,
    /// `si_code`
    pub si_code: i32,
    /// The target's disposition, blocked in every thread and init's immunity included.
    pub disposition: DispositionKind,
    /// There were more threads than the kernel side looks at, so whether all of them block
    /// it is not known: `disposition` is what holds for one that doesn't.
    pub mask_unknown: bool,
    /// The target was being traced with ptrace.
    pub traced: bool,
    /// Sent to one thread.
    pub to_thread: bool,
    /// A thread of the target was waiting for it in sigwait.
    pub awaited: bool,
    /// The first thread of the target that doesn't block it, where the one it came to does.
    pub unblocked: Option<ThreadRef>,
    /// The handler it met.
    pub handler: Handler,
    /// The signal that the target's thread group is dying of, right after this one
    /// was generated (`group_exit_code & 0x7f`).
    pub dying_of: Option<Signal>,
}

#[cfg(test)]
impl Generate {
    /// A HUP that the kernel made and queued, as tests take it for any: its default action.
    pub(crate) fn of(target: Task) -> Self {
        Self {
            sender: None,
            origin: None,
            target,
            signal: Signal::HUP,
            result: GenerateResult::Queued,
            si_code: 0,
            disposition: DispositionKind::Default,
            mask_unknown: false,
            traced: false,
            to_thread: false,
            awaited: false,
            unblocked: None,
            handler: Handler::default(),
            dying_of: None,
        }
    }
}

/// Where the sender of a signal comes from, at the moment of sending as far as that was told by
/// the kernel side, and right afterwards as far as it is read in /proc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its arguments, with spaces between them.
    pub command: Option<String>,
    /// Its cgroup's path from the hierarchy's root, or the end of that.
    pub cgroup: Option<String>,
    /// The processes that it comes from, the nearest first; not all the way up.
    pub parents: Vec<Parent>,
    /// The process that had a systemd send it, where one was found that had.
    pub asked_by: Option<Box<Asker>>,
}

/// The unit that a cgroup is of: the innermost service or scope in its path. A login is a scope
/// too.
#[must_use]
pub fn unit_of(cgroup: &str) -> Option<&str> {
    cgroup.rsplit('/').find(|name| name.ends_with(".service") || name.ends_with(".scope"))
}

/// A process that a sender comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The process.
    pub id: ProcessId,
    /// Its id in its own pid namespace.
    pub ns_pid: u32,
    /// Its cgroup in the unified hierarchy; 0 where it is not known.
    pub cgroup_id: u64,
    /// Its name.
    pub comm: SmolStr,
    /// Its arguments, with spaces between them.
    pub command: Option<String>,
    /// Its cgroup's path, from the hierarchy's root.
    pub cgroup: Option<String>,
}

/// A process that had a systemd send a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The process.
    pub id: ProcessId,
    /// Its id in its own pid namespace.
    pub ns_pid: u32,
    /// Its name.
    pub comm: SmolStr,
    /// Real user id.
    pub uid: u32,
    /// Where it comes from.
    pub origin: Origin,
}

/// `TRACE_SIGNAL_*` (include/trace/events/signal.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerateResult {
    /// Queued (even while blocked).
    Queued,
    /// Thrown away.
    Ignored,
    /// One is already pending.
    AlreadyPending,
    /// No room in the queue; not sent.
    Overflow,
    /// Sent, but its siginfo is lost.
    LostInfo,
}

/// A datagram to a named AF_UNIX socket, perhaps a notify socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub sender: Task,
    /// The sender's program, where /proc still had it.
    pub exe: Option<SmolStr>,
    /// The pid in its `SCM_CREDENTIALS`, in the sender's own pid namespace.
    pub claimed_pid: Option<u32>,
    /// Where to; an abstract address begins with `@`.
    pub destination: String,
    /// What was sent, up to 4,096 bytes; `None` if it could not be read.
    pub payload: Option<Vec<u8>>,
    /// Bytes it had.
    pub length: u32,
    /// 0, or the errno of the send, or of the connect().
    pub errno: i32,
    /// Whether there is no message, as the sender could not connect() to the address.
    pub not_connected: bool,
}

/// The task a fact is about: of a fork the child, of a signal its target, of a message its
/// sender.
#[must_use]
pub fn fact_task(fact: &Fact) -> Option<&Task> {
    match fact {
        Fact::Found { task, .. }
        | Fact::CgroupAttach { task, .. }
        | Fact::Exec { task, .. }
        | Fact::CommandLine { task, .. }
        | Fact::Exit { task, .. }
        | Fact::ThreadExit { task, .. }
        | Fact::Deliver { task, .. }
        | Fact::Disposition { task, .. }
        | Fact::Mask { task, .. }
        | Fact::Consume { task, .. }
        | Fact::Taken { task, .. } => Some(task),
        Fact::Fork { child, .. } => Some(child),
        Fact::Generate(generate) => Some(&generate.target),
        Fact::Notify(datagram) => Some(&datagram.sender),
        Fact::CgroupPath { .. }
        | Fact::CgroupGone { .. }
        | Fact::Left { .. }
        | Fact::Unit(_)
        | Fact::Loss { .. } => None,
    }
}
