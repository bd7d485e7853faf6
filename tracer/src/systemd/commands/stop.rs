//! How the commands of `ExecStop=` end once the main process is gone.

use super::{
    base_name,
    budget::{Budget, MAX_DEPTH},
    line::Command,
    shell::{self, When},
    word::Word,
    wrapper,
};

/// How they end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Well, or there are none.
    Well,
    /// One fails: `$MAINPID` is empty, and kill(1) is given no pid.
    Fails,
    /// That depends on this program.
    Unknown(String),
}

/// Reads them. The first that fails ends them, whichever it is.
#[must_use]
pub fn stop(commands: &[Command], budget: &mut Budget) -> Stop {
    let mut found = Stop::Well;
    for command in commands.iter().filter(|command| !command.ignores_failure()) {
        let word = |word: &String| {
            if command.has_variables() { Word::of_unit(word) } else { Word::text(word) }
        };
        let words: Vec<Word> = command.argv.iter().map(word).collect();
        match of(&words, budget, 0) {
            Stop::Fails => return Stop::Fails,
            Stop::Well => {}
            unknown @ Stop::Unknown(_) => found = unknown,
        }
    }
    found
}

fn of(words: &[Word], budget: &mut Budget, depth: usize) -> Stop {
    let by = words.first().map(Word::shown).unwrap_or_default();
    let name = base_name(&by);
    let unknown = || Stop::Unknown(name.to_owned());
    if depth > MAX_DEPTH || !budget.takes_command() {
        return unknown();
    }
    if let Some((_, script)) = shell::script_of(words) {
        let Some(script) = shell::read(script, budget) else {
            return unknown();
        };
        let Some(last) = script.commands.last().filter(|it| it.is_last && !script.has_loop) else {
            return unknown();
        };
        return match (of(&last.words, budget, depth + 1), last.when) {
            (found, When::Always) => found,
            // What is before it may fail as well.
            (Stop::Fails, When::OrEnds) => Stop::Fails,
            // `… || true`
            (Stop::Well, When::OrElse | When::Maybe) => Stop::Well,
            (Stop::Unknown(program), _) => Stop::Unknown(program),
            _ => unknown(),
        };
    }
    if let Some(wrapped) = wrapper::inner(words) {
        return of(&wrapped.words, budget, depth + 1);
    }
    match name {
        "true" | ":" | "echo" | "printf" | "sleep" | "logger" => Stop::Well,
        "false" => Stop::Fails,
        "exit" if words.get(1).and_then(Word::known) == Some("0") => Stop::Well,
        "kill" if names_main_alone(&words[1..]) => Stop::Fails,
        _ => unknown(),
    }
}

/// Whether the only pid that kill(1) is given is `$MAINPID`.
fn names_main_alone(arguments: &[Word]) -> bool {
    let mut rest = arguments.iter();
    let mut has_main = false;
    while let Some(word) = rest.next() {
        if word.variable() == Some("MAINPID") {
            has_main = true;
        } else if matches!(word.known(), Some("-s" | "-n" | "--signal")) {
            rest.next();
        } else if !word.start().starts_with('-') {
            return false;
        }
    }
    has_main
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::commands::commands;

    fn of(lines: &[&str]) -> Stop {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        stop(&commands(&lines, str::to_owned), &mut Budget::default())
    }

    fn unknown(name: &str) -> Stop {
        Stop::Unknown(name.to_owned())
    }

    #[test]
    fn kill_without_a_main_process_fails_and_others_are_not_known() {
        for (lines, expected) in [
            (&[][..], Stop::Well),
            (&["/bin/kill -TERM $MAINPID"], Stop::Fails),
            (&["/bin/kill ${MAINPID}"], Stop::Fails),
            (&["/bin/kill -s INT $MAINPID"], Stop::Fails),
            (&["-/bin/kill -TERM $MAINPID"], Stop::Well),
            (&["/bin/false"], Stop::Fails),
            (&["/bin/true", "/bin/sleep 1"], Stop::Well),
            (&["/usr/sbin/nginx -s quit"], unknown("nginx")),
            (&["/usr/sbin/nginx -s quit", "/bin/kill $MAINPID"], Stop::Fails),
            (&["/bin/kill -TERM 17"], unknown("kill")),
            (&["/bin/sh -c 'kill $MAINPID'"], Stop::Fails),
            (&["/bin/sh -c 'sync; kill $MAINPID'"], Stop::Fails),
            (&["/bin/sh -c 'sync && kill $MAINPID'"], Stop::Fails),
            (&["/bin/sh -c 'kill $MAINPID || true'"], Stop::Well),
            (&["/bin/sh -c 'kill $MAINPID; true'"], Stop::Well),
            (&["/bin/sh -c 'while kill -0 $MAINPID; do sleep 1; done'"], unknown("sh")),
            (&["/bin/sh -c 'until false; do sleep 1; done; true'"], unknown("sh")),
            (&["/bin/sh -c 'kill $MAINPID &'"], unknown("sh")),
            (&["/bin/sh -c 'test -e /x && nginx -s quit'"], unknown("nginx")),
            (&["/bin/sh -c 'sync; exit 0'"], Stop::Well),
            (&["/bin/sh -c 'sync; exit 1'"], unknown("exit")),
            (&["/usr/bin/timeout 5 kill $MAINPID"], Stop::Fails),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_stands_too_deep_in_others_is_not_known() {
        let wrapped = |depth: usize| format!("{}kill $MAINPID", "env A=1 ".repeat(depth));
        let deep = |depth| of(&[&format!("/usr/bin/{}", wrapped(depth))]);
        assert_eq!((deep(MAX_DEPTH), deep(MAX_DEPTH + 1)), (Stop::Fails, unknown("kill")));
        let in_shell = |depth| of(&[&format!("/bin/sh -c '{}'", wrapped(depth))]);
        assert_eq!((in_shell(MAX_DEPTH - 1), in_shell(MAX_DEPTH)), (Stop::Fails, unknown("kill")));
    }
}
