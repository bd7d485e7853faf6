//! A main process that somebody named, with a supervisor in between.

use super::story::{BEGIN, MS, STARTER, Story, Told};
use crate::{
    model::{event::Fate, signal::Signal},
    observation::Fact,
    timeline::{Builder, MainPattern, Setup},
};

/// A supervisor that starts two workers. The first dies of a HUP, at 60 ms.
fn supervised() -> Story {
    Story::command()
        .fork(0, STARTER, 10)
        .exec(1, 10, "/usr/bin/runsvdir")
        .handler(2, 10)
        .fork(20, 10, 11)
        .exec(30, 11, "/opt/web/server")
        .fork(31, 10, 12)
        .exec(32, 12, "/opt/web/server")
        .hup(60, 10, 11)
        .killed(61, 11, Signal::HUP)
        .until(200)
}

/// The timelines with this as the main process, and how many it was true of.
fn told(story: &Story, pattern: &str) -> (Told, u64) {
    let main = Some(MainPattern::new(pattern).unwrap());
    let mut builder = Builder::new(Setup { main, ..story.setup() });
    for observation in &story.observations {
        builder.observe(observation.clone());
    }
    builder.end();
    let choice = builder.main_choice().unwrap();
    assert_eq!(choice.pattern, pattern);
    let matches = choice.matches;
    (Told { services: builder.services(BEGIN + 200 * MS) }, matches)
}

fn main_pid(told: &Told) -> u32 {
    told.main_process.as_ref().unwrap().pid
}

#[test]
fn the_first_process_that_fits_is_judged_as_the_main_process() {
    for pattern in ["server", "/opt/web/*", "*/server", "serv?r"] {
        let (told, matches) = told(&supervised(), pattern);
        assert_eq!((main_pid(&told), matches), (11, 2), "{pattern}");
        assert_eq!(told.supervisor.as_ref().unwrap().pid, 10);
        assert_eq!(told.signals()[0].fate, Fate::Killed);
        assert_eq!(told.outcome.signal, Some(Signal::HUP), "its end is the service's");
        assert_eq!(told.milestones.handler_ns, None, "the supervisor's handler is not its own");
    }
}

#[test]
fn a_command_line_tells_which_of_two_that_run_one_program() {
    let story = supervised();
    let line = |pid: u32, line: &str| Fact::CommandLine {
        task: story.task(pid),
        line: line.to_owned(),
        script: None,
    };
    let lines = [line(11, "server --job"), line(12, "server --web")];
    let lines = lines.into_iter().fold(story.clone(), |story, line| story.fact(33, line));
    let (told, matches) = told(&lines, "server --web");
    assert_eq!((main_pid(&told), matches), (12, 1));
}

#[test]
fn a_script_that_an_interpreter_runs_is_known_by_its_own_name() {
    let story = supervised();
    let line = Fact::CommandLine {
        task: story.task(12),
        line: "/usr/bin/python3 -u /usr/bin/patroni /etc/patroni.yml".to_owned(),
        script: Some("/usr/bin/patroni /etc/patroni.yml".to_owned()),
    };
    let (told, matches) = told(&story.fact(33, line), "patroni");
    assert_eq!((main_pid(&told), matches), (12, 1));
}

#[test]
fn where_none_fits_nothing_is_changed_and_it_is_counted_that_none_did() {
    let story = supervised();
    let (told, matches) = told(&story, "nginx*");
    assert_eq!((main_pid(&told), matches), (10, 0));
    assert_eq!(told.supervisor, None);
}

#[test]
fn the_main_process_itself_has_no_supervisor_and_stays_it() {
    let story = supervised().exit(70, 10, 0);
    let (told, matches) = told(&story, "runsvdir");
    assert_eq!((main_pid(&told), matches), (10, 1));
    assert_eq!(told.supervisor, None);
}

#[test]
fn a_process_that_was_found_running_fits_too_and_a_hand_over_changes_nothing() {
    let story = Story::unit()
        .found(10, 1, super::story::DEMO, &[])
        .found(11, 10, super::story::DEMO, &[Signal::HUP])
        .exec(20, 11, "/opt/web/server")
        .exit(40, 10, 0);
    let (told, _) = told(&story, "/usr/bin/old");
    assert_eq!(main_pid(&told), 10);
    let (told, _) = self::told(&story, "server");
    assert_eq!(main_pid(&told), 11);
}
