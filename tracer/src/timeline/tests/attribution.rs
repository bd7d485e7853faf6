//! Which service, which start of it, and which main process facts belong to.

use super::story::{BEGIN, DEMO, MS, STARTER, Story};
use crate::{
    model::{
        document::{Exposure, ExposureKind, OutcomeState, ServiceKind},
        event::{DispositionKind, Event, What},
        glob::Glob,
        signal::Signal,
    },
    observation::{Fact, GenerateResult, Handler, SignalState, Task},
    timeline::{Builder, Selector},
};

fn main_pid(told: &super::story::Told) -> Option<u32> {
    told.main_process.as_ref().map(|main| main.pid)
}

#[test]
fn the_command_is_the_tracers_child_and_its_descendants_belong_to_it() {
    let told = Story::command()
        .fork(0, STARTER, 10)
        .exec(10, 10, "/bin/demo")
        .fork(20, 10, 11)
        .exec(21, 11, "/bin/worker")
        .exit(30, 11, 0)
        .told();
    assert_eq!(told.services[0].kind, ServiceKind::Command);
    assert_eq!(main_pid(&told), Some(10));
    assert_eq!(told.events.len(), 5);
    assert_eq!(told.events[0].at_ns, -10 * MS as i64);
    assert_eq!(told.outcome.state, OutcomeState::Running);
    assert_eq!(told.started_at.to_string(), "2026-01-01T00:00:00.010000Z");
}

#[test]
fn a_process_is_told_with_the_id_it_has_in_its_own_namespace() {
    let inside = |ns_pid: u32| {
        let story = Story::unit().start(0, 10, "/bin/demo", "a");
        let task = Task { ns_pid, ..story.task(10) };
        let (signal, state) = (Signal::HUP, SignalState::default());
        let (disposition, once, handler) = (DispositionKind::Handler, false, Handler::default());
        let loaded = None;
        let set = Fact::Disposition { task, signal, disposition, once, handler, loaded, state };
        let told = story.fact(5, set).told();
        told.events.iter().find_map(|event| match &event.what {
            What::Disposition { process, .. } => Some(process.ns_pid),
            _ => None,
        })
    };
    assert_eq!(inside(7), Some(Some(7)));
    assert_eq!(inside(10), Some(None), "it is the same");
    assert_eq!(inside(0), Some(None), "it is not known");
}

#[test]
fn who_sent_something_is_told_with_its_user_where_that_is_known() {
    let sent_by = |uid: u32| {
        let story = Story::unit().start(0, 10, "/bin/demo", "a").handler(5, 10).fork(6, 10, 11);
        let sender = Task { uid, ..story.task(11) };
        let told = story
            .hup_with(7, 11, 10, |it| it.sender = Some(sender.clone()))
            .datagram(8, 11, "STATUS=up", |it| it.sender = sender.clone())
            .told();
        let message = told.events.iter().find_map(|event| match &event.what {
            What::Notify(message) => Some(message.sender.uid),
            _ => None,
        });
        (told.signals()[0].sender.as_ref().unwrap().uid, message.unwrap())
    };
    assert_eq!(sent_by(33), (Some(33), Some(33)));
    assert_eq!(sent_by(u32::MAX), (None, None));
}

#[test]
fn a_child_in_a_cgroup_that_is_not_known_starts_where_its_parent_is() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a").fork(5, 10, 11);
    let elsewhere = |id: u64, story: &Story| {
        let mut story = story.clone();
        if let Fact::Fork { child, .. } = &mut story.observations.last_mut().unwrap().fact {
            child.cgroup_id = id;
        }
        let told = story.told();
        told.events.iter().filter(|event| matches!(event.what, What::Fork { .. })).count()
    };
    assert_eq!(elsewhere(99, &story), 1);
    // In one that is known to be another's it is no part of this.
    let path = "/system.slice/other.service".to_owned();
    let mut known = story.fact(0, Fact::CgroupPath { hierarchy: 0, id: 99, path });
    known.observations.rotate_right(1);
    assert_eq!(elsewhere(99, &known), 0);
}

