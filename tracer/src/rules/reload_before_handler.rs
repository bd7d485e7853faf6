//! The reload signal came before the handler.

use super::{
    Case, Finding, Rule, consequence, mend,
    reload::{Deadly, Reload},
    result::End,
    text,
};
use crate::model::{
    document::Severity,
    event::{DispositionKind, Effect, Fate},
};

pub(super) const RULE: Rule = Rule {
    id: "reload-before-handler",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/reload-before-handler.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    let deadly = case
        .deadly_reload()
        .filter(|deadly| !case.is_beyond_race(deadly))
        .filter(|deadly| !case.ends_as_meant(deadly))
        .map(|deadly| finding(case, &deadly));
    deadly.or_else(|| of_starter(case)).into_iter().collect()
}

/// It killed the starter of a service that puts itself into the background; and the daemon that this
/// had left running, which was the main process by then, ended for want of it.
fn of_starter(case: &Case) -> Option<Finding> {
    if case.is_meant_to_end() {
        return None;
    }
    let ends = |effect| matches!(effect, Effect::Ended | Effect::Crashed);
    let exit = case.exit_index()?;
    let at_ns = case.activation.milestones.exit_ns?;
    let reload = case.with_effect(ends).find(|reload| {
        reload.sent.fate == Fate::Killed
            && reload.sent.disposition != DispositionKind::Handler
            && !case.is_main(&reload.sent.target)
            && reload.sent.effect_ns == Some(at_ns)
    })?;
    let outcome = &case.activation.outcome;
    let end = End::of(outcome.signal, outcome.code, case.dumped_core())?;
    let signal = reload.sent.signal;
    Some(Finding {
        at_ns: reload.at_ns,
        events: vec![reload.index, exit],
        message: format!(
            "{signal} from {} killed {}, {}: its disposition was {}, with no handler yet. What it \
             had left running, {}, {} {} later.",
            text::sender(reload.sender),
            text::process(&reload.sent.target),
            text::when(case.activation, reload.at_ns),
            text::disposition(reload.sent.disposition),
            text::main(case),
            text::ended(end),
            text::Span(at_ns.saturating_sub(reload.settled_ns())),
        ),
        consequence: consequence::death(case, end, at_ns),
        mend: mend::handler_first(case),
    })
}

fn finding(case: &Case, deadly: &Deadly) -> Finding {
    let reload = &deadly.reload;
    let signal = reload.sent.signal;
    let settled = reload.settled_ns();
    let handler = case.phases().find(|phase| phase.takes() && phase.index > reload.index);

    let mut events: Vec<usize> = case
        .phases_before(reload.index)
        .last()
        .map(|phase| phase.index)
        .into_iter()
        .chain([reload.index])
        .chain(deadly.reraised)
        .chain(handler.map(|phase| phase.index))
        .chain(case.exit_index().filter(|_| deadly.killed))
        .collect();
    events.sort_unstable();

    let verb = if deadly.killed { "killed" } else { "would kill" };
    Finding {
        at_ns: reload.at_ns,
        events,
        message: format!(
            "{signal} from {} {verb} {}, {}: {}. {}",
            text::sender(reload.sender),
            text::main(case),
            text::when(case.activation, reload.at_ns),
            what_it_met(case, deadly),
            match handler {
                Some(phase) => format!(
                    "The handler came {} too late.",
                    text::Span(phase.at_ns.saturating_sub(reload.at_ns))
                ),
                None if handlers_before(case, reload) == (true, false) => {
                    "It was not set again.".to_owned()
                }
                None => "The handler never came.".to_owned(),
            }
        ),
        consequence: consequence::death(case, deadly.end, settled),
        mend: if lacks_mask(case, reload) {
            mend::mask_first(reload.sent)
        } else if handlers_before(case, reload) == (true, false) {
            mend::keep_handler(reload.sent.signal)
        } else if executed_itself(case, reload) {
            mend::cover_exec(reload.sent.signal)
        } else {
            mend::handler_first(case)
        },
    }
}

/// Whether the program means to block the signal and not every thread does: somebody waits for it,
/// or the process's own thread blocks it. The kernel gives it to one that doesn't
/// (`complete_signal()` in kernel/signal.c).
fn lacks_mask(case: &Case, reload: &Reload) -> bool {
    reload.sent.disposition == DispositionKind::Default
        && (has_consumer(case, reload) || reload.sent.unblocked.is_some())
}

