//! Options of `doctor`.

use clap::{Args, ValueEnum};

/// Shown below the options.
pub(super) const EXAMPLES: &str = "\
Exit status 0 if tracing works here, 1 if it doesn't.

Examples:
  sigready doctor
  sigready doctor --format json | jq '.checks[] | select(.status != \"ok\")'";

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
