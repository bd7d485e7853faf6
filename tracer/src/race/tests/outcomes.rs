//! What a signal did in a run, as the document of that run has it.

use crate::{
    model::{
        document::{Document, OutcomeState, ProcessOutcome},
        event::{DispositionKind as D, Effect, Fate, What},
        race::{Outcome, ReloadAsked, Role, Try},
        signal::Signal,
    },
    race::{
        Held, Run, SentBy, Undisturbed, is_answered, plan,
        testing::{COMMAND, Story, running},
        tried,
    },
    rules::testing::{Start, Time as _, activation, by, itself},
};

/// The main process of these starts.
fn pid() -> u32 {
    itself().pid
}

/// HUP was placed 50 ms after the exec.
fn placed(fate: Fate) -> Start {
    let disposition = if fate == Fate::Handled { D::Handler } else { D::Default };
    activation().exec(0).signal(50.ms(), Signal::HUP, disposition, fate, by("x")).by_kernel()
}

fn document(start: Start, effect: Option<Effect>) -> Document {
    let mut document = start.document();
    for event in &mut document.services[0].activations[0].events {
        if let What::Signal(sent) = &mut event.what {
            (sent.si_code, sent.effect) = (0x80, effect);
        }
    }
    document
}

fn ready() -> Undisturbed {
    Undisturbed { readies: 1, outcome: running(), answers: false }
}

fn exits(code: u8) -> Undisturbed {
    let outcome = ProcessOutcome { state: OutcomeState::Exited, signal: None, code: Some(code) };
    Undisturbed { readies: 0, outcome, answers: false }
}

fn run(document: &Document) -> Run<'_> {
    Run {
        document,
        placed: Some((pid(), 50.ms())),
        missed: None,
        readies: 1,
        down: None,
        sender: SentBy::Kernel,
        left: &[],
        by_systemd: None,
        lasted_ns: 6_000_000_000,
        reload: None,
    }
}

fn reload(document: &Document, before: &Undisturbed) -> Try {
    tried(&run(document), before, Signal::HUP, Role::Reload, 1)
}

#[test]
fn fates_effects_and_ends_are_outcomes() {
    use Effect as E;
    use Outcome as O;
    for (start, effect, outcome, bad, what) in [
        (placed(Fate::Killed), None, O::Killed, true, "died of HUP"),
        (placed(Fate::Handled), Some(E::Survived), O::Taken, false, "took it, and went on"),
        (placed(Fate::Handled), Some(E::Reloaded), O::Taken, false, "said that it has reloaded"),
        (placed(Fate::Handled), None, O::Taken, false, "took it, and went on"),
        (placed(Fate::Ignored), Some(E::Survived), O::Ignored, false, "the reload is lost"),
        (placed(Fate::Pending), None, O::Pending, false, "never took it"),
        (placed(Fate::Handled), Some(E::Unanswered), O::Hung, true, "no RELOADING=1"),
        (placed(Fate::Handled), Some(E::Unfinished), O::Hung, true, "no READY=1 followed"),
        (placed(Fate::Handled), Some(E::LostProcess), O::Killed, true, "another process died"),
        (placed(Fate::Handled), Some(E::Replaced), O::Ended, true, "took over"),
        (placed(Fate::Stopped), None, O::Hung, true, "stopped"),
        (placed(Fate::Handled).exit(90.ms(), 3), Some(E::Ended), O::Ended, true, "with code 3"),
        (
            placed(Fate::Handled).dies(90.ms(), "SEGV".parse().unwrap()),
            Some(E::Crashed),
            O::Crashed,
            true,
            "died of SEGV",
        ),
        (
            placed(Fate::Handled).dies(90.ms(), Signal::HUP),
            None,
            O::Killed,
            true,
            "took it, and died of a later HUP",
        ),
    ] {
        let document = document(start, effect);
        let tried = reload(&document, &ready());
        assert_eq!((tried.outcome, tried.bad), (outcome, bad), "{effect:?}: {}", tried.what);
        assert!(tried.what.contains(what), "{}", tried.what);
        assert!(tried.signal.is_some(), "the evidence");
    }
}

