//! Not everything was seen.

use super::{Case, Finding, Rule, consequence, text};
use crate::model::{document::Severity, event::What};

pub(super) const RULE: Rule = Rule {
    id: "capture-incomplete",
    severity: Severity::Warning,
    explanation: include_str!("../../docs/rules/capture-incomplete.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let events: Vec<usize> = case
        .events()
        .filter(|(_, event)| matches!(event.what, What::Loss { .. }))
        .map(|(index, _)| index)
        .collect();
    // Where a later start was seen from its beginning, that is the one to look at.
    let joined = case.activation.joined_ns.filter(|_| case.service.joined_late());
    let (lost, unfollowed) = (case.capture.lost, case.activation.unfollowed);
    let reasons: Vec<String> = [
        joined.map(|at| {
            format!("the capture began {} after the service had started", text::Span(at))
        }),
        (lost > 0).then(|| format!("{lost} events were lost{}", kinds(case))),
        (unfollowed > 0).then(|| {
            format!("{unfollowed} processes, signals or changes were too many to be followed")
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    if reasons.is_empty() {
        return None;
    }
    let first_loss = events.first().map(|index| case.activation.events[*index].at_ns);
    Some(Finding {
        at_ns: joined.or(first_loss).unwrap_or(0),
        events,
        message: format!("This timeline may have holes: {}.", reasons.join("; ")),
        consequence: consequence::holes(case),
        mend: if joined.is_some() {
            "Begin the capture before the start: sigready trace --restart UNIT has systemd restart \
             it, sigready trace --wait UNIT waits for its next start; or sigready run -- CMD."
        } else {
            "Trace less at a time: name the unit instead of --all, or shorten the capture."
        }
        .to_owned(),
    })
}

/// ` (signal 3, notify 1)`
fn kinds(case: &Case) -> String {
    let kinds: Vec<String> =
        case.capture.losses.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) }
}

#[cfg(test)]
mod tests {
    use crate::{
        model::event::What,
        rules::{judge, testing::*},
    };

    const ID: &str = "capture-incomplete";

    #[test]
    fn every_cause_of_a_hole_is_told_in_one_alert() {
        let alerts = activation()
            .joined(5.s())
            .event(6.s(), What::Loss { count: 3 })
            .lost(3)
            .unfollowed(7)
            .judged(&[ID]);
        assert_eq!(
            alerts[0].message,
            "This timeline may have holes: the capture began 5.00 s after the service had \
             started; 3 events were lost; 7 processes, signals \
             or changes were too many to be followed."
        );
        assert_eq!(alerts[0].events, [0]);
        assert!(alerts[0].consequence.contains("python3 (pid 4711)"));
    }

    #[test]
    fn each_cause_is_enough() {
        activation().joined(0).judged(&[ID]);
        activation().exec(0).lost(1).judged(&[ID]);
        activation().exec(0).unfollowed(1).judged(&[ID]);
        activation().exec(0).omitted(1).judged(&[]);
    }

    #[test]
    fn of_a_service_that_was_restarted_the_old_start_may_have_holes() {
        let mut document = activation().joined(5.s()).document();
        let restarted = activation().exec(0).document().services.remove(0).activations.remove(0);
        document.services[0].activations.push(restarted);
        judge(&mut document);
        assert_eq!(document.services[0].activations[0].alerts, []);
    }

    #[test]
    fn what_was_lost_is_told_by_its_kind() {
        let mut document = activation().exec(0).lost(4).document();
        document.capture.losses = [("signal".to_owned(), 3), ("notify".to_owned(), 1)].into();
        judge(&mut document);
        assert_eq!(
            document.services[0].activations[0].alerts[0].message,
            "This timeline may have holes: 4 events were lost (notify 1, signal 3)."
        );
    }

    #[test]
    fn a_whole_capture_is_silent() {
        activation().exec(0).judged(&[]);
    }
}
