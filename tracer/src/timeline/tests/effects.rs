//! What became of services after reloads. The settle time of a story is a second.

use super::story::{BEGIN, DEMO, MS, Story};
use crate::{
    model::{
        event::{DispositionKind, Effect, What},
        signal::Signal,
        unit::UnitState,
    },
    observation::{Asker, Fact, Generate, GenerateResult, Origin, Parent, ProcessId, UnitNews},
    timeline::{Builder, Setup},
};

const SENDER: u32 = 5;
const RELOADING: &str = "RELOADING=1\nMONOTONIC_USEC=123";

/// A command with a handler, pid 10, and somebody beside it who sends signals.
fn up() -> Story {
    let story = Story::command().with_type("simple", "no").until(20_000);
    story.fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(20, 10)
}

/// The sender is no process of the service.
fn reloaded(story: Story) -> Story {
    story.found(SENDER, 1, "/elsewhere", &[]).taken_hup(1_000, SENDER, 10)
}

/// The effects of its signals, and when they showed in ms after the exec.
fn effects(story: &Story) -> Vec<(Option<Effect>, Option<i64>)> {
    let told = story.told();
    let effect = |at: Option<i64>| at.map(|ns| ns / MS as i64);
    told.signals().iter().map(|sent| (sent.effect, effect(sent.effect_ns))).collect()
}

#[track_caller]
fn has(story: &Story, expected: Effect, at: Option<i64>) {
    assert_eq!(effects(story)[0], (Some(expected), at));
}

#[test]
fn who_is_there_after_the_settle_time_survived() {
    has(&reloaded(up()), Effect::Survived, None);
    has(&reloaded(up()).until(2_001), Effect::Survived, None);
    has(&reloaded(up()).until(2_000), Effect::Unknown, None);
    has(&reloaded(up()).exit(2_002, 10, 0), Effect::Survived, None);
}

#[test]
fn an_end_within_it_is_the_reloads() {
    has(&reloaded(up()).exit(1_100, 10, 0), Effect::Ended, Some(1_090));
    has(&reloaded(up()).exit(1_100, 10, 3), Effect::Ended, Some(1_090));
    has(&reloaded(up()).killed(1_100, 10, Signal::HUP), Effect::Ended, Some(1_090));
    let abort = "ABRT".parse().unwrap();
    has(&reloaded(up()).killed(1_100, 10, abort), Effect::Crashed, Some(1_090));
    // By which programs end themselves.
    has(&reloaded(up()).killed(1_100, 10, Signal::TERM), Effect::Ended, Some(1_090));
    // The kernel, as there was no memory left: nobody was seen to send it.
    has(&reloaded(up()).killed(1_100, 10, Signal::KILL), Effect::Unknown, None);
}

#[test]
fn an_end_that_another_signal_brought_about_is_not() {
    let told = |at| {
        let term = up().found(SENDER, 1, "/elsewhere", &[]).hup_with(at, SENDER, 10, |sent| {
            sent.signal = Signal::TERM;
            sent.disposition = DispositionKind::Handler;
            sent.dying_of = None;
        });
        term.taken_hup(1_000, SENDER, 10).exit(1_100, 10, 0)
    };
    let last = |story: &Story| effects(story).into_iter().find_map(|it| it.0);
    assert_eq!(last(&told(900)), Some(Effect::Unknown));
}

#[test]
fn a_signal_that_kills_or_is_thrown_away_says_it_all() {
    let bare = || Story::command().fork(0, 1, 10).exec(10, 10, "/bin/demo");
    let sent = |story: Story| story.found(SENDER, 1, "/elsewhere", &[]).hup(60, SENDER, 10);
    has(&sent(bare()).killed(61, 10, Signal::HUP), Effect::Ended, Some(51));
    has(&sent(bare().ignoring(20, 10, Signal::HUP)).until(100), Effect::Survived, None);
    has(&sent(bare().mask(20, 10, true)), Effect::Unknown, None);
}

#[test]
fn what_a_process_or_the_kernel_sends_is_no_reload() {
    let own = up().hup(1_000, 10, 10).deliver(1_001, 10, DispositionKind::Handler, false);
    assert_eq!(effects(&own), [(None, None)]);
    let kernels = up().hup_with(1_000, 10, 10, |sent| sent.sender = None);
    assert_eq!(effects(&kernels), [(None, None)]);
}

#[test]
fn a_successor_takes_over_whether_systemd_is_told_or_not() {
    let left = || reloaded(up()).fork(1_010, 10, 11);
    has(&left().exit(1_300, 10, 0), Effect::Replaced, Some(1_290));
    has(&left().exit(1_300, 10, 0).exit(5_000, 11, 0), Effect::Replaced, Some(1_290));
    // Another program is no successor, and neither is one that was there before.
    has(&left().exec(1_011, 11, "/bin/log").exit(1_300, 10, 0), Effect::Ended, Some(1_290));
    has(&reloaded(up().fork(30, 10, 11)).exit(1_300, 10, 0), Effect::Ended, Some(1_290));
    has(&left().exit(1_200, 11, 0).exit(1_300, 10, 0), Effect::Ended, Some(1_290));
}

#[test]
fn a_command_that_leaves_a_successor_does_not_come_to_its_end_by_itself() {
    let command = || Story::command().until(20_000).fork(0, 1, 10).exec(10, 10, "/bin/demo");
    let left = || reloaded(command().handler(20, 10)).fork(1_040, 10, 11);
    let again = || left().exec(1_041, 11, "/bin/demo");
    has(&again().exit(1_500, 10, 0), Effect::Replaced, Some(1_490));
    has(&again().exit(2_100, 10, 0), Effect::Survived, None);
    has(&left().exec(1_041, 11, "/bin/log").exit(1_500, 10, 0), Effect::Unknown, None);
}

#[test]
fn a_job_that_dies_of_the_same_signal_is_lost() {
    let job = || up().fork(30, 10, 11).exec(31, 11, "/bin/job");
    let group = reloaded(job()).hup(1_002, SENDER, 11).killed(1_003, 11, Signal::HUP);
    assert_eq!(
        effects(&group),
        [(Some(Effect::LostProcess), Some(992)), (Some(Effect::LostProcess), Some(992))]
    );
    let passed_on = reloaded(job()).hup(1_500, 10, 11).killed(1_501, 11, Signal::HUP);
    assert_eq!(effects(&passed_on)[0].0, Some(Effect::LostProcess));
    let jobs = job().fork(40, 10, 12).hup(1_000, 12, 11).killed(1_001, 11, Signal::HUP);
    assert_eq!(effects(&jobs)[0].0, None, "their own affair");
}

#[test]
fn what_systemd_sends_to_have_it_stop_is_no_reload() {
    let told = |name: &'static str, by: Signal| {
        let story = Story::command().with_type("simple", "no").stopping_by(by).until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").fork(30, 10, 11);
        let story = story.exec(31, 11, "/bin/job").found(SENDER, 1, "/elsewhere", &[]);
        let sent = move |sent: &mut Generate| sent.sender.as_mut().unwrap().comm = name.into();
        let story = story.hup_with(1_000, SENDER, 10, sent).killed(1_001, 10, Signal::HUP);
        // What is left is told to end as well.
        let story = story.hup_with(1_005, SENDER, 11, sent).killed(1_006, 11, Signal::HUP);
        effects(&story).into_iter().map(|it| it.0).collect::<Vec<_>>()
    };
    assert_eq!(told("systemd", Signal::HUP), [None, None]);
    assert_eq!(told("systemd", Signal::TERM)[0], Some(Effect::Ended), "by systemctl kill");
    assert_eq!(told("kill", Signal::HUP)[0], Some(Effect::Ended));
}

