//! Signals that end a session: taken by a thread of their own, so that no load keeps them
//! waiting.

use std::{
    collections::VecDeque,
    mem::MaybeUninit,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow},
};
use tokio::sync::Notify;
use tracer_common::signal::{MAX_SIGNAL, SignalSet};

use super::Deadline;
use crate::{
    host::{own_signals, priority, temporary, terminal},
    model::{document::EndedBy, signal::Signal},
};

/// What ends a session with its report. A hang-up is the end of the terminal.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
/// What ends the process at once by its default action, and is sent by others: nothing of the
/// kind may leave files behind. Real-time signals are of the same kind.
///
/// ABRT to FPE are the kernel's, too, for what this process does: then it ends at once,
/// whether they are blocked or not (`force_sig_info_to_task()`).
const FATAL: [i32; 15] = [
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGXCPU,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGFPE,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];
/// The kernel's first real-time signal. `SIGRTMIN` of a C library is a later one.
const FIRST_REAL_TIME: i32 = 32;
/// How long a signal may wait for the session to take it. If another comes after that, the
/// session is stuck, and the process ends.
const STUCK: Duration = Duration::from_secs(1);
/// How long a second signal may wait for that: who sends it does not want to wait for the report.
const SECOND: Duration = Duration::from_millis(250);
/// Why a start takes long.
const SILENT: &str = "the file system that its program is on does not answer";
/// How often signals that are held are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Has INT and TERM end the process from now on, until they are held or blocked: a shell has what
/// it starts in the background ignore INT, and what is ignored is lost. And has the kernel keep for
/// this process what its children ended with, which it does not for one that ignores CHLD.
pub fn heed() {
    for signal in [Signal::INT, Signal::TERM, Signal::CHLD] {
        own_signals::set_default(signal.number());
    }
}

/// Signals that came while they were held, by their numbers.
static HELD: [AtomicBool; MAX_SIGNAL as usize + 1] =
    [const { AtomicBool::new(false) }; MAX_SIGNAL as usize + 1];

/// The signals that end a session or the process, held by a handler until somebody takes them.
/// A command that is started meanwhile does not inherit that: a blocked signal it would, and its
/// unblocking would be told as an event of its start.
///
/// The start of a command waits for the file system that its program is on, which may never
/// answer. So the process ends if a signal that ends a session is held for long, at once by any
/// other, and after the longest that a start may take.
pub struct Held {
    /// The thread that looks after that ends when this is dropped.
    _watching: Sender<()>,
}

impl Held {
    /// Holds them, for `longest` at most. One that was ignored when this process was started
    /// stays so (nohup(1)), except for what a user ends a trace with.
    pub fn now(longest: Duration) -> Result<Self> {
        for signal in numbers().filter(|signal| is_taken(*signal)) {
            set_holding(signal);
        }
        let (watching, is_over) = channel();
        let limit = Deadline::after(Some(longest), Instant::now());
        // That thread is to take none.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let started = thread::Builder::new()
            .name("sigready-held".to_owned())
            .spawn(move || watch_held(&is_over, limit));
        before.thread_set_mask()?;
        started.context("cannot start a thread that looks after signals")?;
        Ok(Self { _watching: watching })
    }

    /// Blocks them instead; those that came are pending then.
    pub fn block(self) -> Result<Blocked> {
        let blocked = Blocked::now()?;
        for signal in numbers() {
            if is_held(signal) {
                own_signals::set_default(signal.unsigned_abs());
            }
            if came(signal).is_some_and(|came| came.swap(false, Ordering::AcqRel)) {
                // SAFETY: a system call on plain numbers; the signal is blocked.
                unsafe { libc::kill(libc::getpid(), signal) };
            }
        }
        Ok(blocked)
    }
}

/// Ends the process if a signal is held for too long, or at the limit.
fn watch_held(is_over: &Receiver<()>, limit: Deadline) {
    let mut since = None;
    while is_over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        let is_held = |number: &i32| came(*number).is_some_and(|came| came.load(Ordering::Acquire));
        if let Some(number) = numbers().filter(|number| !ENDING.contains(number)).find(is_held) {
            end_by(number);
        }
        if let Some(number) = ENDING.into_iter().find(is_held)
            && *since.get_or_insert(now) + STUCK <= now
        {
            log::error!("the command was not started yet: {SILENT}");
            end_by(number);
        }
        if limit.has_passed(now) {
            log::error!("the command was not started in the time of --timeout: {SILENT}");
            temporary::remove_all();
            // SAFETY: it only ends the process. The command is told by its parent's death.
            unsafe { libc::_exit(1) };
        }
    }
}

/// Only remembers. Async-signal-safe.
extern "C" fn hold(signal: i32) {
    if let Some(came) = came(signal) {
        came.store(true, Ordering::Release);
    }
}

/// Whether a signal came while it was held.
fn came(signal: i32) -> Option<&'static AtomicBool> {
    HELD.get(usize::try_from(signal).ok()?)
}

/// All that end a session or the process: those that the C library keeps for itself, too.
fn numbers() -> impl Iterator<Item = i32> {
    let real_time = FIRST_REAL_TIME..=MAX_SIGNAL.cast_signed();
    ENDING.into_iter().chain(FATAL).chain(real_time)
}

