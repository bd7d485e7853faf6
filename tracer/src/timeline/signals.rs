//! What one process does on every recorded signal, through time.
//!
//! The kernel tells the dispositions as they are; whose a handler is shows later: a language
//! runtime installs its own signal by signal, and only the last ones show how many share it;
//! whether it passes a signal on shows when one has come. So what was taken down earlier is
//! amended then, back to where it began.

mod changes;
mod dispositions;
mod handlers;

use tracer_common::signal::SignalSet;

pub use self::{changes::Change, dispositions::Dispositions, handlers::Amendment};
use self::{
    changes::MAX_CHANGES,
    dispositions::{common, members, without},
    handlers::{Installed, LastSent, Trial},
};
use super::{
    masks::{Masks, Moment},
    runtimes,
};
use crate::{
    model::{
        event::{Consumer, Runtime},
        signal::Signal,
    },
    observation::{Handler, Program, SignalState},
};

/// What a thread blocks at most.
const ALL: SignalSet = SignalSet(u64::MAX);

/// What one process does on signals, through time.
#[derive(Clone, Debug)]
pub struct ProcessSignals {
    recorded: SignalSet,
    /// In order of time; empty while nothing was seen of it.
    changes: Vec<Change>,
    /// Changes there was no room for.
    dropped: u64,
    /// What masks were set for a moment.
    pub masks: Masks,
    /// Signals that every thread is known to block, whether or not it was looked at: all did
    /// once, a new thread has the mask of the one that starts it, and none has told since that
    /// it lets them through.
    blocked_by_all: SignalSet,
    image: Image,
    /// What ran in it before its last exec, and when that was: a child from before it may be
    /// told of later.
    replaced: Option<(u64, Image)>,
    /// When the runtime set a thread aside that passes signals on.
    forwards: Option<u64>,
    handlers: Vec<Installed>,
    trials: Vec<Trial>,
    sent: Vec<LastSent>,
}

/// The program that runs in a process since its exec, and what is known of its handlers. A child
/// has the same.
#[derive(Clone, Copy, Debug)]
struct Image {
    program: Program,
    /// The signals that were ignored as it began.
    ignored_first: SignalSet,
    /// Those that it has had a handler for since then.
    had_handler: SignalSet,
    /// The signals that a catch-all was seen to serve since then.
    served: SignalSet,
    /// Those of them whose handler is still that one.
    shown: SignalSet,
    /// The signals whose handler is known to be the program's wish.
    asked_for: SignalSet,
    /// The signals whose handler was seen to be a Java virtual machine's.
    jvms: SignalSet,
}

impl Image {
    /// A program that begins.
    fn of(program: Program, ignored_first: SignalSet) -> Self {
        Self {
            program,
            ignored_first,
            had_handler: SignalSet::EMPTY,
            served: SignalSet::EMPTY,
            shown: SignalSet::EMPTY,
            asked_for: SignalSet::EMPTY,
            jvms: SignalSet::EMPTY,
        }
    }
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
            image: Image::of(Program::Unread, SignalSet::EMPTY),
            replaced: None,
            forwards: None,
            handlers: Vec::new(),
            trials: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// What runs in it.
    #[must_use]
    pub fn program(&self) -> Program {
        self.image.program
    }

    /// What it does now.
    #[must_use]
    pub fn now(&self) -> Dispositions {
        self.changes.last().map(|change| change.now).unwrap_or_default()
    }

    /// The kernel's word on the process, with what is known of the threads that were not looked
    /// at. `own` is the mask of the thread that tells: what that lets through is not blocked.
    fn known(&mut self, state: &SignalState, own: SignalSet) -> SignalState {
        let mut known = *state;
        known.blocked = common(state.blocked, own);
        known.blocked_unknown = common(state.blocked_unknown, own);
        let looked_at = without(known.blocked, known.blocked_unknown);
        self.blocked_by_all = common(self.blocked_by_all.union(looked_at), known.blocked);
        known.blocked_unknown = without(known.blocked_unknown, self.blocked_by_all);
        known
    }

