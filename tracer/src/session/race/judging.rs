//! What a run with a signal has come to.

use super::{Ran, Rounds, Runner, rounds::Aim, untouched::First};
use crate::{
    model::{
        document::{OutcomeState, ProcessOutcome},
        errno,
        race::{By, Try},
        signal::Signal,
    },
    race::{
        At, FEWER_CALLS, Planned, Run, Same, SentBy, Steps, Undisturbed, never_comes, role, tried,
    },
};

/// What is said of a run in which a process was hit that has exited, and is no worker or may be none.
const HELPER: &str = "a helper is in its place in this run";
const MAY_BE_HELPER: &str = "it may be a helper that is in its place in this run";

/// So many processes that may be helpers were hit, and no helper was seen: then they are workers, in the
/// place of which others are started.
const UNKNOWN: u32 = 3;

/// What the runs for an interval have shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// How many there were, with this one.
    pub attempts: u32,
    /// In how many of them it was not known whether a helper was hit.
    unknown: u32,
    /// Whether one was.
    has_helpers: bool,
}

impl Shown {
    /// Takes what one came to.
    pub fn learn(&mut self, tried: &Try) {
        self.unknown += u32::from(tried.what == MAY_BE_HELPER);
        self.has_helpers |= tried.what == HELPER;
    }

    fn takes_unknown(&self) -> bool {
        self.unknown >= UNKNOWN && !self.has_helpers
    }
}

impl Rounds<'_, '_> {
    /// What the signal did in a run in which it was to be in this interval.
    pub(super) fn judge(
        &self,
        ((planned, of, helpers), untouched): (&Aim, &Planned),
        signal: Signal,
        ran: &Ran,
        first: &First,
        shown: &Shown,
    ) -> Try {
        let role = role(signal, &self.rules.reloads);
        let is_sent = planned.at.is_sent();
        let placed = match &ran.rested {
            Some(rested) if is_sent => Some((rested.pid, rested.at)),
            _ => ran.came.placed,
        };
        let steps = self.steps(ran, signal);
        let of_start = self.steps(&first.ran, signal);
        let absent = match planned.at {
            At::ChildExit(exit) if placed.is_none() => {
                let process = planned.order(signal, of, *helpers).process;
                Some(exit.missed(process, &ran.came.child_exits))
            }
            // Where the start came to its end, and the same process made it.
            At::Call(_)
                if placed.is_none()
                    && ran.came.refused.is_none()
                    && ended_as(ran).state == OutcomeState::Running
                    && self.another_main(ran, &steps).is_none() =>
            {
                Some(FEWER_CALLS)
            }
            _ => None,
        };
        let missed = match (placed, ran.came.refused) {
            _ if ran.document.capture.lost > 0 => {
                Some(format!("{} events of this run were lost", ran.document.capture.lost))
            }
            (_, Some(number)) => {
                Some(format!("the kernel refused to send the signal: {}", errno::words(number)))
            }
            _ if ran.unsent.is_some() => ran.unsent.clone(),
            _ if absent.is_some() => absent.map(str::to_owned),
            (None, _) if matches!(planned.at, At::Active(_)) => Some(match &*self.racer {
                Runner::Unit(_) => "systemd did not take it for active in this run".to_owned(),
                Runner::Command(_) => "READY=1 did not come in this run".to_owned(),
            }),
            (None, _) if is_sent => {
                let lasted = ran.until.saturating_sub(ran.span.0);
                Some(never_comes(&ended_as(ran), lasted))
            }
            (Some(hit), None) => self
                .missed(planned, signal, (ran, &steps), of, hit)
                .or_else(|| match untouched.is_of_same_process(&of_start, &steps, hit) {
                    Same::Yes => None,
                    _ if is_sent => None,
                    Same::Unknown if shown.takes_unknown() => None,
                    Same::Unknown => Some(MAY_BE_HELPER.to_owned()),
                    Same::Helper => Some(HELPER.to_owned()),
                    Same::No => Some("another process is in its place in this run".to_owned()),
                })
                .or_else(|| self.another_main(ran, &steps)),
            (None, None) => self.another_main(ran, &steps),
        };
        let zero = i128::from(steps.zero());
        let on_timeline =
            |at: u64| (i128::from(at) - zero).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        // Of a reload, the record tells who sent the signal.
        let came = placed.and_then(|(_, placed)| {
            let sent = ran.sent.iter().find(|(at, _)| *at >= placed);
            sent.filter(|_| ran.reload.is_some()).copied()
        });
        let reload = ran.reload.as_ref().map(|reload| {
            let sent = came.map(|(at, _)| at);
            (reload.asked(sent, on_timeline), reload.held(sent))
        });
        let run = Run {
            document: &ran.document,
            sender: came
                .map_or_else(|| self.sender(is_sent), |(_, sender)| SentBy::Process(sender)),
            placed: placed.map(|(pid, at)| (pid, on_timeline(at))),
            missed,
            readies: ran.readies,
            down: self.down(ran),
            left: &ran.left,
            by_systemd: ran.by_systemd.clone(),
            lasted_ns: ran.until.saturating_sub(ran.span.0),
            reload,
        };
        // The numbers of the run before may be another process's there.
        let answers = planned.main && first.answers.intersects(signal.set());
        let before = Undisturbed { answers, ..first.before.of_process(untouched, &of_start) };
        tried(&run, &before, signal, role, shown.attempts)
    }

    /// Why a signal that was placed at `at` in a run, with these steps, is not in the interval, if it is
    /// not.
    fn missed(
        &self,
        planned: &Planned,
        signal: Signal,
        (ran, steps): (&Ran, &Steps),
        of: &Steps,
        (pid, at): (u32, u64),
    ) -> Option<String> {
        let is_too_early = ran.rested.as_ref().is_none_or(|rested| at < rested.at);
        if matches!(planned.at, At::AfterRest(_)) && is_too_early {
            return Some("that step came before it was at rest in this run".to_owned());
        }
        let until = self.steps_until(planned.until(at), ran, signal);
        let why = match planned.alike(of, &until, pid) {
            Some(alike) if !alike.is_of(steps) => "another program is in its place in this run",
            Some(alike) if alike.holds(&until, at) => return None,
            _ => "another step came first in this run",
        };
        Some(why.to_owned())
    }

    /// Who sends the signal; the kernel does not where it is no instant of its own (`is_sent`).
    pub(super) fn sender(&self, is_sent: bool) -> SentBy {
        match self.rules.by {
            By::Kernel if !is_sent => SentBy::Kernel,
            By::Kernel | By::Kill => SentBy::Process(std::process::id()),
            By::Reload => match &*self.racer {
                Runner::Unit(racer) => SentBy::Systemd(racer.unit.systemd()),
                Runner::Command(_) => SentBy::Kernel,
            },
        }
    }
}

/// How the command was at the end of its start.
pub(super) fn ended_as(ran: &Ran) -> ProcessOutcome {
    let running = ProcessOutcome { state: OutcomeState::Running, signal: None, code: None };
    if ran.rested.is_some() {
        return running;
    }
    let starts = ran.document.services.iter().flat_map(|service| &service.activations);
    starts.last().map_or(running, |start| start.outcome.clone())
}
