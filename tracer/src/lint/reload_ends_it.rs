//! The reload's signal is one that is there to end it: kill(1) without a name sends TERM.

use super::{Case, Check, Finding, Look};
use crate::{
    model::{document::Severity, signal::Signal},
    rules::result::Decider,
};

pub(super) const CHECK: Check = Check {
    id: "reload-ends-it",
    explanation: include_str!("../../../docs/lint/reload-ends-it.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    // systemd itself sends that of notify-reload.
    if case.facts.service_type.as_deref() == Some("oneshot") || case.starts_again() {
        return None;
    }
    let by_systemd = case.facts.service_type.as_deref() == Some("notify-reload");
    let sent = case.sent().map(|(_, signal)| signal);
    let signal = if by_systemd { case.facts.reload_signal } else { sent };
    let signal = signal.filter(|signal| ends(*signal))?;
    let predicted = case.death(signal);
    let comes_back = predicted.is_some_and(|it| it.restarts == Some(true));
    let consequence = match predicted {
        Some(predicted) if comes_back => {
            format!("systemctl reload ends it {}.", case.aftermath(predicted))
        }
        Some(predicted) if predicted.decided_by == Decider::Remain => {
            format!("systemctl reload ends it {}.", case.aftermath(predicted))
        }
        Some(predicted) => {
            format!("systemctl reload stops the service {}.", case.aftermath(predicted))
        }
        None => "systemctl reload stops the service.".to_owned(),
    };
    let drop_in = if by_systemd {
        case.drop_in(CHECK.id, "# For a program that reloads on HUP:\nReloadSignal=SIGHUP\n")
    } else {
        case.reload_by(CHECK.id, Signal::HUP, "# For a program that reloads on HUP:\n")
    };
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: if comes_back { Severity::Warning } else { Severity::Error },
        message: format!("A reload sends {signal}, which programs take as the order to end."),
        consequence,
        mend: format!(
            "Name the signal that the program reloads on in {}.",
            if by_systemd { "ReloadSignal=" } else { "ExecReload=" }
        ),
        drop_in: Some(drop_in),
    })
}

/// Whether a signal is there to end a program.
pub(super) fn ends(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::KILL].contains(&signal)
}
