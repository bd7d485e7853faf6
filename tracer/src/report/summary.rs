//! The last line: how the capture was made, and what it is worth.

use super::{
    event_row::quote,
    headline::{self, counted},
    paint::{Ink, Paint},
    survey::Survey,
    text, time,
    view::View,
};
use crate::model::document::{Capture, Document, EndedBy, Fallback};

/// From so many activations on they are summed up.
const MANY: usize = 3;

/// Starts with alerts whose headlines are told again. The others are counted.
const HEADLINES: usize = 1_000;

/// The starts with alerts: their headlines may have scrolled away.
#[derive(Debug, Default)]
pub struct Alerted {
    headlines: Vec<String>,
    starts: usize,
}

impl Alerted {
    /// A start, if it has alerts.
    pub fn add(&mut self, view: View, width: usize, paint: Paint) {
        if view.activation.alerts.is_empty() {
            return;
        }
        self.starts += 1;
        if self.starts <= HEADLINES {
            let title = headline::title(view, width - 2, paint);
            self.headlines.extend(title.iter().map(|line| format!("  {line}")));
        }
    }
}

/// The summary, wrapped.
pub fn lines(
    document: &Document,
    survey: &Survey,
    alerted: Alerted,
    width: usize,
    paint: Paint,
) -> Vec<String> {
    let capture = &document.capture;
    let mut lines = Vec::new();
    if survey.all_starts >= MANY {
        lines.extend(overview(survey, alerted, width, paint));
        lines.push(String::new());
    }
    let ink = if capture.lost > 0 { Ink::Warning } else { Ink::Faint };
    let sentence = sentence(document, survey);
    lines.extend(text::wrap(&sentence, width).iter().map(|line| paint.ink(ink, line)));
    lines
}

fn sentence(document: &Document, survey: &Survey) -> String {
    let capture = &document.capture;
    format!(
        "Capture of {} on {} (Linux {}): {}, {}{}; it ended when {}; {} backend{}, {} {}.",
        time::length(capture.duration_ns),
        quote(&document.host.hostname),
        quote(&document.host.kernel),
        counted(capture.events as usize, "event"),
        losses(capture),
        left_out(document, survey),
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
    format!(" ({}: {reason})", quote(&Fallback::list(&capture.fallbacks)))
}

/// The services and starts that there was no room for.
fn left_out(document: &Document, survey: &Survey) -> String {
    let kinds =
        [(document.capture.services_left_out, "service"), (survey.starts_left_out, "start")];
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

/// All activations together, and again the headlines of those with alerts.
fn overview(survey: &Survey, alerted: Alerted, width: usize, paint: Paint) -> Vec<String> {
    let totals = format!(
        "In all: {}, {}, {}, {}.",
        counted(survey.services(), "service"),
        counted(survey.all_starts, "start"),
        counted(survey.errors, "error"),
        counted(survey.warnings, "warning"),
    );
    let mut lines: Vec<String> =
        text::wrap(&totals, width).iter().map(|line| paint.ink(Ink::Title, line)).collect();
    lines.extend(alerted.headlines);
    if let Some(more) = alerted.starts.checked_sub(HEADLINES).filter(|more| *more > 0) {
        lines.push(format!("  … and {more} more starts with alerts"));
    }
    lines
}
