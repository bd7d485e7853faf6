//! Small starts to try the rules on:
//! `activation().exec(0).handler(300.ms()).signal(100.ms(), Signal::HUP, Default, Killed, by("kill"))`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Case, judge};
use crate::model::{
    document::{
        Activation, Alert, Capture, Document, EndedBy, Exposure, ExposureKind, Host, LeftOut,
        Milestones, OutcomeState, ProcessOutcome, SCHEMA, Service, ServiceKind, Tool, WallTime,
    },
    event::{
        Consumer, DispositionKind, Event, Fate, NotifyMessage, ProcessRef, Runtime, SignalSent,
        ThreadRef, What,
    },
    signal::Signal,
    unit::{UnitFacts, UnitState},
};
use crate::timeline::effect::{self, Around};

/// What the tests of the rules name without a path.
pub use crate::model::event::{
    DispositionKind::*,
    Fate::{Coalesced, Dropped, Handled, Killed, Pending},
};

const MAIN: u32 = 4711;
/// The settle time.
const SETTLE_NS: u64 = 5_000_000_000;

/// Lengths of time in ns.
pub trait Time {
    fn ms(self) -> i64;
    fn s(self) -> i64;
}

impl Time for i64 {
    fn ms(self) -> i64 {
        self * 1_000_000
    }

    fn s(self) -> i64 {
        self * 1_000_000_000
    }
}

/// Another process, known by its name.
pub fn by(comm: &str) -> ProcessRef {
    ProcessRef {
        pid: 4720,
        ns_pid: None,
        comm: comm.into(),
        exe: Some(format!("/usr/bin/{comm}").into()),
        uid: Some(0),
    }
}

/// The main process.
pub fn itself() -> ProcessRef {
    ProcessRef { pid: MAIN, ns_pid: None, comm: "python3".into(), exe: None, uid: None }
}

/// A start with nothing in it, of a unit whose settings are unknown, in a capture
/// that ended a minute later.
pub fn activation() -> Start {
    Start {
        facts: None,
        kind: ServiceKind::Unit,
        end: 60.s(),
        ended_by: EndedBy::Interrupt,
        lost: 0,
        signal: Signal::HUP,
        mains: vec![(i64::MIN, MAIN)],
        activation: Activation {
            supervisor: None,
            main_process: Some(itself()),
            started_at: WallTime(Timestamp::UNIX_EPOCH),
            invocation_id: None,
            joined_ns: None,
            milestones: Milestones::default(),
            exposure: Vec::new(),
            events: Vec::new(),
            omitted: 0,
            left_out: Vec::new(),
            unfollowed: 0,
            alerts: Vec::new(),
            outcome: ProcessOutcome { state: OutcomeState::Running, signal: None, code: None },
            systemd: None,
        },
    }
}

/// A document in the making, with one activation.
#[derive(Clone)]
pub struct Start {
    facts: Option<UnitFacts>,
    kind: ServiceKind,
    end: i64,
    ended_by: EndedBy,
    lost: u64,
    signal: Signal,
    /// The main processes, each with when it became that.
    mains: Vec<(i64, u32)>,
    activation: Activation,
}

impl Start {
    pub fn unit(mut self, service_type: &str, restart: &str) -> Self {
        self.kind = ServiceKind::Unit;
        self.facts = Some(UnitFacts {
            service_type: Some(service_type.to_owned()),
            notify_access: Some("main".to_owned()),
            restart: Some(restart.to_owned()),
            ..UnitFacts::default()
        });
        self
    }

    /// As `sigready run` has it: Type=notify, and no more.
    pub fn command(mut self) -> Self {
        self.kind = ServiceKind::Command;
        self.facts =
            Some(UnitFacts { service_type: Some("notify".to_owned()), ..UnitFacts::default() });
        self
    }

    pub fn admits(mut self, notify_access: &str) -> Self {
        self.facts.get_or_insert_default().notify_access = Some(notify_access.to_owned());
        self
    }

    pub fn reloads_by(mut self, signal: Signal) -> Self {
        self.facts.get_or_insert_default().reload_signal = Some(signal);
        self
    }

    /// The release of systemd.
    pub fn release(mut self, version: &str) -> Self {
        self.facts.get_or_insert_default().systemd = Some(version.to_owned());
        self
    }

    /// With `WatchdogSec=`.
    pub fn watched(mut self, ns: i64) -> Self {
        self.facts.get_or_insert_default().watchdog_ns = Some(ns.unsigned_abs());
        self
    }

