//! What systemd makes of it under the unit's settings, in words.

mod messages;

use std::collections::BTreeSet;

pub(super) use self::messages::{
    endless_reloading, later_systemd, lost_reload, refused_start, reload_in_start,
    stopping_then_on, unanswered_reload, unheard, untimed_reloading, watchdog,
};
use super::{
    case::Case,
    result::{Decider, End, Prediction, ServiceResult, Stage, predict, predict_stop},
    text,
};
use crate::model::{document::OutcomeState, event::What, signal::Signal, unit::UnitFacts};

/// What begins every consequence that can't be told for sure.
const UNKNOWN: &str = "The unit's settings are unknown";

/// The values of Restart= that ever restart for one of our reasons.
const RESTARTS: [&str; 6] =
    ["always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"];

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
        Decider::NoMain => {
            return format!(
                "systemd knows no main process of it (GuessMainPID=no, no PIDFile=) and sees only \
                 that nothing of the service is left. {down}"
            );
        }
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
    // What comes later is of somebody else's doing: an operator's stop.
    let mut states = case.states().skip_while(|state| state.at_ns < at || !state.is_over());
    let Some(over) = states.next() else {
        return String::new();
    };
    // Before it starts a service again, it has been inactive for a moment.
    let next = states.next();
    let again = over.is_again() || next.is_some_and(|next| next.is_again());
    let last = case.activation.systemd.as_ref().and_then(|state| state.result.as_deref());
    // Of a state of which only the time is known, the result is that of the last one.
    let known = || over.sub_state.map(|_| "success");
    let Some(result) = over.result.or_else(known).or(last) else {
        return String::new();
    };
    let state = over.state;
    if predicted.decided_by == Decider::Remain {
        return String::new();
    }
    let then = if again { "it restarts the unit" } else { &format!("the unit is {state}") };
    if result == predicted.result.name() {
        format!(" systemd says so itself: Result={result}, and {then}.")
    } else {
        format!(" But systemd itself says Result={result}, and {then}: its word counts.")
    }
}

