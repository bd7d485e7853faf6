//! What became of each signal, told where the evidence is: at its sending, its delivery, or
//! the end of the thread or process that it waits for.

use std::collections::VecDeque;

use hashbrown::HashMap;
use smol_str::SmolStr;
use tracer_common::signal::SignalSet;

use super::{
    events::{EventPlace, Events, Group, Kind},
    runtimes,
};
use crate::{
    model::{
        event::{DispositionKind, Fate, Runtime},
        signal::{DefaultAction, Signal},
    },
    observation::{Generate, GenerateResult, ProcessId, Program, Task},
};

/// How soon a runtime that gives up on a signal sends it to itself again, ns.
const RE_RAISE_NS: u64 = 100_000_000;
/// Signals of one start whose fates are open. Of a standard signal one waits for a process and
/// one for each of its threads; a real-time signal waits as often as it was sent. What there
/// is no room for stays as pending as it was last seen. There is as much room again for those
/// to main processes.
const MAX_OPEN: usize = 16_384;
/// Processes whose last handled signals are remembered.
const MAX_REMEMBERED: usize = 1_024;
/// The last standard signal; of one after it several wait.
const LAST_STANDARD: u32 = 31;

/// What is known at the sending.
#[must_use]
pub fn at_sending(generate: &Generate) -> Fate {
    let is_default = generate.disposition == DispositionKind::Default;
    let harmless = is_default
        && matches!(
            generate.signal.default_action(),
            DefaultAction::Ignore | DefaultAction::Continue
        );
    match generate.result {
        GenerateResult::Ignored if generate.disposition == DispositionKind::Ignored || harmless => {
            Fate::Ignored
        }
        // There was no room, or the process is exiting: only then it throws away what it
        // doesn't ignore.
        GenerateResult::Ignored | GenerateResult::Overflow => Fate::Dropped,
        GenerateResult::AlreadyPending => Fate::Coalesced,
        GenerateResult::Queued | GenerateResult::LostInfo if harmless => Fate::Ignored,
        GenerateResult::Queued | GenerateResult::LostInfo if is_condemned(generate) => Fate::Killed,
        GenerateResult::Queued | GenerateResult::LostInfo => Fate::Pending,
    }
}

/// Whether the kernel decided at once that it kills (`complete_signal`).
fn is_condemned(generate: &Generate) -> bool {
    generate.dying_of == Some(generate.signal) && generate.disposition == DispositionKind::Default
}

/// OpenSignal by a process to itself.
fn is_own(generate: &Generate) -> bool {
    generate.sender.as_ref().is_some_and(|sender| sender.id == generate.target.id)
}

/// A signal among the events.
#[derive(Clone, Debug)]
struct OpenSignal {
    place: EventPlace,
    at: u64,
    group: Group,
    /// When it was handled, if that was seen.
    handled_at: Option<u64>,
}

impl OpenSignal {
    /// Tells what became of it.
    fn settle(&mut self, events: &mut Events, fate: Fate, at: Option<u64>) {
        events.settle(self.place, &self.group, fate, at);
        self.group.fate = Some(fate as u8);
    }
}

/// A signal whose fate is open.
#[derive(Clone, Debug)]
struct Open {
    sent: OpenSignal,
    /// The thread, if it was sent to one and not to the process.
    thread: Option<u32>,
    disposition: DispositionKind,
    /// It kills: the kernel has said so, at its sending or its delivery.
    kills: Option<Kills>,
    /// OpenSignal by the process itself.
    own: bool,
    catch_all: bool,
    /// The code that a runtime which has its handler exits with.
    exits: Option<u8>,
}

/// Since when it is known that a signal kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kills {
    AtSending,
    AtDelivery,
}

/// The signals that a process has handled last, as they may turn out to have killed it.
#[derive(Clone, Debug, Default)]
struct Handled {
    /// The last one that another process sent.
    last: Option<OpenSignal>,
    /// The last one of these that a runtime's catch-all took.
    last_caught: Option<OpenSignal>,
    /// The first one that came to a runtime which exits on it, unless the program asked for
    /// it: with that code.
    first_exit: Option<(u8, OpenSignal)>,
    /// The one that is told to have killed the process, as that sent it to itself again.
    raised: Option<OpenSignal>,
}

