//! Processes that ran before the capture: they are looked at when that has begun, and the kernel
//! may tell of them sooner.

use tracer_common::signal::SignalSet;

use super::story::{DEMO, MS, STARTER, Story, Told};
use crate::{
    model::{
        document::{Activation, Exposure, ExposureKind, OutcomeState},
        event::{Consumer, DispositionKind, Fate, What},
        signal::Signal,
    },
    observation::Fact,
};

fn main_pid(told: &Told) -> Option<u32> {
    told.main_process.as_ref().map(|main| main.pid)
}

/// Of a process that ran before, the kernel tells a signal sooner than it is looked at.
fn looked_at_after(
    ms: u64,
    pids: &[u32],
    caught: &[Signal],
    then: impl Fn(Story) -> Story,
) -> Story {
    let path = Fact::CgroupPath { hierarchy: 0, id: 1, path: DEMO.to_owned() };
    let found = |story: Story, pid: &u32| story.found(*pid, STARTER, DEMO, caught);
    let mut story = pids.iter().fold(Story::unit().fact(0, path), found);
    let mut looks = story.observations.split_off(1);
    for look in &mut looks {
        look.at += ms * MS;
    }
    let mut story = then(story);
    story.observations.extend(looks);
    story
}

#[test]
fn what_a_signal_does_is_unknown_until_its_process_is_looked_at() {
    let spans = |told: &Activation| {
        let end = told.joined_ns.unwrap();
        let of = |span: &Exposure| (span.kind, span.from_ns - end, span.to_ns - end);
        told.exposure.iter().map(of).collect::<Vec<_>>()
    };
    let ms = |ms: i64| ms * MS as i64;
    let taken = looked_at_after(30, &[20], &[Signal::HUP], |it| it.taken_hup(10, STARTER, 20));
    let told = taken.told();
    assert_eq!(told.signals()[0].fate, Fate::Handled);
    assert_eq!(spans(&told), [(ExposureKind::Unknown, 0, ms(20))]);
    let killed =
        looked_at_after(30, &[20], &[], |it| it.hup(10, STARTER, 20).killed(11, 20, Signal::HUP));
    let told = killed.told();
    assert_eq!((told.outcome.state, main_pid(&told)), (OutcomeState::Killed, Some(20)));
    assert_eq!(spans(&told), [(ExposureKind::Unknown, 0, ms(1))]);
}

#[test]
fn what_happened_before_a_process_was_looked_at_is_told_before_that() {
    let set = looked_at_after(100, &[20], &[Signal::HUP], |it| it);
    let mut other = looked_at_after(200, &[30], &[], |it| it);
    let mut story = set;
    story.observations.extend(other.observations.split_off(1));
    let told = story.action(50, 20, Signal::HUP, DispositionKind::Handler, 1).told();
    assert_eq!(told.exposure, [], "it had the handler at 50 ms already");
    assert!(!matches!(told.events[0].what, What::Disposition { found: true, .. }));
}

#[test]
fn the_main_process_of_a_unit_found_running_is_the_oldest_whichever_is_signalled_first() {
    let story = looked_at_after(30, &[20, 30], &[Signal::HUP], |it| {
        it.taken_hup(10, STARTER, 30).taken_hup(12, STARTER, 20)
    });
    assert_eq!(main_pid(&story.told()), Some(20));
}

#[test]
fn what_a_thread_in_sigwait_may_wait_for_is_not_said_to_be_blocked() {
    let told = |unknown: SignalSet| {
        let mut story = looked_at_after(0, &[20], &[], |it| it);
        for observation in &mut story.observations {
            if let Fact::Found { state, .. } = &mut observation.fact {
                (state.blocked, state.blocked_unknown) = (Signal::HUP.set(), unknown);
            }
        }
        let told = story.told();
        let told = told.events.iter().find_map(|event| match event.what {
            What::Disposition { disposition, mask_unknown, .. } => {
                Some((disposition, mask_unknown))
            }
            _ => None,
        });
        told.unwrap()
    };
    assert_eq!(told(SignalSet::EMPTY), (DispositionKind::Blocked, false));
    assert_eq!(told(Signal::HUP.set()), (DispositionKind::Blocked, true));
}

#[test]
fn a_handler_that_shows_once_it_is_known_what_is_blocked_came_at_a_time_nobody_saw() {
    let story = looked_at_after(0, &[20], &[], |it| it);
    let mut story = story.consume(100, 20, Consumer::Sigwait).until(200);
    for observation in &mut story.observations {
        match &mut observation.fact {
            Fact::Found { state, .. } => {
                (state.blocked, state.blocked_unknown) = (Signal::HUP.set(), Signal::HUP.set());
            }
            Fact::Consume { state, .. } => state.blocked = Signal::HUP.set(),
            _ => {}
        }
    }
    let told = story.told();
    assert_eq!(told.milestones.handler_ns, None);
    let kinds: Vec<ExposureKind> = told.exposure.iter().map(|span| span.kind).collect();
    assert_eq!(kinds, [ExposureKind::Unknown]);
}
