//! Which start systemd's states are of, and what they make of its main process.

use super::story::{DEMO, MS, STARTER, Story, Told};
use crate::{
    model::{
        document::Activation,
        event::{DispositionKind, What},
        signal::Signal,
        unit::{UnitFacts, UnitState},
    },
    observation::{Fact, SignalState, Task, UnitNews},
};

/// systemd's state of `demo.service`, with the main process that it names, in its start `id`.
#[derive(Clone, Copy)]
struct Says {
    active: &'static str,
    sub: Option<&'static str>,
    result: &'static str,
    id: &'static str,
    main: Option<u32>,
    own_pids: bool,
}

fn says(active: &'static str, sub: &'static str, id: &'static str) -> Says {
    Says { active, sub: Some(sub), result: "success", id, main: None, own_pids: false }
}

impl Says {
    fn main(self, pid: u32) -> Self {
        Self { main: Some(pid), ..self }
    }

    fn failing(self, result: &'static str) -> Self {
        Self { result, ..self }
    }

    /// Only the time of the state is remembered.
    fn remembered(self) -> Self {
        Self { sub: None, ..self }
    }
}

trait Hears {
    fn hears(self, at: u64, says: Says) -> Self;
    fn settings(self, at: u64, facts: UnitFacts) -> Self;
    fn time_goes_on(self, at: u64) -> Self;
}

impl Hears for Story {
    fn hears(self, at: u64, says: Says) -> Self {
        let Says { active, sub, result, id, main, own_pids } = says;
        let state = UnitState {
            active_state: active.to_owned(),
            sub_state: sub.map(str::to_owned),
            result: sub.map(|_| result.to_owned()),
            main_pid: main,
            ..UnitState::default()
        };
        let (cgroup, invocation_id) = (DEMO.to_owned(), Some(id.to_owned()));
        let state = Some(state);
        let news = UnitNews { cgroup, state, invocation_id, own_pids, ..UnitNews::default() };
        self.fact(at, Fact::Unit(Box::new(news)))
    }

    fn settings(self, at: u64, facts: UnitFacts) -> Self {
        let (cgroup, facts) = (DEMO.to_owned(), Some(facts));
        self.fact(at, Fact::Unit(Box::new(UnitNews { cgroup, facts, ..UnitNews::default() })))
    }

    /// What comes with an older time from here on comes late.
    fn time_goes_on(self, at: u64) -> Self {
        self.fact(at, Fact::CgroupPath { hierarchy: 0, id: 7, path: "/other".to_owned() })
    }
}

fn of_type(service_type: &str) -> UnitFacts {
    UnitFacts {
        service_type: Some(service_type.to_owned()),
        notify_access: Some("main".to_owned()),
        ..UnitFacts::default()
    }
}

fn main_of(start: &Activation) -> Option<u32> {
    start.main_process.as_ref().map(|main| main.pid)
}

fn mains(told: &Told) -> Vec<Option<u32>> {
    told.starts().iter().map(main_of).collect()
}

fn states(start: &Activation) -> Vec<&str> {
    let events = start.events.iter();
    let states = events.filter_map(|event| match &event.what {
        What::Systemd { state, .. } => Some(state.as_str()),
        _ => None,
    });
    states.collect()
}

fn result(start: &Activation) -> Option<&str> {
    start.systemd.as_ref().unwrap().result.as_deref()
}

fn started() -> Story {
    Story::unit().start(0, 10, "/bin/demo", "a")
}

/// A service that has put itself into the background: 11 is its daemon, as systemd says.
fn daemon() -> Story {
    let story = started().settings(2, of_type("forking")).fork(3, 10, 11).exit(5, 10, 0);
    story.hears(6, says("active", "running", "a").main(11))
}

#[test]
fn a_failure_of_one_start_is_none_of_the_next() {
    let told = started()
        .exit(40, 10, 1)
        .hears(41, says("failed", "failed", "a").failing("exit-code"))
        .start(100, 11, "/bin/demo", "b")
        .hears(102, says("active", "running", "b"))
        .told();
    assert_eq!(
        told.starts().iter().map(result).collect::<Vec<_>>(),
        [Some("exit-code"), Some("success")]
    );
}

#[test]
fn a_service_that_is_up_keeps_the_main_process_that_the_one_before_left() {
    // systemd has yet to learn which one that is.
    let story = daemon().fork(35, 11, 12).exit(40, 11, 0);
    let told = story.hears(41, says("active", "running", "a")).told();
    assert_eq!(mains(&told), [Some(12)]);
}

