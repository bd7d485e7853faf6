//! READY=1 was said while the reload signal would still kill.

use super::{Case, Finding, Rule, case::Phase, consequence, mend, reload_never_handled, text};
use crate::model::document::Severity;

pub(super) const RULE: Rule = Rule {
    id: "ready-before-handler",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/ready-before-handler.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let ready = case.activation.milestones.ready_ns?;
    let is_leaving = case.stopping_ns().is_some_and(|stopping| stopping < ready);
    // systemd reloads a Type=notify-reload service as soon as it is ready: what is ignored until
    // later loses that.
    let service_type = case.facts().and_then(|facts| facts.service_type.as_deref());
    let is_lost = service_type == Some("notify-reload") && case.is_lost_at(ready);
    let is_exposed = case.is_fatal_at(ready) || is_lost;
    if !is_exposed || case.may_be_passed_on_from(ready) || is_leaving {
        return None;
    }
    let handler = case.phases().find(|phase| phase.takes() && phase.at_ns > ready);
    // Without a handler the alert to raise is that there is none; and a program that
    // nobody means to reload by signal needs none.
    if handler.is_none() && (!case.reloads_by_signal() || never_comes(case)) {
        return None;
    }
    let signal = case.reload_signal();
    let told = case.ready_message();
    Some(Finding {
        at_ns: ready,
        events: [told.map(|told| told.index), handler.map(|phase| phase.index)]
            .into_iter()
            .flatten()
            .collect(),
        message: format!(
            "{} {} {}, {}: until then {signal} would have {}.",
            told.map_or_else(|| text::main(case), |told| text::process(&told.message.sender)),
            if case.is_dbus() { "took its bus name" } else { "said READY=1" },
            text::when(case.activation, ready),
            order(handler, ready),
            if is_lost { "been lost" } else { "killed it" }
        ),
        consequence: if is_lost {
            consequence::lost_reload(case)
        } else {
            consequence::possible_death(case, case.end_at(ready), ready)
        } + consequence::later_systemd(case),
        mend: mend::handler_first(case),
    })
}

fn never_comes(case: &Case) -> bool {
    !reload_never_handled::check(case).is_empty()
}

