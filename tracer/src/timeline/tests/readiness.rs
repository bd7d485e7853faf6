//! READY=1 and its like on the timeline.

use super::story::{DEMO, MS, Story};
use crate::{
    model::event::{NotifyMessage, What},
    observation::Fact,
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
