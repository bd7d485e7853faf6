//! What systemd makes of it under the unit's settings: `service_sigchld_event()`
//! and `service_shall_restart()` in systemd's src/core/service.c, and the table
//! under Restart= in systemd.service(5).

use crate::{signal::Signal, timeline::document::OutcomeState};

use super::{case::Case, text};

/// What begins every consequence that can't be told for sure.
const UNKNOWN: &str = "The unit's settings are unknown";

/// The values of Restart= that ever restart for one of our reasons.
const RESTARTS: [&str; 5] = ["always", "on-success", "on-failure", "on-abnormal", "on-abort"];

/// systemd's `Result=` of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServiceResult {
    Success,
    ExitCode,
    Signal,
    CoreDump,
    Protocol,
    Timeout,
}

impl ServiceResult {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
        }
    }

    /// Whether `Restart=setting` restarts a service with this result; `None` if
    /// there is no such setting.
    fn restarts(self, setting: &str) -> Option<bool> {
        Some(match setting {
            "no" | "on-watchdog" => false,
            "always" => true,
            "on-success" => self == Self::Success,
            "on-failure" => self != Self::Success,
            "on-abnormal" => !matches!(self, Self::Success | Self::ExitCode),
            "on-abort" => matches!(self, Self::Signal | Self::CoreDump),
            _ => return None,
        })
    }
}

/// How a main process ended.
#[derive(Clone, Copy)]
enum End {
    Signal { signal: Signal, core_dumped: bool },
    Code(u8),
}

impl End {
    /// Whether a long-running service may end so.
    fn is_clean(self) -> bool {
        match self {
            Self::Signal { signal, .. } => {
                [Signal::HUP, Signal::INT, Signal::TERM, Signal::PIPE].contains(&signal)
            }
            Self::Code(code) => code == 0,
        }
    }

    fn unclean_result(self) -> ServiceResult {
        match self {
            Self::Signal { core_dumped: true, .. } => ServiceResult::CoreDump,
            Self::Signal { .. } => ServiceResult::Signal,
            Self::Code(_) => ServiceResult::ExitCode,
        }
    }
}

/// The result when the main process of a `Type=` ends; `None` for a type that is
/// not known, or whose result depends on more than that.
fn result(service_type: &str, end: End, ready: bool) -> Option<ServiceResult> {
    let by_signal = matches!(end, End::Signal { .. });
    let clean = match service_type {
        "notify" | "notify-reload" if end.is_clean() && !ready => {
            return Some(ServiceResult::Protocol);
        }
        // Until ExecStart= has returned its process is a control process, which has
        // no clean signals; the daemon it leaves behind is a main process.
        "forking" if by_signal && end.is_clean() => return None,
        // No signal is a clean end for what is to finish by itself.
        "oneshot" => !by_signal && end.is_clean(),
        "simple" | "exec" | "idle" | "dbus" | "forking" | "notify" | "notify-reload" => {
            end.is_clean()
        }
        _ => return None,
    };
    Some(if clean { ServiceResult::Success } else { end.unclean_result() })
}

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
    let ready = case.is_ready_at(at);
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

    fn signal(name: &str) -> End {
        End::Signal { signal: name.parse().unwrap(), core_dumped: false }
    }

    #[test]
    fn the_result_follows_type_and_signal_as_in_systemd() {
        use ServiceResult as R;
        let core = End::Signal { signal: "QUIT".parse().unwrap(), core_dumped: true };
        #[rustfmt::skip]
        let matrix = [
            // Type=          end               ready  result
            ("simple",        signal("HUP"),    false, Some(R::Success)),
            ("simple",        signal("INT"),    false, Some(R::Success)),
            ("simple",        signal("TERM"),   false, Some(R::Success)),
            ("simple",        signal("PIPE"),   false, Some(R::Success)),
            ("simple",        signal("USR1"),   false, Some(R::Signal)),
            ("simple",        signal("USR2"),   false, Some(R::Signal)),
            ("simple",        signal("KILL"),   false, Some(R::Signal)),
            ("simple",        core,             false, Some(R::CoreDump)),
            ("simple",        End::Code(0),     false, Some(R::Success)),
            ("simple",        End::Code(129),   false, Some(R::ExitCode)),
            ("exec",          signal("HUP"),    false, Some(R::Success)),
            ("idle",          signal("HUP"),    false, Some(R::Success)),
            ("dbus",          signal("HUP"),    false, Some(R::Success)),
            ("dbus",          signal("USR1"),   false, Some(R::Signal)),
            ("notify",        signal("HUP"),    false, Some(R::Protocol)),
            ("notify",        signal("HUP"),    true,  Some(R::Success)),
            ("notify",        signal("USR1"),   false, Some(R::Signal)),
            ("notify",        signal("USR1"),   true,  Some(R::Signal)),
            ("notify",        End::Code(0),     false, Some(R::Protocol)),
            ("notify",        End::Code(1),     false, Some(R::ExitCode)),
            ("notify-reload", signal("HUP"),    false, Some(R::Protocol)),
            ("notify-reload", signal("HUP"),    true,  Some(R::Success)),
            ("oneshot",       signal("HUP"),    false, Some(R::Signal)),
            ("oneshot",       signal("TERM"),   false, Some(R::Signal)),
            ("oneshot",       End::Code(0),     false, Some(R::Success)),
            ("forking",       signal("HUP"),    false, None),
            ("forking",       signal("USR1"),   false, Some(R::Signal)),
            ("forking",       End::Code(0),     false, Some(R::Success)),
            ("of tomorrow",   signal("HUP"),    false, None),
        ];
        for (service_type, end, ready, expected) in matrix {
            assert_eq!(result(service_type, end, ready), expected, "{service_type}, {ready}");
        }
    }

    #[test]
    fn restart_follows_the_result_as_in_systemd() {
        use ServiceResult as R;
        let settings =
            ["no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"];
        #[rustfmt::skip]
        let matrix = [
            (R::Success,  [false, true, true,  false, false, false, false]),
            (R::ExitCode, [false, true, false, true,  false, false, false]),
            (R::Signal,   [false, true, false, true,  true,  true,  false]),
            (R::CoreDump, [false, true, false, true,  true,  true,  false]),
            (R::Protocol, [false, true, false, true,  true,  false, false]),
            (R::Timeout,  [false, true, false, true,  true,  false, false]),
        ];
        for (result, row) in matrix {
            for (setting, expected) in settings.into_iter().zip(row) {
                assert_eq!(result.restarts(setting), Some(expected), "{result:?}, {setting}");
            }
            assert_eq!(result.restarts("on-whim"), None);
        }
    }

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
