//! Options of `race`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::Args;
use sigready::{
    model::{race as model, signal::Signal},
    report::race::RaceFormat,
};

use super::{
    capture::Backend,
    run::ServiceType,
    values::{duration, settle, signal},
};

/// Shown below the options.
pub(super) const EXAMPLES: &str = "\
The command is started once untouched, and then once for each interval between two steps of
its start (fork, exec, handlers, masks, messages), with the signal sent by the kernel inside
of that interval; right after the exits of its helpers, too; and by sigready once the start is
over and at rest. What it leaves running is killed after each run. Its output is thrown away;
with -v its stderr is shown. A unit (--unit) is stopped and started through its systemd instead.

What is right: HUP and --reload-signal are to be taken, or refused without harm. TERM, INT and
QUIT are to end it, with exit code 0 or by the signal. Every other signal is to do no harm.

Exit status: 0 all is right; 1 not all could be tested; 2 the command line can't be carried
out; 3 an instant is bad that a reload reaches (--strict: any instant).

Examples:
  sigready race -- ./server --fg
  sigready race --signal HUP --signal TERM --type simple -- python3 service.py
  sigready race --strict --format junit --output race.xml -- ./server --fg
  sigready race --sweep 20 --output race.html -- ./server --fg
  sigready race --between 'rm -rf /tmp/data' --user ada -- ./server --data /tmp/data
  sigready race --only HUP@exec1 --repeat 5 -- ./server --fg
  sigready race --jobs 4 --sweep 20 -- ./server --fg
  sigready race --unit daemon.service --yes --format junit --output race.xml
  sigready race --unit daemon.service --root /var/lib/machines/web --yes
  sigready race --unit daemon.service --by reload --yes
  sigready race --by kill --sweep 20 --reload-signal USR2 -- ./server --fg";

