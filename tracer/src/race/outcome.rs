//! What a signal did in a run, and what became of the service.

use super::{held::Held, interval::Planned, right, steps::Steps, watch::SentBy};
use crate::model::{
    document::{Activation, Document, OutcomeState, ProcessOutcome},
    event::{DispositionKind, Effect, Event, Fate, SignalSent, What},
    race::{Outcome, ReloadAsked, Role, Try},
    signal::Signal,
    span,
};

/// What the run without the signal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undisturbed {
    /// How often READY=1 was said.
    pub readies: u32,
    /// How the command was at its end.
    pub outcome: ProcessOutcome,
    /// At rest it answers the signal: it says that it has reloaded.
    pub answers: bool,
}

impl Undisturbed {
    /// The same of the process that is hit in an interval of the untouched run, with these steps.
    #[must_use]
    pub fn of_process(&self, planned: &Planned, steps: &Steps) -> Self {
        let hit = steps.process_at(planned.at.place()).filter(|_| !planned.main);
        let outcome = hit.map_or(&self.outcome, |hit| &hit.outcome).clone();
        Self { outcome, ..self.clone() }
    }
}

/// A run with a signal.
pub struct Run<'a> {
    /// What was captured, judged.
    pub document: &'a Document,
    /// Who sent the signal.
    pub sender: SentBy,
    /// The process that the signal was placed in, and when on this run's timeline, ns.
    pub placed: Option<(u32, i64)>,
    /// Why it is not known to be in the interval, if it is not.
    pub missed: Option<String>,
    /// How often READY=1 was said.
    pub readies: u32,
    /// What to tell of a unit that did not come up, although it does without the signal; where that is
    /// not told by READY=1.
    pub down: Option<(Outcome, String)>,
    /// What the command left running at its end, by name.
    pub left: &'a [String],
    /// What systemd makes of the end of a unit, in words.
    pub by_systemd: Option<String>,
    /// How long the run was followed, ns.
    pub lasted_ns: u64,
    /// The reload that systemd was asked for, and what the record says of it.
    pub reload: Option<(ReloadAsked, Held)>,
}

/// What the signal did in a run, and in words what became of the service. It is taken from what
/// the kernel told: the fate of the signal, its effect on the service, the end of the process.
#[must_use]
pub fn tried(
    run: &Run<'_>,
    before: &Undisturbed,
    signal: Signal,
    role: Role,
    attempts: u32,
) -> Try {
    let starts = || run.document.services.iter().flat_map(|service| &service.activations).rev();
    let nothing = |what: String| Try {
        outcome: Outcome::NotReached,
        what,
        bad: false,
        placed_ns: run.placed.map(|(_, at)| at),
        signal: None,
        exit: None,
        reload: run.reload.as_ref().map(|(asked, _)| asked.clone()),
        attempts,
    };
    if let Some(why) = &run.missed {
        return nothing(why.clone());
    }
    let Some((pid, at)) = run.placed else {
        return nothing("the step that begins it did not come".to_owned());
    };
    // A unit may have been started again meanwhile (`Restart=`).
    let found = starts().find_map(|start| {
        let (event, sent) = signal_event(start, signal, pid, at, run.sender)?;
        Some((start, event, sent))
    });
    let held = run.reload.as_ref().map(|(_, held)| held);
    if let Some(Held::Unknown(why)) = held {
        return nothing(why.clone());
    }
    let Some((start, event, sent)) = found else {
        return match held {
            Some(Held::Back(why)) if before.readies > 0 && run.readies == 0 => {
                let lasted = span::length(run.lasted_ns);
                let what = format!("{why}; it did not say READY=1 within {lasted}");
                Try { outcome: Outcome::Hung, bad: true, ..nothing(what) }
            }
            Some(Held::Back(why)) => match &run.down {
                Some((outcome, down)) => {
                    let what = format!("{why}; {down}");
                    Try { outcome: *outcome, bad: true, ..nothing(what) }
                }
                None => Try {
                    outcome: Outcome::HeldBack,
                    exit: starts().find_map(|start| exit_of(start, pid)).cloned(),
                    ..nothing(why.clone())
                },
            },
            _ => nothing("the kernel told of no such signal".to_owned()),
        };
    };
    let evidence = Evidence { run, before, start, signal, role, pid, sent };
    let exit = evidence.exit();
    let (outcome, what) = match (evidence.outcome(exit), held) {
        ((_, what), Some(Held::Back(why))) => (Outcome::HeldBack, format!("{why} {what}")),
        (came, _) => came,
    };
    let is_clean = run.left.is_empty() && code(exit).is_none_or(|code| code == 0);
    let bad = right::is_bad(role, outcome, is_clean);
    let what = match (exit, &run.by_systemd) {
        (Some(_), Some(by)) => format!("{what}; {by}"),
        _ => what,
    };
    let what = if role == Role::End && !run.left.is_empty() && exit.is_some() {
        format!("{what}, and left {} running", run.left.join(", "))
    } else {
        what
    };
    Try {
        outcome,
        what,
        bad,
        placed_ns: Some(at),
        signal: Some(event.clone()),
        exit: exit.cloned(),
        reload: run.reload.as_ref().map(|(asked, _)| asked.clone()),
        attempts,
    }
}

