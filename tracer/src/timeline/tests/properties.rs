//! What holds whatever is observed.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*};
use tracer_common::signal::SignalSet;

use super::story::{BEGIN, DEMO, MS, Story, jvms, serving};
use crate::{
    model::{
        document::{Activation, Service, Severity},
        event::{Consumer, DispositionKind},
        runtime::Runtime,
        signal::Signal,
    },
    observation::{
        Datagram, Environment, Fact, Generate, GenerateResult, Handler, Observation, ProcessId,
        Program, SignalState, TICK_NS, Task,
    },
    timeline::{Builder, Setup},
};

/// Few processes, so that they meet; a pid may come again with a later start.
fn task() -> impl Strategy<Value = Task> {
    (1..6_u32, 0..2_u64, 0..3_u32, 0..3_u64).prop_map(|(pid, start, thread, cgroup_id)| Task {
        id: ProcessId { pid, start_ticks: BEGIN / TICK_NS + start },
        tid: pid + thread,
        ns_pid: pid,
        uid: 0,
        start_ns: BEGIN + start * TICK_NS,
        cgroup_id,
        comm: "x".into(),
    })
}

fn state() -> impl Strategy<Value = SignalState> {
    (0..4_u64, 0..4_u64, 0..4_u64, 0..4_u64).prop_map(|(ignored, caught, blocked, pending)| {
        SignalState {
            ignored: SignalSet(ignored),
            caught: SignalSet(caught),
            blocked: SignalSet(blocked),
            pending: SignalSet(pending),
            ..SignalState::default()
        }
    })
}

fn signal() -> impl Strategy<Value = Signal> {
    let other = |number| Signal::from_number(number).expect("a signal's number");
    let (cont, tstp) = (Just(other(18)), Just(other(20)));
    prop_oneof![8 => Just(Signal::HUP), 2 => Just(Signal::TERM), 1 => cont, 1 => tstp]
}

fn disposition() -> impl Strategy<Value = DispositionKind> {
    use DispositionKind::{Blocked, Default, Handler, Ignored};
    prop_oneof![Just(Default), Just(Ignored), Just(Handler), Just(Blocked)]
}

fn environment() -> impl Strategy<Value = Environment> {
    (option::of("[ab]"), any::<bool>()).prop_map(|(invocation_id, control)| Environment {
        invocation_id,
        notify_socket: None,
        control,
    })
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![Just(DEMO), Just("/system.slice/demo2.service"), Just("/user.slice"), Just("/")]
        .prop_map(str::to_owned)
}

fn exe() -> impl Strategy<Value = String> {
    prop_oneof![Just("/bin/x"), Just("/lib/systemd/systemd-executor")].prop_map(str::to_owned)
}

fn handler() -> impl Strategy<Value = Handler> {
    prop_oneof![Just(Handler::default()), Just(serving(60)), Just(jvms())]
}

fn generate() -> impl Strategy<Value = Fact> {
    use GenerateResult::{AlreadyPending, Ignored, LostInfo, Overflow, Queued};
    let result = prop_oneof![
        4 => Just(Queued),
        1 => Just(Ignored),
        1 => Just(AlreadyPending),
        1 => Just(Overflow),
        1 => Just(LostInfo)
    ];
    let who = (option::of(task()), task(), signal(), any::<bool>());
    (who, result, disposition(), handler(), option::of(signal())).prop_map(
        |((sender, target, signal, to_thread), result, disposition, handler, dying_of)| {
            Fact::Generate(Box::new(Generate {
                sender,
                origin: None,
                target,
                signal,
                result,
                si_code: 0,
                disposition,
                mask_unknown: false,
                traced: false,
                to_thread,
                awaited: false,
                unblocked: None,
                handler,
                dying_of,
            }))
        },
    )
}

