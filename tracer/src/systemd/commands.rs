//! The commands of a unit, `ExecStart=` and its like, read for what they mean: which signals
//! they send to whom, and which program the main process becomes. What their text does not
//! tell is said to be unknown.

mod budget;
mod holds;
mod line;
mod main_process;
mod sent;
mod shell;
#[cfg(test)]
mod tests;
mod word;
mod wrapper;

pub use budget::Budget;
pub use holds::holds;
pub use line::{Command, commands};
pub use main_process::{MainProcess, Stay, main_process};
pub use sent::{Reload, Sent, SentSignal, Target, reload};
pub use word::{Piece, Word};

/// The name of the program at a path.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
