use super::{changes::MAX_CHANGES, handlers::MAX_TRIALS, *};
use crate::model::disposition::Reaction;

const HUP: SignalSet = SignalSet(1);
const TERM: SignalSet = SignalSet(1 << 14);
const NONE: SignalState = SignalState {
    ignored: SignalSet::EMPTY,
    caught: SignalSet::EMPTY,
    blocked: SignalSet::EMPTY,
    pending: SignalSet::EMPTY,
    blocked_unknown: SignalSet::EMPTY,
};
const CAUGHT: SignalState = SignalState { caught: HUP, ..NONE };
/// Longer than a moment, ns.
const WHILE: u64 = 2_000_000;

fn executed() -> ProcessSignals {
    let mut signals = ProcessSignals::unknown(HUP.union(TERM));
    signals.exec(1, &NONE, Program::Unread, true);
    signals
}

/// Blocks HUP, and now and then TERM, in its only thread and unblocks it, for longer than a
/// moment, so often. No three turns are the same (the sequence of Thue and Morse).
fn flip(signals: &mut ProcessSignals, from: u64, state: SignalState, times: u64) {
    for turn in 0..times {
        let at = from + 2 * turn * WHILE;
        let set = if turn.count_ones() % 2 == 0 { HUP } else { HUP.union(TERM) };
        signals.mask(at, 7, (SignalSet::EMPTY, set), &SignalState { blocked: set, ..state });
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
            signals.mask(at, 7, (SignalSet::EMPTY, HUP), &SignalState { blocked: HUP, ..CAUGHT });
            signals.mask(at + 100_000_000 - open, 7, (HUP, SignalSet::EMPTY), &CAUGHT);
        }
        assert_eq!(signals.dropped(), 0);
        assert!(signals.changes().len() <= MAX_CHANGES);
        let last = 100 + 100_000 * 100_000_000 - open;
        assert_eq!(signals.changes().last().unwrap().at, last);
        assert!(!signals.now().blocked.intersects(HUP));
    }
}

/// All threads that were looked at block HUP, and there are more.
const UNSURE: SignalState = SignalState { blocked: HUP, blocked_unknown: HUP, ..NONE };

#[test]
fn what_other_threads_meet_in_a_threads_moments_was_let_through_all_the_time() {
    let mut signals = executed();
    // As pthread_create(3) does, again and again.
    for turn in 0..1_000 {
        let at = 1_000 + turn * 100_000;
        signals.mask(at, 7, (SignalSet::EMPTY, ALL), &UNSURE);
        signals.mask(at + 50_000, 7, (ALL, SignalSet::EMPTY), &NONE);
        // Looks at all threads once the first one has begun its next moment.
        let tid = 8 + u32::try_from(turn).unwrap();
        signals.mask(at + 99_000, tid, (SignalSet::EMPTY, HUP), &UNSURE);
    }
    let end = 1_000 + 1_000 * 100_000;
    signals.mask(end, 7, (SignalSet::EMPTY, TERM), &NONE);
    assert!(signals.changes().iter().all(|change| !change.now.blocked.intersects(HUP)));
    assert_eq!((signals.changes().len(), signals.dropped()), (1, 0));
}

#[test]
fn a_thread_that_was_let_through_meanwhile_says_nothing_of_the_time_before() {
    let mut signals = executed();
    signals.mask(10 * WHILE, 7, (SignalSet::EMPTY, HUP), &SignalState { blocked: HUP, ..NONE });
    // Set back as a handler returned, of which nobody is told.
    signals.mask(20 * WHILE, 7, (SignalSet::EMPTY, TERM), &NONE);
    let blocked = |at| signals.at(at).unwrap().blocked.intersects(HUP);
    assert!(blocked(15 * WHILE) && !blocked(20 * WHILE));
}

/// Blocks HUP, does something for a tenth of a moment, and sets its mask back.
fn in_a_moment(does: impl FnOnce(&mut ProcessSignals), after: &SignalState) -> ProcessSignals {
    let mut signals = executed();
    signals.mask(100, 7, (SignalSet::EMPTY, HUP), &SignalState { blocked: HUP, ..NONE });
    does(&mut signals);
    signals.mask(100_000, 7, (HUP, SignalSet::EMPTY), after);
    signals
}

fn blocks(signals: &ProcessSignals, at: u64) -> bool {
    signals.at(at).unwrap().blocked.intersects(HUP)
}

