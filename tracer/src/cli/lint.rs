//! Options of `lint`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::capture::FailOn;

/// Shown below the options.
pub(super) const EXAMPLES: &str = "\
Traces nothing and needs no privileges. What the text of a unit does not tell is listed as
not told, and never guessed. With --running it looks at live main processes instead (as root,
to see whose they are): which would die if they were reloaded now, or lose the reload. Each finding comes with the drop-in that mends it,
as far as the unit alone can; after putting it there: systemctl daemon-reload.

Examples:
  sigready lint                                    every service of this host
  sigready lint patroni 'postgresql@*'
  sigready lint ./packaging/mydaemon.service
  sigready lint --running                          what a reload would do now
  sigready lint --user ada
  sigready lint --root /var/lib/machines/web --format json | jq -r '.units[].name'";

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
    /// Look at services that run, and not at files: what their reload signals would do now.
    #[arg(long, conflicts_with = "root")]
    pub running: bool,
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