#[test]
fn what_systemd_had_said_before_the_first_process_is_of_its_start() {
    let story = Story::unit().hears(1, says("activating", "start", "a"));
    let told = story.start(5, 10, "/bin/demo", "a").told();
    assert_eq!(states(&told), ["activating"]);
}

#[test]
fn a_main_process_that_systemd_names_is_that_of_the_start_it_speaks_of() {
    let story = started().fork(5, 10, 11).exit(20, 10, 1).start(30, 12, "/bin/demo", "b");
    let story = story.time_goes_on(100);
    let told = story.hears(15, says("active", "running", "a").main(11)).told();
    assert_eq!(mains(&told), [Some(11), Some(12)]);
}

#[test]
fn a_systemd_in_a_pid_namespace_names_the_main_process_by_its_pid_there() {
    let mut story = started();
    let inside = |story: &mut Story, its: u32| {
        for observation in &mut story.observations {
            match &mut observation.fact {
                Fact::CgroupAttach { task, .. } | Fact::Exec { task, .. } => task.ns_pid = 1,
                Fact::Fork { child, .. } if child.ns_pid != 2 => child.ns_pid = its,
                _ => {}
            }
        }
    };
    for pid in [11, 12] {
        story = story.fork(u64::from(pid), 10, pid);
        inside(&mut story, pid - 9);
    }
    let main = |main| {
        let word = Says { own_pids: true, ..says("active", "running", "a").main(main) };
        mains(&story.clone().hears(20, word).told())
    };
    assert_eq!([1, 2, 3, 12].map(main), [[Some(10)], [Some(11)], [Some(12)], [Some(10)]]);
}

#[test]
fn a_daemon_that_was_told_to_stop_was_so_whatever_systemd_said_before() {
    let told = daemon()
        .fork(40, 11, 12)
        .hup_with(50, STARTER, 11, |sent| sent.signal = Signal::TERM)
        .time_goes_on(100)
        .hears(7, says("active", "running", "a").main(11))
        .exit(110, 11, 0)
        .told();
    assert_eq!(mains(&told), [Some(11)]);
}

#[test]
fn a_main_process_that_has_handed_over_and_ended_is_none_again_by_an_older_word() {
    let story = started().fork(20, 10, 11).notify(30, 10, "MAINPID=11").exit(40, 10, 0);
    let told = story.time_goes_on(100).hears(5, says("active", "running", "a").main(10)).told();
    assert_eq!(mains(&told), [Some(11)]);
}

#[test]
fn a_main_process_that_systemd_names_after_its_end_stays_that_whatever_else_has_ended() {
    let story = started().settings(2, of_type("simple")).fork(5, 10, 11).exit(20, 11, 0);
    let story = story.exit(30, 10, 1);
    let told = story.hears(40, says("active", "running", "a").main(10)).told();
    assert_eq!(mains(&told), [Some(10)]);
}

#[test]
fn a_program_that_gives_itself_a_name_like_systemds_is_no_command_before_it() {
    let story = started();
    let task = Task { comm: "(other)".into(), ..story.task(10) };
    let state = SignalState::default();
    let exit = Fact::Exit { task, signal: None, code: 0, core_dumped: false, state };
    let exec_start = Some(vec!["/bin/demo".to_owned()]);
    let told = story.fact(20, exit).settings(30, UnitFacts { exec_start, ..of_type("simple") });
    assert_eq!(mains(&told.told()), [Some(10)]);
}

#[test]
fn what_is_remembered_of_a_start_after_the_one_before_was_over_is_its_own() {
    let story = started().exit(40, 10, 0).hears(41, says("inactive", "dead", "b"));
    let story = story.hears(60, says("activating", "", "b").remembered());
    let story = story.hears(98, says("active", "running", "b"));
    let told = story.start(100, 11, "/bin/demo", "b").told();
    assert_eq!(
        told.starts().iter().map(states).collect::<Vec<_>>(),
        [vec!["inactive"], vec!["activating", "active"]]
    );
}

