use super::*;
use crate::rules::testing::*;

const USR1: u32 = 10;

fn mask_of(process: ProcessRef, signal: Signal) -> What {
    What::Mask { tid: process.pid, process, signal, blocked: true, disposition: Blocked }
}

#[test]
fn the_hold_on_the_reload_signal_changes_by_what_the_main_process_does_with_it() {
    let other = Signal::from_number(USR1).unwrap();
    let handler = What::Disposition {
        process: by("worker"),
        signal: Signal::HUP,
        disposition: Handler,
        consumer: None,
        runtime: None,
        once: false,
        found: false,
        mask_unknown: false,
    };
    let exec = What::Exec {
        process: by("worker"),
        exe: None,
        filename: None,
        disposition: Default,
        background: false,
    };
    let start = activation()
        .exec(0)
        .event(1, mask_of(itself(), other))
        .event(2, mask_of(by("worker"), Signal::HUP))
        .event(3, handler)
        .event(4, exec)
        .handler(5)
        .mask(6, Blocked)
        .mask(7, Handler);
    let phases = start.asked(|case| {
        case.phases().map(|it| (it.index, it.disposition, it.by_exec)).collect::<Vec<_>>()
    });
    let expected =
        [(0, Default, true), (5, Handler, false), (6, Blocked, false), (7, Handler, false)];
    assert_eq!(phases, expected);
}

#[test]
fn a_signalfd_takes_the_signal_while_it_is_blocked_and_until_an_exec() {
    let start = activation().exec(0).mask(1, Blocked).signalfd(2).mask(3, Default);
    let start = start.mask(4, Blocked).exec(5).mask(6, Blocked);
    let consumed = start
        .asked(|case| case.phases().map(|phase| (phase.at_ns, phase.consumed)).collect::<Vec<_>>());
    let expected = [(0, false), (1, false), (2, true), (3, false), (4, true), (5, false)];
    assert_eq!(consumed[..6], expected);
    assert_eq!(consumed[6], (6, false));
}

#[test]
fn a_start_was_seen_to_its_exit_or_to_the_end_of_the_capture() {
    let start = || activation().started(5.s());
    assert_eq!(start().asked(|case| case.end_ns()), 55.s());
    assert_eq!(start().exit(7.s(), 0).asked(|case| case.end_ns()), 7.s());
}

#[test]
fn a_service_was_active_from_when_systemd_said_so() {
    let at = |start: &Start, at: i64| start.clone().asked(|case| case.was_active_at(at));
    assert_eq!(at(&activation().exec(0), 1.s()), None);
    let start = activation().systemd(1.s(), "activating", None, "success");
    assert_eq!(at(&start, 2.s()), Some(false));
    let start = start.systemd(3.s(), "active", None, "success");
    let start = start.systemd(9.s(), "inactive", None, "success");
    assert_eq!(at(&start, 3.s() - 1), Some(false));
    assert_eq!(at(&start, 3.s()), Some(true));
    assert_eq!(at(&start, 10.s()), Some(true));
}

#[test]
fn a_descendant_is_there_from_its_fork_to_its_exit() {
    let start = activation().exec(0).fork(1.s(), 4712).exit_of(2.s(), 4712);
    let at = |start: &Start, at: i64| start.clone().asked(|case| case.has_descendants_at(at));
    assert!(!at(&start, 1.s() - 1));
    assert!(at(&start, 1.s()) && at(&start, 2.s() - 1));
    assert!(!at(&start, 2.s()));
    assert!(!at(&activation().fork(0, 4711), 1.s()), "it is the main process");
}

#[test]
fn only_who_had_a_handler_and_was_up_gives_it_back() {
    let stopping = |start: Start| start.asked(|case| case.stopping_ns());
    let up = || activation().unit("notify", "no").exec(0).handler(1).ready(2);
    assert_eq!(stopping(up()), None);
    assert_eq!(stopping(up().disposition(3, Default).disposition(4, Default)), Some(3));
    assert_eq!(stopping(up().disposition(3, Ignored).disposition(4, Default)), Some(4));
    assert_eq!(stopping(up().disposition(3, Default).handler(4)), None, "not for good");
    assert_eq!(stopping(up().exec(3).disposition(4, Default).disposition(5, Default)), None);
    let starting = activation().unit("notify", "no").exec(0).handler(1);
    assert_eq!(stopping(starting.disposition(2, Default).ready(3)), None);
    let simple = activation().unit("simple", "no").exec(0);
    assert_eq!(stopping(simple.clone().disposition(1, Default).disposition(2, Default)), None);
    assert_eq!(stopping(simple.handler(1).disposition(2, Default)), Some(2));
}

