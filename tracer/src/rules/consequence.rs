//! What systemd makes of it under the unit's settings, in words.

mod limit;
mod messages;
mod said;

use std::collections::BTreeSet;

pub(super) use self::messages::{
    endless_reloading, later_systemd, lost_reload, not_received, refused_start, reload_in_start,
    stopping_then_on, unanswered_reload, untimed_reloading, watchdog,
};
use self::{
    limit::{Refusing, refusing},
    said::{is_started_again, over_after, said},
};
use super::{
    case::Case,
    result::{
        Decider, End, Prediction, ServiceResult, Stage, predict, predict_result, predict_stop,
    },
    text,
};
use crate::model::{
    document::OutcomeState,
    event::{SignalSent, What},
    signal::Signal,
    unit::UnitFacts,
};

/// So soon systemd reaps a main process that had ended when it took it for that, ns.
const MOMENT_NS: i64 = 250_000_000;

/// What begins every consequence that can't be told for sure.
const UNKNOWN: &str = "The unit's settings are unknown";

/// The values of Restart= that ever restart for one of our reasons.
const RESTARTS: [&str; 6] =
    ["always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"];

/// `Restart=on-failure does not restart it.`, or what does or would.
fn restart(setting: Option<&str>, predicted: Prediction, limit: Option<Refusing>) -> String {
    let down = "It stays down, and nothing reports a failure.";
    let decider = match predicted.decided_by {
        Decider::Restart => match setting {
            Some(setting) => format!("Restart={setting}"),
            None => String::new(),
        },
        Decider::Prevent => "RestartPreventExitStatus=".to_owned(),
        Decider::Force => "RestartForceExitStatus=".to_owned(),
        Decider::Delay => {
            return "systemd would start it again, but only after RestartSec=infinity, which never \
                    comes: it stays down, in state 'activating (auto-restart)', and nothing \
                    reports a failure."
                .to_owned();
        }
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
        Some(true) => match limit {
            Some(limit) => {
                format!("{decider} would restart it, but {}", limit.words(predicted.result))
            }
            None => format!("{decider} restarts it."),
        },
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

/// The same for a result at `at` that no end of a process brought about; `None` where that is
/// some time or other.
fn restart_after(case: &Case, result: ServiceResult, at: Option<i64>) -> String {
    let facts = settings(case).map(|(_, facts)| facts.clone()).unwrap_or_default();
    let predicted = predict_result(&facts, result);
    restart(facts.restart.as_deref(), predicted, refusing(case, at))
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
            // Nothing of it was left when systemd reaped what it had started.
            Some(false) if has_pid_file(case) && failed_at_once(case, at) => Stage::Starting,
            // A daemon that was left behind already may come up all the same.
            Some(false) if case.has_descendants_at(at) => Stage::Unknown,
            // What a former start has left in its cgroup counts as well (`cgroup_good` in
            // `service_sigchld_event`).
            Some(false) if has_pid_file(case) && !case.is_daemon() && waited_on(case, at) => {
                Stage::Unknown
            }
            // It had read of the daemon in its file, and had yet to reap it.
            Some(false) if case.is_daemon() && was_up_for_a_moment(case) => Stage::Started,
            Some(false) if case.is_daemon() && has_pid_file(case) => Stage::Unwatched,
            Some(false) => Stage::Starting,
            None => Stage::Unknown,
        },
        _ => Stage::Starting,
    }
}

/// Whether systemd has had the service as up, and at once no more: what it took for the main process
/// had ended by then. Up for longer, it had found another one.
fn was_up_for_a_moment(case: &Case) -> bool {
    let mut states = case.states().skip_while(|state| !state.is_up());
    let up = states.next().map(|state| state.at_ns);
    let down = states.find(|state| !state.is_up()).map(|state| state.at_ns);
    up.zip(down).is_some_and(|(up, down)| down.saturating_sub(up) <= MOMENT_NS)
}

