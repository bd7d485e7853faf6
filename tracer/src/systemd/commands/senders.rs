//! Programs that send signals: kill(1), pkill(1), killall(1), start-stop-daemon(8), systemctl(1).

use super::{
    base_name,
    sent::{Match, Nobody, SentSignal, Target},
    word::{Piece, Word},
};
use crate::model::signal::Signal;

/// Who sends, and where.
#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    /// The unit's own name, where it is known.
    pub unit: Option<&'a str>,
    /// The shell that runs it itself.
    pub shell: Option<&'a str>,
}

/// What a command line sends; `None` if its program is none that sends signals.
pub(super) fn sends(name: &str, arguments: &[Word], sender: Sender<'_>) -> Signals {
    match name {
        "kill" if matches!(sender.shell, Some("sh" | "dash")) => {
            Some(kill_of_dash(arguments, sender))
        }
        "kill" => kill(arguments, sender),
        "pkill" | "killall" | "killall5" | "skill" | "killproc" => by_name(name, arguments, sender),
        "start-stop-daemon" => start_stop_daemon(arguments, sender),
        "systemctl" => systemctl(arguments, sender.unit),
        _ => None,
    }
}

/// Whether a word is passed on as it is written, though it is meant for a value.
fn is_literal(word: &str) -> bool {
    // With a minus it is meant for a group.
    let id = word.strip_prefix('-').unwrap_or(word);
    word.contains("$MAINPID") || id.starts_with("$(") || id.starts_with('`')
}

/// The kill of dash (`killcmd` in its src/jobs.c): a signal without SIG, as `-NAME` or after `-s`,
/// then pids, of which the first that is none ends it.
fn kill_of_dash(arguments: &[Word], sender: Sender<'_>) -> Vec<(SentSignal, Target)> {
    let term = SentSignal::Known(Signal::TERM);
    let refused = |sent: Option<SentSignal>, word: &Word| {
        let sent = sent.unwrap_or_else(|| SentSignal::Unknown(word.shown()));
        vec![(sent, Target::Nobody(Nobody::Refused(word.shown())))]
    };
    let is_name = |word: &Word| {
        let name = word.known().map(str::to_ascii_uppercase);
        name.is_none_or(|it| it == "0" || !it.starts_with("SIG") && it.parse::<Signal>().is_ok())
    };
    let mut rest = arguments;
    let mut chosen = None;
    if let [first, after @ ..] = rest
        && let Some(name) = first.strip("-").filter(|name| !name.0.is_empty())
        && first.known() != Some("--")
    {
        // A letter is an option, but for those of a signal.
        if is_name(&name) {
            (chosen, rest) = (Some(name), after);
        } else if first.known() == Some("-l") {
            return Vec::new();
        } else if let Some(attached) = first.strip("-s") {
            let named =
                if attached.0.is_empty() { after.first().cloned() } else { Some(attached.clone()) };
            let skipped = usize::from(attached.0.is_empty());
            let Some(named) = named.filter(is_name) else {
                return refused(None, first);
            };
            (chosen, rest) = (Some(named), after.get(skipped..).unwrap_or_default());
            match rest {
                [dashes, after @ ..] if dashes.known() == Some("--") => rest = after,
                [group, ..] if group.start().starts_with('-') => {
                    return refused(chosen.as_ref().and_then(signal), group);
                }
                _ => {}
            }
        } else {
            return refused(None, first);
        }
    } else if let [dashes, after @ ..] = rest
        && dashes.known() == Some("--")
    {
        rest = after;
    }
    let sent = match &chosen {
        Some(word) => match signal(word) {
            Some(sent) => sent,
            None => return Vec::new(),
        },
        None => term,
    };
    if rest.is_empty() {
        return vec![(sent, Target::Nobody(Nobody::NoPid))];
    }
    let mut found = Vec::new();
    for word in rest {
        let is_pid = word.known().is_none_or(|it| {
            let id = it.strip_prefix('-').unwrap_or(it);
            id.starts_with('%') || !id.is_empty() && id.chars().all(|c| c.is_ascii_digit())
        });
        if !is_pid {
            found.extend(refused(Some(sent.clone()), word));
            break;
        }
        found.push((sent.clone(), by_pid(word, sender)));
    }
    found
}

/// What a command sends; `None` if it sends nothing.
pub(super) type Signals = Option<Vec<(SentSignal, Target)>>;

