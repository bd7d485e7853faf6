//! The terminal report: a block per activation, then a summary of the capture.

use std::{
    io::{self, Write},
    mem,
};

use super::{
    Style, alerts, events, headline,
    paint::{Ink, Paint},
    position::Position,
    source::Sink,
    strip,
    summary::{self, Alerted},
    survey::Survey,
    text,
    view::View,
};
use crate::model::document::{Activation, Document, Service};

/// Narrower terminals get lines of this width all the same.
const NARROWEST: usize = 60;

/// Writes the report, with a newline at its end.
pub struct Table<'a, W> {
    out: W,
    width: usize,
    paint: Paint,
    survey: &'a Survey,
    position: Position,
    sections: usize,
    alerted: Alerted,
}

impl<'a, W: Write> Table<'a, W> {
    /// Writes to `out` what `survey` has looked at before.
    pub fn new(out: W, style: Style, survey: &'a Survey) -> Self {
        Self {
            out,
            width: usize::from(style.width).max(NARROWEST),
            paint: Paint::colors(style.color),
            survey,
            position: Position::default(),
            sections: 0,
            alerted: Alerted::default(),
        }
    }

    fn section(&mut self, lines: &[String]) -> io::Result<()> {
        if self.sections > 0 {
            let rule = self.paint.ink(Ink::Faint, &"─".repeat(self.width));
            write!(self.out, "\n\n{rule}\n")?;
        }
        self.sections += 1;
        self.out.write_all(lines.join("\n").as_bytes())
    }
}

impl<W: Write> Sink for Table<'_, W> {
    fn capture(&mut self, document: &Document) -> io::Result<()> {
        self.position.capture(document);
        Ok(())
    }

    fn service(&mut self, service: &Service) -> io::Result<()> {
        self.position.service(service);
        Ok(())
    }

    fn start(&mut self, start: &Activation) -> io::Result<()> {
        self.position.start();
        let Some(view) = self.position.view(self.survey, start) else { return Ok(()) };
        let lines = block(view, self.width, self.paint);
        self.alerted.add(view, self.width, self.paint);
        self.section(&lines)
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(document) = self.position.document.take() else { return Ok(()) };
        let (width, paint) = (self.width, self.paint);
        if self.sections == 0 {
            let note = nothing_seen(self.survey);
            let lines: Vec<String> =
                text::wrap(&note, width).iter().map(|line| paint.ink(Ink::Warning, line)).collect();
            self.section(&lines)?;
        }
        let alerted = mem::take(&mut self.alerted);
        self.section(&summary::lines(&document, self.survey, alerted, width, paint))?;
        self.out.write_all(b"\n")
    }
}

fn block(view: View, width: usize, paint: Paint) -> Vec<String> {
    let parts = [
        headline::lines(view, width, paint),
        strip::lines(view, width, paint),
        events::lines(view, width, paint),
        alerts::lines(view, width, paint),
    ];
    let parts = parts.into_iter().filter(|lines| !lines.is_empty());
    parts.reduce(|above, below| [above, vec![String::new()], below].concat()).unwrap_or_default()
}

/// What there is to say of a document without a start.
pub fn nothing_seen(survey: &Survey) -> String {
    if survey.services() == 0 {
        return "Nothing was seen: no service in the scope of this capture was running or started."
            .into();
    }
    format!("Nothing was seen: no start of {}.", survey.names().collect::<Vec<_>>().join(", "))
}
