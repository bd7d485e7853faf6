//! What systemd makes of it under the unit's settings, in words.

use super::{
    case::Case,
    result::{Decider, End, Prediction, ServiceResult, Stage, predict},
    text,
};
use crate::model::{document::OutcomeState, event::What, unit::UnitFacts};

/// What begins every consequence that can't be told for sure.
const UNKNOWN: &str = "The unit's settings are unknown";

/// The values of Restart= that ever restart for one of our reasons.
const RESTARTS: [&str; 5] = ["always", "on-success", "on-failure", "on-abnormal", "on-abort"];

/// `Restart=on-failure does not restart it.`, or what does or would.
fn restart(setting: Option<&str>, predicted: Prediction) -> String {
    let down = "It stays down, and nothing reports a failure.";
    let decider = match predicted.decided_by {
        Decider::Restart => match setting {
            Some(setting) => format!("Restart={setting}"),
            None => String::new(),
        },
        Decider::Prevent => "RestartPreventExitStatus=".to_owned(),
        Decider::Force => "RestartForceExitStatus=".to_owned(),
        Decider::Remain => {
            return "RemainAfterExit=yes keeps the unit 'active (exited)': nothing restarts it, \
                    and nothing reports a failure."
                .to_owned();
        }
    };
    match predicted.restarts {
        Some(true) => format!("{decider} restarts it."),
        Some(false) if predicted.result == ServiceResult::Success => {
            format!("{decider} does not restart it. {down}")
        }
        Some(false) => format!("{decider} does not restart it."),
        None => {
            let would: Vec<_> = RESTARTS
                .into_iter()
                .filter(|setting| predicted.result.restarts(setting) == Some(true))
                .collect();
            format!("Restart= is unknown; {} would restart it.", listed(&would))
        }
    }
}

/// The same for a result that no end of a process brought about.
fn restart_after(setting: Option<&str>, result: ServiceResult) -> String {
    let restarts = setting.and_then(|setting| result.restarts(setting));
    restart(setting, Prediction { result, restarts, decided_by: Decider::Restart })
}

/// `a, b and c`
fn listed(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The settings of a unit whose type is known. What `run` was told counts only with a
/// Restart=: without one it stands in for any unit.
fn settings<'a>(case: &Case<'a>) -> Option<(&'a str, &'a UnitFacts)> {
    let facts = case.facts()?;
    let service_type = facts.service_type.as_deref()?;
    // systemd watches the supervisor, and not what that started.
    let is_watched = case.activation.supervisor.is_none();
    (is_watched && (!case.is_command() || facts.restart.is_some())).then_some((service_type, facts))
}

/// How far the start was at `at`.
fn stage(case: &Case, service_type: &str, at: i64) -> Stage {
    // One that ran before the capture has most likely been up.
    if case.is_ready_at(at) || case.activation.joined_ns.is_some() {
        return Stage::Started;
    }
    match service_type {
        // The daemon is known from what started it only by systemd's word.
        "forking" => match case.was_active_at(at) {
            Some(true) => Stage::Started,
            // A daemon that was left behind already may come up all the same.
            Some(false) if case.has_descendants_at(at) => Stage::Unknown,
            Some(false) => Stage::Starting,
            None => Stage::Unknown,
        },
        _ => Stage::Starting,
    }
}

/// What systemd itself says it did about the end of the main process at `at`.
fn said(case: &Case, predicted: Prediction, at: i64) -> String {
    let result = case.activation.systemd.as_ref().and_then(|state| state.result.as_deref());
    let over = case.events().filter_map(|(_, event)| match &event.what {
        What::Systemd { state, sub_state, .. } if event.at_ns >= at => {
            let again = sub_state.as_deref() == Some("auto-restart");
            let over = again || matches!(state.as_str(), "inactive" | "failed");
            over.then_some((again, state))
        }
        _ => None,
    });
    // Before it starts a service again, it has been inactive for a moment.
    let (Some(result), Some((again, state))) = (result, over.max_by_key(|(again, _)| *again))
    else {
        return String::new();
    };
    let then = if again { "it restarts the unit" } else { &format!("the unit is {state}") };
    if result == predicted.result.name() {
        format!(" systemd says so itself: Result={result}, and {then}.")
    } else {
        format!(" But systemd itself says Result={result}, and {then}: its word counts.")
    }
}

