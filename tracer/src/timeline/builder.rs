//! Puts observations in order of time and builds the timelines.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use tracer_common::signal::SignalSet;

use super::{
    activation::{self, Frame},
    attribution::{Attribution, Service as Attributed, Stage, Start},
    collected::Collected,
    counting::Counting,
    scope::{Named, Scope},
};
use crate::{
    model::{
        document::{Owner, Service, ServiceKind},
        signal::Signal,
        unit::UnitFacts,
    },
    observation::{Fact, Observation, ProcessId},
};

/// How much later than its time an observation may come: records of several CPUs
/// overtake each other by microseconds.
const REORDER_NS: u64 = 20_000_000;

/// What a builder has to know.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is observed.
    pub scope: Scope,
    /// The reload signal.
    pub reload_signal: Signal,
    /// Whether a unit's own reload signal takes its place.
    pub units_choose: bool,
    /// Whether only starts that begin during the capture count as progress.
    pub fresh: bool,
    /// Which units count as those that were asked for.
    pub counting: Counting,
    /// The signals whose dispositions the kernel side reports. It reports one more, which
    /// tells a runtime's catch-all handler.
    pub recorded: SignalSet,
    /// Those whose dispositions become events of every service. Besides, a service has
    /// its reload signal's.
    pub shown: SignalSet,
    /// The settings of the command under `run`.
    pub facts: Option<UnitFacts>,
    /// One instant on both clocks: everything is seen of processes started since then.
    pub anchor: Anchor,
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    /// `CLOCK_BOOTTIME` ns.
    pub boot_ns: u64,
    /// Wall-clock time.
    pub wall: Timestamp,
}

/// How far a capture has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Starts seen, services found running included.
    pub activations: usize,
    /// Every service's last start has a handler for the reload signal.
    pub handler: bool,
    /// Every service's last start has said READY=1.
    pub ready: bool,
    /// Every service's last start has ended.
    pub exited: bool,
    /// Observations of the kernel side.
    pub events: u64,
    /// Events lost.
    pub lost: u64,
}

/// A main process whose start was seen.
#[derive(Clone, Debug)]
pub struct FreshMain {
    /// Its unit.
    pub unit: Named,
    /// The process.
    pub process: ProcessId,
    /// What a reload sends it.
    pub reload_signal: Signal,
}

/// Builds timelines from observations.
#[derive(Clone, Debug)]
pub struct Builder {
    setup: Setup,
    attribution: Attribution,
    /// Not yet in their place in time: by time and arrival.
    window: BTreeMap<(u64, u64), Observation>,
    arrived: u64,
    latest: u64,
    events: u64,
    losses: BTreeMap<String, u64>,
}

