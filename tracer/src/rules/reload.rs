//! Reload signals among the events, and which of them kill.

use super::{case::Case, consequence, result::End};
use crate::model::{
    event::{DispositionKind, Effect, Fate, Runtime, Sender, SignalSent, What},
    signal::Signal,
};

/// A reload signal sent to the main process.
#[derive(Clone, Copy)]
pub(super) struct Reload<'a> {
    pub index: usize,
    pub at_ns: i64,
    pub sent: &'a SignalSent,
    pub sender: &'a Sender,
}

impl Reload<'_> {
    /// When its fate was sealed.
    pub fn settled_ns(&self) -> i64 {
        self.sent.fate_ns.unwrap_or(self.at_ns)
    }
}

/// A reload signal that kills for want of a handler.
#[derive(Clone, Copy)]
pub(super) struct Deadly<'a> {
    pub reload: Reload<'a>,
    /// Whether it did kill, or would have.
    pub killed: bool,
    /// The signal by which a language runtime passed it on to its own process.
    pub reraised: Option<usize>,
    /// How the process ends of it.
    pub end: End,
}

impl<'a> Case<'a> {
    /// The reload signals sent to the main process. What the kernel sends is a
    /// terminal's hang-up, and what a process sends itself ends its own handler's
    /// work (reset, then raise): neither is a reload, nor is what systemd sends to stop the unit.
    pub(super) fn reloads(&self) -> impl Iterator<Item = Reload<'a>> {
        self.signals().filter_map(|(index, at_ns, sent)| {
            let sender = sent.sender.as_ref()?;
            let is_reload = sent.signal == self.reload_signal()
                && !self.is_main(sender)
                && !self.is_stop(sent.signal, sender);
            is_reload.then_some(Reload { index, at_ns, sent, sender })
        })
    }

    fn is_stop(&self, signal: Signal, sender: &Sender) -> bool {
        let stops = self.facts().is_some_and(|facts| facts.stops_by(signal));
        stops && sender.process.comm == "systemd"
    }

    /// Those that came before the service began to go away.
    pub(super) fn reloads_in_service(&self) -> impl Iterator<Item = Reload<'a>> {
        let stopping = self.stopping_ns();
        self.reloads().filter(move |reload| stopping.is_none_or(|at| reload.at_ns <= at))
    }

    /// The reloads among the signals that had this effect on the service, whoever was the main
    /// process then.
    pub(super) fn with_effect(
        &self,
        is_wanted: impl Fn(Effect) -> bool,
    ) -> impl Iterator<Item = Reload<'a>> {
        self.events().filter_map(move |(index, event)| {
            let What::Signal(sent) = &event.what else { return None };
            let sender = sent.sender.as_ref().filter(|_| sent.effect.is_some_and(&is_wanted))?;
            Some(Reload { index, at_ns: event.at_ns, sent, sender })
        })
    }

    /// Whether this reload signal kills because the program has no handler.
    pub(super) fn deadly(&self, reload: &Reload<'a>) -> Option<Deadly<'a>> {
        let sent = reload.sent;
        // Another process took its place: that is how it reloads.
        if sent.effect == Some(Effect::Replaced) {
            return None;
        }
        let (killed, reraised) = match (sent.disposition, sent.fate) {
            // A death through the program's own handler is its own decision.
            (DispositionKind::Handler, _) if sent.runtime.is_none() => return None,
            (DispositionKind::Handler, Fate::Killed) => (true, self.reraised(reload)),
            // It shuts down, or will have once its hooks have run.
            (DispositionKind::Handler, Fate::Handled)
                if sent.runtime.is_some_and(|it| it.exit_code(sent.signal).is_some()) =>
            {
                (self.activation.milestones.exit_ns.is_some(), None)
            }
            (DispositionKind::Handler, _) => (true, Some(self.reraised(reload)?)),
            (_, Fate::Killed) => (true, None),
            // It waits only because the process is stopped or traced.
            (DispositionKind::Default, Fate::Pending)
                if sent.signal.default_action().is_fatal() =>
            {
                (false, None)
            }
            _ => return None,
        };
        let end = end(sent.signal, sent.runtime, self.dumped_core());
        Some(Deadly { reload: *reload, killed, reraised, end })
    }

    /// How the reload signal would end the main process at `at`.
    pub(super) fn end_at(&self, at: i64) -> End {
        let phase = self.phases().take_while(|phase| phase.at_ns <= at).last();
        end(self.reload_signal(), phase.and_then(|phase| phase.runtime), false)
    }

    /// The same signal from the main process to itself, right after the reload, that kills.
    /// Go raises it with its own handler still in force, and again when that is gone
    /// (`dieFromSignal` in src/runtime/signal_unix.go).
    fn reraised(&self, reload: &Reload) -> Option<usize> {
        self.signals_from(reload.index + 1)
            .take_while(|(_, _, next)| {
                next.signal == reload.sent.signal
                    && next.sender.as_ref().is_some_and(|sender| self.is_main(sender))
            })
            .find(|(_, _, next)| next.fate == Fate::Killed)
            .map(|(index, ..)| index)
    }

    /// The reload signal that killed the service, or would have, if there is one.
    pub(super) fn deadly_reload(&self) -> Option<Deadly<'a>> {
        let stopping = self.stopping_ns();
        self.reloads()
            .filter_map(|reload| self.deadly(&reload))
            .find(|deadly| stopping.is_none_or(|stopping| deadly.reload.settled_ns() <= stopping))
    }

    /// Whether this end is how the service is meant to reload: its signal is there to end it, and
    /// systemd starts it again.
    pub(super) fn is_restart(&self, end: End, at: i64) -> bool {
        self.is_meant_to_end() && consequence::restarts(self, end, at) == Some(true)
    }

    /// Whether a reload is there to end the service, and has: it needs no handler for that.
    pub(super) fn ends_as_meant(&self, deadly: &Deadly) -> bool {
        deadly.killed && self.is_meant_to_end()
    }

    /// Whether a deadly reload came after the start, to a program that never had a
    /// handler: then it was no race, and the next reload kills too.
    pub(super) fn is_beyond_race(&self, deadly: &Deadly) -> bool {
        let at = deadly.reload.at_ns;
        (self.is_started_at(at) || self.has_long_run_at(at))
            && !self.took_reload_before(at)
            && self.first_handler().is_none()
    }
}

