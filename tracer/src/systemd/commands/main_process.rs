//! What the main process of `ExecStart=` becomes.

use super::{
    base_name,
    budget::Budget,
    initial::Initial,
    line::Command,
    shell::{self, Script, Simple},
    waiting::{Takes, Waiting},
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
        /// What signals do to it when it begins.
        initial: Initial,
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
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Stay {
    /// Its name: `sh`, `timeout`.
    pub by: String,
    /// Whether it is a shell.
    pub is_shell: bool,
    /// What it does with signals that it has neither ignored nor a trap for.
    pub waiting: Waiting,
    /// The signals that it ignores or blocks.
    pub ignores: Vec<Signal>,
    /// The signals that it has a handler for: a shell's traps.
    pub handles: Vec<Signal>,
    /// Those that it perhaps has a handler for, or ignores.
    pub may_handle: Vec<Signal>,
    /// Whether it waits for a program in the foreground, so that traps wait too.
    pub defers_traps: bool,
    /// Whether systemd-notify(1) speaks for it.
    pub speaks: bool,
    /// Whether it has programs run that are no part of it.
    pub has_children: bool,
}

impl Stay {
    /// What becomes of a signal that is sent to it.
    #[must_use]
    pub fn takes(&self, signal: Signal) -> Takes {
        if self.may_handle.contains(&signal) {
            Takes::Unknown
        } else if self.handles.contains(&signal) {
            Takes::Handled
        } else if self.ignores.contains(&signal) {
            Takes::Lost
        } else {
            self.waiting.takes(signal)
        }
    }
}

/// Reads the command of `ExecStart=`.
#[must_use]
pub fn main_process(command: &Command, budget: &mut Budget) -> MainProcess {
    let word = |word: &String| {
        if command.has_variables() { Word::of_unit(word) } else { Word::text(word) }
    };
    let words: Vec<Word> = command.argv.iter().map(word).collect();
    of(&words, Initial::default(), budget, 0)
}

fn of(words: &[Word], initial: Initial, budget: &mut Budget, depth: usize) -> MainProcess {
    let unknown = |why: &str| MainProcess::Unknown(why.to_owned());
    let Some(path) = words.first().and_then(Word::known) else {
        return unknown("its program is the value of a variable");
    };
    if depth > MAX_DEPTH || !budget.takes_command() {
        return unknown("its ExecStart= nests too deep");
    }
    if let Some((shell, script)) = shell::script_of(words) {
        return match shell::read(script, budget) {
            Some(script) => of_script(&shell, &script, initial, budget, depth),
            None => unknown("its ExecStart= is shell text that can't be read"),
        };
    }
    let name = base_name(path).to_owned();
    let Some(wrapped) = wrapper::inner(words) else {
        return MainProcess::Program { name: path.to_owned(), initial };
    };
    match wrapped.way {
        Way::InPlace => {
            // busybox is its own shell, and executes the last command in its own place.
            let initial = wrapped.changes.iter().fold(initial, Initial::after);
            let mut words = wrapped.words;
            if name == "busybox" && words[0].known() == Some("sh") {
                words[0] = Word::text("ash");
            }
            of(&words, initial, budget, depth + 1)
        }
        Way::Leaves => MainProcess::Leaves(name),
        Way::Unknown => {
            MainProcess::Unknown(format!("whether {name} stays the main process depends on it"))
        }
        Way::Waits => MainProcess::Stays(Stay {
            by: name,
            is_shell: false,
            // A program's own handlers come after what it inherits.
            ignores: match wrapped.waiting {
                Waiting::Plain => [initial.ignores, initial.blocks].concat(),
                _ => Vec::new(),
            },
            waiting: wrapped.waiting,
            handles: Vec::new(),
            may_handle: Vec::new(),
            defers_traps: false,
            speaks: false,
            has_children: true,
        }),
    }
}

fn of_script(
    shell: &str,
    script: &Script,
    initial: Initial,
    budget: &mut Budget,
    depth: usize,
) -> MainProcess {
    let inherited = &initial.ignores;
    let mut ignores = inherited.clone();
    let mut may_handle: Vec<Signal> = Vec::new();
    let mut handles: Vec<Signal> = Vec::new();
    let mut has_other_trap = false;
    let mut may_exec = false;
    for command in &script.commands {
        match command.words.first().and_then(Word::known) {
            Some("trap") if !command.in_child => {
                // dash knows no names with the prefix SIG.
                let is_known = |word: &&Word| {
                    !["sh", "dash"].contains(&shell) || !word.start().starts_with("SIG")
                };
                let words: Vec<Word> =
                    command.words[1..].iter().filter(is_known).cloned().collect();
                if command.when.is_sure() {
                    has_other_trap |= trap(&words, inherited, &mut ignores, &mut handles);
                } else {
                    has_other_trap = true;
                    may_handle
                        .extend(words.iter().filter_map(|it| it.known()?.parse::<Signal>().ok()));
                }
            }
            // Its text is not read.
            Some("eval") if !command.in_child => may_exec = true,
            Some("exec") if !command.in_child => {
                let Some(wrapped) = wrapper::inner(&command.words) else {
                    // It only redirects.
                    continue;
                };
                if !command.when.is_sure() {
                    may_exec = true;
                    continue;
                }
                if !may_handle.is_empty() {
                    return MainProcess::Unknown(
                        "whether its shell ignores signals first depends".to_owned(),
                    );
                }
                // Traps end with the exec, what is ignored stays so.
                let initial = Initial { ignores, blocks: initial.blocks };
                let initial = wrapped.changes.iter().fold(initial, Initial::after);
                return of(&wrapped.words, initial, budget, depth + 1);
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
            "bash" | "rbash" | "ash" => {
                let initial = Initial { ignores, blocks: initial.blocks };
                return of(&last.words, initial, budget, depth + 1);
            }
            // Debian's has no such rule.
            "sh" | "dash" => {}
            _ => {
                let why = format!("{shell} may execute its last command in its own place");
                return MainProcess::Unknown(why);
            }
        }
    }
    if leaves(script) {
        return MainProcess::Leaves(shell.to_owned());
    }
    let has_background = script.commands.iter().any(|it| it.in_background);
    let calls = |name: &str| {
        let programs = script.commands.iter().filter_map(|it| it.words.first()?.known());
        programs.into_iter().any(|program| base_name(program) == name)
    };
    MainProcess::Stays(Stay {
        by: shell.to_owned(),
        is_shell: true,
        waiting: Waiting::Plain,
        ignores: [ignores, initial.blocks].concat(),
        handles,
        may_handle,
        defers_traps: !script.has_loop
            && !has_background
            && script.commands.iter().any(|it| !is_builtin(&it.words)),
        speaks: calls("systemd-notify"),
        // By an `exec`, too: one in the shell's own place would have left no shell.
        has_children: script
            .commands
            .iter()
            .any(|it| !is_builtin(&it.words) || wrapper::inner(&it.words).is_some()),
    })
}

/// Whether the shell ends at once, and leaves behind what it runs in the background.
fn leaves(script: &Script) -> bool {
    let waits = |it: &Simple| {
        let name = it.words.first().and_then(Word::known);
        !is_builtin(&it.words)
            || matches!(name, Some("wait" | "read" | "eval" | "." | "source" | "exec" | "fg"))
    };
    let after = script.commands.iter().rposition(|it| it.in_background);
    !script.has_loop && after.is_some_and(|at| !script.commands[at + 1..].iter().any(waits))
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
