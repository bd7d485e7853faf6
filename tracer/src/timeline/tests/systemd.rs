//! What systemd says stands beside what the kernel shows.

use super::story::{BEGIN, DEMO, MS, Story};
use crate::{
    model::{
        document::{Activation, ExposureKind},
        event::{Consumer, Effect, Event, What},
        signal::Signal,
        unit::{UnitFacts, UnitState},
    },
    observation::{Fact, SignalState, Task, UnitNews},
    timeline::Builder,
};

/// News of `demo.service` in its start `invocation`.
fn state(active: &str, sub: &str, result: &str, invocation: &str) -> UnitNews {
    UnitNews {
        cgroup: DEMO.to_owned(),
        state: Some(UnitState {
            active_state: active.to_owned(),
            sub_state: Some(sub.to_owned()),
            result: Some(result.to_owned()),
            ..UnitState::default()
        }),
        invocation_id: Some(invocation.to_owned()),
        ..UnitNews::default()
    }
}

fn settings(facts: UnitFacts) -> UnitNews {
    UnitNews { cgroup: DEMO.to_owned(), facts: Some(facts), ..UnitNews::default() }
}

fn told(story: Story, at: u64, news: UnitNews) -> Story {
    story.fact(at, Fact::Unit(Box::new(news)))
}

fn states(activation: &Activation) -> Vec<String> {
    let state = |event: &Event| match &event.what {
        What::Systemd { state, .. } => Some(state.clone()),
        _ => None,
    };
    activation.events.iter().filter_map(state).collect()
}

#[test]
fn a_service_that_takes_a_bus_name_is_ready_once_systemd_has_it_as_up() {
    let of_type = |service_type: &str| {
        let facts =
            UnitFacts { service_type: Some(service_type.to_owned()), ..UnitFacts::default() };
        let story = Story::unit().start(1, 10, "/bin/demo", "a1").handler(20, 10);
        let story = told(story, 21, settings(facts));
        let story = told(story, 22, state("activating", "start", "success", "a1"));
        let story = told(story, 31, state("active", "running", "success", "a1")).until(100);
        let start = story.told();
        let kinds: Vec<ExposureKind> = start.exposure.iter().map(|span| span.kind).collect();
        (start.milestones.ready_ns.is_some(), kinds)
    };
    let (fatal, not_ready) = (ExposureKind::Fatal, ExposureKind::NotReady);
    assert_eq!(of_type("dbus"), (true, vec![fatal, not_ready]));
    // It is up for systemd from its fork on: that proves nothing.
    assert_eq!(of_type("simple"), (false, vec![fatal]));
}

#[test]
fn systemd_says_when_it_has_given_up_waiting_for_the_end_of_a_reload() {
    let effect = |answer: Option<&str>, after: &str| {
        let facts = UnitFacts {
            service_type: Some("notify-reload".to_owned()),
            notify_access: Some("main".to_owned()),
            ..UnitFacts::default()
        };
        let story = Story::unit().start(1, 10, "/bin/demo", "a1").handler(20, 10);
        let story = told(story, 21, settings(facts)).notify(30, 10, "READY=1");
        let story = told(story, 31, state("active", "running", "success", "a1"));
        let story = story.found(90, 1, "/elsewhere", &[]).taken_hup(1_000, 90, 10);
        let story = told(story, 1_001, state("reloading", "reload-signal", "success", "a1"));
        let story = match answer {
            Some(text) => story.notify(1_002, 10, text),
            None => story,
        };
        let story = told(story, 1_400, state(after, "running", "success", "a1"));
        let told = story.until(1_500).told();
        told.signals()[0].effect
    };
    let reloading = "RELOADING=1\nMONOTONIC_USEC=1";
    assert_eq!(effect(None, "active"), Some(Effect::Unanswered));
    assert_eq!(effect(Some(reloading), "active"), Some(Effect::Unfinished));
    assert_eq!(effect(None, "reloading"), Some(Effect::Unknown), "it waits yet");
    let at_once = "RELOADING=1\nREADY=1\nMONOTONIC_USEC=1";
    assert_eq!(effect(Some(at_once), "active"), Some(Effect::Reloaded));
}

#[test]
fn states_belong_to_the_start_with_their_invocation_id() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").exit(40, 10, 1);
    let story = story.start(100, 11, "/bin/demo", "a2");
    let story = told(story, 5, state("active", "running", "success", "a1"));
    let story = told(story, 41, state("failed", "failed", "exit-code", "a1"));
    let story = told(story, 102, state("active", "running", "success", "a2"));
    let told = story.told();
    let starts = told.starts();
    assert_eq!(states(&starts[0]), ["active", "failed"]);
    assert_eq!(starts[0].systemd.as_ref().unwrap().result.as_deref(), Some("exit-code"));
    assert_eq!(states(&starts[1]), ["active"]);
}

