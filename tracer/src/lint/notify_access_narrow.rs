//! The main process is a shell or the like, and what it starts may not speak.

use super::{Case, Check, Finding, Look};
use crate::model::document::Severity;

pub(super) const CHECK: Check = Check {
    id: "notify-access-narrow",
    explanation: include_str!("../../docs/lint/notify-access-narrow.md"),
    look: Look::Files(check),
};

fn check(case: &Case<'_>) -> Option<Finding> {
    let stay = case.stay().filter(|stay| stay.has_children)?;
    // systemd-notify(1) of root speaks for the process that runs it.
    let speaks = stay.speaks && !case.has_user;
    if !case.admits_main_alone() || speaks {
        return None;
    }
    let access = case.facts.notify_access.as_deref()?;
    let is_notify = case.facts.is_notify();
    let (message, consequence) = if is_notify {
        ("READY=1", "The start waits for READY=1 until TimeoutStartSec= is over, and fails.")
    } else {
        (
            "WATCHDOG=1",
            "Whenever WatchdogSec= is over, systemd ends the service for want of WATCHDOG=1 \
             (result 'watchdog').",
        )
    };
    let mend = if stay.is_shell {
        "Let the shell exec the program, so that it becomes the main process."
    } else {
        "Let systemd do what the program in between does, so that the service itself becomes \
         the main process."
    };
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity: Severity::Warning,
        message: format!(
            "The main process is {}, and NotifyAccess={access} refuses {message} from what it \
             starts.",
            if stay.is_shell { format!("a shell ({})", stay.by) } else { stay.by.clone() }
        ),
        consequence: consequence.to_owned(),
        mend: mend.to_owned(),
        drop_in: Some(case.drop_in(CHECK.id, "# Where it has to stay:\nNotifyAccess=all\n")),
    })
}
