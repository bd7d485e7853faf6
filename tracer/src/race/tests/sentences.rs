//! A race in a sentence.

use crate::{
    model::{
        race::{Interval, Outcome, Reach, Role, SignalRace, StepKind},
        signal::Signal,
    },
    race::{
        interval, plan, role, sentence, sentences,
        testing::{COMMAND, Story, a_try, an_interval, running},
        untested, untouched,
    },
};

const KILLED: (Outcome, bool) = (Outcome::Killed, true);
const TAKEN: (Outcome, bool) = (Outcome::Taken, false);

fn of(service_type: &str, ready: Option<i64>, intervals: &[Interval]) -> String {
    let ready = ready.map(|ms| ms * 1_000_000);
    sentence("slow_start", Signal::HUP, Role::Reload, Some(service_type), ready, (intervals, None))
}

fn slow_start() -> Vec<Interval> {
    vec![
        an_interval("fork", StepKind::Fork, (-2, Some(0)), KILLED),
        an_interval("exec1", StepKind::Exec, (0, Some(356)), KILLED),
        an_interval("exec1.action1", StepKind::Action, (356, Some(400)), TAKEN),
        an_interval("exec1.ready1", StepKind::Ready, (400, None), TAKEN),
    ]
}

#[test]
fn what_kills_until_the_handler_is_told_with_its_span_and_what_holds_it_back() {
    let mut intervals = slow_start();
    intervals[..3].iter_mut().for_each(|it| it.reached = Reach::NotByReload);
    assert_eq!(
        of("notify", Some(400), &intervals),
        "HUP kills slow_start from fork to 356 ms, in 2 of 4 intervals; from its handler on \
         every reload is taken. As Type=notify systemd holds reloads back until 400 ms; a kill \
         by a script still hits."
    );
    // It is up in systemd's eyes as it is forked.
    intervals[1].reached = Reach::Reached;
    let told = of("simple", Some(-1), &intervals);
    assert!(told.contains("holds reloads back until 1.00 ms before the exec; a kill"), "{told}");
    assert_eq!(
        of("simple", None, &slow_start()),
        "HUP kills slow_start from fork to 356 ms, in 2 of 4 intervals; from its handler on \
         every reload is taken. As Type=simple systemd sends reloads from the fork on, before \
         the exec."
    );
}

#[test]
fn what_systemd_held_back_is_told_with_its_span() {
    const HELD: (Outcome, bool) = (Outcome::HeldBack, false);
    let mut intervals = slow_start();
    intervals[..3].iter_mut().for_each(|it| (it.outcome, it.bad) = HELD);
    assert_eq!(
        of("notify", Some(400), &intervals),
        "HUP harms slow_start at no instant of its start: 4 intervals. As Type=notify systemd \
         holds reloads back from fork to 400 ms, in 3 of 4 intervals; a kill by a script still \
         hits."
    );
    // ExecStartPost= goes on for longer than the start of the process.
    assert!(
        of("notify", Some(380), &intervals)
            .contains("in 3 of 4 intervals (it is active from 380 ms on, within one of them);")
    );
    let mut intervals = slow_start();
    (intervals[0].outcome, intervals[0].bad) = HELD;
    assert_eq!(
        of("simple", None, &intervals),
        "HUP kills slow_start from exec to 356 ms, in 1 of 4 intervals; from its handler on \
         every reload is taken. Reloads through systemd are held back from fork to 0 ms, in 1 of \
         4 intervals; a kill by a script still hits."
    );
}

#[test]
fn what_does_no_harm_is_told_as_that() {
    let intervals = [an_interval("exec1", StepKind::Exec, (0, None), TAKEN)];
    assert_eq!(
        of("simple", None, &intervals),
        "HUP harms slow_start at no instant of its start: 1 interval."
    );
}