#[test]
fn what_systemd_says_of_the_start_before_under_the_id_of_the_next_is_of_the_one_before() {
    let since = |active: &str| {
        let mut news = state(active, "", "", "a2");
        let state = news.state.as_mut().unwrap();
        (state.sub_state, state.result) = (None, None);
        news
    };
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").exit(40, 10, 0);
    let story = told(story, 5, since("active"));
    let story = told(story, 30, since("deactivating"));
    let mut over = state("inactive", "dead", "success", "a2");
    over.state.as_mut().unwrap().main_pid = Some(11);
    let story = told(story, 41, over);
    let story = told(story, 98, state("active", "running", "success", "a2"));
    let story = story.start(100, 11, "/bin/demo", "a2");
    let starts = story.until(200).told().starts().to_vec();
    assert_eq!(states(&starts[0]), ["active", "deactivating", "inactive"]);
    let last = starts[0].systemd.as_ref().unwrap();
    assert_eq!((last.active_state.as_str(), last.main_pid), ("inactive", None));
    assert_eq!(states(&starts[1]), ["active"]);
}

#[test]
fn what_was_before_the_first_start_is_of_none_and_a_restart_that_waits_is_no_beginning() {
    let story = Story::unit().start(10, 10, "/bin/demo", "a1");
    let story = told(story, 11, state("inactive", "dead", "success", "a1"));
    let story = told(story, 12, state("activating", "start", "success", "a1")).exit(40, 10, 1);
    let story = told(story, 41, state("failed", "failed-before-auto-restart", "exit-code", "a1"));
    let story = told(story, 42, state("activating", "auto-restart", "exit-code", "a1"));
    // And so it is announced once more.
    let story = told(story, 42, state("activating", "auto-restart", "success", "a2"));
    let story = told(story, 99, state("activating", "start", "success", "a2"));
    let starts = story.start(100, 11, "/bin/demo", "a2").until(200).told().starts().to_vec();
    assert_eq!(states(&starts[0]), ["activating", "failed", "activating"]);
    assert_eq!(starts[0].systemd.as_ref().unwrap().result.as_deref(), Some("exit-code"));
    assert_eq!(states(&starts[1]), ["activating"]);
}

#[test]
fn an_end_that_was_told_stays_as_it_is_where_the_next_start_tells_of_it_once_more() {
    let story = Story::unit().start(10, 10, "/bin/demo", "a1");
    let story = told(story, 11, state("active", "running", "success", "a1")).exit(40, 10, 7);
    let story = told(story, 41, state("failed", "failed", "exit-code", "a1"));
    let story = told(story, 42, state("activating", "auto-restart", "exit-code", "a1"));
    let story = told(story, 98, state("inactive", "dead", "success", "a2"));
    let story = told(story, 99, state("active", "running", "success", "a2"));
    let starts = story.start(100, 11, "/bin/demo", "a2").until(200).told().starts().to_vec();
    assert_eq!(states(&starts[0]), ["active", "failed", "activating"]);
    assert_eq!(starts[0].systemd.as_ref().unwrap().result.as_deref(), Some("exit-code"));
    assert_eq!(states(&starts[1]), ["active"]);
}

#[test]
fn what_comes_late_of_a_start_does_not_make_its_end_that_of_the_one_before() {
    let story = Story::unit().start(10, 10, "/bin/demo", "a1").exit(40, 10, 0);
    let story = told(story, 41, state("inactive", "dead", "success", "a1"));
    let story = story.start(100, 11, "/bin/demo", "a2").exit(140, 11, 0);
    let story = told(story, 141, state("inactive", "dead", "success", "a2"));
    let mut builder = Builder::new(story.setup());
    let count = story.observations.len();
    story.observations.iter().cloned().for_each(|observation| builder.observe(observation));
    builder.advance(BEGIN + 5_000 * MS);
    let story = told(story, 101, state("active", "running", "success", "a2"));
    story.observations[count..].iter().cloned().for_each(|late| builder.observe(late));
    builder.end();
    let services = builder.services(BEGIN + 6_000 * MS);
    let [_, last] = services[0].activations.as_slice() else { panic!("{services:#?}") };
    assert_eq!(last.systemd.as_ref().unwrap().active_state, "inactive");
}

#[test]
fn a_failure_stays_one_where_the_next_start_tells_the_end_of_the_one_before() {
    let story = Story::unit().start(10, 10, "/bin/demo", "a1");
    let story = told(story, 11, state("active", "running", "success", "a1")).exit(40, 10, 7);
    let story = told(story, 41, state("deactivating", "stop-post", "exit-code", "a1"));
    let story = told(story, 98, state("inactive", "dead", "success", "a2"));
    let story = told(story, 99, state("active", "running", "success", "a2"));
    let starts = story.start(100, 11, "/bin/demo", "a2").until(200).told().starts().to_vec();
    assert_eq!(states(&starts[0]), ["active", "deactivating", "inactive"]);
    assert_eq!(starts[0].systemd.as_ref().unwrap().result.as_deref(), Some("exit-code"));
}

