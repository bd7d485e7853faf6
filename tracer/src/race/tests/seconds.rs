//! A second signal right after the first.

use tracer_common::place::Kind;

use crate::{
    model::{
        event::DispositionKind,
        race::{Interval, Outcome, Reach, Role, StepKind},
        signal::Signal,
    },
    race::{
        second::hurt,
        seconds,
        testing::{COMMAND, Story, an_interval},
    },
};

const MS: u64 = 1_000_000;

fn of(story: &Story, role: Role) -> Vec<crate::race::Planned> {
    seconds(&story.steps(), None, Signal::HUP, role, "simple")
}

#[test]
fn it_is_tried_where_a_handler_takes_one_alone() {
    let story = Story::command()
        .handler_for_one(10, COMMAND)
        .called_once(20, COMMAND)
        .handler_for_one(30, COMMAND)
        .handler(40, COMMAND);
    let planned = of(&story, Role::Reload);
    let ids: Vec<&str> = planned.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["HUP@exec1.action1+reset1", "HUP@exec1.action2+reset2"]);
    assert_eq!((planned[1].after.kind, planned[1].reached), (StepKind::Second, Reach::Reached));
    assert_eq!((planned[1].after.at_ns, planned[1].to_ns), (28_000_000, 38_000_000));
    let order = planned[1].at.order(Signal::HUP);
    assert_eq!(
        (order.first_step, order.first_execs, order.first_number),
        (Kind::Action as u32, 1, 2)
    );
    assert_eq!((order.step, order.execs, order.number), (Kind::Reset as u32, 1, 2));
    let again = Story::command().handler_for_one(50, COMMAND).called_once(60, COMMAND).steps();
    assert!(planned[0].holds(&again, 60 * MS) && !planned[0].holds(&again, 59 * MS));
    assert!(of(&Story::command().handler(10, COMMAND), Role::Reload).is_empty());
    assert!(of(&story, Role::End).is_empty(), "what ends it needs no second one");
}

#[test]
fn a_handler_for_one_delivery_is_there_until_another_action_is_set_whatever_is_said_meanwhile() {
    let story = Story::command().handler_for_one(10, COMMAND).says(20, COMMAND, "READY=1");
    let second = |story: &Story| {
        let mut all = seconds(&story.steps(), None, Signal::HUP, Role::Reload, "notify");
        (all.remove(0).reached, all.len())
    };
    assert_eq!(second(&story), (Reach::Reached, 0));
    let early = Story::command().handler_for_one(10, COMMAND).handler(15, COMMAND);
    assert_eq!(second(&early.says(20, COMMAND, "READY=1")), (Reach::NotByReload, 0));
    let anew = Story::command().handler_for_one(10, COMMAND).exec(15, COMMAND, "/usr/bin/demo");
    let called = Story::command().handler_for_one(10, COMMAND).called_once(15, COMMAND);
    for story in [anew, called] {
        assert_eq!(second(&story.says(20, COMMAND, "READY=1")), (Reach::NotByReload, 0));
    }
}

#[test]
fn it_is_tried_where_a_first_one_at_rest_has_it_execute_a_program_or_set_another_action() {
    let until_rest = || Story::command().handler(10, COMMAND).says(15, COMMAND, "READY=1");
    let after = |story: &Story, role| {
        let (at_rest, all) = (until_rest().steps(), story.steps());
        seconds(&at_rest, Some(&all), Signal::HUP, role, "notify")
    };
    let ids = |story: &Story| {
        let planned = after(story, Role::Reload).into_iter();
        planned.map(|it| it.id).collect::<Vec<_>>()
    };
    let anew = until_rest().exec(500, COMMAND, "/usr/bin/demo").handler(510, COMMAND);
    assert_eq!(ids(&anew), ["HUP@rest+exec2", "HUP@rest+exec2.action1"]);
    let ignored = DispositionKind::Ignored;
    let meanwhile = until_rest().action(500, COMMAND, Signal::HUP, ignored).handler(510, COMMAND);
    assert_eq!(ids(&meanwhile), ["HUP@rest+exec1.action2"], "the handler is as before");
    assert!(ids(&until_rest()).is_empty() && after(&anew, Role::Other).is_empty());
    let ended = until_rest().action(500, COMMAND, Signal::HUP, DispositionKind::Default);
    assert_eq!(ids(&ended), ["HUP@rest+exec1.action2"]);
    assert!(
        ids(&ended.exit(510, COMMAND)).is_empty(),
        "what the first one ends needs no second one"
    );
    let ended = until_rest().action(500, COMMAND, Signal::HUP, DispositionKind::Default);
    assert!(ids(&ended.killed(510, COMMAND, Signal::HUP)).is_empty(), "nor is what it kills");
    let many = (0..99).fold(until_rest(), |story, at| {
        story.action(500 + at, COMMAND, Signal::HUP, DispositionKind::Default)
    });
    assert_eq!(ids(&many).len(), 10);
    let exec = &after(&anew, Role::Reload)[0];
    assert_eq!((exec.after.kind, exec.reached), (StepKind::Second, Reach::Reached));
    assert_eq!(exec.after.what, "a first HUP at rest, then exec of demo");
    let order = exec.at.order(Signal::HUP);
    assert_eq!((order.step, order.execs, order.number), (Kind::Exec as u32, 2, 1));
    assert_eq!(order.first_number, 0, "the first one is sent from outside");
}

#[test]
fn what_it_does_is_told_where_that_is_bad() {
    let second = |did| an_interval("exec1.action1+reset1", StepKind::Second, (10, Some(20)), did);
    let (killed, taken) = (second((Outcome::Killed, true)), second((Outcome::Taken, false)));
    assert!(hurt("demo", Signal::HUP, std::slice::from_ref(&taken)).is_empty());
    assert_eq!(
        hurt("demo", Signal::HUP, std::slice::from_ref(&killed)).concat(),
        "After its handler has taken one HUP, a second one kills demo until a handler is set again."
    );
    assert_eq!(
        hurt("demo", Signal::HUP, &[killed.clone(), taken.clone()]).concat(),
        "After 1 of 2 handlers that take one HUP alone, a second one kills demo until a handler is \
         set again."
    );
    let anew = Interval { id: "HUP@rest+exec2".to_owned(), ..killed };
    assert_eq!(
        hurt("demo", Signal::HUP, &[taken, anew]),
        ["While demo does what a first HUP has it do, a second one does harm at 1 of 1 instants: \
             the first is HUP@rest+exec2, killed."]
    );
}
