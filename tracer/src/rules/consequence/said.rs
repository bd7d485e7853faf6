//! What systemd itself says it did, against what was foretold.

use super::limit::Refusing;
use crate::rules::{
    case::{Case, State},
    result::{Decider, Prediction, ServiceResult},
};

/// What systemd itself says it did about the end of the main process at `at`.
pub(super) fn said(case: &Case, predicted: Prediction, limit: Option<Refusing>, at: i64) -> String {
    if predicted.decided_by == Decider::Remain {
        return String::new();
    }
    // What comes later is of somebody else's doing: an operator's stop.
    let mut states = over_after(case, at);
    let Some(over) = states.next() else {
        return String::new();
    };
    // Before it starts a service again, it has been inactive for a moment.
    let next = states.next();
    let again = over.is_again() || next.is_some_and(|next| next.is_again());
    let last = case.activation.systemd.as_ref().and_then(|state| state.result.as_deref());
    // Of a state of which only the time is known, the result is that of the last one.
    let known = || over.sub_state.map(|_| "success");
    let Some(result) = over.result.or_else(known).or(last) else {
        return String::new();
    };
    let state = over.state;
    // It waited, and nothing came of that: somebody stopped it, or cancelled its start.
    let has_come_up = case.states().any(|it| (at..over.at_ns).contains(&it.at_ns) && it.is_up());
    if predicted.result == ServiceResult::Timeout && result == "success" && !has_come_up {
        return format!(" It was stopped before that: Result=success, and the unit is {state}.");
    }
    let refused = if again { refused(states) } else { None };
    let limit = limit.filter(|_| predicted.restarts == Some(true));
    if limit.is_some() && refused.is_none() && again && !is_started_again(case, at) {
        // It is not told yet.
        return String::new();
    }
    let (result, then, is_foretold) = match (refused, limit) {
        (Some(refused), limit) => {
            let result = refused.result.unwrap_or(result);
            let is_foretold =
                limit.is_some_and(|limit| limit.result(predicted.result).may_be(result));
            (result, "it refuses the start after that".to_owned(), is_foretold)
        }
        (None, limit) => {
            let then = if again && predicted.decided_by == Decider::Delay {
                "it waits to restart the unit".to_owned()
            } else if again {
                "it restarts the unit".to_owned()
            } else {
                format!("the unit is {state}")
            };
            (result, then, limit.is_none() && result == predicted.result.name())
        }
    };
    if is_foretold {
        format!(" systemd says so itself: Result={result}, and {then}.")
    } else {
        format!(" But systemd itself says Result={result}, and {then}: its word counts.")
    }
}

/// The states from the first one by which the service is over, after the end of the main process at
/// `at`.
pub(super) fn over_after<'a>(
    case: &Case<'a>,
    at: i64,
) -> impl Iterator<Item = State<'a>> + use<'a> {
    case.states().skip_while(move |state| state.at_ns < at || !state.is_over())
}

/// Whether systemd let the start through that it said was due after the end of the main process at
/// `at`; `None` where it said of none, or that is not seen.
pub(super) fn next_start(case: &Case, at: i64) -> Option<bool> {
    let states = || over_after(case, at);
    let again = states().take(2).any(|state| state.is_again());
    let end = states().next().and_then(|state| state.result);
    let comes = || is_started_again(case, at).then_some(true);
    again.then(|| match refused(states().skip(1)) {
        Some(refused) => Some(!is_by_limit(refused, end)),
        None => comes(),
    })?
}

/// Whether a start that failed at once was refused by the limit of starts: that leaves the result of
/// the end before, or puts its own in place. What fails otherwise has been let through.
fn is_by_limit(refused: State, end: Option<&str>) -> bool {
    refused.result.is_none_or(|result| result == "start-limit-hit" || end == Some(result))
}

/// The failure at once of a start that was due, among the states that follow the end before it.
fn refused<'a>(states: impl Iterator<Item = State<'a>>) -> Option<State<'a>> {
    let mut waiting = states.take_while(State::is_over);
    waiting.find(|state| state.state == "failed" && !state.is_again())
}

/// Whether the service has another start after `at`.
pub(super) fn is_started_again(case: &Case, at: i64) -> bool {
    let begins = case.activation.started_at.0;
    case.service.activations.iter().any(|other| {
        let since = other.started_at.0.duration_since(begins).as_nanos();
        since > i128::from(at)
    })
}