/// The reload signal brings this end of the main process about at `at`.
pub(super) fn death(case: &Case, end: End, at: i64) -> String {
    let Some((service_type, facts)) = settings(case) else {
        let ready = case.is_ready_at(at) || case.activation.joined_ns.is_some();
        return death_under_any_unit(end, ready);
    };
    let setting = facts.restart.as_deref();
    match (predict(facts, end, stage(case, service_type, at)), service_type) {
        (Some(predicted), _) => {
            let verdict = match predicted.result {
                ServiceResult::Success => {
                    format!("as a clean exit of a Type={service_type} service")
                }
                ServiceResult::Protocol if service_type == "forking" => {
                    "before its PIDFile= was there as a failed start of a Type=forking service"
                        .to_owned()
                }
                ServiceResult::Protocol => {
                    format!("before READY=1 as a failed start of a Type={service_type} service")
                }
                _ => format!("as a failure of a Type={service_type} service"),
            };
            format!(
                "systemd takes {end} {verdict} (result '{}'): {}{}",
                predicted.result.name(),
                restart(setting, predicted),
                said(case, predicted, at)
            )
        }
        (None, "forking") => format!(
            "systemd takes {end} of the daemon of a Type=forking service as a clean \
             exit (result 'success'), of its ExecStart= process too, but as a failed start if a \
             PIDFile= is due (result 'protocol'). For the daemon: {}",
            restart_after(setting, ServiceResult::Success)
        ),
        (None, "notify" | "notify-reload") => format!(
            "systemd takes {end} before READY=1 as no end of the start: with \
             RemainAfterExit=yes another process may still say it. It waits until \
             TimeoutStartSec= is over (result 'timeout'): {}",
            restart_after(setting, ServiceResult::Timeout)
        ),
        (None, _) => death_under_any_unit(end, case.is_ready_at(at)),
    }
}

fn death_under_any_unit(end: End, ready: bool) -> String {
    let on_failure = |result: ServiceResult| {
        if result.restarts("on-failure") == Some(true) {
            "restarts it"
        } else {
            "does not restart it"
        }
    };
    if !end.is_clean() {
        let result = end.unclean_result();
        return format!(
            "{UNKNOWN}: systemd takes {end} as a failure (result '{}'); \
             Restart=on-failure {}.",
            result.name(),
            on_failure(result)
        );
    }
    if ready {
        return format!(
            "{UNKNOWN}: systemd takes {end} after the start as a clean exit (result \
             'success'); Restart=on-failure {}.",
            on_failure(ServiceResult::Success)
        );
    }
    format!(
        "{UNKNOWN}: systemd takes {end} of a Type=simple service as a clean exit (result \
         'success'), and Restart=on-failure {}. As Type=notify its start fails before READY=1 \
         (result 'protocol'), and Restart=on-failure {}.",
        on_failure(ServiceResult::Success),
        on_failure(ServiceResult::Protocol)
    )
}