#[test]
fn what_does_harm_between_two_steps_is_no_contradiction() {
    let taken = an_interval("exec1", StepKind::Exec, (0, None), TAKEN);
    let crashed = an_interval("exec1.call7", StepKind::Call, (5, None), (Outcome::Crashed, true));
    let race = |sweep, active| SignalRace {
        intervals: vec![taken.clone()],
        sweep,
        active,
        ..SignalRace::of(Signal::HUP, Role::Reload)
    };
    let steps = Story::command().steps();
    let untouched = untouched(&steps, 90_000_000, running()).unwrap();
    let told = |race| sentences("demo", "simple", &race, &untouched);
    let none = "HUP harms demo right after no step of its start: 1 interval.";
    let swept = told(race(vec![crashed.clone()], None));
    assert!(swept.starts_with(none) && swept.contains("the first is HUP@exec1.call7"), "{swept}");
    let active = told(race(Vec::new(), Some(crashed)));
    assert!(active.starts_with(none) && active.contains("As soon as systemd"), "{active}");
    assert!(told(race(Vec::new(), None)).starts_with("HUP harms demo at no instant of its start"));
}

#[test]
fn spans_apart_are_told_apart_and_of_many_the_first() {
    let mut intervals = slow_start();
    intervals.insert(3, an_interval("exec1.action2", StepKind::Action, (390, Some(400)), KILLED));
    let told = of("notify", Some(400), &intervals);
    assert!(
        told.starts_with(
            "HUP kills slow_start from fork to 356 ms and from 390 ms to 400 ms, in 3 of 5"
        ),
        "{told}"
    );
    let many: Vec<Interval> = (0..10)
        .map(|n| {
            let did = if n % 2 == 0 { KILLED } else { TAKEN };
            an_interval(&format!("action{n}"), StepKind::Action, (10 * n, Some(10 * n + 10)), did)
        })
        .collect();
    let told = of("notify", None, &many);
    assert!(told.contains("from 40.0 ms to 50.0 ms and 2 more times, in 5 of 10"), "{told}");
}

#[test]
fn a_span_too_short_for_two_times_is_told_with_its_length() {
    let mut intervals = slow_start();
    let mut short = an_interval("exec1.action2", StepKind::Action, (390, Some(390)), KILLED);
    short.to_ns += 2_310;
    intervals.insert(3, short);
    let told = of("notify", Some(400), &intervals);
    assert!(told.contains("from fork to 356 ms and at 390 ms for 2.31 µs, in 3 of 5"), "{told}");
}

#[test]
fn its_handler_is_the_only_one_it_has_and_of_several_the_time_is_told() {
    let mut intervals = slow_start();
    intervals.insert(3, an_interval("exec1.action2", StepKind::Action, (380, Some(390)), KILLED));
    intervals.insert(4, an_interval("exec1.action3", StepKind::Action, (390, Some(400)), TAKEN));
    let told = of("notify", Some(400), &intervals);
    assert!(told.contains("; from 390 ms on every reload is taken."), "{told}");
    // The first one ends it.
    let ended = (Outcome::Ended, true);
    intervals[2] = an_interval("exec1.action1", StepKind::Action, (356, Some(380)), ended);
    intervals.remove(3);
    let told = of("notify", Some(400), &intervals);
    assert!(told.contains("; from 390 ms on every reload is taken."), "{told}");
}

#[test]
fn not_every_reload_is_taken_where_a_second_one_does_harm() {
    let killed = an_interval("exec1.action1+reset1", StepKind::Second, (356, None), KILLED);
    let untouched = untouched(&Story::command().steps(), 90_000_000, running()).unwrap();
    let race = |second| SignalRace {
        intervals: slow_start(),
        second,
        ..SignalRace::of(Signal::HUP, Role::Reload)
    };
    let told = |second| sentences("demo", "simple", &race(second), &untouched);
    assert!(told(Vec::new()).contains("from its handler on every reload is taken"));
    let told = told(vec![killed]);
    assert!(
        !told.contains("every reload is taken") && told.contains("a second one kills"),
        "{told}"
    );
}

