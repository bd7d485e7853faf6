//! READY=1 was due and did not come.

use super::{
    Case, Finding, Rule, case::Announced, consequence, ready_rejected, result::End, start_refused,
    stopping_then_on, text,
};
use crate::model::document::{EndedBy, Severity};

const MEND: &str = "Let the main process send READY=1 once it serves and its handlers are in \
                    (sd_notify(3), systemd-notify --ready). A program that can't: [Service] \
                    Type=exec.";

pub(super) const RULE: Rule = Rule {
    id: "ready-missing",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/ready-missing.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    let due = case.awaits_ready() && case.activation.milestones.ready_ns.is_none();
    // systemd itself says that a name on the message bus did not come.
    let due = due && !case.is_dbus();
    // A start that is over before its main process is there fails for another reason.
    let due = due && case.main().is_some();
    let explained = case.deadly_reload().is_some()
        || ready_rejected::refused(case).next().is_some()
        || start_refused::refused(case).is_some()
        || stopping_then_on::refused(case);
    if !due || explained {
        return Vec::new();
    }
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let milestones = &case.activation.milestones;
    let by_user = case.capture.ended_by == EndedBy::Interrupt;
    let end = case.end_ns();
    let stop = case.told_to_stop();
    let how = match (milestones.exit_ns, stop) {
        // Who interrupts a capture ends what it traces too.
        (Some(_), Some(_)) if by_user => return None,
        (Some(_), Some((.., sent))) => {
            format!(
                "was stopped by {} from {} and ended",
                sent.signal,
                sent.sender.as_ref().map_or_else(|| "the kernel".to_owned(), text::sender)
            )
        }
        (Some(_), None) => "ended".to_owned(),
        (None, _) if case.capture.ended_by == EndedBy::Timeout => "still ran".to_owned(),
        (None, _) => return None,
    };
    let failed = case
        .messages()
        .filter(|told| told.message.result != 0)
        .find(|told| told.message.not_connected || told.state() == Some(Announced::Ready));
    let mut events: Vec<usize> = [
        failed.map(|told| told.index),
        stop.filter(|_| milestones.exit_ns.is_some()).map(|(index, ..)| index),
        case.exit_index(),
    ]
    .into_iter()
    .flatten()
    .collect();
    events.sort_unstable();
    Some(Finding {
        at_ns: end,
        events,
        message: format!(
            "{} {how} {} and {}.",
            text::main(case),
            text::when(case.activation, end),
            match failed {
                Some(told) if told.message.not_connected => {
                    "had not said READY=1: it could not connect to the notify socket"
                }
                Some(_) => "its READY=1 had not arrived: the send failed",
                None => "had not said READY=1",
            }
        ),
        consequence: consequence::never_ready(case),
        mend: gave_up(case)
            .filter(|_| failed.is_none() && stop.is_none())
            .map_or_else(|| MEND.to_owned(), |end| look_for(case, end)),
    })
}

/// Where the reason for an end before READY=1 stands.
fn look_for(case: &Case, end: End) -> String {
    match case.activation.not_set_up() {
        Some(status) => format!(
            "The program was not executed: systemd could not set it up (status={status}, \
             systemd.exec(5)). Look at what it says of that: journalctl -u UNIT."
        ),
        None => format!(
            "Look for the reason of {end} in what the program wrote by then, as to the journal: it \
             did not come as far as READY=1."
        ),
    }
}

