//! The last line: how the capture was made, and what it is worth.

use super::{
    event_row::quote,
    headline::counted,
    paint::{Ink, Paint},
    text, time,
};
use crate::timeline::document::{Capture, Document, EndedBy, Severity};

/// The summary, wrapped.
pub fn lines(document: &Document, width: usize, paint: Paint) -> Vec<String> {
    let capture = &document.capture;
    let mut lines = Vec::new();
    if let Some(totals) = totals(document) {
        lines.extend(text::wrap(&totals, width).iter().map(|line| paint.ink(Ink::Title, line)));
    }
    let ink = if capture.lost > 0 { Ink::Warning } else { Ink::Faint };
    lines.extend(text::wrap(&sentence(document), width).iter().map(|line| paint.ink(ink, line)));
    lines
}

fn sentence(document: &Document) -> String {
    let capture = &document.capture;
    format!(
        "Capture of {} on {} (Linux {}): {}, {}; it ended when {}; {} backend, {} {}.",
        time::length(capture.duration_ns),
        quote(&document.host.hostname),
        quote(&document.host.kernel),
        counted(capture.events as usize, "event"),
        losses(capture),
        match capture.ended_by {
            EndedBy::Until => "what it waited for had come",
            EndedBy::Timeout => "its time was over",
            EndedBy::Exit => "what it traced had ended",
            EndedBy::Interrupt => "it was interrupted",
        },
        quote(&capture.backend),
        quote(&document.tool.name),
        quote(&document.tool.version),
    )
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

/// All activations together, where there are too many to count at a glance.
fn totals(document: &Document) -> Option<String> {
    let activations = || document.services.iter().flat_map(|service| &service.activations);
    if activations().count() < 3 {
        return None;
    }
    let alerts = |severity| {
        activations()
            .flat_map(|activation| &activation.alerts)
            .filter(|alert| alert.severity == severity)
            .count()
    };
    Some(format!(
        "In all: {}, {}, {}, {}.",
        counted(document.services.len(), "service"),
        counted(activations().count(), "start"),
        counted(alerts(Severity::Error), "error"),
        counted(alerts(Severity::Warning), "warning"),
    ))
}
