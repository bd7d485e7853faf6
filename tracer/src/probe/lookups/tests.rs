use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::*;
use crate::observation::{Environment, Origin, Parent, SignalState, Task};

/// More processes than any go has time or room for.
const MANY: u32 = 1_000;

fn task(pid: u32) -> Task {
    Task::of(ProcessId { pid, start_ticks: 1 })
}

fn sent_by(pid: u32) -> Observation {
    let (sender, origin) = (Some(task(pid)), Some(Arc::default()));
    let generate = Generate { sender, origin, ..Generate::of(task(1)) };
    Observation { at: 0, fact: Fact::Generate(Box::new(generate)) }
}

fn executed_by(pid: u32) -> Observation {
    let fact = Fact::Exec {
        task: task(pid),
        filename: String::new(),
        exe: SmolStr::default(),
        file: SmolStr::default(),
        program: Program::Unread,
        environment: Environment::default(),
        state: SignalState::default(),
    };
    Observation { at: 0, fact }
}

/// Look-ups that are all answered by `answer`, and how many were asked for.
fn lookups(answer: fn()) -> (Lookups, Arc<AtomicUsize>) {
    fn by<Q: Clone + PartialEq + Send + 'static, A: Send + 'static>(
        asked: &Arc<AtomicUsize>,
        answer: fn(),
    ) -> Bounded<Q, Option<A>> {
        let asked = Arc::clone(asked);
        Bounded::new("test", move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            answer();
            None
        })
    }
    let asked = Arc::default();
    let lookups = Lookups {
        programs_of: by(&asked, answer),
        executables: by(&asked, answer),
        loaded: by(&asked, answer),
        shown_of: by(&asked, answer),
        askers: by(&asked, answer),
        found: HashMap::new(),
    };
    (lookups, asked)
}

/// A process that never answers.
fn never() {
    thread::sleep(Duration::from_hours(1));
}

/// As many questions as there is time for, where each takes all of its own: one is asked and not
/// waited for to its end.
fn most(patience: Patience) -> usize {
    usize::try_from(patience.all.as_millis() / patience.each.as_millis()).unwrap() + 1
}

#[test]
fn programs_that_never_answer_are_asked_for_no_longer_than_a_go_may_take() {
    let (mut lookups, asked) = lookups(never);
    let mut observations: Vec<Observation> = (0..MANY).map(executed_by).collect();
    lookups.add_programs(&mut observations, &[]);
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=most(LOOKUPS) + most(READS)).contains(&asked), "{asked} were asked for");
    assert_eq!(observations, (0..MANY).map(executed_by).collect::<Vec<_>>());
}

#[test]
fn senders_that_never_answer_are_asked_for_no_longer_than_a_go_may_take() {
    let (mut lookups, asked) = lookups(never);
    let mut observations: Vec<Observation> = (2..MANY).map(sent_by).collect();
    // One that may have been asked to.
    observations.push(sent_by(1));
    lookups.add_senders(&mut observations);
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=most(ASKERS) + most(LOOKUPS)).contains(&asked), "{asked} were asked for");
    let Fact::Generate(first) = &observations[0].fact else { unreachable!() };
    assert_eq!(first.origin.as_deref(), Some(&Origin::default()), "nothing is known of it");
}

#[test]
fn command_lines_that_never_come_are_asked_for_no_longer_than_a_go_may_take() {
    let (mut lookups, asked) = lookups(never);
    let observations: Vec<Observation> = (0..MANY).map(executed_by).collect();
    let commands = lookups.commands(&observations);
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..=most(COMMANDS)).contains(&asked), "{asked} were asked for");
    assert_eq!(commands, [], "nobody has answered");
}

#[test]
fn of_too_many_senders_so_many_are_looked_at() {
    let (mut lookups, asked) = lookups(|| ());
    // On a busy machine a go may be over before all are asked for.
    for _ in 0..100 {
        asked.store(0, Ordering::Relaxed);
        let mut observations: Vec<Observation> = (2..MANY).map(sent_by).collect();
        lookups.add_senders(&mut observations);
        let asked = asked.load(Ordering::Relaxed);
        assert!(asked <= MAX_SENDERS, "{asked} were asked for");
        if asked == MAX_SENDERS {
            return;
        }
    }
    panic!("there was never time for {MAX_SENDERS}");
}

#[test]
fn a_sender_that_is_gone_is_looked_for_once_for_what_was_told_of_it() {
    let (mut lookups, asked) = lookups(|| ());
    let sent = sent_by(2);
    // On a busy machine no answer may come in time, and then it is looked for again.
    while lookups.found.is_empty() {
        lookups.add_senders(&mut [sent.clone()]);
    }
    asked.store(0, Ordering::Relaxed);
    for _ in 0..100 {
        lookups.add_senders(&mut [sent.clone()]);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    lookups.add_senders(&mut [sent_by(2)]);
    assert_eq!(asked.load(Ordering::Relaxed), 1, "what is told of it anew may be of another");
}

#[test]
fn what_was_found_of_senders_makes_room_all_at_once() {
    let (mut lookups, _) = lookups(|| ());
    let senders: Vec<Observation> = (0..=MAX_FOUND as u32).map(|at| sent_by(2 + at)).collect();
    for (before, sent) in senders.iter().enumerate() {
        // On a busy machine no answer may come in time, and then nothing is kept.
        while lookups.found.len() == before && before < MAX_FOUND {
            lookups.add_senders(&mut [sent.clone()]);
        }
    }
    assert_eq!(lookups.found.len(), MAX_FOUND);
    while lookups.found.len() != 1 {
        lookups.add_senders(&mut [senders[MAX_FOUND].clone()]);
    }
}

#[test]
fn a_systemd_is_looked_for_no_farther_above_a_sender_than_a_shell_may_be() {
    let parent = |comm: &str| Parent {
        id: ProcessId { pid: 3, start_ticks: 1 },
        ns_pid: 3,
        cgroup_id: 0,
        comm: comm.into(),
        command: None,
        cgroup: None,
    };
    let found = |between: usize| {
        let mut parents = vec![parent("sh"); between];
        parents.push(parent("systemd"));
        let origin = Some(Arc::new(Origin { parents, ..Origin::default() }));
        let sent = Generate { sender: Some(task(2)), origin, ..Generate::of(task(1)) };
        for_whom(&sent).is_some()
    };
    assert!(found(MAX_BELOW_SYSTEMD - 1) && !found(MAX_BELOW_SYSTEMD));
}