/// A signal as it is written; `None` for 0, which only asks whether the target is there.
fn signal(word: &Word) -> Option<SentSignal> {
    match word.known() {
        Some("0" | "EXIT") => None,
        Some(name) => Some(match name.parse() {
            Ok(signal) => SentSignal::Known(signal),
            Err(_) => SentSignal::Unknown(name.to_owned()),
        }),
        None => Some(SentSignal::Unknown(word.shown())),
    }
}

/// kill(1) of util-linux and procps, and that of shells.
fn kill(arguments: &[Word], sender: Sender<'_>) -> Signals {
    let mut chosen = None;
    let mut rest = arguments.iter();
    let mut targets = Vec::new();
    while let Some(word) = rest.next() {
        let start = word.start();
        match word.known() {
            Some("--") => {
                targets.extend(rest.by_ref());
            }
            // These only list or print.
            Some("-l" | "-L" | "--list" | "--table" | "-p" | "--pid") => return Some(Vec::new()),
            // A number, in bash alone.
            Some("-n") if sender.shell.is_none() => {
                let target = Target::Nobody(Nobody::Refused("-n".to_owned()));
                return Some(vec![(SentSignal::Unknown("-n".to_owned()), target)]);
            }
            Some("--signal") if sender.shell == Some("bash") => {
                let target = Target::Nobody(Nobody::Refused("--signal".to_owned()));
                return Some(vec![(SentSignal::Unknown("--signal".to_owned()), target)]);
            }
            Some("-s" | "-n" | "--signal") => chosen = Some(rest.next()?.clone()),
            Some("-q" | "--queue") => {
                rest.next();
            }
            Some("--timeout") => {
                rest.next();
                rest.next();
            }
            Some("-a" | "--all" | "--verbose" | "-r" | "--require-handler") => {}
            _ if start.starts_with("--signal=") => chosen = word.strip("--signal="),
            _ if start.starts_with("--") => {}
            // After a signal a number with a minus is a group.
            _ if start.starts_with('-') && chosen.is_none() && targets.is_empty() => {
                let attached = word.strip("-s").filter(|name| {
                    name.known().is_none_or(|it| it.parse::<Signal>().is_ok() || it == "0")
                });
                chosen = attached.filter(|name| !name.0.is_empty()).or_else(|| word.strip("-"));
            }
            _ => targets.push(word),
        }
    }
    let sent = match &chosen {
        Some(word) => match signal(word) {
            Some(sent) => sent,
            None => return Some(Vec::new()),
        },
        None => SentSignal::Known(Signal::TERM),
    };
    if let SentSignal::Unknown(text) = &sent
        && sender.shell.is_none()
        && chosen.as_ref().is_some_and(|word| word.known().is_some())
        && text.contains(['$', '`'])
    {
        let target = Target::Nobody(Nobody::Literal(format!("-{text}")));
        return Some(vec![(sent, target)]);
    }
    if targets.is_empty() {
        return Some(vec![(sent, Target::Nobody(Nobody::NoPid))]);
    }
    // The words after one that is no pid belong to what is no command, or are not come to.
    let no_pid = targets.iter().position(|word| word.known().is_some_and(is_literal));
    targets.truncate(no_pid.map_or(targets.len(), |at| at + 1));
    let mut has_name = false;
    let target = |word: &Word| {
        let target = by_pid(word, sender);
        if has_name {
            return Target::Unknown(word.shown());
        }
        has_name = matches!(target, Target::Named(..));
        target
    };
    let found: Vec<Target> = targets.into_iter().map(target).collect();
    Some(found.into_iter().map(|target| (sent.clone(), target)).collect())
}

/// Whom a pid means.
fn by_pid(word: &Word, sender: Sender<'_>) -> Target {
    if let Some(text) = word.known().filter(|text| is_literal(text)) {
        return Target::Nobody(Nobody::Literal(text.to_owned()));
    }
    if word.known() == Some("-1") {
        return Target::Host;
    }
    let minus = word.strip("-");
    let is_group = minus.is_some();
    let word = minus.as_ref().unwrap_or(word);
    let found = match word.0.as_slice() {
        [] => Target::Nobody(Nobody::NoPid),
        [Piece::Text(text)] if text.is_empty() => Target::Nobody(Nobody::NoPid),
        [Piece::Variable(name)] if name == "MAINPID" => Target::Main,
        // The shell's own, its parent's, the last it started.
        [Piece::Variable(name)] if ["$", "PPID", "!"].contains(&name.as_str()) => Target::Other,
        [Piece::Output(words)] => by_output(words, sender),
        [Piece::Text(text)] if text.starts_with('%') && sender.shell.is_some() => Target::Other,
        [Piece::Text(text)] if text.parse::<u32>().is_ok() => Target::Other,
        // kill(1) of util-linux takes names.
        [Piece::Text(text)] if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Target::Named(text.clone(), Match::Whole)
        }
        _ => Target::Unknown(word.shown()),
    };
    if is_group && found.is_service() { Target::Group } else { found }
}

