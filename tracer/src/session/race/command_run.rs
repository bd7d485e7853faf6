//! A command in one run.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    super::{
        Capture, Command, Observer, Session,
        turns::{News, Subject},
    },
    placing::Facts,
    resting::{AtRest, Rested, unsent},
};
use crate::{
    host::clock,
    model::{document::EndedBy, signal::Signal},
    observation::Observation,
    race::{Goal, Watch},
};

/// Follows a run to its end: where it is to be at rest, to that, and on from the signal that is sent
/// then. Tells why that was not sent, if it was not.
pub(super) async fn follow(
    session: &mut Session<'_, OneRun>,
    rest: Option<AtRest>,
    signal: Signal,
    began: u64,
) -> Result<(EndedBy, Option<Rested>, Option<String>)> {
    let ended_by = session.follow().await?;
    let Some(rest) = rest.filter(|_| ended_by == EndedBy::Until) else {
        return Ok((ended_by, None, None));
    };
    let (rested, unsent) = session.subject().rest(rest.goal.clone(), signal);
    Ok((session.follow_on(rest.ending(began)).await?, Some(rested), unsent))
}

/// A command in one run.
pub(super) struct OneRun {
    pub watch: Watch,
    pub command: Command,
    pub facts: Facts,
    pub left: Vec<String>,
}

impl OneRun {
    /// It is at rest: sends it the signal. Tells why it was not sent, if it was not.
    fn rest(&mut self, goal: Goal, signal: Signal) -> (Rested, Option<String>) {
        let (at, pid) = (clock::boot_ns(), self.command.pid());
        let rested = Rested { at, pid, readies: self.watch.readies() };
        self.watch.rest(goal, at);
        (rested, unsent(self.command.send(signal)))
    }
}

impl Subject for OneRun {
    fn learn(&mut self, observation: &Observation) {
        self.watch.learn(observation);
        self.command.learn(observation);
        self.facts.learn(observation);
    }

    async fn act(&mut self, _: &mut Capture, _: &dyn Observer, _: Instant) -> Result<()> {
        Ok(())
    }

    fn patience(&self, longest: Duration, _: Instant) -> Duration {
        let left = self.watch.settles().map(|at| at.saturating_sub(clock::boot_ns()));
        left.map_or(longest, |left| longest.min(Duration::from_nanos(left)))
    }

    async fn news(&mut self) -> Result<News> {
        self.command.news().await
    }

    fn is_settled(&self, _: Instant) -> bool {
        self.watch.settles().is_some_and(|at| clock::boot_ns() >= at)
    }

    fn is_over(&mut self, now: Instant) -> bool {
        self.command.is_over(now)
    }

    fn forward(&mut self, signal: Signal, observer: &dyn Observer) -> Result<()> {
        self.command.forward(signal, observer)
    }

    async fn last_news(&mut self, capture: &mut Capture) -> Vec<Observation> {
        let news = self.command.last_news(capture).await;
        if !self.command.is_running() {
            self.left = self.command.left_running(&[]);
        }
        news
    }

    fn untested(&self) -> Vec<String> {
        Vec::new()
    }

    fn session_ended(&mut self) -> Result<()> {
        self.command.session_ended()
    }
}