/// How a signal ends a process that has no handler of its own for it.
fn end(signal: Signal, runtime: Option<Runtime>, core_dumped: bool) -> End {
    match runtime.and_then(|runtime| runtime.exit_code(signal)) {
        Some(code) => End::Code(code),
        None => End::Signal { signal, core_dumped },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::*;

    /// Whether a reload by this signal, met by its default action, is deadly while it waits.
    fn is_deadly(signal: Signal) -> bool {
        let start = activation().reloads_by(signal).exec(0);
        let start = start.signal(1.s(), signal, Default, Pending, by("kill"));
        let mut document = start.document();
        let service = document.services.remove(0);
        let (capture, activation) = (&document.capture, &service.activations[0]);
        let case = Case { capture, service: &service, activation };
        case.deadly_reload().is_some()
    }

    #[test]
    fn only_a_signal_whose_default_action_ends_a_process_is_deadly() {
        for name in ["HUP", "USR1", "QUIT", "RTMIN+3"] {
            assert!(is_deadly(name.parse().unwrap()), "{name}");
        }
        for name in ["TSTP", "TTIN", "CONT", "WINCH", "URG", "CHLD"] {
            assert!(!is_deadly(name.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn what_systemd_sends_to_stop_the_unit_is_no_reload() {
        let told = |service_type: &str, kill_signal: Signal, sender: &str| {
            let start = activation().unit(service_type, "no").exec(0);
            let start = start.with(|facts| facts.kill_signal = Some(kill_signal));
            start.signal(1.s(), Signal::HUP, Default, Killed, by(sender))
        };
        told("simple", Signal::HUP, "systemd").judged(&[]);
        let expected = ["reload-before-handler"];
        told("simple", Signal::HUP, "kill").judged(&expected);
        told("simple", Signal::TERM, "systemd").judged(&expected);
        // systemd reloads by its ReloadSignal= too.
        told("notify-reload", Signal::HUP, "systemd").judged(&expected);
    }

    #[test]
    fn a_reload_that_kills_after_the_service_was_told_to_stop_is_none() {
        for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
            let told = |fate| {
                let start = activation().exec(0).signal(1.s(), signal, Handler, fate, by("kill"));
                start.signal(2.s(), Signal::HUP, Default, Killed, by("kill"))
            };
            told(Handled).judged(&[]);
            // What is ignored tells nobody to stop.
            told(Fate::Ignored).judged(&["reload-before-handler"]);
        }
        let usr1 = "USR1".parse().unwrap();
        let start = activation().exec(0).signal(1.s(), usr1, Handler, Handled, by("kill"));
        let start = start.signal(2.s(), Signal::HUP, Default, Killed, by("kill"));
        start.judged(&["reload-before-handler"]);
    }
}
