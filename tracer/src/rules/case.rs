//! One activation as the rules read it: who the main process is, when it was
//! ready, when it was going away, what it did with the reload signal when.

use std::collections::BTreeSet;

use super::result::End;
use crate::model::{
    disposition::{Reaction, reaction},
    document::{Activation, Capture, ExposureKind, Service, ServiceKind},
    event::{DispositionKind, Event, Fate, NotifyMessage, ProcessRef, SignalSent, What},
    runtime::{Action, Runtime},
    signal::Signal,
    unit::UnitFacts,
    unit_state,
};

/// After this long a start that announces no readiness counts as over. Long
/// enough for slow imports and JVMs; no signal of its own says it.
const SETTLED_NS: i64 = 10_000_000_000;

/// So long after it gave its handler back a program that goes away may be reloaded, ns.
const GOING_NS: i64 = 200_000_000;

/// What a rule judges: one activation, with its service and the capture around it.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The capture.
    pub capture: &'a Capture,
    /// The service.
    pub service: &'a Service,
    /// The activation.
    pub activation: &'a Activation,
}

/// A message to the notify socket, with its place among the events.
#[derive(Clone, Copy)]
pub(super) struct Announcement<'a> {
    pub index: usize,
    pub at_ns: i64,
    pub message: &'a NotifyMessage,
}

impl Announcement<'_> {
    /// Whether systemd got it and, as far as is known, acted on it.
    pub fn counts(&self) -> bool {
        self.message.result == 0 && self.message.accepted != Some(false)
    }

    /// The state it announces.
    pub fn state(&self) -> Option<Announced> {
        // The order of precedence within one datagram: service_notify_message() in
        // systemd's src/core/service.c.
        [
            ("STOPPING", Announced::Stopping),
            ("READY", Announced::Ready),
            ("RELOADING", Announced::Reloading),
        ]
        .into_iter()
        .find_map(|(key, state)| self.message.says(key, "1").then_some(state))
    }

    /// Whether it has RELOADING=1 that counts: alone, or with READY=1, as the reload is done.
    pub fn announces_reload(&self) -> bool {
        self.message.says("RELOADING", "1") && !self.message.says("STOPPING", "1")
    }
}

/// What a service can say of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Stopping,
    Ready,
    Reloading,
}

/// What the main process does with the reload signal from some moment on.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Phase {
    pub index: usize,
    pub at_ns: i64,
    pub disposition: DispositionKind,
    pub runtime: Option<Runtime>,
    /// What that runtime's handler does with the signal.
    pub effect: Option<Action>,
    /// Whether a signalfd or sigwait takes it.
    pub consumed: bool,
    /// A signalfd or sigwait is there for it, whether or not every thread blocks it.
    pub has_consumer: bool,
    /// It is the init of a pid namespace that does so by default.
    pub spared: bool,
    /// Whether an exec brought it about.
    pub by_exec: bool,
    /// Whether the handler is there for one delivery only (SA_RESETHAND).
    pub once: bool,
}

impl Phase {
    /// Whether the signal surely ends the program.
    pub fn kills(&self) -> bool {
        self.reaction() == Reaction::Dies
    }

    /// Whether the program itself takes the signal.
    pub fn takes(&self) -> bool {
        self.reaction() == Reaction::Takes
    }

    fn reaction(&self) -> Reaction {
        reaction(self.disposition, self.consumed, self.effect)
    }
}

/// A state that systemd had the service in.
#[derive(Clone, Copy)]
pub(super) struct State<'a> {
    pub at_ns: i64,
    pub state: &'a str,
    pub sub_state: Option<&'a str>,
    /// `Result`, where it is not `success`.
    pub result: Option<&'a str>,
}

impl State<'_> {
    /// Whether systemd is to start it again.
    pub fn is_again(&self) -> bool {
        unit_state::is_again(self.sub_state)
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        unit_state::is_up(self.state)
    }

    /// Whether it is not up any more, and nothing of it is being stopped.
    pub fn is_over(&self) -> bool {
        unit_state::is_over(self.state, self.sub_state)
    }
}

