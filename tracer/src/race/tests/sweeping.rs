//! Instants among the system calls of a start.

use tracer_common::place::{self, CALL, Counted, child_place};

use crate::{
    model::{
        race::{Interval, Outcome, Reach, Role, SignalRace, StepKind, Try},
        signal::Signal,
    },
    race::{
        At, Call, FEWER_CALLS, calls, one, sweep, swept,
        testing::{COMMAND, Story, a_try, an_interval, running},
        untested, untouched,
    },
};

const MS: u64 = 1_000_000;

/// So many calls of the command's first thread, one each ms from its exec on.
fn counted(count: u32) -> Vec<Counted> {
    let call = |number: u32| Counted {
        at_ns: (2 + u64::from(number)) * MS,
        process: place::COMMAND,
        execs: 1,
        thread: 0,
        number,
        reserved: 0,
    };
    (1..=count).map(call).collect()
}

fn ids(story: &Story, counted: &[Counted], count: usize) -> Vec<String> {
    let steps = story.steps();
    let calls = calls(counted, &steps);
    let planned = sweep(&calls, &steps, Signal::HUP, Role::Reload, "notify", count);
    planned.into_iter().map(|it| it.id).collect()
}

#[test]
fn instants_are_spread_evenly_over_the_calls() {
    let counted = counted(100);
    assert_eq!(
        ids(&Story::command(), &counted, 4),
        ["HUP@exec1.call13", "HUP@exec1.call38", "HUP@exec1.call63", "HUP@exec1.call88"]
    );
    assert_eq!(ids(&Story::command(), &counted[..3], 9).len(), 3, "no more than there are");
    assert_eq!(ids(&Story::command(), &[], 9), [""; 0]);
}

#[test]
fn the_start_of_a_service_that_says_ready_ends_with_that_or_a_later_step() {
    let ready = Story::command().says(42, COMMAND, "READY=1");
    assert_eq!(calls(&counted(100), &ready.steps()).len(), 40);
    let handler = ready.handler(52, COMMAND);
    assert_eq!(calls(&counted(100), &handler.steps()).len(), 50);
    assert_eq!(calls(&counted(100), &Story::command().handler(10, COMMAND).steps()).len(), 100);
}

#[test]
fn calls_of_what_it_started_are_not_swept_over() {
    let mut counted = counted(4);
    counted[1].process = child_place(place::COMMAND, 1).unwrap();
    counted[2].thread = 2;
    assert_eq!(
        ids(&Story::command(), &counted, 9),
        ["HUP@exec1.call1", "HUP@exec1.thread2.call3", "HUP@exec1.call4"]
    );
}

#[test]
fn an_id_and_its_call_are_the_same() {
    let child = child_place(child_place(place::COMMAND, 2).unwrap(), 7).unwrap();
    for (id, process, execs, thread, number) in [
        ("exec1.call412", place::COMMAND, 1, 0, 412),
        ("exec2.thread3.call7", place::COMMAND, 2, 3, 7),
        ("child2.child7.call1", child, 0, 0, 1),
    ] {
        let call = Call { process, execs, thread, number };
        assert_eq!((Call::parse(id), call.to_string()), (Some(call), id.to_owned()));
    }
    for id in ["", "exec1", "call", "call0", "call1.exec1", "exec1.call1.x", "call99999999999"] {
        assert_eq!(Call::parse(id), None, "{id}");
    }
}

#[test]
fn an_order_says_which_thread_and_which_call() {
    let story = Story::command();
    let (steps, counted) = (story.steps(), counted(9));
    let call = Call::of(&counted[4]);
    let it = one(&counted, call, &steps, Signal::TERM, Role::End, "notify").unwrap();
    let order = it.at.order(Signal::TERM);
    assert_eq!((order.step, order.thread, order.number, order.sent), (CALL, 0, 5, 15));
    assert_eq!((it.at, it.after.kind), (At::Call(call), StepKind::Call));
    assert_eq!(it.after.what, "system call 5 of 9");
    assert_eq!((it.after.at_ns, it.to_ns), (5_000_000, 5_000_000));
    assert_eq!(it.reached, Reach::Reached, "what ends it is not held back");
    assert!(it.holds(&Story::command().handler(1, COMMAND).steps(), 3));
    let other = Call { number: 10, ..call };
    assert_eq!(one(&counted, other, &steps, Signal::TERM, Role::End, "notify"), None);
}

#[test]
fn a_call_that_no_other_start_comes_to_is_untested_unless_most_others_are_reached() {
    let missed = |id: &str, why: &str| {
        let call = an_interval(id, StepKind::Call, (10, Some(10)), (Outcome::NotReached, false));
        let tries = vec![Try { what: why.to_owned(), ..a_try(Outcome::NotReached, false) }];
        Interval { tries, ..call }
    };
    let reached = an_interval("exec1.call9", StepKind::Call, (5, Some(5)), (Outcome::Taken, false));
    let untested = |sweep: Vec<Interval>| {
        let race = SignalRace { sweep, ..SignalRace::of(Signal::HUP, Role::Reload) };
        let steps = Story::command().steps();
        untested(&[race], &untouched(&steps, 90_000_000, running()).unwrap()).len()
    };
    let beyond = missed("exec1.call179", FEWER_CALLS);
    assert_eq!(untested(vec![reached.clone(), reached.clone(), beyond.clone()]), 0);
    assert_eq!(untested(vec![reached.clone(), beyond.clone()]), 1, "half of them is too few");
    assert_eq!(untested(vec![beyond]), 1, "nothing is known of any");
    assert_eq!(
        untested(vec![reached, missed("exec1.call179", "3 events of this run were lost")]),
        1
    );
}

#[test]
fn what_differs_from_its_interval_is_told() {
    let intervals = [
        an_interval("exec1", StepKind::Exec, (0, Some(50)), (Outcome::Killed, true)),
        an_interval("exec1.action1", StepKind::Action, (50, None), (Outcome::Taken, false)),
    ];
    let instant = |id: &str, at: i64, did| an_interval(id, StepKind::Call, (at, Some(at)), did);
    let alike = [
        instant("exec1.call1", 10, (Outcome::Killed, true)),
        instant("exec1.call9", 60, (Outcome::Taken, false)),
        instant("exec1.call12", 70, (Outcome::NotReached, false)),
    ];
    assert_eq!(
        swept(&intervals, &alike, 30).unwrap(),
        "At 2 instants among the 30 system calls of its start it came out as the interval around \
         does."
    );
    let other = [alike[1].clone(), instant("exec1.call20", 80, (Outcome::Crashed, true))];
    assert_eq!(
        swept(&intervals, &other, 30).unwrap(),
        "At 1 of 2 instants among the 30 system calls of its start it came out otherwise than the \
         interval around does: the first is HUP@exec1.call20, crashed."
    );
    assert_eq!(swept(&intervals, &[], 30), None);
}
