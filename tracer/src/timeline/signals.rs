//! What one process does on every recorded signal, through time.
//!
//! The kernel tells the dispositions as they are; whose a handler is shows later: a language
//! runtime installs its own signal by signal, and only the last ones show how many share it;
//! whether it passes a signal on shows when one has come. So what was taken down earlier is
//! amended then, back to where it began.

use tracer_common::signal::{MAX_SIGNAL, SignalSet};

use super::{
    masks::{Masks, Moment},
    runtimes,
};
use crate::{
    model::{
        disposition::{Disposition, Reaction},
        event::{Consumer, DispositionKind, Runtime},
        signal::Signal,
    },
    observation::{Handler, Program, State},
};

/// Changes kept of one process. Beyond, those in the middle are dropped: the first ones after
/// an exec and the last ones decide.
pub const MAX_CHANGES: usize = 128;

/// Handlers of runtimes that are on trial at a time: more than signals are recorded.
const MAX_TRIALS: usize = 32;

const ALL: SignalSet = SignalSet(u64::MAX);

/// How long a process lives at most after a runtime has decided to die of a signal, ns.
const RE_RAISE_NS: u64 = 1_000_000_000;

/// What a process does on signals: each set holds the signals that it is true of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dispositions {
    /// `SIG_IGN`
    pub ignored: SignalSet,
    /// With a handler.
    pub caught: SignalSet,
    /// Blocked in every thread.
    pub blocked: SignalSet,
    /// Those of them that threads which were not looked at may let through.
    mask_unknown: SignalSet,
    signalfd: SignalSet,
    sigwait: SignalSet,
    /// Whose handler is the one of the process's runtime.
    own: SignalSet,
    /// That runtime, where it is known which one it is.
    known: Option<Runtime>,
    forwarding: SignalSet,
    /// Whose handler looks like a Java virtual machine's, where it is not known what runs.
    jvm: SignalSet,
}

fn without(set: SignalSet, other: SignalSet) -> SignalSet {
    SignalSet(set.0 & !other.0)
}

fn common(set: SignalSet, other: SignalSet) -> SignalSet {
    SignalSet(set.0 & other.0)
}

/// The signals in a set.
fn members(set: SignalSet) -> impl Iterator<Item = Signal> {
    (1..=MAX_SIGNAL).filter(move |number| set.contains(*number)).filter_map(Signal::from_number)
}

impl Dispositions {
    /// What is done on one signal.
    #[must_use]
    pub fn of(&self, signal: Signal) -> Disposition {
        let has = |set: SignalSet| set.intersects(signal.set());
        Disposition {
            ignored: has(self.ignored),
            caught: has(self.caught),
            blocked: has(self.blocked),
            mask_unknown: has(self.mask_unknown),
            consumer: if has(self.signalfd) {
                Some(Consumer::Signalfd)
            } else {
                has(self.sigwait).then_some(Consumer::Sigwait)
            },
            runtime: self.runtime(signal),
            effect: self.runtime(signal).and_then(|runtime| runtime.effect(signal)),
        }
    }

    /// The runtime that the handler of a signal is of.
    #[must_use]
    pub fn runtime(&self, signal: Signal) -> Option<Runtime> {
        let has = |set: SignalSet| set.intersects(signal.set());
        [
            (self.own, self.known.unwrap_or(Runtime::CatchAll)),
            (self.forwarding, Runtime::Forwarding),
            (self.jvm, Runtime::Jvm),
        ]
        .into_iter()
        .find_map(|(set, runtime)| has(set).then_some(runtime))
    }

    /// Says whose handler a signal has.
    pub fn set_runtime(&mut self, signal: Signal, runtime: Option<Runtime>) {
        let set = signal.set();
        for which in [&mut self.own, &mut self.forwarding, &mut self.jvm] {
            *which = without(*which, set);
        }
        let own = self.known.unwrap_or(Runtime::CatchAll);
        let which = match runtime {
            None => return,
            Some(runtime) if runtime == own => &mut self.own,
            Some(Runtime::Jvm) => &mut self.jvm,
            Some(_) => &mut self.forwarding,
        };
        *which = which.union(set);
    }

    fn consume(&mut self, consumer: Consumer, set: SignalSet) {
        let (this, other) = match consumer {
            Consumer::Signalfd => (&mut self.signalfd, &mut self.sigwait),
            Consumer::Sigwait => (&mut self.sigwait, &mut self.signalfd),
        };
        *this = this.union(set);
        *other = without(*other, set);
    }

    /// The same with the kernel's word for what it knows.
    fn with(self, state: &State, recorded: SignalSet) -> Self {
        let mut now = Self {
            ignored: common(state.ignored, recorded),
            caught: common(state.caught, recorded),
            blocked: common(state.blocked, recorded),
            mask_unknown: common(state.blocked_unknown, recorded),
            ..self
        };
        now.keep_runtimes_of_caught();
        now
    }

