//! What systemd makes of what the service says, or does not say: READY=1, RELOADING=1,
//! STOPPING=1 and WATCHDOG=1.

use super::{UNKNOWN, capitalised, restart_after, settings};
use crate::{
    model::unit::UnitFacts,
    rules::{
        case::{Case, State},
        result::ServiceResult,
    },
};

/// systemd refused READY=1 for want of a handler.
pub(in crate::rules) fn refused_start(case: &Case, at: i64) -> String {
    format!(
        "systemd refuses the start and ends the service with TERM (result 'protocol'): {}",
        restart_after(case, ServiceResult::Protocol, Some(at))
    )
}

/// What another release of systemd makes of a READY=1 without a handler; empty where this one
/// does it or it is all the same.
pub(in crate::rules) fn later_systemd(case: &Case) -> &'static str {
    match settings(case) {
        Some(("notify-reload", facts)) if facts.needs_handler_at_ready() != Some(true) => {
            " From systemd 262 on this start fails: READY=1 is refused without a handler (result \
             'protocol')."
        }
        _ => "",
    }
}

/// A service that has said STOPPING=1 goes on.
pub(in crate::rules) fn stopping_then_on(case: &Case, at: i64) -> String {
    let facts = settings(case).map(|(_, facts)| facts);
    let state = state_when_read(case, at);
    let is_starting = state.is_some_and(|state| state.state == "activating");
    let ends = if is_starting {
        "READY=1 is not taken any more, and the start fails when TimeoutStartSec= is over (result \
         'timeout')"
    } else {
        "systemd waits for the end, and after TimeoutStopSec= it kills the service (result \
         'timeout')"
    };
    // While it runs, and while systemd itself reloads it, the message has always been final
    // (`service_enter_stop_by_notify`).
    let is_running = state.is_some_and(|state| {
        let by_systemd = state.sub_state.is_some_and(|sub| sub.starts_with("reload-"));
        state.state == "active" || by_systemd
    });
    match facts.and_then(UnitFacts::has_final_stopping) {
        _ if is_running => {
            format!("STOPPING=1 is final and READY=1 does not take it back: {ends}.")
        }
        Some(true) => format!("STOPPING=1 is final from systemd 259 on: {ends}."),
        Some(false) => format!(
            "this systemd lets READY=1 take STOPPING=1 back during a start or an ExecReload=. From \
             systemd 259 on it is final: {ends}."
        ),
        None => format!("{UNKNOWN}: from systemd 259 on STOPPING=1 is final: {ends}."),
    }
}

/// The state that systemd was in when it read a STOPPING=1 that was sent at `at`. What it was in
/// the middle of comes first: it forks the process of an ExecReload= before it is `reloading`
/// (`service_enter_reload`), and reads messages after that. Had it read this one while the
/// service was `active`, no reload would follow.
fn state_when_read<'a>(case: &Case<'a>, at: i64) -> Option<State<'a>> {
    let next = case.states().find(|state| state.at_ns > at);
    next.filter(|state| state.state == "reloading").or_else(|| case.state_at(at))
}

/// WATCHDOG=1 does not count.
pub(in crate::rules) fn watchdog(case: &Case) -> String {
    format!(
        "after WatchdogSec= without WATCHDOG=1 systemd ends the service with ABRT (result \
         'watchdog'): {}",
        restart_after(case, ServiceResult::Watchdog, None)
    )
}

/// A reload was sent and not taken.
pub(in crate::rules) fn lost_reload(case: &Case) -> String {
    if let Some(caretaker) = case.caretaker() {
        return caretaker.lost(case.reload_signal());
    }
    let waits = "systemctl reload waits for RELOADING=1 until TimeoutStartSec= is over and then \
                 fails; the old configuration stays in force.";
    let done = "systemd counts the reload as done once ExecReload= has returned; the old \
                configuration stays in force and nothing reports it.";
    match settings(case) {
        Some(("notify-reload", facts))
            if facts.reload_signal.is_none() || case.reloads_by_signal() =>
        {
            waits.to_owned()
        }
        Some((_, facts)) if facts.exec_reload.is_none() || case.reloads_by_signal() => {
            done.to_owned()
        }
        Some((_, facts)) if facts.reload_sends(case.reload_signal()) == Some(false) => {
            "Whoever sent it is not told, and the unit's own reload does not send it: what it \
             asked for is not done."
                .to_owned()
        }
        Some(_) => "Whoever sent it is not told: what it asked for is not done. Whether the \
                    unit's own reload sends it is not known."
            .to_owned(),
        None => format!("{UNKNOWN}: with ExecReload=, {done} Under Type=notify-reload, {waits}"),
    }
}

/// A reload signal reached a service with a handler that had not said READY=1.
pub(in crate::rules) fn reload_in_start(case: &Case) -> String {
    let handler = "what the handler does to a half-started service is up to the program.";
    if case.caretaker().is_some() {
        return format!("Nothing holds signals back here until the service is ready; {handler}");
    }
    match settings(case) {
        Some((service_type @ ("notify" | "notify-reload" | "dbus"), _)) => format!(
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
pub(in crate::rules) fn untimed_reloading(case: &Case) -> String {
    let verdict = "systemd does not count it as the answer to its reload: systemctl reload waits \
                   until TimeoutStartSec= is over and then fails.";
    match settings(case) {
        Some(_) => verdict.to_owned(),
        None => format!("{UNKNOWN}: under Type=notify-reload, {verdict}"),
    }
}

/// A reload was not answered at all.
pub(in crate::rules) fn unanswered_reload(case: &Case) -> String {
    let verdict = "systemd waits for RELOADING=1 and then READY=1: systemctl reload hangs until \
                   TimeoutStartSec= is over and then fails.";
    match settings(case) {
        Some(_) => verdict.to_owned(),
        None => format!("{UNKNOWN}: under Type=notify-reload, {verdict}"),
    }
}

/// RELOADING=1 was not followed by READY=1.
pub(in crate::rules) fn endless_reloading(case: &Case) -> String {
    let ends = "the unit stays in state 'reloading' until TimeoutStartSec= is over; then the \
                reload counts as failed";
    let waits = "the unit stays in state 'reloading' until READY=1 comes: systemctl reload does \
                 not return, and TimeoutStartSec= does not end it";
    match settings(case) {
        Some((_, facts)) => match facts.ends_late_reloads() {
            Some(true) => capitalised(&format!("{ends}.")),
            Some(false) => capitalised(&format!("{waits} before systemd 259.")),
            None => capitalised(&format!("{ends}. Before systemd 259 {waits}.")),
        },
        None => format!(
            "{UNKNOWN}: for a unit that tells its state, {ends}. Before systemd 259 {waits}."
        ),
    }
}

/// A message did not arrive that was not READY=1.
pub(in crate::rules) fn not_received(case: &Case) -> String {
    let verdict = "systemd never saw the message; its view of the unit stays as it was.";
    match settings(case) {
        Some(_) => verdict.to_owned(),
        None => format!("{UNKNOWN}: {verdict}"),
    }
}
