//! The signals that commands send, and to whom.

use super::{
    base_name,
    budget::Budget,
    line::Command,
    shell::{self, When},
    word::{Piece, Word},
    wrapper,
};
use crate::model::signal::Signal;

/// How deep shells may stand in shells.
const MAX_DEPTH: usize = 6;

/// A signal that a command sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentSignal {
    /// This one.
    Known(Signal),
    /// One that the text does not tell: what it is written as.
    Unknown(String),
}

/// Whom a signal is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The main process, by `$MAINPID`.
    Main,
    /// Its process group.
    Group,
    /// The process whose pid is in a file.
    PidFile,
    /// Those with a name or another property.
    Named(String),
    /// Every process of the unit.
    Unit,
    /// No process: the pid is given where a name is expected.
    Nobody,
    /// One that is not of the unit.
    Other,
    /// One that the text does not tell: what it is written as.
    Unknown(String),
}

impl Target {
    /// Whether the unit's main process is meant.
    #[must_use]
    pub fn is_service(&self) -> bool {
        matches!(self, Self::Main | Self::Group | Self::PidFile | Self::Named(_) | Self::Unit)
    }
}

/// A signal and its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which.
    pub signal: SentSignal,
    /// To whom.
    pub target: Target,
    /// The program that sends it.
    pub by: String,
    /// What of its arguments is passed as it is written, though it is meant for a value:
    /// `$MAINPID` within a word, where systemd would replace `${MAINPID}` alone, or `$(…)`
    /// without a shell (systemd.service(5)). The target is as it is meant.
    pub literal: Option<String>,
}

/// What a reload does, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Sends(Sent),
    /// Runs a program.
    Runs(Vec<Word>),
    /// Does what could not be read.
    Unread,
}

/// What the commands of `ExecReload=` do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    steps: Vec<Step>,
}

/// Reads them; `unit` is the unit's own name where it is known.
#[must_use]
pub fn reload(commands: &[Command], unit: Option<&str>, budget: &mut Budget) -> Reload {
    let mut reload = Reload::default();
    for command in commands {
        let word = |word: &String| {
            if command.has_variables() { Word::of_unit(word) } else { Word::text(word) }
        };
        let words: Vec<Word> = command.argv.iter().map(word).collect();
        reload.read(&words, unit, budget, 0);
    }
    reload
}

impl Reload {
    /// What it sends to the service, first to last, or may send to it.
    pub fn sent(&self) -> impl Iterator<Item = &Sent> {
        self.steps.iter().filter_map(|step| match step {
            Step::Sends(sent) if sent.target != Target::Other => Some(sent),
            _ => None,
        })
    }

    /// The first that reaches the service, if its signal is known.
    #[must_use]
    pub fn to_service(&self) -> Option<(&Sent, Signal)> {
        let sent = self.sent().find(|sent| sent.target.is_service())?;
        match sent.signal {
            SentSignal::Known(signal) => Some((sent, signal)),
            SentSignal::Unknown(_) => None,
        }
    }

    /// What can't be told of it, in words.
    #[must_use]
    pub fn unknown(&self) -> Option<String> {
        for step in &self.steps {
            return Some(match step {
                Step::Sends(sent) if sent.target == Target::Other => continue,
                Step::Sends(Sent { signal: SentSignal::Unknown(text), .. }) => {
                    format!("which signal its reload sends: '{text}'")
                }
                Step::Sends(Sent { target: Target::Unknown(text), .. }) => {
                    format!("whom its reload signals: '{text}'")
                }
                // What comes after the first that arrives is not asked for.
                Step::Sends(sent) if sent.target.is_service() => return None,
                Step::Unread => {
                    "what its ExecReload= does: it runs shell text that can't be read".to_owned()
                }
                Step::Sends(_) | Step::Runs(_) => continue,
            });
        }
        None
    }

