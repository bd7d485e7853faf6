//! Which process is the main one, at every moment: what systemd says and what the unit is.

use super::story::{DEMO, MS, STARTER, Story, Told};
use crate::{
    model::{
        document::Activation,
        event::{Refusal, What},
        signal::Signal,
        unit::{UnitFacts, UnitState},
    },
    observation::{Fact, UnitNews},
};

fn news(at: u64, story: Story, news: UnitNews) -> Story {
    story.fact(at, Fact::Unit(Box::new(news)))
}

/// systemd's state of `demo.service` in its start `a`.
fn state(at: u64, story: Story, active: &str, sub: &str, main_pid: Option<u32>) -> Story {
    let state = UnitState {
        active_state: active.to_owned(),
        sub_state: Some(sub.to_owned()),
        result: Some("success".to_owned()),
        main_pid,
        ..UnitState::default()
    };
    let (cgroup, invocation_id) = (DEMO.to_owned(), Some("a".to_owned()));
    let (state, own_pids) = (Some(state), false);
    news(at, story, UnitNews { cgroup, state, invocation_id, own_pids, ..UnitNews::default() })
}

fn settings(at: u64, story: Story, service_type: &str) -> Story {
    let facts = UnitFacts {
        service_type: Some(service_type.to_owned()),
        notify_access: Some("main".to_owned()),
        reload_signal: Some(Signal::HUP),
        systemd: Some("262.1".to_owned()),
        ..UnitFacts::default()
    };
    let cgroup = DEMO.to_owned();
    news(at, story, UnitNews { cgroup, facts: Some(facts), ..UnitNews::default() })
}

fn main_pid(told: &Told) -> Option<u32> {
    told.main_process.as_ref().map(|main| main.pid)
}

/// A main process with a helper, which outlives it.
fn helped(story: Story) -> Story {
    story.start(0, 10, "/bin/demo", "a").handler(5, 10).fork(20, 10, 11)
}

#[test]
fn a_helper_that_outlives_the_main_process_is_no_heir_of_it() {
    for service_type in ["simple", "exec", "notify", "notify-reload", "dbus", "oneshot"] {
        let before = settings(2, helped(Story::unit()), service_type).exit(50, 10, 0);
        assert_eq!(main_pid(&before.told()), Some(10), "{service_type}");
        // What the unit is may only be known afterwards.
        let after = settings(90, helped(Story::unit()).exit(50, 10, 0), service_type);
        let told = after.told();
        assert_eq!(main_pid(&told), Some(10), "{service_type}");
        assert_eq!(told.milestones.exit_ns, Some(49 * MS as i64));
    }
}

#[test]
fn a_daemon_is_the_main_process_until_it_is_told_to_stop() {
    let up = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "forking");
    let up = up.fork(20, 10, 11).exit(30, 10, 0).fork(40, 11, 12);
    assert_eq!(main_pid(&up.clone().told()), Some(11));
    let stopped = up.hup_with(50, STARTER, 11, |sent| sent.signal = Signal::TERM);
    assert_eq!(main_pid(&stopped.exit(60, 11, 0).told()), Some(11));
}

#[test]
fn only_what_tells_a_daemon_to_end_is_its_end() {
    let main = |by: u32, to: u32, signal: &str| {
        let up = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "forking");
        let up = up.fork(20, 10, 11).exit(30, 10, 0).fork(40, 11, 12);
        let sent = up.hup_with(50, by, to, |sent| {
            (sent.signal, sent.dying_of) = (signal.parse().unwrap(), None);
        });
        main_pid(&sent.exit(60, 11, 0).told())
    };
    assert_eq!((main(STARTER, 11, "TERM"), main(STARTER, 11, "INT")), (Some(11), Some(11)));
    assert_eq!(main(STARTER, 11, "USR1"), Some(12), "it hands over to what it left");
    assert_eq!(main(STARTER, 12, "TERM"), Some(12));
    assert_eq!(main(11, 11, "TERM"), Some(12));
}

#[test]
fn a_daemon_may_be_the_child_of_one_that_has_ended_and_not_of_one_that_has_not() {
    let up = || settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "forking");
    // It forks twice.
    let twice = up().fork(20, 10, 11).fork(25, 11, 12).exit(28, 11, 0).exit(30, 10, 0);
    assert_eq!(main_pid(&twice.told()), Some(12));
    // What a command beside it has started is no part of it, however early that was.
    let beside = up().attach(5, 20, DEMO).exec_control(6, 20, "/bin/post", "a").fork(7, 20, 21);
    assert_eq!(main_pid(&beside.fork(20, 10, 11).exit(30, 10, 0).told()), Some(11));
}

