//! The terminal report: a block per activation, then a summary of the capture.

use super::{
    Style, alerts, event_row, events, headline,
    paint::{Ink, Paint},
    strip, summary, text,
    view::View,
};
use crate::model::document::Document;

/// Narrower terminals get lines of this width all the same.
const NARROWEST: usize = 60;

/// The report, with a newline at its end.
pub fn render(document: &Document, style: Style) -> String {
    let width = usize::from(style.width).max(NARROWEST);
    let paint = Paint { color: style.color };
    let mut sections: Vec<Vec<String>> =
        View::all(document).map(|view| block(view, width, paint)).collect();
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

fn block(view: View, width: usize, paint: Paint) -> Vec<String> {
    let parts = [
        headline::lines(view, width, paint),
        strip::lines(view, width, paint),
        events::lines(view, width, paint),
        alerts::lines(view, width, paint),
    ];
    let parts = parts.into_iter().filter(|lines| !lines.is_empty());
    parts.reduce(|above, below| [above, vec![String::new()], below].concat()).unwrap_or_default()
}

fn nothing_seen(document: &Document) -> String {
    match document.services.as_slice() {
        [] => "Nothing was seen: no service in the scope of this capture was running or started."
            .into(),
        services => {
            let names: Vec<String> =
                services.iter().map(|service| event_row::quote(&service.name)).collect();
            format!("Nothing was seen: no start of {}.", names.join(", "))
        }
    }
}
