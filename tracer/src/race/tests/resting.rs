//! The instant at rest.

use crate::{
    model::{
        document::{OutcomeState, ProcessOutcome},
        event::{DispositionKind, Event, Fate, ProcessRef, SignalSent, What},
        race::{Interval, Outcome, Reach, Role, SignalRace, StepKind, Try},
        signal::Signal,
    },
    observation::{Fact, Generate, Observation, ProcessId, Task},
    race::{
        Active, At, Goal, SentBy, Watch, active as active_moment, discount, interval, never_comes,
        rest, role, sentence,
        testing::{COMMAND, SOCKET, Story, a_process, a_try, an_interval, running},
        untested, untouched,
    },
};

const MS: u64 = 1_000_000;

/// The instant at rest of a start that was over then, in ms from its exec.
fn at_rest(story: &Story, service_type: &str, ms: u64) -> (i64, Reach) {
    let role = role(Signal::HUP, &[]);
    let planned = rest(&story.steps(), Signal::HUP, role, service_type, (ms + 2) * MS).unwrap();
    assert_eq!((planned.id.as_str(), planned.main), ("HUP@rest", true));
    assert!(matches!(planned.at, At::Rest(place) if place == tracer_common::place::COMMAND));
    assert_eq!(planned.at.order(Signal::HUP), tracer_common::place::Order::default());
    assert_eq!(planned.after.at_ns, planned.to_ns);
    (planned.to_ns / MS.cast_signed(), planned.reached)
}

#[test]
fn a_reload_reaches_what_is_at_rest_as_it_does_what_comes_last() {
    let story = || Story::command().handler(300, COMMAND);
    assert_eq!(at_rest(&story(), "simple", 800), (800, Reach::Reached));
    assert_eq!(at_rest(&story(), "notify", 800), (800, Reach::NotByReload));
    let ready = story().says(310, COMMAND, "READY=1");
    assert_eq!(at_rest(&ready, "notify", 800), (800, Reach::Reached));
    let stops = ready.says(500, COMMAND, "STOPPING=1");
    assert_eq!(at_rest(&stops, "notify", 800), (800, Reach::NotByReload));
}

#[test]
fn a_unit_has_the_moment_at_which_systemd_takes_it_for_active_if_it_ever_does() {
    let story = Story::command().handler(300, COMMAND);
    let of = |active| {
        let steps = match active {
            Some(active) => story.steps().with_active(active),
            None => story.steps(),
        };
        active_moment(&steps, Signal::HUP, role(Signal::HUP, &[]), "notify", 900 * MS)
    };
    assert_eq!(of(None), None, "a command");
    assert_eq!(of(Some(Active::Never)), None, "it never became active");
    let planned = of(Some(Active::Since(402 * MS))).unwrap();
    assert_eq!((planned.id.as_str(), planned.to_ns), ("HUP@active", 400 * MS.cast_signed()));
    assert_eq!(planned.reached, Reach::Reached);
    assert!(planned.at.is_sent());
}

#[test]
fn a_command_has_the_moment_at_which_another_process_than_the_main_one_says_ready() {
    let of = |story: &Story, service_type| {
        active_moment(&story.steps(), Signal::HUP, role(Signal::HUP, &[]), service_type, 900 * MS)
    };
    let helped = Story::command().fork(10, COMMAND, 101).says(20, 101, "READY=1").exit(21, 101);
    let planned = of(&helped, "notify").unwrap();
    assert_eq!((planned.id.as_str(), planned.to_ns), ("HUP@active", 18 * MS.cast_signed()));
    assert_eq!((planned.main, planned.reached), (true, Reach::Reached));
    assert_eq!(of(&helped, "simple"), None, "nobody waits for READY=1");
    let later = helped.says(30, COMMAND, "READY=1");
    assert!(of(&later, "notify").is_some(), "the first one is what systemd goes by");
    let own = Story::command().says(20, COMMAND, "READY=1").fork(30, COMMAND, 101);
    assert_eq!(of(&own.says(40, 101, "READY=1"), "notify"), None, "it is a step");
}

