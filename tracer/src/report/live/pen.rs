//! Writes painted lines on a screen.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};

use crate::report::paint::{Ink, pieces};

/// Writes with colours or without.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    pub color: bool,
}

impl Pen {
    /// Writes a line that is painted with marks on a row of an area, as far as it fits. Gives
    /// the column behind it.
    pub fn line(self, buffer: &mut Buffer, area: Rect, row: u16, line: &str) -> u16 {
        self.line_from(buffer, area, row, line, 0)
    }

    /// The same without its first columns.
    pub fn line_from(
        self,
        buffer: &mut Buffer,
        area: Rect,
        row: u16,
        line: &str,
        skipped: usize,
    ) -> u16 {
        let mut x = area.x;
        if row >= area.height {
            return x;
        }
        let mut skipped = skipped;
        for (ink, text) in pieces(line) {
            let text = without(text, &mut skipped);
            let room = usize::from(area.right().saturating_sub(x));
            if room > 0 && !text.is_empty() {
                (x, _) = buffer.set_stringn(x, area.y + row, text, room, self.style(ink));
            }
        }
        x
    }

    /// How an ink looks.
    pub fn style(self, ink: Ink) -> Style {
        let style = Style::new();
        let (color, modifier) = match ink {
            Ink::Plain => return style,
            Ink::Title => return style.add_modifier(Modifier::BOLD),
            Ink::Faint => return style.add_modifier(Modifier::DIM),
            Ink::Good => (Color::Green, Modifier::empty()),
            Ink::Warning => (Color::Yellow, Modifier::empty()),
            Ink::Error => (Color::Red, Modifier::BOLD),
        };
        let style = style.add_modifier(modifier);
        if self.color { style.fg(color) } else { style }
    }
}

/// A text without as many columns as are to be skipped.
fn without<'a>(text: &'a str, skipped: &mut usize) -> &'a str {
    use unicode_width::UnicodeWidthChar as _;
    let mut rest = text.chars();
    while *skipped > 0 {
        match rest.next() {
            Some(c) => *skipped = skipped.saturating_sub(c.width().unwrap_or(0)),
            None => return "",
        }
    }
    rest.as_str()
}
