//! The reload's signal goes to a shell that has no trap for it, or another program that waits,
//! and not to the program that it runs.

use super::{Case, Check, Finding, Look, death::by_signal, early};
use crate::{
    model::{document::Severity, signal::Signal},
    rules::result::End,
    systemd::commands::{Stay, Takes},
};

pub(super) const CHECK: Check = Check {
    id: "reload-hits-shell",
    explanation: include_str!("../../docs/lint/reload-hits-shell.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    let hit = hits(case)?;
    let (by, signal) = (&hit.stay.by, hit.signal);
    let (message, consequence, drop_in) = match hit.what {
        What::Dies => (
            format!(
                "The main process is {by}, which stays and has no {} for {signal}: a reload \
                 signals it, and not the program that it runs.",
                if hit.stay.is_shell { "trap" } else { "handler" }
            ),
            every_reload(case, &hit)?,
            case.starting_again(signal).map(|lines| case.drop_in(CHECK.id, &lines)),
        ),
        What::Loses => (
            format!(
                "The main process is {by}, which blocks {signal} while it waits: a reload signals \
                 it, and not the program that it runs."
            ),
            "Every reload is lost: the program never gets the signal.".to_owned(),
            None,
        ),
        What::LosesLater => (
            format!(
                "The main process is {by}, which passes {signal} on once, and ignores it from then \
                 on."
            ),
            "Every reload after the first is lost: the program never gets the signal.".to_owned(),
            None,
        ),
        What::Defers => (
            format!(
                "The main process is {by}, whose trap for {signal} runs only when the program that \
                 it waits for has ended."
            ),
            "A reload does nothing for as long as the program runs.".to_owned(),
            None,
        ),
    };
    let comes_back = case.death(signal)?.restarts != Some(false);
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: if hit.what == What::Dies && !comes_back {
            Severity::Error
        } else {
            Severity::Warning
        },
        message,
        consequence,
        mend: match (hit.what, hit.stay.is_shell) {
            (What::Defers, _) => "Let the shell exec the program, or start it in the background \
                                  and wait for it."
                .to_owned(),
            (What::LosesLater, _) => format!("{by} --foreground passes on every one."),
            (_, true) => {
                "Let the shell exec the program, so that it becomes the main process.".to_owned()
            }
            (_, false) => "Let systemd do what the program in between does, so that the service \
                           itself becomes the main process."
                .to_owned(),
        },
        drop_in,
    })
}

/// What follows where what waits dies of the reload, or ends by a handler of its own.
fn every_reload(case: &Case<'_>, hit: &Hit<'_>) -> Option<String> {
    let by = if hit.stay.is_shell { "the shell" } else { hit.stay.by.as_str() };
    let program = "; the program is stopped with it.";
    let ends = case.ways_to_end(hit.signal);
    let of = |end: End| ends.iter().find(|it| it.end == end);
    let own = case.runtime().and_then(|runtime| runtime.exit_code(hit.signal));
    Some(match own {
        Some(code) => format!(
            "At every reload {by} exits with {code}, by a handler of its own {}{program} One that \
             comes before it has that kills it {}.",
            of(End::Code(code))?.words,
            of(by_signal(hit.signal))?.words
        ),
        None => format!("At every reload {by} dies {}{program}", case.death(hit.signal)?.words),
    })
}

/// What becomes of a reload that goes to what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It dies.
    Dies,
    /// It blocks the signal.
    Loses,
    /// It ignores the signal once it has passed on the first.
    LosesLater,
    /// Its trap waits.
    Defers,
}

/// A main process that a reload goes to, and that is not what the service is for.
pub(super) struct Hit<'a> {
    pub stay: &'a Stay,
    pub signal: Signal,
    pub what: What,
}

/// What waits and is hit by a reload.
pub(super) fn hits<'a>(case: &'a Case<'_>) -> Option<Hit<'a>> {
    let (sent, signal) = case.sent()?;
    let stay = case.stay()?;
    // The pid file and names may be the program's, and of a daemon what started it is gone.
    let to_main = sent.target.is_main() && !case.is_type("forking") && !case.is_type("oneshot");
    // The program gets it too then.
    let to_all = sent.target.is_several();
    if !to_main || signal.ends() {
        return None;
    }
    let what = match stay.takes(signal) {
        Takes::Default if early::of(signal) == early::Early::Dies => What::Dies,
        Takes::Lost if !stay.is_shell && !stay.ignores.contains(&signal) && !to_all => What::Loses,
        Takes::PassedOnOnce if !to_all => What::LosesLater,
        Takes::Handled if stay.defers_traps && !to_all => What::Defers,
        _ => return None,
    };
    Some(Hit { stay, signal, what })
}
