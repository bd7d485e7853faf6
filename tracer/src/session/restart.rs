//! What a trace does to the units it watches, if it was told to and not otherwise: have
//! systemd restart them, and reload them while they start.

mod lost;
mod progress;

use std::{
    collections::HashMap,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{
    sync::{
        Notify,
        mpsc::{Receiver, Sender, channel},
    },
    task::JoinHandle,
    time::timeout,
};

use self::{lost::Left, progress::Progress};
use super::{
    Observer,
    aim::{Aim, Due},
    kill::Kill,
};
use crate::{
    host::{cgroups::Hierarchies, clock},
    model::{signal::Signal, span, text::Outside},
    observation::{Observation, ProcessId},
    systemd::{
        bus::{Bus, Jobs, SERVICE, UNIT, is_lost, object},
        manager::Manager,
        properties::{Properties, can_reload, facts, unmet_conditions},
        thread,
    },
};

/// How soon systemd is asked again which main process a unit has, where nothing happens.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// Answers of systemd that wait to be taken. It is not asked while there is no room.
const MAX_ANSWERS: usize = 64;

/// How a unit is reloaded while it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// `systemctl reload`, once the restart is done in systemd's eyes.
    Systemd,
    /// The reload signal to the main process, right after its exec.
    Kill,
}

/// What is to be done.
pub struct Restart {
    manager: Manager,
    /// The cgroup that it keeps, if that is known.
    system: Option<String>,
    /// To be restarted.
    units: Vec<String>,
    reload: Option<Reload>,
    /// The reload signal that was named, if one was.
    signal: Option<Signal>,
    /// At the units that are to be sent their reload signal once they have a main process.
    aim: Aim,
    /// The signals that are on their way.
    sending: Vec<(Due, Kill)>,
    /// What systemd is asked for.
    running: Option<JoinHandle<Result<()>>>,
    asking: Option<Asking>,
    progress: Progress,
}

/// The answers to which main processes the units have.
struct Asking {
    /// Has it asked at once.
    look: Arc<Notify>,
    answers: Receiver<Answer>,
}

/// What systemd says of a unit that is restarted.
enum Answer {
    /// The signal that it reloads by.
    ReloadsBy { unit: String, signal: Signal },
    /// Its main process, 0 for none.
    Main { unit: String, pid: u32 },
    /// It is up, and systemd knows no main process of it.
    UpWithout { unit: String },
    /// Its new main process has ended already.
    Gone { unit: String },
}

