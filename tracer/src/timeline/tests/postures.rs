//! Dispositions through time, and the exposure and milestones that follow.

use super::story::{BEGIN, DEMO, MS, STARTER, Story, jvms, serving, signals};
use crate::{
    model::{
        document::{Exposure, ExposureKind},
        event::{Consumer, DispositionKind, Event, Runtime, What},
        signal::Signal,
    },
    observation::{Fact, Handler, SignalState, Task},
    timeline::{Builder, Setup},
};
use tracer_common::signal::SignalSet;

fn running() -> Story {
    Story::command().fork(0, 1, 10).exec(10, 10, "/bin/demo").until(100)
}

fn span(kind: ExposureKind, from_ms: i64, to_ms: i64) -> Exposure {
    let ns = MS as i64;
    Exposure { kind, from_ns: from_ms * ns, to_ns: to_ms * ns }
}

#[test]
fn a_service_is_exposed_from_its_exec_to_its_handler_and_not_ready_until_it_says_so() {
    let told = running().handler(40, 10).notify(60, 10, "READY=1").told();
    assert_eq!(
        told.exposure,
        [span(ExposureKind::Fatal, 0, 30), span(ExposureKind::NotReady, 30, 50)]
    );
    assert_eq!(told.milestones.exec_ns, Some(0));
    assert_eq!(told.milestones.handler_ns, Some(30 * MS as i64));
    assert_eq!(told.milestones.ready_ns, Some(50 * MS as i64));
}

#[test]
fn what_an_exec_wrapper_did_does_not_count_for_the_program_it_becomes() {
    let told = running().handler(20, 10).exec(30, 10, "/bin/real").handler(60, 10).told();
    assert_eq!(told.milestones.exec_ns, Some(0));
    assert_eq!(told.milestones.last_exec_ns, Some(20 * MS as i64));
    assert_eq!(told.milestones.handler_ns, Some(50 * MS as i64));
    assert_eq!(
        told.exposure,
        [span(ExposureKind::Fatal, 0, 10), span(ExposureKind::Fatal, 20, 50)]
    );
}

#[test]
fn an_ignored_reload_is_lost_and_exec_keeps_it_ignored() {
    let told = running()
        .action(20, 10, Signal::HUP, DispositionKind::Ignored, 0)
        .exec(30, 10, "/bin/real")
        .told();
    assert_eq!(told.exposure[1..], [span(ExposureKind::Lost, 10, 90)]);
}

#[test]
fn a_blocked_signal_with_a_signalfd_is_taken() {
    let told = running().mask(20, 10, true).consume(30, 10, Consumer::Signalfd).told();
    assert_eq!(told.milestones.handler_ns, Some(20 * MS as i64));
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 10)]);
}

#[test]
fn a_handler_for_one_time_is_gone_with_the_first_delivery() {
    let told = running().handler(20, 10).deliver(50, 10, DispositionKind::Handler, true).told();
    assert_eq!(told.exposure[1..], [span(ExposureKind::Fatal, 40, 90)]);
    assert_eq!(told.milestones.handler_ns, Some(10 * MS as i64));
}

#[test]
fn a_catch_all_handler_is_known_in_hindsight_for_a_runtimes() {
    let last = Signal::from_number(64).unwrap();
    let told = running().handler(20, 10).action(21, 10, last, DispositionKind::Handler, 60).told();
    assert_eq!(told.milestones.handler_ns, None);
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 90)]);
    assert!(told.events.iter().any(|event| matches!(
        event.what,
        What::Disposition { runtime: Some(Runtime::CatchAll), .. }
    )));
}

#[test]
fn a_handler_set_after_the_catch_all_was_complete_is_the_programs_own() {
    let last = Signal::from_number(64).unwrap();
    let told = running()
        .handler(20, 10)
        .action(21, 10, last, DispositionKind::Handler, 60)
        .handler(40, 10)
        .hup_with(50, 10, 10, |generate| {
            generate.signal = Signal::TERM;
            generate.handler = serving(59);
        })
        .told();
    assert_eq!(told.milestones.handler_ns, Some(30 * MS as i64));
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 30)]);
}

#[test]
fn a_handler_of_another_program_in_the_same_process_is_not_a_runtimes() {
    let last = Signal::from_number(64).unwrap();
    let told = running()
        .handler(20, 10)
        .exec(30, 10, "/bin/go")
        .action(41, 10, last, DispositionKind::Handler, 60)
        .told();
    assert_eq!(told.exposure[0], span(ExposureKind::Fatal, 0, 10));
}

