//! Text from outside: a comm, a path, a STATUS= text, a word of a systemd. It may hold anything
//! that whoever wrote it chose: escape sequences that clear the screen or answer for the
//! keyboard, overrides that reverse the text around them, characters that no one can see.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    path::Path,
};

use super::raw_name;

/// Text from outside that is to stand in a message. It can't be shown but escaped and, so that
/// a message stays one, cut to [`Outside::LONGEST`] characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Outside(String);

impl Outside {
    /// The most characters of it that are kept.
    pub const LONGEST: usize = 200;

    /// Takes a text.
    #[must_use]
    pub fn new(raw: &str) -> Self {
        Self(clipped(raw, Self::LONGEST).into_owned())
    }

    /// Takes the display of something that quotes what came from outside, an error for one.
    #[must_use]
    pub fn quoting(what: &impl fmt::Display) -> Self {
        Self::new(&what.to_string())
    }

    /// Takes a path.
    #[must_use]
    pub fn path(path: &(impl AsRef<Path> + ?Sized)) -> Self {
        Self::new(&raw_name::os_text(path.as_ref()))
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.0))
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl std::error::Error for Outside {}

/// At most so many characters of a text, the last of them `…` where it had more.
#[must_use]
pub fn clipped(raw: &str, longest: usize) -> Cow<'_, str> {
    // A character has a byte at least.
    if raw.len() <= longest || raw.chars().nth(longest).is_none() {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.chars().take(longest.saturating_sub(1)).chain(['…']).collect())
}

/// At most so many characters of a text that quotes another: its beginning and its end, with `…`
/// for what was between them. So what is said around the quote stays.
#[must_use]
pub fn shortened(raw: &str, longest: usize) -> Cow<'_, str> {
    if raw.len() <= longest {
        return Cow::Borrowed(raw);
    }
    let length = raw.chars().count();
    if length <= longest {
        return Cow::Borrowed(raw);
    }
    let end = longest / 4;
    let beginning = raw.chars().take(longest.saturating_sub(end + 1));
    Cow::Owned(beginning.chain(['…']).chain(raw.chars().skip(length - end)).collect())
}

/// Characters that act on a terminal, or hide in it. They are what Unicode calls
/// control, format, separator and default-ignorable characters; combining marks
/// are left alone, as many scripts can't be written without them.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || raw_name::byte(c).is_some()
}

/// `raw` with its hazards made visible: `\n`, `\x1b`, `\u{202e}`. A backslash
/// stays single, so that unit names (`foo\x2dbar.service`) can be copied.
#[must_use]
pub fn escaped(raw: &str) -> Cow<'_, str> {
    replace_hazards(raw, visible)
}

/// The same, of a text of several lines: newlines stay.
#[must_use]
pub fn escaped_lines(raw: &str) -> Cow<'_, str> {
    replace_hazards(raw, |out, c| if c == '\n' { out.write_char(c) } else { visible(out, c) })
}

fn visible(out: &mut String, c: char) -> fmt::Result {
    if let Some(byte) = raw_name::byte(c) {
        return write!(out, "\\x{byte:02x}");
    }
    match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if c.is_ascii() => write!(out, "\\x{:02x}", c as u32),
        c => write!(out, "\\u{{{:x}}}", c as u32),
    }
}

/// `raw` with each hazard written as `escape` writes it.
pub fn replace_hazards(
    raw: &str,
    escape: impl Fn(&mut String, char) -> fmt::Result,
) -> Cow<'_, str> {
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

/// A word as a shell takes it as one.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if !word.contains(is_hazard) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    // As bash, ksh and zsh take it.
    let mut text = "$'".to_owned();
    for c in word.chars() {
        match c {
            '\n' => text.push_str(r"\n"),
            '\t' => text.push_str(r"\t"),
            '\'' | '\\' => text.extend(['\\', c]),
            c if let Some(byte) = raw_name::byte(c) => {
                let _ = write!(text, "\\x{byte:02x}");
            }
            c if is_hazard(c) && c > '\u{ffff}' => {
                let _ = write!(text, "\\U{:08x}", u32::from(c));
            }
            c if is_hazard(c) => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text + "'"
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_terminal_sequence_is_shown_and_not_obeyed() {
        assert_eq!(escaped("\x1b]0;owned\x07 \u{9b}2J"), "\\x1b]0;owned\\x07 \\u{9b}2J");
        assert_eq!(escaped("a\r\n\tb\x7f"), "a\\r\\n\\tb\\x7f");
    }

    #[test]
    fn text_that_reverses_or_hides_is_shown_for_what_it_is() {
        assert_eq!(escaped("safe\u{202e}gpj.exe\u{200b}"), "safe\\u{202e}gpj.exe\\u{200b}");
        assert_eq!(escaped("\u{feff}\u{2028}\u{e0041}"), "\\u{feff}\\u{2028}\\u{e0041}");
    }

    #[test]
    fn a_byte_that_is_no_text_is_shown_as_that_byte() {
        let name = raw_name::text(b"caf\xe9 \xc3\xa9");
        assert_eq!(escaped(&name), "caf\\xe9 \u{e9}");
        assert_eq!(Outside::path(std::ffi::OsStr::from_bytes(b"/\xff")).to_string(), "/\\xff");
        // So does bash read it.
        assert_eq!(shell_word(&name), "$'caf\\xe9 \u{e9}'");
    }

    #[test]
    fn ordinary_text_of_any_script_stays_as_it_is() {
        for plain in ["foo\\x2dbar@a-b.service", "Größe", "e\u{301}tat", "データ", "नमस्ते", "🦀"]
        {
            assert!(matches!(escaped(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn text_from_outside_is_escaped_and_bounded_however_it_is_formatted() {
        let clear = Outside::new("\x1b[2J");
        assert_eq!(
            format!("{clear} {clear:?} {:?}", Some(&clear)),
            "\\x1b[2J \"\\x1b[2J\" Some(\"\\x1b[2J\")"
        );
        let error = anyhow::Error::new(Outside::new("\u{9b}31m")).context("no answer");
        assert_eq!(format!("{error:#}"), "no answer: \\u{9b}31m");
        let long = Outside::new(&"ü".repeat(1 << 20)).to_string();
        assert_eq!(long, "ü".repeat(Outside::LONGEST - 1) + "…");
        let fits = "ü".repeat(Outside::LONGEST);
        assert_eq!(Outside::new(&fits).to_string(), fits);
        let path = Path::new(&long).join("b".repeat(1 << 20));
        assert_eq!(Outside::path(&path).to_string().chars().count(), Outside::LONGEST);
    }

    #[test]
    fn a_text_that_quotes_a_long_one_keeps_what_is_said_around_it() {
        let sentence = format!("there is no 'ü{}': name another", "a".repeat(1 << 20));
        let short = shortened(&sentence, 80);
        assert_eq!(short.chars().count(), 80);
        assert!(short.starts_with("there is no 'üaaa") && short.ends_with("aa': name another"));
        for fits in ["ü".repeat(80), "a".repeat(80), String::new()] {
            assert!(matches!(shortened(&fits, 80), Cow::Borrowed(same) if same == fits));
        }
    }

    #[test]
    fn words_are_put_in_quotes_where_a_shell_would_take_them_apart() {
        for (word, expected) in [
            ("HUP@exec1.action2", "HUP@exec1.action2"),
            ("a b", "'a b'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("a\nb'\\\x1b", r"$'a\nb\'\\\u001b'"),
            ("a\u{202e}b\u{e0041}", r"$'a\u202eb\U000e0041'"),
        ] {
            assert_eq!(shell_word(word), expected);
        }
    }
}
