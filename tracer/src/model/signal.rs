//! Signal numbers and their names.

use std::{borrow::Cow, fmt, str::FromStr};

use nix::sys::signal::Signal as NixSignal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tracer_common::signal::{MAX_SIGNAL, SignalSet};

use super::text::Outside;

/// `SIGRTMIN` as programs see it: glibc keeps 32 and 33 for itself (`signal(7)`).
const RTMIN: u32 = 34;

/// A signal number in `1..=64`. Written without its prefix: `HUP`, `RTMIN+3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u32);

impl Signal {
    /// `SIGHUP`: the reload signal where nothing else is said.
    pub const HUP: Self = Self(1);
    /// `SIGINT`
    pub const INT: Self = Self(2);
    /// `SIGQUIT`
    pub const QUIT: Self = Self(3);
    /// `SIGKILL`
    pub const KILL: Self = Self(9);
    /// `SIGSTOP`
    pub const STOP: Self = Self(NixSignal::SIGSTOP as u32);
    /// `SIGTERM`
    pub const TERM: Self = Self(15);
    /// `SIGPIPE`
    pub const PIPE: Self = Self(13);
    /// `SIGABRT`
    pub const ABRT: Self = Self(NixSignal::SIGABRT as u32);
    /// `SIGUSR1`
    pub const USR1: Self = Self(NixSignal::SIGUSR1 as u32);
    /// `SIGUSR2`
    pub const USR2: Self = Self(NixSignal::SIGUSR2 as u32);
    /// `SIGALRM`
    pub const ALRM: Self = Self(NixSignal::SIGALRM as u32);
    /// `SIGVTALRM`
    pub const VTALRM: Self = Self(NixSignal::SIGVTALRM as u32);
    /// `SIGPROF`
    pub const PROF: Self = Self(NixSignal::SIGPROF as u32);
    /// `SIGSTKFLT`
    pub const STKFLT: Self = Self(NixSignal::SIGSTKFLT as u32);
    /// `SIGPWR`
    pub const PWR: Self = Self(NixSignal::SIGPWR as u32);
    /// `SIGCHLD`
    pub const CHLD: Self = Self(NixSignal::SIGCHLD as u32);
    /// `SIGURG`
    pub const URG: Self = Self(NixSignal::SIGURG as u32);
    /// `SIGXCPU`
    pub const XCPU: Self = Self(NixSignal::SIGXCPU as u32);
    /// `SIGXFSZ`
    pub const XFSZ: Self = Self(NixSignal::SIGXFSZ as u32);
    /// `SIGWINCH`
    pub const WINCH: Self = Self(NixSignal::SIGWINCH as u32);

    /// The signal with this number; `None` outside `1..=64`.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        (1..=MAX_SIGNAL).contains(&number).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// Whether a process can say what is to be done on it: on KILL and STOP it can't
    /// (`sig_kernel_only` in include/linux/signal.h).
    #[must_use]
    pub fn is_catchable(self) -> bool {
        !matches!(self, Self::KILL | Self::STOP)
    }

    /// Whether it is sent for nothing but to end a program: TERM, INT, KILL.
    #[must_use]
    pub fn ends(self) -> bool {
        matches!(self, Self::TERM | Self::INT | Self::KILL)
    }

    /// The same, or QUIT, which ends most programs too, some of them in good order. A Java virtual
    /// machine writes what its threads do on it, and goes on.
    #[must_use]
    pub fn may_be_to_end(self) -> bool {
        self.ends() || self == Self::QUIT
    }

    /// What the kernel does on it where the process has said nothing else (`signal(7)`,
    /// `sig_kernel_ignore` and its like in include/linux/signal.h).
    #[must_use]
    pub fn default_action(self) -> DefaultAction {
        use NixSignal as S;
        // What nix has no name for is a real-time signal, which terminates.
        let Ok(signal) = NixSignal::try_from(self.0 as i32) else {
            return DefaultAction::Terminate;
        };
        match signal {
            S::SIGCHLD | S::SIGURG | S::SIGWINCH => DefaultAction::Ignore,
            S::SIGCONT => DefaultAction::Continue,
            S::SIGSTOP | S::SIGTSTP | S::SIGTTIN | S::SIGTTOU => DefaultAction::Stop,
            S::SIGQUIT
            | S::SIGILL
            | S::SIGTRAP
            | S::SIGABRT
            | S::SIGBUS
            | S::SIGFPE
            | S::SIGSEGV
            | S::SIGXCPU
            | S::SIGXFSZ
            | S::SIGSYS => DefaultAction::Dump,
            _ => DefaultAction::Terminate,
        }
    }

