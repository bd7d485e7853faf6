//! The service reloads by a signal that it never takes.

use super::{Case, Finding, Rule, consequence, mend, reload::Deadly, text};
use crate::model::document::{OutcomeState, Severity};

/// How long after the start a handler may still come when no reload has come.
const GRACE_NS: i64 = 1_000_000_000;

pub(super) const RULE: Rule = Rule {
    id: "reload-never-handled",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/reload-never-handled.md"),
    check,
};

/// What there is to find.
pub(super) fn check(case: &Case) -> Vec<Finding> {
    let deadly = case.deadly_reload();
    let end = deadly.map_or(case.end_at(case.end_ns()), |deadly| deadly.end);
    if case.is_restart(end, case.end_ns()) {
        return Vec::new();
    }
    let finding = match deadly {
        Some(deadly) if case.ends_as_meant(&deadly) => None,
        Some(deadly) => case.is_beyond_race(&deadly).then(|| after_death(case, &deadly)),
        None => without_reload(case),
    };
    finding.into_iter().collect()
}

fn after_death(case: &Case, deadly: &Deadly) -> Finding {
    let reload = &deadly.reload;
    let signal = reload.sent.signal;
    let verb = if deadly.killed { "killed" } else { "would kill" };
    let mut events: Vec<usize> = case
        .ready_message()
        .filter(|told| told.index < reload.index)
        .map(|told| told.index)
        .into_iter()
        .chain([reload.index])
        .chain(deadly.reraised)
        .chain(case.exit_index().filter(|_| deadly.killed))
        .collect();
    events.sort_unstable();
    Finding {
        at_ns: reload.at_ns,
        events,
        message: format!(
            "{signal} from {} {verb} {} {}: the start was over ({}) and there never was a handler, \
             so this is no race.",
            text::sender(reload.sender),
            text::main(case),
            text::when(case.activation, reload.at_ns),
            over(case, reload.at_ns)
        ),
        consequence: consequence::death(case, deadly.end, reload.settled_ns()),
        mend: mend::handler_or_no_reload(case),
    }
}

/// What says that the start was over.
fn over(case: &Case, at: i64) -> String {
    match case.activation.milestones.ready_ns {
        Some(ready) => {
            format!("{} had come {} before", case.awaited(), text::Span(at.saturating_sub(ready)))
        }
        None => "its program had run for long enough".to_owned(),
    }
}