/// A try that came to harm, and met this.
fn harmed(disposition: DispositionKind) -> Try {
    let sent = SignalSent {
        signal: Signal::HUP,
        sender: None,
        target: a_process(true),
        tid: None,
        unblocked: None,
        si_code: 128,
        disposition,
        runtime: None,
        traced: false,
        fate: Fate::Killed,
        fate_ns: None,
        effect: None,
        effect_ns: None,
    };
    let event = Event { at_ns: 0, what: What::Signal(Box::new(sent)) };
    Try { signal: Some(event), ..a_try(Outcome::Killed, true) }
}

#[test]
fn what_a_handler_did_before_another_process_says_ready_does_not_count_where_it_is_right_then() {
    let killed = (Outcome::Killed, true);
    let (taken, handler) = ((Outcome::Taken, false), DispositionKind::Handler);
    let story = Story::command().fork(10, COMMAND, 101).says(22, 101, "READY=1");
    let untouched = untouched(&story.steps(), 90 * MS, running()).unwrap();
    assert_eq!(untouched.ready_ns, Some(20 * MS.cast_signed()));
    let counts = |at_ready, met, from: i64, fork_counts| {
        let step = |from, to| an_interval("exec1.action1", StepKind::Action, (from, to), killed);
        let fork = an_interval("fork", StepKind::Fork, (0, Some(5)), killed);
        let fork = Interval { reached: Reach::NotByReload, counts: fork_counts, ..fork };
        let spanning = Interval { tries: vec![harmed(met)], ..step(from, None) };
        let mut race = SignalRace {
            intervals: vec![fork, spanning],
            active: Some(an_interval("active", StepKind::Active, (20, Some(20)), at_ready)),
            ..SignalRace::of(Signal::HUP, Role::Reload)
        };
        discount(&mut race, &untouched);
        assert!(race.intervals[1].bad);
        race.intervals[1].counts
    };
    assert!(!counts(taken, handler, 5, false));
    assert!(counts(killed, handler, 5, false), "it is bad then, too");
    assert!(counts((Outcome::NotReached, false), handler, 5, false), "nothing is known of then");
    assert!(counts(taken, DispositionKind::Default, 5, false), "the kernel does so all along");
    assert!(counts(taken, handler, 25, false), "it begins later");
    assert!(counts(taken, handler, 5, true), "every instant counts");
}

/// It, with this outcome of its one try.
fn rested(outcome: Outcome, bad: bool) -> Interval {
    let it = an_interval("rest", StepKind::Rest, (900, None), (outcome, bad));
    Interval { from_ns: it.to_ns, ..it }
}

fn told(last: (Outcome, bool), rest: &Interval) -> String {
    let intervals = [
        an_interval("exec1", StepKind::Exec, (0, Some(356)), (Outcome::Killed, true)),
        an_interval("exec1.action1", StepKind::Action, (356, None), last),
    ];
    sentence("demo", Signal::HUP, Role::Reload, Some("exec"), None, (&intervals, Some(rest)))
}

#[test]
fn that_every_reload_is_taken_is_said_only_where_it_is_at_rest_too() {
    let taken = (Outcome::Taken, false);
    assert_eq!(
        told(taken, &rested(Outcome::Taken, false)),
        "HUP kills demo from exec to 356 ms, in 1 of 2 intervals; from its handler on every reload \
         is taken."
    );
    assert_eq!(
        told(taken, &rested(Outcome::Crashed, true)),
        "HUP kills demo from exec to 356 ms, in 1 of 2 intervals. At rest HUP crashes demo."
    );
    assert_eq!(
        told(taken, &rested(Outcome::NotReached, false)),
        "HUP kills demo from exec to 356 ms, in 1 of 2 intervals. Nothing was tried at rest: it was \
         not reached."
    );
}

