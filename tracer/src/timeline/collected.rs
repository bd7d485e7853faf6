//! The facts collected for one start of a service.

use crate::observation::{Datagram, Fact, ProcessId, Task};

/// Facts kept of one activation; what comes after is counted, not kept.
const MAX_FACTS: usize = 20_000;
/// Facts of weight that are kept even then.
const MAX_WEIGHTY: usize = 1_000;

/// What is collected for one start.
#[derive(Clone, Debug)]
pub struct Collected {
    /// systemd's invocation id.
    pub invocation_id: Option<String>,
    /// The main process, and the ones it was before a hand-over: each with when it
    /// became that.
    pub mains: Vec<(u64, ProcessId)>,
    /// Processes that systemd itself started beside the main one, for ExecStartPost= and
    /// its like.
    pub controls: Vec<ProcessId>,
    /// `NOTIFYACCESS=` in messages that were admitted, with their times.
    pub access: Vec<(u64, String)>,
    /// It ran before the capture: when that joined.
    pub joined_at: Option<u64>,
    facts: Vec<(u64, Fact)>,
    weighty: usize,
    omitted: u64,
}

impl Collected {
    /// A start with this main process.
    #[must_use]
    pub fn new(invocation_id: Option<String>) -> Self {
        Self {
            invocation_id,
            mains: Vec::new(),
            controls: Vec::new(),
            access: Vec::new(),
            joined_at: None,
            facts: Vec::new(),
            weighty: 0,
            omitted: 0,
        }
    }

    /// The main process now.
    #[must_use]
    pub fn main(&self) -> Option<ProcessId> {
        self.mains.last().map(|(_, id)| *id)
    }

    /// Adds a fact. With `is_full` there is no more room for any but those of weight.
    pub fn add(&mut self, at: u64, fact: Fact, is_full: bool) {
        if is_full || self.facts.len() >= MAX_FACTS {
            let weighty = matches!(fact, Fact::Generate(_) | Fact::Exit { .. } | Fact::Notify(_));
            if !weighty || self.weighty >= MAX_WEIGHTY {
                self.omitted += 1;
                return;
            }
            self.weighty += 1;
        }
        self.facts.push((at, fact));
    }

    /// The time of the earliest fact.
    #[must_use]
    pub fn first_at(&self) -> Option<u64> {
        self.facts.iter().map(|(at, _)| *at).min()
    }

    /// How many facts there have been, those left out included.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.facts.len() as u64 + self.omitted
    }

    /// Facts left out because there were too many.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// The facts, in order of time.
    #[must_use]
    pub fn in_order(&self) -> Vec<(u64, &Fact)> {
        let mut facts: Vec<(u64, &Fact)> = self.facts.iter().map(|(at, f)| (*at, f)).collect();
        facts.sort_by_key(|(at, _)| *at);
        facts
    }

    /// The main process at a time. Before the first one became that, its own past counts.
    #[must_use]
    pub fn main_at(&self, at: u64) -> Option<ProcessId> {
        let since = self.mains.iter().rev().find(|(since, _)| *since <= at);
        since.or(self.mains.first()).map(|(_, id)| *id)
    }

    /// `NotifyAccess=` in force before a message sent at `at`, where the unit has `configured`.
    #[must_use]
    pub fn access_at<'a>(&'a self, at: u64, configured: Option<&'a str>) -> Option<&'a str> {
        let changed = self.access.iter().rev().find(|(since, _)| *since < at);
        changed.map(|(_, access)| access.as_str()).or(configured)
    }

    /// When a process ended.
    #[must_use]
    pub fn exit_of(&self, id: ProcessId) -> Option<u64> {
        self.facts.iter().rev().find_map(|(at, fact)| match fact {
            Fact::Exit { task, .. } if task.id == id => Some(*at),
            _ => None,
        })
    }

    /// The messages a process sent from `at` on.
    pub fn messages_of(&self, id: ProcessId, at: u64) -> impl Iterator<Item = &Datagram> {
        self.facts.iter().filter_map(move |(sent, fact)| match fact {
            Fact::Notify(datagram) if datagram.sender.id == id && *sent >= at => Some(&**datagram),
            _ => None,
        })
    }

    /// A process's id in its own pid namespace.
    #[must_use]
    pub fn ns_pid(&self, id: ProcessId) -> u32 {
        let mut tasks = self.facts.iter().filter_map(|(_, fact)| fact_task(fact));
        tasks.find(|task| task.id == id && task.ns_pid != 0).map_or(id.pid, |task| task.ns_pid)
    }

    /// A process as it was last seen.
    #[must_use]
    pub fn last_seen(&self, id: ProcessId) -> Option<&Task> {
        self.facts.iter().rev().filter_map(|(_, fact)| fact_task(fact)).find(|task| task.id == id)
    }
}

/// The task a fact is about.
#[must_use]
pub fn fact_task(fact: &Fact) -> Option<&Task> {
    match fact {
        Fact::Found { task, .. }
        | Fact::CgroupAttach { task, .. }
        | Fact::Exec { task, .. }
        | Fact::Exit { task, .. }
        | Fact::Deliver { task, .. }
        | Fact::Disposition { task, .. }
        | Fact::Mask { task, .. }
        | Fact::Consume { task, .. }
        | Fact::Taken { task, .. }
        | Fact::ThreadExit { task, .. } => Some(task),
        Fact::Fork { child, .. } => Some(child),
        Fact::Generate(generate) => Some(&generate.target),
        Fact::Notify(datagram) => Some(&datagram.sender),
        Fact::CgroupPath { .. }
        | Fact::CgroupGone { .. }
        | Fact::Left { .. }
        | Fact::Unit(_)
        | Fact::Loss { .. } => None,
    }
}
