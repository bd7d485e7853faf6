//! What the timeline of a start has to say, told from all of its facts at once: plain, slow,
//! and without bounds. The fold must say the same.

use std::collections::BTreeMap;

use tracer_common::signal::{MAX_SIGNAL, SignalSet};

use crate::{
    model::{
        disposition::Disposition,
        document::{Exposure, Milestones, OutcomeState, ProcessOutcome},
        event::{Consumer, DispositionKind, Fate, Runtime},
        signal::{DefaultAction, Signal},
        unit::{UnitFacts, UnitState},
    },
    observation::{
        Datagram, Fact, Generate, GenerateResult, ProcessId, Program, SignalState, Task, fact_task,
    },
    timeline::{
        activation::Frame,
        admission::{self, Claim, Speakers},
        exposure::{self, Phase, Waits},
        masks::MOMENT_NS,
        notify::{self, Meaning},
        runtimes,
        start::Start,
    },
};

/// How soon a program that gives up on a signal sends it to itself again, ns.
const RAISED_SOON_NS: u64 = 100_000_000;
/// How long a process lives at most after a runtime has decided to die of a signal, ns.
const DIES_SOON_NS: u64 = 1_000_000_000;

/// What is told of a start.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub milestones: Milestones,
    pub exposure: Vec<Exposure>,
    pub outcome: ProcessOutcome,
    pub signals: Vec<ToldSignal>,
    /// When each message was sent, and whether it is acted on.
    pub messages: Vec<(i64, Option<bool>)>,
}

/// Whose handler a signal met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// A runtime's, if it was one's.
    Of(Option<Runtime>),
    /// It had not been heard of: what it was is a matter of what comes later.
    Unheard,
}

/// What is told of a signal.
#[derive(Clone, Debug, PartialEq)]
pub struct ToldSignal {
    pub at_ns: i64,
    pub signal: Signal,
    pub fate: Fate,
    pub fate_ns: Option<i64>,
    /// Of the reload signal: whose handler it met.
    pub met: Met,
}

/// What a start's timeline must say.
pub fn tell(start: &Start, frame: &Frame<'_>, states: &[(u64, &UnitState)]) -> Told {
    let mut facts = start.learned.clone();
    facts.sort_by_key(|(at, _)| *at);
    Reference { start, frame, states, zero: zero(start, &facts, states), facts }.tell()
}

/// When the capture joined, if that was not while ExecStartPre= ran.
fn joined(start: &Start, states: &[(u64, &UnitState)]) -> Option<u64> {
    let joined = start.joined_at?;
    let main = start.mains.first().and_then(|(_, main)| start.member(main.id));
    let before = states.iter().rev().find(|(at, _)| *at <= joined);
    let starting = before.is_some_and(|(_, state)| state.active_state == "activating");
    let came_later = main.is_some_and(|main| main.start_ns > joined);
    (!(starting && came_later)).then_some(joined)
}

/// Zero of the timeline: the first exec of a main process, else the start of the first one.
fn zero(start: &Start, facts: &[(u64, Fact)], states: &[(u64, &UnitState)]) -> u64 {
    let is_main = |id: ProcessId| start.mains.iter().any(|(_, main)| main.id == id);
    let exec = facts.iter().find_map(|(at, fact)| match fact {
        Fact::Exec { task, .. } if is_main(task.id) => Some(*at),
        _ => None,
    });
    let first = start.mains.first().map(|(_, main)| main.id);
    let born = facts.iter().filter_map(|(_, fact)| fact_task(fact));
    let born = born.filter(|task| Some(task.id) == first).map(|task| task.start_ns).next();
    let exec = exec.filter(|_| joined(start, states).is_none());
    exec.or(born).unwrap_or_else(|| facts.first().map_or(0, |(at, _)| *at))
}

struct Reference<'a> {
    start: &'a Start,
    frame: &'a Frame<'a>,
    states: &'a [(u64, &'a UnitState)],
    zero: u64,
    facts: Vec<(u64, Fact)>,
}

/// What a process does on the reload signal from a time on.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: u64,
    now: Disposition,
    exec: bool,
}