/// Whether systemd says right after `at` that the start has failed without the main process that was due.
fn failed_at_once(case: &Case, at: i64) -> bool {
    over(case, at) == Some((true, true))
}

/// Whether systemd went on with the start after `at`, and called it over for another reason later.
fn waited_on(case: &Case, at: i64) -> bool {
    over(case, at) == Some((false, false))
}

/// Whether systemd called the service over within a moment after `at`, and whether for want of a main
/// process.
fn over(case: &Case, at: i64) -> Option<(bool, bool)> {
    let over = over_after(case, at).next()?;
    let is_at_once = over.at_ns.saturating_sub(at) <= MOMENT_NS;
    Some((is_at_once, over.result == Some(ServiceResult::Protocol.name())))
}

/// Whether systemd is to find the main process by a file.
fn has_pid_file(case: &Case) -> bool {
    let file = case.facts().and_then(|facts| facts.pid_file.as_deref());
    file.is_some_and(|file| !file.is_empty())
}

/// The reload signal brings this end of the main process about at `at`.
pub(super) fn death(case: &Case, end: End, at: i64) -> String {
    told(case, end, at, true)
}

/// The same of a death that would have come about at `at`. What systemd says is of the end that the
/// main process came to, which may be another.
pub(super) fn possible_death(case: &Case, end: End, at: i64) -> String {
    let outcome = &case.activation.outcome;
    told(case, end, at, End::of(outcome.signal, outcome.code, false) == Some(end))
}

fn told(case: &Case, end: End, at: i64, has_come: bool) -> String {
    let said = |predicted, limit| {
        if has_come { said(case, predicted, limit, at) } else { String::new() }
    };
    if let Some(caretaker) = case.caretaker() {
        return caretaker.death(end);
    }
    let Some((service_type, facts)) = settings(case) else {
        let ready = case.is_ready_at(at) || case.activation.joined_ns.is_some();
        return death_under_any_unit(end, ready);
    };
    let setting = facts.restart.as_deref();
    let stage = stage(case, service_type, at);
    let predicted = predict(facts, end, stage);
    let limit = refusing(case, Some(at));
    let stops = predicted
        .is_some_and(|it| it.result == ServiceResult::Success && it.decided_by != Decider::Remain);
    if let Some((settings, failed)) = failed_command(case, at).filter(|_| stops) {
        let predicted = predict_stop(facts, end, stage, failed);
        return format!(
            "systemd takes {end} as a clean exit of a Type={service_type} service and runs \
             {settings}, which failed: {failed} (result '{}'): {}{}",
            predicted.result.name(),
            restart(setting, predicted, limit),
            said(predicted, limit)
        );
    }
    match (predicted, service_type) {
        (Some(predicted), _) if stage == Stage::Unwatched => {
            let limit = refusing(case, timed_out(facts));
            format!(
                "systemd does not see {end} of the daemon of a Type=forking service before its \
                 PIDFile= is there: it waits for that until TimeoutStartSec= is over ({}; result \
                 'timeout'): {}{}",
                start_limit(facts),
                restart(setting, predicted, limit),
                said(predicted, limit)
            )
        }
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
                restart(setting, predicted, limit),
                said(predicted, limit)
            )
        }
        (None, "forking") => forking(case, facts, end, at, said),
        (None, "notify" | "notify-reload") => format!(
            "systemd takes {end} before READY=1 as no end of the start: with \
             RemainAfterExit=yes another process may still say it. It waits until \
             TimeoutStartSec= is over (result 'timeout'): {}",
            restart_after(case, ServiceResult::Timeout, timed_out(facts))
        ),
        (None, _) => death_under_any_unit(end, case.is_ready_at(at)),
    }
}

