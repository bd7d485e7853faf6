//! The exported timeline of a start, told from what has been folded of it.

mod events;
mod readiness;

use tracer_common::signal::SignalSet;

use super::{
    effect::{self, Around},
    events::{Record, Stored},
    exposure::{self, Phase, Waits},
    signals::Change,
    start::{End, Stage, Start},
};
use crate::{
    model::{
        disposition::Disposition,
        document::{Activation, Milestones, OutcomeState, ProcessOutcome, WallTime},
        event::Event,
        signal::Signal,
        unit::{UnitFacts, UnitState},
    },
    observation::{Anchor, ProcessId},
};

/// What a timeline is told with besides the start.
pub struct Frame<'a> {
    /// The reload signal.
    pub signal: Signal,
    /// Signals whose dispositions become events.
    pub shown: SignalSet,
    /// The unit's settings.
    pub facts: Option<&'a UnitFacts>,
    /// The two clocks.
    pub anchor: Anchor,
    /// `CLOCK_BOOTTIME` ns of the end of the capture.
    pub now: u64,
    /// The settle time, ns.
    pub settle_ns: u64,
    /// Whether the tracer places the reload signal.
    pub placed: bool,
}

/// The timeline of a start, with systemd's states of it.
#[must_use]
pub fn timeline(start: &Start, frame: &Frame<'_>, states: &[(u64, &UnitState)]) -> Activation {
    Timeline { start, frame, states, zero: zero(start, states) }.activation()
}

/// How far a start has come, by what `timeline` would say.
#[must_use]
pub fn stage(start: &Start, frame: &Frame<'_>, states: &[(u64, &UnitState)]) -> Stage {
    let timeline = Timeline { start, frame, states, zero: zero(start, states) };
    let milestones = timeline.milestones(&timeline.phases(), &start.events().in_order());
    let joined = timeline.joined_at().map(|at| timeline.at(at));
    Stage {
        handler: milestones.handler_ns.is_some(),
        // What came before the capture is waited for no more.
        ready: milestones.ready_ns.is_some_and(|ready| joined.is_none_or(|at| ready > at)),
        exited: milestones.exit_ns.is_some(),
    }
}

struct Timeline<'a> {
    start: &'a Start,
    frame: &'a Frame<'a>,
    /// systemd's, with their times.
    states: &'a [(u64, &'a UnitState)],
    zero: u64,
}

