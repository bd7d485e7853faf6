//! Colours, or none.

use owo_colors::{OwoColorize as _, Style};

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ink {
    /// As it is.
    #[default]
    Plain,
    /// What names a block.
    Title,
    /// What matters less.
    Faint,
    /// As it should be.
    Good,
    /// A warning.
    Warning,
    /// An error, or a death.
    Error,
}

impl Ink {
    /// The class that the styles of pictures and pages know it by.
    pub fn class(self) -> &'static str {
        match self {
            Self::Plain | Self::Title => "plain",
            Self::Faint => "faint",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// What marks it.
    fn letter(self) -> char {
        match self {
            Self::Plain => 'p',
            Self::Title => 't',
            Self::Faint => 'f',
            Self::Good => 'g',
            Self::Warning => 'w',
            Self::Error => 'e',
        }
    }

    fn of_letter(letter: char) -> Self {
        match letter {
            't' => Self::Title,
            'f' => Self::Faint,
            'g' => Self::Good,
            'w' => Self::Warning,
            'e' => Self::Error,
            _ => Self::Plain,
        }
    }
}

/// How inks are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Not at all.
    Plain,
    /// As a terminal's colours.
    Colors,
    /// As marks that [`pieces`] reads again.
    Marks,
}

/// What is in an ink stands between its letter, after this, and [`END`]. Text from outside has
/// neither, as it is escaped.
const BEGIN: char = '\x0e';
const END: char = '\x0f';

impl Paint {
    /// In colours if they are wanted.
    pub fn colors(wanted: bool) -> Self {
        if wanted { Self::Colors } else { Self::Plain }
    }

    /// `text` in its colour.
    pub fn ink(self, ink: Ink, text: &str) -> String {
        if self == Self::Marks {
            return format!("{BEGIN}{}{text}{END}", ink.letter());
        }
        let style = match ink {
            Ink::Plain => Style::new(),
            Ink::Title => Style::new().bold(),
            Ink::Faint => Style::new().dimmed(),
            Ink::Good => Style::new().green(),
            Ink::Warning => Style::new().yellow(),
            Ink::Error => Style::new().red().bold(),
        };
        if self == Self::Colors && !style.is_plain() && !text.is_empty() {
            text.style(style).to_string()
        } else {
            text.to_owned()
        }
    }
}

/// The pieces of a line that was painted with marks.
pub fn pieces(line: &str) -> impl Iterator<Item = (Ink, &str)> {
    line.split(END).flat_map(|part| {
        let (plain, marked) = part.split_once(BEGIN).unwrap_or((part, ""));
        let mut rest = marked.chars();
        let ink = rest.next().map_or(Ink::Plain, Ink::of_letter);
        [(Ink::Plain, plain), (ink, rest.as_str())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_marks_is_read_as_it_was_painted() {
        let inks = [Ink::Title, Ink::Faint, Ink::Good, Ink::Warning, Ink::Error, Ink::Plain];
        for ink in inks {
            let line = format!("a {} b", Paint::Marks.ink(ink, "text"));
            let read: Vec<_> = pieces(&line).filter(|(_, text)| !text.is_empty()).collect();
            assert_eq!(read, [(Ink::Plain, "a "), (ink, "text"), (Ink::Plain, " b")]);
        }
        assert_eq!(pieces("").filter(|(_, text)| !text.is_empty()).count(), 0);
    }
}
