//! The command that races one interval again.

use std::fmt::Write as _;

use crate::model::{
    race::{Interval, Race},
    signal::Signal,
};

/// It, as a shell takes it.
pub fn again(race: &Race, signal: Signal, interval: &Interval) -> String {
    let mut line = "sigready race".to_owned();
    for option in &race.options {
        let _ = write!(line, " {}", quoted(option));
    }
    if signal != Signal::HUP {
        let _ = write!(line, " --signal {signal}");
    }
    let _ = write!(line, " --only {} --", quoted(&interval.id));
    for word in &race.command {
        let _ = write!(line, " {}", quoted(word));
    }
    line
}

/// A word as a shell takes it as one.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if !word.chars().any(char::is_control) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    // As bash, ksh and zsh take it.
    let mut text = "$'".to_owned();
    for c in word.chars() {
        match c {
            '\n' => text.push_str(r"\n"),
            '\t' => text.push_str(r"\t"),
            '\'' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        for (word, expected) in [
            ("HUP@exec1.action2", "HUP@exec1.action2"),
            ("a b", "'a b'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("a\nb'\\\x1b", r"$'a\nb\'\\\u001b'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
