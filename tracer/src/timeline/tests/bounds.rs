//! Starts and services with more of everything than there is room for: what decides is kept,
//! and what is not is counted.

use super::story::{BEGIN, DEMO, MS, STARTER, Story};
use crate::{
    model::{
        document::{OutcomeState, Severity},
        event::{Consumer, DispositionKind, Fate, SignalSent, What},
        signal::Signal,
        unit::{UnitFacts, UnitState},
    },
    observation::{Fact, Generate, GenerateResult, Observation, Task, UnitNews},
    timeline::{Builder, Setup},
};

fn running() -> Story {
    Story::unit().start(0, 10, "/bin/demo", "a")
}

fn settings(access: &str) -> Fact {
    let facts = UnitFacts {
        service_type: Some("notify".to_owned()),
        notify_access: Some(access.to_owned()),
        ..UnitFacts::default()
    };
    let cgroup = DEMO.to_owned();
    Fact::Unit(Box::new(UnitNews { cgroup, facts: Some(facts), ..UnitNews::default() }))
}

fn real_time(generate: &mut Generate) {
    generate.signal = Signal::from_number(40).unwrap();
    generate.disposition = DispositionKind::Blocked;
    generate.result = GenerateResult::Queued;
    generate.dying_of = None;
}

#[test]
fn a_signal_to_the_main_process_is_followed_when_other_processes_have_too_many_open() {
    let mut story = running().handler(5, 10).fork(6, 10, 11);
    for _ in 0..16_400 {
        story = story.hup_with(10, 10, 11, real_time);
    }
    for _ in 0..10 {
        story = story.hup_with(15, 11, 10, real_time);
    }
    let told = story.hup(20, 11, 10).deliver(21, 10, DispositionKind::Handler, false).told();
    assert_eq!(told.unfollowed, 16);
    let hups: Vec<Fate> = told
        .signals()
        .iter()
        .filter(|sent| sent.signal == Signal::HUP)
        .map(|sent| sent.fate)
        .collect();
    assert_eq!(hups, [Fate::Handled]);
}

#[test]
fn what_a_main_process_handled_last_is_remembered_among_those_of_many_others() {
    let handled = |story: Story, at, pid| {
        story.hup(at, 10, pid).deliver(at, pid, DispositionKind::Handler, false)
    };
    let mut story = running().handler(5, 10);
    for worker in 0..1_500 {
        story = story.fork(6, 10, 100 + worker);
    }
    // The main process handles one before the others, and one in the midst of them.
    let by_other =
        |story: Story, at| story.hup(at, 100, 10).deliver(at, 10, DispositionKind::Handler, false);
    story = by_other(story, 10);
    for worker in 0..1_000 {
        story = handled(story, 11, 100 + worker);
    }
    story = by_other(story, 20);
    for worker in 1_000..1_400 {
        story = handled(story, 21, 100 + worker);
    }
    let told = story
        .action(22, 10, Signal::HUP, DispositionKind::Default, 0)
        .hup_with(23, 10, 10, |generate| generate.to_thread = true)
        .killed(24, 10, Signal::HUP)
        .told();
    let of_main: Vec<Fate> =
        told.signals().iter().filter(|sent| sent.target.pid == 10).map(|sent| sent.fate).collect();
    assert_eq!(of_main, [Fate::Handled, Fate::Killed, Fate::Killed]);
    assert_eq!(told.unfollowed, 1_400 + 1 - 1_024, "others gave way");
}

#[test]
fn what_was_handled_too_long_ago_to_be_raised_again_needs_no_room() {
    let mut story = running().handler(5, 10);
    for worker in 0..1_500_u32 {
        let at = if worker < 1_000 { 11 } else { 200 };
        story = story.fork(6, 10, 100 + worker).hup(at, 10, 100 + worker);
        story = story.deliver(at, 100 + worker, DispositionKind::Handler, false);
    }
    assert_eq!(story.told().unfollowed, 0);
}

#[test]
fn what_processes_handled_that_have_ended_since_needs_no_room() {
    let mut story = running().handler(5, 10);
    for worker in 0..1_500 {
        let (at, pid) = (6 + 3 * u64::from(worker), 100 + worker);
        story = story.fork(at, 10, pid).hup(at + 1, 10, pid);
        story = story.deliver(at + 1, pid, DispositionKind::Handler, false).exit(at + 2, pid, 0);
    }
    assert_eq!(story.told().unfollowed, 0);
}