impl Reference<'_> {
    fn joined(&self) -> Option<u64> {
        joined(self.start, self.states)
    }

    /// The first RELOADING=1.
    fn reloading_at(&self) -> Option<u64> {
        let said = self.facts.iter().find(|(_, fact)| match fact {
            Fact::Notify(datagram) => {
                notify::meaning(&parsed(datagram).assignments) == Some(Meaning::Reloading)
            }
            _ => false,
        });
        said.map(|(at, _)| *at)
    }

    fn tell(&self) -> Told {
        let lives = Lives::follow(self.frame.signal, &self.facts);
        let phases = self.phases(&lives);
        let messages = self.messages();
        let joined = self.joined();
        // What a service says that was up before is of a reload.
        let reloads_from = self.reloading_at().filter(|_| joined.is_some());
        let ready = messages.iter().filter(|(at, is_ready, accepted)| {
            *is_ready && *accepted != Some(false) && reloads_from.is_none_or(|from| *at < from)
        });
        let is_notify = self.frame.facts.is_some_and(UnitFacts::is_notify);
        let up = self.states.iter().find(|(_, state)| state.active_state == "active");
        let up = up.filter(|_| is_notify && joined.is_none());
        let ready_ns = ready.map(|(at, ..)| self.at(*at)).min().or(up.map(|(at, _)| self.at(*at)));
        let waits = self.frame.facts.is_some_and(|facts| facts.awaited().is_some());
        let was_up = self.states.iter().find(|(_, state)| state.active_state == "active");
        let was_up = was_up.filter(|(at, _)| waits && joined.is_some_and(|joined| *at <= joined));
        let ready_ns = was_up.map(|(at, _)| self.at(*at)).or(ready_ns);
        let end = self.start.main().and_then(|main| self.end_of(main));
        let execs = || phases.iter().filter(|phase| phase.exec).map(|phase| phase.at_ns);
        let (first_exec, last_exec) = (execs().min(), execs().max());
        let first_seen = phases.iter().find(|phase| phase.disposition.is_some());
        let found = first_seen.filter(|_| joined.is_some() && last_exec.is_none());
        let exit_ns = end.map(|(at, ..)| self.at(at));
        let to = exit_ns.unwrap_or_else(|| self.at(self.frame.now));
        let first_reload_ns = self.first_reload_ns(end.map(|(at, ..)| at));
        let up_ns = [ready_ns, first_reload_ns].into_iter().flatten().min();
        let milestones = Milestones {
            exec_ns: first_exec.filter(|_| joined.is_none()),
            last_exec_ns: last_exec.filter(|_| first_exec != last_exec),
            handler_ns: exposure::handler_at(&phases, &self.waits(), up_ns, to)
                .filter(|at| found.is_none_or(|found| found.at_ns != *at)),
            ready_ns,
            first_reload_ns,
            exit_ns,
        };
        let announces = ready_ns.is_some() || (is_notify && joined.is_none());
        let joined_ns = joined.map(|at| self.at(at));
        let from = if joined.is_none() { first_exec } else { joined_ns }.unwrap_or(0);
        Told {
            milestones,
            exposure: exposure::spans(&phases, &self.waits(), ready_ns, announces, (from, to)),
            outcome: match end {
                None => ProcessOutcome { state: OutcomeState::Running, signal: None, code: None },
                Some((_, Some(signal), _)) => {
                    ProcessOutcome { state: OutcomeState::Killed, signal: Some(signal), code: None }
                }
                Some((_, None, code)) => {
                    ProcessOutcome { state: OutcomeState::Exited, signal: None, code: Some(code) }
                }
            },
            signals: self.signals(&lives),
            messages: messages.iter().map(|(at, _, accepted)| (self.at(*at), *accepted)).collect(),
        }
    }

    fn at(&self, at: u64) -> i64 {
        let ns = i128::from(at) - i128::from(self.zero);
        ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    fn end_of(&self, id: ProcessId) -> Option<(u64, Option<Signal>, u8)> {
        self.facts.iter().find_map(|(at, fact)| match fact {
            Fact::Exit { task, signal, code, .. } if task.id == id => Some((*at, *signal, *code)),
            _ => None,
        })
    }

    /// What the main process does, through time. The next one brings what it does by then.
    fn phases(&self, lives: &Lives) -> Vec<Phase> {
        let mains = &self.start.mains;
        let mut phases: Vec<Phase> = Vec::new();
        for (index, (since, main)) in mains.iter().enumerate() {
            let until = mains.get(index + 1).map(|(next, _)| *next);
            let is_met = |fact: &Fact| fact_task(fact).is_some_and(|task| task.id == main.id);
            if !self.facts.iter().any(|(_, fact)| is_met(fact)) {
                continue;
            }
            let changes = lives.of.get(&main.id).map_or(&[][..], |changes| changes);
            let seen_by = |at| changes.iter().rev().find(|change| change.at <= at);
            // Between its birth and the word of it a child has what it has then.
            let born = self.facts.iter().find_map(|(_, fact)| match fact {
                Fact::Fork { child, .. } if child.id == main.id => Some(child.start_ns),
                _ => None,
            });
            let at_birth = || changes.first().filter(|_| born.is_some_and(|born| born <= *since));
            let brought = if index > 0 {
                let now = seen_by(*since).or_else(at_birth).map(|change| change.now);
                Some((*since, now, false))
            } else {
                // It ran before the capture, and nothing was seen of it yet.
                let joined = self.joined().filter(|joined| seen_by(*joined).is_none());
                joined.map(|joined| (joined, None, false))
            };
            let own = changes.iter().filter(|change| {
                (index == 0 || change.at >= *since) && until.is_none_or(|until| change.at < until)
            });
            let own = own.map(|change| (change.at, Some(change.now), change.exec));
            for (at, now, exec) in brought.into_iter().chain(own) {
                let now = now.map(|now| if main.is_init() { now.of_init() } else { now });
                let pid = main.id.pid;
                let is_new = |last: &Phase| last.disposition != now || last.pid != pid;
                if exec || phases.last().is_none_or(is_new) {
                    phases.push(Phase { at_ns: self.at(at), disposition: now, exec, pid });
                }
            }
        }
        phases
    }

    fn first_reload_ns(&self, end: Option<u64>) -> Option<i64> {
        let first = self.facts.iter().find(|(at, fact)| {
            matches!(fact, Fact::Generate(sent)
                if sent.signal == self.frame.signal
                    && !is_own(sent)
                    && end.is_none_or(|end| *at <= end)
                    && self.start.main_at(*at).is_some_and(|main| main.id == sent.target.id))
        });
        first.map(|(at, _)| self.at(*at))
    }

    /// What became of the reload signals to the main process, and how that was found last.
    fn waits(&self) -> Waits {
        let fates = fates(&self.facts);
        let sent = self.facts.iter().enumerate().filter_map(|(index, (at, fact))| match fact {
            Fact::Generate(sent)
                if sent.signal == self.frame.signal
                    && self.start.main_at(*at).is_some_and(|main| main.id == sent.target.id) =>
            {
                Some((self.at(*at), fates[&index].0))
            }
            _ => None,
        });
        let found = self.facts.iter().rev().find_map(|(_, fact)| match fact {
            Fact::Left { id, state } => (Some(*id) == self.start.main()).then_some(*state),
            Fact::Found { task, state, .. } => {
                (Some(task.id) == self.start.main()).then_some(*state)
            }
            _ => None,
        });
        let blocked = found.is_some_and(|state| state.blocked.intersects(self.frame.signal.set()));
        Waits { sent: sent.collect(), at_end: blocked }
    }

    fn signals(&self, lives: &Lives) -> Vec<ToldSignal> {
        let fates = fates(&self.facts);
        let mut told = Vec::new();
        for (index, (at, fact)) in self.facts.iter().enumerate() {
            let Fact::Generate(sent) = fact else { continue };
            let (fate, fate_at) = fates[&index];
            let is_met =
                sent.signal == self.frame.signal && sent.disposition == DispositionKind::Handler;
            let mut changes = lives.of.get(&sent.target.id).into_iter().flatten();
            let met = changes.rfind(|change| change.at <= *at);
            told.push(ToldSignal {
                at_ns: self.at(*at),
                signal: sent.signal,
                fate,
                fate_ns: fate_at.map(|at| self.at(at)),
                met: match met {
                    Some(change) if is_met && change.now.caught => Met::Of(change.now.runtime),
                    _ if is_met => Met::Unheard,
                    _ => Met::Of(None),
                },
            });
        }
        told
    }

    /// When each message was sent, whether it says READY=1, and whether it is acted on.
    fn messages(&self) -> Vec<(u64, bool, Option<bool>)> {
        let datagrams = self.facts.iter().filter_map(|(at, fact)| match fact {
            Fact::Notify(datagram) => Some((*at, &**datagram)),
            _ => None,
        });
        let judged = datagrams.clone().map(|(at, datagram)| {
            let message = parsed(datagram);
            let id = datagram.sender.id;
            let mut claim = Claim::new(at, datagram, &message);
            claim.ended = self.end_of(id).map(|(at, ..)| at);
            claim.waited = datagrams.clone().any(|(later, other)| {
                other.sender.id == id && later >= at && parsed(other).is_barrier()
            });
            let changed = self.start.access().iter().rev().find(|(since, _)| *since < at);
            let speakers = Speakers {
                main: self.start.main_at(at),
                controls: &self.start.controls,
                changed: changed.map(|(_, access)| access.as_str()),
            };
            let is_ready = notify::meaning(&message.assignments) == Some(Meaning::Ready);
            let accepted = admission::judge(speakers, self.frame.facts, &claim).accepted;
            let came_up = self.frame.facts.is_some_and(UnitFacts::is_notify)
                && self
                    .states
                    .iter()
                    .any(|(since, state)| *since >= at && state.active_state == "active");
            (at, is_ready, accepted.or((is_ready && came_up).then_some(true)))
        });
        judged.collect()
    }
}

