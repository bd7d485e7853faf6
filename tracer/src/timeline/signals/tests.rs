use super::{changes::MAX_CHANGES, handlers::MAX_TRIALS, *};
use crate::model::disposition::Reaction;

const HUP: SignalSet = SignalSet(1);
const TERM: SignalSet = SignalSet(1 << 14);
const NONE: State = State {
    ignored: SignalSet::EMPTY,
    caught: SignalSet::EMPTY,
    blocked: SignalSet::EMPTY,
    pending: SignalSet::EMPTY,
    blocked_unknown: SignalSet::EMPTY,
};
const CAUGHT: State = State { caught: HUP, ..NONE };
/// Longer than a moment, ns.
const WHILE: u64 = 2_000_000;

fn executed() -> ProcessSignals {
    let mut signals = ProcessSignals::unknown(HUP.union(TERM));
    signals.exec(1, &NONE, Program::Unread, true);
    signals
}

/// Blocks HUP, and now and then TERM, in its only thread and unblocks it, for longer than a
/// moment, so often. No three turns are the same (the sequence of Thue and Morse).
fn flip(signals: &mut ProcessSignals, from: u64, state: State, times: u64) {
    for turn in 0..times {
        let at = from + 2 * turn * WHILE;
        let set = if turn.count_ones() % 2 == 0 { HUP } else { HUP.union(TERM) };
        signals.mask(at, 7, (SignalSet::EMPTY, set), &State { blocked: set, ..state });
        signals.mask(at + WHILE, 7, (set, SignalSet::EMPTY), &state);
    }
}

#[test]
fn of_any_number_of_turns_of_a_loop_that_blocks_while_it_waits_none_is_missed() {
    for open in [100, WHILE] {
        let mut signals = executed();
        let handler = Handler { serves: HUP, faults: SignalSet::EMPTY };
        signals.action(10, Signal::HUP, handler, None, &CAUGHT);
        for turn in 0..100_000 {
            let at = 100 + turn * 100_000_000;
            signals.mask(at, 7, (SignalSet::EMPTY, HUP), &State { blocked: HUP, ..CAUGHT });
            signals.mask(at + 100_000_000 - open, 7, (HUP, SignalSet::EMPTY), &CAUGHT);
        }
        assert_eq!(signals.dropped(), 0);
        assert!(signals.changes().len() <= MAX_CHANGES);
        let last = 100 + 100_000 * 100_000_000 - open;
        assert_eq!(signals.changes().last().unwrap().at, last);
        assert!(!signals.now().blocked.intersects(HUP));
    }
}

#[test]
fn the_first_handler_after_the_last_exec_is_kept_whatever_came_before_and_after() {
    let mut signals = executed();
    flip(&mut signals, 10, NONE, 50);
    let handler = Handler { serves: HUP, faults: SignalSet::EMPTY };
    signals.action(100_000_000_000, Signal::HUP, handler, None, &CAUGHT);
    flip(&mut signals, 200_000_000_000, CAUGHT, 500);
    assert_eq!(signals.changes().len(), MAX_CHANGES);
    // Among what is left some turns are the same.
    assert!((900..=1 + 100 + 1 + 1_000 - MAX_CHANGES as u64).contains(&signals.dropped()));
    let takes = |change: &&Change| change.now.of(Signal::HUP).reaction() == Reaction::Takes;
    assert_eq!(signals.changes().iter().find(takes).unwrap().at, 100_000_000_000);
    assert!(signals.changes()[0].exec);
    assert!(signals.now().of(Signal::HUP).caught);
}

#[test]
fn the_first_and_the_last_of_any_number_of_execs_are_kept() {
    let mut signals = executed();
    flip(&mut signals, 10, NONE, 3);
    for exec in 0..1_000 {
        signals.exec(50_000_000 + exec, &NONE, Program::Unread, true);
    }
    let execs: Vec<u64> =
        signals.changes().iter().filter(|change| change.exec).map(|it| it.at).collect();
    assert!(signals.changes().len() <= MAX_CHANGES);
    assert_eq!((execs[0], *execs.last().unwrap()), (1, 50_000_999));
}

/// That of HUP came to its handler long ago, and then others again and again.
#[test]
fn a_trial_that_is_not_over_is_kept_before_those_that_are() {
    let both = SignalSet(HUP.0 | Signal::TERM.set().0);
    let mut signals = ProcessSignals::unknown(both);
    let state = State { caught: both, ..NONE };
    signals.exec(1, &NONE, Program::Unread, true);
    let handler = Handler { serves: SignalSet(u64::MAX >> 4), faults: SignalSet::EMPTY };
    signals.action(2, Signal::HUP, handler, None, &state);
    signals.delivered(10, Signal::HUP, false);
    for turn in 0..100 {
        signals.action(20 + 2 * turn, Signal::TERM, handler, None, &state);
        signals.delivered(21 + 2 * turn, Signal::TERM, false);
    }
    assert_eq!(signals.trials.len(), MAX_TRIALS);
    assert_eq!(signals.now().runtime(Signal::HUP), None);
    signals.ended(1_000, Some(Signal::HUP), 0);
    assert_eq!(signals.now().runtime(Signal::HUP), Some(Runtime::CatchAll));
}

#[test]
fn one_signal_differs_where_one_thing_is_done_in_place_of_another() {
    let ignored = Dispositions { ignored: HUP.union(TERM), ..Dispositions::default() };
    let caught = Dispositions { ignored: TERM, caught: HUP, ..Dispositions::default() };
    assert_eq!(ignored.differ(&caught), HUP);
    assert_eq!(ignored.differ(&ignored), SignalSet::EMPTY);
}

#[test]
fn what_threads_that_were_not_looked_at_may_let_through_is_known_as_that() {
    let state = State { blocked: HUP.union(TERM), blocked_unknown: TERM, ..NONE };
    let now = Dispositions::default().with(&state, HUP.union(TERM));
    assert!(now.of(Signal::HUP).blocked && !now.of(Signal::HUP).mask_unknown);
    assert!(now.of(Signal::TERM).blocked && now.of(Signal::TERM).mask_unknown);
}
