//! Who may say that the service is ready.

use super::{Finding, Place};
use crate::timeline::{document::Severity, unit::UnitFacts};

/// Any process of the service may say READY=1, one that inherited the socket too.
pub(super) fn wide(name: &str, unit: &UnitFacts, place: &Place) -> Option<Finding> {
    let is_wide = unit.is_notify() && unit.notify_access.as_deref() == Some("all");
    is_wide.then(|| Finding {
        id: "notify-access-wide".to_owned(),
        severity: Severity::Warning,
        message: "NotifyAccess=all lets every process of the service say READY=1: a helper, or a \
                  program that inherited NOTIFY_SOCKET."
            .to_owned(),
        consequence: "systemd may take the service as up, and let reloads through, before its \
                      main process is ready."
            .to_owned(),
        mend: format!(
            "NotifyAccess=main, where the main process speaks for itself. See who does: {}",
            place.trace(name, "")
        ),
        drop_in: Some(place.drop_in(
            name,
            "[Service]\n# Where the main process itself sends READY=1:\nNotifyAccess=main\n",
        )),
    })
}

/// The main process is a shell, and what it starts may not speak.
pub(super) fn narrow(name: &str, unit: &UnitFacts, place: &Place) -> Option<Finding> {
    let command = unit.exec_start.as_ref()?.last()?;
    let is_narrow = unit.is_notify()
        && unit.notify_access.as_deref() == Some("main")
        && is_shell(command)
        && !command.split_whitespace().any(|word| word == "exec");
    is_narrow.then(|| Finding {
        id: "notify-access-narrow".to_owned(),
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
