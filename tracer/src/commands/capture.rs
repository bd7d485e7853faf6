//! A capture from its first observation to the judged document.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::unistd::gethostname;
use sigready::{
    host::{clock, procfs},
    model::{
        document::{Capture as Facts, Document, EndedBy, Fallback, Host, SCHEMA, Tool, WallTime},
        signal::Signal,
    },
    observation::Observation,
    probe::{
        attach::{Attached, Reach, Request},
        backend::{Backend, Wanted},
        stream::Stream,
    },
    rules,
    timeline::{Anchor, Builder, FreshMain, Progress, counting::counted},
};
use tracer_common::{
    config::MAX_DISPOSITIONS,
    signal::{MAX_SIGNAL, SignalSet},
};

use super::fault::Fault;
use crate::cli::{FailOn, Signals};

/// What was asked for.
pub struct Asked {
    /// `run` or `trace`.
    pub command: &'static str,
    /// Its arguments, for the record.
    pub arguments: Vec<String>,
    /// The reload signal.
    pub signal: Signal,
}

/// A running capture.
pub struct Capture {
    asked: Asked,
    builder: Builder,
    stream: Stream,
    anchor: Anchor,
    backend: Backend,
    fallbacks: Vec<Fallback>,
    /// Services whose units were given out.
    services: usize,
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
        Ok(Self {
            asked,
            builder,
            stream: Stream::open(attached, systemd_hierarchy)?,
            anchor,
            backend: attached.backend,
            fallbacks: attached.fallbacks.clone(),
            services: 0,
        })
    }

    /// Adds what was found outside of the kernel's stream.
    pub fn observe(&mut self, observations: impl IntoIterator<Item = Observation>) {
        for observation in observations {
            self.builder.observe(observation);
        }
    }

    /// Waits at most `patience` for news, takes it in, and returns it.
    pub async fn advance(&mut self, patience: Duration) -> Result<Vec<Observation>> {
        let news = self.stream.next(patience).await?;
        self.observe(news.iter().cloned());
        self.builder.advance(clock::boot_ns());
        Ok(news)
    }

    /// How far it has come.
    pub fn progress(&mut self) -> Progress {
        self.builder.progress()
    }

    /// The main processes of units whose starts began during the capture, with the signal
    /// that a reload sends each.
    pub fn fresh_mains(&self) -> Vec<FreshMain> {
        self.builder.fresh_mains()
    }

    /// The units seen since the last call: name and cgroup of each.
    pub fn new_units(&mut self) -> Vec<(String, String)> {
        let (units, services) = self.builder.units_after(self.services);
        self.services = services;
        units
    }

    /// Whether an alert that counts is there already, of a service that does. Judges everything anew, so it is
    /// for every now and then.
    pub fn has_alert(&self, fail_on: FailOn) -> bool {
        let document = self.document(EndedBy::Until);
        counted(self.builder.counts(), &document.services)
            .flat_map(|service| &service.activations)
            .flat_map(|activation| &activation.alerts)
            .any(|alert| fail_on.includes(alert.severity))
    }

    /// Takes in what is left, looks at the processes that still run, and judges.
    pub fn end(mut self, ended_by: EndedBy) -> Result<Document> {
        let rest = self.stream.rest()?;
        self.observe(rest);
        let left: Vec<Observation> =
            self.builder.live().into_iter().filter_map(procfs::left).collect();
        self.observe(left);
        // What happened until /proc was read.
        let rest = self.stream.rest()?;
        self.observe(rest);
        self.observe(self.stream.skipped());
        Ok(self.document(ended_by))
    }

    fn document(&self, ended_by: EndedBy) -> Document {
        let now = clock::boot_ns();
        let losses = self.builder.losses();
        let lost = losses.values().sum();
        let services = self.builder.services(now);
        let joined_late = services
            .iter()
            .flat_map(|service| &service.activations)
            .any(|activation| activation.joined_ns.is_some());
        let mut document = Document {
            schema: SCHEMA.to_owned(),
            tool: Tool {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            host: host(),
            capture: Facts {
                command: self.asked.command.to_owned(),
                arguments: self.asked.arguments.clone(),
                backend: self.backend.name().to_owned(),
                fallbacks: self.fallbacks.clone(),
                signal: self.asked.signal,
                started_at: WallTime(self.anchor.wall),
                duration_ns: now.saturating_sub(self.anchor.boot_ns),
                ended_by,
                events: self.builder.events(),
                lost,
                complete: lost == 0 && !joined_late,
                losses,
            },
            services,
        };
        rules::judge(&mut document);
        document
    }
}

