//! The document as JSON Lines, one [`Record`] a line.
//!
//! The lines say how they nest by index, come in the order of the document, and
//! end with a record that counts them, so that a cut stream is recognised.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{escape, source::Sink};
use crate::model::{
    document::{
        Activation, Alert, Capture, Document, Exposure, Host, LeftOut, Milestones, Owner,
        ProcessOutcome, SCHEMA, Service, ServiceKind, Tool, WallTime,
    },
    event::{Event, ProcessRef},
    signal::Signal,
    unit::{UnitFacts, UnitState},
};

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record<'a> {
    /// The first: what wrote it, where and how.
    Capture(Box<CaptureRecord<'a>>),
    /// A service; its activations follow.
    Service(Box<ServiceRecord<'a>>),
    /// A start of the last service; its events and alerts follow.
    Activation(Box<ActivationRecord<'a>>),
    /// An event of the last activation.
    Event(EventRecord<'a>),
    /// An alert of the last activation.
    Alert(AlertRecord<'a>),
    /// The last: how many records of each sort came before.
    End(Counts),
}

impl Record<'_> {
    /// The value of `record`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Capture(_) => "capture",
            Self::Service(_) => "service",
            Self::Activation(_) => "activation",
            Self::Event(_) => "event",
            Self::Alert(_) => "alert",
            Self::End(_) => "end",
        }
    }
}

/// A document without its services.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaptureRecord<'a> {
    /// Always `sigready/timeline/v1`.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: Cow<'a, str>,
    /// What wrote it.
    pub tool: Cow<'a, Tool>,
    /// Where it was captured.
    pub host: Cow<'a, Host>,
    /// How it was captured, and how complete it is.
    pub capture: Cow<'a, Capture>,
}

/// A service without its activations.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRecord<'a> {
    /// Index of this service.
    pub service: usize,
    /// See `Service`.
    pub name: Cow<'a, str>,
    /// See `Service`.
    pub kind: ServiceKind,
    /// See `Service`.
    pub cgroup: Option<Cow<'a, str>>,
    /// See `Service`.
    pub unit: Option<Cow<'a, UnitFacts>>,
    /// See `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_problem: Option<Cow<'a, str>>,
    /// See `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// See `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// See `Service`; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_left_out: Option<u64>,
}

/// An activation without its events and alerts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ActivationRecord<'a> {
    /// Index of its service.
    pub service: usize,
    /// Index of this activation in its service.
    pub activation: usize,
    /// See `Activation`.
    pub main_process: Option<Cow<'a, ProcessRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<Cow<'a, ProcessRef>>,
    /// See `Activation`.
    pub started_at: WallTime,
    /// See `Activation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<Cow<'a, str>>,
    /// See `Activation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_ns: Option<i64>,
    /// See `Activation`.
    pub milestones: Milestones,
    /// See `Activation`.
    pub exposure: Cow<'a, [Exposure]>,
    /// See `Activation`; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<u64>,
    /// See `Activation`; absent for none.
    #[serde(default, skip_serializing_if = "<[LeftOut]>::is_empty")]
    pub left_out: Cow<'a, [LeftOut]>,
    /// See `Activation`; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfollowed: Option<u64>,
    /// See `Activation`.
    pub outcome: Cow<'a, ProcessOutcome>,
    /// See `Activation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<Cow<'a, UnitState>>,
}

/// An event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventRecord<'a> {
    /// Index of its service.
    pub service: usize,
    /// Index of its activation in the service.
    pub activation: usize,
    /// Index of this event in the activation: what an alert's `events` name.
    pub event: usize,
    /// The event.
    #[serde(flatten)]
    pub body: Cow<'a, Event>,
}

/// An alert.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AlertRecord<'a> {
    /// Index of its service.
    pub service: usize,
    /// Index of its activation in the service.
    pub activation: usize,
    /// Index of this alert in the activation.
    pub alert: usize,
    /// The alert.
    #[serde(flatten)]
    pub body: Cow<'a, Alert>,
}

/// How many records of each sort there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// `service` records.
    pub services: usize,
    /// `activation` records.
    pub activations: usize,
    /// `event` records.
    pub events: usize,
    /// `alert` records.
    pub alerts: usize,
}

/// Writes one line per record, each with its newline.
pub struct Lines<W> {
    out: W,
    counts: Counts,
    /// Starts of the last service.
    starts: usize,
}

