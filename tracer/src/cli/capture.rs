//! Options of every command that captures: what, and what becomes of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sigready::{
    model::{document::Severity, signal::Signal},
    probe::backend,
    report::Format,
    session::{self, Wanted},
};

use super::values::{buffer, catchable};

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
    #[arg(long, value_name = "SIGNAL", value_parser = catchable,
        allow_negative_numbers = true)]
    pub signal: Option<Signal>,
    /// Record what the service does on this signal too (repeatable, six at most).
    #[arg(long, value_name = "SIGNAL", value_parser = catchable,
        allow_negative_numbers = true)]
    pub record: Vec<Signal>,
    /// Room for events that wait to be read, in KiB: a power of two. More helps where a
    /// report says that events were lost.
    #[arg(long, default_value_t = 2048, value_name = "KIB", value_parser = buffer,
        allow_negative_numbers = true)]
    pub buffer: u32,
    /// How handlers and messages are seen: from kernel functions (fentry), which show 32-bit
    /// programs and io_uring too and cost others next to nothing, or at the syscalls
    /// (tracepoint).
    #[arg(long, value_enum, env = "SIGREADY_BACKEND", default_value_t = Backend::Auto)]
    pub backend: Backend,
}

impl From<&Signals> for Wanted {
    fn from(options: &Signals) -> Self {
        Self {
            signal: options.signal,
            record: options.record.clone(),
            buffer: options.buffer,
            backend: options.backend.into(),
        }
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
    /// The least severity that counts, if any does.
    #[must_use]
    pub fn least(self) -> Option<Severity> {
        match self {
            Self::Warning => Some(Severity::Warning),
            Self::Error => Some(Severity::Error),
            Self::Never => None,
        }
    }

    /// Whether an alert of this severity counts.
    #[must_use]
    pub fn includes(self, severity: Severity) -> bool {
        self.least().is_some_and(|least| severity >= least)
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

impl Until {
    /// The same, with the alerts that count.
    #[must_use]
    pub fn counting(self, fail_on: FailOn) -> session::Until {
        match self {
            Self::Ready => session::Until::Ready,
            Self::Exit => session::Until::Exit,
            Self::Alert => session::Until::Alert(fail_on.least()),
        }
    }
}
