//! A unit that is stopped and started on purpose, through its systemd.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::time::{sleep, timeout};

use super::{
    bus::{Bus, Jobs, SERVICE, UNIT, object},
    manager::Manager,
    properties::{
        Properties, Since, can_reload, facts, integer, length, names, problem, states, text,
    },
};
use crate::model::{text::Outside, unit::UnitFacts, unit_state};

/// How long a unit has to stop by what its settings say, before all of it is killed.
const STOPS: Duration = Duration::from_secs(10);
/// How long what was killed has to be gone.
const GONE: Duration = Duration::from_secs(5);
/// How often it is looked whether its state has changed.
const LOOK: Duration = Duration::from_millis(10);
/// Units that may stop with this one, and are started again: with more of them it is not stopped.
pub const MAX_OTHERS: usize = 64;

/// A unit, as its systemd has it.
pub struct Unit {
    bus: Bus,
    jobs: Jobs,
    name: String,
    object: String,
}

/// What systemd says of it at one time.
pub struct Snapshot {
    /// `ActiveState`
    pub active_state: String,
    /// The states it was in, in order of time.
    pub states: Vec<Since>,
    /// Its settings.
    pub facts: UnitFacts,
    /// Its main process as systemd's own pids go, if it has one.
    pub main_pid: Option<u32>,
    /// The last one that it had.
    pub last_main_pid: Option<u32>,
    /// How many processes systemd starts for it before its main one: those of `ExecCondition=` and
    /// `ExecStartPre=`.
    pub before_main: u32,
    /// Whether systemd can reload it, if it says so.
    pub can_reload: Option<bool>,
    /// Why it has no settings to speak of.
    pub problem: Option<String>,
    /// The units that stop with it.
    with_it: Vec<String>,
}

impl Snapshot {
    /// By its properties as a unit and as a service.
    fn of(unit: &Properties, service: &Properties) -> Self {
        let states = states(unit, service);
        Self {
            active_state: active_state(unit),
            main_pid: states.last().and_then(|since| since.state.main_pid),
            last_main_pid: integer(service, "ExecMainPID").filter(|pid| *pid > 0),
            states,
            can_reload: can_reload(unit),
            problem: problem(unit),
            facts: facts(unit, service),
            before_main: length(service, "ExecCondition") + length(service, "ExecStartPre"),
            with_it: stopping_with(unit),
        }
    }

    /// Whether systemd has seen the end of its main process. It may have been started again by
    /// now.
    fn has_ended(&self) -> bool {
        let runs = self.states.last().is_some_and(|since| {
            matches!(since.state.sub_state.as_deref(), Some("running" | "start"))
        });
        !runs || self.restarts() > 0
    }

    /// How often systemd has started it again by itself.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.states.last().and_then(|since| since.state.restarts).unwrap_or(0)
    }

    /// What systemd makes of the end of its main process, in words.
    #[must_use]
    pub fn made_of_end(&self) -> Option<String> {
        if self.restarts() > 0 {
            return Some("systemd has started it again".to_owned());
        }
        let state = &self.states.last()?.state;
        let is_again = unit_state::is_again(state.sub_state.as_deref());
        let again = if is_again { ", and starts it again" } else { "" };
        Some(match state.result.as_deref()? {
            "success" => format!("systemd takes that for a clean end{again}"),
            result => format!("systemd calls it failed ({}){again}", Outside::new(result)),
        })
    }
}

impl Unit {
    /// The unit of this name. Needs the event loop that it is used in from then on.
    ///
    /// # Errors
    ///
    /// Its systemd can't be asked.
    pub async fn find(manager: &Manager, name: &str) -> Result<Self> {
        let bus = Bus::connect(manager).await.context(
            "systemd can't be asked (a unit of a container needs --root, a user's --user)",
        )?;
        let jobs = Jobs::of(&bus).await?;
        // Else systemd forgets one that is down and that nothing else needs, and with it what it made
        // of its end. Not where it is spoken to without a bus, which has no name to keep it for.
        let _ = bus.keep(name).await;
        bus.load(name).await?;
        let loaded = bus.properties(&object(name), UNIT).await?;
        let id = text(&loaded, "Id").unwrap_or_else(|| name.to_owned());
        Ok(Self { object: object(&id), name: id, bus, jobs })
    }

    /// Its name, which is not an alias.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What systemd says of it now.
    pub async fn look(&self) -> Result<Snapshot> {
        let unit = self.bus.properties(&self.object, UNIT).await?;
        let service = self.bus.properties(&self.object, SERVICE).await?;
        Ok(Snapshot::of(&unit, &service))
    }

