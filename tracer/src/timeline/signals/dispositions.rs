//! What a process does on each signal at one moment.

use std::iter;

use tracer_common::signal::SignalSet;

use crate::{
    model::{
        disposition::Disposition,
        event::{Consumer, Runtime},
        signal::Signal,
    },
    observation::{Program, SignalState},
};

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
    pub(super) mask_unknown: SignalSet,
    pub(super) signalfd: SignalSet,
    pub(super) sigwait: SignalSet,
    /// Whose handler is the one of the process's runtime.
    pub(super) own: SignalSet,
    /// That runtime, where it is known which one it is.
    pub(super) known: Option<Runtime>,
    pub(super) forwarding: SignalSet,
    /// Whose handler looks like a Java virtual machine's, where it is not known what runs.
    pub(super) jvm: SignalSet,
}

pub(super) fn without(set: SignalSet, other: SignalSet) -> SignalSet {
    SignalSet(set.0 & !other.0)
}

pub(super) fn common(set: SignalSet, other: SignalSet) -> SignalSet {
    SignalSet(set.0 & other.0)
}

/// The signals in a set.
pub(super) fn members(set: SignalSet) -> impl Iterator<Item = Signal> {
    let mut left = set.0;
    iter::from_fn(move || {
        let next = Signal::from_number(left.trailing_zeros() + 1)?;
        left &= left - 1;
        Some(next)
    })
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

    /// The same where it has become known what runs: a catch-all is of that.
    pub(super) fn running(self, program: Program) -> Self {
        let none = SignalSet::EMPTY;
        match program {
            Program::Unread => self,
            Program::Plain => Self { own: none, forwarding: none, jvm: none, ..self },
            Program::Of(runtime) => Self { known: Some(runtime), ..self },
        }
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

    pub(super) fn consume(&mut self, consumer: Consumer, set: SignalSet) {
        let (this, other) = match consumer {
            Consumer::Signalfd => (&mut self.signalfd, &mut self.sigwait),
            Consumer::Sigwait => (&mut self.sigwait, &mut self.signalfd),
        };
        *this = this.union(set);
        *other = without(*other, set);
    }

    /// The same with the kernel's word for what it knows.
    pub(super) fn with(self, state: &SignalState, recorded: SignalSet) -> Self {
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

    /// No more than `most` is blocked.
    pub(super) fn limit_blocked(&mut self, most: SignalSet) {
        self.blocked = common(self.blocked, most);
        self.mask_unknown = common(self.mask_unknown, most);
    }

    /// Those that somebody waits for, or has a signalfd for.
    pub(super) fn awaited(&self) -> SignalSet {
        self.signalfd.union(self.sigwait)
    }

    /// The signals that the two would do something else on if they were not blocked.
    pub(super) fn differ_unblocked(&self, other: &Self) -> SignalSet {
        let differ = |a: SignalSet, b: SignalSet| SignalSet(a.0 ^ b.0);
        differ(self.ignored, other.ignored).union(differ(self.caught, other.caught))
    }

    pub(super) fn keep_runtimes_of_caught(&mut self) {
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