#[test]
fn a_child_that_is_moved_to_another_unit_begins_a_start_of_that() {
    let told = Story::unit()
        .start(0, 10, "/bin/demo", "a")
        .fork(5, 10, 11)
        .attach(6, 11, "/system.slice/demo2.service")
        .exec_in(7, 11, "/bin/demo", "b")
        .told();
    let mains: Vec<_> = told
        .services
        .iter()
        .map(|service| (service.name.as_str(), service.activations[0].main_process.as_ref()))
        .map(|(name, main)| (name, main.unwrap().pid))
        .collect();
    assert_eq!(mains, [("demo.service", 10), ("demo2.service", 11)]);
}

#[test]
fn a_child_that_is_moved_below_its_unit_stays_in_it() {
    let told = Story::unit()
        .start(0, 10, "/bin/demo", "a")
        .fork(5, 10, 11)
        .attach(6, 11, &format!("{DEMO}/payload"))
        .hup(7, STARTER, 11)
        .told();
    assert_eq!((told.services.len(), told.signals().len()), (1, 1));
}

#[test]
fn the_command_is_known_by_its_fork_also_where_it_is_known_that_the_tracer_is_no_service() {
    let story = Story::command().handler(1, STARTER).fork(5, STARTER, 10);
    assert_eq!(main_pid(&story.exec(10, 10, "/bin/demo").told()), Some(10));
}

#[test]
fn what_was_to_be_executed_is_told_where_another_program_was() {
    let filenames = |asked: &str| {
        let mut story = Story::command().fork(0, STARTER, 10).exec(10, 10, "/bin/demo");
        for observation in &mut story.observations {
            if let Fact::Exec { filename, .. } = &mut observation.fact {
                asked.clone_into(filename);
            }
        }
        let told = story.told();
        let filename = |what: &What| match what {
            What::Exec { filename, .. } => Some(filename.clone()),
            _ => None,
        };
        told.events.iter().find_map(|event| filename(&event.what)).expect("an exec")
    };
    assert_eq!(filenames("/bin/demo"), None);
    assert_eq!(filenames("/bin/script").as_deref(), Some("/bin/script"));
}

#[test]
fn a_command_that_ends_before_any_program_was_executed_is_told() {
    let told = Story::command().fork(0, STARTER, 10).exit(5, 10, 127).told();
    assert_eq!((main_pid(&told), told.outcome.code), (Some(10), Some(127)));
}

#[test]
fn a_daemons_command_stays_the_main_process_of_run() {
    let told = Story::command()
        .fork(0, STARTER, 10)
        .exec(10, 10, "/bin/demo")
        .fork(20, 10, 11)
        .exit(30, 10, 0)
        .told();
    assert_eq!(main_pid(&told), Some(10));
    assert_eq!(told.outcome.state, OutcomeState::Exited);
}

#[test]
fn a_units_process_joins_it_when_systemd_moves_it_there() {
    let told = Story::unit().start(0, 10, "/bin/demo", "a").handler(30, 10).told();
    let service = &told.services[0];
    assert_eq!((service.name.as_str(), service.kind), ("demo.service", ServiceKind::Unit));
    assert_eq!(service.cgroup.as_deref(), Some(DEMO));
    assert_eq!(told.invocation_id.as_deref(), Some("a"));
    assert!(matches!(told.events[0].what, What::Cgroup { .. }));
    assert_eq!(told.milestones.handler_ns, Some(29 * MS as i64));
}

#[test]
fn what_a_new_process_does_before_its_move_is_told_is_no_sign_that_it_was_there_before() {
    let set = |story: Story| story.action(6, 10, Signal::HUP, DispositionKind::Default, 0);
    let told = set(Story::unit().appear(5, 10)).start(7, 10, "/bin/demo", "a").told();
    assert_eq!((told.joined_ns, told.milestones.exec_ns), (None, Some(0)));
    assert_eq!(main_pid(&told), Some(10));
    // One that was there before the capture is joined late.
    let old = Story::unit().found(10, STARTER, "/elsewhere", &[]).appear(0, 11);
    let mut task = old.task(11);
    task.start_ns = 1;
    task.id.start_ticks = 0;
    let (signal, state) = (Signal::HUP, SignalState::default());
    let disposition = DispositionKind::Default;
    let (once, handler) = (false, Handler::default());
    let loaded = None;
    let set = Fact::Disposition { task, signal, disposition, once, handler, loaded, state };
    assert!(old.fact(6, set).told().joined_ns.is_some());
}

