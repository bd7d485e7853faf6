//! The document as JSON.

use super::escape;
use crate::model::document::Document;

/// Indented, with a newline at its end.
pub fn render(document: &Document) -> String {
    let mut text = serde_json::to_string_pretty(document)
        .expect("a document has string keys and no type of its own that can fail");
    text.push('\n');
    escape::json(&text).into_owned()
}
