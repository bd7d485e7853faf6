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
}

/// Applies colours if they are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Whether they are.
    pub color: bool,
}

impl Paint {
    /// `text` in its colour.
    pub fn ink(self, ink: Ink, text: &str) -> String {
        let style = match ink {
            Ink::Plain => Style::new(),
            Ink::Title => Style::new().bold(),
            Ink::Faint => Style::new().dimmed(),
            Ink::Good => Style::new().green(),
            Ink::Warning => Style::new().yellow(),
            Ink::Error => Style::new().red().bold(),
        };
        if self.color && !style.is_plain() && !text.is_empty() {
            text.style(style).to_string()
        } else {
            text.to_owned()
        }
    }
}