fn order(handler: Option<Phase>, ready: i64) -> String {
    match handler {
        Some(phase) => {
            format!("{} before its handler", text::Span(phase.at_ns.saturating_sub(ready)))
        }
        None => "and had no handler by the end of the capture".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{document::EndedBy, event::Runtime, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "ready-before-handler";

    #[test]
    fn ready_before_the_handler_is_an_error() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .exec(0)
            .ready(20.ms())
            .handler(32.ms())
            .fatal(0, 32.ms())
            .judged(&[ID]);
        assert_eq!(alerts[0].events, [1, 2]);
        assert_eq!(
            alerts[0].message,
            "python3 (pid 4711) said READY=1 20.0 ms after its exec, 12.0 ms before its handler: \
             until then HUP would have killed it."
        );
        assert!(alerts[0].consequence.contains("(result 'success')"), "{}", alerts[0].consequence);
    }

    #[test]
    fn how_systemd_saw_another_end_says_nothing_of_the_death_that_would_have_come() {
        let start = || {
            let start = activation().unit("notify", "on-failure").exec(0).ready(20.ms());
            start.handler(32.ms()).fatal(0, 32.ms())
        };
        let stopped = start().signal(1.s(), Signal::TERM, Handler, Handled, by("systemd"));
        let stopped = stopped.exit(1_100.ms(), 0);
        let stopped = stopped.systemd(1_101.ms(), "inactive", Some("dead"), "success");
        let consequence = &stopped.judged(&[ID])[0].consequence;
        assert!(
            consequence.ends_with("It stays down, and nothing reports a failure."),
            "{consequence}"
        );
    }

    #[test]
    fn a_bus_name_before_the_handler_is_the_same_error() {
        let start = activation().unit("dbus", "on-failure").reloads_by(Signal::HUP).exec(0);
        let alerts = start.up(20.ms()).handler(32.ms()).fatal(0, 32.ms()).judged(&[ID]);
        assert_eq!(
            alerts[0].message,
            "python3 (pid 4711) took its bus name 20.0 ms after its exec, 12.0 ms before its \
             handler: until then HUP would have killed it."
        );
        assert!(alerts[0].mend.contains("take the bus name"), "{}", alerts[0].mend);
    }

    #[test]
    fn a_notify_reload_service_is_told_what_a_later_systemd_makes_of_it() {
        let late = |service_type, version| {
            let start = activation().unit(service_type, "no").release(version);
            start.exec(0).ready(20.ms()).handler(32.ms()).fatal(0, 32.ms()).judged(&[ID])
        };
        let told = late("notify-reload", "257.9").remove(0).consequence;
        assert!(
            told.ends_with(
                "From systemd 262 on this start fails: READY=1 is refused without \
                                a handler (result 'protocol')."
            ),
            "{told}"
        );
        assert!(!late("notify", "257.9")[0].consequence.contains("262"));
        assert!(!late("notify-reload", "262").remove(0).consequence.contains("From systemd"));
    }

    #[test]
    fn what_ignores_the_reload_of_notify_reload_at_ready_loses_it() {
        let ignored = |service_type| {
            let start = activation().unit(service_type, "no").exec(0);
            let start = start.disposition(1.ms(), Ignored).ready(20.ms()).handler(32.ms());
            let kind = crate::model::document::ExposureKind::Lost;
            start.exposed(kind, 1.ms(), 32.ms())
        };
        let told = ignored("notify-reload").judged(&[ID]).remove(0);
        assert!(told.message.ends_with("until then HUP would have been lost."), "{}", told.message);
        ignored("notify").judged(&[]);
    }

    #[test]
    fn a_handler_at_the_same_moment_is_in_time() {
        activation()
            .unit("notify", "no")
            .reloads_by(Signal::HUP)
            .exec(0)
            .handler(20.ms())
            .ready(20.ms())
            .fatal(0, 20.ms())
            .ends_at(30.ms(), EndedBy::Until)
            .judged(&[]);
    }

    #[test]
    fn a_unit_that_reloads_by_signal_is_judged_before_its_handler_was_seen() {
        activation()
            .unit("notify", "no")
            .reloads_by(Signal::HUP)
            .exec(0)
            .ready(20.ms())
            .fatal(0, 25.ms())
            .ends_at(25.ms(), EndedBy::Until)
            .judged(&[ID]);
    }

    #[test]
    fn a_daemon_that_nobody_reloads_by_signal_may_go_without() {
        activation().command().exec(0).ready(20.ms()).fatal(0, 60.s()).judged(&[]);
        activation().unit("notify", "no").exec(0).ready(20.ms()).fatal(0, 60.s()).judged(&[]);
    }

    #[test]
    fn of_a_runtime_that_may_pass_it_on_nothing_can_be_said() {
        let go = || {
            let unit = activation().unit("notify", "no").reloads_by(Signal::HUP);
            unit.exec(0).runtime_handler(1.ms())
        };
        let forwards = |at| go().handler_of(at, Runtime::Forwarding);
        forwards(10.ms()).ready(20.ms()).fatal(0, 10.ms()).judged(&[]);
        go().ready(20.ms()).handler_of(30.ms(), Runtime::Forwarding).fatal(0, 30.ms()).judged(&[]);
        go().ready(20.ms()).handler(30.ms()).fatal(0, 30.ms()).judged(&[ID]);
    }

    #[test]
    fn a_java_virtual_machines_handler_is_no_handler() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .exec(0)
            .handler_of(1.ms(), Runtime::Jvm)
            .ready(20.ms())
            .handler(30.ms())
            .fatal(0, 30.ms())
            .judged(&[ID]);
        assert_eq!(
            alerts[0].consequence,
            "systemd takes an exit with code 129 as a failure of a Type=notify service (result \
             'exit-code'): Restart=on-failure restarts it."
        );
    }

    #[test]
    fn blocking_it_until_after_ready_is_fine() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .mask(1.ms(), Blocked)
            .fatal(0, 1.ms())
            .ready(20.ms())
            .handler(30.ms())
            .mask(31.ms(), Handler)
            .judged(&[]);
    }

    #[test]
    fn a_ready_on_the_way_out_is_no_start() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .signal(10.ms(), Signal::TERM, Handler, Handled, by("systemd"))
            .ready(20.ms())
            .handler(30.ms())
            .fatal(0, 30.ms())
            .judged(&[]);
    }

    #[test]
    fn a_signalfd_that_is_unblocked_consumes_nothing() {
        activation()
            .unit("notify", "no")
            .reloads_by(Signal::HUP)
            .exec(0)
            .signalfd(1.ms())
            .mask(2.ms(), Default)
            .ready(20.ms())
            .fatal(2.ms(), 30.ms())
            .mask(30.ms(), Blocked)
            .judged(&[ID]);
    }

    #[test]
    fn an_exec_leaves_the_runtime_behind() {
        activation()
            .exec(0)
            .runtime_handler(1.ms())
            .exec(10.ms())
            .ready(20.ms())
            .handler(30.ms())
            .fatal(0, 30.ms())
            .judged(&[ID]);
    }

    #[test]
    fn unblocking_without_a_handler_is_no_handler() {
        activation()
            .exec(0)
            .signalfd(1.ms())
            .mask(2.ms(), Default)
            .ready(20.ms())
            .mask(30.ms(), Default)
            .fatal(2.ms(), 60.s())
            .judged(&[]);
    }
}
