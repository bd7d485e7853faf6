//! What became of the service after each reload, beside what became of the signal: told from
//! the events of a start, once their fates are known.
//!
//! A reload is the reload signal, sent to the main process by another one, or a RELOADING=1 that
//! no signal began. A process besides the main one that dies of the reload signal is told too.

mod answers;
mod endings;
mod others;
mod traps;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    endings::{Child, End},
    traps::Wait,
};
use crate::model::{
    event::{Effect, Event, Fate, ProcessRef, SignalSent, What},
    signal::Signal,
    unit::UnitFacts,
};

/// A command that systemd knows nothing of may come to its end by itself: only an exit within this
/// time, or the settle time if that is shorter, is the reload's, unless it left a successor. That
/// it dies of a signal is no end of its own.
const LOOSE_NS: i64 = 250_000_000;

/// How long before and after one process another may be sent the signal that is the same reload or
/// the same stop: what signals a group does it one by one.
const TOGETHER_NS: i64 = 100_000_000;

/// What effects are told with besides the events.
pub struct Around<'a> {
    /// The main processes by their pids, each with when it became that; in order of time.
    pub mains: &'a [(i64, u32)],
    /// The reload signal.
    pub signal: Signal,
    /// The unit's settings.
    pub facts: Option<&'a UnitFacts>,
    /// When the service was ready.
    pub ready_ns: Option<i64>,
    /// The end of the capture.
    pub end_ns: i64,
    /// The settle time.
    pub settle_ns: i64,
    /// Whether the tracer places the reload signal: what the kernel sends is a reload too.
    pub placed: bool,
}

/// An effect, and when it showed.
type EffectAt = (Effect, Option<i64>);

/// Tells the effect of every reload among the events, which are in order of time.
pub fn tell(events: &mut [Event], around: &Around<'_>) {
    let told = Reloads::new(events, around).effects();
    for (index, (effect, at)) in told {
        match &mut events[index].what {
            What::Signal(sent) => (sent.effect, sent.effect_ns) = (Some(effect), at),
            What::Notify(message) => (message.effect, message.effect_ns) = (Some(effect), at),
            _ => {}
        }
    }
}

struct Reloads<'a> {
    events: &'a [Event],
    around: &'a Around<'a>,
    /// The ends of each process, as a pid may come again.
    ends: BTreeMap<u32, Vec<End>>,
    children: Vec<Child>,
    /// What descends from a main process.
    inside: BTreeSet<u32>,
    /// When the service was told to end, or said that it does: by the places of the events.
    stops: Vec<usize>,
    /// Who sends what is placed.
    kernel: ProcessRef,
}

impl<'a> Reloads<'a> {
    fn new(events: &'a [Event], around: &'a Around<'a>) -> Self {
        let mut this = Self {
            events,
            around,
            ends: BTreeMap::new(),
            children: Vec::new(),
            inside: around.mains.iter().map(|(_, pid)| *pid).collect(),
            stops: Vec::new(),
            kernel: ProcessRef { pid: 0, ns_pid: None, comm: "".into(), exe: None, uid: None },
        };
        for event in events {
            match &event.what {
                What::Exit { process, signal, .. } => {
                    let end = End { at: event.at_ns, signal: *signal };
                    this.ends.entry(process.pid).or_default().push(end);
                }
                What::Fork { process, parent } => {
                    let (pid, parent) = (process.pid, parent.pid);
                    this.children.push(Child { at: event.at_ns, pid, parent });
                    if this.inside.contains(&parent) {
                        this.inside.insert(pid);
                    }
                }
                _ => {}
            }
        }
        let stops = events.iter().enumerate().filter(|(_, event)| this.stops(event));
        this.stops = stops.map(|(index, _)| index).collect();
        this
    }

