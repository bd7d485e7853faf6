//! READY=1 and its like on the timeline.

use super::story::{DEMO, MS, Story};
use crate::{
    model::{
        event::{DispositionKind, NotifyMessage, What},
        signal::Signal,
        unit::{UnitFacts, UnitState},
    },
    observation::{Fact, UnitNews},
};

fn running() -> Story {
    Story::command().fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(20, 10)
}

/// The first message.
fn message(story: &Story) -> NotifyMessage {
    messages(story).swap_remove(0)
}

fn messages(story: &Story) -> Vec<NotifyMessage> {
    let told = story.told();
    let messages = told.events.iter().filter_map(|event| match &event.what {
        What::Notify(message) => Some(message.as_ref().clone()),
        _ => None,
    });
    messages.collect()
}

fn is_ready(story: &Story) -> bool {
    story.told().milestones.ready_ns.is_some()
}

#[test]
fn only_ready_1_is_ready() {
    assert!(is_ready(&running().notify(40, 10, "READY=1")));
    for text in ["READY=0", "XREADY=1", "STATUS=READY=1", "READY=1\0X=1", "STOPPING=1\nREADY=1"] {
        assert!(!is_ready(&running().notify(40, 10, text)), "{text:?}");
    }
}

#[test]
fn the_first_ready_counts() {
    let told = running().notify(40, 10, "READY=1").notify(60, 10, "READY=1").told();
    assert_eq!(told.milestones.ready_ns, Some(30 * MS as i64));
}

#[test]
fn a_sender_that_goes_on_to_another_program_is_named_by_the_one_that_sent() {
    let looked_up_later = |story: Story| {
        story.datagram(40, 10, "READY=1", |datagram| datagram.exe = Some("/bin/next".into()))
    };
    let told = message(&looked_up_later(running()).exec(41, 10, "/bin/next"));
    assert_eq!(told.sender.exe.as_deref(), Some("/bin/demo"));
}

#[test]
fn a_message_that_could_not_be_sent_is_refused_and_says_why() {
    let story = running().datagram(40, 10, "READY=1", |datagram| datagram.errno = 111);
    let message = message(&story);
    assert_eq!((message.accepted, message.result), (Some(false), 111));
    assert!(message.problem.unwrap().contains("refused"));
    assert!(!is_ready(&story));
}

#[test]
fn a_datagram_to_the_journal_is_no_notify_message() {
    let told = running()
        .datagram(40, 10, "READY=1", |datagram| datagram.destination = "/dev/log".to_owned())
        .told();
    assert_eq!(told.milestones.ready_ns, None);
    assert!(!told.events.iter().any(|event| matches!(event.what, What::Notify(_))));
}

#[test]
fn with_notify_access_main_a_child_is_refused_by_name_and_the_main_process_is_not() {
    let service = running().with_facts("notify", "main").fork(30, 10, 11);
    let refused = service.clone().exec(31, 11, "/bin/postgres").notify(40, 11, "READY=1");
    let problem = message(&refused).problem.unwrap();
    assert!(problem.contains("postgres") && problem.contains("11"), "{problem}");
    assert!(!is_ready(&refused));
    assert!(is_ready(&service.clone().notify(40, 10, "READY=1")));
    let for_main = service.datagram(40, 11, "READY=1", |datagram| datagram.claimed_pid = Some(10));
    assert_eq!(message(&for_main).claimed_pid, Some(10));
    assert!(is_ready(&for_main));
}

#[test]
fn where_the_settings_are_unknown_so_is_whether_it_is_accepted() {
    let story = running().notify(40, 10, "READY=1");
    assert_eq!(message(&story).accepted, None);
}

#[test]
fn a_notify_type_that_says_nothing_is_never_ready() {
    let told = running().with_facts("notify", "main").until(100).told();
    assert_eq!(told.exposure.last().map(|span| span.to_ns), Some(90 * MS as i64));
}

#[test]
fn a_process_that_is_not_admitted_names_no_other_main_process() {
    let main_pid = |access| {
        let story = running().with_facts("notify", access).fork(30, 10, 11);
        let told = story.notify(40, 11, "MAINPID=11\nREADY=1").told();
        told.main_process.as_ref().map(|main| main.pid)
    };
    assert_eq!(main_pid("main"), Some(10));
    assert_eq!(main_pid("all"), Some(11));
}

#[test]
fn the_message_that_hands_over_is_still_the_old_main_processs() {
    let story = running().with_facts("notify", "main").fork(30, 10, 11);
    let story = story.notify(40, 10, "MAINPID=11\nREADY=1");
    assert_eq!(message(&story).accepted, Some(true));
    let told = story.told();
    assert_eq!(told.main_process.as_ref().map(|main| main.pid), Some(11));
    assert_eq!(told.milestones.ready_ns, Some(30 * MS as i64));
}

