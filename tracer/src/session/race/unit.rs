//! A unit that is raced: it is stopped and started again through its systemd, run by run, and in
//! the end is as it was found.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{super::BadRequest, reload::Reloaded};
use crate::{
    host::{cgroups::Hierarchies, clock},
    model::{unit::UnitFacts, unit_state},
    observation::{Fact, Observation, UnitNews},
    systemd::{
        manager::Manager,
        unit::{MAX_OTHERS, Snapshot, Unit},
    },
};

/// How long the unit has to be up again at the end, at least.
const COMES_BACK: Duration = Duration::from_secs(30);

/// A unit, and how it was found.
pub struct RacedUnit {
    unit: Unit,
    manager: Manager,
    /// The process of its systemd.
    systemd: u32,
    /// The cgroup that its systemd keeps.
    system: String,
    /// As it was found.
    found: Snapshot,
    /// The units that stop with it and were up.
    others: Vec<String>,
}

impl RacedUnit {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// Its systemd can't be asked. A [`BadRequest`] where it is none that can be raced.
    pub async fn find(manager: Manager, name: &str, hierarchies: &Hierarchies) -> Result<Self> {
        let unit = Unit::find(&manager, name).await?;
        let found = unit.look().await?;
        if let Some(problem) = &found.problem {
            return Err(BadRequest::new(problem).into());
        }
        let kind = found.facts.service_type.as_deref().unwrap_or("simple");
        if let Some(why) = unraceable(kind) {
            let name = unit.name();
            return Err(BadRequest::new(format_args!("{name} can't be raced: {why}")).into());
        }
        let systemd = manager.own_process(hierarchies);
        let system = manager.cgroup(hierarchies);
        let (Some(systemd), Some(system)) = (systemd, system) else {
            anyhow::bail!("the process of the systemd that has {} is not found", unit.name());
        };
        let Some(others) = unit.others().await? else {
            let why = format_args!(
                "{} can't be raced: more than {MAX_OTHERS} units require it or are bound to it, \
                 and stop with it",
                unit.name()
            );
            return Err(BadRequest::new(why).into());
        };
        Ok(Self { unit, manager, systemd, system, found, others })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.unit.name()
    }

    /// What a reload of it is asked of.
    #[must_use]
    pub(super) fn reloaded(&self) -> Reloaded {
        let (manager, name) = (self.manager.clone(), self.name().to_owned());
        Reloaded { manager, systemd: self.systemd, name }
    }

    /// Why systemd can't be asked to reload it; `None` if it can.
    #[must_use]
    pub fn unreloadable(&self) -> Option<String> {
        (self.found.can_reload == Some(false)).then(|| {
            format!(
                "systemd can't reload {}: it has no ExecReload=, and is not Type=notify-reload",
                self.name()
            )
        })
    }

    /// Its settings.
    #[must_use]
    pub fn facts(&self) -> &UnitFacts {
        &self.found.facts
    }

    /// Its `Type=`.
    #[must_use]
    pub fn service_type(&self) -> &str {
        self.facts().service_type.as_deref().unwrap_or("simple")
    }

    /// Whether systemd learns of its main process once it is up.
    #[must_use]
    pub fn is_forking(&self) -> bool {
        self.service_type() == "forking"
    }

    /// What will be done to it, in a sentence or two.
    #[must_use]
    pub fn plan(&self) -> String {
        let name = self.name();
        let with = if self.others.is_empty() {
            String::new()
        } else {
            format!(
                " {} stop with it each time, and are started in the end.",
                self.others.join(", ")
            )
        };
        let after = if self.was_up() { "is started again" } else { "stays stopped" };
        format!(
            "{name} is {}. It is stopped, and started through systemd again and again: once \
             untouched, and once for each interval of its start, with a signal in it that may kill \
             it. In the end it {after}.{with}",
            self.found.active_state
        )
    }

    /// Whether it was up as it was found.
    #[must_use]
    pub fn was_up(&self) -> bool {
        unit_state::is_up_or_starting(&self.found.active_state)
    }

    /// The process of its systemd.
    #[must_use]
    pub fn systemd(&self) -> u32 {
        self.systemd
    }

    /// The cgroup that its systemd keeps.
    #[must_use]
    pub fn system(&self) -> &str {
        &self.system
    }

    /// How many processes systemd starts for it before its main one.
    #[must_use]
    pub fn before_main(&self) -> u32 {
        self.found.before_main
    }

    /// Where its notify messages go, as they are sent.
    #[must_use]
    pub fn socket(&self) -> String {
        match self.manager.user() {
            Some(uid) => format!("/run/user/{uid}/systemd/notify"),
            None => "/run/systemd/notify".to_owned(),
        }
    }

    /// Its systemd's side.
    pub fn unit(&mut self) -> &mut Unit {
        &mut self.unit
    }

    /// What systemd says of it now, as the timeline takes it, and when it became active
    /// (`CLOCK_BOOTTIME` ns) if it did after `began`.
    #[must_use]
    pub fn news(&self, seen: &Snapshot, began: u64) -> (Vec<Observation>, Option<u64>) {
        let (boot, monotonic) = (clock::boot_ns(), clock::monotonic_ns());
        let group = seen.facts.control_group.as_deref().or(self.facts().control_group.as_deref());
        let cgroup = format!("{}{}", self.system.trim_end_matches('/'), group.unwrap_or_default());
        let own_pids = self.manager.has_own_pids();
        let mut active = None;
        let mut told = Vec::new();
        for since in &seen.states {
            let ns = since.monotonic_us.saturating_mul(1_000);
            let at = boot.saturating_add(ns).saturating_sub(monotonic);
            if at < began {
                continue;
            }
            if since.state.active_state == "active" {
                active = Some(at);
            }
            let state = Some(since.state.clone());
            let news = UnitNews { cgroup: cgroup.clone(), state, own_pids, ..UnitNews::default() };
            told.push(Observation { at, fact: Fact::Unit(Box::new(news)) });
        }
        (told, active)
    }

    /// Brings it back to how it was found. Gives what to know of that.
    ///
    /// # Errors
    ///
    /// It could not be brought back: a sentence that says how it is.
    pub async fn restore(&mut self, patience: Duration) -> Result<Option<String>> {
        let was = self.found.active_state.clone();
        let name = self.name().to_owned();
        let stopped = self.unit.stop().await;
        self.unit.forget_failures().await;
        if self.was_up() {
            let patience = patience.max(COMES_BACK);
            let started = self.unit.start_within(patience).await;
            started.with_context(|| format!("{name} was {was}, and is not again"))?;
        } else {
            stopped.with_context(|| format!("{name} was {was}, and is not again"))?;
        }
        for other in &self.others {
            let started = self.unit.start_other(other).await;
            started.with_context(|| format!("{other}, which stops with {name}, was up"))?;
        }
        let now = self.unit.look().await?.active_state;
        Ok(match was.as_str() {
            "failed" => Some(format!("{name} was failed, and is {now}: that is forgotten")),
            _ => Some(format!("{name} is {now} again")),
        })
    }
}

/// Why a unit of a type can't be raced; `None` if it can.
fn unraceable(service_type: &str) -> Option<&'static str> {
    match service_type {
        "oneshot" => Some("it is Type=oneshot, which runs to its end and is never reloaded"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_runs_to_its_end_is_refused() {
        for kind in ["simple", "exec", "forking", "notify", "notify-reload", "dbus", "idle"] {
            assert_eq!(unraceable(kind), None, "{kind}");
        }
        assert!(unraceable("oneshot").is_some());
    }
}
