//! What ends a session, and when.

use std::time::{Duration, Instant};

use super::Deadline;
use crate::model::document::{EndedBy, Severity};

/// How long a command may take to end after it was told to by a forwarded signal.
const INTERRUPTED: Duration = Duration::from_secs(5);

/// What ends a session before its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// READY=1 was sent.
    Ready,
    /// The main process exited.
    Exit,
    /// The subject has nothing more to wait for.
    Settled,
    /// An alert of this severity or a worse one; never, if there is none that counts.
    Alert(Option<Severity>),
}

/// What an interrupt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// It is passed on to the command.
    Forward,
    /// It ends the session.
    End,
}

/// What has come about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What [`Until`] waits for.
    pub until: bool,
    /// The command has been waited for, or nothing that was asked for is left.
    pub exit: bool,
}

/// What ends a session.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    until: Option<Until>,
    deadline: Deadline,
    /// Whether there is a command that interrupts are passed on to.
    forwards: bool,
    interrupted: bool,
}

impl Ending {
    /// Of a session that begins `now` and takes `span` at the longest.
    #[must_use]
    pub fn new(until: Option<Until>, span: Option<Duration>, forwards: bool, now: Instant) -> Self {
        Self { until, deadline: Deadline::after(span, now), forwards, interrupted: false }
    }

    /// What is waited for.
    #[must_use]
    pub fn until(&self) -> Option<Until> {
        self.until
    }

    /// Takes an interrupt. The first one is the command's, if there is a command: it has
    /// some seconds to end. Every other ends the session.
    pub fn interrupt(&mut self, now: Instant) -> Interrupted {
        if self.interrupted || !self.forwards {
            return Interrupted::End;
        }
        self.interrupted = true;
        self.deadline = Deadline::after(Some(INTERRUPTED), now);
        Interrupted::Forward
    }

    /// Whether it is over, and why.
    #[must_use]
    pub fn reached(&self, seen: Seen, now: Instant) -> Option<EndedBy> {
        let over = if seen.exit {
            EndedBy::Exit
        } else if seen.until && !self.interrupted {
            EndedBy::Until
        } else if self.deadline.has_passed(now) {
            EndedBy::Timeout
        } else {
            return None;
        };
        Some(if self.interrupted { EndedBy::Interrupt } else { over })
    }

    /// How long one may wait without missing its end, `longest` at most.
    #[must_use]
    pub fn patience(&self, longest: Duration, now: Instant) -> Duration {
        self.deadline.patience(longest, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOTHING: Seen = Seen { until: false, exit: false };
    const UNTIL: Seen = Seen { until: true, exit: false };
    const EXIT: Seen = Seen { until: false, exit: true };

    #[test]
    fn it_ends_by_what_comes_first() {
        let start = Instant::now();
        let ending = Ending::new(Some(Until::Ready), Some(SECOND), false, start);
        assert_eq!(ending.reached(NOTHING, start), None);
        assert_eq!(ending.reached(UNTIL, start), Some(EndedBy::Until));
        assert_eq!(ending.reached(EXIT, start), Some(EndedBy::Exit));
        assert_eq!(ending.reached(NOTHING, start + SECOND), Some(EndedBy::Timeout));
    }

    #[test]
    fn an_interrupt_ends_a_trace_at_once() {
        let mut ending = Ending::new(None, None, false, Instant::now());
        assert_eq!(ending.interrupt(Instant::now()), Interrupted::End);
    }

    #[test]
    fn a_command_gets_the_first_interrupt_and_five_seconds() {
        let start = Instant::now();
        let mut ending = Ending::new(Some(Until::Ready), Some(90 * SECOND), true, start);
        assert_eq!(ending.interrupt(start), Interrupted::Forward);
        assert_eq!(ending.reached(UNTIL, start), None, "it is to end, and not to get ready");
        assert_eq!(ending.reached(EXIT, start + SECOND), Some(EndedBy::Interrupt));
        assert_eq!(ending.reached(NOTHING, start + 4 * SECOND), None);
        assert_eq!(ending.reached(NOTHING, start + 5 * SECOND), Some(EndedBy::Interrupt));
        assert_eq!(ending.interrupt(start + SECOND), Interrupted::End);
    }
}
