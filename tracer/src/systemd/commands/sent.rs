//! The signals that commands send, and to whom.

use super::{
    base_name,
    budget::{Budget, MAX_DEPTH},
    holds::is_instant,
    line::Command,
    senders::{self, Sender},
    shell::{self, When},
    word::{Piece, Word},
    wrapper,
};
use crate::model::signal::Signal;

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
    /// Those with a name or another property, and how it is looked for.
    Named(String, Match),
    /// Every process of the unit.
    Unit,
    /// Every process of the host, but for init and the sender's own.
    Host,
    /// No process: why not.
    Nobody(Nobody),
    /// One that is not of the unit.
    Other,
    /// One that the text does not tell: what it is written as.
    Unknown(String),
}

/// How a name is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// As a part of what the kernel calls the process: pkill, pgrep.
    Part,
    /// As all of that: `-x`.
    Whole,
    /// As a part of its command line: `-f`.
    CommandLine,
    /// As all of that: `-f -x`.
    WholeCommandLine,
    /// As the name of its program: killall, pidof, start-stop-daemon.
    Program,
    /// It is no name, but a user or the like.
    Other,
}

/// Why a signal reaches no process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// The pid is given where a name is expected.
    PidForName,
    /// This is passed as it is written, though it is meant for a value: `$MAINPID` within a word,
    /// where systemd would replace `${MAINPID}` alone, or `$(…)` without a shell
    /// (systemd.service(5)).
    Literal(String),
    /// It does not take this argument, and sends nothing.
    Refused(String),
    /// No pid is given.
    NoPid,
    /// Nothing is given to choose processes by.
    NoName,
    /// No unit is given.
    NoUnit,
    /// The name is longer than what the kernel keeps of one: 15 bytes (`TASK_COMM_LEN`).
    LongName(String),
    /// `$MAINPID` is empty: once it is up, the service has no main process.
    NoMain,
}

impl Match {
    /// How pkill(1) and pgrep(1) look for a pattern: with `-f`, with `-x`.
    pub(super) fn of_pattern(is_full: bool, is_exact: bool) -> Self {
        match (is_full, is_exact) {
            (false, false) => Self::Part,
            (false, true) => Self::Whole,
            (true, false) => Self::CommandLine,
            (true, true) => Self::WholeCommandLine,
        }
    }
}

impl Target {
    /// Whether the unit's main process is meant.
    #[must_use]
    pub fn is_service(&self) -> bool {
        matches!(self, Self::PidFile | Self::Named(..)) || self.is_main()
    }

    /// Whether it is the main process for sure, alone or with others: a pid file and a name may
    /// mean another.
    #[must_use]
    pub fn is_main(&self) -> bool {
        matches!(self, Self::Main) || self.is_several()
    }

    /// Whether it is the main process with others.
    #[must_use]
    pub fn is_several(&self) -> bool {
        matches!(self, Self::Group | Self::Unit | Self::Host)
    }

