//! A word of a command, as far as its text tells its value.

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// The value of a variable.
    Variable(String),
    /// What a command writes: its words.
    Output(Vec<Word>),
    /// What can't be told.
    Unknown,
}

/// A word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word(pub Vec<Piece>);

impl Word {
    /// One whose value is known.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(vec![Piece::Text(text.to_owned())])
    }

    /// A word of a unit file: `$NAME` alone, `${NAME}` anywhere, and `$$` for a dollar
    /// (`replace_env_argv` in systemd's src/basic/env-util.c).
    #[must_use]
    pub fn of_unit(word: &str) -> Self {
        if let Some(name) = word.strip_prefix('$')
            && is_name(name)
        {
            return Self(vec![Piece::Variable(name.to_owned())]);
        }
        let mut found = Self::default();
        let mut rest = word;
        while let Some((before, after)) = rest.split_once('$') {
            found.push_text(before);
            if let Some(after) = after.strip_prefix('$') {
                found.push_text("$");
                rest = after;
            } else if let Some((name, after)) =
                after.strip_prefix('{').and_then(|after| after.split_once('}'))
            {
                found.0.push(if is_name(name) {
                    Piece::Variable(name.to_owned())
                } else {
                    Piece::Unknown
                });
                rest = after;
            } else {
                found.push_text("$");
                rest = after;
            }
        }
        found.push_text(rest);
        found
    }

    /// Adds text, to that before it if there is any.
    pub(super) fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(before)) => before.push_str(text),
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }

    /// Its value, if that is known.
    #[must_use]
    pub fn known(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The name of the variable that it is.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Variable(name)] => Some(name),
            _ => None,
        }
    }

    /// What it begins with, as far as that is known.
    #[must_use]
    pub fn start(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// The rest after a text that it begins with.
    #[must_use]
    pub fn strip(&self, start: &str) -> Option<Self> {
        let text = self.start().strip_prefix(start)?;
        let mut rest = Self::text(text);
        rest.0.retain(|piece| *piece != Piece::Text(String::new()));
        rest.0.extend(self.0.iter().skip(1).cloned());
        Some(rest)
    }

    /// As it is written, more or less, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(name) => format!("${name}"),
            Piece::Output(words) => {
                let words: Vec<String> = words.iter().map(Self::shown).collect();
                format!("$({})", words.join(" "))
            }
            Piece::Unknown => "…".to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

/// Whether it can be the name of a variable.
fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_digits_and_underscores_name_a_variable() {
        for name in ["A", "_a1", "MAIN_PID"] {
            assert_eq!(Word::of_unit(&format!("${name}")).variable(), Some(name));
            assert_eq!(Word::of_unit(&format!("${{{name}}}")).variable(), Some(name));
        }
        for name in ["1A", "A-B", "", "ä"] {
            let word = format!("${name}");
            assert_eq!(Word::of_unit(&word).known(), Some(word.as_str()));
            assert_eq!(Word::of_unit(&format!("${{{name}}}")).0, [Piece::Unknown]);
        }
        assert_eq!(Word::of_unit("${A").known(), Some("${A"));
    }

    #[test]
    fn the_value_of_a_word_is_known_where_it_is_text_alone() {
        assert_eq!(Word::default().known(), Some(""));
        assert_eq!(Word::text("a").known(), Some("a"));
        let mixed = Word::of_unit("a${B}c");
        assert_eq!((mixed.known(), mixed.variable(), mixed.start()), (None, None, "a"));
        assert_eq!(mixed.shown(), "a$Bc");
        assert_eq!(mixed.strip("a"), Some(Word::of_unit("${B}c")));
        assert_eq!(mixed.strip("b"), None);
        let output = Word(vec![Piece::Output(vec![Word::text("cat"), Word(vec![Piece::Unknown])])]);
        assert_eq!((output.shown().as_str(), output.start()), ("$(cat …)", ""));
    }

    #[test]
    fn variables_of_a_unit_are_whole_words_or_in_braces() {
        let variable = |name: &str| Piece::Variable(name.to_owned());
        assert_eq!(Word::of_unit("$MAINPID").variable(), Some("MAINPID"));
        assert_eq!(Word::of_unit("${MAINPID}").variable(), Some("MAINPID"));
        assert_eq!(Word::of_unit("-${A}").0, [Piece::Text("-".into()), variable("A")]);
        assert_eq!(Word::of_unit("-$A").known(), Some("-$A"));
        assert_eq!(Word::of_unit("$$(cat x)").known(), Some("$(cat x)"));
        assert_eq!(Word::of_unit("kill $MAINPID").known(), Some("kill $MAINPID"));
    }
}
