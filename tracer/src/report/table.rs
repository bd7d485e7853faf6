//! The terminal report: a block per activation, then a summary of the capture.

use super::{
    Style, alerts, events, headline,
    paint::{Ink, Paint},
    strip, summary, text,
};
use crate::timeline::document::{Activation, Capture, Document};

/// Narrower terminals get lines of this width all the same.
const NARROWEST: usize = 60;

/// The report, with a newline at its end.
pub fn render(document: &Document, style: Style) -> String {
    let width = usize::from(style.width).max(NARROWEST);
    let paint = Paint { color: style.color };
    let capture = &document.capture;
    let mut sections = Vec::new();
    for service in &document.services {
        for (index, activation) in service.activations.iter().enumerate() {
            let end = capture_end(capture, activation);
            let mut block = headline::lines(document, service, index, end, width, paint);
            block.push(String::new());
            let strip = strip::lines(service, activation, capture.signal, end, width, paint);
            if !strip.is_empty() {
                block.extend(strip);
                block.push(String::new());
            }
            if !activation.events.is_empty() {
                block.extend(events::lines(activation, capture.signal, width, paint));
                block.push(String::new());
            }
            block.extend(alerts::lines(capture, service, activation, width, paint));
            sections.push(block);
        }
    }
    if sections.is_empty() {
        let note = nothing_seen(document);
        sections.push(
            text::wrap(&note, width).iter().map(|line| paint.ink(Ink::Warning, line)).collect(),
        );
    }
    sections.push(summary::lines(document, width, paint));
    let blocks: Vec<String> = sections.iter().map(|lines| lines.join("\n")).collect();
    let rule = paint.ink(Ink::Faint, &"─".repeat(width));
    blocks.join(&format!("\n\n{rule}\n")) + "\n"
}

/// The end of the capture on an activation's timeline. Wall-clock times are saved to
/// the microsecond, so nothing finer may show here.
fn capture_end(capture: &Capture, activation: &Activation) -> i64 {
    let micros = |time: jiff::Timestamp| i128::from(time.as_microsecond());
    let began = micros(capture.started_at.0) - micros(activation.started_at.0);
    let end = began * 1_000 + i128::from(capture.duration_ns);
    i64::try_from(end.max(0)).unwrap_or(i64::MAX)
}

fn nothing_seen(document: &Document) -> String {
    match document.services.as_slice() {
        [] => "Nothing was seen: no service in the scope of this capture was running or started."
            .into(),
        services => {
            let names: Vec<String> =
                services.iter().map(|service| super::event_row::quote(&service.name)).collect();
            format!("Nothing was seen: no start of {}.", names.join(", "))
        }
    }
}
