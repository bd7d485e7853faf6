//! The command line: every option is defined here, once, with its help.

use std::{ffi::OsString, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sigready::{
    probe::backend,
    report::Format,
    signal::{Signal, UnknownSignal},
    timeline::document::Severity,
};

/// Exit statuses, as `--help` lists them.
const STATUSES: &str = "\
Exit status:
  0  no alert at or above --fail-on
  1  sigready itself failed
  2  the command line can't be carried out: wrong syntax, or it names something that
     does not exist
  3  alerts";

const EXAMPLES: &str = "\
Examples:
  sigready doctor                                  what this host allows
  sigready run -- /usr/sbin/mydaemon -f            was it ready for its signals?
  sigready run --send HUP@50ms -- ./mydaemon       what would an early reload do?
  sigready trace patroni.service --duration 30s    watch a unit while it restarts
  sigready lint                                    which units an early reload can hurt
  sigready explain reload-before-handler           what an alert means";

/// Shows whether a service was ready for its signals.
///
/// Traces process starts, signal handlers, signals and readiness messages with eBPF,
/// builds one timeline per service start, and says what a reload signal that came too
/// early did, or would have done.
#[derive(Debug, Parser)]
#[command(name = "sigready", version, after_help = format!("{EXAMPLES}\n\n{STATUSES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options that every command has.
    #[command(flatten)]
    pub talk: Talk,
}

/// How much is said on stderr, and in what colours.
#[derive(Clone, Debug, Args)]
pub struct Talk {
    /// Say nothing on stderr but errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on stderr; twice for the kernel verifier's log.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On terminals, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a command as a service would be started, and trace it.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Trace services on this host.
    #[command(after_help = TRACE_EXAMPLES)]
    Trace(Trace),
    /// Say which services an early reload can hurt, by their unit files alone.
    #[command(after_help = LINT_EXAMPLES)]
    Lint(Lint),
    /// Show a saved JSON or JSON Lines report again, in any format.
    #[command(after_help = REPORT_EXAMPLES)]
    Report(Report),
    /// Try what this host allows, and say how to get what is missing.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Explain an alert or a finding: what it means, what follows, how to mend it.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
}

const RUN_EXAMPLES: &str = "\
The command's own stdout and stderr are left alone: the report goes to stderr, or to
--output. The command is started as systemd starts a service: in a session of its own,
with all signals at their defaults and NOTIFY_SOCKET set. When the trace ends first,
the command is sent SIGTERM.

Examples:
  sigready run -- gunicorn app:app
  sigready run --until exit --send HUP@50ms -- python3 service.py
  sigready run --format json --output out.json --user postgres -- ./server --fg
  sigready run --type simple --until exit --timeout 10s -- cron -f";

const TRACE_EXAMPLES: &str = "\
Ends with Ctrl-C, --duration or --until; the report is then written to stdout. Units in
containers are found by their cgroups, from outside.

Examples:
  sigready trace nginx patroni --duration 1m
  sigready trace 'postgresql@*.service' --until alert
  sigready trace --restart --reload-during-start=kill patroni
  sigready trace --user ada syncthing --until ready
  sigready trace --pid 4711 --until exit
  sigready trace --all --duration 5m --format json --output boot.json";

const LINT_EXAMPLES: &str = "\
Traces nothing and needs no privileges. Each finding comes with the drop-in that mends it,
as far as the unit alone can; after putting it there: systemctl daemon-reload.

Examples:
  sigready lint                                    every service of this host
  sigready lint patroni 'postgresql@*'
  sigready lint ./packaging/mydaemon.service
  sigready lint --user ada
  sigready lint --root /var/lib/machines/web --format json | jq -r '.units[].name'";

const REPORT_EXAMPLES: &str = "\
Examples:
  sigready report out.json
  sigready report out.jsonl --format json | jq '.services[].activations[].alerts'";

const DOCTOR_EXAMPLES: &str = "\
Exit status 0 if tracing works here, 1 if it doesn't.

Examples:
  sigready doctor
  sigready doctor --format json | jq '.checks[] | select(.status != \"ok\")'";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  sigready explain                        lists all alerts and findings
  sigready explain reload-before-handler
  sigready explain reload-not-awaited";

/// What is captured, and what becomes of it.
#[derive(Clone, Debug, Args)]
pub struct Output {
    /// The format of the report; by default 'table', or what the name of FILE says.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write the report to FILE. An existing file stays whole until the new one is.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Exit with status 3 if there is an alert of this severity or a worse one.
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    pub fail_on: FailOn,
}

/// What is captured.
#[derive(Clone, Debug, Args)]
pub struct Signals {
    /// The signal a reload sends; by default what the unit's own reload sends, if that is
    /// known, else HUP.
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    pub signal: Option<Signal>,
    /// Record what the service does on this signal too (repeatable, six at most).
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    pub record: Vec<Signal>,
    /// Room for events that wait to be read, in KiB: a power of two. More helps where a
    /// report says that events were lost.
    #[arg(long, default_value_t = 4096, value_name = "KIB", value_parser = buffer)]
    pub buffer: u32,
    /// How handlers and messages are seen: from kernel functions (fentry), which show 32-bit
    /// programs and io_uring too and cost others next to nothing, or at the syscalls
    /// (tracepoint).
    #[arg(long, value_enum, env = "SIGREADY_BACKEND", default_value_t = Backend::Auto)]
    pub backend: Backend,
}

