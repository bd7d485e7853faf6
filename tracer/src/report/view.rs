//! One activation, with all it takes to tell of it.

use super::survey::Survey;
use crate::model::{
    document::{Activation, Document, Service, ServiceKind},
    signal::Signal,
    unit::UnitFacts,
};

/// An activation in its service and document.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The document, without its services.
    pub document: &'a Document,
    /// What there is to know of the whole document.
    pub survey: &'a Survey,
    /// The service, without its starts.
    pub service: &'a Service,
    /// How many starts it has.
    pub starts: usize,
    /// Index of the activation in the service.
    pub index: usize,
    /// The activation.
    pub activation: &'a Activation,
}

impl View<'_> {
    /// The reload signal.
    pub fn reload(self) -> Signal {
        self.service.signal.unwrap_or(self.document.capture.signal)
    }

    /// Whether its unit has a reload; `None` where that is unknown, or it is no unit.
    pub fn has_reload(self) -> Option<bool> {
        let unit = self.service.unit.as_ref().filter(|_| self.service.kind == ServiceKind::Unit)?;
        unit.has_reload()
    }

    /// Whether its unit's reload is known to send a signal.
    pub fn reloads_by_signal(self) -> bool {
        self.service.unit.as_ref().is_some_and(|unit| unit.reload_signal.is_some())
    }

    /// What is known to make the service ready: READY=1, or its bus name.
    pub fn awaited(self) -> Option<&'static str> {
        self.service.unit.as_ref().and_then(UnitFacts::awaited)
    }

    /// Whether its name on the message bus makes it ready.
    pub fn is_by_name(self) -> bool {
        self.service.unit.as_ref().is_some_and(UnitFacts::is_dbus)
    }

    /// Whether it was already running when the capture began.
    pub fn joined_late(self) -> bool {
        self.activation.joined_ns.is_some()
    }

    /// The end of the capture on the activation's timeline. Wall-clock times are saved
    /// to the microsecond, so nothing finer may show here.
    pub fn end(self) -> i64 {
        let capture = &self.document.capture;
        let micros = |time: jiff::Timestamp| i128::from(time.as_microsecond());
        let began = micros(capture.started_at.0) - micros(self.activation.started_at.0);
        let end = began * 1_000 + i128::from(capture.duration_ns);
        i64::try_from(end.max(0)).unwrap_or(i64::MAX)
    }
}