    fn effects(&self) -> Vec<(usize, EffectAt)> {
        let mut told: BTreeMap<usize, EffectAt> = BTreeMap::new();
        let (mut coalesced, mut waiting) = (Vec::new(), Vec::new());
        for (index, event) in self.events.iter().enumerate() {
            let What::Signal(sent) = &event.what else { continue };
            let Some(sender) = self.sender(sent) else { continue };
            if !self.is_main(sent.target.pid, event.at_ns) {
                if self.kills_another(sent, sender, event.at_ns) {
                    let at = sent.fate_ns.unwrap_or(event.at_ns);
                    told.insert(index, (Effect::LostProcess, Some(at)));
                } else if let Some(effect) = self.ends_with(index, event.at_ns, sent, sender) {
                    told.insert(index, effect);
                }
            } else if sent.fate == Fate::Coalesced {
                coalesced.push(index);
            } else {
                if sent.fate == Fate::Pending {
                    waiting.push(index);
                }
                told.insert(index, self.of_main(index, event.at_ns, sent));
            }
        }
        let before = |told: &BTreeMap<usize, EffectAt>, index: usize| {
            let same = |(other, _): &(&usize, &EffectAt)| {
                matches!((&self.events[**other].what, &self.events[index].what),
                    (What::Signal(one), What::Signal(other)) if one.target.pid == other.target.pid)
            };
            told.range(..index).rev().find(same).map(|it| *it.1)
        };
        // They came while the handler of the one before was ending the program.
        for index in waiting {
            let ends = |(effect, _): &EffectAt| {
                matches!(effect, Effect::Ended | Effect::Crashed | Effect::Replaced)
            };
            if let Some(effect) = before(&told, index).filter(ends) {
                told.insert(index, effect);
            }
        }
        // They became one with the one that waited.
        for index in coalesced {
            let effect = before(&told, index).unwrap_or((Effect::Unknown, None));
            told.insert(index, effect);
        }
        for (index, event) in self.events.iter().enumerate() {
            if let What::Notify(message) = &event.what
                && let Some(effect) = self.of_announced(index, event.at_ns, message)
            {
                told.insert(index, effect);
            }
        }
        told.into_iter().collect()
    }

    /// The sender of a reload signal. What the kernel sends is a terminal's hang-up, unless it
    /// was placed, and what a process sends itself ends the work of its own handler: neither is a
    /// reload.
    fn sender<'s>(&'s self, sent: &'s SignalSent) -> Option<&'s ProcessRef> {
        let sender = match &sent.sender {
            Some(sender) => &sender.process,
            None if self.around.placed => &self.kernel,
            None => return None,
        };
        let is_reload = sent.signal == self.around.signal && sender.pid != sent.target.pid;
        (is_reload && !self.is_stop(sent.signal, sender)).then_some(sender)
    }

    /// Whether systemd stops the unit by a signal that its reload sends too. It is a command of
    /// ExecReload= that sends that, and systemd itself sends a ReloadSignal= alone.
    fn is_stop(&self, signal: Signal, sender: &ProcessRef) -> bool {
        let stops = |facts: &UnitFacts| signal.may_be_to_end() || facts.stops_by(signal);
        sender.comm == "systemd" && self.around.facts.is_some_and(stops) && !self.is_notify_reload()
    }

    fn main_at(&self, at: i64) -> Option<u32> {
        let since = self.around.mains.iter().rev().find(|(since, _)| *since <= at);
        since.or(self.around.mains.first()).map(|(_, pid)| *pid)
    }

    fn is_main(&self, pid: u32, at: i64) -> bool {
        self.main_at(at) == Some(pid)
    }

    /// Whether it tells that the service goes away, or has it do so: told by another process,
    /// by itself, or by systemd.
    fn stops(&self, event: &Event) -> bool {
        match &event.what {
            What::Signal(sent) => {
                let sender = sent.sender.as_ref().map(|sender| sender.pid);
                let kills = sent.fate == Fate::Killed && sender.is_some();
                self.is_main(sent.target.pid, event.at_ns)
                    && (sent.signal != self.around.signal
                        || sent.sender.as_ref().is_some_and(|it| self.is_stop(sent.signal, it)))
                    && sender != Some(sent.target.pid)
                    && (sent.signal.ends() || kills)
                    && !matches!(sent.fate, Fate::Ignored | Fate::Dropped)
            }
            What::Notify(message) => {
                message.says("STOPPING", "1") && self.is_main(message.sender.pid, event.at_ns)
            }
            What::Systemd { state, .. } => state == "deactivating",
            _ => false,
        }
    }

    /// When the service was told to end, or said that it does.
    fn stopping(&self) -> Option<i64> {
        self.stops.first().map(|index| self.events[*index].at_ns)
    }

    /// Whether something else than a reload had the service end by then. What it says itself
    /// after the reload, and systemd after that, is how it ends by the reload; unless READY=1 said
    /// before that the reload was done.
    fn was_told_to_end(&self, reload: usize, until: i64) -> bool {
        let mut announced = false;
        let stops = self.stops.iter().map(|index| (*index, &self.events[*index]));
        for (index, event) in stops.take_while(|(_, event)| event.at_ns <= until) {
            match &event.what {
                What::Notify(_) if index > reload && !self.was_done(reload, index) => {
                    announced = true;
                }
                What::Systemd { .. } if announced => {}
                _ => return true,
            }
        }
        false
    }