/// How the main process ended, if not well.
fn gave_up(case: &Case) -> Option<End> {
    let outcome = &case.activation.outcome;
    End::of(outcome.signal, outcome.code.filter(|code| *code != 0), false)
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{document::EndedBy, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "ready-missing";

    #[test]
    fn an_exit_before_ready_is_a_protocol_failure() {
        let alerts =
            activation().unit("notify", "on-failure").exec(0).exit(200.ms(), 0).judged(&[ID]);
        assert_eq!(
            alerts[0].message,
            "python3 (pid 4711) ended 200 ms after its exec and had not said READY=1."
        );
        assert_eq!(
            alerts[0].consequence,
            "The start of a Type=notify service fails when it ends before READY=1 (result \
             'protocol'): Restart=on-failure restarts it."
        );
    }

    #[test]
    fn a_program_that_gave_up_has_another_reason_than_a_message_that_it_does_not_send() {
        let mend = |code| {
            let start = activation().unit("notify", "no").exec(0).exit(9.ms(), code);
            start.judged(&[ID])[0].mend.clone()
        };
        assert!(mend(0).contains("Type=exec"), "{}", mend(0));
        let failed = mend(1);
        assert!(failed.contains("code 1") && !failed.contains("Type="), "{failed}");
    }

    #[test]
    fn what_was_not_executed_wrote_nothing() {
        let start = activation().unit("notify", "no").exit(9.ms(), 203);
        let mend = start.judged(&[ID])[0].mend.clone();
        assert!(mend.contains("status=203/EXEC"), "{mend}");
    }

    #[test]
    fn running_until_the_time_is_over_counts() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .exec(0)
            .ends_at(90.s(), EndedBy::Timeout)
            .judged(&[ID]);
        assert!(alerts[0].consequence.contains("(result 'timeout')"));
        assert_eq!(alerts[0].at_ns, 90.s());
    }

    #[test]
    fn who_stopped_it_is_named() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .ends_at(95.s(), EndedBy::Until)
            .exec(0)
            .signal(90.s(), Signal::TERM, Default, Killed, by("systemd"))
            .judged(&[ID]);
        assert!(alerts[0].message.contains("TERM from systemd"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("Type=exec"), "{}", alerts[0].mend);
    }

    #[test]
    fn a_start_that_ended_before_its_main_process_lacks_no_message() {
        let ended = activation().unit("notify", "no").ends_at(90.s(), EndedBy::Timeout);
        let ended = ended.systemd(5.ms(), "activating", Some("start-pre"), "success");
        ended.systemd(9.ms(), "failed", Some("failed"), "signal").without_main().judged(&[]);
    }

    #[test]
    fn systemds_own_stop_is_no_end_by_which_the_start_fails() {
        let stopped = |at: i64, result: &str| {
            let start = activation().unit("notify", "on-failure").ends_at(95.s(), EndedBy::Until);
            let start = start.with(|facts| facts.timeout_start_ns = Some(90_000_000_000)).exec(0);
            let start = start.systemd(1.ms(), "activating", Some("start"), "success");
            let start = start.systemd(at, "deactivating", Some("stop-sigterm"), result);
            let start = start.signal(at, Signal::TERM, Default, Killed, by("systemd"));
            let over = if result == "success" { "inactive" } else { "failed" };
            let start = start.systemd(at + 5.ms(), over, Some("dead"), result);
            start.judged(&[ID])[0].consequence.clone()
        };
        assert_eq!(
            stopped(90.s(), "timeout"),
            "systemd waited for READY=1 until TimeoutStartSec= was over (90 s), and ended the \
             service (result 'timeout'): Restart=on-failure restarts it. systemd says so itself: \
             Result=timeout, and the unit is failed."
        );
        assert_eq!(
            stopped(20.s(), "success"),
            "systemd was told to stop it while it waited for READY=1, which is no failure (result \
             'success'): nothing starts it again. systemd says so itself: Result=success, and the \
             unit is inactive."
        );
    }

    #[test]
    fn a_failed_send_is_told_with_it() {
        let alerts = activation()
            .unit("notify", "no")
            .exec(0)
            .notify(20.ms(), itself(), &[("READY", "1")])
            .failed(111)
            .exit(1.s(), 1)
            .judged(&["notify-send-failed", ID]);
        assert_eq!(alerts[1].events, [1, 2]);
        assert!(alerts[1].consequence.contains("'exit-code'"), "{}", alerts[1].consequence);
        assert!(alerts[1].mend.contains("Type=exec"), "{}", alerts[1].mend);
    }

    #[test]
    fn another_message_that_failed_is_not_its_ready() {
        let alerts = activation()
            .unit("notify", "no")
            .exec(0)
            .notify(20.ms(), itself(), &[("STATUS", "starting")])
            .failed(111)
            .exit(1.s(), 1)
            .judged(&["notify-send-failed", ID]);
        assert!(alerts[1].message.ends_with("had not said READY=1."), "{}", alerts[1].message);
        assert_eq!(alerts[1].events, [2]);
    }

    #[test]
    fn who_could_not_connect_to_the_socket_could_not_say_it() {
        let alerts = activation()
            .unit("notify", "no")
            .exec(0)
            .notify(20.ms(), itself(), &[])
            .not_connected(2)
            .exit(1.s(), 1)
            .judged(&["notify-send-failed", ID]);
        assert!(
            alerts[1]
                .message
                .ends_with("had not said READY=1: it could not connect to the notify socket."),
            "{}",
            alerts[1].message
        );
        assert_eq!(alerts[1].events, [1, 2]);
    }

    #[test]
    fn it_is_silent_where_ready_is_not_due_or_may_have_come() {
        activation().unit("simple", "no").exec(0).exit(1.s(), 0).judged(&[]);
        activation().exec(0).exit(1.s(), 0).judged(&[]);
        activation().unit("notify", "no").exec(0).judged(&[]);
        activation()
            .unit("notify", "no")
            .joined(5.s())
            .exit(9.s(), 0)
            .judged(&["capture-incomplete"]);
    }

    #[test]
    fn an_interrupted_capture_ends_its_command_too() {
        activation()
            .command()
            .exec(0)
            .signal(3.s(), Signal::INT, Default, Killed, by("sigready"))
            .judged(&[]);
    }

    #[test]
    fn a_death_that_has_its_own_alert_is_not_told_twice() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .signal(50.ms(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&["reload-before-handler"]);
    }
}
