//! The events of a timeline, as they are exported.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use crate::model::runtime::Runtime;
use crate::model::signal::Signal;

/// A process as an event names it. Identity is pid and start time together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessRef {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// The same in the process's own pid namespace, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// Its name at that moment; a byte that is not UTF-8 is U+10FE00 and its value.
    pub comm: SmolStr,
    /// The program it ran at that moment, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<SmolStr>,
    /// Real user id, where it matters (senders).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// Who sent a signal, and where that comes from, as it was when it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sender {
    /// The process, with its uid.
    #[serde(flatten)]
    pub process: ProcessRef,
    /// Its command line: its arguments with spaces between them, `…` where there is more; null
    /// where it is unknown.
    #[serde(default)]
    pub command: Option<String>,
    /// The unit it ran in: a service, or the scope of a login; null where it is in none or that
    /// is unknown.
    #[serde(default)]
    pub unit: Option<String>,
    /// The processes that it comes from, the nearest first, up to the one that its unit or login
    /// was started with, as far as eight of them go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ParentRef>,
    /// The process that had a systemd send it, where exactly one was found that had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<Box<Sender>>,
}

impl From<ProcessRef> for Sender {
    /// One of which nothing more is known.
    fn from(process: ProcessRef) -> Self {
        Self { process, command: None, unit: None, parents: Vec::new(), asked_by: None }
    }
}

impl std::ops::Deref for Sender {
    type Target = ProcessRef;

    fn deref(&self) -> &ProcessRef {
        &self.process
    }
}

/// A process that a sender comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParentRef {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// Its name; a byte that is not UTF-8 is U+10FE00 and its value.
    pub comm: SmolStr,
    /// Its command line, as of a [`Sender`].
    #[serde(default)]
    pub command: Option<String>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When, ns from the activation's zero; negative before it.
    pub at_ns: i64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What an [`Event`] can be; `kind` names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A process was started.
    Fork {
        /// The new process.
        process: ProcessRef,
        /// Who started it.
        parent: ProcessRef,
    },
    /// A process replaced its program.
    Exec {
        /// The process, after.
        process: ProcessRef,
        /// The program loaded; for a script, its interpreter.
        exe: Option<SmolStr>,
        /// What was asked for, where that is not `exe`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
        /// What the reload signal would do now.
        disposition: DispositionKind,
        /// It ignores INT, which the process that started it does not: so a shell starts a
        /// command in the background.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        background: bool,
    },
    /// A process ended.
    Exit {
        /// The process.
        process: ProcessRef,
        /// The signal that killed it.
        signal: Option<Signal>,
        /// Its exit code, if it was not killed.
        code: Option<u8>,
        /// Whether it dumped core.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        core_dumped: bool,
    },
    /// A signal was sent.
    Signal(Box<SignalSent>),
    /// A process changed what it does on a signal, or was found with it (`found`).
    Disposition {
        /// The process.
        process: ProcessRef,
        /// The signal.
        signal: Signal,
        /// What the kernel would do with it now.
        disposition: DispositionKind,
        /// How it is consumed although it has no handler.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consumer: Option<Consumer>,
        /// The language runtime that owns the handler, if it is a runtime's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        runtime: Option<Runtime>,
        /// `SA_RESETHAND`: the default again after one delivery.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        once: bool,
        /// Read from /proc when the capture joined, not seen as it happened.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        found: bool,
        /// Whether it is `blocked` is not known: a thread waits in sigwait, and /proc does not show
        /// for what.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mask_unknown: bool,
    },
    /// A thread blocked or unblocked a signal.
    Mask {
        /// The process.
        process: ProcessRef,
        /// The thread.
        tid: u32,
        /// The signal.
        signal: Signal,
        /// Whether this thread blocks it now.
        blocked: bool,
        /// What the kernel would do with it now: `blocked` only if every thread does.
        disposition: DispositionKind,
    },
    /// A datagram was sent to a notify socket.
    Notify(Box<NotifyMessage>),
    /// A process joined the service's cgroup, or a cgroup was made.
    Cgroup {
        /// The process; null for a cgroup that was made.
        process: Option<ProcessRef>,
        /// The cgroup's path.
        path: String,
    },
    /// systemd's own view changed.
    Systemd {
        /// The state it named (`ActiveState`).
        state: String,
        /// The same in detail (`SubState`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sub_state: Option<String>,
        /// `Result`, where it is not `success`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<String>,
        /// `ReloadResult`, where a reload has ended now and it is not `success`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reload_result: Option<String>,
    },
    /// Events were lost about here.
    Loss {
        /// How many.
        count: u64,
    },
}

/// What the kernel would do with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DispositionKind {
    /// The default action; for a reload signal that is death.
    Default,
    /// Nothing (`SIG_IGN`, or an init's default).
    Ignored,
    /// Call a handler.
    Handler,
    /// Keep it: every thread blocks it.
    Blocked,
}

/// How a process takes signals without a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consumer {
    /// `signalfd(2)`
    Signalfd,
    /// `sigwait(3)`, `sigtimedwait(2)`
    Sigwait,
}

