//! The reload's signal goes to a shell that has no trap for it, and not to the program.

use super::{Case, Check, Finding, Look, early, reload_ends_it::ends};
use crate::{
    model::{document::Severity, signal::Signal},
    systemd::commands::{Stay, Target},
};

pub(super) const CHECK: Check = Check {
    id: "reload-hits-shell",
    explanation: include_str!("../../../docs/lint/reload-hits-shell.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    let (stay, signal) = hits_shell(case)?;
    let predicted = case.death(signal)?;
    let comes_back = predicted.restarts == Some(true);
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: if comes_back { Severity::Warning } else { Severity::Error },
        message: format!(
            "The main process is {}, which stays and has no trap for {signal}: a reload signals \
             it, and not the program that it runs.",
            stay.by
        ),
        consequence: format!(
            "At every reload the shell dies {}; the program is stopped with it.",
            case.aftermath(predicted)
        ),
        mend: "Let the shell exec the program, so that it becomes the main process.".to_owned(),
        drop_in: case.starting_again(signal).map(|lines| case.drop_in(CHECK.id, &lines)),
    })
}

/// The shell that a reload kills, and by what.
pub(super) fn hits_shell<'a>(case: &'a Case<'_>) -> Option<(&'a Stay, Signal)> {
    let (sent, signal) = case.sent()?;
    let stay = case.stay().filter(|stay| stay.is_shell)?;
    // The pid file and names may be the program's, and of a daemon the shell is gone.
    let to_shell = sent.literal.is_none()
        && matches!(sent.target, Target::Main | Target::Group | Target::Unit)
        && case.facts.service_type.as_deref() != Some("forking")
        && case.facts.service_type.as_deref() != Some("oneshot");
    let dies = early::of(signal) == early::Early::Dies
        && !ends(signal)
        && !stay.handles.contains(&signal)
        && !stay.ignores.contains(&signal);
    (to_shell && dies).then_some((stay, signal))
}
