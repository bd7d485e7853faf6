//! Options of `run`.

use std::{ffi::OsString, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use sigready::model::signal::{Signal, UnknownSignal};

use super::{
    capture::{Output, Signals, Until},
    values::duration,
};

/// Shown below the options.
pub(super) const EXAMPLES: &str = "\
The command's own stdout and stderr are left alone: the report goes to stderr, or to
--output. The command is started as systemd starts a service: in a session of its own,
with all signals at their defaults and NOTIFY_SOCKET set. When the trace ends first,
the command is sent SIGTERM.

Examples:
  sigready run -- gunicorn app:app
  sigready run --until exit --send HUP@50ms -- python3 service.py
  sigready run --format json --output out.json --user postgres -- ./server --fg
  sigready run --type simple --until exit --timeout 10s -- cron -f";

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// End when this happens.
    #[arg(long, value_enum)]
    pub until: Option<Until>,
    /// End after this long at the latest: 500ms, 90s, 5m; 0 for never.
    #[arg(long, default_value = "90s", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
    /// Send SIGNAL to the command at WHEN: a time after its exec (50ms), or at 'exec',
    /// 'handler' (installed for the reload signal) or 'ready' (repeatable).
    #[arg(long, value_name = "SIGNAL@WHEN", value_parser = str::parse::<Send>)]
    pub send: Vec<Send>,
    /// How systemd would start it: a 'notify' service has to send READY=1 and ends the
    /// trace with it; a 'simple' one has no notify socket and is traced until it exits.
    #[arg(long = "type", value_enum, default_value_t = ServiceType::Notify, value_name = "TYPE")]
    pub service_type: ServiceType,
    /// Whose notify messages count, as in the unit setting of that name.
    #[arg(long, value_enum, default_value_t = NotifyAccess::Main, value_name = "WHO")]
    pub notify_access: NotifyAccess,
    /// Run the command as this user, with that user's groups.
    #[arg(short, long)]
    pub user: Option<String>,
    #[command(flatten)]
    pub signals: Signals,
    #[command(flatten)]
    pub output: Output,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// How systemd would start a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceType {
    /// `Type=simple`
    Simple,
    /// `Type=notify`
    Notify,
    /// `Type=notify-reload`
    NotifyReload,
}

impl ServiceType {
    /// systemd's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Notify => "notify",
            Self::NotifyReload => "notify-reload",
        }
    }
}

/// Whose notify messages count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NotifyAccess {
    /// The main process's.
    Main,
    /// Every process's of the service.
    All,
}

impl NotifyAccess {
    /// systemd's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::All => "all",
        }
    }
}

/// A signal to send, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// The signal.
    pub signal: Signal,
    /// When.
    pub when: When,
}

/// A moment of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This long after the exec.
    After(Duration),
    /// At the exec.
    Exec,
    /// When there is a handler for the reload signal.
    Handler,
    /// When READY=1 was sent.
    Ready,
}

impl FromStr for Send {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (signal, when) = text
            .split_once('@')
            .ok_or("say SIGNAL@WHEN, such as HUP@50ms, HUP@exec, HUP@handler or HUP@ready")?;
        let signal = signal.parse().map_err(|error: UnknownSignal| error.to_string())?;
        let when = match when {
            "exec" => When::Exec,
            "handler" => When::Handler,
            "ready" => When::Ready,
            time => When::After(duration(time)?),
        };
        Ok(Self { signal, when })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_is_a_signal_at_a_moment() {
        let send = "HUP@50ms".parse::<Send>().unwrap();
        assert_eq!(send.when, When::After(Duration::from_millis(50)));
        assert_eq!("usr1@ready".parse::<Send>().unwrap().when, When::Ready);
    }

    #[test]
    fn a_send_that_says_neither_time_nor_moment_is_refused_with_what_to_write() {
        for text in ["HUP", "HUP@", "HUP@soon", "HUP@-5s", "NOPE@1s", "@1s"] {
            assert!(text.parse::<Send>().is_err(), "{text}");
        }
        assert!("HUP@soon".parse::<Send>().unwrap_err().contains("50ms"));
    }
}