#[test]
fn a_start_that_died_before_its_exec_has_the_states_of_its_time() {
    let path = "/other".to_owned();
    let later = Fact::CgroupPath { hierarchy: 0, id: 7, path };
    let died = Story::unit().attach(100, 10, DEMO).killed(110, 10, Signal::HUP).fact(200, later);
    let seen = |story: &Story| states(&story.told().starts()[0]);
    let at = |at: u64| told(died.clone(), at, state("failed", "failed", "signal", "a1"));
    assert_eq!(seen(&at(111)), ["failed"]);
    // systemd begins a start a little before its first process is there, and no more.
    assert_eq!(seen(&at(60)), ["failed"]);
    assert_eq!(seen(&at(40)), [""; 0]);
    // All that has one id is of one start, which may be said to be up before its first process is seen.
    let two = told(at(111), 280, state("active", "running", "success", "a2"));
    let two = two.attach(300, 11, DEMO).killed(310, 11, Signal::HUP);
    let two = told(two, 311, state("failed", "failed", "signal", "a2")).told();
    assert_eq!(states(&two.starts()[0]), ["failed"]);
    assert_eq!(states(&two.starts()[1]), ["active", "failed"]);
    // They are another start's whose id is known, or that came later.
    let next = at(111).start(300, 11, "/bin/demo", "a1");
    assert_eq!(seen(&next), [""; 0]);
    let later = died.clone().start(300, 11, "/bin/demo", "b");
    assert_eq!(seen(&told(later, 400, state("failed", "failed", "signal", "a2"))), [""; 0]);
}

#[test]
fn a_command_after_a_main_process_that_died_before_its_exec_is_of_the_same_start() {
    let died = Story::unit().attach(0, 10, DEMO).killed(10, 10, Signal::HUP);
    let stop = died.attach(20, 11, DEMO).exec_control(21, 11, "/bin/stop", "a").exit(40, 11, 1);
    let told = told(stop, 45, state("failed", "failed", "exit-code", "a")).told();
    let [start] = told.starts() else { panic!("{:?}", told.starts()) };
    assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(10));
    assert_eq!(start.outcome.signal, Some(Signal::HUP));
    assert_eq!(start.invocation_id.as_deref(), Some("a"));
    assert_eq!(states(start), ["failed"]);
}

#[test]
fn a_main_process_that_died_before_its_exec_is_of_the_start_whose_command_was_executed_first() {
    // The command of ExecStartPost= that signals it runs beside it, and may be done before it dies.
    let up = Story::unit().start(0, 10, "/bin/demo", "a").exit(20, 10, 0);
    let up = told(up, 5, state("active", "running", "success", "a"));
    let up = told(up, 21, state("inactive", "dead", "success", "a"));
    // systemd names the new id before the new state, which may be known late.
    let up = told(up, 99, state("inactive", "dead", "success", "b"));
    let ran = up.attach(100, 11, DEMO).attach(104, 12, DEMO);
    let story = |known: usize, before: bool| {
        let said = [
            (106, "activating", "start-post"),
            (128, "active", "running"),
            (160, "inactive", "dead"),
        ];
        let told = said.into_iter().take(known).fold(ran.clone(), |story, (at, active, sub)| {
            told(story, at, state(active, sub, "success", "b"))
        });
        let command = |story: Story| story.exec_control(113, 12, "/bin/kill", "b").exit(118, 12, 0);
        let died = |story: Story| story.killed(142, 11, Signal::HUP);
        if before { died(command(told)) } else { command(died(told)) }
    };
    for (known, before) in [(0, true), (1, true), (3, true), (3, false)] {
        let told = story(known, before).told();
        let [_, start] = told.starts() else { panic!("{known} known: {:?}", told.starts()) };
        assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(11));
        assert_eq!(start.outcome.signal, Some(Signal::HUP));
        if known > 0 {
            assert_eq!(states(start), ["activating", "active", "inactive"][..known]);
        }
    }
}

#[test]
fn a_command_that_died_before_its_exec_is_no_main_process_and_no_start() {
    let facts = UnitFacts {
        exec_start: Some(vec!["/usr/sbin/unbound -d".to_owned()]),
        ..UnitFacts::default()
    };
    let died = |comm: &str| {
        let first = Story::unit().start(0, 10, "/usr/sbin/unbound", "a").exit(20, 10, 1);
        let story = told(first, 5, settings(facts.clone())).attach(100, 11, DEMO);
        let task = Task { comm: comm.into(), ..story.task(11) };
        let state = SignalState::default();
        let signal = Some(Signal::HUP);
        let exit = Fact::Exit { task, signal, code: 0, core_dumped: false, state };
        let next = story.fact(110, exit).start(120, 12, "/usr/sbin/unbound", "b");
        let told = next.told();
        let mains = told.starts().iter().map(|start| start.main_process.as_ref().unwrap().pid);
        mains.collect::<Vec<_>>()
    };
    assert_eq!(died("(d-helper)"), [10, 12]);
    // What was to be the program itself died: that start is over.
    assert_eq!(died("(unbound)"), [10, 11, 12]);
}

