//! The commands, at the edge: arguments in, exit status out.

mod capture;
mod child;
mod doctor;
mod explain;
mod fault;
mod lint;
mod notify_socket;
mod output;
mod privileges;
mod progress;
mod regular_file;
mod report;
mod run;
mod schedule;
mod talk;
mod trace;
mod unit_names;

use std::process::ExitCode;

use self::talk::Talk;
use crate::cli::{Cli, Command};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// No alert that counts.
    Clean,
    /// Alerts at or above `--fail-on`.
    Alerts,
}

/// Runs the command and gives its exit status (see `sigready --help`).
pub fn main(cli: &Cli) -> ExitCode {
    let talk = Talk::new(&cli.talk);
    let result = match &cli.command {
        Command::Run(options) => run::run(options, &talk),
        Command::Trace(options) => trace::run(options, &talk),
        Command::Lint(options) => lint::run(options, &talk),
        Command::Report(options) => report::run(options, &talk),
        Command::Doctor(options) => doctor::run(options, &talk),
        Command::Explain(options) => explain::run(options),
    };
    match result {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Alerts) => ExitCode::from(3),
        Err(fault) => {
            Talk::fault(&fault);
            ExitCode::from(fault.status())
        }
    }
}