/// Whom the pid means that a command writes.
fn by_output(words: &[Word], sender: Sender<'_>) -> Target {
    let name = words.first().and_then(Word::known).map(base_name);
    let has = |text: &str| words.iter().any(|word| word.start().contains(text));
    match name {
        Some("cat" | "head" | "tail" | "read" | "sed" | "awk") => Target::PidFile,
        Some("pidof" | "pgrep" | "pidofproc") => {
            let how = match name {
                Some("pgrep") if has("-f") => Match::CommandLine,
                Some("pgrep") if has("-x") => Match::Whole,
                Some("pgrep") => Match::Part,
                _ => Match::Program,
            };
            named(words.last().map(Word::shown).unwrap_or_default(), how)
        }
        Some("systemctl") if has("MainPID") => shown_unit(words, sender.unit),
        Some("echo" | "printf") if words.len() == 2 => by_pid(&words[1], sender),
        _ => Target::Unknown(Word(vec![Piece::Output(words.to_vec())]).shown()),
    }
}

/// Whose main pid `systemctl show` writes.
fn shown_unit(words: &[Word], unit: Option<&str>) -> Target {
    let mut operands = Vec::new();
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        if matches!(word.known(), Some("-p" | "-P" | "--property")) {
            rest.next();
        } else if !word.start().starts_with('-') && word.known() != Some("show") {
            operands.push(word);
        }
    }
    match operands.as_slice() {
        [word] => match word.known() {
            Some(named) if unit.is_none_or(|unit| is_same_unit(named, unit)) => Target::Main,
            Some(_) => Target::Other,
            None => Target::Unknown(word.shown()),
        },
        _ => Target::Unknown(Word(vec![Piece::Output(words.to_vec())]).shown()),
    }
}

/// Whether two names are of one service.
fn is_same_unit(one: &str, other: &str) -> bool {
    one.trim_end_matches(".service") == other.trim_end_matches(".service")
}

/// Those of a name: nobody, where it is longer than what can be looked for.
fn named(name: String, how: Match) -> Target {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.', '/', '@', ' '].contains(&c);
    let is_long = name.len() > 15 && name.chars().all(is_plain);
    match how {
        Match::Part | Match::Whole if is_long => Target::Nobody(Nobody::LongName(name)),
        _ => Target::Named(name, how),
    }
}