#[test]
fn the_result_under_the_id_of_the_next_start_is_that_of_the_one_before_unless_that_failed() {
    let ended = |over: Says| {
        let story = started().exit(40, 10, 0).hears(41, over);
        let story = story.hears(98, says("active", "running", "b"));
        let told = story.start(100, 11, "/bin/demo", "b").told();
        result(&told.starts()[0]).map(str::to_owned)
    };
    assert_eq!(ended(says("inactive", "dead", "b")).as_deref(), Some("success"));
    // systemd has reset it for the start that comes.
    assert_eq!(ended(says("failed", "failed", "b")), None);
}

#[test]
fn what_was_said_of_a_time_under_the_id_of_the_start_is_not_told_again_under_that_of_the_next() {
    let story = started().hears(5, says("active", "running", "a")).exit(40, 10, 0);
    let story = story.time_goes_on(90);
    let story = story.hears(5, says("active", "", "b").remembered());
    let story = story.hears(30, says("deactivating", "", "b").remembered());
    let story = story.hears(41, says("inactive", "dead", "b"));
    let story = story.hears(98, says("active", "running", "b"));
    let told = story.start(100, 11, "/bin/demo", "b").told();
    assert_eq!(states(&told.starts()[0]), ["active", "deactivating", "inactive"]);
}

#[test]
fn a_start_that_ends_at_exec_start_pre_takes_nothing_from_the_one_before() {
    let failed = |story: Story| {
        let story = story.hears(100, says("activating", "start-pre", "b"));
        story.hears(130, says("failed", "failed", "b").failing("signal")).told()
    };
    let ended = started().exit(40, 10, 0).hears(41, says("inactive", "dead", "a"));
    let told = failed(ended.start(100, 11, "/bin/prepare", "b").killed(120, 11, Signal::HUP));
    assert_eq!(mains(&told), [Some(10), None]);
    // Nor from one that died before its exec, and shows no id.
    let died = Story::unit().attach(0, 10, DEMO).killed(20, 10, Signal::HUP);
    let died = died.hears(5, says("activating", "start", "a"));
    assert_eq!(mains(&failed(died.hears(21, says("failed", "failed", "a")))), [Some(10)]);
}

#[test]
fn a_service_that_runs_has_the_result_that_systemd_says() {
    let told = started().hears(5, says("active", "running", "a")).told();
    assert_eq!(result(&told), Some("success"));
}

#[test]
fn what_a_process_found_running_does_is_told_also_where_that_is_nothing() {
    let told = Story::unit().found(10, STARTER, DEMO, &[]).told();
    let found = told.events.iter().find_map(|event| match event.what {
        What::Disposition { found, disposition, .. } => Some((found, disposition)),
        _ => None,
    });
    assert_eq!(found, Some((true, DispositionKind::Default)));
}

#[test]
fn of_one_that_was_found_and_then_joined_the_capture_begins_where_its_program_is_executed() {
    // ExecStartPre= runs, and systemd has begun the start.
    let joined = |active| {
        let story = Story::unit().found(9, STARTER, DEMO, &[]).with_id("a");
        let story = story.hears(0, says(active, "start-pre", "a")).exit(5, 9, 0);
        let story = story.start(20, 10, "/bin/demo", "a");
        let story = story.hears(30, says("active", "running", "a").main(10));
        story.until(100).told().starts()[0].clone()
    };
    let (starting, up) = (joined("activating"), joined("active"));
    assert_eq!((starting.joined_ns, starting.milestones.exec_ns), (None, Some(0)));
    assert_eq!((up.joined_ns, up.milestones.exec_ns), (Some(-20 * MS as i64), None));
}

#[test]
fn a_command_of_the_next_start_is_none_of_one_that_had_no_main_process() {
    let died = || {
        let exec_start = Some(vec!["/bin/demo".to_owned()]);
        let story = Story::unit().attach(0, 10, DEMO);
        let story = story.settings(1, UnitFacts { exec_start, ..of_type("simple") });
        let story = story.hears(2, says("activating", "start-pre", "a"));
        let task = Task { comm: "(install)".into(), ..story.task(10) };
        let (signal, state) = (Some(Signal::HUP), SignalState::default());
        story.fact(10, Fact::Exit { task, signal, code: 0, core_dumped: false, state })
    };
    let starts = |story: Story, at: u64, id: &str| {
        let told = story.attach(at, 11, DEMO).exec_control(at + 1, 11, "/bin/post", id).told();
        told.starts().len()
    };
    assert_eq!(starts(died(), 20, "a"), 1, "its own ExecStopPost=");
    assert_eq!(starts(died().hears(30, says("failed", "failed", "a")), 300, "b"), 2);
}
