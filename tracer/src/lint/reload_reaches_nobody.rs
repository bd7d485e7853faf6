//! The reload signals no process at all.

use super::{Case, Check, Finding, Look};
use crate::{
    model::{document::Severity, signal::Signal},
    systemd::commands::{Nobody, Sent, SentSignal, Target},
};

pub(super) const CHECK: Check = Check {
    id: "reload-reaches-nobody",
    explanation: include_str!("../../docs/lint/reload-reaches-nobody.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    let (sent, nobody) = lost(case)?;
    let by = &sent.by;
    let why = match nobody {
        Nobody::PidForName => {
            format!("{by} takes a name, and is given a pid: no process has that name")
        }
        Nobody::Literal(literal) => format!(
            "systemd puts no value in for '{literal}': it replaces ${{NAME}} within a word, $NAME \
             as a word of its own, and runs no shell. {by} is given it as it is written"
        ),
        Nobody::Refused(argument) => {
            format!("This {by} does not take '{argument}', and sends nothing")
        }
        Nobody::NoPid => format!("{by} is given no pid"),
        Nobody::NoName => format!("{by} is given no name"),
        Nobody::NoUnit => format!("{by} is given no unit"),
        Nobody::LongName(name) => format!(
            "{by} looks for '{name}' in the names that the kernel has of processes, which are cut \
             off after 15 bytes"
        ),
        Nobody::NoMain => {
            "$MAINPID is empty: systemd knows no main process of the service".to_owned()
        }
    };
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: Severity::Warning,
        message: format!("{why}. A reload signals nobody."),
        consequence: format!(
            "The service never reloads. {by} fails, and systemctl reload with it where that counts."
        ),
        mend: match nobody {
            Nobody::NoMain => "Give the reload another way to reach what the service left behind, \
                               or take it away."
                .to_owned(),
            Nobody::LongName(_) => {
                "Give pkill the first 15 bytes, or kill the pid: $MAINPID.".to_owned()
            }
            _ => "Give kill the pid as a word of its own: /bin/kill -HUP $MAINPID.".to_owned(),
        },
        drop_in: meant(sent, nobody).and_then(|signal| case.reload_by(CHECK.id, signal)),
    })
}

/// What is sent to nobody, where nothing else reaches the service.
fn lost<'a>(case: &'a Case<'_>) -> Option<(&'a Sent, &'a Nobody)> {
    // One that can't be told of may reach it.
    let may_reach = |target: &Target| target.is_service() || matches!(target, Target::Unknown(_));
    if case.sent.iter().any(|sent| may_reach(&sent.target)) {
        return None;
    }
    // Nothing but a oneshot that remains is up without a main process, and can be reloaded.
    if case.is_type("oneshot") && case.facts.remain_after_exit != Some(true) {
        return None;
    }
    case.sent.iter().find_map(|sent| match &sent.target {
        Target::Nobody(nobody) => Some((sent, nobody)),
        _ => None,
    })
}

/// The signal that was to be sent, if that can be told.
fn meant(sent: &Sent, nobody: &Nobody) -> Option<Signal> {
    let SentSignal::Known(signal) = sent.signal else { return None };
    // `kill HUP $MAINPID` means another signal than TERM.
    let is_other = matches!(nobody, Nobody::Refused(it) if it.parse::<Signal>().is_ok());
    (!is_other).then_some(signal)
}

/// The signal that is meant for `$MAINPID`, and reaches it once that is written as the drop-in
/// does.
pub(super) fn mended(case: &Case<'_>) -> Option<Signal> {
    let (sent, nobody) = lost(case)?;
    if !matches!(nobody, Nobody::Literal(text) if text.contains("$MAINPID")) {
        return None;
    }
    let signal = meant(sent, nobody)?;
    case.reload_by(CHECK.id, signal).map(|_| signal)
}