impl Restart {
    /// Of these units, by this manager, which keeps the cgroup `system`; of none, nothing is
    /// done. `signal` is the reload signal, if one was named.
    #[must_use]
    pub fn new(
        manager: Manager,
        system: Option<&str>,
        units: Vec<String>,
        reload: Option<Reload>,
        signal: Option<Signal>,
    ) -> Self {
        Self {
            manager,
            system: system.map(str::to_owned),
            units,
            reload,
            signal,
            aim: Aim::default(),
            sending: Vec::new(),
            running: None,
            asking: None,
            progress: Progress::default(),
        }
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
            Some(Reload::Kill) => observer.note(&format_args!(
                "asking systemd to restart {names}; each new main process will be sent its reload \
                 signal at once"
            )),
        }
        let teller = (self.reload == Some(Reload::Kill)).then(|| {
            self.aim = Aim::new(&self.units, self.signal.unwrap_or(Signal::HUP));
            let (teller, answers) = channel(MAX_ANSWERS);
            let look = Arc::new(Notify::new());
            self.asking = Some(Asking { look: Arc::clone(&look), answers });
            (teller, look)
        });
        let by_systemd = self.reload == Some(Reload::Systemd);
        self.progress.begin(&self.units);
        let progress = self.progress.clone();
        let work = work(self.manager.clone(), self.units.clone(), by_systemd, teller, progress);
        self.running = Some(thread::spawn(work).context("cannot speak to systemd")?);
        Ok(())
    }

    /// Whether a main process is waited for, or what becomes of a signal to one.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.asking.is_some() || !self.sending.is_empty()
    }

    /// Is shown what the kernel side tells.
    pub fn learn(&mut self, observation: &Observation) {
        // The end of a process that was signalled is told later.
        let may_be_another = self.aim.learn(observation);
        if let Some(asking) = self.asking.as_ref().filter(|_| may_be_another) {
            asking.look.notify_one();
        }
    }

    /// Waits for what systemd says. Never comes back, if there is nothing to be said. Can be
    /// dropped and called again.
    pub async fn news(&mut self) -> Result<()> {
        let Self { running, asking, aim, .. } = self;
        let done = async {
            match running {
                Some(running) => running.await.context("the request to systemd was lost"),
                None => pending().await,
            }
        };
        let answer = async {
            match asking {
                Some(asking) => asking.answers.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            done = done => {
                self.running = None;
                done??;
            }
            answer = answer => match answer {
                Some(Answer::ReloadsBy { unit, signal }) if self.signal.is_none() => {
                    aim.reloads_by(&unit, signal);
                }
                Some(Answer::Main { unit, pid }) => aim.has_main(&unit, pid),
                Some(Answer::UpWithout { unit }) => aim.is_up_without(&unit),
                Some(Answer::Gone { unit }) => aim.is_gone(&unit),
                Some(Answer::ReloadsBy { .. }) => {}
                // The connection is gone: what waits still is told of at the end.
                None => self.asking = None,
            },
        }
        Ok(())
    }

    /// Sends what is due, and tells of what was sent.
    pub fn act(&mut self, hierarchies: &Hierarchies, observer: &dyn Observer) {
        let (manager, system) = (&self.manager, self.system.as_deref());
        let is_of = |process: ProcessId| keeps(manager, system, process, hierarchies);
        for due in self.aim.take_due(manager.has_own_pids(), is_of) {
            let kill = Kill::begin(due.process, due.signal);
            self.sending.push((due, kill));
        }
        let now = Instant::now();
        let is_over = |(due, kill): &mut (Due, Kill)| Some((due.clone(), kill.result(now)?));
        let over: Vec<(Due, Result<u64>)> = self.sending.iter_mut().filter_map(is_over).collect();
        self.sending.retain(|(due, _)| over.iter().all(|(other, _)| other != due));
        for (due, result) in over {
            match result {
                Ok(at) => {
                    observer.note(&format_args!(
                        "sent {} to process {} of {}, {} after its exec",
                        due.signal,
                        due.process.pid,
                        due.unit,
                        span::length(due.age(at))
                    ));
                    self.aim.was_sent(&due, at);
                }
                Err(error) => self.progress.not_tested(format!("{}: {error:#}", due.unit)),
            }
        }
        if self.aim.units().next().is_none() {
            self.asking = None;
        }
    }

    /// What was to be tested and was not, and why: a sentence each.
    #[must_use]
    pub fn untested(&self) -> Vec<String> {
        let mut untested = self.progress.untested();
        let waiting = self.progress.waiting();
        if self.running.is_some() && self.reload == Some(Reload::Systemd) && !waiting.is_empty() {
            untested.push(format!(
                "the trace ended before systemd's restart of {} did: no reload was asked for",
                waiting.join(", ")
            ));
        }
        untested.extend(self.aim.untested(&waiting));
        // Nothing is sent any more from here on.
        let unsent = self.sending.iter().filter_map(|(due, kill)| Some((due, kill.end().err()?)));
        untested.extend(unsent.map(|(due, error)| format!("{}: {error:#}", due.unit)));
        untested
    }
}

/// Whether a process is of the units of this manager. A container or a user may have one of the
/// same name, which was not restarted.
fn keeps(
    manager: &Manager,
    system: Option<&str>,
    process: ProcessId,
    hierarchies: &Hierarchies,
) -> bool {
    let Some(path) = hierarchies.path_of(process.pid) else {
        return false;
    };
    match system {
        Some(system) => path.strip_prefix(system).is_some_and(|rest| rest.starts_with('/')),
        None if manager.is_host() => Manager::of(&path, hierarchies).as_ref() == Some(manager),
        None => true,
    }
}