    /// Whether it starts the service anew after the first signal: runs this program, itself or
    /// by another, or has an init system do so.
    #[must_use]
    pub fn starts_again(&self, program: Option<&str>) -> bool {
        let after = self.steps.iter().skip_while(|step| !matches!(step, Step::Sends(_)));
        after.into_iter().any(|step| {
            let Step::Runs(words) = step else {
                return false;
            };
            let mut known = words.iter().filter_map(Word::known);
            let runs = program.is_some_and(|program| {
                known.clone().any(|word| base_name(word) == base_name(program))
            });
            let by = known.next().unwrap_or_default();
            let is_init = ["systemctl", "service", "rc-service", "invoke-rc.d"];
            let is_init = is_init.contains(&base_name(by)) || by.starts_with("/etc/init.d/");
            runs || is_init && known.any(|word| ["start", "restart", "try-restart"].contains(&word))
        })
    }

    fn read(&mut self, words: &[Word], unit: Option<&str>, budget: &mut Budget, depth: usize) {
        if depth > MAX_DEPTH || !budget.takes_command() {
            self.steps.push(Step::Unread);
            return;
        }
        if let Some((_, script)) = shell::script_of(words) {
            let Some(script) = shell::read(script, budget) else {
                self.steps.push(Step::Unread);
                return;
            };
            for command in script.commands {
                self.read(&command.words, unit, budget, depth + 1);
                if command.when == When::Always && replaces_shell(&command.words) {
                    break;
                }
            }
            return;
        }
        if let Some(wrapped) = wrapper::inner(words) {
            self.read(&wrapped.words, unit, budget, depth + 1);
            return;
        }
        let Some(name) = words.first().and_then(Word::known).map(base_name) else {
            self.steps.push(Step::Runs(words.to_vec()));
            return;
        };
        let arguments = &words[1..];
        let literal = arguments.iter().filter_map(Word::known).find(|it| is_literal(it));
        let literal = literal.map(str::to_owned);
        let sent = match name {
            "kill" => kill(arguments),
            "pkill" | "killall" | "killall5" | "skill" | "killproc" => by_name(name, arguments),
            "start-stop-daemon" => start_stop_daemon(arguments),
            "systemctl" => systemctl(arguments, unit),
            _ => None,
        };
        match sent {
            Some(sent) => self.steps.extend(sent.into_iter().map(|(signal, target)| {
                let (by, literal) = (name.to_owned(), literal.clone());
                Step::Sends(Sent { signal, target, by, literal })
            })),
            None => self.steps.push(Step::Runs(words.to_vec())),
        }
    }
}

/// Whether a word is passed on as it is written, though it is meant for a value.
fn is_literal(word: &str) -> bool {
    // With a minus it is meant for a group.
    let id = word.strip_prefix('-').unwrap_or(word);
    word.contains("$MAINPID") || id.starts_with("$(") || id.starts_with('`')
}

/// `exec PROGRAM`
fn replaces_shell(words: &[Word]) -> bool {
    words.first().and_then(Word::known) == Some("exec") && wrapper::inner(words).is_some()
}

/// What a command sends; `None` if it sends nothing.
type Signals = Option<Vec<(SentSignal, Target)>>;

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
fn kill(arguments: &[Word]) -> Signals {
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
    // The words after it belong to what is no command.
    let literal = targets.iter().position(|word| word.known().is_some_and(is_literal));
    targets.truncate(literal.map_or(targets.len(), |at| at + 1));
    Some(targets.into_iter().map(|word| (sent.clone(), by_pid(word))).collect())
}

/// Whom a pid means.
fn by_pid(word: &Word) -> Target {
    let minus = word.strip("-");
    let is_group = minus.is_some();
    let word = minus.as_ref().unwrap_or(word);
    let found = match word.0.as_slice() {
        [Piece::Variable(name)] if name == "MAINPID" => Target::Main,
        // The shell's own, its parent's, the last it started.
        [Piece::Variable(name)] if ["$", "PPID", "!"].contains(&name.as_str()) => Target::Other,
        [Piece::Text(text)] if text == "$MAINPID" => Target::Main,
        [Piece::Text(text)] if is_literal(text) => Target::PidFile,
        [Piece::Output(words)] => by_output(words),
        [Piece::Text(text)] if text.starts_with('%') => Target::Other,
        [Piece::Text(text)] if text.parse::<u32>().is_ok() => Target::Other,
        // kill(1) of util-linux takes names.
        [Piece::Text(text)] if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Target::Named(text.clone())
        }
        _ => Target::Unknown(word.shown()),
    };
    if is_group && found.is_service() { Target::Group } else { found }
}

