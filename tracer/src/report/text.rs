//! Fitting text into columns. Everything here takes text that is escaped already.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The columns `text` takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text`, cut to at most `columns`; an ellipsis shows where.
pub fn clip(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (head, _) = split(text, columns.saturating_sub(1));
    format!("{head}…")
}

/// `text` filled with blanks to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// `text` broken at blanks into lines of at most `columns`; a word that is longer
/// than a line is broken where the line ends.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for mut word in text.split(' ').filter(|word| !word.is_empty()) {
        if used > 0 && used + 1 + breadth(word) <= columns {
            line.push(' ');
            used += 1;
        } else if used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        while breadth(word) > columns {
            let (head, rest) = split(word, columns);
            lines.push(head.to_owned());
            word = rest;
        }
        line.push_str(word);
        used += breadth(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// The sum of the characters' widths. It is never less than [`width`], which knows
/// that some pairs (Arabic lam-alef) join into one, and it can be counted piecemeal.
fn breadth(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The head of `text` that fits into `columns` (one character at least), and the rest.
fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    let end = text
        .char_indices()
        .find(|(at, c)| {
            used += c.width().unwrap_or(0);
            used > columns && *at > 0
        })
        .map_or(text.len(), |(at, _)| at);
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_blanks_and_long_words_at_the_edge() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a abcdefghij b", 4), ["a", "abcd", "efgh", "ij b"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn wide_characters_count_as_two_columns() {
        assert_eq!(wrap("データデータ", 5), ["デー", "タデ", "ータ"]);
        assert_eq!(clip("データ", 5), "デー…");
        assert_eq!(clip("データ", 6), "データ");
        assert_eq!(pad("デ", 4), "デ  ");
    }
}