/// The reload signal brings this end of the main process about at `at`.
pub(super) fn death(case: &Case, end: End, at: i64) -> String {
    if let Some(place) = case.place() {
        return place.death(end);
    }
    let Some((service_type, facts)) = settings(case) else {
        let ready = case.is_ready_at(at) || case.activation.joined_ns.is_some();
        return death_under_any_unit(end, ready);
    };
    let setting = facts.restart.as_deref();
    let stage = stage(case, service_type, at);
    let predicted = predict(facts, end, stage);
    let stops = predicted
        .is_some_and(|it| it.result == ServiceResult::Success && it.decided_by != Decider::Remain);
    if let Some(failed) = failed_stop(case, at).filter(|_| stops) {
        let predicted = predict_stop(facts, end, stage, failed);
        return format!(
            "systemd takes {end} as a clean exit of a Type={service_type} service and runs \
             ExecStop= or ExecStopPost=, which failed: {failed} (result '{}'): {}{}",
            predicted.result.name(),
            restart(setting, predicted),
            said(case, predicted, at)
        );
    }
    match (predicted, service_type) {
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

/// How a command failed that systemd ran once the main process had ended at `at`, before it
/// called the service over.
fn failed_stop(case: &Case, at: i64) -> Option<End> {
    let over = case.states().find(|state| state.at_ns >= at && state.is_over())?.at_ns;
    let between = |at_ns: i64| (at..=over).contains(&at_ns);
    let mut commands = BTreeSet::new();
    case.events().filter(|(_, event)| between(event.at_ns)).find_map(|(_, event)| {
        match &event.what {
            // systemd forks it into the service's cgroup, or moves it there.
            What::Fork { process, parent } if parent.comm == "systemd" => {
                commands.insert(process.pid);
                None
            }
            What::Cgroup { process: Some(process), .. } => {
                commands.insert(process.pid);
                None
            }
            What::Exit { process, signal, code, core_dumped }
                if commands.contains(&process.pid) =>
            {
                match (signal, code) {
                    (Some(signal), _) => {
                        Some(End::Signal { signal: *signal, core_dumped: *core_dumped })
                    }
                    (None, Some(0) | None) => None,
                    (None, Some(code)) => Some(End::Code(*code)),
                }
            }
            _ => None,
        }
    })
}

/// The reload signal killed a command that runs before the main process.
pub(super) fn death_before_main(case: &Case, signal: Signal) -> String {
    let end = End::Signal { signal, core_dumped: false };
    let result = end.unclean_result();
    let verdict = format!(
        "systemd takes {end} of a command of ExecCondition= or ExecStartPre= as a failed start \
         (result '{}')",
        result.name()
    );
    match settings(case) {
        Some((_, facts)) => {
            format!("{verdict}: {}", restart_after(facts.restart.as_deref(), result))
        }
        None => format!("{UNKNOWN}: {verdict}."),
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

/// Whether systemd starts the service again after its end at `at`; `None` if that is unknown.
pub(super) fn restarts(case: &Case, end: End, at: i64) -> Option<bool> {
    let (service_type, facts) = settings(case)?;
    predict(facts, end, stage(case, service_type, at))?.restarts
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
    use crate::{model::event::ProcessRef, rules::testing::*};

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

    const HUP: End = End::Signal { signal: Signal::HUP, core_dumped: false };

    #[test]
    fn a_forking_service_has_two_processes_that_can_die() {
        assert_eq!(
            activation().unit("forking", "on-failure").asked(|case| death(case, HUP, 0)),
            "systemd takes death by HUP of the daemon of a Type=forking service as a clean exit \
             (result 'success'), of its ExecStart= process too, but as a failed start if a \
             PIDFile= is due (result 'protocol'). For the daemon: Restart=on-failure does not \
             restart it. It stays down, and nothing reports a failure."
        );
    }

    #[test]
    fn a_forking_service_that_is_not_up_fails_where_its_pid_file_is_due() {
        let starting = |pid_file: &str| {
            activation()
                .unit("forking", "on-failure")
                .with(|facts| facts.pid_file = Some(pid_file.to_owned()))
                .systemd(0, "activating", Some("start"), "success")
                .exec(0)
        };
        let told = starting("/run/d.pid").asked(|case| death(case, HUP, 1.s()));
        assert_eq!(
            told,
            "systemd takes death by HUP before its PIDFile= was there as a failed start of a \
             Type=forking service (result 'protocol'): Restart=on-failure restarts it."
        );
        let told = starting("").asked(|case| death(case, HUP, 1.s()));
        assert!(told.contains("as a clean exit of a Type=forking service"), "{told}");
        // A daemon that was left behind may come up all the same.
        let told = starting("").fork(500.ms(), 4712).asked(|case| death(case, HUP, 1.s()));
        assert!(told.contains("of the daemon of a Type=forking service"), "{told}");
        let active = starting("/run/d.pid").systemd(900.ms(), "active", None, "success");
        let told = active.asked(|case| death(case, HUP, 1.s()));
        assert!(told.contains("as a clean exit of a Type=forking service"), "{told}");
    }

    #[test]
    fn the_end_of_a_start_that_may_still_become_ready_waits_for_the_time_out() {
        let told = activation()
            .unit("notify", "on-failure")
            .admits("all")
            .with(|facts| facts.remain_after_exit = Some(true))
            .exec(0)
            .asked(|case| death(case, HUP, 1.s()));
        assert_eq!(
            told,
            "systemd takes death by HUP before READY=1 as no end of the start: with \
             RemainAfterExit=yes another process may still say it. It waits until \
             TimeoutStartSec= is over (result 'timeout'): Restart=on-failure restarts it."
        );
    }

    #[test]
    fn an_end_is_told_for_any_unit_where_the_settings_are_unknown() {
        let told = |start: Start, end| start.exec(0).asked(|case| death(case, end, 1.s()));
        assert_eq!(
            told(activation(), HUP),
            "The unit's settings are unknown: systemd takes death by HUP of a Type=simple service \
             as a clean exit (result 'success'), and Restart=on-failure does not restart it. As \
             Type=notify its start fails before READY=1 (result 'protocol'), and \
             Restart=on-failure restarts it."
        );
        let after = "The unit's settings are unknown: systemd takes death by HUP after the start \
                     as a clean exit (result 'success'); Restart=on-failure does not restart it.";
        assert_eq!(told(activation().ready(1.s()), HUP), after);
        assert_eq!(told(activation().joined(0), HUP), after);
        assert_eq!(
            told(activation(), End::Code(1)),
            "The unit's settings are unknown: systemd takes an exit with code 1 as a failure \
             (result 'exit-code'); Restart=on-failure restarts it."
        );
        let of_tomorrow = activation().unit("of-tomorrow", "no");
        assert!(told(of_tomorrow, HUP).starts_with("The unit's settings are unknown: "));
    }

    #[test]
    fn what_a_command_was_told_counts_with_a_restart_setting_alone() {
        let told = |start: Start| start.exec(0).asked(|case| death(case, HUP, 1.s()));
        assert!(told(activation().command()).starts_with("The unit's settings are unknown: "));
        let told = told(activation().command().with(|facts| facts.restart = Some("no".to_owned())));
        assert!(told.ends_with("Restart=no does not restart it."), "{told}");
    }

    #[test]
    fn each_consequence_is_told_for_the_unit_and_for_an_unknown_one() {
        type Consequence = fn(&Case) -> String;
        let asked = |what: Consequence, service_type: Option<&str>| match service_type {
            Some(service_type) => activation().unit(service_type, "no").asked(what),
            None => activation().asked(what),
        };
        let cases: [(Consequence, &str, &str); 8] = [
            (lost_reload, "notify-reload", "systemctl reload waits for RELOADING=1"),
            (lost_reload, "simple", "done once ExecReload= has returned"),
            (reload_in_start, "notify", "into the start while a Type=notify unit is activating"),
            (reload_in_start, "notify-reload", "while a Type=notify-reload unit is activating"),
            (reload_in_start, "simple", "counts a Type=simple unit as started without waiting"),
            (unanswered_reload, "notify-reload", "hangs until TimeoutStartSec= is over"),
            (endless_reloading, "notify-reload", "The unit stays in state 'reloading'"),
            (untimed_reloading, "notify-reload", "does not count it as the answer"),
        ];
        for (what, service_type, text) in cases {
            let told = asked(what, Some(service_type));
            assert!(told.contains(text) && !told.contains(UNKNOWN), "{told}");
            let told = asked(what, None);
            assert!(told.starts_with(UNKNOWN) && told.contains(':'), "{told}");
        }
        let told = asked(reload_in_start, None);
        assert!(told.contains("only Type=notify makes systemctl reload wait"), "{told}");
    }

    #[test]
    fn the_wait_for_ready_is_as_long_as_the_unit_sets_it() {
        let waits = |limit| {
            let start = activation().unit("notify", "no").exec(0);
            let told = start.with(|facts| facts.timeout_start_ns = limit).asked(never_ready);
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
    fn a_stop_command_that_failed_decides_and_what_an_operator_does_later_does_not() {
        use crate::model::event::ProcessRef;
        let stop = || ProcessRef { pid: 4799, ..by("sh") };
        let exit = |code| What::Exit {
            process: stop(),
            signal: None,
            code: Some(code),
            core_dumped: false,
        };
        let moved = What::Cgroup { process: Some(stop()), path: "/demo".to_owned() };
        let forked = What::Fork { process: stop(), parent: by("systemd") };
        for came in [moved, forked] {
            let stopped = |code, result| {
                activation()
                    .unit("simple", "on-failure")
                    .exec(0)
                    .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
                    .event(7.ms(), came.clone())
                    .event(8.ms(), exit(code))
                    .systemd(9.ms(), "activating", Some("auto-restart"), result)
            };
            let alerts = stopped(2, "exit-code").judged(&["reload-before-handler"]);
            assert_eq!(
                alerts[0].consequence,
                "systemd takes death by HUP as a clean exit of a Type=simple service and runs \
                 ExecStop= or ExecStopPost=, which failed: an exit with code 2 (result \
                 'exit-code'): Restart=on-failure restarts it. systemd says so itself: \
                 Result=exit-code, and it restarts the unit."
            );
        }
        let killed = |signal: &str| {
            let signal = signal.parse().unwrap();
            let start = activation().unit("simple", "on-failure").reloads_by(signal).exec(0);
            let start = start.signal(5.ms(), signal, Default, Killed, by("kill"));
            start.systemd(6.ms(), "activating", Some("auto-restart"), "signal")
        };
        // Somebody stops what was to be restarted.
        let stopped = killed("USR1").systemd(5.s(), "inactive", Some("dead"), "success");
        let alerts = stopped.judged(&["reload-before-handler"]);
        assert!(!alerts[0].consequence.contains("But systemd"), "{}", alerts[0].consequence);
    }

    #[test]
    fn a_command_at_the_stop_that_fails_makes_a_failure_of_a_clean_end() {
        let stopped = |parent: &str, code| {
            let process = ProcessRef { pid: 4_730, ..by("rm") };
            let fork = What::Fork { process: process.clone(), parent: by(parent) };
            let exit = What::Exit { process, signal: None, code: Some(code), core_dumped: false };
            activation()
                .unit("simple", "on-failure")
                .exec(0)
                .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
                .event(7.ms(), fork)
                .event(8.ms(), exit)
                .systemd(9.ms(), "failed", Some("failed"), "exit-code")
                .asked(|case| death(case, HUP, 6.ms()))
        };
        let told = stopped("systemd", 3);
        assert!(
            told.contains(
                "failed with an exit with code 3 (result 'exit-code'): Restart=on-failure"
            ),
            "{told}"
        );
        for told in [stopped("sh", 3), stopped("systemd", 0)] {
            assert!(!told.contains("ExecStop="), "{told}");
        }
    }

    #[test]
    fn a_unit_that_is_being_stopped_is_not_over() {
        let alerts = activation()
            .unit("simple", "no")
            .exec(0)
            .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
            .systemd(6.ms(), "deactivating", Some("stop-post"), "success")
            .systemd(7.ms(), "inactive", Some("dead"), "success")
            .judged(&["reload-before-handler"]);
        let told = &alerts[0].consequence;
        assert!(told.ends_with("Result=success, and the unit is inactive."), "{told}");
    }

    #[test]
    fn what_systemd_said_before_the_death_is_not_about_it() {
        let alerts = activation()
            .unit("simple", "always")
            .systemd(0, "inactive", None, "success")
            .exec(1.ms())
            .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&["reload-before-handler"]);
        assert!(
            alerts[0].consequence.ends_with("Restart=always restarts it."),
            "{}",
            alerts[0].consequence
        );
    }

    #[test]
    fn a_start_that_ended_before_ready_is_told_by_how_it_ended() {
        let usr1 = "USR1".parse().unwrap();
        let start = |start: Start| start.exec(0);
        let notify = || start(activation().unit("notify", "on-abort"));
        let told = notify().signal(1.s(), usr1, Default, Killed, by("kill")).asked(never_ready);
        assert_eq!(
            told,
            "The start of a Type=notify service fails when it ends before READY=1 (result \
             'signal'): Restart=on-abort restarts it."
        );
        let told = notify().exit(1.s(), 7).asked(never_ready);
        assert!(told.contains("(result 'exit-code'): Restart=on-abort does not"), "{told}");
        assert_eq!(
            start(activation().command()).exit(1.s(), 0).asked(never_ready),
            "The unit's settings are unknown: as Type=notify, the start of a Type=notify service \
             fails when it ends before READY=1 (result 'protocol'): Restart= is unknown; always, \
             on-failure and on-abnormal would restart it."
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