/// On a pure v2 host the moved task shows its new cgroup already at the attach.
#[test]
fn a_move_is_told_also_where_the_task_shows_its_new_cgroup_already() {
    let story =
        Story::unit().fact(0, Fact::CgroupPath { hierarchy: 0, id: 1, path: DEMO.to_owned() });
    let told = story.start(1, 10, "/bin/demo", "a").told();
    assert!(matches!(told.events[0].what, What::Cgroup { .. }));
}

#[test]
fn a_restart_is_a_new_start_and_a_reload_command_is_not() {
    let told = Story::unit()
        .start(0, 10, "/bin/demo", "a")
        .attach(20, 11, DEMO)
        .exec_control(21, 11, "/bin/kill", "a")
        .hup(22, 11, 10)
        .killed(23, 10, Signal::HUP)
        .exit(24, 11, 0)
        .start(50, 12, "/bin/demo", "b")
        .told();
    let [first, second] = told.starts() else { panic!("{} starts", told.starts().len()) };
    assert_eq!(first.main_process.as_ref().unwrap().pid, 10);
    assert_eq!(first.outcome.signal, Some(Signal::HUP));
    assert_eq!(second.main_process.as_ref().unwrap().pid, 12);
    assert_eq!(second.milestones.exec_ns, Some(0));
    assert_eq!(second.invocation_id.as_deref(), Some("b"));
}

#[test]
fn what_exec_start_pre_ran_is_not_the_main_process_and_lies_before_zero() {
    let told = Story::unit()
        .start(0, 10, "/bin/mkdir", "a")
        .exit(10, 10, 0)
        .start(20, 11, "/bin/demo", "a")
        .told();
    assert_eq!(main_pid(&told), Some(11));
    assert_eq!(told.events[0].at_ns, -21 * MS as i64);
    assert_eq!(told.outcome.state, OutcomeState::Running);
    assert_eq!(told.exposure[0].from_ns, 0);
}

/// systemd 255 and later start everything through a program of their own.
#[test]
fn systemds_executor_does_not_yet_tell_what_a_process_is_for() {
    let told = Story::unit()
        .attach(0, 10, DEMO)
        .exec(1, 10, "/usr/lib/systemd/systemd-executor")
        .exec_in(2, 10, "/bin/demo", "a")
        .killed(10, 10, Signal::HUP)
        .attach(11, 11, DEMO)
        .exec(12, 11, "/usr/lib/systemd/systemd-executor")
        .exec_control(13, 11, "/bin/stop-post", "a")
        .exit(14, 11, 0)
        .told();
    assert_eq!(told.invocation_id.as_deref(), Some("a"));
    assert_eq!(main_pid(&told), Some(10));
    assert_eq!(told.outcome.signal, Some(Signal::HUP));
}

#[test]
fn systemds_executor_is_no_program_of_the_service() {
    let told = Story::unit()
        .attach(0, 10, DEMO)
        .mask(0, 10, true)
        .exec(1, 10, "/usr/lib/systemd/systemd-executor")
        .mask(5, 10, false)
        .exec_in(6, 10, "/bin/demo", "a")
        .handler(20, 10)
        .told();
    assert_eq!(told.milestones.exec_ns, Some(0));
    assert_eq!(told.milestones.last_exec_ns, None);
    assert_eq!(told.milestones.handler_ns, Some(14 * MS as i64));
    assert_eq!(told.exposure.iter().map(|span| span.from_ns).collect::<Vec<_>>(), [0]);
    let programs: Vec<i64> = told
        .events
        .iter()
        .filter(|event| matches!(event.what, What::Exec { .. }))
        .map(|event| event.at_ns / MS as i64)
        .collect();
    assert_eq!(programs, [-5, 0]);
}

