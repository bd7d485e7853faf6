//! The exits of children.

use tracer_common::{
    event::COMM_LEN,
    place::{self, ANEW, CHILD_EXIT, child_place},
};

use crate::{
    model::{
        race::{Outcome, Reach, Role, SignalRace, StepKind},
        signal::Signal,
    },
    race::{
        At, ChildExit, Helpers, Planned, Same, child_exits, interval, sentences,
        testing::{COMMAND, Story, a_try, an_interval, running},
        untested, untouched,
    },
};

const MS: u64 = 1_000_000;

/// Exits of these children, the first at 10 ms, the others 10 ms apart.
fn exits(names: &[&str]) -> Vec<ChildExit> {
    let exit = |(at, name): (u64, &&str)| {
        let mut child = [0; COMM_LEN];
        child[..name.len()].copy_from_slice(name.as_bytes());
        let child = bytemuck::cast(child);
        ChildExit { at: at * MS, process: place::COMMAND, execs: 1, child }
    };
    (10..).step_by(10).zip(names).map(exit).collect()
}

fn ids(story: &Story, exits: &[ChildExit]) -> Vec<String> {
    let (planned, _) = child_exits(exits, &story.steps(), Signal::HUP, Role::Reload, "simple");
    planned.into_iter().map(|it| it.id).collect()
}

#[test]
fn an_exit_is_known_by_the_childs_name_and_which_one_of_that_name_it_is() {
    let all = exits(&["mkdir", "sed", "a b/'", "sed"]);
    assert_eq!(
        ids(&Story::command(), &all),
        [
            "HUP@exec1.exit1-mkdir",
            "HUP@exec1.exit1-sed",
            "HUP@exec1.exit1-a_b__",
            "HUP@exec1.exit2-sed"
        ]
    );
    let (planned, _) =
        child_exits(&all, &Story::command().steps(), Signal::HUP, Role::Reload, "simple");
    let order = planned[3].at.order(Signal::HUP);
    assert_eq!((order.step, order.execs, order.number), (CHILD_EXIT, 1, 2));
    assert_eq!((order.signal, order.sent, order.process), (1, 1, place::COMMAND));
    assert_eq!(bytemuck::cast::<_, [u8; COMM_LEN]>(order.child)[..4], *b"sed\0");
    assert_eq!(planned[3].after.what, "exit of sed");
    assert_eq!((planned[3].to_ns, planned[3].reached), (38 * MS.cast_signed(), Reach::Reached));
}

