//! Makes what came from outside harmless for a terminal.
//!
//! A comm, a path or a STATUS= text may hold anything its process chose: escape
//! sequences that clear the screen or answer for the keyboard, overrides that
//! reverse the text around them, characters that no one can see.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

/// Characters that act on a terminal, or hide in it. They are what Unicode calls
/// control, format, separator and default-ignorable characters; combining marks
/// are left alone, as many scripts can't be written without them.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// `raw` with its hazards made visible: `\n`, `\x1b`, `\u{202e}`. A backslash
/// stays single, so that unit names (`foo\x2dbar.service`) can be copied.
#[must_use]
pub fn text(raw: &str) -> Cow<'_, str> {
    replace(raw, |out, c| match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if c.is_ascii() => write!(out, "\\x{:02x}", c as u32),
        c => write!(out, "\\u{{{:x}}}", c as u32),
    })
}

/// Rendered JSON that stays the same JSON, and is as harmless on a terminal. JSON
/// has to escape the first 32 characters only; the others that are hazards can
/// occur within its strings alone, where `\u` escapes mean the same.
pub fn json(rendered: &str) -> Cow<'_, str> {
    replace(rendered, |out, c| match c {
        '\n' => out.write_char(c),
        c => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}")),
    })
}

fn replace(raw: &str, escape: impl Fn(&mut String, char) -> fmt::Result) -> Cow<'_, str> {
    if !raw.contains(is_hazard) {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len() + 16);
    for c in raw.chars() {
        let written = if is_hazard(c) { escape(&mut out, c) } else { out.write_char(c) };
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sequence_is_shown_and_not_obeyed() {
        assert_eq!(text("\x1b]0;owned\x07 \u{9b}2J"), "\\x1b]0;owned\\x07 \\u{9b}2J");
        assert_eq!(text("a\r\n\tb\x7f"), "a\\r\\n\\tb\\x7f");
    }

    #[test]
    fn text_that_reverses_or_hides_is_shown_for_what_it_is() {
        assert_eq!(text("safe\u{202e}gpj.exe\u{200b}"), "safe\\u{202e}gpj.exe\\u{200b}");
        assert_eq!(text("\u{feff}\u{2028}\u{e0041}"), "\\u{feff}\\u{2028}\\u{e0041}");
    }

    #[test]
    fn ordinary_text_of_any_script_stays_as_it_is() {
        for plain in ["foo\\x2dbar@a-b.service", "Größe", "e\u{301}tat", "データ", "नमस्ते", "🦀"]
        {
            assert!(matches!(text(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn escaped_json_means_the_same() {
        let raw = "\u{7f}\u{9b}\u{202e}\u{e0041}ok\n";
        let rendered = serde_json::to_string(raw).unwrap();
        let escaped = json(&rendered);
        assert_eq!(escaped, r#""\u007f\u009b\u202e\udb40\udc41ok\n""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), raw);
    }
}
