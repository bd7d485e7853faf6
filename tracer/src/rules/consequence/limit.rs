//! Whether the limit of starts lets systemd start a service again.

use super::{said::next_start, settings};
use crate::{
    model::{document::Activation, span, start_limit::StartLimit, unit::UnitFacts},
    rules::{
        case::{Case, State},
        result::{RefusedResult, ServiceResult},
    },
};

/// A limit that is reached, and the unit that it is of.
#[derive(Clone, Copy)]
pub(super) struct Refusing<'a> {
    facts: &'a UnitFacts,
    limit: &'a StartLimit,
}

/// The unit's limit of starts, if it refuses the one that `Restart=` would bring about after an
/// end at `at`, or at any time (`None`). Starts that the capture did not see are not counted. What
/// systemd then did counts: it may have seen more, or somebody had it forget the starts before.
pub(super) fn refusing<'a>(case: &Case<'a>, at: Option<i64>) -> Option<Refusing<'a>> {
    let (_, facts) = settings(case)?;
    let limit = facts.start_limit.as_ref()?;
    let delay = facts.restart_delay_ns.and_then(|delay| i64::try_from(delay).ok());
    let next = at.zip(delay).map_or(i64::MAX, |(at, delay)| at.saturating_add(delay));
    let let_through = at.filter(|_| !limit.is_off()).and_then(|at| next_start(case, at));
    let refuses = let_through.map_or_else(|| limit.refuses(starts(case), next), |through| !through);
    refuses.then_some(Refusing { facts, limit })
}

/// When systemd started the service, up to this start, in order of time.
fn starts(case: &Case) -> Vec<i64> {
    let this = case.activation;
    let is_other = |other: &&Activation| {
        other.started_at < this.started_at
            && (other.invocation_id.is_none() || other.invocation_id != this.invocation_id)
    };
    let others = case.service.activations.iter().filter(is_other);
    let mut starts: Vec<i64> = others
        .chain([this])
        .filter_map(|activation| {
            let since = activation.started_at.0.duration_since(this.started_at.0).as_nanos();
            let began = Case { activation, ..*case }.states().find(is_start);
            let began = began.map_or(0, |state| state.at_ns).min(0);
            Some(i64::try_from(since).ok()?.saturating_add(began))
        })
        .collect();
    starts.sort_unstable();
    starts
}

/// Whether it is of the start itself, and not of what came before.
fn is_start(state: &State) -> bool {
    matches!(state.state, "activating" | "active") && !state.is_again()
}

impl Refusing<'_> {
    /// What `Result=` the service has then, after an end with this one.
    pub(super) fn result(&self, before: ServiceResult) -> RefusedResult {
        before.after_refused_start(self.facts)
    }

    /// `StartLimitBurst=1 lets one start through in 10 s, and this was it: the unit has failed
    /// (result 'start-limit-hit').`, after an end with this result.
    pub(super) fn words(&self, before: ServiceResult) -> String {
        let limit = self.limit;
        let (starts, this) = match limit.starts {
            1 => ("one start".to_owned(), "this was it"),
            many => (format!("{many} starts"), "this was the last of them"),
        };
        let within = match limit.within_ns {
            Some(within) if within % 1_000_000_000 == 0 => format!("{} s", within / 1_000_000_000),
            Some(within) => span::length(within),
            None => "all its time (StartLimitIntervalSec=infinity)".to_owned(),
        };
        let action = match limit.action.as_deref() {
            None | Some("none") => String::new(),
            Some(action) => format!(", and systemd carries out StartLimitAction={action}"),
        };
        format!(
            "StartLimitBurst={} lets {starts} through in {within}, and {this}: the unit has \
             failed ({}){action}.",
            limit.starts,
            self.result(before)
        )
    }
}