    /// The same once systemd has seen the end of its main process, `patience` later at most.
    pub async fn look_at_end(&self, patience: Duration) -> Result<Snapshot> {
        let limit = Instant::now() + patience;
        loop {
            let seen = self.look().await?;
            if seen.has_ended() || Instant::now() >= limit {
                return Ok(seen);
            }
            sleep(LOOK).await;
        }
    }

    /// The units that run and stop with this one, and those that stop with them; `None` where
    /// there are too many that may.
    pub async fn others(&self) -> Result<Option<Vec<String>>> {
        let mut known = BTreeSet::new();
        let mut found = Vec::new();
        let mut left = self.look().await?.with_it;
        while let Some(name) = left.pop() {
            if name == self.name || !known.insert(name.clone()) {
                continue;
            }
            if known.len() > MAX_OTHERS {
                return Ok(None);
            }
            let unit = self.bus.properties(&object(&name), UNIT).await?;
            if unit_state::is_up_or_starting(&active_state(&unit)) {
                left.extend(stopping_with(&unit));
                found.push(name);
            }
        }
        Ok(Some(found))
    }

    /// Stops it. What does not end in time is killed, through systemd.
    pub async fn stop(&mut self) -> Result<()> {
        let job = self.ask("StopUnit").await?;
        if self.ended(&job, STOPS).await?.is_some() {
            return Ok(());
        }
        let all = (self.name.as_str(), "all", nix::libc::SIGKILL);
        self.bus.manager("KillUnit", &all).await.context("systemd would not kill the unit")?;
        match self.ended(&job, GONE).await? {
            Some(_) => Ok(()),
            None => bail!("{} did not stop, although it was killed", self.name),
        }
    }

    /// Has systemd forget that it failed, and how often it was started of late.
    pub async fn forget_failures(&self) {
        // It may not be loaded, and has nothing to be forgotten then.
        let _ = self.bus.manager("ResetFailedUnit", &(self.name.as_str(),)).await;
    }

    /// Has it reloaded, and does not wait for that. Gives the job. Nothing else has to wait for the
    /// answer.
    ///
    /// # Errors
    ///
    /// systemd refuses it, or does not answer: in words of its own.
    pub fn reloading(&self) -> impl Future<Output = Result<String, Outside>> + use<> {
        let (bus, name) = (self.bus.clone(), self.name.clone());
        async move {
            let asked = bus.start_job("ReloadUnit", &name).await;
            asked.map_err(|error| Outside::quoting(&format_args!("{error:#}")))
        }
    }

    /// Its `ActiveState` now.
    pub async fn active_state(&self) -> Result<String> {
        let unit = self.bus.properties(&self.object, UNIT).await?;
        Ok(active_state(&unit))
    }

    /// Has it started, and does not wait for that. Gives the job.
    pub async fn start(&self) -> Result<String> {
        self.ask("StartUnit").await
    }

    /// Starts it, and waits for that.
    pub async fn start_within(&mut self, patience: Duration) -> Result<()> {
        let job = self.start().await?;
        let result = self.ended(&job, patience).await?;
        Self::check_start(&self.name, result)
    }

    /// Whether the job of a start was done, by its result; `None` if that has not come.
    fn check_start(name: &str, result: Option<Outside>) -> Result<()> {
        match result {
            Some(result) if result == Outside::new("done") => Ok(()),
            Some(result) => bail!("systemd's start of {name} ended with '{result}'"),
            None => bail!("systemd's start of {name} is not done yet"),
        }
    }

    /// Starts another unit, if it is down.
    pub async fn start_other(&self, name: &str) -> Result<()> {
        if !unit_state::is_up_or_starting(&active_state(
            &self.bus.properties(&object(name), UNIT).await?,
        )) {
            self.bus.start_job("StartUnit", name).await?;
        }
        Ok(())
    }

    async fn ask(&self, method: &str) -> Result<String> {
        let asked = self.bus.start_job(method, &self.name).await;
        asked.with_context(|| format!("systemd refused {method} for {}", self.name))
    }

    /// Waits for the next end of a job: which, and its result. Can be dropped and called again.
    pub async fn next_end(&mut self) -> Result<(String, Outside)> {
        self.jobs.next().await
    }

    /// Waits for the end of a job; `None` if it does not come in time.
    async fn ended(&mut self, job: &str, patience: Duration) -> Result<Option<Outside>> {
        let jobs = &mut self.jobs;
        let end = async {
            loop {
                let (ended, result) = jobs.next().await?;
                if ended == job {
                    return Ok(result);
                }
            }
        };
        timeout(patience, end).await.ok().transpose()
    }
}

