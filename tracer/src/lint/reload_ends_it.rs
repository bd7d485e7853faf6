//! The reload's signal is one that is there to end it: kill(1) without a name sends TERM.

use super::{Case, Check, Finding, Look, case::whom};
use crate::model::{document::Severity, signal::Signal};

pub(super) const CHECK: Check = Check {
    id: "reload-ends-it",
    explanation: include_str!("../../docs/lint/reload-ends-it.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    if case.is_type("oneshot") || case.starts_again() {
        return None;
    }
    let (sent, signal) = case.sent().filter(|(_, signal)| signal.ends())?;
    let by_systemd = sent.by == "systemd";
    let aftermath = case.death(signal);
    let stays_down = aftermath.as_ref().is_none_or(|it| it.restarts == Some(false));
    let consequence = match aftermath {
        Some(it) if !stays_down || it.remains => format!("systemctl reload ends it {}.", it.words),
        Some(it) => format!("systemctl reload stops the service {}.", it.words),
        None => "systemctl reload stops the service.".to_owned(),
    };
    let drop_in = if by_systemd {
        case.runs_program().then(|| {
            let lines = "# For a program that reloads on HUP:\nReloadSignal=SIGHUP\n";
            case.drop_in(CHECK.id, lines)
        })
    } else {
        case.reload_by(CHECK.id, Signal::HUP)
    };
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: if stays_down { Severity::Error } else { Severity::Warning },
        message: format!(
            "A reload sends {signal}{}, which programs take as the order to end.",
            whom(sent).trim_end_matches(',')
        ),
        consequence,
        mend: format!(
            "Name the signal that the program reloads on in {}.",
            if by_systemd { "ReloadSignal=" } else { "ExecReload=" }
        ),
        drop_in,
    })
}
