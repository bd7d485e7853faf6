//! What is said of a command line that can't be taken. clap quotes it as it is.

use clap::error::{ContextKind, ContextValue};
use sigready::model::text::{Outside, escaped};

/// What clap says of an error, painted or not. What it quotes is harmless for a terminal, and
/// bounded ([`Outside`]).
pub fn refusal(mut error: clap::Error, is_painted: bool) -> String {
    let quoted: Vec<(ContextKind, ContextValue)> =
        error.context().filter_map(|(kind, value)| Some((kind, harmless(value)?))).collect();
    if !quoted.is_empty() {
        // Its tip on how to pass a word as a value has the word in it, already painted.
        error.remove(ContextKind::Suggested);
    }
    for (kind, value) in quoted {
        error.insert(kind, value);
    }
    let text = error.render();
    only_painted(&if is_painted { text.ansi().to_string() } else { text.to_string() })
}

/// The same without what acts on a terminal; `None` if it is as it may be.
fn harmless(value: &ContextValue) -> Option<ContextValue> {
    let harmless = match value {
        ContextValue::String(word) => ContextValue::String(Outside::new(word).to_string()),
        ContextValue::Strings(words) => {
            ContextValue::Strings(words.iter().map(|it| Outside::new(it).to_string()).collect())
        }
        _ => return None,
    };
    (harmless != *value).then_some(harmless)
}

/// A text with nothing that acts on a terminal but ends of lines and colours (select graphic
/// rendition, ECMA-48 8.3.117).
fn only_painted(text: &str) -> String {
    let plain = |out: &mut String, text: &str| {
        for line in text.split_inclusive('\n') {
            let end = if line.ends_with('\n') { "\n" } else { "" };
            out.push_str(&escaped(line.strip_suffix('\n').unwrap_or(line)));
            out.push_str(end);
        }
    };
    let mut pieces = text.split('\x1b');
    let mut out = String::with_capacity(text.len());
    plain(&mut out, pieces.next().unwrap_or_default());
    for piece in pieces {
        let paint = paint(piece);
        out.push_str(if paint > 0 { "\x1b" } else { "\\x1b" });
        out.push_str(&piece[..paint]);
        plain(&mut out, &piece[paint..]);
    }
    out
}

/// How many bytes behind an escape are a change of colours; 0 if it is another sequence.
fn paint(piece: &str) -> usize {
    let Some(numbers) = piece.strip_prefix('[') else { return 0 };
    let rest = numbers.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
    rest.strip_prefix('m').map_or(0, |rest| piece.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    const HOSTILE: &str = "x\x1b]0;owned\x07\x1b[2J\x1b[31m\u{9b}31m\u{202e}txt\u{200b}\u{2028}\n";

    /// Command lines that are refused for this word.
    fn lines(word: &str) -> Vec<Vec<String>> {
        let option = format!("--{word}");
        let with_value = format!("--quiet={word}");
        let send = format!("HUP@{word}");
        let offset = format!("HUP@{word}+1s");
        let signal = format!("{word}@1s");
        let lines: &[&[&str]] = &[
            &["trace", "--pid", word],
            &["trace", "--pid", "1", "--duration", word],
            &["trace", "x", "--settle", word],
            &["trace", "x", "--until", word],
            &["trace", "x", "--buffer", word],
            &["trace", "x", "--fail-on", word],
            &["trace", "x", "--restart", "--reload-during-start", "--until", word],
            &["trace", "x", "--bus", word],
            &["run", "--signal", word, "--", "true"],
            &["run", "--record", word, "--", "true"],
            &["run", "--send", word, "--", "true"],
            &["run", "--send", &send, "--", "true"],
            &["run", "--send", &offset, "--", "true"],
            &["run", "--send", &signal, "--", "true"],
            &["run", "--format", word, "--", "true"],
            &["run", "--type", word, "--", "true"],
            &["run", "--restart", word, "--", "true"],
            &["run", "--backend", word, "--", "true"],
            &["--color", word, "doctor"],
            &["doctor", word],
            &["doctor", &option],
            &["run", &option, "--", "true"],
            &["doctor", &with_value],
            &["report", "a", word],
            &[&option],
            &[word],
        ];
        lines.iter().map(|line| line.iter().map(|&word| word.to_owned()).collect()).collect()
    }

    fn refused(line: &[String], is_painted: bool) -> String {
        let words = ["sigready".to_owned()].into_iter().chain(line.iter().cloned());
        let error = Cli::try_parse_from(words).expect_err(&format!("{line:?} is taken"));
        assert!(error.use_stderr(), "{line:?}");
        refusal(error, is_painted)
    }

    #[test]
    fn what_is_refused_is_harmless_for_a_terminal() {
        for line in lines(HOSTILE) {
            let plain = refused(&line, false);
            assert!(plain.contains(r"x\x1b]0;owned\x07\x1b[2J\x1b[31m"), "{line:?}: {plain}");
            assert!(plain.lines().all(|line| escaped(line) == line), "{line:?}: {plain:?}");
            let painted = refused(&line, true);
            assert!(painted.starts_with("\x1b["), "{painted:?}");
            assert!(!painted.contains("\x1b[31m\\u{9b}"), "nothing of it paints: {painted:?}");
            let bare: String = painted
                .split("\x1b[")
                .map(|it| it.split_once('m').map_or(it, |(_, rest)| rest))
                .collect();
            assert!(bare.lines().all(|line| escaped(line) == line), "{line:?}: {painted:?}");
        }
    }

    #[test]
    fn however_long_the_command_line_is_the_refusal_is_short() {
        for line in lines(&"A".repeat(100_000)) {
            for is_painted in [false, true] {
                let text = refused(&line, is_painted);
                assert!(text.chars().count() < 1_500, "{}: {}", line[0], text.chars().count());
                assert!(text.contains('…'), "{text}");
            }
        }
    }

    #[test]
    fn an_ordinary_refusal_is_claps_own() {
        for line in [
            &["trace"][..],
            &["trce"],
            &["doctor", "--quit"],
            &["run", "--type", "smple", "--", "x"],
        ] {
            let error = || Cli::try_parse_from(["sigready"].iter().chain(line)).unwrap_err();
            assert_eq!(refusal(error(), false), error().render().to_string());
            assert_eq!(refusal(error(), true), error().render().ansi().to_string());
        }
    }

    #[test]
    fn of_sequences_only_colours_are_left() {
        assert_eq!(only_painted("\x1b[1;31ma\x1b[0m\nb"), "\x1b[1;31ma\x1b[0m\nb");
        assert_eq!(only_painted("\x1b[2J\x1b]0;x\x07\r\x1b"), "\\x1b[2J\\x1b]0;x\\x07\\r\\x1b");
    }
}
