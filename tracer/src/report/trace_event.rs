//! Trace events, the JSON that Perfetto's and Chromium's viewers open: processes as tracks,
//! their programs as slices, signals as flows from who sent them to whom.
//!
//! Each start has a track of its own besides, with what the reload signal would have done,
//! systemd's states and the phases. One event a line, so that nothing is kept but the service.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    mem,
};

use serde_json::{Value, json};

use super::{
    event_row, harm, harm::Harm, position::Position, source::Sink, span::Span, survey::Survey,
    view::View,
};
use crate::model::{
    document::{Activation, Document, Service},
    event::{Event, ProcessRef, What},
    span,
};

/// Numbers of processes that stand for starts: no process has such a pid (`PID_MAX_LIMIT` in
/// include/linux/threads.h).
const STARTS: usize = 1 << 22;
/// Rows of processes whose own has another with the same pid at that time.
const OTHERS: u32 = 1 << 23;
/// Rows of a start.
const SYSTEMD: u32 = 1;
const PHASES: u32 = 2;
/// The first of those that say what the reload signal would have done.
const EXPOSURE: u32 = 3;

/// Writes trace events.
pub struct Events<W> {
    out: W,
    position: Position,
    survey: Survey,
    flows: usize,
    events: usize,
    /// From when to when each pid has its row, in nanoseconds since the capture began.
    taken: HashMap<u32, (i128, i128)>,
    /// Rows beside those.
    others: u32,
}

/// Which row each process of a start has, by its pid, where that is not its number.
type Rows = BTreeMap<u32, u32>;

/// A program that a process ran.
struct Life {
    pid: u32,
    from: i64,
    to: i64,
    name: String,
}

/// One slice or moment: where it is, and how long.
struct Slice<'a> {
    pid: usize,
    tid: u32,
    from: i64,
    to: i64,
    name: &'a str,
    category: &'a str,
    arguments: Value,
}

impl<'a> Slice<'a> {
    /// A moment of a process, in its row.
    fn at(
        at: i64,
        (pid, tid): (u32, u32),
        name: &'a str,
        category: &'a str,
        arguments: &Value,
    ) -> Self {
        let arguments = arguments.clone();
        Self { pid: pid as usize, tid, from: at, to: at, name, category, arguments }
    }
}

