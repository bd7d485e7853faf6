//! What a run with a signal has come to.

use super::{Ran, Rounds, Runner, rounds::Aim, untouched::First};
use crate::{
    model::{
        document::{OutcomeState, ProcessOutcome},
        errno,
        race::{By, Try},
        signal::Signal,
    },
    race::{At, FEWER_CALLS, Planned, Run, SentBy, Steps, Undisturbed, never_comes, role, tried},
};

impl Rounds<'_, '_> {
    /// What the signal did in a run in which it was to be in this interval.
    pub(super) fn judge(
        &self,
        ((planned, of, _), untouched): (&Aim, &Planned),
        signal: Signal,
        ran: &Ran,
        first: &First,
        attempts: u32,
    ) -> Try {
        let role = role(signal, &self.rules.reloads);
        let is_sent = planned.at.is_sent();
        let placed = match &ran.rested {
            Some(rested) if is_sent => Some((rested.pid, rested.at)),
            _ => ran.came.placed,
        };
        let steps = self.steps(ran, signal);
        let absent = match planned.at {
            At::ChildExit(exit) if placed.is_none() => Some(exit.missed(&ran.came.child_exits)),
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
            (Some((pid, at)), None) => self
                .missed(planned, signal, (ran, &steps), of, (pid, at))
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
        let before = self.undisturbed(untouched, &first.ran, &first.before);
        let answers = planned.main && first.answers.intersects(signal.set());
        let before = Undisturbed { answers, ..before };
        tried(&run, &before, signal, role, attempts)
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
