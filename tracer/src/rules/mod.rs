//! What a timeline says about the service: one rule per file, each a pure
//! function of the exported document, so that a saved capture is judged exactly
//! as the live one was.

mod capture_incomplete;
mod caretaker;
mod case;
mod consequence;
mod mend;
mod notify_send_failed;
mod ready_before_handler;
mod ready_missing;
mod ready_rejected;
mod reload;
mod reload_before_handler;
mod reload_before_ready;
mod reload_deferred;
mod reload_ends_service;
mod reload_failed;
mod reload_ignored;
mod reload_kills_process;
mod reload_never_handled;
mod reload_unanswered;
mod reloading_malformed;
pub mod result;
mod signal_stuck_pending;
mod start_refused;
mod stopping_then_on;
mod text;
mod watchdog_refused;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod testing;

use std::cmp::Reverse;

pub use case::Case;

use crate::model::document::{Alert, Document, Severity};

/// One thing that can be wrong with a start.
pub struct Rule {
    /// Its stable name, in kebab case.
    pub id: &'static str,
    /// How bad every alert of it is.
    pub severity: Severity,
    /// Its page: what it means, evidence, consequence, mend. Markdown.
    pub explanation: &'static str,
    /// What it finds in one activation.
    check: fn(&Case) -> Vec<Finding>,
}

/// Every rule.
pub static ALL: [Rule; 19] = [
    reload_before_handler::RULE,
    reload_before_ready::RULE,
    reload_ignored::RULE,
    reload_never_handled::RULE,
    reload_ends_service::RULE,
    reload_kills_process::RULE,
    reload_unanswered::RULE,
    reload_deferred::RULE,
    reload_failed::RULE,
    ready_before_handler::RULE,
    ready_rejected::RULE,
    ready_missing::RULE,
    start_refused::RULE,
    stopping_then_on::RULE,
    watchdog_refused::RULE,
    notify_send_failed::RULE,
    reloading_malformed::RULE,
    signal_stuck_pending::RULE,
    capture_incomplete::RULE,
];

/// The rule with this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    ALL.iter().find(|rule| rule.id == id)
}

impl Rule {
    /// The alerts it raises on one activation.
    fn alerts(&self, case: &Case) -> impl Iterator<Item = Alert> {
        (self.check)(case).into_iter().map(|finding| Alert {
            id: self.id.to_owned(),
            severity: self.severity,
            at_ns: finding.at_ns,
            events: finding.events,
            message: finding.message,
            consequence: finding.consequence,
            mend: finding.mend,
        })
    }
}

/// Replaces the alerts of every activation by what the rules find in it now.
pub fn judge(document: &mut Document) {
    let Document { capture, services, .. } = document;
    for service in services {
        let found: Vec<Vec<Alert>> = service
            .activations
            .iter()
            .map(|activation| alerts(&Case { capture, service, activation }))
            .collect();
        for (activation, alerts) in service.activations.iter_mut().zip(found) {
            activation.alerts = alerts;
        }
    }
}

/// What every rule has to say, in order of time; of one moment, the worst first.
fn alerts(case: &Case) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = ALL.iter().flat_map(|rule| rule.alerts(case)).collect();
    alerts.sort_by(|a, b| {
        (a.at_ns, Reverse(a.severity), &a.id).cmp(&(b.at_ns, Reverse(b.severity), &b.id))
    });
    alerts
}

/// An alert in the making: all of it that differs from case to case.
struct Finding {
    at_ns: i64,
    events: Vec<usize>,
    message: String,
    consequence: String,
    mend: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_those_of_the_documentation() {
        let ids: Vec<_> = ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(
            ids,
            [
                "reload-before-handler",
                "reload-before-ready",
                "reload-ignored",
                "reload-never-handled",
                "reload-ends-service",
                "reload-kills-process",
                "reload-unanswered",
                "reload-deferred",
                "reload-failed",
                "ready-before-handler",
                "ready-rejected",
                "ready-missing",
                "start-refused",
                "stopping-then-on",
                "watchdog-refused",
                "notify-send-failed",
                "reloading-malformed",
                "signal-stuck-pending",
                "capture-incomplete",
            ]
        );
    }

    #[test]
    fn a_rule_is_found_by_its_whole_id_only() {
        for rule in &ALL {
            assert_eq!(find(rule.id).unwrap().id, rule.id);
        }
        assert!(find("reload").is_none());
        assert!(find("").is_none());
    }

    #[test]
    fn every_rule_has_a_page_of_its_own_that_fits_a_terminal() {
        for rule in &ALL {
            let page = rule.explanation;
            let title = format!("# {}\n\nSeverity: {}\n\n", rule.id, rule.severity);
            assert!(page.starts_with(&title), "{} begins otherwise", rule.id);
            for section in ["## Evidence", "## Consequence", "## Mend", "## When it is no problem"]
            {
                assert!(page.contains(section), "{} lacks '{section}'", rule.id);
            }
            assert!(page.lines().count() <= 80, "{} is too long", rule.id);
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{}: too wide: {line}", rule.id);
            }
        }
    }
}
