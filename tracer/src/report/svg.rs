//! The picture alone: for a bug report, or a README.
//!
//! It fits a page, so it has a few starts, those with the worst alerts first. How high it is
//! stands at its beginning, so they are kept until all have been seen.

use std::io::{self, Write};

use maud::{Markup, PreEscaped, html};

use super::{
    alerts, cut, headline,
    paint::Paint,
    picture::{self, Picture},
    position::Position,
    source::Sink,
    summary::{self, Alerted},
    survey::Survey,
    table, text,
    view::View,
};
use crate::model::document::{Activation, Document, Service, Severity};

/// The most starts in a picture.
const STARTS: usize = 12;
/// The most processes of a start.
const PROCESSES: usize = 10;
/// The most events of a start, beyond the evidence of alerts.
const EVENTS: usize = 60;
/// The most lines of alerts of a start.
const ALERT_LINES: usize = 24;
/// Around everything.
const MARGIN: usize = 20;
/// Height of a line of text.
pub const LINE: usize = 16;
/// Characters of a line of text.
const COLUMNS: usize = 130;
/// Between two starts.
const GAP: usize = 22;

const STYLE: &str = "\
svg{background:var(--paper)}\
.picture .prose{font:12px ui-monospace,monospace;fill:var(--ink);white-space:pre}\
.picture .title{font-weight:bold}\
.picture .prose.faint{fill:var(--faint)}\
.picture .prose.error{fill:var(--error)}\
.picture .prose.warning{fill:var(--warning)}";

/// A start, drawn.
struct Drawn {
    /// The worst of its alerts.
    severity: Option<Severity>,
    title: String,
    markup: Markup,
    height: usize,
}

/// Writes the picture at the end.
pub struct Svg<'a, W> {
    out: W,
    survey: &'a Survey,
    position: Position,
    drawn: Vec<Drawn>,
}

impl<'a, W: Write> Svg<'a, W> {
    /// Writes to `out` what `survey` has looked at before.
    pub fn new(out: W, survey: &'a Survey) -> Self {
        Self { out, survey, position: Position::default(), drawn: Vec::new() }
    }

    /// Makes room for a start with this as its worst alert, if it is one to show.
    fn has_room(&mut self, severity: Option<Severity>) -> bool {
        if self.drawn.len() < STARTS {
            return true;
        }
        // The last of the least.
        let least = self.drawn.iter().enumerate().rev().min_by_key(|(_, drawn)| drawn.severity);
        let Some((index, _)) = least.filter(|(_, drawn)| drawn.severity < severity) else {
            return false;
        };
        self.drawn.remove(index);
        true
    }
}

impl<W: Write> Sink for Svg<'_, W> {
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
        let severity = start.alerts.iter().map(|alert| alert.severity).max();
        if !self.has_room(severity) {
            return Ok(());
        }
        let Some(view) = self.position.view(self.survey, start) else { return Ok(()) };
        self.drawn.push(drawn(view, severity));
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(document) = self.position.document.take() else { return Ok(()) };
        let mut notes = Vec::new();
        if self.drawn.is_empty() {
            notes.extend(text::wrap(&table::nothing_seen(self.survey), COLUMNS));
        }
        let more = self.position.starts - self.drawn.len();
        if more > 0 {
            let starts = headline::counted(more, "more start");
            notes.push(format!("… and {starts}: see --format html"));
        }
        let plain = Paint::Plain;
        notes.extend(summary::lines(&document, self.survey, Alerted::default(), COLUMNS, plain));
        let starts: usize = self.drawn.iter().map(|drawn| drawn.height + GAP).sum();
        let height = starts + notes.len() * LINE;
        let titles: Vec<&str> = self.drawn.iter().map(|drawn| drawn.title.as_str()).collect();
        let mut y = 0;
        let placed: Vec<(usize, &Drawn)> = self
            .drawn
            .iter()
            .map(|drawn| {
                let top = y;
                y += drawn.height + GAP;
                (top, drawn)
            })
            .collect();
        let markup = html! {
            @for (top, drawn) in &placed {
                g transform={ "translate(0 " (top) ")" } { (drawn.markup) }
            }
            g transform={ "translate(0 " (y) ")" } { (prose(&notes, 0, |_| "faint")) }
        };
        let title = "sigready: were services ready for their signals?";
        self.out.write_all(file(title, &titles.join(". "), height, &markup).as_bytes())
    }
}

