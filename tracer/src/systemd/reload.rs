//! The signal that a unit's reload sends.

use super::commands::{Budget, Command, commands, reload};
use crate::model::{signal::Signal, text::Outside};

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

/// What one value of `ExecReload=` does.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// What it runs, a command line each.
    pub command_lines: Vec<String>,
    /// The signal that it sends to the service, if it is known to send one.
    pub signal: Option<Signal>,
    /// What can't be told of it, in words that quote it.
    pub unknown: Option<Outside>,
}

/// What one value of `ExecReload=` does. Specifiers stay as they are. `None` if systemd would not
/// take the value.
#[must_use]
pub fn setting(value: &str) -> Option<Setting> {
    let commands = commands(&[value.to_owned()], str::to_owned);
    if commands.is_empty() && !value.trim().is_empty() {
        return None;
    }
    let reload = reload(&commands, None, &mut Budget::default());
    Some(Setting {
        command_lines: commands.iter().map(|command| command.argv.join(" ")).collect(),
        signal: reload.to_service().map(|(_, signal)| signal),
        unknown: reload.unknown().first().map(Outside::quoting),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_command_lines_and_the_signal_that_they_send() {
        let usr2 = "USR2".parse().ok();
        let is = |line: &str, signal| {
            let command_lines = if line.is_empty() { vec![] } else { vec![line.to_owned()] };
            Some(Setting { command_lines, signal, unknown: None })
        };
        let kill = |line: &str| is(line, usr2);
        assert_eq!(setting("-/bin/kill -USR2 $MAINPID"), kill("/bin/kill -USR2 $MAINPID"));
        assert_eq!(setting("kill -s SIGUSR2 $MAINPID"), kill("kill -s SIGUSR2 $MAINPID"));
        let nginx = "/usr/sbin/nginx -s reload";
        let what = "what its reload does: it runs nginx".to_owned();
        let told = setting(nginx).unwrap();
        assert_eq!((told.signal, told.unknown), (None, Some(Outside::quoting(&what))));
        assert_eq!(setting(""), is("", None), "there is none");
        assert_eq!(setting("kill \"-HUP"), None);
        for (line, is_unknown) in [
            ("kill -s NOPE $MAINPID", true),
            ("kill -99 $MAINPID", true),
            // systemd puts a variable in the place of a whole word alone: this kill fails.
            ("kill -$SIGNAL $MAINPID", false),
        ] {
            let Setting { signal, unknown, .. } = setting(line).unwrap();
            assert_eq!(signal, None, "{line}");
            let told = unknown.map(|it| it.to_string());
            assert_eq!(told.is_some_and(|it| it.contains("which signal")), is_unknown, "{line}");
        }
        let long = format!("kill -{} $MAINPID", "A".repeat(100_000));
        let unknown = setting(&long).unwrap().unknown.unwrap().to_string();
        assert_eq!(unknown.chars().count(), Outside::LONGEST);
    }
}