fn parsed(datagram: &Datagram) -> notify::Message {
    let payload = datagram.payload.as_deref();
    payload.map(|payload| notify::parse(payload, datagram.length)).unwrap_or_default()
}

fn is_own(sent: &Generate) -> bool {
    sent.sender.as_ref().is_some_and(|sender| sender.id == sent.target.id)
}

/// What every process does on the reload signal, through time.
struct Lives {
    of: BTreeMap<ProcessId, Vec<Change>>,
}

impl Lives {
    #[allow(clippy::too_many_lines, reason = "an arm for each fact")]
    fn follow(reload: Signal, facts: &[(u64, Fact)]) -> Self {
        let mut lives = Self { of: BTreeMap::new() };
        let facts = &with_known_masks(facts);
        let moments = moments(reload, facts);
        let mut forwarders: Vec<ProcessId> = Vec::new();
        let mut sharing: Vec<Vec<ProcessId>> = Vec::new();
        // Whose handler was seen to be a catch-all since the exec, whose still is that, and whose
        // is known to be the program's wish.
        let (mut complete, mut shown, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (at, fact)) in facts.iter().enumerate() {
            let hindsight = Hindsight { reload, facts, index };
            let was_complete = complete.clone();
            match fact {
                Fact::Fork { parent, child, .. } => {
                    for known in [&mut complete, &mut shown, &mut asked] {
                        if known.contains(&parent.id) {
                            known.push(child.id);
                        }
                    }
                }
                Fact::Exec { task, .. } => {
                    for known in [&mut complete, &mut shown, &mut asked] {
                        known.retain(|id| *id != task.id);
                    }
                }
                Fact::Disposition { task, signal, .. } if *signal == reload => {
                    shown.retain(|id| *id != task.id);
                }
                _ => {}
            }
            let was_shown = shown.clone();
            if let Some(id) = fact_task(fact).map(|task| task.id)
                && hindsight.shows_catch_all(fact, id)
            {
                complete.push(id);
                shown.push(id);
            }
            let (id, mut now, exec) = match fact {
                Fact::Found { task, program, .. } if lives.of.contains_key(&task.id) => {
                    let now = lives.now(task.id);
                    let runtime = match program {
                        Program::Plain => None,
                        Program::Of(runtime) if now.runtime == Some(Runtime::CatchAll) => {
                            Some(*runtime)
                        }
                        Program::Of(_) | Program::Unread => now.runtime,
                    };
                    (task.id, Disposition { runtime, ..now }, false)
                }
                Fact::Found { task, program, state, .. } => {
                    let mut now = with(Disposition::default(), state, reload);
                    let is_runtimes = match program {
                        Program::Unread | Program::Of(Runtime::Bash) => {
                            runtimes::is_runtimes(state.caught)
                        }
                        Program::Plain => false,
                        Program::Of(runtime) => runtime.effect(reload).is_some(),
                    };
                    if now.caught && is_runtimes {
                        now.runtime = hindsight.of_forwarder(task.id);
                    }
                    (task.id, now, false)
                }
                Fact::Fork { parent, child, state, shares_handlers, .. } => {
                    // It has what was known of its parent then.
                    let known = Self::follow(reload, &facts[..index]).now(parent.id);
                    let mut now = with(known, state, reload);
                    if now.runtime == Some(Runtime::Forwarding) {
                        now.runtime = hindsight.of_forwarder(child.id);
                    }
                    now.consumer = now.consumer.filter(|it| *it == Consumer::Signalfd);
                    if *shares_handlers {
                        match sharing.iter_mut().find(|group| group.contains(&parent.id)) {
                            Some(group) => group.push(child.id),
                            None => sharing.push(vec![parent.id, child.id]),
                        }
                    }
                    (child.id, now, false)
                }
                Fact::Exec { task, state, .. } => {
                    forwarders.retain(|id| *id != task.id);
                    for group in &mut sharing {
                        group.retain(|id| *id != task.id);
                    }
                    (task.id, with(Disposition::default(), state, reload), true)
                }
                Fact::Disposition { task, state, signal, handler, .. } => {
                    let before = lives.now(task.id);
                    let mut now = with(before, state, reload);
                    if *signal == reload {
                        let forwards = forwarders.contains(&task.id);
                        let complete = was_complete.contains(&task.id);
                        let (whose, is_asked) =
                            hindsight.installer(task.id, before, *handler, forwards, complete);
                        now.runtime = whose.filter(|_| now.caught);
                        asked.retain(|id| *id != task.id);
                        asked.extend(is_asked.then_some(task.id));
                    }
                    (task.id, now, false)
                }
                Fact::Mask { task, before, after, state } => {
                    if let Some(since) = held_since(&facts[..index], task, *before) {
                        let changes = lives.of.entry(task.id).or_default().iter_mut();
                        for change in changes.filter(|it| it.at >= since && it.at < *at) {
                            change.now.blocked &= before.intersects(reload.set());
                            change.now.mask_unknown &= before.intersects(reload.set());
                        }
                    }
                    let mut now = with(lives.now(task.id), state, reload);
                    let may_forward = runtimes::may_forward(hindsight.program(task.id));
                    if may_forward && runtimes::is_forwarder(*before, *after) {
                        forwarders.push(task.id);
                        let is_own = matches!(now.runtime, Some(Runtime::CatchAll | Runtime::Go));
                        if is_own && !hindsight.has_come(task.id) {
                            now.runtime = hindsight.of_forwarder(task.id);
                        }
                    }
                    (task.id, now, false)
                }
                Fact::Consume { task, consumer, set, state } => {
                    let mut now = with(lives.now(task.id), state, reload);
                    if set.intersects(reload.set()) {
                        now.consumer = Some(*consumer);
                    }
                    (task.id, now, false)
                }
                Fact::Deliver {
                    task, signal, disposition: DispositionKind::Handler, once, ..
                } if *signal == reload && lives.of.contains_key(&task.id) => {
                    let mut now = lives.now(task.id);
                    let is_sure = now.runtime.is_some_and(|runtime| {
                        let tried =
                            [Runtime::CatchAll, Runtime::Forwarding, Runtime::Bash, Runtime::Go];
                        runtime.spares(reload) || !tried.contains(&runtime)
                    });
                    if *once {
                        (now.caught, now.runtime) = (false, None);
                    } else if !is_sure && hindsight.is_survived(task.id, false) {
                        now.runtime = None;
                    }
                    (task.id, now, false)
                }
                Fact::Exit { task, .. } => {
                    for group in &mut sharing {
                        group.retain(|id| *id != task.id);
                    }
                    continue;
                }
                _ => continue,
            };
            let is_known = was_shown.contains(&id) || asked.contains(&id);
            let is_new = now.caught && now.runtime.is_none() && !lives.now(id).caught;
            let is_new = is_new && !is_known;
            let is_told = match fact {
                Fact::Disposition { signal, .. } => *signal == reload,
                // What it catches has told.
                Fact::Found { state, .. } => runtimes::is_runtimes(state.caught),
                _ => false,
            };
            if is_new && !is_told && !hindsight.has_survived(id) {
                now.runtime = hindsight.met(id, forwarders.contains(&id));
            }
            let is_hidden = |it: &Moment| it.hides(id, *at, reload) && now.consumer.is_none();
            if !exec && moments.iter().any(is_hidden) {
                now.blocked = false;
            }
            now.effect = now.runtime.and_then(|runtime| runtime.effect(reload));
            lives.of.entry(id).or_default().push(Change { at: *at, now, exec });
            let is_shared =
                matches!(fact, Fact::Disposition { .. } | Fact::Deliver { once: true, .. });
            let group = sharing.iter().find(|group| group.contains(&id)).cloned();
            let group: Vec<ProcessId> = group.filter(|_| is_shared).unwrap_or_default();
            for other in group.into_iter().filter(|other| *other != id) {
                let its = lives.now(other);
                let now = Disposition { blocked: its.blocked, consumer: its.consumer, ..now };
                lives.of.entry(other).or_default().push(Change { at: *at, now, exec: false });
            }
        }
        lives
    }

