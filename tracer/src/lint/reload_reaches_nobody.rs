//! The reload looks for a process whose name is the main process's pid.

use super::{Case, Check, Finding, Look};
use crate::{
    model::document::Severity,
    systemd::commands::{Sent, SentSignal, Target},
};

pub(super) const CHECK: Check = Check {
    id: "reload-reaches-nobody",
    explanation: include_str!("../../../docs/lint/reload-reaches-nobody.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    let reaches = |sent: &Sent| sent.target.is_service() && sent.literal.is_none();
    if case.reload.sent().any(reaches) {
        return None;
    }
    let is_lost = |sent: &&Sent| sent.target == Target::Nobody || sent.literal.is_some();
    let sent = case.reload.sent().find(is_lost)?;
    let by = &sent.by;
    let message = if let Some(literal) = &sent.literal {
        format!(
            "systemd puts no value in for '{literal}': it replaces ${{NAME}} within a word, $NAME \
             as a word of its own, and runs no shell. {by} is given it as it is written, and a \
             reload signals nobody."
        )
    } else {
        format!(
            "{by} takes a name, and is given a pid: no process has that name, and a reload \
             signals nobody."
        )
    };
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: Severity::Warning,
        message,
        consequence: format!(
            "The service never reloads. {by} ends with status 1, and systemctl reload fails \
             where that counts."
        ),
        mend: "Give kill the pid as a word of its own: $MAINPID.".to_owned(),
        drop_in: match sent.signal {
            SentSignal::Known(signal) => Some(case.reload_by(CHECK.id, signal, "")),
            SentSignal::Unknown(_) => None,
        },
    })
}
