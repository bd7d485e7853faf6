//! How much of a unit's commands is read.

/// How deep programs may stand in others.
pub(super) const MAX_DEPTH: usize = 6;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_is_taken_from_what_is_left() {
        let mut text = Budget::default();
        assert!(text.takes_script(&"a".repeat(10 << 10)));
        assert!(!text.takes_script(&"a".repeat((6 << 10) + 1)));
        assert!(text.takes_script(&"a".repeat(6 << 10)), "what was refused costs nothing");
        assert!(!text.takes_script("a"));

        let mut nested = Budget::default();
        assert!(nested.takes_script(&"(`".repeat(15)));
        assert!(!nested.takes_script(&"(".repeat(19)));
        assert!(nested.takes_script(&"`".repeat(18)));
        assert!(!nested.takes_script("("));
        assert!(nested.takes_script("{["), "brackets are counted apart");

        let mut brackets = Budget::default();
        assert!(brackets.takes_script(&"{[".repeat(100)));
        assert!(!brackets.takes_script(&"[".repeat(201)));
        assert!(brackets.takes_script(&"{".repeat(200)));
        assert!(!brackets.takes_script("[") && brackets.takes_script("("));
    }

    #[test]
    fn commands_are_counted() {
        let mut budget = Budget::default();
        let taken = (0..10_000).take_while(|_| budget.takes_command()).count();
        assert_eq!(taken, 3_999);
        assert!(!budget.takes_command());
    }
}
