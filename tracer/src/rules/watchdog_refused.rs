//! systemd took no WATCHDOG=1.

use super::{Case, Finding, Rule, case::Announcement, consequence, text};
use crate::model::{document::Severity, event::Refusal};

pub(super) const RULE: Rule = Rule {
    id: "watchdog-refused",
    severity: Severity::Warning,
    explanation: include_str!("../../docs/rules/watchdog-refused.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let fed: Vec<Announcement> =
        case.messages().filter(|told| told.message.says("WATCHDOG", "1")).collect();
    let refused: Vec<Announcement> = fed
        .iter()
        .filter(|told| told.message.refusal == Some(Refusal::NotifyAccess))
        .copied()
        .collect();
    let accepted = fed.iter().rfind(|told| told.counts());
    let has_bitten = case.has_result("watchdog");
    let has_watchdog = case.facts().is_some_and(|facts| facts.watchdog_ns.unwrap_or(0) > 0);
    // One that is accepted needs no other.
    if !has_bitten && (!has_watchdog || refused.is_empty() || accepted.is_some()) {
        return None;
    }
    let what = match (refused.first(), accepted) {
        (Some(first), None) => format!(
            "WATCHDOG=1 from {} was refused {}: NotifyAccess={} does not admit it{}",
            text::teller(&first.message.sender),
            text::when(case.activation, first.at_ns),
            case.facts().and_then(|facts| facts.notify_access.as_deref()).unwrap_or("main"),
            text::and_more(refused.len())
        ),
        (_, Some(last)) => format!(
            "The last WATCHDOG=1 of {} came {}",
            text::main(case),
            text::when(case.activation, last.at_ns)
        ),
        (None, None) => format!("WATCHDOG=1 never came from {}", text::main(case)),
    };
    let bitten = if has_bitten { ", and systemd's watchdog ended the service" } else { "" };
    Some(Finding {
        at_ns: refused.first().map_or_else(|| case.end_ns(), |first| first.at_ns),
        events: refused
            .iter()
            .map(|told| told.index)
            .chain(accepted.map(|told| told.index))
            .chain(case.exit_index().filter(|_| has_bitten))
            .collect(),
        message: format!("{what}{bitten}."),
        consequence: consequence::watchdog(case),
        mend: "Send WATCHDOG=1 twice per WatchdogSec= from a process that NotifyAccess= admits. \
               WATCHDOG_PID= names the process that systemd started: a program that a wrapper \
               runs takes the watchdog for another's (sd_watchdog_enabled(3)); let the wrapper \
               exec it."
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use crate::{model::signal::Signal, rules::testing::*};

    const ID: &str = "watchdog-refused";
    const FED: &[(&str, &str)] = &[("WATCHDOG", "1")];

    fn up() -> Start {
        let start = activation().unit("notify", "on-failure").watched(2.s());
        start.exec(0).handler(1.ms()).ready(10.ms())
    }

    fn bitten(start: Start) -> Start {
        let abort = "ABRT".parse::<Signal>().unwrap();
        let start = start.signal(3.s(), abort, Default, Killed, by("systemd"));
        start.systemd(3.s() + 2.ms(), "failed", Some("failed"), "watchdog")
    }

    #[test]
    fn the_watchdog_that_nobody_fed_is_told_with_its_reason() {
        let alerts = bitten(up()).judged(&[ID]);
        assert_eq!(
            alerts[0].message,
            "WATCHDOG=1 never came from python3 (pid 4711), and systemd's watchdog ended the \
             service."
        );
        assert!(alerts[0].consequence.ends_with("Restart=on-failure restarts it."));
        assert!(alerts[0].mend.contains("WATCHDOG_PID="));
        let hung = bitten(up().notify(500.ms(), itself(), FED)).judged(&[ID]);
        assert!(hung[0].message.starts_with("The last WATCHDOG=1"), "{}", hung[0].message);
    }

    #[test]
    fn one_that_is_not_admitted_counts_before_the_watchdog_bites() {
        let refused = |start: Start| start.notify(1.s(), by("worker"), FED).refused();
        let alerts = refused(up()).judged(&[ID]);
        assert!(alerts[0].message.contains("NotifyAccess=main does not admit it"));
        refused(up().notify(500.ms(), itself(), FED)).judged(&[]);
        refused(activation().unit("notify", "no").exec(0).handler(1.ms()).ready(10.ms()))
            .judged(&[]);
    }

    #[test]
    fn a_service_that_is_heard_has_no_such_alert() {
        up().notify(1.s(), itself(), FED).judged(&[]);
    }
}
