//! What holds for any document at all, sense or nonsense.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{judge, testing::*};
use crate::model::{
    document::{Document, EndedBy, Exposure, ExposureKind, Milestones},
    event::{
        Consumer, DispositionKind, Event, Fate, NotifyMessage, ProcessRef, Runtime, SignalSent,
        What,
    },
    signal::Signal,
};

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![0..100_i64, (0..40_i64).prop_map(Time::s), Just(i64::MIN), Just(i64::MAX)]
}

fn process() -> impl Strategy<Value = ProcessRef> {
    prop_oneof![Just(itself()), Just(by("kill"))]
}

fn disposition() -> impl Strategy<Value = DispositionKind> {
    select(vec![Default, Ignored, Handler, Blocked])
}

fn fate() -> impl Strategy<Value = Fate> {
    select(vec![Killed, Handled, Fate::Ignored, Pending, Coalesced, Dropped])
}

fn signal() -> impl Strategy<Value = Signal> {
    select(vec![Signal::HUP, Signal::HUP, Signal::TERM, "WINCH".parse().unwrap()])
}

fn runtime() -> impl Strategy<Value = Option<Runtime>> {
    use Runtime::{CatchAll, Forwarding, Jvm, Ruby};
    option::of(select(vec![CatchAll, Forwarding, Jvm, Ruby]))
}

fn message() -> impl Strategy<Value = NotifyMessage> {
    let lines = vec(
        select(vec![
            ("READY", "1"),
            ("RELOADING", "1"),
            ("STOPPING", "1"),
            ("MONOTONIC_USEC", "\u{1b}[2J"),
            ("", ""),
        ]),
        0..3,
    );
    let result = select(vec![0, 0, 111, -7, i32::MIN, i32::MAX]);
    (process(), lines, result, any::<Option<bool>>(), any::<u32>()).prop_map(
        |(sender, lines, result, accepted, length)| NotifyMessage {
            sender,
            claimed_pid: None,
            destination: String::new(),
            assignments: lines.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            length,
            result,
            lines_left_out: 0,
            not_connected: false,
            accepted,
            refusal: None,
            problem: None,
            effect: None,
            effect_ns: None,
        },
    )
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        (process(), disposition()).prop_map(|(process, disposition)| What::Exec {
            process,
            exe: None,
            filename: None,
            disposition,
            background: false
        }),
        (process(), option::of(signal()), any::<Option<u8>>()).prop_map(
            |(process, signal, code)| What::Exit { process, signal, code, core_dumped: false }
        ),
        (
            signal(),
            option::of(process()),
            process(),
            disposition(),
            runtime(),
            fate(),
            option::of(time())
        )
            .prop_map(|(signal, sender, target, disposition, runtime, fate, fate_ns)| {
                What::Signal(Box::new(SignalSent {
                    signal,
                    sender: sender.map(Into::into),
                    target,
                    tid: None,
                    unblocked: None,
                    si_code: 0,
                    disposition,
                    runtime,
                    traced: false,
                    fate,
                    fate_ns,
                    effect: None,
                    effect_ns: None,
                }))
            }),
        (process(), signal(), disposition(), runtime(), option::of(Just(Consumer::Sigwait)))
            .prop_map(|(process, signal, disposition, runtime, consumer)| What::Disposition {
                process,
                signal,
                disposition,
                consumer,
                runtime,
                once: false,
                found: false,
                mask_unknown: false,
            }),
        (process(), signal(), disposition(), any::<bool>()).prop_map(
            |(process, signal, disposition, blocked)| What::Mask {
                process,
                tid: 1,
                signal,
                blocked,
                disposition
            }
        ),
        message().prop_map(|message| What::Notify(Box::new(message))),
        any::<u64>().prop_map(|count| What::Loss { count }),
    ]
}

prop_compose! {
    fn milestones()(times in vec(option::of(time()), 6)) -> Milestones {
        Milestones {
            exec_ns: times[0],
            last_exec_ns: times[1],
            handler_ns: times[2],
            ready_ns: times[3],
            first_reload_ns: times[4],
            exit_ns: times[5],
        }
    }
}

prop_compose! {
    fn document()(
        events in vec((time(), what()), 0..12),
        milestones in milestones(),
        spans in vec((time(), time()), 0..3),
        joined in option::of(time()),
        service_type in option::of(select(vec!["simple", "notify", "notify-reload", "forking", "?"])),
        restart in option::of(select(vec!["no", "on-failure", "?"])),
        reloads in any::<bool>(),
        has_main in any::<bool>(),
        duration in any::<u64>(),
    ) -> Document {
        let start = activation().ends_at(1.s(), EndedBy::Timeout);
        let start = if reloads { start.reloads_by(Signal::HUP) } else { start };
        let mut document = start.document();
        document.capture.duration_ns = duration;
        let service = &mut document.services[0];
        let facts = service.unit.get_or_insert_default();
        facts.service_type = service_type.map(str::to_owned);
        facts.restart = restart.map(str::to_owned);
        let activation = &mut service.activations[0];
        if !has_main {
            activation.main_process = None;
        }
        activation.joined_ns = joined;
        activation.milestones = milestones;
        activation.exposure = spans
            .into_iter()
            .map(|(from_ns, to_ns)| Exposure { kind: ExposureKind::Fatal, from_ns, to_ns })
            .collect();
        activation.events = events.into_iter().map(|(at_ns, what)| Event { at_ns, what }).collect();
        document
    }
}

proptest! {
    #[test]
    fn any_document_can_be_judged_and_judging_again_changes_nothing(mut document in document()) {
        judge(&mut document);
        let once = document.clone();
        judge(&mut document);
        prop_assert_eq!(&document, &once);

        let activation = &document.services[0].activations[0];
        prop_assert!(activation.alerts.is_sorted_by_key(|alert| alert.at_ns));
        for alert in &activation.alerts {
            prop_assert!(alert.events.iter().all(|index| *index < activation.events.len()));
            prop_assert!(!alert.message.is_empty() && !alert.consequence.is_empty());
            prop_assert!(!alert.mend.is_empty());
        }
    }

    #[test]
    fn one_signal_never_is_both_too_early_and_never_handled(mut document in document()) {
        judge(&mut document);
        let alerts = &document.services[0].activations[0].alerts;
        let has = |id: &str| alerts.iter().any(|alert| alert.id == id);
        prop_assert!(!(has("reload-before-handler") && has("reload-never-handled")));
    }
}
