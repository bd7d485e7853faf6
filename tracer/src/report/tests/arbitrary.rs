//! Any document at all: hostile texts, the largest numbers, nonsense that a
//! capture would not produce but a file can hold.

use proptest::{collection::vec, option, prelude::*};
use smol_str::SmolStr;

use super::fixtures;
use crate::model::{
    document::{
        Activation, Alert, Document, EndedBy, Exposure, ExposureKind, Milestones, OutcomeState,
        Owner, ProcessOutcome, Service, ServiceKind, Severity, WallTime,
    },
    event::{
        Consumer, DispositionKind, Event, Fate, NotifyMessage, ParentRef, ProcessRef, Runtime,
        Sender, SignalSent, ThreadRef, What,
    },
    signal::Signal,
    start_limit::StartLimit,
    unit::{ExitStatuses, FactsSource, UnitFacts},
};

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z]{0,12}",
        any::<String>(),
        vec(
            prop_oneof![
                Just('\u{1b}'),
                Just('\u{202e}'),
                Just('\u{9b}'),
                Just('\u{200d}'),
                Just('\n'),
                Just('"'),
                Just('\\'),
                Just('デ'),
                Just('🦀'),
                Just('\u{301}'),
                Just('ل'),
                Just('ا'),
                Just('🇩'),
                Just('\u{fe0f}'),
                any::<char>(),
            ],
            0..40
        )
        .prop_map(|chars| chars.into_iter().collect()),
    ]
    .boxed()
}

fn time() -> BoxedStrategy<i64> {
    prop_oneof![
        4 => 0..2_000_000_000_i64,
        1 => Just(0),
        1 => any::<i64>(),
        1 => Just(i64::MIN),
        1 => Just(i64::MAX),
    ]
    .boxed()
}

fn signal() -> BoxedStrategy<Signal> {
    (1..=64_u32).prop_map(|number| Signal::from_number(number).unwrap()).boxed()
}

fn process() -> BoxedStrategy<ProcessRef> {
    (any::<u32>(), option::of(any::<u32>()), text(), option::of(text()), option::of(any::<u32>()))
        .prop_map(|(pid, ns_pid, comm, exe, uid)| ProcessRef {
            pid,
            ns_pid,
            comm: comm.into(),
            exe: exe.map(SmolStr::from),
            uid,
        })
        .boxed()
}

fn sender() -> BoxedStrategy<Sender> {
    let bare = || (process(), option::of(text()), option::of(text()));
    let parent = (any::<u32>(), text(), option::of(text()))
        .prop_map(|(pid, comm, command)| ParentRef { pid, comm: comm.into(), command });
    let asker = bare()
        .prop_map(|(process, command, unit)| Box::new(Sender { command, unit, ..process.into() }));
    (bare(), vec(parent, 0..3), option::of(asker))
        .prop_map(|((process, command, unit), parents, asked_by)| Sender {
            process,
            command,
            unit,
            parents,
            asked_by,
        })
        .boxed()
}

fn disposition() -> BoxedStrategy<DispositionKind> {
    use DispositionKind::{Blocked, Default, Handler, Ignored};
    prop_oneof![Just(Default), Just(Ignored), Just(Handler), Just(Blocked)].boxed()
}

fn fate() -> BoxedStrategy<Fate> {
    use Fate::{Coalesced, Dropped, Handled, Ignored, Killed, Pending};
    prop_oneof![
        Just(Killed),
        Just(Handled),
        Just(Ignored),
        Just(Pending),
        Just(Coalesced),
        Just(Dropped)
    ]
    .boxed()
}

fn signal_sent() -> BoxedStrategy<What> {
    (
        (
            (signal(), option::of(sender()), process(), option::of(any::<u32>()), any::<i32>()),
            option::of((any::<u32>(), text())),
        ),
        (disposition(), any::<bool>(), any::<bool>(), fate(), option::of(time())),
    )
        .prop_map(|(((signal, sender, target, tid, si_code), unblocked), rest)| {
            let (disposition, runtime, traced, fate, fate_ns) = rest;
            What::Signal(Box::new(SignalSent {
                signal,
                sender,
                target,
                tid,
                unblocked: unblocked
                    .map(|(tid, comm)| ThreadRef { tid, comm: SmolStr::from(comm) }),
                si_code,
                disposition,
                runtime: runtime.then_some(Runtime::CatchAll),
                traced,
                fate,
                fate_ns,
                effect: None,
                effect_ns: None,
            }))
        })
        .boxed()
}

