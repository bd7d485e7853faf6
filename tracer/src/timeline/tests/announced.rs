//! RELOADING=1 that is no reload, and READY=1 that is not the end of one.

use super::story::{DEMO, Story};
use crate::{
    model::{
        event::{DispositionKind, Effect, What},
        signal::Signal,
        unit::UnitState,
    },
    observation::{Fact, UnitNews},
};

/// The effects of its messages.
fn of_messages(story: &Story) -> Vec<Option<Effect>> {
    let told = story.told();
    let messages = told.events.iter().filter_map(|event| match &event.what {
        What::Notify(message) => Some(message.effect),
        _ => None,
    });
    messages.collect()
}

#[test]
fn what_is_loaded_before_the_first_ready_is_no_reload() {
    let starting = |service_type: &str| {
        let story = Story::command().with_type(service_type, "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").notify(20, 10, "RELOADING=1");
        story.handler(25, 10).notify(30, 10, "READY=1")
    };
    for service_type in ["notify", "notify-reload"] {
        assert_eq!(of_messages(&starting(service_type)), [None, None], "{service_type}");
    }
    let again = starting("notify").notify(1_000, 10, "RELOADING=1").notify(1_010, 10, "READY=1");
    assert_eq!(of_messages(&again), [None, None, Some(Effect::Reloaded), None]);
}

#[test]
fn a_ready_that_comes_once_systemd_stops_the_service_does_not_end_a_reload() {
    let reloading = || {
        let story = Story::unit().with_facts("notify", "main");
        let story = story.start(0, 10, "/bin/demo", "a").until(20_000).handler(20, 10);
        story.notify(30, 10, "READY=1").notify(1_000, 10, "RELOADING=1")
    };
    let stopped = |story: Story, by: &'static str| {
        story.found(5, 1, "/elsewhere", &[]).hup_with(2_500, 5, 10, |sent| {
            sent.signal = Signal::TERM;
            sent.disposition = DispositionKind::Handler;
            sent.dying_of = None;
            if let Some(sender) = &mut sent.sender {
                sender.comm = by.into();
            }
        })
    };
    let deactivating = |story: Story| {
        let news = UnitNews {
            cgroup: DEMO.to_owned(),
            state: Some(UnitState {
                active_state: "deactivating".to_owned(),
                ..UnitState::default()
            }),
            invocation_id: Some("a".to_owned()),
            ..UnitNews::default()
        };
        story.fact(2_500, Fact::Unit(Box::new(news)))
    };
    let effect = |story: Story| {
        let ended = story.notify(2_600, 10, "READY=1").exit(2_700, 10, 0);
        of_messages(&ended)[1]
    };
    assert_eq!(effect(reloading()), Some(Effect::Reloaded), "nobody stops it");
    assert_eq!(effect(stopped(reloading(), "kill")), Some(Effect::Reloaded), "systemd takes it");
    assert_eq!(effect(stopped(reloading(), "systemd")), Some(Effect::Unfinished));
    assert_eq!(effect(deactivating(reloading())), Some(Effect::Unfinished));
}