#[test]
fn of_many_main_processes_the_first_and_the_last_are_kept() {
    let mut story = running().handler(5, 10);
    for next in 0..200 {
        story = story.fork(10 + 3 * next, 10, 100 + next as u32);
        story = story.notify(11 + 3 * next, 10, &format!("MAINPID={}", 100 + next));
    }
    let told = story.handler(700, 299).killed(800, 299, Signal::HUP).told();
    assert_eq!(told.main_process.as_ref().map(|main| main.pid), Some(299));
    assert_eq!(
        (told.outcome.state, told.outcome.signal),
        (OutcomeState::Killed, Some(Signal::HUP))
    );
    assert_eq!(told.milestones.exec_ns, Some(0));
    assert_eq!(told.milestones.handler_ns, Some(4 * MS as i64));
    assert_eq!(told.milestones.exit_ns, Some(799 * MS as i64));
}

#[test]
fn a_command_of_systemds_may_speak_however_many_there_were_before() {
    let mut story = running().fact(2, settings("exec"));
    for reload in 0..1_100 {
        let (at, pid) = (10 + 3 * reload, 100 + reload as u32);
        story = story.attach(at, pid, DEMO).exec_control(at, pid, "/bin/kill", "a");
        story = story.exit(at + 1, pid, 0);
    }
    let told = story
        .attach(4_000, 5_000, DEMO)
        .exec_control(4_001, 5_000, "/bin/systemd-notify", "a")
        .notify(4_002, 5_000, "READY=1")
        .until(5_000)
        .told();
    assert_eq!(told.milestones.ready_ns, Some(4_001 * MS as i64));
}

#[test]
fn who_may_speak_is_known_however_often_that_changed() {
    let mut story = running().fact(2, settings("all")).fork(3, 10, 11);
    for turn in 0..200 {
        let access = if turn % 2 == 0 { "all" } else { "main" };
        story = story.notify(10 + turn, 10, &format!("NOTIFYACCESS={access}"));
    }
    let told = story.clone().notify(300, 11, "READY=1").told();
    assert_eq!(told.milestones.ready_ns, None, "main alone may speak");
    let told = story.notify(300, 10, "NOTIFYACCESS=all").notify(301, 11, "READY=1").told();
    assert_eq!(told.milestones.ready_ns, Some(300 * MS as i64));
}

#[test]
fn a_main_process_is_not_among_those_that_give_way_and_those_that_ended_go_first() {
    let mut story = running().handler(5, 10).fork(6, 10, 11).handler(7, 11);
    story = story.fork(8, 10, 12).exit(9, 12, 0);
    // The main one, 11, and one that has ended are there.
    for worker in 0..16_382 {
        story = story.fork(10, 10, 100 + worker);
    }
    let told = story.clone().notify(20, 10, "MAINPID=11").until(30).told();
    assert_eq!(told.unfollowed, 1);
    assert_eq!(told.main_process.as_ref().map(|main| main.pid), Some(11));
    assert_eq!(told.milestones.handler_ns, Some(4 * MS as i64));
    assert_eq!(told.exposure.last().unwrap().to_ns, 4 * MS as i64, "11 has its handler");
}

#[test]
fn the_end_of_a_main_process_is_known_after_those_of_many_others() {
    let mut story = running().handler(5, 10).exit(6, 10, 3);
    for worker in 0..200 {
        let pid = 100 + worker;
        story = story.attach(10, pid, DEMO).exec_control(10, pid, "/bin/rm", "a").exit(11, pid, 0);
    }
    let told = story.told();
    assert_eq!(told.outcome.code, Some(3));
    assert_eq!(told.milestones.exit_ns, Some(5 * MS as i64));
}

#[test]
fn the_main_process_is_ready_whoever_else_says_so_and_however_often() {
    let mut story = running().fact(2, settings("main"));
    for other in 0..100 {
        story = story.fork(3, 10, 100 + other);
        for _ in 0..20 {
            story = story.notify(4, 100 + other, "READY=1");
        }
    }
    let ready = story.clone().notify(50, 10, "READY=1").told();
    assert_eq!(ready.milestones.ready_ns, Some(49 * MS as i64));
    assert_eq!(story.told().milestones.ready_ns, None);
}