#[test]
fn settings_that_were_changed_since_do_not_tell_what_was_executed() {
    let runs = |program: &str| {
        let exec_start = Some(vec![program.to_owned()]);
        settings(UnitFacts { exec_start, ..UnitFacts::default() })
    };
    let story = Story::unit().attach(0, 10, DEMO);
    let task = Task { comm: "(unbound)".into(), ..story.task(10) };
    let state = SignalState::default();
    let exit = Fact::Exit { task, signal: Some(Signal::HUP), code: 0, core_dumped: false, state };
    let story = told(story.fact(10, exit), 12, runs("/usr/sbin/unbound -d"));
    let story = told(story, 13, self::state("failed", "failed", "signal", "a"));
    let told = told(story, 5_000, runs("/bin/sh -c unbound")).told();
    let [start] = told.starts() else { panic!("{:?}", told.starts()) };
    assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(10));
    assert_eq!(start.outcome.signal, Some(Signal::HUP));
}

#[test]
fn a_program_that_systemd_could_not_execute_is_a_start_that_ended_so() {
    let ended = |code| Story::unit().attach(0, 10, DEMO).exit(10, 10, code);
    let told = told(ended(203), 12, state("failed", "failed", "exit-code", "a")).told();
    let [start] = told.starts() else { panic!("{:?}", told.starts()) };
    assert_eq!(start.outcome.code, Some(203));
    assert_eq!(states(start), ["failed"]);
    assert_eq!(start.milestones.exec_ns, None);
    // systemd's helpers end by themselves.
    let starts = |code| ended(code).start(50, 11, "/bin/demo", "b").told().starts().len();
    assert_eq!([203, 217, 0, 1, 255].map(starts), [2, 2, 1, 1, 1]);
}

#[test]
fn a_process_whose_end_was_not_seen_does_not_run_where_systemd_has_its_start_as_over() {
    let failed = |story: Story, at: u64, pid: u32, id: &str| {
        let story =
            told(story.attach(at, pid, DEMO), at + 1, state("active", "running", "success", id));
        told(story, at + 2, state("failed", "failed", "exit-code", id))
    };
    let twice = failed(failed(Story::unit(), 0, 10, "a"), 500, 11, "b").told();
    let starts = twice.starts();
    assert_eq!(starts.iter().map(states).collect::<Vec<_>>(), [["active", "failed"]; 2]);
    assert!(starts.iter().all(|start| start.main_process.is_none()));
    // It may yet execute its program.
    let alive =
        told(Story::unit().attach(0, 10, DEMO), 1, state("active", "running", "success", "a"));
    assert!(alive.told().starts()[0].main_process.is_some());
}

#[test]
fn what_dies_before_its_exec_is_of_the_next_start_where_systemd_had_the_last_one_as_over() {
    let killed = |at: u64, active: &str, sub: &str| {
        let story = Story::unit().start(0, 10, "/bin/demo", "a").fork(5, 10, 11).exit(40, 10, 0);
        // The end of the child was not seen.
        let story = told(story, at, state(active, sub, "success", "a"));
        let story = story.attach(60, 12, DEMO).killed(70, 12, Signal::HUP);
        told(story, 71, state("inactive", "dead", "success", "b")).told().starts().len()
    };
    assert_eq!(killed(50, "inactive", "dead"), 2);
    // A command of ExecStopPost= may die so.
    assert_eq!(killed(50, "deactivating", "stop-post"), 1);
}

#[test]
fn a_start_whose_first_command_died_before_its_exec_is_not_the_next_one() {
    let facts = UnitFacts {
        exec_start: Some(vec!["/usr/sbin/gearmand".to_owned()]),
        ..UnitFacts::default()
    };
    let starts = |state_after: UnitNews| {
        let story = told(Story::unit().attach(0, 10, DEMO), 1, settings(facts.clone()));
        let story = told(story, 2, state("activating", "start-pre", "success", "a"));
        let task = Task { comm: "(install)".into(), ..story.task(10) };
        let state = SignalState::default();
        let signal = Some(Signal::HUP);
        let story = story.fact(10, Fact::Exit { task, signal, code: 0, core_dumped: false, state });
        let next = told(story, 12, state_after).start(320, 11, "/usr/bin/install", "b");
        let next = next.exit(330, 11, 0).start(340, 12, "/usr/sbin/gearmand", "b");
        next.told().starts().len()
    };
    assert_eq!(starts(state("activating", "auto-restart", "signal", "a")), 2);
    // Its failure does not matter to systemd.
    assert_eq!(starts(state("activating", "start-pre", "success", "a")), 1);
}

