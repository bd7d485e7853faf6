//! READY=1 came from a process that may not say it.

use super::{
    Case, Finding, Rule,
    case::{Announced, Announcement},
    consequence, mend, text,
};
use crate::model::{document::Severity, event::Refusal};

pub(super) const RULE: Rule = Rule {
    id: "ready-rejected",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/ready-rejected.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    let refused: Vec<Announcement> = refused(case).collect();
    finding(case, &refused).into_iter().collect()
}

/// The READY=1 that NotifyAccess= kept out, where one was awaited and none was let in.
pub(super) fn refused<'a>(case: &Case<'a>) -> impl Iterator<Item = Announcement<'a>> {
    let waits = case.facts().is_none_or(|facts| facts.service_type.is_none() || facts.is_notify());
    // Of a service that ran before the capture, the accepted one may have gone unseen.
    let unready =
        case.activation.milestones.ready_ns.is_none() && case.activation.joined_ns.is_none();
    case.messages().filter(move |told| {
        waits
            && unready
            && told.state() == Some(Announced::Ready)
            && told.message.refusal == Some(Refusal::NotifyAccess)
    })
}

fn finding(case: &Case, refused: &[Announcement]) -> Option<Finding> {
    let first = refused.first()?;
    let access = case.facts().and_then(|facts| facts.notify_access.as_deref());
    Some(Finding {
        at_ns: first.at_ns,
        events: refused.iter().map(|told| told.index).collect(),
        message: format!(
            "READY=1 from {} was refused {}: NotifyAccess={} does not admit it, the main process \
             is {}{}.",
            text::teller(&first.message.sender),
            text::when(case.activation, first.at_ns),
            access.unwrap_or(""),
            text::main(case),
            text::and_more(refused.len())
        ),
        consequence: consequence::never_ready(case),
        mend: mend::ADMIT_OR_HIDE.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use crate::{model::document::EndedBy, rules::testing::*};

    const ID: &str = "ready-rejected";
    const READY: &[(&str, &str)] = &[("READY", "1")];

    #[test]
    fn ready_from_another_process_names_it_against_the_main_process() {
        let alerts = activation()
            .unit("notify", "on-failure")
            .exec(0)
            .handler(5.ms())
            .notify(20.ms(), by("postgres"), READY)
            .refused()
            .ends_at(90.s(), EndedBy::Timeout)
            .judged(&[ID]);
        assert_eq!(
            alerts[0].message,
            "READY=1 from postgres (pid 4720, /usr/bin/postgres) was refused 20.0 ms after its \
             exec: NotifyAccess=main does not admit it, the main process is python3 (pid 4711)."
        );
        assert!(alerts[0].consequence.contains("'timeout'"), "{}", alerts[0].consequence);
    }

    #[test]
    fn a_childs_ready_beside_the_main_processs_own_is_noise() {
        let start = activation().unit("notify", "no").exec(0).handler(5.ms());
        start.clone().notify(20.ms(), by("postgres"), READY).refused().ready(30.ms()).judged(&[]);
        start.ready(10.ms()).notify(20.ms(), by("postgres"), READY).refused().judged(&[]);
    }

    #[test]
    fn after_a_late_join_the_accepted_one_may_have_gone_unseen() {
        activation()
            .unit("notify", "no")
            .joined(5.s())
            .notify(6.s(), by("postgres"), READY)
            .refused()
            .judged(&["capture-incomplete"]);
    }

    #[test]
    fn a_type_that_awaits_no_ready_is_not_hurt() {
        activation()
            .unit("simple", "no")
            .exec(0)
            .notify(20.ms(), by("postgres"), READY)
            .refused()
            .judged(&[]);
    }

    #[test]
    fn what_only_looks_like_ready_is_not_it() {
        let start = activation().unit("notify", "no").exec(0);
        for lines in [
            &[("READY", "0")][..],
            &[("XREADY", "1")],
            &[("STATUS", "READY=1")],
            &[("READY", "1"), ("STOPPING", "1")],
        ] {
            start.clone().notify(20.ms(), by("openvpn"), lines).refused().judged(&[]);
        }
    }

    #[test]
    fn a_send_that_failed_was_not_refused() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .notify(20.ms(), by("postgres"), READY)
            .failed(111)
            .judged(&["notify-send-failed"]);
    }

    #[test]
    fn what_was_refused_for_another_reason_than_its_sender_is_not_its_case() {
        let start = activation().unit("notify", "no").exec(0);
        start.clone().notify(20.ms(), itself(), READY).malformed().judged(&[]);
        start.clone().notify(20.ms(), by("postgres"), READY).malformed().judged(&[]);
    }

    #[test]
    fn the_main_process_is_kept_out_by_access_none_or_by_another_pid_it_claims() {
        let start = activation().unit("notify", "no").exec(0);
        start.clone().admits("none").notify(20.ms(), itself(), READY).refused().judged(&[ID]);
        start.notify(20.ms(), itself(), READY).refused().claiming(1).judged(&[ID]);
    }
}
