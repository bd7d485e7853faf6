//! Puts observations in order of time and builds the timelines.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    activation::{self, Frame},
    attribution::{Attribution, ServiceStarts, StartState, Verdict},
    counting::Counting,
    setup::Setup,
    start::Stage,
    window::Window,
};
use crate::{
    model::{
        document::{MainChoice, Owner, Service, ServiceKind, Severity},
        signal::Signal,
    },
    observation::{Fact, Observation, ProcessId},
};

/// How much later than its time an observation may come: records of several CPUs
/// overtake each other by microseconds.
const REORDER_NS: u64 = 20_000_000;

/// How long after its last fact a start that is over is final, ns: systemd has told what it
/// made of it by then.
const SETTLED_NS: u64 = 10_000_000_000;
/// The same where there are many starts of the service.
const SETTLED_SOON_NS: u64 = 1_000_000_000;
/// From how many starts of a service on they are final sooner.
const MANY_STARTS: usize = 50;
/// How often starts are looked at whether they are final, ns.
const LOOK_NS: u64 = 500_000_000;

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

/// A service of which there is something new.
#[derive(Clone, Debug)]
pub struct News {
    /// Its number, in order of first appearance.
    pub number: u64,
    /// How many starts of it there have been.
    pub starts: usize,
    /// Whether the last of those below is its last one.
    pub has_last: bool,
    /// It, with the starts that have changed.
    pub service: Service,
}

/// Builds timelines from observations.
#[derive(Clone, Debug)]
pub struct Builder {
    setup: Setup,
    attribution: Attribution,
    /// Not yet in their place in time.
    window: Window,
    latest: u64,
    events: u64,
    losses: BTreeMap<String, u64>,
    /// When starts were last looked at whether they are final.
    looked: u64,
    /// There are final starts that have not been judged.
    has_unjudged: bool,
}

