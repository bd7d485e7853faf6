//! The instant at rest of a run: the start is over and nothing has changed since, and the signal is sent
//! as anybody would, by kill(2), or by a reload of the unit.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    super::{Ending, Session, turns::Subject},
    Until,
};
use crate::{host::clock, model::document::EndedBy, race::Goal};

/// What a run with a signal has beside three times as long as the untouched one took.
const LONGER: Duration = Duration::from_secs(5);

/// What a run is to come to once it is at rest and the signal is sent.
#[derive(Clone, Debug)]
pub struct AtRest {
    /// What it is to come to.
    pub goal: Goal,
    /// The longest that this may take.
    pub limit: Duration,
}

/// A start that has come to rest.
#[derive(Clone, Debug)]
pub struct Rested {
    /// When the signal was sent, or a reload asked for (`CLOCK_BOOTTIME` ns).
    pub at: u64,
    /// The main process, which it was sent to.
    pub pid: u32,
    /// How often READY=1 had been said by then.
    pub readies: u32,
}

impl AtRest {
    /// What ends the run from now on. It began at `began` (`CLOCK_BOOTTIME` ns).
    pub fn ending(&self, began: u64) -> Ending {
        let lasted = clock::boot_ns().saturating_sub(began);
        let limit = self.limit.min(longest(lasted));
        Ending::new(Some(Until::Settled), Some(limit), false, Instant::now())
    }
}

/// Follows a run, which began at `began` (`CLOCK_BOOTTIME` ns), to its end: where it is to be at rest, to
/// that, and on from what `at_rest` does then.
pub async fn follow<S: Subject, T>(
    session: &mut Session<'_, S>,
    rest: Option<AtRest>,
    began: u64,
    at_rest: impl AsyncFnOnce(&mut S, Goal) -> Result<T>,
) -> Result<(EndedBy, Option<T>)> {
    let ended_by = session.follow().await?;
    let Some(rest) = rest.filter(|_| ended_by == EndedBy::Until) else {
        return Ok((ended_by, None));
    };
    let sent = at_rest(session.subject(), rest.goal.clone()).await?;
    Ok((session.follow_on(rest.ending(began)).await?, Some(sent)))
}

/// The longest that a run with a signal may take where the untouched one has `lasted` so many ns.
pub fn longest(lasted: u64) -> Duration {
    Duration::from_nanos(lasted).saturating_mul(3).saturating_add(LONGER)
}

/// Why a signal was not sent at rest, in words.
pub fn unsent<T>(sent: Result<T>) -> Option<String> {
    sent.err().map(|error| format!("{error:#}"))
}
