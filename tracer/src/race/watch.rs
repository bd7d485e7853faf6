//! Whether a run has shown what it is made for.

use crate::{
    model::signal::Signal,
    observation::{Fact, Observation},
    timeline::notify::says_ready,
};

/// What a run has to come to. Times are in ns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goal {
    /// READY=1 is to be said.
    pub ready: bool,
    /// It goes on for so long after the fork at least.
    pub least_ns: u64,
    /// How long nothing is to change before it is over, and how long the command is to be there
    /// after a signal was placed.
    pub settle_ns: u64,
    /// The signal that is placed, if one is.
    pub signal: Option<Signal>,
    /// The signal is to end the command: nothing else ends the run.
    pub ends: bool,
    /// It is to be answered with READY=1.
    pub answered: bool,
}

/// Follows a run, by its facts.
#[derive(Clone, Debug)]
pub struct Watch {
    goal: Goal,
    /// The command.
    pid: u32,
    /// The path of its notify socket.
    socket: Option<String>,
    began: u64,
    /// When something changed last, `CLOCK_BOOTTIME` ns.
    changed: u64,
    /// When READY=1 was said last (the same clock).
    ready: Option<u64>,
    placed: Option<u64>,
}

impl Watch {
    /// Of a command that was started at `began` (`CLOCK_BOOTTIME` ns).
    #[must_use]
    pub fn new(goal: Goal, pid: u32, socket: Option<String>, began: u64) -> Self {
        Self { goal, pid, socket, began, changed: began, ready: None, placed: None }
    }

    /// Takes a fact.
    pub fn learn(&mut self, observation: &Observation) {
        let at = observation.at;
        match &observation.fact {
            Fact::Exec { task, .. } | Fact::Disposition { task, .. } if task.id.pid == self.pid => {
                self.changed = self.changed.max(at);
            }
            Fact::Notify(datagram)
                if datagram.errno == 0
                    && self.socket.as_deref() == Some(&datagram.destination)
                    && datagram.payload.as_deref().is_some_and(says_ready) =>
            {
                self.ready = self.ready.max(Some(at));
                self.changed = self.changed.max(at);
            }
            Fact::Generate(sent)
                if sent.sender.is_none()
                    && self.goal.signal == Some(sent.signal)
                    && sent.si_code == SI_KERNEL =>
            {
                self.placed = self.placed.or(Some(at));
            }
            _ => {}
        }
    }

    /// Whether READY=1 was said.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// When there is nothing more to wait for, `CLOCK_BOOTTIME` ns; `None` as long as that
    /// depends on what is to come.
    #[must_use]
    pub fn settles(&self) -> Option<u64> {
        let is_due = self.goal.ready && self.ready.is_none()
            || self.goal.ends && self.placed.is_some()
            || self.goal.answered && self.placed.is_some() && self.ready <= self.placed;
        if is_due {
            return None;
        }
        let last = self.placed.unwrap_or(0).max(self.changed);
        let settled = last.saturating_add(self.goal.settle_ns);
        Some(settled.max(self.began.saturating_add(self.goal.least_ns)))
    }
}

/// `si_code` of a signal from the kernel (include/uapi/asm-generic/siginfo.h).
pub(super) const SI_KERNEL: i32 = 0x80;
