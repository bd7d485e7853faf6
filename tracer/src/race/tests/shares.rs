//! A race in shares.

use std::collections::BTreeSet;

use crate::{
    model::{
        document::{Host, Tool, WallTime},
        race::{
            By, Interval, Leftover, Outcome, Race, Role, SCHEMA, SignalRace, StepKind, Try,
            Untouched,
        },
        signal::Signal,
    },
    race::{
        merge, shares,
        testing::{a_process, a_try, an_interval, running},
    },
};

const IDS: [&str; 5] = ["fork", "exec1", "exec1.action1", "exec1.action2", "exec1.ready1"];

fn planned() -> Race {
    let each = IDS.iter().zip(0_i64..).map(|(id, number)| {
        let kind = if number == 0 { StepKind::Fork } else { StepKind::Action };
        let to = (number < 4).then_some(10 * number + 10);
        let interval = an_interval(id, kind, (10 * number, to), (Outcome::NotReached, false));
        Interval { tries: Vec::new(), ..interval }
    });
    Race {
        schema: SCHEMA.to_owned(),
        tool: Tool { name: "sigready".to_owned(), version: "0.1.0".to_owned() },
        host: Host { hostname: "db1".to_owned(), kernel: "6.18.44".to_owned(), boot_id: None },
        command: vec!["./demo".to_owned()],
        options: Vec::new(),
        name: "demo".to_owned(),
        unit: None,
        service_type: "simple".to_owned(),
        by: By::Kernel,
        strict: false,
        backend: "tracepoint".to_owned(),
        started_at: WallTime("2026-01-01T00:00:00Z".parse().unwrap()),
        duration_ns: 1,
        runs: 1,
        untouched: Untouched {
            process: a_process(true),
            from_ns: 0,
            to_ns: 1_000_000_000,
            ready_ns: None,
            stopping_ns: None,
            active_ns: None,
            can_reload: None,
            outcome: running(),
            calls: None,
        },
        leftovers: Vec::new(),
        signals: vec![SignalRace {
            intervals: each.collect(),
            ..SignalRace::of(Signal::HUP, Role::Reload)
        }],
        bad: false,
        untested: Vec::new(),
    }
}

/// What a process found in these intervals.
fn found(tries: &[(&str, Vec<Try>)]) -> Race {
    let mut race = planned();
    let wanted =
        |interval: &Interval| tries.iter().find(|(id, _)| interval.id == format!("HUP@{id}"));
    let intervals = std::mem::take(&mut race.signals[0].intervals).into_iter();
    race.signals[0].intervals =
        intervals.filter_map(|it| Some(Interval { tries: wanted(&it)?.1.clone(), ..it })).collect();
    race.runs = 1 + tries.len() as u64;
    race.leftovers = vec![Leftover { comm: "sleep".to_owned(), runs: 1 }];
    race
}

#[test]
fn each_interval_is_in_one_share_and_none_of_them_is_empty() {
    for count in 0..9 {
        let shares = shares(&planned(), count);
        assert_eq!(shares.len(), count.clamp(1, IDS.len()));
        let all: Vec<&String> = shares.iter().flatten().collect();
        assert_eq!(all.len(), IDS.len());
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), IDS.len());
        assert!(shares.iter().all(|share| !share.is_empty()));
    }
    assert_eq!(shares(&planned(), 2)[1], ["HUP@exec1", "HUP@exec1.action2"]);
}

#[test]
fn what_the_shares_found_is_told_as_one_race() {
    let killed = || vec![a_try(Outcome::Killed, true)];
    let taken = || vec![a_try(Outcome::Taken, false)];
    let unsteady = vec![a_try(Outcome::Taken, false), a_try(Outcome::Crashed, true)];
    let one = found(&[("exec1", killed()), ("exec1.action2", unsteady)]);
    let other = found(&[("fork", killed()), ("exec1.action1", taken()), ("exec1.ready1", taken())]);
    let race = merge(planned(), vec![one, other], false);
    let told: Vec<_> =
        race.signals[0].intervals.iter().map(|it| (it.outcome, it.bad, it.steady)).collect();
    assert_eq!(
        told,
        [
            (Outcome::Killed, true, true),
            (Outcome::Killed, true, true),
            (Outcome::Taken, false, true),
            (Outcome::Crashed, true, false),
            (Outcome::Taken, false, true),
        ]
    );
    assert_eq!(race.runs, 1 + 3 + 4);
    assert_eq!(race.leftovers, [Leftover { comm: "sleep".to_owned(), runs: 2 }]);
    assert!(race.bad && race.untested.is_empty(), "{:?}", race.untested);
    let sentence = &race.signals[0].sentence;
    assert!(sentence.starts_with("HUP kills demo from fork to 20.0 ms, in 2 of 5"), "{sentence}");
}

#[test]
fn an_interval_that_no_share_has_is_not_passed() {
    let race = || found(&[("exec1", vec![a_try(Outcome::Taken, false)])]);
    let missed = merge(planned(), vec![race()], false);
    assert_eq!(missed.untested.len(), 4);
    assert!(missed.untested[0].ends_with("had no such interval"), "{:?}", missed.untested);
    assert!(missed.signals[0].intervals[0].tries[0].outcome == Outcome::NotReached);
    let ended = merge(planned(), vec![race()], true);
    assert_eq!(ended.untested.len(), 4);
    assert!(ended.untested[0].ends_with("the race ended before"), "{:?}", ended.untested);
    let none = merge(planned(), Vec::new(), false);
    assert!(!none.bad && none.untested.len() == 5);
}