    fn now(&self, id: ProcessId) -> Disposition {
        self.of.get(&id).and_then(|of| of.last()).map(|last| last.now).unwrap_or_default()
    }
}

/// A disposition with the kernel's word for what it knows.
fn with(before: Disposition, state: &SignalState, reload: Signal) -> Disposition {
    let has = |set: SignalSet| set.intersects(reload.set());
    Disposition {
        ignored: has(state.ignored),
        caught: has(state.caught),
        blocked: has(state.blocked),
        mask_unknown: has(state.blocked_unknown),
        consumer: before.consumer,
        runtime: before.runtime.filter(|_| has(state.caught)),
        effect: None,
    }
}

/// Since when a thread has had a mask, if it has told so since the exec and of no other later.
fn held_since(earlier: &[(u64, Fact)], task: &Task, mask: SignalSet) -> Option<u64> {
    for (at, fact) in earlier.iter().rev() {
        match fact {
            Fact::Exec { task: it, .. } if it.id == task.id => return None,
            Fact::Mask { task: it, before, after, .. }
                if (it.id, it.tid) == (task.id, task.tid) && before != after =>
            {
                return (*after == mask).then_some(*at);
            }
            _ => {}
        }
    }
    None
}

/// The facts with what is known of the masks of threads that were not looked at.
fn with_known_masks(facts: &[(u64, Fact)]) -> Vec<(u64, Fact)> {
    let mut by_all: BTreeMap<ProcessId, SignalSet> = BTreeMap::new();
    let mut facts = facts.to_vec();
    for (_, fact) in &mut facts {
        let mut own = SignalSet(u64::MAX);
        if let Fact::Exec { task, .. } = fact {
            by_all.remove(&task.id);
        }
        let (id, state) = match fact {
            Fact::Mask { task, after, state, .. } => {
                own = *after;
                (task.id, state)
            }
            Fact::Found { task, state, .. }
            | Fact::Exec { task, state, .. }
            | Fact::Disposition { task, state, .. }
            | Fact::Consume { task, state, .. } => (task.id, state),
            Fact::Fork { child, state, .. } => (child.id, state),
            _ => continue,
        };
        state.blocked.0 &= own.0;
        let all = by_all.entry(id).or_default();
        all.0 = (all.0 | state.blocked.0 & !state.blocked_unknown.0) & state.blocked.0;
        state.blocked_unknown.0 &= own.0 & !all.0;
    }
    facts
}

