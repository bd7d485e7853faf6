//! pkill(1), killall(1) and others that look for processes.

use super::{Sender, Signals, named, pid::by_pid, sent_signal};
use crate::{
    model::signal::Signal,
    systemd::commands::{
        sent::{Match, Nobody, Target},
        word::Word,
    },
};

/// pkill(1) of procps, killall(1) of psmisc, killproc of SysV init scripts.
pub(super) fn by_name(program: &str, arguments: &[Word], sender: Sender<'_>) -> Signals {
    let mut chosen = None;
    let mut target = None;
    let mut operands = Vec::new();
    // What besides a name they are chosen by.
    let mut other = None;
    let mut rest = arguments.iter();
    let is_pkill = program == "pkill";
    // Those that change how it looks for a name.
    let mut letters = String::new();
    while let Some(word) = rest.next() {
        let start = word.start();
        match word.known() {
            Some("--") => operands.extend(rest.by_ref()),
            Some("--signal") => chosen = Some(rest.next()?.clone()),
            Some("-s") if !is_pkill => chosen = Some(rest.next()?.clone()),
            Some("-F" | "--pidfile") => {
                rest.next();
                target = Some(Target::PidFile);
            }
            Some("-p") if program == "killproc" => {
                rest.next();
                target = Some(Target::PidFile);
            }
            // Whose group or session it is.
            Some("-g" | "--pgroup" | "-s" | "--session") if is_pkill => {
                let id = rest.next()?;
                target = Some(match by_pid(id, sender) {
                    Target::Main => Target::Group,
                    other => other,
                });
            }
            // The main process's children, and not itself.
            Some("-P" | "--parent") => {
                rest.next();
                target = Some(Target::Other);
            }
            Some(
                "-u" | "-U" | "--euid" | "--uid" | "-G" | "--group" | "-t" | "--terminal"
                | "--user" | "-o" | "-y" | "-Z" | "--ns" | "--nslist" | "--cgroup" | "-O"
                | "--older" | "-r" | "--runstates",
            ) if takes_value(program, start) => {
                let value = rest.next()?;
                other.get_or_insert_with(|| value.shown());
            }
            Some("-l" | "--list" | "-V" | "--version") => return Some(Vec::new()),
            _ if start.starts_with("--signal=") => chosen = word.strip("--signal="),
            _ if start.starts_with("--pidfile=") => target = Some(Target::PidFile),
            Some("--full") => letters.push('f'),
            Some("--exact") => letters.push('x'),
            Some("--regexp" | "--ignore-case" | "--process-group") => letters.push('r'),
            _ if start.starts_with("--") => {}
            _ if start.starts_with("-F") => target = Some(Target::PidFile),
            _ if start.starts_with('-') => {
                // A signal, or letters.
                let name = word.strip("-").unwrap_or_default();
                let is_signal = match name.known() {
                    Some(text) => text.parse::<Signal>().is_ok() || text == "0",
                    None => true,
                };
                if is_signal {
                    chosen = Some(name);
                } else {
                    letters.push_str(name.known().unwrap_or_default());
                }
            }
            _ => operands.push(word),
        }
    }
    let Some(sent) = sent_signal(chosen.as_ref()) else { return Some(Vec::new()) };
    let how = if is_pkill {
        Match::of_pattern(letters.contains('f'), letters.contains('x'))
    } else if letters.contains(['r', 'I', 'g']) {
        Match::Other
    } else {
        Match::Program
    };
    let is_pid = |word: &Word| {
        word.variable() == Some("MAINPID")
            || word.known().is_some_and(|it| it.parse::<u32>().is_ok() || it.contains("$MAINPID"))
    };
    let found = |word: &Word| match word.known() {
        _ if is_pid(word) => Target::Nobody(Nobody::PidForName),
        Some(name) => named(name.to_owned(), how),
        None => Target::Unknown(word.shown()),
    };
    let targets = match (target, operands.as_slice()) {
        _ if program == "killall5" => vec![Target::Host],
        // It takes one pattern. What a variable stands for may be an option.
        (_, [.., last])
            if is_pkill && operands.iter().filter(|it| it.known().is_some()).count() > 1 =>
        {
            vec![Target::Nobody(Nobody::Refused(last.shown()))]
        }
        (target, [.., last]) if is_pkill => vec![match (target, found(last)) {
            (_, nobody @ Target::Nobody(_)) => nobody,
            (Some(target), _) | (None, target) => target,
        }],
        (Some(target), _) => vec![target],
        (None, []) => vec![match other {
            Some(other) => Target::Named(other, Match::Other),
            None => Target::Nobody(Nobody::NoName),
        }],
        (None, names) => names.iter().map(|word| found(word)).collect(),
    };
    Some(targets.into_iter().map(|target| (sent.clone(), target)).collect())
}

/// Whether an option of pkill or killall has a value in the next word.
fn takes_value(program: &str, option: &str) -> bool {
    match program {
        "pkill" => !matches!(option, "-o" | "-y" | "-Z"),
        "killall" => {
            matches!(option, "-u" | "--user" | "-o" | "-y" | "-Z" | "--ns")
        }
        _ => false,
    }
}
