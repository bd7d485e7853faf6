//! What became of the service after each reload, beside what became of the signal: told from
//! the events of a start, once their fates are known.
//!
//! A reload is the reload signal, sent to the main process by another one, or a RELOADING=1 that
//! no signal began. A process besides the main one that dies of the reload signal is told too.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    event::{DispositionKind, Effect, Event, Fate, NotifyMessage, ProcessRef, SignalSent, What},
    programs::{is_container_init, is_shell, is_supervisor},
    signal::Signal,
    unit::UnitFacts,
};

/// How long before and after a reload another process may have been sent the signal that is
/// the same reload: what signals a group does it one by one.
const TOGETHER_NS: i64 = 100_000_000;
/// A trap that waits for the command in the foreground for longer is told as deferred.
const DEFERRED_NS: i64 = 500_000_000;

/// A command that systemd knows nothing of may come to its end by itself: only an end within this
/// time, or the settle time if that is shorter, is the reload's, unless it left a successor.
const LOOSE_NS: i64 = 250_000_000;

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
}

/// An effect, and when it showed.
type Told = (Effect, Option<i64>);

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

/// How a process ended.
#[derive(Clone, Copy)]
struct End {
    at: i64,
    signal: Option<Signal>,
}

/// A process that was started.
#[derive(Clone, Copy)]
struct Child {
    at: i64,
    pid: u32,
    parent: u32,
}

/// How long a trap waits.
#[derive(Clone, Copy)]
enum Wait {
    /// Until then.
    Until(i64),
    /// It still did at the end.
    Still,
}

struct Reloads<'a> {
    events: &'a [Event],
    around: &'a Around<'a>,
    /// The ends of each process, as a pid may come again.
    ends: BTreeMap<u32, Vec<End>>,
    children: Vec<Child>,
    /// What descends from a main process.
    inside: BTreeSet<u32>,
    /// When the service was told to end, or said that it does.
    stopping: Option<i64>,
}

impl<'a> Reloads<'a> {
    fn new(events: &'a [Event], around: &'a Around<'a>) -> Self {
        let mut this = Self {
            events,
            around,
            ends: BTreeMap::new(),
            children: Vec::new(),
            inside: around.mains.iter().map(|(_, pid)| *pid).collect(),
            stopping: None,
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
        let stopping = |event: &&Event| this.stops(event);
        this.stopping = events.iter().find(stopping).map(|event| event.at_ns);
        this
    }

    fn effects(&self) -> Vec<(usize, Told)> {
        let mut told: BTreeMap<usize, Told> = BTreeMap::new();
        let mut coalesced = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            let What::Signal(sent) = &event.what else { continue };
            let Some(sender) = self.sender(sent) else { continue };
            if !self.is_main(sent.target.pid, event.at_ns) {
                if self.kills_another(sent, sender, event.at_ns) {
                    let at = sent.fate_ns.unwrap_or(event.at_ns);
                    told.insert(index, (Effect::LostProcess, Some(at)));
                }
            } else if sent.fate == Fate::Coalesced {
                coalesced.push(index);
            } else {
                told.insert(index, self.of_main(index, event.at_ns, sent));
            }
        }
        // They became one with the one that waited.
        for index in coalesced {
            let before = told.range(..index).rev();
            let same = |(other, _): &(&usize, &Told)| {
                matches!((&self.events[**other].what, &self.events[index].what),
                    (What::Signal(one), What::Signal(other)) if one.target.pid == other.target.pid)
            };
            let effect = { before }.find(same).map_or((Effect::Unknown, None), |it| *it.1);
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

    /// The sender of a reload signal. What the kernel sends is a terminal's hang-up, and what a
    /// process sends itself ends the work of its own handler: neither is a reload.
    fn sender<'s>(&self, sent: &'s SignalSent) -> Option<&'s ProcessRef> {
        let sender = sent.sender.as_ref()?;
        let is_reload = sent.signal == self.around.signal && sender.pid != sent.target.pid;
        (is_reload && !self.is_stop(sent.signal, sender)).then_some(sender)
    }

