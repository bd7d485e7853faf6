//! The overview: a line for each start, those with errors first.

use std::io::{self, Write};

use maud::html;

use super::beginning;
use crate::{
    model::document::{Activation, Document, Service, Severity},
    report::{Sink, headline, paint::Paint, position::Position, survey::Survey},
};

/// The most starts with a line of their own.
const ROWS: usize = 5_000;
/// Columns of a line: it is wrapped anew.
const COLUMNS: usize = 10_000;

/// Writes the beginning of the page.
pub struct Overview<'a> {
    out: &'a mut dyn Write,
    survey: &'a Survey,
    position: Position,
    /// The lines of starts with errors, of those with warnings, and of the others: of each no
    /// more than are written.
    lines: [Vec<String>; 3],
    /// Starts with errors, and with warnings alone.
    alerted: [usize; 2],
}

impl<'a> Overview<'a> {
    /// Writes to `out` what `survey` has looked at before.
    pub fn new(out: &'a mut dyn Write, survey: &'a Survey) -> Self {
        Self {
            out,
            survey,
            position: Position::default(),
            lines: Default::default(),
            alerted: [0; 2],
        }
    }

    /// How many starts there are, and how many of them have alerts.
    fn count(&self) -> String {
        let starts = headline::counted(self.position.starts, "start");
        let count = match self.survey.services() {
            0 | 1 => starts,
            services => format!("{starts} of {services} services"),
        };
        let [errors, warnings] = self.alerted;
        match (errors, warnings) {
            (0, 0) => count + ": no alerts",
            (errors, 0) => count + &format!(": {errors} with errors"),
            (0, warnings) => count + &format!(": {warnings} with warnings"),
            _ => count + &format!(": {errors} with errors, {warnings} with warnings alone"),
        }
    }

    /// The document without its services, once it has been seen.
    pub fn into_document(self) -> Option<Document> {
        self.position.document
    }
}

impl Sink for Overview<'_> {
    fn capture(&mut self, document: &Document) -> io::Result<()> {
        self.position.capture(document);
        self.out.write_all(beginning(document).as_bytes())
    }

    fn service(&mut self, service: &Service) -> io::Result<()> {
        self.position.service(service);
        Ok(())
    }

    fn start(&mut self, start: &Activation) -> io::Result<()> {
        let number = self.position.starts;
        self.position.start();
        let Some(view) = self.position.view(self.survey, start) else { return Ok(()) };
        let worst = start.alerts.iter().map(|alert| alert.severity).max();
        let [errors, warnings, others] = &mut self.lines;
        let (lines, class, word) = match worst {
            Some(Severity::Error) => (errors, "error", "error"),
            Some(Severity::Warning) => (warnings, "warning", "warning"),
            None => (others, "faint", "none"),
        };
        match worst {
            Some(Severity::Error) => self.alerted[0] += 1,
            Some(Severity::Warning) => self.alerted[1] += 1,
            None => {}
        }
        if lines.len() < ROWS {
            let title = headline::title(view, COLUMNS, Paint::Plain).join(" ");
            let row = html! {
                tr { td.(class) { (word) } td { a href={ "#s" (number) } { (title) } } }
            };
            lines.push(row.into_string());
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.position.starts > 0 {
            self.out.write_all(html! { p { (self.count()) } }.into_string().as_bytes())?;
        }
        let table = "<nav aria-label=\"All starts\"><table><thead><tr><th scope=\"col\">alerts</th>\
                     <th scope=\"col\">start</th></tr></thead><tbody>";
        self.out.write_all(table.as_bytes())?;
        for row in self.lines.iter().flatten().take(ROWS) {
            self.out.write_all(row.as_bytes())?;
        }
        if let Some(more) = self.position.starts.checked_sub(ROWS).filter(|more| *more > 0) {
            let row = html! { tr { td {} td { "… and " (more) " more starts" } } };
            self.out.write_all(row.into_string().as_bytes())?;
        }
        self.out.write_all(b"</tbody></table></nav>")
    }
}