#[test]
fn a_main_process_that_died_before_its_exec_is_of_the_start_that_goes_on() {
    let checked =
        |at, state| told(Story::unit().start(0, 10, "/bin/check", "a").exit(20, 10, 0), at, state);
    let died = |story: Story| story.attach(30, 11, DEMO).killed(40, 11, Signal::HUP).told();
    let goes_on = died(checked(25, state("activating", "start", "success", "a")));
    let [start] = goes_on.starts() else { panic!("{:?}", goes_on.starts()) };
    assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(11));
    assert_eq!(start.outcome.signal, Some(Signal::HUP));
    for over in [
        state("activating", "auto-restart", "success", "a"),
        state("inactive", "dead", "success", "a"),
        state("activating", "start", "success", "b"),
    ] {
        assert_eq!(died(checked(25, over)).starts().len(), 2);
    }
}

#[test]
fn a_main_process_whose_end_was_not_seen_is_of_the_start_that_its_commands_began() {
    // systemd 252 moves a process that fails at once after its end.
    let checked = Story::unit().start(0, 10, "/bin/check", "a").exit(20, 10, 0);
    let story = told(checked, 5, state("activating", "start-pre", "success", "a"));
    let story = told(story.attach(30, 11, DEMO), 31, state("activating", "start", "success", "a"));
    let story = told(story, 40, state("failed", "failed", "exit-code", "a"));
    let one = story.clone().told();
    let [start] = one.starts() else { panic!("{:?}", one.starts()) };
    assert_eq!(states(start), ["activating", "activating", "failed"]);
    assert!(start.main_process.is_none(), "{:?}", start.main_process);
    // The next one may be seen as little.
    let next = told(story.attach(300, 12, DEMO), 301, state("activating", "start", "success", "b"));
    let next = told(next, 310, state("failed", "failed", "exit-code", "b")).told();
    let next: Vec<Vec<String>> = next.starts().iter().map(states).collect();
    assert_eq!(next, [vec!["activating", "activating", "failed"], vec!["activating", "failed"]]);
}

#[test]
fn a_command_whose_end_was_not_seen_leaves_the_main_process_what_it_is() {
    let up = Story::unit().start(0, 10, "/bin/demo", "a").exit(500, 10, 0);
    let up = told(up, 1, state("active", "running", "success", "a"));
    let at = |at: u64| {
        let story =
            told(up.clone().attach(at, 11, DEMO), 450, state("active", "running", "success", "a"));
        told(story, 510, state("inactive", "dead", "success", "a")).told()
    };
    // Of ExecReload=, and of ExecStopPost=.
    for at in [400, 505].map(at) {
        let [start] = at.starts() else { panic!("{:?}", at.starts()) };
        assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(10));
    }
}

#[test]
fn what_systemd_says_of_the_next_start_changes_nothing_of_one_that_died_before_its_exec() {
    let died = Story::unit().attach(100, 10, DEMO).killed(110, 10, Signal::HUP);
    let died = told(died, 105, state("activating", "start", "success", "a1"));
    let died = told(died, 111, state("failed", "failed", "signal", "a1"));
    let next = told(died, 280, state("active", "running", "success", "a2"));
    let told = next.until(290).told();
    let [start] = told.starts() else { panic!("{:?}", told.starts()) };
    assert_eq!(states(start), ["activating", "failed"]);
    assert_eq!(start.systemd.as_ref().unwrap().active_state, "failed");
    assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(10));
}

#[test]
fn a_start_that_died_before_its_exec_has_its_states_where_the_next_one_comes_at_once() {
    // As `systemctl restart` right after a start has it.
    let died = Story::unit().attach(100, 10, DEMO).killed(142, 10, Signal::TERM);
    let died = told(died, 107, state("active", "running", "success", "a1"));
    let died = told(died, 143, state("inactive", "dead", "success", "a1"));
    let next = told(died, 151, state("active", "running", "success", "a2"));
    let told = next.start(150, 11, "/bin/demo", "a2").until(300).told();
    let of: Vec<Vec<String>> = told.starts().iter().map(states).collect();
    assert_eq!(of, [vec!["active", "inactive"], vec!["active"]]);
}

