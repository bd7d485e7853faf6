//! Alerts: what happened, what follows from it, what to change.

use super::{
    escape,
    headline::counted,
    paint::{Ink, Paint},
    text, time,
    view::View,
};
use crate::model::document::{Activation, Alert, OutcomeState, Severity};

/// Text this wide reads well; wider terminals don't widen it.
const WIDEST: usize = 100;

/// The alerts of an activation; where there are none, what that is worth.
pub fn lines(view: View, width: usize, paint: Paint) -> Vec<String> {
    let View { activation, .. } = view;
    let width = width.min(WIDEST);
    if activation.alerts.is_empty() {
        let (verdict, ink) = no_alerts(view);
        return text::wrap(&verdict, width).iter().map(|line| paint.ink(ink, line)).collect();
    }
    let mut lines = Vec::new();
    for alert in &activation.alerts {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(alert_lines(alert, width, paint));
    }
    lines.extend(where_to_read_on(activation, width, paint));
    lines
}

fn alert_lines(alert: &Alert, width: usize, paint: Paint) -> Vec<String> {
    let name = format!("{}[{}]", alert.severity, escape::text(&alert.id));
    let headline =
        format!("{name} at {}: {}", time::span(alert.at_ns), escape::text(&alert.message));
    let parts = [("consequence", &*alert.consequence), ("mend", &*alert.mend)];
    block(alert.severity, &name, &headline, &parts, width, paint)
}

/// What is wrong, beginning with its name, and what there is to say of it.
pub fn block(
    severity: Severity,
    name: &str,
    headline: &str,
    parts: &[(&str, &str)],
    width: usize,
    paint: Paint,
) -> Vec<String> {
    let ink = match severity {
        Severity::Error => Ink::Error,
        Severity::Warning => Ink::Warning,
    };
    let mut lines: Vec<String> = text::wrap(headline, width)
        .iter()
        .enumerate()
        .map(|(index, line)| match line.strip_prefix(name).filter(|_| index == 0) {
            Some(rest) => format!("{}{}", paint.ink(ink, name), paint.ink(Ink::Title, rest)),
            None => paint.ink(Ink::Title, line),
        })
        .collect();
    for (label, text) in parts {
        lines.extend(labelled(label, text, width, paint));
    }
    lines
}

/// `  = mend: …`, the following lines indented as far. The text may have lines of its own.
fn labelled(label: &str, raw: &str, width: usize, paint: Paint) -> Vec<String> {
    let lead = format!("  = {label}: ");
    let room = width - lead.len();
    raw.split('\n')
        .flat_map(|line| text::wrap(&escape::text(line), room))
        .enumerate()
        .map(|(index, line)| {
            let lead = if index == 0 { &lead } else { &" ".repeat(lead.len()) };
            format!("{}{line}", paint.ink(Ink::Title, lead)).trim_end().to_owned()
        })
        .collect()
}

/// The command that explains the rules which fired. An id that could not be a
/// rule's is not put on a line that people copy.
fn where_to_read_on(activation: &Activation, width: usize, paint: Paint) -> Vec<String> {
    let mut ids: Vec<&str> = activation
        .alerts
        .iter()
        .map(|alert| alert.id.as_str())
        .filter(|id| {
            id.len() < 40 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Vec::new();
    }
    let commands: Vec<String> = ids.iter().map(|id| format!("sigready explain {id}")).collect();
    let text = format!("More: {}", commands.join(", "));
    let mut lines = vec![String::new()];
    lines.extend(text::wrap(&text, width).iter().map(|line| paint.ink(Ink::Faint, line)));
    lines
}

/// "No alerts" is a finding only where all was seen.
fn no_alerts(view: View) -> (String, Ink) {
    let View { document, survey, activation, .. } = view;
    let capture = &document.capture;
    let mut unseen = Vec::new();
    if activation.main_process.is_none() && activation.ended_at().is_none() {
        unseen.push("its main process was not seen".to_owned());
    }
    if activation.events.is_empty() {
        unseen.push("nothing happened in it while the capture ran".to_owned());
    }
    if let Some(joined) = activation.joined_ns {
        unseen.push(format!(
            "the capture joined {} after the start, so what came before is unknown",
            time::span(joined)
        ));
    }
    if capture.lost > 0 {
        unseen.push(format!("{} were lost", counted(capture.lost as usize, "event")));
    }
    let waits = !view.joined_late()
        && activation.ended_at().is_none()
        && activation.outcome.state == OutcomeState::Running
        && activation.milestones.ready_ns.is_none();
    if let Some(awaited) = view.awaited().filter(|_| waits) {
        unseen.push(format!("the capture ended before {awaited}"));
    }
    if !capture.untested.is_empty() {
        let why: Vec<_> = capture.untested.iter().map(|why| escape::text(why)).collect();
        return (format!("Not tested: {}.", why.join("; ")), Ink::Warning);
    }
    if !unseen.is_empty() {
        let why = unseen.join("; ");
        return (format!("No rule fired, but not all was seen: {why}."), Ink::Warning);
    }
    if capture.complete {
        return ("No alerts.".into(), Ink::Good);
    }
    // Of this start all was seen; what makes the capture incomplete is elsewhere.
    let others = survey.has_late_start;
    // What is left out for want of room decides nothing.
    let is_only_cut = activation.omitted > 0
        && activation.unfollowed == 0
        && capture.services_left_out == 0
        && view.service.starts_left_out == 0;
    if others && !survey.has_late_service || !others && is_only_cut {
        // Those have been followed by starts that were seen whole.
        return ("No alerts.".into(), Ink::Good);
    }
    let why = if others { ": other services were running before it" } else { "" };
    (
        format!("No rule fired on this start. The capture as a whole is not complete{why}."),
        Ink::Plain,
    )
}