    /// systemd says how it sees the service.
    pub fn systemd(mut self, at_ns: i64, state: &str, sub: Option<&str>, result: &str) -> Self {
        let (state, sub_state) = (state.to_owned(), sub.map(str::to_owned));
        let result = Some(result.to_owned());
        let told = result.clone().filter(|result| result != "success" && sub_state.is_some());
        let what = What::Systemd {
            state: state.clone(),
            sub_state: sub_state.clone(),
            result: told,
            reload_result: None,
        };
        self.activation.events.push(Event { at_ns, what });
        let state = UnitState { active_state: state, sub_state, result, ..UnitState::default() };
        self.activation.systemd = Some(state);
        self
    }

    /// systemd says that a reload has ended, and how.
    pub fn reload_ended(mut self, at_ns: i64, result: &str) -> Self {
        self = self.systemd(at_ns, "active", Some("running"), "success");
        if let Some(What::Systemd { reload_result, .. }) =
            self.activation.events.last_mut().map(|event| &mut event.what)
        {
            *reload_result = Some(result.to_owned());
        }
        self
    }

    /// systemd has it as up: what it waited for has come.
    pub fn up(mut self, at_ns: i64) -> Self {
        self.activation.milestones.ready_ns.get_or_insert(at_ns);
        self.systemd(at_ns, "active", Some("running"), "success")
    }

    /// The capture's reload signal, where no unit has its own.
    pub fn judged_by(mut self, signal: Signal) -> Self {
        self.signal = signal;
        self
    }

    /// No unit of systemd, but a process that was named by its id.
    pub fn alone(mut self) -> Self {
        self.kind = ServiceKind::Process;
        self
    }

    /// Another process executes a program; a shell has started it in the background or not.
    pub fn runs(self, at: i64, process: ProcessRef, background: bool) -> Self {
        let (exe, filename, disposition) = (process.exe.clone(), None, Default);
        self.event(at, What::Exec { process, exe, filename, disposition, background })
    }

    /// The main process is the init of a pid namespace.
    pub fn init(mut self) -> Self {
        self.activation.main_process.as_mut().unwrap().ns_pid = Some(1);
        self
    }

    pub fn ends_at(mut self, ns: i64, ended_by: EndedBy) -> Self {
        self.end = ns;
        self.ended_by = ended_by;
        self
    }

    /// No main process was seen.
    pub fn without_main(mut self) -> Self {
        self.activation.main_process = None;
        self.mains.clear();
        self
    }

    pub fn joined(mut self, ns: i64) -> Self {
        self.activation.joined_ns = Some(ns);
        self
    }

    /// It began so long after the zero of the capture's clock.
    pub fn started(mut self, ns: i64) -> Self {
        let later = SignedDuration::from_nanos(ns);
        self.activation.started_at = WallTime(Timestamp::UNIX_EPOCH + later);
        self
    }

    /// Another setting of the unit.
    pub fn with(mut self, set: impl FnOnce(&mut UnitFacts)) -> Self {
        set(self.facts.get_or_insert_default());
        self
    }

    /// The main process starts another, or one of these does.
    pub fn fork(self, at: i64, pid: u32) -> Self {
        let process = ProcessRef { pid, ..by("worker") };
        self.event(at, What::Fork { process, parent: itself() })
    }

    /// Another process than the main one ends.
    pub fn exit_of(self, at: i64, pid: u32) -> Self {
        let process = ProcessRef { pid, ..by("worker") };
        self.event(at, What::Exit { process, signal: None, code: Some(0), core_dumped: false })
    }

    pub fn lost(mut self, count: u64) -> Self {
        self.lost = count;
        self
    }

    pub fn unfollowed(mut self, count: u64) -> Self {
        self.activation.unfollowed = count;
        self
    }

    /// So many events of this kind are left out.
    pub fn leaves_out(mut self, kind: &str, count: u64) -> Self {
        let (signal, fate, sender) = (None, None, None);
        let left_out = LeftOut { kind: kind.to_owned(), signal, fate, sender, count };
        self.activation.left_out.push(left_out);
        self
    }

    pub fn omitted(mut self, count: u64) -> Self {
        self.activation.omitted = count;
        self
    }

    pub fn fatal(self, from_ns: i64, to_ns: i64) -> Self {
        self.exposed(ExposureKind::Fatal, from_ns, to_ns)
    }

    pub fn exposed(mut self, kind: ExposureKind, from_ns: i64, to_ns: i64) -> Self {
        self.activation.exposure.push(Exposure { kind, from_ns, to_ns });
        self
    }

    pub fn event(mut self, at_ns: i64, what: What) -> Self {
        self.activation.events.push(Event { at_ns, what });
        self
    }