fn notify() -> BoxedStrategy<What> {
    (
        process(),
        option::of(any::<u32>()),
        text(),
        vec((text(), text()), 0..4),
        (any::<u32>(), any::<i32>(), option::of(any::<bool>()), option::of(text())),
    )
        .prop_map(|(sender, claimed_pid, destination, assignments, rest)| {
            let (length, result, accepted, problem) = rest;
            What::Notify(Box::new(NotifyMessage {
                sender,
                claimed_pid,
                destination,
                assignments,
                length,
                result,
                lines_left_out: 0,
                not_connected: false,
                accepted,
                refusal: None,
                problem,
                effect: None,
                effect_ns: None,
            }))
        })
        .boxed()
}

fn what() -> BoxedStrategy<What> {
    let consumer = prop_oneof![Just(Consumer::Signalfd), Just(Consumer::Sigwait)];
    prop_oneof![
        (process(), process()).prop_map(|(process, parent)| What::Fork { process, parent }),
        (process(), option::of(text()), option::of(text()), disposition()).prop_map(
            |(process, exe, filename, disposition)| What::Exec {
                process,
                exe: exe.map(SmolStr::from),
                filename,
                disposition,
                background: false
            }
        ),
        (process(), option::of(signal()), option::of(any::<u8>()), any::<bool>()).prop_map(
            |(process, signal, code, core_dumped)| What::Exit {
                process,
                signal,
                code,
                core_dumped
            }
        ),
        signal_sent(),
        ((process(), signal(), disposition(), option::of(consumer)), any::<[bool; 4]>()).prop_map(
            |((process, signal, disposition, consumer), flags)| {
                let [runtime, once, found, mask_unknown] = flags;
                What::Disposition {
                    process,
                    signal,
                    disposition,
                    consumer,
                    runtime: runtime.then_some(Runtime::CatchAll),
                    once,
                    found,
                    mask_unknown,
                }
            }
        ),
        (process(), any::<u32>(), signal(), any::<bool>(), disposition()).prop_map(
            |(process, tid, signal, blocked, disposition)| What::Mask {
                process,
                tid,
                signal,
                blocked,
                disposition
            }
        ),
        notify(),
        (option::of(process()), text()).prop_map(|(process, path)| What::Cgroup { process, path }),
        (text(), option::of(text()), option::of(text()), option::of(text())).prop_map(
            |(state, sub_state, result, reload_result)| What::Systemd {
                state,
                sub_state,
                result,
                reload_result
            }
        ),
        any::<u64>().prop_map(|count| What::Loss { count }),
    ]
    .boxed()
}

fn exposure() -> BoxedStrategy<Exposure> {
    let kind = prop_oneof![
        Just(ExposureKind::Fatal),
        Just(ExposureKind::Lost),
        Just(ExposureKind::NotReady)
    ];
    (kind, time(), time())
        .prop_map(|(kind, from_ns, to_ns)| Exposure { kind, from_ns, to_ns })
        .boxed()
}

fn alert() -> BoxedStrategy<Alert> {
    let severity = prop_oneof![Just(Severity::Error), Just(Severity::Warning)];
    (text(), severity, time(), vec(0..50_usize, 0..3), (text(), text(), text()))
        .prop_map(|(id, severity, at_ns, events, (message, consequence, mend))| Alert {
            id,
            severity,
            at_ns,
            events,
            message,
            consequence,
            mend,
        })
        .boxed()
}

fn milestones() -> BoxedStrategy<Milestones> {
    let moment = || option::of(time());
    (moment(), moment(), moment(), moment(), moment(), moment())
        .prop_map(|(exec_ns, last_exec_ns, handler_ns, ready_ns, first_reload_ns, exit_ns)| {
            Milestones { exec_ns, last_exec_ns, handler_ns, ready_ns, first_reload_ns, exit_ns }
        })
        .boxed()
}

/// A wall-clock time to the microsecond, as documents hold it.
fn wall() -> BoxedStrategy<WallTime> {
    (-62_135_596_800_000_000..253_402_200_000_000_000_i64)
        .prop_map(|micros| WallTime(jiff::Timestamp::from_microsecond(micros).unwrap()))
        .boxed()
}

fn outcome() -> BoxedStrategy<ProcessOutcome> {
    let state = prop_oneof![
        Just(OutcomeState::Running),
        Just(OutcomeState::Exited),
        Just(OutcomeState::Killed)
    ];
    (state, option::of(signal()), option::of(any::<u8>()))
        .prop_map(|(state, signal, code)| ProcessOutcome { state, signal, code })
        .boxed()
}

