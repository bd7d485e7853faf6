//! Which step of a start is meant, and how it is found again.

use std::fmt;

use tracer_common::place::{self, COMMAND, child_place};

pub use tracer_common::place::Kind;

use crate::model::{race::StepKind, signal::Signal};

/// What a step is, and which one of its kind: by this it is found again in another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The place of its process in the tree of the command's: `tracer_common::place::COMMAND`
    /// for the command itself.
    pub process: u64,
    /// How many programs the process has executed by then.
    pub execs: u32,
    /// What it is.
    pub kind: Kind,
    /// Which one of its kind since then, from 1 on.
    pub number: u32,
}

impl fmt::Display for Key {
    /// As in `--only`: `fork`, `exec1`, `exec1.action2`, `child2.exec1.ready1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_children(f, self.process)?;
        if self.execs > 0 {
            write!(f, "exec{}", self.execs)?;
        }
        let word = match self.kind {
            Kind::Begin => return f.write_str("fork"),
            Kind::Exec => return Ok(()),
            Kind::Action => "action",
            Kind::Block => "block",
            Kind::Unblock => "unblock",
            Kind::Signalfd => "signalfd",
            Kind::Sigwait => "sigwait",
            Kind::Reset => "reset",
            Kind::Ready => "ready",
            Kind::Reloading => "reloading",
            Kind::Stopping => "stopping",
            Kind::Child => "fork",
        };
        let dot = if self.execs > 0 { "." } else { "" };
        write!(f, "{dot}{word}{}", self.number)
    }
}

/// The place that forks of these numbers lead to, the command's first.
pub(in crate::race) fn place_of(forks: &[u32]) -> Option<u64> {
    forks.iter().try_fold(COMMAND, |place, fork| child_place(place, *fork))
}

/// The numbers of the forks that lead to a place, the command's first.
fn children(place: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut rest = place;
    while rest > COMMAND {
        numbers.push(rest & 0xfff);
        rest >>= 12;
    }
    numbers.reverse();
    numbers
}

/// Writes these as `--only` has them: `child2.child1.`, nothing for the command.
pub(in crate::race) fn write_children(f: &mut fmt::Formatter<'_>, place: u64) -> fmt::Result {
    children(place).into_iter().try_for_each(|child| write!(f, "child{child}."))
}

/// The place of the process that started the one at a place.
pub(in crate::race) fn parent(place: u64) -> u64 {
    place::parent_of(place)
}

/// The order to place `signal` at the `number`-th of these (`place::Order::step`) of a process since so
/// many execs.
pub(in crate::race) fn order(
    signal: Signal,
    step: u32,
    process: u64,
    execs: u32,
    number: u32,
) -> place::Order {
    let (sent, signal) = (signal.number(), signal.number());
    place::Order { signal, sent, process, step, execs, number, ..place::Order::default() }
}

impl Key {
    /// Whether its number does not depend on helpers, which are forked, with masks around it.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        !matches!(self.kind, Kind::Child | Kind::Block | Kind::Unblock)
    }

    /// The order to place `signal` at this step; where notify messages go is yet to be told.
    #[must_use]
    pub fn order(&self, signal: Signal) -> place::Order {
        let Self { process, execs, kind, number } = *self;
        order(signal, kind as u32, process, execs, number)
    }
}

/// The kind as reports have it.
pub(super) fn reported(kind: Kind) -> StepKind {
    match kind {
        Kind::Begin => StepKind::Fork,
        Kind::Exec => StepKind::Exec,
        Kind::Action => StepKind::Action,
        Kind::Block => StepKind::Block,
        Kind::Unblock => StepKind::Unblock,
        Kind::Signalfd => StepKind::Signalfd,
        Kind::Sigwait => StepKind::Sigwait,
        Kind::Reset => StepKind::Reset,
        Kind::Ready => StepKind::Ready,
        Kind::Reloading => StepKind::Reloading,
        Kind::Stopping => StepKind::Stopping,
        Kind::Child => StepKind::Child,
    }
}
