//! Whether `ExecStartPost=` takes time.

use super::{base_name, budget::Budget, line::Command, shell, word::Word, wrapper};

/// Programs that are over at once.
const INSTANT: [&str; 22] = [
    "true", "false", ":", "echo", "printf", "touch", "mkdir", "chmod", "chown", "chgrp", "rm",
    "ln", "cp", "mv", "install", "logger", "test", "[", "cd", "exit", "export", "setfacl",
];

/// How deep programs may stand in others.
const MAX_DEPTH: usize = 6;

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
        if script.has_loop {
            return Some(true);
        }
        let mut found = Some(false);
        for command in script.commands.iter().filter(|command| !command.in_child) {
            match of(&command.words, budget, depth + 1) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => found = None,
            }
        }
        return found;
    }
    if let Some(wrapped) = wrapper::inner(words) {
        return of(&wrapped.words, budget, depth + 1);
    }
    let name = base_name(words.first()?.known()?);
    match name {
        "sleep" | "wait" => Some(true),
        name if INSTANT.contains(&name) => Some(false),
        _ => None,
    }
}
