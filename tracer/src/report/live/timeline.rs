//! The timeline of one service, as far as it has come.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{alerts, events, headline, paint::Paint, strip},
    Live, Shown,
    pen::Pen,
};

/// What is narrower shows a part of it.
const NARROWEST: u16 = 60;

impl Live {
    /// Draws it from a line and a column on, and gives what there is to say below it.
    pub(super) fn draw_timeline(
        &mut self,
        area: Rect,
        buffer: &mut Buffer,
        pen: Pen,
        (top, left): (usize, usize),
    ) -> String {
        let width = usize::from(area.width.max(NARROWEST));
        let lines = self.timeline(width);
        self.page = usize::from(area.height).max(1);
        let top = top.min(lines.len().saturating_sub(self.page));
        let left = left.min(width.saturating_sub(usize::from(area.width)));
        self.shown = Shown::Timeline { top, left };
        for (row, line) in (0..area.height).zip(lines.iter().skip(top)) {
            pen.line_from(buffer, area, row, line, left);
        }
        match lines.len().saturating_sub(top + self.page) {
            0 if top == 0 => String::new(),
            below => format!("{top} lines above, {below} below"),
        }
    }

    /// Its lines, as the report has them.
    fn timeline(&mut self, width: usize) -> Vec<String> {
        let row = self.chosen.and_then(|number| self.rows.get_mut(&number));
        let (Some(frame), Some(row)) = (&self.frame, row) else { return Vec::new() };
        row.go_on(frame, &self.survey);
        let view = row.view(frame, &self.survey);
        let paint = Paint::Marks;
        let has_alerts = !view.activation.alerts.is_empty();
        let parts = [
            headline::lines(view, width, paint),
            strip::lines(view, width, paint),
            events::lines(view, width, paint),
            if has_alerts { alerts::lines(view, width, paint) } else { Vec::new() },
        ];
        let parts = parts.into_iter().filter(|lines| !lines.is_empty());
        parts
            .reduce(|above, below| [above, vec![String::new()], below].concat())
            .unwrap_or_default()
    }
}