impl Signals {
    /// The reload signal where no unit has one of its own.
    #[must_use]
    pub fn reload(&self) -> Signal {
        self.signal.unwrap_or(Signal::HUP)
    }
}

/// How handlers and messages are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The best that loads on this kernel.
    Auto,
    /// Kernel functions; fail if those for handlers or messages can't be hooked.
    Fentry,
    /// Syscall tracepoints.
    Tracepoint,
}

impl From<Backend> for backend::Wanted {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Auto => Self::Auto,
            Backend::Fentry => Self::Only(backend::Backend::Fentry),
            Backend::Tracepoint => Self::Only(backend::Backend::Tracepoint),
        }
    }
}

/// From which severity on alerts make the exit status 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Warnings and errors.
    Warning,
    /// Errors.
    Error,
    /// Nothing.
    Never,
}

impl FailOn {
    /// Whether an alert of this severity counts.
    #[must_use]
    pub fn includes(self, severity: Severity) -> bool {
        match self {
            Self::Warning => true,
            Self::Error => severity == Severity::Error,
            Self::Never => false,
        }
    }
}

/// What ends a trace before its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// READY=1 was sent.
    Ready,
    /// The main process exited.
    Exit,
    /// An alert at or above --fail-on.
    Alert,
}

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

/// Options of `trace`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true)
    .args(["units", "pid", "cgroup", "all"]))]
pub struct Trace {
    /// Units by name or glob; '.service' may be left out.
    #[arg(value_name = "UNIT")]
    pub units: Vec<String>,
    /// A process and what it starts (repeatable).
    #[arg(long, value_name = "PID")]
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
        num_args = 0..=1, default_missing_value = "systemd")]
    pub reload_during_start: Option<Reload>,
    /// Trace units of the system below this directory, such as a container's root, and ask
    /// its systemd about them. By default units of that name in any system are traced, and
    /// the systemd that keeps a unit's cgroup is found and asked.
    #[arg(long, value_name = "DIR", conflicts_with = "bus")]
    pub root: Option<PathBuf>,
    /// Trace units of this user's own systemd, by name or number.
    #[arg(long, value_name = "USER", conflicts_with_all = ["root", "bus"])]
    pub user: Option<String>,
    /// Ask systemd through this D-Bus address: unix:path=/run/dbus/system_bus_socket
    #[arg(long, value_name = "ADDRESS")]
    pub bus: Option<String>,
    /// End when this happens.
    #[arg(long, value_enum)]
    pub until: Option<Until>,
    /// End after this long: 500ms, 90s, 5m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
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
    /// The reload signal to the main process, once it is there.
    Kill,
}

/// Options of `lint`.
#[derive(Debug, Args)]
pub struct Lint {
    /// Units by name or glob, or unit files; by default every service there is.
    #[arg(value_name = "UNIT|FILE")]
    pub what: Vec<PathBuf>,
    /// Read the units of the system below this directory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Read the units that are for this user's own systemd, by name or number.
    #[arg(long, value_name = "USER", conflicts_with = "root")]
    pub user: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = LintFormat::Table)]
    pub format: LintFormat,
    /// Write the findings to FILE. An existing file stays whole until the new one is.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Exit with status 3 if there is a finding of this severity or a worse one.
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    pub fail_on: FailOn,
}

/// Formats of `lint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// A report saved with --format json or jsonl; '-' for stdin.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub output: Output,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// How to print it.
    #[arg(long, value_enum, default_value_t = DoctorFormat::Table)]
    pub format: DoctorFormat,
}

/// Formats of `doctor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The id of the alert, or of the finding; without one, all are listed.
    #[arg(value_name = "ALERT")]
    pub alert: Option<String>,
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

fn signal(text: &str) -> Result<Signal, UnknownSignal> {
    text.parse()
}

/// A ring buffer's size, as the kernel wants it (bpf(2): a power of two of pages).
fn buffer(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(size) if size.is_power_of_two() && (4..=1 << 20).contains(&size) => Ok(size),
        _ => Err("it must be a power of two from 4 to 1048576".to_owned()),
    }
}

/// A time span as people write it.
fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    jiff::SignedDuration::from_str(text)
        .ok()
        .and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| format!("'{text}' is not a time: write 50ms, 10s, 2m or '1m 30s'"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

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

    #[test]
    fn a_buffer_is_a_power_of_two() {
        assert_eq!(buffer("4096"), Ok(4096));
        for text in ["0", "2", "5000", "-4", "many", "2097152"] {
            assert!(buffer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("fast").is_err());
    }
}
