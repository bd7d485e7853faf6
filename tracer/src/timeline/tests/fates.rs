//! What became of signals.

use tracer_common::signal::SignalSet;

use super::story::{MS, Story, jvms, serving, signals};
use crate::{
    model::{
        document::OutcomeState,
        event::{Consumer, DispositionKind, Fate, Runtime},
        signal::{DefaultAction, Signal},
    },
    observation::{Fact, Generate, GenerateResult, Handler, SignalState, Task},
};

const SENDER: u32 = 5;

/// A command, pid 10, and somebody beside it who sends signals.
fn running() -> Story {
    Story::command().fork(0, 1, 10).exec(10, 10, "/bin/demo").fork(11, 10, SENDER)
}

fn fates(story: &Story) -> Vec<(Fate, Option<i64>)> {
    story.told().signals().iter().map(|sent| (sent.fate, sent.fate_ns)).collect()
}

const fn ns(ms: i64) -> i64 {
    ms * MS as i64
}

#[test]
fn an_early_hup_kills_and_the_outcome_says_hup() {
    let told = running().hup(60, SENDER, 10).killed(61, 10, Signal::HUP).told();
    let sent = told.signals()[0];
    assert_eq!((sent.disposition, sent.fate), (DispositionKind::Default, Fate::Killed));
    assert_eq!(told.outcome.state, OutcomeState::Killed);
    assert_eq!(told.outcome.signal, Some(Signal::HUP));
    assert_eq!(told.milestones.first_reload_ns, Some(ns(50)));
    assert_eq!(told.milestones.exit_ns, Some(ns(51)));
}

#[test]
fn a_delivered_signal_was_handled_when_it_was_delivered() {
    let story = running().handler(20, 10).hup(60, SENDER, 10);
    assert_eq!(fates(&story), [(Fate::Pending, None)]);
    let story = story.deliver(65, 10, DispositionKind::Handler, false);
    assert_eq!(fates(&story), [(Fate::Handled, Some(ns(55)))]);
}

#[test]
fn an_ignored_signal_is_ignored_and_a_second_one_while_the_first_waits_is_coalesced() {
    let ignored = running().action(20, 10, Signal::HUP, DispositionKind::Ignored, 0);
    assert_eq!(fates(&ignored.hup(60, SENDER, 10)), [(Fate::Ignored, None)]);
    let blocked = running().mask(20, 10, true).hup(60, SENDER, 10).hup_with(70, SENDER, 10, |g| {
        g.result = GenerateResult::AlreadyPending;
    });
    assert_eq!(fates(&blocked), [(Fate::Pending, None), (Fate::Coalesced, None)]);
}

#[test]
fn a_signal_to_a_dying_process_is_dropped() {
    let story = running()
        .hup_with(60, SENDER, 10, |g| g.signal = Signal::TERM)
        .hup_with(60, SENDER, 10, |g| {
            g.result = GenerateResult::Ignored;
            g.dying_of = Some(Signal::TERM);
        })
        .killed(61, 10, Signal::TERM);
    assert_eq!(fates(&story)[1].0, Fate::Dropped);
}

#[test]
fn a_signal_the_kernel_has_no_room_for_is_dropped() {
    let story = running().handler(20, 10).hup_with(60, SENDER, 10, |g| {
        g.result = GenerateResult::Overflow;
    });
    assert_eq!(fates(&story), [(Fate::Dropped, None)]);
}

#[test]
fn a_blocked_signal_kills_once_it_is_unblocked() {
    let story = running()
        .mask(20, 10, true)
        .hup(60, SENDER, 10)
        .mask(70, 10, false)
        .deliver(70, 10, DispositionKind::Default, false)
        .killed(71, 10, Signal::HUP);
    assert_eq!(fates(&story), [(Fate::Killed, Some(ns(60)))]);
    assert_eq!(story.told().signals()[0].disposition, DispositionKind::Blocked);
}

#[test]
fn sigwait_handles_what_it_takes() {
    let story = running()
        .mask(20, 10, true)
        .consume(21, 10, Consumer::Sigwait)
        .hup(60, SENDER, 10)
        .taken(61, 10);
    assert_eq!(fates(&story), [(Fate::Handled, Some(ns(51)))]);
}