impl Handled {
    /// Whether a death of its process from now on could be told by it.
    fn may_tell_a_death(&self, now: u64) -> bool {
        let is_fresh = |last: &OpenSignal| now.saturating_sub(last.at) <= RE_RAISE_NS;
        self.last_caught.is_some()
            || self.first_exit.is_some()
            || self.last.as_ref().is_some_and(is_fresh)
    }
}

/// The signals of one start that something may still become of.
#[derive(Clone, Debug, Default)]
pub struct Fates {
    open: HashMap<(ProcessId, Signal), Vec<Open>>,
    count: usize,
    unfollowed: u64,
    handled: HashMap<(ProcessId, Signal), Handled>,
    /// Those that `handled` has. Where there are many, the one that was handled last is last.
    remembered: VecDeque<(ProcessId, Signal)>,
}

impl Fates {
    /// A signal was sent; its event is at `place`.
    #[allow(clippy::too_many_arguments, reason = "they are what is known of a signal")]
    pub fn sent(
        &mut self,
        events: &mut Events,
        at: u64,
        generate: &Generate,
        place: EventPlace,
        sender: Option<SmolStr>,
        to_main: bool,
        (program, whose): (Program, Option<Runtime>),
    ) {
        let (id, signal) = (generate.target.id, generate.signal);
        // A process that is ending takes nothing any more, and keeps what it has
        // (`prepare_signal`).
        if generate.dying_of.is_none() {
            for other in signal.thrown_out() {
                self.thrown_out(events, at, id, other);
            }
        }
        let fate = at_sending(generate);
        if !matches!(fate, Fate::Pending | Fate::Killed) {
            return;
        }
        let thread = generate.to_thread.then_some(generate.target.tid);
        // A second one is put into the same queue only if the first is not there any more.
        if signal.number() <= LAST_STANDARD {
            self.gone_from_queue(events, id, signal, |open| open.thread == thread);
        }
        let group =
            Group { kind: Kind::Signal, signals: signal.set().0, fate: Some(fate as u8), sender };
        let open = Open {
            sent: OpenSignal { place, at, group, handled_at: None },
            thread,
            disposition: generate.disposition,
            kills: (fate == Fate::Killed).then_some(Kills::AtSending),
            own: is_own(generate),
            catch_all: runtimes::may_catch_all(program) && runtimes::is_catch_all(generate.handler),
            exits: runtimes::exit_code(program, whose, generate),
        };
        if open.own && fate == Fate::Killed {
            self.raised(events, id, signal, at);
        }
        if self.count < if to_main { 2 * MAX_OPEN } else { MAX_OPEN } {
            self.is_open(id, signal, open);
        } else {
            self.unfollowed += 1;
        }
    }

    fn is_open(&mut self, id: ProcessId, signal: Signal, open: Open) {
        self.count += 1;
        self.open.entry((id, signal)).or_default().push(open);
    }

    /// Signals whose fates could not be followed, as too many were open.
    #[must_use]
    pub fn unfollowed(&self) -> u64 {
        self.unfollowed
    }

    /// Whether a process has signals whose fates are open.
    pub fn waiting(&self) -> impl Iterator<Item = ProcessId> {
        self.open.keys().map(|(id, _)| *id)
    }

    /// A thread takes a signal from its queue. Its own come before the process's
    /// (`dequeue_signal`).
    fn take(&mut self, task: &Task, signal: Signal) -> Option<Open> {
        let open = self.open.get_mut(&(task.id, signal))?;
        let own = open.iter().position(|open| open.thread == Some(task.tid));
        let first = own.or_else(|| open.iter().position(|open| open.thread.is_none()))?;
        self.count -= 1;
        let taken = open.remove(first);
        if open.is_empty() {
            self.open.remove(&(task.id, signal));
        }
        Some(taken)
    }

    /// A thread took a signal from its queue, to do what `as_what` says.
    pub fn delivered(
        &mut self,
        events: &mut Events,
        at: u64,
        task: &Task,
        signal: Signal,
        as_what: DispositionKind,
        unkillable: bool,
    ) {
        let Some(mut open) = self.take(task, signal) else {
            return;
        };
        match as_what {
            DispositionKind::Default if unkillable => {
                open.sent.settle(events, Fate::Ignored, Some(at));
            }
            DispositionKind::Default => match signal.default_action() {
                DefaultAction::Ignore | DefaultAction::Continue => {
                    open.sent.settle(events, Fate::Ignored, Some(at));
                }
                DefaultAction::Stop => open.sent.settle(events, Fate::Stopped, Some(at)),
                DefaultAction::Terminate | DefaultAction::Dump => {
                    if open.kills.is_none() {
                        open.kills = Some(Kills::AtDelivery);
                        open.sent.settle(events, Fate::Killed, Some(at));
                        if open.own {
                            self.raised(events, task.id, signal, open.sent.at);
                        }
                    }
                    // The end may tell of another cause.
                    self.is_open(task.id, signal, open);
                }
            },
            DispositionKind::Ignored => open.sent.settle(events, Fate::Ignored, Some(at)),
            DispositionKind::Handler | DispositionKind::Blocked => {
                self.handled(events, task.id, signal, open, Some(at));
            }
        }
    }

