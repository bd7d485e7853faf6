//! The exported document, `sigready/timeline/v1`: what a capture saw, service by
//! service. It is the model that rules judge and reports render, so a saved
//! document is all it takes to do either again.
//!
//! Unknown is `null`. Fields may be added within a version; none changes meaning.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::model::{
    event::{Event, Fate, ProcessRef, What},
    exit_status,
    signal::Signal,
    unit::{UnitFacts, UnitState},
    unit_state,
};

/// The `schema` of every document this version writes.
pub const SCHEMA: &str = "sigready/timeline/v1";

/// One capture, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Always `sigready/timeline/v1`.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// What wrote it.
    pub tool: Tool,
    /// Where it was captured.
    pub host: Host,
    /// How it was captured, and how complete it is.
    pub capture: Capture,
    /// What was observed, in order of first appearance.
    pub services: Vec<Service>,
}

impl Document {
    /// All but its services.
    #[must_use]
    pub fn without_services(&self) -> Self {
        let Self { schema, tool, host, capture, services: _ } = self;
        Self {
            schema: schema.clone(),
            tool: tool.clone(),
            host: host.clone(),
            capture: capture.clone(),
            services: Vec::new(),
        }
    }
}

/// The program that wrote a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `sigready`
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The machine a capture was made on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// `uname -n`
    pub hostname: String,
    /// `uname -r`
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`: with it, boot-relative times are comparable.
    pub boot_id: Option<String>,
}

/// How a capture was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Capture {
    /// `run` or `trace`.
    pub command: String,
    /// What was asked for: the command line of `run`, the units or other scope of `trace`.
    pub arguments: Vec<String>,
    /// How dispositions and notify messages were seen: `fentry` or `tracepoint`.
    pub backend: String,
    /// What had to be seen at the system calls because the kernel function that shows more
    /// could not be hooked. Absent where nothing had to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
    /// The reload signal the rules judge by.
    pub signal: Signal,
    /// The settle time: how long after a reload the service must still be there for that to
    /// be told as survived. Absent in documents of versions that told no effects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_ns: Option<u64>,
    /// When the capture began.
    pub started_at: WallTime,
    /// From then to its end.
    pub duration_ns: u64,
    /// Why it ended.
    pub ended_by: EndedBy,
    /// Events received from the kernel, of every process in scope.
    pub events: u64,
    /// Events the kernel side could not hand over.
    pub lost: u64,
    /// The same by kind; kinds that lost none are absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub losses: BTreeMap<String, u64>,
    /// Services that are not in this document: their starts were over, and others needed the
    /// room.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub services_left_out: u64,
    /// Whether nothing is missing: no losses, nothing left out and no service that was joined
    /// late.
    pub complete: bool,
    /// What the main process was said to be, by `--main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<MainChoice>,
    /// What was to be tested and was not, and why: a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untested: Vec<String>,
}

/// What the main process was said to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MainChoice {
    /// The pattern of its name, its program's path or its command line.
    pub pattern: String,
    /// The processes that it was true of. The first of each start counts.
    pub matches: u64,
}

/// A kernel function that could not be hooked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fallback {
    /// The function.
    pub function: String,
    /// What it shows.
    pub shows: String,
    /// Why it could not be hooked.
    pub reason: String,
    /// What is hooked in its place: another kernel function, which 32-bit programs don't
    /// come through, or `syscall tracepoints`; `nothing` for what is not seen at all.
    pub instead: String,
}

impl Fallback {
    /// What [`Self::instead`] says of what is not seen at all.
    pub const NOTHING: &str = "nothing";

    /// What comes in through system calls, and what is not seen.
    #[must_use]
    pub fn list(fallbacks: &[Self]) -> String {
        let shown = |unseen: bool| {
            let chosen = fallbacks.iter().filter(|it| (it.instead == Self::NOTHING) == unseen);
            let mut shown: Vec<&str> = chosen.map(|it| it.shows.as_str()).collect();
            shown.dedup();
            shown.join(", ")
        };
        let parts = [("system calls for ", shown(false)), ("unseen: ", shown(true))];
        let parts = parts.iter().filter(|(_, shown)| !shown.is_empty());
        parts.map(|(what, shown)| format!("{what}{shown}")).collect::<Vec<_>>().join("; ")
    }
}

/// Why a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// What `--until` waited for came.
    Until,
    /// The time set by `--timeout` or `--duration` was over.
    Timeout,
    /// What was traced had ended.
    Exit,
    /// The user ended it (SIGINT, SIGTERM).
    Interrupt,
}

