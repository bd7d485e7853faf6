//! The records the kernel side writes into the ring buffer.
//!
//! Each record starts with a [`Header`] whose `kind` says which struct it is.
//! Times are nanoseconds of `CLOCK_BOOTTIME`, the clock that process start
//! times use too. Process ids are those of the initial pid namespace.

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use crate::signal::SignalSet;

/// Bytes of a task's name (`TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;
/// Bytes kept of a path: file names, cgroup paths.
pub const PATH_LEN: usize = 256;
/// Bytes of `sun_path` (`UNIX_PATH_MAX`).
pub const ADDRESS_LEN: usize = 108;
/// Bytes kept of a sender's command line.
pub const COMMAND_LEN: usize = 256;
/// Bytes kept of the name of a sender's cgroup.
pub const CGROUP_NAME_LEN: usize = 128;
/// How many parents of a sender are told.
pub const PARENTS: usize = 8;
/// The most a notify message can hold: systemd drops what is longer than `PIPE_BUF`.
pub const PAYLOAD_LEN: usize = 4096;

/// What a record is. The numbers are stable: append, never renumber.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Fork`]
    Fork = 0,
    /// [`Exec`]
    Exec = 1,
    /// [`Exit`]
    Exit = 2,
    /// [`Generate`]
    Generate = 3,
    /// [`Deliver`]
    Deliver = 4,
    /// [`Disposition`]
    Disposition = 5,
    /// [`Mask`]
    Mask = 6,
    /// [`Consume`]
    Consume = 7,
    /// [`Notify`]
    Notify = 8,
    /// [`Cgroup`]
    Cgroup = 9,
    /// [`ThreadExit`]
    ThreadExit = 10,
    /// [`Sender`]
    Sender = 11,
}

/// How many kinds there are: the size of the loss counters.
pub const KINDS: u32 = 12;

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; KINDS as usize] = [
        Self::Fork,
        Self::Exec,
        Self::Exit,
        Self::Generate,
        Self::Deliver,
        Self::Disposition,
        Self::Mask,
        Self::Consume,
        Self::Notify,
        Self::Cgroup,
        Self::ThreadExit,
        Self::Sender,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    /// The word for it in loss reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Exec => "exec",
            Self::Exit => "exit",
            Self::Generate => "signal",
            Self::Deliver => "delivery",
            Self::Disposition => "disposition",
            Self::Mask => "mask",
            Self::Consume => "consume",
            Self::Notify => "notify",
            Self::Cgroup => "cgroup",
            Self::ThreadExit => "thread exit",
            Self::Sender => "sender",
        }
    }
}

/// A thread at the moment of the event, as the kernel had it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Task {
    /// Thread group id: what user space calls the pid.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// The thread group id in the process's own pid namespace.
    pub ns_pid: u32,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// `group_leader->start_boottime`: with `pid` it identifies the process.
    pub start_ns: u64,
    /// Id of its cgroup in the unified hierarchy (the root's where v2 is not in use).
    pub cgroup_id: u64,
    /// Thread name; may hold any bytes.
    pub comm: [u8; COMM_LEN],
}

/// What every record starts with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Header {
    /// A [`Kind`] as its number.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// When it happened, `CLOCK_BOOTTIME` ns.
    pub at_ns: u64,
    /// The thread it happened to, or that did it (see each record).
    pub task: Task,
}

/// A process's signal state, for the recorded signals.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SignalState {
    /// Signals with `SIG_IGN`.
    pub ignored: SignalSet,
    /// Signals with a handler.
    pub caught: SignalSet,
    /// Signals that every thread blocks (`blocked | real_blocked`).
    pub blocked: SignalSet,
    /// Those of `blocked` of which that is not known: all threads that were looked at block
    /// them, and there are more threads.
    pub blocked_unknown: SignalSet,
    /// Signals pending, for the thread or for the process.
    pub pending: SignalSet,
}

/// Whom a signal's handler serves besides, which tells language runtimes from programs.
/// Empty without a handler.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Handler {
    /// The signals that have it, this one included: a Go runtime's has nearly all.
    pub serves: SignalSet,
    /// The signals that have SIGSEGV's handler; empty if that has none. A Java virtual
    /// machine has one for faults and others that nobody else would give the same.
    pub faults: SignalSet,
}