/// The same of a Type=forking service of which it is unknown whether it was up, or that has left
/// something running from which a daemon may come.
fn forking<'a>(
    case: &Case<'a>,
    facts: &UnitFacts,
    end: End,
    at: i64,
    said: impl Fn(Prediction, Option<Refusing<'a>>) -> String,
) -> String {
    let setting = facts.restart.as_deref();
    let is_starting = case.was_active_at(at) == Some(false);
    let stage = match facts.pid_file.as_deref().filter(|_| is_starting) {
        Some("") => Some(Stage::Starting),
        Some(_) => Some(Stage::Unwatched),
        None => None,
    };
    let Some(predicted) = stage.and_then(|stage| predict(facts, end, stage)) else {
        return format!(
            "systemd takes {end} of the daemon of a Type=forking service as a clean \
             exit (result 'success'), of its ExecStart= process too, but as a failed start if a \
             PIDFile= is due (result 'protocol'). For the daemon: {}",
            restart_after(case, ServiceResult::Success, Some(at))
        );
    };
    let process = if case.is_daemon() { "daemon" } else { "ExecStart= process" };
    if predicted.result == ServiceResult::Timeout {
        let limit = refusing(case, timed_out(facts));
        return format!(
            "systemd takes {end} of the {process} of a Type=forking service for no failure, and \
             waits for the PIDFile= of what is left running until TimeoutStartSec= is over ({}; \
             result 'timeout'): {}{}",
            start_limit(facts),
            restart(setting, predicted, limit),
            said(predicted, limit)
        );
    }
    format!(
        "systemd takes {end} of the {process} of a Type=forking service as the end of its start \
         (result '{}'), and what that left running for the service. Once nothing of it is left: {}",
        predicted.result.name(),
        restart(setting, predicted, refusing(case, Some(at)))
    )
}

/// How a command failed that systemd ran when the main process had ended at `at`, before it
/// called the service over, or the capture ended; and what it was a command of. Those of
/// ExecStartPost= may run already.
fn failed_command(case: &Case, at: i64) -> Option<(&'static str, End)> {
    let after = |at_ns: i64| at_ns >= at;
    let over = case.states().find(|state| after(state.at_ns) && state.is_over());
    // Its line began with `-`, or it was none of systemd's.
    if over.is_some_and(|state| state.result.is_none() && state.sub_state.is_some()) {
        return None;
    }
    let stops = || case.states().any(|state| after(state.at_ns) && state.state == "deactivating");
    let over = over.map(|state| state.at_ns).or_else(|| stops().then_some(i64::MAX))?;
    let is_post = |at_ns: i64| {
        case.state_at(at_ns).is_some_and(|state| state.sub_state == Some("start-post"))
    };
    // The first command may be there before the program, and before systemd says so.
    let from = if is_post(at) { i64::MIN } else { at };
    let mut commands = BTreeSet::new();
    let between = |at_ns: i64| (from..=over).contains(&at_ns);
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
                if after(event.at_ns)
                    && commands.contains(&process.pid)
                    && !case.is_main(process) =>
            {
                let settings = if is_post(event.at_ns) {
                    "ExecStartPost="
                } else {
                    "ExecStop= or ExecStopPost="
                };
                match (signal, code) {
                    (Some(signal), _) => {
                        let core_dumped = *core_dumped;
                        Some((settings, End::Signal { signal: *signal, core_dumped }))
                    }
                    (None, Some(0) | None) => None,
                    (None, Some(code)) => Some((settings, End::Code(*code))),
                }
            }
            _ => None,
        }
    })
}