fn active_state(unit: &Properties) -> String {
    text(unit, "ActiveState").unwrap_or_default()
}

/// The units that systemd stops with this one (systemd.unit(5)).
fn stopping_with(unit: &Properties) -> Vec<String> {
    ["RequiredBy", "BoundBy", "ConsistsOf"].iter().flat_map(|kind| names(unit, kind)).collect()
}

#[cfg(test)]
mod tests {
    use zbus::zvariant::Value;

    use super::*;
    use crate::systemd::properties::tests::properties;

    /// A service in this state, started again so often by systemd.
    fn seen(active_state: &str, sub_state: &str, result: &str, restarts: u32) -> Snapshot {
        let unit = properties(&[
            ("ActiveState", active_state.into()),
            ("SubState", sub_state.into()),
            ("StateChangeTimestampMonotonic", 7_u64.into()),
        ]);
        let service = properties(&[
            ("Result", result.into()),
            ("NRestarts", restarts.into()),
            ("MainPID", 17_u32.into()),
        ]);
        Snapshot::of(&unit, &service)
    }

    #[test]
    fn what_systemd_says_of_a_unit_is_told_by_its_properties() {
        let unit = properties(&[
            ("ActiveState", "active".into()),
            ("RequiredBy", vec!["a.service"].into()),
            ("BoundBy", vec!["b.service"].into()),
            ("ConsistsOf", vec!["c.service", "d.service"].into()),
            ("WantedBy", vec!["e.service"].into()),
        ]);
        let command = |count: usize| {
            Value::from(vec![("/bin/a".to_owned(), vec!["/bin/a".to_owned()], false, 0_u64); count])
        };
        let service = |main: u32| {
            properties(&[
                ("ExecMainPID", main.into()),
                ("ExecCondition", command(2)),
                ("ExecStartPre", command(3)),
                ("Type", "notify".into()),
            ])
        };
        let told = Snapshot::of(&unit, &service(17));
        assert_eq!((told.active_state.as_str(), told.before_main), ("active", 5));
        assert_eq!(told.with_it, ["a.service", "b.service", "c.service", "d.service"]);
        assert_eq!(told.facts.service_type.as_deref(), Some("notify"));
        assert_eq!(told.last_main_pid, Some(17));
        assert_eq!(Snapshot::of(&unit, &service(0)).last_main_pid, None, "it had none");
        assert_eq!(seen("active", "running", "success", 2).main_pid, Some(17));
    }

    #[test]
    fn what_systemd_makes_of_an_end_is_told_in_words() {
        let told = |sub: &str, result: &str, restarts| {
            seen("failed", sub, result, restarts).made_of_end().unwrap_or_default()
        };
        assert_eq!(told("dead", "success", 0), "systemd takes that for a clean end");
        assert_eq!(told("failed", "signal", 0), "systemd calls it failed (signal)");
        let again = "systemd calls it failed (exit-code), and starts it again";
        assert_eq!(told("auto-restart", "exit-code", 0), again);
        assert_eq!(told("running", "success", 1), "systemd has started it again");
        assert_eq!(seen("failed", "failed", "signal", 3).restarts(), 3);
        let nothing = Snapshot::of(&Properties::new(), &Properties::new());
        assert_eq!((nothing.restarts(), nothing.made_of_end()), (0, None));
    }

    #[test]
    fn a_start_is_done_where_its_job_says_so() {
        let told = |result: Option<&str>| {
            let result = result.map(Outside::new);
            Unit::check_start("a.service", result).map_err(|error| error.to_string())
        };
        assert_eq!(told(Some("done")), Ok(()));
        let failed = "systemd's start of a.service ended with 'failed'";
        assert_eq!(told(Some("failed")), Err(failed.to_owned()));
        assert_eq!(told(None), Err("systemd's start of a.service is not done yet".to_owned()));
    }

    #[test]
    fn the_end_of_a_main_process_is_seen_once_the_unit_runs_no_more_or_again() {
        for (sub_state, restarts, expected) in [
            ("running", 0, false),
            ("start", 0, false),
            ("running", 1, true),
            ("auto-restart", 0, true),
            ("dead", 0, true),
        ] {
            let ended = seen("active", sub_state, "success", restarts).has_ended();
            assert_eq!(ended, expected, "{sub_state}, {restarts}");
        }
    }
}