#[test]
fn what_systemd_forks_before_the_exec_is_no_start_however_it_ends() {
    let executor = Story::unit()
        .attach(0, 10, DEMO)
        .exec(1, 10, "/usr/lib/systemd/systemd-executor")
        .fork(2, 10, 11)
        .fork(2, 10, 12)
        .exit(3, 11, 0)
        .killed(4, 12, Signal::KILL);
    let told = executor.clone().exec_in(6, 10, "/bin/demo", "a").told();
    assert_eq!(main_pid(&told), Some(10));
    // But what systemd itself started is, even if it dies before its exec.
    let died = executor.killed(6, 10, Signal::HUP).told();
    assert_eq!((main_pid(&died), died.outcome.signal), (Some(10), Some(Signal::HUP)));
}

#[test]
fn a_daemon_hands_over_to_what_it_left_running_with_the_handler_that_has_already() {
    let told = Story::unit()
        .start(0, 10, "/bin/demo", "a")
        .fork(10, 10, 11)
        .handler(20, 11)
        .exit(30, 10, 0)
        .until(101)
        .told();
    assert_eq!(main_pid(&told), Some(11));
    assert_eq!(told.outcome.state, OutcomeState::Running);
    assert_eq!(told.milestones.handler_ns, Some(19 * MS as i64), "from when it was set on");
    assert_eq!(told.exposure.len(), 1);
    assert_eq!(told.exposure[0].to_ns, 19 * MS as i64);
}

#[test]
fn mainpid_hands_over_to_the_process_it_names() {
    let told = Story::unit()
        .start(0, 10, "/bin/demo", "a")
        .fork(10, 10, 11)
        .notify(20, 10, "MAINPID=11\nREADY=1")
        .exit(30, 10, 1)
        .told();
    assert_eq!(main_pid(&told), Some(11));
    assert_eq!(told.outcome.state, OutcomeState::Running);
}

#[test]
fn a_unit_found_running_was_joined_and_its_handler_came_at_an_unknown_time() {
    let told = Story::unit().found(20, STARTER, DEMO, &[Signal::HUP]).told();
    assert_eq!(main_pid(&told), Some(20));
    assert_eq!((told.milestones.exec_ns, told.milestones.handler_ns), (None, None));
    assert!(told.joined_ns.unwrap() > 0);
    assert!(matches!(
        told.events[0].what,
        What::Disposition { found: true, disposition: DispositionKind::Handler, .. }
    ));
    assert_eq!(told.exposure, []);
}

/// Process ids start again from below when they have run out.
#[test]
fn the_main_process_of_a_unit_found_running_is_the_oldest_whatever_its_pid() {
    let child = Story::unit().found(20, 30, DEMO, &[]);
    let mut parent = Story::unit().found(30, STARTER, DEMO, &[]).observations.remove(0);
    if let Fact::Found { task, .. } = &mut parent.fact {
        task.id.start_ticks -= 20;
    }
    let told = child.fact(0, parent.fact).told();
    assert_eq!(main_pid(&told), Some(30));
}

/// A server forks its workers while the capture begins: they never execute anything.
#[test]
fn a_child_from_before_its_parent_was_looked_at_is_in_its_start_from_then_on() {
    let mut looked_at = Story::unit().found(20, STARTER, DEMO, &[]).observations.remove(0);
    looked_at.at += 10 * MS;
    let mut story = Story::unit().found(20, STARTER, DEMO, &[]);
    story.observations.clear();
    let path = DEMO.to_owned();
    let mut story = story.fact(0, Fact::CgroupPath { hierarchy: 0, id: 1, path }).fork(5, 20, 21);
    story.observations.push(looked_at);
    let story = story.handler(50, 21).hup(60, STARTER, 21).hup(400, STARTER, 21);
    let mut builder = Builder::new(story.setup());
    story.observations.iter().for_each(|it| builder.observe(it.clone()));
    // The capture goes on.
    let services = builder.services(BEGIN + 500 * MS);
    assert_eq!(services.len(), 1);
    let start = &services[0].activations[0];
    assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(20));
    let sent = |event: &&Event| matches!(&event.what, What::Signal(sent) if sent.target.pid == 21);
    assert_eq!(start.events.iter().filter(sent).count(), 1, "the second is yet to be in its place");
}

