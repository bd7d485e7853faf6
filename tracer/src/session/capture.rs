//! A capture from its first observation to the document. Everything that a timeline's builder
//! is asked for is asked for here.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::unistd::gethostname;

use super::{
    Pace,
    again::{Again, Way},
    intake::{Flow, Intake},
};
use crate::{
    host::{
        bounded::{Bounded, Patience},
        clock, procfs,
    },
    model::{
        document::{
            self, Activation, Document, EndedBy, Fallback, Host, SCHEMA, Service, Severity, Tool,
            WallTime,
        },
        signal::Signal,
    },
    observation::{Anchor, Observation, ProcessId},
    probe::{attach::Attached, backend::Backend, stream::Stream},
    rules,
    timeline::{self, Builder, Progress, counted},
};

/// How long the ring may take to be emptied at the end. What is left then is counted.
const LAST_RECORDS: Duration = Duration::from_millis(600);
/// How long the processes that still run may take to be looked at, at the end.
const LAST_LOOK: Patience =
    Patience { each: Duration::from_millis(20), all: Duration::from_millis(300) };
/// How often it is looked how far the capture has come.
const PROGRESS: Duration = Duration::from_millis(100);
/// How often alerts are looked for in what has changed.
const ALERTS: Duration = Duration::from_millis(100);
/// Processes that are looked at in one go, for what became of signals that wait for them.
const MAX_LOOKS: usize = 256;
/// How long that may take.
const LOOK: Patience = Patience { each: Duration::from_millis(20), all: Duration::from_millis(40) };

/// What was asked for.
pub struct Asked {
    /// `run` or `trace`.
    pub command: &'static str,
    /// Its arguments, for the record.
    pub arguments: Vec<String>,
    /// The reload signal.
    pub signal: Signal,
}

/// What was captured so far, and how.
pub struct Record {
    asked: Asked,
    host: Host,
    builder: Builder,
    anchor: Anchor,
    backend: Backend,
    fallbacks: Vec<Fallback>,
}

/// What is new in a capture.
pub struct News {
    /// The document as of now, with the services that have changed and the starts of them that
    /// have, judged.
    pub document: Document,
    /// What else is known of each of these.
    pub places: Vec<Position>,
    /// The numbers of all services there are, if some have given way to others since.
    pub left: Option<BTreeSet<u64>>,
}

/// Where a service stands among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its number, in order of first appearance.
    pub number: u64,
    /// How many starts of it there have been.
    pub starts: usize,
    /// Whether the last that is told of it is its last one.
    pub has_last: bool,
}

/// What a capture that is over has captured.
pub struct Captured {
    record: Record,
    /// When it ended, `CLOCK_BOOTTIME` ns.
    at: u64,
}

impl Captured {
    /// The document, judged.
    #[must_use]
    pub fn document(&self, ended_by: EndedBy) -> Document {
        self.record.document(ended_by, self.at)
    }
}

/// A running capture.
pub struct Capture {
    record: Record,
    stream: Stream,
    /// Services whose units were given out.
    services: usize,
    intake: Intake,
    progress: Progress,
    progress_pace: Pace,
    alerts_pace: Pace,
    /// Whether there is anything new since alerts were looked for.
    has_news: bool,
    again: Again,
    /// Services that had been left out when news were told.
    left_out: u64,
    /// How processes stand.
    looks: Bounded<ProcessId, Option<Observation>>,
}

impl Capture {
    /// Begins with an attached kernel side.
    pub fn begin(
        asked: Asked,
        builder: Builder,
        attached: &mut Attached,
        anchor: Anchor,
        systemd_hierarchy: Option<u32>,
    ) -> Result<Self> {
        for missing in &attached.missing {
            log::warn!("this kernel has no {missing}: {} can't be seen", missing.cost());
        }
        let tells_commands = builder.main_choice().is_some();
        let stream = Stream::open(attached, systemd_hierarchy, tells_commands)?;
        Ok(Self::of_stream(asked, builder, stream, attached, anchor))
    }

    /// Begins with the stream of an attached kernel side, which another capture may have had
    /// before.
    pub fn of_stream(
        asked: Asked,
        builder: Builder,
        stream: Stream,
        attached: &Attached,
        anchor: Anchor,
    ) -> Self {
        Self {
            stream,
            record: Record {
                asked,
                host: host(),
                builder,
                anchor,
                backend: attached.backend,
                fallbacks: attached.fallbacks.clone(),
            },
            services: 0,
            intake: Intake::default(),
            progress: Progress::default(),
            progress_pace: Pace::new(PROGRESS),
            alerts_pace: Pace::new(ALERTS),
            has_news: false,
            again: Again::default(),
            left_out: 0,
            looks: Bounded::new("sigready-proc", procfs::left),
        }
    }

