//! What to change: short enough for a terminal. The pages under docs/rules have
//! the long version.

use super::Case;
use crate::model::signal::Signal;

/// The handler comes too late.
pub(super) fn handler_first(case: &Case) -> String {
    let first = format!("In the program: install the {} handler first", case.reload_signal());
    let service_type = case.facts().and_then(|facts| facts.service_type.as_deref());
    match service_type.filter(|_| !case.is_command()) {
        Some("notify" | "notify-reload") => {
            format!("{first}, then send READY=1: systemd holds reloads back until then.")
        }
        Some("dbus") => format!(
            "{first}, then take the bus name: systemd holds reloads back until that is there."
        ),
        Some("forking") => format!(
            "{first}, then go into the background: systemd holds reloads back until the process \
             that it started has ended."
        ),
        _ => format!(
            "{first}, then send READY=1. In the unit: [Service] Type=notify, so that systemd holds \
             reloads back until READY=1."
        ),
    }
}

/// The handler does not come at all.
pub(super) fn handler_or_no_reload(signal: Signal) -> String {
    format!(
        "Give the program a {signal} handler, or take the reload out of the unit: [Service] \
         ExecReload= (empty), and systemctl try-restart where systemctl reload was used."
    )
}

/// The reload ends the service.
pub(super) fn stay_or_no_reload(signal: Signal) -> String {
    format!(
        "In the program: let the {signal} handler load the settings again and go on, and leave \
         ending to TERM. Or take the reload out of the unit: [Service] ExecReload= (empty), and \
         systemctl try-restart where systemctl reload was used."
    )
}

/// The reload reaches processes that it is not meant for.
pub(super) fn main_alone(signal: Signal) -> String {
    format!(
        "Signal the main process alone: ExecReload=/bin/kill -s {signal} $MAINPID, or systemctl \
         kill --kill-whom=main -s {signal} UNIT. What must get it too needs a handler, or is to \
         be started with {signal} ignored."
    )
}

/// Reloads reach a service that is still starting.
pub(super) fn wait_for_ready(sender: &str) -> String {
    format!(
        "Let {sender} wait for READY=1: use systemctl reload on a unit with [Service] \
         Type=notify instead of sending the signal directly."
    )
}

/// READY=1 is refused.
pub(super) const ADMIT_OR_HIDE: &str = "Send READY=1 from the main process, or name it with \
    MAINPID=; if that can't be, [Service] NotifyAccess=all. Children that should not speak for \
    the service: start them without NOTIFY_SOCKET in their environment.";

#[cfg(test)]
mod tests {
    use crate::{model::signal::Signal, rules::testing::*};

    #[test]
    fn what_is_to_come_after_the_handler_is_what_systemd_waits_for() {
        let mend = |service_type| {
            let start = activation().unit(service_type, "no").exec(0);
            let start = start.signal(50.ms(), Signal::HUP, Default, Killed, by("kill"));
            start.judged(&["reload-before-handler"]).remove(0).mend
        };
        assert!(mend("simple").ends_with("so that systemd holds reloads back until READY=1."));
        assert!(mend("notify").ends_with("systemd holds reloads back until then."));
        assert!(mend("dbus").contains("take the bus name"));
        assert!(mend("forking").contains("go into the background"));
    }
}