#[test]
fn what_a_former_main_process_does_once_it_has_handed_over_counts_no_more() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a").handler(5, 10);
    let story = story.fork(20, 10, 11).notify(30, 10, "MAINPID=11");
    let told = story.ignoring(40, 10, Signal::HUP).until(100).told();
    assert_eq!(told.exposure.last().unwrap().to_ns, 4 * MS as i64, "{:?}", told.exposure);
}

#[test]
fn a_daemons_handler_counts_from_when_it_was_set() {
    let told = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "forking")
        .fork(20, 10, 11)
        .handler(25, 11)
        .exit(40, 10, 0)
        .told();
    assert_eq!(main_pid(&told), Some(11));
    assert_eq!(told.milestones.handler_ns, Some(24 * MS as i64));
    assert_eq!(told.exposure[0].to_ns, 24 * MS as i64);
}

#[test]
fn between_its_birth_and_the_word_of_it_a_daemon_has_its_parents_handler() {
    let up = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "forking");
    let mut forked = up.handler(5, 10).fork(20, 10, 11);
    let Some(Fact::Fork { child, .. }) = forked.observations.last_mut().map(|it| &mut it.fact)
    else {
        panic!("the last fact is the fork")
    };
    child.start_ns -= 18_000;
    let told = forked.exit(30, 10, 0).until(100).told();
    assert_eq!(main_pid(&told), Some(11));
    assert_eq!(told.exposure.len(), 1, "{:?}", told.exposure);
    assert_eq!(told.exposure[0].to_ns, 4 * MS as i64);
}

#[test]
fn what_a_oneshot_runs_once_it_is_up_is_no_main_process() {
    let once = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "oneshot");
    let once = once.exit(10, 10, 0);
    let early = state(12, once.clone(), "active", "exited", None);
    let early = early.start(50, 11, "/bin/reload", "a").exit(60, 11, 0);
    assert_eq!(main_pid(&early.told()), Some(10));
    // systemd's word may come after what happened then.
    let late = once.start(50, 11, "/bin/reload", "a").exit(60, 11, 0);
    let late = late.start(70, 12, "/bin/reload", "a").exit(80, 12, 0);
    assert_eq!(main_pid(&late.clone().told()), Some(12));
    let told = state(12, late, "active", "exited", None).told();
    assert_eq!(main_pid(&told), Some(10));
    assert_eq!(told.milestones.exit_ns, Some(9 * MS as i64));
}

#[test]
fn of_many_that_took_each_others_place_the_last_ones_are_remembered() {
    let mut story = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "oneshot");
    story = story.exit(5, 10, 0);
    for number in 0..100 {
        let (at, pid) = (20 + 2 * u64::from(number), 100 + number);
        story = story.start(at, pid, "/bin/reload", "a").exit(at + 1, pid, 0);
    }
    // Time goes on: what was above is taken in before systemd's word.
    let story = story.fact(900, Fact::CgroupPath { hierarchy: 0, id: 1, path: DEMO.to_owned() });
    let told = state(12, story, "active", "exited", None).told();
    // Sixty-four came before the last one.
    assert_eq!(main_pid(&told), Some(100 + 99 - 64));
}

#[test]
fn several_commands_of_a_oneshot_come_before_it_is_up() {
    let story = settings(2, Story::unit().start(0, 10, "/bin/one", "a"), "oneshot").exit(10, 10, 0);
    let story = story.start(20, 11, "/bin/two", "a").exit(30, 11, 0);
    assert_eq!(main_pid(&state(32, story, "active", "exited", None).told()), Some(11));
}

#[test]
fn a_start_that_ends_at_exec_start_pre_had_no_main_process() {
    let story = settings(2, Story::unit().start(0, 10, "/bin/prepare", "a"), "simple");
    let story = state(1, story, "activating", "start-pre", None).hup(20, STARTER, 10);
    let story = story.killed(21, 10, Signal::HUP);
    let failed = state(22, story, "failed", "failed", None);
    assert_eq!(main_pid(&failed.told()), None);
    // It went on.
    let story = settings(2, Story::unit().start(0, 10, "/bin/prepare", "a"), "simple");
    let story = state(1, story, "activating", "start-pre", None).exit(20, 10, 0);
    let story = story.start(30, 11, "/bin/demo", "a");
    let story = state(31, story, "active", "running", Some(11)).killed(40, 11, Signal::HUP);
    assert_eq!(main_pid(&state(41, story, "inactive", "dead", None).told()), Some(11));
}