#[test]
fn a_reload_that_systemd_held_back_is_that_whatever_became_of_it_later() {
    let asked = ReloadAsked {
        asked_ns: 50.ms(),
        until_ns: 54.ms(),
        state: Some("activating".to_owned()),
        refused: None,
        job: None,
        sent_ns: None,
    };
    let of = |start: Start, held: Held, readies: u32| {
        let document = document(start, None);
        let reload = Some((asked.clone(), held));
        tried(&Run { readies, reload, ..run(&document) }, &ready(), Signal::HUP, Role::Reload, 1)
    };
    let back = |why: &str| Held::Back(why.to_owned());
    let nothing = of(activation().exec(0), back("it was starting, nor later"), 1);
    assert_eq!((nothing.outcome, nothing.bad), (Outcome::HeldBack, false));
    assert_eq!((nothing.what.as_str(), &nothing.signal), ("it was starting, nor later", &None));
    assert_eq!(nothing.reload.as_ref(), Some(&asked));
    let later = of(placed(Fate::Killed), back("it was starting until 6 ms later; then it"), 1);
    assert_eq!((later.outcome, later.bad), (Outcome::HeldBack, false));
    assert_eq!(later.what, "it was starting until 6 ms later; then it died of HUP");
    let stuck = of(activation().exec(0), back("it was starting, nor later"), 0);
    assert_eq!((stuck.outcome, stuck.bad), (Outcome::Hung, true));
    let came = of(placed(Fate::Killed), Held::Came, 1);
    assert_eq!((came.outcome, came.bad), (Outcome::Killed, true));
    let unknown = of(placed(Fate::Killed), Held::Unknown("no answer".to_owned()), 1);
    assert_eq!((unknown.outcome, unknown.what.as_str()), (Outcome::NotReached, "no answer"));
}

#[test]
fn a_service_that_does_not_get_ready_any_more_hangs() {
    let document = document(placed(Fate::Handled), Some(Effect::Survived));
    let stuck = Run { readies: 0, ..run(&document) };
    let tried = tried(&stuck, &ready(), Signal::HUP, Role::Reload, 1);
    assert_eq!(tried.outcome, Outcome::Hung);
    assert!(tried.what.contains("READY=1 within 6.00 s"), "{}", tried.what);
}

#[test]
fn a_ready_more_than_without_the_signal_is_told_unless_it_answers_the_reload() {
    let of = |effect| {
        let document = document(placed(Fate::Handled), Some(effect));
        let twice = Run { readies: 2, ..run(&document) };
        tried(&twice, &ready(), Signal::HUP, Role::Reload, 1)
    };
    let more = of(Effect::Survived);
    assert_eq!((more.outcome, more.bad), (Outcome::Taken, false));
    assert!(more.what.ends_with("said READY=1 once more than without it"), "{}", more.what);
    assert!(of(Effect::Reloaded).what.ends_with("said that it has reloaded"));
}

#[test]
fn of_two_signals_the_one_that_was_placed_counts() {
    let start =
        placed(Fate::Handled).signal(60.ms(), Signal::HUP, D::Default, Fate::Killed, by("x"));
    let document = document(start.by_kernel(), None);
    let second = Run { placed: Some((pid(), 55.ms())), ..run(&document) };
    let tried = tried(&second, &ready(), Signal::HUP, Role::Reload, 1);
    assert_eq!(tried.outcome, Outcome::Killed, "{}", tried.what);
    assert_eq!(tried.what, "died of HUP");
    assert_eq!(reload(&document, &ready()).what, "took it, and died of a later HUP");
}

#[test]
fn an_end_that_is_that_of_the_untouched_run_is_none_of_the_signals() {
    let document = document(placed(Fate::Handled).exit(900.ms(), 0), Some(Effect::Ended));
    assert_eq!(reload(&document, &exits(0)).outcome, Outcome::Taken);
    assert_eq!(reload(&document, &exits(1)).outcome, Outcome::Ended);
    assert_eq!(reload(&document, &ready()).outcome, Outcome::Ended);
}

#[test]
fn what_is_to_end_the_service_has_to_and_cleanly() {
    let of = |start: Start, left: &[String]| {
        let document = document(start, None);
        let run = Run { left, ..run(&document) };
        let tried = tried(&run, &ready(), Signal::HUP, Role::End, 1);
        (tried.outcome, tried.bad, tried.what)
    };
    let left = ["sleep (pid 7)".to_owned()];
    assert_eq!(of(placed(Fate::Killed), &[]), (Outcome::Killed, false, "died of HUP".to_owned()));
    let (outcome, bad, what) = of(placed(Fate::Killed), &left);
    assert_eq!((outcome, bad), (Outcome::Killed, true));
    assert!(what.ends_with("and left sleep (pid 7) running"), "{what}");
    let clean = of(placed(Fate::Handled).exit(90.ms(), 0), &[]);
    assert_eq!((clean.0, clean.1), (Outcome::Ended, false));
    let unclean = of(placed(Fate::Handled).exit(90.ms(), 3), &[]);
    assert_eq!((unclean.0, unclean.1), (Outcome::Ended, true));
    for (fate, outcome) in [
        (Fate::Handled, Outcome::Hung),
        (Fate::Ignored, Outcome::Ignored),
        (Fate::Dropped, Outcome::Ignored),
        (Fate::Pending, Outcome::Pending),
        (Fate::Coalesced, Outcome::Pending),
    ] {
        let stays = of(placed(fate), &[]);
        assert_eq!((stays.0, stays.1), (outcome, true), "{fate:?}");
        assert!(stays.2.contains("still ran after 6.00 s"), "{}", stays.2);
    }
}

