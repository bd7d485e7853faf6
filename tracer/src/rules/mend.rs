//! What to change: short enough for a terminal. The pages under docs/rules have
//! the long version.

use super::{Case, text};
use crate::model::{event::SignalSent, signal::Signal};

/// What a program needs that had a handler, and has it no more while it runs.
pub(super) fn keep_handler(signal: Signal) -> String {
    format!(
        "Keep the {signal} handler as long as the program runs: install it without SA_RESETHAND \
         (Node: process.on(), not once()), and don't set it back to the default in it or after."
    )
}

/// The program executes itself anew while it is up, which systemd holds no reload back for.
pub(super) fn cover_exec(signal: Signal) -> String {
    format!(
        "In the program: block {signal} before it executes itself anew, and let it through once \
         the handler is there: an exec takes handlers away and keeps the mask, and what comes \
         meanwhile waits (sigprocmask(2)). To systemd the service is up, so it holds nothing back."
    )
}

/// The handler comes too late.
pub(super) fn handler_first(case: &Case) -> String {
    let first = format!("In the program: install the {} handler first", case.reload_signal());
    if let Some(caretaker) = case.caretaker() {
        return format!("{first}. {}", caretaker.hold_back());
    }
    let service_type = case.facts().and_then(|facts| facts.service_type.as_deref());
    if case.is_unit() && case.facts().is_some() && !case.reloads_by_signal() {
        let then = match service_type {
            Some("notify" | "notify-reload") => ", then send READY=1",
            Some("dbus") => ", then take the bus name",
            Some("forking") => ", then go into the background",
            _ => "",
        };
        let signal = case.reload_signal();
        let held = match case.facts().and_then(|facts| facts.reload_sends(signal)) {
            Some(_) => {
                "systemd holds no such signal back: the unit's own reload, if it has one, does not \
                 send it"
            }
            None => "systemd holds the unit's own reload back, and no signal from elsewhere",
        };
        return format!(
            "{first}{then}; and don't send {signal} before that. {held}. `systemctl \
             reload-or-restart` does what the unit can."
        );
    }
    match service_type.filter(|_| !case.is_command()) {
        Some("notify" | "notify-reload") => {
            format!("{first}, then send READY=1: systemd holds reloads back until then.")
        }
        // It is no daemon, and systemd holds its reloads back already.
        Some("oneshot") => format!(
            "Leave {signal} to systemctl reload, which waits until the commands of a Type=oneshot \
             unit are done. Or, {first}.",
            signal = case.reload_signal(),
            first = first.replacen('I', "i", 1)
        ),
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

/// A thread lacks the mask.
pub(super) fn mask_first(sent: &SignalSent) -> String {
    let signal = sent.signal;
    let which = match &sent.unblocked {
        Some(thread) => format!("Here it was {}.", text::thread(thread)),
        None => "The thread that lacks it: SigBlk in /proc/PID/task/*/status, and its name beside \
                 that."
            .to_owned(),
    };
    format!(
        "In the program: block {signal} in the main thread before the first thread is started, by \
         a library too: a thread begins with the mask of the one that starts it \
         (pthread_sigmask(3)). {which}"
    )
}

/// The handler does not come at all.
pub(super) fn handler_or_no_reload(case: &Case) -> String {
    let signal = case.reload_signal();
    if case.caretaker().is_some() {
        return format!("Give the program a {signal} handler, or don't send it {signal}.");
    }
    // The unit's own reload, if it has one, is another.
    if case.facts().is_some() && !case.reloads_by_signal() {
        return format!(
            "Give the program a {signal} handler, or don't send it {signal}: `systemctl \
             reload-or-restart` does what the unit can."
        );
    }
    format!(
        "Give the program a {signal} handler, or take the reload out of the unit: [Service] \
         ExecReload= (empty), and systemctl try-restart where systemctl reload was used."
    )
}

/// The reload ends the service.
pub(super) fn stay_or_no_reload(case: &Case) -> String {
    let signal = case.reload_signal();
    if case.is_meant_to_end() {
        return format!(
            "Name the signal that the program reloads on in place of {signal}, which ends \
             programs; or, if the reload is to be a restart, [Service] Restart=always."
        );
    }
    let stay = format!(
        "In the program: let the {signal} handler load the settings again and go on, and leave \
         ending to TERM."
    );
    if case.caretaker().is_some() {
        return stay;
    }
    format!(
        "{stay} Or take the reload out of the unit: [Service] ExecReload= (empty), and \
         systemctl try-restart where systemctl reload was used."
    )
}

/// A worker ends by the reload, and the service for want of it.
pub(super) fn worker_stays(signal: Signal, worker: &str) -> String {
    format!(
        "In the program: let {worker} go on when it gets {signal}, or let the main process start \
         another one in its place. Or signal the main process alone: ExecReload=/bin/kill -s \
         {signal} $MAINPID, or systemctl kill --kill-whom=main -s {signal} UNIT."
    )
}

/// The handler crashes.
pub(super) fn handler_that_notes(signal: Signal) -> String {
    format!(
        "In the program: let the {signal} handler only note that a reload is due, and do the work \
         in the main loop: little may be called in a handler (signal-safety(7)). Keep the old \
         settings where the new ones can't be loaded."
    )
}

/// A successor takes over, and nobody says so.
pub(super) fn name_successor(signal: Signal) -> String {
    format!(
        "In the program: name the successor before the old process ends, with \"MAINPID=PID\\n\
         READY=1\" to NOTIFY_SOCKET ([Service] Type=notify), or in the file of PIDFile= \
         (Type=forking). Or let {signal} load the settings again in the same process."
    )
}

/// What the main process runs dies of the reload that it passes on.
pub(super) fn handler_of_child(signal: Signal, child: &str) -> String {
    format!(
        "Give {child} a handler for {signal}, since what runs it passes the signal on; or reload \
         it in another way."
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
pub(super) fn wait_for_ready(case: &Case, sender: &str) -> String {
    if case.is_dbus() {
        return format!(
            "Let {sender} wait for the bus name: use systemctl reload, which systemd holds back \
             until then, instead of sending the signal directly."
        );
    }
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
    use super::*;
    use crate::rules::testing::*;

    #[test]
    fn what_is_to_come_after_the_handler_is_what_systemd_waits_for() {
        let mend = |service_type| {
            let start = activation().unit(service_type, "no").reloads_by(Signal::HUP).exec(0);
            let start = start.signal(50.ms(), Signal::HUP, Default, Killed, by("kill"));
            start.judged(&["reload-before-handler"]).remove(0).mend
        };
        assert!(mend("simple").ends_with("so that systemd holds reloads back until READY=1."));
        assert!(mend("notify").ends_with("systemd holds reloads back until then."));
        assert!(mend("dbus").contains("take the bus name"));
        assert!(mend("forking").contains("go into the background"));
        assert!(mend("oneshot").starts_with("Leave HUP to systemctl reload"));
    }

    #[test]
    fn where_no_settings_of_a_unit_are_known_systemd_is_to_hold_reloads_back() {
        for start in [activation(), activation().command()] {
            let start = start.exec(0).signal(50.ms(), Signal::HUP, Default, Killed, by("kill"));
            let mend = start.judged(&["reload-before-handler"]).remove(0).mend;
            assert!(mend.contains("In the unit: [Service] Type=notify"), "{mend}");
        }
    }

    #[test]
    fn a_reload_that_sends_the_signal_can_be_taken_out_of_the_unit() {
        let unit = || activation().unit("simple", "no");
        let known = unit().reloads_by(Signal::HUP).asked(handler_or_no_reload);
        let unknown = activation().asked(handler_or_no_reload);
        for mend in [known, unknown] {
            assert!(mend.contains("take the reload out of the unit"), "{mend}");
        }
        let other = unit().asked(handler_or_no_reload);
        assert!(other.contains("`systemctl reload-or-restart` does what the unit can"), "{other}");
    }

    #[test]
    fn what_the_units_own_reload_does_not_send_is_not_held_back() {
        for (service_type, then) in [
            ("simple", ";"),
            ("notify", ", then send"),
            ("dbus", ", then take the bus name"),
            ("forking", ", then go into the background"),
        ] {
            let told = |commands: &[&str]| {
                let commands = commands.iter().map(ToString::to_string).collect();
                let start = activation().unit(service_type, "no").exec(0);
                let start = start.with(|facts| facts.exec_reload = Some(commands));
                let start = start.signal(50.ms(), Signal::HUP, Default, Killed, by("kill"));
                start.judged(&["reload-before-handler"]).remove(0).mend
            };
            let mend = told(&[]);
            assert!(mend.contains(&format!("handler first{then}")), "{mend}");
            assert!(mend.contains("systemd holds no such signal back"), "{mend}");
            // Such a program may send any.
            let mend = told(&["/usr/bin/doveadm reload"]);
            assert!(mend.contains("systemd holds the unit's own reload back, and no"), "{mend}");
        }
    }
}