#[test]
fn the_first_ready_counts_also_where_it_is_told_after_many_others() {
    let mut story = running().fact(2, settings("main")).handler(5, 10);
    let early = story.clone().notify(20, 10, "READY=1").observations.pop().unwrap();
    for turn in 0..2_000 {
        story = story.notify(100 + turn, 10, "READY=1");
    }
    story.observations.push(early);
    for turn in 0..2_000 {
        story = story.notify(3_000 + turn, 10, "READY=1");
    }
    assert_eq!(story.until(9_000).told().milestones.ready_ns, Some(19 * MS as i64));
}

/// A mask is held back while it may be of a moment.
#[test]
fn masks_of_many_threads_at_once_are_told_at_once() {
    let mut story = running().handler(2, 10);
    let (set, none) = (Signal::HUP.set(), tracer_common::signal::SignalSet::EMPTY);
    for thread in 0..100 {
        let task = Task { tid: 1_000 + thread, ..story.task(10) };
        let blocked = if thread % 2 == 0 { set } else { none };
        let state = crate::observation::SignalState { caught: set, blocked, ..Default::default() };
        story = story.fact(3, Fact::Mask { task, before: none, after: set, state });
    }
    let told = story.told();
    let masks = told.events.iter().filter(|event| matches!(event.what, What::Mask { .. }));
    assert_eq!(masks.count(), 100);
}

#[test]
fn the_facts_that_wait_for_an_exec_are_bounded_and_the_exec_is_not_among_what_is_lost() {
    let mut story = Story::unit().attach(0, 10, DEMO);
    for _ in 0..1_000 {
        story = story.action(1, 10, Signal::HUP, DispositionKind::Default, 0);
    }
    let story = story.exec_in(2, 10, "/bin/demo", "a").handler(3, 10);
    let told = story.told();
    assert_eq!(told.milestones.exec_ns, Some(0));
    assert_eq!(told.milestones.handler_ns, Some(MS as i64));
    let mut builder = Builder::new(story.setup());
    story.observations.iter().for_each(|it| builder.observe(it.clone()));
    builder.end();
    // The move and 199 others were kept.
    assert_eq!(builder.losses().get("start"), Some(&801));
}

#[test]
fn the_facts_that_wait_for_all_execs_are_bounded_and_make_room_when_these_come() {
    let mut story = Story::unit();
    for pid in 10..610 {
        story = story.attach(0, pid, DEMO);
        for _ in 0..199 {
            story = story.action(1, pid, Signal::HUP, DispositionKind::Default, 0);
        }
    }
    story = story.exec_in(2, 10, "/bin/demo", "a").attach(3, 700, DEMO).hup(4, 10, 700);
    let story = story.killed(5, 700, Signal::HUP);
    let mut builder = Builder::new(story.setup());
    story.observations.iter().for_each(|it| builder.observe(it.clone()));
    builder.end();
    assert_eq!(builder.losses().get("start"), Some(&20_000));
    let services = builder.services(BEGIN + 1_000 * MS);
    let sent = services[0].activations.iter().flat_map(|start| &start.events);
    assert_eq!(sent.filter(|event| matches!(event.what, What::Signal(_))).count(), 1);
}

#[test]
fn the_first_notify_sockets_of_a_service_are_known_and_more_are_counted() {
    let mut story = running();
    for socket in 0..100 {
        let pid = 100 + socket;
        story = story.attach(5, pid, DEMO).exec_control(6, pid, "/bin/true", "a");
        if let Fact::Exec { environment, .. } = &mut story.observations.last_mut().unwrap().fact {
            environment.notify_socket = Some(format!("/run/notify{socket}"));
        }
    }
    let to = |socket: u32| {
        let destination = format!("/run/notify{socket}");
        let told = story.clone().datagram(20, 10, "READY=1", |it| it.destination = destination);
        told.told().milestones.ready_ns.is_some()
    };
    assert!(to(0) && to(63));
    assert!(!to(64));
    assert_eq!(story.told().unfollowed, 36);
}

