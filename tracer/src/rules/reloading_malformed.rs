//! RELOADING=1 was said in a way that leaves the reload hanging.

use super::{
    Case, Finding, Rule,
    case::{Announced, Announcement},
    consequence, text,
};
use crate::model::{
    document::Severity,
    event::{Effect, Refusal, What},
};

pub(super) const RULE: Rule = Rule {
    id: "reloading-malformed",
    severity: Severity::Warning,
    explanation: include_str!("../../docs/rules/reloading-malformed.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    // Before it is up it loads its settings for the first time, whatever it says: nothing waits
    // for that but the start.
    let ready = case.activation.milestones.ready_ns;
    let is_up = |told: &Announcement| ready.is_none_or(|ready| ready <= told.at_ns);
    let reloading: Vec<Announcement> = case
        .messages()
        .filter(|told| told.counts() && told.state() == Some(Announced::Reloading))
        .filter(is_up)
        .collect();
    [untimed(case, &reloading), endless(case, &reloading)].into_iter().flatten().collect()
}

/// No time, where one is asked for: only Type=notify-reload matches the message to
/// the reload that systemd began (service_notify_message()).
fn untimed(case: &Case, reloading: &[Announcement]) -> Option<Finding> {
    let service_type = case.facts().and_then(|facts| facts.service_type.as_deref());
    let matters = case.is_command() || matches!(service_type, None | Some("notify-reload"));
    // With READY=1 beside it it ends a reload that systemd has begun, and nothing else.
    let reloaded = case.reloads().next().map(|reload| reload.index);
    let done = case.messages().filter(|told| {
        told.counts()
            && told.announces_reload()
            && told.state() == Some(Announced::Ready)
            && reloaded.is_some_and(|reload| reload < told.index)
    });
    let mut wrong: Vec<Announcement> = reloading.iter().copied().chain(done).collect();
    wrong.retain(|told| matters && problem(told).is_some());
    wrong.sort_by_key(|told| told.index);
    let first = wrong.first()?;
    Some(Finding {
        at_ns: first.at_ns,
        events: wrong.iter().map(|told| told.index).collect(),
        message: format!(
            "RELOADING=1 from {} {} has {}{}.",
            text::teller(&first.message.sender),
            text::when(case.activation, first.at_ns),
            problem(first)?,
            text::and_more(wrong.len())
        ),
        consequence: consequence::untimed_reloading(case),
        mend: "Send \"RELOADING=1\\nMONOTONIC_USEC=N\" in one message: N is CLOCK_MONOTONIC in \
               microseconds, read when the handler runs; then READY=1 when the reload is done."
            .to_owned(),
    })
}

/// What is wrong with the time in a RELOADING=1.
fn problem(told: &Announcement) -> Option<String> {
    match told.message.value("MONOTONIC_USEC") {
        None => Some("no MONOTONIC_USEC= beside it".to_owned()),
        Some(text) => {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse::<u64>() {
                Ok(1..) if is_number => None,
                _ => Some(format!("'MONOTONIC_USEC={text}', which is no time in microseconds")),
            }
        }
    }
}

/// The last RELOADING=1 is still unanswered long after.
fn endless(case: &Case, reloading: &[Announcement]) -> Option<Finding> {
    let last = reloading.last()?;
    // A stop ends the reload too. An end of its own does not make up for the answer.
    let end = case.stopping_ns().map_or(case.end_ns(), |stopping| stopping.min(case.end_ns()));
    let answered = case.messages().any(|told| {
        told.index > last.index
            && told.at_ns <= end
            && told.counts()
            && matches!(told.state(), Some(Announced::Ready | Announced::Stopping))
    });
    let waited = end.saturating_sub(last.at_ns);
    let is_unfinished = case.events().any(|(_, event)| match &event.what {
        What::Signal(sent) => sent.effect == Some(Effect::Unfinished),
        // An end is told of where a signal began the reload.
        What::Notify(message) => {
            let open = [Effect::Unfinished, Effect::Ended, Effect::Crashed];
            message.effect.is_some_and(|effect| open.contains(&effect))
        }
        _ => false,
    });
    // It was said, but not by one whom NotifyAccess= admits.
    let refused = case.messages().find(|told| {
        told.index > last.index
            && told.at_ns <= end
            && told.message.refusal == Some(Refusal::NotifyAccess)
            && told.state() == Some(Announced::Ready)
    });
    let (by_another, mend) = match refused {
        Some(told) => (
            format!(
                " One of {} came, which NotifyAccess= does not admit.",
                text::teller(&told.message.sender)
            ),
            "Send READY=1 from the main process, or admit who sends it: NotifyAccess=all in \
             [Service].",
        ),
        None => (
            String::new(),
            "Send READY=1 at the end of every reload, the failed and the empty one too.",
        ),
    };
    (!answered && is_unfinished).then(|| Finding {
        at_ns: last.at_ns,
        events: [Some(last.index), refused.map(|told| told.index)].into_iter().flatten().collect(),
        message: format!(
            "RELOADING=1 from {} {} was not followed by READY=1 in the {} that were left to \
             see.{by_another}",
            text::teller(&last.message.sender),
            text::when(case.activation, last.at_ns),
            text::Span(waited)
        ),
        consequence: consequence::endless_reloading(case),
        mend: mend.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{document::EndedBy, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "reloading-malformed";
    const TIMED: &[(&str, &str)] = &[("RELOADING", "1"), ("MONOTONIC_USEC", "123456")];
    const UNTIMED: &[(&str, &str)] = &[("RELOADING", "1")];

    fn up(service_type: &str) -> Start {
        activation().unit(service_type, "no").exec(0).handler(1.ms()).ready(10.ms())
    }

    #[test]
    fn reloading_without_its_time_is_not_counted() {
        let alerts =
            up("notify-reload").notify(1.s(), itself(), UNTIMED).ready(2.s()).judged(&[ID]);
        assert_eq!(alerts[0].events, [3]);
        assert!(alerts[0].consequence.contains("TimeoutStartSec="), "{}", alerts[0].consequence);
    }

    #[test]
    fn a_time_that_is_no_number_is_none() {
        for value in ["", "0", "-1", "+5", "1.5", "12s", "99999999999999999999"] {
            let lines = [("RELOADING", "1"), ("MONOTONIC_USEC", value)];
            up("notify-reload").notify(1.s(), itself(), &lines).ready(2.s()).judged(&[ID]);
        }
    }

    #[test]
    fn a_whole_reload_is_fine() {
        up("notify-reload").notify(1.s(), itself(), TIMED).ready(2.s()).judged(&[]);
    }

    #[test]
    fn only_notify_reload_asks_for_the_time() {
        up("notify").notify(1.s(), itself(), UNTIMED).ready(2.s()).judged(&[]);
        let run = activation().command().exec(0).handler(1.ms()).ready(10.ms());
        run.notify(1.s(), itself(), UNTIMED).ready(2.s()).judged(&[ID]);
    }

    #[test]
    fn reloading_without_end_is_missed_once_the_settle_time_is_over() {
        let reloading = || up("notify").notify(1.s(), itself(), TIMED);
        reloading().judged(&[ID]);
        reloading().ends_at(1.s() + 900.ms(), EndedBy::Until).judged(&[]);
        reloading().notify(1.s() + 1, itself(), &[("STOPPING", "1")]).judged(&[]);
        reloading().exit(3.s(), 0).judged(&[ID]);
        let stopped = |at| reloading().signal(at, Signal::TERM, Handler, Handled, by("systemd"));
        stopped(1.s() + 900.ms()).judged(&[]);
        stopped(7.s()).judged(&[ID]);
    }

    #[test]
    fn a_ready_that_is_refused_is_named_as_what_did_not_end_it() {
        let start = up("notify-reload").signal(1.s(), Signal::HUP, Handler, Handled, by("systemd"));
        let start = start.notify(2.s(), itself(), TIMED);
        let worker = start.notify(3.s(), by("worker"), &[("READY", "1")]).refused();
        let told = worker.ends_at(60.s(), EndedBy::Interrupt).judged(&[ID]);
        let by_worker = "One of worker (pid 4720, /usr/bin/worker) came, which NotifyAccess= does";
        assert!(told[0].message.contains(by_worker), "{}", told[0].message);
        assert!(told[0].mend.contains("NotifyAccess=all"), "{}", told[0].mend);
        assert_eq!(told[0].events.len(), 2);
    }

    #[test]
    fn ready_or_stopping_in_the_same_message_overrule_it() {
        let both = [("RELOADING", "1"), ("READY", "1")];
        up("notify-reload").notify(1.s(), itself(), &both).judged(&[]);
        let stop = [("RELOADING", "1"), ("STOPPING", "1")];
        up("notify-reload").notify(1.s(), itself(), &stop).judged(&[]);
    }

    #[test]
    fn what_it_says_before_it_is_up_answers_no_reload() {
        let starting = || activation().unit("notify-reload", "no").exec(0).handler(1.ms());
        starting().notify(5.ms(), itself(), UNTIMED).ready(10.ms()).judged(&[]);
        let again = starting().notify(5.ms(), itself(), UNTIMED).ready(10.ms());
        let alerts = again.notify(1.s(), itself(), UNTIMED).ready(2.s()).judged(&[ID]);
        assert_eq!(alerts[0].events, [4], "the later one");
    }

    #[test]
    fn ready_once_it_is_stopped_does_not_end_a_reload() {
        let reloading = || up("notify").notify(1.s(), itself(), TIMED);
        let stopped = reloading().signal(7.s(), Signal::TERM, Handler, Handled, by("systemd"));
        stopped.ready(8.s()).exit(9.s(), 0).judged(&[ID]);
        reloading().ready(8.s()).exit(9.s(), 0).judged(&[]);
    }

    #[test]
    fn what_could_not_be_sent_is_not_judged() {
        activation()
            .exec(0)
            .handler(1.ms())
            .notify(1.s(), itself(), UNTIMED)
            .failed(111)
            .judged(&["notify-send-failed"]);
    }

    #[test]
    fn reloading_and_ready_in_one_message_end_a_reload_with_its_time_alone() {
        let reloaded = |lines: &[(&str, &str)]| {
            let start = up("notify-reload");
            let start = start.signal(1.s(), Signal::HUP, Handler, Handled, by("systemd"));
            start.notify(1.s() + 1.ms(), itself(), lines)
        };
        let both = [("RELOADING", "1"), ("READY", "1")];
        let alerts = reloaded(&both).judged(&[ID]);
        assert_eq!(alerts[0].events, [4]);
        reloaded(&[both[0], both[1], TIMED[1]]).judged(&[]);
    }

    #[test]
    fn what_says_that_it_stops_has_ended_its_reload() {
        let reloading = up("notify").notify(1.s(), itself(), TIMED);
        let stopping = reloading.notify(1.s() + 1, itself(), &[("STOPPING", "1")]);
        stopping.exit(3.s(), 0).judged(&[]);
    }

    #[test]
    fn a_ready_that_was_refused_before_the_reload_was_not_meant_to_end_it() {
        let start = activation().unit("notify", "no").exec(0).handler(1.ms());
        let start = start.notify(5.ms(), by("worker"), &[("READY", "1")]).refused();
        let alerts = start.ready(10.ms()).notify(1.s(), itself(), TIMED).judged(&[ID]);
        assert!(!alerts[0].message.contains("One of"), "{}", alerts[0].message);
    }
}