/// [`Fork::flags`]: parent and child have one table of actions (`CLONE_SIGHAND`).
pub const SHARES_HANDLERS: u32 = 1;
/// The same: the child runs in its parent's memory until it executes a program (`vfork`,
/// `posix_spawn`).
pub const SHARES_MEMORY: u32 = 2;

/// A new process. `header.task` is the parent. New threads are not reported.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Fork {
    /// Kind, time, parent.
    pub header: Header,
    /// The child.
    pub child: Task,
    /// `SHARES_HANDLERS` and `SHARES_MEMORY`, or 0.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// The state the child starts with.
    pub state: SignalState,
}

/// [`Exec::environment`]: `INVOCATION_ID=` was found.
pub const ENV_INVOCATION_ID: u32 = 1;
/// [`Exec::environment`]: `NOTIFY_SOCKET=` was found.
pub const ENV_NOTIFY_SOCKET: u32 = 1 << 1;
/// [`Exec::environment`]: `MAINPID=` was found (systemd sets it for control processes).
pub const ENV_MAINPID: u32 = 1 << 2;
/// [`Exec::environment`]: `SERVICE_RESULT=` was found (ExecStop= and ExecStopPost= have it).
pub const ENV_SERVICE_RESULT: u32 = 1 << 3;

/// A process replaced its program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Exec {
    /// Kind, time, the process after the exec.
    pub header: Header,
    /// The state the new program starts with.
    pub state: SignalState,
    /// `ENV_*` bits: what the new program's environment holds.
    pub environment: u32,
    /// Zero.
    pub reserved: u32,
    /// Value of `INVOCATION_ID`, 32 hex digits.
    pub invocation_id: [u8; 32],
    /// Value of `NOTIFY_SOCKET`, zero-terminated unless full.
    pub notify_socket: [u8; 112],
    /// `bprm->filename`: what was asked for. Zero-terminated.
    pub filename: [u8; PATH_LEN],
    /// `bprm->interp`: what was loaded (differs for `#!` scripts). Zero-terminated.
    pub interp: [u8; PATH_LEN],
    /// Name of the file that was loaded, symbolic links resolved. Zero-terminated, may be cut.
    pub file: [u8; 64],
}

/// The last thread of a process exited.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Exit {
    /// Kind, time, the process.
    pub header: Header,
    /// As `wait(2)` has it: bits 0–6 signal, bit 7 core dumped, bits 8–15 exit code.
    pub status: u32,
    /// Zero.
    pub reserved: u32,
    /// The state it died with; `pending` tells what nothing took.
    pub state: SignalState,
}

/// A thread exited, and its process goes on. Reported only of one with recorded signals
/// waiting for it alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct ThreadExit {
    /// Kind, time, the thread.
    pub header: Header,
    /// `task->pending`: the recorded ones of the signals that waited for it.
    pub pending: SignalSet,
}

/// Who caused a signal, as far as the siginfo says.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `SEND_SIG_NOINFO`, or an `si_code` of `kill`, `tgkill` or `sigqueue`: the current task
    /// sent it.
    User = 0,
    /// `SEND_SIG_PRIV`, or an `si_code` that tells of an event: a positive one, or that of a
    /// timer, a message queue, input and output.
    Kernel = 1,
}

/// [`Generate::disposition`] and [`Disposition::disposition`]: `SIG_DFL`.
pub const DISPOSITION_DEFAULT: u32 = 0;
/// `SIG_IGN`.
pub const DISPOSITION_IGNORED: u32 = 1;
/// A handler in user space.
pub const DISPOSITION_HANDLER: u32 = 2;

/// [`Generate::flags`]: blocked in every thread that could take it.
pub const TARGET_BLOCKED: u32 = 1;
/// [`Generate::flags`]: the target is being traced with ptrace.
pub const TARGET_TRACED: u32 = 1 << 1;
/// [`Generate::flags`] and [`Deliver::flags`]: the target is an init that ignores what it has
/// no handler for.
pub const TARGET_UNKILLABLE: u32 = 1 << 2;
/// [`Generate::flags`]: the target's thread group is dying (`SIGNAL_GROUP_EXIT`).
pub const TARGET_DYING: u32 = 1 << 3;
/// [`Generate::flags`]: sent to one thread, not to the process.
pub const TO_THREAD: u32 = 1 << 4;
/// [`Generate::flags`]: too many threads to look at every mask; `TARGET_BLOCKED` is unknown.
pub const BLOCKED_UNKNOWN: u32 = 1 << 5;
/// [`Generate::flags`]: a thread of the target waits for it in sigwait.
pub const TARGET_WAITING: u32 = 1 << 6;
/// [`Generate::flags`]: the target is stopped (`SIGNAL_STOP_STOPPED`), and takes no signal
/// until it goes on.
pub const TARGET_STOPPED: u32 = 1 << 7;