impl Builder {
    /// A builder that has seen nothing.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            attribution: Attribution::default(),
            window: BTreeMap::new(),
            arrived: 0,
            latest: 0,
            events: 0,
            losses: BTreeMap::new(),
        }
    }

    /// Takes one observation, in about the order of time.
    pub fn observe(&mut self, observation: Observation) {
        match &observation.fact {
            Fact::Loss { kind, count } => {
                *self.losses.entry(kind.clone().into_owned()).or_default() += count;
                return;
            }
            Fact::Found { .. }
            | Fact::Left { .. }
            | Fact::CgroupPath { .. }
            | Fact::CgroupGone { .. }
            | Fact::Unit(_) => {}
            _ => self.events += 1,
        }
        self.latest = self.latest.max(observation.at);
        self.arrived += 1;
        self.window.insert((observation.at, self.arrived), observation);
        self.release(self.latest.saturating_sub(REORDER_NS));
    }

    /// Nothing older than this comes any more, `CLOCK_BOOTTIME` ns.
    fn release(&mut self, before: u64) {
        while let Some(entry) = self.window.first_entry()
            && entry.key().0 <= before
        {
            let observation = entry.remove();
            self.attribution.learn(&self.setup, observation);
        }
    }

    /// The timelines as of `now` (`CLOCK_BOOTTIME` ns, the end of the capture), without
    /// alerts.
    #[must_use]
    pub fn services(&self, now: u64) -> Vec<Service> {
        let attribution = self.settled();
        attribution
            .services
            .iter()
            .filter(|service| !service.activations.is_empty())
            .map(|service| self.service(service, now))
            .collect()
    }

    /// Everything attributed, the latest included.
    fn settled(&self) -> Attribution {
        let mut rest = self.clone();
        rest.release(u64::MAX);
        rest.attribution.settle();
        rest.attribution
    }

    /// The reload signal of a service.
    fn signal(&self, service: &Attributed) -> Signal {
        let own = service.known.facts.as_ref().and_then(|facts| facts.reload_signal);
        own.filter(|own| self.setup.units_choose && self.setup.recorded.intersects(own.set()))
            .unwrap_or(self.setup.reload_signal)
    }

    fn frame<'a>(&'a self, service: &'a Attributed, now: u64) -> Frame<'a> {
        let signal = self.signal(service);
        Frame {
            signal,
            recorded: self.setup.shown.union(signal.set()),
            facts: service.known.facts.as_ref().or(self.setup.facts.as_ref()),
            anchor: self.setup.anchor,
            now,
            sockets: &service.sockets,
        }
    }

    fn service(&self, service: &Attributed, now: u64) -> Service {
        let frame = self.frame(service, now);
        let path = &service.named.path;
        let of_command = service.named.kind == ServiceKind::Command;
        let told = self.setup.facts.as_ref().filter(|_| of_command);
        Service {
            name: service.named.name.clone(),
            kind: service.named.kind,
            cgroup: (!path.is_empty()).then(|| path.clone()),
            unit: service.known.facts.as_ref().or(told).cloned(),
            unit_problem: service.known.problem.clone(),
            owner: service.known.owner,
            signal: Some(frame.signal).filter(|signal| *signal != self.setup.reload_signal),
            activations: service
                .activations
                .iter()
                .enumerate()
                .map(|(index, start)| {
                    activation::timeline(&start.collected, &frame, &service.states(index))
                })
                .collect(),
        }
    }

    /// Time goes on even if nothing happens: what is older than a moment before `now`
    /// (`CLOCK_BOOTTIME` ns) is in its place.
    pub fn advance(&mut self, now: u64) {
        self.latest = self.latest.max(now);
        self.release(now.saturating_sub(REORDER_NS));
    }

    /// How far the capture has come. Looks only at starts that have changed.
    #[must_use]
    pub fn progress(&mut self) -> Progress {
        let mut stages = Vec::new();
        let counting: Vec<bool> = self.counting().collect();
        for (index, _) in counting.iter().enumerate().filter(|(_, counts)| **counts) {
            let service = &self.attribution.services[index];
            let fresh = |start: &&Start| !self.setup.fresh || start.collected.joined_at.is_none();
            let Some(last) = service.activations.last().filter(fresh) else {
                continue;
            };
            let count = last.collected.count();
            let stage = match last.stage {
                Some((seen, stage)) if seen == count => stage,
                _ => self.stage(service, &last.collected),
            };
            stages.push(stage);
            if let Some(last) = self.attribution.services[index].activations.last_mut() {
                last.stage = Some((count, stage));
            }
        }
        let seen = !stages.is_empty();
        Progress {
            activations: self.attribution.services.iter().map(|s| s.activations.len()).sum(),
            handler: seen && stages.iter().all(|stage| stage.handler),
            ready: seen && stages.iter().all(|stage| stage.ready),
            exited: seen && stages.iter().all(|stage| stage.exited),
            events: self.events,
            lost: self.losses().values().sum(),
        }
    }

    /// Which services count as those that were asked for.
    #[must_use]
    pub fn counts(&self) -> &Counting {
        &self.setup.counting
    }

    /// Whether each service counts.
    fn counting(&self) -> impl Iterator<Item = bool> {
        let services = &self.attribution.services;
        let of_host = |service: &&Attributed| service.known.owner == Some(Owner::Host);
        let of_host: BTreeSet<&str> =
            services.iter().filter(of_host).map(|service| service.named.name.as_str()).collect();
        services.iter().map(move |Attributed { named, known, .. }| {
            let runs_on_host = of_host.contains(named.name.as_str());
            self.setup.counting.includes(&named.name, named.kind, known.owner, runs_on_host)
        })
    }

    fn stage(&self, service: &Attributed, collected: &Collected) -> Stage {
        let milestones =
            activation::timeline(collected, &self.frame(service, self.latest), &[]).milestones;
        Stage {
            handler: milestones.handler_ns.is_some(),
            ready: milestones.ready_ns.is_some(),
            exited: milestones.exit_ns.is_some(),
        }
    }

    /// The main processes of units whose last start began during the capture; once what
    /// there is to know of their settings is known.
    #[must_use]
    pub fn fresh_mains(&self) -> Vec<FreshMain> {
        let units = self.attribution.services.iter().zip(self.counting());
        units
            .filter(|(_, counts)| *counts)
            .filter_map(|(service, _)| {
                let known = service.known.facts.is_some() || service.known.problem.is_some();
                let last = service.activations.last().filter(|_| known)?;
                let main = last.collected.main().filter(|_| last.collected.joined_at.is_none())?;
                Some(FreshMain {
                    unit: service.named.clone(),
                    process: main,
                    reload_signal: self.signal(service),
                })
            })
            .collect()
    }

    /// The units seen so far, after the first `known` services: name and cgroup of each.
    /// The second value counts the services seen.
    #[must_use]
    pub fn units_after(&self, known: usize) -> (Vec<(String, String)>, usize) {
        let services = &self.attribution.services;
        let units = services
            .iter()
            .skip(known)
            .filter(|service| service.named.kind == ServiceKind::Unit)
            .map(|service| (service.named.name.clone(), service.named.path.clone()))
            .collect();
        (units, services.len())
    }

    /// Observations of the kernel side so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Events lost, by kind.
    #[must_use]
    pub fn losses(&self) -> BTreeMap<String, u64> {
        let mut losses = self.losses.clone();
        if self.attribution.forgotten > 0 {
            losses.insert("start".to_owned(), self.attribution.forgotten);
        }
        losses
    }

    /// Processes in scope that still run, as far as is known.
    #[must_use]
    pub fn live(&self) -> Vec<ProcessId> {
        self.settled().live().collect()
    }
}