    fn keep_runtimes_of_caught(&mut self) {
        for set in [&mut self.own, &mut self.forwarding, &mut self.jvm] {
            *set = common(*set, self.caught);
        }
    }

    /// The signals that the two differ in.
    #[must_use]
    pub fn differ(&self, other: &Self) -> SignalSet {
        let sets = |it: &Self| {
            [
                it.ignored,
                it.caught,
                it.blocked,
                it.mask_unknown,
                it.signalfd,
                it.sigwait,
                it.own,
                it.forwarding,
                it.jvm,
            ]
        };
        let pairs = sets(self).into_iter().zip(sets(other));
        SignalSet(pairs.fold(0, |differ, (a, b)| differ | (a.0 ^ b.0)))
    }
}

/// A change of what a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, `CLOCK_BOOTTIME` ns.
    pub at: u64,
    /// What it does from then on.
    pub now: Dispositions,
    /// It came with an exec.
    pub exec: bool,
}

/// Whose a handler turned out to be, in hindsight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// The signal that has it.
    pub signal: Signal,
    /// From when on.
    pub from: u64,
    /// Until when.
    pub until: u64,
    /// Whose it is.
    pub runtime: Option<Runtime>,
}

/// The first time that a signal came to a runtime's handler, and the process lived on: the
/// runtime passes it on to the program, unless it turns out to die of it.
#[derive(Clone, Copy, Debug)]
struct Trial {
    signal: Signal,
    /// When it came.
    at: u64,
    /// Since when the handler is as it is now.
    from: u64,
    /// When it was set anew.
    until: u64,
    /// Whose it is if the process dies of the signal.
    otherwise: Runtime,
}

/// A handler that a signal has.
#[derive(Clone, Copy, Debug)]
struct Installed {
    signal: Signal,
    /// Since when.
    at: u64,
    /// When the signal came to it first, and the process lived on.
    came: Option<u64>,
}

/// When a signal was sent to a process last, by others and by itself.
#[derive(Clone, Copy, Debug)]
struct Sent {
    signal: Signal,
    by_others: Option<u64>,
    by_itself: Option<u64>,
}

/// What one process does on signals, through time.
#[derive(Clone, Debug)]
pub struct ProcessSignals {
    recorded: SignalSet,
    /// In order of time; never empty.
    changes: Vec<Change>,
    /// Changes there was no room for.
    dropped: u64,
    /// What masks were set for a moment.
    pub masks: Masks,
    /// Signals that every thread is known to block, whether or not it was looked at: all did
    /// once, a new thread has the mask of the one that starts it, and none has told since that
    /// it lets them through.
    blocked_by_all: SignalSet,
    /// What runs in it.
    program: Program,
    /// The signals that were ignored as it began.
    ignored_first: SignalSet,
    /// Those that it has had a handler for since then.
    had_handler: SignalSet,
    /// When the runtime set a thread aside that passes signals on.
    forwards: Option<u64>,
    /// The signals that a catch-all was seen to serve since the exec.
    served: SignalSet,
    /// Those of them whose handler is still that one.
    shown: SignalSet,
    handlers: Vec<Installed>,
    /// The signals whose handler is known to be the program's wish.
    asked_for: SignalSet,
    /// The signals whose handler was seen to be a Java virtual machine's.
    jvms: SignalSet,
    trials: Vec<Trial>,
    sent: Vec<Sent>,
}

