//! Whether the service answered a reload: RELOADING=1, and READY=1 after it.

use super::{EffectAt, Reloads};
use crate::model::event::{Effect, Event, Fate, NotifyMessage, Sender, What};

impl Reloads<'_> {
    /// Whether a reload at this time is to be answered by messages.
    pub(super) fn is_to_answer(&self, at: i64) -> bool {
        self.is_notify_reload() && self.around.ready_ns.is_some_and(|ready| ready <= at)
    }

    pub(super) fn is_notify_reload(&self) -> bool {
        let service_type = self.around.facts.and_then(|facts| facts.service_type.as_deref());
        service_type == Some("notify-reload")
    }

    /// Whether an event is a reload signal of its own to this process.
    pub(super) fn is_reload_of(&self, event: &Event, pid: u32) -> bool {
        let What::Signal(sent) = &event.what else { return false };
        sent.target.pid == pid && sent.fate != Fate::Coalesced && self.sender(sent).is_some()
    }

    /// The RELOADING=1 that answers a reload signal: the next one of that main process which
    /// systemd takes, before the next reload; and within the settle time, unless systemd waits for
    /// it: what comes later may have had any other cause.
    pub(super) fn reloading_after(&self, index: usize, pid: u32) -> Option<usize> {
        let until = self.events[index].at_ns.saturating_add(self.around.settle_ns);
        let is_in_time = |event: &Event| self.is_notify_reload() || event.at_ns <= until;
        let rest = self.events.iter().enumerate().skip(index + 1);
        let before_next = rest.take_while(|(_, event)| {
            is_in_time(event) && !self.is_reload_of(event, pid) && !self.is_other_reload(event)
        });
        { before_next }.find(|(_, event)| self.is_answer(event)).map(|(index, _)| index)
    }

    /// Whether systemd begins a reload that sends another signal, or none: by a command that asks
    /// the program in its own way.
    fn is_other_reload(&self, event: &Event) -> bool {
        let sends = self.around.facts.and_then(|facts| facts.reload_signal);
        let begins = matches!(&event.what, What::Systemd { state, sub_state, .. }
            if state == "reloading" && sub_state.as_deref() == Some("reload"));
        begins && !self.is_notify_reload() && sends != Some(self.around.signal)
    }

    /// Whether an event is a RELOADING=1 that systemd counts as the answer to a reload. READY=1 in
    /// the same message says that it is done already (`service_notify_message()` in systemd's
    /// src/core/service.c).
    fn is_answer(&self, event: &Event) -> bool {
        let What::Notify(message) = &event.what else { return false };
        let timed = message.value("MONOTONIC_USEC").and_then(|text| text.parse::<u64>().ok());
        counts(message)
            && message.says("RELOADING", "1")
            && !message.says("STOPPING", "1")
            && (!self.is_notify_reload() || timed.is_some_and(|usec| usec > 0))
    }

    /// What follows a RELOADING=1, or comes with it.
    pub(super) fn of_reloading(&self, index: usize, last: i64) -> EffectAt {
        let at = self.events[index].at_ns;
        let mut open = self.events[index..].iter().take_while(|event| !is_stopped_by(event));
        if let Some(done) = open.find(|event| says_ready(event)) {
            return (Effect::Reloaded, Some(done.at_ns));
        }
        if let Some(at) = self.gave_up_after(index, last) {
            return (Effect::Unfinished, Some(at));
        }
        let until = at.saturating_add(self.around.settle_ns);
        let going = self.stopping().is_some_and(|stopping| stopping < until);
        (if last >= until && !going { Effect::Unfinished } else { Effect::Unknown }, None)
    }

    /// Whether READY=1 said, between a reload and a later event, that the reload was done.
    pub(super) fn was_done(&self, reload: usize, later: usize) -> bool {
        self.events[reload..later].iter().any(says_ready)
    }

    /// Whether systemd's time for a reload was over before the main process ended.
    pub(super) fn was_late_before(&self, index: usize, at: i64, pid: u32, end: i64) -> bool {
        let begins = || self.reloading_after(index, pid).unwrap_or(index);
        self.is_to_answer(at) && self.gave_up_after(begins(), end).is_some()
    }

    /// When systemd's time for a reload was over, where nothing had answered.
    pub(super) fn gave_up_after(&self, index: usize, last: i64) -> Option<i64> {
        self.active_again_after(index).or_else(|| self.timed_out_after(index, last))
    }

    /// When `TimeoutStartSec=` was over. A notify-reload service has it for its answer and for the
    /// end of the reload, and no state tells of it before systemd 259, which waits on.
    fn timed_out_after(&self, index: usize, last: i64) -> Option<i64> {
        let facts = self.around.facts.filter(|_| self.is_notify_reload())?;
        let limit = facts.timeout_start_ns.filter(|limit| *limit > 0)?;
        let until = self.events[index].at_ns.saturating_add(i64::try_from(limit).ok()?);
        let says = |message: &NotifyMessage| {
            let keys = ["READY", "RELOADING", "STOPPING", "EXTEND_TIMEOUT_USEC"];
            counts(message) && keys.iter().any(|key| message.value(key).is_some())
        };
        let rest = self.events[index + 1..].iter().take_while(|event| event.at_ns <= until);
        let is_said =
            { rest }.any(|event| matches!(&event.what, What::Notify(message) if says(message)));
        (until <= last && !is_said).then_some(until)
    }

    /// When systemd took the unit as active again after it had waited for the end of a reload,
    /// where nothing had answered: its timeout was over.
    fn active_again_after(&self, index: usize) -> Option<i64> {
        let state = |event: &Event| match &event.what {
            What::Systemd { state, .. } => Some(state.clone()),
            _ => None,
        };
        let mut reloading =
            self.events[..=index].iter().rev().find_map(state).is_some_and(|it| it == "reloading");
        for event in &self.events[index + 1..] {
            match &event.what {
                What::Notify(message)
                    if counts(message)
                        && (message.says("READY", "1") || message.says("RELOADING", "1")) =>
                {
                    return None;
                }
                What::Systemd { state, .. } if state == "reloading" => reloading = true,
                What::Systemd { state, .. } if reloading => {
                    return (state == "active").then_some(event.at_ns);
                }
                _ => {}
            }
        }
        None
    }

    /// The effect of a reload that the service announces without having been sent a signal.
    pub(super) fn of_announced(
        &self,
        index: usize,
        at: i64,
        message: &NotifyMessage,
    ) -> Option<EffectAt> {
        // Before it was up, what it loads is the first of its settings: systemd goes on with the
        // start (`service_notify_message()`).
        let is_starting = self.around.ready_ns.is_some_and(|ready| at < ready);
        if !counts(message)
            || !message.says("RELOADING", "1")
            || message.says("READY", "1")
            || message.says("STOPPING", "1")
            || is_starting
        {
            return None;
        }
        let pid = self.main_at(at)?;
        // Since the last end of a reload.
        let before = self.events[..index].iter().enumerate().rev().take_while(|(_, event)| {
            !matches!(&event.what, What::Notify(message)
                if counts(message) && (message.says("READY", "1") || message.says("RELOADING", "1")))
        });
        let is_reload = |(place, event): (usize, &Event)| match &event.what {
            What::Signal(sent) if sent.target.pid == pid && self.sender(sent).is_some() => {
                self.is_notify_reload() || self.reloading_after(place, pid) == Some(index)
            }
            _ => false,
        };
        if { before }.any(is_reload) {
            return None;
        }
        let end = self.end_of(pid, at);
        let last = end.map_or(self.around.end_ns, |end| end.at);
        let told = self.of_reloading(index, last);
        match end {
            // It was neither done nor given up before.
            Some(end) if told.1.is_none() && end.at <= at.saturating_add(self.around.settle_ns) => {
                Some(self.of_end(index, at, pid, end).unwrap_or(told))
            }
            _ => Some(told),
        }
    }
}

/// Whether systemd stops the service by an event, or has begun to: it takes no READY=1 any more.
/// It does from a service that another process told to end.
fn is_stopped_by(event: &Event) -> bool {
    match &event.what {
        What::Systemd { state, .. } => state == "deactivating",
        What::Signal(sent) => {
            let by_systemd = |sender: &Sender| sender.process.comm == "systemd";
            sent.signal.may_be_to_end() && sent.sender.as_ref().is_some_and(by_systemd)
        }
        _ => false,
    }
}

/// Whether an event is a READY=1 that counts.
fn says_ready(event: &Event) -> bool {
    matches!(&event.what, What::Notify(message) if counts(message) && message.says("READY", "1"))
}

/// Whether systemd acts on a message, as far as is known.
fn counts(message: &NotifyMessage) -> bool {
    message.result == 0 && message.accepted != Some(false)
}
