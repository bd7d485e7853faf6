//! A unit with what its commands mean.

use std::fmt::Write as _;

use super::{DropIn, Place, Subject};
use crate::{
    model::{signal::Signal, unit::UnitFacts},
    rules::result::{Decider, End, Prediction, Stage, predict},
    systemd::commands::{
        Budget, MainProcess, Reload, Sent, Stay, Target, holds, main_process, reload,
    },
};

/// A unit that is judged.
pub(super) struct Case<'a> {
    pub name: &'a str,
    pub facts: &'a UnitFacts,
    pub place: &'a Place,
    /// Whether systemd waits for WATCHDOG=1 while it is up.
    pub has_watchdog: bool,
    /// Whether it runs as somebody else than root.
    pub has_user: bool,
    /// The main process; `None` where there is no command.
    pub main: Option<MainProcess>,
    /// What its `ExecReload=` does.
    pub reload: Reload,
    /// The program of `ExecStart=`.
    program: Option<String>,
    /// Whether its `ExecStartPost=` keeps the unit from being up; `None` if that depends on
    /// the programs it runs.
    holds: Option<bool>,
}

impl<'a> Case<'a> {
    pub fn new(subject: &'a Subject, place: &'a Place) -> Self {
        let mut budget = Budget::default();
        let commands = &subject.commands;
        let start = commands.start.last();
        let main = start.map(|command| main_process(command, &mut budget));
        Self {
            name: &subject.name,
            facts: &subject.facts,
            place,
            has_watchdog: commands.has_watchdog,
            has_user: commands.has_user,
            reload: reload(&commands.reload, Some(&subject.name), &mut budget),
            program: match &main {
                Some(MainProcess::Program { name, .. }) => Some(name.clone()),
                _ => start.and_then(|it| it.argv.first()).cloned(),
            },
            main,
            holds: holds(&commands.start_post, &mut budget),
        }
    }

    /// What its `ExecReload=` sends to the service, where that is known.
    pub fn sent(&self) -> Option<(&Sent, Signal)> {
        self.reload.to_service()
    }

    /// The settings of a type that is up as soon as there is a process, and whose start
    /// nothing else holds back. systemd is `activating`, and folds reloads into the start,
    /// until `ExecStartPost=` is over (`service_enter_start_post` in src/core/service.c).
    pub fn is_up_at_once(&self) -> bool {
        matches!(self.facts.service_type.as_deref(), Some("simple" | "exec" | "idle"))
            && self.holds == Some(false)
    }

    /// Whether the reload, which ends the service, starts it anew: by what systemd then takes
    /// for its main process, which it finds by `PIDFile=`.
    pub fn starts_again(&self) -> bool {
        let is_found = self.facts.pid_file.as_deref().is_some_and(|file| !file.is_empty())
            || self.facts.service_type.as_deref() == Some("forking");
        is_found && self.reload.starts_again(self.program.as_deref())
    }

    /// The main process, if it stays and has others run.
    pub fn stay(&self) -> Option<&Stay> {
        match &self.main {
            Some(MainProcess::Stays(stay)) => Some(stay),
            _ => None,
        }
    }

    /// Whether the main process begins with this signal ignored.
    pub fn ignores(&self, signal: Signal) -> bool {
        match &self.main {
            Some(MainProcess::Program { ignores, .. }) => ignores.contains(&signal),
            Some(MainProcess::Stays(stay)) => stay.ignores.contains(&signal),
            _ => false,
        }
    }

    /// What systemd makes of the main process's death by a signal while the unit is up.
    pub fn death(&self, signal: Signal) -> Option<Prediction> {
        predict(self.facts, End::Signal { signal, core_dumped: false }, Stage::Started)
    }

    /// The same in words, from the result on, after "It dies".
    pub fn aftermath(&self, predicted: Prediction) -> String {
        aftermath(self.facts, predicted)
    }

    /// The settings that have systemd start it again after a death by a signal; `None` if it
    /// does so already, or none would.
    pub fn starting_again(&self, signal: Signal) -> Option<String> {
        starting_again(self.facts, signal)
    }

    /// A check's drop-in with these lines for the service.
    pub fn drop_in(&self, check: &str, lines: &str) -> DropIn {
        self.place.drop_in(self.name, check, &format!("[Service]\n{lines}"))
    }

