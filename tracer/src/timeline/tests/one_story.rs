//! What is said of a start hangs together: the strip, the fates, the effects, the headline and
//! the alerts tell one story.

use proptest::prelude::*;

use super::{lives, replay};
use crate::{
    model::{
        document::{Activation, ExposureKind, OutcomeState},
        event::{DispositionKind, Effect, Fate, SignalSent, What},
    },
    report::{Format, Style, render},
    rules::judge,
};

/// What the strip says at a time.
fn said(start: &Activation, at: i64) -> Option<ExposureKind> {
    let spans = start.exposure.iter().find(|span| span.from_ns <= at && at < span.to_ns);
    spans.map(|span| span.kind)
}

/// The reloads of the main process, with the indices of their events.
fn reloads(start: &Activation) -> impl Iterator<Item = (usize, i64, &SignalSent)> {
    start.events.iter().enumerate().filter_map(|(index, event)| match &event.what {
        What::Signal(sent) if sent.effect.is_some() => Some((index, event.at_ns, &**sent)),
        _ => None,
    })
}

/// Whether something was there that takes a signal which is blocked: it may wait a while.
fn has_taker(start: &Activation) -> bool {
    start
        .events
        .iter()
        .any(|event| matches!(event.what, What::Disposition { consumer: Some(_), .. }))
}

/// Whether another one of its kind came later: that may have been let through in its place, as
/// what waits for one thread alone goes first.
fn has_another(start: &Activation, index: usize, sent: &SignalSent) -> bool {
    start.events[index + 1..].iter().any(|event| match &event.what {
        What::Signal(later) => later.target.pid == sent.target.pid && later.signal == sent.signal,
        _ => false,
    })
}

/// Whether the strip and the fate of a signal to the whole process say the same.
fn agrees(kind: Option<ExposureKind>, sent: &SignalSent, has_taker: bool) -> bool {
    use ExposureKind::{Fatal, Lost, NotReady, Pending, Unknown};
    match (sent.fate, sent.disposition) {
        _ if sent.runtime.is_some() => true,
        (Fate::Killed, DispositionKind::Default) => matches!(kind, Some(Fatal | Unknown)),
        (Fate::Ignored, DispositionKind::Ignored) => matches!(kind, Some(Lost | Unknown)),
        (Fate::Handled, DispositionKind::Handler | DispositionKind::Blocked) => {
            !matches!(kind, Some(Fatal | Lost | Pending))
        }
        (Fate::Pending, DispositionKind::Blocked) => {
            // Whoever takes it may not have come to it.
            matches!(kind, Some(Pending | Unknown))
                || (matches!(kind, None | Some(NotReady)) && has_taker)
        }
        _ => true,
    }
}

/// Whether a signal told the process of a reload to end before that, or killed it.
fn tells_to_end(other: &SignalSent, reload: &SignalSent) -> bool {
    other.target.pid == reload.target.pid
        && other.signal != reload.signal
        && (other.signal.ends() || other.fate == Fate::Killed)
        && !matches!(other.fate, Fate::Ignored | Fate::Dropped)
}

fn check(start: &Activation, text: &str) -> Result<(), TestCaseError> {
    let ended = start.milestones.exit_ns.unwrap_or(i64::MAX);
    for (index, at, sent) in reloads(start) {
        let lost = sent.effect == Some(Effect::LostProcess) && sent.fate == Fate::Killed;
        if lost || sent.tid.is_some() || at >= ended {
            continue;
        }
        if sent.fate == Fate::Pending && has_another(start, index, sent) {
            continue;
        }
        let kind = said(start, at);
        prop_assert!(
            agrees(kind, sent, has_taker(start)),
            "at {at} the strip says {kind:?}, and {sent:?}"
        );
        let is_fatal = sent.fate == Fate::Killed;
        let harms = matches!(sent.effect, Some(Effect::Ended | Effect::Replaced));
        let was_told = sent.effect == Some(Effect::Unknown)
            && start.events[..index].iter().any(|event| match &event.what {
                What::Signal(other) => tells_to_end(other, sent),
                What::Notify(message) => message.says("STOPPING", "1"),
                _ => false,
            });
        prop_assert!(!is_fatal || harms || was_told, "it killed: {sent:?}");
    }
    if let Some(last) = start.exposure.last().filter(|last| last.kind == ExposureKind::Pending) {
        let taken = reloads(start).find(|(_, at, sent)| {
            (last.from_ns..last.to_ns).contains(at) && sent.fate == Fate::Handled
        });
        prop_assert!(taken.is_none(), "blocked for good from {}: {taken:?}", last.from_ns);
    }
    for alert in &start.alerts {
        let is = |wanted: &[Effect]| {
            alert.events.iter().any(|index| match &start.events[*index].what {
                What::Signal(sent) => sent.effect.is_some_and(|effect| wanted.contains(&effect)),
                What::Notify(message) => {
                    message.effect.is_some_and(|effect| wanted.contains(&effect))
                }
                _ => false,
            })
        };
        let agrees = match alert.id.as_str() {
            "reload-ends-service" => is(&[Effect::Ended, Effect::Crashed, Effect::Replaced]),
            "reload-kills-process" => is(&[Effect::LostProcess]),
            "reload-unanswered" => is(&[Effect::Unanswered]),
            _ => true,
        };
        prop_assert!(agrees, "{alert:?}");
    }
    let killed = start.outcome.state == OutcomeState::Killed;
    let title = text.split("\n  ").next().unwrap_or_default();
    if start.main_process.is_some() {
        prop_assert_eq!(title.contains("killed by"), killed, "{}", title);
    }
    if title.contains("survived") {
        let harmed = reloads(start)
            .find(|(.., sent)| !matches!(sent.effect, Some(Effect::Survived | Effect::Reloaded)));
        prop_assert!(harmed.is_none(), "{title}: {harmed:?}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn strip_fates_effects_headline_and_alerts_agree(
        turns in lives::turns(false),
        of in lives::any_of(),
    ) {
        let mut document = replay::document(&turns, of);
        judge(&mut document);
        for service in &document.services {
            for activation in &service.activations {
                let mut alone = document.clone();
                let mut service = service.clone();
                service.activations = vec![activation.clone()];
                alone.services = vec![service];
                let text = render(&alone, Format::Table, Style { color: false, width: 200 });
                check(activation, &text)?;
            }
        }
    }
}
