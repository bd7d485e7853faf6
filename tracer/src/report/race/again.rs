//! The command that races one interval again.

use std::fmt::Write as _;

use crate::model::{
    race::{Interval, Race},
    signal::Signal,
    text::shell_word,
};

/// It, as a shell takes it.
pub fn again(race: &Race, signal: Signal, interval: &Interval) -> String {
    let mut line = "sigready race".to_owned();
    for option in &race.options {
        let _ = write!(line, " {}", shell_word(option));
    }
    if signal != Signal::HUP {
        let _ = write!(line, " --signal {signal}");
    }
    let _ = write!(line, " --only {}", shell_word(&interval.id));
    if race.unit.is_none() {
        line.push_str(" --");
    }
    for word in &race.command {
        let _ = write!(line, " {}", shell_word(word));
    }
    line
}
