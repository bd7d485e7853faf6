//! The command line: every option is defined here, once, with its help.

mod capture;
mod doctor;
mod explain;
mod lint;
#[cfg(test)]
mod printed;
mod race;
mod refusal;
mod report;
mod run;
mod trace;
mod values;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::{
    capture::{FailOn, Output, Until},
    doctor::{Doctor, DoctorFormat},
    explain::Explain,
    lint::{Lint, LintFormat},
    race::{RaceOptions, SignalSource},
    refusal::refusal,
    report::Report,
    run::{Run, ServiceType},
    trace::Trace,
};

/// Exit statuses, as `--help` lists them.
const STATUSES: &str = "\
Exit status:
  0  no alert at or above --fail-on; no bad instant of a race
  1  sigready itself failed
  2  the command line can't be carried out: wrong syntax, or it names something that
     does not exist
  3  alerts, or a bad instant of a race";

const EXAMPLES: &str = "\
Examples:
  sigready doctor                                  what this host allows
  sigready run -- /usr/sbin/mydaemon -f            was it ready for its signals?
  sigready run --send HUP@50ms -- ./mydaemon       what would an early reload do?
  sigready trace patroni.service --duration 30s    watch a unit while it restarts
  sigready race -- ./mydaemon --fg                 at which instants does a reload kill?
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
    pub verbosity: Verbosity,
}

/// How much is said on stderr, and in what colours.
#[derive(Clone, Debug, Args)]
pub struct Verbosity {
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
    #[command(after_help = run::EXAMPLES)]
    Run(Run),
    /// Trace services on this host.
    #[command(after_help = trace::EXAMPLES)]
    Trace(Trace),
    /// Start a command again and again, with a signal at every instant of its start.
    #[command(after_help = race::EXAMPLES)]
    Race(RaceOptions),
    /// Say which services an early reload can hurt, by their unit files alone.
    #[command(after_help = lint::EXAMPLES)]
    Lint(Lint),
    /// Show a saved JSON or JSON Lines report again, in any format.
    #[command(after_help = report::EXAMPLES)]
    Report(Report),
    /// Try what this host allows, and say how to get what is missing.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(Doctor),
    /// Explain an alert or a finding: what it means, what follows, how to mend it.
    #[command(after_help = explain::EXAMPLES)]
    Explain(Explain),
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
    fn what_is_below_zero_is_refused_as_the_value_that_it_is() {
        let lines = [
            "run --timeout -1s -- true",
            "run --settle -5ms -- true",
            "run --signal -1 -- true",
            "run --buffer -4 -- true",
            "trace --duration -1h x",
            "trace --pid -1",
            "race --sweep -1 -- true",
            "race --repeat -1 -- true",
            "race --jobs -2 -- true",
            "race --timeout -1s -- true",
        ];
        for line in lines {
            let words = std::iter::once("sigready").chain(line.split(' '));
            let error = Cli::try_parse_from(words).unwrap_err().to_string();
            let value = line.split(' ').nth(2).unwrap();
            assert!(error.contains(&format!("invalid value '{value}' for")), "{line}: {error}");
        }
    }
}