#[test]
fn a_process_asked_for_by_id_brings_its_descendants_and_not_a_later_one_of_that_id() {
    let story = Story::process(20)
        .found(20, STARTER, "/user.slice", &[])
        .found(21, 20, "/user.slice", &[])
        .exit(10, 21, 0)
        .exit(20, 20, 0);
    let reused = story.fork(500, STARTER, 20).exec(510, 20, "/bin/other");
    let told = reused.told();
    assert_eq!(told.services[0].name, "pid 20");
    assert_eq!(told.outcome.state, OutcomeState::Exited);
    let exits = told.events.iter().filter(|event| matches!(event.what, What::Exit { .. }));
    assert_eq!(exits.count(), 2);
    assert!(!told.events.iter().any(|event| matches!(event.what, What::Exec { .. })));
}

#[test]
fn a_child_put_into_another_cgroup_at_once_still_belongs_to_the_command() {
    let story = Story::command().fork(0, STARTER, 10).exec(10, 10, "/bin/demo");
    let child = Task { cgroup_id: 77, ..story.clone().fork(20, 10, 11).task(11) };
    let parent = story.task(10);
    let told = story
        .fact(
            20,
            Fact::Fork {
                parent,
                child,
                shares_handlers: false,
                shares_memory: false,
                state: SignalState::default(),
            },
        )
        .told();
    assert_eq!(told.events.len(), 3);
}

#[test]
fn a_process_that_is_moved_out_of_the_unit_leaves_it() {
    let told = Story::unit()
        .start(0, 10, "/bin/demo", "a")
        .fork(10, 10, 11)
        .attach(20, 11, "/user.slice/session-1.scope")
        .exec(30, 11, "/bin/sh")
        .told();
    let execs = told.events.iter().filter(|event| matches!(event.what, What::Exec { .. }));
    assert_eq!(execs.count(), 1);
}

#[test]
fn what_a_process_does_on_a_signal_before_anything_tells_is_unknown() {
    let story = Story::unit().attach(0, 10, DEMO);
    let told = story.clone().hup(10, STARTER, 10).killed(10, 10, Signal::HUP).told();
    let unknown = |span: &Exposure| (span.kind, span.from_ns) == (ExposureKind::Unknown, 0);
    assert!(told.exposure.first().is_some_and(unknown), "{:?}", told.exposure);
    let told = story.mask(5, 10, false).killed(10, 10, Signal::HUP).told();
    let kinds: Vec<ExposureKind> = told.exposure.iter().map(|span| span.kind).collect();
    assert_eq!(kinds, [ExposureKind::Unknown, ExposureKind::Fatal]);
}

#[test]
fn a_signal_before_the_exec_hits_the_start_that_is_about_to_be() {
    let told = Story::unit().attach(0, 10, DEMO).hup(1, 10, 10).killed(2, 10, Signal::HUP).told();
    assert_eq!(told.outcome.signal, Some(Signal::HUP));
    assert_eq!(told.milestones.exec_ns, None);
}

#[test]
fn two_containers_have_a_unit_of_the_same_name_each() {
    let other = "/machine.slice/box.scope/payload/system.slice/demo.service";
    let told = Story::unit()
        .start(0, 10, "/bin/demo", "a")
        .attach(5, 11, other)
        .exec_in(6, 11, "/bin/demo", "b")
        .told();
    assert_eq!(told.services.len(), 2);
    assert_eq!(told.services[0].name, told.services[1].name);
}

#[test]
fn a_message_that_arrives_late_has_its_place_by_its_time() {
    let story =
        Story::unit().start(0, 10, "/bin/demo", "a").handler(300, 10).notify(50, 10, "READY=1");
    let told = story.told();
    assert_eq!(told.milestones.ready_ns, Some(49 * MS as i64));
    assert!(told.events.is_sorted_by_key(|event| event.at_ns));
}

#[test]
fn a_process_asked_for_stays_that_in_a_unit_that_is_asked_for_too() {
    let name = Glob::new("demo*").unwrap();
    let unit = Selector::Unit { name, system: None };
    let told = Story::selected(vec![unit, Selector::Process(20)])
        .found(20, STARTER, DEMO, &[])
        .handler(10, 20)
        .told();
    assert_eq!(told.services[0].name, "pid 20");
    assert_eq!(told.starts().len(), 1);
}