#[test]
fn a_signalfd_shows_by_what_is_no_longer_pending() {
    let read = running()
        .mask(20, 10, true)
        .consume(21, 10, Consumer::Signalfd)
        .hup(60, SENDER, 10)
        .hup(90, SENDER, 10);
    assert_eq!(fates(&read), [(Fate::Handled, None), (Fate::Pending, None)]);
    let unread = read.ended(99, 10, None, 0, Signal::HUP.set());
    assert_eq!(fates(&unread)[1].0, Fate::Pending);
}

#[test]
fn proc_at_the_end_tells_what_is_still_pending() {
    let story = running().mask(20, 10, true).hup(60, SENDER, 10);
    let left = |pending| {
        let id = story.task(10).id;
        let state = SignalState { pending, ..Default::default() };
        fates(&story.clone().fact(99, Fact::Left { id, state }))[0].0
    };
    assert_eq!(left(Signal::HUP.set()), Fate::Pending);
    assert_eq!(left(SignalSet::EMPTY), Fate::Handled);
}

#[test]
fn setting_sig_ign_throws_away_what_is_pending() {
    let story = running().mask(20, 10, true).hup(60, SENDER, 10).action(
        70,
        10,
        Signal::HUP,
        DispositionKind::Ignored,
        0,
    );
    assert_eq!(fates(&story), [(Fate::Dropped, Some(ns(60)))]);
}

#[test]
fn a_stop_that_waits_is_thrown_out_by_cont_and_cont_by_a_stop() {
    let signal = |number| Signal::from_number(number).unwrap();
    let (cont, tstp, ttou) = (signal(18), signal(20), signal(22));
    let sent = |story: Story, at, number| {
        story.hup_with(at, SENDER, 10, |generate| {
            (generate.signal, generate.dying_of) = (number, None);
            generate.disposition = DispositionKind::Blocked;
        })
    };
    let stops = sent(sent(running(), 60, tstp), 61, ttou);
    let continued = sent(stops.clone(), 70, cont);
    let dropped = (Fate::Dropped, Some(ns(60)));
    assert_eq!(fates(&continued), [dropped, dropped, (Fate::Pending, None)]);
    let stopped = sent(continued, 80, tstp);
    assert_eq!(fates(&stopped)[2..], [(Fate::Dropped, Some(ns(70))), (Fate::Pending, None)]);
    // Whatever the process does on the other one, and not if it is ending.
    let ignored = stops.clone().hup_with(70, SENDER, 10, |generate| {
        (generate.signal, generate.result) = (cont, GenerateResult::Ignored);
        generate.dying_of = None;
    });
    assert_eq!(fates(&ignored)[..2], [dropped, dropped]);
    let ending = stops.hup_with(70, SENDER, 10, |generate| {
        (generate.signal, generate.result) = (cont, GenerateResult::Ignored);
        generate.dying_of = Some(Signal::KILL);
    });
    assert_eq!(fates(&ending)[..2], [(Fate::Pending, None), (Fate::Pending, None)]);
}

#[test]
fn a_signal_for_one_thread_does_not_prove_that_one_for_the_process_was_taken() {
    let story = running()
        .mask(20, 10, true)
        .hup(60, SENDER, 10)
        .hup_with(70, SENDER, 10, |g| g.to_thread = true);
    assert_eq!(fates(&story), [(Fate::Pending, None), (Fate::Pending, None)]);
}

/// Go: the runtime's handler resets to the default and sends the signal to itself.
#[test]
fn a_catch_all_handler_that_raises_the_signal_again_killed_by_the_first() {
    let told = running()
        .action(20, 10, Signal::HUP, DispositionKind::Handler, 1)
        .hup_with(60, SENDER, 10, |g| g.handler = serving(60))
        .deliver(61, 10, DispositionKind::Handler, false)
        .action(62, 10, Signal::HUP, DispositionKind::Default, 0)
        .hup_with(63, 10, 10, |g| g.to_thread = true)
        .killed(64, 10, Signal::HUP)
        .told();
    let first = told.signals()[0];
    assert_eq!((first.fate, first.runtime), (Fate::Killed, Some(Runtime::CatchAll)));
    assert_eq!(first.fate_ns, Some(ns(53)));
    assert_eq!(told.milestones.handler_ns, None);
    assert_eq!(told.exposure.len(), 1);
}

