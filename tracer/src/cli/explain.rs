//! Options of `explain`.

use clap::Args;

/// Shown below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  sigready explain                        lists all alerts and findings
  sigready explain reload-before-handler
  sigready explain reload-not-awaited";

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The id of the alert, or of the finding; without one, all are listed.
    #[arg(value_name = "ALERT")]
    pub alert: Option<String>,
}