/// Whom the pid means that a command writes.
fn by_output(words: &[Word]) -> Target {
    let name = words.first().and_then(Word::known).map(base_name);
    let has = |text: &str| words.iter().any(|word| word.start().contains(text));
    match name {
        Some("cat" | "head" | "tail" | "read" | "sed" | "awk") => Target::PidFile,
        Some("pidof" | "pgrep" | "pidofproc") => {
            Target::Named(words.last().map(Word::shown).unwrap_or_default())
        }
        Some("systemctl") if has("MainPID") => Target::Main,
        Some("echo" | "printf") if words.len() == 2 => by_pid(&words[1]),
        _ => Target::Unknown(Word(vec![Piece::Output(words.to_vec())]).shown()),
    }
}

/// pkill(1) of procps, killall(1) of psmisc, killproc of SysV init scripts.
fn by_name(program: &str, arguments: &[Word]) -> Signals {
    let mut chosen = None;
    let mut target = None;
    let mut operand = None;
    let mut rest = arguments.iter();
    let is_pkill = program == "pkill";
    while let Some(word) = rest.next() {
        let start = word.start();
        match word.known() {
            Some("--") => operand = rest.next().or(operand),
            Some("--signal") => chosen = Some(rest.next()?.clone()),
            Some("-s") if !is_pkill => chosen = Some(rest.next()?.clone()),
            Some("-F" | "--pidfile") if is_pkill => {
                rest.next();
                target = Some(Target::PidFile);
            }
            // Whose group or session it is.
            Some("-g" | "--pgroup" | "-s" | "--session") if is_pkill => {
                let id = rest.next()?;
                target = Some(match by_pid(id) {
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
                target.get_or_insert_with(|| Target::Named(value.shown()));
            }
            Some("-l" | "--list" | "-V" | "--version") => return Some(Vec::new()),
            _ if start.starts_with("--signal=") => chosen = word.strip("--signal="),
            _ if start.starts_with("--pidfile=") => target = Some(Target::PidFile),
            _ if start.starts_with("--") => {}
            _ if start.starts_with("-F") && is_pkill => target = Some(Target::PidFile),
            _ if start.starts_with('-') => {
                // A signal, or letters that change how it matches.
                let name = word.strip("-").unwrap_or_default();
                let is_signal = match name.known() {
                    Some(text) => text.parse::<Signal>().is_ok() || text == "0",
                    None => true,
                };
                if is_signal {
                    chosen = Some(name);
                }
            }
            _ => operand = Some(word),
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
        by_pid(word) == Target::Main || word.known().is_some_and(|it| it.parse::<u32>().is_ok())
    };
    let named = operand.map(|word| match word {
        word if is_pid(word) => Target::Nobody,
        word if word.known().is_some() => Target::Named(word.shown()),
        word => Target::Unknown(word.shown()),
    });
    let target = match (target, named) {
        (_, Some(Target::Nobody)) => Target::Nobody,
        (Some(target), _) | (None, Some(target)) => target,
        (None, None) => return Some(Vec::new()),
    };
    Some(vec![(sent, target)])
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
fn start_stop_daemon(arguments: &[Word]) -> Signals {
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
                target = by_pid(&pid);
            }
            option @ ("-x" | "--exec" | "-n" | "--name" | "-u" | "--user") => {
                let named = value(&mut rest, option)?;
                if matches!(target, Target::Unknown(_)) {
                    target = Target::Named(named.shown());
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
            let own = unit.trim_end_matches(".service");
            if named.trim_end_matches(".service") == own { whole.clone() } else { Target::Other }
        }
        (Some(_), None) => whole.clone(),
        (None, _) => Target::Unknown(word.shown()),
    };
    Some(operands[1..].iter().map(target).map(|target| (sent.clone(), target)).collect())
}
