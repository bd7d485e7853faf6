//! How much of a unit's commands is read.

/// What may still be read of one unit. The parser's time grows with the text, and faster than
/// that with what is nested in it: a unit that goes beyond is not read to its end.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes of shell text.
    text: usize,
    /// Parentheses and backquotes that open in it: what can nest.
    nested: usize,
    /// Other brackets that open.
    brackets: usize,
    /// Simple commands.
    commands: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { text: 16 << 10, nested: 48, brackets: 400, commands: 4_000 }
    }
}

impl Budget {
    /// Takes a script from what is left; false if it is too much.
    pub(super) fn takes_script(&mut self, script: &str) -> bool {
        let count = |opens: &[char]| script.chars().filter(|c| opens.contains(c)).count();
        let (nested, brackets) = (count(&['(', '`']), count(&['{', '[']));
        let fits = script.len() <= self.text && nested <= self.nested && brackets <= self.brackets;
        if fits {
            self.text -= script.len();
            self.nested -= nested;
            self.brackets -= brackets;
        }
        fits
    }

    /// Takes one simple command; false if it is too much.
    pub(super) fn takes_command(&mut self) -> bool {
        self.commands = self.commands.saturating_sub(1);
        self.commands > 0
    }
}
