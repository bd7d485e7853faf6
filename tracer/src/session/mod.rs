//! A capture from its first observation to the judged document. `run` and `trace` differ in
//! what they watch: a command of their own, or the units of the host. They begin alike and
//! share one loop.
//!
//! What decides is pure: [`Schedule`], [`Ending`], [`Deadline`] and `Aim` take the time
//! as a parameter, and kill(2) is passed in. Nothing here knows of command-line options.

mod again;
mod aim;
mod capture;
mod child;
mod command;
mod deadline;
mod ending;
mod intake;
mod interrupts;
mod kill;
mod leavings;
mod notify_socket;
mod pace;
mod privileges;
mod race;
mod recorded;
mod restart;
mod schedule;
mod turns;
mod units;

use std::{
    fmt::{self, Display},
    io,
};

use nix::errno::Errno;

pub use self::{
    capture::{Asked, Capture, News, Position, host},
    child::{Child, Startable, Stopped, Streams},
    command::Command,
    deadline::Deadline,
    ending::{Ending, Until},
    interrupts::{Blocked, Held, Interrupts, heed},
    notify_socket::NotifySocket,
    pace::Pace,
    privileges::drop_unneeded,
    race::{
        Between, Found, Part, Placing, Raced, RacedUnit, Racer, Ran, Rounds, Rules, Runner,
        UnitRacer, Worked, guard, instant, work,
    },
    recorded::{MAX_RECORDED, Recorded, Wanted},
    restart::{Reload, Restart},
    schedule::{Moment, Schedule, Send},
    turns::Session,
    units::Units,
};
use crate::timeline::Progress;

/// Who is told what a session does.
pub trait Observer {
    /// Something to know that is not the report.
    fn note(&self, sentence: &dyn Display);
    /// How far the capture has come.
    fn progress(&self, progress: &Progress);
    /// Whether it wants to be told what is new.
    fn follows(&self) -> bool {
        false
    }
    /// What is new in the capture.
    fn news(&self, news: News) {
        let _ = news;
    }
}

/// What was asked for can't be done: it names something that is not there, or is out of range.
/// The sentence says what and why.
#[derive(Debug)]
pub struct BadRequest(String);

impl BadRequest {
    /// With this sentence.
    pub fn new(sentence: impl Display) -> Self {
        Self(sentence.to_string())
    }

    /// That what was asked for can't be looked at, and why. Where this process has no room for
    /// that, it is no fault of what was asked for.
    pub fn unless_short(sentence: impl Display, why: io::Error) -> anyhow::Error {
        let number = why.raw_os_error().map(Errno::from_raw);
        match number {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN) => {
                anyhow::Error::new(why).context(sentence.to_string())
            }
            _ => Self::new(format_args!("{sentence}: {why}")).into(),
        }
    }
}

impl Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRequest {}
