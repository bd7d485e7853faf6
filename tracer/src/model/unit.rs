//! What systemd knows of a service: its settings, and what it made of it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{signal::Signal, start_limit::StartLimit};

/// A unit's settings, in systemd's own words. Each is null where it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UnitFacts {
    /// `Type=`: `simple`, `exec`, `notify`, …
    #[serde(rename = "type")]
    pub service_type: Option<String>,
    /// `NotifyAccess=` as it is in force: `none`, `main`, `exec`, `all`.
    pub notify_access: Option<String>,
    /// `Restart=`: `no`, `on-failure`, …
    pub restart: Option<String>,
    /// The signal its reload sends; null where it reloads in another way or that is unknown.
    pub reload_signal: Option<Signal>,
    /// `ExecStart=`, one command line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_start: Option<Vec<String>>,
    /// `ExecReload=`, one command line each; empty where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_reload: Option<Vec<String>>,
    /// `SuccessExitStatus=`: what counts as a clean end besides what always does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_exit_status: Option<ExitStatuses>,
    /// `RestartPreventExitStatus=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_prevent_exit_status: Option<ExitStatuses>,
    /// `RestartForceExitStatus=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_force_exit_status: Option<ExitStatuses>,
    /// `RemainAfterExit=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remain_after_exit: Option<bool>,
    /// Whether `ExecStart=` has the prefix `-`, so that no end of it is a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignores_failure: Option<bool>,
    /// `PIDFile=`, where a daemon that puts itself into the background writes its pid; empty
    /// where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<String>,
    /// `GuessMainPID=`: whether systemd looks for the main process of a daemon that has no
    /// `PIDFile=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guess_main_pid: Option<bool>,
    /// `ExecStop=`, one command line each; empty where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_stop: Option<Vec<String>>,
    /// `WatchdogSec=` as it is in force, ns; 0 for no watchdog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_ns: Option<u64>,
    /// `KillMode=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_mode: Option<String>,
    /// `KillSignal=`: by which systemd has it stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_signal: Option<Signal>,
    /// `RestartKillSignal=`: by which systemd has it stop where it is restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_kill_signal: Option<Signal>,
    /// `ControlGroup`: where systemd keeps its processes, seen from the root of its own
    /// cgroups. Null if the unit was down whenever systemd was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_group: Option<String>,
    /// `TimeoutStartSec=`, ns; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_start_ns: Option<u64>,
    /// How often it may be started: `StartLimitBurst=` and its like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_limit: Option<StartLimit>,
    /// `RestartSec=`: how long `Restart=` waits after an end, ns; null where it grows
    /// (`RestartSteps=`) or never comes to an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_delay_ns: Option<u64>,
    /// `RestartSec=infinity`: what `Restart=` is to start again waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_never: Option<bool>,
    /// The version of the systemd that has it, such as `252.39-1~deb12u1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systemd: Option<String>,
    /// Where these come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<FactsSource>,
}

impl UnitFacts {
    /// Whether the service announces its readiness: `Type=notify` or `notify-reload`.
    #[must_use]
    pub fn is_notify(&self) -> bool {
        matches!(self.service_type.as_deref(), Some("notify" | "notify-reload"))
    }

    /// Whether its name on the message bus makes it ready: `Type=dbus`.
    #[must_use]
    pub fn is_dbus(&self) -> bool {
        self.service_type.as_deref() == Some("dbus")
    }

