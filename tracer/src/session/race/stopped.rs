//! A signal with a real sender at an instant: the kernel side stops the process there (SIGSTOP), it
//! is sent the signal, by kill(2) or by a reload through systemd, and it goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    sys::signal::{self, SigSet, SigmaskHow},
    unistd::Pid,
};

use crate::{host::procfs, model::signal::Signal, probe::place::Placement, race::Reload};

/// How often it is looked whether the process is stopped.
pub const LOOK: Duration = Duration::from_micros(500);
/// How long it has to stop once that was sent: it does as it leaves the system call.
const STOPS: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Debug, Default)]
pub struct Sent {
    /// Why the signal was not sent, or the reload not asked for, although the instant came.
    pub unsent: Option<String>,
    /// The reload.
    pub reload: Option<Reload>,
}

impl Sent {
    /// It was not sent.
    pub fn not(why: impl Into<String>) -> Self {
        Self { unsent: Some(why.into()), reload: None }
    }
}

/// A thread that sends the signal. The one that starts the command can't: it waits for the exec,
/// and the command may be stopped before that.
pub struct Sending {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Sent>,
}

impl Sending {
    /// Has a thread do that, until the flag is set. It takes no signal.
    pub fn start(work: impl FnOnce(&AtomicBool) -> Sent + Send + 'static) -> Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let thread =
            thread::Builder::new().name("sigready-sends".to_owned()).spawn(move || work(&ends));
        before.thread_set_mask()?;
        Ok(Self { is_over, thread: thread.context("cannot start a thread that sends signals")? })
    }

    /// Sends `signal` by kill(2) to the process that is stopped at `placement`.
    pub fn by_kill(placement: Placement, signal: Signal) -> Result<Self> {
        Self::start(move |is_over| {
            while !is_over.load(Ordering::Acquire) {
                match reached(&placement) {
                    Ok(Some(process)) => return kill(process, signal),
                    Ok(None) => thread::sleep(LOOK),
                    Err(error) => return Sent::not(format!("{error:#}")),
                }
            }
            Sent::default()
        })
    }

    /// The run is over. Gives what came of it.
    #[must_use]
    pub fn end(self) -> Sent {
        self.is_over.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|_| Sent::not("the thread that sends it has failed"))
    }
}

/// The process that has come to the instant, if it has.
pub fn reached(placement: &Placement) -> Result<Option<u32>> {
    let placed = placement.placed()?;
    Ok((placed.at_ns != 0 && placed.result == 0).then_some(placed.pid))
}

/// A process that the kernel side stops. Whatever comes, it goes on once this is dropped.
pub struct StoppedProcess(pub u32);

impl StoppedProcess {
    /// How long it may take to stop.
    #[must_use]
    pub fn limit() -> Instant {
        Instant::now() + STOPS
    }

    /// Whether it is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        procfs::is_stopped(self.0)
    }

    /// Has it go on; whether it is there to do so.
    pub fn goes_on(&self) -> bool {
        signal::kill(Pid::from_raw(self.0.cast_signed()), signal::Signal::SIGCONT).is_ok()
    }
}

impl Drop for StoppedProcess {
    fn drop(&mut self) {
        self.goes_on();
    }
}

/// Sends it once the process is stopped.
fn kill(process: u32, signal: Signal) -> Sent {
    let (stopped, limit) = (StoppedProcess(process), StoppedProcess::limit());
    while !stopped.is_stopped() && Instant::now() < limit {
        thread::sleep(LOOK);
    }
    let (pid, number) = (process.cast_signed(), signal.number().cast_signed());
    // SAFETY: a system call on plain numbers. nix's kill(2) knows no real-time signals. The
    // process is stopped by this run, and is not waited for meanwhile.
    let is_sent = stopped.is_stopped() && unsafe { libc::kill(pid, number) } == 0;
    if is_sent && stopped.goes_on() {
        Sent::default()
    } else {
        Sent::not("the process did not stop for it")
    }
}