/// Whether a signal was sent by a process or made by the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalSent {
    /// The signal.
    pub signal: Signal,
    /// Who sent it; null if the kernel made it.
    pub sender: Option<Sender>,
    /// The process it was sent to.
    pub target: ProcessRef,
    /// The thread, if it was sent to one thread and not to the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// The first of its threads that doesn't block it, where it was sent to the process and the
    /// process's own thread does block it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unblocked: Option<ThreadRef>,
    /// `si_code` (`sigaction(2)`): 0 kill, -6 tgkill, 128 the kernel.
    pub si_code: i32,
    /// What the kernel would do with it, read when it was sent.
    pub disposition: DispositionKind,
    /// The runtime whose handler that was, if it was not the program's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// Whether the target was being traced with ptrace, which changes signal paths.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub traced: bool,
    /// What became of it.
    pub fate: Fate,
    /// When that was, where it is not the moment of sending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate_ns: Option<i64>,
    /// What became of the service, if this is a reload of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// When that showed: the end, the hand-over, READY=1. Absent where nothing shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_ns: Option<i64>,
}

/// A thread of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadRef {
    /// Its id.
    pub tid: u32,
    /// Its name, up to 15 bytes: text from outside.
    pub comm: SmolStr,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It killed the process, by its default action or by a language runtime's own handler.
    Killed,
    /// A handler, a signalfd or a sigwait took it.
    Handled,
    /// It was thrown away on arrival.
    Ignored,
    /// It still waits, or waited until the process ended.
    Pending,
    /// One of its kind was already waiting; they became one.
    Coalesced,
    /// The kernel had no room for it, or the process died of something else first.
    Dropped,
    /// Its default action stopped the process, as TSTP does.
    Stopped,
}

impl Fate {
    /// Every fate, in the order of their numbers.
    const ALL: [Self; 7] = [
        Self::Killed,
        Self::Handled,
        Self::Ignored,
        Self::Pending,
        Self::Coalesced,
        Self::Dropped,
        Self::Stopped,
    ];

    /// The one that `as u8` gives this number for.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What became of the service after a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It said so: RELOADING=1, and READY=1 when that was done.
    Reloaded,
    /// Its main process was still there after the settle time (`capture.settle_ns`).
    Survived,
    /// Its main process ended by it: it died of the reload signal, exited, or ended itself by
    /// TERM or INT.
    Ended,
    /// Its main process died of another signal, which nobody sent.
    Crashed,
    /// Another process took over from its main process. Systemd was told if that other one is
    /// the main process from then on.
    Replaced,
    /// Its main process went on, and another process of the service died of the reload signal.
    LostProcess,
    /// It was to answer with RELOADING=1 (`Type=notify-reload`), and did not.
    Unanswered,
    /// It said RELOADING=1, and READY=1 did not follow.
    Unfinished,
    /// A shell's trap waited for the command in its foreground.
    Deferred,
    /// That can't be told: it ended for another reason, or the capture ended too soon.
    Unknown,
}

/// A datagram sent to a notify socket, or a connect() to it that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifyMessage {
    /// Who sent it, with exe and uid.
    pub sender: ProcessRef,
    /// The pid it speaks for, where its credentials name another than its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_pid: Option<u32>,
    /// Where to; an abstract address begins with `@`.
    pub destination: String,
    /// Its lines, split at the first `=`; a byte that is not UTF-8 is U+10FE00 and its value. Of more
    /// than 32 the first ones, and those that systemd goes by.
    pub assignments: Vec<(String, String)>,
    /// Lines that are not among them.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub lines_left_out: u32,
    /// Bytes sent.
    pub length: u32,
    /// What the send, or the connect(), returned, if that was an error: a positive errno; 0 for
    /// success.
    pub result: i32,
    /// Whether there is no message, as the sender could not connect() to the socket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_connected: bool,
    /// Whether systemd would act on it; null where the unit's settings are unknown.
    pub accepted: Option<bool>,
    /// What refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// Why it was refused, or what is doubtful about it, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What became of the service, if this is the RELOADING=1 of a reload that no signal began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// When that showed. Absent where nothing shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_ns: Option<i64>,
}

/// What refused a notify message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The kernel: the send failed.
    Send,
    /// systemd, as it can't be parsed.
    Malformed,
    /// systemd, as `NotifyAccess=` does not admit its sender.
    NotifyAccess,
    /// systemd (262 and later), as the main process of a `Type=notify-reload` service had no
    /// handler for its reload signal at its first READY=1.
    NoHandler,
    /// systemd (259 and later), as STOPPING=1 had been said before, which is final there.
    Stopping,
}

impl NotifyMessage {
    /// Whether it has the whole line `key=value`.
    #[must_use]
    pub fn says(&self, key: &str, value: &str) -> bool {
        self.assignments.iter().any(|(k, v)| k == key && v == value)
    }

    /// The value of the first line with this key, which is the one that systemd goes by
    /// (`strv_find_startswith()`).
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.assignments.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}
