//! Any process of the service may say READY=1, one that inherited the socket too.

use super::{Case, Check, Finding, Look};
use crate::{model::document::Severity, systemd::commands::MainProcess};

pub(super) const CHECK: Check = Check {
    id: "notify-access-wide",
    explanation: include_str!("../../docs/lint/notify-access-wide.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    let unit = case.facts;
    // What stays or ends does not speak for what it runs.
    let has_child = matches!(case.main, Some(MainProcess::Stays(_) | MainProcess::Leaves(_)));
    let is_wide = unit.is_notify() && unit.notify_access.as_deref() == Some("all") && !has_child;
    is_wide.then(|| Finding {
        id: CHECK.id.to_owned(),
        severity: Severity::Warning,
        message: "NotifyAccess=all lets every process of the service say READY=1: a helper, or a \
                  program that inherited NOTIFY_SOCKET."
            .to_owned(),
        consequence: "systemd may take the service as up, and let reloads through, before its \
                      main process is ready."
            .to_owned(),
        // Which process says it, no text tells: where it is another, the service would not start.
        mend: format!(
            "See who says READY=1: {}. Where it is the main process alone, NotifyAccess=main.",
            case.place.trace(case.name, "")
        ),
        drop_in: None,
    })
}
