//! The same step in a run that has other helpers.

use tracer_common::{
    event::COMM_LEN,
    place::{self, ANEW, CountedFrom, FORKS_APART, FORKS_SHARING, Kind, child_place},
};

use crate::{
    model::{event::DispositionKind, signal::Signal},
    race::{
        At, Helpers, Planned, Same, plan, role,
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
        let it = of(one, id);
        let hit = if it.main { COMMAND } else { WORKER };
        // A fork is hit as it is made.
        let until = if id.contains(".fork1") { other.steps_until(501 * MS) } else { other.steps() };
        let it = it.alike(&one.steps(), &until, hit)?;
        let At::Step(key) = it.at else { return None };
        it.is_of(&other.steps()).then(|| key.to_string())
    };
    ids.iter().map(alike).collect()
}

#[test]
fn a_worker_and_the_mask_around_its_fork_are_found_however_many_helpers_there_were() {
    let (one, other) = (started(2, 1, "/usr/bin/worker"), started(5, 3, "/usr/bin/worker"));
    let ids = ["exec1.action2", "exec1.block4", "exec1.fork1", "child1.fork", "child1.exec1"];
    let found = alike(&one, &other, &ids).into_iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!(
        found,
        ["exec1.action2", "exec1.block9", "exec1.fork9", "child9.fork", "child9.exec1"]
    );
    let found = alike(&one, &one, &ids).into_iter().map(Option::unwrap).collect::<Vec<_>>();
    let own = ["exec1.action2", "exec1.block4", "exec1.fork4", "child4.fork", "child4.exec1"];
    assert_eq!(found, own, "the same run");
}

#[test]
fn the_kernel_side_counts_forks_and_masks_from_the_last_step_that_does_not_depend_on_helpers() {
    let story = started(2, 1, "/usr/bin/worker");
    let order = |id: &str| of(&story, id).order(Signal::HUP, &story.steps(), Helpers::Counted);
    let since = |place, number| CountedFrom {
        process: place,
        step: Kind::Action as u32,
        execs: 1,
        number,
        forks: 0,
    };
    let none = CountedFrom::default();
    let second = since(place::COMMAND, 2);
    let (mask, fork) = (order("exec1.block4"), order("exec1.fork1"));
    assert_eq!((mask.number, mask.counted_from), (ANEW + 1, [none, second]));
    let forks = CountedFrom { forks: FORKS_APART, ..second };
    assert_eq!(
        (fork.number, fork.process, fork.counted_from),
        (ANEW + 1, place::COMMAND, [none, forks])
    );
    // Its place has the number that its fork has then, and its own steps are counted as ever.
    let worker = order("child1.exec1.action1");
    assert_eq!((worker.number, worker.counted_from), (1, [forks, none]));
    assert_eq!(Some(worker.process), child_place(place::COMMAND, ANEW + 1));
    // The helper's mask before the first handler is counted from the exec.
    let first = order("exec1.block1");
    let exec = CountedFrom { step: Kind::Exec as u32, ..since(place::COMMAND, 1) };
    assert_eq!((first.number, first.counted_from), (ANEW + 1, [none, exec]));
    // What does not depend on helpers is found by its own number.
    let handler = order("exec1.action2");
    assert_eq!(
        (handler.number, handler.process, handler.counted_from),
        (2, place::COMMAND, [none; 2])
    );
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
        assert_eq!(
            planned.is_counted_by_helpers(&of),
            id.contains("fork1") || id.contains("child")
        );
        let At::Step(key) = planned.renumbered(&of, &now)?.at else { return None };
        Some(key.to_string())
    };
    assert_eq!(renumbered("exec1.fork1").as_deref(), Some("exec1.fork3"));
    assert_eq!(renumbered("child1.exec1.action1").as_deref(), Some("child3.exec1.action1"));
    assert_eq!(renumbered("exec1.action1"), None);
    let aimed = self::of(&one, "child1.exec1").renumbered(&of, &now).unwrap();
    let order = aimed.order(Signal::HUP, &now, Helpers::Counted);
    assert_eq!(Some(order.process), child_place(place::COMMAND, ANEW + 3));
    assert!(
        aimed
            .alike(&now, &now, WORKER)
            .is_some_and(|it| it.holds(&now, 405 * MS) && it.is_of(&now))
    );
    assert_eq!(aimed.id, "HUP@child1.exec1");
    assert_eq!(self::of(&other, "child1.exec1").id, aimed.id, "it is told alike in both");
}

