//! Options of `report`.

use std::path::PathBuf;

use clap::Args;

use super::capture::Output;

/// Shown below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  sigready report out.json
  sigready report out.json --output out.html
  sigready report out.jsonl --output out.svg --fail-on never
  sigready report out.jsonl --format json | jq '.services[].activations[].alerts'";

/// Options of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// A report saved with --format json or jsonl; '-' for stdin.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub output: Output,
}