impl ProcessSignals {
    /// A process that nothing is known of. `recorded` are the signals whose dispositions the
    /// kernel side reports.
    #[must_use]
    pub fn unknown(recorded: SignalSet) -> Self {
        Self {
            recorded,
            changes: Vec::new(),
            dropped: 0,
            masks: Masks::default(),
            blocked_by_all: SignalSet::EMPTY,
            program: Program::Unread,
            ignored_first: SignalSet::EMPTY,
            had_handler: SignalSet::EMPTY,
            forwards: None,
            served: SignalSet::EMPTY,
            shown: SignalSet::EMPTY,
            handlers: Vec::new(),
            asked_for: SignalSet::EMPTY,
            jvms: SignalSet::EMPTY,
            trials: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// What runs in it.
    #[must_use]
    pub fn program(&self) -> Program {
        self.program
    }

    /// What it does now.
    #[must_use]
    pub fn now(&self) -> Dispositions {
        self.changes.last().map(|change| change.now).unwrap_or_default()
    }

    /// Its changes, in order of time.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What it did at a time.
    #[must_use]
    pub fn at(&self, at: u64) -> Dispositions {
        let last = self.changes.iter().rev().find(|change| change.at <= at);
        last.map(|change| change.now).unwrap_or_default()
    }

    /// Changes there was no room for.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The kernel's word on the process, with what is known of the threads that were not looked
    /// at. `own` is the mask of the thread that tells: what that lets through is not blocked.
    fn known(&mut self, state: &State, own: SignalSet) -> State {
        let mut known = *state;
        known.blocked = common(state.blocked, own);
        known.blocked_unknown = common(state.blocked_unknown, own);
        let looked_at = without(known.blocked, known.blocked_unknown);
        self.blocked_by_all = common(self.blocked_by_all.union(looked_at), known.blocked);
        known.blocked_unknown = without(known.blocked_unknown, self.blocked_by_all);
        known
    }

    fn change(&mut self, at: u64, now: Dispositions, exec: bool) {
        if !exec && self.changes.last().is_some_and(|last| last.now == now) {
            return;
        }
        // One that is told late takes its place after those that are known.
        let at = self.changes.last().map_or(at, |last| at.max(last.at));
        if self.changes.len() >= MAX_CHANGES && !self.leave_out_a_turn() {
            self.changes.remove(self.least_telling());
            self.dropped += 1;
        }
        self.changes.push(Change { at, now, exec });
    }

    /// A program that blocks signals around its wait for input does so at each turn of its loop.
    /// Of three turns that are the same the one between is left out, if there are such: no
    /// verdict depends on it. It is the one that held for the shortest time.
    fn leave_out_a_turn(&mut self) -> bool {
        let is_same = |a: &Change, b: &Change| a.now == b.now && !a.exec && !b.exec;
        let same: Vec<bool> =
            self.changes.windows(3).map(|turn| is_same(&turn[0], &turn[2])).collect();
        let held = |index: &usize| self.changes[index + 1].at - self.changes[*index].at;
        let firsts = same.windows(4).enumerate().filter(|(_, same)| same.iter().all(|it| *it));
        let shortest = firsts.flat_map(|(first, _)| [first + 2, first + 3]).min_by_key(held);
        if let Some(shortest) = shortest {
            self.changes.drain(shortest..shortest + 2);
        }
        shortest.is_some()
    }

    /// The change that is dropped first: in the middle of what came before the last exec, or
    /// else of what came after it. The first and the last exec stay, and what brought the first
    /// handler for a signal since then.
    fn least_telling(&self) -> usize {
        let first_exec = self.changes.iter().position(|change| change.exec);
        let last_exec = self.changes.iter().rposition(|change| change.exec);
        let program = last_exec.unwrap_or(0);
        let (from, to) = if program > MAX_CHANGES / 2 {
            (0, program)
        } else {
            (program, self.changes.len() - 1)
        };
        let taken = |change: &Change| {
            members(self.recorded)
                .filter(|signal| change.now.of(*signal).reaction() == Reaction::Takes)
                .fold(SignalSet::EMPTY, |set, signal| set.union(signal.set()))
        };
        let mut seen = SignalSet::EMPTY;
        let brings_first = self.changes.iter().enumerate().map(|(index, change)| {
            if index < program {
                return false;
            }
            let new = without(taken(change), seen);
            seen = seen.union(new);
            new != SignalSet::EMPTY
        });
        let stays: Vec<bool> = brings_first
            .enumerate()
            .map(|(index, brings_first)| {
                brings_first || Some(index) == first_exec || Some(index) == last_exec
            })
            .collect();
        let middle = from + (to - from) / 2;
        let free = (from + 1..to).filter(|index| !stays[*index]);
        free.min_by_key(|index| index.abs_diff(middle)).unwrap_or(middle)
    }

    /// It was there when the capture began.
    pub fn found(&mut self, at: u64, state: &State, program: Program) {
        self.program = program;
        self.had_handler = state.caught;
        let state = &self.known(state, ALL);
        let known = runtimes::known(program);
        let mut now = Dispositions { known, ..Dispositions::default() }.with(state, self.recorded);
        for signal in members(now.caught) {
            let may_be = match program {
                Program::Plain => false,
                Program::Unread | Program::Of(Runtime::Bash) => runtimes::is_runtimes(state.caught),
                Program::Of(runtime) => runtime.effect(signal).is_some(),
            };
            if may_be {
                now.set_runtime(signal, Some(Runtime::Forwarding));
            }
        }
        self.change(at, now, false);
    }

    /// A child of it was started.
    #[must_use]
    pub fn child(&self, at: u64, state: &State) -> Self {
        let mut child = Self::unknown(self.recorded);
        let mut now = self.at(at).with(&child.known(state, ALL), self.recorded);
        // The child has the descriptors, but not the threads that wait.
        now.sigwait = SignalSet::EMPTY;
        child.program = self.program;
        (child.ignored_first, child.had_handler) = (self.ignored_first, self.had_handler);
        // And the handlers, with what is known of them.
        (child.served, child.shown) = (self.served, self.shown);
        (child.asked_for, child.jvms) = (self.asked_for, self.jvms);
        child.change(at, now, false);
        child
    }

    /// It executes a program. That takes the handlers away, and with them whoever waited.
    /// `is_own` says that it is the service's own program, and not systemd's on the way to it.
    pub fn exec(&mut self, at: u64, state: &State, program: Program, is_own: bool) {
        self.program = program;
        (self.ignored_first, self.had_handler) = (state.ignored, SignalSet::EMPTY);
        self.forwards = None;
        self.shown = SignalSet::EMPTY;
        self.handlers.clear();
        (self.served, self.asked_for, self.jvms) =
            (SignalSet::EMPTY, SignalSet::EMPTY, SignalSet::EMPTY);
        self.trials.clear();
        self.sent.clear();
        // What it blocks at its exec is no moment's: the program goes on with it. The other
        // threads are gone.
        (self.masks, self.blocked_by_all) = (Masks::default(), SignalSet::EMPTY);
        let state = &self.known(state, ALL);
        let known = runtimes::known(program);
        let now = Dispositions { known, ..Dispositions::default() }.with(state, self.recorded);
        self.change(at, now, is_own);
    }

    /// It sets what it does on a signal.
    pub fn action(
        &mut self,
        at: u64,
        signal: Signal,
        handler: Handler,
        loaded: Option<Runtime>,
        state: &State,
    ) -> Vec<Amendment> {
        let before = self.now().of(signal);
        let mut now = self.now().with(&self.known(state, ALL), self.recorded);
        if let Some(loaded) = loaded.filter(|_| !matches!(self.program, Program::Of(_))) {
            self.program = Program::Of(loaded);
            now.known = Some(loaded);
        }
        let whose = self.installer(before, signal, handler);
        now.set_runtime(signal, whose.filter(|_| now.caught.intersects(signal.set())));
        for trial in self.trials.iter_mut().filter(|trial| trial.signal == signal) {
            trial.until = trial.until.min(at);
        }
        self.change(at, now, false);
        self.shown = without(self.shown, signal.set());
        self.handlers.retain(|installed| installed.signal != signal);
        if now.caught.intersects(signal.set()) {
            self.handlers.push(Installed { signal, at, came: None });
            self.had_handler = self.had_handler.union(signal.set());
        }
        self.met(handler)
    }

    /// The runtime, if it is one, that has installed a handler for a signal just now.
    fn installer(
        &mut self,
        before: Disposition,
        signal: Signal,
        handler: Handler,
    ) -> Option<Runtime> {
        let set = signal.set();
        let is_first = !self.had_handler.intersects(set);
        let was_ignored = self.ignored_first.intersects(set);
        match self.program {
            Program::Plain => {
                self.asked_for = self.asked_for.union(set);
                return None;
            }
            Program::Of(runtime) if !runtimes::may_catch_all(self.program) => {
                let first = || runtimes::first(runtime, signal, was_ignored);
                let again = || runtimes::again(runtime, signal);
                let whose = if is_first { first() } else { again() };
                self.asked_for = self.asked_for.union(set);
                return whose;
            }
            // Go's runtime has it for itself until the program asks.
            Program::Of(runtime) if is_first && !was_ignored && self.forwards.is_none() => {
                if runtimes::may_forward(self.program) {
                    return Some(runtime);
                }
            }
            // The same handler again is the program's wish: `Signal.handle()` in Java.
            Program::Unread if !before.caught && runtimes::is_jvms_first(handler, signal) => {
                self.asked_for = without(self.asked_for, set);
                return Some(Runtime::Jvm);
            }
            Program::Of(_) | Program::Unread => {}
        }
        // Go leaves a HUP alone that was ignored from the start, as by nohup(1), until the
        // program asks for it. And few signals on a handler when the catch-all was complete
        // already: then it is another.
        let others = self.served.intersects(set) && !runtimes::is_catch_all(handler);
        if self.forwards.is_some() || others {
            self.asked_for = self.asked_for.union(set);
            return None;
        }
        self.asked_for = without(self.asked_for, set);
        runtimes::is_catch_all(handler).then(|| self.catch_all())
    }

    /// The runtime that has one handler for nearly all signals.
    fn catch_all(&self) -> Runtime {
        runtimes::known(self.program).unwrap_or(Runtime::CatchAll)
    }

    /// The runtime that ends the process if its handler passes a signal on to nobody.
    fn otherwise(&self, signal: Signal) -> Runtime {
        match self.program {
            Program::Of(runtime) => runtime,
            _ if self.jvms.intersects(signal.set()) => Runtime::Jvm,
            _ => Runtime::CatchAll,
        }
    }

    /// One of its handlers was seen. If it is a catch-all, so were the handlers that it serves.
    pub fn met(&mut self, handler: Handler) -> Vec<Amendment> {
        for signal in members(common(handler.serves, self.recorded)) {
            if self.program == Program::Unread && runtimes::is_jvms(handler, signal) {
                self.jvms = self.jvms.union(signal.set());
            }
        }
        if !runtimes::may_catch_all(self.program) || !runtimes::is_catch_all(handler) {
            return Vec::new();
        }
        let news = without(without(handler.serves, self.shown), self.asked_for);
        self.served = self.served.union(handler.serves);
        self.shown = self.shown.union(handler.serves);
        members(common(news, self.now().caught))
            .flat_map(|signal| self.was_catch_all(signal))
            .collect()
    }

    /// The handler of a signal has been a catch-all since it was installed. From when on the
    /// runtime passes signals on, it may pass this one on; and it has, if one came.
    fn was_catch_all(&mut self, signal: Signal) -> Vec<Amendment> {
        if self.now().runtime(signal).is_some() {
            return Vec::new();
        }
        let Installed { at: from, came, .. } = self.installed(signal);
        let came_at = came.unwrap_or(u64::MAX);
        let forwards = self.forwards.unwrap_or(u64::MAX).max(from);
        let catch_all = self.catch_all();
        let mut spans = vec![(from, forwards.min(came_at), catch_all)];
        if forwards < came_at {
            let passed_on = came.map_or(Some(Runtime::Forwarding), |_| None);
            spans.extend(passed_on.map(|runtime| (forwards, u64::MAX, runtime)));
        }
        if let Some(at) = came {
            let (from, until, otherwise) = (at.min(forwards), u64::MAX, catch_all);
            self.try_out(Trial { signal, at, from, until, otherwise });
        }
        spans
            .into_iter()
            .filter(|(from, until, _)| from < until)
            .map(|(from, until, runtime)| {
                self.amend(Amendment { signal, from, until, runtime: Some(runtime) })
            })
            .collect()
    }

    /// The handler that a signal has now.
    fn installed(&mut self, signal: Signal) -> Installed {
        if let Some(known) = self.handlers.iter().find(|it| it.signal == signal) {
            return *known;
        }
        let caught = |change: &&Change| change.now.caught.intersects(signal.set());
        let first = self.changes.iter().rev().take_while(caught).last();
        let installed = Installed { signal, at: first.map_or(0, |first| first.at), came: None };
        self.handlers.push(installed);
        installed
    }

    fn try_out(&mut self, trial: Trial) {
        if self.trials.len() >= MAX_TRIALS {
            // Of a handler that was set anew since, if there is one.
            let over = self.trials.iter().position(|trial| trial.until < u64::MAX);
            self.trials.remove(over.unwrap_or(0));
        }
        self.trials.push(trial);
    }

    /// A thread changes its mask from `before` to `after`. If that ends a moment, what was
    /// blocked only during it is forgotten, and its beginning is given.
    pub fn mask(
        &mut self,
        at: u64,
        tid: u32,
        (before, after): (SignalSet, SignalSet),
        state: &State,
    ) -> Option<u64> {
        // The thread has let through until now what is not in `before`. Others, whose times are
        // taken before they look at all threads, may have met what it does next.
        if let Some(since) = self.masks.held_since(tid, before) {
            self.limit_blocked(since, at, before);
        }
        let moment = self.masks.restored(at, tid, after);
        if let Some(Moment { since, blocked }) = moment {
            // What was let through of those that had been blocked before is not forgotten: in
            // that moment it was taken.
            self.limit_blocked(since, u64::MAX, blocked);
        } else {
            self.masks.changed(at, tid, before, after, common(self.now().blocked, before));
        }
        let mut now = self.now().with(&self.known(state, after), self.recorded);
        if runtimes::may_forward(self.program) && runtimes::is_forwarder(before, after) {
            self.forwards.get_or_insert(at);
            now.forwarding = now.forwarding.union(now.own);
            now.own = SignalSet::EMPTY;
        }
        self.change(at, now, false);
        moment.map(|moment| moment.since)
    }

    /// From one time on, and until another, no more than `most` was blocked but for a moment.
    fn limit_blocked(&mut self, since: u64, until: u64, most: SignalSet) {
        let first = self.changes.iter().rposition(|change| change.at < since);
        let first = first.map_or(0, |before| before + 1);
        for change in self.changes[first..].iter_mut().filter(|change| change.at < until) {
            change.now.blocked = common(change.now.blocked, most);
            change.now.mask_unknown = common(change.now.mask_unknown, most);
        }
        let mut index = first.max(1);
        while index < self.changes.len() {
            let [before, this] = [self.changes[index - 1], self.changes[index]];
            if this.now == before.now && !this.exec {
                self.changes.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// It made a signalfd, or waits for signals.
    pub fn consume(&mut self, at: u64, consumer: Consumer, set: SignalSet, state: &State) {
        let mut now = self.now().with(&self.known(state, ALL), self.recorded);
        now.consume(consumer, common(set, self.recorded));
        self.change(at, now, false);
    }

    /// Another process that shares its handlers has set one.
    pub fn shared(&mut self, at: u64, others: Dispositions) {
        let now = self.now();
        let shared = Dispositions {
            blocked: now.blocked,
            mask_unknown: now.mask_unknown,
            signalfd: now.signalfd,
            sigwait: now.sigwait,
            ..others
        };
        self.change(at, shared, false);
    }

    /// A signal was sent to it.
    pub fn sent(
        &mut self,
        at: u64,
        signal: Signal,
        by_itself: bool,
        handler: Handler,
    ) -> Vec<Amendment> {
        if self.recorded.intersects(signal.set()) {
            let index = self.sent.iter().position(|sent| sent.signal == signal);
            let index = index.unwrap_or_else(|| {
                self.sent.push(Sent { signal, by_others: None, by_itself: None });
                self.sent.len() - 1
            });
            let sent = &mut self.sent[index];
            *(if by_itself { &mut sent.by_itself } else { &mut sent.by_others }) = Some(at);
        }
        self.met(handler)
    }

    /// A signal came to its handler.
    pub fn delivered(&mut self, at: u64, signal: Signal, once: bool) -> Option<Amendment> {
        let mut now = self.now();
        if once {
            // `SA_RESETHAND`: the kernel takes the handler away as it calls it.
            now.caught = without(now.caught, signal.set());
            now.keep_runtimes_of_caught();
            self.handlers.retain(|installed| installed.signal != signal);
            self.shown = without(self.shown, signal.set());
            self.change(at, now, false);
            return None;
        }
        if !self.recorded.intersects(signal.set()) {
            return None;
        }
        // One that took another's place says nothing of that.
        let installed_at = self.installed(signal).at;
        let installed = self.handlers.iter_mut().find(|it| it.signal == signal);
        if let Some(installed) = installed {
            installed.came.get_or_insert(at);
        }
        let runtime = now.runtime(signal)?;
        let (from, otherwise) = match runtime {
            // What the table says needs no such proof.
            _ if runtime.spares(signal) => return None,
            Runtime::CatchAll | Runtime::Bash | Runtime::Go => (at, runtime),
            Runtime::Forwarding => {
                (self.since(signal, runtime).max(installed_at), self.otherwise(signal))
            }
            _ => return None,
        };
        self.try_out(Trial { signal, at, from, until: u64::MAX, otherwise });
        if from == at {
            now.set_runtime(signal, None);
            self.change(at, now, false);
        }
        Some(self.amend(Amendment { signal, from, until: u64::MAX, runtime: None }))
    }

    /// Since when a runtime has had the handler of a signal.
    fn since(&self, signal: Signal, runtime: Runtime) -> u64 {
        let held = |change: &&Change| change.now.runtime(signal) == Some(runtime);
        self.changes.iter().rev().take_while(held).last().map_or(0, |change| change.at)
    }

    fn amend(&mut self, amendment: Amendment) -> Amendment {
        let Amendment { signal, from, until, runtime } = amendment;
        // A handler that took another's place brought no change with it.
        for boundary in [from, until] {
            let after = self.changes.partition_point(|change| change.at < boundary);
            let covers = self.changes.get(after).is_none_or(|next| next.at > boundary);
            if boundary != u64::MAX
                && covers
                && after > 0
                && self.changes.len() < MAX_CHANGES
                && self.changes[after - 1].now.caught.intersects(signal.set())
            {
                let now = self.changes[after - 1].now;
                self.changes.insert(after, Change { at: boundary, now, exec: false });
            }
        }
        for change in self.changes.iter_mut().filter(|it| it.at >= from && it.at < until) {
            if change.now.caught.intersects(signal.set()) {
                change.now.set_runtime(signal, runtime);
            }
        }
        self.changes.dedup_by(|this, before| this.now == before.now && !this.exec);
        amendment
    }

    /// It has ended: by a signal, or with an exit code. Gives what that says of handlers.
    pub fn ended(&mut self, at: u64, by: Option<Signal>, code: u8) -> Vec<Amendment> {
        let trials = std::mem::take(&mut self.trials);
        let failed = trials.into_iter().filter(|trial| match by {
            Some(by) => by == trial.signal && !self.outlived(*trial, at),
            None => trial.otherwise.exit_code(trial.signal) == Some(code),
        });
        let failed: Vec<Trial> = failed.collect();
        let amendment = |Trial { signal, from, until, otherwise, .. }| Amendment {
            signal,
            from,
            until,
            runtime: Some(otherwise),
        };
        failed.into_iter().map(|trial| self.amend(amendment(trial))).collect()
    }

    /// Whether it died so much later that it was of another signal of that kind.
    fn outlived(&self, trial: Trial, died: u64) -> bool {
        let sent = self.sent.iter().find(|sent| sent.signal == trial.signal);
        // A script that cleans up first may take its time: nothing else came meanwhile.
        let was_last = sent.and_then(|sent| sent.by_others).is_none_or(|sent| sent <= trial.at);
        let raised = sent.and_then(|sent| sent.by_itself);
        let raised = raised.is_some_and(|raised| (trial.at..=died).contains(&raised));
        !(was_last && raised) && died.saturating_sub(trial.at) > RE_RAISE_NS
    }

    /// What it does with a signal now: the kind that the kernel sees, and whose handler it is.
    #[must_use]
    pub fn runtime_met(&self, signal: Signal, kind: DispositionKind) -> Option<Runtime> {
        self.now().runtime(signal).filter(|_| kind == DispositionKind::Handler)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUP: SignalSet = SignalSet(1);
    const TERM: SignalSet = SignalSet(1 << 14);
    const NONE: State = State {
        ignored: SignalSet::EMPTY,
        caught: SignalSet::EMPTY,
        blocked: SignalSet::EMPTY,
        pending: SignalSet::EMPTY,
        blocked_unknown: SignalSet::EMPTY,
    };
    const CAUGHT: State = State { caught: HUP, ..NONE };
    /// Longer than a moment, ns.
    const WHILE: u64 = 2_000_000;

    fn executed() -> ProcessSignals {
        let mut signals = ProcessSignals::unknown(HUP.union(TERM));
        signals.exec(1, &NONE, Program::Unread, true);
        signals
    }

    /// Blocks HUP, and now and then TERM, in its only thread and unblocks it, for longer than a
    /// moment, so often. No three turns are the same (the sequence of Thue and Morse).
    fn flip(signals: &mut ProcessSignals, from: u64, state: State, times: u64) {
        for turn in 0..times {
            let at = from + 2 * turn * WHILE;
            let set = if turn.count_ones() % 2 == 0 { HUP } else { HUP.union(TERM) };
            signals.mask(at, 7, (SignalSet::EMPTY, set), &State { blocked: set, ..state });
            signals.mask(at + WHILE, 7, (set, SignalSet::EMPTY), &state);
        }
    }

    #[test]
    fn of_any_number_of_turns_of_a_loop_that_blocks_while_it_waits_none_is_missed() {
        for open in [100, WHILE] {
            let mut signals = executed();
            let handler = Handler { serves: HUP, faults: SignalSet::EMPTY };
            signals.action(10, Signal::HUP, handler, None, &CAUGHT);
            for turn in 0..100_000 {
                let at = 100 + turn * 100_000_000;
                signals.mask(at, 7, (SignalSet::EMPTY, HUP), &State { blocked: HUP, ..CAUGHT });
                signals.mask(at + 100_000_000 - open, 7, (HUP, SignalSet::EMPTY), &CAUGHT);
            }
            assert_eq!(signals.dropped(), 0);
            assert!(signals.changes().len() <= MAX_CHANGES);
            let last = 100 + 100_000 * 100_000_000 - open;
            assert_eq!(signals.changes().last().unwrap().at, last);
            assert!(!signals.now().blocked.intersects(HUP));
        }
    }

    /// All threads that were looked at block HUP, and there are more.
    const UNSURE: State = State { blocked: HUP, blocked_unknown: HUP, ..NONE };

    #[test]
    fn what_other_threads_meet_in_a_threads_moments_was_let_through_all_the_time() {
        let mut signals = executed();
        // As pthread_create(3) does, again and again.
        for turn in 0..1_000 {
            let at = 1_000 + turn * 100_000;
            signals.mask(at, 7, (SignalSet::EMPTY, ALL), &UNSURE);
            signals.mask(at + 50_000, 7, (ALL, SignalSet::EMPTY), &NONE);
            // Looks at all threads once the first one has begun its next moment.
            let tid = 8 + u32::try_from(turn).unwrap();
            signals.mask(at + 99_000, tid, (SignalSet::EMPTY, HUP), &UNSURE);
        }
        let end = 1_000 + 1_000 * 100_000;
        signals.mask(end, 7, (SignalSet::EMPTY, TERM), &NONE);
        assert!(signals.changes().iter().all(|change| !change.now.blocked.intersects(HUP)));
        assert_eq!((signals.changes().len(), signals.dropped()), (1, 0));
    }

    #[test]
    fn a_thread_that_was_let_through_meanwhile_says_nothing_of_the_time_before() {
        let mut signals = executed();
        signals.mask(10 * WHILE, 7, (SignalSet::EMPTY, HUP), &State { blocked: HUP, ..NONE });
        // Set back as a handler returned, of which nobody is told.
        signals.mask(20 * WHILE, 7, (SignalSet::EMPTY, TERM), &NONE);
        let blocked = |at| signals.at(at).blocked.intersects(HUP);
        assert!(blocked(15 * WHILE) && !blocked(20 * WHILE));
    }

    #[test]
    fn what_all_threads_blocked_they_block_until_one_lets_it_through() {
        let is_unsure = |signals: &ProcessSignals| signals.now().of(Signal::HUP).mask_unknown;
        let mut signals = executed();
        signals.mask(WHILE, 7, (SignalSet::EMPTY, HUP), &State { blocked: HUP, ..NONE });
        signals.action(2 * WHILE, Signal::TERM, Handler::default(), None, &UNSURE);
        assert!(!is_unsure(&signals), "new threads have the masks of those that start them");
        assert!(signals.now().of(Signal::HUP).blocked);
        signals.mask(3 * WHILE, 99, (HUP, SignalSet::EMPTY), &UNSURE);
        assert!(!signals.now().of(Signal::HUP).blocked, "this thread lets it through");
        signals.action(4 * WHILE, Signal::TERM, Handler::default(), None, &UNSURE);
        assert!(is_unsure(&signals), "it may have ended");
        signals.action(5 * WHILE, Signal::TERM, Handler::default(), None, &NONE);
        signals.exec(6 * WHILE, &NONE, Program::Unread, true);
        signals.action(7 * WHILE, Signal::TERM, Handler::default(), None, &UNSURE);
        assert!(is_unsure(&signals));
    }

    #[test]
    fn of_turns_that_are_left_out_what_held_for_longer_counts() {
        for (held, open) in [(30 * WHILE, WHILE), (WHILE, 30 * WHILE)] {
            let mut signals = executed();
            let mut at = WHILE;
            for _ in 0..1_000 {
                signals.mask(at, 7, (SignalSet::EMPTY, HUP), &State { blocked: HUP, ..NONE });
                signals.mask(at + held, 7, (HUP, SignalSet::EMPTY), &NONE);
                at += held + open;
            }
            let changes = signals.changes().windows(2);
            let blocked = changes.filter(|it| it[0].now.blocked.intersects(HUP));
            let blocked: u64 = blocked.map(|it| it[1].at - it[0].at).sum();
            assert_eq!(blocked > at / 2, held > open, "{blocked} of {at}");
        }
    }

    #[test]
    fn the_first_handler_after_the_last_exec_is_kept_whatever_came_before_and_after() {
        let mut signals = executed();
        flip(&mut signals, 10, NONE, 50);
        let handler = Handler { serves: HUP, faults: SignalSet::EMPTY };
        signals.action(100_000_000_000, Signal::HUP, handler, None, &CAUGHT);
        flip(&mut signals, 200_000_000_000, CAUGHT, 500);
        assert_eq!(signals.changes().len(), MAX_CHANGES);
        // Among what is left some turns are the same.
        assert!((900..=1 + 100 + 1 + 1_000 - MAX_CHANGES as u64).contains(&signals.dropped()));
        let takes = |change: &&Change| change.now.of(Signal::HUP).reaction() == Reaction::Takes;
        assert_eq!(signals.changes().iter().find(takes).unwrap().at, 100_000_000_000);
        assert!(signals.changes()[0].exec);
        assert!(signals.now().of(Signal::HUP).caught);
    }

    #[test]
    fn the_first_and_the_last_of_any_number_of_execs_are_kept() {
        let mut signals = executed();
        flip(&mut signals, 10, NONE, 3);
        for exec in 0..1_000 {
            signals.exec(50_000_000 + exec, &NONE, Program::Unread, true);
        }
        let execs: Vec<u64> =
            signals.changes().iter().filter(|change| change.exec).map(|it| it.at).collect();
        assert!(signals.changes().len() <= MAX_CHANGES);
        assert_eq!((execs[0], *execs.last().unwrap()), (1, 50_000_999));
    }

    /// That of HUP came to its handler long ago, and then others again and again.
    #[test]
    fn a_trial_that_is_not_over_is_kept_before_those_that_are() {
        let both = SignalSet(HUP.0 | Signal::TERM.set().0);
        let mut signals = ProcessSignals::unknown(both);
        let state = State { caught: both, ..NONE };
        signals.exec(1, &NONE, Program::Unread, true);
        let handler = Handler { serves: SignalSet(u64::MAX >> 4), faults: SignalSet::EMPTY };
        signals.action(2, Signal::HUP, handler, None, &state);
        signals.delivered(10, Signal::HUP, false);
        for turn in 0..100 {
            signals.action(20 + 2 * turn, Signal::TERM, handler, None, &state);
            signals.delivered(21 + 2 * turn, Signal::TERM, false);
        }
        assert_eq!(signals.trials.len(), MAX_TRIALS);
        assert_eq!(signals.now().runtime(Signal::HUP), None);
        signals.ended(1_000, Some(Signal::HUP), 0);
        assert_eq!(signals.now().runtime(Signal::HUP), Some(Runtime::CatchAll));
    }
}