impl Builder {
    /// A builder that has seen nothing.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            attribution: Attribution::default(),
            window: Window::default(),
            latest: 0,
            events: 0,
            losses: BTreeMap::new(),
            looked: 0,
            has_unjudged: false,
        }
    }

    /// Says which process was started as the command of [`Scope::Command`]: others that the tracer
    /// starts are not part of it. To be said before anything of that process is observed.
    pub fn set_command(&mut self, pid: u32) {
        self.attribution.command = Some(pid);
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
        let (at, is_found) = (observation.at, matches!(observation.fact, Fact::Found { .. }));
        self.window.push(observation);
        if is_found {
            // What the kernel told meanwhile is yet to be read.
            return;
        }
        self.latest = self.latest.max(at);
        self.release(self.latest.saturating_sub(REORDER_NS));
    }

    /// Nothing older than this comes any more, `CLOCK_BOOTTIME` ns.
    fn release(&mut self, before: u64) {
        let Self { window, attribution, setup, .. } = self;
        window.release(before, |observation| attribution.learn(setup, observation));
        if before >= self.looked.saturating_add(LOOK_NS) && before != u64::MAX {
            self.looked = before;
            self.finish_starts(before);
        }
    }

    /// Nothing comes any more: what is late is in its place, and what waits for an exec too.
    pub fn end(&mut self) {
        self.release(u64::MAX);
        self.attribution.settle(&self.setup);
    }

    /// The timelines as of `now` (`CLOCK_BOOTTIME` ns), without alerts.
    #[must_use]
    pub fn services(&self, now: u64) -> Vec<Service> {
        let services = self.attribution.services().map(|(_, service)| service);
        services
            .filter(|service| service.last().is_some())
            .map(|service| self.service(service, now, |_, _| true))
            .collect()
    }

    /// The same of the starts that have changed since they were last asked for, and of those
    /// that something may still become of in the services whose numbers are in `again`.
    pub fn news(&mut self, now: u64, again: &Range<u64>) -> Vec<News> {
        let mut news = Vec::new();
        for (number, service) in self.attribution.services() {
            let is_again = again.contains(&number);
            let is_news = |_, state: &StartState| match state {
                StartState::Open(start) => is_again || start.revision != start.told,
                StartState::Final(_) => false,
            };
            if service.starts().any(|(number, state)| is_news(number, state)) {
                news.push(News {
                    number,
                    starts: service.count(),
                    has_last: service.last().is_some_and(|(number, last)| is_news(number, last)),
                    service: self.service(service, now, is_news),
                });
            }
        }
        self.attribution.tell_all();
        news
    }

    /// The numbers of the services that there are.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.attribution.services().map(|(number, _)| number)
    }

    /// The number that the next service will have.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.attribution.next()
    }

    /// Whether there are final starts that have not been judged.
    #[must_use]
    pub fn has_unjudged(&self) -> bool {
        self.has_unjudged
    }

    /// Has the starts judged that are final and have not been: those with alerts are kept
    /// longer than others. `judge` gives the worst that is found.
    pub fn judge_final(&mut self, mut judge: impl FnMut(Service) -> Option<Severity>) {
        self.has_unjudged = false;
        let mut found = Vec::new();
        for (number, service) in self.attribution.services() {
            for (start, state) in service.starts() {
                if matches!(state, StartState::Final(last) if last.verdict == Verdict::None) {
                    let service = self.service(service, self.latest, |of, _| of == start);
                    found.push((number, start, judge(service)));
                }
            }
        }
        for (service, start, worst) in found {
            self.attribution.set_worst(service, start, worst);
        }
    }

    /// The reload signal of a service.
    fn signal(&self, service: &ServiceStarts) -> Signal {
        let own = service.known.facts.as_ref().and_then(|facts| facts.reload_signal);
        own.filter(|own| self.setup.units_choose && self.setup.recorded.intersects(own.set()))
            .unwrap_or(self.setup.reload_signal)
    }

    fn frame<'a>(&'a self, service: &'a ServiceStarts, now: u64) -> Frame<'a> {
        Frame {
            signal: self.signal(service),
            shown: self.setup.shown,
            facts: service.known.facts.as_ref().or(self.setup.facts.as_ref()),
            anchor: self.setup.anchor,
            now,
            settle_ns: self.setup.settle_ns,
            placed: self.setup.placed,
        }
    }

    fn service(
        &self,
        service: &ServiceStarts,
        now: u64,
        is_wanted: impl Fn(u64, &StartState) -> bool,
    ) -> Service {
        let frame = self.frame(service, now);
        let path = &service.named.path;
        let of_command = service.named.kind == ServiceKind::Command;
        let told = self.setup.facts.as_ref().filter(|_| of_command);
        let activation = |(number, state): (u64, &StartState)| match state {
            StartState::Open(start) => activation::timeline(start, &frame, &service.states(number)),
            StartState::Final(last) => last.activation.clone(),
        };
        Service {
            name: service.named.name.clone(),
            kind: service.named.kind,
            cgroup: (!path.is_empty()).then(|| path.clone()),
            unit: service.known.facts.as_ref().or(told).cloned(),
            unit_problem: service.known.problem.clone(),
            owner: service.known.owner,
            signal: Some(frame.signal).filter(|signal| *signal != self.setup.reload_signal),
            starts_left_out: service.starts_left_out,
            activations: service
                .starts()
                .filter(|(number, state)| is_wanted(*number, state))
                .map(activation)
                .collect(),
        }
    }

    /// Shows every start that is followed, with what its timeline is told with.
    #[cfg(test)]
    pub fn visit(
        &self,
        now: u64,
        mut show: impl FnMut(&super::start::Start, &Frame<'_>, &[(u64, &crate::model::unit::UnitState)]),
    ) {
        for (_, service) in self.attribution.services() {
            let frame = self.frame(service, now);
            for (number, state) in service.starts() {
                if let StartState::Open(start) = state {
                    show(start, &frame, &service.states(number));
                }
            }
        }
    }

    /// Time goes on even if nothing happens: what is older than a moment before `now`
    /// (`CLOCK_BOOTTIME` ns) is in its place.
    pub fn advance(&mut self, now: u64) {
        self.latest = self.latest.max(now);
        self.release(now.saturating_sub(REORDER_NS));
    }

    /// Makes the starts final that nothing will become of any more: their timelines are told
    /// now, and what they were folded from is dropped.
    fn finish_starts(&mut self, now: u64) {
        let mut finished = Vec::new();
        for (number, service) in self.attribution.services() {
            let settled =
                if service.starts().len() >= MANY_STARTS { SETTLED_SOON_NS } else { SETTLED_NS };
            let last = service.last().map(|(number, _)| number);
            for (start, state) in service.starts() {
                // systemd may run commands of the last start long after its main process.
                if let StartState::Open(open) = state
                    && open.is_over()
                    && (Some(start) != last || service.is_gone)
                    && now.saturating_sub(open.last_at()) >= settled
                {
                    let frame = self.frame(service, now);
                    let states = service.states(start);
                    finished.push((number, start, activation::timeline(open, &frame, &states)));
                }
            }
        }
        self.has_unjudged |= !finished.is_empty();
        for (service, start, activation) in finished {
            self.attribution.finish(service, start, activation);
        }
    }

    /// How far the capture has come. Looks only at starts that have changed.
    #[must_use]
    pub fn progress(&mut self) -> Progress {
        let mut stages = Vec::new();
        let mut news = Vec::new();
        let mut activations = 0;
        let of_host = self.of_host();
        for (number, service) in self.attribution.services() {
            activations += service.count();
            let Some((start, state)) = service.last().filter(|_| self.counts(service, &of_host))
            else {
                continue;
            };
            match state {
                StartState::Open(open) if self.setup.fresh && open.joined_at.is_some() => {}
                StartState::Open(open) => match open.stage {
                    Some((revision, known)) if revision == open.revision => stages.push(known),
                    _ => {
                        let frame = self.frame(service, self.latest);
                        let now = activation::stage(open, &frame, &service.states(start));
                        stages.push(now);
                        news.push((number, start, now));
                    }
                },
                StartState::Final(last) => {
                    let milestones = &last.activation.milestones;
                    if !self.setup.fresh || last.activation.joined_ns.is_none() {
                        stages.push(Stage {
                            handler: milestones.handler_ns.is_some(),
                            ready: milestones.ready_ns.is_some(),
                            exited: milestones.exit_ns.is_some(),
                        });
                    }
                }
            }
        }
        for (service, start, now) in news {
            self.attribution.set_stage(service, start, now);
        }
        let seen = !stages.is_empty();
        Progress {
            activations,
            handler: seen && stages.iter().all(|stage| stage.handler),
            ready: seen && stages.iter().all(|stage| stage.ready),
            exited: seen && stages.iter().all(|stage| stage.exited),
            events: self.events,
            lost: self.losses().values().sum(),
        }
    }

    /// Which services count as those that were asked for.
    #[must_use]
    pub fn counting(&self) -> &Counting {
        &self.setup.counting
    }

    /// The names of the units that the host's systemd keeps, as far as they matter.
    fn of_host(&self) -> BTreeSet<&str> {
        if !matches!(self.setup.counting, Counting::HostFirst { .. }) {
            return BTreeSet::new();
        }
        let services = self.attribution.services().map(|(_, service)| service);
        let of_host = services.filter(|service| service.known.owner == Some(Owner::Host));
        of_host.map(|service| service.named.name.as_str()).collect()
    }

    /// Whether a service counts as one that was asked for.
    fn counts(&self, service: &ServiceStarts, of_host: &BTreeSet<&str>) -> bool {
        let ServiceStarts { named, known, .. } = service;
        let runs_on_host = of_host.contains(named.name.as_str());
        self.setup.counting.includes(&named.name, named.kind, known.owner, runs_on_host)
    }

    /// The units seen so far, from the service with this number on: name and cgroup of each.
    /// The second value is the number that the next service will have.
    #[must_use]
    pub fn units_after(&self, known: usize) -> (Vec<(String, String)>, usize) {
        let new = self.attribution.services().skip_while(|(number, _)| *number < known as u64);
        let units = new
            .filter(|(_, service)| service.named.kind == ServiceKind::Unit)
            .map(|(_, service)| (service.named.name.clone(), service.named.path.clone()))
            .collect();
        (units, self.attribution.next() as usize)
    }

    /// The settle time, ns.
    #[must_use]
    pub fn settle_ns(&self) -> u64 {
        self.setup.settle_ns
    }

    /// Observations of the kernel side so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What the main process was said to be, if it was, and how many it was true of.
    #[must_use]
    pub fn main_choice(&self) -> Option<MainChoice> {
        let pattern = self.setup.main.as_ref()?.text().to_owned();
        Some(MainChoice { pattern, matches: self.attribution.candidates })
    }

    /// Events lost, by kind.
    #[must_use]
    pub fn losses(&self) -> BTreeMap<String, u64> {
        let mut losses = self.losses.clone();
        for (kind, count) in self.attribution.losses() {
            if count > 0 {
                *losses.entry(kind.to_owned()).or_default() += count;
            }
        }
        losses
    }

    /// Services that gave way to others.
    #[must_use]
    pub fn services_left_out(&self) -> u64 {
        self.attribution.services_left_out
    }

    /// Processes in scope that still run, as far as is known.
    #[must_use]
    pub fn live(&self) -> Vec<ProcessId> {
        self.attribution.live().collect()
    }

    /// The processes with signals whose fates are open: a look at them may tell.
    #[must_use]
    pub fn awaited(&self) -> Vec<ProcessId> {
        let mut awaited: Vec<ProcessId> = self.attribution.awaited().collect();
        awaited.sort_unstable();
        awaited.dedup();
        awaited
    }
}
