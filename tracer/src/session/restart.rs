//! What a trace does to the units it watches, if it was told to and not otherwise: have
//! systemd restart them, and reload them while they start.

use std::{collections::HashMap, future::pending, time::Duration};

use anyhow::{Context as _, Result};
use nix::{errno::Errno, libc};
use tokio::task::JoinHandle;

use super::Observer;
use crate::{
    host::{
        bounded::{Bounded, Patience},
        cgroups::Hierarchies,
        procfs,
    },
    model::{signal::Signal, text::Outside},
    observation::ProcessId,
    systemd::{
        bus::{Bus, Jobs, UNIT, object},
        manager::Manager,
        properties::{can_reload, unmet_conditions},
        thread,
    },
    timeline::{FreshMain, scope::Named},
};

/// How long a look at a process may take.
const LOOK: Patience = Patience { each: Duration::from_millis(50), all: Duration::from_millis(50) };

/// How a unit is reloaded while it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// `systemctl reload`, once the restart is done in systemd's eyes.
    Systemd,
    /// The reload signal to the main process, once it is there.
    Kill,
}

/// What is to be done.
pub struct Restart {
    manager: Manager,
    /// To be restarted.
    units: Vec<String>,
    reload: Option<Reload>,
    /// To be sent their reload signal once they have a main process.
    unsent: Vec<String>,
    running: Option<JoinHandle<Result<()>>>,
}

impl Restart {
    /// Of these units, by this manager; of none, nothing is done.
    #[must_use]
    pub fn new(manager: Manager, units: Vec<String>, reload: Option<Reload>) -> Self {
        Self { manager, units, reload, unsent: Vec::new(), running: None }
    }

    /// Says what will be done, and sets out to do it.
    pub fn begin(&mut self, observer: &dyn Observer) -> Result<()> {
        if self.units.is_empty() {
            return Ok(());
        }
        let names = self.units.join(", ");
        match self.reload {
            None => observer.note(&format_args!("asking systemd to restart {names}")),
            Some(Reload::Systemd) => observer.note(&format_args!(
                "asking systemd to restart {names}, and to reload as soon as that is done"
            )),
            Some(Reload::Kill) => {
                observer.note(&format_args!(
                    "asking systemd to restart {names}; each new main process will be sent its \
                     reload signal at once"
                ));
                self.unsent.clone_from(&self.units);
            }
        }
        let by_systemd = self.reload == Some(Reload::Systemd);
        let work = work(self.manager.clone(), self.units.clone(), by_systemd);
        self.running = Some(thread::spawn(work).context("cannot speak to systemd")?);
        Ok(())
    }

    /// Whether a main process is waited for.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The end of what systemd was asked for. Never, if that was nothing.
    pub async fn done(&mut self) -> Result<()> {
        let Some(running) = &mut self.running else {
            return pending().await;
        };
        let done = running.await.context("the request to systemd was lost");
        self.running = None;
        done?
    }

    /// Says what could not be done.
    pub fn end(&self) {
        for unit in &self.unsent {
            log::warn!("{unit} had no new main process: its reload signal was not sent");
        }
    }

    /// Sends what is due, now that there are these main processes.
    pub fn act(
        &mut self,
        mains: Vec<FreshMain>,
        hierarchies: &Hierarchies,
        observer: &dyn Observer,
    ) {
        for (name, process, signal) in self.due(mains, |path| Manager::of(path, hierarchies)) {
            match send(process, signal) {
                Ok(()) => observer
                    .note(&format_args!("sent {signal} to process {} of {name}", process.pid)),
                Err(error) => log::warn!("{error:#}"),
            }
        }
    }

    /// Takes what is to be sent to these main processes. `manager_of` tells whose a cgroup is.
    pub fn due(
        &mut self,
        mains: Vec<FreshMain>,
        manager_of: impl Fn(&str) -> Option<Manager>,
    ) -> Vec<(String, ProcessId, Signal)> {
        let host = Manager::host();
        let mut due = Vec::new();
        for FreshMain { unit: Named { name, path, .. }, process, reload_signal } in mains {
            if !self.unsent.contains(&name) {
                continue;
            }
            // A container or a user may have one of that name, which was not restarted. Where
            // theirs is meant, no other is traced.
            if self.manager == host && manager_of(&path).as_ref() != Some(&host) {
                continue;
            }
            self.unsent.retain(|unit| *unit != name);
            due.push((name, process, reload_signal));
        }
        due
    }
}