/// The signals that are captured.
pub struct Recorded {
    /// Those whose sending is.
    pub sent: SignalSet,
    /// Those whose dispositions are.
    pub dispositions: SignalSet,
    /// Those of them that were asked for.
    pub shown: SignalSet,
    /// KiB for events that wait.
    buffer: u32,
    backend: Wanted,
}

impl Recorded {
    /// What ends or reloads services: INT QUIT ABRT KILL USR1 SEGV USR2 TERM.
    const ALWAYS: [u32; 8] = [2, 3, 6, 9, 10, 11, 12, 15];
    /// What units reload by, besides HUP: USR1 USR2.
    const RELOADS: [u32; 2] = [10, 12];
    /// Signals that a runtime installs its catch-all handler for after HUP and the faults,
    /// so that the kernel side sees by then how many share it: XFSZ, which bash has too, and
    /// the last, which Go's runtime also blocks in the thread that passes signals on.
    const TELLTALES: SignalSet = SignalSet::of(25).union(SignalSet::of(MAX_SIGNAL));

    /// Those that were asked for, and those that always are.
    pub fn asked(options: &Signals) -> Result<Self, Fault> {
        let asked = options.record.iter().copied().chain([options.reload()]);
        let dispositions = asked.fold(SignalSet::EMPTY, |set, signal| set.union(signal.set()));
        let count = dispositions.union(Self::TELLTALES).0.count_ones();
        if count > MAX_DISPOSITIONS {
            return Err(Fault::usage(format_args!(
                "{} signals are too many to record: the limit is {}, the reload signal included",
                dispositions.0.count_ones(),
                MAX_DISPOSITIONS - Self::TELLTALES.0.count_ones()
            )));
        }
        let always = Self::ALWAYS.into_iter().map(SignalSet::of);
        let sent = always.fold(dispositions, SignalSet::union);
        Ok(Self {
            sent,
            dispositions,
            shown: dispositions,
            buffer: options.buffer,
            backend: options.backend.into(),
        })
    }

    /// The same for units, which have reload signals of their own: those that are in use
    /// are captured too, as far as there is room.
    pub fn of_units(options: &Signals) -> Result<Self, Fault> {
        let mut recorded = Self::asked(options)?;
        if options.signal.is_none() {
            for signal in Self::RELOADS.map(SignalSet::of) {
                let more = recorded.dispositions.union(signal);
                if more.union(Self::TELLTALES).0.count_ones() <= MAX_DISPOSITIONS {
                    recorded.dispositions = more;
                }
            }
            recorded.sent = recorded.sent.union(recorded.dispositions);
        }
        Ok(recorded)
    }

    /// What the kernel side is asked for.
    pub fn request(&self, reach: Reach) -> Request {
        Request {
            signals: self.sent,
            dispositions: self.dispositions.union(Self::TELLTALES),
            reach,
            buffer: self.buffer * 1024,
            backend: self.backend,
        }
    }
}

fn host() -> Host {
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

/// A limit in time; none for zero.
#[derive(Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now.
    pub fn after(span: Option<Duration>) -> Self {
        Self(span.filter(|span| !span.is_zero()).map(|span| Instant::now() + span))
    }

    /// Whether it is over.
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }

    /// How long one may wait without missing it, `longest` at most.
    pub fn patience(self, longest: Duration) -> Duration {
        self.0.map_or(longest, |end| end.saturating_duration_since(Instant::now()).min(longest))
    }
}
