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
        watch::{HURRIED_ANSWERS, LAST_ANSWERS, Watch, Watched},
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
    /// How long the last answers may take.
    patience: Duration,
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
            patience: LAST_ANSWERS,
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
        capture.observe(self.seek_new(limit));
    }

    /// Does it with those that are not yet, with one at least. Gives what is to be told of them.
    fn seek_new(&mut self, limit: Instant) -> Vec<Observation> {
        let mut told = Vec::new();
        while let Some((name, cgroup)) = self.new.pop_front() {
            told.push(self.seek_one(name, cgroup));
            if Instant::now() >= limit {
                break;
            }
        }
        told
    }

    fn seek_one(&mut self, name: String, cgroup: String) -> Observation {
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
        let told = news(UnitNews { cgroup: cgroup.clone(), owner, problem, ..Default::default() });
        if let Ok(manager) = manager {
            let uid = levels.last().and_then(|level| level.uid).unwrap_or(0);
            self.watch.unit(&manager, Watched::new(name, cgroup, uid));
        }
        told
    }

    /// What is to be told of those that nobody will be asked of any more.
    fn leave_new(&mut self) -> Vec<Observation> {
        let told = self.new.drain(..).map(|(_, cgroup)| {
            let problem = Some("the trace ended before its systemd could be asked".to_owned());
            news(UnitNews { cgroup, problem, ..Default::default() })
        });
        told.collect()
    }
}

fn news(news: UnitNews) -> Observation {
    Observation { at: clock::boot_ns(), fact: Fact::Unit(Box::new(news)) }
}

/// The first that comes, and those that have come by then: [`NEWS`] at most.
async fn those_that_have_come(mut next: impl AsyncFnMut() -> Observation) -> Vec<Observation> {
    let mut observations = vec![next().await];
    while observations.len() < NEWS
        && let Some(next) = poll_once(next()).await
    {
        observations.push(next);
    }
    observations
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
        let watch = &mut self.watch;
        tokio::select! {
            observations = those_that_have_come(async || watch.next().await) => {
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

    fn hurry(&mut self) {
        self.patience = HURRIED_ANSWERS;
    }

    async fn last_news(&mut self, capture: &mut Capture) -> Vec<Observation> {
        self.seek(capture, Instant::now() + LAST_SEEKING);
        capture.observe(self.leave_new());
        std::mem::take(&mut self.watch).finish(self.patience).await
    }

    fn session_ended(&mut self) -> Result<()> {
        Ok(())
    }

    fn untested(&self) -> Vec<String> {
        self.restart.untested()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn units<'a>(hierarchies: &'a Hierarchies, is_gone: impl Fn() -> bool + 'a) -> Units<'a> {
        let restart = Restart::new(Manager::host(), None, Vec::new(), None, None);
        Units::new(None, None, false, false, hierarchies, restart, is_gone)
    }

    fn told(observations: Vec<Observation>) -> Vec<(String, String)> {
        let unit = |observation: Observation| match observation.fact {
            Fact::Unit(news) => (news.cgroup, news.problem.unwrap_or_default()),
            other => panic!("{other:?}"),
        };
        observations.into_iter().map(unit).collect()
    }

    #[test]
    fn units_that_there_is_no_time_for_wait_and_are_told_of_at_the_end() {
        let hierarchies = Hierarchies::default();
        let mut units = units(&hierarchies, || false);
        let tick = Duration::from_secs(1);
        let now = Instant::now();
        assert_eq!(units.patience(tick, now), tick);
        units.new = (0..4).map(|it| (format!("{it}.service"), format!("/{it}"))).collect();
        // Its time is over: one is looked at, so that there is an end.
        let none = "no systemd runs above its cgroup".to_owned();
        assert_eq!(told(units.seek_new(now)), [("/0".to_owned(), none.clone())]);
        assert_eq!(units.patience(tick, now), Duration::ZERO, "the others are next");
        assert_eq!(told(units.leave_new()).len(), 3);
        units.new.push_back(("4.service".to_owned(), "/4".to_owned()));
        let late = "the trace ended before its systemd could be asked".to_owned();
        assert_eq!(told(units.leave_new()), [("/4".to_owned(), late)]);
        units.new = (5..7).map(|it| (format!("{it}.service"), format!("/{it}"))).collect();
        let in_time = told(units.seek_new(now + Duration::from_hours(1)));
        assert_eq!(in_time, [("/5".to_owned(), none.clone()), ("/6".to_owned(), none)]);
        assert_eq!(units.patience(tick, now), tick);
    }

    #[test]
    fn of_what_systemds_say_so_much_is_taken_in_a_turn() {
        let mut left = 2 * NEWS + 1;
        let mut take = || {
            let next = async || {
                if left == 0 {
                    return std::future::pending().await;
                }
                left -= 1;
                news(UnitNews::default())
            };
            futures_lite::future::block_on(those_that_have_come(next)).len()
        };
        assert_eq!([take(), take(), take()], [NEWS, NEWS, 1]);
    }

    #[test]
    fn whether_anything_is_left_is_looked_at_no_more_often_than_it_may() {
        let hierarchies = Hierarchies::default();
        let looks = Cell::new(0);
        let mut units = units(&hierarchies, || {
            looks.set(looks.get() + 1);
            true
        });
        let now = Instant::now();
        assert!(units.is_over(now) && !units.is_over(now));
        assert_eq!(looks.get(), 1);
        assert!(units.is_over(now + Duration::from_hours(1)));
        assert_eq!(looks.get(), 2);
    }

    #[test]
    fn new_systemds_are_looked_for_one_look_at_a_time_and_no_more_often_than_they_may() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let hierarchies = Hierarchies::default();
            let mut units = units(&hierarchies, || false);
            let now = Instant::now();
            units.look(now).await;
            assert!(units.looking.is_none(), "nothing is waited for");
            units.managers = Some(Pace::new(LOOK));
            units.look(now).await;
            while let Some((began, _)) = &units.looking {
                assert_eq!(*began, now);
                units.look(now + LOOK / 2).await;
                tokio::task::yield_now().await;
            }
            units.look(now + LOOK).await;
            assert!(units.looking.is_none(), "it has just been looked");
            units.look(now + Duration::from_hours(1)).await;
            assert!(units.looking.is_some());
        });
    }
}
