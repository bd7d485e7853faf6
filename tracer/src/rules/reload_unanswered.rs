//! A Type=notify-reload service took the reload signal and said nothing.

use super::{Case, Finding, Rule, case::Announcement, consequence, reload::Reload, text};
use crate::model::{
    document::Severity,
    event::{Effect, Fate},
};

pub(super) const RULE: Rule = Rule {
    id: "reload-unanswered",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/reload-unanswered.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let unanswered: Vec<Reload> = case
        .with_effect(|effect| effect == Effect::Unanswered)
        .filter(|reload| was_taken_in_silence(case, reload))
        .collect();
    let first = unanswered.first()?;
    let waited = until(case).saturating_sub(first.settled_ns());
    Some(Finding {
        at_ns: first.at_ns,
        events: unanswered.iter().map(|reload| reload.index).collect(),
        message: format!(
            "{} took {} from {} {}, and RELOADING=1 did not come in the {} that were left to see{}.",
            text::process(&first.sent.target),
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

/// Whether the program took it and said nothing: a RELOADING=1 that systemd does not count is
/// told of elsewhere, and so is a signal that was not taken.
fn was_taken_in_silence(case: &Case, reload: &Reload) -> bool {
    let said =
        |told: Announcement| told.counts() && told.index > reload.index && told.announces_reload();
    reload.sent.fate == Fate::Handled && !case.messages().any(said)
}

/// Until when an answer was to be expected: a stop takes the place of it.
fn until(case: &Case) -> i64 {
    case.stopping_ns().map_or(case.end_ns(), |stopping| stopping.min(case.end_ns()))
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{document::EndedBy, event::Fate, signal::Signal},
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
        let alerts = stopped(25.s()).judged(&[ID]);
        assert!(
            alerts[0].message.ends_with("did not come in the 5.00 s that were left to see."),
            "{}",
            alerts[0].message
        );
        stopped(20.s() + 100.ms()).judged(&[]);
    }

    #[test]
    fn what_systemd_did_not_take_or_had_before_is_no_answer() {
        let refused = reloaded("notify-reload").notify(20.s() + 1.ms(), itself(), RELOADING);
        refused.refused().judged(&[ID]);
        let before = up("notify-reload").notify(15.s(), itself(), RELOADING);
        let before = before.notify(16.s(), itself(), &[("READY", "1")]);
        before.signal(20.s(), Signal::HUP, Handler, Handled, by("systemd")).judged(&[ID]);
    }

    #[test]
    fn there_must_have_been_time_to_answer() {
        reloaded("notify-reload").ends_at(20.s() + 50.ms(), EndedBy::Timeout).judged(&[]);
    }

    #[test]
    fn what_was_not_taken_or_not_answered_in_time_is_told_as_that() {
        let up = || activation().unit("notify-reload", "no").reloads_by(Signal::HUP).exec(0);
        let ignored = up().disposition(1.ms(), Ignored).ready(10.ms());
        let ignored = ignored.signal(20.s(), Signal::HUP, Ignored, Fate::Ignored, by("systemd"));
        ignored.judged(&["reload-ignored"]);
        let untimed = reloaded("notify-reload").notify(21.s(), itself(), &[("RELOADING", "1")]);
        untimed.judged(&["reloading-malformed"]);
    }

    #[test]
    fn a_reloading_that_stops_is_no_answer() {
        let both = [("RELOADING", "1"), ("STOPPING", "1")];
        reloaded("notify-reload").notify(27.s(), itself(), &both).judged(&[ID]);
    }
}
