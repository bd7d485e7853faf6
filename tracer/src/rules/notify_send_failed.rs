//! A message to the notify socket could not be sent, or that socket not be connected to.

use super::{
    Case, Finding, Rule,
    case::{Announced, Announcement},
    consequence, text,
};
use crate::model::{document::Severity, errno, event::NotifyMessage};

/// What PID 1 becomes as the machine goes down, by the 15 characters that the kernel keeps of it.
const SHUTDOWN: &str = "systemd-shutdow";

pub(super) const RULE: Rule = Rule {
    id: "notify-send-failed",
    severity: Severity::Warning,
    explanation: include_str!("../../docs/rules/notify-send-failed.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    let failed: Vec<Announcement> = case
        .messages()
        .filter(|told| told.message.result != 0)
        .filter(|told| !was_repeated(case, told) && !may_have_been_repeated(case, told))
        .filter(|told| !says_nothing_new(case, told) && !comes_after_systemd(case, told))
        .collect();
    finding(case, &failed).into_iter().collect()
}

/// Whether the sender tried again and got through.
fn was_repeated(case: &Case, failed: &Announcement) -> bool {
    case.messages().any(|told| {
        told.index > failed.index
            && told.message.result == 0
            && told.message.sender.pid == failed.message.sender.pid
            && (failed.message.not_connected
                || told.message.assignments == failed.message.assignments)
    })
}

/// Whether it would have changed nothing: systemd has READY=1 already, and no reload is to end by it,
/// or it is a READY= that systemd does not know.
fn says_nothing_new(case: &Case, failed: &Announcement) -> bool {
    let assignments = &failed.message.assignments;
    let is_ready_alone = assignments.iter().all(|(key, _)| key == "READY");
    if assignments.is_empty() || !is_ready_alone {
        return false;
    }
    let earlier = case.messages().take_while(|told| told.index < failed.index);
    let last = earlier.filter(Announcement::counts).filter_map(|told| told.state()).last();
    failed.state().is_none() || last == Some(Announced::Ready)
}

/// Whether the machine goes down, and the process that takes systemd's place has told the service to
/// end: nobody hears messages then.
fn comes_after_systemd(case: &Case, failed: &Announcement) -> bool {
    let stop = case.told_to_stop().filter(|(index, ..)| *index < failed.index);
    let sender = stop.and_then(|(.., sent)| sent.sender.as_ref());
    sender.is_some_and(|sender| sender.process.comm == SHUTDOWN)
}

/// Whether a signal interrupted the call, which the kernel begins anew then, and what came of that may
/// be among the messages that there was no room for.
fn may_have_been_repeated(case: &Case, failed: &Announcement) -> bool {
    errno::begins_anew(failed.message.result)
        && case.activation.left_out.iter().any(|events| events.kind == "notify")
}

fn finding(case: &Case, failed: &[Announcement]) -> Option<Finding> {
    let worst = failed
        .iter()
        .find(|told| told.state() == Some(Announced::Ready))
        .or_else(|| failed.first())?;
    let message = worst.message;
    // What was to be sent where no connection was made is not known.
    let may_be_ready = worst.state() == Some(Announced::Ready) || message.not_connected;
    let never_ready = may_be_ready && case.activation.milestones.ready_ns.is_none();
    Some(Finding {
        at_ns: worst.at_ns,
        events: failed.iter().map(|told| told.index).collect(),
        message: format!(
            "{} {}: {}{}.",
            what_failed(message),
            text::when(case.activation, worst.at_ns),
            reason(message.result),
            text::and_more(failed.len())
        ),
        consequence: if never_ready {
            consequence::never_ready(case)
        } else {
            consequence::not_received(case)
        },
        mend: "Let the program reach the socket of $NOTIFY_SOCKET: don't change root or mount \
               namespace, drop privileges or close it before the message; in a container, \
               bind-mount it. Send again after EAGAIN."
            .to_owned(),
    })
}

/// `READY from python3 (pid 4711) to /run/systemd/notify could not be sent`
fn what_failed(message: &NotifyMessage) -> String {
    let (sender, socket) = (text::teller(&message.sender), &message.destination);
    if message.not_connected {
        return format!("{sender} could not connect to {socket}, to send a message,");
    }
    let keys: Vec<&str> = message.assignments.iter().map(|(key, _)| key.as_str()).collect();
    let keys = if keys.is_empty() { "A message".to_owned() } else { keys.join(", ") };
    format!("{keys} from {sender} to {socket} could not be sent")
}

/// `ECONNREFUSED (Connection refused)`
fn reason(number: i32) -> String {
    match errno::named(number) {
        Some((name, words)) => format!("{name} ({words})"),
        None => errno::words(number),
    }
}

#[cfg(test)]
mod tests {
    use crate::{model::signal::Signal, rules::testing::*};

    const ID: &str = "notify-send-failed";

    #[test]
    fn a_failed_send_names_the_sender_the_socket_and_the_error() {
        let alerts = activation()
            .unit("notify", "no")
            .exec(0)
            .handler(1.ms())
            .ready(10.ms())
            .notify(20.ms(), by("worker"), &[("STATUS", "up"), ("WATCHDOG", "1")])
            .failed(111)
            .judged(&[ID]);
        assert_eq!(
            alerts[0].message,
            "STATUS, WATCHDOG from worker (pid 4720, /usr/bin/worker) to /run/systemd/notify could \
             not be sent 20.0 ms after its exec: ECONNREFUSED (Connection refused)."
        );
        assert_eq!(alerts[0].events, [3]);
    }

    #[test]
    fn a_send_that_a_signal_interrupts_is_not_called_failed_where_the_next_ones_are_left_out() {
        let start = || {
            let start = activation().unit("notify", "no").exec(0).ready(1.ms());
            start.notify(20.ms(), itself(), &[("STATUS", "up")])
        };
        start().failed(512).judged(&[ID]);
        start().failed(512).leaves_out("exec", 3).judged(&[ID]);
        start().failed(512).leaves_out("notify", 3).judged(&[]);
        start().failed(111).leaves_out("notify", 3).judged(&[ID]);
    }

    #[test]
    fn another_message_than_ready_leaves_systemds_view_as_it_was() {
        let start = activation().unit("notify", "no").exec(0);
        let start = start.notify(20.ms(), itself(), &[("STATUS", "up")]).failed(111);
        let alerts = start.judged(&[ID]);
        assert!(
            alerts[0].consequence.contains("never saw the message"),
            "{}",
            alerts[0].consequence
        );
    }

    #[test]
    fn an_error_without_a_name_has_its_number() {
        let alerts = activation().exec(0).notify(0, itself(), &[]).failed(9999).judged(&[ID]);
        assert!(alerts[0].message.ends_with("error 9999."), "{}", alerts[0].message);
    }

    #[test]
    fn a_lost_ready_has_the_consequence_of_no_ready() {
        let alerts = activation()
            .unit("notify", "no")
            .exec(0)
            .notify(20.ms(), itself(), &[("READY", "1")])
            .failed(2)
            .judged(&[ID]);
        assert!(alerts[0].consequence.contains("'timeout'"), "{}", alerts[0].consequence);
    }

    #[test]
    fn a_socket_that_cannot_be_connected_to_may_have_cost_the_ready() {
        let start = activation().unit("notify", "no").exec(0);
        let start = start.notify(20.ms(), itself(), &[]).not_connected(2);
        let alerts = start.judged(&[ID]);
        assert_eq!(
            alerts[0].message,
            "python3 (pid 4711) could not connect to /run/systemd/notify, to send a message, 20.0 \
             ms after its exec: ENOENT (No such file or directory)."
        );
        assert!(alerts[0].consequence.contains("'timeout'"), "{}", alerts[0].consequence);
    }

    #[test]
    fn who_was_connected_or_ready_all_the_same_lost_no_ready() {
        let start = activation().unit("notify", "no").exec(0);
        let start = start.notify(20.ms(), by("worker"), &[]).not_connected(2).ready(30.ms());
        let alerts = start.judged(&[ID]);
        assert!(alerts[0].consequence.contains("never saw"), "{}", alerts[0].consequence);
        activation()
            .unit("notify", "no")
            .exec(0)
            .notify(20.ms(), itself(), &[])
            .not_connected(2)
            .ready(30.ms())
            .judged(&[]);
    }

    #[test]
    fn a_send_that_succeeds_the_second_time_did_no_harm() {
        activation()
            .exec(0)
            .notify(20.ms(), itself(), &[("WATCHDOG", "1")])
            .failed(11)
            .notify(21.ms(), itself(), &[("WATCHDOG", "1")])
            .judged(&[]);
    }

    #[test]
    fn a_ready_that_systemd_has_already_does_no_harm_but_where_it_ends_a_reload() {
        let up = || activation().unit("notify", "no").exec(0).ready(1.ms());
        let ready: &[(&str, &str)] = &[("READY", "1")];
        up().notify(20.ms(), itself(), ready).failed(106).judged(&[]);
        up().notify(20.ms(), by("worker"), ready).failed(106).judged(&[]);
        let with_status = &[("READY", "1"), ("STATUS", "up")];
        up().notify(20.ms(), itself(), with_status).failed(106).judged(&[ID]);
        let reloads =
            up().notify(20.ms(), itself(), &[("RELOADING", "1"), ("MONOTONIC_USEC", "1")]);
        let reloads = reloads.notify(30.ms(), itself(), ready).failed(106);
        reloads.judged(&["reloading-malformed", ID]);
        // systemd knows no such state.
        up().notify(20.ms(), itself(), &[("READY", "0")]).failed(111).judged(&[]);
    }

    #[test]
    fn nobody_hears_what_is_sent_as_the_machine_goes_down() {
        let told_by = |comm: &str| {
            let up = activation().unit("notify", "no").exec(0).ready(1.ms());
            let up = up.signal(20.ms(), Signal::TERM, Handler, Handled, by(comm));
            up.notify(21.ms(), itself(), &[("STOPPING", "1")]).failed(111)
        };
        told_by("systemd-shutdow").judged(&[]);
        told_by("systemd").judged(&[ID]);
    }

    #[test]
    fn another_senders_success_is_not_a_second_try() {
        activation()
            .exec(0)
            .notify(20.ms(), by("worker"), &[("WATCHDOG", "1")])
            .failed(11)
            .notify(21.ms(), itself(), &[("WATCHDOG", "1")])
            .judged(&[ID]);
    }

    #[test]
    fn of_several_messages_that_could_not_be_sent_the_ready_is_told() {
        let start = activation().unit("notify", "no").exec(0);
        let start = start.notify(10.ms(), itself(), &[("STATUS", "starting")]).failed(111);
        let start = start.notify(20.ms(), itself(), &[("READY", "1")]).failed(111);
        let alerts = start.judged(&[ID]);
        assert!(alerts[0].message.starts_with("READY from python3"), "{}", alerts[0].message);
        assert_eq!(alerts[0].at_ns, 20.ms());
        assert_eq!(alerts[0].events, [1, 2]);
    }
}