#[test]
fn a_process_whose_start_was_seen_is_not_found_running() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a").handler(10, 10);
    let mut found = Story::unit().found(10, STARTER, DEMO, &[]).observations.remove(0);
    if let Fact::Found { task, .. } = &mut found.fact {
        task.id = story.task(10).id;
    }
    let told = story.fact(20, found.fact).told();
    assert_eq!(told.joined_ns, None);
    assert!(told.milestones.handler_ns.is_some());
    assert!(
        !told
            .events
            .iter()
            .any(|event| matches!(event.what, What::Disposition { found: true, .. }))
    );
}

#[test]
fn a_process_met_in_the_middle_of_its_life_was_joined_late() {
    let mut story = Story::unit().found(20, STARTER, DEMO, &[]);
    let found = story.observations.remove(0).fact;
    let met = story.fact(5, Fact::CgroupPath { hierarchy: 0, id: 1, path: DEMO.to_owned() });
    let told = met.hup(10, 20, 20).fact(20, found).told();
    assert_eq!(main_pid(&told), Some(20));
    assert!(told.joined_ns.is_some());
    assert_eq!(told.milestones.exec_ns, None);
}

#[test]
fn a_signal_to_an_ended_process_that_was_forgotten_begins_no_start() {
    // More than are remembered.
    let ends = |story: Story, pid| story.fork(5, 10, pid).exit(6, pid, 0);
    let story = Story::unit().start(0, 10, "/bin/demo", "a").handler(1, 10);
    let story = (11..11 + 1_500).fold(story, ends);
    let met = story.fact(7, Fact::CgroupPath { hierarchy: 0, id: 1, path: DEMO.to_owned() });
    let starts = |leaving: bool, disposition| {
        let story = met.clone().hup_with(8, STARTER, 11, |it| {
            it.disposition = disposition;
            it.result = if leaving { GenerateResult::Ignored } else { GenerateResult::Queued };
        });
        story.killed(9, 10, Signal::TERM).told().services[0].activations.len()
    };
    for disposition in [DispositionKind::Default, DispositionKind::Handler] {
        assert_eq!(starts(true, disposition), 1, "{disposition:?}");
    }
    // It has another's pid.
    assert_eq!(starts(false, DispositionKind::Default), 2);
}

#[test]
fn what_waited_for_the_exec_goes_with_the_process_to_its_unit() {
    let told = Story::unit()
        .attach(0, 10, "/system.slice/demo-first.service")
        .hup(5, STARTER, 10)
        .attach(10, 10, DEMO)
        .killed(20, 10, Signal::HUP)
        .told();
    assert_eq!(told.services[0].name, "demo.service");
    assert_eq!(told.signals().len(), 1);
}

#[test]
fn mainpid_from_a_container_is_an_id_in_the_container() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a").fork(10, 10, 7).fork(11, 10, 11);
    let inside = |pid, ns_pid| Task { ns_pid, ..story.task(pid) };
    let child = inside(11, 7);
    let state = SignalState::default();
    let mut told = story.clone();
    told.observations.pop();
    let told = told
        .fact(
            11,
            Fact::Fork {
                parent: inside(10, 1),
                child,
                shares_handlers: false,
                shares_memory: false,
                state,
            },
        )
        .datagram(20, 10, "MAINPID=7", |datagram| datagram.sender = inside(10, 1))
        .told();
    assert_eq!(main_pid(&told), Some(11));
    assert_eq!(main_pid(&story.notify(20, 10, "MAINPID=7").told()), Some(7));
}

/// Its end was lost.
#[test]
fn a_process_whose_pid_another_has_is_gone() {
    let live = |story: &Story| {
        let mut builder = Builder::new(story.setup());
        story.observations.iter().for_each(|it| builder.observe(it.clone()));
        builder.end();
        builder.live()
    };
    let story = Story::unit().start(0, 10, "/bin/demo", "a").fork(5, 10, 11);
    let both = [story.task(10).id, story.task(11).id];
    assert_eq!(live(&story), both);
    let again = story.fork(500, 10, 11);
    let later = again.task(11).id;
    assert_ne!(later, both[1]);
    assert_eq!(live(&again), [both[0], later]);
    // So is one that was moved out of the unit.
    let moved = again.attach(510, 11, "/user.slice");
    assert_eq!(live(&moved), both[..1]);
}