/// What is observed: a unit, a command, a process tree, a cgroup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// The unit's name, the command's file name, `pid 4711`, or the cgroup's path.
    pub name: String,
    /// What sort of thing it is.
    pub kind: ServiceKind,
    /// Its cgroup's path in the hierarchy that showed it.
    pub cgroup: Option<String>,
    /// The unit's settings; null where they are unknown.
    pub unit: Option<UnitFacts>,
    /// Why they are unknown, or were read in another way than from systemd itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_problem: Option<String>,
    /// Whose the unit is; absent where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The reload signal that the timelines below are drawn for, where that is not the
    /// capture's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Earlier starts that are not here, as there were too many.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub starts_left_out: u64,
    /// Its starts, oldest first.
    pub activations: Vec<Activation>,
}

impl Service {
    /// All but its starts.
    #[must_use]
    pub fn without_starts(&self) -> Self {
        let Self { name, cgroup, unit, unit_problem, .. } = self;
        Self {
            name: name.clone(),
            kind: self.kind,
            cgroup: cgroup.clone(),
            unit: unit.clone(),
            unit_problem: unit_problem.clone(),
            owner: self.owner,
            signal: self.signal,
            starts_left_out: self.starts_left_out,
            activations: Vec::new(),
        }
    }

    /// Whether it was already running when the capture began, and was not started anew.
    #[must_use]
    pub fn joined_late(&self) -> bool {
        self.activations.last().is_some_and(|start| start.joined_ns.is_some())
    }
}

/// Whose a unit is, by the owners of the cgroups above its own and the systemd that keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Owner {
    /// The host's systemd keeps it.
    Host,
    /// The systemd of a container keeps it.
    Container {
        /// Who runs the container: 0 for root.
        uid: u32,
    },
    /// A user's own systemd keeps it.
    User {
        /// The user.
        uid: u32,
    },
    /// No systemd that root runs, or that was asked for, keeps a unit there: whoever made the
    /// cgroup gave it the name.
    Claimed {
        /// The user it belongs to.
        uid: u32,
    },
    /// Root made the cgroup, and no systemd keeps it.
    Unmanaged,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => write!(f, "of the host"),
            Self::Container { uid: 0 } => write!(f, "of a container"),
            Self::Container { uid } => write!(f, "of a container that uid {uid} runs"),
            Self::User { uid } => write!(f, "of uid {uid}"),
            Self::Claimed { uid } => write!(f, "claimed by uid {uid}"),
            Self::Unmanaged => write!(f, "kept by no systemd"),
        }
    }
}

/// Sorts of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// A systemd unit.
    Unit,
    /// A command started by `sigready run`.
    Command,
    /// A process and its descendants.
    Process,
    /// Everything in a cgroup.
    Cgroup,
    /// A container.
    Container,
}

/// One start of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Activation {
    /// The main process; the last one if it was handed over. Null if none was seen.
    pub main_process: Option<ProcessRef>,
    /// What would be the main process, if `--main` had not named another: the one that a systemd
    /// watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<ProcessRef>,
    /// Wall-clock time of zero on this timeline: the main process's first exec, or
    /// its start where the capture began later.
    pub started_at: WallTime,
    /// systemd's invocation id of this start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// When the capture joined, if the main process was already running then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_ns: Option<i64>,
    /// When what happened.
    pub milestones: Milestones,
    /// When the reload signal would have done harm.
    pub exposure: Vec<Exposure>,
    /// Everything seen, in order of time.
    pub events: Vec<Event>,
    /// Events left out because there were too many. What decides a verdict is never left out.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub omitted: u64,
    /// The same, counted by what they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Processes, signals and changes of dispositions that could not be followed because there
    /// were too many at a time. A verdict may depend on them.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub unfollowed: u64,
    /// What the rules found, in order of time.
    pub alerts: Vec<Alert>,
    /// How it was at the end of the capture.
    pub outcome: ProcessOutcome,
    /// How systemd saw it last, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<UnitState>,
}

/// What systemd runs before a service's main process: its words for the state, and the setting.
const BEFORE_MAIN: [(&str, &str); 2] =
    [("condition", "ExecCondition="), ("start-pre", "ExecStartPre=")];

impl Activation {
    /// What systemd could not set up, by the exit status of a main process that it never executed:
    /// `203/EXEC`. Of one that ran before the capture began that is not known.
    #[must_use]
    pub fn not_set_up(&self) -> Option<String> {
        if self.milestones.exec_ns.is_some() || self.joined_ns.is_some() {
            return None;
        }
        let code = self.outcome.code?;
        exit_status::set_up(code).map(|name| format!("{code}/{name}"))
    }

