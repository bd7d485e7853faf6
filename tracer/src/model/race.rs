//! The exported result of a race, `sigready/race/v1`: what a signal did in each interval of a
//! start, run by run.
//!
//! Unknown is `null`. Fields may be added within a version; none changes meaning. Times are ns
//! from the command's first exec, as on its timeline; negative before it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    document::{Host, OutcomeState, ProcessOutcome, Tool, WallTime},
    event::{Event, ProcessRef},
    signal::Signal,
};

/// The `schema` of every race that this version writes.
pub const SCHEMA: &str = "sigready/race/v1";

/// A race, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Race {
    /// Always `sigready/race/v1`.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// What wrote it.
    pub tool: Tool,
    /// Where it was run.
    pub host: Host,
    /// The command line that was raced; empty for a unit.
    pub command: Vec<String>,
    /// The options that an interval is raced again with, `--only` and the signal aside.
    pub options: Vec<String>,
    /// What the command is called: its file's name; or the unit's name.
    pub name: String,
    /// The unit that was raced, restarted through its systemd; null for a command.
    pub unit: Option<String>,
    /// The unit's `Type=` that decides which instants a reload reaches.
    pub service_type: String,
    /// Who sends the signals.
    pub by: By,
    /// Whether every instant counts (`--strict`).
    pub strict: bool,
    /// How handlers and messages were seen: `fentry` or `tracepoint`.
    pub backend: String,
    /// When the race began.
    pub started_at: WallTime,
    /// From then to its end, ns.
    pub duration_ns: u64,
    /// How often the command was started.
    pub runs: u64,
    /// The run in which nothing was placed.
    pub untouched: Untouched,
    /// What the command left running at the end of runs, and was ended then.
    pub leftovers: Vec<Leftover>,
    /// What each signal did.
    pub signals: Vec<SignalRace>,
    /// Whether an instant that counts is bad.
    pub bad: bool,
    /// What was to be tested and was not, and why: a sentence each.
    pub untested: Vec<String>,
}

impl Race {
    /// Whether an interval was to be tested, and was not.
    #[must_use]
    pub fn left_untested(&self, interval: &Interval) -> bool {
        let told =
            |it: &String| it.strip_prefix(&interval.id).is_some_and(|it| it.starts_with(':'));
        self.untested.iter().any(told)
    }
}

/// What a command left running as it ended: by itself, by the signal, or by the TERM that each run
/// ends with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leftover {
    /// The name of the processes.
    pub comm: String,
    /// In how many runs.
    pub runs: u64,
}

/// The run in which nothing was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Untouched {
    /// The command's main process.
    pub process: ProcessRef,
    /// From when the timeline goes: the fork.
    pub from_ns: i64,
    /// How long it was looked at.
    pub to_ns: i64,
    /// When it said READY=1.
    pub ready_ns: Option<i64>,
    /// When it said STOPPING=1.
    pub stopping_ns: Option<i64>,
    /// Of a unit: when systemd took it for active, and no longer held reloads back.
    pub active_ns: Option<i64>,
    /// Of a unit: whether systemd has a reload to send; null where that is not known, as of a command.
    #[serde(default)]
    pub can_reload: Option<bool>,
    /// How it was at the end of the run.
    pub outcome: ProcessOutcome,
    /// How many system calls its main process came to the end of while it started; null where
    /// they were not counted.
    pub calls: Option<u64>,
}

/// What a signal did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignalRace {
    /// The signal.
    pub signal: Signal,
    /// What is right for it.
    pub role: Role,
    /// It all in a sentence or two.
    pub sentence: String,
    /// The intervals of the start, main process first, in order of time.
    pub intervals: Vec<Interval>,
    /// The instants that were swept over, each as an interval that ends where it begins.
    pub sweep: Vec<Interval>,
    /// The instants at which the processes were told that a child had ended, each as an interval that
    /// ends where it begins.
    #[serde(default)]
    pub child_exits: Vec<Interval>,
    /// The instants of a second signal: right after a first one, which a handler for one delivery
    /// (`SA_RESETHAND`) has taken, or right after what a first one at rest had the service do.
    pub second: Vec<Interval>,
    /// The instant at rest, as an interval that ends where it begins: nothing has changed for as long
    /// as a start takes to be over, and the signal comes by kill(2), or by a reload. Null where it was
    /// not to be raced.
    #[serde(default)]
    pub rest: Option<Interval>,
    /// Of a unit: the moment at which systemd takes it for active, as an interval that ends where it
    /// begins. Of a command, the one at which another process than the main one says READY=1. Null
    /// where there is none, and where it was not to be raced.
    #[serde(default)]
    pub active: Option<Interval>,
    /// Steps that bound no interval, as there were too many.
    pub left_out: u64,
}

impl SignalRace {
    /// One in which nothing has been raced yet.
    #[must_use]
    pub fn of(signal: Signal, role: Role) -> Self {
        Self {
            signal,
            role,
            sentence: String::new(),
            intervals: Vec::new(),
            sweep: Vec::new(),
            child_exits: Vec::new(),
            second: Vec::new(),
            rest: None,
            active: None,
            left_out: 0,
        }
    }

    /// All intervals: those of the start, those that begin as systemd takes it for active and at rest,
    /// those of a second signal, the exits of children, and the instants that were swept over.
    pub fn all(&self) -> impl Iterator<Item = &Interval> {
        self.intervals
            .iter()
            .chain(&self.active)
            .chain(&self.rest)
            .chain(&self.second)
            .chain(&self.child_exits)
            .chain(&self.sweep)
    }