    pub fn exec(self, at: i64) -> Self {
        self.exec_with(at, Default)
    }

    /// The reload signal is so after it.
    pub fn exec_with(mut self, at: i64, disposition: DispositionKind) -> Self {
        let milestones = &mut self.activation.milestones;
        if milestones.exec_ns.is_none() {
            milestones.exec_ns = Some(at);
        } else {
            milestones.last_exec_ns = Some(at);
        }
        let process = itself();
        let (exe, filename, background) = (None, None, false);
        self.event(at, What::Exec { process, exe, filename, disposition, background })
    }

    fn set(
        self,
        at: i64,
        disposition: DispositionKind,
        consumer: Option<Consumer>,
        runtime: Option<Runtime>,
    ) -> Self {
        let process = itself();
        let signal = self.reload_signal();
        let what = What::Disposition {
            process,
            signal,
            disposition,
            consumer,
            runtime,
            once: false,
            found: false,
            mask_unknown: false,
        };
        self.event(at, what)
    }

    fn reload_signal(&self) -> Signal {
        self.facts.as_ref().and_then(|facts| facts.reload_signal).unwrap_or(self.signal)
    }

    pub fn disposition(self, at: i64, disposition: DispositionKind) -> Self {
        self.set(at, disposition, None, None)
    }

    pub fn handler(mut self, at: i64) -> Self {
        self.activation.milestones.handler_ns = Some(at);
        self.set(at, Handler, None, None)
    }

    pub fn signalfd(mut self, at: i64) -> Self {
        self.activation.milestones.handler_ns = Some(at);
        self.set(at, Blocked, Some(Consumer::Signalfd), None)
    }

    /// A thread waits for it in sigwait, and not every thread blocks it.
    pub fn waited_for(self, at: i64) -> Self {
        self.set(at, Default, Some(Consumer::Sigwait), None)
    }

    pub fn runtime_handler(self, at: i64) -> Self {
        self.handler_of(at, Runtime::CatchAll)
    }

    /// The last handler is there for one delivery only.
    pub fn for_one_delivery(mut self) -> Self {
        match &mut self.activation.events.last_mut().unwrap().what {
            What::Disposition { once, .. } => *once = true,
            other => panic!("no handler: {other:?}"),
        }
        self
    }

    pub fn handler_of(self, at: i64, runtime: Runtime) -> Self {
        self.set(at, Handler, None, Some(runtime))
    }

    pub fn mask(self, at: i64, disposition: DispositionKind) -> Self {
        let (process, signal, blocked) = (itself(), self.reload_signal(), disposition == Blocked);
        self.event(at, What::Mask { process, tid: MAIN, signal, blocked, disposition })
    }

    /// A signal to the main process; one that kills is followed by the exit.
    pub fn signal(
        mut self,
        at: i64,
        signal: Signal,
        disposition: DispositionKind,
        fate: Fate,
        sender: ProcessRef,
    ) -> Self {
        let sent = SignalSent {
            signal,
            sender: Some(sender.into()),
            target: self.activation.main_process.clone().unwrap_or_else(itself),
            tid: None,
            unblocked: None,
            si_code: 0,
            disposition,
            runtime: None,
            traced: false,
            fate,
            fate_ns: None,
            effect: None,
            effect_ns: None,
        };
        self.activation.milestones.first_reload_ns.get_or_insert(at);
        self = self.event(at, What::Signal(Box::new(sent)));
        if fate == Killed { self.ended(at + 1.ms(), Some(signal), None) } else { self }
    }

    /// A signal to another process of the service.
    pub fn signal_to(
        mut self,
        comm: &str,
        at: i64,
        signal: Signal,
        disposition: DispositionKind,
        fate: Fate,
        sender: ProcessRef,
    ) -> Self {
        let sent = SignalSent {
            signal,
            sender: Some(sender.into()),
            target: ProcessRef { pid: 4712, ..by(comm) },
            tid: None,
            unblocked: None,
            si_code: 0,
            disposition,
            runtime: None,
            traced: false,
            fate,
            fate_ns: None,
            effect: None,
            effect_ns: None,
        };
        self = self.event(at, What::Signal(Box::new(sent)));
        if fate == Killed {
            let process = ProcessRef { pid: 4712, ..by(comm) };
            return self.gone(at + 1.ms(), process, Some(signal));
        }
        self
    }

    /// The main process dies of a signal that nobody sent.
    pub fn dies(self, at: i64, signal: Signal) -> Self {
        self.ended(at, Some(signal), None)
    }

