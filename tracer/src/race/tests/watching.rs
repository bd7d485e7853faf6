//! When a run has shown what it is made for.

use crate::{
    model::{
        event::{Consumer, DispositionKind},
        signal::Signal,
    },
    observation::{Fact, Generate, Observation, Origin, Parent, ProcessId, Task},
    race::{
        Goal, SentBy, Watch,
        testing::{COMMAND, SOCKET, Story},
        watch::{MAX_FRESH, MAX_SENT},
    },
};

const MS: u64 = 1_000_000;

fn goal() -> Goal {
    Goal { settle_ns: 100 * MS, signals: Signal::HUP.set(), ..Goal::default() }
}

fn watch(goal: Goal, story: &Story) -> Watch {
    let mut watch = Watch::new(goal, COMMAND, Some(SOCKET.to_owned()), 0);
    story.facts().iter().for_each(|fact| watch.learn(fact));
    watch
}

fn placed(at: u64, sender: Option<Task>, si_code: i32) -> Observation {
    let target = Task::of(ProcessId { pid: COMMAND, start_ticks: 1 });
    let disposition = DispositionKind::Handler;
    let generate = Generate { sender, si_code, disposition, ..Generate::of(target) };
    Observation { at: at * MS, fact: Fact::Generate(Box::new(generate)) }
}

/// The same by a process with these parents.
fn sent(at: u64, sender: u32, parents: &[u32]) -> Observation {
    let parent = |pid: &u32| Parent {
        id: ProcessId { pid: *pid, start_ticks: 1 },
        ns_pid: *pid,
        cgroup_id: 0,
        comm: "x".into(),
        command: None,
        cgroup: None,
    };
    let origin = Origin { parents: parents.iter().map(parent).collect(), ..Origin::default() };
    let mut sent = placed(at, Some(Task::of(ProcessId { pid: sender, start_ticks: 1 })), 0);
    if let Fact::Generate(generate) = &mut sent.fact {
        generate.origin = Some(origin.into());
    }
    sent
}

#[test]
fn a_reload_comes_from_systemd_or_what_it_started_and_not_from_the_service_or_others() {
    const SYSTEMD: u32 = 7;
    let sender = SentBy::Systemd(SYSTEMD);
    let mut watch = watch(Goal { signal: Some(Signal::HUP), sender, ..goal() }, &Story::command());
    for sent in [
        sent(10, 200, &[1]),
        sent(11, COMMAND, &[SYSTEMD, 1]),
        sent(12, 201, &[COMMAND, SYSTEMD, 1]),
    ] {
        watch.learn(&sent);
    }
    assert_eq!(watch.sent(), []);
    for sent in [sent(20, SYSTEMD, &[1]), sent(21, 300, &[SYSTEMD]), sent(22, 301, &[300, SYSTEMD])]
    {
        watch.learn(&sent);
    }
    assert_eq!(watch.sent(), [(20 * MS, SYSTEMD), (21 * MS, 300), (22 * MS, 301)]);
}

#[test]
fn a_start_is_over_once_nothing_has_changed_for_a_while() {
    let story = Story::command().handler(300, COMMAND).fork(350, COMMAND, 101).exit(360, 101);
    assert_eq!(watch(goal(), &story).settles(), Some(400 * MS), "helpers change nothing");
}

#[test]
fn a_start_is_not_over_before_it_is_known_what_its_children_are() {
    let story = || Story::command().handler(300, COMMAND).fork(350, COMMAND, 101);
    assert_eq!(watch(goal(), &story()).settles(), Some(450 * MS), "it may be a worker");
    let executes = story().handler(350, COMMAND).exec(351, 101, "/usr/bin/helper");
    assert_eq!(watch(goal(), &executes).settles(), Some(450 * MS));
    let again = executes.fork(440, COMMAND, 102).fork(460, COMMAND, 103);
    assert_eq!(watch(goal(), &again).settles(), Some(540 * MS), "what comes later is too late");
    let placed = Goal { signal: Some(Signal::HUP), ..goal() };
    assert_eq!(watch(placed, &again).settles(), Some(450 * MS));
}

