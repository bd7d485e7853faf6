//! The list: a line for each service.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{
    super::{
        paint::{Ink, Paint},
        strip, text,
    },
    Live,
    pen::Pen,
    row,
};

/// What the line of the chosen service begins with, and the others.
const CHOSEN: &str = "▶ ";
const OTHER: &str = "  ";

/// How wide the columns are; 0 is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Columns {
    name: usize,
    bar: usize,
    state: usize,
    signal: usize,
    alert: usize,
}

/// The widest name.
const NAME: usize = 32;
const STATE: usize = 16;
const SIGNAL: usize = 14;
const ALERT: usize = 26;
/// A shorter one is left out.
const LEAST_ALERT: usize = 12;
/// Bars that are shorter give way to nothing.
const BAR: usize = 8;

impl Columns {
    /// For so many columns. What matters less gives way first.
    fn of(width: usize, longest: usize) -> Self {
        let width = width.saturating_sub(OTHER.len());
        let name = longest.clamp(7, NAME).min((width * 2 / 5).max(7)).min(width);
        let mut columns = Self { name, ..Self::default() };
        let mut rest = width - name;
        let mut take = |wanted: usize, least_bar: usize| {
            if rest > wanted + least_bar + 1 {
                rest -= wanted + 1;
                wanted
            } else {
                0
            }
        };
        columns.state = take(STATE, BAR);
        // A part of its name tells more than none.
        let alert = (width - name).saturating_sub(columns.state + BAR + 7).min(ALERT);
        columns.alert = take(if alert < LEAST_ALERT { ALERT } else { alert }, BAR + 3);
        columns.signal = if columns.alert == ALERT { take(SIGNAL, 2 * BAR) } else { 0 };
        columns.bar = rest.saturating_sub(1);
        columns
    }
}

impl Live {
    /// Draws it, and gives what there is to say below it.
    pub(super) fn draw_list(&mut self, area: Rect, buffer: &mut Buffer, pen: Pen) -> String {
        let [head, body] = {
            let head = u16::from(area.height > 1);
            let below = Rect { y: area.y + head, height: area.height - head, ..area };
            [Rect { height: head, ..area }, below]
        };
        let numbers = self.numbers();
        let names: Vec<String> = numbers.iter().map(|number| self.rows[number].name()).collect();
        let longest = names.iter().map(|name| text::width(name)).max().unwrap_or(0);
        let columns = Columns::of(usize::from(area.width), longest);
        let titles = [
            (columns.name, "service"),
            (columns.bar, "a reload would"),
            (columns.state, "state"),
            (columns.signal, "last signal"),
            (columns.alert, "last alert"),
        ];
        let titles = titles.iter().filter(|(width, _)| *width > 0);
        let titles: Vec<String> =
            titles.map(|(width, title)| text::pad(&text::clip(title, *width), *width)).collect();
        let titles = format!("{OTHER}{}", titles.join(" "));
        pen.line(buffer, head, 0, &Paint::Marks.ink(Ink::Faint, &titles));

        self.page = usize::from(body.height).max(1);
        let chosen = numbers.iter().position(|number| Some(*number) == self.chosen);
        let last = numbers.len().saturating_sub(self.page);
        self.top = match chosen {
            Some(at) if at < self.top => at,
            Some(at) if at >= self.top + self.page => at + 1 - self.page,
            _ => self.top,
        };
        self.top = self.top.min(last);
        let shown = numbers.iter().zip(&names).enumerate().skip(self.top).take(self.page);
        for (line, (at, (number, name))) in (0..).zip(shown) {
            let is_chosen = chosen == Some(at);
            self.draw_row(*number, name, is_chosen, columns, body, line, buffer, pen);
        }
        if numbers.is_empty() {
            let nothing = Paint::Marks.ink(Ink::Faint, "  nothing has started yet");
            pen.line(buffer, body, 0, &nothing);
        }
        let mut more = String::new();
        if numbers.len() > self.page {
            let below = numbers.len() - self.page - self.top;
            more = format!("{} above, {below} below   ", self.top);
        }
        let legend = strip::legend(usize::from(area.width).saturating_sub(more.len()));
        more + &legend
    }

    #[allow(clippy::too_many_arguments, reason = "where and what")]
    fn draw_row(
        &mut self,
        number: u64,
        name: &str,
        is_chosen: bool,
        columns: Columns,
        area: Rect,
        line: u16,
        buffer: &mut Buffer,
        pen: Pen,
    ) {
        let (Some(frame), Some(row)) = (&self.frame, self.rows.get_mut(&number)) else { return };
        row.go_on(frame, &self.survey);
        let row = &self.rows[&number];
        let Some(view) = self.view(row) else { return };
        let mut text = if is_chosen { CHOSEN } else { OTHER }.to_owned();
        add(&mut text, columns.name, name, Ink::Plain);
        if columns.bar > 0 {
            let bar = strip::bar(view, columns.bar);
            let rest = columns.bar.saturating_sub(bar.len());
            for run in bar.chunk_by(|a, b| a.1 == b.1) {
                let glyphs: String = run.iter().map(|(glyph, _)| glyph).collect();
                text.push_str(&Paint::Marks.ink(run[0].1, &glyphs));
            }
            text.push_str(&" ".repeat(rest + 1));
        }
        let (state, ink) = row::state(view);
        add(&mut text, columns.state, &state, ink);
        add(&mut text, columns.signal, &row.signal.0, row.signal.1);
        add(&mut text, columns.alert, &row.alert.0, row.alert.1);
        pen.line(buffer, area, line, &text);
        if is_chosen {
            let all = Rect { y: area.y + line, height: 1, ..area };
            buffer.set_style(all, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

/// Adds a column's text to a line, with a blank behind it.
fn add(line: &mut String, width: usize, content: &str, ink: Ink) {
    if width > 0 {
        let content = text::pad(&text::clip(content, width), width);
        line.push_str(&Paint::Marks.ink(ink, &content));
        line.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_and_the_last_signal_gives_way_first_then_the_alert_then_the_state() {
        for (width, longest) in (0..250).flat_map(|width| [5, 20, 60].map(|name| (width, name))) {
            let it = Columns::of(width, longest);
            let all = [it.name, it.bar, it.state, it.signal, it.alert];
            let used: usize =
                all.iter().filter(|column| **column > 0).map(|column| column + 1).sum();
            assert!(used <= (width.saturating_sub(OTHER.len()) + 1).max(1), "{width}: {it:?}");
            assert!(it.signal == 0 || it.alert == ALERT, "{width}: {it:?}");
            assert!(it.alert == 0 || it.state > 0, "{width}: {it:?}");
        }
    }

    #[test]
    fn a_terminal_of_80_columns_shows_the_alert_whatever_the_names() {
        for longest in [5, 20, 60] {
            let columns = Columns::of(80, longest);
            assert!(columns.alert >= LEAST_ALERT && columns.bar >= BAR, "{columns:?}");
        }
    }
}
