//! The commands, at the edge: arguments in, exit status out.

mod doctor;
mod explain;
mod fault;
mod given_command;
mod lint;
mod live;
mod messages;
mod output;
mod progress;
mod race;
mod regular_file;
mod report;
mod run;
mod stderr;
mod trace;
mod unit_names;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;

use self::{fault::Fault, messages::Messages};
use crate::cli::{Cli, Color, Command, refusal};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// No alert that counts.
    Clean,
    /// Alerts at or above `--fail-on`.
    Alerts,
}

/// Says why a command line can't be taken, or shows the help or the version that it asks for.
pub fn refused(error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    let text = refusal(error, messages::paints(&io::stderr(), Color::Auto));
    let _ = stderr::Messages.write_all(text.as_bytes());
    ExitCode::from(2)
}

/// Runs the command and gives its exit status (see `sigready --help`).
pub fn main(cli: &Cli) -> ExitCode {
    // A write beyond the limit of a file's size is to fail and not to end the process.
    // SAFETY: no handler is set. The command that `run` starts has every signal at its default.
    unsafe { nix::libc::signal(nix::libc::SIGXFSZ, nix::libc::SIG_IGN) };
    let messages = Messages::new(&cli.verbosity);
    let result = match &cli.command {
        Command::Run(options) => run::run(options, &messages),
        Command::Trace(options) => trace::run(options, &messages),
        Command::Race(options) => race::run(options, &messages),
        Command::Lint(options) => lint::run(options, &messages),
        Command::Report(options) => report::run(options, &messages),
        Command::Doctor(options) => doctor::run(options, &messages),
        Command::Explain(options) => explain::run(options),
    };
    match result {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Alerts) => ExitCode::from(3),
        Err(fault) => {
            Messages::fault(&fault);
            ExitCode::from(fault.status())
        }
    }
}

/// A time span in ns, as timelines count.
fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs a session in an event loop of its own. What still runs beside it at its end, such as a
/// read that never returns, is left to the end of the process.
fn in_event_loop<T>(session: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let result = runtime.block_on(session);
    runtime.shutdown_background();
    result
}