/// pkill(1) of procps, killall(1) of psmisc, killproc of SysV init scripts.
fn by_name(program: &str, arguments: &[Word], sender: Sender<'_>) -> Signals {
    let mut chosen = None;
    let mut target = None;
    let mut operands = Vec::new();
    // What besides a name they are chosen by.
    let mut other = None;
    let mut rest = arguments.iter();
    let is_pkill = program == "pkill";
    let mut how = if is_pkill { Match::Part } else { Match::Program };
    while let Some(word) = rest.next() {
        let start = word.start();
        match word.known() {
            Some("--") => operands.extend(rest.by_ref()),
            Some("--signal") => chosen = Some(rest.next()?.clone()),
            Some("-s") if !is_pkill => chosen = Some(rest.next()?.clone()),
            Some("-F" | "--pidfile") if is_pkill => {
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
            Some("-P" | "--parent") if is_pkill => {
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
            Some("--full") if is_pkill => how = Match::CommandLine,
            Some("--exact") if is_pkill && how == Match::Part => how = Match::Whole,
            _ if start.starts_with("--") => {}
            _ if start.starts_with("-F") && is_pkill => target = Some(Target::PidFile),
            _ if start.starts_with('-') => {
                // A signal, or letters that change how it matches.
                let name = word.strip("-").unwrap_or_default();
                let is_signal = match name.known() {
                    Some(text) => text.parse::<Signal>().is_ok() || text == "0",
                    None => true,
                };
                let letters = name.known().unwrap_or_default();
                if is_signal {
                    chosen = Some(name);
                } else if is_pkill && letters.contains('f') {
                    how = Match::CommandLine;
                } else if is_pkill && letters.contains('x') && how == Match::Part {
                    how = Match::Whole;
                } else if !is_pkill && letters.contains(['r', 'I', 'g']) {
                    how = Match::Other;
                }
            }
            _ => operands.push(word),
        }
    }
    let sent = match &chosen {
        Some(word) => match signal(word) {
            Some(sent) => sent,
            None => return Some(Vec::new()),
        },
        None => SentSignal::Known(Signal::TERM),
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
        // killproc looks for one program; what follows is a signal, too.
        (None, [first, ..]) if program == "killproc" => vec![found(first)],
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

/// start-stop-daemon(8) of dpkg and of OpenRC.
fn start_stop_daemon(arguments: &[Word], sender: Sender<'_>) -> Signals {
    let mut chosen = None;
    let mut target = Target::Unknown("start-stop-daemon".to_owned());
    let mut starts = false;
    let mut stops = false;
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let start = word.start();
        let value = |rest: &mut std::slice::Iter<'_, Word>, long: &str| {
            word.strip(&format!("{long}=")).or_else(|| rest.next().cloned())
        };
        match start.split('=').next().unwrap_or(start) {
            "--" => break,
            "-S" | "--start" => starts = true,
            "-K" | "--stop" => stops = true,
            "-t" | "--test" | "-T" | "--status" => return Some(Vec::new()),
            "-s" | "--signal" => chosen = value(&mut rest, "--signal"),
            "-p" | "--pidfile" => {
                value(&mut rest, "--pidfile");
                target = Target::PidFile;
            }
            "--pid" => {
                let pid = value(&mut rest, "--pid")?;
                target = by_pid(&pid, sender);
            }
            option @ ("-x" | "--exec" | "-n" | "--name" | "-u" | "--user") => {
                let name = value(&mut rest, option)?;
                let how = match option {
                    "-x" | "--exec" => Match::Program,
                    "-n" | "--name" => Match::Whole,
                    _ => Match::Other,
                };
                if matches!(target, Target::Unknown(_)) {
                    target = named(name.shown(), how);
                }
            }
            // The first step of its schedule.
            option @ ("-R" | "--retry") => {
                let schedule = value(&mut rest, option)?;
                let first = schedule.known().and_then(|it| it.split('/').next());
                let named = first.map(|it| it.trim_start_matches('-'));
                if let Some(named) = named.filter(|it| it.parse::<u32>().is_err()) {
                    chosen = Some(Word::text(named));
                }
            }
            _ => {}
        }
    }
    if starts || !(stops || chosen.is_some()) {
        return None;
    }
    let sent = match &chosen {
        Some(word) => match signal(word) {
            Some(sent) => sent,
            None => return Some(Vec::new()),
        },
        None => SentSignal::Known(Signal::TERM),
    };
    Some(vec![(sent, target)])
}

/// `systemctl kill`. systemctl(1)
fn systemctl(arguments: &[Word], unit: Option<&str>) -> Signals {
    let mut chosen = None;
    let mut whom = Word::text("all");
    let mut operands = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let start = word.start();
        match word.known() {
            Some("-s" | "--signal") => chosen = rest.next().cloned(),
            Some("--kill-who" | "--kill-whom") => whom = rest.next()?.clone(),
            Some("-H" | "--host" | "-M" | "--machine" | "-t" | "-p" | "-n" | "-o") => {
                rest.next();
            }
            _ if start.starts_with("--signal=") => chosen = word.strip("--signal="),
            _ if start.starts_with("--kill-who=") => whom = word.strip("--kill-who=")?,
            _ if start.starts_with("--kill-whom=") => whom = word.strip("--kill-whom=")?,
            _ if start.starts_with("-s") && start.len() > 2 => chosen = word.strip("-s"),
            _ if start.starts_with('-') => {}
            _ => operands.push(word),
        }
    }
    if operands.first().and_then(|word| word.known()) != Some("kill") {
        return None;
    }
    let sent = match &chosen {
        Some(word) => match signal(word) {
            Some(sent) => sent,
            None => return Some(Vec::new()),
        },
        None => SentSignal::Known(Signal::TERM),
    };
    let whole = match whom.known() {
        Some("main" | "main-fail") => Target::Main,
        Some("control" | "control-fail") => Target::Other,
        Some(_) => Target::Unit,
        None => Target::Unknown(whom.shown()),
    };
    let target = |word: &&Word| match (word.known(), unit) {
        (Some(named), Some(unit)) => {
            if is_same_unit(named, unit) {
                whole.clone()
            } else {
                Target::Other
            }
        }
        (Some(_), None) => whole.clone(),
        (None, _) => Target::Unknown(word.shown()),
    };
    if operands.len() == 1 {
        return Some(vec![(sent, Target::Nobody(Nobody::NoUnit))]);
    }
    Some(operands[1..].iter().map(target).map(|target| (sent.clone(), target)).collect())
}
