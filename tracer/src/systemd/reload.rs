//! The signal that a unit's reload sends.

use super::commands::{Budget, Command, commands, reload};
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

/// What one value of `ExecReload=` runs, a command line each, and the signal that it sends to the
/// service. Specifiers stay as they are. `None` if systemd would not take the value.
#[must_use]
pub fn setting(value: &str) -> Option<(Vec<String>, Option<Signal>)> {
    let commands = commands(&[value.to_owned()], str::to_owned);
    if commands.is_empty() && !value.trim().is_empty() {
        return None;
    }
    let lines = commands.iter().map(|command| command.argv.join(" ")).collect();
    let reload = reload(&commands, None, &mut Budget::default());
    Some((lines, reload.to_service().map(|(_, signal)| signal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_command_lines_and_the_signal_that_they_send() {
        let usr2 = "USR2".parse().ok();
        let kill = |line: &str| Some((vec![line.to_owned()], usr2));
        assert_eq!(setting("-/bin/kill -USR2 $MAINPID"), kill("/bin/kill -USR2 $MAINPID"));
        assert_eq!(setting("kill -s SIGUSR2 $MAINPID"), kill("kill -s SIGUSR2 $MAINPID"));
        let nginx = "/usr/sbin/nginx -s reload";
        assert_eq!(setting(nginx), Some((vec![nginx.to_owned()], None)));
        assert_eq!(setting(""), Some((Vec::new(), None)), "there is none");
        assert_eq!(setting("kill \"-HUP"), None);
    }
}