/// A file with a picture that is so high, and as wide as a start.
pub fn file(title: &str, description: &str, height: usize, drawn: &Markup) -> String {
    let width = 2 * MARGIN + picture::LABELS + picture::PLOT;
    let height = height + 2 * MARGIN;
    let markup = html! {
        svg xmlns="http://www.w3.org/2000/svg" class="picture" role="img"
            aria-labelledby="title description" width=(width) height=(height)
            viewBox={ "0 0 " (width) " " (height) } {
            title id="title" { (title) }
            desc id="description" { (description) }
            style { (PreEscaped(picture::STYLE)) (PreEscaped(STYLE)) }
            (picture::defs())
            rect width="100%" height="100%" fill="var(--paper)" {}
            g transform={ "translate(" (MARGIN) " " (MARGIN) ")" } { (drawn) }
        }
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", markup.into_string())
}

fn drawn(view: View, severity: Option<Severity>) -> Drawn {
    let plain = Paint::Plain;
    let activation = view.activation;
    let evidence = activation.alerts.iter().flat_map(|alert| alert.events.iter().copied());
    let evidence = evidence.filter(|index| *index < activation.events.len()).collect();
    let mut events = cut::shown(activation, &evidence, view.reload());
    events.truncate(EVENTS);
    let picture = Picture::of(view, &events, PROCESSES);

    let titles = headline::title(view, COLUMNS, plain).len();
    let mut above = headline::lines(view, COLUMNS, plain);
    let left_out: Vec<String> =
        [(picture.processes_left_out(), "processes"), (picture.events_left_out, "events")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{what}: {count}"))
            .collect();
    if !left_out.is_empty() {
        above.push(format!("  not in this picture: {}", left_out.join(", ")));
    }
    let mut below = alerts::lines(view, COLUMNS, plain);
    if below.len() > ALERT_LINES {
        below.truncate(ALERT_LINES - 1);
        below.push("… more of this: see --format html".into());
    }

    let classes = classes(&below);
    let top = above.len() * LINE + 6;
    let bottom = top + picture.height() + 10;
    let title = above[..titles].join(" ");
    let markup = html! {
        (prose(&above, 0, |index| if index < titles { "title" } else { "faint" }))
        g transform={ "translate(0 " (top) ")" } {
            (picture::labels(&picture))
            svg x=(picture::LABELS) width=(picture::PLOT) height=(picture.height())
                overflow="visible" { (picture::plot(&picture, None)) }
        }
        (prose(&below, bottom, |index| classes[index]))
    };
    let height = bottom + below.len() * LINE;
    Drawn { severity, title, markup, height }
}

/// The class of each line of alerts: a headline may take several.
fn classes(lines: &[String]) -> Vec<&'static str> {
    let mut class = "";
    lines
        .iter()
        .map(|line| {
            class = match line {
                line if line.starts_with("error[") => "error",
                line if line.starts_with("warning[") => "warning",
                line if line.starts_with("More:") => "faint",
                line if line.is_empty() || line.starts_with("  =") => "",
                _ => class,
            };
            class
        })
        .collect()
}

/// Lines of text from `top` on, each with its class.
pub fn prose(lines: &[String], top: usize, class: impl Fn(usize) -> &'static str) -> Markup {
    html! {
        @for (index, line) in lines.iter().enumerate() {
            text.prose.(class(index)) xml:space="preserve" x="0" y=(top + (index + 1) * LINE - 4) {
                (line)
            }
        }
    }
}
