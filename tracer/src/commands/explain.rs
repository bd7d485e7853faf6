//! `sigready explain`: a rule in full.

use std::io::stdout;

use sigready::explain;

use super::{Verdict, fault::Fault, output};
use crate::cli::Explain;

/// Runs the command.
pub fn run(options: &Explain) -> Result<Verdict, Fault> {
    let text = match &options.alert {
        Some(id) => explain::text(id).map_err(Fault::usage)?,
        None => explain::list(),
    };
    output::print(&text, stdout().lock())?;
    Ok(Verdict::Clean)
}