/// READY=1 never comes, or never arrives.
pub(super) fn never_ready(case: &Case) -> String {
    let outcome = &case.activation.outcome;
    let end = match (outcome.state, outcome.signal, outcome.code) {
        (OutcomeState::Killed, Some(signal), _) => {
            Some(End::Signal { signal, core_dumped: case.dumped_core() })
        }
        (OutcomeState::Exited, _, Some(code)) => Some(End::Code(code)),
        _ => None,
    };
    let known = settings(case);
    let service_type = known.map_or("notify", |(service_type, _)| service_type);
    let facts = known.map_or_else(
        || UnitFacts { service_type: Some(service_type.to_owned()), ..UnitFacts::default() },
        |(_, facts)| facts.clone(),
    );
    let setting = facts.restart.as_deref();
    let verdict = match end.map(|end| (end, predict(&facts, end, Stage::Starting))) {
        Some((end, predicted)) => {
            let result = end.unclean_result();
            let predicted = predicted.unwrap_or(Prediction {
                result,
                restarts: setting.and_then(|setting| result.restarts(setting)),
                decided_by: Decider::Restart,
            });
            format!(
                "the start of a Type={service_type} service fails when it ends before READY=1 \
                 (result '{}'): {}{}",
                predicted.result.name(),
                restart(setting, predicted),
                said(case, predicted, case.end_ns())
            )
        }
        None => format!(
            "systemd waits for READY=1 until TimeoutStartSec= is over ({}), then \
             ends the service with TERM (result 'timeout'): {}",
            match facts.timeout_start_ns {
                Some(0) => "never, here".to_owned(),
                Some(limit) => format!("{} s", limit / 1_000_000_000),
                None => "90 s unless set".to_owned(),
            },
            restart_after(setting, ServiceResult::Timeout)
        ),
    };
    if known.is_some() {
        return capitalised(&verdict);
    }
    format!("{UNKNOWN}: as Type=notify, {verdict}")
}

/// systemd's name is not a word to capitalise.
fn capitalised(sentence: &str) -> String {
    match sentence.strip_prefix("the ") {
        Some(rest) => format!("The {rest}"),
        None => sentence.to_owned(),
    }
}

/// A reload was sent and not taken.
pub(super) fn lost_reload(case: &Case) -> String {
    let waits = "systemctl reload waits for RELOADING=1 until TimeoutStartSec= is over and then \
                 fails; the old configuration stays in force.";
    let done = "systemd counts the reload as done once ExecReload= has returned; the old \
                configuration stays in force and nothing reports it.";
    match settings(case) {
        Some(("notify-reload", _)) => waits.to_owned(),
        Some(_) => done.to_owned(),
        None => format!("{UNKNOWN}: with ExecReload=, {done} Under Type=notify-reload, {waits}"),
    }
}

/// A reload signal reached a service with a handler that had not said READY=1.
pub(super) fn reload_in_start(case: &Case) -> String {
    let handler = "what the handler does to a half-started service is up to the program.";
    match settings(case) {
        Some((service_type @ ("notify" | "notify-reload"), _)) => format!(
            "systemd folds systemctl reload into the start while a Type={service_type} unit is \
             activating, so this signal came around it; {handler}"
        ),
        Some((service_type, _)) => format!(
            "systemd counts a Type={service_type} unit as started without waiting for READY=1, \
             so systemctl reload can send the signal this early; {handler}"
        ),
        None => format!(
            "{UNKNOWN}: only Type=notify makes systemctl reload wait for READY=1; {handler}"
        ),
    }
}

/// RELOADING=1 came without the time systemd asks for.
pub(super) fn untimed_reloading(case: &Case) -> String {
    let verdict = "systemd does not count it as the answer to its reload: systemctl reload waits \
                   until TimeoutStartSec= is over and then fails.";
    match settings(case) {
        Some(_) => verdict.to_owned(),
        None => format!("{UNKNOWN}: under Type=notify-reload, {verdict}"),
    }
}

/// Whether systemd starts the service again after its end at `at`; `None` if that is unknown.
pub(super) fn restarts(case: &Case, end: End, at: i64) -> Option<bool> {
    let (service_type, facts) = settings(case)?;
    predict(facts, end, stage(case, service_type, at))?.restarts
}

/// A reload was not answered at all.
pub(super) fn unanswered_reload(case: &Case) -> String {
    let verdict = "systemd waits for RELOADING=1 and then READY=1: systemctl reload hangs until \
                   TimeoutStartSec= is over and then fails.";
    match settings(case) {
        Some(_) => verdict.to_owned(),
        None => format!("{UNKNOWN}: under Type=notify-reload, {verdict}"),
    }
}

