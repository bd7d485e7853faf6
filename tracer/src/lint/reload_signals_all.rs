//! The reload's signal goes to every process of the service.

use super::{Case, Check, Finding, Look, early};
use crate::{model::document::Severity, systemd::commands::Target};

pub(super) const CHECK: Check = Check {
    id: "reload-signals-all",
    explanation: include_str!("../../docs/lint/reload-signals-all.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    let (sent, signal) = case.arriving().find(|(sent, signal)| {
        sent.target.is_several() && !signal.ends() && early::of(*signal) == early::Early::Dies
    })?;
    let message = match sent.target {
        Target::Unit => format!(
            "systemctl kill sends {signal} to every process of the unit: children and helpers, \
             and the reload's own command."
        ),
        Target::Host => format!("{} sends {signal} to every process of the host.", sent.by),
        Target::Group => format!(
            "A reload sends {signal} to the main process's whole group: children and helpers too."
        ),
        _ => return None,
    };
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: Severity::Warning,
        message,
        consequence: format!(
            "Those that have no handler for {signal} die at every reload: jobs, hooks, what a \
             shell runs{}.",
            if sent.target == Target::Unit {
                "; systemctl too, so that every reload fails"
            } else {
                ""
            }
        ),
        mend: "Signal the main process alone, which tells its children.".to_owned(),
        drop_in: case.reload_by(CHECK.id, signal),
    })
}