    /// The same, to change them.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Interval> {
        self.intervals
            .iter_mut()
            .chain(&mut self.active)
            .chain(&mut self.rest)
            .chain(&mut self.second)
            .chain(&mut self.child_exits)
            .chain(&mut self.sweep)
    }
}

impl Untouched {
    /// Whether there is no instant at rest: the start ended by itself before.
    #[must_use]
    pub fn never_rests(&self) -> bool {
        self.outcome.state == OutcomeState::Exited
    }
}

/// Who sends the signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The kernel, at the very instant.
    #[default]
    Kernel,
    /// This tool, by kill(2), to the process that the kernel has stopped at the instant.
    Kill,
    /// systemd, which is asked for a reload while the kernel has the process stopped at the instant.
    Reload,
}

impl By {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Kill => "kill",
            Self::Reload => "reload",
        }
    }
}

/// What is right for a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is to be taken, or refused without harm.
    Reload,
    /// It is to end the service.
    End,
    /// It is to do no harm.
    Other,
}

/// A span of time between two steps, in which what a signal does is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Interval {
    /// What `--only` takes.
    pub id: String,
    /// The process that makes the steps, and that the signal is sent to.
    pub process: ProcessRef,
    /// Whether it is the main process.
    pub main: bool,
    /// The step that begins it.
    pub after: ReportedStep,
    /// The step that ends it; null where it goes on beyond the start.
    pub before: Option<ReportedStep>,
    /// When it begins.
    pub from_ns: i64,
    /// When it ends, at the latest with what was looked at of the start.
    pub to_ns: i64,
    /// Whether a reload reaches it.
    pub reached: Reach,
    /// What the signal did: the worst of the tries.
    pub outcome: Outcome,
    /// Whether that is bad for a signal of its role.
    pub bad: bool,
    /// Whether it counts for the exit status.
    pub counts: bool,
    /// Whether every try came out alike.
    pub steady: bool,
    /// The tries.
    pub tries: Vec<Try>,
}

/// A step, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedStep {
    /// What it is.
    pub kind: StepKind,
    /// In words.
    pub what: String,
    /// When, in the untouched run.
    pub at_ns: i64,
}

/// What steps there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The process was forked.
    Fork,
    /// It executed a program.
    Exec,
    /// It set what it does on the signal.
    Action,
    /// It began to block the signal.
    Block,
    /// It stopped to block the signal.
    Unblock,
    /// It made a signalfd for the signal.
    Signalfd,
    /// It began to wait for the signal in sigwait.
    Sigwait,
    /// A handler for one delivery was called.
    Reset,
    /// It said READY=1.
    Ready,
    /// It said RELOADING=1.
    Reloading,
    /// It said STOPPING=1.
    Stopping,
    /// It forked a child that lives on.
    Child,
    /// It was told that a child had ended.
    ChildExit,
    /// It ended.
    Exit,
    /// It came to the end of a system call.
    Call,
    /// A handler for one delivery has taken a first signal.
    Second,
    /// Nothing has changed for as long as a start takes to be over.
    Rest,
    /// systemd took the unit for active, or would have: another process said READY=1.
    Active,
}

/// Whether a reload through systemd reaches an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// It does, or what sends this signal does not ask systemd.
    Reached,
    /// It does not: systemd holds reloads back, or the process is not the main one. What sends
    /// the signal itself hits all the same.
    NotByReload,
}

/// What a signal did.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The process took it, and went on.
    Taken,
    /// systemd, which was asked for the reload, sent no signal while the process was there.
    HeldBack,
    /// It was thrown away: a reload is lost.
    Ignored,
    /// It still waited at the end of the run: blocked, and nothing took it.
    Pending,
    /// The signal was not placed in the interval: nothing is known of it.
    NotReached,
    /// The process took it and ended.
    Ended,
    /// The service did not get as far as without the signal, or did not end by it, in the time
    /// there was.
    Hung,
    /// The process died of another signal.
    Crashed,
    /// It killed the process.
    Killed,
}

/// One run with the signal placed in an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Try {
    /// What the signal did.
    pub outcome: Outcome,
    /// What became of the service, in words.
    pub what: String,
    /// Whether that is bad for a signal of its role.
    pub bad: bool,
    /// When it was placed, on the timeline of its run; null where it was not.
    pub placed_ns: Option<i64>,
    /// The signal, as the kernel told of it in this run.
    pub signal: Option<Event>,
    /// The process's end in this run, if it ended.
    pub exit: Option<Event>,
    /// The reload that systemd was asked for; null where it was not asked.
    #[serde(default)]
    pub reload: Option<ReloadAsked>,
    /// How often it was tried until the interval was reached.
    pub attempts: u32,
}

/// A reload that systemd was asked for while the process stood at an instant. Times are those of
/// the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadAsked {
    /// When it was asked for.
    pub asked_ns: i64,
    /// Until when the process stood there.
    pub until_ns: i64,
    /// The unit's `ActiveState` then; null where systemd did not tell, or the signal was there
    /// before it was asked.
    pub state: Option<String>,
    /// Why systemd refused it; null where it did not.
    pub refused: Option<String>,
    /// What the reload's job came to by the end of the run (`done`, `invalid`, …); null where that
    /// is not known.
    pub job: Option<String>,
    /// When a signal came from systemd, or from what it ran for the reload; null for none.
    pub sent_ns: Option<i64>,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::HeldBack => "held back",
            Self::Ignored => "ignored",
            Self::Pending => "pending",
            Self::NotReached => "not reached",
            Self::Ended => "ended",
            Self::Hung => "hung",
            Self::Crashed => "crashed",
            Self::Killed => "killed",
        }
    }
}