    /// What systemd waits for before the service is up, and holds reloads back until then: what
    /// it says, or the name it takes on the message bus (`Type=dbus`). `None` where it waits for
    /// neither.
    #[must_use]
    pub fn awaited(&self) -> Option<&'static str> {
        match self.service_type.as_deref() {
            Some("notify" | "notify-reload") => Some("READY=1"),
            Some("dbus") => Some("its bus name"),
            _ => None,
        }
    }

    /// Whether systemd has the service stop by a signal, and sends that itself for nothing else.
    #[must_use]
    pub fn stops_by(&self, signal: Signal) -> bool {
        let reloads = self.service_type.as_deref() == Some("notify-reload");
        !reloads && [self.kill_signal, self.restart_kill_signal].contains(&Some(signal))
    }

    /// Whether it has a reload: a command, or systemd's own (`Type=notify-reload`); `None` where that
    /// is unknown.
    #[must_use]
    pub fn has_reload(&self) -> Option<bool> {
        let by_systemd = self.service_type.as_deref() == Some("notify-reload");
        Some(by_systemd || !self.exec_reload.as_ref()?.is_empty())
    }

    /// Whether its own reload sends a signal; `None` where that is unknown: a program may send any.
    #[must_use]
    pub fn reload_sends(&self, signal: Signal) -> Option<bool> {
        match self.reload_signal {
            Some(own) => Some(own == signal),
            None => self.has_reload().filter(|has| !has),
        }
    }

    /// Whether its systemd knows `NOTIFYACCESS=` in messages (since 254; sd_notify(3));
    /// `None` if its version is unknown.
    #[must_use]
    pub fn takes_notify_access(&self) -> Option<bool> {
        Some(self.systemd_major()? >= 254)
    }

    /// Whether its systemd refuses the start of a `Type=notify-reload` service that has no
    /// handler for its reload signal at its first READY=1 (since 262; NEWS); `None` if its
    /// version is unknown.
    #[must_use]
    pub fn needs_handler_at_ready(&self) -> Option<bool> {
        Some(self.systemd_major()? >= 262)
    }

    /// Whether its systemd takes STOPPING=1 as final (since 259); `None` if its version is
    /// unknown.
    #[must_use]
    pub fn has_final_stopping(&self) -> Option<bool> {
        Some(self.systemd_major()? >= 259)
    }

    /// Whether its systemd ends a reload for which READY=1 does not come when `TimeoutStartSec=`
    /// is over (since 259; `service_reload_finish`); before, it goes on waiting. `None` if its
    /// version is unknown, or 258, of which some releases may.
    #[must_use]
    pub fn ends_late_reloads(&self) -> Option<bool> {
        match self.systemd_major()? {
            ..258 => Some(false),
            258 => None,
            _ => Some(true),
        }
    }

    /// Whether its systemd keeps the result of a failure when it refuses the start after it
    /// (measured: 252 and 257 do, 262 makes it 'start-limit-hit'); `None` if its version is
    /// unknown, or between.
    #[must_use]
    pub fn keeps_result_at_limit(&self) -> Option<bool> {
        match self.systemd_major()? {
            ..=257 => Some(true),
            258..=261 => None,
            262.. => Some(false),
        }
    }

    /// The number that systemd's releases have.
    fn systemd_major(&self) -> Option<u32> {
        let version = self.systemd.as_deref()?;
        version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// Whether there is room for one start alone: nothing starts it again after an early end.
    #[must_use]
    pub fn is_started_once(&self) -> bool {
        let delay = self.restart_delay_ns.and_then(|delay| i64::try_from(delay).ok());
        let early = delay.zip(self.start_limit.as_ref());
        early.is_some_and(|(delay, limit)| limit.refuses([0], delay))
    }

    /// Whether it puts itself into the background: `Type=forking`.
    #[must_use]
    pub fn is_forking(&self) -> bool {
        self.service_type.as_deref() == Some("forking")
    }

    /// Whether its systemd knows no main process of it: a daemon that puts itself into the
    /// background, which nothing tells of.
    #[must_use]
    pub fn has_no_main(&self) -> bool {
        self.is_forking()
            && self.guess_main_pid == Some(false)
            && self.pid_file.as_deref() == Some("")
    }
}

/// Exit codes and signals, as `SuccessExitStatus=` and its like list them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExitStatuses {
    /// Exit codes.
    pub codes: Vec<u8>,
    /// Signals.
    pub signals: Vec<Signal>,
}

impl ExitStatuses {
    /// Whether it lists none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty() && self.signals.is_empty()
    }
}

/// As a unit file lists them.
impl fmt::Display for ExitStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes = self.codes.iter().map(ToString::to_string);
        let signals = self.signals.iter().map(|signal| format!("SIG{signal}"));
        f.write_str(&signals.chain(codes).collect::<Vec<String>>().join(" "))
    }
}

/// Where a unit's settings were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactsSource {
    /// systemd's own answer over D-Bus.
    Dbus,
    /// Unit files and drop-ins: what systemd would load now.
    UnitFiles,
    /// The command line of `run`.
    CommandLine,
}

/// How systemd sees a service at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnitState {
    /// `ActiveState`: `activating`, `active`, `reloading`, `deactivating`, `inactive`, `failed`.
    pub active_state: String,
    /// `SubState`: `start`, `running`, `auto-restart`, `dead`, …; null where only the
    /// time of a state is remembered.
    pub sub_state: Option<String>,
    /// `Result`: `success`, `signal`, `protocol`, …
    pub result: Option<String>,
    /// `ReloadResult`: how the last reload ended; `success` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_result: Option<String>,
    /// `MainPID`, in the pid namespace of systemd; null for none.
    pub main_pid: Option<u32>,
    /// `NRestarts`: how often Restart= has started it.
    pub restarts: Option<u32>,
}