#[test]
fn of_several_reasons_to_go_away_the_first_counts() {
    let up = || activation().unit("notify", "no").exec(0).handler(1).ready(2);
    let says = |start: Start, at| start.notify(at, itself(), &[("STOPPING", "1")]);
    let term = |start: Start, at| start.signal(at, Signal::TERM, Handler, Handled, by("systemd"));
    assert_eq!(term(says(up(), 3), 4).asked(|case| case.stopping_ns()), Some(3));
    assert_eq!(says(term(up(), 3), 4).asked(|case| case.stopping_ns()), Some(3));
    let by_a_child = up().notify(3, by("worker"), &[("STOPPING", "1")]);
    assert_eq!(by_a_child.asked(|case| case.stopping_ns()), None);
    // A reload signal never tells to stop.
    let term = up().reloads_by(Signal::TERM);
    let term = term.signal(3, Signal::TERM, Handler, Handled, by("systemd"));
    assert_eq!(term.asked(|case| case.stopping_ns()), None);
}

#[test]
fn a_start_is_over_by_ready_or_in_time_where_a_reload_is_a_signal() {
    let at = |start: &Start, at: i64| start.clone().asked(|case| case.is_started_at(at));
    let simple = activation().unit("simple", "no").exec(1.s());
    assert!(!at(&simple, 60.s()), "no reload is known to send a signal");
    let simple = simple.reloads_by(Signal::HUP);
    assert!(!at(&simple, 11.s() - 1) && at(&simple, 11.s()));
    let again = simple.exec(30.s());
    assert!(!at(&again, 40.s() - 1) && at(&again, 40.s()));
    let oneshot = activation().unit("oneshot", "no").reloads_by(Signal::HUP).exec(0);
    assert!(!at(&oneshot, 60.s()));
    let notify = activation().unit("notify", "no").reloads_by(Signal::HUP).exec(0);
    assert!(!at(&notify, 60.s()));
    let notify = notify.ready(20.s());
    assert!(!at(&notify, 20.s() - 1) && at(&notify, 20.s()));
    let joined = activation().unit("notify", "no").reloads_by(Signal::HUP).joined(5.s());
    assert!(at(&joined, 60.s()), "its READY=1 may have come before");
}

#[test]
fn the_hold_is_fatal_up_to_the_moment_it_is_mended() {
    let start = activation().exec(0).fatal(10, 20);
    let at = |at: i64| start.clone().asked(|case| case.is_fatal_at(at));
    assert_eq!([9, 10, 19, 20].map(at), [false, true, true, false]);
}

#[test]
fn a_runtime_may_pass_it_on_from_when_its_handler_is_there_to_when_it_is_not() {
    let start = activation()
        .exec(0)
        .handler_of(10, Runtime::Forwarding)
        .handler_of(20, Runtime::CatchAll)
        .handler(30);
    let from = |at| start.clone().asked(|case| case.may_be_passed_on_from(at));
    assert_eq!([5, 10, 19, 20, 30].map(from), [true, true, true, false, false]);
}

#[test]
fn the_first_ready_that_was_not_refused_is_the_one() {
    let start = activation().unit("notify", "no").exec(0);
    let start = start.notify(1, itself(), &[("STATUS", "up")]).ready(2).refused().ready(3);
    assert_eq!(start.ready(4).asked(|case| case.ready_message().unwrap().index), 3);
}

#[test]
fn of_a_message_that_says_several_things_stopping_counts_then_ready() {
    let says = |lines: &[(&str, &str)]| {
        let start = activation().notify(0, itself(), lines);
        start.asked(|case| case.messages().next().unwrap().state())
    };
    let all = [("RELOADING", "1"), ("READY", "1"), ("STOPPING", "1")];
    assert_eq!(says(&all), Some(Announced::Stopping));
    assert_eq!(says(&all[..2]), Some(Announced::Ready));
    assert_eq!(says(&all[..1]), Some(Announced::Reloading));
    assert_eq!(says(&[("READY", "0"), ("STATUS", "1")]), None);
}

#[test]
fn a_reload_by_a_signal_that_ends_programs_is_meant_to_end_this_one() {
    let unit = || activation().unit("simple", "always").exec(0);
    let meant = |signal: &str| {
        let start = unit().reloads_by(signal.parse().unwrap());
        start.asked(|case| case.is_meant_to_end())
    };
    assert_eq!(["TERM", "INT", "QUIT", "KILL"].map(meant), [true; 4]);
    assert_eq!(["HUP", "USR1"].map(meant), [false; 2]);
    assert!(!unit().asked(|case| case.is_meant_to_end()), "no signal reloads it");
}

#[test]
fn a_stop_of_systemds_comes_before_the_end_and_not_with_it() {
    let stopping = |at: i64| {
        let start = activation().exec(0).exit(2.s(), 0);
        let start = start.systemd(at, "deactivating", Some("stop-sigterm"), "success");
        start.asked(|case| case.stopping_ns())
    };
    assert_eq!([2.s() - 1, 2.s()].map(stopping), [Some(2.s() - 1), None]);
}
