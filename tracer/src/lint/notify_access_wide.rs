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
        mend: format!(
            "NotifyAccess=main, where the main process speaks for itself. See who does: {}",
            case.place.trace(case.name, "")
        ),
        drop_in: case.runs_program().then(|| {
            case.drop_in(
                CHECK.id,
                "# Where the main process itself sends READY=1:\nNotifyAccess=main\n",
            )
        }),
    })
}
