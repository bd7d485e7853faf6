//! What each run is to come to for it to be over.

use std::time::Duration;

use tracer_common::signal::SignalSet;

use super::{Rounds, Runner, resting::AtRest, untouched::First};
use crate::{
    model::{race::Role, signal::Signal},
    race::{At, Goal, Planned, SentBy, role},
};

/// How many times as long as in the untouched run it may take to come to a system call.
const LATER: u64 = 3;

impl Rounds<'_, '_> {
    /// What the start is to come to for it to be over.
    pub(super) fn goal_of_start(&self) -> Goal {
        let rules = self.rules;
        let says_ready = rules.says_ready();
        Goal {
            ready: says_ready,
            up: matches!(self.racer, Runner::Unit(_)),
            least_ns: 0,
            settle_ns: nanoseconds(if says_ready { rules.settle } else { rules.quiet }),
            signals: self.signals(),
            signal: None,
            sender: SentBy::Kernel,
            ends: false,
            answered: false,
            answers: false,
        }
    }

    /// What it is to come to once it is at rest and the signal was sent, within `limit` at most.
    pub(super) fn at_rest(&self, signal: Signal, limit: Duration) -> AtRest {
        let role = role(signal, &self.rules.reloads);
        let goal = Goal {
            settle_ns: nanoseconds(self.rules.settle),
            signal: Some(signal),
            sender: self.sender(true),
            ends: role == Role::End,
            answered: role == Role::Reload && self.rules.service_type == "notify-reload",
            ..self.goal_of_start()
        };
        AtRest { goal, limit }
    }

    /// What a run with a signal in an interval is to come to.
    pub(super) fn goal_of(&self, planned: &Planned, signal: Signal, first: &First) -> Goal {
        let role = role(signal, &self.rules.reloads);
        let settle_ns = nanoseconds(self.rules.settle);
        let start_ns = match planned.at {
            At::Step(_) | At::Second(_) | At::AfterRest(_) | At::Rest(_) | At::Active(_) => {
                first.start_ns
            }
            // It is awaited for longer than it took to come to it in the untouched run.
            At::Call(_) | At::ChildExit(_) => {
                let zero = first.ran.span.0.cast_signed();
                let after = first.zero.cast_signed().saturating_add(planned.to_ns) - zero;
                first.start_ns.max(after.unsigned_abs().saturating_mul(LATER))
            }
        };
        Goal {
            ready: first.before.readies > 0,
            up: self.forks(),
            least_ns: start_ns.saturating_add(settle_ns),
            settle_ns,
            signals: self.signals(),
            signal: Some(signal),
            sender: self.sender(false),
            ends: role == Role::End && planned.main,
            answered: planned.main
                && role == Role::Reload
                && self.rules.service_type == "notify-reload",
            answers: planned.main && first.answers.intersects(signal.set()),
        }
    }

    /// All that are raced.
    fn signals(&self) -> SignalSet {
        self.rules.signals.iter().fold(SignalSet::EMPTY, |set, it| set.union(it.set()))
    }
}

pub(super) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
