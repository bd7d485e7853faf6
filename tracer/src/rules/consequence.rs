//! What systemd makes of it under the unit's settings, in words.

use super::{
    case::Case,
    result::{End, ServiceResult, result},
    text,
};
use crate::{signal::Signal, timeline::document::OutcomeState};

/// What begins every consequence that can't be told for sure.
const UNKNOWN: &str = "The unit's settings are unknown";

/// The values of Restart= that ever restart for one of our reasons.
const RESTARTS: [&str; 5] = ["always", "on-success", "on-failure", "on-abnormal", "on-abort"];

/// ` Restart=on-failure does not restart it.`, or what would.
fn restart(restart: Option<&str>, result: ServiceResult) -> String {
    match restart.map(|setting| (setting, result.restarts(setting))) {
        Some((setting, Some(true))) => format!("Restart={setting} restarts it."),
        Some((setting, Some(false))) if result == ServiceResult::Success => format!(
            "Restart={setting} does not restart it. It stays down, and nothing reports a failure."
        ),
        Some((setting, Some(false))) => format!("Restart={setting} does not restart it."),
        _ => {
            let would: Vec<_> = RESTARTS
                .into_iter()
                .filter(|setting| result.restarts(setting) == Some(true))
                .collect();
            format!("Restart= is unknown; {} would restart it.", listed(&would))
        }
    }
}

/// `a, b and c`
fn listed(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `Type=` and `Restart=` of a unit whose type is known. What `run` was told counts
/// only with a Restart=: without one it stands in for any unit.
fn settings<'a>(case: &Case<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let facts = case.facts()?;
    let restart = facts.restart.as_deref();
    let service_type = facts.service_type.as_deref()?;
    (!case.is_command() || restart.is_some()).then_some((service_type, restart))
}

/// The reload signal kills the main process at `at`.
pub(super) fn death(case: &Case, signal: Signal, core_dumped: bool, at: i64) -> String {
    let end = End::Signal { signal, core_dumped };
    // One that ran before the capture has most likely been ready.
    let ready = case.is_ready_at(at) || case.activation.joined_ns.is_some();
    let Some((service_type, setting)) = settings(case) else {
        return death_under_any_unit(end, signal, ready);
    };
    match (result(service_type, end, ready), service_type) {
        (Some(result), _) => {
            let verdict = match result {
                ServiceResult::Success => format!("a clean exit of a Type={service_type} service"),
                ServiceResult::Protocol => {
                    format!("before READY=1 as a failed start of a Type={service_type} service")
                }
                _ => format!("a failure of a Type={service_type} service"),
            };
            let verdict = match result {
                ServiceResult::Protocol => verdict,
                _ => format!("as {verdict}"),
            };
            format!(
                "systemd takes death by {signal} {verdict} (result '{}'): {}",
                result.name(),
                restart(setting, result)
            )
        }
        (None, "forking") => format!(
            "systemd takes death by {signal} of the daemon of a Type=forking service as a clean \
             exit (result 'success'), of its ExecStart= process as a failed start (result \
             'signal'). For the daemon: {}",
            restart(setting, ServiceResult::Success)
        ),
        (None, _) => death_under_any_unit(end, signal, ready),
    }
}

fn death_under_any_unit(end: End, signal: Signal, ready: bool) -> String {
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
            "{UNKNOWN}: systemd takes death by {signal} as a failure (result '{}'); \
             Restart=on-failure {}.",
            result.name(),
            on_failure(result)
        );
    }
    if ready {
        return format!(
            "{UNKNOWN}: systemd takes death by {signal} after the start as a clean exit (result \
             'success'); Restart=on-failure {}.",
            on_failure(ServiceResult::Success)
        );
    }
    format!(
        "{UNKNOWN}: a Type=simple service killed by {signal} counts as a clean exit (result \
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
    let setting = known.and_then(|(_, setting)| setting);
    let verdict = match end {
        Some(end) => {
            let result = result(service_type, end, false).unwrap_or(end.unclean_result());
            format!(
                "the start of a Type={service_type} service fails when it ends before READY=1 \
                 (result '{}'): {}",
                result.name(),
                restart(setting, result)
            )
        }
        None => format!(
            "systemd waits for READY=1 until TimeoutStartSec= is over (90 s unless set), then \
             ends the service with TERM (result 'timeout'): {}",
            restart(setting, ServiceResult::Timeout)
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
    use crate::rules::testing::*;

    #[test]
    fn an_unknown_restart_setting_is_answered_with_those_that_would() {
        assert_eq!(
            restart(None, ServiceResult::Protocol),
            "Restart= is unknown; always, on-failure and on-abnormal would restart it."
        );
        assert_eq!(
            restart(Some("on-whim"), ServiceResult::Success),
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
            death(&case, Signal::HUP, false, 0),
            "systemd takes death by HUP of the daemon of a Type=forking service as a clean exit \
             (result 'success'), of its ExecStart= process as a failed start (result 'signal'). \
             For the daemon: Restart=on-failure does not restart it. It stays down, and nothing \
             reports a failure."
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
