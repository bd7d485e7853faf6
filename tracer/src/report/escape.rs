//! Makes what came from outside harmless for a terminal (see [`crate::model::text`]).

use std::{borrow::Cow, fmt::Write as _};

use crate::model::text::replace_hazards;
pub use crate::model::text::{escaped as text, escaped_lines as lines};

/// Rendered JSON that stays the same JSON, and is as harmless on a terminal. JSON
/// has to escape the first 32 characters only; the others that are hazards can
/// occur within its strings alone, where `\u` escapes mean the same.
pub fn json(rendered: &str) -> Cow<'_, str> {
    replace_hazards(rendered, |out, c| match c {
        '\n' => out.write_char(c),
        c => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_means_the_same() {
        let raw = "\u{7f}\u{9b}\u{202e}\u{e0041}\u{10feff}ok\n";
        let rendered = serde_json::to_string(raw).unwrap();
        let escaped = json(&rendered);
        assert_eq!(escaped, r#""\u007f\u009b\u202e\udb40\udc41\udbff\udeffok\n""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), raw);
    }
}
