//! Whom a pid on a command line means.

use super::{Sender, is_same_unit, named};
use crate::systemd::commands::{
    base_name,
    sent::{Match, Nobody, Target},
    word::{Piece, Word},
};

/// Whether a word is passed on as it is written, though it is meant for a value.
pub(super) fn is_literal(word: &str) -> bool {
    // With a minus it is meant for a group.
    let id = word.strip_prefix('-').unwrap_or(word);
    word.contains("$MAINPID") || id.starts_with("$(") || id.starts_with('`')
}

/// Whom a pid means.
pub(super) fn by_pid(word: &Word, sender: Sender<'_>) -> Target {
    if let Some(text) = word.known().filter(|text| is_literal(text)) {
        return Target::Nobody(Nobody::Literal(text.to_owned()));
    }
    if word.known() == Some("-1") {
        return Target::Host;
    }
    let minus = word.strip("-");
    let is_group = minus.is_some();
    let word = minus.as_ref().unwrap_or(word);
    let found = match word.0.as_slice() {
        _ if word.known() == Some("") => Target::Nobody(Nobody::NoPid),
        [Piece::Variable(name)] if name == "MAINPID" => Target::Main,
        // The shell's own, its parent's, the last it started.
        [Piece::Variable(name)] if ["$", "PPID", "!"].contains(&name.as_str()) => Target::Other,
        [Piece::Output(words)] => by_output(words, sender),
        [Piece::Text(text)] if text.starts_with('%') && sender.shell.is_some() => Target::Other,
        [Piece::Text(text)] if text.parse::<u32>().is_ok() => Target::Other,
        // kill(1) of util-linux takes names.
        [Piece::Text(text)] if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Target::Named(text.clone(), Match::Whole)
        }
        _ => Target::Unknown(word.shown()),
    };
    if is_group && found.is_service() { Target::Group } else { found }
}

/// Whom the pid means that a command writes.
fn by_output(words: &[Word], sender: Sender<'_>) -> Target {
    let name = words.first().and_then(Word::known).map(base_name);
    let has = |text: &str| words.iter().any(|word| word.start().contains(text));
    match name {
        Some("cat" | "head" | "tail" | "read" | "sed" | "awk") => Target::PidFile,
        Some("pidof" | "pgrep" | "pidofproc") => {
            let how = match name {
                Some("pgrep") => {
                    let letter = |it: char| {
                        let options = words.iter().map(Word::start);
                        options
                            .filter(|word| word.starts_with('-'))
                            .any(|word| !word.starts_with("--") && word.contains(it))
                    };
                    let is_full = letter('f') || has("--full");
                    Match::of_pattern(is_full, letter('x') || has("--exact"))
                }
                _ => Match::Program,
            };
            named(words.last().map(Word::shown).unwrap_or_default(), how)
        }
        Some("systemctl") if has("MainPID") => shown_unit(words, sender.unit),
        Some("echo" | "printf") if words.len() == 2 => by_pid(&words[1], sender),
        _ => Target::Unknown(Word(vec![Piece::Output(words.to_vec())]).shown()),
    }
}

/// Whose main pid `systemctl show` writes.
fn shown_unit(words: &[Word], unit: Option<&str>) -> Target {
    let mut operands = Vec::new();
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        if matches!(word.known(), Some("-p" | "-P" | "--property")) {
            rest.next();
        } else if !word.start().starts_with('-') && word.known() != Some("show") {
            operands.push(word);
        }
    }
    match operands.as_slice() {
        [word] => match word.known() {
            Some(named) if unit.is_none_or(|unit| is_same_unit(named, unit)) => Target::Main,
            Some(_) => Target::Other,
            None => Target::Unknown(word.shown()),
        },
        _ => Target::Unknown(Word(vec![Piece::Output(words.to_vec())]).shown()),
    }
}