#[test]
fn after_signal_notify_it_is_not_known_what_the_runtime_does_until_it_has_done_it() {
    let last = Signal::from_number(64).unwrap();
    let go = running()
        .handler(20, 10)
        .action(21, 10, last, DispositionKind::Handler, 60)
        .set_aside(30, 10);
    assert_eq!(go.told().exposure[1..], [span(ExposureKind::Unknown, 20, 90)]);
    let served = go
        .hup_with(50, 10, 10, |generate| generate.handler = serving(60))
        .deliver(51, 10, DispositionKind::Handler, false)
        .told();
    assert_eq!(served.exposure, [span(ExposureKind::Fatal, 0, 20)]);
    assert_eq!(served.milestones.handler_ns, Some(20 * MS as i64));
}

#[test]
fn after_nohup_go_has_a_handler_from_the_moment_the_program_asks_for_the_signal() {
    let last = Signal::from_number(64).unwrap();
    let told = running()
        .action(15, 10, Signal::HUP, DispositionKind::Ignored, 0)
        .action(20, 10, last, DispositionKind::Handler, 60)
        .set_aside(40, 10)
        .action(41, 10, Signal::HUP, DispositionKind::Handler, 60)
        .told();
    assert_eq!(told.milestones.handler_ns, Some(31 * MS as i64));
}

#[test]
fn a_signalfd_takes_only_what_is_blocked() {
    let story = running().consume(20, 10, Consumer::Signalfd);
    assert_eq!(story.told().milestones.handler_ns, None);
    assert_eq!(story.told().exposure, [span(ExposureKind::Fatal, 0, 90)]);
    let told = story.mask(30, 10, true).told();
    assert_eq!(told.milestones.handler_ns, Some(20 * MS as i64));
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 20)]);
}

#[test]
fn what_is_set_up_under_a_mask_for_a_moment_is_not_blocked() {
    let told = running()
        .mask(20, 10, true)
        .action(20, 10, Signal::HUP, DispositionKind::Ignored, 0)
        .mask(20, 10, false)
        .told();
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 10), span(ExposureKind::Lost, 10, 90)]);
    assert!(!told.events.iter().any(|event| matches!(event.what, What::Mask { .. })));
}

#[test]
fn what_is_let_through_for_a_moment_is_not_blocked_for_good() {
    let story = running().mask(20, 10, true);
    let pending = span(ExposureKind::Pending, 10, 90);
    assert_eq!(story.told().exposure, [span(ExposureKind::Fatal, 0, 10), pending]);
    // A HUP that waited would have killed at 40 ms.
    let told = story.mask(40, 10, false).mask(40, 10, true).told();
    let pending = span(ExposureKind::Pending, 30, 90);
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 30), pending]);
}

#[test]
fn a_mask_that_an_exec_passes_on_is_no_moments() {
    let told = running()
        .mask(20, 10, true)
        .exec(20, 10, "/bin/demo")
        .action(20, 10, Signal::HUP, DispositionKind::Handler, 0)
        .mask(20, 10, false)
        .told();
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 10)], "it waited for the handler");
}

#[test]
fn a_java_virtual_machines_own_handler_is_as_fatal_as_none_until_the_program_asks() {
    // Older ones set QUIT only after HUP.
    let early = Handler { serves: Signal::HUP.set(), ..jvms() };
    for handler in [jvms(), early] {
        let java = running().action_with(20, 10, Signal::HUP, DispositionKind::Handler, handler);
        assert_eq!(java.told().milestones.handler_ns, None);
        assert_eq!(java.told().exposure, [span(ExposureKind::Fatal, 0, 90)]);
        let told = java.jvm_handler(50, 10).told();
        assert_eq!(told.milestones.handler_ns, Some(40 * MS as i64));
        assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 40)]);
    }
}

#[test]
fn a_program_in_c_that_shares_a_handler_among_the_same_signals_is_no_virtual_machine() {
    let mut handler = jvms();
    handler.faults = serving(0).serves;
    let told = running().action_with(20, 10, Signal::HUP, DispositionKind::Handler, handler).told();
    assert_eq!(told.milestones.handler_ns, Some(10 * MS as i64));
}