    /// Adds the processes that were found in /proc.
    pub fn observe_found(&mut self, mut found: Vec<Observation>) {
        if self.record.builder.main_choice().is_some() {
            let commands = self.stream.commands(&found);
            found.extend(commands);
        }
        self.observe(found);
    }

    /// Says which process was started as the command, before anything is taken in.
    pub fn set_command(&mut self, pid: u32) {
        self.record.builder.set_command(pid);
    }

    /// Adds what was found outside of the kernel's stream.
    pub fn observe(&mut self, observations: impl IntoIterator<Item = Observation>) {
        for observation in observations {
            self.has_news = true;
            self.record.builder.observe(observation);
        }
    }

    /// Waits for records, `patience` at most. Can be dropped and called again.
    pub async fn wait(&mut self, patience: Duration) -> Result<()> {
        self.stream.wait(patience).await
    }

    /// Takes in what has come, until `limit` at most; `learn` is shown each first. Tells
    /// whether there is more.
    pub fn take(&mut self, limit: Instant, learn: impl FnMut(&Observation)) -> Result<bool> {
        let Self { record, stream, has_news, intake, .. } = self;
        let mut ring = Ring { record, stream, has_news, learn, end: None, read_at: 0 };
        let has_more = intake.take(&mut ring, limit)?;
        let read_at = ring.read_at;
        self.record.judge_final();
        if !has_more {
            self.record.builder.advance(read_at);
        }
        Ok(has_more)
    }

    /// How far it has come, as of a moment ago.
    pub fn progress(&mut self) -> Progress {
        let began = Instant::now();
        if self.progress_pace.is_due(began) {
            self.progress = self.record.builder.progress();
            self.progress_pace.done(began, Instant::now());
        }
        self.progress
    }

    /// The units seen since the last call: name and cgroup of each.
    pub fn new_units(&mut self) -> Vec<(String, String)> {
        let (units, services) = self.record.builder.units_after(self.services);
        self.services = services;
        units
    }

    /// What is new since the last call, judged; nothing where that was a moment ago.
    pub fn news(&mut self, way: Way) -> Option<News> {
        let began = Instant::now();
        if !self.alerts_pace.is_due(began) {
            return None;
        }
        let numbers = self.again.due(way, self.record.builder.next(), began);
        if !mem::take(&mut self.has_news) && numbers.is_empty() {
            return None;
        }
        // What became of signals that wait shows in /proc.
        let mut awaited = self.record.builder.awaited();
        awaited.truncate(MAX_LOOKS);
        let looked = self.looks.ask(&awaited, LOOK);
        for observation in looked.into_iter().flatten().flatten() {
            self.record.builder.observe(observation);
        }
        let (document, places) = self.record.news(&numbers);
        let left_out = document.capture.services_left_out;
        let has_left = mem::replace(&mut self.left_out, left_out) != left_out;
        let left = has_left.then(|| self.record.builder.numbers().collect());
        let now = Instant::now();
        self.alerts_pace.done(began, now);
        if !numbers.is_empty() && way == Way::All {
            self.again.all_told(began, now);
        }
        Some(News { document, places, left })
    }

    /// The worst alert of what is new and counts.
    #[must_use]
    pub fn worst(&self, news: &News) -> Option<Severity> {
        worst(counted(self.record.builder.counting(), &news.document.services))
    }

    /// Takes in what happened until now, and looks at the processes that still run; `learn` is
    /// shown each record first. The time that takes is bounded. Gives what was captured, and the
    /// stream.
    pub fn end(mut self, mut learn: impl FnMut(&Observation)) -> Result<(Captured, Stream)> {
        self.stream.wait_for_programs();
        self.rest(&mut learn)?;
        self.record.builder.end();
        let mut live = self.record.builder.live();
        procfs::waiting_last(&mut live, |id| id.pid);
        let left = self.looks.ask(&live, LAST_LOOK);
        self.observe(left.into_iter().flatten().flatten());
        // What happened until /proc was read.
        self.rest(&mut learn)?;
        let skipped = self.stream.skipped();
        self.observe(skipped);
        self.record.builder.end();
        let Self { record, stream, .. } = self;
        Ok((Captured { record, at: clock::boot_ns() }, stream))
    }