impl<W: Write> Events<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            position: Position::default(),
            survey: Survey::default(),
            flows: 0,
            events: 0,
            taken: HashMap::new(),
            others: 0,
        }
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.out.write_all(if self.events == 0 { b"\n" } else { b",\n" })?;
        self.events += 1;
        self.out.write_all(super::escape::json(&event.to_string()).as_bytes())
    }

    /// Names a process or a row. An empty name would be an error to the trace processor.
    fn name(&mut self, what: &str, pid: usize, tid: u32, name: &str) -> io::Result<()> {
        let name = event_row::quote(name);
        if name.is_empty() {
            return Ok(());
        }
        self.event(
            &json!({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}),
        )
    }

    fn slice(&mut self, zero: i128, slice: &Slice, flow: Option<(&str, usize)>) -> io::Result<()> {
        let from = Moment::of(zero, slice.from);
        let to = Moment::of(zero, slice.to.max(slice.from));
        let mut event = json!({
            "ph": "X",
            "pid": slice.pid,
            "tid": slice.tid,
            "ts": micros(from.ns),
            "dur": micros(to.ns - from.ns),
            "name": slice.name,
            "cat": slice.category,
            "args": from.told_in(&slice.arguments),
        });
        if let Some((direction, id)) = flow {
            event["bind_id"] = format!("{id:#x}").into();
            event[direction] = true.into();
        }
        self.event(&event)
    }

    fn moment(&mut self, zero: i128, slice: &Slice) -> io::Result<()> {
        let at = Moment::of(zero, slice.from);
        self.event(&json!({
            "ph": "i",
            "s": "t",
            "pid": slice.pid,
            "tid": slice.tid,
            "ts": micros(at.ns),
            "name": slice.name,
            "cat": slice.category,
            "args": at.told_in(&slice.arguments),
        }))
    }

    /// What is told of the start as a whole.
    fn story(&mut self, zero: i128, track: usize, view: View) -> io::Result<()> {
        let activation = view.activation;
        let span = Span::of(activation, view.end());
        // A row for each harm: slices of a row may not overlap.
        let parts = harm::parts(activation, &span);
        let mut rows: Vec<Harm> = Vec::new();
        for (harm, from, to) in parts.iter().filter(|(harm, ..)| *harm != Harm::Safe) {
            let name = harm.legend(view.is_by_name());
            let tid = EXPOSURE + *harm as u32;
            if !rows.contains(harm) {
                rows.push(*harm);
                self.name("thread_name", track, tid, &format!("{} would {name}", view.reload()))?;
            }
            let slice = Slice {
                pid: track,
                tid,
                from: *from,
                to: *to,
                name,
                category: "exposure",
                arguments: json!({}),
            };
            self.slice(zero, &slice, None)?;
        }
        self.states(zero, track, activation, span.to)?;
        self.phases(zero, track, activation, span)
    }

    /// systemd's states, each until the next.
    fn states(
        &mut self,
        zero: i128,
        track: usize,
        activation: &Activation,
        end: i64,
    ) -> io::Result<()> {
        let states: Vec<(i64, String, &Option<String>)> = activation
            .events
            .iter()
            .filter_map(|event| match &event.what {
                What::Systemd { state, sub_state, result, .. } => {
                    let detail = sub_state.as_deref().unwrap_or_default();
                    let name = event_row::quote(&format!("{state} ({detail})"));
                    Some((event.at_ns, name, result))
                }
                _ => None,
            })
            .collect();
        if !states.is_empty() {
            self.name("thread_name", track, SYSTEMD, "systemd")?;
        }
        for (index, (from, name, result)) in states.iter().enumerate() {
            let to = states.get(index + 1).map_or(end.max(*from), |(next, ..)| *next);
            let result = result.as_deref().map(event_row::quote);
            let slice = Slice {
                pid: track,
                tid: SYSTEMD,
                from: *from,
                to,
                name,
                category: "systemd",
                arguments: json!({"result": result}),
            };
            self.slice(zero, &slice, None)?;
        }
        Ok(())
    }

    /// From the exec to the handler, and from there to READY=1.
    fn phases(
        &mut self,
        zero: i128,
        track: usize,
        activation: &Activation,
        span: Span,
    ) -> io::Result<()> {
        let milestones = &activation.milestones;
        let Some(exec) = milestones.exec_ns else { return Ok(()) };
        self.name("thread_name", track, PHASES, "phases")?;
        let mut steps = vec![("before its handler", exec)];
        steps.extend(milestones.handler_ns.map(|at| ("with its handler", at)));
        steps.extend(milestones.ready_ns.map(|at| ("ready", at)));
        steps.sort_by_key(|(_, at)| *at);
        for (index, (name, from)) in steps.iter().enumerate() {
            let to = steps.get(index + 1).map_or(span.to.max(*from), |(_, next)| *next);
            let slice = Slice {
                pid: track,
                tid: PHASES,
                from: *from,
                to,
                name,
                category: "phase",
                arguments: json!({}),
            };
            self.slice(zero, &slice, None)?;
        }
        Ok(())
    }

    /// The rows of these lives. Slices of a row may not overlap, and two starts at a time can have
    /// a process of the same pid where the end of one was not seen.
    fn rows(&mut self, zero: i128, lives: &[Life]) -> Rows {
        let mut spans: BTreeMap<u32, (i128, i128)> = BTreeMap::new();
        for life in lives {
            let [from, to] = [life.from, life.to].map(|at| Moment::of(zero, at).ns);
            let span = spans.entry(life.pid).or_insert((from, to));
            *span = (span.0.min(from), span.1.max(to));
        }
        let mut rows = Rows::new();
        for (pid, (from, to)) in spans {
            let taken = self.taken.entry(pid).or_insert((from, from));
            if from < taken.1 && taken.0 < to {
                rows.insert(pid, OTHERS + self.others);
                self.others += 1;
            } else {
                *taken = (taken.0.min(from), taken.1.max(to));
            }
        }
        rows
    }

    /// What happened in a process.
    fn happening(&mut self, zero: i128, event: &Event, view: View, rows: &Rows) -> io::Result<()> {
        let words = event_row::row(event, view.activation, view.reload()).what;
        let at = event.at_ns;
        let arguments = json!({"what": words});
        let row = |pid: u32| (pid, rows.get(&pid).copied().unwrap_or(pid));
        match &event.what {
            What::Signal(sent) => {
                self.flows += 1;
                let flow = self.flows;
                let target = event_row::process(&sent.target);
                if let Some(sender) = &sent.sender {
                    let name = format!("send {} to {target}", sent.signal);
                    let sending = Slice::at(at, row(sender.pid), &name, "signal", &arguments);
                    self.slice(zero, &sending, Some(("flow_out", flow)))?;
                }
                let name = format!("{} {}", sent.signal, super::strip::fate_word(sent.fate));
                // Signals that wait overlap each other: when they were taken is in the words.
                let taken = Slice::at(at, row(sent.target.pid), &name, "signal", &arguments);
                let flow = sent.sender.as_ref().map(|_| ("flow_in", flow));
                self.slice(zero, &taken, flow)
            }
            What::Disposition { process, .. } | What::Mask { process, .. } => self
                .moment(zero, &Slice::at(at, row(process.pid), &words, "disposition", &arguments)),
            What::Notify(message) => self.moment(
                zero,
                &Slice::at(at, row(message.sender.pid), &words, "notify", &arguments),
            ),
            What::Exit { process, .. } => {
                self.moment(zero, &Slice::at(at, row(process.pid), &words, "process", &arguments))
            }
            // They are slices, or say nothing of a process.
            What::Fork { .. }
            | What::Exec { .. }
            | What::Cgroup { .. }
            | What::Systemd { .. }
            | What::Loss { .. } => Ok(()),
        }
    }
}

