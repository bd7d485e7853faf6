//! The same step in a run that has other helpers.

use tracer_common::place::{ANEW, COMMAND as MAIN, CountedFrom, Kind, child_place};

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

fn of(story: &Story, id: &str) -> Planned {
    let found = planned(story).into_iter().find(|it| it.id == format!("HUP@{id}"));
    found.unwrap_or_else(|| panic!("no {id}: {:#?}", planned(story)))
}

/// The ids of these steps in the other run.
fn alike(one: &Story, other: &Story, ids: &[&str]) -> Vec<Option<String>> {
    let alike = |id: &&str| {
        let it = of(one, id).alike(&one.steps(), &other.steps())?;
        let At::Step(key) = it.at else { return None };
        it.is_of(&other.steps()).then(|| key.to_string())
    };
    ids.iter().map(alike).collect()
}

#[test]
fn a_worker_and_the_mask_around_its_fork_are_found_however_many_helpers_there_were() {
    let (one, other) = (started(2, 1, "/usr/bin/worker"), started(5, 3, "/usr/bin/worker"));
    let ids = ["exec1.action2", "exec1.block4", "exec1.fork4", "child4.fork", "child4.exec1"];
    let found = alike(&one, &other, &ids).into_iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!(
        found,
        ["exec1.action2", "exec1.block9", "exec1.fork9", "child9.fork", "child9.exec1"]
    );
    let found = alike(&one, &one, &ids).into_iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!(found, ids, "the same run");
}

#[test]
fn the_kernel_side_counts_forks_and_masks_from_the_last_step_that_does_not_depend_on_helpers() {
    let story = started(2, 1, "/usr/bin/worker");
    let order = |id: &str| of(&story, id).order(Signal::HUP, &story.steps());
    let since = |place, number| CountedFrom {
        process: place,
        step: Kind::Action as u32,
        execs: 1,
        number,
        reserved: 0,
    };
    let none = CountedFrom::default();
    let second = since(MAIN, 2);
    let (mask, fork) = (order("exec1.block4"), order("exec1.fork4"));
    assert_eq!((mask.number, mask.counted_from), (ANEW + 1, [none, second]));
    assert_eq!((fork.number, fork.process, fork.counted_from), (ANEW + 1, MAIN, [none, second]));
    // Its place has the number that its fork has then, and its own steps are counted as ever.
    let worker = order("child4.exec1.action1");
    assert_eq!((worker.number, worker.counted_from), (1, [second, none]));
    assert_eq!(Some(worker.process), child_place(MAIN, ANEW + 1));
    // The helper's mask before the first handler is counted from the exec.
    let first = order("exec1.block1");
    let exec = CountedFrom { step: Kind::Exec as u32, ..since(MAIN, 1) };
    assert_eq!((first.number, first.counted_from), (ANEW + 1, [none, exec]));
    // What does not depend on helpers is found by its own number.
    let handler = order("exec1.action2");
    assert_eq!((handler.number, handler.process, handler.counted_from), (2, MAIN, [none; 2]));
}

#[test]
fn a_worker_is_the_same_one_of_those_that_live_on_where_other_helpers_come_right_before_it() {
    // The action that is set before the worker is what is steady: after it there are other helpers.
    let started = |helpers: u32| {
        let story = Story::command().handler(10, COMMAND);
        let story = (0..helpers).fold(story, |story, number| {
            let (at, pid) = (20 + u64::from(number) * 10, 101 + number);
            story.fork(at, COMMAND, pid).exec(at + 1, pid, "/usr/bin/sed").exit(at + 2, pid)
        });
        story.fork(400, COMMAND, WORKER).exec(401, WORKER, "/usr/bin/worker").handler(410, WORKER)
    };
    let (one, other) = (started(0), started(2));
    let (of, now) = (one.steps(), other.steps());
    let renumbered = |id: &str| {
        let planned = self::of(&one, id);
        assert_eq!(planned.is_counted_by_forks(&of), id.contains("fork1") || id.contains("child"));
        let At::Step(key) = planned.renumbered(&of, &now)?.at else { return None };
        Some(key.to_string())
    };
    assert_eq!(renumbered("exec1.fork1").as_deref(), Some("exec1.fork3"));
    assert_eq!(renumbered("child1.exec1.action1").as_deref(), Some("child3.exec1.action1"));
    assert_eq!(renumbered("exec1.action1"), None);
    let aimed = self::of(&one, "child1.exec1").renumbered(&of, &now).unwrap();
    assert_eq!(Some(aimed.order(Signal::HUP, &now).process), child_place(MAIN, ANEW + 3));
    assert!(aimed.alike(&now, &now).is_some_and(|it| it.holds(&now, 405 * MS) && it.is_of(&now)));
    assert_eq!(aimed.id, "HUP@child1.exec1", "it is told as in the untouched run");
}

#[test]
fn another_program_in_its_place_is_none_of_it_nor_is_a_run_without_that_step() {
    let (one, other) = (started(2, 1, "/usr/bin/worker"), started(3, 1, "/usr/bin/other"));
    assert_eq!(alike(&one, &other, &["child4.exec1", "exec1.fork4"]), [None, None]);
    let none = Story::command().handler(200, COMMAND);
    assert_eq!(alike(&one, &none, &["exec1.block4", "child4.exec1.action1"]), [None, None]);
}

#[test]
fn a_mask_of_the_same_number_is_another_one_where_another_handler_came_before_it() {
    let (one, other) = (started(2, 1, "/usr/bin/worker"), started(0, 2, "/usr/bin/worker"));
    // In one run it is a helper's before the handler is set, in the other one after it.
    let holds = |story: &Story, id, at| {
        let steps = story.steps_until(at);
        of(&one, id).alike(&one.steps(), &steps).is_some_and(|it| it.holds(&steps, at))
    };
    for (id, at, in_other) in
        [("exec1.block1", 10, 210), ("exec1.unblock1", 14, 214), ("exec1.block3", 210, 500)]
    {
        assert!(holds(&one, id, at * MS) && !holds(&other, id, in_other * MS), "{id}");
    }
}