/// Whether the service took a signal and said that it has reloaded.
#[must_use]
pub fn is_answered(tried: &Try) -> bool {
    let signal = tried.signal.as_ref().map(|event| &event.what);
    tried.outcome == Outcome::Taken
        && matches!(signal, Some(What::Signal(sent)) if sent.effect == Some(Effect::Reloaded))
}

/// The end of a process.
fn exit_of(start: &Activation, pid: u32) -> Option<&Event> {
    let is_exit =
        |event: &&Event| matches!(&event.what, What::Exit { process, .. } if process.pid == pid);
    start.events.iter().find(is_exit)
}

/// The signal that was placed in a process: a first one may have come before.
fn signal_event(
    start: &Activation,
    signal: Signal,
    pid: u32,
    placed: i64,
    sender: SentBy,
) -> Option<(&Event, &SignalSent)> {
    start.events.iter().find_map(|event| match &event.what {
        What::Signal(sent)
            if event.at_ns >= placed
                && sent.signal == signal
                && sender
                    .is(sent.sender.as_ref().map(|sender| sender.process.pid), sent.si_code)
                && sent.target.pid == pid =>
        {
            Some((event, &**sent))
        }
        _ => None,
    })
}

/// The exit code in an event, if a process exited there.
fn code(exit: Option<&Event>) -> Option<u8> {
    match &exit?.what {
        What::Exit { code, .. } => *code,
        _ => None,
    }
}

/// What a run is judged by: the signal that was sent to a process of a start.
struct Evidence<'a> {
    run: &'a Run<'a>,
    before: &'a Undisturbed,
    start: &'a Activation,
    signal: Signal,
    role: Role,
    pid: u32,
    sent: &'a SignalSent,
}