fn notify() -> impl Strategy<Value = Fact> {
    let text = prop_oneof![
        Just("READY=1"),
        Just("MAINPID=3"),
        Just("MAINPID=99999999999"),
        Just("\0"),
        Just("=")
    ];
    (task(), text, option::of(0..6_u32), prop_oneof![Just(0), Just(111)]).prop_map(
        |(sender, text, claimed_pid, errno)| {
            Fact::Notify(Box::new(Datagram {
                sender,
                exe: None,
                claimed_pid,
                destination: "/run/systemd/notify".to_owned(),
                payload: Some(text.as_bytes().to_vec()),
                length: text.len() as u32,
                errno,
                not_connected: false,
            }))
        },
    )
}

fn program() -> impl Strategy<Value = Program> {
    let of = |runtime| Just(Program::Of(runtime));
    prop_oneof![
        2 => Just(Program::Unread),
        1 => Just(Program::Plain),
        1 => of(Runtime::Go),
        1 => of(Runtime::Jvm),
        1 => of(Runtime::Mksh),
        1 => of(Runtime::Unlisted),
    ]
}

fn life() -> impl Strategy<Value = Fact> {
    prop_oneof![
        (task(), 0..6_u32, option::of(path()), environment(), state()).prop_map(
            |(task, parent, cgroup, environment, state)| Fact::Found {
                task,
                parent,
                exe: None,
                program: Program::Unread,
                cgroup,
                environment,
                state
            }
        ),
        (task(), task(), state()).prop_map(|(parent, child, state)| Fact::Fork {
            parent,
            child,
            shares_handlers: false,
            shares_memory: false,
            state
        }),
        (task(), exe(), program(), environment(), state()).prop_map(
            |(task, exe, program, environment, state)| {
                Fact::Exec {
                    task,
                    filename: exe.clone(),
                    file: exe.rsplit('/').next().unwrap().into(),
                    exe: exe.into(),
                    program,
                    environment,
                    state,
                }
            }
        ),
        (task(), option::of(signal()), state()).prop_map(|(task, signal, state)| Fact::Exit {
            task,
            signal,
            code: 0,
            core_dumped: false,
            state
        }),
        (task(), any::<bool>(), path()).prop_map(|(task, tracks_units, path)| {
            Fact::CgroupAttach { task, hierarchy: 0, tracks_units, path }
        }),
        (0..3_u64, path()).prop_map(|(id, path)| Fact::CgroupPath { hierarchy: 0, id, path }),
        (task(), state()).prop_map(|(task, state)| Fact::Left { id: task.id, state }),
    ]
}

fn signals() -> impl Strategy<Value = Fact> {
    prop_oneof![
        generate(),
        (task(), signal(), disposition(), any::<bool>()).prop_map(
            |(task, signal, disposition, once)| Fact::Deliver {
                task,
                signal,
                disposition,
                once,
                unkillable: false
            }
        ),
        (task(), signal(), disposition(), handler(), state()).prop_map(
            |(task, signal, disposition, handler, state)| Fact::Disposition {
                task,
                signal,
                disposition,
                once: false,
                handler,
                loaded: None,
                state
            }
        ),
        (task(), any::<u64>(), any::<u64>(), state()).prop_map(|(task, before, after, state)| {
            Fact::Mask { task, before: SignalSet(before), after: SignalSet(after), state }
        }),
        (task(), state()).prop_map(|(task, state)| Fact::Consume {
            task,
            consumer: Consumer::Signalfd,
            set: SignalSet(1),
            state
        }),
        (task(), signal()).prop_map(|(task, signal)| Fact::Taken { task, signal }),
        notify(),
    ]
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    vec(prop_oneof![2 => life(), 1 => signals()], 0..80)
}

fn setup() -> impl Strategy<Value = Setup> {
    prop_oneof![
        Just(Story::command()),
        Just(Story::unit()),
        Just(Story::process(3)),
        Just(Story::command().with_facts("notify", "main")),
    ]
    .prop_map(|story| story.setup())
}

fn build(setup: &Setup, observations: impl IntoIterator<Item = Observation>) -> Vec<Service> {
    let mut builder = Builder::new(setup.clone());
    for observation in observations {
        builder.observe(observation);
    }
    let _ = builder.progress();
    builder.end();
    builder.services(BEGIN + 1_000 * MS)
}

