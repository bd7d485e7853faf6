//! Documents for people and for programs: rendered as a terminal report, JSON
//! or JSON Lines, read back, and saved.
//!
//! Rendering depends on the document and the [`Style`] alone, so a saved capture
//! gives the same bytes as the live run did.

mod alerts;
mod axis;
mod cut;
mod escape;
mod event_row;
mod events;
mod headline;
mod json;
mod jsonl;
pub mod lint;
mod paint;
mod read;
mod save;
pub mod schema;
mod strip;
mod summary;
mod table;
mod text;
mod time;
mod view;

#[cfg(test)]
mod tests;

pub use escape::text as escape;
pub use read::{ReadError, read};
pub use save::save;

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
}

/// What the terminal can show. JSON and JSON Lines don't depend on it.
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

/// The document in a format, with a newline at its end.
#[must_use]
pub fn render(document: &Document, format: Format, style: Style) -> String {
    match format {
        Format::Table => table::render(document, style),
        Format::Json => json::render(document),
        Format::Jsonl => jsonl::render(document),
    }
}
