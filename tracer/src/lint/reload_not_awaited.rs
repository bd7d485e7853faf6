//! The reload's signal can come before the handler: nothing makes systemd wait.

use super::{
    Case, Check, Finding, Look,
    case::whom,
    early::{self, Early},
    reload_hits_shell::{What, hits},
    reload_reaches_nobody::mended,
};
use crate::{
    model::{document::Severity, event::Runtime},
    rules::result::End,
    systemd::commands::{MainProcess, Takes},
};

pub(super) const CHECK: Check = Check {
    id: "reload-not-awaited",
    explanation: include_str!("../../docs/lint/reload-not-awaited.md"),
    look: Look::Files(check),
};

/// Lets a service be started again that has room for one start alone.
const MORE_STARTS: &str = "[Unit]\n# Room for that start too.\nStartLimitBurst=5\n";

fn check(case: &Case<'_>) -> Option<Finding> {
    let sent = case.sent().map(|(sent, signal)| (Some(sent), signal));
    let (sent, signal) = sent.or_else(|| Some((None, mended(case)?)))?;
    if signal.ends() {
        return None;
    }
    // Of a shell's own handler the script is nearly as early as the process.
    let is_known = case
        .stay()
        .is_none_or(|stay| !matches!(stay.takes(signal), Takes::Handled | Takes::Unknown));
    let is_other = matches!(case.main, Some(MainProcess::Leaves(_) | MainProcess::Unknown(_)));
    // What it passes on may meet the program early as well.
    let is_hit = hits(case).is_some_and(|hit| hit.what != What::LosesLater);
    if !case.is_up_at_once() || !is_known || is_other || is_hit {
        return None;
    }
    let service_type = case.facts.service_type.as_deref()?;
    let ignored = case.ignores(signal);
    let blocked = case.blocks(signal);
    let early = if ignored || blocked { Early::Lost } else { early::of(signal) };
    let aftermath = case.death(signal)?;
    let dies = match (aftermath.end, case.stay()) {
        (End::Code(code), Some(stay)) => {
            format!("The program dies, and {} exits with {code}", stay.by)
        }
        (End::Code(code), None) => {
            let name = case.runtime().map_or("its runtime", Runtime::name);
            format!("Once {name} has a handler of its own, it exits with {code}")
        }
        _ => "It dies".to_owned(),
    };
    // It comes right after a start, and so would the next one.
    let is_forbidden = early == Early::Dies && case.facts.is_started_once();
    let comes_back = aftermath.restarts == Some(true) && !is_forbidden;
    let consequence = match early {
        Early::Dies if is_forbidden && aftermath.restarts == Some(true) => {
            let result = aftermath.result.after_refused_start(case.facts);
            format!(
                "{dies}, and StartLimitBurst=1 forbids what would start it again: the unit has \
                 failed ({result})."
            )
        }
        Early::Dies if comes_back => {
            format!("{dies} {}: an outage, no more.", aftermath.words)
        }
        Early::Dies => format!("{dies} {}.", aftermath.words),
        Early::Lost if blocked => format!(
            "The reload waits: {signal} is blocked until the program unblocks it. One that does so \
             before it has a handler dies then, and one that never does never reloads."
        ),
        Early::Lost if ignored => format!(
            "The reload is lost: {signal} is ignored until the program sets a handler of its own, \
             and a program that leaves alone what is ignored never reloads."
        ),
        Early::Lost => {
            format!("The reload is lost: without a handler, {signal} does nothing to a service.")
        }
        Early::Stops => {
            "It stops until it is sent CONT, and systemd holds that it runs.".to_owned()
        }
    };
    let drop_in = match early {
        Early::Dies => {
            let lines = case.starting_again(signal).map(|lines| format!("[Service]\n{lines}"));
            let would = lines.is_some() || aftermath.restarts == Some(true);
            let limit = (is_forbidden && would).then_some(MORE_STARTS);
            let text = lines.unwrap_or_default() + limit.unwrap_or_default();
            (!text.is_empty()).then(|| case.place.drop_in(case.name, CHECK.id, &text))
        }
        Early::Lost | Early::Stops => None,
    };
    let is_bad = early == Early::Stops
        || early == Early::Dies && (aftermath.restarts == Some(false) || is_forbidden);
    let is_error = is_bad && sent.is_some();
    let once = if sent.is_some() { "" } else { "Once a reload reaches it: " };
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: if is_error { Severity::Error } else { Severity::Warning },
        message: format!(
            "{once}systemd takes a Type={service_type} service as up before its program has run: a \
             reload right after the start sends {signal}{} before there is a handler.",
            sent.map(whom).unwrap_or_default()
        ),
        consequence,
        mend: format!(
            "Type=notify makes systemctl reload wait, where the program sends READY=1 once its \
             handlers are in. See what it does: {}",
            case.place.trace(case.name, "--reload-during-start")
        ),
        drop_in,
    })
}