#[test]
fn a_command_of_exec_start_pre_that_died_before_its_exec_is_no_main_process() {
    let main = |states: &[(u64, &str, &str)]| {
        let died = settings(2, Story::unit().attach(0, 10, DEMO), "notify");
        let died = died.hup(20, STARTER, 10).killed(21, 10, Signal::HUP);
        let told = states
            .iter()
            .fold(died, |story, (at, active, sub)| state(*at, story, active, sub, None));
        main_pid(&told.told())
    };
    let over = (22, "failed", "failed");
    assert_eq!(main(&[(1, "activating", "start-pre"), over]), None);
    assert_eq!(main(&[(1, "activating", "condition"), over]), None);
    // The main process itself died so.
    assert_eq!(main(&[(1, "activating", "start"), over]), Some(10));
    assert_eq!(main(&[over]), Some(10));
}

#[test]
fn a_daemon_that_systemd_called_the_main_process_stays_that_while_exec_stop_ends_it() {
    let up = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "forking");
    let up = up.fork(3, 10, 11).exit(5, 10, 0);
    let stopped = |known: Option<u32>| {
        let up = state(6, up.clone(), "active", "running", known);
        // systemd tells that it knows of none any more under the time of the state before.
        let stopped = up.taken_hup(40, STARTER, 11).exit(41, 11, 0);
        main_pid(&state(30, stopped, "deactivating", "stop", None).told())
    };
    assert_eq!(stopped(Some(11)), Some(11));
    // It had ended by the time that systemd's word came.
    let killed = up.killed(40, 11, Signal::HUP);
    let killed = state(39, killed, "active", "running", Some(11));
    let stopping = state(42, killed, "deactivating", "stop-sigterm", None);
    assert_eq!(main_pid(&stopping.told()), Some(11));
}

#[test]
fn an_idle_service_is_active_before_its_main_process() {
    let story = settings(2, Story::unit().start(0, 10, "/bin/prepare", "a"), "idle");
    let story = state(1, story, "active", "start-pre", None).exit(20, 10, 0);
    assert_eq!(main_pid(&story.start(30, 11, "/bin/demo", "a").told()), Some(11));
}

#[test]
fn a_hand_over_is_judged_by_who_was_the_main_process_before_it() {
    let story = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "notify");
    let story = story.notify(10, 10, "READY=1").fork(100, 10, 11);
    // The state is as old as READY=1, and its main process newer than the message.
    let story = state(11, story, "active", "running", Some(11));
    let story = story.notify(150, 10, "MAINPID=11").notify(160, 11, "STATUS=on");
    let told = story.told();
    let accepted = told.events.iter().filter_map(|event| match &event.what {
        What::Notify(message) => Some(message.accepted),
        _ => None,
    });
    let accepted: Vec<_> = accepted.collect();
    assert_eq!(accepted, [Some(true); 3]);
    assert_eq!(main_pid(&told), Some(11));
}

#[test]
fn systemds_main_process_stays_that_in_another_units_cgroup() {
    let story = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "simple");
    let told =
        story.attach(20, 10, "/system.slice/demo2.service").killed(30, 10, Signal::HUP).told();
    assert_eq!((told.services.len(), main_pid(&told)), (1, Some(10)));
    assert_eq!(told.milestones.exit_ns, Some(29 * MS as i64));
}

#[test]
fn a_process_that_leaves_the_service_is_told_with_where_it_goes() {
    let story =
        settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "simple").fork(10, 10, 11);
    let told = story.attach(20, 11, "/user.slice/session-1.scope").hup(30, STARTER, 11).told();
    let last = told.events.last().map(|event| &event.what);
    let Some(What::Cgroup { process: Some(gone), path }) = last else { panic!("{last:?}") };
    assert_eq!((gone.pid, path.as_str()), (11, "/user.slice/session-1.scope"));
}

#[test]
fn a_notify_service_that_is_up_was_ready_whoever_said_so() {
    let story = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "notify");
    let up = state(50, story.clone(), "active", "running", None);
    assert_eq!(up.told().milestones.ready_ns, Some(49 * MS as i64));
    assert_eq!(story.told().milestones.ready_ns, None);
}