fn activation() -> BoxedStrategy<Activation> {
    (
        (option::of(process()), wall(), option::of(text()), option::of(time()), milestones()),
        (
            vec(exposure(), 0..4),
            vec((time(), what()).prop_map(|(at_ns, what)| Event { at_ns, what }), 0..45),
            prop_oneof![Just(0), any::<u64>()],
            vec(alert(), 0..3),
            outcome(),
        ),
    )
        .prop_map(|((main_process, started_at, invocation_id, joined_ns, milestones), rest)| {
            let (exposure, events, omitted, alerts, outcome) = rest;
            Activation {
                supervisor: None,
                main_process,
                started_at,
                invocation_id,
                joined_ns,
                milestones,
                exposure,
                events,
                omitted,
                left_out: Vec::new(),
                unfollowed: 0,
                alerts,
                outcome,
                systemd: None,
            }
        })
        .boxed()
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        Just(Owner::Host),
        any::<u32>().prop_map(|uid| Owner::Container { uid }),
        any::<u32>().prop_map(|uid| Owner::User { uid }),
        any::<u32>().prop_map(|uid| Owner::Claimed { uid }),
        Just(Owner::Unmanaged),
    ]
}

fn service() -> BoxedStrategy<Service> {
    let kind = prop_oneof![
        Just(ServiceKind::Unit),
        Just(ServiceKind::Command),
        Just(ServiceKind::Process),
        Just(ServiceKind::Cgroup),
        Just(ServiceKind::Container)
    ];
    let fact = || option::of(text());
    let statuses = || {
        let codes = vec(any::<u8>(), 0..3);
        let statuses = (codes, vec(signal(), 0..3))
            .prop_map(|(codes, signals)| ExitStatuses { codes, signals });
        option::of(statuses)
    };
    let unit = (
        (fact(), fact(), fact(), option::of(signal()), option::of(vec(text(), 0..3))),
        (statuses(), statuses(), statuses(), option::of(any::<bool>())),
        (option::of(any::<bool>()), fact(), option::of(any::<u64>()), fact(), fact()),
        option::of((any::<u32>(), option::of(any::<u64>()), fact())),
    )
        .prop_map(|(words, statuses, rest, limit)| UnitFacts {
            service_type: words.0,
            notify_access: words.1,
            restart: words.2,
            reload_signal: words.3,
            exec_start: None,
            exec_reload: words.4,
            success_exit_status: statuses.0,
            restart_prevent_exit_status: statuses.1,
            restart_force_exit_status: statuses.2,
            remain_after_exit: statuses.3,
            ignores_failure: rest.0,
            guess_main_pid: None,
            exec_stop: None,
            watchdog_ns: None,
            kill_mode: rest.1,
            timeout_start_ns: rest.2,
            control_group: rest.3,
            pid_file: rest.4,
            start_limit: limit.map(|(starts, within_ns, action)| StartLimit {
                starts,
                within_ns,
                action,
            }),
            restart_delay_ns: None,
            restart_never: None,
            systemd: None,
            source: Some(FactsSource::Dbus),
        });
    (
        text(),
        kind,
        fact(),
        option::of(unit),
        (fact(), option::of(owner()), option::of(signal())),
        vec(activation(), 0..3),
    )
        .prop_map(|(name, kind, cgroup, unit, (unit_problem, owner, signal), activations)| {
            Service {
                name,
                kind,
                cgroup,
                unit,
                unit_problem,
                owner,
                signal,
                starts_left_out: 0,
                activations,
            }
        })
        .boxed()
}

/// A document.
pub fn document() -> impl Strategy<Value = Document> {
    (
        vec(service(), 0..3),
        (text(), text(), text(), option::of(text()), vec(text(), 0..3)),
        (signal(), wall(), any::<u64>(), any::<u64>(), any::<u64>()),
        (proptest::collection::btree_map(text(), any::<u64>(), 0..3), any::<bool>()),
    )
        .prop_map(|(services, texts, numbers, (losses, complete))| {
            let mut document = fixtures::document(services);
            (
                document.tool.version,
                document.host.hostname,
                document.capture.backend,
                document.host.boot_id,
                document.capture.arguments,
            ) = texts;
            let capture = &mut document.capture;
            (
                capture.signal,
                capture.started_at,
                capture.duration_ns,
                capture.events,
                capture.lost,
            ) = numbers;
            capture.losses = losses;
            capture.complete = complete;
            capture.ended_by = EndedBy::Interrupt;
            document
        })
}
