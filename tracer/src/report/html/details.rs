//! The starts: picture, alerts, events.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Write},
};

use maud::{Markup, html};

use crate::{
    model::{
        document::{Activation, Document, Service, Severity},
        event::{Event, What},
    },
    report::{
        Sink, alerts, cut, escape, event_row, headline,
        paint::Paint,
        picture::{self, Picture},
        position::Position,
        survey::Survey,
        time,
        view::View,
    },
};

/// The most that is written of starts, bytes. The others are in the overview alone.
pub(in crate::report) const MAX_BYTES: usize = 24 << 20;
/// Starts with errors that are open at first, and as many with warnings alone.
const OPEN: usize = 8;
/// Events of a start with a line of their own.
const EVENTS: usize = 2_000;
/// Events of a start in its picture; of more, those that matter most.
const MARKS: usize = 300;
/// Processes of a start in its picture.
const PROCESSES: usize = 40;
/// Columns of a line: it is wrapped anew.
const COLUMNS: usize = 10_000;

/// Which starts are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those with errors.
    Errors,
    /// Those with warnings alone.
    Warnings,
    /// Those without alerts.
    WithoutAlerts,
}

impl Which {
    /// In the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Errors, Self::Warnings, Self::WithoutAlerts];

    fn of(start: &Activation) -> Self {
        match start.alerts.iter().map(|alert| alert.severity).max() {
            Some(Severity::Error) => Self::Errors,
            Some(Severity::Warning) => Self::Warnings,
            None => Self::WithoutAlerts,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Errors => "with errors",
            Self::Warnings => "with warnings alone",
            Self::WithoutAlerts => "without alerts",
        }
    }
}

/// Writes starts.
pub struct Details<'a> {
    out: &'a mut dyn Write,
    survey: &'a Survey,
    which: Which,
    position: Position,
    /// Starts told of, these ones alone.
    told: usize,
    left_out: usize,
    written: usize,
}

impl<'a> Details<'a> {
    /// Writes to `out` what `survey` has looked at before; so many bytes have been written of
    /// other starts.
    pub fn new(out: &'a mut dyn Write, survey: &'a Survey, which: Which, written: usize) -> Self {
        Self { out, survey, which, position: Position::default(), told: 0, left_out: 0, written }
    }

    /// Bytes written of starts in all.
    pub fn written(&self) -> usize {
        self.written
    }
}

impl Sink for Details<'_> {
    fn capture(&mut self, document: &Document) -> io::Result<()> {
        self.position.capture(document);
        Ok(())
    }

    fn service(&mut self, service: &Service) -> io::Result<()> {
        self.position.service(service);
        Ok(())
    }

    fn start(&mut self, start: &Activation) -> io::Result<()> {
        let number = self.position.starts;
        self.position.start();
        if self.which != Which::of(start) {
            return Ok(());
        }
        if self.written >= MAX_BYTES {
            self.left_out += 1;
            return Ok(());
        }
        let Some(view) = self.position.view(self.survey, start) else { return Ok(()) };
        let open = self.told < OPEN && self.which != Which::WithoutAlerts
            || self.survey.all_starts <= OPEN;
        let text = block(view, number, open).into_string();
        self.told += 1;
        self.written += text.len();
        self.out.write_all(text.as_bytes())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.left_out == 0 {
            return Ok(());
        }
        let starts = headline::counted(self.left_out, "more start");
        let note = html! {
            p.warning {
                "… and " (starts) " " (self.which.words()) ": there was no room for their details. "
                "They are in --format json."
            }
        };
        self.out.write_all(note.into_string().as_bytes())
    }
}

/// All of one start. `number` counts them in the document.
fn block(view: View, number: usize, open: bool) -> Markup {
    let plain = Paint::Plain;
    let activation = view.activation;
    let evidence: BTreeSet<usize> = activation
        .alerts
        .iter()
        .flat_map(|alert| alert.events.iter().copied())
        .filter(|index| *index < activation.events.len())
        .collect();
    let titles = headline::title(view, COLUMNS, plain);
    let about = headline::lines(view, COLUMNS, plain).split_off(titles.len());
    html! {
        details.start id={ "s" (number) } open[open] {
            summary { h2 { (titles.join(" ")) } }
            p.about { (about.join(" ").trim()) }
            (figure(view, number, &evidence))
            (alerts_of(view, number))
            (events(view, number, &evidence))
        }
    }
}