#[test]
fn a_program_that_executes_itself_anew_keeps_its_first_handler() {
    let story = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "notify");
    let story = story.handler(20, 10).notify(30, 10, "READY=1").hup(100, STARTER, 10);
    let story = story.exec(110, 10, "/bin/demo").handler(150, 10);
    let told = story.told();
    assert_eq!(told.milestones.handler_ns, Some(19 * MS as i64));
    // The new window is an exposure of its own.
    let last = told.exposure.last().unwrap();
    assert_eq!((last.from_ns, last.to_ns), (109 * MS as i64, 149 * MS as i64));
}

#[test]
fn a_ready_after_stopping_is_refused_where_that_is_final() {
    let told = |first: &str| {
        let start = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "notify");
        let story = start.handler(5, 10).notify(10, 10, first).notify(20, 10, "READY=1");
        let told = story.told();
        let refusals = told.events.iter().filter_map(|event| match &event.what {
            What::Notify(message) => Some(message.refusal),
            _ => None,
        });
        (refusals.collect::<Vec<_>>(), told.milestones.ready_ns)
    };
    let refused = (vec![None, Some(Refusal::Stopping)], None);
    assert_eq!(told("STOPPING=1"), refused);
    assert_eq!(told("READY=1\nSTOPPING=1"), refused, "of one message STOPPING=1 counts");
    assert_eq!(told("STATUS=up").1, Some(19 * MS as i64));
}

#[test]
fn systemd_262_refuses_a_ready_without_a_handler() {
    let start =
        |service_type| settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), service_type);
    let refusal = |story: Story| {
        let told = story.told();
        let messages = told.events.iter().filter_map(|event| match &event.what {
            What::Notify(message) => Some(message.refusal),
            _ => None,
        });
        let refusals: Vec<_> = messages.collect();
        (refusals, told.milestones.ready_ns.is_some())
    };
    let late = |service_type| start(service_type).notify(20, 10, "READY=1").handler(500, 10);
    assert_eq!(refusal(late("notify-reload")), (vec![Some(Refusal::NoHandler)], false));
    assert_eq!(refusal(late("notify")), (vec![None], true));
    // It came up all the same: systemd had read the message later.
    let up = state(25, late("notify-reload"), "active", "running", None);
    assert_eq!(refusal(up), (vec![None], true));
    let ready = |story: Story| refusal(story.notify(20, 10, "READY=1"));
    assert_eq!(ready(start("notify-reload").handler(10, 10)), (vec![None], true));
    assert_eq!(ready(start("notify-reload").mask(10, 10, true)), (vec![None], true));
    // A handler so soon after may have been in time. systemd's word tells.
    let soon = start("notify-reload").notify(20, 10, "READY=1").handler(30, 10);
    assert_eq!(refusal(soon.clone()), (vec![None], true));
    let ended = state(25, soon, "deactivating", "stop-sigterm", None);
    assert_eq!(refusal(ended), (vec![Some(Refusal::NoHandler)], false));
}

#[test]
fn what_a_start_that_is_over_left_behind_is_no_main_process_where_the_capture_joins() {
    let joined = |active: &str, sub: &str| {
        let story = Story::unit().found(11, STARTER, DEMO, &[]);
        let story = state(0, settings(0, story, "simple"), active, sub, None);
        story.start(20, 12, "/bin/demo", "b").until(100).told().starts().to_vec()
    };
    let mains = |active: &str, sub: &str| {
        let starts = joined(active, sub);
        let main = |start: &Activation| start.main_process.as_ref().map(|main| main.pid);
        starts.iter().map(main).collect::<Vec<_>>()
    };
    for (active, sub) in
        [("failed", "failed"), ("inactive", "dead"), ("activating", "auto-restart")]
    {
        assert_eq!(mains(active, sub), [None, Some(12)], "{active} ({sub})");
    }
    assert_eq!(joined("failed", "failed")[0].systemd.as_ref().unwrap().active_state, "failed");
    // One that is up without a main process, as a sysv script is for systemd.
    assert_eq!(mains("active", "running")[0], Some(11));
}

#[test]
fn a_start_found_running_without_its_id_is_the_one_whose_main_process_it_is() {
    let joined = |main| {
        let story = Story::unit().found(11, STARTER, DEMO, &[]);
        let story = state(0, settings(0, story, "notify"), "active", "running", Some(main));
        story.until(100).told().starts()[0].clone()
    };
    let start = joined(11);
    assert_eq!(start.invocation_id.as_deref(), Some("a"));
    assert_eq!(start.systemd.unwrap().active_state, "active");
    assert!(start.milestones.ready_ns.is_some(), "systemd had it up");
    assert_eq!(joined(99).invocation_id, None, "another one");
}