    /// Whether systemd stops the unit by a signal that its reload sends too. It is a command of
    /// ExecReload= that sends that, and systemd itself sends a ReloadSignal= alone.
    fn is_stop(&self, signal: Signal, sender: &ProcessRef) -> bool {
        let ends = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::KILL];
        ends.contains(&signal)
            && sender.comm == "systemd"
            && self.around.facts.is_some()
            && !self.is_notify_reload()
    }

    fn main_at(&self, at: i64) -> Option<u32> {
        let since = self.around.mains.iter().rev().find(|(since, _)| *since <= at);
        since.or(self.around.mains.first()).map(|(_, pid)| *pid)
    }

    fn is_main(&self, pid: u32, at: i64) -> bool {
        self.main_at(at) == Some(pid)
    }

    /// The end of a process that was there at a time.
    fn end_of(&self, pid: u32, at: i64) -> Option<End> {
        self.ends.get(&pid)?.iter().copied().find(|end| end.at >= at)
    }

    /// Whether it tells that the service goes away, or has it do so: told by another process,
    /// by itself, or by systemd.
    fn stops(&self, event: &Event) -> bool {
        match &event.what {
            What::Signal(sent) => {
                let sender = sent.sender.as_ref().map(|sender| sender.pid);
                let asks = [Signal::TERM, Signal::INT, Signal::KILL].contains(&sent.signal);
                let kills = sent.fate == Fate::Killed && sender.is_some();
                self.is_main(sent.target.pid, event.at_ns)
                    && (sent.signal != self.around.signal
                        || sent.sender.as_ref().is_some_and(|it| self.is_stop(sent.signal, it)))
                    && sender != Some(sent.target.pid)
                    && (asks || kills)
                    && !matches!(sent.fate, Fate::Ignored | Fate::Dropped)
            }
            What::Notify(message) => {
                message.says("STOPPING", "1") && self.is_main(message.sender.pid, event.at_ns)
            }
            What::Systemd { state, .. } => state == "deactivating",
            _ => false,
        }
    }

    /// Whether a reload signal killed another process than the main one. What the processes of
    /// a service send each other is their own affair, but not what its main process sends, or
    /// what supervises the one that died.
    fn kills_another(&self, sent: &SignalSent, sender: &ProcessRef, at: i64) -> bool {
        let supervises = || {
            let is_parent =
                |child: &Child| child.pid == sent.target.pid && child.parent == sender.pid;
            let looks_after = is_supervisor(&sender.comm) || is_container_init(&sender.comm);
            looks_after && self.children.iter().any(is_parent)
        };
        sent.fate == Fate::Killed
            && (sent.disposition != DispositionKind::Handler || sent.runtime.is_some())
            && (!self.inside.contains(&sender.pid) || self.is_main(sender.pid, at) || supervises())
            && self.stopping.is_none_or(|stopping| at <= stopping)
    }

    /// The effect of a reload signal that was sent to the main process.
    fn of_main(&self, index: usize, at: i64, sent: &SignalSent) -> Told {
        let settled = sent.fate_ns.unwrap_or(at);
        let end = self.end_of(sent.target.pid, at);
        match sent.fate {
            Fate::Killed => match self.handed_over(sent.target.pid, at, settled) {
                Some(since) => (Effect::Replaced, Some(since)),
                None => (Effect::Ended, Some(end.map_or(settled, |end| end.at))),
            },
            Fate::Handled => self.of_handled(index, at, sent, settled),
            // Nothing came of it; and nothing answered it.
            Fate::Ignored if !self.is_to_answer(at) => (Effect::Survived, None),
            Fate::Ignored => self.of_survivor(index, sent.target.pid, at, settled),
            Fate::Pending if self.is_to_answer(at) => {
                self.of_survivor(index, sent.target.pid, at, settled)
            }
            Fate::Pending | Fate::Coalesced | Fate::Dropped | Fate::Stopped => {
                (Effect::Unknown, None)
            }
        }
    }

    /// When another process became the main one in the place of the one that was reloaded.
    fn handed_over(&self, pid: u32, at: i64, settled: i64) -> Option<i64> {
        let until = settled.saturating_add(self.around.settle_ns);
        let end = self.end_of(pid, at).filter(|end| end.at <= until);
        // systemd may look for it once the old one has ended.
        let by = end.map_or(until, |end| end.at.saturating_add(self.around.settle_ns));
        let mut mains = self.around.mains.iter();
        let next = mains.find(|(since, main)| *since > at && *main != pid)?;
        (next.0 <= by).then_some(next.0)
    }

    /// The program took it.
    fn of_handled(&self, index: usize, at: i64, sent: &SignalSent, settled: i64) -> Told {
        let pid = sent.target.pid;
        let settle = self.around.settle_ns;
        let end = self.end_of(pid, settled);
        let soon = if self.is_loose() { settle.min(LOOSE_NS) } else { settle };
        let until = settled.saturating_add(soon);
        if let Some(since) = self.handed_over(pid, at, settled) {
            return (Effect::Replaced, Some(since));
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
                    self.of_end(index, at, pid, end).unwrap_or((Effect::Unknown, None))
                }
                _ => (Effect::Deferred, Some(ran)),
            },
        }
    }

    /// Whether the service may come to an end by itself: a command that systemd knows nothing of.
    fn is_loose(&self) -> bool {
        self.around.facts.is_none_or(|facts| facts.restart.is_none())
    }

    /// The main process ended soon after it took the reload. `None` where something else was to
    /// end it, or another reload: then only what was seen before tells.
    fn of_end(&self, index: usize, at: i64, pid: u32, end: End) -> Option<Told> {
        let later = self.events[index + 1..].iter().take_while(|event| event.at_ns <= end.at);
        let is_reload = |event: &Event| match &event.what {
            What::Signal(sent) => {
                sent.target.pid == pid
                    && sent.fate != Fate::Coalesced
                    && self.sender(sent).is_some()
            }
            _ => false,
        };
        let has_later = { later }.any(is_reload);
        if has_later || self.stopping.is_some_and(|stopping| stopping <= end.at) {
            return None;
        }
        Some(match end.signal {
            // Somebody whom nobody saw: the kernel, as there was no memory left.
            Some(Signal::KILL) => return None,
            Some(signal) if signal != self.around.signal => (Effect::Crashed, Some(end.at)),
            _ if self.has_successor(pid, at, end.at) => (Effect::Replaced, Some(end.at)),
            _ => (Effect::Ended, Some(end.at)),
        })
    }

    /// Whether the main process started its own program anew after a reload, and that lived on.
    fn has_successor(&self, pid: u32, from: i64, ended: i64) -> bool {
        let started = self.children.iter().filter(|it| (from..=ended).contains(&it.at));
        let mut family = BTreeSet::from([pid]);
        let own = self.program(pid, ended);
        for child in started {
            if !family.contains(&child.parent) {
                continue;
            }
            family.insert(child.pid);
            let lives = self.end_of(child.pid, child.at).is_none_or(|end| end.at > ended);
            // One that has executed nothing yet is a copy.
            let program = self.program_since(child.pid, child.at);
            if lives && (program.is_none() || program == own) {
                return true;
            }
        }
        false
    }

    /// The program that a process ran at a time.
    fn program(&self, pid: u32, at: i64) -> Option<&str> {
        let before = self.events.iter().rev().filter(|event| event.at_ns <= at);
        { before }.find_map(|event| match &event.what {
            What::Exec { process, exe, .. } if process.pid == pid => exe.as_deref(),
            What::Signal(sent) if sent.target.pid == pid => sent.target.exe.as_deref(),
            _ => None,
        })
    }

    /// The last program that a process executed from a time on.
    fn program_since(&self, pid: u32, from: i64) -> Option<&str> {
        let after = self.events.iter().rev().take_while(|event| event.at_ns >= from);
        { after }.find_map(|event| match &event.what {
            What::Exec { process, exe, .. } if process.pid == pid => exe.as_deref(),
            _ => None,
        })
    }

    /// Where the main process is a shell that has a handler: until when its trap waited for the
    /// command in the foreground. `None` where it did not wait, or not for long.
    fn trap_waited(&self, sent: &SignalSent, settled: i64) -> Option<Wait> {
        let pid = sent.target.pid;
        let program = sent.target.exe.as_deref().unwrap_or(&sent.target.comm);
        if sent.disposition != DispositionKind::Handler || !is_shell(program) {
            return None;
        }
        // What the shell does first, if it is not the trap.
        let acts = self.events.iter().filter(|event| event.at_ns > settled);
        let acted = { acts }.find(|event| is_act_of(pid, &event.what)).map(|it| it.at_ns);
        let last = acted.unwrap_or(self.around.end_ns);
        let waited_for = self.children.iter().filter(|child| {
            child.parent == pid
                && child.at <= settled
                && self.is_in_foreground(child)
                && self.end_of(child.pid, child.at).is_none_or(|end| end.at > settled)
        });
        let ends: Vec<Option<i64>> =
            waited_for.map(|child| self.end_of(child.pid, child.at).map(|end| end.at)).collect();
        let over = ends.iter().flatten().copied().filter(|end| *end <= last).max();
        let (wait, until) = match (over, acted) {
            (Some(over), _) => (Wait::Until(over), over),
            (None, None) if !ends.is_empty() => (Wait::Still, self.around.end_ns),
            // It did something while the command ran: that is not in the foreground.
            _ => return None,
        };
        (until.saturating_sub(settled) >= DEFERRED_NS).then_some(wait)
    }

    /// Whether a child of a shell is a command in its foreground, by how it was executed.
    fn is_in_foreground(&self, child: &Child) -> bool {
        let after = self.events.iter().filter(|event| event.at_ns >= child.at);
        { after }.find_map(|event| match &event.what {
            What::Exec { process, background, .. } if process.pid == child.pid => Some(!background),
            _ => None,
        }) == Some(true)
    }

    /// Whether a reload at this time is to be answered by messages.
    fn is_to_answer(&self, at: i64) -> bool {
        self.is_notify_reload() && self.around.ready_ns.is_some_and(|ready| ready <= at)
    }

    fn is_notify_reload(&self) -> bool {
        let service_type = self.around.facts.and_then(|facts| facts.service_type.as_deref());
        service_type == Some("notify-reload")
    }

    /// The main process went on after a reload; as far as was seen.
    fn of_survivor(&self, index: usize, pid: u32, at: i64, settled: i64) -> Told {
        let end = self.end_of(pid, settled).map(|end| end.at);
        let last = end.unwrap_or(self.around.end_ns);
        let until = settled.saturating_add(self.around.settle_ns);
        let is_long_enough = last >= until;
        let going = self.stopping.is_some_and(|stopping| stopping < until);
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

    /// The RELOADING=1 that answers a reload signal: the next one of that main process which
    /// systemd takes, before the next reload.
    fn reloading_after(&self, index: usize, pid: u32) -> Option<usize> {
        let next_reload = |event: &Event| match &event.what {
            What::Signal(sent) => {
                sent.target.pid == pid
                    && sent.fate != Fate::Coalesced
                    && self.sender(sent).is_some()
            }
            _ => false,
        };
        let rest = self.events.iter().enumerate().skip(index + 1);
        let before_next = rest.take_while(|(_, event)| !next_reload(event));
        { before_next }.find(|(_, event)| self.is_answer(event)).map(|(index, _)| index)
    }

    /// Whether an event is a RELOADING=1 that systemd counts as the answer to a reload.
    fn is_answer(&self, event: &Event) -> bool {
        let What::Notify(message) = &event.what else { return false };
        let timed = message.value("MONOTONIC_USEC").and_then(|text| text.parse::<u64>().ok());
        counts(message)
            && message.says("RELOADING", "1")
            && !message.says("READY", "1")
            && !message.says("STOPPING", "1")
            && (!self.is_notify_reload() || timed.is_some_and(|usec| usec > 0))
    }

    /// What follows a RELOADING=1.
    fn of_reloading(&self, index: usize, last: i64) -> Told {
        let at = self.events[index].at_ns;
        let done = self.events[index + 1..].iter().find_map(|event| match &event.what {
            What::Notify(message) if counts(message) && message.says("READY", "1") => {
                Some(event.at_ns)
            }
            _ => None,
        });
        if let Some(done) = done {
            return (Effect::Reloaded, Some(done));
        }
        if let Some(at) = self.gave_up_after(index, last) {
            return (Effect::Unfinished, Some(at));
        }
        let until = at.saturating_add(self.around.settle_ns);
        let going = self.stopping.is_some_and(|stopping| stopping < until);
        (if last >= until && !going { Effect::Unfinished } else { Effect::Unknown }, None)
    }

    /// Whether systemd's time for a reload was over before the main process ended.
    fn was_late_before(&self, index: usize, at: i64, pid: u32, end: i64) -> bool {
        let begins = || self.reloading_after(index, pid).unwrap_or(index);
        self.is_to_answer(at) && self.gave_up_after(begins(), end).is_some()
    }

    /// When systemd's time for a reload was over, where nothing had answered.
    fn gave_up_after(&self, index: usize, last: i64) -> Option<i64> {
        self.active_again_after(index).or_else(|| self.timed_out_after(index, last))
    }

    /// When `TimeoutStartSec=` was over. A notify-reload service has it for its answer and for the
    /// end of the reload, and no state tells of it before systemd 259, which waits on.
    fn timed_out_after(&self, index: usize, last: i64) -> Option<i64> {
        let facts = self.around.facts.filter(|_| self.is_notify_reload())?;
        let limit = facts.timeout_start_ns.filter(|limit| *limit > 0)?;
        let until = self.events[index].at_ns.saturating_add(i64::try_from(limit).ok()?);
        let says = |message: &NotifyMessage| {
            let keys = ["READY", "RELOADING", "STOPPING", "EXTEND_TIMEOUT_USEC"];
            counts(message) && keys.iter().any(|key| message.value(key).is_some())
        };
        let rest = self.events[index + 1..].iter().take_while(|event| event.at_ns <= until);
        let is_said =
            { rest }.any(|event| matches!(&event.what, What::Notify(message) if says(message)));
        (until <= last && !is_said).then_some(until)
    }

    /// When systemd took the unit as active again after it had waited for the end of a reload,
    /// where nothing had answered: its timeout was over.
    fn active_again_after(&self, index: usize) -> Option<i64> {
        let state = |event: &Event| match &event.what {
            What::Systemd { state, .. } => Some(state.clone()),
            _ => None,
        };
        let mut reloading =
            self.events[..=index].iter().rev().find_map(state).is_some_and(|it| it == "reloading");
        for event in &self.events[index + 1..] {
            match &event.what {
                What::Notify(message)
                    if counts(message)
                        && (message.says("READY", "1") || message.says("RELOADING", "1")) =>
                {
                    return None;
                }
                What::Systemd { state, .. } if state == "reloading" => reloading = true,
                What::Systemd { state, .. } if reloading => {
                    return (state == "active").then_some(event.at_ns);
                }
                _ => {}
            }
        }
        None
    }

    /// When another process died of the same reload.
    fn lost_with(&self, index: usize, at: i64, until: i64) -> Option<i64> {
        let What::Signal(reload) = &self.events[index].what else { return None };
        let (main, by) = (reload.target.pid, reload.sender.as_ref()?.pid);
        self.events.iter().find_map(|event| {
            let What::Signal(sent) = &event.what else { return None };
            let sender = self.sender(sent)?;
            let together = sender.pid == by && event.at_ns.abs_diff(at) <= TOGETHER_NS as u64;
            let passed_on = sender.pid == main && (at..=until).contains(&event.at_ns);
            let is_lost = !self.is_main(sent.target.pid, event.at_ns)
                && (together || passed_on)
                && self.kills_another(sent, sender, event.at_ns);
            is_lost.then(|| sent.fate_ns.unwrap_or(event.at_ns))
        })
    }

    /// The effect of a reload that the service announces without having been sent a signal.
    fn of_announced(&self, index: usize, at: i64, message: &NotifyMessage) -> Option<Told> {
        if !counts(message)
            || !message.says("RELOADING", "1")
            || message.says("READY", "1")
            || message.says("STOPPING", "1")
        {
            return None;
        }
        let pid = self.main_at(at)?;
        // Since the last end of a reload.
        let before = self.events[..index].iter().rev().take_while(|event| {
            !matches!(&event.what, What::Notify(message)
                if counts(message) && (message.says("READY", "1") || message.says("RELOADING", "1")))
        });
        let is_reload = |event: &Event| match &event.what {
            What::Signal(sent) => sent.target.pid == pid && self.sender(sent).is_some(),
            _ => false,
        };
        if { before }.any(is_reload) {
            return None;
        }
        let end = self.end_of(pid, at);
        let last = end.map_or(self.around.end_ns, |end| end.at);
        let told = self.of_reloading(index, last);
        match end {
            // It was neither done nor given up before.
            Some(end) if told.1.is_none() && end.at <= at.saturating_add(self.around.settle_ns) => {
                Some(self.of_end(index, at, pid, end).unwrap_or(told))
            }
            _ => Some(told),
        }
    }
}

/// Whether systemd acts on a message, as far as is known.
fn counts(message: &NotifyMessage) -> bool {
    message.result == 0 && message.accepted != Some(false)
}

/// Whether a process does something here.
fn is_act_of(pid: u32, what: &What) -> bool {
    match what {
        What::Fork { parent, .. } => parent.pid == pid,
        What::Exec { process, .. }
        | What::Exit { process, .. }
        | What::Disposition { process, .. }
        | What::Mask { process, .. } => process.pid == pid,
        What::Signal(sent) => sent.sender.as_ref().is_some_and(|it| it.pid == pid),
        What::Notify(message) => message.sender.pid == pid,
        What::Cgroup { .. } | What::Systemd { .. } | What::Loss { .. } => false,
    }
}
