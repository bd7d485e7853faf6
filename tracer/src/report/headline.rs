//! What heads an activation's block: who, how it went, and what it is.

use super::{
    escape, event_row,
    paint::{Ink, Paint},
    text, time,
    view::View,
};
use crate::model::{
    document::{Activation, ExposureKind, Milestones, OutcomeState, Owner, ServiceKind, Severity},
    event::{Effect, Event, What},
};

/// The headline, and what it is about.
pub fn lines(view: View, width: usize, paint: Paint) -> Vec<String> {
    let mut lines = title(view, width, paint);
    let about = text::wrap(&about(view), width - 2);
    lines.extend(about.iter().map(|line| format!("  {}", paint.ink(Ink::Faint, line))));
    lines
}

/// The headline alone: name, outcome, number of alerts.
pub fn title(view: View, width: usize, paint: Paint) -> Vec<String> {
    let View { service, starts, index, activation, .. } = view;
    let name = event_row::quote(&service.name);
    let name = match service.owner {
        Some(claimed @ Owner::Claimed { .. }) => format!("{name} ({claimed})"),
        _ => name,
    };
    let name = match starts {
        1 => name,
        starts => format!("{name}, start {} of {starts}", index + 1),
    };
    let (outcome, ink) = outcome(view);
    let reloads = reloads(view);
    let mut plain = text::wrap(&format!("{name}: {outcome}{reloads}"), width);
    append(&mut plain, &alerts(activation), width);
    let mut lines = Vec::new();
    for (first, line) in plain.iter().enumerate() {
        // The name stands out where it is on the line whole.
        match line.strip_prefix(name.as_str()).filter(|_| first == 0) {
            Some(rest) => {
                lines.push(format!("{}{}", paint.ink(Ink::Title, &name), paint.ink(ink, rest)));
            }
            None => lines.push(paint.ink(ink, line)),
        }
    }
    lines
}

/// Puts a short text at the end of the last line, or on one of its own.
fn append(lines: &mut Vec<String>, text: &str, width: usize) {
    match lines.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if text::width(last) + 1 + text::width(text) <= width => {
            last.push(' ');
            last.push_str(text);
        }
        _ => lines.push(text.to_owned()),
    }
}

/// The same of a start whose main process was not seen, or never was.
fn without_main(activation: &Activation) -> (String, Ink) {
    let Some((setting, result)) = activation.ended_at() else {
        return ("no main process was seen".into(), Ink::Warning);
    };
    match result.filter(|result| *result != "success") {
        Some("exec-condition") => ("not started, as its ExecCondition= has it".into(), Ink::Plain),
        Some(result) => {
            let result = escape::text(result);
            (format!("failed at {setting}, before its main process ({result})"), Ink::Error)
        }
        None => (format!("ended at {setting}, before its main process"), Ink::Plain),
    }
}

/// How it went, in words.
fn outcome(view: View) -> (String, Ink) {
    let View { activation, .. } = view;
    if activation.main_process.is_none() {
        return without_main(activation);
    }
    let milestones = &activation.milestones;
    let (reload, end) = (view.reload(), view.end());
    let (awaited, joined) = (view.awaited(), view.joined_late());
    let not_ready = awaited.filter(|_| milestones.ready_ns.is_none() && !joined);
    let not_ready = not_ready.map(|it| format!(", before {it}")).unwrap_or_default();
    let bad = activation.alerts.iter().map(|alert| alert.severity).max();
    match activation.outcome.state {
        OutcomeState::Killed => {
            let by =
                activation.outcome.signal.map(|signal| format!(" by {signal}")).unwrap_or_default();
            let after =
                milestones.exit_ns.map(|at| after_start(at, milestones)).unwrap_or_default();
            let early = activation.outcome.signal == Some(reload)
                && milestones.handler_ns.is_none()
                && !joined;
            let never = activation.alerts.iter().any(|alert| alert.id == "reload-never-handled");
            let before = match (early, never) {
                (true, true) => ", which it has no handler for",
                (true, false) => ", before it had a handler",
                _ => &not_ready,
            };
            (format!("killed{by}{after}{before}"), Ink::Error)
        }
        OutcomeState::Exited => {
            let code = activation.outcome.code;
            // As systemctl has it, of what did not come as far as its exec.
            let status = activation.not_set_up().or_else(|| code.map(|code| code.to_string()));
            let with = status.map(|status| format!(" with code {status},")).unwrap_or_default();
            let after =
                milestones.exit_ns.map(|at| after_start(at, milestones)).unwrap_or_default();
            let failed = code != Some(0) || !not_ready.is_empty();
            let ink = if failed { Ink::Error } else { worst(bad, Ink::Plain) };
            (format!("exited{with}{after}{not_ready}"), ink)
        }
        OutcomeState::Running => {
            let said = activation.systemd.as_ref().map(|state| state.active_state.as_str());
            let is_stopping = said == Some("deactivating");
            let running = match said {
                Some("deactivating") => "being stopped",
                Some("inactive") => "running, but systemd has the unit as inactive",
                Some("failed") => "running, but systemd has the unit as failed",
                _ => "running",
            };
            let words = match (milestones.ready_ns, milestones.handler_ns) {
                _ if joined && is_stopping => {
                    "already running when the capture began, and is being stopped".into()
                }
                _ if joined => "already running when the capture began, and still is".into(),
                (Some(ready), _) => format!("ready after {}, {running}", time::span(ready)),
                (None, _) if awaited.is_some() => {
                    format!("not ready after {}, {running}", time::span(end))
                }
                (None, Some(handler)) => {
                    format!("takes {reload} after {}, {running}", time::span(handler))
                }
                _ if is_stopping => running.into(),
                (None, None) if is_last(activation, ExposureKind::Pending) => {
                    format!("running, with {reload} blocked after {}", time::span(end))
                }
                (None, None) if is_last(activation, ExposureKind::Unknown) => {
                    format!("running; whether it takes {reload} can't be told")
                }
                (None, None) => {
                    format!("running, without a handler for {reload} after {}", time::span(end))
                }
            };
            (words, worst(bad, Ink::Good))
        }
    }
}