#[test]
fn a_supervisor_between_passes_on_what_is_meant_for_the_service() {
    let story = up().fork(30, 10, 11).exec(31, 11, "/usr/bin/runsv");
    let story = story.fork(40, 11, 12).exec(41, 12, "/bin/job");
    let story = story.hup(1_000, 11, 12).killed(1_001, 12, Signal::HUP);
    assert_eq!(effects(&story)[0].0, Some(Effect::LostProcess));
}

#[test]
fn notify_reload_is_to_answer() {
    let ready = || {
        let story = Story::command().with_type("notify-reload", "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(20, 10);
        story.notify(30, 10, "READY=1")
    };
    has(&reloaded(ready()), Effect::Unanswered, None);
    has(&reloaded(ready()).exit(5_000, 10, 0), Effect::Unanswered, None);
    has(&reloaded(ready()).until(1_500), Effect::Unknown, None);
    let answered = || reloaded(ready()).notify(1_010, 10, RELOADING);
    has(&answered(), Effect::Unfinished, None);
    has(&answered().notify(9_000, 10, "READY=1"), Effect::Reloaded, Some(8_990));
    for text in ["RELOADING=1", "RELOADING=1\nMONOTONIC_USEC=0", "RELOADING=1\nMONOTONIC_USEC=x"] {
        has(&reloaded(ready()).notify(1_010, 10, text), Effect::Unanswered, None);
    }
    has(&answered().exit(1_100, 10, 0), Effect::Ended, Some(1_090));
    has(&reloaded(ready().ignoring(40, 10, Signal::HUP)), Effect::Unanswered, None);
}

#[test]
fn an_end_after_the_time_for_an_answer_does_not_make_up_for_it() {
    let ready = |limit: u64| {
        let story = Story::command().with_type("notify-reload", "no").until(20_000);
        let story = story.with_start_limit(limit);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(20, 10);
        reloaded(story.notify(30, 10, "READY=1"))
    };
    let announced = |limit| ready(limit).notify(1_010, 10, RELOADING);
    has(&announced(500).exit(1_900, 10, 0), Effect::Unfinished, Some(1_500));
    has(&announced(0).exit(1_900, 10, 0), Effect::Ended, Some(1_890));
    has(&announced(900).exit(1_900, 10, 0), Effect::Ended, Some(1_890));
    has(&ready(500).exit(1_900, 10, 0), Effect::Unanswered, Some(1_490));
    let more = announced(500).notify(1_200, 10, "EXTEND_TIMEOUT_USEC=5000000");
    has(&more.exit(1_900, 10, 0), Effect::Ended, Some(1_890));
}

#[test]
fn a_stop_afterwards_takes_nothing_back() {
    let ready = || {
        let story = Story::command().with_type("notify-reload", "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(20, 10);
        reloaded(story.notify(30, 10, "READY=1"))
    };
    let stopped = |story: Story| {
        let term = story.hup_with(1_500, SENDER, 10, |sent| {
            sent.signal = Signal::TERM;
            sent.dying_of = Some(Signal::TERM);
        });
        term.killed(1_501, 10, Signal::TERM)
    };
    let done = ready().notify(1_010, 10, RELOADING).notify(1_020, 10, "READY=1");
    has(&stopped(done), Effect::Reloaded, Some(1_010));
    has(&stopped(ready().notify(1_010, 10, RELOADING)), Effect::Unknown, None);
    has(&stopped(ready()), Effect::Unknown, None);
}

#[test]
fn a_reload_that_is_announced_without_a_signal_has_its_effect_too() {
    let story = || {
        let story = Story::command().with_type("notify", "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").notify(30, 10, "READY=1");
        story.notify(1_000, 10, "RELOADING=1")
    };
    let effects = |story: Story| -> Vec<Option<Effect>> {
        let told = story.told();
        let messages = told.events.iter().filter_map(|event| match &event.what {
            What::Notify(message) => Some(message.effect),
            _ => None,
        });
        messages.collect()
    };
    assert_eq!(effects(story()), [None, Some(Effect::Unfinished)]);
    let done = story().notify(1_500, 10, "READY=1");
    assert_eq!(effects(done), [None, Some(Effect::Reloaded), None]);
    assert_eq!(effects(story().exit(1_100, 10, 1)), [None, Some(Effect::Ended)]);
}

#[test]
fn a_shells_trap_waits_for_the_command_in_the_foreground_alone() {
    let shell = || {
        let story = Story::command().recording(Signal::INT).until(20_000);
        story.fork(0, 1, 10).exec(10, 10, "/bin/dash").handler(20, 10)
    };
    let runs = |story: Story| story.fork(500, 10, 11).exec(501, 11, "/bin/sleep");
    let waits = || reloaded(runs(shell()));
    has(&waits().exit(4_000, 11, 0), Effect::Deferred, Some(3_990));
    has(&waits(), Effect::Deferred, None);
    has(&waits().exit(1_300, 11, 0), Effect::Survived, None);
    // The trap does something at once.
    has(&waits().fork(1_002, 10, 12).exit(4_000, 11, 0), Effect::Survived, None);
    // What is started in the background ignores INT.
    let behind = shell().fork(500, 10, 11).ignoring(501, 11, Signal::INT);
    let behind = behind.exec(502, 11, "/bin/sleep");
    has(&reloaded(behind).exit(4_000, 11, 0), Effect::Survived, None);
    has(&reloaded(runs(up())).exit(4_000, 11, 0), Effect::Survived, None);
    // What others do is no act of the shell's, and what others are tells nothing of its command.
    has(&waits().fork(1_002, 11, 13).exit(4_000, 11, 0), Effect::Deferred, Some(3_990));
    let beside = shell().fork(500, 10, 11).fork(500, 10, 12).ignoring(500, 12, Signal::INT);
    let beside = beside.exec(501, 12, "/bin/log").exec(502, 11, "/bin/sleep");
    has(&reloaded(beside).exit(4_000, 11, 0), Effect::Deferred, Some(3_990));
}

#[test]
fn a_shell_that_was_killed_while_its_trap_waited_has_put_the_reload_off() {
    let killed = |at| {
        let story = Story::command().recording(Signal::INT).until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/dash").handler(20, 10);
        let story = reloaded(story.fork(500, 10, 11).exec(501, 11, "/bin/sleep"));
        let told = story.hup_with(at, SENDER, 10, |sent| sent.signal = Signal::TERM);
        told.killed(at + 1, 10, Signal::TERM).killed(at + 2, 11, Signal::TERM)
    };
    has(&killed(3_000), Effect::Deferred, None);
    // That was too short a time to tell.
    has(&killed(1_100), Effect::Unknown, None);
}

#[test]
fn a_stop_that_ends_the_command_of_a_shell_first_has_not_run_its_trap() {
    let told = |disposition: DispositionKind| {
        let story = Story::command().recording(Signal::INT).until(20_000);
        let story = story.with_type("simple", "no").fork(0, 1, 10).exec(10, 10, "/bin/dash");
        let story = story.handler(20, 10).fork(500, 10, 11).exec(501, 11, "/bin/sleep");
        let told = reloaded(story).hup_with(3_000, SENDER, 10, |sent| {
            (sent.signal, sent.disposition) = (Signal::TERM, disposition);
        });
        told.killed(3_001, 11, Signal::TERM)
    };
    let killed = |at| told(DispositionKind::Default).killed(at, 10, Signal::TERM);
    has(&killed(3_002), Effect::Deferred, None);
    // It had the time to run it; and one that has a trap for the other signal too runs both.
    has(&killed(3_200), Effect::Deferred, Some(2_991));
    has(&told(DispositionKind::Handler).exit(3_002, 10, 0), Effect::Deferred, Some(2_991));
}

#[test]
fn an_end_soon_after_a_trap_that_waited_is_the_reloads_unless_it_may_come_by_itself() {
    let ended = |at| {
        let story = Story::command().recording(Signal::INT).until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/dash").handler(20, 10);
        let story = reloaded(story.fork(500, 10, 11).exec(501, 11, "/bin/sleep"));
        story.exit(4_000, 11, 0).exit(at, 10, 0)
    };
    let service = |at| ended(at).with_type("simple", "no");
    has(&service(4_100), Effect::Ended, Some(4_090));
    has(&service(6_000), Effect::Deferred, Some(3_990));
    has(&ended(4_100), Effect::Deferred, Some(3_990));
}

#[test]
fn a_reload_that_waits_is_not_survived_and_leaves_who_asked_without_an_answer() {
    let waits = |of: &str| {
        let story = Story::command().with_type(of, "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(20, 10);
        let story = story.notify(30, 10, "READY=1").mask(40, 10, true);
        story.found(SENDER, 1, "/elsewhere", &[]).hup(1_000, SENDER, 10)
    };
    has(&waits("notify"), Effect::Unknown, None);
    has(&waits("notify-reload"), Effect::Unanswered, None);
}

#[test]
fn what_was_coalesced_has_the_effect_of_what_waited() {
    let story = up().mask(30, 10, true).found(SENDER, 1, "/elsewhere", &[]);
    let story = story.hup(1_000, SENDER, 10).hup_with(1_001, SENDER, 10, |sent| {
        sent.result = GenerateResult::AlreadyPending;
    });
    let story = story.mask(1_100, 10, false).deliver(1_101, 10, DispositionKind::Handler, false);
    let ended = story.exit(1_200, 10, 0);
    assert_eq!(effects(&ended), [(Some(Effect::Ended), Some(1_190)); 2]);
}

#[test]
fn one_that_comes_while_the_handler_ends_the_program_did_not_end_it() {
    let second = |at: u64| {
        let story = reloaded(up()).hup_with(at, SENDER, 10, |sent| {
            (sent.disposition, sent.dying_of) = (DispositionKind::Blocked, None);
        });
        effects(&story.ended(1_400, 10, None, 20, Signal::HUP.set()))
    };
    assert_eq!(second(1_050), [(Some(Effect::Ended), Some(1_390)); 2]);
    // One that waits in a program that goes on says nothing.
    let story = reloaded(up()).hup_with(1_050, SENDER, 10, |sent| {
        (sent.disposition, sent.dying_of) = (DispositionKind::Blocked, None);
    });
    let goes_on = effects(&story);
    assert_eq!(goes_on[1], (Some(Effect::Unknown), None));
}

/// The effect of the only reload.
fn only(story: &Story) -> Option<Effect> {
    effects(story).into_iter().find_map(|it| it.0)
}

#[test]
fn an_end_is_the_reloads_unless_the_main_process_was_told_to_stop() {
    let sent = |by: u32, to: u32, change: fn(&mut Generate)| {
        let job = up().fork(30, 10, 11).found(SENDER, 1, "/elsewhere", &[]);
        let told = job.hup_with(900, by, to, |sent| {
            (sent.signal, sent.disposition) = (Signal::TERM, DispositionKind::Handler);
            sent.dying_of = None;
            change(sent);
        });
        only(&told.taken_hup(1_000, SENDER, 10).exit(1_100, 10, 0))
    };
    assert_eq!(sent(SENDER, 10, |_| ()), Some(Effect::Unknown));
    assert_eq!(sent(SENDER, 11, |_| ()), Some(Effect::Ended), "another was told");
    assert_eq!(sent(10, 10, |_| ()), Some(Effect::Ended), "it told itself");
    let usr1 = |sent: &mut Generate| sent.signal = "USR1".parse().unwrap();
    assert_eq!(sent(SENDER, 10, usr1), Some(Effect::Ended), "that is no request to stop");
    let ignored = |sent: &mut Generate| {
        sent.disposition = DispositionKind::Ignored;
        sent.result = GenerateResult::Ignored;
    };
    assert_eq!(sent(SENDER, 10, ignored), Some(Effect::Ended), "it took no notice");
}

#[test]
fn stopping_1_of_the_main_process_says_that_it_ends() {
    let said = |by: u32, text: &str| {
        let story = up().fork(30, 10, 11).notify(900, by, text);
        only(&reloaded(story).exit(1_100, 10, 0))
    };
    assert_eq!(said(10, "STOPPING=1"), Some(Effect::Unknown));
    assert_eq!(said(11, "STOPPING=1"), Some(Effect::Ended));
    assert_eq!(said(10, "STOPPING=0"), Some(Effect::Ended));
}

#[test]
fn what_a_starter_that_dies_has_left_running_tells_what_became_of_the_service() {
    let up = |at: u64, main: u32| {
        let state = UnitState {
            active_state: "active".to_owned(),
            sub_state: Some("running".to_owned()),
            main_pid: Some(main),
            ..UnitState::default()
        };
        let cgroup = DEMO.to_owned();
        let invocation_id = Some("a".to_owned());
        let news = UnitNews { cgroup, invocation_id, state: Some(state), ..UnitNews::default() };
        (at, Fact::Unit(Box::new(news)))
    };
    let effect = |story: Story, main: u32| {
        let (at, fact) = up(1_100, main);
        let story = story.fact(at, fact);
        let told = story.until(20_000).told();
        (told.signals()[0].effect, told.main_process.as_ref().map(|main| main.pid))
    };
    let killed = || {
        let story = Story::unit().with_type("forking", "no").start(10, 10, "/bin/demo", "a");
        let story = story.found(SENDER, 1, "/elsewhere", &[]).fork(900, 10, 11);
        story.hup(1_000, SENDER, 10).killed(1_001, 10, Signal::HUP)
    };
    assert_eq!(effect(killed(), 11), (Some(Effect::Survived), Some(11)));
    assert_eq!(effect(killed().exit(1_200, 11, 0), 11), (Some(Effect::Ended), Some(11)));
    // It may have ended by the time that systemd has read its file.
    let abort = "ABRT".parse().unwrap();
    assert_eq!(effect(killed().killed(1_050, 11, abort), 11), (Some(Effect::Crashed), Some(11)));
    // What the handler of a starter did not bring about is the start that goes on.
    let taken = || {
        let story = Story::unit().with_type("forking", "no").start(10, 10, "/bin/demo", "a");
        let story = story.handler(20, 10).found(SENDER, 1, "/elsewhere", &[]);
        story.taken_hup(1_000, SENDER, 10).fork(1_050, 10, 11).fork(1_060, 11, 12)
    };
    assert_eq!(effect(taken().exit(1_090, 11, 0), 12), (Some(Effect::Survived), Some(12)));
    // Each that ends on the way was taken for the daemon until then.
    let left = || taken().exit(1_055, 10, 0);
    assert_eq!(effect(left().exit(1_090, 11, 0), 12), (Some(Effect::Survived), Some(12)));
    let thrice = left().fork(1_070, 12, 13).exit(1_090, 11, 0).exit(1_095, 12, 0);
    assert_eq!(effect(thrice, 13), (Some(Effect::Survived), Some(13)));
    // Another one that came in its place is none that it had left.
    let other = killed().exit(1_050, 11, 0).attach(1_060, 12, DEMO);
    let other = other.exec_control(1_061, 12, "/bin/other", "a");
    assert_eq!(effect(other, 12), (Some(Effect::Replaced), Some(12)));
}

#[test]
fn a_starter_ends_as_starters_do_and_the_end_of_its_daemon_has_a_cause_of_its_own() {
    let starter = || {
        let story = Story::unit().with_type("forking", "no").start(10, 10, "/bin/demo", "a");
        story.handler(20, 10).found(SENDER, 1, "/elsewhere", &[]).until(20_000)
    };
    let ended = |story: Story| story.exit(1_050, 10, 0).exit(1_900, 11, 1);
    // The daemon was there before, and is the main process since.
    let before = starter().fork(900, 10, 11).taken_hup(1_000, SENDER, 10);
    assert_eq!(only(&ended(before)), None);
    // It may have come by what the starter had noted, or by anything.
    let after = || starter().taken_hup(1_000, SENDER, 10).fork(1_010, 10, 11);
    assert_eq!(only(&ended(after())), Some(Effect::Unknown));
    let segv = "SEGV".parse().unwrap();
    let crashed = after().exit(1_050, 10, 0).killed(1_900, 11, segv);
    assert_eq!(only(&crashed), Some(Effect::Unknown));
    // One between the two has to end as well.
    let between = starter().fork(800, 10, 11).fork(810, 11, 12).taken_hup(1_000, SENDER, 11);
    let between = between.exit(1_010, 11, 0).exit(1_020, 10, 0).exit(1_500, 12, 1);
    assert_eq!(only(&between), None);
}

#[test]
fn one_that_kills_what_was_told_to_end_before_did_not_end_it() {
    let killed = |told_at: u64| {
        let story = up().found(SENDER, 1, "/elsewhere", &[]);
        let told = story.hup_with(told_at, SENDER, 10, |sent| {
            (sent.signal, sent.disposition) = (Signal::TERM, DispositionKind::Handler);
            sent.dying_of = None;
        });
        let story = told.action(950, 10, Signal::HUP, DispositionKind::Default, 0);
        let story = story.hup(1_000, SENDER, 10).killed(1_001, 10, Signal::HUP);
        let told = story.told();
        told.signals().iter().rev().find_map(|sent| sent.effect)
    };
    assert_eq!(killed(900), Some(Effect::Unknown));
    let story = up().found(SENDER, 1, "/elsewhere", &[]);
    let story = story.action(950, 10, Signal::HUP, DispositionKind::Default, 0);
    has(&story.hup(1_000, SENDER, 10).killed(1_001, 10, Signal::HUP), Effect::Ended, Some(991));
}

/// A reload that a worker, pid 11, takes by its handler.
fn worker_took(story: Story) -> Story {
    let story = story.fork(30, 10, 11).handler(40, 11);
    story.found(SENDER, 1, "/elsewhere", &[]).taken_hup(1_000, SENDER, 11)
}

#[test]
fn a_service_that_ends_as_a_worker_took_a_reload_for_its_end_ends_by_that() {
    let ended = |story: Story| only(&worker_took(story).exit(1_050, 11, 0).exit(1_100, 10, 1));
    assert_eq!(ended(up()), Some(Effect::Ended));
    has(&worker_took(up()).exit(1_050, 11, 0).exit(1_100, 10, 1), Effect::Ended, Some(1_090));
    let segv = "SEGV".parse().unwrap();
    let crashed = worker_took(up()).killed(1_050, 11, segv).exit(1_100, 10, 1);
    has(&crashed, Effect::Crashed, Some(1_090));
    // It ends long after, or before the worker, or the worker goes on.
    assert_eq!(only(&worker_took(up()).exit(1_050, 11, 0).exit(2_100, 10, 1)), None);
    assert_eq!(only(&worker_took(up()).exit(1_050, 10, 1).exit(1_100, 11, 0)), None);
    assert_eq!(only(&worker_took(up()).exit(1_100, 10, 1)), None);
    // Another killed the worker.
    let killed = worker_took(up()).killed(1_050, 11, Signal::KILL).exit(1_100, 10, 1);
    assert_eq!(only(&killed), None);
}

#[test]
fn a_helper_that_the_main_process_ends_before_itself_took_no_reload() {
    let sent = |reload: Option<u64>| {
        let story = up().fork(30, 10, 11).handler(40, 11).found(SENDER, 1, "/elsewhere", &[]);
        let story = match reload {
            Some(at) => story.taken_hup(at, SENDER, 10),
            None => story,
        };
        let story = story.taken_hup(5_000, 10, 11).exit(5_050, 11, 0).exit(5_100, 10, 0);
        effects(&story).last().unwrap().0
    };
    assert_eq!(sent(None), None);
    assert_eq!(sent(Some(1_000)), None, "that was long before");
    assert_eq!(sent(Some(4_800)), Some(Effect::Ended), "it passed it on");
}

#[test]
fn what_else_had_the_main_process_end_counts_for_more_than_the_end_of_a_worker() {
    let told = |by: u32, to: u32, signal: Signal| {
        let story = worker_took(up()).hup_with(1_020, by, to, |sent| {
            (sent.signal, sent.disposition) = (signal, DispositionKind::Handler);
            sent.dying_of = None;
        });
        only(&story.exit(1_050, 11, 0).exit(1_100, 10, 0))
    };
    assert_eq!(told(SENDER, 10, Signal::TERM), None);
    assert_eq!(told(10, 11, Signal::TERM), None, "the main process is ending");
    assert_eq!(told(SENDER, 11, "USR1".parse().unwrap()), Some(Effect::Ended));
    // What the main process does by a reload of its own is told of that.
    let both = worker_took(up()).taken_hup(1_001, SENDER, 10);
    let both = effects(&both.exit(1_050, 11, 0).exit(1_100, 10, 0));
    assert_eq!(both.iter().map(|it| it.0).collect::<Vec<_>>(), [None, Some(Effect::Ended)]);
}

#[test]
fn a_stop_that_comes_when_the_settle_time_is_over_takes_nothing_back() {
    let ready = || {
        let story = Story::command().with_type("notify-reload", "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(20, 10);
        reloaded(story.notify(30, 10, "READY=1"))
    };
    let stopped = |story: Story, at| story.notify(at, 10, "STOPPING=1").exit(at + 1, 10, 0);
    // The reload was taken at 1,001 ms.
    assert_eq!(only(&stopped(ready(), 2_001)), Some(Effect::Unanswered));
    assert_eq!(only(&stopped(ready(), 2_000)), Some(Effect::Ended));
    let begun = || ready().notify(1_500, 10, RELOADING);
    assert_eq!(only(&stopped(begun(), 2_500)), Some(Effect::Unfinished));
    assert_eq!(only(&stopped(begun(), 2_499)), Some(Effect::Unknown));
}

#[test]
fn a_job_is_lost_by_the_reload_that_reached_it_too() {
    let job =
        || reloaded(up().fork(30, 10, 11).exec(31, 11, "/bin/job").found(6, 1, "/other", &[]));
    let killed = |by: u32, at: u64| {
        let story = job().hup(at, by, 11).killed(at + 1, 11, Signal::HUP);
        effects(&story).into_iter().map(|it| it.0).collect::<Vec<_>>()
    };
    let (survived, lost) = (Some(Effect::Survived), Some(Effect::LostProcess));
    assert_eq!(killed(SENDER, 1_100), [lost, lost], "whoever signals a group does so one by one");
    assert_eq!(killed(SENDER, 1_101), [survived, lost], "that was later");
    assert_eq!(killed(6, 1_010), [survived, lost], "that was somebody else");
    // The main process passes it on, as long as the reload may last.
    assert_eq!(killed(10, 2_001), [lost, lost]);
    assert_eq!(killed(10, 2_002), [survived, lost]);
    let before = up().fork(30, 10, 11).hup(990, 10, 11).killed(991, 11, Signal::HUP);
    assert_eq!(effects(&reloaded(before))[1].0, survived);
}

#[test]
fn a_service_found_running_leaves_a_successor_of_the_program_that_it_runs() {
    let left = |exe: &str| {
        let story = Story::unit().found(10, 1, DEMO, &[Signal::HUP]).until(20_000);
        let story = story.fork(20, 10, 12).exec(21, 12, "/bin/job");
        let story = reloaded(story).fork(1_010, 10, 11).exec(1_011, 11, exe);
        // Others that have other programs are sent signals too.
        let story = story.hup_with(1_020, SENDER, 12, |sent| sent.signal = Signal::TERM);
        only(&story.exit(1_040, 10, 3))
    };
    assert_eq!(left("/usr/bin/old"), Some(Effect::Replaced));
    assert_eq!(left("/bin/log"), Some(Effect::Ended));
}

#[test]
fn a_reload_ends_with_the_ready_that_systemd_takes() {
    let story = || {
        let story = Story::command().with_type("notify", "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").fork(20, 10, 11);
        story.notify(30, 10, "READY=1").notify(1_000, 10, "RELOADING=1")
    };
    let effect = |story: Story| {
        let told = story.told();
        let mut messages = told.events.iter().filter_map(|event| match &event.what {
            What::Notify(message) => message.effect,
            _ => None,
        });
        messages.next()
    };
    assert_eq!(effect(story().notify(1_500, 10, "READY=1")), Some(Effect::Reloaded));
    assert_eq!(effect(story().notify(1_500, 10, "STATUS=on")), Some(Effect::Unfinished));
    assert_eq!(effect(story().notify(1_500, 11, "READY=1")), Some(Effect::Unfinished), "refused");
}

#[test]
fn a_reload_is_announced_by_whoever_may_speak_and_without_a_signal() {
    let told = |before: fn(Story) -> Story, by: u32, text: &str| {
        let story = Story::command().with_type("notify", "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(11, 10);
        let story = story.fork(20, 10, 11).found(SENDER, 1, "/elsewhere", &[]);
        let story = before(story.notify(30, 10, "READY=1")).notify(1_010, by, text);
        let told = story.notify(1_020, 10, "READY=1").told();
        let mut messages = told.events.iter().filter_map(|event| match &event.what {
            What::Notify(message) => Some(message.effect),
            _ => None,
        });
        messages.nth(1).unwrap()
    };
    let reloaded = Some(Effect::Reloaded);
    assert_eq!(told(|story| story, 10, "RELOADING=1"), reloaded);
    assert_eq!(told(|story| story, 11, "RELOADING=1"), None, "it may not speak");
    for text in ["RELOADING=0", "RELOADING=1\nREADY=1", "RELOADING=1\nSTOPPING=1"] {
        assert_eq!(told(|story| story, 10, text), None, "{text:?}");
    }
    // The signal has the effect.
    assert_eq!(told(|story| story.taken_hup(1_000, SENDER, 10), 10, "RELOADING=1"), None);
    // Another process's signal began nothing, and neither did another signal.
    let to_another = |story: Story| story.hup_with(1_000, SENDER, 11, |sent| sent.dying_of = None);
    assert_eq!(told(to_another, 10, "RELOADING=1"), reloaded);
    let another = |story: Story| {
        story.hup_with(1_000, SENDER, 10, |sent| sent.signal = "USR1".parse().unwrap())
    };
    assert_eq!(told(another, 10, "RELOADING=1"), reloaded);
}

#[test]
fn an_end_after_a_reload_that_was_announced_is_its_own_within_the_settle_time_alone() {
    let effect = |then: fn(Story) -> Story| {
        let story = Story::command().with_type("notify", "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").notify(30, 10, "READY=1");
        let told = then(story.notify(1_000, 10, "RELOADING=1")).told();
        let mut messages = told.events.iter().filter_map(|event| match &event.what {
            What::Notify(message) => message.effect,
            _ => None,
        });
        messages.next()
    };
    assert_eq!(effect(|story| story.exit(2_000, 10, 1)), Some(Effect::Ended));
    assert_eq!(effect(|story| story.exit(2_001, 10, 1)), Some(Effect::Unfinished));
    let done = effect(|story| story.notify(1_100, 10, "READY=1").exit(1_200, 10, 1));
    assert_eq!(done, Some(Effect::Reloaded));
}

#[test]
fn another_main_process_takes_over_within_the_settle_time_or_once_the_old_one_has_ended() {
    let over = |at: u64, ended: Option<u64>| {
        let story = up().fork(900, 10, 11).found(SENDER, 1, "/elsewhere", &[]);
        let story = story.taken_hup(1_000, SENDER, 10);
        let told = |story: Story| story.notify(at, 10, "MAINPID=11");
        let story = match ended {
            Some(end) if end < at => told(story.exit(end, 10, 0)),
            Some(end) => told(story).exit(end, 10, 0),
            None => told(story),
        };
        only(&story)
    };
    let replaced = Some(Effect::Replaced);
    assert_eq!(over(1_500, None), replaced);
    assert_eq!(over(2_000, None), replaced);
    assert_eq!(over(2_001, None), Some(Effect::Survived), "it had answered nothing by then");
    assert_eq!(over(990, None), None, "it was no main process any more");
    // systemd may look for it once the old one has ended.
    assert_eq!(over(2_800, Some(1_900)), replaced);
    assert_eq!(over(2_900, Some(1_900)), Some(Effect::Ended));
    assert_eq!(over(2_800, Some(2_002)), Some(Effect::Survived), "it ended later");
}

#[test]
fn what_says_stopping_by_its_reload_ends_by_it() {
    let up = || Story::unit().start(0, 10, "/bin/demo", "a").handler(20, 10).until(20_000);
    let down = |story: Story, at| {
        let news = UnitNews {
            cgroup: DEMO.to_owned(),
            state: Some(UnitState {
                active_state: "deactivating".to_owned(),
                ..UnitState::default()
            }),
            invocation_id: Some("a".to_owned()),
            ..UnitNews::default()
        };
        story.fact(at, Fact::Unit(Box::new(news)))
    };
    let stopping = || reloaded(up()).notify(1_020, 10, "STOPPING=1");
    assert_eq!(only(&stopping().exit(1_100, 10, 0)), Some(Effect::Ended));
    // So systemd takes it down, too.
    assert_eq!(only(&down(stopping(), 1_030).exit(1_100, 10, 0)), Some(Effect::Ended));
    // It was done with the reload, and goes for a reason of its own.
    let done = reloaded(up()).notify(1_010, 10, RELOADING).notify(1_015, 10, "READY=1");
    let done = done.notify(1_020, 10, "STOPPING=1").exit(1_100, 10, 0);
    assert_eq!(only(&done), Some(Effect::Reloaded));
    let at_once = reloaded(up()).notify(1_010, 10, &format!("{RELOADING}\nREADY=1"));
    let at_once = at_once.notify(1_020, 10, "STOPPING=1").exit(1_100, 10, 0);
    assert_eq!(only(&at_once), Some(Effect::Reloaded));
    // It said so before, or systemd had it do so.
    let before = reloaded(up().notify(900, 10, "STOPPING=1"));
    assert_eq!(only(&before.exit(1_100, 10, 0)), Some(Effect::Unknown));
    let stopped = down(reloaded(up()), 1_010).notify(1_020, 10, "STOPPING=1");
    assert_eq!(only(&stopped.exit(1_100, 10, 0)), Some(Effect::Unknown));
}

#[test]
fn a_command_that_may_come_to_its_end_does_not_die_of_a_signal_by_itself() {
    let loose = || {
        let story = Story::command().until(20_000).fork(0, 1, 10).exec(10, 10, "/bin/demo");
        reloaded(story.handler(20, 10))
    };
    let abort = "ABRT".parse().unwrap();
    has(&loose().killed(1_900, 10, abort), Effect::Crashed, Some(1_890));
    has(&loose().killed(2_100, 10, abort), Effect::Survived, None);
    has(&loose().exit(1_200, 10, 0), Effect::Ended, Some(1_190));
    has(&loose().exit(1_900, 10, 0), Effect::Unknown, None);
}

#[test]
fn one_message_may_say_that_a_reload_has_begun_and_is_done() {
    let ready = |service_type: &str| {
        let story = Story::command().with_type(service_type, "no").until(20_000);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(20, 10);
        reloaded(story.notify(30, 10, "READY=1"))
    };
    let both = "RELOADING=1\nMONOTONIC_USEC=123\nREADY=1";
    has(&ready("notify-reload").notify(1_010, 10, both), Effect::Reloaded, Some(1_000));
    has(&ready("notify").notify(1_010, 10, "READY=1\nRELOADING=1"), Effect::Reloaded, Some(1_000));
    // systemd counts it by its time alone.
    let untimed = ready("notify-reload").notify(1_010, 10, "RELOADING=1\nREADY=1");
    has(&untimed, Effect::Unanswered, None);
}

#[test]
fn a_unit_that_systemd_takes_down_was_not_ended_by_the_reload() {
    let ended = |state: Option<&str>| {
        let story = Story::unit().start(0, 10, "/bin/demo", "a").handler(20, 10).until(20_000);
        let news = |active_state: &str| UnitNews {
            cgroup: DEMO.to_owned(),
            state: Some(UnitState {
                active_state: active_state.to_owned(),
                ..UnitState::default()
            }),
            invocation_id: Some("a".to_owned()),
            ..UnitNews::default()
        };
        let story = match state {
            Some(state) => story.fact(990, Fact::Unit(Box::new(news(state)))),
            None => story,
        };
        only(&reloaded(story).exit(1_040, 10, 3))
    };
    assert_eq!(ended(None), Some(Effect::Ended));
    assert_eq!(ended(Some("active")), Some(Effect::Ended));
    assert_eq!(ended(Some("deactivating")), Some(Effect::Unknown));
}

#[test]
fn what_is_announced_after_the_settle_time_or_by_another_reload_answers_no_signal() {
    let told = |service_type: &str, reloads_by: Option<Signal>, job: Option<&str>, at: u64| {
        let story = Story::unit().with_type(service_type, "no").reloading_by(reloads_by);
        let story = story.start(0, 10, "/bin/demo", "a").handler(20, 10).until(20_000);
        let mut story = reloaded(story.notify(30, 10, "READY=1"));
        if let Some(sub_state) = job {
            let state = UnitState {
                active_state: "reloading".to_owned(),
                sub_state: Some(sub_state.to_owned()),
                ..UnitState::default()
            };
            let (cgroup, invocation_id) = (DEMO.to_owned(), Some("a".to_owned()));
            let state = Some(state);
            let news = UnitNews { cgroup, state, invocation_id, ..UnitNews::default() };
            story = story.fact(1_200, Fact::Unit(Box::new(news)));
        }
        let told = story.notify(at, 10, RELOADING).notify(at + 10, 10, "READY=1").told();
        let by_signal = told.signals()[0].effect.unwrap();
        let mut messages = told.events.iter().filter_map(|event| match &event.what {
            What::Notify(message) => message.effect,
            _ => None,
        });
        (by_signal, messages.next())
    };
    let (survived, reloaded) = (Effect::Survived, Effect::Reloaded);
    assert_eq!(told("notify", None, None, 1_500), (reloaded, None));
    assert_eq!(told("notify", None, None, 2_001), (survived, Some(reloaded)));
    assert_eq!(told("notify", None, Some("reload"), 1_500), (survived, Some(reloaded)));
    // That systemd says of the answer itself.
    assert_eq!(told("notify", None, Some("reload-notify"), 1_500), (reloaded, None));
    // The reload sends this signal: it did so.
    assert_eq!(told("notify", Some(Signal::HUP), Some("reload"), 1_500), (reloaded, None));
    // It is waited for, however long it takes.
    assert_eq!(told("notify-reload", None, None, 2_500), (reloaded, None));
}

#[test]
fn what_the_service_sends_itself_nobody_had_systemd_send() {
    let id = |pid| ProcessId { pid, start_ticks: 0 };
    let asked = |by: u32, comes_from: u32| {
        let comm = "systemctl".into();
        let origin = Origin::default();
        let asker = Box::new(Asker { id: id(77), ns_pid: 77, comm, uid: 0, origin });
        let story = up().fork(30, 10, 11).exec(31, 11, "/bin/job").fork(40, 10, 12);
        let story = story.found(SENDER, 1, "/elsewhere", &[]);
        let parent = Parent {
            id: story.task(comes_from).id,
            ns_pid: comes_from,
            cgroup_id: 0,
            comm: "demo".into(),
            command: None,
            cgroup: None,
        };
        let story = story.hup_with(1_000, by, 11, move |sent| {
            let parents = vec![parent];
            let origin = Origin { parents, asked_by: Some(asker), ..Origin::default() };
            sent.origin = Some(origin.into());
        });
        let told = story.told();
        told.signals()[0].sender.as_ref().unwrap().asked_by.is_some()
    };
    assert!(asked(SENDER, 1), "a command of ExecReload=");
    assert!(!asked(10, 1), "the main process");
    assert!(!asked(12, 10), "one of its");
}

#[test]
fn what_the_tracer_places_is_a_reload_although_the_kernel_sends_it() {
    let effect = |placed: bool| {
        let story = up().hup_with(1_000, 1, 10, |sent| sent.sender = None);
        let story = story.deliver(1_001, 10, DispositionKind::Handler, false);
        let mut builder = Builder::new(Setup { placed, ..story.setup() });
        story.observations.iter().for_each(|it| builder.observe(it.clone()));
        builder.end();
        let services = builder.services(BEGIN + 20_000 * MS);
        services[0].activations[0].events.iter().find_map(|event| match &event.what {
            What::Signal(sent) => Some(sent.effect),
            _ => None,
        })
    };
    assert_eq!((effect(true), effect(false)), (Some(Some(Effect::Survived)), Some(None)));
}

#[test]
fn what_systemd_itself_sends_is_a_stop_unless_it_reloads_by_it() {
    let sent = |service_type: &str, by: &str| {
        let story = Story::command().with_type(service_type, "no").recording(Signal::QUIT);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").until(20_000);
        let story = story.action(20, 10, Signal::QUIT, DispositionKind::Handler, 1);
        let story =
            story.found(SENDER, 1, "/init.scope", &[]).hup_with(1_000, SENDER, 10, |sent| {
                sent.sender.as_mut().unwrap().comm = by.into();
                (sent.signal, sent.disposition) = (Signal::QUIT, DispositionKind::Handler);
                sent.dying_of = None;
            });
        let mut builder = Builder::new(Setup { reload_signal: Signal::QUIT, ..story.setup() });
        story.observations.iter().for_each(|it| builder.observe(it.clone()));
        builder.end();
        let services = builder.services(BEGIN + 20_000 * MS);
        services[0].activations[0].events.iter().find_map(|event| match &event.what {
            What::Signal(sent) => Some(sent.effect.is_some()),
            _ => None,
        })
    };
    assert_eq!(sent("simple", "systemd"), Some(false));
    assert_eq!(sent("simple", "kill"), Some(true));
    assert_eq!(sent("notify-reload", "systemd"), Some(true));
}

#[test]
fn a_successor_counts_that_was_left_within_the_settle_time_to_its_last_moment() {
    let ended = |at| only(&reloaded(up()).fork(1_500, 10, 11).exit(at, 10, 0));
    assert_eq!((ended(2_001), ended(2_002)), (Some(Effect::Replaced), Some(Effect::Survived)));
}

#[test]
fn a_successor_is_a_copy_or_runs_the_same_program_and_lives_on() {
    let base = || reloaded(up());
    assert_eq!(only(&base().fork(1_010, 10, 11).exit(1_100, 10, 0)), Some(Effect::Replaced));
    // It ends with the one before.
    let both = base().fork(1_010, 10, 11).exit(1_100, 11, 0).exit(1_100, 10, 0);
    assert_eq!(only(&both), Some(Effect::Ended));
    // What another one executes is not its program.
    let beside = base().fork(1_010, 10, 11).fork(1_011, 10, 12).exec(1_020, 12, "/bin/other");
    let beside = beside.exit(1_030, 12, 0).exit(1_100, 10, 0);
    assert_eq!(only(&beside), Some(Effect::Replaced));
    // Both have gone on to another program.
    let newer = base().exec(1_010, 10, "/bin/newer").fork(1_020, 10, 11);
    let newer = newer.exec(1_030, 11, "/bin/newer").exit(1_100, 10, 0);
    assert_eq!(only(&newer), Some(Effect::Replaced));
    let older = base().exec(1_010, 10, "/bin/newer").fork(1_020, 10, 11);
    let older = older.exec(1_030, 11, "/bin/demo").exit(1_100, 10, 0);
    assert_eq!(only(&older), Some(Effect::Ended));
}

#[test]
fn the_end_of_the_daemon_that_a_starter_has_left_tells_by_its_time_and_its_cause() {
    let effect = |end: fn(Story) -> Story| {
        let story = Story::unit().with_type("forking", "no").start(10, 10, "/bin/demo", "a");
        let story = story.found(SENDER, 1, "/elsewhere", &[]).fork(900, 10, 11);
        let story = story.hup(1_000, SENDER, 10).killed(1_001, 10, Signal::HUP);
        let state = UnitState {
            active_state: "active".to_owned(),
            sub_state: Some("running".to_owned()),
            main_pid: Some(11),
            ..UnitState::default()
        };
        let (cgroup, id) = (DEMO.to_owned(), Some("a".to_owned()));
        let state = Some(state);
        let news = UnitNews { cgroup, invocation_id: id, state, ..UnitNews::default() };
        let story = story.fact(1_100, Fact::Unit(Box::new(news)));
        end(story).until(20_000).told().signals()[0].effect
    };
    assert_eq!(effect(|story| story.exit(2_000, 11, 0)), Some(Effect::Ended));
    assert_eq!(effect(|story| story.exit(2_001, 11, 0)), Some(Effect::Survived));
    assert_eq!(effect(|story| story.killed(1_200, 11, Signal::HUP)), Some(Effect::Ended));
    assert_eq!(effect(|story| story.killed(1_200, 11, Signal::KILL)), Some(Effect::Unknown));
}

#[test]
fn systemd_waits_for_an_answer_until_its_time_is_over_whatever_else_is_said() {
    let waits = |text: &str, errno: i32| {
        let story = Story::command().with_type("notify-reload", "no").until(20_000);
        let story = story.with_start_limit(500);
        let story = story.fork(0, 1, 10).exec(10, 10, "/bin/demo").handler(20, 10);
        let story = reloaded(story.notify(30, 10, "READY=1"));
        effects(&story.datagram(1_100, 10, text, |it| it.errno = errno))[0]
    };
    let over = (Some(Effect::Unanswered), Some(1_490));
    assert_eq!((waits("STATUS=on", 0), waits("READY=1", 111)), (over, over));
    assert_eq!(waits("EXTEND_TIMEOUT_USEC=9", 0), (Some(Effect::Unanswered), None));
}

#[test]
fn a_unit_that_is_active_again_has_given_up_a_reload_that_nothing_answered() {
    let given_up = |states: [&str; 2], text: &str, errno: i32| {
        let state = |story: Story, at, active: &str, sub: &str| {
            let state = UnitState {
                active_state: active.to_owned(),
                sub_state: Some(sub.to_owned()),
                ..UnitState::default()
            };
            let (cgroup, id) = (DEMO.to_owned(), Some("a".to_owned()));
            let state = Some(state);
            let news = UnitNews { cgroup, invocation_id: id, state, ..UnitNews::default() };
            story.fact(at, Fact::Unit(Box::new(news)))
        };
        let story = Story::unit().with_type("notify-reload", "no").start(9, 10, "/bin/demo", "a");
        let story = reloaded(story.handler(20, 10).notify(30, 10, "READY=1"));
        let story = state(story, 1_001, states[0], "reload-signal");
        let story = story.datagram(1_100, 10, text, |it| it.errno = errno);
        effects(&state(story, 1_400, states[1], "running").until(1_500))[0]
    };
    let again = ["reloading", "active"];
    let given_up_at = (Some(Effect::Unanswered), Some(1_390));
    assert_eq!(given_up(again, "STATUS=on", 0), given_up_at);
    assert_eq!(given_up(again, "READY=1", 111), given_up_at);
    let not_known = (Some(Effect::Unknown), None);
    assert_eq!(given_up(again, "READY=1", 0), not_known);
    assert_eq!(given_up(again, "RELOADING=1", 0), not_known, "without its time");
    assert_eq!(given_up(["active", "active"], "STATUS=on", 0), not_known, "it did not wait");
}

#[test]
fn a_process_beside_the_main_one_is_lost_by_a_reload_of_the_service_alone() {
    let killed = |supervisor: &str, by: u32, stop: Option<u64>| {
        let story = up().fork(30, 10, 11).exec(31, 11, supervisor).handler(32, 11);
        let story = story.fork(33, 11, 12).fork(34, 11, 13).found(SENDER, 1, "/elsewhere", &[]);
        let story = story.action(40, 12, Signal::HUP, DispositionKind::Default, 0);
        let story = match stop {
            Some(at) => story.hup_with(at, SENDER, 10, |sent| {
                (sent.signal, sent.disposition) = (Signal::TERM, DispositionKind::Handler);
                sent.dying_of = None;
            }),
            None => story,
        };
        let story = story.hup(1_000, by, 12).killed(1_001, 12, Signal::HUP);
        let told = story.told();
        let hup = told.signals().into_iter().rfind(|sent| sent.signal == Signal::HUP);
        hup.and_then(|sent| sent.effect)
    };
    let lost = Some(Effect::LostProcess);
    let (plain, looks_after) = ("/bin/worker", "/usr/bin/supervisord");
    assert_eq!((killed(plain, SENDER, None), killed(plain, 10, None)), (lost, lost));
    // Its own parent, if that looks after it, and no other: not even one of that name.
    assert_eq!((killed(looks_after, 11, None), killed(plain, 11, None)), (lost, None));
    assert_eq!(killed(looks_after, 13, None), None);
    // The service was told to end.
    assert_eq!((killed(plain, SENDER, Some(900)), killed(plain, 10, Some(900))), (None, None));
    assert_eq!(killed(plain, SENDER, Some(1_500)), lost);
}

#[test]
fn a_service_ends_with_a_worker_of_its_own_alone() {
    let ended = |story: Story, worker: u32| {
        let story = story.handler(40, worker).found(SENDER, 1, "/elsewhere", &[]);
        let story = story.taken_hup(1_000, SENDER, worker).exit(1_050, worker, 0);
        only(&story.exit(1_100, 10, 1))
    };
    assert_eq!(ended(up().fork(30, 10, 11), 11), Some(Effect::Ended));
    let unit = || {
        let story = Story::unit().with_type("simple", "no").start(9, 10, "/bin/demo", "a");
        story.handler(20, 10).until(20_000)
    };
    assert_eq!(ended(unit().fork(30, 10, 11), 11), Some(Effect::Ended));
    // One of a command of systemd's is none of its.
    let command = unit().attach(30, 20, DEMO).exec_control(31, 20, "/bin/post", "a");
    assert_eq!(ended(command.fork(32, 20, 21), 21), None);
    // One whose start nobody saw may be.
    let beside = unit().attach(30, 20, DEMO).exec_control(31, 20, "/bin/post", "a");
    assert_eq!(ended(beside, 20), Some(Effect::Ended));
    // It died of the same signal, which it had taken first.
    let story = worker_took(up()).killed(1_050, 11, Signal::HUP).exit(1_100, 10, 1);
    assert_eq!(only(&story), Some(Effect::Ended));
}

#[test]
fn what_is_on_its_way_out_takes_no_service_with_it() {
    let ended = |story: Story, reloaded: u32, main: u32| {
        let story = story.taken_hup(1_000, SENDER, reloaded).exit(1_050, reloaded, 0);
        only(&story.exit(1_100, main, 1))
    };
    // It was the main process before.
    let before = || {
        let story = up().fork(30, 10, 11).found(SENDER, 1, "/elsewhere", &[]);
        story.notify(500, 10, "MAINPID=11")
    };
    assert_eq!(ended(before(), 10, 11), None);
    // A daemon ends by its worker as others do.
    let daemon = Story::unit().with_type("forking", "no").start(9, 10, "/bin/demo", "a");
    let daemon = daemon.handler(10, 10).fork(20, 10, 11).exit(25, 10, 0).fork(30, 11, 12);
    let daemon = daemon.found(SENDER, 1, "/elsewhere", &[]).until(20_000);
    assert_eq!(ended(daemon, 12, 11), Some(Effect::Ended));
}

#[test]
fn what_a_worker_took_before_is_no_reload_that_the_main_process_passes_on() {
    let story = up().fork(30, 10, 11).handler(40, 11).fork(41, 10, 12).handler(42, 12);
    let story = story.found(SENDER, 1, "/elsewhere", &[]).taken_hup(4_800, SENDER, 12);
    let story = story.taken_hup(5_000, 10, 11).exit(5_050, 11, 0).exit(5_100, 10, 0);
    assert_eq!(effects(&story).last().unwrap().0, None);
}

#[test]
fn a_shell_that_does_something_meanwhile_does_not_wait_and_one_without_a_command_neither() {
    let shell = || {
        let story = Story::command().recording(Signal::INT).until(20_000);
        story.fork(0, 1, 10).exec(10, 10, "/bin/dash").handler(20, 10)
    };
    let waits = || reloaded(shell().fork(500, 10, 11).exec(501, 11, "/bin/sleep"));
    has(&waits().fork(1_800, 10, 12).exit(4_000, 11, 0), Effect::Survived, None);
    let usr1 = |sent: &mut Generate| {
        (sent.signal, sent.disposition) = ("USR1".parse().unwrap(), DispositionKind::Handler);
        sent.dying_of = None;
    };
    let by = |sender| waits().hup_with(1_200, sender, 11, usr1).exit(4_000, 11, 0);
    has(&by(SENDER), Effect::Deferred, Some(3_990));
    has(&by(10), Effect::Survived, None);
    let story = reloaded(shell()).hup_with(1_800, SENDER, 10, |sent| sent.signal = Signal::TERM);
    has(&story.killed(1_801, 10, Signal::TERM), Effect::Unknown, None);
}
