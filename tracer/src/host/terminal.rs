//! The terminal of this process, for a screen: it is taken once, and given back however the
//! process ends, SIGKILL apart, and while a shell has the process stopped. Nothing here waits for
//! it for long.

mod job;

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::getpgrp,
};
use rustix::termios::{
    Action, OptionalActions, QueueSelector, Termios, tcflow, tcflush, tcgetattr, tcgetpgrp,
    tcgetwinsize, tcsetattr,
};

/// How long is waited at the end for a terminal to take what is still to be written.
const PATIENCE: Duration = Duration::from_millis(300);
/// Ends an escape sequence that was begun (`CAN`).
const CANCEL: &str = "\x18";

/// Why there is no terminal for a screen.
#[derive(Debug, thiserror::Error)]
pub enum Absent {
    /// The process has none, or it can't be used.
    #[error("it has none (/dev/tty: {0})")]
    None(#[from] io::Error),
    /// Another job of it has its keyboard.
    #[error("it is in the background of its terminal")]
    Background,
}

/// The terminal of this process, to be taken.
#[derive(Debug)]
pub struct Terminal {
    file: File,
    before: Termios,
}

impl Terminal {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// The process has none, or is in its background.
    pub fn find() -> Result<Self, Absent> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty")?;
        let before = tcgetattr(&file).map_err(io::Error::from)?;
        let foreground = tcgetpgrp(&file).map_err(io::Error::from)?;
        if foreground.as_raw_nonzero().get() != getpgrp().as_raw() {
            return Err(Absent::Background);
        }
        Ok(Self { file, before })
    }

    /// What it is written to.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Has it give every key at once, and writes `enter`. `leave` is written at the end.
    ///
    /// # Errors
    ///
    /// It does not take that.
    pub fn take(self, enter: &str, leave: String) -> io::Result<Taken> {
        let Self { file, before } = self;
        // It is given back from the background too.
        // SAFETY: no handler is set. Nothing that this process executes depends on the signal.
        unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
        job::heed()?;
        let enter = enter.to_owned();
        let mut terminal = held();
        let held = terminal.insert(Held {
            file,
            before,
            enter,
            leave,
            is_lent: true,
            waiting: Vec::new(),
        });
        let taken = Taken(());
        let entered = held.enter();
        // That is dropped with what it takes.
        drop(terminal);
        entered.map(|()| taken)
    }
}

/// The terminal is given back when this is dropped.
#[derive(Debug)]
pub struct Taken(());

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Who has the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This process, as before.
    Ours,
    /// This process again: all is to be drawn anew.
    OursAgain,
    /// Another job of the same shell.
    Others,
}

/// One that is taken.
struct Held {
    file: File,
    before: Termios,
    enter: String,
    leave: String,
    /// Another job has it for now.
    is_lent: bool,
    /// What it has not taken yet.
    waiting: Vec<u8>,
}

static HELD: Mutex<Option<Held>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Columns and rows of the terminal that is taken; zero where it does not say.
///
/// # Errors
///
/// It is not taken any more, or gone.
pub fn size() -> io::Result<(u16, u16)> {
    let held = held();
    let held = held.as_ref().ok_or(ErrorKind::NotConnected)?;
    let size = tcgetwinsize(&held.file)?;
    Ok((size.ws_col, size.ws_row))
}

/// Writes to the terminal that is taken what it takes without waiting. The rest goes first the
/// next time. Whether nothing is left.
///
/// # Errors
///
/// It is not taken any more, or gone.
pub fn send(bytes: &[u8]) -> io::Result<bool> {
    let mut held = held();
    let held = held.as_mut().ok_or(ErrorKind::NotConnected)?;
    if held.is_lent {
        return Ok(false);
    }
    held.waiting.extend_from_slice(bytes);
    held.send()
}

/// Does with the terminal what the shell does with this job, and says whose it is. To be called
/// now and then by one thread; where TSTP has come, the process stops here, with the terminal as
/// it was, until it is to go on.
///
/// # Errors
///
/// The terminal is not taken any more, or gone.
pub fn follow_job() -> io::Result<Whose> {
    if job::is_to_stop() {
        if let Some(held) = held().as_mut() {
            held.lend();
        }
        job::stop();
    }
    // Others may have used it then.
    let has_gone_on = job::has_gone_on();
    let mut held = held();
    let held = held.as_mut().ok_or(ErrorKind::NotConnected)?;
    let foreground = tcgetpgrp(&held.file)?;
    if foreground.as_raw_nonzero().get() != getpgrp().as_raw() {
        held.leave();
        return Ok(Whose::Others);
    }
    if !held.is_lent && !has_gone_on {
        return Ok(Whose::Ours);
    }
    held.enter()?;
    Ok(Whose::OursAgain)
}

/// Gives the terminal back as it was, if it is taken.
pub fn give_back() {
    let taken = held().take();
    if let Some(mut held) = taken {
        held.lend();
        job::heed_no_more();
    }
}

impl Held {
    fn send(&mut self) -> io::Result<bool> {
        while !self.waiting.is_empty() {
            match self.file.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Has it give every key at once, and shows the screen.
    fn enter(&mut self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        tcsetattr(&self.file, OptionalActions::Now, &raw)?;
        self.is_lent = false;
        // What waited was drawn for the screen before.
        self.waiting = self.enter.clone().into_bytes();
        self.send().map(drop)
    }

    /// Leaves the screen. How the terminal gives keys is the affair of who has it.
    fn leave(&mut self) {
        if !self.is_lent {
            self.waiting = [CANCEL, &self.leave].concat().into_bytes();
            let _ = self.send_all();
            self.is_lent = true;
        }
    }

    /// Gives it back as it was, for now or for ever.
    fn lend(&mut self) {
        if self.is_lent {
            return;
        }
        self.is_lent = true;
        // One whose output is stopped would keep the screen.
        let _ = tcflow(&self.file, Action::OOn);
        // Keys that nobody has taken were meant for the screen.
        let _ = tcflush(&self.file, QueueSelector::IFlush);
        let _ = tcsetattr(&self.file, OptionalActions::Now, &self.before);
        self.waiting.extend_from_slice(self.leave.as_bytes());
        if self.send_all() == Ok(()) {
            return;
        }
        // It does not read: what it has not taken makes room.
        let _ = tcflush(&self.file, QueueSelector::OFlush);
        self.waiting = [CANCEL, &self.leave].concat().into_bytes();
        let _ = self.send_all();
    }

    /// Writes what is left, as long as there is patience.
    fn send_all(&mut self) -> Result<(), ()> {
        let end = Instant::now() + PATIENCE;
        while !self.send().map_err(drop)? {
            let left = end.saturating_duration_since(Instant::now());
            let mut terminal = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            if left.is_zero() {
                return Err(());
            }
            let _ = poll(&mut terminal, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
        }
        Ok(())
    }
}
