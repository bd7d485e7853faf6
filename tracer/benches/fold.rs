//! What the pure part takes for a fact: from observations to settled timelines.
//!
//! `cargo bench -p sigready --bench fold`

use std::time::Duration;

use divan::{Bencher, counter::ItemsCount};
use jiff::Timestamp;
use sigready::{
    model::{event::DispositionKind, glob::Glob, signal::Signal},
    observation::{
        Anchor, Environment, Fact, Generate, GenerateResult, Handler, Observation, ProcessId,
        Program, SignalState, TICK_NS, Task,
    },
    timeline::{Builder, Counting, Scope, Selector, Setup},
};

/// When it all begins, ns after boot.
const BEGIN: u64 = 5_000_000_000;
/// Between two signals, ns.
const STEP: u64 = 5_000;

fn main() {
    divan::main();
}

fn setup() -> Setup {
    let name = Glob::new("*.service");
    let name = name.expect("a glob that is written here");
    Setup {
        main: None,
        scope: Scope::Selected(vec![Selector::Unit { name, system: None }]),
        reload_signal: Signal::HUP,
        units_choose: true,
        fresh: false,
        counting: Counting::All,
        recorded: Signal::HUP.set(),
        shown: Signal::HUP.set(),
        facts: None,
        settle_ns: 1_000_000_000,
        placed: false,
        anchor: Anchor { boot_ns: BEGIN, wall: Timestamp::UNIX_EPOCH },
    }
}

fn task(pid: u32, start_ns: u64) -> Task {
    Task {
        id: ProcessId { pid, start_ticks: start_ns / TICK_NS },
        tid: pid,
        ns_pid: pid,
        uid: 0,
        start_ns,
        cgroup_id: u64::from(pid),
        comm: "demo".into(),
    }
}

/// A service that starts, sets its handler and takes so many signals, each of which is two
/// facts; then it ends.
fn life(pid: u32, begin: u64, signals: u64) -> impl Iterator<Item = Observation> {
    let service = task(pid, begin);
    let handler = Handler { serves: Signal::HUP.set(), ..Handler::default() };
    let path = format!("/system.slice/demo{pid}.service");
    let state = SignalState { caught: Signal::HUP.set(), ..SignalState::default() };
    let forked = Fact::Fork {
        parent: task(1, 0),
        child: service.clone(),
        shares_handlers: false,
        shares_memory: false,
        state: SignalState::default(),
    };
    let executed = Fact::Exec {
        task: service.clone(),
        filename: "/usr/bin/demo".to_owned(),
        exe: "/usr/bin/demo".into(),
        file: "demo".into(),
        program: Program::Plain,
        environment: Environment::default(),
        state: SignalState::default(),
    };
    let answering = Fact::Disposition {
        task: service.clone(),
        signal: Signal::HUP,
        disposition: DispositionKind::Handler,
        once: false,
        handler,
        loaded: None,
        state,
    };
    let gone = Fact::CgroupGone { hierarchy: 0, id: u64::from(pid), path: path.clone() };
    let first =
        [Fact::CgroupPath { hierarchy: 0, id: u64::from(pid), path }, forked, executed, answering];
    let exit =
        Fact::Exit { task: service.clone(), signal: None, code: 0, core_dumped: false, state };
    let taken = move |_| {
        let sent = Generate {
            sender: Some(task(1, 0)),
            origin: None,
            target: service.clone(),
            signal: Signal::HUP,
            result: GenerateResult::Queued,
            si_code: 0,
            disposition: DispositionKind::Handler,
            mask_unknown: false,
            traced: false,
            to_thread: false,
            awaited: false,
            unblocked: None,
            handler,
            dying_of: None,
        };
        let delivered = Fact::Deliver {
            task: service.clone(),
            signal: Signal::HUP,
            disposition: DispositionKind::Handler,
            once: false,
            unkillable: false,
        };
        [Fact::Generate(Box::new(sent)), delivered]
    };
    let facts = first.into_iter().chain((0..signals).flat_map(taken)).chain([exit, gone]);
    facts.enumerate().map(move |(n, fact)| Observation { at: begin + STEP * n as u64, fact })
}

/// Folds them all, as a capture does: what is final is judged and its facts go.
fn fold(observations: Vec<Observation>) -> Builder {
    let mut builder = Builder::new(setup());
    for observation in observations {
        builder.observe(observation);
        if builder.has_unjudged() {
            builder.judge_final(|_| None);
        }
    }
    builder.end();
    builder
}

/// One service, and signals as fast as they come.
#[divan::bench(args = [1_000, 50_000])]
fn signals_of_one_service(bencher: Bencher<'_, '_>, signals: u64) {
    bencher
        .with_inputs(|| life(100, BEGIN, signals).collect::<Vec<_>>())
        .input_counter(|observations| ItemsCount::new(observations.len()))
        .bench_values(fold);
}

/// Many services, one after the other, each with a hundred facts: what is over makes room.
#[divan::bench(args = [100, 1_000, 10_000], max_time = Duration::from_secs(20))]
fn services_one_after_the_other(bencher: Bencher<'_, '_>, services: u32) {
    let lives =
        |services| (0..services).flat_map(|n| life(100 + n, BEGIN + u64::from(n) * 1_000_000, 48));
    bencher
        .with_inputs(|| lives(services).collect::<Vec<_>>())
        .input_counter(|observations| ItemsCount::new(observations.len()))
        .bench_values(fold);
}