impl<'a> Case<'a> {
    /// systemd's states of it, in order of time.
    pub(super) fn states(&self) -> impl Iterator<Item = State<'a>> + use<'a> {
        self.events().filter_map(|(_, event)| match &event.what {
            What::Systemd { state, sub_state, result, .. } => Some(State {
                at_ns: event.at_ns,
                state,
                sub_state: sub_state.as_deref(),
                result: result.as_deref(),
            }),
            _ => None,
        })
    }

    /// Whether systemd has given this as the result of the start.
    pub(super) fn has_result(&self, result: &str) -> bool {
        let last = self.activation.systemd.as_ref().and_then(|state| state.result.as_deref());
        last == Some(result) || self.states().any(|state| state.result == Some(result))
    }

    /// The one at `at`.
    pub(super) fn state_at(&self, at: i64) -> Option<State<'a>> {
        self.states().take_while(|state| state.at_ns <= at).last()
    }

    /// The unit's settings, as far as they are known.
    pub(super) fn facts(&self) -> Option<&'a UnitFacts> {
        self.service.unit.as_ref()
    }

    /// Whether the settings are those of a unit, not what `run` stands in for.
    pub(super) fn is_command(&self) -> bool {
        self.service.kind == ServiceKind::Command
    }

    /// Whether the reload is there to end the program: its signal is one of those by which
    /// systemd or people end programs.
    pub(super) fn is_meant_to_end(&self) -> bool {
        self.reloads_by_signal() && self.reload_signal().may_be_to_end()
    }

    /// Whether it is a unit of systemd.
    pub(super) fn is_unit(&self) -> bool {
        self.service.kind == ServiceKind::Unit
    }

    /// Whether its name on the message bus makes it ready.
    pub(super) fn is_dbus(&self) -> bool {
        self.facts().is_some_and(UnitFacts::is_dbus)
    }

    /// What makes the service ready.
    pub(super) fn awaited(&self) -> &'static str {
        self.facts().and_then(UnitFacts::awaited).unwrap_or("READY=1")
    }

    /// The signal that a reload of this service sends.
    pub(super) fn reload_signal(&self) -> Signal {
        self.service.signal.unwrap_or(self.capture.signal)
    }

    /// Whether the unit's own settings say that a reload sends this signal, the one that the
    /// timeline is drawn for.
    pub(super) fn reloads_by_signal(&self) -> bool {
        self.facts().is_some_and(|facts| facts.reload_signal == Some(self.reload_signal()))
    }

    pub(super) fn main(&self) -> Option<&'a ProcessRef> {
        self.activation.main_process.as_ref()
    }

    /// Whether the main process is the init of a pid namespace, which no default action ends.
    pub(super) fn is_init(&self) -> bool {
        self.main().is_some_and(|main| main.ns_pid == Some(1) || main.pid == 1)
    }

    pub(super) fn is_main(&self, process: &ProcessRef) -> bool {
        self.main().is_some_and(|main| main.pid == process.pid)
    }

    pub(super) fn events(&self) -> impl Iterator<Item = (usize, &'a Event)> + use<'a> {
        self.activation.events.iter().enumerate()
    }

    /// Where the main process's exit is among the events.
    pub(super) fn exit_index(&self) -> Option<usize> {
        self.events()
            .find(|(_, event)| {
                matches!(&event.what, What::Exit { process, .. } if self.is_main(process))
            })
            .map(|(index, _)| index)
    }

    /// Whether the main process dumped core when it died.
    pub(super) fn dumped_core(&self) -> bool {
        self.events().any(|(_, event)| {
            matches!(
                &event.what,
                What::Exit { process, core_dumped: true, .. } if self.is_main(process)
            )
        })
    }

    /// Every signal sent to the main process.
    pub(super) fn signals(&self) -> impl Iterator<Item = (usize, i64, &'a SignalSent)> {
        self.signals_from(0)
    }

    /// Those from the event at `first` on.
    pub(super) fn signals_from(
        &self,
        first: usize,
    ) -> impl Iterator<Item = (usize, i64, &'a SignalSent)> {
        self.events().skip(first).filter_map(|(index, event)| match &event.what {
            What::Signal(sent) if self.is_main(&sent.target) => Some((index, event.at_ns, &**sent)),
            _ => None,
        })
    }

    /// Every message to the notify socket, whoever sent it.
    pub(super) fn messages(&self) -> impl Iterator<Item = Announcement<'a>> + use<'a> {
        self.events().filter_map(|(index, event)| match &event.what {
            What::Notify(message) => Some(Announcement { index, at_ns: event.at_ns, message }),
            _ => None,
        })
    }

    /// When the main process's hold on the reload signal changed, and to what.
    pub(super) fn phases(&self) -> impl Iterator<Item = Phase> {
        // A change of mask says nothing of who owns the handler; that stays as it was.
        let mut owner = (None, false);
        self.events().filter_map(move |(index, event)| {
            let (disposition, by_exec, once) = match &event.what {
                What::Exec { process, disposition, .. } if self.is_main(process) => {
                    owner = (None, false);
                    (*disposition, true, false)
                }
                What::Mask { process, signal, disposition, .. }
                    if self.is_main(process) && *signal == self.reload_signal() =>
                {
                    (*disposition, false, false)
                }
                What::Disposition {
                    process, signal, disposition, consumer, runtime, once, ..
                } if self.is_main(process) && *signal == self.reload_signal() => {
                    owner = (*runtime, consumer.is_some());
                    (*disposition, false, *once)
                }
                _ => return None,
            };
            let (runtime, has_consumer) = owner;
            let consumed = has_consumer && disposition == DispositionKind::Blocked;
            let effect = runtime.and_then(|runtime| runtime.effect(self.reload_signal()));
            let spared = disposition == DispositionKind::Default && self.is_init();
            let disposition = if spared { DispositionKind::Ignored } else { disposition };
            let at_ns = event.at_ns;
            Some(Phase {
                index,
                at_ns,
                disposition,
                runtime,
                effect,
                consumed,
                has_consumer,
                spared,
                by_exec,
                once,
            })
        })
    }

    /// Those before the event at `index`.
    pub(super) fn phases_before(&self, index: usize) -> impl Iterator<Item = Phase> {
        self.phases().take_while(move |phase| phase.index < index)
    }

    /// The first time the main process took the reload signal into its own hands.
    pub(super) fn first_handler(&self) -> Option<Phase> {
        self.phases().find(Phase::takes)
    }

    /// Whether the program had taken a reload before `at`.
    pub(super) fn took_reload_before(&self, at: i64) -> bool {
        self.reloads().any(|reload| reload.at_ns < at && reload.sent.fate == Fate::Handled)
    }

    /// Whether at `at`, or at some time after it, a language runtime has the handler that
    /// may pass the signal on. Whether it does is the program's secret: Go's `signal.Notify`
    /// makes no system call that names a signal.
    pub(super) fn may_be_passed_on_from(&self, at: i64) -> bool {
        let is_open = |phase: &Phase| phase.effect == Some(Action::Unknown);
        let now = self.phases().take_while(|phase| phase.at_ns <= at).last();
        let mut later = self.phases().skip_while(|phase| phase.at_ns <= at);
        now.is_some_and(|phase| is_open(&phase)) || later.any(|phase| is_open(&phase))
    }

    /// Whether the reload signal would have killed the main process at `at`. A span
    /// ends before its last moment: what is mended at `at` is harmless at `at`.
    pub(super) fn is_fatal_at(&self, at: i64) -> bool {
        self.is_exposed_at(ExposureKind::Fatal, at)
    }

    /// Whether the reload signal would have been lost at `at`.
    pub(super) fn is_lost_at(&self, at: i64) -> bool {
        self.is_exposed_at(ExposureKind::Lost, at)
    }

    fn is_exposed_at(&self, kind: ExposureKind, at: i64) -> bool {
        let mut spans = self.activation.exposure.iter();
        spans.any(|span| span.kind == kind && span.from_ns <= at && at < span.to_ns)
    }

    /// The last moment that was observed: the exit, else the end of the capture.
    pub(super) fn end_ns(&self) -> i64 {
        self.activation.milestones.exit_ns.unwrap_or_else(|| {
            let capture = &self.capture;
            let end = capture.started_at.0.as_nanosecond() + i128::from(capture.duration_ns)
                - self.activation.started_at.0.as_nanosecond();
            i64::try_from(end).unwrap_or(i64::MAX)
        })
    }

    /// When the program that runs now was started.
    pub(super) fn began_ns(&self) -> i64 {
        let milestones = &self.activation.milestones;
        milestones.last_exec_ns.or(milestones.exec_ns).unwrap_or(0)
    }

    /// Whether READY=1 had been said before or at `at`.
    pub(super) fn is_ready_at(&self, at: i64) -> bool {
        self.activation.milestones.ready_ns.is_some_and(|ready| ready <= at)
    }

    /// Whether systemd had it as active before or at `at`; `None` if its word is not known.
    pub(super) fn was_active_at(&self, at: i64) -> Option<bool> {
        let mut states = self.events().filter_map(|(_, event)| match &event.what {
            What::Systemd { state, .. } => Some((event.at_ns, state.as_str())),
            _ => None,
        });
        let mut known = false;
        let active = states.any(|(at_ns, state)| {
            known = true;
            at_ns <= at && state == "active"
        });
        known.then_some(active)
    }

    /// Whether a process that was started before `at` by one of the service's lived on then.
    pub(super) fn has_descendants_at(&self, at: i64) -> bool {
        let mut alive = BTreeSet::new();
        for (_, event) in self.events().take_while(|(_, event)| event.at_ns <= at) {
            match &event.what {
                What::Fork { process, .. } => {
                    alive.insert(process.pid);
                }
                What::Exit { process, .. } => {
                    alive.remove(&process.pid);
                }
                _ => {}
            }
        }
        alive.iter().any(|pid| self.main().is_none_or(|main| main.pid != *pid))
    }

    /// Whether the main process was started by one of the service's, and not by systemd.
    pub(super) fn is_daemon(&self) -> bool {
        self.events().any(|(_, event)| {
            matches!(&event.what, What::Fork { process, parent }
                if self.is_main(process) && parent.comm != "systemd")
        })
    }

    /// Whether READY=1, or the name on the message bus, is still to be expected of this start.
    pub(super) fn awaits_ready(&self) -> bool {
        let awaits = self.facts().is_some_and(|facts| facts.awaited().is_some());
        self.activation.joined_ns.is_none()
            && (awaits || self.activation.milestones.ready_ns.is_some())
    }

    /// Whether the start was over at `at`: READY=1 was said, or, where none is due
    /// and a reload is known to send a signal, time enough had passed.
    pub(super) fn is_started_at(&self, at: i64) -> bool {
        let oneshot = self.is_oneshot();
        // A bus name says nothing of handlers, which may come later.
        let by_name = self.is_dbus() && self.is_ready_at(at);
        let settled = self.reloads_by_signal()
            && (by_name || !self.awaits_ready())
            && !oneshot
            && at.saturating_sub(self.began_ns()) >= SETTLED_NS;
        self.is_ready_at(at) && !by_name || settled
    }

    /// Whether a unit that announces nothing but a bus name, and whose own reload does not send the
    /// signal, had run for so long that its start was over.
    pub(super) fn has_long_run_at(&self, at: i64) -> bool {
        self.facts().is_some_and(|facts| facts.service_type.is_some())
            && !self.is_command()
            && !self.reloads_by_signal()
            && (!self.awaits_ready() || self.is_dbus() && self.is_ready_at(at))
            && !self.is_oneshot()
            && at.saturating_sub(self.began_ns()) >= SETTLED_NS
    }

    fn is_oneshot(&self) -> bool {
        self.facts().is_some_and(|facts| facts.service_type.as_deref() == Some("oneshot"))
    }

    /// The message with the first READY=1 that was not refused.
    pub(super) fn ready_message(&self) -> Option<Announcement<'a>> {
        self.messages().find(|told| told.counts() && told.state() == Some(Announced::Ready))
    }

    /// When the service began to go away: it said so, it was told to, something else
    /// was killing it, or it had been up and gave its handler back for good.
    pub(super) fn stopping_ns(&self) -> Option<i64> {
        let told = self.told_to_stop().map(|(_, at_ns, _)| at_ns);
        [self.said_stopping_ns(), told, self.stopped_ns(), self.gave_handler_back_ns()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When systemd began to stop it, by a command of ExecStop= or a signal, and not because it
    /// had ended.
    fn stopped_ns(&self) -> Option<i64> {
        let end = self.exit_index().and_then(|index| self.activation.events.get(index));
        let end = end.map_or(i64::MAX, |event| event.at_ns);
        let stop =
            self.states().find(|state| state.state == "deactivating" && state.at_ns < end)?;
        Some(stop.at_ns)
    }

    /// Whether systemd took it or not.
    fn said_stopping_ns(&self) -> Option<i64> {
        self.messages()
            .find(|told| {
                told.state() == Some(Announced::Stopping) && self.is_main(&told.message.sender)
            })
            .map(|told| told.at_ns)
    }

    /// When and how the main process ended within the settle time, where nobody had told it to.
    pub(super) fn ended_by_itself(&self, since: i64) -> Option<(i64, End)> {
        let at = self.activation.milestones.exit_ns?;
        let settle = i64::try_from(self.capture.settle_ns?).unwrap_or(i64::MAX);
        let is_soon = (since..=since.saturating_add(settle)).contains(&at);
        let told = self.told_to_stop().is_some_and(|(_, told, _)| told <= at);
        let stopped = || self.stopped_ns().is_some_and(|stopped| stopped <= at);
        if !is_soon || told || stopped() {
            return None;
        }
        let outcome = &self.activation.outcome;
        Some((at, End::of(outcome.signal, outcome.code, false)?))
    }

    /// The first signal that told the main process to stop, or killed it.
    pub(super) fn told_to_stop(&self) -> Option<(usize, i64, &'a SignalSent)> {
        self.signals().find(|(_, _, sent)| {
            let asks = sent.signal.ends() && sent.fate != Fate::Ignored;
            sent.signal != self.reload_signal() && (asks || sent.fate == Fate::Killed)
        })
    }

    /// A handler for one delivery only is the kernel's to take away, and tells nothing.
    fn gave_handler_back_ns(&self) -> Option<i64> {
        let mut handled = false;
        let mut gave_back = None;
        let mut once = false;
        for phase in self.phases() {
            let by_program = !phase.by_exec && !once;
            let is_reset = by_program && phase.disposition == DispositionKind::Default;
            once = phase.once;
            let was_up = handled && (!self.awaits_ready() || self.is_ready_at(phase.at_ns));
            if !is_reset {
                gave_back = None;
            } else if was_up {
                gave_back.get_or_insert(phase.at_ns);
            }
            handled = phase.takes() || (handled && !phase.by_exec);
        }
        // What is reloaded later has not gone away by then.
        let mut reloads = self.reloads();
        gave_back.filter(|gave| !reloads.any(|it| it.at_ns.saturating_sub(*gave) > GOING_NS))
    }
}

#[cfg(test)]
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a method of a case is not general enough over its lifetime"
)]
mod tests;
