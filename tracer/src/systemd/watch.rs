//! Watches units at their managers, beside the kernel's stream and never in its way: a thread
//! of its own speaks to them, in a task for each.

mod attendant;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io,
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel, error::TrySendError},
        oneshot,
    },
    time::timeout,
};

pub use self::attendant::Watched;
use self::attendant::{Attendant, Request, loss, news};
use super::{manager::Manager, thread};
use crate::observation::{Fact, Observation, UnitNews};

/// How long the last answers may take when the trace is over.
pub const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// The same where an interrupt has ended it, and somebody waits for the report.
pub const HURRIED_ANSWERS: Duration = Duration::from_millis(500);
/// Managers that are attended to: the host's, and those of users and containers. Units of any
/// others have no settings.
const MAX_MANAGERS: usize = 256;
/// Requests that wait for a manager's task.
const MAX_REQUESTS: usize = 4_096;
/// Observations that wait to be taken. Then the managers' tasks wait, and leave what their
/// systemds say in the sockets.
const MAX_NEWS: usize = 1_024;
/// Observations that are taken once the trace is over.
const MAX_REST: usize = 65_536;

/// The watched managers.
pub struct Watch {
    managers: HashMap<Manager, Sender<Request>>,
    news_sender: Sender<Observation>,
    news: Receiver<Observation>,
    /// What is to be told of units that nobody can be asked about.
    own: VecDeque<Observation>,
    /// The cgroups of units whose settings were asked for and neither they nor a reason why
    /// they are unknown have come.
    unanswered: BTreeSet<String>,
}

impl Default for Watch {
    fn default() -> Self {
        let (news_sender, news) = channel(MAX_NEWS);
        let own = VecDeque::new();
        Self { managers: HashMap::new(), news_sender, news, own, unanswered: BTreeSet::new() }
    }
}

impl Watch {
    /// Connects to a manager before any of its units is seen.
    pub fn expect(&mut self, manager: &Manager) {
        if let Err(error) = self.task(manager) {
            log::debug!("a systemd is not listened to: {error}");
        }
    }

    /// Watches a unit: its settings are told, and every state from now on.
    pub fn unit(&mut self, manager: &Manager, watched: Watched) {
        let cgroup = watched.cgroup.clone();
        let asked = self.task(manager).and_then(|task| {
            task.try_send(Request::Watch(watched)).map_err(|error| match error {
                TrySendError::Full(_) => io::Error::other(format!(
                    "{MAX_REQUESTS} units are waiting for its answers already"
                )),
                TrySendError::Closed(_) => io::Error::other("it is asked no more"),
            })
        });
        match asked {
            Ok(()) => {
                self.unanswered.insert(cgroup);
            }
            Err(error) => {
                let problem = Some(format!("its systemd can't be asked: {error}"));
                self.own.push_back(news(UnitNews { cgroup, problem, ..UnitNews::default() }));
            }
        }
    }

    fn task(&mut self, manager: &Manager) -> io::Result<&Sender<Request>> {
        if !self.managers.contains_key(manager) {
            if self.managers.len() >= MAX_MANAGERS {
                // Those that have ended make room.
                self.managers.retain(|manager, _| manager.may_run());
            }
            if self.managers.len() >= MAX_MANAGERS {
                return Err(io::Error::other(format!("{MAX_MANAGERS} others are already")));
            }
            let attendant = Attendant::new(manager.clone(), self.news_sender.clone());
            thread::spawn(attendant.attend(self.requests_for(manager)))?;
        }
        self.managers.get(manager).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What a manager's task is asked for from now on.
    fn requests_for(&mut self, manager: &Manager) -> Receiver<Request> {
        let (ask, requests) = channel(MAX_REQUESTS);
        self.managers.insert(manager.clone(), ask);
        requests
    }

    /// The next that is learned. Can be dropped and called again.
    pub async fn next(&mut self) -> Observation {
        if let Some(own) = self.own.pop_front() {
            return own;
        }
        match self.news.recv().await {
            Some(observation) => {
                self.answered(&observation);
                observation
            }
            // This end holds a sender too.
            None => std::future::pending().await,
        }
    }

    /// Asks for all units a last time, and gives what has been learned once all have answered, or
    /// after `patience`.
    pub async fn finish(mut self, patience: Duration) -> Vec<Observation> {
        let mut answers = Vec::new();
        for manager in self.managers.values() {
            let (done, answered) = oneshot::channel();
            if manager.try_send(Request::Finish(done)).is_ok() {
                answers.push(answered);
            }
        }
        let mut rest: Vec<Observation> = self.own.drain(..).collect();
        let mut lost = 0;
        let all = async {
            for answer in answers {
                // One that has no connection drops the question.
                let _ = answer.await;
            }
        };
        tokio::pin!(all);
        let collecting = async {
            loop {
                tokio::select! {
                    biased;
                    Some(observation) = self.news.recv() => {
                        if rest.len() < MAX_REST {
                            rest.push(observation);
                        } else {
                            lost += 1;
                        }
                    }
                    () = &mut all => break,
                }
            }
        };
        if timeout(patience, collecting).await.is_err() {
            log::warn!(
                "systemd did not answer within {} s: what became of units last may be missing",
                patience.as_secs_f64()
            );
        }
        while let Ok(observation) = self.news.try_recv() {
            rest.push(observation);
        }
        for observation in &rest {
            self.answered(observation);
        }
        rest.extend(self.unanswered.into_iter().map(|cgroup| {
            let problem = Some("systemd had not answered when the trace ended".to_owned());
            news(UnitNews { cgroup, problem, ..UnitNews::default() })
        }));
        rest.extend((lost > 0).then(|| loss(lost)));
        rest
    }

    fn answered(&mut self, observation: &Observation) {
        if let Fact::Unit(news) = &observation.fact
            && (news.facts.is_some() || news.problem.is_some())
        {
            self.unanswered.remove(&news.cgroup);
        }
    }
}

#[cfg(test)]
mod tests;