proptest! {
    #[test]
    fn timelines_are_in_order_and_read_back_as_they_were(
        setup in setup(),
        facts in facts(),
        times in vec(prop_oneof![4 => BEGIN..BEGIN + 100 * MS, 1 => any::<u64>()], 80),
    ) {
        let observations = facts.into_iter().zip(times);
        let services = build(&setup, observations.map(|(fact, at)| Observation { at, fact }));
        for start in services.iter().flat_map(|service| &service.activations) {
            prop_assert!(start.events.is_sorted_by_key(|event| event.at_ns));
            prop_assert!(start.exposure.iter().all(|span| span.from_ns < span.to_ns));
            prop_assert!(start.exposure.windows(2).all(|two| two[0].to_ns <= two[1].from_ns));
            // Wall-clock time is written to the microsecond, so the text is what must agree.
            let said = serde_json::to_string(start).unwrap();
            let read: Activation = serde_json::from_str(&said).unwrap();
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), said);
        }
    }

    #[test]
    fn records_that_overtake_each_other_change_nothing(
        setup in setup(),
        facts in facts(),
        delays in vec(0..15 * MS, 80),
    ) {
        let told: Vec<Observation> = facts
            .into_iter()
            .zip(0..)
            .map(|(fact, ms)| Observation { at: BEGIN + ms * MS, fact })
            .collect();
        let arrived: BTreeMap<(u64, u64), Observation> = told
            .iter()
            .zip(delays)
            .map(|(observation, delay)| ((observation.at + delay, observation.at), observation.clone()))
            .collect();
        prop_assert_eq!(build(&setup, told), build(&setup, arrived.into_values()));
    }
}

#[test]
fn a_start_keeps_what_decides_and_counts_what_it_leaves_out() {
    let mut story = Story::command().fork(0, 1, 10).exec(1, 10, "/bin/demo");
    for _ in 0..21_000 {
        story = story.handler(2, 10);
    }
    let told = story.hup(3, 10, 10).exit(4, 10, 0).told();
    assert!(told.events.len() < 2_000, "{}", told.events.len());
    // A fork, an exec, the handlers, a signal, an exit.
    assert_eq!(told.events.len() as u64 + told.omitted, 21_004);
    assert_eq!(told.left_out.iter().map(|group| group.count).sum::<u64>(), told.omitted);
    assert_eq!(told.signals().len(), 1);
    assert!(told.milestones.handler_ns.is_some() && told.milestones.exit_ns.is_some());
    assert_eq!(told.unfollowed, 0);
}

#[test]
fn a_service_that_restarts_for_ever_keeps_its_last_starts_and_those_with_alerts() {
    let mut story = Story::unit();
    for restart in 0..250 {
        let pid = 100 + restart;
        let at = u64::from(restart) * 30;
        story = story.start(at, pid, "/bin/demo", &format!("{restart}")).exit(at + 20, pid, 1);
    }
    let mut builder = Builder::new(story.setup());
    for observation in &story.observations {
        builder.observe(observation.clone());
        builder.advance(observation.at);
        builder.judge_final(|service| {
            let first = service.activations[0].invocation_id.as_deref() == Some("0");
            first.then_some(Severity::Error)
        });
    }
    builder.end();
    let services = builder.services(BEGIN + 10_000 * MS);
    assert_eq!(services[0].activations.len(), 200);
    assert_eq!(services[0].starts_left_out, 50);
    let ids = services[0].activations.iter().filter_map(|start| start.invocation_id.as_deref());
    let ids: Vec<&str> = ids.collect();
    assert_eq!((ids[0], ids[1], ids[199]), ("0", "51", "249"));
    assert_eq!(builder.progress().lost, 0);
    assert_eq!(builder.progress().activations, 250);
}

#[test]
fn a_service_that_hands_over_for_ever_stays_with_the_last_one() {
    let mut story = Story::unit().start(0, 10, "/bin/demo", "a").fork(2, 10, 11);
    for turn in 0..1_501 {
        let next = if turn % 2 == 0 { 11 } else { 10 };
        story = story.notify(3 + turn, 10, &format!("MAINPID={next}"));
    }
    let told = story.told();
    assert_eq!(told.main_process.as_ref().map(|main| main.pid), Some(11));
}