#[test]
fn what_does_harm_right_after_the_last_step_alone_is_not_said_of_the_instant_at_rest() {
    assert_eq!(
        told((Outcome::Ended, true), &rested(Outcome::Taken, false)),
        "HUP kills demo from exec to 356 ms, in 1 of 2 intervals. HUP has demo end from 356 ms on, \
         though not at rest, in 1 of 2 intervals. At rest it is taken."
    );
    assert_eq!(
        told((Outcome::Ended, true), &rested(Outcome::Ended, true)),
        "HUP kills demo from exec to 356 ms, in 1 of 2 intervals. HUP has demo end from 356 ms on, \
         in 1 of 2 intervals."
    );
}

#[test]
fn what_does_no_harm_is_said_of_the_instant_at_rest_too() {
    let of = |rest: &Interval| {
        let one = [an_interval("exec1", StepKind::Exec, (0, None), (Outcome::Taken, false))];
        sentence("demo", Signal::HUP, Role::Reload, Some("exec"), None, (&one, Some(rest)))
    };
    assert_eq!(
        of(&rested(Outcome::Taken, false)),
        "HUP harms demo at no instant of its start, nor at rest: 1 interval."
    );
    assert_eq!(
        of(&rested(Outcome::Killed, true)),
        "HUP harms demo at no instant of its start: 1 interval. At rest HUP kills demo."
    );
}

#[test]
fn a_start_that_ends_by_itself_never_comes_to_rest_and_one_that_goes_on_is_not_tested_there() {
    let exited = ProcessOutcome { state: OutcomeState::Exited, signal: None, code: Some(7) };
    let story = Story::command().handler(10, COMMAND);
    let steps = story.steps();
    let role = role(Signal::HUP, &[]);
    let planned = rest(&steps, Signal::HUP, role, "simple", 90 * MS).unwrap();
    for (outcome, why, is_tested) in [
        (exited, "it ended by itself, with code 7, before it was at rest", true),
        (running(), "it was not at rest within 3.00 s", false),
    ] {
        let what = never_comes(&outcome, 3_000 * MS);
        assert!(what.starts_with(why), "{what}");
        let tries = vec![Try { what, ..a_try(Outcome::NotReached, false) }];
        let race = SignalRace {
            rest: Some(interval(&planned, tries, false)),
            ..SignalRace::of(Signal::HUP, role)
        };
        let untouched = untouched(&steps, 90 * MS, outcome).unwrap();
        assert_eq!(untested(&[race], &untouched).is_empty(), is_tested, "{why}");
    }
}

#[test]
fn a_run_at_rest_goes_on_until_the_signal_is_there_and_for_the_settle_time_after_it() {
    const OWN: u32 = 7;
    let story = Story::command().handler(300, COMMAND);
    let start = Goal { settle_ns: 200 * MS, signals: Signal::HUP.set(), ..Goal::default() };
    let mut watch = Watch::new(start.clone(), COMMAND, Some(SOCKET.to_owned()), 0);
    story.facts().iter().for_each(|fact| watch.learn(fact));
    assert_eq!(watch.settles(), Some(500 * MS));
    let sender = SentBy::Process(OWN);
    let goal = Goal { settle_ns: 50 * MS, signal: Some(Signal::HUP), sender, ..start };
    watch.rest(goal.clone(), 510 * MS);
    assert_eq!(watch.settles(), Some(1_510 * MS), "its record is awaited");
    let ProcessRef { pid, .. } = a_process(true);
    let target = Task::of(ProcessId { pid, start_ticks: 1 });
    let sender = Some(Task::of(ProcessId { pid: OWN, start_ticks: 1 }));
    let sent = Generate { sender, ..Generate::of(target) };
    watch.learn(&Observation { at: 511 * MS, fact: Fact::Generate(Box::new(sent)) });
    assert_eq!(watch.settles(), Some(561 * MS));
    watch.rest(Goal { ends: true, ..goal }, 600 * MS);
    assert_eq!(watch.settles(), None, "it is to end");
}
