//! A unit at rest, or as its systemd takes it for active.

use anyhow::Result;

use super::{
    super::{
        super::kill::Kill,
        Placing,
        resting::{Rested, unsent},
        stopped::{Sending, StoppedProcess},
    },
    OneRun,
};
use crate::{
    host::clock,
    model::{race::By, signal::Signal},
    observation::{Fact, ProcessId},
    race::{At, Goal},
};

/// What systemd said of a unit at rest.
pub(super) struct Then {
    /// When it became active.
    pub active: Option<u64>,
    /// Its main process, as systemd's own pids go.
    pub main: Option<u32>,
}

impl OneRun<'_> {
    /// It is at rest: sends the main process the signal, or has the unit reloaded by a thread of
    /// its own. Tells why that was not done, if it was not.
    pub(super) async fn rest(
        &mut self,
        goal: Goal,
        placing: &Placing,
        sending: &mut Option<Sending>,
    ) -> Result<((Rested, Option<Then>), Option<String>)> {
        // As it becomes active, nothing is asked that would take a while.
        let then = if matches!(placing.at, Some(At::Active(_))) {
            None
        } else {
            let seen = self.unit.unit().look().await?;
            let (_, active) = self.unit.news(&seen, self.began);
            Some(Then { active, main: seen.main_pid })
        };
        let at = clock::boot_ns();
        let rested = Rested { at, pid: self.main().unwrap_or(0), readies: self.watch.readies() };
        self.watch.rest(goal, at);
        let failed = match (placing.by, self.main_id()) {
            (_, None) => Some("the main process is not known".to_owned()),
            // By when systemd has had the reload carried out, it would be further on.
            (By::Reload, Some(main)) if matches!(placing.at, Some(At::Active(_))) => {
                let stopped = unsent(Kill::begin(main, Signal::STOP).over().await);
                if stopped.is_none() {
                    let process = StoppedProcess(main.pid);
                    *sending = Some(self.unit.reloaded().while_stopped(process, placing.signal)?);
                }
                stopped
            }
            (By::Reload, Some(_)) => {
                *sending = Some(self.unit.reloaded().at_rest()?);
                None
            }
            (By::Kernel | By::Kill, Some(main)) => {
                unsent(Kill::begin(main, placing.signal).over().await)
            }
        };
        Ok(((rested, then), failed))
    }

    /// The main process, and since when it is there.
    fn main_id(&self) -> Option<ProcessId> {
        let main = self.main().filter(|_| !self.has_ended)?;
        self.facts.kept.iter().rev().find_map(|observation| match &observation.fact {
            Fact::Fork { child: task, .. } | Fact::CgroupAttach { task, .. } => {
                (task.id.pid == main).then_some(task.id)
            }
            _ => None,
        })
    }
}