/// Each process from its first event to its end, program by program.
fn lives(activation: &Activation, end: i64) -> Vec<Life> {
    let mut open: BTreeMap<u32, (i64, String)> = BTreeMap::new();
    let mut over = Vec::new();
    for event in &activation.events {
        let (process, name) = match &event.what {
            What::Fork { process, .. } => (process, Some(process.comm.to_string())),
            What::Exec { process, exe, filename, .. } => {
                let program = filename.as_deref().or(exe.as_deref()).unwrap_or(&process.comm);
                (process, Some(program.to_owned()))
            }
            What::Exit { process, .. } => (process, None),
            _ => continue,
        };
        // It has ended, a program takes over from the one before, or another process had its
        // pid, whose end was not seen.
        if let Some((from, name)) = open.remove(&process.pid) {
            over.push(Life { pid: process.pid, from, to: event.at_ns, name });
        }
        if let Some(name) = name {
            open.insert(process.pid, (event.at_ns, name));
        }
    }
    let open = open.into_iter();
    over.extend(open.map(|(pid, (from, name))| Life { pid, from, to: end.max(from), name }));
    over
}

/// The processes of a start by pid, each with its last name and its unit: that of the service, or
/// what is known of who only sent something.
fn processes<'a>(
    activation: &'a Activation,
    service: &'a str,
) -> BTreeMap<u32, (&'a ProcessRef, Option<&'a str>)> {
    let mut processes = BTreeMap::new();
    let mut senders = BTreeMap::new();
    for event in &activation.events {
        let process = match &event.what {
            What::Fork { process, .. }
            | What::Exec { process, .. }
            | What::Exit { process, .. }
            | What::Disposition { process, .. }
            | What::Mask { process, .. } => process,
            What::Signal(sent) => {
                if let Some(sender) = &sent.sender {
                    senders.insert(sender.pid, (&sender.process, sender.unit.as_deref()));
                }
                &sent.target
            }
            What::Notify(message) => &message.sender,
            What::Cgroup { .. } | What::Systemd { .. } | What::Loss { .. } => continue,
        };
        processes.insert(process.pid, (process, Some(service)));
    }
    for (pid, sender) in senders {
        processes.entry(pid).or_insert(sender);
    }
    processes
}

