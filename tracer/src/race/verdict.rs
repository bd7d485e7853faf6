//! What the runs of an interval come to.

use super::{child_exit::is_absent, interval::Planned, steps::Steps, sweep::is_beyond};
use crate::model::{
    document::ProcessOutcome,
    event::{DispositionKind, What},
    race::{Interval, Outcome, Reach, SignalRace, StepKind, Try, Untouched},
};

/// An interval with its tries. With `all`, it counts whether a reload is known to reach it or not.
#[must_use]
pub fn interval(planned: &Planned, tries: Vec<Try>, all: bool) -> Interval {
    let interval = Interval {
        id: planned.id.clone(),
        process: planned.process.clone(),
        main: planned.main,
        after: planned.after.clone(),
        before: planned.before.clone(),
        from_ns: planned.after.at_ns,
        to_ns: planned.to_ns,
        reached: planned.reached,
        outcome: Outcome::NotReached,
        bad: false,
        counts: all || planned.reached == Reach::Reached,
        steady: true,
        tries: Vec::new(),
    };
    with_tries(interval, tries)
}

/// The interval with these tries: it is as bad as the worst of them.
#[must_use]
pub(super) fn with_tries(interval: Interval, tries: Vec<Try>) -> Interval {
    let worst = tries.iter().max_by_key(|it| (it.bad, it.outcome));
    let outcome = worst.map_or(Outcome::NotReached, |worst| worst.outcome);
    let bad = worst.is_some_and(|worst| worst.bad);
    let known: Vec<Outcome> = tries
        .iter()
        .map(|it| it.outcome)
        .filter(|outcome| *outcome != Outcome::NotReached)
        .collect();
    let steady = known.windows(2).all(|pair| pair[0] == pair[1]);
    Interval { outcome, bad, steady, tries, ..interval }
}

/// An interval in which another process than the main one says READY=1 is tried where it begins, which
/// is before a reload reaches it; and tried anew as that comes, which is no step of the main process.
/// Where the signal does no harm there, what its handler did before does not count. What the kernel does
/// is the same in all of the interval.
pub fn discount(race: &mut SignalRace, untouched: &Untouched) {
    let is_right = |it: &&Interval| !it.bad && it.outcome != Outcome::NotReached;
    let Some(active) = race.active.as_ref().filter(is_right).map(|it| it.from_ns) else { return };
    let Some(ready) = untouched.ready_ns else { return };
    // Where all count, so do those before.
    let mut all = race.intervals.iter();
    if all.any(|it| it.main && it.counts && it.reached == Reach::NotByReload) {
        return;
    }
    let is_in = |it: &&mut Interval| it.main && it.from_ns < ready && active < it.to_ns;
    for it in race.intervals.iter_mut().filter(is_in) {
        if !it.tries.iter().any(|tried| tried.bad && met_default(tried)) {
            it.reached = Reach::NotByReload;
            it.counts = false;
        }
    }
}

/// Whether the kernel did with the signal what it does by default.
fn met_default(tried: &Try) -> bool {
    let signal = tried.signal.as_ref().map(|event| &event.what);
    matches!(signal, Some(What::Signal(sent)) if sent.disposition == DispositionKind::Default)
}

/// The untouched run, from its steps.
#[must_use]
pub fn untouched(steps: &Steps, end: u64, outcome: ProcessOutcome) -> Option<Untouched> {
    let (command, main) = (steps.command()?, steps.main()?);
    let zero = steps.zero();
    let at = |at: u64| {
        let ns = i128::from(at) - i128::from(zero);
        ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    };
    Some(Untouched {
        process: main.who.clone(),
        from_ns: at(command.began),
        to_ns: at(main.ended.unwrap_or(end)),
        ready_ns: steps.ready().map(at),
        stopping_ns: steps.stopping().map(at),
        active_ns: steps.active_since().map(at),
        can_reload: steps.can_reload(),
        outcome,
        calls: None,
    })
}

/// What was to be tested and was not, and why. That a start which ends by itself never comes to rest
/// is none of it, nor that one has no such child, or not so many system calls.
#[must_use]
pub fn untested(signals: &[SignalRace], untouched: &Untouched) -> Vec<String> {
    let mut untested = Vec::new();
    let is_there = |it: &&Interval| !(it.after.kind == StepKind::Rest && untouched.never_rests());
    for race in signals {
        for interval in race.all().filter(is_there) {
            let missed = |it: &&Try| {
                it.outcome == Outcome::NotReached
                    && !is_absent(interval, it)
                    && !is_beyond(race, interval, it)
            };
            let missed = interval.tries.iter().find(missed);
            if let Some(missed) = missed {
                untested.push(format!("{}: {}", interval.id, missed.what));
            } else if interval.tries.is_empty() {
                untested.push(format!("{}: the race ended before", interval.id));
            }
        }
        if race.left_out > 0 {
            untested.push(format!(
                "{} more intervals of {}: there were too many",
                race.left_out, race.signal
            ));
        }
    }
    untested
}