/// Options of `race`.
#[derive(Debug, Args)]
pub struct RaceOptions {
    /// The signal to place (repeatable; by default HUP).
    #[arg(long = "signal", value_name = "SIGNAL", value_parser = signal,
        allow_negative_numbers = true)]
    pub signals: Vec<Signal>,
    /// The signal that reloads (repeatable): it is to be taken, or refused without harm, as HUP
    /// is. Without --signal it is the one that is placed.
    #[arg(long = "reload-signal", value_name = "SIGNAL", value_parser = signal,
        allow_negative_numbers = true)]
    pub reload_signals: Vec<Signal>,
    /// Who sends the signal: the kernel, at the very instant; or sigready by kill(2), to the
    /// process that the kernel stops at that instant and that then goes on; or systemd, which is
    /// asked to reload the unit meanwhile (with --unit).
    #[arg(long, value_enum, default_value_t = SignalSource::Kernel, value_name = "WHO")]
    pub by: SignalSource,
    /// Race so many instants, too, spread evenly over the system calls of the start: what does
    /// the program do with a signal that it takes when it is half set up?
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000),
        allow_negative_numbers = true)]
    pub sweep: u16,
    /// Race this unit: it is stopped and started through systemd, for each interval, and in the end
    /// it is as it was found. Its settings say what type it is, and which signal reloads it. Of one
    /// with Type=forking the main process is the one that systemd takes for that.
    #[arg(long, value_name = "NAME",
        conflicts_with_all = ["service_type", "command"], required_unless_present = "command")]
    pub unit: Option<String>,
    /// The unit is one of the system that runs in the container with this root directory.
    #[arg(long, value_name = "DIR", requires = "unit", conflicts_with = "user")]
    pub root: Option<PathBuf>,
    /// Do not ask before the unit is stopped. Needed where nobody can be asked: not on a terminal.
    #[arg(short, long, requires = "unit")]
    pub yes: bool,
    /// How systemd would start it. It sends reloads to a 'simple' service from the fork on, and
    /// to the others once they have said READY=1.
    #[arg(long = "type", value_enum, default_value_t = ServiceType::Notify, value_name = "TYPE")]
    pub service_type: ServiceType,
    /// Count every instant, and not only those that a reload through systemd reaches.
    #[arg(long)]
    pub strict: bool,
    /// Race this interval alone, by the id that the report has for it.
    #[arg(long, value_name = "ID")]
    pub only: Option<String>,
    /// Race in so many processes at a time, each with starts of its own: ports and files of the
    /// command have to allow for that.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["unit", "only"],
        value_parser = clap::value_parser!(u16).range(1..=64),
        allow_negative_numbers = true)]
    pub jobs: u16,
    /// Only see which intervals there are: what such a process is started with.
    #[arg(long, hide = true)]
    pub plan: bool,
    /// Race these intervals alone, as far as there are such: the same.
    #[arg(long = "share", hide = true, value_name = "ID")]
    pub share: Vec<String>,
    /// Race each interval so often: an outcome that is not always the same is told.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000),
        allow_negative_numbers = true)]
    pub repeat: u16,
    /// The longest that a run may take. One in which the signal was placed has no longer than
    /// three times as long as the untouched one, and 5 s.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = limit,
        allow_hyphen_values = true)]
    pub timeout: Duration,
    /// How long a service that does not say READY=1 has to change nothing for its start to be
    /// over.
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = settle,
        allow_hyphen_values = true)]
    pub quiet_time: Duration,
    /// How long the command must still be there after the signal.
    #[arg(long, default_value = "500ms", value_name = "TIME", value_parser = settle,
        allow_hyphen_values = true)]
    pub settle: Duration,
    /// Run this in a shell between two runs: what a run leaves in files can be put back by it.
    #[arg(long, value_name = "COMMAND")]
    pub between: Option<String>,
    /// Run the command as this user, with that user's groups, as for 'run'; with --unit: the unit
    /// is one of this user's own systemd.
    #[arg(short, long)]
    pub user: Option<String>,
    /// How handlers and messages are seen, as for 'run'.
    #[arg(long, value_enum, env = "SIGREADY_BACKEND", default_value_t = Backend::Auto)]
    pub backend: Backend,
    /// The format of the report; by default 'table', or what the name of FILE says.
    #[arg(long, value_enum)]
    pub format: Option<RaceFormat>,
    /// Write the report to FILE. An existing file stays whole until the new one is.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Who sends the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SignalSource {
    /// The kernel
    Kernel,
    /// sigready, by kill(2)
    Kill,
    /// systemd, by a reload of the unit
    Reload,
}

impl From<SignalSource> for model::By {
    fn from(by: SignalSource) -> Self {
        match by {
            SignalSource::Kernel => Self::Kernel,
            SignalSource::Kill => Self::Kill,
            SignalSource::Reload => Self::Reload,
        }
    }
}

/// Times that are used where none are named.
pub struct Usual {
    /// `--timeout`
    pub timeout: Duration,
    /// `--quiet-time`
    pub quiet: Duration,
    /// `--settle`
    pub settle: Duration,
}

impl RaceOptions {
    /// The default of each.
    pub const USUAL: Usual = Usual {
        timeout: Duration::from_secs(30),
        quiet: Duration::from_secs(2),
        settle: Duration::from_millis(500),
    };
}

/// The longest that a run may take.
fn limit(text: &str) -> Result<Duration, String> {
    let span = duration(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_hours(1);
    if allowed.contains(&span) { Ok(span) } else { Err("it must be from 100ms to 1h".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_usual_times_are_those_of_the_options() {
        let cli = Cli::try_parse_from(["sigready", "race", "--", "true"]).unwrap();
        let Command::Race(race) = cli.command else { panic!("another command") };
        let Usual { timeout, quiet, settle } = RaceOptions::USUAL;
        assert_eq!([race.timeout, race.quiet_time, race.settle], [timeout, quiet, settle]);
    }

    #[test]
    fn a_run_takes_from_a_tenth_of_a_second_to_an_hour() {
        assert_eq!(limit("90s"), Ok(Duration::from_secs(90)));
        for text in ["0", "99ms", "61m", "soon"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