impl<W: Write> Lines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, counts: Counts::default(), starts: 0 }
    }

    fn push(&mut self, record: &Record) -> io::Result<()> {
        let line = serde_json::to_string(record)
            .expect("a record has string keys and no type of its own that can fail");
        self.out.write_all(escape::json(&line).as_bytes())?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> Sink for Lines<W> {
    fn capture(&mut self, document: &Document) -> io::Result<()> {
        // Taken apart without `..`: a field that is added can't be forgotten here.
        let Document { schema, tool, host, capture, services: _ } = document;
        self.push(&Record::Capture(Box::new(CaptureRecord {
            schema: Cow::Borrowed(schema),
            tool: Cow::Borrowed(tool),
            host: Cow::Borrowed(host),
            capture: Cow::Borrowed(capture),
        })))
    }

    fn service(&mut self, body: &Service) -> io::Result<()> {
        let service = self.counts.services;
        self.counts.services += 1;
        self.starts = 0;
        let Service {
            name,
            kind,
            cgroup,
            unit,
            unit_problem,
            owner,
            signal,
            starts_left_out,
            activations: _,
        } = body;
        self.push(&Record::Service(Box::new(ServiceRecord {
            service,
            name: Cow::Borrowed(name),
            kind: *kind,
            cgroup: cgroup.as_deref().map(Cow::Borrowed),
            unit: unit.as_ref().map(Cow::Borrowed),
            unit_problem: unit_problem.as_deref().map(Cow::Borrowed),
            owner: *owner,
            signal: *signal,
            starts_left_out: Some(*starts_left_out).filter(|count| *count > 0),
        })))
    }

    fn start(&mut self, body: &Activation) -> io::Result<()> {
        let service = self.counts.services.saturating_sub(1);
        let activation = self.starts;
        self.starts += 1;
        self.counts.activations += 1;
        self.counts.events += body.events.len();
        self.counts.alerts += body.alerts.len();
        let Activation {
            main_process,
            supervisor,
            started_at,
            invocation_id,
            joined_ns,
            milestones,
            exposure,
            events,
            omitted,
            left_out,
            unfollowed,
            alerts,
            outcome,
            systemd,
        } = body;
        self.push(&Record::Activation(Box::new(ActivationRecord {
            service,
            activation,
            main_process: main_process.as_ref().map(Cow::Borrowed),
            supervisor: supervisor.as_ref().map(Cow::Borrowed),
            started_at: *started_at,
            invocation_id: invocation_id.as_deref().map(Cow::Borrowed),
            joined_ns: *joined_ns,
            milestones: *milestones,
            exposure: Cow::Borrowed(exposure),
            omitted: Some(*omitted).filter(|omitted| *omitted > 0),
            left_out: Cow::Borrowed(left_out),
            unfollowed: Some(*unfollowed).filter(|count| *count > 0),
            outcome: Cow::Borrowed(outcome),
            systemd: systemd.as_ref().map(Cow::Borrowed),
        })))?;
        for (event, body) in events.iter().enumerate() {
            let body = Cow::Borrowed(body);
            self.push(&Record::Event(EventRecord { service, activation, event, body }))?;
        }
        for (alert, body) in alerts.iter().enumerate() {
            let body = Cow::Borrowed(body);
            self.push(&Record::Alert(AlertRecord { service, activation, alert, body }))?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let counts = self.counts;
        self.push(&Record::End(counts))
    }
}

impl CaptureRecord<'_> {
    /// The document, with no service yet.
    pub fn into_document(self) -> Document {
        Document {
            schema: self.schema.into_owned(),
            tool: self.tool.into_owned(),
            host: self.host.into_owned(),
            capture: self.capture.into_owned(),
            services: Vec::new(),
        }
    }
}

impl ServiceRecord<'_> {
    /// The service, with no activation yet.
    pub fn into_service(self) -> Service {
        Service {
            name: self.name.into_owned(),
            kind: self.kind,
            cgroup: self.cgroup.map(Cow::into_owned),
            unit: self.unit.map(Cow::into_owned),
            unit_problem: self.unit_problem.map(Cow::into_owned),
            owner: self.owner,
            signal: self.signal,
            starts_left_out: self.starts_left_out.unwrap_or(0),
            activations: Vec::new(),
        }
    }
}

impl ActivationRecord<'_> {
    /// The activation, with no event and no alert yet.
    pub fn into_activation(self) -> Activation {
        Activation {
            main_process: self.main_process.map(Cow::into_owned),
            supervisor: self.supervisor.map(Cow::into_owned),
            started_at: self.started_at,
            invocation_id: self.invocation_id.map(Cow::into_owned),
            joined_ns: self.joined_ns,
            milestones: self.milestones,
            exposure: self.exposure.into_owned(),
            events: Vec::new(),
            omitted: self.omitted.unwrap_or(0),
            left_out: self.left_out.into_owned(),
            unfollowed: self.unfollowed.unwrap_or(0),
            alerts: Vec::new(),
            outcome: self.outcome.into_owned(),
            systemd: self.systemd.map(Cow::into_owned),
        }
    }
}