/// Whether somebody waited for the signal.
fn has_consumer(case: &Case, reload: &Reload) -> bool {
    let before = case.phases_before(reload.index).last();
    before.is_some_and(|phase| phase.has_consumer)
}

/// Why there was nothing to take it.
fn what_it_met(case: &Case, deadly: &Deadly) -> String {
    let reload = &deadly.reload;
    match reload.sent.runtime {
        Some(runtime) if runtime.exit_code(reload.sent.signal).is_some() => {
            return format!(
                "only {}'s own handler was there, which shuts the program down ({})",
                runtime.name(),
                deadly.end
            );
        }
        Some(_) => {
            return "only the language runtime's own handler was there, which passes the signal \
                    on to the default action"
                .to_owned();
        }
        None => {}
    }
    if reload.sent.disposition == DispositionKind::Blocked {
        return "it waited while it was blocked and met the default action when it was unblocked"
            .to_owned();
    }
    if lacks_mask(case, reload) {
        let holds = if has_consumer(case, reload) {
            "one of its threads waits for it (sigwait, signalfd)"
        } else {
            "the main thread blocks it"
        };
        let other = reload.sent.unblocked.as_ref();
        let other = other.map_or_else(|| "another thread".to_owned(), text::thread);
        return format!(
            "{holds}, but {other} did not block it, and there it met the default action"
        );
    }
    let disposition = text::disposition(reload.sent.disposition);
    match handlers_before(case, reload) {
        (true, true) => {
            format!("its disposition was {disposition}, because an exec had reset the handler")
        }
        (true, false) => format!(
            "its disposition was {disposition}, although a handler had been there (one for a \
             single signal, or taken back)"
        ),
        (false, _) => format!("its disposition was {disposition}, with no handler yet"),
    }
}

/// Whether the program had taken its signal, and was up, before the exec that took its handler
/// away: what a shell executes in its own place has the start still before it.
fn executed_itself(case: &Case, reload: &Reload) -> bool {
    let milestones = &case.activation.milestones;
    let kept = milestones
        .handler_ns
        .zip(milestones.last_exec_ns)
        .is_some_and(|(handler, exec)| handler < exec && exec <= reload.at_ns);
    // One that ran before the capture was up.
    let kept = kept || case.activation.joined_ns.is_some();
    kept && handlers_before(case, reload) == (true, true)
}

