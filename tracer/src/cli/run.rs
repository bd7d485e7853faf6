//! Options of `run`.

use std::{ffi::OsString, time::Duration};

use clap::{Args, ValueEnum};
use sigready::session::Send;

use super::{
    capture::{Output, Signals, Until},
    values::{duration, send, settle},
};

/// Shown below the options.
pub(super) const EXAMPLES: &str = "\
The command's own stdout and stderr are left alone: the report goes to stderr, or to
--output. The command is started as systemd starts a service: in a session of its own,
with all signals at their defaults, no ambient capabilities, and NOTIFY_SOCKET set. When
the trace ends first, the command is sent SIGTERM.

Examples:
  sigready run -- gunicorn app:app
  sigready run --until exit --send HUP@50ms -- python3 service.py
  sigready run --restart on-failure --send HUP@ready+2s -- ./server --fg
  sigready run --format json --output out.json --user postgres -- ./server --fg
  sigready run --type simple --until exit --timeout 10s -- cron -f";

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// End when this happens.
    #[arg(long, value_enum)]
    pub until: Option<Until>,
    /// End after this long at the latest: 500ms, 90s, 5m; 0 for never.
    #[arg(long, default_value = "90s", value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true)]
    pub timeout: Duration,
    /// Send SIGNAL to the command at WHEN: a time after its exec (50ms), or 'exec', 'handler'
    /// (installed for the reload signal) or 'ready', or a time after one of these (ready+2s)
    /// (repeatable).
    #[arg(long, value_name = "SIGNAL@WHEN", value_parser = send)]
    pub send: Vec<Send>,
    /// How long after a reload the command must still be there to have survived it; an end
    /// within this time is the reload's.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = settle,
        allow_hyphen_values = true)]
    pub settle: Duration,
    /// How systemd would start it: a 'notify' service has to send READY=1 and ends the
    /// trace with it; a 'simple' one has no notify socket and is traced until it exits.
    #[arg(long = "type", value_enum, default_value_t = ServiceType::Notify, value_name = "TYPE")]
    pub service_type: ServiceType,
    /// What systemd would do after its end, as in the unit setting of that name: what follows
    /// from an alert depends on it. The command is not started again here.
    #[arg(long, value_enum, value_name = "POLICY")]
    pub restart: Option<RestartPolicy>,
    /// What its unit's ExecReload= runs: 'kill -HUP $MAINPID', or '' for none. The signal that
    /// it sends is the reload signal, unless --signal names another. It is not run here.
    #[arg(long, value_name = "COMMAND")]
    pub exec_reload: Option<String>,
    /// Whose notify messages count, as in the unit setting of that name.
    #[arg(long, value_enum, default_value_t = NotifyAccess::Main, value_name = "WHO")]
    pub notify_access: NotifyAccess,
    /// Which process is the service, where a supervisor is in between: a glob of its name, its
    /// program's path or its command line, or of the name or path of the script (module, class,
    /// archive) that its interpreter runs. The first one that fits is judged as the main process.
    #[arg(long, value_name = "PATTERN")]
    pub main: Option<String>,
    /// Run the command as this user, with that user's groups. As under systemd, it gets an
    /// environment of its own (PATH, HOME, LOGNAME, USER, SHELL and the locale), and no open
    /// file but stdin, stdout and stderr.
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

/// What systemd does after a service's end (systemd.service(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(clippy::enum_variant_names, reason = "they are systemd's words")]
pub enum RestartPolicy {
    /// Nothing.
    No,
    /// Starts it again after a clean end.
    OnSuccess,
    /// After an unclean exit code or signal, a time-out, or the watchdog's.
    OnFailure,
    /// After an unclean signal, a time-out, or the watchdog's.
    OnAbnormal,
    /// After the watchdog's time-out.
    OnWatchdog,
    /// After an unclean signal.
    OnAbort,
    /// Whatever the end was.
    Always,
}

impl RestartPolicy {
    /// systemd's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnSuccess => "on-success",
            Self::OnFailure => "on-failure",
            Self::OnAbnormal => "on-abnormal",
            Self::OnWatchdog => "on-watchdog",
            Self::OnAbort => "on-abort",
            Self::Always => "always",
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