fn figure(view: View, number: usize, evidence: &BTreeSet<usize>) -> Markup {
    let count = view.activation.events.len();
    let events = if count <= MARKS {
        (0..count).collect()
    } else {
        cut::shown(view.activation, evidence, view.reload())
    };
    let picture = Picture::of(view, &events, PROCESSES);
    let link = |event: usize| format!("#s{number}e{event}");
    let mut name = format!("Timeline of {}", event_row::quote(&view.service.name));
    if view.starts > 1 {
        let _ = write!(name, ", start {}", view.index + 1);
    }
    let left_out =
        [(picture.events_left_out, "events"), (picture.processes_left_out(), "processes")];
    html! {
        div.figure {
            svg.picture width=(picture::LABELS) height=(picture.height()) aria-hidden="true" {
                (picture::labels(&picture))
            }
            div.scroll tabindex="0" role="region" aria-label=(name) {
                svg.picture.plot height=(picture.height()) role="group" aria-label=(name) {
                    (picture::plot(&picture, Some(&link)))
                }
            }
        }
        @for (count, what) in left_out.into_iter().filter(|(count, _)| *count > 0) {
            p.about { (count) " more " (what) " are not in the picture." }
        }
    }
}

fn alerts_of(view: View, number: usize) -> Markup {
    let activation = view.activation;
    if activation.alerts.is_empty() {
        let lines = alerts::lines(view, COLUMNS, Paint::Plain);
        return html! { @for line in lines { p { (line) } } };
    }
    html! {
        @for alert in &activation.alerts {
            article.alert.(match alert.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            }) {
                h3 {
                    (alert.severity) "[" (escape(&alert.id)) "] at " (time::span(alert.at_ns))
                }
                p { (escape(&alert.message)) }
                dl {
                    @for (name, text) in [("consequence", &alert.consequence), ("mend", &alert.mend)] {
                        dt { (name) }
                        // The text may have lines of its own.
                        dd { (text.split('\n').map(escape).collect::<Vec<_>>().join("\n")) }
                    }
                    @let evidence = alert.events.iter().filter_map(|index| {
                        activation.events.get(*index).map(|event| (index, event))
                    });
                    @if evidence.clone().next().is_some() {
                        dt { "evidence" }
                        dd {
                            @for (index, event) in evidence {
                                a href={ "#s" (number) "e" (index) } { (time::span(event.at_ns)) } " "
                            }
                        }
                    }
                }
            }
        }
    }
}

fn events(view: View, number: usize, evidence: &BTreeSet<usize>) -> Markup {
    let activation = view.activation;
    let count = activation.events.len();
    let is_shown = |index: &usize| *index < EVENTS || evidence.contains(index);
    let shown: Vec<usize> = (0..count).filter(is_shown).collect();
    let more = count - shown.len();
    let furthest = activation.events.iter().map(|event| event.at_ns.unsigned_abs()).max();
    let scale = time::Scale::for_times(furthest.unwrap_or(0));
    html! {
        details open[count <= 60] {
            summary { "Events: " (count) }
            table {
                thead {
                    tr {
                        th scope="col" { "evidence" }
                        th scope="col" { "time/" (scale.unit()) }
                        th scope="col" { "process" }
                        th scope="col" { "what" }
                    }
                }
                tbody {
                    @for index in shown {
                        @let event = &activation.events[index];
                        @let row = event_row::row(event, activation, view.reload());
                        tr.(kind(event)) id={ "s" (number) "e" (index) } {
                            td { @if evidence.contains(&index) { "►" } }
                            td.time { (scale.format(event.at_ns)) }
                            td { (row.process) }
                            td.(row.ink.class()) { (row.what) }
                        }
                    }
                }
            }
            @if more > 0 { p.warning { (more) " more events are not here: see --format json." } }
            @if activation.omitted > 0 {
                p.warning { (activation.omitted) " events were left out of the capture." }
            }
        }
    }
}

/// What the page calls a sort of events.
fn kind(event: &Event) -> &'static str {
    match event.what {
        What::Fork { .. } | What::Exec { .. } | What::Exit { .. } => "process",
        What::Signal(_) => "signal",
        What::Disposition { .. } | What::Mask { .. } => "disposition",
        What::Notify(_) => "notify",
        What::Systemd { .. } => "systemd",
        What::Cgroup { .. } | What::Loss { .. } => "other",
    }
}