#[test]
fn what_has_executed_nothing_by_the_end_is_told_all_the_same() {
    let told = Story::unit().attach(0, 10, DEMO).hup(5, STARTER, 10).told();
    assert_eq!(main_pid(&told), Some(10));
    assert_eq!((told.milestones.exec_ns, told.signals().len()), (None, 1));
}

#[test]
fn what_was_there_before_and_is_moved_into_the_unit_begins_its_start_with_its_exec() {
    let old = Story::unit().found(10, STARTER, "/elsewhere", &[]).attach(5, 10, DEMO);
    let told = old.exec_in(6, 10, "/bin/demo", "a").told();
    assert_eq!((main_pid(&told), told.joined_ns), (Some(10), None));
    assert_eq!(told.invocation_id.as_deref(), Some("a"));
    assert_eq!(told.milestones.exec_ns, Some(0));
}

#[test]
fn a_child_of_a_process_asked_for_stays_with_it_in_whatever_unit_it_is_put() {
    let name = Glob::new("demo*").unwrap();
    let unit = Selector::Unit { name, system: None };
    let story = Story::selected(vec![unit, Selector::Process(20)]);
    let story = story.found(20, STARTER, "/user.slice", &[]).fork(10, 20, 21);
    let told = story.attach(11, 21, DEMO).exec_in(12, 21, "/bin/demo", "a").told();
    let names: Vec<_> = told.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["pid 20"]);
}

#[test]
fn the_id_in_its_own_namespace_is_known_once_any_fact_tells_it() {
    let mut story = Story::unit().start(0, 10, "/bin/demo", "a");
    for observation in &mut story.observations {
        if let Fact::CgroupAttach { task, .. } | Fact::Exec { task, .. } = &mut observation.fact {
            task.ns_pid = 0;
        }
    }
    let id = |story: &Story| story.told().main_process.as_ref().unwrap().ns_pid;
    assert_eq!(id(&story), None);
    let mut later = story.handler(5, 10);
    if let Fact::Disposition { task, .. } = &mut later.observations.last_mut().unwrap().fact {
        task.ns_pid = 7;
    }
    assert_eq!(id(&later), Some(7));
    // That of another program's thread of the same process changes nothing.
    let mut again = later.action(6, 10, Signal::HUP, DispositionKind::Ignored, 0);
    if let Fact::Disposition { task, .. } = &mut again.observations.last_mut().unwrap().fact {
        task.ns_pid = 0;
    }
    assert_eq!(id(&again), Some(7));
}

#[test]
fn what_a_module_of_pam_executes_before_the_program_is_no_start() {
    let executor = "/usr/lib/systemd/systemd-executor";
    let begun = || Story::unit().attach(0, 10, DEMO).exec(1, 10, executor);
    let checked =
        |story: Story| story.fork(10, 10, 11).exec(11, 11, "/usr/sbin/unix_chkpwd").exit(12, 11, 0);
    let told = checked(begun()).exec_in(20, 10, "/bin/demo", "a").handler(25, 10).told();
    let [start] = told.starts() else { panic!("{:?}", told.starts()) };
    assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(10));
    // Before systemd had an executor.
    let older = checked(Story::unit().attach(0, 10, DEMO)).exec_in(20, 10, "/bin/demo", "a");
    assert_eq!(older.told().starts().len(), 1);
    // With PrivatePIDs= it is the child that becomes the service, and shows its id.
    let child = begun().fork(10, 10, 11).exec_in(11, 11, "/bin/demo", "a").exit(12, 10, 0).told();
    assert_eq!(child.main_process.as_ref().map(|main| main.pid), Some(11));
}

#[test]
fn what_a_v1_controller_moves_says_nothing_of_units() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a");
    let (task, path) = (story.task(10), "/other".to_owned());
    let (hierarchy, tracks_units) = (3, false);
    let told = story.fact(5, Fact::CgroupAttach { task, hierarchy, tracks_units, path });
    let told = told.hup(7, STARTER, 10).told();
    let moves = told.events.iter().filter(|event| matches!(event.what, What::Cgroup { .. }));
    assert_eq!((moves.count(), told.signals().len()), (1, 1), "into its unit");
}

