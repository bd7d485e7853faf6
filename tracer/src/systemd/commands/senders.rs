//! Programs that send signals: kill(1), pkill(1), killall(1), start-stop-daemon(8), systemctl(1).

mod by_name;
mod kill;
mod pid;
mod start_stop_daemon;
mod systemctl;

use self::{
    by_name::by_name,
    kill::{kill, kill_of_dash},
    start_stop_daemon::start_stop_daemon,
    systemctl::systemctl,
};
use super::{
    sent::{Match, Nobody, SentSignal, Target},
    word::Word,
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

/// What a command sends that was given this signal, or none: TERM then. `None` as above.
fn sent_signal(chosen: Option<&Word>) -> Option<SentSignal> {
    chosen.map_or(Some(SentSignal::Known(Signal::TERM)), signal)
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