/// A mask that a thread has set for a moment.
struct Moment {
    id: ProcessId,
    since: u64,
    until: u64,
    /// What the process blocked before.
    blocked: SignalSet,
    /// When it changed last in it what it does on the reload signal.
    changed: Option<u64>,
    /// The reload signal was sent to it meanwhile.
    sent: bool,
}

impl Moment {
    /// Whether a process that blocks a signal at a time does so for this moment, and may as well
    /// not: what it does on the signal is the same at the end.
    fn hides(&self, id: ProcessId, at: u64, reload: Signal) -> bool {
        let is_in = self.id == id && self.since <= at && at < self.until;
        is_in
            && !self.sent
            && !self.blocked.intersects(reload.set())
            && self.changed.is_none_or(|it| it <= at)
    }
}

/// When a process changed last what it does on a signal, within a time.
fn changed_last(
    facts: &[(u64, Fact)],
    of: ProcessId,
    reload: Signal,
    (since, until): (u64, u64),
) -> Option<u64> {
    let has = |set: SignalSet| set.intersects(reload.set());
    let its = facts.iter().filter_map(|(at, fact)| {
        let (id, state) = state_of(fact)?;
        (id == of && *at <= until).then_some((*at, has(state.ignored), has(state.caught)))
    });
    let its: Vec<_> = its.collect();
    let changes = its.windows(2).filter(|pair| (pair[0].1, pair[0].2) != (pair[1].1, pair[1].2));
    changes.map(|pair| pair[1].0).rfind(|at| *at > since)
}

/// The process that a fact tells the state of, and that.
fn state_of(fact: &Fact) -> Option<(ProcessId, &SignalState)> {
    match fact {
        Fact::Found { task, state, .. }
        | Fact::Exec { task, state, .. }
        | Fact::Disposition { task, state, .. }
        | Fact::Mask { task, state, .. }
        | Fact::Consume { task, state, .. } => Some((task.id, state)),
        Fact::Fork { child, state, .. } => Some((child.id, state)),
        _ => None,
    }
}

/// Masks that were set back soon, each as long as it can be said to be.
fn moments(reload: Signal, facts: &[(u64, Fact)]) -> Vec<Moment> {
    // Of each thread: when its mask was changed, from what, and what the process blocked then.
    type Open = Vec<(u64, SignalSet, SignalSet)>;
    let mut moments = Vec::new();
    let mut open: BTreeMap<(ProcessId, u32), Open> = BTreeMap::new();
    let mut blocked: BTreeMap<ProcessId, SignalSet> = BTreeMap::new();
    for (at, fact) in facts {
        let Some((id, state)) = state_of(fact) else {
            continue;
        };
        if let Fact::Exec { .. } = fact {
            open.retain(|(of, _), _| *of != id);
        }
        if let Fact::Mask { task, before, after, .. } = fact {
            let of_thread = open.entry((id, task.tid)).or_default();
            of_thread.retain(|(since, ..)| at - since <= MOMENT_NS);
            let begun = of_thread.iter().rposition(|(_, before, _)| before == after);
            if let Some(begun) = begun {
                let (since, _, blocked) = of_thread[begun];
                let changed = changed_last(facts, id, reload, (since, *at));
                let sent = facts.iter().any(|(sent, fact)| {
                    matches!(fact, Fact::Generate(it) if it.target.id == id && it.signal == reload)
                        && (since..=*at).contains(sent)
                });
                moments.push(Moment { id, since, until: *at, blocked, changed, sent });
                of_thread.truncate(begun);
            } else if before != after {
                let blocked: SignalSet = blocked.get(&id).copied().unwrap_or_default();
                of_thread.push((*at, *before, SignalSet(blocked.0 & before.0)));
            }
        }
        blocked.insert(id, state.blocked);
    }
    moments
}

/// What all facts say of the runtime of a process at one of them.
struct Hindsight<'a> {
    reload: Signal,
    facts: &'a [(u64, Fact)],
    index: usize,
}

