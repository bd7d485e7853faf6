//! What a run of a command and one of a unit have in common: a signal that is placed, and what came
//! of that.

use std::collections::VecDeque;

use anyhow::Result;
use nix::libc;
use tracer_common::place::{Counted, Order};

use super::{super::BadRequest, reload::Reloaded, stopped::Sending};
use crate::{
    model::{errno, race::By, signal::Signal},
    observation::Observation,
    probe::{attach::Attached, place::Placer, stream::Stream},
    race::{At, ChildExit, MAX_FACTS, Steps},
};

/// The most records that are thrown away between two runs in one go.
const BATCH: usize = 4_096;

/// A signal at a step; or what the run is recorded for, where nothing is placed.
#[derive(Clone, Debug)]
pub struct Placing {
    /// The signal that the run is judged by.
    pub signal: Signal,
    /// Where it is placed.
    pub at: Option<At>,
    /// What the kernel side is told of that. Without an instant it follows the command, and places
    /// nothing.
    pub order: Order,
    /// Who sends it.
    pub by: By,
}

impl Placing {
    /// The order, with the signal that the kernel sends at the instant.
    #[must_use]
    pub fn order(&self) -> Order {
        let sent = match self.by {
            By::Kernel => self.order.sent,
            By::Kill | By::Reload => libc::SIGSTOP.unsigned_abs(),
        };
        Order { sent, ..self.order }
    }

    /// What sends the signal to the process that the kernel stops, if it is to be sent so; or has
    /// it sent by a reload of this unit.
    pub fn sending(&self, placer: &Placer, unit: Option<Reloaded>) -> Result<Option<Sending>> {
        let placement = || placer.placement();
        match (self.by, unit) {
            _ if self.at.is_none_or(|at| at.is_sent()) => Ok(None),
            (By::Kernel, _) | (By::Reload, None) => Ok(None),
            (By::Kill, _) => Sending::by_kill(placement(), self.signal).map(Some),
            (By::Reload, Some(unit)) => unit.at(placement(), self.signal).map(Some),
        }
    }
}

/// Attaches the programs that place a signal, in a unit's main process if `unit`.
pub fn placer(attached: &mut Attached, counts: bool, unit: bool) -> Result<Placer> {
    // Those that record were taken by this kernel.
    Placer::attach(attached, counts, unit).map_err(|error| {
        let why = errno::chain(&error);
        BadRequest::new(format_args!("this kernel can't place a signal: {why}")).into()
    })
}

/// Throws away what the run before left behind, which has nothing to do with the next one.
pub fn empty(stream: &mut Stream) -> Result<()> {
    let mut left = VecDeque::new();
    while stream.take(BATCH, &mut left)? {
        left.clear();
    }
    Ok(())
}

/// What the kernel side told of a run.
pub struct Came {
    /// The process that the order was about.
    pub command: u32,
    /// The process that the signal was placed in, and when (`CLOCK_BOOTTIME` ns).
    pub placed: Option<(u32, u64)>,
    /// What the kernel said instead, as an errno, where it refused to send it.
    pub refused: Option<i32>,
    /// Where nothing was placed, and system calls are counted: the ends of them.
    pub counted: Vec<Counted>,
    /// The exits of children, in order of time.
    pub child_exits: Vec<ChildExit>,
}

impl Came {
    /// Takes the order of a run back.
    pub fn of(placer: &mut Placer, placing: &Placing, counts: bool) -> Result<Self> {
        let told = placer.placed()?;
        let counted = if placing.at.is_none() && counts { placer.counted()? } else { Vec::new() };
        let child_exits = child_exits(placer);
        placer.disarm()?;
        let is_placed = placing.at.is_some() && told.at_ns != 0;
        Ok(Self {
            command: told.command,
            placed: (is_placed && told.result == 0).then_some((told.pid, told.at_ns)),
            refused: (is_placed && told.result != 0)
                .then(|| i32::try_from(-told.result).unwrap_or(i32::MAX)),
            counted,
            child_exits,
        })
    }
}

/// The ends of children, in order of time.
fn child_exits(placer: &Placer) -> Vec<ChildExit> {
    let exits = placer.child_exits().into_iter();
    let mut exits: Vec<ChildExit> = exits
        .map(|(told, exit)| ChildExit {
            at: told.at_ns,
            process: exit.process,
            execs: u32::try_from(exit.execs).unwrap_or(u32::MAX),
            child: exit.child,
        })
        .collect();
    exits.sort_by_key(|exit| exit.at);
    exits
}

/// The facts that steps are told from.
#[derive(Default)]
pub struct Facts {
    pub kept: Vec<Observation>,
    /// Whether there was no room for one.
    pub is_full: bool,
}

impl Facts {
    pub fn learn(&mut self, observation: &Observation) {
        if Steps::needs(&observation.fact) {
            if self.kept.len() < MAX_FACTS {
                self.kept.push(observation.clone());
            } else {
                self.is_full = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Fact, ProcessId, SignalState, Task};

    #[test]
    fn facts_of_a_run_that_there_is_no_room_for_are_told_of() {
        let task = Task::of(ProcessId { pid: 1, start_ticks: 1 });
        let state = SignalState::default();
        let exit = Fact::Exit { task, signal: None, code: 0, core_dumped: false, state };
        let mut facts = Facts::default();
        for at in 0..MAX_FACTS as u64 {
            facts.learn(&Observation { at, fact: exit.clone() });
        }
        assert!(!facts.is_full);
        facts.learn(&Observation { at: u64::MAX, fact: exit });
        assert!(facts.is_full);
        assert_eq!(facts.kept.last().map(|last| last.at), Some(MAX_FACTS as u64 - 1));
    }
}
