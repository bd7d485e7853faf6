use super::*;
use crate::{
    observation::Fact,
    timeline::{
        events::{Class, Record},
        tests::story::{STARTER, Story},
    },
};

/// A blocked HUP that was sent to a process or to its thread, and waits.
fn waiting(to_thread: bool) -> (Fates, Events, Task) {
    let story = Story::command().fork(0, STARTER, 10).mask(1, 10, true);
    let mut story = story.hup_with(2, STARTER, 10, |it| it.to_thread = to_thread);
    let Some(Fact::Generate(generate)) = story.observations.pop().map(|it| it.fact) else {
        panic!("no signal");
    };
    let (mut fates, mut events, task) = (Fates::default(), Events::default(), story.task(10));
    let process = || crate::model::event::ProcessRef {
        pid: 10,
        ns_pid: None,
        comm: SmolStr::default(),
        exe: None,
        uid: None,
    };
    let class = Class { kind: Kind::Signal, of: None, detail: 1, sender: None };
    let record = Record::Fork { process: process(), parent: process() };
    let place = events.add(2, task.id, class, record, false);
    fates.sent(&mut events, 2, &generate, place, None, false, (Program::Unread, None));
    assert_eq!(fates.count, 1);
    (fates, events, task)
}

#[test]
fn a_signal_counts_as_open_until_something_becomes_of_it() {
    type End = fn(&mut Fates, &mut Events, &Task);
    let hup = Signal::HUP;
    let ends: [(&str, End); 6] = [
        ("delivered", |fates, events, task| {
            fates.delivered(events, 3, task, Signal::HUP, DispositionKind::Handler, false);
        }),
        ("taken", |fates, events, task| fates.taken(events, 3, task, Signal::HUP)),
        ("thrown out", |fates, events, task| {
            fates.thrown_out(events, 3, task.id, Signal::HUP);
        }),
        ("gone from the queue", |fates, events, task| {
            fates.looked_at(events, task.id, SignalSet::EMPTY);
        }),
        ("with its thread", |fates, events, task| {
            fates.thread_ended(events, 3, task, Signal::HUP.set());
        }),
        ("with its process", |fates, events, task| {
            fates.ended(events, 3, task.id, (None, 0), SignalSet::EMPTY, |_| false);
        }),
    ];
    for (what, end) in ends {
        let (mut fates, mut events, task) = waiting(true);
        end(&mut fates, &mut events, &task);
        assert_eq!(fates.count, 0, "{what}");
        // What waits for the process does not go with a thread.
        let (mut fates, mut events, task) = waiting(false);
        end(&mut fates, &mut events, &task);
        assert_eq!(fates.count, usize::from(what == "with its thread"), "{what}");
        assert_eq!(fates.waiting().count(), fates.count, "{what}");
    }
    let (mut fates, mut events, task) = waiting(false);
    // What will kill is open until the end tells of it.
    fates.delivered(&mut events, 3, &task, hup, DispositionKind::Default, false);
    assert_eq!(fates.count, 1);
    fates.ended(&mut events, 4, task.id, (Some(hup), 0), SignalSet::EMPTY, |_| false);
    assert_eq!(fates.count, 0);
}

#[test]
fn what_kills_is_not_handled_by_a_thread_that_waits_for_it_and_gets_it_as_it_dies() {
    let (mut fates, mut events, task) = waiting(false);
    let open = fates.open.values_mut().flatten().next().unwrap();
    open.kills = Some(Kills::AtSending);
    fates.taken(&mut events, 3, &task, Signal::HUP);
    assert_eq!((fates.count, fates.handled.len()), (1, 0));
    fates.ended(&mut events, 4, task.id, (Some(Signal::HUP), 0), SignalSet::EMPTY, |_| false);
    assert_eq!(fates.count, 0);
}

#[test]
fn what_an_ended_process_handled_is_forgotten_and_what_others_did_is_not() {
    let (mut fates, mut events, task) = waiting(false);
    fates.taken(&mut events, 3, &task, Signal::HUP);
    let other = ProcessId { pid: 11, ..task.id };
    fates.ended(&mut events, 4, other, (None, 0), SignalSet::EMPTY, |_| false);
    assert_eq!((fates.handled.len(), fates.remembered.len()), (1, 1));
    fates.ended(&mut events, 5, task.id, (None, 0), SignalSet::EMPTY, |_| false);
    assert_eq!((fates.handled.len(), fates.remembered.len()), (0, 0));
}

#[test]
fn a_death_may_be_told_by_what_a_runtime_took_at_any_time_and_by_others_soon() {
    let (mut fates, mut events, task) = waiting(false);
    fates.delivered(&mut events, 3, &task, Signal::HUP, DispositionKind::Handler, false);
    let last = fates.handled[&(task.id, Signal::HUP)].last.clone().unwrap();
    let may_tell = |handled: Handled| {
        [last.at, last.at + RE_RAISE_NS, last.at + RE_RAISE_NS + 1]
            .map(|now| handled.may_tell_a_death(now))
    };
    let last = || Some(last.clone());
    assert_eq!(may_tell(Handled::default()), [false; 3]);
    assert_eq!(may_tell(Handled { last: last(), ..Handled::default() }), [true, true, false]);
    assert_eq!(may_tell(Handled { last_caught: last(), ..Handled::default() }), [true; 3]);
    let first_exit = last().map(|first| (1, first));
    assert_eq!(may_tell(Handled { first_exit, ..Handled::default() }), [true; 3]);
}
