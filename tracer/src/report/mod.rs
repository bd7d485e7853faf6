//! Documents for people and for programs: rendered as a terminal report, a page, a picture,
//! JSON, JSON Lines or trace events, read back, and saved.
//!
//! Rendering depends on the document and the [`Style`] alone, so a saved capture
//! gives the same bytes as the live run did.

mod alerts;
mod axis;
mod cut;
mod escape;
mod event_row;
mod events;
mod harm;
mod headline;
mod html;
mod json;
mod jsonl;
pub mod lint;
pub mod live;
mod paint;
mod picture;
mod position;
pub mod race;
mod read;
mod save;
pub mod schema;
mod source;
mod span;
mod strip;
mod summary;
mod survey;
mod svg;
mod table;
mod text;
mod time;
mod trace_event;
mod view;

#[cfg(test)]
mod tests;

pub use escape::text as escape;
use std::io::Write;

#[cfg(test)]
pub use read::read;
pub use read::{BEGINNING, ReadError, Saved, check_beginning};
pub use save::{answer, save, save_with};
pub use source::{PassError, Sink, Source};
pub use survey::Survey;

#[cfg(test)]
use crate::model::document::Document;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people, on a terminal
    Table,
    /// One JSON document
    Json,
    /// JSON Lines: one record a line, for streams
    Jsonl,
    /// A picture of at most twelve starts, those with alerts first
    Svg,
    /// A page by itself: pictures, alerts and all events
    Html,
    /// JSON for Perfetto's viewer (ui.perfetto.dev) and Chromium's
    TraceEvent,
}

/// What the terminal can show. Only the table depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Use colours; without, not one escape byte is written.
    pub color: bool,
    /// Columns there are; less than 60 counts as 60.
    pub width: u16,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 80 }
    }
}

/// Writes a document in a format, with a newline at its end: part by part. `survey` has looked
/// at it before.
///
/// # Errors
///
/// It can't be read, or `out` can't be written to.
pub fn write(
    source: &mut dyn Source,
    survey: &Survey,
    format: Format,
    style: Style,
    out: &mut dyn Write,
) -> Result<(), PassError> {
    match format {
        Format::Table => source.each(&mut table::Table::new(out, style, survey)),
        Format::Json => source.each(&mut json::Json::new(out)),
        Format::Jsonl => source.each(&mut jsonl::Lines::new(out)),
        Format::Svg => source.each(&mut svg::Svg::new(out, survey)),
        Format::Html => html::write(source, survey, out),
        Format::TraceEvent => source.each(&mut trace_event::Events::new(out)),
    }
}

/// The document in a format.
///
/// # Panics
///
/// Memory can't be written to.
#[cfg(test)]
#[must_use]
pub fn render(document: &Document, format: Format, style: Style) -> String {
    let (mut survey, mut text) = (Survey::default(), Vec::new());
    let mut source = document;
    source.each(&mut survey).unwrap();
    write(&mut source, &survey, format, style, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}