    /// The effect of a reload signal that was sent to the main process.
    fn of_main(&self, index: usize, at: i64, sent: &SignalSent) -> EffectAt {
        let settled = sent.fate_ns.unwrap_or(at);
        let end = self.end_of(sent.target.pid, at);
        match sent.fate {
            // It was on its way out.
            Fate::Killed if self.was_told_to_end(index, at) => (Effect::Unknown, None),
            Fate::Killed => match self.handed_over(sent.target.pid, at, settled) {
                Some(next) => self
                    .of_starter(index, (at, settled), sent.target.pid, next)
                    .unwrap_or((Effect::Replaced, Some(next.0))),
                None => (Effect::Ended, Some(end.map_or(settled, |end| end.at))),
            },
            Fate::Handled => self.of_handled(index, at, sent, settled),
            // Nothing came of it; and nothing answered it.
            Fate::Ignored if !self.is_to_answer(at) => self.of_ignored(index, at, sent, settled),
            Fate::Ignored => self.of_survivor(index, sent.target.pid, at, settled),
            Fate::Pending if self.is_to_answer(at) => {
                self.of_survivor(index, sent.target.pid, at, settled)
            }
            Fate::Pending | Fate::Coalesced | Fate::Dropped | Fate::Stopped => {
                (Effect::Unknown, None)
            }
        }
    }

    /// The program never saw it; but what it needs may have died of the same reload.
    fn of_ignored(&self, index: usize, at: i64, sent: &SignalSent, settled: i64) -> EffectAt {
        let pid = sent.target.pid;
        let until = settled.saturating_add(self.around.settle_ns);
        let Some(lost) = self.lost_with(index, at, until) else { return (Effect::Survived, None) };
        let end = self.end_of(pid, settled).filter(|end| end.at <= until && !self.is_loose());
        let ended = end.and_then(|end| self.of_end(index, at, pid, end));
        ended.unwrap_or((Effect::LostProcess, Some(lost)))
    }

    /// The program took it.
    fn of_handled(&self, index: usize, at: i64, sent: &SignalSent, settled: i64) -> EffectAt {
        let pid = sent.target.pid;
        let settle = self.around.settle_ns;
        let end = self.end_of(pid, settled);
        let by_itself = self.is_loose() && end.is_some_and(|end| end.signal.is_none());
        let soon = if by_itself { settle.min(LOOSE_NS) } else { settle };
        let until = settled.saturating_add(soon);
        if let Some(next) = self.handed_over(pid, at, settled) {
            let of_starter = self.of_starter(index, (at, settled), pid, next);
            return of_starter.unwrap_or((Effect::Replaced, Some(next.0)));
        }
        match self.trap_waited(sent, settled) {
            None => {
                let by_reload = |end: &End| {
                    let is_late = end.at > settled.saturating_add(settle);
                    end.at <= until || !is_late && self.has_successor(pid, at, end.at)
                };
                let in_time = |end: &End| !self.was_late_before(index, at, pid, end.at);
                let end = end.filter(by_reload).filter(in_time);
                let ended = end.and_then(|end| self.of_end(index, at, pid, end));
                ended.unwrap_or_else(|| self.of_survivor(index, pid, at, settled))
            }
            Some(Wait::Still) => (Effect::Deferred, None),
            // The trap may have ended it; but a command may have come to its end.
            Some(Wait::Until(ran)) => match end {
                Some(end) if end.at <= ran.saturating_add(settle) && !self.is_loose() => {
                    self.of_end(index, at, pid, end).unwrap_or((Effect::Deferred, Some(ran)))
                }
                _ => (Effect::Deferred, Some(ran)),
            },
        }
    }

    /// The main process went on after a reload; as far as was seen.
    fn of_survivor(&self, index: usize, pid: u32, at: i64, settled: i64) -> EffectAt {
        let end = self.end_of(pid, settled).map(|end| end.at);
        let last = end.unwrap_or(self.around.end_ns);
        let until = settled.saturating_add(self.around.settle_ns);
        let is_long_enough = last >= until;
        let going = self.stopping().is_some_and(|stopping| stopping < until);
        if let Some(reloading) = self.reloading_after(index, pid) {
            return self.of_reloading(reloading, last);
        }
        if self.is_to_answer(at) {
            if let Some(at) = self.gave_up_after(index, last) {
                return (Effect::Unanswered, Some(at));
            }
            let is_over = is_long_enough && !going;
            return (if is_over { Effect::Unanswered } else { Effect::Unknown }, None);
        }
        if let Some(lost) = self.lost_with(index, at, until) {
            return (Effect::LostProcess, Some(lost));
        }
        (if is_long_enough { Effect::Survived } else { Effect::Unknown }, None)
    }
}