/// Java: the virtual machine's handler runs the shutdown hooks, however long they take.
#[test]
fn a_java_virtual_machine_that_exits_by_the_signals_number_was_killed_by_it() {
    let came = running()
        .jvm_handler(20, 10)
        .hup_with(60, SENDER, 10, |g| g.handler = jvms())
        .deliver(61, 10, DispositionKind::Handler, false)
        .hup_with(70, SENDER, 10, |g| g.handler = jvms())
        .deliver(71, 10, DispositionKind::Handler, false);
    let told = came.clone().exit(3_000, 10, 129).told();
    let [first, second] = told.signals()[..] else { panic!("two signals") };
    assert_eq!((first.fate, first.runtime), (Fate::Killed, Some(Runtime::Jvm)));
    assert_eq!(first.fate_ns, Some(ns(2_990)));
    assert_eq!(second.fate, Fate::Handled);
    assert_eq!(told.milestones.handler_ns, None);
    let told = came.exit(3_000, 10, 0).told();
    assert_eq!(told.signals()[0].fate, Fate::Handled);
}

#[test]
fn a_runtime_that_ends_well_on_term_has_handled_it_and_one_that_ends_with_a_code_was_killed() {
    let ended = |exe, signal: Signal, code| {
        let story = Story::command()
            .recording(signal)
            .fork(0, 1, 10)
            .exec(10, 10, exe)
            .fork(11, 10, SENDER)
            .action(20, 10, signal, DispositionKind::Handler, 1)
            .hup_with(60, SENDER, 10, |sent| {
                (sent.signal, sent.disposition) = (signal, DispositionKind::Handler);
                (sent.handler, sent.dying_of) = (serving(1), None);
            });
        let (task, disposition) = (story.task(10), DispositionKind::Handler);
        let (once, unkillable) = (false, false);
        let came = Fact::Deliver { task, signal, disposition, once, unkillable };
        story.fact(61, came).exit(80, 10, code).told().signals()[0].fate
    };
    assert_eq!(ended("/usr/bin/beam.smp", Signal::TERM, 0), Fate::Handled);
    assert_eq!(ended("/usr/bin/beam.smp", Signal::USR1, 1), Fate::Killed);
    assert_eq!(ended("/usr/bin/java", Signal::TERM, 143), Fate::Killed);
}

#[test]
fn a_java_program_that_has_asked_for_the_signal_is_not_killed_by_it() {
    let told = running()
        .jvm_handler(20, 10)
        .jvm_handler(40, 10)
        .hup_with(60, SENDER, 10, |g| g.handler = jvms())
        .deliver(61, 10, DispositionKind::Handler, false)
        .exit(70, 10, 143)
        .told();
    let first = told.signals()[0];
    assert_eq!((first.fate, first.runtime), (Fate::Handled, None));
}

/// bash: what is to be done on EXIT may take its time.
#[test]
fn a_catch_all_handler_that_cleans_up_first_killed_by_the_signal_all_the_same() {
    let told = running()
        .action(20, 10, Signal::HUP, DispositionKind::Handler, 60)
        .hup_with(60, SENDER, 10, |g| g.handler = serving(60))
        .deliver(61, 10, DispositionKind::Handler, false)
        .action(3_061, 10, Signal::HUP, DispositionKind::Default, 0)
        .hup_with(3_062, 10, 10, |g| g.to_thread = true)
        .killed(3_063, 10, Signal::HUP)
        .told();
    let first = told.signals()[0];
    assert_eq!((first.fate, first.runtime), (Fate::Killed, Some(Runtime::CatchAll)));
    assert_eq!(told.milestones.handler_ns, None);
}