    /// The process that just ended dumped core.
    pub fn dumping_core(mut self) -> Self {
        match &mut self.activation.events.last_mut().unwrap().what {
            What::Exit { core_dumped, .. } => *core_dumped = true,
            other => panic!("no end: {other:?}"),
        }
        self
    }

    fn last_signal(&mut self) -> &mut SignalSent {
        self.activation
            .events
            .iter_mut()
            .rev()
            .find_map(|event| match &mut event.what {
                What::Signal(sent) => Some(&mut **sent),
                _ => None,
            })
            .unwrap()
    }

    /// What became of the last signal.
    pub fn fate(mut self, fate: Fate) -> Self {
        self.last_signal().fate = fate;
        self
    }

    /// When the fate of the last signal was sealed.
    pub fn fate_at(mut self, ns: i64) -> Self {
        self.last_signal().fate_ns = Some(ns);
        self
    }

    /// The last signal came to a thread that blocks it, and this one doesn't.
    pub fn unblocked(mut self, tid: u32, comm: &str) -> Self {
        self.last_signal().unblocked = Some(ThreadRef { tid, comm: comm.into() });
        self
    }

    /// The last signal met a handler of the language runtime.
    pub fn by_runtime(self) -> Self {
        self.by_handler_of(Runtime::CatchAll)
    }

    pub fn by_handler_of(mut self, runtime: Runtime) -> Self {
        self.last_signal().runtime = Some(runtime);
        self
    }

    /// The last signal was made by the kernel.
    pub fn by_kernel(mut self) -> Self {
        self.last_signal().sender = None;
        self
    }

    /// The last signal was for another process of the service.
    pub fn to(mut self, comm: &str) -> Self {
        self.last_signal().target = ProcessRef { pid: 4712, ..by(comm) };
        self
    }

    pub fn notify(self, at: i64, sender: ProcessRef, assignments: &[(&str, &str)]) -> Self {
        let assignments = assignments
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let message = NotifyMessage {
            sender,
            claimed_pid: None,
            destination: "/run/systemd/notify".to_owned(),
            assignments,
            length: 8,
            result: 0,
            lines_left_out: 0,
            not_connected: false,
            accepted: self.facts.as_ref().map(|_| true),
            refusal: None,
            problem: None,
            effect: None,
            effect_ns: None,
        };
        self.event(at, What::Notify(Box::new(message)))
    }

