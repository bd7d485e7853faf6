//! `Type=forking`: the main process is one that what systemd starts has started.

use tracer_common::place::child_place;

use crate::{
    model::{
        document::OutcomeState,
        race::{Reach, Role},
        signal::Signal,
    },
    race::{
        Active, Lineage, Steps, plan,
        testing::{COMMAND, Story},
    },
};

const MS: u64 = 1_000_000;
/// The child of the command, the child of that, which is the main process, and a worker of it.
const MIDDLE: u32 = 101;
const MAIN: u32 = 102;
const WORKER: u32 = 103;

/// It forks twice and is up at 40 ms; its handler comes at 60 ms.
fn story() -> Story {
    Story::command()
        .fork(10, COMMAND, MIDDLE)
        .fork(20, MIDDLE, MAIN)
        .exit(21, MIDDLE)
        .exit(30, COMMAND)
        .handler(60, MAIN)
        .fork(70, MAIN, WORKER)
}

fn steps() -> Steps {
    let steps = story().steps();
    let place = steps.place_of(MAIN).unwrap();
    steps.with_main(place).with_active(Active::Since(40 * MS))
}

fn planned(role: Role) -> Vec<(String, bool, Reach)> {
    let (planned, _) = plan(&steps(), Signal::HUP, role, "forking", 1_000 * MS);
    planned.into_iter().map(|it| (it.id, it.main, it.reached)).collect()
}

#[test]
fn the_main_process_comes_first_and_is_reached_from_when_the_unit_is_up() {
    let of = |id: &str, main, reached| (format!("HUP@{id}"), main, reached);
    assert_eq!(
        planned(Role::Reload),
        [
            of("child1.child1.fork", true, Reach::Reached),
            of("child1.child1.action1", true, Reach::Reached),
            of("child1.child1.fork1", true, Reach::Reached),
            of("fork", false, Reach::NotByReload),
            of("exec1", false, Reach::NotByReload),
            of("child1.child1.child1.fork", false, Reach::NotByReload),
        ]
    );
    let late = steps().with_active(Active::Since(65 * MS));
    let (planned, _) = plan(&late, Signal::HUP, Role::Reload, "forking", 1_000 * MS);
    assert_eq!(planned[0].reached, Reach::NotByReload);
    assert_eq!(planned[1].reached, Reach::Reached);
}

#[test]
fn what_ends_the_service_is_raced_in_the_main_process_alone() {
    assert!(planned(Role::End).iter().all(|(_, main, _)| *main));
}

#[test]
fn what_started_it_has_an_end_of_its_own() {
    let steps = steps();
    let starter = steps.starter().unwrap();
    assert_eq!((starter.outcome.state, starter.outcome.code), (OutcomeState::Exited, Some(0)));
    assert_eq!(steps.main().unwrap().outcome.state, OutcomeState::Running);
    assert!(story().steps().starter().is_none(), "of another type there is none");
}

#[test]
fn a_process_is_known_by_its_pid_and_what_is_not_there_is_not() {
    let steps = story().steps();
    let middle = child_place(1, 1).unwrap();
    assert_eq!(steps.place_of(COMMAND), Some(1));
    assert_eq!(steps.place_of(MIDDLE), Some(middle));
    assert_eq!(steps.place_of(MAIN), child_place(middle, 1));
    assert_eq!(steps.place_of(999), None);
}

#[test]
fn the_main_process_is_found_by_the_forks_that_lead_to_it() {
    let place = story().steps().place_of(MAIN).unwrap();
    let mut lineage = Lineage::of(place, COMMAND);
    let found: Vec<u32> = story().facts().iter().filter_map(|it| lineage.learn(&it.fact)).collect();
    assert_eq!((found.as_slice(), lineage.found()), ([MAIN].as_slice(), Some(MAIN)));
    // A helper comes before: then it is another one.
    let other = Story::command().fork(5, COMMAND, 110).exit(6, 110);
    let other = other.fork(10, COMMAND, MIDDLE).fork(20, MIDDLE, MAIN);
    let mut lineage = Lineage::of(place, COMMAND);
    assert!(other.facts().iter().all(|it| lineage.learn(&it.fact).is_none()));
    assert_eq!(Lineage::of(1, COMMAND).found(), Some(COMMAND));
}