#[test]
fn another_program_in_its_place_is_none_of_it_nor_is_a_run_without_that_step() {
    let (one, other) = (started(2, 1, "/usr/bin/worker"), started(3, 1, "/usr/bin/other"));
    assert_eq!(alike(&one, &other, &["child1.exec1", "exec1.fork1"]), [None, None]);
    let none = Story::command().handler(200, COMMAND);
    assert_eq!(alike(&one, &none, &["exec1.block4", "child1.exec1.action1"]), [None, None]);
}

#[test]
fn a_mask_of_the_same_number_is_another_one_where_another_handler_came_before_it() {
    let (one, other) = (started(2, 1, "/usr/bin/worker"), started(0, 2, "/usr/bin/worker"));
    // In one run it is a helper's before the handler is set, in the other one after it.
    let holds = |story: &Story, id, at| {
        let steps = story.steps_until(at);
        of(&one, id).alike(&one.steps(), &steps, COMMAND).is_some_and(|it| it.holds(&steps, at))
    };
    for (id, at, in_other) in
        [("exec1.block1", 10, 210), ("exec1.unblock1", 14, 214), ("exec1.block3", 210, 500)]
    {
        assert!(holds(&one, id, at * MS) && !holds(&other, id, in_other * MS), "{id}");
    }
}

/// A start that has so many helpers between its handler and its worker, each started like this.
fn with_helpers(count: u32, helper: impl Fn(Story, u64, u32) -> Story) -> Story {
    let story = Story::command().handler(10, COMMAND);
    let story = (0..count)
        .fold(story, |story, number| helper(story, 20 + u64::from(number) * 10, 101 + number));
    story.fork(400, COMMAND, WORKER).handler(410, WORKER)
}

fn spawned(story: Story, at: u64, pid: u32) -> Story {
    let default = DispositionKind::Default;
    let story = story.fork_in_memory(at, COMMAND, pid).action(at + 1, pid, Signal::HUP, default);
    story.exec(at + 2, pid, "/usr/bin/sed").exit(at + 3, pid)
}

fn forked(story: Story, at: u64, pid: u32) -> Story {
    story.fork(at, COMMAND, pid).exec(at + 2, pid, "/usr/bin/sed").exit(at + 3, pid)
}

#[test]
fn helpers_that_run_in_their_parents_memory_are_not_counted_as_forks_nor_taken_for_a_worker() {
    let (one, other) = (with_helpers(1, spawned), with_helpers(3, spawned));
    for helpers in [Helpers::Counted, Helpers::LeftOut] {
        let order = of(&one, "child1.fork").order(Signal::HUP, &one.steps(), helpers);
        assert_eq!(Some(order.process), child_place(place::COMMAND, ANEW + 1));
        assert_eq!(order.counted_from[0].forks, FORKS_APART);
    }
    let hit = |id: &str, at, pid| {
        let until = other.steps_until(at * MS);
        let alike = of(&one, id).alike(&one.steps(), &until, pid);
        alike.is_some_and(|it| it.holds(&until, at * MS) && it.is_of(&other.steps()))
    };
    assert!(hit("child1.fork", 400, WORKER) && hit("child1.action1", 410, WORKER));
    assert!(!hit("child1.fork", 30, 102) && !hit("child1.action1", 31, 102), "a helper was hit");
    assert!(hit("exec1.fork1", 400, COMMAND) && !hit("exec1.fork1", 30, COMMAND));
    // One that is started so itself is told from those that are forked.
    let story = with_helpers(2, forked).fork_in_memory(500, COMMAND, 160);
    let story = story.exec(501, 160, "/usr/bin/worker");
    let order = of(&story, "child2.exec1").order(Signal::HUP, &story.steps(), Helpers::Counted);
    assert_eq!(Some(order.process), child_place(place::COMMAND, ANEW + 1));
    assert_eq!(order.counted_from[0].forks, FORKS_SHARING);
}