impl Evidence<'_> {
    /// The end of the process.
    fn exit(&self) -> Option<&Event> {
        exit_of(self.start, self.pid)
    }

    fn outcome(&self, exit: Option<&Event>) -> (Outcome, String) {
        let signal = self.signal;
        let lasted = span::length(self.run.lasted_ns);
        if self.sent.fate == Fate::Killed {
            return (Outcome::Killed, format!("died of {signal}"));
        }
        if let Some(Event { what: What::Exit { signal: by, code, core_dumped, .. }, .. }) = exit {
            let dump = if *core_dumped { ", with a core dump" } else { "" };
            return match (by, code) {
                (Some(by), _) if *by == signal => {
                    (Outcome::Killed, format!("took it, and died of a later {signal}"))
                }
                (Some(by), _) => (Outcome::Crashed, format!("died of {by}{dump}")),
                (None, code) if self.ends_alike(*code) => self.went_on_up(),
                (None, code) => {
                    let ended =
                        code.map_or("exited".to_owned(), |it| format!("exited with code {it}"));
                    // One that still waits may have been seen all the same (sigpending).
                    match self.never_taken().filter(|(did, _)| *did == Outcome::Ignored) {
                        Some((did, what)) if self.role == Role::End => {
                            (did, format!("{what}; it {ended} by itself"))
                        }
                        _ => (Outcome::Ended, ended),
                    }
                }
            };
        }
        if self.role == Role::End {
            let (outcome, what) =
                self.never_taken().unwrap_or_else(|| (Outcome::Hung, "took it".to_owned()));
            return (outcome, format!("{what}, and still ran after {lasted}"));
        }
        if self.before.readies > 0 && self.run.readies == 0 {
            return (Outcome::Hung, format!("did not say READY=1 within {lasted}"));
        }
        self.went_on_up()
    }

    /// The process did what it does without the signal; so did the unit, or it did not come up.
    fn went_on_up(&self) -> (Outcome, String) {
        match (&self.run.down, self.went_on()) {
            (Some((outcome, down)), (_, what)) => (*outcome, format!("{what}; {down}")),
            (None, went_on) => went_on,
        }
    }

    /// Whether an end is the one that the command comes to by itself.
    fn ends_alike(&self, code: Option<u8>) -> bool {
        let before = &self.before.outcome;
        self.role != Role::End && before.state == OutcomeState::Exited && before.code == code
    }

    /// What became of a signal that the process never took.
    fn never_taken(&self) -> Option<(Outcome, String)> {
        let lost = if self.role == Role::Reload { ": the reload is lost" } else { "" };
        Some(match self.sent.fate {
            Fate::Ignored => (Outcome::Ignored, format!("ignored it{lost}")),
            Fate::Pending | Fate::Coalesced => {
                (Outcome::Pending, "blocked it, and never took it".to_owned())
            }
            Fate::Dropped if self.sent.disposition == DispositionKind::Blocked => {
                (Outcome::Ignored, format!("blocked it, and then had it thrown away{lost}"))
            }
            Fate::Dropped => (Outcome::Ignored, "the kernel had no room for it".to_owned()),
            _ => return None,
        })
    }

    /// The process did what it does without the signal.
    fn went_on(&self) -> (Outcome, String) {
        let signal = self.signal;
        let what = match (self.never_taken(), self.sent.effect) {
            (_, Some(Effect::Unanswered)) => {
                return (Outcome::Hung, "did not answer: no RELOADING=1".to_owned());
            }
            (_, Some(Effect::Unfinished)) => {
                return (Outcome::Hung, "said RELOADING=1, and no READY=1 followed".to_owned());
            }
            (_, Some(Effect::LostProcess)) => {
                return (Outcome::Killed, format!("went on; another process died of {signal}"));
            }
            (_, Some(Effect::Crashed)) => {
                return (Outcome::Crashed, "died of another signal".to_owned());
            }
            (_, Some(Effect::Replaced)) => {
                return (Outcome::Ended, "another process took over".to_owned());
            }
            (Some(never), _) => return never,
            _ if self.sent.fate == Fate::Stopped => {
                return (Outcome::Hung, "was stopped by it".to_owned());
            }
            (_, Some(Effect::Reloaded)) => "took it, and said that it has reloaded",
            (_, Some(Effect::Deferred)) => "its trap waits for the command in the foreground",
            _ if self.run.readies > self.before.readies => {
                "took it, and said READY=1 once more than without it"
            }
            _ if self.before.answers => {
                let what = "took it, and did not say that it has reloaded, as it does at rest: the \
                            reload is lost";
                return (Outcome::Ignored, what.to_owned());
            }
            _ => "took it, and went on",
        };
        (Outcome::Taken, what.to_owned())
    }
}