#[test]
fn a_look_at_a_process_whose_start_was_seen_tells_nothing_of_it() {
    let looked_at = |story: Story, at: u64| {
        let (task, state) = (story.task(10), SignalState::default());
        let (exe, cgroup) = (Some("/usr/bin/old".into()), Some("/elsewhere".to_owned()));
        let (environment, program) = Default::default();
        let parent = STARTER;
        let found = Fact::Found { task, parent, exe, program, cgroup, environment, state };
        let told = story.fact(at, found).hup(50, STARTER, 10).told();
        let is_found = |event: &&Event| {
            matches!(event.what, What::Disposition { found: true, .. } | What::Cgroup { .. })
        };
        (told.events.iter().filter(is_found).count(), told.signals().len())
    };
    let started = || Story::unit().start(0, 10, "/bin/demo", "a");
    assert_eq!(looked_at(started(), 5), (1, 1), "its move into the unit");
    assert_eq!(looked_at(started().exit(10, 10, 0), 20), (1, 1), "it has ended");
}

#[test]
fn the_cgroup_of_a_sender_that_is_gone_is_known_by_its_id() {
    let path = "/system.slice/cron.service".to_owned();
    let story = Story::unit().fact(0, Fact::CgroupPath { hierarchy: 0, id: 7, path });
    let story = story.start(1, 10, "/bin/demo", "a").hup_with(5, STARTER, 10, |sent| {
        sent.sender.as_mut().unwrap().cgroup_id = 7;
        sent.origin = Some(std::sync::Arc::default());
    });
    let told = story.told();
    let sender = told.signals()[0].sender.as_ref().unwrap();
    assert_eq!(sender.unit.as_deref(), Some("cron.service"));
}

#[test]
fn of_those_found_running_that_are_as_old_as_each_other_the_first_is_the_main_process() {
    let mut story = Story::unit().found(10, STARTER, DEMO, &[]).found(11, STARTER, DEMO, &[]);
    let Fact::Found { task, .. } = &story.observations[0].fact else { panic!("one was found") };
    let since = task.id.start_ticks;
    let Fact::Found { task, .. } = &mut story.observations[1].fact else { panic!("so was this") };
    task.id.start_ticks = since;
    assert_eq!(main_pid(&story.told()), Some(10));
}

#[test]
fn a_process_that_was_there_before_is_joined_once() {
    // 11 is a child of the main process, and no command of systemd's.
    let story = Story::unit().with_facts("notify", "exec");
    let story = story.found(10, STARTER, DEMO, &[]).found(11, 10, DEMO, &[]);
    let told = story.fork(5, 11, 12).notify(6, 11, "READY=1").told();
    assert_eq!((main_pid(&told), told.milestones.ready_ns), (Some(10), None));
}

#[test]
fn a_process_asked_for_stays_that_when_its_cgroup_becomes_known() {
    let name = Glob::new("demo*").unwrap();
    let unit = Selector::Unit { name, system: None };
    let story = Story::selected(vec![unit, Selector::Process(20)]);
    let mut story = story.found(20, STARTER, DEMO, &[]);
    story.observations.clear();
    let path = DEMO.to_owned();
    let story = story.handler(5, 20).fact(6, Fact::CgroupPath { hierarchy: 0, id: 1, path });
    let told = story.fork(10, 20, 21).told();
    let names: Vec<_> = told.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["pid 20"]);
}

#[test]
fn a_helper_is_one_of_the_service_if_its_parent_has_become_that_or_has_ended() {
    let executor = "/usr/lib/systemd/systemd-executor";
    let begun = || Story::unit().attach(0, 10, DEMO).exec(1, 10, executor).fork(10, 10, 11);
    // Its environment was emptied.
    let alone = begun().exit(12, 10, 0).exec(13, 11, "/bin/demo").told();
    assert_eq!(main_pid(&alone), Some(11));
    let beside = begun().exec_in(12, 10, "/bin/demo", "a").exec(13, 11, "/bin/helper");
    let told = beside.hup(20, STARTER, 11).told();
    assert_eq!((main_pid(&told), told.signals().len()), (Some(10), 1));
}
