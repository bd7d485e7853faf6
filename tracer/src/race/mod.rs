//! A signal in every interval of a start: which intervals there are, what the signal did in
//! each, and whether that is right. Pure: facts and documents in, verdicts out.
//!
//! A *step* is what changes what a signal does: a fork, an exec, an action, a mask, a message.
//! Between two steps that is the same, so one run tells it of the whole interval.

mod alike;
mod child_exit;
mod held;
mod interval;
mod lineage;
mod outcome;
mod reach;
mod rest;
mod right;
mod second;
mod sentence;
mod shares;
mod steps;
mod sweep;
mod verdict;
mod watch;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use self::{
    alike::{Helpers, Same},
    child_exit::{ChildExit, Exit, child_exits},
    held::{Answer, Held, Reload},
    interval::{At, MAX_INTERVALS, Planned, plan},
    lineage::Lineage,
    outcome::{Run, Undisturbed, is_answered, tried},
    reach::reach,
    rest::{active, never_comes, rest, rest_id},
    right::{is_bad, role, unplaceable},
    second::{Second, seconds},
    sentence::{sentence, sentences},
    shares::{merge, shares},
    steps::{Active, Key, MAX_FACTS, Origin, Step, Steps},
    sweep::{Call, FEWER_CALLS, calls, one, sweep, swept},
    verdict::{discount, interval, untested, untouched},
    watch::{Goal, RELOADS_NS, SentBy, Watch},
};