impl Hindsight<'_> {
    /// The facts of the program that the process runs now, before this one.
    fn earlier(&self, id: ProcessId) -> &[(u64, Fact)] {
        let before = &self.facts[..self.index];
        let began = before.iter().rposition(|(_, fact)| begins(fact, id));
        &before[began.map_or(0, |began| began)..]
    }

    /// The facts of that program from this one on.
    fn later(&self, id: ProcessId) -> &[(u64, Fact)] {
        let after = &self.facts[self.index..];
        let next = after.iter().skip(1).position(|(_, fact)| begins(fact, id));
        &after[..next.map_or(after.len(), |next| next + 1)]
    }

    /// Whether the reload signal is seen to have a catch-all handler.
    fn shows_catch_all(&self, fact: &Fact, id: ProcessId) -> bool {
        let handler = match fact {
            Fact::Disposition { task, handler, .. } if task.id == id => *handler,
            Fact::Generate(sent) if sent.target.id == id => sent.handler,
            _ => return false,
        };
        runtimes::may_catch_all(self.program(id))
            && runtimes::is_catch_all(handler)
            && handler.serves.intersects(self.reload.set())
    }

    /// Whose the handler of the reload signal is that was set just now, and whether that is
    /// known to be the program's wish.
    fn installer(
        &self,
        id: ProcessId,
        before: Disposition,
        handler: crate::observation::Handler,
        forwards: bool,
        was_complete: bool,
    ) -> (Option<Runtime>, bool) {
        let (had_handler, was_ignored) = self.before(id);
        match self.program(id) {
            Program::Plain => return (None, true),
            Program::Of(Runtime::Go) if !had_handler && !was_ignored && !forwards => {
                return (Some(Runtime::Go), false);
            }
            Program::Of(Runtime::Go | Runtime::Bash) => {}
            Program::Of(runtime) => {
                let whose = if had_handler {
                    runtimes::again(runtime, self.reload)
                } else {
                    runtimes::first(runtime, self.reload, was_ignored)
                };
                let is_open = whose == Some(Runtime::Forwarding);
                return (if is_open { self.of_forwarder(id) } else { whose }, true);
            }
            Program::Unread => {
                if !before.caught && runtimes::is_jvms_first(handler, self.reload) {
                    return (Some(Runtime::Jvm), false);
                }
            }
        }
        if forwards || (was_complete && !runtimes::is_catch_all(handler)) {
            return (None, true);
        }
        (self.met(id, false), false)
    }

    /// Whose the handler of the reload signal phases out to be, as long as it is there.
    fn met(&self, id: ProcessId, forwards: bool) -> Option<Runtime> {
        let is_there = |index: usize, fact: &Fact| match fact {
            Fact::Disposition { task, state, signal, .. } if task.id == id => {
                state.caught.intersects(self.reload.set()) && (index == 0 || *signal != self.reload)
            }
            Fact::Mask { task, state, .. } | Fact::Consume { task, state, .. } if task.id == id => {
                state.caught.intersects(self.reload.set())
            }
            Fact::Deliver { task, signal, once: true, disposition, .. } => {
                task.id != id || *signal != self.reload || *disposition != DispositionKind::Handler
            }
            _ => true,
        };
        let mut while_there = self.later(id).iter().enumerate();
        let mut while_there =
            while_there.by_ref().take_while(|(index, (_, fact))| is_there(*index, fact));
        while_there.find(|(_, (_, fact))| self.shows_catch_all(fact, id))?;
        if forwards { self.of_forwarder(id) } else { Some(self.otherwise(id)) }
    }

    /// What a process runs at this fact.
    fn program(&self, id: ProcessId) -> Program {
        let facts = &self.facts[..=self.index];
        let told = facts.iter().enumerate().rev().find_map(|(index, (_, fact))| match fact {
            Fact::Exec { task, program, .. } | Fact::Found { task, program, .. }
                if task.id == id =>
            {
                Some(*program)
            }
            // A child runs what its parent ran.
            Fact::Fork { parent, child, .. } if child.id == id => {
                Some(Hindsight { index, ..*self }.program(parent.id))
            }
            _ => None,
        });
        told.unwrap_or_default()
    }

    /// Whether the process had a handler for the reload signal since its exec, and whether it
    /// ignored it then.
    fn before(&self, id: ProcessId) -> (bool, bool) {
        let has = |set: SignalSet| set.intersects(self.reload.set());
        let facts = &self.facts[..self.index];
        let mut had = false;
        for (index, (_, fact)) in facts.iter().enumerate().rev() {
            match fact {
                Fact::Disposition { task, signal, state, .. }
                    if task.id == id && *signal == self.reload =>
                {
                    had |= has(state.caught);
                }
                Fact::Exec { task, state, .. } if task.id == id => {
                    return (had, has(state.ignored));
                }
                Fact::Found { task, state, .. } if task.id == id => had |= has(state.caught),
                Fact::Fork { parent, child, .. } if child.id == id => {
                    let (parents, ignored) = Hindsight { index, ..*self }.before(parent.id);
                    return (had || parents, ignored);
                }
                _ => {}
            }
        }
        (had, false)
    }

    /// The runtime whose handler ends the process unless it passes the signal on.
    fn otherwise(&self, id: ProcessId) -> Runtime {
        match self.program(id) {
            Program::Of(runtime) => runtime,
            Program::Unread | Program::Plain => Runtime::CatchAll,
        }
    }

    /// A runtime's handler that passes some signals on: the program's own if the reload signal
    /// came and went well, deadly if not, else nobody knows.
    fn of_forwarder(&self, id: ProcessId) -> Option<Runtime> {
        let came = self.later(id).iter().position(|(_, fact)| {
            matches!(fact, Fact::Deliver {
                task, signal, disposition: DispositionKind::Handler, once: false, ..
            } if task.id == id && *signal == self.reload)
        });
        let reset = self.later(id).iter().skip(1).position(|(_, fact)| {
            matches!(fact, Fact::Disposition { task, signal, .. }
                if task.id == id && *signal == self.reload)
        });
        let came = came.filter(|came| reset.is_none_or(|reset| *came < reset + 1));
        let Some(came) = came else { return Some(Runtime::Forwarding) };
        let came = Hindsight { index: self.index + came, ..*self };
        if came.is_survived(id, true) {
            None
        } else if came.was_jvm(id) {
            Some(Runtime::Jvm)
        } else {
            Some(came.otherwise(id))
        }
    }

    /// Whether the reload signal has come to the handler that it has.
    fn has_come(&self, id: ProcessId) -> bool {
        let is_about = |of: &Task, signal: &Signal| of.id == id && *signal == self.reload;
        let last = self.earlier(id).iter().rev().find_map(|(_, fact)| match fact {
            Fact::Deliver { task, signal, .. } if is_about(task, signal) => Some(true),
            Fact::Disposition { task, signal, .. } if is_about(task, signal) => Some(false),
            _ => None,
        });
        last == Some(true)
    }

    /// Whether the reload signal has come to the handler that it has, of which nothing was heard
    /// by then, and it did not die of that.
    fn has_survived(&self, id: ProcessId) -> bool {
        let is_about = |of: &Task, signal: &Signal| of.id == id && *signal == self.reload;
        let last =
            self.facts[..self.index].iter().enumerate().rev().find_map(|(index, (_, fact))| {
                match fact {
                    Fact::Deliver { task, signal, disposition, once, .. }
                        if is_about(task, signal) =>
                    {
                        let came = *disposition == DispositionKind::Handler && !once;
                        Some(came.then_some(index))
                    }
                    Fact::Disposition { task, signal, .. } if is_about(task, signal) => Some(None),
                    Fact::Exec { task, .. } if task.id == id => Some(None),
                    Fact::Fork { child, .. } if child.id == id => Some(None),
                    _ => None,
                }
            });
        let came = last.flatten().map(|index| Hindsight { index, ..*self });
        came.is_some_and(|came| came.is_survived(id, false))
    }

    fn was_jvm(&self, id: ProcessId) -> bool {
        if self.program(id) != Program::Unread {
            return false;
        }
        let earlier = self.earlier(id);
        let born = earlier
            .iter()
            .position(|(_, fact)| matches!(fact, Fact::Fork { child, .. } if child.id == id));
        // It has its parent's handlers.
        let inherited = born.is_some_and(|place| {
            let Fact::Fork { parent, .. } = &earlier[place].1 else { return false };
            let index = self.index - earlier.len() + place;
            Hindsight { index, ..*self }.was_jvm(parent.id)
        });
        inherited
            || earlier.iter().any(|(_, fact)| match fact {
                Fact::Disposition { task, handler, .. } => {
                    task.id == id
                        && handler.serves.intersects(self.reload.set())
                        && runtimes::is_jvms(*handler, self.reload)
                }
                Fact::Generate(sent) => {
                    sent.target.id == id
                        && sent.handler.serves.intersects(self.reload.set())
                        && runtimes::is_jvms(sent.handler, self.reload)
                }
                _ => false,
            })
    }

    /// Whether the process did not die of the reload signal that has just come to its handler.
    fn is_survived(&self, id: ProcessId, is_forwarder: bool) -> bool {
        let came = self.facts[self.index].0;
        let later = self.later(id);
        let end = later.iter().enumerate().find_map(|(index, (at, fact))| match fact {
            Fact::Exit { task, signal, code, .. } if task.id == id => {
                Some((index, *at, *signal, *code))
            }
            _ => None,
        });
        let Some((index, died, by, code)) = end else { return true };
        if by.is_none() {
            let otherwise = if self.was_jvm(id) { Runtime::Jvm } else { self.otherwise(id) };
            return !(is_forwarder && otherwise.exit_code(self.reload) == Some(code));
        }
        if by != Some(self.reload) {
            return true;
        }
        let sent = |own: bool| {
            later[..index].iter().any(|(_, fact)| {
                matches!(fact, Fact::Generate(sent)
                    if sent.target.id == id && sent.signal == self.reload && is_own(sent) == own)
            })
        };
        // A script that cleans up first may take its time: nothing else came meanwhile.
        let cleaned_up = sent(true) && !sent(false);
        !cleaned_up && died - came > DIES_SOON_NS
    }
}