#[test]
fn a_signal_that_waits_for_the_handler_that_is_set_in_a_moment_is_blocked_until_that() {
    let handler = Handler { serves: HUP, faults: SignalSet::EMPTY };
    let state = SignalState { blocked: HUP, ..CAUGHT };
    let signals = in_a_moment(
        |signals| {
            signals.action(500, Signal::HUP, handler, None, &state);
        },
        &CAUGHT,
    );
    assert_eq!([99, 100, 499, 500].map(|at| blocks(&signals, at)), [false, true, true, false]);
    // The record of what set it was lost.
    let signals = in_a_moment(|_| {}, &CAUGHT);
    assert_eq!([100, 99_999, 100_000].map(|at| blocks(&signals, at)), [true, true, false]);
}

#[test]
fn a_signal_that_is_sent_in_a_moment_is_blocked_for_all_of_it() {
    let by = |by_itself| {
        in_a_moment(
            |signals| {
                signals.sent(600, Signal::HUP, by_itself, Handler::default());
            },
            &NONE,
        )
    };
    for by_itself in [false, true] {
        let signals = by(by_itself);
        assert_eq!([100, 99_999, 100_000].map(|at| blocks(&signals, at)), [true, true, false]);
    }
    assert!(!blocks(&in_a_moment(|_| {}, &NONE), 600), "nothing came");
}

#[test]
fn a_signal_that_somebody_takes_in_a_moment_is_blocked_from_then_on() {
    let state = SignalState { blocked: HUP, ..NONE };
    let take = |signals: &mut ProcessSignals| signals.consume(500, Consumer::Sigwait, HUP, &state);
    let signals = in_a_moment(take, &NONE);
    assert_eq!(
        [499, 500, 99_999, 100_000].map(|at| blocks(&signals, at)),
        [false, true, true, false]
    );
}

#[test]
fn what_all_threads_blocked_they_block_until_one_lets_it_through() {
    let is_unsure = |signals: &ProcessSignals| signals.now().of(Signal::HUP).mask_unknown;
    let mut signals = executed();
    signals.mask(WHILE, 7, (SignalSet::EMPTY, HUP), &SignalState { blocked: HUP, ..NONE });
    signals.action(2 * WHILE, Signal::TERM, Handler::default(), None, &UNSURE);
    assert!(!is_unsure(&signals), "new threads have the masks of those that start them");
    assert!(signals.now().of(Signal::HUP).blocked);
    signals.mask(3 * WHILE, 99, (HUP, SignalSet::EMPTY), &UNSURE);
    assert!(!signals.now().of(Signal::HUP).blocked, "this thread lets it through");
    signals.action(4 * WHILE, Signal::TERM, Handler::default(), None, &UNSURE);
    assert!(is_unsure(&signals), "it may have ended");
    signals.action(5 * WHILE, Signal::TERM, Handler::default(), None, &NONE);
    signals.exec(6 * WHILE, &NONE, Program::Unread, true);
    signals.action(7 * WHILE, Signal::TERM, Handler::default(), None, &UNSURE);
    assert!(is_unsure(&signals));
}

