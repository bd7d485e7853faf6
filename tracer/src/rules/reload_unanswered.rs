//! A Type=notify-reload service took the reload signal and said nothing.

use super::{
    Case, Finding, Rule, case::Announced, consequence, reload::Reload,
    reloading_malformed::RELOAD_NS, text,
};
use crate::model::{document::Severity, event::Fate};

pub(super) const RULE: Rule = Rule {
    id: "reload-unanswered",
    severity: Severity::Error,
    explanation: include_str!("../../../docs/rules/reload-unanswered.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let service_type = case.facts().and_then(|facts| facts.service_type.as_deref());
    if service_type != Some("notify-reload") {
        return None;
    }
    let unanswered: Vec<Reload> =
        case.reloads_in_service().filter(|reload| is_unanswered(case, reload)).collect();
    let first = unanswered.first()?;
    let waited = until(case).saturating_sub(first.settled_ns());
    Some(Finding {
        at_ns: first.at_ns,
        events: unanswered.iter().map(|reload| reload.index).collect(),
        message: format!(
            "{} took {} from {} {}, and RELOADING=1 did not come in the {} that were left to see{}.",
            text::main(case),
            first.sent.signal,
            text::sender(first.sender),
            text::when(case.activation, first.at_ns),
            text::Span(waited),
            text::and_more(unanswered.len())
        ),
        consequence: consequence::unanswered_reload(case),
        mend:
            "Answer every reload: \"RELOADING=1\\nMONOTONIC_USEC=N\" in one message first, N being \
               CLOCK_MONOTONIC in microseconds, and READY=1 when it is done. Keep NOTIFY_SOCKET in \
               the environment for that."
                .to_owned(),
    })
}

/// Whether it was taken once the service was ready, and nothing came for long.
fn is_unanswered(case: &Case, reload: &Reload) -> bool {
    let taken = reload.settled_ns();
    let answered = case.messages().any(|told| {
        told.counts()
            && told.at_ns >= reload.at_ns
            && matches!(told.state(), Some(Announced::Reloading | Announced::Stopping))
    });
    reload.sent.fate == Fate::Handled
        && case.deadly(reload).is_none()
        && case.is_ready_at(reload.at_ns)
        && !answered
        && until(case).saturating_sub(taken) >= RELOAD_NS
}

/// Until when an answer was to be expected: a stop takes the place of it.
fn until(case: &Case) -> i64 {
    case.stopping_ns().map_or(case.end_ns(), |stopping| stopping.min(case.end_ns()))
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{document::EndedBy, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "reload-unanswered";
    const RELOADING: &[(&str, &str)] = &[("RELOADING", "1"), ("MONOTONIC_USEC", "123456")];

    fn up(service_type: &str) -> Start {
        let start = activation().unit(service_type, "no").reloads_by(Signal::HUP);
        start.exec(0).handler(1.ms()).ready(10.ms())
    }

    fn reloaded(service_type: &str) -> Start {
        up(service_type).signal(20.s(), Signal::HUP, Handler, Handled, by("systemd"))
    }

    #[test]
    fn a_reload_without_reloading_is_unanswered_for_notify_reload_alone() {
        reloaded("notify-reload").judged(&[ID]);
        reloaded("notify").judged(&[]);
        reloaded("simple").judged(&[]);
    }

    #[test]
    fn one_that_is_answered_is_not() {
        let start = reloaded("notify-reload").notify(20.s() + 1.ms(), itself(), RELOADING);
        start.notify(21.s(), itself(), &[("READY", "1")]).judged(&[]);
    }

    #[test]
    fn a_stop_long_after_does_not_make_up_for_it() {
        let stopped = |at| {
            reloaded("notify-reload").signal(at, Signal::TERM, Handler, Handled, by("systemd"))
        };
        stopped(25.s()).judged(&[ID]);
        stopped(20.s() + 100.ms()).judged(&[]);
    }

    #[test]
    fn there_must_have_been_time_to_answer() {
        reloaded("notify-reload").ends_at(20.s() + 50.ms(), EndedBy::Timeout).judged(&[]);
    }
}
