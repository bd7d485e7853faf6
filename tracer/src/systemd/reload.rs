//! The signal that a unit's reload sends.

use crate::model::signal::Signal;

/// The signal that one of the command lines of `ExecReload=` sends to the main process.
/// `None` if none is known to: a program may have its own way to reach the service, as
/// `nginx -s reload` does.
#[must_use]
pub fn signal(command_lines: &[Vec<String>]) -> Option<Signal> {
    command_lines.iter().find_map(|argv| of_command(argv))
}

fn of_command(argv: &[String]) -> Option<Signal> {
    let name = argv.first()?.rsplit('/').next()?;
    match name {
        "kill" | "pkill" | "killall" => of_kill(&argv[1..]),
        "sh" | "bash" | "dash" => {
            let script = argv.iter().skip_while(|word| *word != "-c").nth(1)?;
            of_script(script)
        }
        _ => None,
    }
}

/// The first `kill` among the commands of a script.
fn of_script(script: &str) -> Option<Signal> {
    script.split([';', '&', '|', '\n']).find_map(|command| {
        let words: Vec<String> = shell_words::split(command).ok()?;
        let words = words.strip_prefix(&["exec".to_owned()]).unwrap_or(&words);
        let is_shell = |word: &String| ["sh", "bash", "dash"].iter().any(|s| word.ends_with(s));
        if words.first().is_some_and(is_shell) { None } else { of_command(words) }
    })
}

/// `kill -HUP`, `-1`, `-s HUP`, `-n 1`, `--signal HUP`, `--signal=HUP`, `-SIGHUP`;
/// without any of them, TERM (kill(1)).
fn of_kill(arguments: &[String]) -> Option<Signal> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if let "-s" | "-n" | "--signal" = argument.as_str() {
            return rest.next()?.parse().ok();
        }
        if let Some(signal) = argument.strip_prefix("--signal=") {
            return signal.parse().ok();
        }
        if let Some(signal) = argument.strip_prefix("-s").and_then(|name| name.parse().ok()) {
            return Some(signal);
        }
        if let Some(signal) = argument.strip_prefix('-').and_then(|name| name.parse().ok()) {
            return Some(signal);
        }
    }
    Some(Signal::TERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<Signal> {
        signal(&[shell_words::split(line).unwrap()])
    }

    #[test]
    fn kill_names_its_signal_in_many_ways() {
        for line in [
            "/bin/kill -HUP $MAINPID",
            "/bin/kill -SIGHUP $MAINPID",
            "/bin/kill -1 $MAINPID",
            "/bin/kill -s HUP $MAINPID",
            "/bin/kill -sHUP $MAINPID",
            "/usr/bin/kill --signal HUP $MAINPID",
            "/usr/bin/kill --signal=SIGHUP $MAINPID",
            "kill -n 1 $MAINPID",
            "/usr/bin/pkill -HUP -F /run/x.pid",
            "/bin/sh -c 'test -f /x && kill -HUP $(cat /run/x.pid)'",
            "/bin/sh -c 'exec /bin/kill -s hup $MAINPID'",
        ] {
            assert_eq!(of(line), Some(Signal::HUP), "{line}");
        }
        assert_eq!(of("/bin/kill -USR2 $MAINPID"), "USR2".parse().ok());
        assert_eq!(of("/bin/kill $MAINPID"), Some(Signal::TERM));
    }

    #[test]
    fn what_reaches_the_service_in_another_way_has_no_known_signal() {
        for line in [
            "/usr/sbin/nginx -s reload",
            "/usr/sbin/apachectl graceful",
            "/bin/sh -c 'echo reload > /run/x.socket'",
            "/usr/bin/rndc reload",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
        assert_eq!(signal(&[]), None);
    }

    #[test]
    fn a_check_of_the_configuration_comes_before_the_signal() {
        let lines = [
            vec!["/usr/sbin/haproxy".to_owned(), "-c".to_owned(), "-f".to_owned()],
            vec!["/bin/kill".to_owned(), "-USR2".to_owned(), "$MAINPID".to_owned()],
        ];
        assert_eq!(signal(&lines), "USR2".parse().ok());
    }
}
