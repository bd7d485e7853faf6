//! The lines of a unit file, as systemd reads them.

use std::iter;

/// A byte order mark, as UTF-8 has it.
const MARK: char = '\u{feff}';

/// The lines of a text. One ends with a line feed, a carriage return or a zero byte, or with
/// several of these that differ, of which a zero byte is the last (`read_line_full` in
/// src/basic/fileio.c). The first line that begins with a byte order mark is without it
/// (`config_parse` in src/shared/conf-parser.c).
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    let mut has_mark = false;
    iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = rest.find(is_end).unwrap_or(rest.len());
        let (line, after) = rest.split_at(length);
        let mut ends = String::new();
        for c in after.chars() {
            if !is_end(c) || ends.contains(c) || ends.contains('\0') {
                break;
            }
            ends.push(c);
        }
        rest = &after[ends.len()..];
        match line.strip_prefix(MARK) {
            Some(line) if !has_mark => {
                has_mark = true;
                Some(line)
            }
            _ => Some(line),
        }
    })
}

fn is_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_systemd_ends_it() {
        for (text, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a\nb\n", &["a", "b"]),
            ("a\r\nb\n\rc\rd\0e", &["a", "b", "c", "d", "e"]),
            ("a\n\nb\r\rc\0\0d", &["a", "", "b", "", "c", "", "d"]),
            ("a\r\n\r\nb\r\n\0c\0\nd", &["a", "", "b", "c", "", "d"]),
            ("\u{feff}[Service]\n\u{feff}x", &["[Service]", "\u{feff}x"]),
            ("\n\u{feff}a", &["", "a"]),
        ] {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }
}
