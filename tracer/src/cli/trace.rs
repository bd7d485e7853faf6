//! Options of `trace`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use sigready::session;

use super::{
    capture::{Output, Signals, Until},
    values::{bus, duration, settle},
};

/// Shown below the options.
pub(super) const EXAMPLES: &str = "\
Ends with Ctrl-C, --duration or --until; the report is then written to stdout. A second
Ctrl-C ends it at once. Units in
containers are found by their cgroups, from outside.

Examples:
  sigready trace nginx patroni --duration 1m
  sigready trace 'postgresql@*.service' --until alert
  sigready trace --restart --reload-during-start=kill patroni
  sigready trace --live patroni nginx
  sigready trace --user ada syncthing --until ready
  sigready trace --pid 4711 --until exit
  sigready trace --all --duration 5m --format json --output boot.json";

/// The highest process id there can be (`PID_MAX_LIMIT`).
const MAX_PID: i64 = 4_194_304;

/// Options of `trace`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true)
    .args(["units", "pid", "cgroup", "all"]))]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Trace {
    /// Units by name or glob; '.service' may be left out.
    #[arg(value_name = "UNIT")]
    pub units: Vec<String>,
    /// A process and what it starts (repeatable).
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=MAX_PID),
        allow_negative_numbers = true)]
    pub pid: Vec<u32>,
    /// Everything in a cgroup, by its path (repeatable).
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<PathBuf>,
    /// Every unit and container of this host.
    #[arg(long, conflicts_with_all = ["units", "pid", "cgroup"])]
    pub all: bool,
    /// Wait for the next start: --until counts from it. Takes units too that this host
    /// doesn't know yet, such as those of a container that will be started.
    #[arg(long)]
    pub wait: bool,
    /// Ask systemd to restart the units, and trace them from the first fork; for 15 s
    /// unless --until or --duration is given.
    #[arg(long)]
    pub restart: bool,
    /// After --restart, reload them while they start: through systemd, as in 'systemctl
    /// restart && systemctl reload', or by the signal itself, as a script with kill does.
    #[arg(long, value_enum, value_name = "HOW", requires = "restart",
        num_args = 0..=1, require_equals = true, default_missing_value = "systemd")]
    pub reload_during_start: Option<Reload>,
    /// Let any unit of that name count for --until, a user's too, and one that is only called
    /// so. By default it is the host's that counts, and one in a container that root runs where
    /// the host has none; the others are shown, with whose they are.
    #[arg(long, requires = "units", conflicts_with_all = ["root", "user", "bus"])]
    pub any: bool,
    /// Trace units of the system below this directory, such as a container's root, and ask
    /// its systemd about them, whoever runs it. By default units of that name in any system
    /// are traced, and the systemd that keeps a unit's cgroup is found and asked, if it is the
    /// host's, a user's, or that of a container that root runs.
    #[arg(long, value_name = "DIR", conflicts_with = "bus")]
    pub root: Option<PathBuf>,
    /// Trace units of this user's own systemd, by name or number.
    #[arg(long, value_name = "USER", conflicts_with_all = ["root", "bus"])]
    pub user: Option<String>,
    /// Ask systemd through this D-Bus address: unix:path=/run/dbus/system_bus_socket
    #[arg(long, value_name = "ADDRESS", value_parser = bus)]
    pub bus: Option<String>,
    /// Which process is the service, where a supervisor is in between: a glob of its name, its
    /// program's path or its command line, in which the program may stand with its directory or
    /// without, or of the name or path of the script (module, class, archive) that its interpreter
    /// runs. The first one that fits is judged as the main process.
    #[arg(long, value_name = "PATTERN")]
    pub main: Option<String>,
    /// Follow the services on a screen of the terminal while they start: a line for each, Enter
    /// for its timeline, q to end. The report goes to stdout or FILE afterwards, as without.
    #[arg(long)]
    pub live: bool,
    /// End when this happens.
    #[arg(long, value_enum)]
    pub until: Option<Until>,
    /// End after this long at the latest: 500ms, 90s, 5m; 0 for never.
    #[arg(long, value_name = "TIME", value_parser = duration,
        allow_hyphen_values = true)]
    pub duration: Option<Duration>,
    /// How long after a reload a service must still be there to have survived it; an end
    /// within this time is the reload's, if nothing else brought it about.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = settle,
        allow_hyphen_values = true)]
    pub settle: Duration,
    #[command(flatten)]
    pub signals: Signals,
    #[command(flatten)]
    pub output: Output,
}

/// How a unit is reloaded while it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reload {
    /// `systemctl reload`, once the restart is done in systemd's eyes.
    Systemd,
    /// The reload signal to the main process, right after its exec.
    Kill,
}

impl From<Reload> for session::Reload {
    fn from(reload: Reload) -> Self {
        match reload {
            Reload::Systemd => Self::Systemd,
            Reload::Kill => Self::Kill,
        }
    }
}
