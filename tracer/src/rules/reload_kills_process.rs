//! The reload signal killed another process of the service than the main one.

use std::collections::BTreeSet;

use super::{Case, Finding, Rule, consequence, mend, text};
use crate::model::{
    document::Severity,
    event::{DispositionKind, Fate, SignalSent, What},
};

pub(super) const RULE: Rule = Rule {
    id: "reload-kills-process",
    severity: Severity::Error,
    explanation: include_str!("../../../docs/rules/reload-kills-process.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let killed: Vec<(usize, i64, &SignalSent)> = killed(case).collect();
    let (_, at_ns, first) = *killed.first()?;
    let sender = first.sender.as_ref()?;
    Some(Finding {
        at_ns,
        events: killed.iter().map(|(index, ..)| *index).collect(),
        message: format!(
            "{} from {} killed {}, a process of the service, {}: its disposition was {}{}.",
            first.signal,
            text::sender(sender),
            text::process(&first.target),
            text::when(case.activation, at_ns),
            text::disposition(first.disposition),
            text::and_more(killed.len())
        ),
        consequence: if case.main().is_none() {
            consequence::death_before_main(case, first.signal)
        } else {
            format!(
                "The service goes on without it: systemd looks after the main process alone, \
                 which is {}.",
                text::main(case)
            )
        },
        mend: mend::main_alone(first.signal),
    })
}

/// The reload signals that killed processes besides the main one, sent from outside of the
/// service or by the main process. What others in it send each other is their own affair.
fn killed<'a>(case: &Case<'a>) -> impl Iterator<Item = (usize, i64, &'a SignalSent)> {
    let (reload, stopping) = (case.reload_signal(), case.stopping_ns());
    let case = *case;
    let mut inside = BTreeSet::new();
    case.events().filter_map(move |(index, event)| match &event.what {
        What::Fork { process, .. } => {
            inside.insert(process.pid);
            None
        }
        What::Signal(sent) => {
            let sender = sent.sender.as_ref()?;
            let is_meant = sent.signal == reload
                && sent.fate == Fate::Killed
                && sent.disposition != DispositionKind::Handler
                && !case.is_main(&sent.target)
                && sender.pid != sent.target.pid
                && (case.is_main(sender) || !inside.contains(&sender.pid))
                && stopping.is_none_or(|stopping| event.at_ns <= stopping);
            is_meant.then_some((index, event.at_ns, &**sent))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{event::ProcessRef, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "reload-kills-process";

    fn up() -> Start {
        activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0).handler(1.ms())
    }

    /// HUP to the process `job`.
    fn hup(start: Start, at: i64, sender: ProcessRef) -> Start {
        start.signal(at, Signal::HUP, Default, Killed, sender).to("job")
    }

    #[test]
    fn a_job_that_dies_of_the_reload_of_its_master_is_told() {
        let alerts = hup(up(), 30.s(), by("systemctl")).judged(&[ID]);
        assert!(alerts[0].message.contains("killed job"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("--kill-whom=main"), "{}", alerts[0].mend);
    }

    #[test]
    fn what_processes_of_the_service_send_each_other_is_their_own_affair() {
        hup(up().fork(2.s(), 4720), 30.s(), by("worker")).judged(&[]);
        hup(up().fork(2.s(), 4713), 30.s(), by("systemctl")).judged(&[ID]);
        hup(up(), 30.s(), itself()).judged(&[ID]);
        let job_itself = ProcessRef { pid: 4712, ..by("job") };
        hup(up(), 30.s(), job_itself).judged(&[]);
    }

    #[test]
    fn a_job_whose_handler_lets_it_die_dies_by_its_own_decision() {
        up().signal(30.s(), Signal::HUP, Handler, Killed, by("kill")).to("job").judged(&[]);
    }

    #[test]
    fn what_comes_as_the_service_goes_away_harms_nothing() {
        let start = up().signal(20.s(), Signal::TERM, Handler, Handled, by("systemd"));
        hup(start, 30.s(), by("systemd")).judged(&[]);
    }

    #[test]
    fn what_took_the_signal_is_not_harmed() {
        up().signal(30.s(), Signal::HUP, Handler, Handled, by("kill")).to("job").judged(&[]);
    }
}