#[test]
fn bash_with_a_trap_on_exit_alone_dies_of_it() {
    // As it sets them under systemd, which has PIPE ignored, up to XFSZ.
    let xfsz = Signal::from_number(25).unwrap();
    let terminating = || Handler {
        serves: signals(&[1, 2, 4, 5, 6, 8, 7, 11, 31, 14, 15, 24, 25]),
        ..Handler::default()
    };
    let bash = running().handler(20, 10);
    let told = bash.action_with(21, 10, xfsz, DispositionKind::Handler, terminating()).told();
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 90)]);
    // Where HUP has a trap, the handler of the others is none of its business.
    let mut others = terminating();
    others.serves.0 &= !Signal::HUP.set().0;
    let bash = running().handler(20, 10);
    let told = bash.action_with(21, 10, xfsz, DispositionKind::Handler, others).told();
    assert_eq!(told.milestones.handler_ns, Some(10 * MS as i64));
}

#[test]
fn rubys_own_handler_is_as_fatal_as_none_until_the_program_sets_a_trap() {
    let ruby = Story::command().fork(0, 1, 10).exec(10, 10, "/usr/bin/ruby3.1").until(100);
    let ruby = ruby.handler(20, 10);
    assert_eq!(ruby.told().exposure, [span(ExposureKind::Fatal, 0, 90)]);
    let told = ruby.handler(50, 10).told();
    assert_eq!(told.milestones.handler_ns, Some(40 * MS as i64));
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 40)]);
}

#[test]
fn a_trap_after_nohup_is_the_programs_as_ruby_leaves_an_ignored_signal_alone() {
    let ruby = Story::command().fork(0, 1, 10).exec(10, 10, "/usr/bin/ruby3.1").until(100);
    let told = ruby
        .action(12, 10, Signal::HUP, DispositionKind::Ignored, 0)
        .handler(20, 10)
        .action(21, 10, Signal::HUP, DispositionKind::Ignored, 0)
        .handler(50, 10)
        .told();
    assert!(!told.exposure.contains(&span(ExposureKind::Fatal, 40, 90)), "{:?}", told.exposure);
    assert_eq!(told.exposure.last().unwrap().to_ns, 40 * MS as i64);
}

#[test]
fn what_a_runtime_that_was_found_running_does_is_unknown_until_it_has_done_it() {
    let of_jvm = [1, 3, 4, 7, 8, 11, 13, 15, 25].map(|n| Signal::from_number(n).unwrap());
    let found = Story::unit().found(10, STARTER, DEMO, &of_jvm).until(100);
    let exposure = |story: &Story| story.told().exposure.iter().map(|span| span.kind).collect();
    let kinds: Vec<ExposureKind> = exposure(&found);
    assert_eq!(kinds, [ExposureKind::Unknown]);
    let came = found.hup_with(50, 10, 10, |generate| generate.handler = jvms()).deliver(
        51,
        10,
        DispositionKind::Handler,
        false,
    );
    let kinds: Vec<ExposureKind> = exposure(&came);
    assert_eq!(kinds, []);
    let kinds: Vec<ExposureKind> = exposure(&came.exit(60, 10, 129));
    assert_eq!(kinds, [ExposureKind::Fatal]);
}

#[test]
fn a_handler_of_the_programs_that_a_catch_all_took_the_place_of_was_one_until_then() {
    let last = Signal::from_number(64).unwrap();
    let told = running()
        .handler(20, 10)
        .handler(40, 10)
        .action(41, 10, last, DispositionKind::Handler, 60)
        .told();
    assert_eq!(
        told.exposure,
        [span(ExposureKind::Fatal, 0, 10), span(ExposureKind::Fatal, 30, 90)]
    );
}

#[test]
fn a_catch_all_that_shows_only_when_a_signal_comes_passes_on_from_the_set_aside_thread_on() {
    let told = running()
        .handler(20, 10)
        .set_aside(30, 10)
        .hup_with(50, 10, 10, |generate| generate.handler = serving(60))
        .told();
    assert_eq!(
        told.exposure,
        [span(ExposureKind::Fatal, 0, 20), span(ExposureKind::Unknown, 20, 90)]
    );
}

#[test]
fn a_signal_that_came_well_before_the_catch_all_showed_was_the_programs() {
    let last = Signal::from_number(64).unwrap();
    let came = running()
        .handler(20, 10)
        .hup_with(30, 10, 10, |generate| generate.handler = serving(1))
        .deliver(31, 10, DispositionKind::Handler, false)
        .action(40, 10, last, DispositionKind::Handler, 60);
    assert_eq!(came.told().exposure, [span(ExposureKind::Fatal, 0, 21)]);
    let told = came.killed(50, 10, Signal::HUP).told();
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 40)]);
}