#[test]
fn what_outlives_a_daemon_that_its_stop_command_ends_is_no_heir_of_it() {
    // A stop by a command tells the daemon in its own way, and by no signal.
    let ended = |stopping: bool, told_at: u64| {
        let story = Story::unit().start(0, 10, "/bin/demo", "a").fork(1, 10, 11).exit(3, 10, 0);
        let story = settings(3, story, "forking").fork(20, 11, 12);
        let story = state(5, story, "active", "running", None);
        let stop = |story| state(40, story, "deactivating", "stop", None);
        let (early, late) = (stopping && told_at < 45, stopping && told_at >= 45);
        let story = if early { stop(story) } else { story };
        let story = story.exit(45, 11, 0).handler(told_at.max(45), 12);
        let story = if late { stop(story) } else { story };
        main_pid(&story.exit(1_060, 12, 0).until(1_100).told())
    };
    assert_eq!(ended(true, 40), Some(11));
    assert_eq!(ended(true, 1_000), Some(11), "told late");
    assert_eq!(ended(false, 0), Some(12), "it left a successor");
}

#[test]
fn a_daemon_that_had_ended_when_systemd_took_it_for_the_main_process_is_it() {
    let told = |main_pid| {
        let story = Story::unit().start(0, 10, "/bin/demo", "a").fork(1, 10, 11).exit(3, 10, 0);
        let story = settings(3, story, "forking").exit(5, 11, 2);
        let story = state(6, story, "active", "running", Some(main_pid));
        // A command of ExecStopPost= runs.
        state(30, story, "deactivating", "stop-post", None).until(100).told()
    };
    assert_eq!((main_pid(&told(11)), told(11).outcome.code), (Some(11), Some(2)));
}

#[test]
fn systemds_word_on_a_main_process_counts_where_that_has_ended_by_then() {
    // A command of ExecReload= has started the daemon anew, and told systemd by the PID file.
    let told = |main_pid| {
        let story = Story::unit().attach(5, 20, DEMO).exec_control(6, 20, "/bin/reload", "a");
        let story = settings(7, story.fork(7, 20, 21).exit(8, 20, 0), "forking").handler(9, 21);
        let story =
            story.exit(30, 21, 0).attach(999, 22, DEMO).exec_control(1_000, 22, "/bin/stop", "a");
        state(10, story, "active", "running", Some(main_pid)).until(1_100).told()
    };
    assert_eq!((main_pid(&told(21)), told(21).outcome.code), (Some(21), Some(0)));
    assert_eq!(main_pid(&told(20)), None, "it had ended before");
}

#[test]
fn what_systemd_says_before_a_found_process_is_in_its_place_is_not_lost() {
    let joined = |others: u64| {
        let story = state(0, Story::unit(), "active", "running", Some(11));
        let cgroup = || "/elsewhere".to_owned();
        let other = || UnitNews {
            cgroup: cgroup(),
            state: Some(UnitState::default()),
            ..UnitNews::default()
        };
        let story = (0..others).fold(story, |story, _| news(0, story, other()));
        let story = settings(0, story.found(11, STARTER, DEMO, &[]), "notify");
        story.until(100).told().starts()[0].clone()
    };
    let start = joined(4_000);
    assert_eq!(start.invocation_id.as_deref(), Some("a"));
    assert!(start.systemd.is_some() && start.milestones.ready_ns.is_some());
    assert_eq!(joined(4_096).systemd, None, "there is no end of what is said of others");
}

#[test]
fn what_an_earlier_start_left_behind_is_no_main_process_of_it_any_more() {
    let joined = |id: &str, sub: &str| {
        let story = Story::unit().found(11, STARTER, DEMO, &[]).with_id(id);
        let story = state(0, settings(0, story, "simple"), "failed", sub, None);
        main_pid(&story.until(100).told())
    };
    assert_eq!(joined("before", "failed"), None, "systemd has had another start since");
    assert_eq!(joined("a", "failed"), None);
    // systemd may be asked a moment later: no main process lives on in the next start.
    let first_word = |ends: bool, before: Option<u64>| {
        let story = Story::unit().found(11, STARTER, DEMO, &[]).with_id("before");
        let story = settings(0, story, "simple");
        let its = |id: &str, story: Story, at| {
            let state = UnitState {
                active_state: "active".to_owned(),
                sub_state: Some("running".to_owned()),
                ..UnitState::default()
            };
            let (cgroup, invocation_id) = (DEMO.to_owned(), Some(id.to_owned()));
            let state = Some(state);
            news(at, story, UnitNews { cgroup, state, invocation_id, ..UnitNews::default() })
        };
        let story = before.into_iter().fold(story, |story, at| its("before", story, at));
        let story = if ends { story.exit(40, 11, 0) } else { story };
        main_pid(&its("a", story, 50).until(100).told())
    };
    assert_eq!(first_word(false, None), None);
    assert_eq!(first_word(true, None), Some(11), "it was the service until then");
    assert_eq!(first_word(false, Some(10)), Some(11), "systemd had said so");
}

