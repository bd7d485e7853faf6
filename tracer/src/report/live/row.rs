//! What is shown of one service: its last start.

use super::super::{
    event_row, headline,
    paint::Ink,
    span::signals,
    strip::{fate_word, ink_of},
    survey::Survey,
    time,
    view::View,
};
use crate::model::document::{Activation, Document, Milestones, OutcomeState, Service, Severity};

/// One service.
pub struct Row {
    /// The service, without its starts.
    pub service: Service,
    /// How many starts of it there have been.
    pub starts: usize,
    /// The last one.
    start: Activation,
    /// Its exposures that had not ended when it was told.
    open: Vec<usize>,
    /// Its last signal to the main process.
    pub signal: (String, Ink),
    /// Its last alert.
    pub alert: (String, Ink),
    /// When its last event was, ns since 1970.
    pub latest: i128,
}

impl Row {
    /// Of a service whose last start was told with `frame`.
    pub fn new(
        frame: &Document,
        survey: &Survey,
        service: Service,
        starts: usize,
        start: Activation,
    ) -> Self {
        let last = start.events.last().map_or(0, |event| event.at_ns);
        let latest = start.started_at.0.as_nanosecond() + i128::from(last);
        let mut row = Self {
            signal: signal(&start),
            alert: alert(&start),
            latest,
            open: Vec::new(),
            service,
            starts,
            start,
        };
        if row.start.outcome.state == OutcomeState::Running {
            let end = row.view(frame, survey).end();
            // Times of the capture are saved to the microsecond.
            let is_open = |to_ns: i64| to_ns >= end - 1_000;
            let exposures = row.start.exposure.iter().enumerate();
            row.open =
                exposures.filter(|(_, it)| is_open(it.to_ns)).map(|(index, _)| index).collect();
        }
        row
    }

    /// The same start, with what is known of its service now.
    pub fn of_service(self, service: Service, starts: usize) -> Self {
        Self { service, starts, ..self }
    }

    /// All it takes to tell of the start.
    pub fn view<'a>(&'a self, document: &'a Document, survey: &'a Survey) -> View<'a> {
        View {
            document,
            survey,
            service: &self.service,
            starts: self.starts,
            index: self.starts.saturating_sub(1),
            activation: &self.start,
        }
    }

    /// What had not ended goes on until now.
    pub fn go_on(&mut self, frame: &Document, survey: &Survey) {
        let end = self.view(frame, survey).end();
        for index in &self.open {
            let exposure = &mut self.start.exposure[*index];
            exposure.to_ns = exposure.to_ns.max(end);
        }
    }

    /// Its name, with the number of its starts.
    pub fn name(&self) -> String {
        let name = event_row::quote(&self.service.name);
        if self.starts > 1 { format!("{name} ×{}", self.starts) } else { name }
    }

    /// How much there is to be said against it: the worst alert, and how many.
    pub fn alerts(&self) -> (Option<Severity>, usize) {
        let alerts = &self.start.alerts;
        (alerts.iter().map(|alert| alert.severity).max(), alerts.len())
    }
}

/// How a start stands, in a word or two.
pub fn state(view: View) -> (String, Ink) {
    let Activation { outcome, milestones, main_process, systemd, .. } = view.activation;
    if main_process.is_none() {
        return ("no main process".into(), Ink::Warning);
    }
    match outcome.state {
        OutcomeState::Killed => {
            let by = outcome.signal.map(|signal| format!(" by {signal}")).unwrap_or_default();
            return (format!("killed{by}"), Ink::Error);
        }
        OutcomeState::Exited => {
            let code = outcome.code.unwrap_or(0);
            return (format!("exited {code}"), if code == 0 { Ink::Plain } else { Ink::Error });
        }
        OutcomeState::Running => {}
    }
    if systemd.as_ref().is_some_and(|state| state.active_state == "deactivating") {
        return ("stopping".into(), Ink::Plain);
    }
    let Milestones { ready_ns, handler_ns, .. } = *milestones;
    match (ready_ns, handler_ns) {
        _ if view.joined_late() => ("ran before".into(), Ink::Plain),
        (Some(ready), _) => (format!("ready {}", time::span(ready)), Ink::Good),
        (None, _) if view.awaited().is_some() => ("not ready".into(), Ink::Warning),
        (None, Some(handler)) => {
            (format!("takes {} {}", view.reload(), time::span(handler)), Ink::Good)
        }
        (None, None) => ("running".into(), Ink::Plain),
    }
}

/// The last signal to the main process.
fn signal(start: &Activation) -> (String, Ink) {
    match signals(start).last() {
        Some((_, sent)) => (format!("{} {}", sent.signal, fate_word(sent.fate)), ink_of(sent.fate)),
        None => (String::new(), Ink::Plain),
    }
}

/// The last alert, and how many more there are.
fn alert(start: &Activation) -> (String, Ink) {
    let Some(last) = start.alerts.last() else { return (String::new(), Ink::Plain) };
    let more = start.alerts.len() - 1;
    let more = if more > 0 { format!(" +{more}") } else { String::new() };
    (format!("{}{more}", event_row::quote(&last.id)), headline::ink(last.severity))
}