/// Ruby: an exception that nothing catches, and then the signal again.
#[test]
fn ruby_that_raises_the_signal_again_was_killed_by_the_first() {
    let told = Story::command()
        .fork(0, 1, 10)
        .exec(10, 10, "/usr/bin/ruby3.1")
        .fork(11, 10, SENDER)
        .handler(20, 10)
        .hup_with(60, SENDER, 10, |g| g.handler = serving(7))
        .deliver(61, 10, DispositionKind::Handler, false)
        .action(68, 10, Signal::HUP, DispositionKind::Default, 0)
        .hup_with(69, 10, 10, |g| g.to_thread = true)
        .killed(70, 10, Signal::HUP)
        .told();
    let first = told.signals()[0];
    assert_eq!((first.fate, first.runtime), (Fate::Killed, Some(Runtime::Ruby)));
}

/// A shell or a daemon that tidies up and dies of the signal it was sent.
#[test]
fn a_handler_of_the_programs_own_that_raises_the_signal_again_is_no_runtimes() {
    let told = running()
        .handler(20, 10)
        .hup_with(60, SENDER, 10, |g| g.handler = serving(1))
        .deliver(61, 10, DispositionKind::Handler, false)
        .action(62, 10, Signal::HUP, DispositionKind::Default, 0)
        .hup_with(63, 10, 10, |g| g.to_thread = true)
        .killed(64, 10, Signal::HUP)
        .told();
    let first = told.signals()[0];
    assert_eq!((first.fate, first.runtime), (Fate::Killed, None));
    assert_eq!(told.milestones.handler_ns, Some(ns(10)));
}

#[test]
fn a_signal_to_a_process_that_has_ended_is_no_reload_and_no_new_start() {
    let told = running().exit(50, 10, 0).hup(60, SENDER, 10).told();
    assert_eq!(told.milestones.first_reload_ns, None);
    assert_eq!(told.signals().len(), 1);
}

#[test]
fn a_signal_to_a_process_that_exits_by_itself_is_dropped_and_not_ignored() {
    let story = running()
        .handler(20, 10)
        .hup_with(40, 10, 10, |generate| generate.result = GenerateResult::Ignored)
        .exit(41, 10, 0);
    assert_eq!(fates(&story), [(Fate::Dropped, None)]);
}

#[test]
fn a_thread_that_ignores_a_signal_too_late_does_not_undo_that_it_kills() {
    let story = running()
        .hup(60, SENDER, 10)
        .action(61, 10, Signal::HUP, DispositionKind::Ignored, 0)
        .killed(62, 10, Signal::HUP);
    assert_eq!(fates(&story), [(Fate::Killed, None)]);
}

#[test]
fn a_signal_read_from_a_signalfd_and_raised_again_killed() {
    let story = running()
        .mask(20, 10, true)
        .consume(21, 10, Consumer::Signalfd)
        .hup(60, SENDER, 10)
        .hup_with(63, 10, 10, |generate| generate.to_thread = true)
        .mask(64, 10, false)
        .deliver(65, 10, DispositionKind::Default, false)
        .killed(66, 10, Signal::HUP);
    assert_eq!(fates(&story), [(Fate::Killed, Some(ns(53))), (Fate::Killed, Some(ns(55)))]);
}

#[test]
fn of_two_signals_only_the_later_one_is_told_to_have_been_raised_again() {
    let story = running()
        .mask(20, 10, true)
        .consume(21, 10, Consumer::Signalfd)
        .hup(60, SENDER, 10)
        .hup(61, SENDER, 10)
        .hup_with(63, 10, 10, |generate| generate.to_thread = true)
        .mask(64, 10, false)
        .deliver(65, 10, DispositionKind::Default, false)
        .killed(66, 10, Signal::HUP);
    let fates: Vec<Fate> = fates(&story).into_iter().map(|(fate, _)| fate).collect();
    assert_eq!(fates, [Fate::Handled, Fate::Killed, Fate::Killed]);
}

