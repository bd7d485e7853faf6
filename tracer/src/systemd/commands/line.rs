//! The value of `ExecStart=` and its like, split as systemd splits it: systemd.service(5)
//! "Command lines", `config_parse_exec` in src/core/load-fragment.c and `extract_first_word`
//! in src/basic/extract-word.c (the same in 252 and 257).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::word::{Piece, Word};

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The characters before the program that change how it is run: `-@:+!|`.
    pub prefixes: String,
    /// The program's path and its arguments, with specifiers put in and variables as written.
    pub argv: Vec<String>,
}

/// What may stand before the program. systemd.service(5).
const PREFIXES: [char; 6] = ['-', '@', ':', '+', '!', '|'];

/// The most commands that are read of one setting.
const MAX_COMMANDS: usize = 256;

/// The most words that are read of one value.
const MAX_WORDS: usize = 1_000;

impl Command {
    /// Whether its failure does not count.
    #[must_use]
    pub fn ignores_failure(&self) -> bool {
        self.prefixes.contains('-')
    }

    /// Puts in the values of variables that the unit itself sets, as systemd does. Values with
    /// spaces or dollars are left out.
    pub fn put_in(&mut self, values: &BTreeMap<String, String>) {
        let is_plain = |value: &&String| !value.contains([' ', '\t', '$', '"', '\'', '\\']);
        let value = |name: &String| values.get(name).filter(is_plain).filter(|it| !it.is_empty());
        if !self.has_variables() {
            return;
        }
        for argument in self.argv.iter_mut().skip(1) {
            let word = Word::of_unit(argument);
            let has_value =
                |piece: &Piece| matches!(piece, Piece::Variable(it) if value(it).is_some());
            let is_known = |piece: &Piece| matches!(piece, Piece::Text(_) | Piece::Variable(_));
            if !word.0.iter().any(has_value) || !word.0.iter().all(is_known) {
                continue;
            }
            let written = |piece: &Piece| match piece {
                Piece::Text(text) => text.replace('$', "$$"),
                Piece::Variable(name) => {
                    value(name).cloned().unwrap_or_else(|| format!("${{{name}}}"))
                }
                Piece::Output(_) | Piece::Unknown => String::new(),
            };
            *argument = word.0.iter().map(written).collect();
        }
    }

    /// Whether systemd puts values in for variables.
    #[must_use]
    pub fn has_variables(&self) -> bool {
        !self.prefixes.contains(':')
    }
}

/// The commands of all values of a setting. A value that systemd does not take is left out.
pub fn commands(values: &[String], expand: impl Fn(&str) -> String) -> Vec<Command> {
    let mut commands = Vec::new();
    for value in values {
        let mut rest = value.as_str();
        while commands.len() < MAX_COMMANDS
            && let Some((command, after)) = first(rest, &expand)
        {
            commands.push(command);
            rest = after;
        }
    }
    commands
}

/// The words of a value, with their quotes and escapes taken away.
#[must_use]
pub fn words(value: &str) -> Vec<String> {
    let mut rest = value;
    std::iter::from_fn(|| {
        let (word, after) = next_word(rest)?;
        rest = after;
        Some(word)
    })
    .take(MAX_WORDS)
    .collect()
}

/// The first command and what is after the `;` behind it.
fn first(value: &str, expand: impl Fn(&str) -> String) -> Option<(Command, &str)> {
    let (word, mut rest) = next_word(value)?;
    let path = word.trim_start_matches(PREFIXES);
    let prefixes = word[..word.len() - path.len()].to_owned();
    if path.is_empty() {
        return None;
    }
    let mut argv = vec![expand(path)];
    let mut after = "";
    loop {
        rest = rest.trim_start_matches(WHITESPACE);
        if rest.is_empty() {
            break;
        }
        if let Some(more) = rest.strip_prefix(';')
            && more.chars().next().is_none_or(|c| WHITESPACE.contains(&c))
        {
            after = more;
            break;
        }
        if let Some(more) = rest.strip_prefix(r"\;")
            && more.chars().next().is_none_or(|c| WHITESPACE.contains(&c))
        {
            argv.push(";".to_owned());
            rest = more;
            continue;
        }
        let (word, more) = next_word(rest)?;
        argv.push(expand(&word));
        rest = more;
    }
    if prefixes.contains('@') {
        // The word after the path is only what the program finds as its own name.
        if argv.len() < 2 {
            return None;
        }
        argv.remove(1);
    }
    if prefixes.contains('|') {
        // Since 257: by the user's own shell.
        argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), argv.join(" ")];
    }
    Some((Command { prefixes, argv }, after))
}

