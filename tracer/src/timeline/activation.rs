//! The exported timeline of a start, told from what has been folded of it.

use tracer_common::signal::SignalSet;

use super::{
    admission::{Admission, Claim},
    effect::{self, Around},
    events::{Group, Kind, Record, Stored},
    exposure::{self, Phase, Waits},
    notify::{self, Meaning},
    signals::Change,
    start::{End, Stage, Start},
};
use crate::{
    model::{
        document::{Activation, LeftOut, Milestones, Outcome, OutcomeState, WallTime},
        event::{Event, Fate, NotifyMessage, Refusal, What},
        signal::Signal,
        unit::{UnitFacts, UnitState},
    },
    observation::{Anchor, ProcessId},
};

/// How long after a message systemd has read it for sure, unless it is held up, ns.
const READ_BY_NS: u64 = 100_000_000;

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
}

/// The timeline of a start, with systemd's states of it.
#[must_use]
pub fn timeline(start: &Start, frame: &Frame<'_>, states: &[(u64, &UnitState)]) -> Activation {
    Timeline { start, frame, states, zero: zero(start) }.activation()
}

/// How far a start has come, by what `timeline` would say.
#[must_use]
pub fn stage(start: &Start, frame: &Frame<'_>, states: &[(u64, &UnitState)]) -> Stage {
    let timeline = Timeline { start, frame, states, zero: zero(start) };
    let first_reload_ns = timeline.first_reload_ns(&start.events().in_order());
    let milestones = timeline.milestones(&timeline.phases(), first_reload_ns);
    Stage {
        handler: milestones.handler_ns.is_some(),
        ready: milestones.ready_ns.is_some(),
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

    fn is_main(&self, id: ProcessId, at: u64) -> bool {
        self.start.main_at(at).is_some_and(|main| main.id == id)
    }

    /// What the main process does on the reload signal, through time. One that is handed
    /// over to brings what it has set up by then.
    fn phases(&self) -> Vec<Phase> {
        let mut phases: Vec<Phase> = Vec::new();
        let mains = &self.start.mains;
        for (index, (since, main)) in mains.iter().enumerate() {
            let Some(member) = self.start.member(main.id) else {
                continue;
            };
            let (since, is_first) = (*since, index == 0);
            let until = mains.get(index + 1).map_or(u64::MAX, |(next, _)| *next);
            let at_first = (!is_first).then(|| Change {
                at: since,
                now: member.signals.at(since),
                exec: false,
            });
            let changes = member.signals.changes().iter().copied();
            let is_in = |change: &Change| {
                (is_first || change.at >= since) && (change.at < until || until == u64::MAX)
            };
            for change in at_first.into_iter().chain(changes.filter(is_in)) {
                let disposition = change.now.of(self.frame.signal);
                let phase = Phase {
                    at_ns: self.at(change.at),
                    disposition: if main.is_init() { disposition.of_init() } else { disposition },
                    exec: change.exec,
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

    fn milestones(&self, phases: &[Phase], first_reload_ns: Option<i64>) -> Milestones {
        let execs = phases.iter().filter(|phase| phase.exec).map(|phase| phase.at_ns);
        let (first_exec, last_exec) = (execs.clone().min(), execs.max());
        let joined = self.start.joined_at.is_some();
        let ready_ns = self.ready_ns();
        let found_with_handler =
            joined && phases.first().is_some_and(|phase| exposure::takes(phase.disposition));
        Milestones {
            exec_ns: if joined { None } else { first_exec },
            last_exec_ns: last_exec.filter(|last| Some(*last) != first_exec),
            // A handler that was there already came at a time nobody saw.
            handler_ns: if found_with_handler && last_exec.is_none() {
                None
            } else {
                let up = [ready_ns, first_reload_ns].into_iter().flatten().min();
                exposure::handler_at(phases, up)
            },
            ready_ns,
            first_reload_ns,
            exit_ns: self.end().map(|end| self.at(end.at)),
        }
    }

    /// The end of the main process.
    fn end(&self) -> Option<End> {
        self.start.main().and_then(|main| self.start.member(main)).and_then(|main| main.ended)
    }

    /// The first READY=1 that was not refused. Where systemd had the service as up and none was
    /// seen, one came from elsewhere by then: from outside of the unit.
    fn ready_ns(&self) -> Option<i64> {
        let kept = self.start.events().iter().filter_map(|stored| match &stored.record {
            Record::Notify { assignments, claim, .. }
                if notify::meaning(assignments) == Some(Meaning::Ready) =>
            {
                Some(claim)
            }
            _ => None,
        });
        let claims = self.start.ready().iter().chain(kept);
        let counts = claims.filter(|claim| self.admission(claim, true).accepted != Some(false));
        counts.map(|claim| self.at(claim.at)).min().or_else(|| self.came_up_ns())
    }

    /// When systemd had a service as up that was to say READY=1, or to take its bus name.
    fn came_up_ns(&self) -> Option<i64> {
        let waits = self.frame.facts.is_some_and(|facts| facts.awaited().is_some());
        let mut states = self.states.iter().filter(|_| waits && self.start.joined_at.is_none());
        let up = states.find(|(_, state)| state.active_state == "active");
        up.map(|(at, _)| self.at(*at))
    }

    /// What becomes of a message, which is READY=1 or not.
    fn admission(&self, claim: &Claim, is_ready: bool) -> Admission {
        let admission = self.start.admission(self.frame.facts, claim);
        if is_ready && admission.accepted.is_none() && self.came_up_after(claim.at) {
            return Admission { accepted: Some(true), ..Admission::default() };
        }
        if is_ready && admission.accepted == Some(true) && self.lacks_handler(claim) {
            return Admission {
                accepted: Some(false),
                refusal: Some(Refusal::NoHandler),
                problem: Some(format!(
                    "the main process had no handler for {}, which systemd 262 and later asks for",
                    self.frame.signal
                )),
            };
        }
        admission
    }

    /// Whether systemd looked for the handler of the reload signal at this READY=1, and found
    /// none (`service_check_reload_signal_handler`, since 262: the signal must be caught or
    /// blocked). It looks when it reads the message: its own word counts where it is known.
    fn lacks_handler(&self, claim: &Claim) -> bool {
        let (signal, facts) = (self.frame.signal, self.frame.facts);
        let looks = facts.is_some_and(|facts| {
            facts.service_type.as_deref() == Some("notify-reload")
                && facts.reload_signal == Some(signal)
                && facts.needs_handler_at_ready() == Some(true)
        });
        if !looks || self.start.joined_at.is_some() || self.came_up_after(claim.at) {
            return false;
        }
        let earlier = self.start.ready().iter().any(|earlier| {
            earlier.at < claim.at && self.start.admission(facts, earlier).accepted != Some(false)
        });
        let main = self.start.main_at(claim.at).and_then(|main| self.start.member(main.id));
        let has_handler = |at| {
            main.is_none_or(|main| {
                let now = main.signals.at(at).of(signal);
                now.caught || now.blocked
            })
        };
        let was_read_by = claim.at.saturating_add(READ_BY_NS);
        !earlier
            && !has_handler(claim.at)
            && (self.is_down_after(claim.at) || !has_handler(was_read_by))
    }

    /// Whether systemd has said that it ends or has ended the service after `at`.
    fn is_down_after(&self, at: u64) -> bool {
        let mut states = self.states.iter();
        let down = ["deactivating", "failed", "inactive"];
        states.any(|(since, state)| *since >= at && down.contains(&state.active_state.as_str()))
    }

    /// Whether systemd has said that a service that was to say READY=1 came up after `at`.
    fn came_up_after(&self, at: u64) -> bool {
        let is_notify = self.frame.facts.is_some_and(UnitFacts::is_notify);
        let mut states = self.states.iter();
        is_notify && states.any(|(since, state)| *since >= at && state.active_state == "active")
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
        let milestones = self.milestones(&phases, self.first_reload_ns(&stored));
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
        let joined_ns = self.start.joined_at.map(|at| self.at(at));
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

    fn outcome(&self) -> Outcome {
        match self.end() {
            None => Outcome { state: OutcomeState::Running, signal: None, code: None },
            Some(end) if end.signal.is_some() => {
                Outcome { state: OutcomeState::Killed, signal: end.signal, code: None }
            }
            Some(end) => {
                Outcome { state: OutcomeState::Exited, signal: None, code: Some(end.code) }
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

    /// Puts systemd's states among the events.
    fn tell_states(&self, events: &mut Vec<Event>) {
        let mut last = None;
        for (at, state) in self.states {
            let result = state.result.clone().filter(|result| result != "success");
            let seen = (&state.active_state, &state.sub_state, result);
            if last.as_ref() != Some(&seen) {
                let what = What::Systemd {
                    state: state.active_state.clone(),
                    sub_state: state.sub_state.clone(),
                    result: seen.2.clone(),
                };
                events.push(Event { at_ns: self.at(*at), what });
                last = Some(seen);
            }
        }
        events.sort_by_key(|event| event.at_ns);
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
        };
        effect::tell(events, &around);
    }

    /// The event that a record is; `None` if it is about other signals.
    fn event(&self, at: u64, record: &Record) -> Option<Event> {
        let reload = self.frame.signal;
        let what = match record {
            Record::Fork { process, parent } => {
                What::Fork { process: process.clone(), parent: parent.clone() }
            }
            Record::Exec { process, exe, filename, now, background } => What::Exec {
                process: process.clone(),
                exe: Some(exe.clone()),
                filename: filename.clone(),
                disposition: now.of(reload).kind(),
                background: *background,
            },
            Record::Exit { process, signal, code, core_dumped } => What::Exit {
                process: process.clone(),
                signal: *signal,
                code: signal.is_none().then_some(*code),
                core_dumped: *core_dumped,
            },
            Record::Signal { sent, fate_at } => {
                let mut sent = sent.clone();
                sent.fate_ns = fate_at.map(|at| self.at(at));
                What::Signal(Box::new(sent))
            }
            Record::Action { process, signal, disposition, once, runtime } => {
                if *signal != reload && !self.frame.shown.intersects(signal.set()) {
                    return None;
                }
                What::Disposition {
                    process: process.clone(),
                    signal: *signal,
                    disposition: *disposition,
                    consumer: None,
                    runtime: *runtime,
                    once: *once,
                    found: false,
                }
            }
            Record::Change { process, before, now, consumer, found } => {
                let now = now.of(reload);
                if !found && before.of(reload) == now {
                    return None;
                }
                What::Disposition {
                    process: process.clone(),
                    signal: reload,
                    disposition: now.kind(),
                    consumer: *consumer,
                    runtime: now.runtime,
                    once: false,
                    found: *found,
                }
            }
            Record::Mask { process, tid, mask, before, now } => {
                if before.of(reload) == now.of(reload) {
                    return None;
                }
                What::Mask {
                    process: process.clone(),
                    tid: *tid,
                    signal: reload,
                    blocked: mask.intersects(reload.set()),
                    disposition: now.of(reload).kind(),
                }
            }
            Record::Notify { sender, destination, assignments, length, claim } => {
                let is_ready = notify::meaning(assignments) == Some(Meaning::Ready);
                let Admission { accepted, refusal, problem } = self.admission(claim, is_ready);
                What::Notify(Box::new(NotifyMessage {
                    sender: sender.clone(),
                    claimed_pid: claim.claimed,
                    destination: destination.clone(),
                    assignments: assignments.clone(),
                    length: *length,
                    result: claim.errno,
                    accepted,
                    refusal,
                    problem,
                    effect: None,
                    effect_ns: None,
                }))
            }
            Record::Cgroup { process, path } => {
                What::Cgroup { process: Some(process.clone()), path: path.clone() }
            }
        };
        Some(Event { at_ns: self.at(at), what })
    }

    /// What was left out of the events, as far as it would have been shown.
    fn left_out(&self) -> Vec<LeftOut> {
        let own = self.frame.signal.set().0;
        let is_shown = |group: &Group| match group.kind {
            Kind::Action => group.signals & (own | self.frame.shown.0) != 0,
            Kind::Change | Kind::Mask => group.signals & own != 0,
            _ => true,
        };
        let shown = self.start.events().left_out().filter(|(group, _)| is_shown(group));
        shown
            .map(|(group, count)| LeftOut {
                kind: word(group.kind).to_owned(),
                signal: match group.kind {
                    Kind::Change | Kind::Mask => Some(self.frame.signal),
                    _ => Signal::from_number(group.signals.trailing_zeros() + 1),
                },
                fate: group.fate.and_then(Fate::from_number),
                sender: group.sender.as_deref().map(str::to_owned),
                count,
            })
            .collect()
    }
}

/// The word that the exported events have for a sort of them.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Fork => "fork",
        Kind::Exec => "exec",
        Kind::Exit => "exit",
        Kind::Signal => "signal",
        Kind::Action | Kind::Change => "disposition",
        Kind::Mask => "mask",
        Kind::Notify => "notify",
        Kind::Cgroup => "cgroup",
    }
}

/// Zero of the timeline: the main process's first exec, else its start.
fn zero(start: &Start) -> u64 {
    let mains = || start.mains.iter().filter_map(|(_, main)| start.member(main.id));
    let exec = mains().filter_map(|main| main.first_exec).min();
    let exec = exec.filter(|_| start.joined_at.is_none());
    let first = start.mains.first().and_then(|(_, main)| start.member(main.id));
    exec.or(first.map(|main| main.start_ns)).unwrap_or(start.began())
}
