//! A real reload at an instant: while the kernel side has the main process of a unit stopped there,
//! its systemd is asked for a reload, on a connection of its own.

use std::{
    pin::pin,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};

use super::stopped::{LOOK, Sending, Sent, StoppedProcess, reached};
use crate::{
    host::{clock, procfs},
    model::{signal::Signal, unit_state},
    probe::place::Placement,
    race::{Answer, RELOADS_NS, Reload},
    systemd::{manager::Manager, unit::Unit},
};

/// How long the process stands there at most.
const STANDS: Duration = Duration::from_secs(1);
/// How long systemd has to wait for the exec of its child, so that this is why it does not answer.
const WAITS: Duration = Duration::from_millis(50);
/// How often its state is asked for.
const ASK: Duration = Duration::from_millis(2);
/// How long the connection may take.
const CONNECTS: Duration = Duration::from_secs(10);

/// What is reloaded.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The systemd.
    pub manager: Manager,
    /// Its process.
    pub systemd: u32,
    /// The unit.
    pub name: String,
}

impl Reloaded {
    /// Has it reloaded while the process that is stopped at `placement` stands there.
    pub fn at(self, placement: Placement, signal: Signal) -> Result<Sending> {
        self.connected(async move |this, unit, is_over| {
            this.wait_and_ask(unit, &placement, signal, is_over).await
        })
    }

    /// Has it reloaded now, while this process of it stands there: it was sent STOP.
    pub fn while_stopped(self, process: StoppedProcess, signal: Signal) -> Result<Sending> {
        self.connected(async move |this, unit, is_over| {
            this.ask_stopped(unit, process, signal, is_over).await
        })
    }

    /// Has it reloaded now: it is at rest, and nothing stands still.
    pub fn at_rest(self) -> Result<Sending> {
        self.connected(async |_, unit, is_over| ask_at_rest(unit, is_over).await)
    }

    /// Has a thread do that. It has connected once this returns: systemd may not answer later.
    fn connected(
        self,
        work: impl AsyncFnOnce(&Self, Unit, &AtomicBool) -> Sent + Send + 'static,
    ) -> Result<Sending> {
        let (tell, connected) = channel();
        let sending = Sending::start(move |is_over| {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return Sent::not(format!("no event loop: {error}")),
            };
            runtime.block_on(async {
                match Unit::find(&self.manager, &self.name).await {
                    Ok(unit) => {
                        let _ = tell.send(Ok(()));
                        work(&self, unit, is_over).await
                    }
                    Err(error) => {
                        let _ = tell.send(Err(error));
                        Sent::default()
                    }
                }
            })
        })?;
        match connected.recv_timeout(CONNECTS) {
            Ok(told) => told.map(|()| sending),
            Err(_) => bail!("systemd did not let sigready connect for a reload"),
        }
        .context("cannot ask systemd for a reload")
    }

    async fn wait_and_ask(
        &self,
        unit: Unit,
        placement: &Placement,
        signal: Signal,
        is_over: &AtomicBool,
    ) -> Sent {
        let process = loop {
            if is_over.load(Ordering::Acquire) {
                return Sent::default();
            }
            match reached(placement) {
                Ok(Some(process)) => break process,
                Ok(None) => sleep(LOOK).await,
                Err(error) => return Sent::not(format!("{error:#}")),
            }
        };
        self.ask_stopped(unit, StoppedProcess(process), signal, is_over).await
    }

    /// Asks once the process is stopped.
    async fn ask_stopped(
        &self,
        mut unit: Unit,
        process: StoppedProcess,
        signal: Signal,
        is_over: &AtomicBool,
    ) -> Sent {
        let limit = StoppedProcess::limit();
        while !process.is_stopped() {
            if Instant::now() >= limit {
                return Sent::not("the process did not stop for it");
            }
            sleep(LOOK).await;
        }
        let reload = self.ask(&mut unit, process, signal, is_over).await;
        Sent { unsent: None, reload: Some(reload) }
    }

    /// Asks, and has the process go on once the signal is there, or is known not to come. Follows
    /// the reload from then on, until the run is over.
    async fn ask(
        &self,
        unit: &mut Unit,
        process: StoppedProcess,
        signal: Signal,
        is_over: &AtomicBool,
    ) -> Reload {
        let asked = clock::boot_ns();
        let limit = Instant::now() + STANDS;
        let mut reloading = pin!(unit.reloading());
        let mut waits_since = None;
        let answer = loop {
            if let Ok(answer) = timeout(LOOK, &mut reloading).await {
                break Some(answer);
            }
            // Its child is to execute a program, and is stopped.
            if procfs::waits_for_good(self.systemd) {
                waits_since.get_or_insert_with(Instant::now);
            } else {
                waits_since = None;
            }
            let is_stuck = waits_since.is_some_and(|since: Instant| since.elapsed() >= WAITS);
            if is_stuck || Instant::now() >= limit {
                break None;
            }
        };
        let came = |process: &StoppedProcess| {
            procfs::has_pending(process.0, signal.set()) || !process.is_stopped()
        };
        let (mut job, mut result) = (None, None);
        let answer = match answer {
            None => Answer::None { waits: waits_since.is_some() },
            Some(Err(why)) => Answer::Refused(why.to_string()),
            Some(Ok(object)) => {
                job = Some(object);
                let mut state = String::new();
                while !came(&process) && Instant::now() < limit {
                    result = ended(unit, job.as_deref()).await;
                    state = unit.active_state().await.unwrap_or_default();
                    if !unit_state::is_up(&state) || result.is_some() {
                        break;
                    }
                }
                Answer::State(state)
            }
        };
        let until = clock::boot_ns();
        drop(process);
        // What becomes of it, as long as the run goes on.
        while result.is_none() && !is_over.load(Ordering::Acquire) {
            match job {
                Some(_) => result = ended(unit, job.as_deref()).await,
                None if matches!(answer, Answer::None { .. }) => {
                    if let Ok(answer) = timeout(ASK, &mut reloading).await {
                        let Ok(object) = answer else { break };
                        job = Some(object);
                    }
                }
                None => break,
            }
        }
        Reload { asked, until, answer, job: result }
    }
}

/// Asks, and follows the reload until the run is over.
async fn ask_at_rest(mut unit: Unit, is_over: &AtomicBool) -> Sent {
    let asked = clock::boot_ns();
    let answer = timeout(Duration::from_nanos(RELOADS_NS), unit.reloading()).await;
    let (answer, job) = match answer {
        Err(_) => (Answer::None { waits: false }, None),
        Ok(Err(why)) => (Answer::Refused(why.to_string()), None),
        Ok(Ok(job)) => (Answer::State(unit.active_state().await.unwrap_or_default()), Some(job)),
    };
    let mut result = None;
    while !is_over.load(Ordering::Acquire) {
        if job.is_some() && result.is_none() {
            result = ended(&mut unit, job.as_deref()).await;
        } else {
            sleep(ASK).await;
        }
    }
    let until = clock::boot_ns();
    Sent { unsent: None, reload: Some(Reload { asked, until, answer, job: result }) }
}

/// What the job has come to, if it ends within a moment.
async fn ended(unit: &mut Unit, job: Option<&str>) -> Option<String> {
    let end = timeout(ASK, unit.next_end()).await.ok()?;
    let (ended, result) = end.ok()?;
    (job == Some(&*ended)).then(|| result.to_string())
}