#[test]
fn what_a_program_raised_does_not_blame_an_earlier_signal_while_it_waits() {
    let kills = |generate: &mut Generate| {
        (generate.to_thread, generate.dying_of) = (true, Some(Signal::HUP));
    };
    let story = running()
        .handler(20, 10)
        .hup_with(60, SENDER, 10, |generate| generate.handler = serving(64))
        .deliver(61, 10, DispositionKind::Handler, false)
        .hup(63, 10, 10)
        .exec(64, 10, "/bin/demo")
        .hup_with(65, SENDER, 10, kills)
        .ended(66, 10, Some(Signal::HUP), 0, Signal::HUP.set());
    let fates: Vec<Fate> = fates(&story).into_iter().map(|(fate, _)| fate).collect();
    assert_eq!(fates, [Fate::Handled, Fate::Pending, Fate::Killed]);
}

/// `trap 'clean up; exit 129' HUP; trap more EXIT` in bash: its handlers look a little like a
/// virtual machine's, but the faults have far more signals beside them.
#[test]
fn a_shell_with_traps_that_exits_by_the_signals_number_handled_it() {
    let faults = signals(&[2, 4, 5, 6, 7, 8, 11, 13, 14, 15, 24, 25, 31]);
    let trap = || Handler { serves: Signal::HUP.set(), faults };
    let told = running()
        .action_with(20, 10, Signal::HUP, DispositionKind::Handler, trap())
        .hup_with(60, SENDER, 10, |generate| generate.handler = trap())
        .deliver(61, 10, DispositionKind::Handler, false)
        .exit(70, 10, 129)
        .told();
    assert_eq!((told.signals()[0].fate, told.signals()[0].runtime), (Fate::Handled, None));
    assert_eq!(told.milestones.handler_ns, Some(ns(10)));
}