#[test]
fn a_command_before_the_program_that_ended_before_its_exec_is_of_that_start_as_settings_tell_later()
{
    let facts = UnitFacts {
        exec_start: Some(vec!["/usr/sbin/sshguard -i".to_owned()]),
        ..UnitFacts::default()
    };
    let starts = |comm: &str| {
        // ExecStartPre=-/usr/sbin/nft, which is not there.
        let story = Story::unit().attach(0, 10, DEMO);
        let story = story.exec(1, 10, "/usr/lib/systemd/systemd-executor");
        let task = Task { comm: comm.into(), ..story.task(10) };
        let state = SignalState::default();
        let exit = Fact::Exit { task, signal: None, code: 203, core_dumped: false, state };
        let story = told(story.fact(20, exit), 25, settings(facts.clone()));
        let told = story.start(40, 11, "/usr/sbin/sshguard", "a").until(300).told();
        let mains = told.starts().iter().map(|start| start.main_process.as_ref().unwrap().pid);
        mains.collect::<Vec<_>>()
    };
    assert_eq!(starts("(nft)"), [11]);
    assert_eq!(starts("(sshguard)"), [10, 11]);
}

#[test]
fn a_command_that_ended_before_its_exec_is_of_the_start_that_goes_on_though_systemds_word_is_late()
{
    let facts = UnitFacts {
        exec_start: Some(vec!["/usr/bin/python3 late.py".to_owned()]),
        ..UnitFacts::default()
    };
    // ExecStartPre=/bin/mkdir, ExecStartPre=-/bin/nosuch.
    let story = told(Story::unit().start(0, 10, "/bin/mkdir", "a"), 1, settings(facts));
    let story = story.exit(2, 10, 0).attach(5, 11, DEMO);
    let task = Task { comm: "(nosuch)".into(), ..story.task(11) };
    let state_then = SignalState::default();
    let exit = Fact::Exit { task, signal: None, code: 203, core_dumped: false, state: state_then };
    let story = story.fact(60, exit).start(70, 12, "/usr/bin/python3", "a");
    let told = told(story, 80, state("active", "running", "success", "a")).until(300).told();
    let [start] = told.starts() else { panic!("{:?}", told.starts()) };
    assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(12));
    assert_eq!(states(start), ["active"]);
}

#[test]
fn a_failure_is_not_taken_back_within_a_start_and_a_state_is_told_once() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").exit(40, 10, 1);
    let story = told(story, 41, state("activating", "auto-restart", "exit-code", "a1"));
    let story = told(story, 41, state("activating", "auto-restart", "success", "a1"));
    let told = story.told();
    assert_eq!(states(&told.starts()[0]), ["activating"]);
    assert_eq!(told.starts()[0].systemd.as_ref().unwrap().result.as_deref(), Some("exit-code"));
}

#[test]
fn the_limit_of_starts_takes_the_place_of_a_failure() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").exit(40, 10, 1);
    let story = told(story, 41, state("activating", "auto-restart", "exit-code", "a1"));
    let told = told(story, 50, state("failed", "failed", "start-limit-hit", "a1")).told();
    let systemd = told.starts()[0].systemd.clone().unwrap();
    assert_eq!(systemd.result.as_deref(), Some("start-limit-hit"));
}

#[test]
fn what_was_true_before_the_end_says_nothing_of_the_end() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").exit(40, 10, 1);
    let story = told(story, 5, state("active", "running", "success", "a1"));
    let told = story.told();
    assert_eq!(told.starts()[0].systemd.as_ref().unwrap().result, None);
}

#[test]
fn what_remains_after_its_exit_has_the_result_that_systemd_says() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").exit(40, 10, 0);
    let told = told(story, 41, state("active", "exited", "success", "a1")).told();
    let result = |start: &Activation| start.systemd.as_ref().unwrap().result.clone();
    assert_eq!(result(&told.starts()[0]).as_deref(), Some("success"));
}

#[test]
fn a_result_is_told_among_the_events_where_it_is_none_of_success() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1");
    let story = told(story, 5, state("active", "running", "success", "a1")).exit(40, 10, 1);
    let told = told(story, 41, state("failed", "failed", "exit-code", "a1")).told();
    let results = told.events.iter().filter_map(|event| match &event.what {
        What::Systemd { result, .. } => Some(result.as_deref()),
        _ => None,
    });
    assert_eq!(results.collect::<Vec<_>>(), [None, Some("exit-code")]);
}

/// The results of reloads among the events, with when they stand there.
fn reload_results(states: &[(u64, &str, &str, &str)]) -> Vec<(u64, String)> {
    let mut story = Story::unit().start(0, 10, "/bin/demo", "a1");
    for (at, active, sub, reload_result) in states {
        let mut news = state(active, sub, "success", "a1");
        news.state.as_mut().unwrap().reload_result = Some((*reload_result).to_owned());
        story = told(story, *at, news);
    }
    let told = story.told();
    let result = |event: &Event| match &event.what {
        What::Systemd { reload_result, .. } => {
            let at = u64::try_from(event.at_ns).unwrap() / MS;
            reload_result.clone().map(|result| (at, result))
        }
        _ => None,
    };
    told.events.iter().filter_map(result).collect()
}

