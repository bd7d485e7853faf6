//! What is raced, and how.

use std::time::Duration;

use crate::{
    model::{race::By, signal::Signal},
    race::Call,
};

/// It.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The signals.
    pub signals: Vec<Signal>,
    /// Those that reload, beside HUP.
    pub reloads: Vec<Signal>,
    /// Who sends them.
    pub by: By,
    /// How many instants among its system calls are raced.
    pub sweep: usize,
    /// The unit's `Type=`.
    pub service_type: String,
    /// Of a unit: whether systemd has a reload to send.
    pub can_reload: Option<bool>,
    /// Whether every instant counts.
    pub strict: bool,
    /// The one interval that is raced.
    pub only: Option<String>,
    /// Which of the others.
    pub part: Part,
    /// How often each is.
    pub repeat: u16,
    /// The longest that a run may take.
    pub timeout: Duration,
    /// How long nothing is to change for a start to be over that does not say so.
    pub quiet: Duration,
    /// How long the command must still be there after the signal.
    pub settle: Duration,
}

impl Rules {
    /// Whether an interval is raced, by its id.
    pub(super) fn wants(&self, id: &str) -> bool {
        let is_mine = match &self.part {
            Part::All | Part::Plan => true,
            Part::These(ids) => ids.iter().any(|it| it == id),
        };
        is_mine && self.only.as_ref().is_none_or(|only| only == id)
    }

    /// Whether the start is one that says READY=1.
    pub(super) fn says_ready(&self) -> bool {
        matches!(self.service_type.as_str(), "notify" | "notify-reload")
    }
}

/// What is raced of a start, of which other processes race the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    All,
    /// Nothing: the command is started once, to see which intervals there are.
    Plan,
    /// The intervals of these ids, as far as there are such.
    These(Vec<String>),
}

/// The signal and the call of an instant that `--only` names.
#[must_use]
pub fn instant(id: &str) -> Option<(Signal, Call)> {
    let (signal, call) = id.split_once('@')?;
    Some((signal.parse().ok()?, Call::parse(call)?))
}