    /// The drop-in that has a reload signal the main process alone.
    pub fn reload_by(&self, check: &str, signal: Signal, why: &str) -> DropIn {
        let lines = format!("{why}ExecReload=\nExecReload=/bin/kill -{signal} $MAINPID\n");
        self.drop_in(check, &lines)
    }

    /// What can't be told of it that would matter.
    pub fn unknown(&self) -> Option<String> {
        let waits_by_type =
            !matches!(self.facts.service_type.as_deref(), Some("simple" | "exec" | "idle"));
        if let Some(what) = self.reload.unknown() {
            return Some(what);
        }
        if self.sent().is_some() && !waits_by_type && self.holds.is_none() {
            return Some(
                "whether its ExecStartPost= waits until the program is ready: reloads are held \
                 back until it is over"
                    .to_owned(),
            );
        }
        match &self.main {
            Some(MainProcess::Unknown(why)) if self.hears_main_alone() => {
                Some(format!("which process speaks for it: {why}"))
            }
            _ => None,
        }
    }

    /// Whether systemd waits for messages and takes them from the main process alone.
    pub fn hears_main_alone(&self) -> bool {
        (self.facts.is_notify() || self.has_watchdog)
            && matches!(self.facts.notify_access.as_deref(), Some("main" | "exec"))
    }
}

/// Whom it is sent to, in words.
pub(super) fn whom(sent: &Sent) -> &'static str {
    match sent.target {
        _ if sent.literal.is_some() => ", as it is meant,",
        Target::Group => " to the main process and its whole group",
        Target::Unit => " to every process of the unit",
        _ => "",
    }
}

/// What systemd makes of an end in words, from the result on, after "It dies".
pub(super) fn aftermath(facts: &UnitFacts, predicted: Prediction) -> String {
    let restart = facts.restart.as_deref().unwrap_or("no");
    let result = predicted.result.name();
    let clean = if result == "success" { ": a clean exit" } else { "" };
    let silent = if result == "success" { ", and nothing reports a failure" } else { "" };
    match (predicted.restarts, predicted.decided_by) {
        (Some(true), Decider::Force) => {
            format!("(result '{result}'), and RestartForceExitStatus= starts it again")
        }
        (Some(true), _) => {
            format!("(result '{result}'), and Restart={restart} starts it again")
        }
        (_, Decider::Remain) => format!(
            "(result '{result}'{clean}), RemainAfterExit=yes keeps the unit \
             'active (exited)' without a process{silent}"
        ),
        (_, Decider::Prevent) => {
            format!("(result '{result}'{clean}), RestartPreventExitStatus= keeps it down{silent}")
        }
        _ => {
            format!("(result '{result}'{clean}), Restart={restart} does not start it again{silent}")
        }
    }
}

/// The settings that have systemd start a service again after a death by a signal; `None` if it
/// does so already, or none would.
pub(super) fn starting_again(before: &UnitFacts, signal: Signal) -> Option<String> {
    let death = End::Signal { signal, core_dumped: false };
    let restarts = |facts: &UnitFacts| {
        predict(facts, death, Stage::Started).is_some_and(|it| it.restarts == Some(true))
    };
    if restarts(before) {
        return None;
    }
    let mut facts = before.clone();
    let mut lines = String::new();
    if facts.remain_after_exit == Some(true) {
        facts.remain_after_exit = Some(false);
        lines += "# Otherwise the unit stays 'active (exited)' without a process.\n\
                  RemainAfterExit=no\n";
    }
    if let Some(prevent) = &mut facts.restart_prevent_exit_status
        && prevent.signals.contains(&signal)
    {
        prevent.signals.retain(|it| *it != signal);
        lines += "RestartPreventExitStatus=\n";
        let codes = prevent.codes.iter().map(ToString::to_string);
        let signals = prevent.signals.iter().map(|signal| format!("SIG{signal}"));
        let rest: Vec<String> = codes.chain(signals).collect();
        if !rest.is_empty() {
            let _ = writeln!(lines, "RestartPreventExitStatus={}", rest.join(" "));
        }
    }
    if !restarts(&facts) {
        lines += "# Start it again when a reload has killed it.\n";
        let _ = writeln!(lines, "RestartForceExitStatus=SIG{signal}");
        facts.restart_force_exit_status.get_or_insert_default().signals.push(signal);
    }
    restarts(&facts).then_some(lines)
}