#[test]
fn of_systemds_states_the_last_are_kept() {
    let mut story = running();
    for turn in 0..2_100 {
        let state = if turn % 2 == 0 { "reloading" } else { "active" };
        let state = UnitState { active_state: state.to_owned(), ..UnitState::default() };
        let news = UnitNews {
            cgroup: DEMO.to_owned(),
            state: Some(state),
            invocation_id: Some("a".to_owned()),
            ..UnitNews::default()
        };
        story = story.fact(10 + turn, Fact::Unit(Box::new(news)));
    }
    let told = story.until(5_000).told();
    let states: Vec<i64> = told
        .events
        .iter()
        .filter(|event| matches!(event.what, What::Systemd { .. }))
        .map(|event| event.at_ns / MS as i64)
        .collect();
    assert_eq!((states.len(), states[0], states[1_999]), (2_000, 109, 2_108));
    assert_eq!(told.systemd.as_ref().unwrap().active_state, "active");
}

fn path(service: u32) -> String {
    format!("/system.slice/demo{service}.service")
}

/// Services that have started and ended, their cgroups gone.
#[test]
fn services_that_are_over_make_room_those_without_alerts_first() {
    let mut builder = Builder::new(Story::unit().setup());
    let observe = |builder: &mut Builder, story: Story| {
        for observation in &story.observations {
            builder.observe(observation.clone());
        }
    };
    let life = |service: u32, gone: bool| {
        let (at, pid) = (u64::from(service), 100 + service);
        let id = format!("{service}");
        let story = Story::unit().attach(at, pid, &path(service));
        let story = story.exec_in(at, pid, "/bin/demo", &id).exit(at, pid, 0);
        let gone_path = path(service);
        if !gone {
            return story;
        }
        story.fact(at, Fact::CgroupGone { hierarchy: 0, id: u64::from(pid), path: gone_path })
    };
    // The first one's cgroup stays.
    for service in 0..4_096 {
        observe(&mut builder, life(service, service > 0));
    }
    builder.advance(BEGIN + 60_000 * MS);
    builder.judge_final(|service| (service.name == "demo1.service").then_some(Severity::Warning));
    let late = |service: u32| {
        let at = 61_000 + u64::from(service);
        let story = Story::unit().attach(at, 100 + service, &path(service));
        story.exec_in(at, 100 + service, "/bin/demo", "late")
    };
    observe(&mut builder, late(5_000));
    observe(&mut builder, late(5_001));
    builder.end();
    assert_eq!(builder.services_left_out(), 2);
    let names: Vec<String> =
        builder.services(BEGIN + 90_000 * MS).into_iter().map(|it| it.name).collect();
    assert_eq!(names.len(), 4_096);
    assert_eq!(names[..2], ["demo0.service", "demo1.service"]);
    assert_eq!(names[2], "demo4.service");
    assert_eq!(names[4_095], "demo5001.service");
    assert_eq!(builder.losses().get("start"), None);
}

#[test]
fn what_systemds_say_of_too_many_services_without_a_process_and_cgroups_beyond_are_lost() {
    let mut builder = Builder::new(Story::unit().setup());
    let said = |service: u32| {
        let state = Some(UnitState::default());
        Fact::Unit(Box::new(UnitNews { cgroup: path(service), state, ..UnitNews::default() }))
    };
    for service in 0..4_096 + 3 {
        builder.observe(Observation { at: BEGIN, fact: said(service) });
    }
    for id in 0..327_680 + 2 {
        let path = format!("/{id}");
        builder
            .observe(Observation { at: BEGIN, fact: Fact::CgroupPath { hierarchy: 0, id, path } });
    }
    builder
        .observe(Observation { at: BEGIN, fact: Fact::Loss { kind: "cgroup".into(), count: 5 } });
    builder.end();
    let losses = builder.losses();
    assert_eq!(
        losses.into_iter().collect::<Vec<_>>(),
        [("cgroup".into(), 7), ("systemd".into(), 3)]
    );
}

#[test]
fn where_no_service_is_over_a_new_one_is_counted_as_lost() {
    let mut builder = Builder::new(Story::unit().setup());
    for service in 0..4_097 {
        let story = Story::unit().attach(0, 100 + service, &path(service));
        for observation in &story.exec_in(1, 100 + service, "/bin/demo", "a").observations {
            builder.observe(observation.clone());
        }
    }
    builder.end();
    assert_eq!(builder.services(BEGIN + MS).len(), 4_096);
    assert!(builder.losses().get("start").is_some_and(|count| *count > 0));
    assert_eq!(builder.services_left_out(), 0);
}

