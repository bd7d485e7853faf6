//! What a process does on a signal: the one table that everybody asks.

use super::{
    event::{Consumer, DispositionKind},
    runtime::{Action, Runtime},
};

/// What a process does on a signal, from every point of view that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Disposition {
    /// `SIG_IGN`
    pub ignored: bool,
    /// It has a handler.
    pub caught: bool,
    /// Every thread blocks it.
    pub blocked: bool,
    /// It is blocked in all threads that were looked at, and there are more.
    pub mask_unknown: bool,
    /// It is taken without a handler.
    pub consumer: Option<Consumer>,
    /// The language runtime that the handler is of, if it is not the program's own.
    pub runtime: Option<Runtime>,
    /// What that runtime's handler does with the signal.
    pub effect: Option<Action>,
}

/// What comes of a signal whose default action is fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It ends the process.
    Dies,
    /// It is thrown away.
    Loses,
    /// It reaches the program's own code.
    Takes,
    /// It waits: every thread blocks it, and nobody takes it.
    Waits,
    /// That can't be told: a runtime may or may not pass it on.
    Unknown,
}

impl Disposition {
    /// What the kernel would do.
    #[must_use]
    pub fn kind(self) -> DispositionKind {
        if self.blocked {
            DispositionKind::Blocked
        } else if self.ignored {
            DispositionKind::Ignored
        } else if self.caught {
            DispositionKind::Handler
        } else {
            DispositionKind::Default
        }
    }

    /// What comes of a signal whose default action is fatal.
    #[must_use]
    pub fn reaction(self) -> Reaction {
        if self.blocked && self.mask_unknown {
            return Reaction::Unknown;
        }
        reaction(self.kind(), self.consumer.is_some(), self.effect)
    }

    /// The same of the init of a pid namespace: no default action ends it
    /// (`SIGNAL_UNKILLABLE`; `sig_task_ignored()` in kernel/signal.c).
    #[must_use]
    pub fn of_init(self) -> Self {
        Self { ignored: self.ignored || !self.caught, ..self }
    }

    /// The same, disposition apart from the mask: what comes of one that is let through.
    #[must_use]
    pub fn unblocked(self) -> Self {
        Self { blocked: false, mask_unknown: false, ..self }
    }
}

/// What comes of a signal whose default action is fatal, at a process that would do `kind`,
/// where `consumed` says that a signalfd or a sigwait is there for blocked ones, and `effect`
/// what the handler does if it is a runtime's own.
#[must_use]
pub fn reaction(kind: DispositionKind, consumed: bool, effect: Option<Action>) -> Reaction {
    match (kind, effect) {
        (DispositionKind::Blocked, _) if consumed => Reaction::Takes,
        (DispositionKind::Blocked, _) => Reaction::Waits,
        (DispositionKind::Ignored, _) | (DispositionKind::Handler, Some(Action::Spares)) => {
            Reaction::Loses
        }
        (DispositionKind::Default, _)
        | (DispositionKind::Handler, Some(Action::Dies | Action::Exits(_))) => Reaction::Dies,
        (DispositionKind::Handler, None) => Reaction::Takes,
        (DispositionKind::Handler, Some(Action::Unknown)) => Reaction::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_meet_a_signal_has_its_reaction() {
        use DispositionKind::{Blocked, Default, Handler, Ignored};
        for (kind, consumed, effect, expected) in [
            (Default, false, None, Reaction::Dies),
            (Default, true, None, Reaction::Dies),
            (Ignored, false, None, Reaction::Loses),
            (Ignored, true, None, Reaction::Loses),
            (Blocked, false, None, Reaction::Waits),
            (Blocked, false, Some(Action::Dies), Reaction::Waits),
            (Blocked, true, None, Reaction::Takes),
            (Handler, false, None, Reaction::Takes),
            (Handler, false, Some(Action::Dies), Reaction::Dies),
            (Handler, false, Some(Action::Exits(129)), Reaction::Dies),
            (Handler, false, Some(Action::Spares), Reaction::Loses),
            (Handler, false, Some(Action::Unknown), Reaction::Unknown),
        ] {
            assert_eq!(reaction(kind, consumed, effect), expected, "{kind:?} {effect:?}");
        }
    }
}
