//! The last line: how the capture was made, and what it is worth.

use super::{
    event_row::quote,
    headline::{self, counted},
    paint::{Ink, Paint},
    text, time,
    view::View,
};
use crate::model::document::{Capture, Document, EndedBy, Severity};

/// From so many activations on they are summed up.
const MANY: usize = 3;

/// The summary, wrapped.
pub fn lines(document: &Document, width: usize, paint: Paint) -> Vec<String> {
    let capture = &document.capture;
    let mut lines = Vec::new();
    if View::all(document).count() >= MANY {
        lines.extend(overview(document, width, paint));
        lines.push(String::new());
    }
    let ink = if capture.lost > 0 { Ink::Warning } else { Ink::Faint };
    lines.extend(text::wrap(&sentence(document), width).iter().map(|line| paint.ink(ink, line)));
    lines
}

fn sentence(document: &Document) -> String {
    let capture = &document.capture;
    format!(
        "Capture of {} on {} (Linux {}): {}, {}{}; it ended when {}; {} backend{}, {} {}.",
        time::length(capture.duration_ns),
        quote(&document.host.hostname),
        quote(&document.host.kernel),
        counted(capture.events as usize, "event"),
        losses(capture),
        left_out(document),
        match capture.ended_by {
            EndedBy::Until => "what it waited for had come",
            EndedBy::Timeout => "its time was over",
            EndedBy::Exit => "what it traced had ended",
            EndedBy::Interrupt => "it was interrupted",
        },
        quote(&capture.backend),
        fallbacks(capture),
        quote(&document.tool.name),
        quote(&document.tool.version),
    )
}

/// What the better backend could not be used for, and why.
fn fallbacks(capture: &Capture) -> String {
    let Some(first) = capture.fallbacks.first() else {
        return String::new();
    };
    let reason = quote(&first.reason);
    if capture.backend == "tracepoint" {
        return format!(" (fentry can't be used: {reason})");
    }
    let shown: Vec<_> = capture.fallbacks.iter().map(|it| quote(&it.shows)).collect();
    format!(" (system calls for {}: {reason})", shown.join(", "))
}

/// The services and starts that there was no room for.
fn left_out(document: &Document) -> String {
    let starts: u64 = document.services.iter().map(|service| service.starts_left_out).sum();
    let kinds = [(document.capture.services_left_out, "service"), (starts, "start")];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| counted(count as usize, what))
        .collect();
    if kinds.is_empty() {
        return String::new();
    }
    format!(", {} left out as others needed the room", kinds.join(" and "))
}

fn losses(capture: &Capture) -> String {
    if capture.lost == 0 {
        return "none lost".into();
    }
    let kinds: Vec<String> =
        capture.losses.iter().map(|(kind, count)| format!("{} {count}", quote(kind))).collect();
    let of = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    format!("{} LOST{of}", capture.lost)
}

/// All activations together, and again the headlines of those with alerts: theirs
/// may have scrolled away.
fn overview(document: &Document, width: usize, paint: Paint) -> Vec<String> {
    let alerts = |severity| {
        View::all(document)
            .flat_map(|view| &view.activation.alerts)
            .filter(|alert| alert.severity == severity)
            .count()
    };
    let totals = format!(
        "In all: {}, {}, {}, {}.",
        counted(document.services.len(), "service"),
        counted(View::all(document).count(), "start"),
        counted(alerts(Severity::Error), "error"),
        counted(alerts(Severity::Warning), "warning"),
    );
    let mut lines: Vec<String> =
        text::wrap(&totals, width).iter().map(|line| paint.ink(Ink::Title, line)).collect();
    for view in View::all(document).filter(|view| !view.activation.alerts.is_empty()) {
        let title = headline::title(view, width - 2, paint);
        lines.extend(title.iter().map(|line| format!("  {line}")));
    }
    lines
}