    /// What was in the ring when this was called.
    fn rest(&mut self, learn: &mut impl FnMut(&Observation)) -> Result<()> {
        let end = clock::boot_ns();
        let limit = Instant::now() + LAST_RECORDS;
        let Self { record, stream, has_news, intake, .. } = self;
        let mut ring = Ring { record, stream, has_news, learn, end: Some(end), read_at: end };
        intake.take(&mut ring, limit)?;
        let rest = self.intake.rest();
        self.observe(rest);
        let losses = self.stream.rest(end)?;
        self.observe(losses);
        Ok(())
    }
}

/// The kernel side's ring, and the builder that what is in it goes to.
struct Ring<'a, L> {
    record: &'a mut Record,
    stream: &'a mut Stream,
    has_news: &'a mut bool,
    /// Is shown what is read.
    learn: L,
    /// What was written later is not read (`CLOCK_BOOTTIME` ns).
    end: Option<u64>,
    /// When it was read the last time (the same clock).
    read_at: u64,
}

impl<L: FnMut(&Observation)> Flow for Ring<'_, L> {
    fn read(&mut self, most: usize, into: &mut VecDeque<Observation>) -> Result<bool> {
        self.read_at = clock::boot_ns();
        let has_more = if let Some(end) = self.end {
            self.stream.take_until(most, end, into)?
        } else {
            self.record.judge_final();
            self.stream.take(most, into)?
        };
        into.iter().for_each(&mut self.learn);
        Ok(has_more)
    }

    fn take(&mut self, observation: Observation) {
        *self.has_news = true;
        self.record.builder.observe(observation);
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

impl Record {
    /// The document as of `now` (`CLOCK_BOOTTIME` ns), judged.
    #[must_use]
    pub fn document(&self, ended_by: EndedBy, now: u64) -> Document {
        let mut document = self.frame(ended_by, now);
        document.services = self.builder.services(now);
        let services = || document.services.iter();
        let is_whole = |start: &Activation| {
            start.joined_ns.is_none() && start.omitted == 0 && start.unfollowed == 0
        };
        document.capture.complete = document.capture.lost == 0
            && document.capture.services_left_out == 0
            && services().all(|service| service.starts_left_out == 0)
            && services().flat_map(|service| &service.activations).all(is_whole);
        rules::judge(&mut document);
        document
    }

    /// What has changed since the last call, and the services with these numbers, judged.
    fn news(&mut self, again: &Range<u64>) -> (Document, Vec<Position>) {
        let now = clock::boot_ns();
        let mut document = self.frame(EndedBy::Until, now);
        let mut places = Vec::new();
        for told in self.builder.news(now, again) {
            let timeline::News { number, starts, has_last, service } = told;
            places.push(Position { number, starts, has_last });
            document.services.push(service);
        }
        rules::judge(&mut document);
        (document, places)
    }

    /// Judges the starts that nothing will become of any more.
    fn judge_final(&mut self) {
        if self.builder.has_unjudged() {
            let mut document = self.frame(EndedBy::Until, clock::boot_ns());
            self.builder.judge_final(|service| {
                document.services = vec![service];
                rules::judge(&mut document);
                worst(document.services.iter())
            });
        }
    }

    /// The document without its services.
    fn frame(&self, ended_by: EndedBy, now: u64) -> Document {
        let losses = self.builder.losses();
        Document {
            schema: SCHEMA.to_owned(),
            tool: Tool {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            host: self.host.clone(),
            capture: document::Capture {
                command: self.asked.command.to_owned(),
                arguments: self.asked.arguments.clone(),
                backend: self.backend.name().to_owned(),
                fallbacks: self.fallbacks.clone(),
                signal: self.asked.signal,
                settle_ns: Some(self.builder.settle_ns()),
                started_at: WallTime(self.anchor.wall),
                duration_ns: now.saturating_sub(self.anchor.boot_ns),
                ended_by,
                events: self.builder.events(),
                lost: losses.values().sum(),
                losses,
                services_left_out: self.builder.services_left_out(),
                complete: true,
                main: self.builder.main_choice(),
                untested: Vec::new(),
            },
            services: Vec::new(),
        }
    }
}

/// The worst alert of these services.
fn worst<'a>(services: impl Iterator<Item = &'a Service>) -> Option<Severity> {
    let starts = services.flat_map(|service| &service.activations);
    starts.flat_map(|start| &start.alerts).map(|alert| alert.severity).max()
}

/// The machine this runs on.
#[must_use]
pub fn host() -> Host {
    let name = gethostname().map(|name| name.to_string_lossy().into_owned());
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    Host {
        hostname: name.unwrap_or_default(),
        kernel: nix::sys::utsname::uname()
            .map(|uname| uname.release().to_string_lossy().into_owned())
            .unwrap_or_default(),
        boot_id: boot_id.map(|id| id.trim().to_owned()),
    }
}
