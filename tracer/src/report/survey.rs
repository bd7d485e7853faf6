//! What the table of one start says of all of them: it takes a look at the whole document first.

use std::{borrow::Cow, io};

use super::{event_row, source::Sink};
use crate::model::document::{Activation, Service, Severity};

/// Names of services that are told where there was no start. The others are counted.
const NAMES: usize = 1_000;

/// What is known of a whole document. It grows by four bytes a service.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The starts of each service.
    starts: Vec<u32>,
    /// The last start of the last one was joined late.
    is_last_late: bool,
    names: Vec<String>,
    /// Starts in all.
    pub all_starts: usize,
    /// Alerts that are errors.
    pub errors: usize,
    /// Alerts that are warnings.
    pub warnings: usize,
    /// Earlier starts that are not in the document.
    pub starts_left_out: u64,
    /// A start was joined late.
    pub has_late_start: bool,
    /// A service was joined late and was not started anew.
    pub has_late_service: bool,
}

impl Survey {
    /// The number of services.
    #[must_use]
    pub fn services(&self) -> usize {
        self.starts.len()
    }

    /// The number of starts of a service, counting from 0.
    #[must_use]
    pub fn starts_of(&self, service: usize) -> usize {
        self.starts.get(service).map_or(0, |starts| *starts as usize)
    }

    /// The services' names, for a document without any start.
    pub fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let more = self.services() - self.names.len();
        let more = (more > 0).then(|| Cow::Owned(format!("{more} more")));
        self.names.iter().map(|name| Cow::Borrowed(name.as_str())).chain(more)
    }
}

impl Sink for Survey {
    fn service(&mut self, service: &Service) -> io::Result<()> {
        self.has_late_service |= self.is_last_late;
        self.is_last_late = false;
        self.starts.push(0);
        self.starts_left_out = self.starts_left_out.saturating_add(service.starts_left_out);
        if self.names.len() < NAMES {
            self.names.push(event_row::quote(&service.name));
        }
        Ok(())
    }

    fn start(&mut self, start: &Activation) -> io::Result<()> {
        self.is_last_late = start.joined_ns.is_some();
        if let Some(starts) = self.starts.last_mut() {
            *starts = starts.saturating_add(1);
        }
        self.all_starts += 1;
        self.has_late_start |= self.is_last_late;
        for alert in &start.alerts {
            match alert.severity {
                Severity::Error => self.errors += 1,
                Severity::Warning => self.warnings += 1,
            }
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.has_late_service |= self.is_last_late;
        Ok(())
    }
}