#[test]
fn helpers_that_end_or_execute_something_else_are_left_out_but_at_the_fork_itself() {
    let ends = |story: Story, at, pid| story.fork(at, COMMAND, pid).exit(at + 1, pid);
    let lives = |story: Story, at, pid| story.fork(at, COMMAND, pid).handler(at + 1, pid);
    for (story, left) in [
        (with_helpers(3, forked), 1),
        (with_helpers(3, ends), 1),
        (with_helpers(3, spawned), 1),
        (with_helpers(3, lives), 4),
    ] {
        let order = |id: &str, helpers| of(&story, id).order(Signal::HUP, &story.steps(), helpers);
        let order_of = |id: &str| order(id, Helpers::LeftOut);
        let at_action = order_of(&format!("child{left}.action1"));
        assert_eq!(Some(at_action.process), child_place(place::COMMAND, ANEW + left));
        assert_eq!((at_action.leaves_out, at_action.child), (1, [0; COMM_LEN / 8]));
        for counted in [
            order_of(&format!("child{left}.fork")),
            order(&format!("child{left}.action1"), Helpers::Counted),
        ] {
            assert_eq!(counted.leaves_out, 0, "who is forked may be a helper");
        }
    }
    // A worker that executes a program is known by its name then.
    let story = with_helpers(3, forked).exec(420, WORKER, "/usr/bin/worker").handler(430, WORKER);
    let order = of(&story, "child1.exec1").order(Signal::HUP, &story.steps(), Helpers::LeftOut);
    assert_eq!(Some(order.process), child_place(place::COMMAND, ANEW + 1));
    assert_eq!(&bytemuck::cast::<_, [u8; COMM_LEN]>(order.child)[..7], b"worker\0");
}

#[test]
fn what_a_helper_sets_is_no_step_of_a_worker_that_sets_something_else() {
    let story = with_helpers(0, forked);
    let another = with_helpers(1, |story, at, pid| {
        let story = story.fork(at, COMMAND, pid);
        story.action(at + 1, pid, Signal::HUP, DispositionKind::Default)
    });
    let until = another.steps_until(21 * MS);
    let alike = of(&story, "child1.action1").alike(&story.steps(), &until, 101).unwrap();
    assert!(!alike.holds(&until, 21 * MS));
    // The main process is itself, also where it sets now one action, now another.
    let other = Story::command().action(10, COMMAND, Signal::HUP, DispositionKind::Default);
    assert!(of(&story, "exec1.action1").holds(&other.steps_until(10 * MS), 10 * MS));
}

#[test]
fn a_mask_has_the_number_that_those_have_that_are_told_in_the_run_before() {
    // Those that a thread sets while another one blocks it already are told of nobody.
    let masked = |moments: u64| {
        let story = Story::command().handler(10, COMMAND);
        let story = (0..moments).fold(story, |story, number| {
            let at = 20_000_000 + number * 1_000_000;
            story.mask_ns(at, COMMAND, true).mask_ns(at + 1_000, COMMAND, false)
        });
        story.mask(100, COMMAND, true).mask(200, COMMAND, false)
    };
    let (one, other) = (masked(1), masked(4));
    for (id, now) in [("exec1.block2", "exec1.block5"), ("exec1.unblock2", "exec1.unblock5")] {
        let planned = of(&one, id);
        assert!(planned.is_counted_by_helpers(&one.steps()));
        let found = planned.renumbered(&one.steps(), &other.steps()).unwrap();
        let At::Step(key) = found.at else { panic!("{found:?}") };
        assert_eq!(key.to_string(), now);
    }
    let none = Story::command().handler(10, COMMAND);
    assert!(of(&one, "exec1.block2").renumbered(&one.steps(), &none.steps()).is_none());
}

/// The same, as it is told.
fn same(one: &Story, id: &str, other: &Story, pid: u32, at: u64) -> Same {
    of(one, id).is_of_same_process(&one.steps(), &other.steps(), (pid, at * MS))
}

/// Whether the hit of a process, at `at` ms in the run `other`, is one of the process that is meant.
fn is_same(one: &Story, id: &str, other: &Story, pid: u32, at: u64) -> bool {
    same(one, id, other, pid, at) == Same::Yes
}

/// A start whose handler is followed by workers that are alike, with these pids; before each, 10 ms apart,
/// comes a helper that ends 5 ms later where it is to have one.
fn with_workers(workers: &[(u32, bool)]) -> Story {
    let story = Story::command().handler(10, COMMAND);
    workers.iter().zip(1..).fold(story, |story, ((pid, has_helper), number)| {
        let at = 100 + number * 10;
        let helper = |story: Story| story.fork(at, COMMAND, pid + 50).exit(at + 5, pid + 50);
        let story = if *has_helper { helper(story) } else { story };
        story.fork(at + 6, COMMAND, *pid).handler(at + 7, *pid)
    })
}