#[test]
fn notify_access_exec_admits_no_child_of_the_main_process() {
    let story = running().with_facts("notify", "exec").fork(30, 10, 11);
    assert_eq!(message(&story.notify(40, 11, "READY=1")).accepted, Some(false));
}

#[test]
fn notify_access_exec_admits_a_command_of_the_unit_and_main_does_not() {
    let started = |access| {
        let unit = Story::unit().with_facts("notify", access).start(0, 10, "/bin/daemon", "a1");
        let unit = unit.attach(30, 11, DEMO).exec_control(31, 11, "/bin/post", "a1");
        message(&unit.notify(40, 11, "READY=1"))
    };
    assert_eq!(started("exec").accepted, Some(true));
    assert_eq!(started("main").accepted, Some(false));
}

#[test]
fn a_child_that_comes_back_from_another_cgroup_is_no_command_of_the_unit() {
    let unit = Story::unit().with_facts("notify", "exec").start(0, 10, "/bin/daemon", "a1");
    let path = "/system.slice/other.service".to_owned();
    let unit = unit.fact(2, Fact::CgroupPath { hierarchy: 0, id: 99, path });
    let mut unit = unit.fork(5, 10, 11);
    if let Fact::Fork { child, .. } = &mut unit.observations.last_mut().unwrap().fact {
        child.cgroup_id = 99;
    }
    let told = unit.attach(6, 11, DEMO).notify(7, 11, "READY=1");
    assert_eq!(message(&told).accepted, Some(false));
}

#[test]
fn whether_a_message_was_read_before_its_sender_was_gone_is_not_known_unless_it_waited() {
    let child = || running().with_facts("notify", "all").fork(30, 10, 11).notify(40, 11, "READY=1");
    let gone = message(&child().exit(41, 11, 0));
    assert_eq!(gone.accepted, None);
    assert!(gone.problem.as_ref().unwrap().contains("could not tell whose it was"), "{gone:?}");
    assert_eq!(message(&child()).accepted, Some(true));
    assert_eq!(message(&child().notify(41, 11, "BARRIER=1").exit(42, 11, 0)).accepted, Some(true));
    assert_eq!(message(&child().exit(3_000, 11, 0).until(4_000)).accepted, Some(true));
}

#[test]
fn a_message_may_change_who_may_speak() {
    let story = running().with_facts("notify", "main").fork(30, 10, 11);
    let opened = story.clone().notify(35, 10, "NOTIFYACCESS=all").notify(40, 11, "READY=1");
    assert_eq!(messages(&opened)[1].accepted, Some(true));
    let refused = story.notify(35, 11, "NOTIFYACCESS=all").notify(40, 11, "READY=1");
    assert_eq!(messages(&refused)[1].accepted, Some(false));
}

/// systemd reads messages in their order, whatever the order they are told in.
#[test]
fn a_message_told_after_the_barrier_that_followed_it_was_waited_for() {
    let story = Story::command().with_facts("notify", "all");
    let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").fork(20, 10, 11);
    let late = story.clone().notify(40, 11, "READY=1").observations.pop().unwrap();
    let mut story = story.notify(41, 11, "BARRIER=1").exit(42, 11, 0).handler(100, 10);
    story.observations.push(late);
    let accepted: Vec<_> = messages(&story).iter().map(|message| message.accepted).collect();
    assert_eq!(accepted, [Some(true), Some(true)]);
}

#[test]
fn a_message_for_the_main_process_names_it_by_its_pid_in_its_own_namespace() {
    let is_ready_for = |ns_pid: u32, claimed: u32| {
        let mut story = running().with_facts("notify", "main").fork(30, 10, 11);
        for observation in &mut story.observations {
            match &mut observation.fact {
                Fact::Fork { child: task, .. } | Fact::Exec { task, .. } if task.id.pid == 10 => {
                    task.ns_pid = ns_pid;
                }
                Fact::Disposition { task, .. } => task.ns_pid = ns_pid,
                _ => {}
            }
        }
        is_ready(&story.datagram(40, 11, "READY=1", |it| it.claimed_pid = Some(claimed)))
    };
    assert!(is_ready_for(7, 7) && !is_ready_for(7, 10));
    // Where that is not known, it is ours.
    assert!(is_ready_for(0, 10));
}

#[test]
fn a_ready_counts_that_came_after_many_of_its_sender_which_were_refused() {
    let mut story = running().with_facts("notify", "main").fork(30, 10, 11);
    for at in 31..39 {
        story = story.notify(at, 11, "READY=1");
    }
    assert!(!is_ready(&story));
    let told = story.notify(39, 10, "NOTIFYACCESS=all").notify(40, 11, "READY=1").told();
    assert_eq!(told.milestones.ready_ns, Some(30 * MS as i64));
}

