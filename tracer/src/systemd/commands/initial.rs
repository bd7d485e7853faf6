//! What signals do to a program at its beginning: what it inherits.

use crate::model::signal::Signal;

/// What a program before it has made of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Their default, and not blocked.
    Default,
    /// Nothing.
    Ignored,
    /// They wait.
    Blocked,
}

/// Of which signals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Every one.
    All,
    /// These.
    These(Vec<Signal>),
}

/// One change.
pub(super) type Change = (Action, Which);

/// The signals that a program does not begin with at their default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Initial {
    /// Those that it ignores.
    pub ignores: Vec<Signal>,
    /// Those that it blocks.
    pub blocks: Vec<Signal>,
}

impl Initial {
    /// After a change.
    pub(super) fn after(mut self, (action, which): &Change) -> Self {
        let signals = match which {
            Which::These(signals) => signals.clone(),
            Which::All => (1..=64).filter_map(Signal::from_number).collect(),
        };
        for signal in signals {
            let lists = match action {
                Action::Default | Action::Ignored => &mut self.ignores,
                Action::Blocked => &mut self.blocks,
            };
            lists.retain(|it| *it != signal);
            match action {
                Action::Default => self.blocks.retain(|it| *it != signal),
                Action::Ignored | Action::Blocked => lists.push(signal),
            }
        }
        self
    }
}