#[test]
fn what_is_left_out_is_told_by_its_signal_if_it_would_have_been_shown() {
    let usr1 = Signal::from_number(10).unwrap();
    let mut story = running().recording(usr1).handler(5, 10);
    for turn in 0..600 {
        let kinds = [DispositionKind::Handler, DispositionKind::Ignored];
        let disposition = kinds[turn as usize % 2];
        story = story.action(10 + turn, 10, Signal::HUP, disposition, 1);
        story = story.action(10 + turn, 10, usr1, disposition, 1);
    }
    for turn in 0..50 {
        story = story.hup(700 + turn, STARTER, 10);
    }
    let told = story.told();
    let mut left_out: Vec<_> =
        told.left_out.iter().map(|it| (it.kind.as_str(), it.signal)).collect();
    left_out.dedup();
    assert_eq!(left_out, [("signal", Some(Signal::HUP)), ("disposition", Some(Signal::HUP))]);
    assert_eq!(told.omitted, told.left_out.iter().map(|it| it.count).sum::<u64>());
}

#[test]
fn a_signal_to_a_zombie_counts_while_that_is_remembered() {
    let told = running().fork(5, 10, 11).exit(6, 11, 0).hup(7, STARTER, 11).told();
    assert_eq!(told.signals().len(), 1);
}

#[test]
fn what_means_something_else_has_room_of_its_own_among_many_others() {
    let usr1 = Signal::from_number(10).unwrap();
    let mut story = running().recording(usr1).handler(5, 10);
    for child in 0..1_100 {
        story = story.fork(6, 10, 1_000 + child);
    }
    for turn in 0..100 {
        let at = 20 + 4 * u64::from(turn);
        story = story.exit(at, 1_000 + turn, 0).notify(at, 10, "STATUS=on");
        story = story.hup_with(at, STARTER, 10, |sent| sent.signal = usr1);
        story = story.action(at, 10, usr1, DispositionKind::Handler, 1);
        if turn == 50 {
            story = story.exit(at + 1, 2_000, 3).killed(at + 1, 2_001, Signal::HUP);
            story = story.notify(at + 1, 10, "STOPPING=1").notify(at + 1, 10, "RELOADING=1");
            story = story.hup(at + 1, STARTER, 10);
            story = story.action(at + 1, 10, Signal::HUP, DispositionKind::Handler, 1);
        }
    }
    let told = story.told();
    let count = |is: fn(&What) -> bool| told.events.iter().filter(|event| is(&event.what)).count();
    let is_hup = |signal: &Signal| *signal == Signal::HUP;
    assert_eq!(count(|what| matches!(what, What::Exit { code: Some(3), .. })), 1);
    let killed = told
        .events
        .iter()
        .filter(|event| matches!(&event.what, What::Exit { signal: Some(by), .. } if is_hup(by)));
    assert_eq!(killed.count(), 1);
    for (key, expected) in [("STOPPING", 1), ("RELOADING", 1)] {
        let says = told
            .events
            .iter()
            .filter(|event| matches!(&event.what, What::Notify(message) if message.says(key, "1")));
        assert_eq!(says.count(), expected, "{key}");
    }
    assert_eq!(told.signals().iter().filter(|sent| is_hup(&sent.signal)).count(), 1);
    assert_eq!(count(|what| matches!(what, What::Disposition { .. })), 2, "HUP's");
}

#[test]
fn a_signal_that_meets_something_else_or_is_the_processs_own_has_room_of_its_own() {
    let mut story = running().ignoring(5, 10, Signal::HUP).fork(6, 10, 11);
    for child in 0..1_100 {
        story = story.fork(6, 10, 1_000 + child);
    }
    for turn in 0..100 {
        let at = 20 + 4 * turn;
        // One of the same name as the main process.
        story = story.hup(at, 11, 10);
        if turn == 50 {
            story = story.hup(at + 1, 10, 10).hup_with(at + 2, 11, 10, |sent| {
                (sent.disposition, sent.result) =
                    (DispositionKind::Handler, GenerateResult::Queued);
            });
        }
    }
    let told = story.told();
    let at = |ms: u64| {
        let mut signals = told.events.iter().filter(|it| matches!(it.what, What::Signal(_)));
        signals.any(|event| event.at_ns == (ms as i64 - 1) * MS as i64)
    };
    assert!(!at(20 + 4 * 49), "it is one of many");
    assert!(at(20 + 4 * 50 + 1) && at(20 + 4 * 50 + 2));
}

