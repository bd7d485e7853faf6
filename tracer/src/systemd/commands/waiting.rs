//! What a program that waits for another does with the signals it gets itself.

use crate::model::signal::Signal;

/// The kinds of such programs, as coreutils 9.1, util-linux 2.38, tini 0.19, dbus 1.14 and time 1.9
/// are seen to be in /proc/PID/status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It leaves signals alone: a shell without a trap, flock(1), time(1), unshare(1), setsid(1).
    Plain,
    /// It blocks them, and takes from them what ends it alone: su(1), runuser(1), script(1).
    Blocks,
    /// It passes all of them on: tini, dumb-init, catatonit.
    PassesOn,
    /// timeout(1) passes HUP, INT, QUIT and TERM on; its group gets them too, and for that it
    /// ignores them from then on, unless it runs in the foreground.
    Timeout {
        /// `--foreground`
        in_foreground: bool,
    },
    /// That is not known.
    Unknown,
}

/// What becomes of one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// What the signal does by default.
    Default,
    /// It has a handler for it.
    Handled,
    /// Nothing.
    Lost,
    /// What it waits for gets it.
    PassedOn,
    /// What it waits for gets the first one, and later ones are lost.
    PassedOnOnce,
    /// That can't be told.
    Unknown,
}

impl Waiting {
    /// That of a program by this name.
    pub(super) fn of(name: &str, in_foreground: bool) -> Self {
        match name {
            "flock" | "time" | "unshare" | "setsid" | "dbus-run-session" => Self::Plain,
            "su" | "runuser" | "script" => Self::Blocks,
            "tini" | "tini-static" | "dumb-init" | "catatonit" => Self::PassesOn,
            "timeout" => Self::Timeout { in_foreground },
            _ => Self::Unknown,
        }
    }

    /// What becomes of a signal.
    #[must_use]
    pub fn takes(self, signal: Signal) -> Takes {
        let is_term = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].contains(&signal);
        match self {
            Self::Blocks => Takes::Lost,
            Self::PassesOn => Takes::PassedOn,
            Self::Timeout { in_foreground: true } if is_term => Takes::PassedOn,
            Self::Timeout { in_foreground: false } if is_term => Takes::PassedOnOnce,
            Self::Plain | Self::Timeout { .. } => Takes::Default,
            Self::Unknown => Takes::Unknown,
        }
    }
}
