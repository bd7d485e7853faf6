//! A real kill(2) at an instant: the kernel side stops the process there (SIGSTOP), it is sent
//! the signal, and it goes on.

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

use crate::{host::procfs, model::signal::Signal, probe::place::Placement};

/// How often it is looked whether the process is stopped.
const LOOK: Duration = Duration::from_micros(500);
/// How long it has to stop once that was sent: it does as it leaves the system call.
const STOPS: Duration = Duration::from_secs(1);

/// A thread that sends the signal. The one that starts the command can't: it waits for the exec,
/// and the command may be stopped before that.
pub struct ByKill {
    is_over: Arc<AtomicBool>,
    /// Gives why the signal was not sent although its instant came.
    thread: JoinHandle<Option<String>>,
}

impl ByKill {
    /// Sends `signal` to the process that is stopped at `placement`.
    pub fn start(placement: Placement, signal: Signal) -> Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        // That thread is to take none.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let thread = thread::Builder::new()
            .name("sigready-kill".to_owned())
            .spawn(move || wait_and_send(&placement, signal, &ends));
        before.thread_set_mask()?;
        Ok(Self { is_over, thread: thread.context("cannot start a thread that sends signals")? })
    }

    /// The run is over. Gives why the signal was not sent although its instant came.
    #[must_use]
    pub fn end(self) -> Option<String> {
        self.is_over.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|_| Some("the thread that sends it has failed".into()))
    }
}

fn wait_and_send(placement: &Placement, signal: Signal, is_over: &AtomicBool) -> Option<String> {
    while !is_over.load(Ordering::Acquire) {
        match placement.placed() {
            Ok(placed) if placed.at_ns != 0 && placed.result == 0 => {
                return stopped_and_sent(placed.pid, signal);
            }
            Ok(_) => thread::sleep(LOOK),
            Err(error) => return Some(format!("{error:#}")),
        }
    }
    None
}

/// Sends it once the process is stopped. Whatever comes of that, the process goes on.
fn stopped_and_sent(process: u32, signal: Signal) -> Option<String> {
    let limit = Instant::now() + STOPS;
    while !procfs::is_stopped(process) && Instant::now() < limit {
        thread::sleep(LOOK);
    }
    let pid = Pid::from_raw(process.cast_signed());
    let is_stopped = procfs::is_stopped(process);
    // SAFETY: a system call on plain numbers. nix's kill(2) knows no real-time signals. The
    // process descends from this one, and is not waited for while it is stopped.
    let is_sent =
        is_stopped && unsafe { libc::kill(pid.as_raw(), signal.number().cast_signed()) } == 0;
    let goes_on = signal::kill(pid, signal::Signal::SIGCONT).is_ok();
    if is_sent && goes_on { None } else { Some("the process did not stop for it".to_owned()) }
}
