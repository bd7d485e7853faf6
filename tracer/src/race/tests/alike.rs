//! The same step in a run that has other helpers.

use crate::{
    model::{event::DispositionKind, signal::Signal},
    race::{
        At, Planned, plan, role,
        testing::{COMMAND, Story},
    },
};

const MS: u64 = 1_000_000;
const WORKER: u32 = 150;

/// A start that has so many helpers before its handler and after it, and then a worker; around the
/// fork of that it blocks the signal for a while.
fn started(before: u32, after: u32, worker: &str) -> Story {
    let helpers = |story: Story, from: u64, pids: std::ops::Range<u32>| {
        pids.zip(0..).fold(story, |story, (pid, number)| {
            let at = from + number * 10;
            let story = story.mask(at, COMMAND, true).fork(at + 1, COMMAND, pid);
            let story = story.exec(at + 2, pid, "/usr/bin/sed").exit(at + 3, pid);
            story.mask(at + 4, COMMAND, false)
        })
    };
    let story = helpers(Story::command(), 10, 101..101 + before).handler(200, COMMAND);
    let story = helpers(story, 210, 120..120 + after);
    let story = story.action(400, COMMAND, Signal::HUP, DispositionKind::Default);
    let story = story.mask(500, COMMAND, true).fork(501, COMMAND, WORKER);
    story.exec(502, WORKER, worker).handler(510, WORKER)
}

fn planned(story: &Story) -> Vec<Planned> {
    plan(&story.steps(), Signal::HUP, role(Signal::HUP, &[]), "simple", 1_000 * MS).0
}

/// The ids of these steps in the other run.
fn renumbered(one: &Story, other: &Story, ids: &[&str]) -> Vec<Option<String>> {
    let all = planned(one);
    let of = |id: &&str| {
        let it = all.iter().find(|it| it.id == format!("HUP@{id}"));
        let it = it.unwrap_or_else(|| panic!("no {id}: {all:#?}"));
        let At::Step(key) = it.renumbered(&one.steps(), &other.steps())?.at else { return None };
        Some(key.to_string())
    };
    ids.iter().map(of).collect()
}

#[test]
fn a_worker_and_the_mask_around_its_fork_are_found_however_many_helpers_there_were() {
    let (one, other) = (started(2, 1, "/usr/bin/worker"), started(5, 3, "/usr/bin/worker"));
    let ids = ["exec1.action2", "exec1.block4", "exec1.fork4", "child4.fork", "child4.exec1"];
    let found = renumbered(&one, &other, &ids).into_iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!(
        found,
        ["exec1.action2", "exec1.block9", "exec1.fork9", "child9.fork", "child9.exec1"]
    );
    let found = renumbered(&one, &one, &ids).into_iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!(found, ids, "the same run");
}

#[test]
fn another_program_in_its_place_is_none_of_it_nor_is_a_run_without_that_step() {
    let (one, other) = (started(2, 1, "/usr/bin/worker"), started(3, 1, "/usr/bin/other"));
    assert_eq!(renumbered(&one, &other, &["child4.exec1", "exec1.fork4"]), [None, None]);
    let none = Story::command().handler(200, COMMAND);
    assert_eq!(renumbered(&one, &none, &["exec1.block4", "child4.exec1.action1"]), [None, None]);
}

#[test]
fn a_mask_of_the_same_number_is_another_one_where_another_handler_came_before_it() {
    let (one, other) = (started(2, 1, "/usr/bin/worker"), started(0, 2, "/usr/bin/worker"));
    let of = |id: &str| {
        let found = planned(&one).into_iter().find(|it| it.id == format!("HUP@exec1.{id}"));
        found.unwrap_or_else(|| panic!("no {id}"))
    };
    // In one run it is a helper's before the handler is set, in the other one after it.
    let holds = |story: &Story, id, at| of(id).holds(&story.steps_until(at), at);
    assert!(holds(&one, "block1", 10 * MS) && !holds(&other, "block1", 210 * MS));
    assert!(holds(&one, "unblock1", 14 * MS) && !holds(&other, "unblock1", 214 * MS));
    assert!(holds(&one, "block3", 210 * MS) && !holds(&other, "block3", 500 * MS));
}
