//! What a trace does to the units it watches, if it was told to and not otherwise: have
//! systemd restart them, and reload them while they start.

use std::{collections::HashMap, future::pending};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal as NixSignal, kill},
    unistd::Pid,
};
use sigready::{
    host::{cgroups::Hierarchies, procfs},
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
use tokio::task::JoinHandle;

use super::wanted::Wanted;
use crate::{
    cli::{Reload, Trace},
    commands::{capture::Capture, fault::Fault, talk::Talk},
};

/// What is to be done.
pub struct Errand {
    manager: Manager,
    /// To be restarted.
    units: Vec<String>,
    reload: Option<Reload>,
    /// To be sent their reload signal once they have a main process.
    unsent: Vec<String>,
    running: Option<JoinHandle<Result<()>>>,
}

impl Errand {
    /// Checks what was asked for.
    pub fn asked(options: &Trace, named: Option<&Manager>, wanted: &Wanted) -> Result<Self, Fault> {
        let units = match wanted.exact() {
            _ if !options.restart => &[],
            Some(units) => units,
            None => {
                return Err(Fault::usage(
                    "--restart needs the names of units: what a glob, --all, --pid or --cgroup \
                     take in is not restarted",
                ));
            }
        };
        Ok(Self {
            manager: named.cloned().unwrap_or_else(Manager::host),
            units: units.to_vec(),
            reload: options.reload_during_start,
            unsent: Vec::new(),
            running: None,
        })
    }

    /// Says what will be done, and sets out to do it.
    pub fn begin(&mut self, talk: &Talk) -> Result<()> {
        if self.units.is_empty() {
            return Ok(());
        }
        let names = self.units.join(", ");
        match self.reload {
            None => talk.note(format_args!("asking systemd to restart {names}")),
            Some(Reload::Systemd) => talk.note(format_args!(
                "asking systemd to restart {names}, and to reload as soon as that is done"
            )),
            Some(Reload::Kill) => {
                talk.note(format_args!(
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

    /// Sends what is due.
    pub fn act(&mut self, capture: &Capture, hierarchies: &Hierarchies, talk: &Talk) {
        if self.unsent.is_empty() {
            return;
        }
        let host = Manager::host();
        for FreshMain { unit: Named { name, path, .. }, process, reload_signal } in
            capture.fresh_mains()
        {
            if !self.unsent.contains(&name) {
                continue;
            }
            // A container or a user may have one of that name, which was not restarted. Where
            // theirs is meant, no other is traced.
            if self.manager == host && Manager::of(&path, hierarchies).as_ref() != Some(&host) {
                continue;
            }
            self.unsent.retain(|unit| *unit != name);
            match send(process, reload_signal) {
                Ok(()) => {
                    talk.note(format_args!(
                        "sent {reload_signal} to process {} of {name}",
                        process.pid
                    ));
                }
                Err(error) => log::warn!("{error:#}"),
            }
        }
    }
}

/// To the very process, and not to one that has taken over its pid.
fn send(id: ProcessId, signal: Signal) -> Result<()> {
    let context = || format!("could not send {signal} to process {}", id.pid);
    if !procfs::is_there(id) {
        return Err(anyhow::anyhow!("it has ended already")).with_context(context);
    }
    let signal = NixSignal::try_from(signal.number().cast_signed()).with_context(context)?;
    kill(Pid::from_raw(id.pid.cast_signed()), signal).with_context(context)
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