/// A process that a sender comes from, as the kernel had it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Parent {
    /// Thread group id; 0 where there are no more parents.
    pub pid: u32,
    /// The same in its own pid namespace.
    pub ns_pid: u32,
    /// `start_boottime`: with `pid` it identifies the process.
    pub start_ns: u64,
    /// Id of its cgroup in the unified hierarchy.
    pub cgroup_id: u64,
    /// Its name; may hold any bytes.
    pub comm: [u8; COMM_LEN],
}

/// Where the sender of signals comes from. `header.task` is the sender, `header.at_ns` what the
/// signals have as their [`Generate::sender_at`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Sender {
    /// Kind, time, the sender.
    pub header: Header,
    /// Bytes of its command line, `mm->arg_end - mm->arg_start`.
    pub command_length: u32,
    /// Bytes of it in `command`; 0 if it could not be read.
    pub command_stored: u32,
    /// Its arguments, each with a zero byte after it.
    pub command: [u8; COMMAND_LEN],
    /// The name of its cgroup in the unified hierarchy, zero-terminated, and that of the one
    /// above; empty for the root.
    pub cgroup: [[u8; CGROUP_NAME_LEN]; 2],
    /// Whom it comes from, the nearest first.
    pub parents: [Parent; PARENTS],
}

/// [`Generate::sender_at`]: the record of the sender found no room.
pub const SENDER_LOST: u64 = u64::MAX;

/// A signal was generated. `header.task` is the current task: the sender when
/// `origin` is [`Origin::User`], else whoever happened to run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Generate {
    /// Kind, time, current task.
    pub header: Header,
    /// The target; `tid` is the thread the kernel chose or was told.
    pub target: Task,
    /// Signal number.
    pub signal: u32,
    /// `TRACE_SIGNAL_*`: 0 queued, 1 ignored, 2 already pending, 3 overflow, 4 siginfo lost.
    pub result: u32,
    /// `si_code`; 0 for `SEND_SIG_NOINFO`, `SI_KERNEL` (128) for `SEND_SIG_PRIV`.
    pub si_code: i32,
    /// An [`Origin`] as its number.
    pub origin: u32,
    /// `si_pid` as the target sees it; 0 where the siginfo has none.
    pub si_pid: u32,
    /// `si_uid`; `u32::MAX` where the siginfo has none.
    pub si_uid: u32,
    /// `DISPOSITION_*`: the target's action for the signal at this moment.
    pub disposition: u32,
    /// `TARGET_*` and `TO_THREAD` bits.
    pub flags: u32,
    /// `signal->group_exit_code`, meaningful with [`TARGET_DYING`].
    pub group_exit_code: u32,
    /// The first of the target's threads that doesn't block it, where `target.tid` does and it
    /// was sent to the process; else 0.
    pub unblocked_tid: u32,
    /// That thread's name; may hold any bytes.
    pub unblocked_comm: [u8; COMM_LEN],
    /// The handler it met. Whom it serves is as it was 0.1 s ago at the earliest.
    pub handler: Handler,
    /// When the [`Sender`] record was made that tells where the sender comes from; 0 where none
    /// does, as the kernel or the target itself sent it, or [`SENDER_LOST`].
    pub sender_at: u64,
}

/// A thread took a signal out of its queue (`get_signal`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Deliver {
    /// Kind, time, the thread that took it.
    pub header: Header,
    /// Signal number.
    pub signal: u32,
    /// `si_code`.
    pub si_code: i32,
    /// `DISPOSITION_*` at delivery.
    pub disposition: u32,
    /// [`TARGET_UNKILLABLE`] or 0.
    pub flags: u32,
    /// `sa_flags`; `SA_RESETHAND` makes the disposition default from here on.
    pub sa_flags: u64,
}