#[test]
fn of_two_workers_that_are_alike_each_is_told_of_itself_alone() {
    let one = with_workers(&[(201, false), (202, true)]);
    // The second one has the number of the helper before it in the other start.
    let other = with_workers(&[(301, true), (302, false)]);
    assert!(is_same(&one, "child1.fork", &other, 301, 116));
    assert!(is_same(&one, "child2.action1", &other, 302, 127));
    assert!(!is_same(&one, "child1.action1", &other, 302, 127));
    assert!(!is_same(&one, "child2.action1", &other, 301, 117));
    // The fork of each is a step of its parent.
    assert!(is_same(&one, "exec1.fork2", &other, COMMAND, 126));
    assert!(!is_same(&one, "exec1.fork2", &other, COMMAND, 116));
    assert!(is_same(&one, "exec1.action1", &other, COMMAND, 10), "the main process is itself");
    // What ends the second one is not what it is known by.
    let ends = with_workers(&[(301, true), (302, false)]).killed(128, 302, Signal::HUP);
    assert!(is_same(&one, "child2.action1", &ends, 302, 127));
    assert!(!is_same(&one, "child1.action1", &ends, 302, 127));
}

#[test]
fn a_worker_is_known_where_the_one_before_it_ends_with_it() {
    let one = with_workers(&[(201, false), (202, false)]);
    let ends = |at| with_workers(&[(301, false), (302, false)]).exit(at, 301).exit(131, 302);
    assert!(is_same(&one, "child2.action1", &ends(130), 302, 127), "by the same signal");
    assert!(!is_same(&one, "child2.action1", &ends(125), 302, 127), "it was a helper");
    assert!(is_same(&one, "child1.action1", &ends(125), 302, 127));
    // Of workers with one program, the end of one makes no helper of another.
    let program = |story: Story, pid| story.exec(140, pid, "/usr/bin/worker").handler(141, pid);
    let of = |one, two| program(program(with_workers(&[(one, false), (two, false)]), one), two);
    let ended = of(301, 302).killed(150, 302, Signal::HUP);
    assert!(is_same(&of(201, 202), "child2.exec1.action1", &ended, 302, 145));
}

#[test]
fn what_exits_beside_all_workers_is_a_helper_where_there_are_such() {
    let one = with_workers(&[(201, true)]);
    // It is hit right at its fork, and exits by itself.
    let other = with_workers(&[(301, true)]);
    assert_eq!(same(&one, "child1.fork", &other, 351, 110), Same::Helper);
    assert_eq!(same(&one, "child1.fork", &other, 301, 116), Same::Yes);
    // A parent that starts all workers anew has no helpers by that.
    let none = with_workers(&[(201, false), (202, false)]);
    let anew = with_workers(&[(301, false), (302, false)]).exit(130, 301).exit(131, 302);
    let anew = anew.fork(140, COMMAND, 303).handler(141, 303).fork(142, COMMAND, 304);
    assert_eq!(same(&none, "child2.fork", &anew.handler(143, 304), 302, 126), Same::Unknown);
    let anew = with_workers(&[(301, false), (302, false)]).exit(130, 301).exit(131, 302);
    let anew = anew.fork(140, COMMAND, 303).fork(142, COMMAND, 304);
    assert_eq!(same(&none, "exec1.fork2", &anew, COMMAND, 126), Same::Yes);
    // It has exited, and no other worker is there.
    let ended = with_workers(&[(301, true)]).exit(118, 301);
    assert_eq!(same(&one, "child1.fork", &ended, 301, 116), Same::Yes);
    // Where there are no helpers, it may be one or a worker.
    let none = with_workers(&[(201, false)]);
    let again = with_workers(&[(301, false)]).exit(118, 301).fork(120, COMMAND, 302);
    let again = again.handler(121, 302);
    assert_eq!(same(&none, "child1.fork", &again, 301, 116), Same::Unknown);
    let killed = with_workers(&[(301, false)]).killed(118, 301, Signal::HUP);
    let killed = killed.fork(120, COMMAND, 302).handler(121, 302);
    assert_eq!(same(&none, "child1.fork", &killed, 301, 116), Same::Yes, "a helper would die, too");
}

#[test]
fn a_worker_of_a_worker_is_known_by_that_as_well() {
    let below = |story: Story, parent: u32, pid| story.fork(150, parent, pid).handler(151, pid);
    let one = below(below(with_workers(&[(201, false), (202, false)]), 201, 211), 202, 221);
    let other = below(below(with_workers(&[(301, true), (302, true)]), 301, 311), 302, 321);
    assert!(is_same(&one, "child2.child1.action1", &other, 321, 151));
    assert!(!is_same(&one, "child2.child1.action1", &other, 311, 151));
    let planned = of(&one, "child2.child1.action1");
    let At::Step(key) = planned.renumbered(&one.steps(), &other.steps()).unwrap().at else {
        panic!("{planned:?}")
    };
    assert_eq!(key.to_string(), "child4.child1.action1");
}
