//! What a shell takes away from its words: quotes and backslashes.

use super::word::Word;

/// Quotes that go on from one part of a word to the next.
#[derive(Default)]
pub(super) struct Quotes {
    is_double: bool,
}

impl Quotes {
    /// Adds text as a script has it to `word`, as the shell takes it.
    pub(super) fn take(&mut self, raw: &str, word: &mut Word) {
        let mut text = String::new();
        let mut rest = raw.chars();
        while let Some(c) = rest.next() {
            match c {
                '"' => self.is_double = !self.is_double,
                '\'' if !self.is_double => text.extend(rest.by_ref().take_while(|c| *c != '\'')),
                '\\' => match rest.next() {
                    Some('\n') => {}
                    Some(c) if self.is_double && !"$`\"\\".contains(c) => text.extend(['\\', c]),
                    Some(c) => text.push(c),
                    None => text.push('\\'),
                },
                c => text.push(c),
            }
        }
        word.push_text(&text);
    }
}
