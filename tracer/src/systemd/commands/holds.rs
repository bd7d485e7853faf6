//! Whether `ExecStartPost=` takes time.

use super::{
    base_name,
    budget::{Budget, MAX_DEPTH},
    line::Command,
    shell::{self, When},
    word::Word,
    wrapper,
};

/// Programs that are over at once.
const INSTANT: [&str; 22] = [
    "true", "false", ":", "echo", "printf", "touch", "mkdir", "chmod", "chown", "chgrp", "rm",
    "ln", "cp", "mv", "install", "logger", "test", "[", "cd", "exit", "export", "setfacl",
];

/// Whether a program is over at once, and does nothing to a service.
pub(super) fn is_instant(name: &str) -> bool {
    const MORE: [&str; 14] = [
        "sleep", "wait", "set", "read", "cat", "ps", "pidof", "pgrep", "grep", "sync", "date",
        "shift", "unset", "return",
    ];
    INSTANT.contains(&name) || MORE.contains(&name)
}

/// Whether these commands wait: sleep, or look for something again and again. `None` if that
/// depends on the programs they run.
#[must_use]
pub fn holds(commands: &[Command], budget: &mut Budget) -> Option<bool> {
    let mut found = Some(false);
    for command in commands {
        let words: Vec<Word> = command.argv.iter().map(|word| Word::of_unit(word)).collect();
        match of(&words, budget, 0) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => found = None,
        }
    }
    found
}

fn of(words: &[Word], budget: &mut Budget, depth: usize) -> Option<bool> {
    if depth > MAX_DEPTH || !budget.takes_command() {
        return None;
    }
    if let Some((_, script)) = shell::script_of(words) {
        let script = shell::read(script, budget)?;
        if script.looks_again {
            return Some(true);
        }
        // What a loop over words runs may break it off.
        let mut found = Some(false);
        for command in script.commands.iter().filter(|command| !command.in_background) {
            match of(&command.words, budget, depth + 1) {
                Some(true) if command.when == When::Always => return Some(true),
                Some(false) => {}
                Some(true) | None => found = None,
            }
        }
        return found;
    }
    if let Some(wrapped) = wrapper::inner(words) {
        return of(&wrapped.words, budget, depth + 1);
    }
    let name = base_name(words.first()?.known()?);
    match name {
        "sleep" => Some(words.get(1)?.known()?.trim_end_matches(['s', 'm', 'h', 'd']) != "0"),
        "break" | "continue" => Some(false),
        name if INSTANT.contains(&name) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::commands::commands;

    fn waits(lines: &[&str]) -> Option<bool> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        holds(&commands(&lines, str::to_owned), &mut Budget::default())
    }

    #[test]
    fn commands_wait_by_sleeping_and_by_looking_again_and_again() {
        for (lines, expected) in [
            (&[][..], Some(false)),
            (&["/bin/true"], Some(false)),
            (&["/bin/sleep 1"], Some(true)),
            (&["/usr/bin/other"], None),
            (&["/usr/bin/other", "/bin/true"], None),
            (&["/usr/bin/other", "/bin/sleep 1"], Some(true)),
            (&["/usr/bin/env A=1 sleep 1"], Some(true)),
            (&["/usr/bin/env A=1 touch /x"], Some(false)),
            (&["/bin/sh -c 'touch /x; chmod 600 /x'"], Some(false)),
            (&["/bin/sh -c 'touch /x; other'"], None),
            (&["/bin/sh -c 'other; sleep 1'"], Some(true)),
            (&["/bin/sh -c 'sleep 1 & touch /x'"], Some(false)),
            (&["/bin/sh -c 'until test -e /x; do :; done'"], Some(true)),
            (&["/bin/sh -c 'while :; do :; done'"], Some(true)),
            (&["/bin/sh -c 'for i in 1 2; do :; done'"], Some(false)),
            (&["/bin/sh -c 'for f in a b; do touch /run/$f; done'"], Some(false)),
            (&["/bin/sh -c 'for i in 1 2; do sleep 1; done'"], None),
            (&["/bin/sh -c 'for i in 1 2; do ping -c1 x && break; done'"], None),
            (&["/bin/sh -c 'for i in 1 2; do test -e /$i && break; done'"], Some(false)),
            (&["/bin/sh -c 'for i in 1 2; do test -e /$i || continue; touch /x; done'"], {
                Some(false)
            }),
            (&["/bin/sh -c 'while read x; do touch /run/$x; done < /etc/x'"], None),
            (&["/bin/sh -c 'while read x && test -n $x; do touch /$x; done < /etc/x'"], None),
            (&["/bin/sh -c 'until test -e /x; do :; done &'"], Some(false)),
            (&["/bin/sh -c 'if test -e /x; then sleep 1; fi'"], None),
            (&["/bin/sleep 0"], Some(false)),
            (&["/bin/sleep 0.1"], Some(true)),
            (&["/bin/sleep $DELAY"], None),
            (&["/bin/sh -c 'sleep 1 | cat'"], Some(true)),
            (&["/bin/sh -c 'wait'"], None),
            (&["/bin/sh -c $SCRIPT"], None),
            (&["$PROGRAM"], None),
        ] {
            assert_eq!(waits(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_stands_too_deep_in_others_is_not_known() {
        let deep = |depth| format!("/usr/bin/{}sleep 1", "env A=1 ".repeat(depth));
        assert_eq!(waits(&[&deep(MAX_DEPTH)]), Some(true));
        assert_eq!(waits(&[&deep(MAX_DEPTH + 1)]), None);
        let in_shell = |depth| format!("/bin/sh -c '{}sleep 1'", "env A=1 ".repeat(depth));
        assert_eq!(waits(&[&in_shell(MAX_DEPTH - 1)]), Some(true));
        assert_eq!(waits(&[&in_shell(MAX_DEPTH)]), None);
    }
}
