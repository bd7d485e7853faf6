//! The command that `run` traces, its notify socket, and what it is sent.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Observer,
    capture::Capture,
    child::{Child, Stopped},
    notify_socket::NotifySocket,
    schedule::Schedule,
    turns::{News, Subject},
};
use crate::{
    host::{clock, procfs},
    model::signal::Signal,
    observation::{Fact, Observation},
};

/// Processes that the command started, of which it is remembered whether they still run.
const MAX_DESCENDANTS: usize = 65_536;

/// A command being traced.
pub struct Command {
    child: Child,
    #[allow(dead_code, reason = "messages are taken for as long as it is there")]
    socket: Option<NotifySocket>,
    schedule: Schedule,
    descendants: Descendants,
}

/// The processes that a command started, and theirs, as far as they run. Of more than can be
/// remembered, the newest are not.
#[derive(Default)]
struct Descendants(BTreeSet<u32>);

impl Descendants {
    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Fork { child, .. } if self.0.len() < MAX_DESCENDANTS => {
                self.0.insert(child.id.pid);
            }
            Fact::Exit { task, .. } => {
                self.0.remove(&task.id.pid);
            }
            _ => {}
        }
    }
}

impl Command {
    /// A command that was started.
    #[must_use]
    pub fn new(child: Child, socket: Option<NotifySocket>, schedule: Schedule) -> Self {
        Self { child, socket, schedule, descendants: Descendants::default() }
    }

    /// Whether it has not been waited for.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.child.has_ended()
    }

    /// Waits for its end once the session is over, and makes it end. Tells how.
    pub async fn stop(&mut self) -> Result<Stopped> {
        self.child.stop().await
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The processes it left running, by name and pid, but for those in `known`.
    #[must_use]
    pub fn left_running(&self, known: &[u32]) -> Vec<String> {
        self.descendants
            .0
            .iter()
            .filter(|pid| !known.contains(pid))
            .filter_map(|pid| procfs::name(*pid).map(|name| format!("{name} (pid {pid})")))
            .collect()
    }
}

impl Subject for Command {
    fn learn(&mut self, observation: &Observation) {
        let age = Duration::from_nanos(clock::boot_ns().saturating_sub(observation.at));
        self.schedule.learn(observation, age, Instant::now());
        self.descendants.learn(&observation.fact);
    }

    async fn act(&mut self, _: &mut Capture, _: &dyn Observer, now: Instant) -> Result<()> {
        for signal in self.schedule.take_due(now) {
            self.child.send(signal)?;
        }
        Ok(())
    }

    fn patience(&self, longest: Duration, now: Instant) -> Duration {
        self.schedule.patience(longest, now)
    }

    async fn news(&mut self) -> Result<News> {
        if self.child.has_ended() {
            return std::future::pending().await;
        }
        self.child.wait().await?;
        Ok(News::Ended)
    }

    fn is_settled(&self, now: Instant) -> bool {
        self.schedule.is_settled(now)
    }

    fn is_over(&mut self, _: Instant) -> bool {
        self.child.has_ended()
    }

    fn forward(&mut self, signal: Signal, observer: &dyn Observer) -> Result<()> {
        // A hang-up of the terminal is an end, not a reload.
        let signal = if signal == Signal::HUP { Signal::TERM } else { signal };
        observer.note(&format_args!("forwarding {signal} to the command; again ends at once"));
        self.child.send(signal)
    }

    async fn last_news(&mut self, _: &mut Capture) -> Vec<Observation> {
        Vec::new()
    }

    fn untested(&self) -> Vec<String> {
        Vec::new()
    }

    fn session_ended(&mut self) -> Result<()> {
        self.child.send(Signal::TERM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{ProcessId, State, Task};

    fn task(pid: u32) -> Task {
        Task {
            id: ProcessId { pid, start_ticks: 1 },
            tid: pid,
            ns_pid: pid,
            uid: 0,
            start_ns: 0,
            cgroup_id: 0,
            comm: String::new(),
        }
    }

    #[test]
    fn so_many_descendants_are_remembered_and_those_that_end_make_room() {
        let fork = |pid| {
            let state = State::default();
            Fact::Fork { parent: task(1), child: task(pid), shares_handlers: false, state }
        };
        let mut descendants = Descendants::default();
        let most = u32::try_from(MAX_DESCENDANTS).unwrap();
        for pid in 0..most + 10 {
            descendants.learn(&fork(pid));
        }
        assert_eq!(descendants.0.len(), MAX_DESCENDANTS);
        assert!(!descendants.0.contains(&most));
        let state = State::default();
        let ended = Fact::Exit { task: task(3), signal: None, code: 0, core_dumped: false, state };
        descendants.learn(&ended);
        descendants.learn(&fork(most));
        assert!(descendants.0.contains(&most) && !descendants.0.contains(&3));
    }
}