#[test]
fn a_reload_that_is_answered_at_rest_and_not_here_is_lost() {
    let answers = Undisturbed { answers: true, ..ready() };
    let of = |effect| {
        let document = document(placed(Fate::Handled), effect);
        tried(&run(&document), &answers, Signal::HUP, Role::Reload, 1)
    };
    let lost = of(Some(Effect::Survived));
    assert_eq!((lost.outcome, lost.bad), (Outcome::Ignored, false));
    assert!(lost.what.contains("did not say that it has reloaded"), "{}", lost.what);
    assert!(!is_answered(&lost));
    let answered = of(Some(Effect::Reloaded));
    assert_eq!(answered.outcome, Outcome::Taken);
    assert!(is_answered(&answered));
    assert_eq!(of(Some(Effect::Deferred)).outcome, Outcome::Taken, "a trap waits");
}

#[test]
fn an_end_is_not_that_of_a_signal_that_was_thrown_away() {
    let of = |start: Start, role| {
        let document = document(start, None);
        let tried = tried(&run(&document), &ready(), Signal::HUP, role, 1);
        (tried.outcome, tried.bad, tried.what)
    };
    assert_eq!(
        of(placed(Fate::Ignored).exit(90.ms(), 0), Role::End),
        (Outcome::Ignored, true, "ignored it; it exited with code 0 by itself".to_owned())
    );
    assert_eq!(of(placed(Fate::Ignored).exit(90.ms(), 0), Role::Reload).0, Outcome::Ended);
    // It may have looked at what waits.
    assert_eq!(of(placed(Fate::Pending).exit(90.ms(), 0), Role::End).0, Outcome::Ended);
}

#[test]
fn a_run_that_did_not_reach_the_interval_tells_nothing_of_it() {
    let document = document(placed(Fate::Killed), None);
    let missed = Run { missed: Some("another step came first".to_owned()), ..run(&document) };
    let of = |run: &Run| tried(run, &ready(), Signal::HUP, Role::Reload, 3);
    let tried = of(&missed);
    assert_eq!((tried.outcome, tried.bad, tried.attempts), (Outcome::NotReached, false, 3));
    assert_eq!(tried.what, "another step came first");
    let unplaced = Run { placed: None, ..run(&document) };
    assert_eq!(of(&unplaced).outcome, Outcome::NotReached);
    let elsewhere = Run { placed: Some((pid() + 1, 50.ms())), ..run(&document) };
    assert_eq!(of(&elsewhere).outcome, Outcome::NotReached, "that signal was another's");
}

#[test]
fn what_another_sent_is_not_the_signal_that_was_placed() {
    let start =
        activation().exec(0).signal(10.ms(), Signal::HUP, D::Default, Fate::Killed, by("x"));
    let document = start.document();
    assert_eq!(reload(&document, &ready()).outcome, Outcome::NotReached);
}

#[test]
fn a_unit_that_does_not_come_up_is_harmed_whatever_the_process_that_was_hit_did() {
    for (start, before) in [
        (placed(Fate::Handled), Undisturbed { readies: 0, outcome: running(), answers: false }),
        (placed(Fate::Handled).exit(90.ms(), 0), exits(0)),
    ] {
        let document = document(start, None);
        let down = Some((Outcome::Ended, "its start failed".to_owned()));
        let up = Run { readies: 0, ..run(&document) };
        let of = |run: &Run<'_>| tried(run, &before, Signal::HUP, Role::Reload, 1);
        assert_eq!((of(&up).outcome, of(&up).bad), (Outcome::Taken, false));
        let down = of(&Run { down, ..up });
        assert_eq!((down.outcome, down.bad), (Outcome::Ended, true), "{}", down.what);
        assert!(down.what.contains("; its start failed"), "{}", down.what);
    }
}

#[test]
fn a_signal_that_waits_until_it_is_to_be_ignored_is_lost() {
    for (disposition, what) in [(D::Blocked, "thrown away: the reload"), (D::Handler, "no room")] {
        let start = activation().exec(0);
        let start = start.signal(50.ms(), Signal::HUP, disposition, Fate::Dropped, by("x"));
        let tried = reload(&document(start.by_kernel(), None), &ready());
        assert_eq!((tried.outcome, tried.bad), (Outcome::Ignored, false));
        assert!(tried.what.contains(what), "{}", tried.what);
    }
}

#[test]
fn what_a_process_comes_to_without_the_signal_is_told_of_that_process() {
    let story = Story::command().fork(10, COMMAND, 101).exit(20, 101).fork(30, COMMAND, 102);
    let story = story.handler(40, 102).exit(500, 103);
    let planned = plan(&story.steps(), Signal::HUP, Role::Reload, "simple", 1_000_000_000).0;
    let of = |id: &str| {
        let planned = planned.iter().find(|it| it.id == format!("HUP@{id}")).unwrap();
        exits(0).of_process(planned, &story.steps())
    };
    assert_eq!(of("exec1"), exits(0), "the main process");
    assert_eq!(of("child1.action1").outcome, running(), "no helper, nor the main process");
}
