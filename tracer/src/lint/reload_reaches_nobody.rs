//! The reload looks for a process whose name is the main process's pid.

use super::{Case, Check, Finding};
use crate::{
    model::document::Severity,
    systemd::commands::{SentSignal, Target},
};

pub(super) const CHECK: Check = Check {
    id: "reload-reaches-nobody",
    explanation: include_str!("../../../docs/lint/reload-reaches-nobody.md"),
    check,
};

fn check(case: &Case<'_>) -> Option<Finding> {
    if case.sent().is_some() {
        return None;
    }
    let sent = case.reload.sent().find(|sent| sent.target == Target::Nobody)?;
    let by = &sent.by;
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: Severity::Warning,
        message: format!(
            "{by} takes a name, and is given a pid: no process has that name, and a reload \
             signals nobody."
        ),
        consequence: format!(
            "The service never reloads. {by} ends with status 1, and systemctl reload fails \
             where that counts."
        ),
        mend: "Signal a pid by kill.".to_owned(),
        drop_in: match sent.signal {
            SentSignal::Known(signal) => Some(case.reload_by(signal, "")),
            SentSignal::Unknown(_) => None,
        },
    })
}
