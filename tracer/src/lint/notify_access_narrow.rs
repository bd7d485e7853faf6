//! The main process is a shell, and what it starts may not speak.

use super::{Check, Finding, Place};
use crate::model::{document::Severity, unit::UnitFacts};

pub(super) const CHECK: Check = Check {
    id: "notify-access-narrow",
    explanation: include_str!("../../../docs/lint/notify-access-narrow.md"),
    check,
};

fn check(name: &str, unit: &UnitFacts, place: &Place) -> Option<Finding> {
    let command = unit.exec_start.as_ref()?.last()?;
    let is_narrow = unit.is_notify()
        && unit.notify_access.as_deref() == Some("main")
        && is_shell(command)
        && !command.split_whitespace().any(|word| word == "exec");
    is_narrow.then(|| Finding {
        id: CHECK.id.to_owned(),
        severity: Severity::Warning,
        message: "The main process is a shell, and NotifyAccess=main refuses READY=1 from what \
                  it starts."
            .to_owned(),
        consequence: "The start waits for READY=1 until TimeoutStartSec= is over, and fails."
            .to_owned(),
        mend: "Let the shell exec the program, so that it becomes the main process.".to_owned(),
        drop_in: Some(
            place.drop_in(name, "[Service]\n# Where the shell has to stay:\nNotifyAccess=all\n"),
        ),
    })
}

/// Whether a command line is a script given to a shell.
fn is_shell(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let shell = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    ["sh", "bash", "dash"].contains(&shell) && words.any(|word| word == "-c")
}
