//! Which process of a run is the one at a place, as its forks are told.

use std::collections::BTreeMap;

use tracer_common::place::{COMMAND, child_place};

use crate::observation::Fact;

/// Follows who forks whom, down to the process that is looked for.
#[derive(Clone, Debug)]
pub struct Lineage {
    wanted: u64,
    /// The place of each process, and how many children it has started.
    processes: BTreeMap<u32, (u64, u32)>,
    found: Option<u32>,
}

impl Lineage {
    /// The process at the place `wanted` is looked for, below the process `command`.
    #[must_use]
    pub fn of(wanted: u64, command: u32) -> Self {
        Self {
            wanted,
            processes: BTreeMap::from([(command, (COMMAND, 0))]),
            found: (wanted == COMMAND).then_some(command),
        }
    }

    /// Takes a fact. Where it is the fork of the process that is looked for, gives that.
    pub fn learn(&mut self, fact: &Fact) -> Option<u32> {
        match fact {
            Fact::Fork { parent, child, .. } if self.found.is_none() => {
                let (place, forks) = self.processes.get_mut(&parent.id.pid)?;
                *forks += 1;
                let place = child_place(*place, *forks)?;
                // As long as it is not there, these are as many as run.
                self.processes.insert(child.id.pid, (place, 0));
                self.found = (place == self.wanted).then_some(child.id.pid);
                self.found
            }
            Fact::Exit { task, .. } if self.found.is_none() => {
                self.processes.remove(&task.id.pid);
                None
            }
            _ => None,
        }
    }

    /// The process, once it is there.
    #[must_use]
    pub fn found(&self) -> Option<u32> {
        self.found
    }
}
