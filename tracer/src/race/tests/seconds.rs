//! A second signal right after the first.

use tracer_common::place::Kind;

use crate::{
    model::{
        race::{Outcome, Reach, Role, StepKind},
        signal::Signal,
    },
    race::{
        hurt, second,
        testing::{COMMAND, Story, an_interval},
    },
};

const MS: u64 = 1_000_000;

fn of(story: &Story, role: Role) -> Vec<crate::race::Planned> {
    second(&story.steps(), Signal::HUP, role, "simple", 900 * MS)
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
fn what_it_does_is_told_where_that_is_bad() {
    let second = |did| an_interval("exec1.action1+reset1", StepKind::Second, (10, Some(20)), did);
    let (killed, taken) = (second((Outcome::Killed, true)), second((Outcome::Taken, false)));
    assert_eq!(hurt("demo", Signal::HUP, std::slice::from_ref(&taken)), None);
    assert_eq!(
        hurt("demo", Signal::HUP, std::slice::from_ref(&killed)).unwrap(),
        "After its handler has taken one HUP, a second one kills demo until a handler is set again."
    );
    assert_eq!(
        hurt("demo", Signal::HUP, &[killed, taken]).unwrap(),
        "After 1 of 2 handlers that take one HUP alone, a second one kills demo until a handler is \
         set again."
    );
}