#[test]
fn what_a_service_found_running_said_before_it_reloads_is_its_readiness() {
    let found = Story::unit().with_facts("notify", "main").found(10, 1, DEMO, &[]);
    let reloads = |story: Story| {
        story.notify(30, 10, "RELOADING=1\nMONOTONIC_USEC=1").notify(31, 10, "READY=1")
    };
    assert!(!is_ready(&reloads(found.clone())));
    assert!(is_ready(&reloads(found.notify(20, 10, "READY=1"))));
}

/// A unit whose systemd is of this version, with its handler until then.
fn unit(service_type: &str, systemd: &str, handler: std::ops::Range<u64>) -> Story {
    let facts = UnitFacts {
        service_type: Some(service_type.to_owned()),
        notify_access: Some("all".to_owned()),
        reload_signal: Some(Signal::HUP),
        systemd: Some(systemd.to_owned()),
        ..UnitFacts::default()
    };
    let news = UnitNews { cgroup: DEMO.to_owned(), facts: Some(facts), ..UnitNews::default() };
    let story = Story::unit().start(0, 10, "/bin/demo", "a");
    let story = story.fact(2, Fact::Unit(Box::new(news)));
    let story = if handler.is_empty() { story } else { story.handler(handler.start, 10) };
    let default = DispositionKind::Default;
    if handler.end == u64::MAX {
        story
    } else {
        story.action(handler.end, 10, Signal::HUP, default, 0)
    }
}

fn state(story: Story, at: u64, active: &str) -> Story {
    let state = UnitState { active_state: active.to_owned(), ..UnitState::default() };
    let (cgroup, invocation_id, state) = (DEMO.to_owned(), Some("a".to_owned()), Some(state));
    let news = UnitNews { cgroup, state, invocation_id, ..UnitNews::default() };
    story.fact(at, Fact::Unit(Box::new(news)))
}

/// Whether each message was accepted.
fn accepted(story: &Story) -> Vec<Option<bool>> {
    messages(story).iter().map(|message| message.accepted).collect()
}

#[test]
fn a_stop_that_was_said_is_final_for_ready_alone_and_only_from_systemd_259_on() {
    let said = |systemd: &str, text: &str| {
        let story = unit("notify", systemd, 5..u64::MAX).notify(20, 10, "STOPPING=1");
        accepted(&story.notify(30, 10, text))[1]
    };
    assert_eq!(said("259", "READY=1"), Some(false));
    assert_eq!(said("258", "READY=1"), Some(true));
    assert_eq!(said("259", "STATUS=on"), Some(true));
    // systemd's own word counts.
    let up = unit("notify", "259", 5..u64::MAX).notify(20, 10, "STOPPING=1");
    assert_eq!(accepted(&state(up.notify(30, 10, "READY=1"), 31, "active"))[1], Some(true));
}

#[test]
fn the_handler_that_systemd_262_asks_for_is_looked_for_at_the_first_ready_alone() {
    let without = |story: Story| accepted(&story);
    let reload = |handler| unit("notify-reload", "262.1", handler).until(2_000);
    let none = 1_000..1_000;
    assert_eq!(without(reload(none.clone()).notify(20, 10, "READY=1")), [Some(false)]);
    assert_eq!(without(reload(none).notify(20, 10, "STATUS=on")), [Some(true)]);
    let twice = reload(5..300).notify(20, 10, "READY=1").notify(500, 10, "READY=1");
    assert_eq!(without(twice), [Some(true); 2]);
}

#[test]
fn who_has_a_handler_as_it_says_ready_or_as_systemd_reads_that_is_not_refused_for_want_of_it() {
    let reload = |handler| unit("notify-reload", "262.1", handler).until(2_000);
    // It takes it away, and fails at once.
    let early = reload(5..22).notify(20, 10, "READY=1");
    assert_eq!(accepted(&state(early.clone(), 30, "failed")), [Some(true)]);
    assert_eq!(accepted(&early), [Some(true)]);
    let late = reload(50..u64::MAX).notify(20, 10, "READY=1");
    assert_eq!(accepted(&late), [Some(true)]);
    assert_eq!(accepted(&state(late.clone(), 30, "activating")), [Some(true)]);
    assert_eq!(accepted(&state(late.clone(), 10, "inactive")), [Some(true)]);
    assert_eq!(accepted(&state(late, 30, "failed")), [Some(false)], "it was read before that");
}

#[test]
fn that_systemd_came_up_says_of_ready_alone_that_it_was_accepted() {
    let said = |text: &str| {
        let story = unit("notify", "257", 5..u64::MAX).fork(6, 10, 11);
        accepted(&state(story.notify(20, 11, text).exit(21, 11, 0), 30, "active"))
    };
    assert_eq!((said("READY=1"), said("STATUS=on")), (vec![Some(true)], vec![None]));
}
