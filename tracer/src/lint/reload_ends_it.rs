//! The reload's signal is one that is there to end it: kill(1) without a name sends TERM.

use super::{Check, Finding, Place};
use crate::model::{document::Severity, signal::Signal, unit::UnitFacts};

pub(super) const CHECK: Check = Check {
    id: "reload-ends-it",
    explanation: include_str!("../../../docs/lint/reload-ends-it.md"),
    check,
};

fn check(name: &str, unit: &UnitFacts, place: &Place) -> Option<Finding> {
    let signal = unit.reload_signal.filter(|signal| ends(*signal))?;
    let text = "[Service]\n# For a program that reloads on HUP:\nExecReload=\n\
                ExecReload=/bin/kill -HUP $MAINPID\n";
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: Severity::Error,
        message: format!("A reload sends {signal}, which programs take as the order to end."),
        consequence: "systemctl reload stops the service.".to_owned(),
        mend: "Name the signal that the program reloads on in ExecReload=.".to_owned(),
        drop_in: Some(place.drop_in(name, text)),
    })
}

/// Whether a signal is there to end a program.
pub(super) fn ends(signal: Signal) -> bool {
    [Signal::TERM, Signal::INT, Signal::KILL].contains(&signal)
}