#[test]
fn a_signal_that_is_to_end_it_and_is_thrown_away_or_waits_is_told() {
    let intervals = [
        an_interval("exec1", StepKind::Exec, (0, Some(50)), (Outcome::Ignored, true)),
        an_interval("exec1.block1", StepKind::Block, (50, Some(90)), (Outcome::Pending, true)),
        an_interval("exec1.action1", StepKind::Action, (90, None), (Outcome::Ended, false)),
    ];
    let term = "TERM".parse().unwrap();
    assert_eq!(
        sentence("demo", term, Role::End, Some("notify"), None, (&intervals, None)),
        "demo ignores TERM from exec to 50.0 ms, in 1 of 3 intervals. demo blocks TERM, and never \
         takes it, from 50.0 ms to 90.0 ms, in 1 of 3 intervals."
    );
}

#[test]
fn what_is_lost_or_waits_or_was_not_reached_is_told_and_is_no_harm() {
    let intervals = [
        an_interval("exec1", StepKind::Exec, (0, Some(50)), (Outcome::Ignored, false)),
        an_interval("exec1.block1", StepKind::Block, (50, Some(90)), (Outcome::Pending, false)),
        an_interval("exec1.action1", StepKind::Action, (90, None), (Outcome::NotReached, false)),
    ];
    assert_eq!(
        of("simple", None, &intervals),
        "HUP harms slow_start at no instant of its start: 3 intervals. It is lost from exec to \
         50.0 ms, in 1 of 3 intervals. It waits, and is never taken, from 50.0 ms to 90.0 ms, in \
         1 of 3 intervals. 1 of 3 intervals was not reached, so nothing is known of it."
    );
}

#[test]
fn of_tries_the_worst_counts_and_that_they_differ_is_told() {
    let story = Story::command().handler(10, COMMAND);
    let (planned, _) =
        plan(&story.steps(), Signal::HUP, role(Signal::HUP, &[]), "notify", 90_000_000);
    let tries = || vec![a_try(Outcome::Taken, false), a_try(Outcome::Killed, true)];
    let lenient = interval(&planned[1], tries(), false);
    assert_eq!((lenient.outcome, lenient.bad, lenient.counts), (Outcome::Killed, true, false));
    assert!(!lenient.steady);
    assert!(interval(&planned[1], tries(), true).counts, "--strict counts every instant");
    let told = of("notify", None, &[lenient]);
    assert!(told.ends_with("1 came out now one way, now another."), "{told}");
}

#[test]
fn one_try_that_was_not_reached_is_not_tested_though_another_was_taken() {
    let story = Story::command();
    let (planned, _) =
        plan(&story.steps(), Signal::HUP, role(Signal::HUP, &[]), "simple", 90_000_000);
    let tries = vec![a_try(Outcome::Taken, false), a_try(Outcome::NotReached, false)];
    let it = interval(&planned[1], tries, false);
    assert_eq!((it.outcome, it.steady), (Outcome::NotReached, true));
    let race = SignalRace {
        intervals: vec![it, interval(&planned[0], Vec::new(), false)],
        left_out: 2,
        ..SignalRace::of(Signal::HUP, Role::Reload)
    };
    assert_eq!(
        untested(&[race], &untouched(&story.steps(), 90_000_000, running()).unwrap()),
        [
            "HUP@exec1: it was not reached",
            "HUP@fork: the race ended before",
            "2 more intervals of HUP: there were too many"
        ]
    );
}

#[test]
fn of_a_unit_that_has_no_reload_it_is_said_that_systemd_sends_none() {
    let mut intervals = slow_start();
    for it in &mut intervals {
        it.reached = Reach::NotByReload;
    }
    let told = sentence("cron", Signal::HUP, Role::Reload, None, None, (&intervals, None));
    let end = "systemd has no reload for cron (no ExecReload=); a kill by a script hits.";
    assert!(told.ends_with(end) && !told.contains("Type="), "{told}");
}