impl Timeline<'_> {
    fn at(&self, at: u64) -> i64 {
        let ns = i128::from(at) - i128::from(self.zero);
        ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// When the capture joined, if the main process ran by then.
    fn joined_at(&self) -> Option<u64> {
        joined_at(self.start, self.states)
    }

    fn is_main(&self, id: ProcessId, at: u64) -> bool {
        self.start.main_at(at).is_some_and(|main| main.id == id)
    }

    /// What the main process does on the reload signal, through time. One that is handed
    /// over to brings what it has set up by then. Of one that ran before the capture nothing may
    /// have been seen at first.
    fn phases(&self) -> Vec<Phase> {
        let mut phases: Vec<Phase> = Vec::new();
        let mains = &self.start.mains;
        for (index, (since, main)) in mains.iter().enumerate() {
            let Some(member) = self.start.member(main.id) else {
                continue;
            };
            let (since, is_first) = (*since, index == 0);
            let until = mains.get(index + 1).map_or(u64::MAX, |(next, _)| *next);
            let begins = if is_first { self.joined_at() } else { Some(since) };
            let at_first = begins.map(|at| (at, member.signals_at(at), false));
            let at_first = at_first.filter(|(_, now, _)| !is_first || now.is_none());
            let changes = member.signals.changes().iter();
            let is_in = |change: &&Change| (is_first || change.at >= since) && change.at < until;
            let changes = changes.filter(is_in).map(|it| (it.at, Some(it.now), it.exec));
            for (at, now, exec) in at_first.into_iter().chain(changes) {
                let disposition = now.map(|now| now.of(self.frame.signal));
                let of_init = |it: Disposition| if main.is_init() { it.of_init() } else { it };
                let phase = Phase {
                    at_ns: self.at(at),
                    disposition: disposition.map(of_init),
                    exec,
                    pid: main.id.pid,
                };
                let is_same = |last: &Phase| {
                    last.disposition == phase.disposition && last.pid == phase.pid && !phase.exec
                };
                if !phases.last().is_some_and(is_same) {
                    phases.push(phase);
                }
            }
        }
        phases
    }

    fn milestones(&self, phases: &[Phase], events: &[&Stored]) -> Milestones {
        let first_reload_ns = self.first_reload_ns(events);
        let execs = phases.iter().filter(|phase| phase.exec).map(|phase| phase.at_ns);
        let (first_exec, last_exec) = (execs.clone().min(), execs.max());
        let joined = self.joined_at().is_some();
        let ready_ns = self.ready_ns();
        let exit_ns = self.end().map(|end| self.at(end.at));
        let to = exit_ns.unwrap_or_else(|| self.at(self.frame.now));
        let up = [ready_ns, first_reload_ns].into_iter().flatten().min();
        let handler = exposure::handler_at(phases, &self.waits(events), up, to);
        // One that was there already came at a time nobody saw.
        let is_known = |it: Disposition| !(it.blocked && it.mask_unknown);
        let first_seen = phases.iter().find(|phase| phase.disposition.is_some_and(is_known));
        let found = first_seen.filter(|_| joined && last_exec.is_none()).map(|phase| phase.at_ns);
        Milestones {
            exec_ns: if joined { None } else { first_exec },
            last_exec_ns: last_exec.filter(|last| Some(*last) != first_exec),
            handler_ns: handler.filter(|at| Some(*at) != found),
            ready_ns,
            first_reload_ns,
            exit_ns,
        }
    }

    /// The end of the main process.
    fn end(&self) -> Option<End> {
        self.start.main().and_then(|main| self.start.member(main)).and_then(|main| main.ended)
    }

    /// The first reload signal that was sent to the main process while it ran.
    fn first_reload_ns(&self, events: &[&Stored]) -> Option<i64> {
        let end = self.end().map_or(u64::MAX, |end| end.at);
        let first = events.iter().find(|stored| {
            let Record::Signal { sent, .. } = &stored.record else {
                return false;
            };
            let own = sent.sender.as_ref().is_some_and(|sender| sender.pid == stored.id.pid);
            sent.signal == self.frame.signal
                && !own
                && stored.at <= end
                && self.is_main(stored.id, stored.at)
        });
        first.map(|stored| self.at(stored.at))
    }

    /// What shows whether a blocked reload signal waits for good.
    fn waits(&self, events: &[&Stored]) -> Waits {
        let signal = self.frame.signal;
        let sent = events.iter().filter_map(|stored| match &stored.record {
            Record::Signal { sent, .. }
                if sent.signal == signal && self.is_main(stored.id, stored.at) =>
            {
                Some((self.at(stored.at), sent.fate))
            }
            _ => None,
        });
        let main = self.start.main().and_then(|main| self.start.member(main));
        let found = main.and_then(|main| main.found);
        Waits {
            sent: sent.collect(),
            at_end: found.is_some_and(|state| state.blocked.intersects(signal.set())),
        }
    }

    fn activation(&self) -> Activation {
        let phases = self.phases();
        let stored = self.start.events().in_order();
        let milestones = self.milestones(&phases, &stored);
        let mut events: Vec<Event> =
            stored.iter().filter_map(|stored| self.event(stored.at, &stored.record)).collect();
        for (id, member) in self.start.members() {
            for held in member.held() {
                events.extend(self.event(held.at, &held.record(self.start.reference(id))));
            }
        }
        self.tell_states(&mut events);
        self.tell_effects(&mut events, &milestones);
        let left_out = self.left_out();
        let joined_ns = self.joined_at().map(|at| self.at(at));
        let first_exec = phases.iter().find(|phase| phase.exec).map(|phase| phase.at_ns);
        let seen_from = first_exec.filter(|_| joined_ns.is_none()).or(joined_ns);
        let end = milestones.exit_ns.unwrap_or_else(|| self.at(self.frame.now));
        let announces = milestones.ready_ns.is_some()
            || self.frame.facts.is_some_and(|it| it.awaited().is_some());
        // A service found running was announced before, if ever.
        let announces = announces && (joined_ns.is_none() || milestones.ready_ns.is_some());
        let from = seen_from.unwrap_or(0);
        let exposure = exposure::spans(
            &phases,
            &self.waits(&stored),
            milestones.ready_ns,
            announces,
            (from, end),
        );
        let anchor = self.frame.anchor;
        let since = self.zero.cast_signed().saturating_sub(anchor.boot_ns.cast_signed());
        let since = jiff::SignedDuration::from_nanos(since);
        let outcome = self.outcome();
        Activation {
            main_process: self
                .start
                .main()
                .filter(|main| self.start.member(*main).is_some())
                .map(|main| self.start.reference(main)),
            supervisor: self.start.supervisor.map(|it| self.start.reference(it)),
            started_at: WallTime(anchor.wall.saturating_add(since).unwrap_or_default()),
            invocation_id: self.start.invocation_id.clone(),
            joined_ns,
            milestones,
            exposure,
            events,
            omitted: left_out.iter().map(|group| group.count).sum(),
            left_out,
            unfollowed: self.unfollowed(),
            alerts: Vec::new(),
            systemd: self.systemd(outcome.state),
            outcome,
        }
    }

    /// What could not be followed although a verdict may depend on it.
    fn unfollowed(&self) -> u64 {
        let mains = self.start.mains.iter().filter_map(|(_, main)| self.start.member(main.id));
        let changes: u64 = mains.map(|main| main.signals.dropped()).sum();
        self.start.unfollowed() + changes
    }

    fn outcome(&self) -> ProcessOutcome {
        match self.end() {
            None => ProcessOutcome { state: OutcomeState::Running, signal: None, code: None },
            Some(end) if end.signal.is_some() => {
                ProcessOutcome { state: OutcomeState::Killed, signal: end.signal, code: None }
            }
            Some(end) => {
                ProcessOutcome { state: OutcomeState::Exited, signal: None, code: Some(end.code) }
            }
        }
    }

    fn systemd(&self, outcome: OutcomeState) -> Option<UnitState> {
        let mut state = self.states.last().map(|(_, state)| (*state).clone())?;
        if outcome != OutcomeState::Running
            && state.active_state == "active"
            && state.sub_state.as_deref() == Some("running")
        {
            // That was before the end, which it has said nothing of.
            state.result = None;
        }
        Some(state)
    }

    /// Tells what became of the service after each reload.
    fn tell_effects(&self, events: &mut [Event], milestones: &Milestones) {
        let mains = self.start.mains.iter();
        let mains: Vec<(i64, u32)> =
            mains.map(|(since, main)| (self.at(*since), main.id.pid)).collect();
        let around = Around {
            mains: &mains,
            signal: self.frame.signal,
            facts: self.frame.facts,
            ready_ns: milestones.ready_ns,
            end_ns: self.at(self.frame.now),
            settle_ns: i64::try_from(self.frame.settle_ns).unwrap_or(i64::MAX),
            placed: self.frame.placed,
        };
        effect::tell(events, &around);
    }
}

/// When the capture joined a start, if that was not before its main process was there: what
/// ExecStartPre= runs is no part of the program.
fn joined_at(start: &Start, states: &[(u64, &UnitState)]) -> Option<u64> {
    let first = start.mains.first().and_then(|(_, main)| start.member(main.id));
    start.joined_at.filter(|joined| {
        let came_later = first.is_some_and(|main| main.start_ns > *joined);
        let known = states.iter().take_while(|(at, _)| at <= joined).last();
        !(came_later && known.is_some_and(|(_, state)| state.active_state == "activating"))
    })
}

/// Zero of the timeline: the main process's first exec, else its start.
fn zero(start: &Start, states: &[(u64, &UnitState)]) -> u64 {
    let mains = || start.mains.iter().filter_map(|(_, main)| start.member(main.id));
    let exec = mains().filter_map(|main| main.first_exec).min();
    let exec = exec.filter(|_| joined_at(start, states).is_none());
    let first = start.mains.first().and_then(|(_, main)| start.member(main.id));
    exec.or(first.map(|main| main.start_ns)).unwrap_or(start.began())
}
