//! What the main process of `ExecStart=` becomes.

use super::{
    base_name,
    budget::Budget,
    line::Command,
    shell::{self, Script, When},
    word::Word,
    wrapper::{self, Way},
};
use crate::model::signal::Signal;

/// How deep programs may stand in others.
const MAX_DEPTH: usize = 8;

/// The main process, once the commands before it are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MainProcess {
    /// A program.
    Program {
        /// Its path or name.
        name: String,
        /// The signals that it ignores when it begins.
        ignores: Vec<Signal>,
    },
    /// A program that stays, and has others run as its children.
    Stays(Stay),
    /// It leaves the program behind and ends.
    Leaves(String),
    /// The text does not tell: why not.
    Unknown(String),
}

/// A main process that has others run what the service is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Its name: `sh`, `timeout`.
    pub by: String,
    /// Whether it is a shell.
    pub is_shell: bool,
    /// The signals that it ignores.
    pub ignores: Vec<Signal>,
    /// The signals that it has a handler for: a shell's traps.
    pub handles: Vec<Signal>,
    /// Whether systemd-notify(1) speaks for it.
    pub speaks: bool,
    /// Whether it has programs run that are no part of it.
    pub has_children: bool,
}

/// Reads the command of `ExecStart=`.
#[must_use]
pub fn main_process(command: &Command, budget: &mut Budget) -> MainProcess {
    let word = |word: &String| {
        if command.has_variables() { Word::of_unit(word) } else { Word::text(word) }
    };
    let words: Vec<Word> = command.argv.iter().map(word).collect();
    of(&words, Vec::new(), budget, 0)
}

fn of(words: &[Word], ignores: Vec<Signal>, budget: &mut Budget, depth: usize) -> MainProcess {
    let unknown = |why: &str| MainProcess::Unknown(why.to_owned());
    let Some(path) = words.first().and_then(Word::known) else {
        return unknown("its program is the value of a variable");
    };
    if depth > MAX_DEPTH || !budget.takes_command() {
        return unknown("its ExecStart= nests too deep");
    }
    if let Some((shell, script)) = shell::script_of(words) {
        return match shell::read(script, budget) {
            Some(script) => of_script(&shell, &script, &ignores, budget, depth),
            None => unknown("its ExecStart= is shell text that can't be read"),
        };
    }
    let name = base_name(path).to_owned();
    let Some(wrapped) = wrapper::inner(words) else {
        return MainProcess::Program { name: path.to_owned(), ignores };
    };
    match wrapped.way {
        Way::InPlace => {
            let ignores = [ignores, wrapped.ignores].concat();
            of(&wrapped.words, ignores, budget, depth + 1)
        }
        Way::Leaves => MainProcess::Leaves(name),
        Way::Unknown => {
            MainProcess::Unknown(format!("whether {name} stays the main process depends on it"))
        }
        Way::Waits => MainProcess::Stays(Stay {
            by: name,
            is_shell: false,
            ignores,
            handles: Vec::new(),
            speaks: false,
            has_children: true,
        }),
    }
}

fn of_script(
    shell: &str,
    script: &Script,
    inherited: &[Signal],
    budget: &mut Budget,
    depth: usize,
) -> MainProcess {
    let mut ignores = inherited.to_vec();
    let mut handles: Vec<Signal> = Vec::new();
    let mut has_other_trap = false;
    let mut may_exec = false;
    for command in &script.commands {
        match command.words.first().and_then(Word::known) {
            Some("trap") if !command.in_child && command.when == When::Always => {
                // dash knows no names with the prefix SIG.
                let is_known = |word: &&Word| {
                    !["sh", "dash"].contains(&shell) || !word.start().starts_with("SIG")
                };
                let words: Vec<Word> =
                    command.words[1..].iter().filter(is_known).cloned().collect();
                has_other_trap |= trap(&words, inherited, &mut ignores, &mut handles);
            }
            // Its text is not read.
            Some("eval") if !command.in_child => may_exec = true,
            // On EXIT, ERR, …, or perhaps.
            Some("trap") if !command.in_child => has_other_trap = true,
            Some("exec") if !command.in_child => {
                let Some(wrapped) = wrapper::inner(&command.words) else {
                    // It only redirects.
                    continue;
                };
                if command.when == When::Maybe {
                    may_exec = true;
                    continue;
                }
                // Traps end with the exec, what is ignored stays so.
                return of(&wrapped.words, ignores, budget, depth + 1);
            }
            _ => {}
        }
    }
    if may_exec {
        return MainProcess::Unknown("whether its shell executes the program depends".to_owned());
    }
    let last = script.commands.last().filter(|last| {
        last.is_last
            && !last.is_redirected
            && handles.is_empty()
            && !has_other_trap
            && !is_builtin(&last.words)
    });
    if let Some(last) = last {
        match shell {
            "bash" | "rbash" => return of(&last.words, ignores, budget, depth + 1),
            // Debian's has no such rule.
            "sh" | "dash" => {}
            _ => {
                let why = format!("{shell} may execute its last command in its own place");
                return MainProcess::Unknown(why);
            }
        }
    }
    let calls = |name: &str| {
        let programs = script.commands.iter().filter_map(|it| it.words.first()?.known());
        programs.into_iter().any(|program| base_name(program) == name)
    };
    MainProcess::Stays(Stay {
        by: shell.to_owned(),
        is_shell: true,
        ignores,
        handles,
        speaks: calls("systemd-notify"),
        has_children: script.commands.iter().any(|command| {
            let executes = command.in_child && wrapper::inner(&command.words).is_some();
            executes || !is_builtin(&command.words)
        }),
    })
}

/// `trap ACTION SIGNAL…`: an empty action ignores, `-` is the default. What was ignored when
/// the shell began stays so (POSIX, `trap`). Gives whether it is on something that is no signal.
fn trap(
    words: &[Word],
    inherited: &[Signal],
    ignores: &mut Vec<Signal>,
    handles: &mut Vec<Signal>,
) -> bool {
    let words = match words {
        [first, rest @ ..] if first.known() == Some("--") => rest,
        words => words,
    };
    let [action, names @ ..] = words else {
        return false;
    };
    let signals = names.iter().filter_map(|word| word.known()?.parse::<Signal>().ok());
    for signal in signals.filter(|signal| !inherited.contains(signal)) {
        ignores.retain(|it| *it != signal);
        handles.retain(|it| *it != signal);
        match action.known() {
            Some("") => ignores.push(signal),
            Some("-") => {}
            _ => handles.push(signal),
        }
    }
    let is_signal = |word: &Word| word.known().is_some_and(|it| it.parse::<Signal>().is_ok());
    !names.iter().all(is_signal)
}

/// What a shell runs without another process.
fn is_builtin(words: &[Word]) -> bool {
    const BUILTINS: [&str; 40] = [
        ".", ":", "[", "alias", "bg", "break", "cd", "continue", "declare", "echo", "eval", "exec",
        "exit", "export", "false", "fg", "getopts", "hash", "jobs", "kill", "let", "local",
        "printf", "pwd", "read", "readonly", "return", "set", "shift", "shopt", "source", "test",
        "times", "trap", "true", "type", "ulimit", "umask", "unset", "wait",
    ];
    words.first().and_then(Word::known).is_some_and(|name| BUILTINS.contains(&name))
}