    /// A sigwait gave a signal to a thread. One that the kernel has decided to kill by is in the
    /// queue all the same, and a thread that waits for it may get it before it dies
    /// (`complete_signal`, `do_sigtimedwait`).
    pub fn taken(&mut self, events: &mut Events, at: u64, task: &Task, signal: Signal) {
        let Some(open) = self.take(task, signal) else { return };
        if open.kills.is_none() {
            self.handled(events, task.id, signal, open, Some(at));
        } else {
            self.is_open(task.id, signal, open);
        }
    }

    /// The kernel throws out what is pending: as SIG_IGN is set (`do_sigaction`), or as the
    /// opposite signal is sent ([`Signal::thrown_out`]). What kills has been decided: a thread
    /// on another CPU may set SIG_IGN before it ends.
    pub fn thrown_out(&mut self, events: &mut Events, at: u64, id: ProcessId, signal: Signal) {
        for mut open in self.take_waiting(id, signal, |_| true) {
            open.sent.settle(events, Fate::Dropped, Some(at));
        }
    }

    /// A thread ended while its process goes on: what waited for it alone went with it.
    pub fn thread_ended(&mut self, events: &mut Events, at: u64, task: &Task, pending: SignalSet) {
        let of_process = self
            .open
            .iter_mut()
            .filter(|((id, signal), _)| *id == task.id && pending.intersects(signal.set()));
        for (_, open) in of_process {
            for mut gone in
                open.extract_if(.., |open| open.thread == Some(task.tid) && open.kills.is_none())
            {
                self.count -= 1;
                gone.sent.settle(events, Fate::Dropped, Some(at));
            }
        }
    }

    /// A process was looked at: these signals wait for it.
    pub fn looked_at(&mut self, events: &mut Events, id: ProcessId, pending: SignalSet) {
        let of_process: Vec<Signal> = self.signals_of(id).collect();
        for signal in of_process {
            if !pending.intersects(signal.set()) {
                self.gone_from_queue(events, id, signal, |_| true);
            }
        }
    }

    fn signals_of(&self, id: ProcessId) -> impl Iterator<Item = Signal> {
        self.open.keys().filter(move |(owner, _)| *owner == id).map(|(_, signal)| *signal)
    }

    fn remove(&mut self, id: ProcessId, signal: Signal) -> Vec<Open> {
        let open = self.open.remove(&(id, signal)).unwrap_or_default();
        self.count -= open.len();
        open
    }

    /// What was open is no longer pending, though nobody was seen to take it: a signalfd was
    /// read. (What kills is not pending either, once it is delivered.)
    fn gone_from_queue(
        &mut self,
        events: &mut Events,
        id: ProcessId,
        signal: Signal,
        which: impl Fn(&Open) -> bool,
    ) {
        for open in self.take_waiting(id, signal, which) {
            self.handled(events, id, signal, open, None);
        }
    }

    /// Takes those out of the queues that do not kill.
    fn take_waiting(
        &mut self,
        id: ProcessId,
        signal: Signal,
        which: impl Fn(&Open) -> bool,
    ) -> Vec<Open> {
        let Some(open) = self.open.get_mut(&(id, signal)) else {
            return Vec::new();
        };
        let taken: Vec<Open> =
            open.extract_if(.., |open| which(open) && open.kills.is_none()).collect();
        if open.is_empty() {
            self.open.remove(&(id, signal));
        }
        self.count -= taken.len();
        taken
    }

