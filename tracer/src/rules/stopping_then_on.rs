//! The service said STOPPING=1, and went on.

use super::{
    Case, Finding, Rule,
    case::{Announced, Announcement},
    consequence, text,
};
use crate::model::{document::Severity, event::Refusal, signal::Signal};

pub(super) const RULE: Rule = Rule {
    id: "stopping-then-on",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/stopping-then-on.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let stopping = case.messages().find(|told| is_own(told, Announced::Stopping))?;
    // Who was told to stop says so on the way out.
    if case.told_to_stop().is_some_and(|(_, at_ns, _)| at_ns <= stopping.at_ns) {
        return None;
    }
    let (index, at_ns, how) = went_on(case, &stopping)?;
    Some(Finding {
        at_ns: stopping.at_ns,
        events: vec![stopping.index, index],
        message: format!(
            "{} said STOPPING=1 {} and {how} {} later.",
            text::teller(&stopping.message.sender),
            text::when(case.activation, stopping.at_ns),
            text::Span(at_ns.saturating_sub(stopping.at_ns))
        ),
        consequence: consequence::stopping_then_on(case, stopping.at_ns),
        mend: "Say STOPPING=1 on the way out alone. What loads its settings again or executes \
               itself anew says \"RELOADING=1\\nMONOTONIC_USEC=N\" in one message, and READY=1 when \
               it is done."
            .to_owned(),
    })
}

/// What shows that it did not end: READY=1, or that systemd had to kill it. The event, its time,
/// and words for it.
fn went_on(case: &Case, stopping: &Announcement) -> Option<(usize, i64, &'static str)> {
    let ready = case
        .messages()
        .find(|told| told.index > stopping.index && says_ready(told))
        .map(|told| (told.index, told.at_ns, "went on: READY=1 came"));
    ready.or_else(|| {
        let mut kills = case.signals_from(stopping.index);
        let (index, at_ns, _) = kills.find(|(_, _, sent)| sent.signal == Signal::KILL)?;
        let is_late = case.has_result("timeout");
        is_late.then_some((index, at_ns, "did not end: systemd killed it"))
    })
}

/// Whether systemd got it from one that it listens to, with this meaning.
fn is_own(told: &Announcement, meaning: Announced) -> bool {
    told.counts() && told.state() == Some(meaning)
}

/// Whether a READY=1 was refused as STOPPING=1 had been said.
pub(super) fn refused(case: &Case) -> bool {
    case.messages().any(|told| told.message.refusal == Some(Refusal::Stopping))
}

/// Whether it is READY=1, which systemd may refuse after STOPPING=1.
fn says_ready(told: &Announcement) -> bool {
    let is_refused = told.message.refusal == Some(Refusal::Stopping);
    is_own(told, Announced::Ready) || is_refused
}

#[cfg(test)]
mod tests {
    use crate::{model::signal::Signal, rules::testing::*};

    const ID: &str = "stopping-then-on";
    const STOPPING: &[(&str, &str)] = &[("STOPPING", "1")];

    fn up() -> Start {
        activation().unit("notify", "no").exec(0).handler(1.ms()).ready(10.ms())
    }

    fn told(start: Start) -> String {
        start.judged(&[ID]).remove(0).consequence
    }

    #[test]
    fn a_ready_after_stopping_says_that_it_went_on() {
        let start = up().notify(1.s(), itself(), STOPPING).ready(2.s());
        let alerts = start.judged(&[ID]);
        assert_eq!(alerts[0].events, [3, 4]);
        assert!(alerts[0].message.ends_with("went on: READY=1 came 1.00 s later."));
    }

    #[test]
    fn a_ready_that_is_refused_for_it_is_no_missing_one() {
        let start = activation().unit("notify", "no").release("262").exec(0).handler(1.ms());
        let start = start.notify(1.s(), itself(), STOPPING);
        let start = start.notify(2.s(), itself(), &[("READY", "1")]).after_stopping();
        let alerts = start.exit(6.s(), 0).judged(&[ID]);
        assert!(alerts[0].message.ends_with("went on: READY=1 came 1.00 s later."));
    }

    #[test]
    fn what_becomes_of_it_depends_on_the_state_and_the_release() {
        let in_state = |state, version| {
            let start = up().systemd(900.ms(), state, Some("x"), "success").release(version);
            told(start.notify(1.s(), itself(), STOPPING).ready(2.s()))
        };
        let on_257 = in_state("reloading", "257.9");
        assert!(on_257.contains("lets READY=1 take STOPPING=1 back"), "{on_257}");
        let on_262 = in_state("reloading", "262");
        assert!(on_262.starts_with("STOPPING=1 is final from systemd 259 on"), "{on_262}");
        for version in ["252", "262"] {
            let running = in_state("active", version);
            assert!(running.contains("READY=1 does not take it back"), "{running}");
        }
        let start = in_state("activating", "262");
        assert!(start.contains("TimeoutStartSec="), "{start}");
    }

    #[test]
    fn a_message_that_overtakes_the_state_of_a_reload_is_read_in_it() {
        let start = up().release("257.9").systemd(900.ms(), "active", Some("running"), "success");
        let start = start.notify(1.s(), itself(), STOPPING);
        let start = start.systemd(1.s() + 1.ms(), "reloading", Some("reload"), "success");
        let told = told(start.ready(2.s()));
        assert!(told.contains("lets READY=1 take STOPPING=1 back"), "{told}");
    }

    #[test]
    fn one_that_systemd_had_to_kill_did_not_end() {
        let stopped = up().notify(1.s(), itself(), STOPPING);
        let killed = stopped.signal(91.s(), Signal::KILL, Default, Killed, by("systemd"));
        let killed = killed.ends_at(100.s(), crate::model::document::EndedBy::Until);
        let alerts = killed.clone().systemd(92.s(), "failed", Some("failed"), "timeout");
        let alerts = alerts.judged(&[ID]);
        assert!(alerts[0].message.ends_with("did not end: systemd killed it 1 min 30 s later."));
        killed.clone().systemd(92.s(), "failed", Some("failed"), "signal").judged(&[]);
        // Of a state of which only the time is known, the last result tells.
        killed.clone().systemd(92.s(), "failed", None, "timeout").judged(&[ID]);
        let again = killed.systemd(92.s(), "failed", Some("failed"), "timeout");
        again.systemd(93.s(), "inactive", Some("dead"), "success").judged(&[ID]);
    }

    #[test]
    fn on_the_way_out_it_is_fine() {
        up().notify(1.s(), itself(), STOPPING).exit(2.s(), 0).judged(&[]);
        let told = up().signal(1.s(), Signal::TERM, Handler, Handled, by("systemd"));
        told.notify(1.s() + 1, itself(), STOPPING).ready(2.s()).judged(&[]);
        up().notify(1.s(), by("other"), STOPPING).refused().ready(2.s()).judged(&[]);
    }

    #[test]
    fn no_other_message_than_its_ready_says_that_it_went_on() {
        let stopping = || up().notify(1.s(), itself(), STOPPING);
        stopping().notify(2.s(), itself(), &[("STATUS", "done")]).judged(&[]);
        let refused = stopping().notify(2.s(), by("other"), &[("READY", "1")]).refused();
        refused.judged(&[]);
    }
}
