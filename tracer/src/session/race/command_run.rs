//! A command in one run.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    super::{
        Capture, Command, Observer,
        turns::{News, Subject},
    },
    placing::Facts,
    resting::{Rested, unsent},
};
use crate::{
    host::clock,
    model::signal::Signal,
    observation::Observation,
    race::{Goal, Watch},
};

/// A command in one run.
pub(super) struct OneRun {
    pub watch: Watch,
    pub command: Command,
    pub facts: Facts,
    pub left: Vec<String>,
}

impl OneRun {
    /// It is at rest: sends it the signal. Tells why it was not sent, if it was not.
    pub fn rest(&mut self, goal: Goal, signal: Signal) -> (Rested, Option<String>) {
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