    /// What the kernel throws out of every queue of a process as this is sent to it, whatever
    /// the process does on it: a stop and SIGCONT do that to each other (`prepare_signal` in
    /// kernel/signal.c).
    pub fn thrown_out(self) -> impl Iterator<Item = Self> {
        use NixSignal as S;
        let opposite: &[S] = match self.default_action() {
            DefaultAction::Stop => &[S::SIGCONT],
            DefaultAction::Continue => &[S::SIGSTOP, S::SIGTSTP, S::SIGTTIN, S::SIGTTOU],
            _ => &[],
        };
        opposite.iter().map(|signal| Self(*signal as u32))
    }

    /// The set of this signal alone.
    #[must_use]
    pub fn set(self) -> SignalSet {
        SignalSet::of(self.0)
    }
}

/// What the kernel does on a signal by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// Nothing, but a stopped process goes on.
    Continue,
    /// The process stops.
    Stop,
    /// The process ends.
    Terminate,
    /// The process ends and dumps core.
    Dump,
}

impl DefaultAction {
    /// Whether it ends the process.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::Terminate | Self::Dump)
    }
}

/// A name or number that is not a signal's.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{0}' is not a signal: give a name such as HUP, SIGUSR1 or RTMIN+3, or a number from 1 to 64"
)]
pub struct UnknownSignal(Outside);

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownSignal(Outside::new(text));
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = if let Ok(number) = name.parse::<u32>() {
            number
        } else if let Some(rest) = name.strip_prefix("RTMIN") {
            offset(rest, '+').and_then(|more| RTMIN.checked_add(more)).ok_or_else(unknown)?
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            MAX_SIGNAL
                .checked_sub(offset(rest, '-').ok_or_else(unknown)?)
                .filter(|number| *number >= RTMIN)
                .ok_or_else(unknown)?
        } else {
            NixSignal::from_str(&format!("SIG{name}")).map_err(|_| unknown())? as u32
        };
        Self::from_number(number).ok_or_else(unknown)
    }
}

/// The number in `+3` (or `-3`), 0 for nothing.
fn offset(text: &str, sign: char) -> Option<u32> {
    if text.is_empty() {
        return Some(0);
    }
    text.strip_prefix(sign)?.parse().ok().filter(|n| *n <= MAX_SIGNAL)
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(signal) = NixSignal::try_from(self.0 as i32) {
            return f.pad(signal.as_str().trim_start_matches("SIG"));
        }
        match self.0 {
            RTMIN => f.pad("RTMIN"),
            number if number > RTMIN => f.pad(&format!("RTMIN+{}", number - RTMIN)),
            number => f.pad(&number.to_string()),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Signal {
    fn schema_name() -> Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A signal by its name without SIG: HUP, TERM, RTMIN+3. 32 and 33, which glibc keeps for itself, are numbers."
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::model::signal::*;

    #[test]
    fn every_signal_reads_back_from_its_own_name() {
        for number in 1..=MAX_SIGNAL {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
        }
    }

    #[test]
    fn a_signal_is_named_with_or_without_prefix_in_any_case_or_by_number() {
        for text in ["HUP", "SIGHUP", "sighup", "hup", "1"] {
            assert_eq!(text.parse::<Signal>().unwrap(), Signal::HUP);
        }
        assert_eq!("RTMAX-1".parse::<Signal>().unwrap().number(), 63);
    }

    #[test]
    fn every_signal_has_the_default_action_of_the_manual_page() {
        let of = |action| {
            let signals = (1..=MAX_SIGNAL).filter_map(Signal::from_number);
            let numbers = signals.filter(|it| it.default_action() == action).map(Signal::number);
            numbers.collect::<Vec<_>>()
        };
        assert_eq!(of(DefaultAction::Ignore), [17, 23, 28]);
        assert_eq!(of(DefaultAction::Continue), [18]);
        assert_eq!(of(DefaultAction::Stop), [19, 20, 21, 22]);
        assert_eq!(of(DefaultAction::Dump), [3, 4, 5, 6, 7, 8, 11, 24, 25, 31]);
        assert_eq!(of(DefaultAction::Terminate).len(), 64 - 3 - 1 - 4 - 10);
    }

    #[test]
    fn a_stop_and_cont_throw_each_other_out_and_nothing_else_does() {
        for signal in (1..=MAX_SIGNAL).filter_map(Signal::from_number) {
            let thrown_out: Vec<_> = signal.thrown_out().map(Signal::number).collect();
            let expected: &[u32] = match signal.number() {
                18 => &[19, 20, 21, 22],
                19..=22 => &[18],
                _ => &[],
            };
            assert_eq!(thrown_out, expected, "{signal}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_with_its_own_text() {
        for text in ["", "HUPP", "0", "65", "RTMIN+31", "RTMAX-40", "SIG", "-1", "RTMIN-1"] {
            let error = text.parse::<Signal>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }
}
