//! A race in shares: several processes each race some of the intervals of one start, and what they
//! found is put together.

use std::collections::{BTreeMap, HashMap};

use super::{discount, sentences, untested, verdict::with_tries};
use crate::model::race::{Leftover, Outcome, Race, SignalRace, Try};

/// What is said of an interval that a share was to race and did not.
pub(super) const ANOTHER_START: &str = "another start of the command had no such interval";

/// The ids of all intervals of a race that was only planned, in so many shares. Neighbours go into
/// different ones, as runs at one place take about equally long.
#[must_use]
pub fn shares(planned: &Race, count: usize) -> Vec<Vec<String>> {
    let mut shares = vec![Vec::new(); count.max(1)];
    let ids = planned.signals.iter().flat_map(SignalRace::all).map(|it| it.id.clone());
    for (index, id) in ids.enumerate() {
        let share = index % shares.len();
        shares[share].push(id);
    }
    shares.retain(|share| !share.is_empty());
    shares
}

/// The race that was planned, with what was found in the shares of it. An interval that is in none
/// of them was not reached; after an interrupt, it was not raced.
#[must_use]
pub fn merge(mut planned: Race, mut found: Vec<Race>, interrupted: bool) -> Race {
    let mut leftovers = BTreeMap::new();
    let mut tries: HashMap<String, Vec<Try>> = HashMap::new();
    planned.runs += found.iter().map(|share| share.runs).sum::<u64>();
    for share in std::iter::once(&planned).chain(&found) {
        for Leftover { comm, runs } in &share.leftovers {
            *leftovers.entry(comm.clone()).or_default() += runs;
        }
    }
    let races = found.iter_mut().flat_map(|share| &mut share.signals);
    for interval in races.flat_map(SignalRace::all_mut) {
        tries.entry(interval.id.clone()).or_default().append(&mut interval.tries);
    }
    let leftovers = leftovers.into_iter();
    planned.leftovers = leftovers.map(|(comm, runs)| Leftover { comm, runs }).collect();
    for race in &mut planned.signals {
        for interval in race.all_mut() {
            let found = tries.remove(&interval.id).filter(|tries| !tries.is_empty());
            let tries =
                found.unwrap_or_else(|| if interrupted { Vec::new() } else { vec![missed()] });
            *interval = with_tries(interval.clone(), tries);
        }
        discount(race, &planned.untouched);
        race.sentence = sentences(&planned.name, &planned.service_type, race, &planned.untouched);
    }
    planned.bad = planned.signals.iter().flat_map(SignalRace::all).any(|it| it.bad && it.counts);
    planned.untested = untested(&planned.signals, &planned.untouched);
    planned
}

fn missed() -> Try {
    Try {
        outcome: Outcome::NotReached,
        what: ANOTHER_START.to_owned(),
        bad: false,
        placed_ns: None,
        signal: None,
        exit: None,
        reload: None,
        attempts: 0,
    }
}