const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The next word with its quotes and escapes taken away, and the rest; `None` at the end, and
/// where a quote is not closed.
fn next_word(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches(WHITESPACE);
    if text.is_empty() {
        return None;
    }
    let mut word = String::new();
    let mut quote = None;
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        match (c, quote) {
            ('\\', _) => {
                // A backslash at the very end is taken as it is.
                let taken = unescape(&text[at + 1..], &mut word);
                for _ in 0..taken {
                    rest.next();
                }
            }
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if WHITESPACE.contains(&c) => return Some((word, &text[at..])),
            (c, _) => word.push(c),
        }
    }
    quote.is_none().then_some((word, ""))
}

/// Adds what an escape after its backslash stands for; gives how many characters it has. One
/// that is none stays as it is written. `cunescape_one` in src/basic/escape.c.
fn unescape(text: &str, word: &mut String) -> usize {
    let digits = |skip: usize, length: usize, radix: u32| {
        let digits = text.get(skip..skip + length)?;
        digits.chars().all(|c| c.is_digit(radix)).then_some(())?;
        char::from_u32(u32::from_str_radix(digits, radix).ok()?).filter(|c| *c != '\0')
    };
    let simple = |c| Some((c, 1));
    let found = match text.chars().next() {
        Some('a') => simple('\u{7}'),
        Some('b') => simple('\u{8}'),
        Some('f') => simple('\u{c}'),
        Some('n') => simple('\n'),
        Some('r') => simple('\r'),
        Some('t') => simple('\t'),
        Some('v') => simple('\u{b}'),
        Some('s') => simple(' '),
        Some(c @ ('\\' | '"' | '\'')) => simple(c),
        Some('x') => digits(1, 2, 16).map(|c| (c, 3)),
        Some('u') => digits(1, 4, 16).map(|c| (c, 5)),
        Some('U') => digits(1, 8, 16).map(|c| (c, 9)),
        Some('0'..='3') => digits(0, 3, 8).map(|c| (c, 3)),
        _ => None,
    };
    if let Some((c, taken)) = found {
        word.push(c);
        return taken;
    }
    word.push('\\');
    // What follows is no quote then.
    word.extend(text.chars().next());
    text.chars().take(1).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argvs(value: &str) -> Vec<Vec<String>> {
        let commands = commands(&[value.to_owned()], str::to_owned);
        commands.into_iter().map(|command| command.argv).collect()
    }

    fn words(value: &str) -> Vec<String> {
        argvs(value).concat()
    }

    #[test]
    fn a_semicolon_that_is_a_word_separates_commands() {
        assert_eq!(argvs("/bin/a --check ; /bin/kill -HUP $MAINPID").len(), 2);
        assert_eq!(argvs("-/bin/a ; -/bin/b ; @/bin/c d e").len(), 3);
        assert_eq!(argvs("/bin/a; b").len(), 1);
        assert_eq!(argvs(r"/bin/find -exec x \; y"), [["/bin/find", "-exec", "x", ";", "y"]]);
        assert_eq!(argvs("/bin/a ';' b"), [["/bin/a", ";", "b"]]);
        assert_eq!(argvs("/bin/a ;"), [["/bin/a"]]);
    }

    #[test]
    fn a_value_that_the_unit_sets_is_put_in_where_systemd_puts_it_in() {
        let values = [("SIG", "HUP"), ("TWO", "a b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let put_in = |text: &str| {
            let mut command = commands(&[text.to_owned()], str::to_owned).remove(0);
            command.put_in(&values.clone().into());
            command.argv.remove(1)
        };
        for (word, expected) in [
            ("-${SIG}", "-HUP"),
            ("$SIG", "HUP"),
            ("-$SIG", "-$SIG"),
            ("$$${SIG}", "$$HUP"),
            ("${TWO}", "${TWO}"),
            ("${OTHER}${SIG}", "${OTHER}HUP"),
        ] {
            assert_eq!(put_in(&format!("/bin/kill {word}")), expected, "{word}");
        }
        assert_eq!(put_in(":/bin/kill ${SIG}"), "${SIG}");
        assert_eq!(super::words(r#"A=1 "B=c d""#), ["A=1", "B=c d"]);
    }

    #[test]
    fn quotes_and_escapes_are_systemds_and_not_a_shells() {
        assert_eq!(words(r#"/bin/a "b c" 'd "e"' f'g h'i"#), ["/bin/a", "b c", "d \"e\"", "fg hi"]);
        assert_eq!(
            words(r#"/bin/a 'it\'s' "\x41\101\u00e4\n" \s"#),
            ["/bin/a", "it's", "AAä\n", " "]
        );
        assert_eq!(words(r"/bin/a \d \xzz b\"), ["/bin/a", r"\d", r"\xzz", "b\\"]);
        assert_eq!(words("/bin/a 'un"), [""; 0]);
    }

    #[test]
    fn each_escape_stands_for_one_character() {
        let escaped = |text: &str| words(&format!("/bin/a {text}")).remove(1);
        for (text, character) in [
            (r"\a", '\u{7}'),
            (r"\b", '\u{8}'),
            (r"\f", '\u{c}'),
            (r"\n", '\n'),
            (r"\r", '\r'),
            (r"\t", '\t'),
            (r"\v", '\u{b}'),
            (r"\s", ' '),
            (r"\\", '\\'),
            (r#"\""#, '"'),
            (r"\'", '\''),
            (r"\x7e", '~'),
            (r"\u20ac", '€'),
            (r"\U0001f600", '😀'),
            (r"\176", '~'),
        ] {
            assert_eq!(escaped(text), character.to_string(), "{text}");
            assert_eq!(escaped(&format!("{text}z")), format!("{character}z"), "{text}");
        }
        for no_escape in [r"\x00", r"\000", r"\ud800", r"\476", r"\x4", r"\u12", r"\q"] {
            assert_eq!(escaped(no_escape), no_escape);
        }
    }

    #[test]
    fn words_are_separated_by_blanks_and_a_semicolon_needs_one_after_it() {
        assert_eq!(words("/bin/a\tb \n c\rd"), ["/bin/a", "b", "c", "d"]);
        assert_eq!(argvs("/bin/a ;b"), [["/bin/a", ";b"]]);
        assert_eq!(argvs(r"/bin/a \;b"), [["/bin/a", r"\;b"]]);
        assert_eq!(argvs("/bin/a ;\t/bin/b"), [["/bin/a"], ["/bin/b"]]);
    }

    #[test]
    fn a_value_without_a_program_is_none() {
        for value in ["", "  ", "-", "@/bin/a", "@"] {
            assert_eq!(argvs(value), [[""; 0]; 0], "{value}");
        }
    }

    #[test]
    fn no_more_commands_are_read_than_the_bound() {
        let one = "/bin/a ; ".repeat(MAX_COMMANDS + 1);
        assert_eq!(argvs(&one).len(), MAX_COMMANDS);
        let many = vec!["/bin/a".to_owned(); MAX_COMMANDS + 1];
        assert_eq!(commands(&many, str::to_owned).len(), MAX_COMMANDS);
    }

    #[test]
    fn prefixes_are_no_part_of_the_program() {
        let command = |value: &str| commands(&[value.to_owned()], str::to_owned).remove(0);
        assert_eq!(command("-+/bin/a b").prefixes, "-+");
        assert!(command("-+/bin/a b").ignores_failure());
        assert!(!command(":/bin/a $b").has_variables());
        assert_eq!(command("@/bin/kill reload -HUP 1").argv, ["/bin/kill", "-HUP", "1"]);
        assert_eq!(command("@/bin/true name").argv, ["/bin/true"]);
        assert_eq!(command("|kill -HUP 1").argv, ["/bin/sh", "-c", "kill -HUP 1"]);
    }

    #[test]
    fn no_more_words_are_read_than_the_bound() {
        assert_eq!(super::words(&"a ".repeat(MAX_WORDS + 1)).len(), MAX_WORDS);
    }
}