    /// The setting at whose commands the start was over, by systemd's states, so that there was no
    /// main process, and the `Result` of that: systemd's last, where its states then name none.
    #[must_use]
    pub fn ended_at(&self) -> Option<(&'static str, Option<&str>)> {
        if self.main_process.is_some() {
            return None;
        }
        let states = || {
            self.events.iter().filter_map(|event| match &event.what {
                What::Systemd { state, sub_state, result, .. } => {
                    Some((state.as_str(), sub_state.as_deref(), result.as_deref()))
                }
                _ => None,
            })
        };
        let was_in = |sub: &str| states().any(|(_, seen, _)| seen == Some(sub));
        let (sub, setting) = BEFORE_MAIN.iter().rev().find(|(sub, _)| was_in(sub))?;
        let is_over = |(state, sub_state, _): &(&str, Option<&str>, _)| {
            unit_state::is_over(state, *sub_state)
        };
        states().next_back().filter(is_over)?;
        let after = states().skip_while(|(_, seen, _)| *seen != Some(sub));
        let mut over = after.filter(is_over);
        let (_, seen, first) = over.next()?;
        let result = first.or_else(|| over.find_map(|(.., result)| result));
        // It was stopped, and the start after it refused.
        if first.is_none() && seen.is_some() && result == Some("start-limit-hit") {
            return Some((setting, None));
        }
        let last = || self.systemd.as_ref().and_then(|state| state.result.as_deref());
        Some((setting, result.or_else(last)))
    }
}

/// Events of one kind that were left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// The `kind` of the events.
    pub kind: String,
    /// The signal that they are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
    /// The name of the process that sent it; absent if the kernel did, or if there were too
    /// many to be told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// How many.
    pub count: u64,
}

/// When the steps of a start happened, ns on the activation's timeline; null if not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Milestones {
    /// The main process's first exec.
    pub exec_ns: Option<i64>,
    /// The main process's last exec, where it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exec_ns: Option<i64>,
    /// The program was first able to take the reload signal. What executed it may have had a
    /// handler of its own; one that executes itself anew once it was up keeps its first.
    pub handler_ns: Option<i64>,
    /// The first READY=1 that was not refused; where none was seen, when systemd had a service
    /// as up that was to say it, or to take its name on the message bus (`Type=dbus`). Of one that
    /// was up before the capture that alone counts: what it says later is of a reload.
    pub ready_ns: Option<i64>,
    /// The first reload signal sent to the main process.
    pub first_reload_ns: Option<i64>,
    /// The main process's exit.
    pub exit_ns: Option<i64>,
}

/// A span in which the reload signal would have done harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exposure {
    /// What harm.
    pub kind: ExposureKind,
    /// Where it begins.
    pub from_ns: i64,
    /// Where it ends; the end of the capture or of the process at the latest.
    pub to_ns: i64,
}

/// What a reload signal would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExposureKind {
    /// Killed the service: its disposition was the default.
    Fatal,
    /// Been lost: it was ignored.
    Lost,
    /// Met a service that had a handler but had not said READY=1, or taken its bus name.
    NotReady,
    /// Waited for as long as was seen: every thread blocked it, and nobody took it.
    Pending,
    /// That can't be told: a language runtime has the handler, and may or may not pass
    /// the signal on.
    Unknown,
}

/// A rule that fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// The rule: see `sigready explain`.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// When, on the activation's timeline.
    pub at_ns: i64,
    /// The evidence: indices into the activation's `events`.
    pub events: Vec<usize>,
    /// What happened.
    pub message: String,
    /// What follows under this unit's settings, or that they are unknown.
    pub consequence: String,
    /// What to change.
    pub mend: String,
}

/// How bad an alert is, least first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something to know when reading the timeline, or a reload that was lost.
    Warning,
    /// The service died, would have died, or can't become ready.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// How an activation stood at the end of the capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessOutcome {
    /// Running, exited or killed.
    pub state: OutcomeState,
    /// The signal that killed it.
    pub signal: Option<Signal>,
    /// Its exit code.
    pub code: Option<u8>,
}

/// Whether the main process still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeState {
    /// It runs.
    Running,
    /// It called exit.
    Exited,
    /// A signal ended it.
    Killed,
}

/// A moment of wall-clock time: RFC 3339, UTC, with six decimals of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub Timestamp);

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for WallTime {
    fn schema_name() -> Cow<'static, str> {
        "WallTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339, UTC, with six decimals of a second."
        })
    }
}
