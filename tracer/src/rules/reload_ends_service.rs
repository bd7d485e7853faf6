//! The reload was taken, and it ended the service.

use super::{Case, Finding, Rule, consequence, mend, reload::Reload, result::End, text};
use crate::model::{
    document::{OutcomeState, Severity},
    event::{Fate, SignalSent},
    signal::Signal,
};

pub(super) const RULE: Rule = Rule {
    id: "reload-ends-service",
    severity: Severity::Error,
    explanation: include_str!("../../../docs/rules/reload-ends-service.md"),
    check,
};

/// How soon after a reload that it took a unit's main process ends by it. Nothing else is known
/// to end it, and a service is not expected to end by itself.
const SOON_NS: i64 = 5_000_000_000;
/// The same for a command, which may just have come to its end.
const AT_ONCE_NS: i64 = 250_000_000;

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    // A unit whose reload is not this signal may well end by it.
    if !case.is_command() && !case.reloads_by_signal() {
        return None;
    }
    let exit = case.activation.milestones.exit_ns?;
    // A command that leaves processes behind has not just come to its end.
    let left = case.has_descendants_at(exit);
    let soon = if case.is_command() && !left { AT_ONCE_NS } else { SOON_NS };
    let reload = case
        .reloads_in_service()
        .filter(|reload| was_taken(case, reload))
        .filter(|reload| (0..=soon).contains(&exit.saturating_sub(reload.settled_ns())))
        .last()?;
    if has_other_cause(case, &reload, exit) {
        return None;
    }
    let end = end(case)?;
    // To be ended and started anew is how such a unit reloads.
    let is_crash = matches!(end, End::Signal { .. });
    if !is_crash && consequence::restarts(case, end, exit) == Some(true) {
        return None;
    }
    let signal = reload.sent.signal;
    let how = match end {
        End::Code(code) => format!("exited with code {code}"),
        End::Signal { signal, .. } => format!("died of {signal}"),
    };
    let left = if left {
        " It left processes behind, which systemd does not take for the service."
    } else {
        ""
    };
    Some(Finding {
        at_ns: reload.at_ns,
        events: [Some(reload.index), case.exit_index()].into_iter().flatten().collect(),
        message: format!(
            "{} took {signal} from {} {} and {how} {} later.{left}",
            text::main(case),
            text::sender(reload.sender),
            text::when(case.activation, reload.at_ns),
            text::Span(exit.saturating_sub(reload.settled_ns())),
        ),
        consequence: consequence::death(case, end, exit),
        mend: mend::stay_or_no_reload(signal),
    })
}

/// Whether the program itself took it.
fn was_taken(case: &Case, reload: &Reload) -> bool {
    reload.sent.fate == Fate::Handled && case.deadly(reload).is_none()
}

/// How the main process ended.
fn end(case: &Case) -> Option<End> {
    let outcome = &case.activation.outcome;
    match outcome.state {
        OutcomeState::Running => None,
        OutcomeState::Exited => outcome.code.map(End::Code),
        OutcomeState::Killed => {
            outcome.signal.map(|signal| End::Signal { signal, core_dumped: case.dumped_core() })
        }
    }
}

/// Whether another process told it to end, or killed it, after the reload.
fn has_other_cause(case: &Case, reload: &Reload, exit: i64) -> bool {
    let is_cause = |sent: &SignalSent| {
        let by_another = sent.sender.as_ref().is_some_and(|sender| !case.is_main(sender));
        let ends = [Signal::TERM, Signal::INT, Signal::KILL].contains(&sent.signal)
            || sent.fate == Fate::Killed;
        by_another && ends && sent.fate != Fate::Ignored
    };
    case.signals_from(reload.index + 1).any(|(_, at, sent)| at <= exit && is_cause(sent))
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{event::Fate, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "reload-ends-service";

    fn up(service_type: &str, restart: &str) -> Start {
        let start = activation().unit(service_type, restart).reloads_by(Signal::HUP);
        start.exec(0).handler(1.ms())
    }

    fn taken(start: Start) -> Start {
        start.signal(30.s(), Signal::HUP, Handler, Handled, by("kill"))
    }

    #[test]
    fn a_reload_that_the_program_takes_for_an_end_leaves_the_service_down() {
        let alerts = taken(up("simple", "on-failure")).exit(31.s(), 0).judged(&[ID]);
        assert!(
            alerts[0].message.contains("exited with code 0 1.00 s later"),
            "{}",
            alerts[0].message
        );
        assert!(alerts[0].consequence.contains("does not restart it"), "{}", alerts[0].consequence);
    }

    #[test]
    fn where_systemd_starts_it_again_the_end_is_how_it_reloads() {
        taken(up("simple", "always")).exit(31.s(), 0).judged(&[]);
        taken(up("simple", "on-failure")).exit(31.s(), 1).judged(&[]);
        taken(up("simple", "on-failure")).exit(31.s(), 0).judged(&[ID]);
    }

    #[test]
    fn what_ends_long_after_or_is_told_to_end_does_not_end_by_the_reload() {
        taken(up("simple", "no")).exit(40.s(), 0).judged(&[]);
        taken(up("simple", "no"))
            .signal(31.s(), Signal::TERM, Handler, Handled, by("systemd"))
            .exit(32.s(), 0)
            .judged(&[]);
    }

    #[test]
    fn what_tells_nobody_to_end_is_no_other_cause() {
        let usr1 = "USR1".parse().unwrap();
        let after = |signal, fate, sender| {
            taken(up("simple", "no")).signal(31.s(), signal, Handler, fate, sender).exit(32.s(), 0)
        };
        after(usr1, Handled, by("kill")).judged(&[ID]);
        after(Signal::TERM, Fate::Ignored, by("kill")).judged(&[ID]);
        after(Signal::TERM, Handled, itself()).judged(&[ID]);
        after(Signal::TERM, Handled, by("kill")).judged(&[]);
        // A signal of any kind that killed it did, and its own handler's raising does not count.
        let killed =
            |sender| taken(up("simple", "no")).signal(31.s(), usr1, Default, Killed, sender);
        killed(by("kill")).judged(&[]);
        killed(itself()).judged(&[ID]);
    }

    #[test]
    fn a_signal_that_ends_others_may_be_what_reloads_this_one() {
        let start = activation().unit("simple", "no").reloads_by(Signal::INT);
        let start = start.exec(0).handler(1.ms());
        start
            .signal(30.s(), Signal::INT, Handler, Handled, by("kill"))
            .exit(31.s(), 0)
            .judged(&[ID]);
    }

    #[test]
    fn a_command_may_come_to_its_end_soon_after_a_reload() {
        let command = || taken(activation().command().exec(0).handler(1.ms()).ready(2.ms()));
        command().exit(31.s(), 0).judged(&[]);
        command().exit(30.s() + 20.ms(), 0).judged(&[ID]);
    }

    #[test]
    fn a_unit_that_reloads_in_another_way_may_end_by_the_signal() {
        let start = activation().unit("simple", "no").exec(0).handler(1.ms());
        taken(start).exit(31.s(), 0).judged(&[]);
    }
}