/// When a process that is gone had ended. Where no exec of its program was seen, zero is
/// its start.
fn after_start(at: i64, milestones: &Milestones) -> String {
    let zero = if milestones.exec_ns.is_some() { "exec" } else { "its start" };
    format!(" {} after {zero}", time::span(at))
}

/// Whether this is what the reload signal would have done at the end.
fn is_last(activation: &Activation, kind: ExposureKind) -> bool {
    activation.exposure.last().is_some_and(|last| last.kind == kind)
}

/// What became of the service after its reloads: the worst of them. Where it was not its unit's reload it
/// was somebody else's signal.
fn reloads(view: View) -> String {
    let effects = view.activation.events.iter().filter_map(|event| match &event.what {
        // That of another process is told with the reload of the main one, if there was one.
        What::Signal(sent) => Some((sent.effect?, event)),
        What::Notify(message) => Some((message.effect?, event)),
        _ => None,
    });
    let worst = effects.max_by_key(|(effect, _)| match effect {
        Effect::Reloaded => 0,
        Effect::Survived => 1,
        Effect::Unknown => 2,
        Effect::Deferred => 3,
        Effect::Unfinished => 4,
        Effect::Unanswered => 5,
        Effect::LostProcess => 6,
        Effect::Replaced => 7,
        Effect::Ended => 8,
        Effect::Crashed => 9,
    });
    let it = match worst {
        Some((_, event)) if !may_be_its_reload(view, event) => view.reload().to_string(),
        _ => "its reload".to_owned(),
    };
    match worst.map(|(effect, _)| effect) {
        None | Some(Effect::Unknown) => String::new(),
        Some(Effect::Reloaded) => ", reloaded".to_owned(),
        Some(Effect::Survived) => format!(", survived {it}"),
        Some(Effect::Deferred) => format!(", put {it} off"),
        Some(Effect::Unfinished) => format!(", did not finish {it}"),
        Some(Effect::Unanswered) => format!(", did not answer {it}"),
        Some(Effect::LostProcess) => format!(", lost a process to {it}"),
        Some(Effect::Replaced) => format!(", replaced itself on {it}"),
        Some(Effect::Ended) => format!(", ended by {it}"),
        Some(Effect::Crashed) => format!(", crashed by {it}"),
    }
}

/// Whether what had an effect may be the reload of the unit: where that is a command, and which signal
/// it sends is unknown, what comes while systemd reloads.
fn may_be_its_reload(view: View, event: &Event) -> bool {
    match (view.has_reload(), &event.what) {
        (Some(true), What::Signal(_)) if !view.reloads_by_signal() => {
            let before = view.activation.events.iter().take_while(|it| it.at_ns <= event.at_ns);
            let state = { before }.filter_map(|it| match &it.what {
                What::Systemd { state, .. } => Some(state.as_str()),
                _ => None,
            });
            state.last() == Some("reloading")
        }
        (has_reload, _) => has_reload != Some(false),
    }
}

fn worst(severity: Option<Severity>, otherwise: Ink) -> Ink {
    severity.map_or(otherwise, ink)
}

/// How bad it is.
pub fn ink(severity: Severity) -> Ink {
    match severity {
        Severity::Error => Ink::Error,
        Severity::Warning => Ink::Warning,
    }
}

/// `[1 error, 2 warnings]`, or nothing.
fn alerts(activation: &Activation) -> String {
    let counts: Vec<String> = [Severity::Error, Severity::Warning]
        .into_iter()
        .filter_map(|severity| {
            let alerts = activation.alerts.iter();
            match alerts.filter(|alert| alert.severity == severity).count() {
                0 => None,
                count => Some(counted(count, &severity.to_string())),
            }
        })
        .collect();
    if counts.is_empty() { String::new() } else { format!("[{}]", counts.join(", ")) }
}

/// `1 error`, `2 errors`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What it is: settings, main process, time of start.
fn about(View { service, activation, .. }: View) -> String {
    let mut facts = Vec::new();
    match service.owner {
        Some(Owner::Claimed { uid }) => facts
            .push(format!("no unit of a systemd that root runs: uid {uid} gave a cgroup its name")),
        Some(owner) => facts.push(owner.to_string()),
        None => {}
    }
    if let Some(unit) = &service.unit {
        let directives = [
            ("Type", &unit.service_type),
            ("NotifyAccess", &unit.notify_access),
            ("Restart", &unit.restart),
        ];
        facts.extend(directives.iter().filter_map(|(name, value)| {
            value.as_deref().map(|value| format!("{name}={}", event_row::quote(value)))
        }));
        facts.extend(unit.reload_signal.map(|signal| format!("reload by {signal}")));
    } else if service.kind == ServiceKind::Unit {
        facts.push("settings unknown".into());
    }
    if let Some(main) = &activation.main_process {
        let inside = main.ns_pid.map(|pid| format!(" (pid {pid} in its namespace)"));
        let exe = main.exe.as_deref().map(|exe| format!(" {}", escape::text(exe)));
        let name = event_row::process(main);
        let process = [name, inside.unwrap_or_default(), exe.unwrap_or_default()].concat();
        facts.push(text::clip(&process, 300));
    }
    facts.push(format!("started {}", activation.started_at));
    facts.join(", ")
}