#[test]
fn a_child_has_its_parents_handlers_with_what_is_known_of_them() {
    let last = Signal::from_number(64).unwrap();
    let told = Story::unit()
        .start(0, 10, "/bin/demo", "a")
        .handler(20, 10)
        .action(21, 10, last, DispositionKind::Handler, 60)
        .set_aside(30, 10)
        .hup_with(40, 10, 10, |generate| generate.handler = serving(60))
        .deliver(41, 10, DispositionKind::Handler, false)
        .fork(50, 10, 11)
        .exit(60, 10, 0)
        .hup_with(70, 11, 11, |generate| generate.handler = serving(60))
        .until(100)
        .told();
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 29)]);
}

#[test]
fn what_executes_a_program_shares_its_handlers_no_more() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a").handler(5, 10);
    let story = story.share(10, 10, 11).exec(20, 11, "/bin/other");
    let told = story.action(30, 11, Signal::HUP, DispositionKind::Ignored, 0).until(100).told();
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 4)]);
    let told = Story::unit()
        .start(0, 10, "/bin/demo", "a")
        .share(10, 10, 11)
        .handler(20, 11)
        .until(100)
        .told();
    assert_eq!(told.milestones.handler_ns, Some(19 * MS as i64), "set by the other");
}

#[test]
fn what_waited_for_its_place_is_told_in_order_of_time() {
    // No exec is seen of either. What the child sets, its parent has too.
    let story = Story::unit().attach(0, 10, DEMO).share(10, 10, 11).handler(20, 11);
    let told = story.action(30, 10, Signal::TERM, DispositionKind::Handler, 2).until(100).told();
    assert_eq!(told.milestones.handler_ns, Some(20 * MS as i64), "set by the other");
    assert_eq!(told.main_process.as_ref().map(|main| main.pid), Some(10));
}

#[test]
fn one_that_shares_handlers_has_a_mask_and_a_signalfd_of_its_own() {
    let story = running().mask(20, 10, true).consume(30, 10, Consumer::Signalfd);
    let told = story.share(40, 10, 11).handler(50, 11).told();
    assert_eq!(told.exposure, [span(ExposureKind::Fatal, 0, 10)], "it takes it as before");
    let gone = running().share(15, 10, 11).handler(20, 10).exit(30, 11, 0);
    let told = gone.exec(40, 10, "/bin/demo").told();
    assert_eq!(told.exposure.last(), Some(&span(ExposureKind::Fatal, 30, 90)));
}

#[test]
fn a_child_has_a_signalfd_and_not_the_thread_that_waits() {
    let child = |consumer| {
        let story = Story::unit().start(0, 10, "/bin/demo", "a").mask(5, 10, true);
        let story = story.consume(6, 10, consumer).fork(20, 10, 11).exit(30, 10, 0);
        let told = story.consume(50, 11, Consumer::Sigwait).until(100).told();
        told.events.iter().filter(|event| matches!(event.what, What::Disposition { .. })).count()
    };
    // Of a signalfd's child, that it waits besides is news; of the other's, that it waits at all.
    assert_eq!((child(Consumer::Signalfd), child(Consumer::Sigwait)), (2, 2));
    let takes = |consumer| {
        let story = Story::unit().start(0, 10, "/bin/demo", "a").mask(5, 10, true);
        let story = story.fork(6, 10, 12).consume(7, 10, consumer);
        let story = story.fork(20, 10, 11).notify(30, 10, "MAINPID=11").mask(40, 11, false);
        story.until(100).told().exposure.clone()
    };
    let fatal = |spans: &[Exposure]| {
        spans.iter().filter(|span| span.kind == ExposureKind::Fatal).map(|it| it.from_ns).max()
    };
    // One that waits for it at the child does no harm until the mask is lifted.
    assert_eq!(fatal(&takes(Consumer::Signalfd)), Some(39 * MS as i64));
    assert_eq!(fatal(&takes(Consumer::Sigwait)), Some(29 * MS as i64 + 1));
}

#[test]
fn a_mask_for_longer_than_a_moment_is_told() {
    let masks = |until| {
        let told = running().mask(20, 10, true).mask(until, 10, false).told();
        told.events.iter().filter(|event| matches!(event.what, What::Mask { .. })).count()
    };
    assert_eq!((masks(21), masks(22)), (0, 2));
}