/// RELOADING=1 was not followed by READY=1.
pub(super) fn endless_reloading(case: &Case) -> String {
    let verdict = "the unit stays in state 'reloading' until TimeoutStartSec= is over; then the \
                   reload counts as failed.";
    match settings(case) {
        Some(_) => capitalised(verdict),
        None => format!("{UNKNOWN}: for a unit that tells its state, {verdict}"),
    }
}

/// A message did not arrive that was not READY=1.
pub(super) fn unheard(case: &Case) -> String {
    let verdict = "systemd never saw the message; its view of the unit stays as it was.";
    match settings(case) {
        Some(_) => verdict.to_owned(),
        None => format!("{UNKNOWN}: {verdict}"),
    }
}

/// There may be more to know.
pub(super) fn holes(case: &Case) -> String {
    format!(
        "What was missed may be a signal, a handler or READY=1 of {}: that no other alert fired \
         proves nothing, whatever the unit's settings.",
        text::main(case)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::signal::Signal, rules::testing::*};

    #[test]
    fn an_unknown_restart_setting_is_answered_with_those_that_would() {
        assert_eq!(
            restart_after(None, ServiceResult::Protocol),
            "Restart= is unknown; always, on-failure and on-abnormal would restart it."
        );
        assert_eq!(
            restart_after(Some("on-whim"), ServiceResult::Success),
            "Restart= is unknown; always and on-success would restart it."
        );
    }

    #[test]
    fn a_forking_service_has_two_processes_that_can_die() {
        let mut document = activation().unit("forking", "on-failure").document();
        let service = document.services.remove(0);
        let (capture, activation) = (&document.capture, &service.activations[0]);
        let case = Case { capture, service: &service, activation };
        assert_eq!(
            death(&case, End::Signal { signal: Signal::HUP, core_dumped: false }, 0),
            "systemd takes death by HUP of the daemon of a Type=forking service as a clean exit \
             (result 'success'), of its ExecStart= process too, but as a failed start if a \
             PIDFile= is due (result 'protocol'). For the daemon: Restart=on-failure does not \
             restart it. It stays down, and nothing reports a failure."
        );
    }

    #[test]
    fn the_wait_for_ready_is_as_long_as_the_unit_sets_it() {
        let waits = |limit| {
            let mut document = activation().unit("notify", "no").exec(0).document();
            let mut service = document.services.remove(0);
            service.unit.as_mut().unwrap().timeout_start_ns = limit;
            let (capture, activation) = (&document.capture, &service.activations[0]);
            let told = never_ready(&Case { capture, service: &service, activation });
            let (_, rest) = told.split_once("is over (").unwrap();
            rest.split_once(')').unwrap().0.to_owned()
        };
        assert_eq!(waits(Some(0)), "never, here");
        assert_eq!(waits(Some(90_000_000_000)), "90 s");
        assert_eq!(waits(None), "90 s unless set");
    }

    #[test]
    fn systemds_own_word_stands_beside_the_prediction() {
        let killed = |result| {
            activation()
                .unit("simple", "always")
                .exec(0)
                .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
                .systemd(6.ms(), "inactive", None, result)
        };
        let restarted =
            killed("success").systemd(7.ms(), "activating", Some("auto-restart"), "success");
        let alerts = restarted.judged(&["reload-before-handler"]);
        assert!(
            alerts[0].consequence.ends_with(
                "Restart=always restarts it. systemd says so itself: Result=success, and it \
                 restarts the unit."
            ),
            "{}",
            alerts[0].consequence
        );
        let alerts = killed("timeout").judged(&["reload-before-handler"]);
        assert!(
            alerts[0].consequence.ends_with(
                "But systemd itself says Result=timeout, and the unit is inactive: its word counts."
            ),
            "{}",
            alerts[0].consequence
        );
    }

    #[test]
    fn a_oneshot_killed_by_hup_has_failed() {
        let alerts = activation()
            .unit("oneshot", "no")
            .exec(0)
            .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&["reload-before-handler"]);
        assert_eq!(
            alerts[0].consequence,
            "systemd takes death by HUP as a failure of a Type=oneshot service (result 'signal'): \
             Restart=no does not restart it."
        );
    }
}
