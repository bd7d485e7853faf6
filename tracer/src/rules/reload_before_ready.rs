//! The reload signal came after the handler and before READY=1.

use super::{Case, Finding, Rule, consequence, mend, reload::Reload, text};
use crate::model::{
    document::Severity,
    event::{DispositionKind, Fate},
};

pub(super) const RULE: Rule = Rule {
    id: "reload-before-ready",
    severity: Severity::Warning,
    explanation: include_str!("../../docs/rules/reload-before-ready.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    let early: Vec<Reload> =
        case.reloads_in_service().filter(|reload| is_early(case, reload)).collect();
    finding(case, &early).into_iter().collect()
}

/// Whether the program itself took it before it had said READY=1.
fn is_early(case: &Case, reload: &Reload) -> bool {
    // One that stayed blocked until READY=1 was held back on purpose.
    let ready = case.activation.milestones.ready_ns;
    case.awaits_ready()
        && ready.is_none_or(|ready| reload.settled_ns() < ready)
        && reload.sent.fate == Fate::Handled
        && !reload.sent.runtime.is_some_and(|runtime| {
            runtime.kills(reload.sent.signal) || runtime.spares(reload.sent.signal)
        })
        && case.deadly(reload).is_none()
        && !left_in_order(case)
}

/// Whether the program ended well without ever having been ready: then its signal
/// means stop.
fn left_in_order(case: &Case) -> bool {
    let has_been_ready = case.activation.milestones.ready_ns.is_some();
    !has_been_ready && case.activation.outcome.code == Some(0)
}

fn finding(case: &Case, early: &[Reload]) -> Option<Finding> {
    let first = early.first()?;
    let signal = first.sent.signal;
    let ready = match case.activation.milestones.ready_ns {
        Some(ready) => {
            let before = text::Span(ready.saturating_sub(first.settled_ns()));
            format!("{before} before {}", case.awaited())
        }
        None => format!("and {} never came", case.awaited()),
    };
    Some(Finding {
        at_ns: first.at_ns,
        events: early
            .iter()
            .map(|reload| reload.index)
            .chain(case.ready_message().map(|told| told.index))
            .collect(),
        message: format!(
            "{signal} from {} {}, {ready}{}.",
            text::sender(first.sender),
            arrival(case, first),
            text::and_more(early.len())
        ),
        consequence: consequence::reload_in_start(case),
        mend: mend::wait_for_ready(case, &text::process(first.sender)),
    })
}

/// When it reached the handler; one that was blocked waited before that.
fn arrival(case: &Case, reload: &Reload) -> String {
    let (main, sent) = (text::main(case), text::when(case.activation, reload.at_ns));
    if reload.sent.disposition != DispositionKind::Blocked {
        return format!("reached the handler of {main} {sent}");
    }
    let waited = text::Span(reload.settled_ns().saturating_sub(reload.at_ns));
    format!("was sent {sent} and taken by {main} {waited} later")
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{document::EndedBy, runtime::Runtime, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "reload-before-ready";

    #[test]
    fn before_the_bus_name_is_early_too() {
        let start = activation().unit("dbus", "no").exec(0).handler(10.ms()).up(80.ms());
        let start = start.signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"));
        let alerts = start.judged(&[ID]);
        assert!(
            alerts[0].message.ends_with("30.0 ms before its bus name."),
            "{}",
            alerts[0].message
        );
        assert!(alerts[0].mend.contains("bus name"), "{}", alerts[0].mend);
    }

    #[test]
    fn without_ready_it_is_early_unless_the_program_ended_well() {
        let reloaded = || {
            let start = activation().unit("notify", "no").exec(0).handler(10.ms());
            start.signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
        };
        let alerts = reloaded().judged(&[ID]);
        assert!(alerts[0].message.ends_with("and READY=1 never came."), "{}", alerts[0].message);
        reloaded().exit(2.s(), 1).judged(&[ID, "ready-missing"]);
        reloaded().exit(2.s(), 0).judged(&["ready-missing"]);
    }

    #[test]
    fn a_handled_reload_before_ready_is_a_warning() {
        let alerts = activation()
            .unit("notify", "no")
            .exec(0)
            .handler(10.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .ready(80.ms())
            .judged(&[ID]);
        assert_eq!(
            alerts[0].message,
            "HUP from kill (pid 4720, /usr/bin/kill) reached the handler of python3 (pid 4711) \
             50.0 ms after its exec, 30.0 ms before READY=1."
        );
        assert_eq!(alerts[0].events, [2, 3]);
    }

    #[test]
    fn what_waited_before_it_was_taken_came_as_early_as_that() {
        let start = activation().unit("notify", "no").exec(0).mask(1.ms(), Blocked);
        let start =
            start.signal(5.ms(), Signal::HUP, Blocked, Handled, by("kill")).fate_at(36.ms());
        let alerts = start.handler(36.ms()).ready(38.ms()).judged(&[ID]);
        assert!(
            alerts[0].message.ends_with(
                "was sent 5.00 ms after its exec and taken by python3 (pid 4711) 31.0 ms later, \
                 2.00 ms before READY=1."
            ),
            "{}",
            alerts[0].message
        );
    }

    #[test]
    fn it_needs_no_facts_where_ready_came() {
        activation()
            .exec(0)
            .signalfd(10.ms())
            .signal(50.ms(), Signal::HUP, Blocked, Handled, by("kill"))
            .ready(80.ms())
            .judged(&[ID]);
    }

    #[test]
    fn a_notify_service_that_was_not_ready_by_the_end_counts() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .handler(10.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .ends_at(100.ms(), EndedBy::Interrupt)
            .judged(&[ID]);
    }

    #[test]
    fn the_ready_that_ends_a_reload_of_a_running_service_is_not_its_first() {
        activation()
            .unit("notify-reload", "no")
            .joined(5.s())
            .disposition(5.s(), Handler)
            .signal(6.s(), Signal::HUP, Handler, Handled, by("systemd"))
            .ready(7.s())
            .judged(&["capture-incomplete"]);
    }

    #[test]
    fn several_make_one_alert() {
        let start = activation().exec(0).handler(10.ms());
        let alerts = (0..3)
            .fold(start, |start, n| {
                start.signal((50 + n).ms(), Signal::HUP, Handler, Handled, by("kill"))
            })
            .ready(80.ms())
            .judged(&[ID]);
        assert_eq!(alerts[0].events, [2, 3, 4, 5]);
        assert!(alerts[0].message.contains("(and 2 more like it)"));
    }

    #[test]
    fn a_signal_held_back_until_ready_is_fine() {
        for taken in [80.ms(), 81.ms()] {
            activation()
                .unit("notify", "no")
                .exec(0)
                .mask(5.ms(), Blocked)
                .handler(10.ms())
                .signal(50.ms(), Signal::HUP, Blocked, Handled, by("kill"))
                .fate_at(taken)
                .ready(80.ms())
                .judged(&[]);
        }
    }

    #[test]
    fn after_ready_and_without_ready_due_it_is_silent() {
        activation()
            .exec(0)
            .handler(10.ms())
            .ready(20.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .judged(&[]);
        activation()
            .unit("simple", "no")
            .exec(0)
            .handler(10.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .judged(&[]);
    }

    #[test]
    fn a_hup_that_means_stop_is_no_reload() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .handler(10.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .exit(60.ms(), 0)
            .judged(&["ready-missing"]);
    }

    #[test]
    fn what_ends_well_long_after_its_ready_was_reloaded_in_its_start_all_the_same() {
        let start = activation().unit("notify", "no").exec(0).handler(10.ms());
        let start = start.signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"));
        start.ready(80.ms()).exit(40.s(), 0).judged(&[ID]);
    }

    #[test]
    fn what_a_runtime_keeps_for_itself_came_to_no_handler_of_the_program() {
        let start = activation().unit("notify", "no").reloads_by(Signal::USR1).exec(0);
        let start = start.handler_of(1.ms(), Runtime::Node);
        let start = start.signal(50.ms(), Signal::USR1, Handler, Handled, by("kill"));
        start.by_handler_of(Runtime::Node).ready(80.ms()).judged(&["reload-ignored"]);
    }
}
