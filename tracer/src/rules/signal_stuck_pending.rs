//! A reload signal waits, and nothing takes it.

use super::{Case, Finding, Rule, consequence, reload::Reload, text};
use crate::model::{
    document::Severity,
    event::{DispositionKind, Effect, Fate},
};

/// A reload signal that waits for longer is stuck.
const STUCK_NS: i64 = 2_000_000_000;

pub(super) const RULE: Rule = Rule {
    id: "signal-stuck-pending",
    severity: Severity::Warning,
    explanation: include_str!("../../docs/rules/signal-stuck-pending.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    let stuck: Vec<Reload> =
        case.reloads_in_service().filter(|reload| is_stuck(case, reload)).collect();
    finding(case, &stuck).into_iter().collect()
}

fn is_stuck(case: &Case, reload: &Reload) -> bool {
    let milestones = &case.activation.milestones;
    let exited = milestones.exit_ns.is_some();
    let untaken = match reload.sent.fate {
        Fate::Pending => true,
        Fate::Dropped => exited && reload.sent.disposition == DispositionKind::Blocked,
        _ => false,
    };
    // What is read by a signalfd or sigwait had to come first.
    let before = case.phases_before(reload.index).last();
    let is_read = before.is_some_and(|phase| phase.has_consumer);
    let waited = case.end_ns().saturating_sub(reload.at_ns);
    let long = exited && !is_read || waited >= STUCK_NS;
    // Held back on purpose: a service that starts may take its signals once it is ready. One that
    // ends before that has failed to start, and lost no reload.
    let starting = case.awaits_ready() && milestones.ready_ns.is_none();
    // The handler of the one before was still at work, and ended the program.
    let ended =
        matches!(reload.sent.effect, Some(Effect::Ended | Effect::Crashed | Effect::Replaced));
    untaken && long && !starting && !ended && case.deadly(reload).is_none()
}

fn finding(case: &Case, stuck: &[Reload]) -> Option<Finding> {
    let first = stuck.first()?;
    let signal = first.sent.signal;
    let exit = case.exit_index();
    Some(Finding {
        at_ns: first.at_ns,
        events: stuck.iter().map(|reload| reload.index).chain(exit).collect(),
        message: format!(
            "{signal} from {}, sent {}, still waited {} later when {}: {} has it {}, and nothing \
             took it{}.",
            text::sender(first.sender),
            text::when(case.activation, first.at_ns),
            text::Span(case.end_ns().saturating_sub(first.at_ns)),
            if exit.is_some() { "the process ended" } else { "the capture ended" },
            text::main(case),
            text::disposition(first.sent.disposition),
            text::and_more(stuck.len())
        ),
        consequence: consequence::lost_reload(case),
        mend: if executed_in_handler(case, first) {
            format!(
                "The program executed itself while it handled {signal}, which the kernel blocks \
                 for as long as the handler runs, and an exec keeps the mask. Unblock {signal} \
                 right before that exec (sigprocmask), or note the reload in the handler and \
                 execute the program from the main loop."
            )
        } else {
            format!(
                "In the program: unblock {signal} once its handler is in, in one thread at least, \
                 or read it (signalfd, sigwait). Look for a thread or a failed reload that left \
                 it blocked: SigBlk and ShdPnd in /proc/PID/status."
            )
        },
    })
}

/// Whether the program that has it blocked was executed in a handler of that signal: it was
/// blocked from that exec on, which came right after one that was handled.
fn executed_in_handler(case: &Case, stuck: &Reload) -> bool {
    let exec = case.phases_before(stuck.index).filter(|phase| phase.by_exec).last();
    exec.is_some_and(|exec| {
        let before = case.reloads().filter(|reload| reload.index < exec.index).last();
        exec.disposition == DispositionKind::Blocked
            && before.is_some_and(|before| before.sent.fate == Fate::Handled)
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{document::EndedBy, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "signal-stuck-pending";

    #[test]
    fn a_blocked_reload_that_nothing_takes_is_stuck() {
        let alerts = activation()
            .unit("simple", "no")
            .exec(0)
            .mask(1.ms(), Blocked)
            .signal(1.s(), Signal::HUP, Blocked, Pending, by("kill"))
            .judged(&[ID]);
        assert_eq!(alerts[0].events, [2]);
        assert!(alerts[0].message.contains("59.0 s later"), "{}", alerts[0].message);
    }

    #[test]
    fn a_program_that_executes_itself_in_its_handler_keeps_the_mask() {
        let handled = activation()
            .unit("simple", "no")
            .exec(0)
            .handler(1.ms())
            .signal(1.s(), Signal::HUP, Handler, Handled, by("kill"))
            .exec_with(1.s() + 1.ms(), Blocked);
        let stuck = handled.signal(20.s(), Signal::HUP, Blocked, Pending, by("kill"));
        let alerts = stuck.judged(&[ID]);
        assert!(alerts[0].mend.contains("executed itself"), "{}", alerts[0].mend);
    }

    #[test]
    fn two_seconds_are_granted() {
        let blocked = activation().exec(0).mask(1.ms(), Blocked);
        let sent = blocked.signal(1.s(), Signal::HUP, Blocked, Pending, by("kill"));
        sent.clone().ends_at(2.s(), EndedBy::Timeout).judged(&[]);
        sent.ends_at(3.s(), EndedBy::Timeout).judged(&[ID]);
    }

    #[test]
    fn a_reload_untaken_at_the_exit_was_never_taken() {
        let alerts = activation()
            .exec(0)
            .mask(1.ms(), Blocked)
            .signal(1.s(), Signal::HUP, Blocked, Dropped, by("kill"))
            .exit(2.s(), 0)
            .judged(&[ID]);
        assert_eq!(alerts[0].events, [2, 3]);
    }

    #[test]
    fn a_signal_held_back_during_the_start_is_not_stuck() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .mask(1.ms(), Blocked)
            .signal(1.s(), Signal::HUP, Blocked, Pending, by("kill"))
            .ends_at(10.s(), EndedBy::Interrupt)
            .judged(&[]);
    }

    #[test]
    fn what_waits_as_a_start_fails_or_for_its_reader_is_not_stuck() {
        let ended = |start: Start| {
            start.signal(1.s(), Signal::HUP, Blocked, Dropped, by("kill")).exit(1.s() + 5.ms(), 2)
        };
        let blocked = || activation().unit("notify", "no").exec(0).mask(1.ms(), Blocked);
        ended(blocked()).judged(&["ready-missing"]);
        ended(blocked().ready(2.ms())).judged(&[ID]);
        let read = || activation().unit("simple", "no").exec(0).signalfd(1.ms());
        ended(read()).judged(&[]);
        let long = read().signal(1.s(), Signal::HUP, Blocked, Dropped, by("kill"));
        long.exit(4.s(), 0).judged(&[ID]);
    }

    #[test]
    fn what_was_taken_late_or_sent_on_the_way_out_is_not_stuck() {
        activation()
            .exec(0)
            .signalfd(1.ms())
            .signal(1.s(), Signal::HUP, Blocked, Handled, by("kill"))
            .fate_at(9.s())
            .judged(&[]);
        activation()
            .exec(0)
            .handler(1.ms())
            .signal(1.s(), Signal::TERM, Handler, Handled, by("systemd"))
            .mask(1.s() + 1, Blocked)
            .signal(2.s(), Signal::HUP, Blocked, Dropped, by("kill"))
            .exit(3.s(), 0)
            .judged(&[]);
    }

    #[test]
    fn what_was_not_blocked_as_the_process_ended_is_not_stuck() {
        let start = activation().exec(0).signal(1.s(), Signal::HUP, Default, Dropped, by("kill"));
        start.exit(4.s(), 0).judged(&[]);
    }

    #[test]
    fn what_is_blocked_for_another_reason_than_an_exec_in_the_handler_is_to_be_unblocked() {
        let mend = |start: Start| {
            let start = start.signal(20.s(), Signal::HUP, Blocked, Pending, by("kill"));
            start.judged(&[ID]).remove(0).mend
        };
        let unit = || activation().unit("simple", "no");
        let handled = |start: Start| {
            start.handler(1.ms()).signal(1.s(), Signal::HUP, Handler, Handled, by("kill"))
        };
        let began_so = mend(unit().exec_with(0, Blocked));
        let blocked_it = mend(handled(unit().exec(0)).mask(2.s(), Blocked));
        let executed_before =
            mend(handled(unit().exec(0)).exec(1.s() + 1.ms()).mask(2.s(), Blocked));
        for mend in [began_so, blocked_it, executed_before] {
            assert!(mend.starts_with("In the program: unblock HUP"), "{mend}");
        }
    }
}