/// Restarts all units at once, and reloads each when its restart is done. Tells `teller` which
/// main processes they have, and `progress` what was not reloaded, and why.
async fn work(
    manager: Manager,
    units: Vec<String>,
    reload: bool,
    teller: Option<(Sender<Answer>, Arc<Notify>)>,
    progress: Progress,
) -> Result<()> {
    const REACH: &str =
        "systemd can't be asked for a restart (units of a container need --root, a user's --user)";
    let bus = Bus::connect(&manager).await.context(REACH)?;
    let mut ends = Jobs::of(&bus).await?;
    if let Some((teller, look)) = teller {
        // A connection of its own: nothing that systemd says by itself is in the way.
        let own = Bus::connect(&manager).await.context(REACH)?;
        for unit in &units {
            if let Some(signal) = reload_signal(&own, unit).await {
                let _ = teller.send(Answer::ReloadsBy { unit: unit.clone(), signal }).await;
            }
        }
        tokio::spawn(ask_for_mains(manager.clone(), own, units.clone(), teller, look));
    }
    let mut restarts = HashMap::new();
    let mut reloads_of: HashMap<String, String> = HashMap::new();
    let (mut left, mut lost) = (Vec::new(), None);
    for unit in units {
        if let Err(error) = bus.keep(&unit).await {
            log::debug!("{error:#}");
        }
        // Asked now: afterwards it would delay the reload.
        let reloads = reload && can_be_reloaded(&bus, &unit).await;
        if reload && !reloads {
            progress.not_tested(format!(
                "{unit} will not be reloaded: systemd has no reload for it, as it has no ExecReload="
            ));
        }
        let asked = clock::monotonic_ns() / 1_000;
        match bus.start_job("RestartUnit", &unit).await {
            Ok(job) => drop(restarts.insert(job, (unit, reloads))),
            Err(error) if is_lost(&error) => {
                left.push(Left { unit, reloads, unanswered: Some(asked) });
                lost = Some(error);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("systemd would not restart {unit}"));
            }
        }
    }
    while !restarts.is_empty() || !reloads_of.is_empty() {
        let (job, result) = match ends.next().await {
            Ok(end) => end,
            Err(error) => {
                let accepted = restarts.drain().map(|(_, it)| it);
                left.extend(accepted.map(|(unit, reloads)| Left {
                    unit,
                    reloads,
                    unanswered: None,
                }));
                lost = Some(error);
                break;
            }
        };
        if let Some(unit) = reloads_of.remove(&job) {
            tell_reload(&progress, &unit, &result);
            continue;
        }
        let Some((unit, reloads)) = restarts.remove(&job) else {
            continue;
        };
        if reloads {
            match bus.start_job("ReloadUnit", &unit).await {
                Ok(job) => drop(reloads_of.insert(job, unit.clone())),
                Err(error) => {
                    progress.not_tested(format!("systemd would not reload {unit}: {error:#}"));
                }
            }
        }
        progress.is_over(&unit);
        if result != Outside::new("done") {
            log::warn!("systemd's restart of {unit} ended with '{result}'");
        }
        let properties = bus.properties(&object(&unit), UNIT).await.unwrap_or_default();
        if let Some(unmet) = unmet_conditions(&properties) {
            log::warn!("systemd did not start {unit}: not met is {unmet}");
        }
    }
    if let Some(error) = lost {
        lost::go_on(&manager, left, &error, &progress).await?;
    }
    Ok(())
}

/// Tells how a reload ended that systemd was asked for. It runs none of a unit that is down
/// (`job_run_and_invalidate` in systemd's job.c: -ENOEXEC).
fn tell_reload(progress: &Progress, unit: &str, result: &Outside) {
    if *result == Outside::new("invalid") {
        progress.not_tested(format!("{unit} was not up when systemd was to reload it"));
    } else if *result != Outside::new("done") {
        log::warn!("systemd's reload of {unit} ended with '{result}'");
    }
}

/// Asks again and again which main processes the units have, and at once when it is told to,
/// until nobody wants to know.
async fn ask_for_mains(
    manager: Manager,
    mut bus: Bus,
    units: Vec<String>,
    teller: Sender<Answer>,
    look: Arc<Notify>,
) {
    let asked_us = clock::monotonic_ns() / 1_000;
    loop {
        for unit in &units {
            match main(&bus, unit, asked_us).await {
                Ok(answer) => {
                    if teller.send(answer).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    log::debug!("systemd does not tell {unit}'s MainPID: {error:#}");
                    // As where the message bus is restarted too.
                    if is_lost(&error)
                        && let Ok(another) = Bus::connect(&manager).await
                    {
                        bus = another;
                    }
                }
            }
        }
        if teller.is_closed() {
            return;
        }
        let _ = timeout(ASK_AGAIN, look.notified()).await;
    }
}

/// What systemd says of a unit's main process, one that it has started since `asked_us`
/// (`CLOCK_MONOTONIC`) if it has ended.
async fn main(bus: &Bus, unit: &str, asked_us: u64) -> Result<Answer> {
    let pid = bus.main_pid(unit).await?;
    let unit = unit.to_owned();
    if pid == 0 && bus.is_active(&unit).await? {
        return Ok(Answer::UpWithout { unit });
    }
    if pid == 0 && bus.main_began_us(&unit).await? >= asked_us {
        return Ok(Answer::Gone { unit });
    }
    Ok(Answer::Main { unit, pid })
}

