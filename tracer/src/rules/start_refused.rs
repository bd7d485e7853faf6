//! systemd refused READY=1, as the handler for the reload signal was missing.

use super::{Case, Finding, Rule, case::Announcement, consequence, mend, text};
use crate::model::{document::Severity, event::Refusal};

pub(super) const RULE: Rule = Rule {
    id: "start-refused",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/start-refused.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

/// The READY=1 that was refused so.
pub(super) fn refused<'a>(case: &Case<'a>) -> Option<Announcement<'a>> {
    case.messages().find(|told| told.message.refusal == Some(Refusal::NoHandler))
}

fn finding(case: &Case) -> Option<Finding> {
    let told = refused(case)?;
    let signal = case.reload_signal();
    let handler = case.phases().find(|phase| phase.takes() && phase.at_ns > told.at_ns);
    let when = handler.map_or_else(
        || "and had no handler by its end".to_owned(),
        |phase| {
            format!("{} before its handler", text::Span(phase.at_ns.saturating_sub(told.at_ns)))
        },
    );
    Some(Finding {
        at_ns: told.at_ns,
        events: [Some(told.index), handler.map(|phase| phase.index)]
            .into_iter()
            .flatten()
            .collect(),
        message: format!(
            "READY=1 from {} {}, {when}: systemd looks for the handler of {signal} then, found \
             none, and refused the start.",
            text::teller(&told.message.sender),
            text::when(case.activation, told.at_ns),
        ),
        consequence: consequence::refused_start(case, told.at_ns),
        mend: mend::handler_first(case),
    })
}

#[cfg(test)]
mod tests {
    use crate::{model::signal::Signal, rules::testing::*};

    const ID: &str = "start-refused";

    fn late(restart: &str) -> Start {
        let start = activation().unit("notify-reload", restart).reloads_by(Signal::HUP).exec(0);
        let start = start.notify(20.ms(), itself(), &[("READY", "1")]).without_handler();
        start.handler(32.ms()).fatal(0, 32.ms())
    }

    #[test]
    fn ignoring_the_signal_is_no_handler() {
        let start = activation().unit("notify-reload", "no").reloads_by(Signal::HUP).exec(0);
        let start = start.notify(20.ms(), itself(), &[("READY", "1")]).without_handler();
        let start = start.disposition(25.ms(), Ignored).handler(32.ms()).fatal(0, 25.ms());
        let start = start.signal(40.ms(), Signal::TERM, Default, Killed, by("systemd"));
        let alerts = start.judged(&[ID]);
        assert!(alerts[0].message.contains("12.0 ms before its handler"), "{}", alerts[0].message);
    }

    #[test]
    fn a_refused_start_tells_how_late_the_handler_was() {
        let start = late("on-failure");
        let start = start.signal(40.ms(), Signal::TERM, Default, Killed, by("systemd"));
        let alerts = start.judged(&[ID]);
        assert_eq!(alerts[0].events, [1, 2]);
        assert_eq!(
            alerts[0].message,
            "READY=1 from python3 (pid 4711) 20.0 ms after its exec, 12.0 ms before its handler: \
             systemd looks for the handler of HUP then, found none, and refused the start."
        );
        assert_eq!(
            alerts[0].consequence,
            "systemd refuses the start and ends the service with TERM (result 'protocol'): \
             Restart=on-failure restarts it."
        );
    }
}