    /// It was there when the capture began. Where the kernel has told of it since, that says what
    /// it does; what runs is new.
    pub fn found(&mut self, at: u64, state: &SignalState, program: Program) {
        self.image.program = program;
        self.image.had_handler = self.image.had_handler.union(state.caught);
        if !self.changes.is_empty() {
            return self.change(at, self.now().running(program), false);
        }
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
    pub fn child(&self, at: u64, state: &SignalState) -> Self {
        let mut child = Self::unknown(self.recorded);
        let mut now = self.at(at).unwrap_or_default().with(&child.known(state, ALL), self.recorded);
        // The child has the descriptors, but not the threads that wait.
        now.sigwait = SignalSet::EMPTY;
        // And the program with its handlers, as they were then.
        child.image = match self.replaced {
            Some((until, before)) if at < until => before,
            _ => self.image,
        };
        child.change(at, now, false);
        child
    }

    /// It executes a program. That takes the handlers away, and with them whoever waited.
    /// `is_own` says that it is the service's own program, and not systemd's on the way to it.
    pub fn exec(&mut self, at: u64, state: &SignalState, program: Program, is_own: bool) {
        self.replaced = Some((at, self.image));
        self.image = Image::of(program, state.ignored);
        self.forwards = None;
        self.handlers.clear();
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
        state: &SignalState,
    ) -> Vec<Amendment> {
        let before = self.now().of(signal);
        let mut now = self.now().with(&self.known(state, ALL), self.recorded);
        if let Some(loaded) = loaded.filter(|_| !matches!(self.image.program, Program::Of(_))) {
            self.image.program = Program::Of(loaded);
            now.known = Some(loaded);
        }
        let whose = self.installer(before, signal, handler);
        now.set_runtime(signal, whose.filter(|_| now.caught.intersects(signal.set())));
        for trial in self.trials.iter_mut().filter(|trial| trial.signal == signal) {
            trial.until = trial.until.min(at);
        }
        self.change(at, now, false);
        self.image.shown = without(self.image.shown, signal.set());
        self.handlers.retain(|installed| installed.signal != signal);
        if now.caught.intersects(signal.set()) {
            self.handlers.push(Installed { signal, at, came: None });
            self.image.had_handler = self.image.had_handler.union(signal.set());
        }
        self.met(handler)
    }

    /// A thread changes its mask from `before` to `after`. If that ends a moment, what was
    /// blocked only during it is forgotten, and its beginning is given.
    pub fn mask(
        &mut self,
        at: u64,
        tid: u32,
        (before, after): (SignalSet, SignalSet),
        state: &SignalState,
    ) -> Option<u64> {
        // The thread has let through until now what is not in `before`. Others, whose times are
        // taken before they look at all threads, may have met what it does next.
        if let Some(since) = self.masks.held_since(tid, before) {
            self.limit_blocked(since, at, before);
        }
        let blocked = common(self.now().blocked, before);
        let mut now = self.now().with(&self.known(state, after), self.recorded);
        let moment = self.masks.restored(at, tid, after);
        if let Some(Moment { since, blocked }) = moment {
            // What was let through of those that had been blocked before is not forgotten: in
            // that moment it was taken.
            self.forget_moment(since, blocked, &now);
        } else {
            self.masks.changed(at, tid, before, after, blocked);
        }
        if runtimes::may_forward(self.image.program) && runtimes::is_forwarder(before, after) {
            self.forwards.get_or_insert(at);
            now.forwarding = now.forwarding.union(now.own);
            now.own = SignalSet::EMPTY;
        }
        self.change(at, now, false);
        moment.map(|moment| moment.since)
    }

    /// It made a signalfd, or waits for signals.
    pub fn consume(&mut self, at: u64, consumer: Consumer, set: SignalSet, state: &SignalState) {
        let mut now = self.now().with(&self.known(state, ALL), self.recorded);
        now.consume(consumer, common(set, self.recorded));
        self.change(at, now, false);
    }

    /// Another process that shares its handlers has set one.
    pub fn shared(&mut self, at: u64, others: Dispositions) {
        let shared = |now: Dispositions| Dispositions {
            blocked: now.blocked,
            mask_unknown: now.mask_unknown,
            signalfd: now.signalfd,
            sigwait: now.sigwait,
            ..others
        };
        // The other's facts may have waited for its place. What this one has told since stays.
        let later = self.changes.partition_point(|change| change.at <= at);
        if later == self.changes.len() {
            self.change(at, shared(self.now()), false);
        } else if self.changes.len() < MAX_CHANGES {
            let now = shared(self.at(at).unwrap_or_default());
            self.changes.insert(later, Change { at, now, exec: false });
        } else {
            self.dropped += 1;
        }
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
                self.sent.push(LastSent { signal, by_others: None, by_itself: None });
                self.sent.len() - 1
            });
            let sent = &mut self.sent[index];
            *(if by_itself { &mut sent.by_itself } else { &mut sent.by_others }) = Some(at);
        }
        self.met(handler)
    }
}

#[cfg(test)]
mod tests;