/// The signal that a unit reloads by, as far as systemd says.
async fn reload_signal(bus: &Bus, unit: &str) -> Option<Signal> {
    bus.load(unit).await.ok()?;
    let service = bus.properties(&object(unit), SERVICE).await.ok()?;
    facts(&Properties::new(), &service).reload_signal
}

/// Whether a unit has a reload, as far as systemd says.
async fn can_be_reloaded(bus: &Bus, unit: &str) -> bool {
    let properties = async {
        bus.load(unit).await?;
        bus.properties(&object(unit), UNIT).await
    };
    properties.await.ok().and_then(|properties| can_reload(&properties)) != Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restart(reload: Reload) -> Restart {
        let units = vec!["a.service".to_owned(), "b.service".to_owned()];
        Restart::new(Manager::host(), None, units, Some(reload), None)
    }

    #[test]
    fn what_was_not_sent_is_told_by_the_unit() {
        let mut restart = restart(Reload::Kill);
        assert_eq!(restart.untested(), [""; 0], "it has not begun");
        restart.aim = Aim::new(&restart.units, Signal::HUP);
        let untested = restart.untested();
        assert_eq!(untested.len(), 2);
        assert!(untested[0].starts_with("a.service had no new main process"), "{untested:?}");
        restart.progress.not_tested("a.service: it has ended already".to_owned());
        assert_eq!(restart.untested().len(), 3);
    }

    #[test]
    fn a_reload_that_systemd_did_not_run_is_told_and_one_that_is_not_over_is_not() {
        let mut restart = restart(Reload::Systemd);
        restart.progress.begin(&restart.units);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        restart.running = Some(runtime.spawn(pending()));
        let untested = restart.untested();
        let early = "the trace ended before systemd's restart of a.service, b.service did";
        assert!(untested[0].starts_with(early), "{untested:?}");
        restart.progress.is_over("a.service");
        tell_reload(&restart.progress, "a.service", &Outside::new("invalid"));
        let untested = restart.untested();
        assert_eq!(untested[0], "a.service was not up when systemd was to reload it");
        assert!(untested[1].contains("restart of b.service did"), "{untested:?}");
        restart.progress.is_over("b.service");
        tell_reload(&restart.progress, "b.service", &Outside::new("failed"));
        assert_eq!(restart.untested().len(), 1, "it was tested");
    }

    #[test]
    fn a_process_is_its_managers_by_its_cgroup() {
        let own = crate::host::procfs::id(std::process::id()).unwrap();
        let hierarchies = Hierarchies::find().unwrap();
        let path = hierarchies.path_of(own.pid).unwrap();
        let below =
            |system: &str| keeps(&Manager::below("/x".into()), Some(system), own, &hierarchies);
        assert!(below(""), "every path is below the root");
        assert!(!below("/no/such"));
        assert!(!below(&path), "its own cgroup is not below itself");
        let gone = ProcessId { pid: 99_999_999, start_ticks: 1 };
        assert!(!keeps(&Manager::host(), None, gone, &hierarchies));
    }

    struct Silent;

    impl Observer for Silent {
        fn note(&self, _: &dyn std::fmt::Display) {}
        fn progress(&self, _: &super::super::Progress) {}
    }

    #[test]
    fn a_look_at_a_process_that_takes_long_holds_nothing_and_is_told_of_at_the_end() {
        let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
        let process = ProcessId { pid: std::process::id(), start_ticks: 1 };
        let unit = "a.service".to_owned();
        let due = Due { unit, process, signal: Signal::TERM, since: 0 };
        let kill = Kill::with(process, Signal::TERM, move |_| goes_on.recv().is_ok());
        let mut restart = restart(Reload::Kill);
        restart.sending.push((due, kill));
        let hierarchies = Hierarchies::find().unwrap();
        for _ in 0..3 {
            restart.act(&hierarchies, &Silent);
            assert!(restart.waits(), "it comes back while nothing is known");
        }
        let untested = restart.untested();
        assert_eq!(untested.len(), 1);
        assert!(untested[0].starts_with("a.service: could not send TERM"), "{untested:?}");
        // This process is not ended by what comes later.
        go_on.send(()).unwrap();
        while go_on.send(()).is_ok() {
            std::thread::yield_now();
        }
    }
}