fn begins(fact: &Fact, id: ProcessId) -> bool {
    matches!(fact, Fact::Exec { task, .. } if task.id == id)
}

/// A signal that waits in a queue.
struct Waiting {
    index: usize,
    thread: Option<u32>,
    signal: Signal,
}

/// Whether a process takes a signal by a signalfd, by what was said of it last.
fn has_signalfd(before: &[(u64, Fact)], id: ProcessId, signal: Signal) -> bool {
    for (index, (_, fact)) in before.iter().enumerate().rev() {
        match fact {
            Fact::Consume { task, consumer, set, .. }
                if task.id == id && set.intersects(signal.set()) =>
            {
                return *consumer == Consumer::Signalfd;
            }
            Fact::Exec { task, .. } if task.id == id => return false,
            // A child has the descriptors of its parent.
            Fact::Fork { parent, child, .. } if child.id == id => {
                return has_signalfd(&before[..index], parent.id, signal);
            }
            _ => {}
        }
    }
    false
}

/// What became of every signal, by the index of its fact, and when.
fn fates(facts: &[(u64, Fact)]) -> BTreeMap<usize, (Fate, Option<u64>)> {
    let mut fates = Fates::default();
    for (index, (at, fact)) in facts.iter().enumerate() {
        fates.learn(facts, index, *at, fact);
    }
    fates.blame_for_raised(facts);
    fates.blame_for_shutdown(facts);
    fates.told
}

#[derive(Default)]
struct Fates {
    told: BTreeMap<usize, (Fate, Option<u64>)>,
    waiting: BTreeMap<ProcessId, Vec<Waiting>>,
    /// What a process is dying of: decided, not yet over.
    killing: BTreeMap<ProcessId, Vec<Waiting>>,
}