#[test]
fn a_reload_that_failed_is_told_where_it_ends_and_not_again() {
    let told = reload_results(&[
        (5, "active", "running", "success"),
        (40, "reloading", "reload", "success"),
        (45, "active", "running", "exit-code"),
        // systemd keeps the result.
        (60, "active", "exited", "exit-code"),
        (70, "deactivating", "stop-sigterm", "exit-code"),
    ]);
    // The zero is its exec.
    assert_eq!(told, [(44, "exit-code".to_owned())]);
}

#[test]
fn a_reload_that_is_told_by_its_end_alone_has_its_result() {
    let told = reload_results(&[
        (5, "active", "running", "success"),
        (45, "active", "running", "exit-code"),
        (50, "active", "running", "success"),
        (55, "active", "running", "timeout"),
    ]);
    assert_eq!(told, [(44, "exit-code".to_owned()), (54, "timeout".to_owned())]);
}

#[test]
fn when_a_result_that_was_there_before_came_is_not_told() {
    assert_eq!(reload_results(&[(5, "active", "running", "exit-code")]), []);
    let again = [(5, "active", "running", "exit-code"), (9, "reloading", "reload", "success")];
    assert_eq!(reload_results(&again), []);
}

#[test]
fn systemds_main_pid_is_the_main_process() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").fork(20, 10, 11);
    let mut news = state("active", "running", "success", "a1");
    news.state.as_mut().unwrap().main_pid = Some(11);
    let told = told(story, 30, news).told();
    assert_eq!(told.starts()[0].main_process.as_ref().unwrap().pid, 11);
}

#[test]
fn a_main_process_that_systemd_tells_of_late_follows_the_one_before_it() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").fork(20, 10, 11);
    let story = story.handler(45, 11).notify(50, 10, "MAINPID=11");
    let story = story.fork(60, 10, 12).fork(400, 12, 13);
    // Its state is as old as that, and its main process newer.
    let mut news = state("active", "running", "success", "a1");
    news.state.as_mut().unwrap().main_pid = Some(12);
    let told = told(story, 30, news).told();
    let start = &told.starts()[0];
    assert_eq!(start.main_process.as_ref().unwrap().pid, 12);
    assert!(start.exposure.windows(2).all(|two| two[0].to_ns <= two[1].from_ns), "{start:#?}");
}

#[test]
fn a_units_own_reload_signal_takes_the_place_of_hup() {
    let usr2: Signal = "USR2".parse().unwrap();
    let facts = UnitFacts { reload_signal: Some(usr2), ..UnitFacts::default() };
    let story = told(Story::unit().start(0, 10, "/bin/demo", "a1"), 5, settings(facts));
    // Only what the kernel side reports can be judged.
    assert_eq!(story.told().services[0].signal, None);
    assert_eq!(story.recording(usr2).told().services[0].signal, Some(usr2));
}

#[test]
fn settings_that_come_late_judge_what_came_before() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").fork(20, 10, 11);
    let story = story.notify(30, 11, "READY=1");
    let facts = UnitFacts {
        service_type: Some("notify".to_owned()),
        notify_access: Some("main".to_owned()),
        ..UnitFacts::default()
    };
    assert!(story.clone().told().starts()[0].milestones.ready_ns.is_some());
    assert_eq!(told(story, 90, settings(facts)).told().starts()[0].milestones.ready_ns, None);
}

#[test]
fn ready_from_a_sender_that_is_gone_counts_if_systemd_came_up() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").fork(20, 10, 11);
    let story = story.notify(30, 11, "READY=1").exit(31, 11, 0);
    let facts = UnitFacts {
        service_type: Some("notify".to_owned()),
        notify_access: Some("all".to_owned()),
        ..UnitFacts::default()
    };
    let story = told(story, 5, settings(facts));
    let accepted = |story: &Story| {
        let told = story.told();
        let message = told.starts()[0].events.iter().find_map(|event| match &event.what {
            What::Notify(message) => Some(message.accepted),
            _ => None,
        });
        message.unwrap()
    };
    assert_eq!(accepted(&story), None);
    let up = told(story, 32, state("active", "running", "success", "a1"));
    assert_eq!(accepted(&up), Some(true));
}

#[test]
fn the_control_group_that_systemd_forgets_when_the_unit_goes_down_is_remembered() {
    let with = |control_group: Option<&str>| {
        settings(UnitFacts {
            control_group: control_group.map(str::to_owned),
            restart: Some("no".to_owned()),
            ..UnitFacts::default()
        })
    };
    let story = told(Story::unit().start(0, 10, "/bin/demo", "a1"), 5, with(Some(DEMO)));
    let story = told(story, 50, with(None));
    let unit = story.told().services[0].unit.clone().unwrap();
    assert_eq!((unit.control_group.as_deref(), unit.restart.as_deref()), (Some(DEMO), Some("no")));
}

