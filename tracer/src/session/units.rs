//! The units that a trace has come upon, what their systemd says of them, and what it was asked
//! to do with them.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_lite::future::poll_once;

use super::{
    Observer, Pace,
    capture::Capture,
    restart::Restart,
    turns::{News, Subject},
};
use crate::{
    host::{cgroups::Hierarchies, clock},
    model::{document::Owner, signal::Signal},
    observation::{Fact, Observation, UnitNews},
    systemd::{
        manager::Manager,
        ownership::{levels, whose},
        watch::{Watch, Watched},
    },
};

/// How often new managers are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is looked whether anything is left of what was asked for.
const LEFT: Duration = Duration::from_millis(50);
/// How long a turn may wait while a signal is to be sent at a moment of a start.
const SHORT_TICK: Duration = Duration::from_millis(5);
/// News of systemd that are taken in one turn.
const NEWS: usize = 256;

/// The units seen, and what systemd says of them.
pub struct Units<'a> {
    watch: Watch,
    hierarchies: &'a Hierarchies,
    /// The manager to ask for all of them, if one was named.
    named: Option<Manager>,
    /// Its cgroup, if that is known.
    system: Option<String>,
    /// When to look again for managers that were started, for units that are waited for.
    managers: Option<Pace>,
    restart: Restart,
    /// Whether nothing is left of what was asked for.
    is_gone: Box<dyn Fn() -> bool + 'a>,
    gone: Pace,
}

impl<'a> Units<'a> {
    /// Connects to the systemd that is likely to have them: the one that was `named`, or the
    /// host's if units are `asked` for. Where units are waited for and no systemd was named,
    /// those that are started meanwhile are asked too. Needs a tokio runtime.
    pub fn new(
        named: Option<Manager>,
        system: Option<&str>,
        asked: bool,
        waits: bool,
        hierarchies: &'a Hierarchies,
        restart: Restart,
        is_gone: impl Fn() -> bool + 'a,
    ) -> Self {
        let mut watch = Watch::default();
        let likely = named.clone().or_else(|| Manager::host_runs().then(Manager::host));
        if let Some(manager) = likely.filter(|_| asked) {
            watch.expect(&manager);
        }
        let managers = (waits && named.is_none()).then(|| Pace::new(LOOK));
        let is_gone = Box::new(is_gone);
        let gone = Pace::new(LEFT);
        let system = system.map(str::to_owned);
        Self { watch, hierarchies, named, system, managers, restart, is_gone, gone }
    }

    /// Connects to the systemd of a container that was started, so that what it says of the
    /// first start of a unit is heard.
    fn look(&mut self, now: Instant) {
        if let Some(pace) = self.managers.as_mut().filter(|pace| pace.is_due(now)) {
            for manager in Manager::running(self.hierarchies) {
                self.watch.expect(&manager);
            }
            pace.done(now, Instant::now());
        }
    }

    /// Has the units watched that have come into sight.
    fn seek(&mut self, capture: &mut Capture) {
        for (name, cgroup) in capture.new_units() {
            let levels = levels(&cgroup, self.hierarchies);
            let owner = whose(&levels, self.system.as_deref().map_or(0, depth));
            let manager = match (&self.named, owner) {
                (_, Owner::Claimed { uid }) => Err(format!(
                    "claimed by uid {uid}: no systemd keeps a unit in its cgroup that root runs \
                     (to ask another, name it by --root or --user)"
                )),
                (Some(named), _) => Ok(named.clone()),
                (None, _) => Manager::of(&cgroup, self.hierarchies)
                    .ok_or_else(|| "no systemd runs above its cgroup".to_owned()),
            };
            let news = UnitNews {
                cgroup: cgroup.clone(),
                owner: Some(owner),
                problem: manager.as_ref().err().cloned(),
                ..UnitNews::default()
            };
            let fact = Fact::Unit(Box::new(news));
            capture.observe([Observation { at: clock::boot_ns(), fact }]);
            if let Ok(manager) = manager {
                let uid = levels.last().and_then(|level| level.uid).unwrap_or(0);
                self.watch.unit(&manager, Watched::new(name, cgroup, uid));
            }
        }
    }
}

/// How many cgroups lead to this one, the root and itself included.
fn depth(cgroup: &str) -> usize {
    1 + cgroup.split('/').filter(|name| !name.is_empty()).count()
}

impl Subject for Units<'_> {
    fn learn(&mut self, observation: &Observation) {
        self.restart.learn(observation);
    }

    fn act(&mut self, capture: &mut Capture, observer: &dyn Observer, now: Instant) -> Result<()> {
        if self.restart.waits() {
            self.restart.act(self.hierarchies, observer);
        }
        self.seek(capture);
        self.look(now);
        Ok(())
    }

    fn patience(&self, longest: Duration, _: Instant) -> Duration {
        if self.restart.waits() { longest.min(SHORT_TICK) } else { longest }
    }

    async fn news(&mut self) -> Result<News> {
        tokio::select! {
            first = self.watch.next() => {
                let mut observations = vec![first];
                while observations.len() < NEWS
                    && let Some(next) = poll_once(self.watch.next()).await
                {
                    observations.push(next);
                }
                Ok(News::Observed(observations))
            }
            news = self.restart.news() => news.map(|()| News::Done),
        }
    }

    fn is_settled(&self, _: Instant) -> bool {
        true
    }

    fn is_over(&mut self, now: Instant) -> bool {
        if !self.gone.is_due(now) {
            return false;
        }
        let gone = (self.is_gone)();
        self.gone.done(now, Instant::now());
        gone
    }

    fn forward(&mut self, _: Signal, _: &dyn Observer) -> Result<()> {
        Ok(())
    }

    async fn last_news(&mut self, capture: &mut Capture) -> Vec<Observation> {
        self.seek(capture);
        std::mem::take(&mut self.watch).finish().await
    }

    fn session_ended(&mut self) -> Result<()> {
        Ok(())
    }

    fn untested(&self) -> Vec<String> {
        self.restart.untested()
    }
}
