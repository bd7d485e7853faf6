//! Whose a handler is, by what runs and the table of runtimes.

use super::story::{MS, Story, jvms, program};
use crate::{
    model::{
        document::{Activation, ExposureKind},
        event::{DispositionKind, Fate, Runtime, What},
        signal::Signal,
    },
    observation::Program,
};

fn running(exe: &str) -> Story {
    Story::command().fork(0, 1, 10).exec(10, 10, exe).until(100)
}

fn handler_ms(told: &Activation) -> Option<i64> {
    told.milestones.handler_ns.map(|at| at / MS as i64)
}

fn kinds(told: &Activation) -> Vec<ExposureKind> {
    told.exposure.iter().map(|span| span.kind).collect()
}

/// HUP comes to the handler that there is.
fn came(story: Story, at: u64) -> Story {
    story.hup(at, 1, 10).deliver(at, 10, DispositionKind::Handler, false)
}

fn signals(told: &Activation) -> Vec<(Fate, Option<Runtime>)> {
    let sent = told.events.iter().filter_map(|event| match &event.what {
        What::Signal(sent) => Some((sent.fate, sent.runtime)),
        _ => None,
    });
    sent.collect()
}

#[test]
fn one_handler_for_all_signals_is_the_programs_where_no_runtime_is() {
    let last = Signal::from_number(64).unwrap();
    let all = |exe| running(exe).handler(20, 10).action(21, 10, last, DispositionKind::Handler, 64);
    assert_eq!(handler_ms(&all("/bin/plain").told()), Some(10));
    assert_eq!(handler_ms(&all("/usr/bin/prometheus").told()), None);
    assert_eq!(handler_ms(&all("/bin/demo").told()), None, "weak evidence where nothing is known");
}

#[test]
fn gos_first_handler_is_its_own_at_once() {
    let told = running("/usr/bin/prometheus").handler(20, 10).told();
    assert_eq!(kinds(&told), [ExposureKind::Fatal]);
}

#[test]
fn the_second_handler_is_the_programs_where_the_runtime_has_set_the_first() {
    for exe in ["/bin/zsh", "/usr/bin/ruby3.1", "/usr/bin/java"] {
        let first = running(exe).handler(20, 10);
        assert_eq!(handler_ms(&first.clone().told()), None, "{exe}");
        assert_eq!(handler_ms(&first.handler(40, 10).told()), Some(30), "{exe}");
    }
    // Node.js has none for HUP.
    assert_eq!(handler_ms(&running("/usr/bin/node").handler(20, 10).told()), Some(10));
}

#[test]
fn what_was_ignored_from_the_start_a_runtime_may_leave_alone() {
    let nohup = |exe| {
        let story = Story::command().fork(0, 1, 10);
        let story = story.action(5, 10, Signal::HUP, DispositionKind::Ignored, 0);
        story.exec(10, 10, exe).handler(20, 10).until(100)
    };
    assert_eq!(handler_ms(&nohup("/bin/zsh").told()), Some(10));
    assert_eq!(handler_ms(&nohup("/usr/bin/ruby3.1").told()), None);
}

#[test]
fn where_nothing_tells_whose_it_is_that_is_open_until_a_signal_comes() {
    for exe in ["/bin/mksh", "/opt/interpreter"] {
        let story = running(exe).handler(20, 10);
        assert_eq!(kinds(&story.clone().told()), [ExposureKind::Fatal, ExposureKind::Unknown]);
        let told = came(story.clone(), 50).told();
        assert_eq!(handler_ms(&told), Some(10), "{exe}");
        let died = came(story, 50).killed(51, 10, Signal::HUP).told();
        assert_eq!(handler_ms(&died), None, "{exe}");
    }
    let told = came(running("/bin/mksh").handler(20, 10), 50).exit(51, 10, 129).told();
    assert_eq!(signals(&told), [(Fate::Killed, Some(Runtime::Mksh))]);
    assert_eq!(kinds(&told), [ExposureKind::Fatal]);
}

#[test]
fn an_exit_code_that_is_a_runtimes_names_the_signal_that_ended_the_program() {
    let told = came(running("/bin/zsh").handler(20, 10), 50).exit(51, 10, 1).told();
    assert_eq!(signals(&told), [(Fate::Killed, Some(Runtime::Zsh))]);
    // A trap that exits has decided so.
    let told = came(running("/bin/zsh").handler(20, 10).handler(30, 10), 50);
    assert_eq!(signals(&told.exit(51, 10, 1).told()), [(Fate::Handled, None)]);
}

#[test]
fn a_virtual_machine_that_a_program_has_loaded_is_its_runtime_from_then_on() {
    assert_eq!(program("/bin/plain"), Program::Plain);
    let plain =
        || running("/bin/plain").action_with(20, 10, Signal::HUP, DispositionKind::Handler, jvms());
    assert_eq!(handler_ms(&plain().told()), Some(10));
    let loaded = plain().having_loaded(Runtime::Jvm);
    assert_eq!(handler_ms(&loaded.clone().told()), None);
    assert_eq!(handler_ms(&loaded.handler(40, 10).told()), Some(30));
}