#[test]
fn what_a_new_thread_does_to_its_mask_in_a_moment_of_anothers_is_told_of_no_process() {
    let (hup, both) = (Signal::HUP.set(), Signal::HUP.set().union(Signal::USR1.set()));
    let none = SignalSet::EMPTY;
    let of_thread = |story: Story, at, tid, (before, after), blocked| {
        let task = Task { tid, ..story.task(10) };
        let state = SignalState { blocked, ..SignalState::default() };
        story.fact(at, Fact::Mask { task, before, after, state })
    };
    // As in pthread_create(): the one that makes the thread blocks all until that is done. The
    // new one blocks for good what it leaves to the others.
    let told = |is_set_back: bool| {
        let story = of_thread(running(), 20, 10, (none, both), both);
        let story = of_thread(story, 20, 11, (both, none), none);
        let story = of_thread(story, 20, 11, (none, hup), hup);
        let story = if is_set_back { of_thread(story, 20, 10, (both, none), none) } else { story };
        let told = story.told();
        let masks = told.events.iter().filter_map(|event| match &event.what {
            What::Mask { disposition, .. } => Some(*disposition),
            _ => None,
        });
        masks.collect::<Vec<_>>()
    };
    assert_eq!(told(true), [], "the process blocks HUP neither before nor after");
    let (blocked, default) = (DispositionKind::Blocked, DispositionKind::Default);
    assert_eq!(told(false), [blocked, default, blocked]);
}

#[test]
fn an_unblocking_of_a_moment_is_told_where_another_thread_has_unblocked_meanwhile() {
    let (hup, none) = (Signal::HUP.set(), SignalSet::EMPTY);
    let of_thread = |story: Story, at, tid, (before, after), blocked| {
        let task = Task { tid, ..story.task(10) };
        let state = SignalState { blocked, ..SignalState::default() };
        story.fact(at, Fact::Mask { task, before, after, state })
    };
    // As around pthread_create(): the new thread is let go of first, and starts another.
    let story = of_thread(running(), 20, 10, (none, hup), hup);
    let story = of_thread(story, 23, 11, (hup, none), none);
    let story = of_thread(story, 23, 10, (hup, none), none);
    let told = of_thread(story, 24, 11, (none, hup), none).told();
    let masks = told.events.iter().filter_map(|event| match &event.what {
        What::Mask { disposition, .. } => Some(*disposition),
        _ => None,
    });
    let masks: Vec<_> = masks.collect();
    assert_eq!(masks, [DispositionKind::Blocked, DispositionKind::Default]);
}

#[test]
fn what_waits_in_a_main_process_is_lost_with_the_hand_over_though_the_next_one_does_the_same() {
    let story = running().handler(15, 10).mask(20, 10, true).fork(30, 10, 11);
    let story = story.hup(40, STARTER, 10).notify(50, 10, "MAINPID=11");
    let told = story.mask(90, 11, false).until(2_000).told();
    let pending = told.exposure.iter().find(|span| span.kind == ExposureKind::Pending);
    assert_eq!(pending.map(|span| span.to_ns), Some(40 * MS as i64 + 1), "{:?}", told.exposure);
}

#[test]
fn the_calls_that_set_what_is_done_on_a_signal_are_told_of_the_signals_that_are_shown() {
    let usr1: Signal = "USR1".parse().unwrap();
    let mut story = running().recording(usr1).recording(Signal::TERM);
    for signal in [Signal::HUP, usr1, Signal::TERM] {
        story = story.action(20, 10, signal, DispositionKind::Handler, 1);
    }
    let told = |shown, reload_signal| {
        let setup = Setup { reload_signal, shown, ..story.setup() };
        let mut builder = Builder::new(setup);
        story.observations.iter().for_each(|it| builder.observe(it.clone()));
        builder.end();
        let services = builder.services(BEGIN + 1_000 * MS);
        let signal = |event: &Event| match event.what {
            What::Disposition { signal, .. } => Some(signal),
            _ => None,
        };
        services[0].activations[0].events.iter().filter_map(signal).collect::<Vec<_>>()
    };
    assert_eq!(told(usr1.set(), Signal::HUP), [Signal::HUP, usr1]);
    assert_eq!(told(usr1.set(), usr1), [usr1]);
}