/// What happens after a signal was sent, 10 ms later, and what is then told of it: its fate,
/// and whether that was at its sending (`None`), or so many ms after the exec.
#[test]
#[allow(clippy::too_many_lines, reason = "it is one table")]
fn the_fate_follows_from_result_disposition_default_action_and_what_comes_later() {
    use DispositionKind::{Blocked, Default, Handler, Ignored};
    use GenerateResult as R;
    type Later = fn(Story, Signal) -> Story;
    type Row = (&'static str, R, DispositionKind, Later, Fate, Option<i64>);
    fn nothing(story: Story, _: Signal) -> Story {
        story
    }
    fn delivered(story: Story, signal: Signal, disposition: DispositionKind) -> Story {
        let task = story.task(10);
        let (once, unkillable) = (false, false);
        story.fact(70, Fact::Deliver { task, signal, disposition, once, unkillable })
    }
    fn to_default(story: Story, signal: Signal) -> Story {
        delivered(story, signal, Default)
    }
    fn to_default_of_init(story: Story, signal: Signal) -> Story {
        let (task, disposition) = (story.task(10), Default);
        let (once, unkillable) = (false, true);
        story.fact(70, Fact::Deliver { task, signal, disposition, once, unkillable })
    }
    fn to_handler(story: Story, signal: Signal) -> Story {
        delivered(story, signal, Handler)
    }
    fn to_nothing(story: Story, signal: Signal) -> Story {
        delivered(story, signal, Ignored)
    }
    fn taken(story: Story, signal: Signal) -> Story {
        let task = story.task(10);
        story.fact(70, Fact::Taken { task, signal })
    }
    fn ignores(story: Story, signal: Signal) -> Story {
        story.action(70, 10, signal, Ignored, 0)
    }
    fn thread_ends(story: Story, signal: Signal) -> Story {
        let task = story.task(10);
        story.fact(70, Fact::ThreadExit { task, pending: signal.set() })
    }
    fn dies_of_it(story: Story, signal: Signal) -> Story {
        story.killed(70, 10, signal)
    }
    fn dies_of_kill(story: Story, _: Signal) -> Story {
        story.killed(70, 10, Signal::KILL)
    }
    fn exits(story: Story, _: Signal) -> Story {
        story.exit(70, 10, 0)
    }
    fn exits_with_it_pending(story: Story, signal: Signal) -> Story {
        story.ended(70, 10, None, 0, signal.set())
    }
    fn seen_pending(story: Story, signal: Signal) -> Story {
        let id = story.task(10).id;
        let state = SignalState { pending: signal.set(), ..SignalState::default() };
        story.fact(70, Fact::Left { id, state })
    }
    fn seen_gone(story: Story, _: Signal) -> Story {
        let id = story.task(10).id;
        story.fact(70, Fact::Left { id, state: SignalState::default() })
    }
    fn default_and_dies_of_it(story: Story, signal: Signal) -> Story {
        to_default(story, signal).killed(75, 10, signal)
    }
    fn default_and_dies_of_kill(story: Story, signal: Signal) -> Story {
        to_default(story, signal).killed(75, 10, Signal::KILL)
    }
    const LATER: Option<i64> = Some(60);
    #[rustfmt::skip]
    let table: &[Row] = &[
        ("HUP",  R::Queued,         Default, nothing,                  Fate::Killed,    None),
        ("HUP",  R::LostInfo,       Default, nothing,                  Fate::Killed,    None),
        ("HUP",  R::Queued,         Default, dies_of_it,               Fate::Killed,    None),
        ("HUP",  R::Queued,         Default, dies_of_kill,             Fate::Dropped,   LATER),
        ("HUP",  R::Queued,         Default, exits,                    Fate::Dropped,   LATER),
        ("HUP",  R::Queued,         Default, ignores,                  Fate::Killed,    None),
        ("HUP",  R::Queued,         Default, seen_gone,                Fate::Killed,    None),
        ("HUP",  R::AlreadyPending, Default, dies_of_it,               Fate::Coalesced, None),
        ("HUP",  R::Overflow,       Handler, exits,                    Fate::Dropped,   None),
        ("HUP",  R::Ignored,        Ignored, exits,                    Fate::Ignored,   None),
        ("HUP",  R::Ignored,        Default, exits,                    Fate::Dropped,   None),
        ("HUP",  R::Ignored,        Handler, exits,                    Fate::Dropped,   None),
        ("CHLD", R::Ignored,        Default, exits,                    Fate::Ignored,   None),
        ("CONT", R::Ignored,        Default, exits,                    Fate::Ignored,   None),
        ("CONT", R::Queued,         Default, exits,                    Fate::Ignored,   None),
        ("WINCH", R::LostInfo,      Default, nothing,                  Fate::Ignored,   None),
        ("URG",  R::Queued,         Blocked, to_default,               Fate::Ignored,   LATER),
        ("CONT", R::Queued,         Blocked, to_default,               Fate::Ignored,   LATER),
        ("CONT", R::Queued,         Handler, to_handler,               Fate::Handled,   LATER),
        ("TSTP", R::Queued,         Default, nothing,                  Fate::Pending,   None),
        ("TSTP", R::Queued,         Default, to_default,               Fate::Stopped,   LATER),
        ("QUIT", R::Queued,         Default, nothing,                  Fate::Pending,   None),
        ("QUIT", R::Queued,         Default, dies_of_it,               Fate::Killed,    LATER),
        ("QUIT", R::Queued,         Default, to_default,               Fate::Killed,    LATER),
        ("QUIT", R::Queued,         Default, default_and_dies_of_it,   Fate::Killed,    LATER),
        ("QUIT", R::Queued,         Default, default_and_dies_of_kill, Fate::Dropped,   Some(65)),
        ("HUP",  R::Queued,         Handler, nothing,                  Fate::Pending,   None),
        ("HUP",  R::LostInfo,       Handler, nothing,                  Fate::Pending,   None),
        ("HUP",  R::LostInfo,       Handler, to_handler,               Fate::Handled,   LATER),
        ("HUP",  R::Queued,         Handler, to_handler,               Fate::Handled,   LATER),
        ("HUP",  R::Queued,         Handler, to_nothing,               Fate::Ignored,   LATER),
        ("HUP",  R::Queued,         Handler, to_default_of_init,       Fate::Ignored,   LATER),
        ("HUP",  R::Queued,         Handler, dies_of_it,               Fate::Handled,   None),
        ("HUP",  R::Queued,         Handler, exits,                    Fate::Handled,   None),
        ("HUP",  R::Queued,         Handler, exits_with_it_pending,    Fate::Pending,   None),
        ("HUP",  R::Queued,         Blocked, nothing,                  Fate::Pending,   None),
        ("HUP",  R::Queued,         Blocked, taken,                    Fate::Handled,   LATER),
        ("HUP",  R::Queued,         Blocked, ignores,                  Fate::Dropped,   LATER),
        ("HUP",  R::Queued,         Blocked, thread_ends,              Fate::Pending,   None),
        ("HUP",  R::Queued,         Blocked, to_default,               Fate::Killed,    LATER),
        ("HUP",  R::Queued,         Blocked, default_and_dies_of_it,   Fate::Killed,    LATER),
        ("HUP",  R::Queued,         Blocked, default_and_dies_of_kill, Fate::Dropped,   Some(65)),
        ("HUP",  R::Queued,         Blocked, to_default_of_init,       Fate::Ignored,   LATER),
        ("HUP",  R::Queued,         Blocked, dies_of_kill,             Fate::Handled,   None),
        ("HUP",  R::Queued,         Blocked, exits_with_it_pending,    Fate::Pending,   None),
        ("HUP",  R::Queued,         Blocked, seen_pending,             Fate::Pending,   None),
        ("HUP",  R::Queued,         Blocked, seen_gone,                Fate::Handled,   None),
    ];
    for (row, (name, result, disposition, later, fate, at)) in table.iter().enumerate() {
        let signal: Signal = name.parse().unwrap();
        let is_terminal = signal.default_action() == DefaultAction::Terminate;
        let is_queued = matches!(result, R::Queued | R::LostInfo);
        let condemned = *disposition == Default && is_terminal && is_queued;
        let sent = running().recording(signal).hup_with(60, SENDER, 10, |generate| {
            generate.signal = signal;
            generate.result = *result;
            generate.disposition = *disposition;
            generate.dying_of = condemned.then_some(signal);
        });
        let found = fates(&later(sent, signal));
        assert_eq!(found[0], (*fate, at.map(ns)), "row {row}: {name} {result:?} {disposition:?}");
    }
}

#[test]
fn a_thread_takes_its_own_signal_before_the_processs() {
    let story = running()
        .mask(20, 10, true)
        .hup(60, SENDER, 10)
        .hup_with(61, SENDER, 10, |generate| generate.to_thread = true)
        .mask(69, 10, false)
        .deliver(70, 10, DispositionKind::Handler, false);
    assert_eq!(fates(&story), [(Fate::Pending, None), (Fate::Handled, Some(ns(60)))]);
    let story = story.deliver(71, 10, DispositionKind::Handler, false);
    assert_eq!(fates(&story)[0], (Fate::Handled, Some(ns(61))));
}

#[test]
fn what_waited_for_a_thread_alone_goes_with_it() {
    let to = |tid| {
        let story = running().mask(20, 10, true);
        let story = story.hup_with(60, SENDER, 10, |generate| {
            generate.to_thread = true;
            generate.target.tid = 77;
        });
        let task = Task { tid, ..story.task(10) };
        let ended = Fact::ThreadExit { task, pending: Signal::HUP.set() };
        fates(&story.fact(70, ended))[0]
    };
    assert_eq!(to(77), (Fate::Dropped, Some(ns(60))));
    assert_eq!(to(78), (Fate::Pending, None));
}

#[test]
fn what_a_thread_has_taken_from_a_signalfd_does_not_go_with_it() {
    let read = |pending: SignalSet| {
        let story = running().mask(20, 10, true).consume(21, 10, Consumer::Signalfd);
        let story = story.hup_with(60, SENDER, 10, |generate| {
            generate.to_thread = true;
            generate.target.tid = 77;
        });
        let task = Task { tid: 77, ..story.task(10) };
        let ended = story.fact(70, Fact::ThreadExit { task, pending });
        fates(&ended.exit(80, 10, 0))[0].0
    };
    assert_eq!(read(SignalSet::EMPTY), Fate::Handled);
    assert_eq!(read(Signal::HUP.set()), Fate::Dropped);
}

#[test]
fn the_exit_of_one_virtual_machine_says_nothing_of_another() {
    let came = |story: Story, pid| {
        let sent = story.hup_with(60, SENDER, pid, |generate| generate.handler = jvms());
        sent.deliver(61, pid, DispositionKind::Handler, false)
    };
    let two = running().jvm_handler(20, 10).fork(21, 10, 11).jvm_handler(22, 11);
    let story = came(came(two, 10), 11).exit(70, 11, 129);
    let fates: Vec<Fate> = fates(&story).into_iter().map(|(fate, _)| fate).collect();
    assert_eq!(fates, [Fate::Handled, Fate::Killed]);
}

/// A thread takes its own first, and that was sent later.
#[test]
fn a_virtual_machine_was_ended_by_the_signal_that_was_sent_first() {
    let jvms = |generate: &mut Generate| generate.handler = jvms();
    let story = running()
        .jvm_handler(20, 10)
        .hup_with(60, SENDER, 10, jvms)
        .hup_with(61, SENDER, 10, |generate| {
            jvms(generate);
            generate.to_thread = true;
        })
        .deliver(62, 10, DispositionKind::Handler, false)
        .deliver(63, 10, DispositionKind::Handler, false)
        .exit(70, 10, 129);
    let fates: Vec<Fate> = fates(&story).into_iter().map(|(fate, _)| fate).collect();
    assert_eq!(fates, [Fate::Killed, Fate::Handled]);
}

/// Of a standard signal there is one in a queue; of the others there may be any number.
#[test]
fn a_second_real_time_signal_does_not_prove_that_the_first_was_taken() {
    let sent = |signal: Signal| {
        let change = |generate: &mut Generate| {
            generate.signal = signal;
            generate.disposition = DispositionKind::Blocked;
            generate.dying_of = None;
        };
        let story = running().recording(signal);
        fates(&story.hup_with(60, SENDER, 10, change).hup_with(61, SENDER, 10, change))[0].0
    };
    for (number, expected) in
        [(1, Fate::Handled), (31, Fate::Handled), (32, Fate::Pending), (64, Fate::Pending)]
    {
        assert_eq!(sent(Signal::from_number(number).unwrap()), expected, "{number}");
    }
}

#[test]
fn a_handler_that_gives_up_raises_the_signal_again_within_100_ms() {
    let raised = |after: u64| {
        let story = running()
            .handler(20, 10)
            .hup_with(60, SENDER, 10, |generate| generate.handler = serving(1))
            .deliver(60, 10, DispositionKind::Handler, false)
            .action(61, 10, Signal::HUP, DispositionKind::Default, 0)
            .hup_with(60 + after, 10, 10, |generate| generate.to_thread = true)
            .killed(60 + after, 10, Signal::HUP);
        fates(&story)[0].0
    };
    assert_eq!(raised(100), Fate::Killed);
    assert_eq!(raised(101), Fate::Handled);
}

#[test]
fn the_end_of_another_process_takes_nothing_from_what_is_known_of_one() {
    let story = running()
        .handler(20, 10)
        .fork(30, 10, 11)
        .hup_with(60, SENDER, 10, |generate| generate.handler = serving(1))
        .deliver(61, 10, DispositionKind::Handler, false)
        .exit(62, 11, 0)
        .action(63, 10, Signal::HUP, DispositionKind::Default, 0)
        .hup_with(64, 10, 10, |generate| generate.to_thread = true)
        .killed(65, 10, Signal::HUP);
    assert_eq!(fates(&story)[0], (Fate::Killed, Some(ns(54))));
}

#[test]
fn what_a_process_sends_itself_is_no_reload() {
    let story = running().handler(20, 10).hup(30, 10, 10);
    assert_eq!(story.told().milestones.first_reload_ns, None);
    let told = story.hup(40, SENDER, 10).told();
    assert_eq!(told.milestones.first_reload_ns, Some(ns(30)));
}

#[test]
fn what_waited_for_a_thread_and_is_gone_at_the_end_of_its_process_was_taken_by_nobody() {
    let ended = |to_thread: bool| {
        let story = running().handler(20, 10).mask(30, 10, true);
        let story = story.hup_with(60, SENDER, 10, |sent| sent.to_thread = to_thread);
        fates(&story.exit(70, 10, 0))[0].0
    };
    assert_eq!((ended(true), ended(false)), (Fate::Dropped, Fate::Handled));
}
