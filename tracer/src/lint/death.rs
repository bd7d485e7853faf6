//! What systemd makes of the main process's death, and what would have it start again.

use std::fmt::Write as _;

use crate::{
    model::{
        signal::Signal,
        unit::{ExitStatuses, UnitFacts},
    },
    rules::result::{Decider, End, Prediction, ServiceResult, Stage, predict, predict_stop},
    systemd::commands::Stop,
};

/// What systemd makes of it.
pub(super) struct Aftermath {
    /// The end.
    pub end: End,
    /// systemd's `Result=` of it; where that depends on how ExecStop= ends, of one that ends well.
    pub result: ServiceResult,
    /// Whether systemd starts the service again; `None` if that depends on how ExecStop= ends.
    pub restarts: Option<bool>,
    /// Whether the unit stays up without a process.
    pub remains: bool,
    /// The same in words, from the result on, after "It dies".
    pub words: String,
}

/// What systemd makes of an end while the unit is up, where `ExecStop=` ends so; `None` if that
/// depends on what is not known. After a clean end it runs `ExecStop=`, and where that fails the
/// service has failed (`service_enter_stop` in src/core/service.c).
pub(super) fn aftermath(facts: &UnitFacts, end: End, stop: &Stop) -> Option<Aftermath> {
    let predicted = predict(facts, end, Stage::Started)?;
    let restart = facts.restart.as_deref().unwrap_or("no");
    let remains = predicted.decided_by == Decider::Remain;
    let words = words(facts, predicted);
    let result = predicted.result;
    let plain = Aftermath { end, result, restarts: predicted.restarts, remains, words };
    if predicted.result != ServiceResult::Success || remains {
        return Some(plain);
    }
    // kill(1) ends with 1 when it is given no pid.
    let failed = predict_stop(facts, end, Stage::Started, End::Code(1));
    let is_listed = matches!(predicted.decided_by, Decider::Force | Decider::Prevent);
    Some(match stop {
        _ if is_listed => plain,
        Stop::Well => plain,
        Stop::Fails => Aftermath {
            end,
            result: failed.result,
            restarts: failed.restarts,
            remains: false,
            words: format!(
                "(a clean exit, but ExecStop= or ExecStopPost= fails then, and the result is '{}'), \
                 and Restart={restart} {}",
                failed.result.name(),
                if failed.restarts == Some(true) {
                    "starts it again"
                } else {
                    "does not start it again"
                }
            ),
        },
        Stop::Unknown(_) if failed.restarts == predicted.restarts => plain,
        Stop::Unknown(by) => Aftermath {
            end,
            result,
            restarts: None,
            remains: false,
            words: format!(
                "(a clean exit), and whether Restart={restart} starts it again depends on whether \
                 {by}, of its ExecStop= or ExecStopPost=, fails then"
            ),
        },
    })
}

/// What systemd makes of an end in words, from the result on, after "It dies".
fn words(facts: &UnitFacts, predicted: Prediction) -> String {
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
        (_, Decider::Delay) => format!(
            "(result '{result}'{clean}), and it waits for ever to be started again \
             (RestartSec=infinity){silent}"
        ),
        (_, Decider::Prevent) => {
            format!("(result '{result}'{clean}), RestartPreventExitStatus= keeps it down{silent}")
        }
        _ => {
            format!("(result '{result}'{clean}), Restart={restart} does not start it again{silent}")
        }
    }
}

/// A death by a signal.
pub(super) const fn by_signal(signal: Signal) -> End {
    End::Signal { signal, core_dumped: false }
}

/// The settings that have systemd start a service again after each of these ends; `None` if it
/// does so already, or none would.
pub(super) fn starting_again(before: &UnitFacts, ends: &[End]) -> Option<String> {
    let restarts_after = |facts: &UnitFacts, end: End| {
        predict(facts, end, Stage::Started).is_some_and(|it| it.restarts == Some(true))
    };
    let restarts = |facts: &UnitFacts| ends.iter().all(|end| restarts_after(facts, *end));
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
    if facts.restart_never == Some(true) {
        (facts.restart_never, facts.restart_delay_ns) = (Some(false), Some(100_000_000));
        lines += "# Otherwise it waits for ever to be started again.\nRestartSec=100ms\n";
    }
    let listed = facts.restart_prevent_exit_status.take();
    let is_prevented = ends.iter().any(|end| end.is_in(listed.as_ref()));
    if let Some(mut prevent) = listed.filter(|_| is_prevented) {
        prevent.codes.retain(|it| !ends.contains(&End::Code(*it)));
        prevent.signals.retain(|it| !ends.contains(&by_signal(*it)));
        lines += "RestartPreventExitStatus=\n";
        if !prevent.is_empty() {
            let _ = writeln!(lines, "RestartPreventExitStatus={prevent}");
        }
    }
    let mut forced = ExitStatuses::default();
    for end in ends.iter().filter(|end| !restarts_after(&facts, **end)) {
        match end {
            End::Signal { signal, .. } => forced.signals.push(*signal),
            End::Code(code) => forced.codes.push(*code),
        }
    }
    if !forced.is_empty() {
        lines += "# Start it again when a reload has killed it.\n";
        let _ = writeln!(lines, "RestartForceExitStatus={forced}");
        let force = facts.restart_force_exit_status.get_or_insert_default();
        force.signals.extend(forced.signals);
        force.codes.extend(forced.codes);
    }
    restarts(&facts).then_some(lines)
}