    /// Whether it is the process that `program` is executed in, called by this command line: `None`
    /// if that can't be told.
    #[must_use]
    pub fn is_program(&self, program: Option<&str>, command_line: &str) -> Option<bool> {
        let Self::Named(name, how) = self else {
            return Some(self.is_service());
        };
        // What a pattern has besides letters may match anything.
        let pattern = name.trim_start_matches('^').trim_end_matches('$');
        let is_plain = !pattern.contains(['*', '+', '?', '[', '(', '|', '\\', '{', '^', '$']);
        let program = base_name(program?);
        // `TASK_COMM_LEN`
        let comm = program.get(..15).unwrap_or(program);
        let is_found = match how {
            Match::Part => comm.contains(pattern),
            Match::Whole => comm == pattern,
            Match::CommandLine => command_line.contains(pattern),
            Match::WholeCommandLine => command_line == pattern,
            Match::Program => base_name(name) == program,
            Match::Other => false,
        };
        // The process may be called otherwise, or be one that the program starts.
        (is_plain && is_found).then_some(true)
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
    /// Whether it comes to it.
    pub when: When,
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
        let context = Context { unit, shell: None, input: None, when: When::Always };
        reload.read(&words, context, budget, 0);
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
    pub fn unknown(&self) -> Vec<String> {
        let is_certain = |sent: &Sent| sent.target.is_service() && sent.when.is_sure();
        let has_certain = self.sent().any(is_certain);
        let mut found: Vec<String> = Vec::new();
        for step in &self.steps {
            let what = match step {
                Step::Sends(Sent { target: Target::Other | Target::Nobody(_), .. }) => continue,
                Step::Sends(Sent { signal: SentSignal::Unknown(text), .. }) => {
                    format!("which signal its reload sends: '{text}'")
                }
                Step::Sends(Sent { target: Target::Unknown(text), .. }) => {
                    format!("whom its reload signals: '{text}'")
                }
                Step::Sends(Sent {
                    signal: SentSignal::Known(signal), when: When::Maybe, ..
                }) => {
                    format!("whether its reload sends {signal}: that depends on what comes before")
                }
                Step::Sends(_) => continue,
                Step::Unread => {
                    "what its ExecReload= does: it runs shell text that can't be read".to_owned()
                }
                Step::Runs(words) => match words.first() {
                    Some(program) if !has_certain => {
                        let program =
                            program.known().map_or_else(|| program.shown(), str::to_owned);
                        format!("what its reload does: it runs {}", base_name(&program))
                    }
                    _ => continue,
                },
            };
            if !found.contains(&what) {
                found.push(what);
            }
        }
        found
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

    fn read(&mut self, words: &[Word], context: Context<'_>, budget: &mut Budget, depth: usize) {
        if depth > MAX_DEPTH || !budget.takes_command() {
            self.steps.push(Step::Unread);
            return;
        }
        if let Some((shell, script)) = shell::script_of(words) {
            let Some(script) = shell::read(script, budget) else {
                self.steps.push(Step::Unread);
                return;
            };
            for command in script.commands {
                let when = command.when.max(context.when);
                let inside = Context {
                    shell: Some(&shell),
                    input: command.input.as_deref(),
                    when,
                    ..context
                };
                self.read(&command.words, inside, budget, depth + 1);
                if when.is_sure() && !command.in_child && replaces_shell(&command.words) {
                    break;
                }
            }
            return;
        }
        if let Some(wrapped) = wrapper::inner(words) {
            let by = words[0].known().map(base_name);
            // Those are the shell's own, and others run what is installed.
            let is_own = matches!(by, Some("command" | "builtin"));
            let shell = context.shell.filter(|_| is_own);
            let mut words = wrapped.words;
            if wrapped.reads_operands {
                read_operands(&mut words, context.input);
            }
            self.read(&words, Context { shell, ..context }, budget, depth + 1);
            return;
        }
        let Some(name) = words.first().and_then(Word::known).map(base_name) else {
            self.steps.push(Step::Runs(words.to_vec()));
            return;
        };
        let shell = context.shell.filter(|_| words[0].known() == Some(name));
        match senders::sends(name, &words[1..], Sender { unit: context.unit, shell }) {
            Some(sent) => self.steps.extend(sent.into_iter().map(|(signal, target)| {
                Step::Sends(Sent { signal, target, by: name.to_owned(), when: context.when })
            })),
            None if is_instant(name) => {}
            None => self.steps.push(Step::Runs(words.to_vec())),
        }
    }
}

/// Where a command stands.
#[derive(Clone, Copy)]
struct Context<'a> {
    /// The unit's own name, where it is known.
    unit: Option<&'a str>,
    /// The shell whose script it is in.
    shell: Option<&'a str>,
    /// The command whose output it reads.
    input: Option<&'a [Word]>,
    when: When,
}

/// Puts in what xargs(1) reads: at the end, or for its placeholder.
fn read_operands(words: &mut Vec<Word>, input: Option<&[Word]>) {
    let read = Word(vec![input.map_or(Piece::Unknown, |words| Piece::Output(words.to_vec()))]);
    if words.iter().any(|word| word.known() == Some("{}")) {
        words
            .iter_mut()
            .filter(|word| word.known() == Some("{}"))
            .for_each(|it| *it = read.clone());
    } else {
        words.push(read);
    }
}

/// `exec PROGRAM`
fn replaces_shell(words: &[Word]) -> bool {
    words.first().and_then(Word::known) == Some("exec") && wrapper::inner(words).is_some()
}