/// The reload signal killed a command that runs before the main process.
pub(super) fn death_before_main(case: &Case, signal: Signal, at: i64) -> String {
    let end = End::Signal { signal, core_dumped: false };
    let result = end.unclean_result();
    let verdict = format!(
        "systemd takes {end} of a command of ExecCondition= or ExecStartPre= as a failed start \
         (result '{}')",
        result.name()
    );
    match settings(case) {
        Some(_) => format!("{verdict}: {}", restart_after(case, result, Some(at))),
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
    if let Some(stopped) = known.and_then(|_| stopped_while_starting(case, &facts)) {
        return stopped;
    }
    let setting = facts.restart.as_deref();
    let limit = refusing(case, Some(case.end_ns()));
    let verdict = match end.map(|end| (end, predict(&facts, end, Stage::Starting))) {
        Some((end, predicted)) => {
            let result = end.unclean_result();
            let predicted = predicted.unwrap_or_else(|| predict_result(&facts, result));
            format!(
                "the start of a Type={service_type} service fails when it ends before READY=1 \
                 (result '{}'): {}{}",
                predicted.result.name(),
                restart(setting, predicted, limit),
                said(case, predicted, limit, case.end_ns())
            )
        }
        None => format!(
            "systemd waits for READY=1 until TimeoutStartSec= is over ({}), then \
             ends the service with TERM (result 'timeout'): {}",
            start_limit(&facts),
            restart_after(case, ServiceResult::Timeout, timed_out(&facts))
        ),
    };
    if known.is_some() {
        return capitalised(&verdict);
    }
    format!("{UNKNOWN}: as Type=notify, {verdict}")
}

/// systemd itself ended the main process before READY=1: it had waited long enough, or was told to.
fn stopped_while_starting(case: &Case, facts: &UnitFacts) -> Option<String> {
    let by_systemd =
        |sent: &SignalSent| sent.sender.as_ref().is_some_and(|it| it.process.comm == "systemd");
    case.told_to_stop().filter(|(.., sent)| by_systemd(sent))?;
    let end = case.activation.milestones.exit_ns?;
    let stopping = case.states().find(|state| state.state == "deactivating")?;
    let result = stopping.result.or_else(|| stopping.sub_state.map(|_| "success"))?;
    if result == "success" {
        if is_started_again(case, end) {
            return Some(
                "systemd was told to stop it while it waited for READY=1, which is no failure \
                 (result 'success'), and it was started again after that."
                    .to_owned(),
            );
        }
        let predicted = predict_result(facts, ServiceResult::Success);
        return Some(format!(
            "systemd was told to stop it while it waited for READY=1, which is no failure (result \
             'success'): nothing starts it again.{}",
            said(case, predicted, None, end)
        ));
    }
    if result != ServiceResult::Timeout.name() {
        return None;
    }
    let predicted = predict_result(facts, ServiceResult::Timeout);
    let limit = refusing(case, Some(end));
    Some(format!(
        "systemd waited for READY=1 until TimeoutStartSec= was over ({}), and ended the service \
         (result 'timeout'): {}{}",
        start_limit(facts),
        restart(facts.restart.as_deref(), predicted, limit),
        said(case, predicted, limit, end)
    ))
}

/// `TimeoutStartSec=` in words.
fn start_limit(facts: &UnitFacts) -> String {
    match facts.timeout_start_ns {
        Some(0) => "never, here".to_owned(),
        Some(limit) => format!("{} s", limit / 1_000_000_000),
        None => "90 s unless set".to_owned(),
    }
}

/// When `TimeoutStartSec=` is over, if ever and if that is known.
fn timed_out(facts: &UnitFacts) -> Option<i64> {
    facts.timeout_start_ns.filter(|limit| *limit > 0).and_then(|limit| limit.try_into().ok())
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
    let is_refused = refusing(case, Some(at)).is_some();
    let of = |stage| {
        let restarts = predict(facts, end, stage).and_then(|predicted| predicted.restarts);
        restarts.map(|restarts| restarts && !is_refused)
    };
    match stage(case, service_type, at) {
        // Whether it was up makes no difference where any result leads to the same.
        Stage::Unknown => {
            let any = match facts.restart.as_deref() {
                Some("always") => Some(!is_refused && facts.restart_never != Some(true)),
                Some("no") => Some(false),
                _ => of(Stage::Starting),
            };
            of(Stage::Started).filter(|up| any == Some(*up)).or_else(|| of(Stage::Unknown))
        }
        stage => of(stage),
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
mod tests;