/// A process set what it does on a signal (`do_sigaction`), successfully.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Disposition {
    /// Kind, time, the thread that did it.
    pub header: Header,
    /// The process's whole state now.
    pub state: SignalState,
    /// Signal number.
    pub signal: u32,
    /// `DISPOSITION_*` now in force.
    pub disposition: u32,
    /// `sa_flags` now in force.
    pub sa_flags: u64,
    /// The handler now in force.
    pub handler: Handler,
}

/// A thread changed its mask for a recorded signal.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Mask {
    /// Kind, time, the thread.
    pub header: Header,
    /// The process's whole state now.
    pub state: SignalState,
    /// The thread's mask before.
    pub before: SignalSet,
    /// The thread's mask now, all 64 signals.
    pub after: SignalSet,
}

// The kernel side puts all three together in room for the first.
const _: () = {
    assert!(offset_of!(Mask, state) == offset_of!(Disposition, state));
    assert!(offset_of!(Consume, state) == offset_of!(Disposition, state));
    assert!(size_of::<Mask>() <= size_of::<Disposition>());
    assert!(size_of::<Consume>() <= size_of::<Disposition>());
};

/// [`Consume::way`]: a signalfd for the set exists.
pub const CONSUME_SIGNALFD: u32 = 0;
/// [`Consume::way`]: the thread waits for the set in sigwait, sigwaitinfo or sigtimedwait.
pub const CONSUME_SIGWAIT: u32 = 1;
/// [`Consume::way`]: sigwait returned `signal`.
pub const CONSUME_TAKEN: u32 = 2;

/// A process consumes signals without a handler.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Consume {
    /// Kind, time, the thread.
    pub header: Header,
    /// The process's whole state now; zeros with [`CONSUME_TAKEN`].
    pub state: SignalState,
    /// One of `CONSUME_*`.
    pub way: u32,
    /// The signal taken, with [`CONSUME_TAKEN`].
    pub signal: u32,
    /// The signals waited for.
    pub set: SignalSet,
}

/// [`Notify::flags`]: the payload could not be read.
pub const PAYLOAD_UNREADABLE: u32 = 1;
/// [`Notify::flags`]: `claimed_pid` holds the pid of an `SCM_CREDENTIALS` message.
pub const HAS_CREDENTIALS: u32 = 1 << 1;
/// [`Notify::flags`]: there is no message: its socket could not be connected to the destination.
pub const NOT_CONNECTED: u32 = 1 << 2;

/// A destination. Aligned so that the kernel side copies it by words.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Address {
    /// `sun_path`: a path, or an abstract name after a zero byte.
    pub path: [u8; ADDRESS_LEN],
    /// Bytes of it in use; 0 for none.
    pub length: u32,
}

/// A datagram that was sent to a named AF_UNIX socket, or a connect() to one that failed. The
/// record ends after `payload[..stored]`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Notify {
    /// Kind, time the send began, the sending thread.
    pub header: Header,
    /// What the call returned: bytes, or a negative errno.
    pub result: i32,
    /// `PAYLOAD_*`, `HAS_CREDENTIALS` and `NOT_CONNECTED` bits.
    pub flags: u32,
    /// Bytes of payload that were sent, or were to be.
    pub length: u32,
    /// Bytes of payload in this record.
    pub stored: u32,
    /// Pid the sender claims in `SCM_CREDENTIALS`, in its own pid namespace.
    pub claimed_pid: u32,
    /// Zero.
    pub reserved: u32,
    /// Where to.
    pub address: Address,
    /// The message.
    pub payload: [u8; PAYLOAD_LEN],
}

/// [`Cgroup::action`]: the cgroup was made.
pub const CGROUP_MKDIR: u32 = 0;
/// [`Cgroup::action`]: `header.task` was moved into it.
pub const CGROUP_ATTACH: u32 = 1;

/// [`Cgroup::action`]: the cgroup was removed.
pub const CGROUP_RMDIR: u32 = 2;

/// A cgroup was made or removed, or a task moved into one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Cgroup {
    /// Kind, time; for an attach the moved task, else the current one.
    pub header: Header,
    /// `CGROUP_MKDIR`, `CGROUP_ATTACH` or `CGROUP_RMDIR`.
    pub action: u32,
    /// `root->hierarchy_id`; 0 is the unified hierarchy.
    pub hierarchy: u32,
    /// `kn->id`, unique in its hierarchy.
    pub id: u64,
    /// Path from the hierarchy's root. Zero-terminated.
    pub path: [u8; PATH_LEN],
}
