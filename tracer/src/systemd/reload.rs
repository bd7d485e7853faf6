//! The signal that a unit's reload sends.

use super::commands::{Budget, Command, reload};
use crate::model::signal::Signal;

/// The signal that the command lines of `ExecReload=` send to the service, each a program and
/// its arguments as systemd keeps them. `None` if none is known to: a program may have its
/// own way to reach the service, as `nginx -s reload` does.
#[must_use]
pub fn signal(command_lines: &[Vec<String>]) -> Option<Signal> {
    let command = |argv: &Vec<String>| Command { prefixes: String::new(), argv: argv.clone() };
    let commands: Vec<Command> = command_lines.iter().map(command).collect();
    let reload = reload(&commands, None, &mut Budget::default());
    reload.to_service().map(|(_, signal)| signal)
}
