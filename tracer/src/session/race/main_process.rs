//! Which process of a unit is its main one: for most types the one that systemd starts, for
//! `Type=forking` one that this has started.

use anyhow::Result;

use super::{super::BadRequest, Asking, Ran, Rounds, Runner, goals::nanoseconds, rounds::ATTEMPTS};
use crate::{
    model::{document::EndedBy, race::Outcome, span},
    race::{Active, Steps},
};

impl Rounds<'_, '_> {
    /// Whether what is raced is a unit whose main process systemd learns of when it is up.
    pub(super) fn forks(&self) -> bool {
        matches!(&*self.racer, Runner::Unit(racer) if racer.unit.is_forking())
    }

    /// The untouched run, again where systemd did not take the READY=1 of it: who says it may be gone
    /// by the time that systemd looks.
    pub(super) async fn untouched_run(&mut self, asking: &Asking) -> Result<Ran> {
        let mut ran = self.whole(asking).await?;
        for _ in 1..ATTEMPTS {
            if ran.readies == 0 || self.not_up(&ran).is_none() {
                break;
            }
            let name = self.racer.name();
            self.observer.note(&format_args!(
                "systemd did not take the READY=1 of {name} in the untouched run, which is made again"
            ));
            ran = self.whole(asking).await?;
        }
        Ok(ran)
    }

    /// Why an untouched run that took all of its time is none of a start that can be raced: it said no
    /// READY=1, or systemd never took the unit for active, and would send no reload.
    pub(super) fn not_up(&self, ran: &Ran) -> Option<String> {
        if ran.ended_by != EndedBy::Timeout || ran.rested.is_some() || self.forks() {
            return None;
        }
        let within = span::length(nanoseconds(self.rules.timeout));
        let (is_unit, name) = match &*self.racer {
            Runner::Command(_) => (false, "the command"),
            Runner::Unit(racer) => (true, racer.unit.name()),
        };
        let is_active = !is_unit || matches!(ran.active, Some(Active::Since(_)));
        match (self.rules.says_ready(), ran.readies) {
            (true, 0) => Some(format!(
                "{name} did not say READY=1 within {within}: a service that does not say it is raced \
                 with --type simple, and one that takes longer with --timeout"
            )),
            (true, _) if !is_active => Some(format!(
                "{name} said READY=1, and systemd did not take it for active within {within}: it \
                 takes READY=1 from those alone that NotifyAccess= names, by default the main \
                 process, and from none that is gone before it looks"
            )),
            (false, _) if !is_active => Some(format!(
                "systemd did not take {name} for active within {within}: one that takes longer is \
                 raced with --timeout"
            )),
            _ => None,
        }
    }

    /// Takes the main process of the untouched run for that of all runs.
    ///
    /// # Errors
    ///
    /// A [`BadRequest`] where it is none that can be followed.
    pub(super) fn take_main(&mut self, ran: &mut Ran) -> Result<()> {
        if !self.forks() {
            return self.check_main(ran);
        }
        let place = match self.forked_main(ran) {
            Ok(place) => place,
            Err(sentence) => return Err(BadRequest::new(sentence).into()),
        };
        ran.main_place = place;
        if let Runner::Unit(racer) = &mut *self.racer {
            racer.main_place = Some(place);
        }
        Ok(())
    }

    /// The place of the main process in the untouched run of `Type=forking`; or why there is none.
    fn forked_main(&self, ran: &Ran) -> Result<u64, String> {
        let name = self.racer.name();
        if let Some(result) = &ran.failed {
            return Err(format!(
                "systemd's start of {name} ended with '{result}' without a signal from here: there \
                 is no start to race"
            ));
        }
        if !matches!(ran.active, Some(Active::Since(_))) {
            let lasted = span::length(ran.span.1.saturating_sub(ran.span.0));
            return Err(format!(
                "{name} did not come up within {lasted}: one that takes longer is raced with \
                 --timeout"
            ));
        }
        let Some(pid) = ran.main else {
            return Err(format!(
                "{name} is up, and systemd knows no main process of it (PIDFile=): nothing tells \
                 whom a reload reaches"
            ));
        };
        self.steps(ran, self.rules.signals[0]).place_of(pid).ok_or_else(|| {
            format!(
                "the main process of {name} is pid {pid}, which does not come from what systemd \
                 started, or is too far down: it can't be raced"
            )
        })
    }

    /// The main process of a unit is the one that was followed, if systemd says so.
    fn check_main(&self, ran: &Ran) -> Result<()> {
        let Some(main) = ran.main else { return Ok(()) };
        let steps = self.steps(ran, self.rules.signals[0]);
        let followed = steps.command().map(|command| &command.who);
        let is_it = followed.is_some_and(|who| who.pid == main || who.ns_pid == Some(main));
        if is_it {
            return Ok(());
        }
        Err(BadRequest::new(format_args!(
            "the main process of {} is pid {main}, another one than systemd started: a service \
             that hands over to another process can't be raced",
            self.racer.name()
        ))
        .into())
    }

    /// Why a run of `Type=forking` tells nothing of the main process: that was at another place.
    pub(super) fn another_main(&self, ran: &Ran, steps: &Steps) -> Option<String> {
        let place = steps.place_of(ran.main.or(ran.exec_main).filter(|_| self.forks())?)?;
        (place != ran.main_place).then(|| {
            "the main process was another one in this run, by the forks that lead to it".to_owned()
        })
    }

    /// What a run of `Type=forking` came to, where systemd did not take it for up.
    pub(super) fn down(&self, ran: &Ran) -> Option<(Outcome, String)> {
        if !self.forks() || matches!(ran.active, Some(Active::Since(_))) {
            return None;
        }
        if let Some(result) = &ran.failed {
            return Some((Outcome::Ended, format!("systemd's start of it ended with '{result}'")));
        }
        let lasted = span::length(ran.span.1.saturating_sub(ran.span.0));
        Some((Outcome::Hung, format!("systemd did not take it for up within {lasted}")))
    }
}
