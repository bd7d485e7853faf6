//! A signal to a process, and to none that has taken over its pid: kill(2), once it is known that
//! it is there. That is looked at on a thread beside, as on a busy host it takes long.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{errno::Errno, libc};
use tokio::{sync::Notify, time::timeout_at};

use crate::{
    host::{clock, contained, procfs},
    model::signal::Signal,
    observation::ProcessId,
};

/// How long it may take until it is known whether the process is there.
const LOOK: Duration = Duration::from_secs(1);

/// A signal that is on its way. It is not sent any more once this is dropped.
pub struct Kill {
    id: ProcessId,
    signal: Signal,
    limit: Instant,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

enum State {
    /// It is looked at whether the process is there.
    Looking,
    /// The signal was sent at this time (`CLOCK_BOOTTIME` ns), or not, and why.
    Over(Result<u64>),
    /// It is not to be sent any more.
    GivenUp,
}

impl Kill {
    /// Begins.
    #[must_use]
    pub fn begin(id: ProcessId, signal: Signal) -> Self {
        Self::with(id, signal, procfs::is_there)
    }

    /// Begins; `is_there` is asked on the thread beside.
    pub(super) fn with(
        id: ProcessId,
        signal: Signal,
        is_there: impl FnOnce(ProcessId) -> bool + Send + 'static,
    ) -> Self {
        let state = Arc::new(Mutex::new(State::Looking));
        let changed = Arc::new(Notify::new());
        let kill = Self { id, signal, limit: Instant::now() + LOOK, state, changed };
        let (state, changed) = (Arc::clone(&kill.state), Arc::clone(&kill.changed));
        let work = move || {
            let is_there = is_there(id);
            let mut state = lock(&state);
            if matches!(*state, State::Looking) {
                let sent =
                    if is_there { send(id, signal) } else { Err(anyhow!("it has ended already")) };
                *state = State::Over(sent);
                changed.notify_one();
            }
        };
        if let Err(error) =
            contained::spawn(thread::Builder::new().name("sigready-kill".to_owned()), work)
        {
            *lock(&kill.state) = State::Over(Err(error.into()));
        }
        kill
    }

    /// When it was sent (`CLOCK_BOOTTIME` ns), or why it was not; `None` as long as neither is
    /// known. It waits for nothing.
    pub fn result(&self, now: Instant) -> Option<Result<u64>> {
        let is_known = now >= self.limit || !matches!(*lock(&self.state), State::Looking);
        is_known.then(|| self.end())
    }

    /// The same now, whatever is known: it is not sent any more from here on.
    ///
    /// # Errors
    ///
    /// It was not sent.
    pub fn end(&self) -> Result<u64> {
        let mut state = lock(&self.state);
        let result = match mem::replace(&mut *state, State::GivenUp) {
            State::Over(result) => result,
            State::Looking | State::GivenUp => {
                Err(anyhow!("whether it is there could not be told in time"))
            }
        };
        let context = || format!("could not send {} to process {}", self.signal, self.id.pid);
        result.with_context(context)
    }

    /// Waits for that.
    pub async fn over(self) -> Result<u64> {
        let _ = timeout_at(self.limit.into(), self.changed.notified()).await;
        self.end()
    }
}

impl Drop for Kill {
    fn drop(&mut self) {
        *lock(&self.state) = State::GivenUp;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the time by which the process has taken it, if it had not ended before.
fn send(id: ProcessId, signal: Signal) -> Result<u64> {
    let at = clock::boot_ns();
    // nix's kill(2) knows no real-time signals.
    // SAFETY: a system call on plain numbers.
    let sent = unsafe { libc::kill(id.pid.cast_signed(), signal.number().cast_signed()) };
    Errno::result(sent)?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{Child, Command},
        sync::mpsc::{Sender, channel},
    };

    use super::*;

    fn child() -> (Child, ProcessId) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = procfs::id(child.id()).unwrap();
        (child, id)
    }

    fn waited(kill: Kill) -> Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(kill.over())
    }

    fn why(result: Result<u64>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    /// One that is looked at until something is sent.
    fn slow(id: ProcessId) -> (Kill, Sender<()>) {
        let (go_on, goes_on) = channel::<()>();
        let kill = Kill::with(id, Signal::TERM, move |_| goes_on.recv().is_ok());
        (kill, go_on)
    }

    #[test]
    fn it_is_sent_to_the_process_and_to_no_other_of_its_pid() {
        let (mut child, id) = child();
        let other = ProcessId { start_ticks: id.start_ticks + 1, ..id };
        assert!(why(waited(Kill::begin(other, Signal::TERM))).contains("it has ended already"));
        let before = clock::boot_ns();
        let at = waited(Kill::begin(id, Signal::TERM)).unwrap();
        assert!((before..=clock::boot_ns()).contains(&at));
        assert_eq!(child.wait().unwrap().signal(), Some(15));
    }

    #[test]
    fn a_look_that_takes_long_holds_nobody_and_ends_in_nothing_sent_once_it_is_given_up() {
        let (mut child, id) = child();
        let (kill, go_on) = slow(id);
        assert!(kill.result(Instant::now()).is_none());
        let late = why(kill.result(Instant::now() + LOOK).unwrap());
        assert!(late.contains("could not be told in time"), "a busy host is no end: {late}");
        let (dropped, go_on_too) = slow(id);
        drop(dropped);
        for late in [go_on, go_on_too] {
            late.send(()).unwrap();
            // The thread is through with it.
            while late.send(()).is_ok() {
                thread::yield_now();
            }
        }
        let (kill, go_on) = slow(id);
        go_on.send(()).unwrap();
        assert!(waited(kill).is_ok());
        assert_eq!(child.wait().unwrap().signal(), Some(15), "by this one");
    }
}
