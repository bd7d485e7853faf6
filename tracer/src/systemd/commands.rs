//! The commands of a unit, `ExecStart=` and its like, read for what they mean: which signals
//! they send to whom, and which program the main process becomes. What their text does not
//! tell is said to be unknown.

mod budget;
mod holds;
mod initial;
mod line;
mod main_process;
mod quotes;
mod senders;
mod sent;
mod shell;
mod stop;
#[cfg(test)]
mod tests;
mod waiting;
mod word;
mod wrapper;

pub use budget::Budget;
pub use holds::holds;
pub use initial::Initial;
pub use line::{Command, commands, words};
pub use main_process::{MainProcess, Stay, main_process};
pub use sent::{Match, Nobody, Reload, Sent, SentSignal, Target, reload};
pub use shell::{When, is_shell};
pub use stop::{Stop, stop};
pub use waiting::{Takes, Waiting};
pub use word::{Piece, Word};

/// The name of the program at a path.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
