//! When a service was ready, and what became of each READY=1.

use super::Timeline;
use crate::{
    model::{event::Refusal, unit::UnitFacts},
    timeline::{
        admission::{Admission, Claim},
        events::Record,
        notify::{self, Meaning},
    },
};

/// How long after a message systemd has read it for sure, unless it is held up, ns.
const READ_BY_NS: u64 = 100_000_000;

impl Timeline<'_> {
    /// The first READY=1 that was not refused. Where systemd had the service as up and none was
    /// seen, one came from elsewhere by then: from outside of the unit. What a service says that
    /// was up before the capture is of a reload.
    pub(super) fn ready_ns(&self) -> Option<i64> {
        if let Some(up) = self.up_before_capture() {
            return Some(self.at(up));
        }
        let kept = self.start.events().iter().filter_map(|stored| match &stored.record {
            Record::Notify { assignments, claim, .. }
                if notify::meaning(assignments) == Some(Meaning::Ready) =>
            {
                Some(claim)
            }
            _ => None,
        });
        let claims = self.start.ready().iter().chain(kept);
        let reloads_from = self.reloading_at();
        let counts = claims
            .filter(|claim| reloads_from.is_none_or(|from| claim.at < from))
            .filter(|claim| self.admission(claim, true).accepted != Some(false));
        counts.map(|claim| self.at(claim.at)).min().or_else(|| self.came_up_ns())
    }

    /// When systemd had a service as up that was to say READY=1, or to take its bus name.
    fn came_up_ns(&self) -> Option<i64> {
        let waits = self.frame.facts.is_some_and(|facts| facts.awaited().is_some());
        let mut states = self.states.iter().filter(|_| waits && self.joined_at().is_none());
        let up = states.find(|(_, state)| state.active_state == "active");
        up.map(|(at, _)| self.at(*at))
    }

    /// Since when systemd had a service as up that was to say READY=1, or to take its bus name, if
    /// that was before the capture.
    fn up_before_capture(&self) -> Option<u64> {
        self.frame.facts.filter(|facts| facts.awaited().is_some())?;
        let joined = self.joined_at()?;
        let up = self.states.iter().find(|(_, state)| state.active_state == "active");
        up.map(|(at, _)| *at).filter(|at| *at <= joined)
    }

    /// When a service that was found running first said that it reloads: it was ready then.
    fn reloading_at(&self) -> Option<u64> {
        self.joined_at()?;
        let said = self.start.events().iter().filter_map(|stored| match &stored.record {
            Record::Notify { assignments, claim, .. }
                if notify::meaning(assignments) == Some(Meaning::Reloading) =>
            {
                Some(claim.at)
            }
            _ => None,
        });
        said.min()
    }

    /// What becomes of a message, which is READY=1 or not.
    pub(super) fn admission(&self, claim: &Claim, is_ready: bool) -> Admission {
        let admission = self.start.admission(self.frame.facts, claim);
        if is_ready && admission.accepted.is_none() && self.came_up_after(claim.at) {
            return Admission { accepted: Some(true), ..Admission::default() };
        }
        if is_ready && admission.accepted == Some(true) && self.was_stopping(claim) {
            return Admission {
                accepted: Some(false),
                refusal: Some(Refusal::Stopping),
                problem: Some(
                    "STOPPING=1 had been said, which is final from systemd 259 on".to_owned(),
                ),
            };
        }
        if is_ready && admission.accepted == Some(true) && self.lacks_handler(claim) {
            return Admission {
                accepted: Some(false),
                refusal: Some(Refusal::NoHandler),
                problem: Some(format!(
                    "the main process had no handler for {}, which systemd 262 and later asks for",
                    self.frame.signal
                )),
            };
        }
        admission
    }

    /// Whether systemd had taken a STOPPING=1 as final by then
    /// (`service_notify_message`, since 259).
    fn was_stopping(&self, claim: &Claim) -> bool {
        let facts = self.frame.facts;
        if facts.and_then(UnitFacts::has_final_stopping) != Some(true)
            || self.came_up_after(claim.at)
        {
            return false;
        }
        self.start.events().iter().any(|stored| match &stored.record {
            Record::Notify { assignments, claim: earlier, .. } => {
                earlier.at < claim.at
                    && notify::meaning(assignments) == Some(Meaning::Stopping)
                    && self.start.admission(facts, earlier).accepted == Some(true)
            }
            _ => false,
        })
    }

    /// Whether systemd looked for the handler of the reload signal at this READY=1, and found
    /// none (`service_check_reload_signal_handler`, since 262: the signal must be caught or
    /// blocked). It looks when it reads the message: its own word counts where it is known.
    fn lacks_handler(&self, claim: &Claim) -> bool {
        let (signal, facts) = (self.frame.signal, self.frame.facts);
        let looks = facts.is_some_and(|facts| {
            facts.service_type.as_deref() == Some("notify-reload")
                && facts.reload_signal == Some(signal)
                && facts.needs_handler_at_ready() == Some(true)
        });
        if !looks || self.joined_at().is_some() || self.came_up_after(claim.at) {
            return false;
        }
        let earlier = self.start.ready().iter().any(|earlier| {
            earlier.at < claim.at && self.start.admission(facts, earlier).accepted != Some(false)
        });
        let main = self.start.main_at(claim.at).and_then(|main| self.start.member(main.id));
        let has_handler = |at| {
            let now = main.and_then(|main| main.signals_at(at)).map(|now| now.of(signal));
            now.is_none_or(|now| now.caught || now.blocked)
        };
        let was_read_by = claim.at.saturating_add(READ_BY_NS);
        !earlier
            && !has_handler(claim.at)
            && (self.is_down_after(claim.at) || !has_handler(was_read_by))
    }

    /// Whether systemd has said that it ends or has ended the service after `at`.
    fn is_down_after(&self, at: u64) -> bool {
        let mut states = self.states.iter();
        let down = ["deactivating", "failed", "inactive"];
        states.any(|(since, state)| *since >= at && down.contains(&state.active_state.as_str()))
    }

    /// Whether systemd has said that a service that was to say READY=1 came up after `at`.
    fn came_up_after(&self, at: u64) -> bool {
        let is_notify = self.frame.facts.is_some_and(UnitFacts::is_notify);
        let mut states = self.states.iter();
        is_notify && states.any(|(since, state)| *since >= at && state.active_state == "active")
    }
}
