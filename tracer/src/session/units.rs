//! The units that a trace has come upon, what their systemd says of them, and what it was asked
//! to do with them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_lite::future::poll_once;
use tokio::task::{JoinHandle, spawn_blocking};

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
/// How long units that have come into sight may be looked at in one turn.
const SEEKING: Duration = Duration::from_millis(20);
/// The same at the end of the trace.
const LAST_SEEKING: Duration = Duration::from_millis(300);
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
    /// Those that have come into sight, and nobody was asked of: name and cgroup of each.
    new: VecDeque<(String, String)>,
    /// The manager to ask for all of them, if one was named.
    named: Option<Manager>,
    /// Its cgroup, if that is known.
    system: Option<String>,
    /// When to look again for managers that were started, for units that are waited for.
    managers: Option<Pace>,
    /// Looks for them, since then.
    looking: Option<(Instant, JoinHandle<Vec<Manager>>)>,
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
        Self {
            watch,
            hierarchies,
            new: VecDeque::new(),
            named,
            system,
            managers,
            looking: None,
            restart,
            is_gone,
            gone,
        }
    }

    /// Connects to the systemd of a container that was started, so that what it says of the
    /// first start of a unit is heard. Beside, as there may be very many cgroups to look through.
    async fn look(&mut self, now: Instant) {
        let Some(pace) = &mut self.managers else { return };
        if let Some((began, looking)) = &mut self.looking {
            let Some(found) = poll_once(looking).await else { return };
            pace.done(*began, now);
            self.looking = None;
            for manager in found.unwrap_or_default() {
                self.watch.expect(&manager);
            }
        } else if pace.is_due(now) {
            let hierarchies = self.hierarchies.clone();
            self.looking = Some((now, spawn_blocking(move || Manager::running(&hierarchies))));
        }
    }

    /// Has the units watched that have come into sight, as far as there is time.
    fn seek(&mut self, capture: &mut Capture, limit: Instant) {
        self.new.extend(capture.new_units());
        while let Some((name, cgroup)) = self.new.pop_front() {
            self.seek_one(capture, name, cgroup);
            if Instant::now() >= limit {
                return;
            }
        }
    }

    fn seek_one(&mut self, capture: &mut Capture, name: String, cgroup: String) {
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
        let problem = manager.as_ref().err().cloned();
        let owner = Some(owner);
        observe(capture, UnitNews { cgroup: cgroup.clone(), owner, problem, ..Default::default() });
        if let Ok(manager) = manager {
            let uid = levels.last().and_then(|level| level.uid).unwrap_or(0);
            self.watch.unit(&manager, Watched::new(name, cgroup, uid));
        }
    }
}

fn observe(capture: &mut Capture, news: UnitNews) {
    capture.observe([Observation { at: clock::boot_ns(), fact: Fact::Unit(Box::new(news)) }]);
}

/// How many cgroups lead to this one, the root and itself included.
fn depth(cgroup: &str) -> usize {
    1 + cgroup.split('/').filter(|name| !name.is_empty()).count()
}

impl Subject for Units<'_> {
    fn learn(&mut self, observation: &Observation) {
        self.restart.learn(observation);
    }

    async fn act(
        &mut self,
        capture: &mut Capture,
        observer: &dyn Observer,
        now: Instant,
    ) -> Result<()> {
        if self.restart.waits() {
            self.restart.act(self.hierarchies, observer);
        }
        self.seek(capture, now + SEEKING);
        self.look(now).await;
        Ok(())
    }

    fn patience(&self, longest: Duration, _: Instant) -> Duration {
        if !self.new.is_empty() {
            Duration::ZERO
        } else if self.restart.waits() {
            longest.min(SHORT_TICK)
        } else {
            longest
        }
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
        self.seek(capture, Instant::now() + LAST_SEEKING);
        for (_, cgroup) in self.new.drain(..) {
            let problem = Some("the trace ended before its systemd could be asked".to_owned());
            observe(capture, UnitNews { cgroup, problem, ..Default::default() });
        }
        std::mem::take(&mut self.watch).finish().await
    }

    fn session_ended(&mut self) -> Result<()> {
        Ok(())
    }

    fn untested(&self) -> Vec<String> {
        self.restart.untested()
    }
}