#[test]
fn of_turns_that_are_left_out_what_held_for_longer_counts() {
    for (held, open) in [(30 * WHILE, WHILE), (WHILE, 30 * WHILE)] {
        let mut signals = executed();
        let mut at = WHILE;
        for _ in 0..1_000 {
            signals.mask(at, 7, (SignalSet::EMPTY, HUP), &SignalState { blocked: HUP, ..NONE });
            signals.mask(at + held, 7, (HUP, SignalSet::EMPTY), &NONE);
            at += held + open;
        }
        let changes = signals.changes().windows(2);
        let blocked = changes.filter(|it| it[0].now.blocked.intersects(HUP));
        let blocked: u64 = blocked.map(|it| it[1].at - it[0].at).sum();
        assert_eq!(blocked > at / 2, held > open, "{blocked} of {at}");
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
    let state = SignalState { caught: both, ..NONE };
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
    let state = SignalState { blocked: HUP.union(TERM), blocked_unknown: TERM, ..NONE };
    let now = Dispositions::default().with(&state, HUP.union(TERM));
    assert!(now.of(Signal::HUP).blocked && !now.of(Signal::HUP).mask_unknown);
    assert!(now.of(Signal::TERM).blocked && now.of(Signal::TERM).mask_unknown);
}

#[test]
fn a_child_that_is_told_of_after_its_parents_exec_has_the_program_from_before_it() {
    let handler = Handler { serves: HUP, faults: SignalSet::EMPTY };
    let mut parent = ProcessSignals::unknown(HUP);
    parent.exec(1, &NONE, Program::Of(Runtime::Ruby), true);
    parent.action(10, Signal::HUP, handler, None, &CAUGHT);
    parent.exec(30, &NONE, Program::Plain, true);
    let before = parent.child(20, &CAUGHT);
    assert_eq!(before.program(), Program::Of(Runtime::Ruby));
    assert_eq!(before.image.had_handler, HUP);
    assert_eq!(parent.child(30, &NONE).program(), Program::Plain);
}

#[test]
fn a_program_found_running_is_known_by_what_it_runs_when_its_catch_all_shows() {
    let mut signals = ProcessSignals::unknown(HUP);
    signals.found(1, &NONE, Program::Of(Runtime::Go));
    let catch_all = Handler { serves: SignalSet(u64::MAX >> 1), faults: SignalSet::EMPTY };
    signals.action(2, Signal::HUP, catch_all, None, &CAUGHT);
    assert_eq!(signals.now().runtime(Signal::HUP), Some(Runtime::Go));
}

/// What another one has that shares its handlers.
fn of_other() -> Dispositions {
    Dispositions {
        caught: HUP,
        blocked: TERM,
        mask_unknown: TERM,
        signalfd: TERM,
        sigwait: TERM,
        ..Dispositions::default()
    }
}

#[test]
fn one_that_shares_handlers_has_these_of_the_other_and_nothing_else() {
    let mut signals = executed();
    signals.shared(5, of_other());
    assert_eq!(signals.now(), Dispositions { caught: HUP, ..Dispositions::default() });
}

#[test]
fn what_another_has_set_before_is_known_from_then_on_until_the_next_change() {
    let mut signals = executed();
    signals.mask(10, 7, (SignalSet::EMPTY, TERM), &SignalState { blocked: TERM, ..NONE });
    signals.shared(5, of_other());
    let caught = [1, 4, 5, 9, 10].map(|at| signals.at(at).unwrap().caught == HUP);
    assert_eq!(caught, [false, false, true, true, false]);
    assert_eq!(signals.dropped(), 0);
}

#[test]
fn what_another_has_set_before_and_there_is_no_room_for_is_counted() {
    let mut signals = executed();
    // Two for each turn, beside the exec.
    flip(&mut signals, 10, NONE, MAX_CHANGES as u64 / 2 - 1);
    let end = 10 + MAX_CHANGES as u64 * WHILE;
    signals.mask(end, 7, (SignalSet::EMPTY, HUP), &SignalState { blocked: HUP, ..NONE });
    let (dropped, last) = (signals.dropped(), signals.changes().last().unwrap().at);
    assert_eq!(signals.changes().len(), MAX_CHANGES);
    signals.shared(last - 1, of_other());
    assert_eq!((signals.dropped(), signals.changes().len()), (dropped + 1, MAX_CHANGES));
}

#[test]
fn what_came_before_the_last_exec_goes_first_unless_that_is_little() {
    let kept = |before: u64, after: u64| {
        let mut signals = executed();
        flip(&mut signals, 10, NONE, before);
        let exec = 10 + 2 * before * WHILE;
        signals.exec(exec, &NONE, Program::Unread, true);
        flip(&mut signals, exec + 10, NONE, after);
        let is_before = |change: &&Change| change.at < exec;
        let count = signals.changes().iter().filter(is_before).count();
        (count, signals.changes().len() - count)
    };
    // The two execs are among them.
    assert_eq!(kept(10, 200).0, 21);
    assert_eq!(kept(50, 30).1, 61);
}

#[test]
fn the_first_handler_of_a_program_is_kept_though_the_one_before_had_one_too() {
    let mut signals = executed();
    let handler = Handler { serves: HUP, faults: SignalSet::EMPTY };
    signals.action(10, Signal::HUP, handler, None, &CAUGHT);
    signals.exec(20, &NONE, Program::Unread, true);
    flip(&mut signals, 30, NONE, 30);
    let at = 30 + 60 * WHILE;
    signals.action(at, Signal::HUP, handler, None, &CAUGHT);
    flip(&mut signals, at + 10, CAUGHT, 200);
    let takes = |change: &&Change| change.now.of(Signal::HUP).reaction() == Reaction::Takes;
    let first = signals.changes().iter().filter(|change| change.at > 20).find(takes);
    assert_eq!(first.map(|change| change.at), Some(at));
}