#[test]
fn of_one_name_three_exits_are_raced_and_of_all_thirty() {
    assert_eq!(ids(&Story::command(), &exits(&["sed"; 50])).len(), 3);
    let names: Vec<String> = (0..40).map(|number| format!("helper{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let steps = Story::command().steps();
    let (planned, left_out) =
        child_exits(&exits(&names), &steps, Signal::HUP, Role::Reload, "simple");
    assert_eq!((planned.len(), left_out), (30, 10));
}

#[test]
fn a_helper_after_the_start_or_of_a_process_that_is_not_raced_is_none_of_it() {
    let story = Story::command().says(15, COMMAND, "READY=1");
    assert_eq!(ids(&story, &exits(&["mkdir", "sed"])), ["HUP@exec1.exit1-mkdir"]);
    // Before its exec it is the tracer's own doing, or systemd's.
    let before = ChildExit { execs: 0, ..exits(&["sh"])[0] };
    // A helper of a helper.
    let below = ChildExit { process: place::COMMAND << 12 | 1, ..exits(&["sh"])[0] };
    let story = Story::command().fork(5, COMMAND, 101).exec(6, 101, "/bin/sh").exit(20, 101);
    assert_eq!(ids(&story, &[before, below]), Vec::<String>::new());
}

/// A start with so many helpers before its worker, which waits for a child of its own, and when that ends.
fn with_worker(helpers: u32) -> (Story, ChildExit) {
    let story = Story::command().handler(5, COMMAND);
    let story = (0..helpers)
        .fold(story, |story, number| story.fork(10, COMMAND, 101 + number).exit(11, 101 + number));
    let process = place::COMMAND << 12 | u64::from(helpers + 1);
    (story.fork(20, COMMAND, 150), ChildExit { process, execs: 0, ..exits(&["sed"])[0] })
}

#[test]
fn the_exit_of_a_workers_child_is_found_again_however_many_helpers_there_are() {
    let (one, exit) = with_worker(1);
    let (other, _) = with_worker(3);
    let exits = [exit];
    let (planned, _) = child_exits(&exits, &one.steps(), Signal::HUP, Role::Reload, "simple");
    assert_eq!(planned[0].id, "HUP@child1.exit1-sed", "it has executed nothing");
    assert!(planned[0].is_counted_by_helpers(&one.steps()));
    let order = |planned: &Planned, story: &Story, helpers| {
        let order = planned.order(Signal::HUP, &story.steps(), helpers);
        assert_eq!(bytemuck::cast::<_, [u8; COMM_LEN]>(order.child)[..4], *b"sed\0");
        assert_eq!((order.step, order.number, order.leaves_out), (CHILD_EXIT, 1, 0));
        (order.process, order.counted_from[0].number)
    };
    let place = |number| child_place(place::COMMAND, ANEW + number).unwrap();
    for helpers in [Helpers::Counted, Helpers::LeftOut] {
        assert_eq!(order(&planned[0], &one, helpers), (place(2), 1));
    }
    let now = planned[0].renumbered(&one.steps(), &other.steps()).unwrap();
    assert_eq!(order(&now, &other, Helpers::Counted), (place(4), 1));
    // The same child of another process is none of it.
    let hit = |pid| {
        let (one, other) = (one.steps(), other.steps());
        planned[0].is_of_same_process(&one, &other, (pid, 30 * MS)) == Same::Yes
    };
    assert!(hit(150) && !hit(COMMAND));
}

#[test]
fn that_a_start_has_no_such_child_is_told_and_nothing_is_left_untested_by_it() {
    let steps = Story::command().steps();
    let of = |name| {
        let (planned, _) =
            child_exits(&exits(&[name]), &steps, Signal::HUP, Role::Reload, "simple");
        planned.into_iter().next().unwrap()
    };
    let planned = of("mkdir");
    let At::ChildExit(exit) = planned.at else { panic!("{planned:?}") };
    let untested_after = |run: &[ChildExit]| {
        let mut tried = a_try(Outcome::NotReached, false);
        tried.what = exit.missed(exit.process, run).to_owned();
        let child_exits = vec![interval(&planned, vec![tried], false)];
        let race = SignalRace { child_exits, ..SignalRace::of(Signal::HUP, Role::Reload) };
        untested(&[race], &untouched(&steps, 90 * MS, running()).unwrap())
    };
    assert_eq!(untested_after(&exits(&["sed", "cat"])), Vec::<String>::new());
    assert_eq!(
        untested_after(&exits(&["sed", "mkdir"])),
        ["HUP@exec1.exit1-mkdir: the signal was not placed there"]
    );
}

#[test]
fn an_exit_that_comes_out_as_the_interval_around_is_not_spoken_of_and_another_is() {
    let story = Story::command();
    let untouched = untouched(&story.steps(), 90 * MS, running()).unwrap();
    let told = |at_exit| {
        let at = |id, kind, outcome| an_interval(id, kind, (10, Some(10)), (outcome, false));
        let around = an_interval("exec1", StepKind::Exec, (0, None), (Outcome::Taken, false));
        let race = SignalRace {
            intervals: vec![around],
            child_exits: vec![
                at("exec1.exit1-sed", StepKind::ChildExit, at_exit),
                at("exec1.exit1-cat", StepKind::ChildExit, Outcome::NotReached),
            ],
            ..SignalRace::of(Signal::HUP, Role::Reload)
        };
        sentences("demo", "simple", &race, &untouched)
    };
    assert!(!told(Outcome::Taken).contains("children"), "{}", told(Outcome::Taken));
    let other = told(Outcome::Ended);
    let end = "Right after 1 of 1 exits of its children it came out otherwise than the interval \
               around does: the first is HUP@exec1.exit1-sed, ended.";
    assert!(other.ends_with(end), "{other}");
    assert!(!other.contains("every reload is taken"), "{other}");
}