#[test]
fn how_far_a_start_has_come_is_looked_at_again_when_something_happens() {
    let story = Story::unit().start(0, 10, "/bin/demo", "a1").handler(50, 10);
    let story = told(story.notify(100, 10, "READY=1"), 150, state("active", "running", "", "a1"));
    let story = story.exit(200, 10, 0);
    let mut builder = Builder::new(story.setup());
    let mut seen = Vec::new();
    for observation in &story.observations {
        builder.observe(observation.clone());
        builder.advance(observation.at + 40 * MS);
        let progress = builder.progress();
        assert_eq!(progress, builder.progress());
        seen.push((progress.handler, progress.ready, progress.exited));
    }
    seen.dedup();
    assert_eq!(
        seen,
        [(false, false, false), (true, false, false), (true, true, false), (true, true, true),]
    );
}

#[test]
fn of_a_service_that_was_up_before_the_capture_no_later_message_is_its_readiness() {
    let notify = || UnitFacts {
        service_type: Some("notify-reload".into()),
        notify_access: Some("main".into()),
        ..UnitFacts::default()
    };
    let found = |known: Option<&str>| {
        let story = told(Story::unit().found(10, 1, DEMO, &[Signal::HUP]), 1, settings(notify()));
        match known {
            Some(active) => told(story, 0, state(active, "", "success", "a1")),
            None => story,
        }
    };
    let ready = |story: Story| {
        let start = story.until(100).told().starts()[0].clone();
        let is_open = start.exposure.iter().any(|span| span.kind == ExposureKind::NotReady);
        let joined = start.joined_ns.unwrap();
        (start.milestones.ready_ns.map(|ready| ready > joined), is_open)
    };
    let reload = |story: Story| {
        story.notify(30, 10, "RELOADING=1\nMONOTONIC_USEC=1").notify(31, 10, "READY=1")
    };
    assert_eq!(ready(reload(found(Some("active")))), (Some(false), false), "systemd had it up");
    assert_eq!(ready(found(Some("active"))), (Some(false), false));
    assert_eq!(ready(found(Some("active")).notify(31, 10, "READY=1")), (Some(false), false));
    assert_eq!(ready(reload(found(None))), (None, false), "it reloads: it had been ready");
    let starts = found(Some("activating")).notify(31, 10, "READY=1");
    assert_eq!(ready(starts), (Some(true), true), "it was still starting");
}

#[test]
fn a_capture_that_joins_in_execstartpre_sees_the_program_from_its_exec_on() {
    let joined_in = |active: &str, id: Option<&str>| {
        let story = Story::unit().found(9, 1, DEMO, &[]);
        let story = id.into_iter().fold(story, Story::with_id);
        let story = told(story, 0, state(active, "start-pre", "success", "a1")).exit(5, 9, 0);
        let story = story.start(20, 10, "/bin/demo", "a1").handler(30, 10);
        let mut up = state("active", "running", "success", "a1");
        up.state.as_mut().unwrap().main_pid = Some(10);
        told(story, 22, up).until(100).told().starts().last().unwrap().clone()
    };
    for id in [None, Some("a1")] {
        let start = joined_in("activating", id);
        assert_eq!(start.main_process.as_ref().map(|main| main.pid), Some(10));
        assert_eq!(start.joined_ns, None, "its program was not running yet");
        assert_eq!(start.milestones.exec_ns, Some(0));
        assert_eq!(start.milestones.handler_ns, Some(9 * MS as i64));
        assert_eq!(start.exposure[0].kind, ExposureKind::Fatal);
    }
    assert!(joined_in("active", Some("a1")).joined_ns.is_some(), "it was up");
}

#[test]
fn a_signalfd_that_was_there_when_the_capture_joined_takes_the_signal_since() {
    let story = Story::unit().found(10, 1, DEMO, &[]).mask(0, 10, true);
    let story = story.consume(0, 10, Consumer::Signalfd);
    let start = story.until(5_000).told().starts()[0].clone();
    let kinds: Vec<ExposureKind> = start.exposure.iter().map(|span| span.kind).collect();
    assert_eq!((kinds, start.milestones.handler_ns), (vec![], None));
}

#[test]
fn a_result_that_comes_while_a_state_lasts_stands_at_the_next_one() {
    let story = Story::unit().start(1, 10, "/bin/demo", "a1").handler(20, 10);
    let story = told(story, 25, state("reloading", "reload", "success", "a1"));
    let story = told(story, 25, state("reloading", "reload", "exit-code", "a1"));
    let start = told(story, 30, state("failed", "failed", "exit-code", "a1")).until(100).told();
    assert_eq!(states(&start), ["reloading", "failed"]);
}