/// Has a signal be remembered. The C library refuses those that it keeps for itself, which are
/// blocked later, and end the process until then.
fn set_holding(signal: i32) {
    // SAFETY: all zero is a valid action, and the handler only stores to an atomic.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = hold as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

/// The signals, blocked in this thread and in those that it starts from now on.
#[derive(Clone, Copy)]
pub struct Blocked(SignalSet);

impl Blocked {
    /// Blocks them. What was ignored when this process was started (nohup(1)) stays so, except
    /// for what a user ends a trace with.
    pub fn now() -> Result<Self> {
        let set = numbers()
            .filter(|signal| is_taken(*signal))
            .fold(SignalSet::EMPTY, |set, signal| set.union(SignalSet::of(signal.unsigned_abs())));
        own_signals::block(set).context("cannot block signals")?;
        Ok(Self(set))
    }
}

/// Whether a signal is taken: it was not ignored when this process was started, or a user ends
/// a trace with it.
fn is_taken(signal: i32) -> bool {
    matches!(signal, libc::SIGINT | libc::SIGTERM)
        || action(signal) == Some(libc::SIG_DFL)
        || is_held(signal)
}

fn is_held(signal: i32) -> bool {
    action(signal) == Some(hold as *const () as libc::sighandler_t)
}

/// What is done on a signal.
fn action(signal: i32) -> Option<libc::sighandler_t> {
    own_signals::handler(signal.unsigned_abs())
}

/// The signals that came and were not taken.
#[derive(Default)]
struct Waiting {
    signals: VecDeque<(Instant, Signal)>,
    /// How many have come.
    count: u64,
    /// Nobody takes them any more: the next one ends the process.
    is_over: bool,
}

impl Waiting {
    /// Takes a signal in. Whether it is to end the process at once.
    fn add(&mut self, signal: Signal, now: Instant) -> bool {
        let stuck = self.signals.front().is_some_and(|(came, _)| *came + STUCK <= now);
        self.signals.push_back((now, signal));
        self.count += 1;
        self.is_over || stuck
    }

    /// Whether the last one that came is not the first, and nobody has taken it.
    fn second_waits(&self) -> bool {
        self.count > 1 && !self.signals.is_empty()
    }
}

/// What the thread and the session share.
#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    woken: Notify,
}

/// The signals, as they come.
#[derive(Clone)]
pub struct Interrupts(Arc<Shared>);

impl Interrupts {
    /// Starts to take the signals that are blocked.
    pub fn start(blocked: Blocked) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("sigready-signal".to_owned())
            .spawn(move || take(blocked, &theirs))
            .context("cannot start a thread that takes signals")?;
        Ok(Self(shared))
    }

    /// The next one. Can be dropped and called again.
    pub async fn next(&self) -> Signal {
        loop {
            if let Some(signal) = self.taken() {
                return signal;
            }
            self.0.woken.notified().await;
        }
    }

    /// Waits until one has come, and leaves it to be taken. Can be dropped and called again.
    pub async fn came(&self) {
        while !self.is_waiting() {
            self.0.woken.notified().await;
        }
    }

    /// What has ended a session that saw `ended_by`: of what comes at one time it sees one thing, and
    /// an interrupt that nobody has taken counts.
    #[must_use]
    pub fn or_waiting(&self, ended_by: EndedBy) -> EndedBy {
        if self.is_waiting() { EndedBy::Interrupt } else { ended_by }
    }

    fn is_waiting(&self) -> bool {
        !self.waiting().signals.is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> Option<Signal> {
        self.waiting().signals.pop_front().map(|(_, signal)| signal)
    }

    /// From now on the next one ends the process: the session is over, and its report may be
    /// written to something that nobody reads.
    pub fn session_is_over(&self) {
        self.waiting().is_over = true;
    }
}

fn take(Blocked(signals): Blocked, shared: &Shared) {
    loop {
        let Some(came) = own_signals::wait(signals) else { continue };
        let number = came.cast_signed();
        if !ENDING.contains(&number) {
            end_by(number);
        }
        let Some(signal) = Signal::from_number(came) else { continue };
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = waiting.add(signal, Instant::now());
        let is_second = waiting.second_waits();
        drop(waiting);
        if ends {
            end_by(number);
        }
        shared.woken.notify_one();
        // Somebody waits for the report now.
        priority::raise();
        if is_second {
            thread::sleep(SECOND);
            let waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.second_waits() {
                end_by(number);
            }
        }
    }
}

/// Ends the process by the default action of a signal. The kernel lets go of the programs.
fn end_by(number: i32) -> ! {
    terminal::give_back();
    temporary::remove_all();
    // It may have been ignored when this process was started, as INT is in a shell's background.
    own_signals::set_default(number.unsigned_abs());
    // To this thread: another one that can take it might not have died of it by the last line.
    // SAFETY: it takes a plain number.
    unsafe { libc::raise(number) };
    let _ = own_signals::unblock(SignalSet::of(number.unsigned_abs()));
    // SAFETY: it only ends the process: an init of a pid namespace is still here.
    unsafe { libc::_exit(128 + number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_the_process_if_another_was_not_taken_for_a_second() {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        assert!(!waiting.add(Signal::INT, start));
        assert!(!waiting.add(Signal::INT, start + STUCK / 2));
        assert!(waiting.add(Signal::INT, start + STUCK));
    }

    #[test]
    fn a_second_signal_that_nobody_takes_is_known() {
        let mut waiting = Waiting::default();
        waiting.add(Signal::INT, Instant::now());
        assert!(!waiting.second_waits(), "the first one waits for its report");
        waiting.add(Signal::INT, Instant::now());
        assert!(waiting.second_waits());
        waiting.signals.clear();
        assert!(!waiting.second_waits());
        waiting.add(Signal::TERM, Instant::now());
        assert!(waiting.second_waits(), "the first one was taken");
    }

    #[test]
    fn once_the_session_is_over_the_first_one_ends_the_process() {
        let mut waiting = Waiting { is_over: true, ..Waiting::default() };
        assert!(waiting.add(Signal::TERM, Instant::now()));
    }
}