#[test]
fn what_is_done_about_a_signal_that_is_not_raced_changes_nothing() {
    let other = "INT".parse().unwrap();
    let story = Story::command().handler(300, COMMAND);
    let story = story.action(390, COMMAND, other, DispositionKind::Handler);
    assert_eq!(watch(goal(), &story).settles(), Some(400 * MS));
    let both = Goal { signals: Signal::HUP.set().union(other.set()), ..goal() };
    assert_eq!(watch(both, &story).settles(), Some(490 * MS));
}

#[test]
fn one_that_is_to_say_ready_is_not_over_before() {
    let ready = Goal { ready: true, ..goal() };
    let story = Story::command().handler(300, COMMAND);
    assert_eq!(watch(ready.clone(), &story).settles(), None);
    let story = story.says_to(320, COMMAND, "/run/other", "READY=1");
    assert_eq!(watch(ready.clone(), &story).settles(), None);
    let story = story.says(350, 101, "READY=1");
    assert!(watch(ready.clone(), &story).is_ready());
    assert_eq!(watch(ready, &story).settles(), Some(450 * MS));
}

#[test]
fn one_that_says_that_it_stops_or_waits_for_a_signal_is_not_over_yet() {
    let story = Story::command().says(20, COMMAND, "READY=1");
    let stops = story.says(90, COMMAND, "STOPPING=1").says(150, COMMAND, "STATUS=bye");
    assert_eq!(watch(goal(), &stops).settles(), Some(190 * MS));
    let waits = Story::command().consume(80, COMMAND, Consumer::Signalfd);
    assert_eq!(watch(goal(), &waits).settles(), Some(180 * MS));
}

#[test]
fn a_run_goes_on_for_as_long_as_the_untouched_start_took() {
    let story = Story::command();
    let long = Goal { least_ns: 700 * MS, ..goal() };
    assert_eq!(watch(long, &story).settles(), Some(700 * MS));
}

#[test]
fn after_the_signal_the_command_is_watched_for_the_settle_time() {
    let mut watch = watch(Goal { signal: Some(Signal::HUP), ..goal() }, &Story::command());
    watch.learn(&placed(500, Some(Task::of(ProcessId { pid: 7, start_ticks: 1 })), 0));
    assert_eq!(watch.settles(), Some(102 * MS), "that was another's");
    watch.learn(&placed(500, None, 0x80));
    assert_eq!(watch.settles(), Some(600 * MS));
    // Who reads it may have to wait for a processor.
    let mut blocked = placed(500, None, 0x80);
    if let Fact::Generate(sent) = &mut blocked.fact {
        sent.disposition = DispositionKind::Blocked;
    }
    watch.learn(&blocked);
    assert_eq!(watch.settles(), Some(1_000 * MS));
    let task = |pid| Task::of(ProcessId { pid, start_ticks: 1 });
    let called = |at, pid, signal| Observation {
        at: at * MS,
        fact: Fact::Deliver {
            task: task(pid),
            signal,
            disposition: DispositionKind::Handler,
            once: false,
            unkillable: false,
        },
    };
    watch.learn(&called(520, COMMAND + 1, Signal::HUP));
    watch.learn(&called(520, COMMAND, Signal::TERM));
    assert_eq!(watch.settles(), Some(1_000 * MS), "another process, another signal");
    let taken = Fact::Taken { task: task(COMMAND), signal: Signal::HUP };
    let mut waiting = watch.clone();
    waiting.learn(&Observation { at: 540 * MS, fact: taken });
    assert_eq!(waiting.settles(), Some(640 * MS), "a thread that waited got it");
    watch.learn(&called(530, COMMAND, Signal::HUP));
    assert_eq!(watch.settles(), Some(630 * MS), "its handler was called");
}

#[test]
fn the_end_is_not_waited_for_after_a_signal_that_was_thrown_away() {
    let ends = Goal { signal: Some(Signal::HUP), ends: true, ..goal() };
    let mut watch = watch(ends, &Story::command());
    let mut ignored = placed(500, None, 0x80);
    if let Fact::Generate(sent) = &mut ignored.fact {
        sent.disposition = DispositionKind::Ignored;
    }
    watch.learn(&ignored);
    assert_eq!(watch.settles(), Some(600 * MS));
}