/// A moment as it is told: the trace processor drops what came before zero.
#[derive(Clone, Copy)]
struct Moment {
    /// Nanoseconds since the capture began, at least 0.
    ns: i128,
    /// How long before the capture it was.
    before: u64,
}

impl Moment {
    /// A moment of a start that began at `zero`, nanoseconds since the capture began.
    fn of(zero: i128, at: i64) -> Self {
        let ns = zero + i128::from(at);
        Self { ns: ns.max(0), before: u64::try_from(-ns).unwrap_or(0) }
    }

    /// The arguments of what begins then.
    fn told_in(self, arguments: &Value) -> Value {
        let mut arguments = arguments.clone();
        if self.before > 0 {
            let before = format!("{} before the capture", span::length(self.before));
            arguments["began"] = before.into();
        }
        arguments
    }
}

/// In microseconds: with three decimals, which are exact for a hundred days.
fn micros(ns: i128) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 ns, a hundred days")]
    let ns = ns as f64;
    ns / 1_000.0
}

impl<W: Write> Sink for Events<W> {
    fn capture(&mut self, document: &Document) -> io::Result<()> {
        self.position.capture(document);
        self.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")
    }

    fn service(&mut self, service: &Service) -> io::Result<()> {
        self.position.service(service);
        Ok(())
    }

    fn start(&mut self, start: &Activation) -> io::Result<()> {
        self.position.start();
        // Until all of the start is written.
        let (position, survey) = (mem::take(&mut self.position), mem::take(&mut self.survey));
        let Some(view) = position.view(&survey, start) else {
            (self.position, self.survey) = (position, survey);
            return Ok(());
        };
        let (document, service) = (view.document, view.service);
        let began = document.capture.started_at.0;
        // Wall-clock times are saved to the microsecond.
        let zero = i128::from(start.started_at.0.as_microsecond() - began.as_microsecond()) * 1_000;
        let track = STARTS + position.starts;
        let name = format!("{}, start {}", service.name, view.index + 1);
        self.name("process_name", track, 0, &name)?;
        let lives = lives(start, view.end());
        let rows = self.rows(zero, &lives);
        for (pid, (process, unit)) in processes(start, &service.name) {
            let name = match unit {
                Some(unit) => format!("{} [{unit}]", process.comm),
                None => process.comm.to_string(),
            };
            self.name("process_name", pid as usize, pid, &name)?;
            let row = rows.get(&pid).copied().unwrap_or(pid);
            self.name("thread_name", pid as usize, row, &process.comm)?;
        }
        self.story(zero, track, view)?;
        for life in &lives {
            let name = event_row::quote(&life.name);
            let slice = Slice {
                pid: life.pid as usize,
                tid: rows.get(&life.pid).copied().unwrap_or(life.pid),
                from: life.from,
                to: life.to,
                name: &name,
                category: "process",
                arguments: json!({}),
            };
            self.slice(zero, &slice, None)?;
        }
        for event in &start.events {
            self.happening(zero, event, view, &rows)?;
        }
        for alert in &start.alerts {
            let name = event_row::quote(&alert.id);
            let slice = Slice {
                pid: track,
                tid: PHASES,
                from: alert.at_ns,
                to: alert.at_ns,
                name: &name,
                category: "alert",
                arguments: json!({
                    "severity": alert.severity.to_string(),
                    "message": alert.message,
                    "consequence": alert.consequence,
                    "mend": alert.mend,
                }),
            };
            self.moment(zero, &slice)?;
        }
        (self.position, self.survey) = (position, survey);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n]}\n")
    }
}