/// Whether there was a handler before a reload, and whether an exec took it away.
fn handlers_before(case: &Case, reload: &Reload) -> (bool, bool) {
    // A mask for a moment, as around a fork, leaves it at that.
    case.phases_before(reload.index).fold((false, false), |(handled, exec), phase| {
        let takes = phase.takes();
        (handled || takes, !takes && (exec || phase.by_exec && handled))
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{
            event::{Fate, ProcessRef, Runtime},
            signal::Signal,
        },
        rules::testing::*,
    };

    const ID: &str = "reload-before-handler";

    #[test]
    fn a_starter_that_dies_and_takes_with_it_what_it_has_left_running_was_reloaded_too_early() {
        let left = |ends: fn(Start) -> Start| {
            let daemon = ProcessRef { pid: 4713, ..by("demo") };
            let start = activation().unit("forking", "on-failure").reloads_by(Signal::HUP).exec(0);
            let start = start.forks(5.ms(), itself(), daemon.clone());
            let start = start.signal(8.ms(), Signal::HUP, Default, Killed, by("kill"));
            let start = start.gone(9.ms(), itself(), Some(Signal::HUP));
            ends(start.handed_over(12.ms(), daemon))
        };
        let alerts = left(|start| start.exit(30.ms(), 0)).judged(&[ID]);
        let (message, consequence) = (&alerts[0].message, &alerts[0].consequence);
        assert!(message.starts_with("HUP from kill"), "{message}");
        assert!(message.contains("killed python3 (pid 4711)"), "{message}");
        assert!(
            message.contains(
                "What it had left running, demo (pid 4713), exited with code 0 22.0 ms later."
            ),
            "{message}"
        );
        assert!(consequence.contains("result 'success'"), "{consequence}");
        assert!(alerts[0].mend.contains("go into the background"), "{}", alerts[0].mend);
        left(|start| start).judged(&[]);
    }

    #[test]
    fn a_starter_that_its_reload_is_meant_to_end_needs_no_handler() {
        let daemon = ProcessRef { pid: 4713, ..by("demo") };
        let start = activation().unit("forking", "on-failure").reloads_by(Signal::TERM).exec(0);
        let start = start.forks(5.ms(), itself(), daemon.clone());
        let start = start.signal(8.ms(), Signal::TERM, Default, Killed, by("kill"));
        let start = start.gone(9.ms(), itself(), Some(Signal::TERM));
        let start = start.handed_over(12.ms(), daemon).exit(30.ms(), 0);
        assert_eq!(start.asked(|case| super::check(case).len()), 0);
    }

    #[test]
    fn a_hup_that_kills_before_the_handler_is_an_error_that_names_its_sender() {
        let alerts = activation()
            .unit("simple", "on-failure")
            .exec(0)
            .signal(50.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
        assert_eq!(
            alerts[0].message,
            "HUP from kill (pid 4720, /usr/bin/kill) killed python3 (pid 4711), 50.0 ms after \
             its exec: its disposition was default, with no handler yet. The handler never came."
        );
        assert_eq!(
            alerts[0].consequence,
            "systemd takes death by HUP as a clean exit of a Type=simple service (result \
             'success'): Restart=on-failure does not restart it. It stays down, and nothing \
             reports a failure."
        );
        assert_eq!(alerts[0].events, [0, 1, 2], "exec, signal, exit");
        assert_eq!(alerts[0].at_ns, 50.ms());
    }

    #[test]
    fn a_handler_of_the_same_moment_comes_too_late_if_it_comes_after() {
        let alerts = activation()
            .exec(0)
            .signal(50.ms(), Signal::HUP, Default, Pending, by("kill"))
            .handler(50.ms())
            .judged(&[ID]);
        assert!(alerts[0].message.ends_with("The handler came 0 ms too late."));
    }

    #[test]
    fn a_runtime_may_raise_it_twice_before_it_dies_of_it() {
        let alerts = activation()
            .exec(0)
            .runtime_handler(1.ms())
            .signal(27.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .by_runtime()
            .signal(28.ms(), Signal::HUP, Handler, Handled, itself())
            .by_runtime()
            .signal(29.ms(), Signal::HUP, Default, Killed, itself())
            .judged(&[ID]);
        assert!(
            alerts[0]
                .message
                .contains("only the language runtime's own handler was there, which passes"),
            "{}",
            alerts[0].message
        );
    }

    #[test]
    fn a_java_virtual_machine_that_shuts_down_on_it_exits_with_a_code() {
        let alerts = activation()
            .unit("simple", "on-failure")
            .exec(0)
            .handler_of(1.ms(), Runtime::Jvm)
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .by_handler_of(Runtime::Jvm)
            .fate(Killed)
            .exit(90.ms(), 129)
            .judged(&[ID]);
        assert_eq!(alerts[0].events, [1, 2, 3], "the virtual machine's handler, signal, exit");
        assert!(alerts[0].message.contains("shuts the program down (an exit with code 129)"));
        assert_eq!(
            alerts[0].consequence,
            "systemd takes an exit with code 129 as a failure of a Type=simple service (result \
             'exit-code'): Restart=on-failure restarts it."
        );
    }

    #[test]
    fn a_java_virtual_machine_that_is_still_shutting_down_is_as_good_as_dead() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .exec(0)
            .handler_of(1.ms(), Runtime::Jvm)
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .by_handler_of(Runtime::Jvm)
            .judged(&[ID]);
        assert!(alerts[0].message.contains("would kill"), "{}", alerts[0].message);
    }

    #[test]
    fn with_unknown_settings_the_same_death_is_still_an_error() {
        let alerts = activation()
            .exec(0)
            .signal(50.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
        assert!(alerts[0].consequence.starts_with("The unit's settings are unknown: "));
    }

    #[test]
    fn under_run_both_sorts_of_unit_are_told() {
        let alerts = activation()
            .command()
            .exec(0)
            .signal(50.ms(), Signal::HUP, Default, Killed, by("sigready"))
            .judged(&[ID]);
        let consequence = &alerts[0].consequence;
        assert!(consequence.contains("Type=simple"), "{consequence}");
        assert!(consequence.contains("'protocol'"), "{consequence}");
    }

    #[test]
    fn death_of_a_notify_service_before_ready_is_a_protocol_failure() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .exec(0)
            .signal(50.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
        assert_eq!(
            alerts[0].consequence,
            "systemd takes death by HUP before READY=1 as a failed start of a Type=notify service \
             (result 'protocol'): Restart=on-failure restarts it."
        );
    }

    #[test]
    fn usr1_is_an_unclean_death() {
        let usr1: Signal = "USR1".parse().unwrap();
        let alerts = activation()
            .unit("simple", "on-failure")
            .reloads_by(usr1)
            .exec(0)
            .signal(50.ms(), usr1, Default, Killed, by("systemctl"))
            .judged(&[ID]);
        assert!(alerts[0].consequence.contains("(result 'signal'): Restart=on-failure restarts"));
    }

    #[test]
    fn a_signal_that_waits_in_a_stopped_process_without_handler_would_kill() {
        let alerts = activation()
            .exec(0)
            .signal(50.ms(), Signal::HUP, Default, Pending, by("kill"))
            .handler(80.ms())
            .judged(&[ID]);
        assert!(alerts[0].message.contains("would kill"), "{}", alerts[0].message);
        assert!(alerts[0].message.contains("came 30.0 ms too late"), "{}", alerts[0].message);
    }

    #[test]
    fn a_blocked_signal_that_kills_when_unblocked_counts() {
        let alerts = activation()
            .exec(0)
            .mask(10.ms(), Blocked)
            .signal(50.ms(), Signal::HUP, Blocked, Killed, by("kill"))
            .fate_at(70.ms())
            .judged(&[ID]);
        assert!(alerts[0].message.contains("blocked"), "{}", alerts[0].message);
    }

    #[test]
    fn a_thread_that_does_not_block_it_takes_it_from_the_one_that_waits() {
        let alerts = activation()
            .exec(0)
            .waited_for(10.ms())
            .signal(50.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
        assert!(alerts[0].message.contains("another thread"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("before the first thread"), "{}", alerts[0].mend);
    }

    #[test]
    fn the_thread_that_does_not_block_it_is_named_where_the_kernel_told_it() {
        let hit = |start: Start| {
            start
                .signal(50.ms(), Signal::HUP, Default, Killed, by("kill"))
                .unblocked(17, "rdk:main")
        };
        let alerts = hit(activation().exec(0).waited_for(10.ms())).judged(&[ID]);
        assert!(alerts[0].message.contains("waits for it"), "{}", alerts[0].message);
        assert!(alerts[0].message.contains("thread 17 (rdk:main) did"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("thread 17 (rdk:main)"), "{}", alerts[0].mend);
        let alerts = hit(activation().exec(0)).judged(&[ID]);
        assert!(alerts[0].message.contains("main thread blocks it, but"), "{}", alerts[0].message);
    }

    #[test]
    fn a_runtimes_handler_that_raises_the_signal_again_is_no_handler() {
        let alerts = activation()
            .exec(0)
            .runtime_handler(1.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .by_runtime()
            .disposition(50.ms() + 1, Default)
            .signal(50.ms() + 2, Signal::HUP, Default, Killed, itself())
            .judged(&[ID]);
        assert_eq!(alerts[0].events, [1, 2, 4, 5], "runtime, signal, raised again, exit");
        assert!(alerts[0].message.contains("runtime"), "{}", alerts[0].message);
    }

    #[test]
    fn a_runtimes_handler_that_the_program_listens_behind_is_one() {
        activation()
            .exec(0)
            .runtime_handler(1.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .by_runtime()
            .judged(&[]);
    }

    #[test]
    fn a_second_hup_while_the_program_executes_itself_again_is_a_race() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .reloads_by(Signal::HUP)
            .exec(0)
            .handler(10.ms())
            .ready(20.ms())
            .signal(1.s(), Signal::HUP, Handler, Handled, by("kill"))
            .exec(1.s() + 5.ms())
            .signal(1.s() + 6.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
        assert!(alerts[0].message.contains("an exec had reset"), "{}", alerts[0].message);
        assert!(alerts[0].message.contains("1.00 ms after its last exec"), "{}", alerts[0].message);
        assert!(
            alerts[0].mend.contains("block HUP before it executes itself"),
            "{}",
            alerts[0].mend
        );
    }

    #[test]
    fn what_executes_itself_and_ran_before_the_capture_was_up() {
        let alerts = activation()
            .unit("simple", "always")
            .reloads_by(Signal::HUP)
            .joined(1.s())
            .disposition(1.s(), Handler)
            .exec(2.s())
            .mask(2.s() + 10, Blocked)
            .mask(2.s() + 20, Default)
            .signal(2.s() + 1.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&["capture-incomplete", ID]);
        assert!(alerts[1].message.contains("an exec had reset"), "{}", alerts[1].message);
        assert!(
            alerts[1].mend.contains("block HUP before it executes itself"),
            "{}",
            alerts[1].mend
        );
    }

    #[test]
    fn what_a_shell_executes_in_its_own_place_has_its_start_before_it() {
        let alerts = activation()
            .unit("simple", "on-failure")
            .reloads_by(Signal::HUP)
            .exec(0)
            .disposition(1.ms(), Handler)
            .exec(5.ms())
            .signal(6.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
        assert!(alerts[0].mend.contains("[Service] Type=notify"), "{}", alerts[0].mend);
    }

    #[test]
    fn a_handler_that_comes_after_the_reload_was_not_kept_before_it() {
        let late = || {
            let start = activation().unit("simple", "on-failure").reloads_by(Signal::HUP).exec(0);
            let start = start.disposition(1.ms(), Handler).exec(5.ms());
            start.signal(6.ms(), Signal::HUP, Default, Pending, by("kill")).handler(8.ms())
        };
        for start in [late(), late().exec(20.ms())] {
            let mend = start.judged(&[ID]).remove(0).mend;
            assert!(mend.contains("[Service] Type=notify"), "{mend}");
        }
    }

    #[test]
    fn executing_itself_again_without_a_signal_is_fine() {
        activation()
            .unit("notify", "on-failure")
            .exec(0)
            .handler(10.ms())
            .ready(20.ms())
            .exec(1.s())
            .fatal(1.s(), 1.s() + 10.ms())
            .handler(1.s() + 10.ms())
            .judged(&[]);
    }

    #[test]
    fn a_handler_good_for_one_signal_does_not_cover_the_next() {
        let alerts = activation()
            .exec(0)
            .handler(10.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .signal(51.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
        assert!(alerts[0].message.contains("single signal"), "{}", alerts[0].message);
    }

    #[test]
    fn a_program_that_stops_on_hup_is_left_alone() {
        activation()
            .unit("simple", "no")
            .exec(0)
            .handler(10.ms())
            .signal(1.s(), Signal::HUP, Handler, Handled, by("kill"))
            .exit(1.s() + 20.ms(), 0)
            .judged(&[]);
    }

    #[test]
    fn a_handler_that_resets_and_raises_ends_the_service_by_its_own_wish() {
        activation()
            .exec(0)
            .handler(10.ms())
            .signal(1.s(), Signal::HUP, Handler, Handled, by("kill"))
            .disposition(1.s() + 1, Default)
            .signal(1.s() + 2, Signal::HUP, Default, Killed, itself())
            .judged(&["reload-ends-service"]);
    }

    #[test]
    fn death_on_the_way_out_is_none_of_its_business() {
        let term =
            |start: Start| start.signal(2.s(), Signal::TERM, Handler, Handled, by("systemd"));
        let stopping =
            |start: Start| start.notify(2.s(), itself(), &[("STOPPING", "1"), ("READY", "1")]);
        let unheard = |start: Start| stopping(start).refused();
        let reset = |start: Start| start.disposition(4.s() - 100.ms(), Default);
        for leave in [&term as &dyn Fn(_) -> _, &stopping, &unheard, &reset] {
            let up = activation().unit("notify", "no").exec(0).handler(10.ms()).ready(20.ms());
            leave(up)
                .disposition(4.s() - 50.ms(), Default)
                .signal(4.s(), Signal::HUP, Default, Killed, by("kill"))
                .judged(&[]);
        }
    }

    #[test]
    fn a_handler_given_back_is_no_end_where_the_service_is_there_to_be_reloaded_later() {
        let up = activation().unit("notify", "no").exec(0).handler(10.ms()).ready(20.ms());
        let gone = up.disposition(2.s(), Default);
        for after in [201.ms(), 1.s()] {
            let start = gone.clone();
            start.signal(2.s() + after, Signal::HUP, Default, Killed, by("kill")).judged(&[ID]);
        }
        gone.signal(2.s() + 200.ms(), Signal::HUP, Default, Killed, by("kill")).judged(&[]);
    }

    #[test]
    fn a_handler_for_one_delivery_is_taken_away_by_the_kernel_and_the_next_reload_kills() {
        let start = activation().unit("simple", "no").exec(0).handler(10.ms()).for_one_delivery();
        let start = start.signal(1.s(), Signal::HUP, Handler, Handled, by("kill"));
        let alerts = start
            .disposition(1.s(), Default)
            .signal(1.s() + 10.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
        assert!(
            alerts[0].message.ends_with(
                "although a handler had been there (one for a single signal, or taken back). It \
                 was not set again."
            ),
            "{}",
            alerts[0].message
        );
        assert!(alerts[0].mend.contains("SA_RESETHAND"), "{}", alerts[0].mend);
    }

    #[test]
    fn a_handler_taken_back_for_a_while_only_leaves_a_gap() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .handler(10.ms())
            .ready(20.ms())
            .disposition(2.s(), Default)
            .signal(3.s(), Signal::HUP, Default, Pending, by("kill"))
            .handler(4.s())
            .judged(&[ID]);
    }

    #[test]
    fn a_reset_before_ready_is_still_a_start() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .handler(10.ms())
            .disposition(15.ms(), Default)
            .signal(20.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
    }

    #[test]
    fn what_hits_a_child_or_comes_from_the_terminal_is_no_reload() {
        activation()
            .exec(0)
            .signal(50.ms(), Signal::HUP, Default, Killed, by("kill"))
            .to("worker")
            .judged(&["reload-kills-process"]);
        activation()
            .exec(0)
            .signal(50.ms(), Signal::HUP, Default, Killed, by("terminal"))
            .by_kernel()
            .judged(&[]);
        activation().exec(0).signal(50.ms(), Signal::TERM, Default, Killed, by("kill")).judged(&[]);
    }

    #[test]
    fn a_process_that_sends_itself_the_signal_is_not_reloaded() {
        activation().exec(0).signal(50.ms(), Signal::HUP, Default, Killed, itself()).judged(&[]);
    }

    #[test]
    fn a_signal_that_does_not_kill_by_default_waits_harmlessly() {
        let winch: Signal = "WINCH".parse().unwrap();
        activation()
            .reloads_by(winch)
            .exec(0)
            .signal(59.s(), winch, Default, Pending, by("kill"))
            .judged(&[]);
    }

    #[test]
    fn a_runtime_that_survives_one_of_its_own_signals_listens() {
        activation()
            .exec(0)
            .runtime_handler(1.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .by_runtime()
            .signal(60.ms(), Signal::HUP, Handler, Handled, itself())
            .judged(&[]);
    }

    #[test]
    fn an_ignored_term_and_a_childs_stopping_leave_the_service_up() {
        activation()
            .exec(0)
            .signal(10.ms(), Signal::TERM, Ignored, Fate::Ignored, by("kill"))
            .notify(20.ms(), by("worker"), &[("STOPPING", "1")])
            .signal(50.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
    }

    #[test]
    fn of_one_moment_the_error_comes_first() {
        activation()
            .exec(0)
            .signal(0, Signal::HUP, Default, Killed, by("kill"))
            .lost(1)
            .judged(&[ID, "capture-incomplete"]);
    }

    #[test]
    fn a_service_found_running_counts_as_started() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .joined(60.s())
            .signal(61.s(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&["capture-incomplete", "reload-never-handled"]);
        assert!(alerts[1].consequence.contains("(result 'success')"), "{}", alerts[1].consequence);
    }
}