#[test]
fn where_a_reload_is_to_be_answered_the_ready_after_it_is_waited_for() {
    let answered = Goal { signal: Some(Signal::HUP), ready: true, answered: true, ..goal() };
    let story = Story::command().says(300, COMMAND, "READY=1");
    let mut watch = watch(answered, &story);
    watch.learn(&placed(500, None, 0x80));
    assert_eq!(watch.settles(), None);
    for fact in Story::default().says(800, COMMAND, "READY=1").facts() {
        watch.learn(fact);
    }
    assert_eq!(watch.settles(), Some(900 * MS));
}

#[test]
fn where_a_reload_is_answered_at_rest_the_answer_is_awaited_for_longer() {
    let answers = Goal { signal: Some(Signal::HUP), answers: true, ..goal() };
    let mut watch = watch(answers, &Story::command());
    assert_eq!(watch.settles(), Some(102 * MS), "nothing was placed");
    watch.learn(&placed(500, None, 0x80));
    assert_eq!(watch.settles(), Some(1_000 * MS));
    let says = |at, text| Story::default().says(at, COMMAND, text);
    says(600, "RELOADING=1").facts().iter().for_each(|fact| watch.learn(fact));
    assert_eq!(watch.settles(), None);
    says(650, "READY=1").facts().iter().for_each(|fact| watch.learn(fact));
    assert_eq!(watch.settles(), Some(750 * MS));
}

#[test]
fn after_a_signal_that_is_to_end_it_nothing_but_its_end_is_waited_for() {
    let ends = Goal { signal: Some(Signal::HUP), ends: true, ..goal() };
    let mut watch = watch(ends, &Story::command());
    assert_eq!(watch.settles(), Some(102 * MS), "the step was not reached");
    watch.learn(&placed(50, None, 0x80));
    assert_eq!(watch.settles(), None);
}

#[test]
fn a_unit_that_forks_settles_once_it_is_up_and_its_main_process_changes_nothing_more() {
    let story = Story::command().fork(10, COMMAND, 101).exit(30, COMMAND);
    let mut watch = watch(Goal { up: true, ..goal() }, &story);
    assert_eq!(watch.settles(), None, "systemd has not said so");
    watch.follow(101);
    watch.came_up(40 * MS);
    assert_eq!(watch.settles(), Some(140 * MS));
    Story::default().handler(60, 101).facts().iter().for_each(|fact| watch.learn(fact));
    assert_eq!(watch.settles(), Some(160 * MS));
}

#[test]
fn a_reload_that_has_begun_to_be_answered_is_waited_for_of_whatever_type_it_is() {
    let said = |at, text| Story::default().says(at, COMMAND, text);
    let story = Story::command().says(10, COMMAND, "RELOADING=1").says(15, COMMAND, "READY=1");
    let mut watch = watch(Goal { signal: Some(Signal::HUP), ..goal() }, &story);
    watch.learn(&placed(20, None, 0x80));
    assert!(watch.settles().is_some(), "it may not answer at all");
    said(30, "RELOADING=1").facts().iter().for_each(|fact| watch.learn(fact));
    assert_eq!(watch.settles(), None);
    said(900, "READY=1").facts().iter().for_each(|fact| watch.learn(fact));
    assert_eq!(watch.settles(), Some(1_000 * MS));
}

#[test]
fn of_signals_with_a_sender_the_first_ones_are_remembered_and_the_last_one_was_placed() {
    let sender = SentBy::Process(7);
    let goal = Goal { signal: Some(Signal::HUP), sender, ..goal() };
    let mut watch = watch(goal, &Story::command());
    let most = MAX_SENT as u64;
    (0..=most).for_each(|at| watch.learn(&sent(10 + at, 7, &[])));
    assert_eq!(watch.sent().len(), MAX_SENT);
    assert_eq!(watch.sent().last(), Some(&((10 + most - 1) * MS, 7)));
    assert_eq!(watch.settles(), Some((10 + most + 100) * MS), "it settles from the last one on");
}

#[test]
fn of_children_that_nothing_is_known_of_the_first_ones_are_waited_for() {
    let forks =
        |count: u32| (0..count).fold(Story::command(), |it, n| it.fork(10, COMMAND, 200 + n));
    let most = MAX_FRESH as u32;
    for (before, settles) in [(most - 1, 50 + 100), (most, 10 + 100)] {
        let story = forks(before).fork(50, COMMAND, 101);
        assert_eq!(watch(goal(), &story).settles(), Some(settles * MS), "{before} before it");
    }
}