impl Fates {
    fn learn(&mut self, facts: &[(u64, Fact)], index: usize, at: u64, fact: &Fact) {
        match fact {
            Fact::Generate(sent) => self.sent(index, at, sent),
            Fact::Deliver { task, signal, disposition, unkillable, .. } => {
                let Some(waiting) = self.take(task, *signal) else { return };
                let action = signal.default_action();
                let fate = match disposition {
                    DispositionKind::Handler | DispositionKind::Blocked => Fate::Handled,
                    DispositionKind::Ignored => Fate::Ignored,
                    DispositionKind::Default if *unkillable => Fate::Ignored,
                    DispositionKind::Default => match action {
                        DefaultAction::Ignore | DefaultAction::Continue => Fate::Ignored,
                        DefaultAction::Stop => Fate::Stopped,
                        DefaultAction::Terminate | DefaultAction::Dump => Fate::Killed,
                    },
                };
                self.told.insert(waiting.index, (fate, Some(at)));
                if fate == Fate::Killed {
                    self.killing.entry(task.id).or_default().push(waiting);
                }
            }
            Fact::Taken { task, signal } => {
                if let Some(waiting) = self.take(task, *signal) {
                    self.told.insert(waiting.index, (Fate::Handled, Some(at)));
                }
            }
            Fact::Disposition { task, signal, disposition: DispositionKind::Ignored, .. } => {
                self.leave(task.id, |it| it.signal == *signal, (Fate::Dropped, Some(at)));
            }
            Fact::ThreadExit { task, pending } => {
                let is_gone = |it: &Waiting| {
                    it.thread == Some(task.tid) && pending.intersects(it.signal.set())
                };
                self.leave(task.id, is_gone, (Fate::Dropped, Some(at)));
            }
            Fact::Left { id, state } => {
                let is_gone = |it: &Waiting| !state.pending.intersects(it.signal.set());
                self.leave(*id, is_gone, (Fate::Handled, None));
            }
            Fact::Exit { task, signal: by, state, .. } => {
                for dying in self.killing.remove(&task.id).unwrap_or_default() {
                    if *by != Some(dying.signal) {
                        self.told.insert(dying.index, (Fate::Dropped, Some(at)));
                    }
                }
                for waiting in self.waiting.remove(&task.id).unwrap_or_default() {
                    let Fact::Generate(sent) = &facts[waiting.index].1 else { continue };
                    let is_default = sent.disposition == DispositionKind::Default;
                    let fate = if state.pending.intersects(waiting.signal.set()) {
                        (Fate::Pending, None)
                    } else if is_default && *by == Some(waiting.signal) {
                        (Fate::Killed, Some(at))
                    } else if waiting.thread.is_some()
                        && !has_signalfd(&facts[..index], task.id, waiting.signal)
                    {
                        (Fate::Dropped, Some(at))
                    } else {
                        (Fate::Handled, None)
                    };
                    self.told.insert(waiting.index, fate);
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, index: usize, at: u64, sent: &Generate) {
        let (id, signal) = (sent.target.id, sent.signal);
        if sent.dying_of.is_none() {
            let stops = 19..=22;
            let is_opposite = |it: &Waiting| match signal.number() {
                18 => stops.contains(&it.signal.number()),
                number => stops.contains(&number) && it.signal.number() == 18,
            };
            self.leave(id, is_opposite, (Fate::Dropped, Some(at)));
        }
        let is_default = sent.disposition == DispositionKind::Default;
        let action = signal.default_action();
        let is_harmless =
            is_default && matches!(action, DefaultAction::Ignore | DefaultAction::Continue);
        let is_condemned = is_default && sent.dying_of == Some(signal);
        let fate = match sent.result {
            GenerateResult::AlreadyPending => Fate::Coalesced,
            GenerateResult::Overflow => Fate::Dropped,
            GenerateResult::Ignored => {
                if is_harmless || sent.disposition == DispositionKind::Ignored {
                    Fate::Ignored
                } else {
                    Fate::Dropped
                }
            }
            GenerateResult::Queued | GenerateResult::LostInfo => {
                if is_harmless {
                    Fate::Ignored
                } else if is_condemned {
                    Fate::Killed
                } else {
                    Fate::Pending
                }
            }
        };
        self.told.insert(index, (fate, None));
        if !matches!(fate, Fate::Pending | Fate::Killed) {
            return;
        }
        let thread = sent.to_thread.then_some(sent.target.tid);
        // The kernel queues a second one of a standard signal only if the first is gone.
        if signal.number() < 32 {
            let is_gone = |it: &Waiting| it.signal == signal && it.thread == thread;
            self.leave(id, is_gone, (Fate::Handled, None));
        }
        let queue = if fate == Fate::Killed { &mut self.killing } else { &mut self.waiting };
        queue.entry(id).or_default().push(Waiting { index, thread, signal });
    }

    /// What a thread takes: first from its own queue, then from the process's.
    fn take(&mut self, task: &Task, signal: Signal) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(&task.id)?;
        let of = |thread| move |it: &Waiting| it.signal == signal && it.thread == thread;
        let own = waiting.iter().position(of(Some(task.tid)));
        let first = own.or_else(|| waiting.iter().position(of(None)))?;
        Some(waiting.remove(first))
    }

    fn leave(
        &mut self,
        id: ProcessId,
        is_gone: impl Fn(&Waiting) -> bool,
        fate: (Fate, Option<u64>),
    ) {
        for gone in self.waiting.entry(id).or_default().extract_if(.., |it| is_gone(it)) {
            self.told.insert(gone.index, fate);
        }
    }

    /// A program that gives up on a signal sends it to itself: it was killed by the one
    /// that came from elsewhere.
    fn blame_for_raised(&mut self, facts: &[(u64, Fact)]) {
        for killer in 0..facts.len() {
            let (killed_at, Fact::Generate(raised)) = &facts[killer] else { continue };
            if !is_own(raised) || self.told[&killer].0 != Fate::Killed {
                continue;
            }
            let handled = |index: &usize| {
                matches!(&facts[*index].1, Fact::Generate(earlier)
                    if earlier.signal == raised.signal
                        && earlier.target.id == raised.target.id
                        && !is_own(earlier))
                    && self.told[index].0 == Fate::Handled
            };
            let catch_all = |index: &usize| {
                let hindsight = Hindsight { reload: raised.signal, facts, index: *index };
                matches!(&facts[*index].1, Fact::Generate(earlier)
                    if runtimes::may_catch_all(hindsight.program(earlier.target.id))
                        && runtimes::is_catch_all(earlier.handler))
            };
            let last = (0..facts.len())
                .rev()
                .find(handled)
                .filter(|last| *last < killer && killed_at - facts[*last].0 <= RAISED_SOON_NS);
            let mut caught = (0..facts.len()).rev().filter(handled).filter(catch_all);
            let first = last.or(caught.next().filter(|last| *last < killer));
            if let Some(first) = first {
                self.told.insert(first, (Fate::Killed, Some(*killed_at)));
            }
        }
    }

    /// A runtime exits with a code that says which signal ended the program.
    fn blame_for_shutdown(&mut self, facts: &[(u64, Fact)]) {
        for (exited_at, fact) in facts {
            let Fact::Exit { task, signal: None, code, .. } = fact else { continue };
            for signal in (1..=MAX_SIGNAL).filter_map(Signal::from_number) {
                let first = facts.iter().enumerate().position(|(index, (at, fact))| {
                    matches!(fact, Fact::Generate(sent)
                        if sent.target.id == task.id
                            && sent.signal == signal
                            && at <= exited_at
                            && exit_code(facts, index, sent).is_some()
                            && self.told[&index].0 == Fate::Handled)
                });
                let Some(first) = first else { continue };
                let Fact::Generate(sent) = &facts[first].1 else { continue };
                if exit_code(facts, first, sent) == Some(*code) {
                    self.told.insert(first, (Fate::Killed, Some(*exited_at)));
                }
            }
        }
    }
}

/// The code that the runtime whose handler a signal met exits with.
fn exit_code(facts: &[(u64, Fact)], index: usize, sent: &Generate) -> Option<u8> {
    let (id, signal) = (sent.target.id, sent.signal);
    match (Hindsight { reload: signal, facts, index }.program(id)) {
        Program::Unread => {
            Runtime::Jvm.exit_code(signal).filter(|_| runtimes::is_jvms(sent.handler, signal))
        }
        Program::Plain => None,
        Program::Of(runtime) => {
            let is_recorded = super::lives::REPORTED.contains(&signal.number());
            let now = Lives::follow(signal, &facts[..=index]).now(id);
            let code = runtime.exit_code(signal).filter(|_| is_recorded && now.runtime.is_some());
            code.filter(|code| *code > 0 || ![2, 3, 15].contains(&signal.number()))
        }
    }
}