/// No reload came, but the next one would kill.
fn without_reload(case: &Case) -> Option<Finding> {
    let end = case.end_ns();
    let last = case.phases().last()?;
    let is_open = case.activation.outcome.state == OutcomeState::Running
        && last.kills()
        && case.first_handler().is_none()
        && case.reloads().next().is_none()
        && case.stopping_ns().is_none();
    let known = case.reloads_by_signal() && case.is_started_at(end.saturating_sub(GRACE_NS));
    (is_open && known).then(|| {
        let signal = case.reload_signal();
        let ready = case.ready_message();
        let at_ns = case.activation.milestones.ready_ns.unwrap_or(last.at_ns);
        Finding {
            at_ns,
            events: [Some(last.index), ready.map(|told| told.index)]
                .into_iter()
                .flatten()
                .collect(),
            message: format!(
                "A reload of this service sends {signal}, and {} still had no handler for it {}: \
                 every reload kills it.",
                text::main(case),
                text::when(case.activation, end)
            ),
            consequence: consequence::possible_death(case, case.end_at(end), end),
            mend: mend::handler_or_no_reload(case),
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{
            document::EndedBy,
            event::{Fate, Runtime},
            signal::Signal,
        },
        rules::testing::*,
    };

    const ID: &str = "reload-never-handled";
    const RACE: &str = "reload-before-handler";

    #[test]
    fn a_reload_that_kills_after_ready_is_no_race() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .reloads_by(Signal::HUP)
            .exec(0)
            .ready(50.ms())
            .fatal(0, 5.s())
            .signal(5.s(), Signal::HUP, Default, Killed, by("systemd"))
            .judged(&[ID]);
        assert_eq!(alerts[0].events, [1, 2, 3], "READY, signal, exit");
        let over = "the start was over (READY=1 had come 4.95 s before)";
        assert!(alerts[0].message.contains(over), "{}", alerts[0].message);
        assert!(alerts[0].consequence.contains("(result 'success')"), "{}", alerts[0].consequence);
    }

    #[test]
    fn what_comes_while_systemd_stops_it_is_no_reload() {
        let up = || {
            let start = activation().unit("notify", "on-failure").reloads_by(Signal::HUP);
            start.exec(0).ready(50.ms()).fatal(0, 5.s())
        };
        // A command of ExecStop= runs.
        let stopped = up().systemd(4.s(), "deactivating", Some("stop"), "success");
        let stopped = stopped.signal(5.s(), Signal::HUP, Default, Killed, by("sh"));
        stopped.judged(&["ready-before-handler"]);
        // It is stopped as it has ended.
        let ended = up().signal(4.s(), Signal::HUP, Default, Killed, by("sh"));
        ended.systemd(5.s(), "deactivating", Some("stop"), "success").judged(&[ID]);
    }

    #[test]
    fn so_is_one_after_ready_without_facts() {
        activation()
            .exec(0)
            .ready(50.ms())
            .signal(5.s(), Signal::HUP, Default, Killed, by("kill"))
            .judged(&[ID]);
    }

    #[test]
    fn without_ready_it_takes_known_settings_and_some_time() {
        let simple = |at| {
            activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0).signal(
                at,
                Signal::HUP,
                Default,
                Killed,
                by("kill"),
            )
        };
        simple(30.s()).judged(&[ID]);
        simple(3.s()).judged(&[RACE]);
        let unknown = activation().exec(0);
        unknown.signal(30.s(), Signal::HUP, Default, Killed, by("kill")).judged(&[RACE]);
    }

    #[test]
    fn a_unit_without_a_reload_that_has_run_for_long_has_no_race_to_lose() {
        let unit = |kind| activation().unit(kind, "no").exec(0);
        let hup = |start: Start, at| start.signal(at, Signal::HUP, Default, Killed, by("systemd"));
        let told = hup(unit("simple"), 30.s()).judged(&[ID]);
        assert!(told[0].mend.contains("reload-or-restart"), "{}", told[0].mend);
        hup(unit("forking"), 30.s()).judged(&[ID]);
        hup(unit("simple"), 3.s()).judged(&[RACE]);
        let oneshot = &hup(unit("oneshot"), 30.s()).judged(&[RACE])[0].mend;
        assert!(oneshot.contains("systemctl reload") && !oneshot.contains("notify"), "{oneshot}");
        hup(unit("dbus"), 30.s()).judged(&[RACE]);
        // Its name is there, and its handler would be by now.
        hup(unit("dbus").up(20.ms()), 30.s()).judged(&[ID]);
        hup(unit("dbus").up(20.ms()), 3.s()).judged(&[RACE]);
    }

    #[test]
    fn a_runtime_that_kills_after_the_start_counts() {
        activation()
            .unit("simple", "no")
            .reloads_by(Signal::HUP)
            .exec(0)
            .runtime_handler(1.ms())
            .signal(30.s(), Signal::HUP, Handler, Handled, by("kill"))
            .by_runtime()
            .signal(30.s() + 9, Signal::HUP, Default, Killed, itself())
            .judged(&[ID]);
    }

    #[test]
    fn a_service_without_handler_is_told_before_anyone_reloads_it() {
        let alerts = activation()
            .unit("simple", "on-failure")
            .reloads_by(Signal::HUP)
            .exec(0)
            .fatal(0, 60.s())
            .judged(&[ID]);
        assert_eq!(alerts[0].events, [0]);
        assert!(alerts[0].message.contains("every reload kills"), "{}", alerts[0].message);
    }

    #[test]
    fn a_runtimes_handler_that_passes_nothing_on_is_none() {
        for runtime in [Runtime::CatchAll, Runtime::Jvm] {
            activation()
                .unit("simple", "on-failure")
                .reloads_by(Signal::HUP)
                .exec(0)
                .handler_of(1.ms(), runtime)
                .fatal(0, 60.s())
                .judged(&[ID]);
        }
    }

    #[test]
    fn a_unit_that_reloads_by_another_signal_than_was_looked_at_is_not_judged() {
        let mut document = activation()
            .unit("simple", "no")
            .reloads_by("TSTP".parse().unwrap())
            .exec(0)
            .handler_of(1.ms(), Runtime::Ruby)
            .fatal(0, 60.s())
            .document();
        document.services[0].signal = None;
        crate::rules::judge(&mut document);
        assert_eq!(document.services[0].activations[0].alerts, []);
    }

    #[test]
    fn it_is_not_told_before_the_start_is_surely_over() {
        let simple = activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0);
        simple.clone().ends_at(10.s(), EndedBy::Timeout).judged(&[]);
        simple.ends_at(12.s(), EndedBy::Timeout).judged(&[ID]);
    }

    #[test]
    fn no_reload_by_signal_or_a_handler_is_no_fault() {
        activation().unit("simple", "no").exec(0).judged(&[]);
        let reloads = || activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0);
        reloads().handler(1.ms()).judged(&[]);
        reloads().handler_of(1.ms(), Runtime::Forwarding).judged(&[]);
        reloads().signalfd(1.ms()).judged(&[]);
        reloads().disposition(1.ms(), Ignored).judged(&[]);
        reloads().exit(30.s(), 0).judged(&[]);
    }

    #[test]
    fn a_program_that_took_a_reload_before_has_a_handler_somewhere() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .runtime_handler(1.ms())
            .ready(50.ms())
            .signal(5.s(), Signal::HUP, Handler, Handled, by("kill"))
            .by_runtime()
            .exec(6.s())
            .signal(6.s() + 1, Signal::HUP, Default, Killed, by("kill"))
            .judged(&[RACE]);
    }

    #[test]
    fn a_oneshot_is_its_own_start() {
        let oneshot = activation().unit("oneshot", "no").reloads_by(Signal::HUP).exec(0);
        oneshot.clone().judged(&[]);
        oneshot.signal(30.s(), Signal::HUP, Default, Killed, by("kill")).judged(&[RACE]);
    }

    #[test]
    fn what_outlived_a_reload_or_is_stopping_is_not_said_to_die_of_the_next() {
        let reloads = || activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0);
        reloads()
            .init()
            .signal(30.s(), Signal::HUP, Ignored, Fate::Ignored, by("kill"))
            .judged(&["reload-ignored"]);
        reloads().signal(30.s(), Signal::TERM, Handler, Handled, by("systemd")).judged(&[]);
    }

    #[test]
    fn what_is_to_end_by_its_reload_needs_no_handler_where_that_starts_it_again() {
        let up = |restart: &str| {
            let start = activation().unit("notify", restart).reloads_by(Signal::TERM);
            start.exec(0).ready(50.ms())
        };
        up("always").judged(&[]);
        up("no").judged(&[ID]);
    }
}