#[test]
fn what_runs_on_of_several_former_starts_is_no_main_process_where_the_capture_joins() {
    let mains = |is_told_first: bool, at: u64, (active, sub): (&str, &str), main_pid| {
        let found = |story: Story| {
            let left = [(11, "x"), (12, "y"), (13, "a")].into_iter();
            left.fold(story, |story, (pid, id)| story.found(pid, STARTER, DEMO, &[]).with_id(id))
        };
        let told = |story| state(at, settings(at, story, "simple"), active, sub, main_pid);
        let story = Story::unit();
        let story = if is_told_first { found(told(story)) } else { told(found(story)) };
        let told = story.until(5_000).told();
        let main = |start: &Activation| start.main_process.as_ref().map(|main| main.pid);
        told.starts().iter().map(main).collect::<Vec<_>>()
    };
    for (is_told_first, at) in [(true, 0), (false, 0), (false, 5)] {
        let of = |state, main| mains(is_told_first, at, state, main);
        let told = format!("first: {is_told_first}, at {at}");
        for down in [("inactive", "dead"), ("failed", "failed"), ("activating", "auto-restart")] {
            assert_eq!(of(down, None), [None; 3], "{down:?}, {told}");
        }
        assert_eq!(of(("active", "running"), Some(13)), [None, None, Some(13)], "{told}");
    }
}

#[test]
fn what_a_daemon_has_left_when_systemd_knows_of_none_did_not_take_its_place() {
    let daemon = |main_pid: Option<u32>| {
        let up = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "forking");
        let up = state(6, up.fork(3, 10, 11).exit(5, 10, 0), "active", "running", main_pid);
        up.fork(30, 11, 12).exit(31, 11, 0)
    };
    let main = |story: Story| story.told().starts()[0].main_process.as_ref().unwrap().pid;
    let stopped = |known, at, main_pid| {
        main(state(at, daemon(known), "deactivating", "stop-sigterm", main_pid))
    };
    assert_eq!(stopped(Some(11), 32, None), 11);
    assert_eq!(stopped(Some(11), 4_000, None), 11, "it lived on until then");
    // It was stopped as the main process that it is.
    assert_eq!(stopped(Some(11), 32, Some(12)), 12);
    // systemd may not know of any.
    assert_eq!(stopped(None, 32, None), 12);
    // It ended by itself, long after it took its place.
    let ended = daemon(Some(11)).exit(900, 12, 1);
    assert_eq!(main(state(901, ended, "deactivating", "stop-sigterm", None)), 12);
    // The end may be seen before the time that systemd has for its stop.
    let killed = daemon(Some(11)).killed(32, 12, Signal::TERM);
    assert_eq!(main(state(33, killed, "deactivating", "stop-sigterm", None)), 11);
}

#[test]
fn a_command_of_exec_start_post_after_the_death_of_the_main_process_is_no_main_process() {
    let main = |sub: Option<&str>, told_at: u64| {
        let start = settings(2, Story::unit().start(0, 10, "/bin/demo", "a"), "notify");
        let told = |at: u64, story: Story| match sub.filter(|_| at == told_at) {
            Some(sub) => state(5, story, "activating", sub, Some(10)),
            None => story,
        };
        let died = told(5, start).killed(20, 10, Signal::HUP);
        let posted = died.attach(30, 11, DEMO).exec_in(31, 11, "/bin/post", "a").exit(35, 11, 0);
        let posted = posted.attach(40, 12, DEMO).exec_in(41, 12, "/bin/post", "a").exit(45, 12, 1);
        told(50, posted).told().starts()[0].main_process.as_ref().unwrap().pid
    };
    assert_eq!(main(Some("start-post"), 5), 10);
    // systemd's word may come late.
    assert_eq!(main(Some("start-post"), 50), 10);
    // Before that they may be what comes after ExecStartPre=.
    assert_eq!(main(Some("start-pre"), 5), 12);
}