#[test]
fn a_message_that_was_not_sent_has_room_of_its_own_among_many_others() {
    let mut story = running();
    for child in 0..1_100 {
        story = story.fork(6, 10, 1_000 + child);
    }
    for turn in 0..100 {
        story = story.notify(20 + turn, 10, "STATUS=on");
        if turn == 50 {
            story = story.datagram(20 + turn, 10, "STATUS=on", |datagram| datagram.errno = 111);
        }
    }
    let told = story.told();
    let failed = told
        .events
        .iter()
        .filter(|event| matches!(&event.what, What::Notify(message) if message.result == 111));
    assert_eq!(failed.count(), 1);
}

#[test]
fn what_a_new_main_process_does_has_room_of_its_own_beside_the_one_before() {
    let mut story = running();
    for child in 0..1_100 {
        story = story.fork(6, 10, 1_000 + child);
    }
    let set =
        |story: Story, at, pid| story.action(at, pid, Signal::HUP, DispositionKind::Handler, 1);
    for turn in 0..50 {
        story = set(story, 20 + turn, 10);
    }
    story = story.notify(100, 10, "MAINPID=1000");
    for turn in 0..50 {
        story = set(story, 200 + turn, 1_000);
    }
    let told = story.told();
    let is_kept = told.events.iter().any(|event| {
        matches!(&event.what, What::Disposition { process, .. } if process.pid == 1_000)
            && event.at_ns == 199 * MS as i64
    });
    assert!(is_kept, "its first one");
}

#[test]
fn a_signal_of_another_sender_has_room_of_its_own_among_many_of_one() {
    let mut story = running().handler(5, 10).found(9, STARTER, "/elsewhere", &[]);
    for child in 0..1_100 {
        story = story.fork(6, 10, 1_000 + child);
    }
    for turn in 0..100 {
        story = story.taken_hup(20 + 4 * turn, STARTER, 10);
        if turn == 50 {
            story = story.taken_hup(22 + 4 * turn, 9, 10);
        }
    }
    let told = story.told();
    let of_other = |sent: &&&SignalSent| sent.sender.as_ref().is_some_and(|sender| sender.pid == 9);
    assert_eq!(told.signals().iter().filter(of_other).count(), 1);
}

#[test]
fn changes_are_left_out_by_the_reload_signal_and_calls_by_what_is_shown_too() {
    let usr1 = Signal::from_number(10).unwrap();
    let (hup, both) = (Signal::HUP.set(), Signal::HUP.set().union(usr1.set()));
    let mut story = running().recording(usr1).recording(Signal::TERM);
    for child in 0..1_100 {
        story = story.fork(6, 10, 1_000 + child);
    }
    for turn in 0..300 {
        let set = if turn % 3 == 0 { both } else { hup };
        let consumer = if turn % 2 == 0 { Consumer::Signalfd } else { Consumer::Sigwait };
        let (task, state) = (story.task(10), crate::observation::SignalState::default());
        story = story.fact(20 + turn, Fact::Consume { task, consumer, set, state });
        for signal in [Signal::HUP, usr1, Signal::TERM] {
            let disposition = [DispositionKind::Handler, DispositionKind::Ignored];
            story = story.action(20 + turn, 10, signal, disposition[turn as usize % 2], 1);
        }
    }
    let setup = Setup { reload_signal: usr1, ..story.setup() };
    let mut builder = Builder::new(setup);
    story.observations.iter().for_each(|it| builder.observe(it.clone()));
    builder.end();
    let services = builder.services(BEGIN + 1_000 * MS);
    let left_out = services[0].activations[0].left_out.iter();
    let left_out: Vec<_> =
        left_out.map(|it| (it.kind.as_str(), it.signal, it.count > 50)).collect();
    assert_eq!(
        left_out,
        [
            ("fork", None, true),
            ("disposition", Some(Signal::HUP), true),
            ("disposition", Some(usr1), true),
            ("disposition", Some(usr1), true),
        ]
    );
}