    fn last_message(&mut self) -> &mut NotifyMessage {
        match &mut self.activation.events.last_mut().unwrap().what {
            What::Notify(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    pub fn ready(mut self, at: i64) -> Self {
        self.activation.milestones.ready_ns.get_or_insert(at);
        self.notify(at, itself(), &[("READY", "1")])
    }

    /// The last message is not acted on.
    pub fn refused(mut self) -> Self {
        let message = self.last_message();
        (message.accepted, message.refusal) =
            (Some(false), Some(crate::model::event::Refusal::NotifyAccess));
        self
    }

    /// The last message is refused as the handler is missing.
    pub fn without_handler(mut self) -> Self {
        let message = self.last_message();
        (message.accepted, message.refusal) =
            (Some(false), Some(crate::model::event::Refusal::NoHandler));
        self
    }

    /// The last message is refused as STOPPING=1 was said before.
    pub fn after_stopping(mut self) -> Self {
        let message = self.last_message();
        (message.accepted, message.refusal) =
            (Some(false), Some(crate::model::event::Refusal::Stopping));
        self
    }

    /// The last message was malformed.
    pub fn malformed(mut self) -> Self {
        let message = self.last_message();
        (message.accepted, message.refusal) =
            (Some(false), Some(crate::model::event::Refusal::Malformed));
        self
    }

    /// The last message bears the credentials of another process.
    pub fn claiming(mut self, pid: u32) -> Self {
        self.last_message().claimed_pid = Some(pid);
        self
    }

    /// The last message could not be sent.
    pub fn failed(mut self, errno: i32) -> Self {
        let message = self.last_message();
        message.result = errno;
        message.accepted = message.accepted.map(|_| false);
        self
    }

    /// There is no last message: its sender could not connect to the socket.
    pub fn not_connected(mut self, errno: i32) -> Self {
        let message = self.last_message();
        message.assignments.clear();
        (message.length, message.not_connected) = (0, true);
        self.failed(errno)
    }

    pub fn exit(self, at: i64, code: u8) -> Self {
        self.ended(at, None, Some(code))
    }

    fn ended(mut self, at: i64, signal: Option<Signal>, code: Option<u8>) -> Self {
        let state = if signal.is_some() { OutcomeState::Killed } else { OutcomeState::Exited };
        self.activation.outcome = ProcessOutcome { state, signal, code };
        self.activation.milestones.exit_ns = Some(at);
        let process = self.activation.main_process.clone().unwrap_or_else(itself);
        self.event(at, What::Exit { process, signal, code, core_dumped: false })
    }

    /// A process forks another one.
    pub fn forks(self, at: i64, parent: ProcessRef, process: ProcessRef) -> Self {
        self.event(at, What::Fork { process, parent })
    }

    /// Another process than the main one ends.
    pub fn gone(self, at: i64, process: ProcessRef, signal: Option<Signal>) -> Self {
        let code = signal.is_none().then_some(0);
        self.event(at, What::Exit { process, signal, code, core_dumped: false })
    }

    /// The same with an exit code.
    pub fn left(self, at: i64, process: ProcessRef, code: u8) -> Self {
        let exit = What::Exit { process, signal: None, code: Some(code), core_dumped: false };
        self.event(at, exit)
    }

    /// The main process is of this name.
    pub fn named(mut self, comm: &str) -> Self {
        self.activation.main_process.as_mut().unwrap().comm = comm.into();
        self
    }

    /// Another process is the main one at the end: it took over at a time.
    pub fn handed_over(mut self, at: i64, to: ProcessRef) -> Self {
        self.mains.push((at, to.pid));
        self.activation.main_process = Some(to);
        self
    }

    /// Tells effects as the timeline does.
    fn tell_effects(&mut self) {
        let signal = self.reload_signal();
        self.activation.events.sort_by_key(|event| event.at_ns);
        let mains = self.activation.main_process.is_some().then_some(&*self.mains);
        let around = Around {
            mains: mains.unwrap_or_default(),
            signal,
            facts: self.facts.as_ref(),
            ready_ns: self.activation.milestones.ready_ns,
            end_ns: self.end,
            settle_ns: SETTLE_NS.cast_signed(),
            placed: false,
        };
        effect::tell(&mut self.activation.events, &around);
    }

    pub fn document(mut self) -> Document {
        self.tell_effects();
        Document {
            schema: SCHEMA.to_owned(),
            tool: Tool { name: "sigready".to_owned(), version: "0.1.0".to_owned() },
            host: Host { hostname: "db1".to_owned(), kernel: "6.18.44".to_owned(), boot_id: None },
            capture: Capture {
                command: "trace".to_owned(),
                arguments: Vec::new(),
                backend: "tracepoint".to_owned(),
                fallbacks: Vec::new(),
                signal: self.signal,
                settle_ns: Some(SETTLE_NS),
                started_at: WallTime(Timestamp::UNIX_EPOCH - SignedDuration::from_secs(1)),
                duration_ns: u64::try_from(self.end + 1.s()).unwrap(),
                ended_by: self.ended_by,
                events: 42,
                lost: self.lost,
                losses: BTreeMap::new(),
                services_left_out: 0,
                complete: self.lost == 0 && self.activation.joined_ns.is_none(),
                main: None,
                untested: Vec::new(),
            },
            services: vec![Service {
                name: "patroni.service".to_owned(),
                kind: self.kind,
                cgroup: None,
                signal: self.facts.as_ref().and_then(|facts| facts.reload_signal),
                unit: self.facts,
                unit_problem: None,
                starts_left_out: 0,
                owner: None,
                activations: vec![self.activation],
            }],
        }
    }

    /// What is found by asking about it alone.
    pub fn asked<T>(self, ask: impl FnOnce(&Case) -> T) -> T {
        let document = self.document();
        let service = &document.services[0];
        let activation = &service.activations[0];
        ask(&Case { capture: &document.capture, service, activation })
    }

    /// Judges it: the alerts must be these, in this order, and each in whole sentences.
    #[track_caller]
    pub fn judged(self, expected: &[&str]) -> Vec<Alert> {
        let mut document = self.document();
        judge(&mut document);
        let start = document.services.remove(0).activations.remove(0);
        let ids: Vec<&str> = start.alerts.iter().map(|alert| alert.id.as_str()).collect();
        if ids != expected {
            let timeline: Vec<_> = start.events.iter().map(|event| format!("{event:?}")).collect();
            panic!(
                "expected {expected:?}, found {ids:?} in\n{}\n{:#?}",
                timeline.join("\n"),
                start.alerts
            );
        }
        for alert in &start.alerts {
            for text in [&alert.message, &alert.consequence, &alert.mend] {
                assert!(text.contains(' ') && text.ends_with('.'), "no sentence: {text:?}");
            }
        }
        start.alerts
    }
}
