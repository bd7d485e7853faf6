//! Nothing ends a start in which READY=1 never comes.

use super::{Case, Check, Finding, Look};
use crate::model::document::Severity;

pub(super) const CHECK: Check = Check {
    id: "start-without-limit",
    explanation: include_str!("../../docs/lint/start-without-limit.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    let unit = case.facts;
    let is_unlimited = unit.is_notify() && unit.timeout_start_ns == Some(0);
    is_unlimited.then(|| Finding {
        id: CHECK.id.to_owned(),
        severity: Severity::Warning,
        message: "The start waits for READY=1 for ever: TimeoutStartSec=infinity.".to_owned(),
        consequence: "If READY=1 is refused or never sent, the unit stays 'activating', what is \
                      ordered after it waits, and nothing reports a failure."
            .to_owned(),
        mend: "Give a slow start the time it takes; a program can ask for more with \
               EXTEND_TIMEOUT_USEC=."
            .to_owned(),
        drop_in: Some(
            case.drop_in(CHECK.id, "# As long as a slow start may take:\nTimeoutStartSec=10min\n"),
        ),
    })
}