/// To the very process, and not to one that has taken over its pid.
fn send(id: ProcessId, signal: Signal) -> Result<()> {
    let context = || format!("could not send {signal} to process {}", id.pid);
    // One that can't be looked at in time is not signalled.
    let there = Bounded::new("sigready-proc", procfs::is_there).ask(&[id], LOOK);
    if there != [Some(true)] {
        return Err(anyhow::anyhow!("it has ended already")).with_context(context);
    }
    // nix's kill(2) knows no real-time signals.
    // SAFETY: a system call on plain numbers.
    let sent = unsafe { libc::kill(id.pid.cast_signed(), signal.number().cast_signed()) };
    Errno::result(sent).map(drop).with_context(context)
}

/// Restarts all units at once, and reloads each when its restart is done.
async fn work(manager: Manager, units: Vec<String>, reload: bool) -> Result<()> {
    let bus = Bus::connect(&manager).await.context(
        "systemd can't be asked for a restart (units of a container need --root, a user's --user)",
    )?;
    let mut ends = Jobs::of(&bus).await?;
    let mut restarts = HashMap::new();
    for unit in units {
        if let Err(error) = bus.keep(&unit).await {
            log::debug!("{error:#}");
        }
        // Asked now: afterwards it would delay the reload.
        let reloads = reload && can_be_reloaded(&bus, &unit).await;
        let job = bus.start_job("RestartUnit", &unit).await;
        let job = job.with_context(|| format!("systemd would not restart {unit}"))?;
        restarts.insert(job, (unit, reloads));
    }
    while !restarts.is_empty() {
        let (job, result) = ends.next().await?;
        let Some((unit, reloads)) = restarts.remove(&job) else {
            continue;
        };
        // A unit that is down can't be reloaded.
        if reloads && let Err(error) = bus.start_job("ReloadUnit", &unit).await {
            log::warn!("systemd would not reload {unit}: {error:#}");
        }
        if result != Outside::new("done") {
            log::warn!("systemd's restart of {unit} ended with '{result}'");
        }
        let properties = bus.properties(&object(&unit), UNIT).await.unwrap_or_default();
        if let Some(unmet) = unmet_conditions(&properties) {
            log::warn!("systemd did not start {unit}: not met is {unmet}");
        }
    }
    Ok(())
}

/// Whether a unit has a reload, as far as systemd says; if not, that is told.
async fn can_be_reloaded(bus: &Bus, unit: &str) -> bool {
    let properties = async {
        bus.load(unit).await?;
        bus.properties(&object(unit), UNIT).await
    };
    let can = properties.await.ok().and_then(|properties| can_reload(&properties));
    if can == Some(false) {
        log::warn!(
            "{unit} will not be reloaded: systemd has no reload for it, as it has no ExecReload="
        );
    }
    can != Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::ServiceKind;

    fn main_of(name: &str, path: &str, pid: u32) -> FreshMain {
        FreshMain {
            unit: Named { name: name.to_owned(), path: path.to_owned(), kind: ServiceKind::Unit },
            process: ProcessId { pid, start_ticks: 1 },
            reload_signal: Signal::HUP,
        }
    }

    fn waiting() -> Restart {
        let units = vec!["a.service".to_owned(), "b.service".to_owned()];
        let mut restart = Restart::new(Manager::host(), units.clone(), Some(Reload::Kill));
        restart.unsent = units;
        restart
    }

    #[test]
    fn each_unit_gets_its_signal_once() {
        let mut restart = waiting();
        let host = |_: &str| Some(Manager::host());
        let due = restart.due(vec![main_of("a.service", "/a", 1)], host);
        assert_eq!(due.len(), 1);
        assert!(restart.waits(), "b.service");
        let due = restart.due(vec![main_of("a.service", "/a", 2)], host);
        assert!(due.is_empty(), "a second start is not meant");
    }

    #[test]
    fn a_unit_of_that_name_in_a_container_is_left_alone() {
        let mut restart = waiting();
        let box_of = |_: &str| Some(Manager::below("/var/lib/machines/box".into()));
        assert!(restart.due(vec![main_of("a.service", "/box/a", 1)], box_of).is_empty());
        assert!(restart.due(vec![main_of("c.service", "/c", 1)], |_| None).is_empty());
        assert!(restart.waits());
    }
}