    fn handled(
        &mut self,
        events: &mut Events,
        id: ProcessId,
        signal: Signal,
        mut open: Open,
        at: Option<u64>,
    ) {
        open.sent.settle(events, Fate::Handled, at);
        open.sent.handled_at = at;
        if self.handled.contains_key(&(id, signal)) {
            if self.remembered.len() >= MAX_REMEMBERED / 2 {
                self.remembered.retain(|of| *of != (id, signal));
                self.remembered.push_back((id, signal));
            }
        } else {
            if self.remembered.len() >= MAX_REMEMBERED
                && let Some(oldest) = self.remembered.pop_front()
            {
                let may_tell = |it: &Handled| it.may_tell_a_death(at.unwrap_or(u64::MAX));
                self.unfollowed += u64::from(self.handled.get(&oldest).is_some_and(may_tell));
                self.handled.remove(&oldest);
            }
            self.remembered.push_back((id, signal));
        }
        let Open { sent, own, catch_all, exits, .. } = open;
        let handled = self.handled.entry((id, signal)).or_default();
        if let Some(code) = exits
            && handled.first_exit.as_ref().is_none_or(|(_, first)| sent.at < first.at)
        {
            handled.first_exit = Some((code, sent.clone()));
        }
        if own {
            return;
        }
        let later = |last: &Option<OpenSignal>| last.as_ref().is_none_or(|last| last.at <= sent.at);
        if catch_all && later(&handled.last_caught) {
            handled.last_caught = Some(sent.clone());
        }
        if later(&handled.last) {
            handled.last = Some(sent);
        }
    }

    /// A runtime that does not want a signal resets it to its default and sends it to itself:
    /// then the one that came first is what killed the process.
    fn raised(&mut self, events: &mut Events, id: ProcessId, signal: Signal, at: u64) {
        let Some(handled) = self.handled.get_mut(&(id, signal)) else {
            return;
        };
        let before = |sent: &&OpenSignal| sent.at <= at;
        let soon = |sent: &&OpenSignal| at.saturating_sub(sent.at) <= RE_RAISE_NS;
        // A runtime's may clean up first.
        let last = handled.last.as_ref().filter(before).filter(soon);
        let first = last.or(handled.last_caught.as_ref().filter(before));
        let Some(mut first) = first.cloned() else { return };
        // That a later one was handled may have shown since.
        if let Some(mut earlier) = handled.raised.take().filter(|it| it.place != first.place) {
            let handled_at = earlier.handled_at;
            earlier.settle(events, Fate::Handled, handled_at);
        }
        first.settle(events, Fate::Killed, Some(at));
        handled.raised = Some(first);
    }

    /// A process ended: that tells the truth about everything still open.
    pub fn ended(
        &mut self,
        events: &mut Events,
        at: u64,
        id: ProcessId,
        (killed_by, code): (Option<Signal>, u8),
        pending: SignalSet,
        has_signalfd: impl Fn(Signal) -> bool,
    ) {
        let signals: Vec<Signal> = self.signals_of(id).collect();
        for signal in signals {
            let mut raised = None;
            for mut open in self.remove(id, signal) {
                let kills = killed_by == Some(signal);
                let own = || open.own.then_some(open.sent.at);
                match open.kills {
                    Some(_) if kills => raised = own().or(raised),
                    Some(_) => open.sent.settle(events, Fate::Dropped, Some(at)),
                    // It waited until there was nobody left to take it.
                    None if pending.intersects(signal.set()) => {}
                    None if open.disposition == DispositionKind::Default && kills => {
                        raised = own().or(raised);
                        open.sent.settle(events, Fate::Killed, Some(at));
                    }
                    // Newer kernels have thrown what waited for a thread away before they tell
                    // of its end (seen in 6.18), and nobody was seen to take it.
                    None if open.thread.is_some() && !has_signalfd(signal) => {
                        open.sent.settle(events, Fate::Dropped, Some(at));
                    }
                    None => self.handled(events, id, signal, open, None),
                }
            }
            if let Some(sent_at) = raised {
                self.raised(events, id, signal, sent_at);
            }
        }
        if killed_by.is_none() {
            self.shut_down(events, at, id, code);
        }
        self.handled.retain(|(of, _), _| *of != id);
        self.remembered.retain(|(of, _)| *of != id);
    }

    /// A runtime that nobody has told otherwise ends the program on a signal with an exit code of
    /// its own, as the Java virtual machine does: the first one to come is what ended it.
    fn shut_down(&mut self, events: &mut Events, at: u64, id: ProcessId, code: u8) {
        for ((of, _), handled) in &mut self.handled {
            if *of == id
                && let Some((exits, first)) = &mut handled.first_exit
                && *exits == code
            {
                first.settle(events, Fate::Killed, Some(at));
            }
        }
    }
}

#[cfg(test)]
mod tests;
