//! Puts observations in order of time that come in about that order.

use std::collections::{BTreeMap, VecDeque};

use crate::observation::Observation;

/// Observations that there is room for when there are none: a storm leaves no memory behind.
const KEPT: usize = 256;

/// Observations that are not yet in their place in time. Of one time, those that came first are
/// first.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Those that came in order, as most do: each with its number.
    queue: VecDeque<(u64, Observation)>,
    /// Those that came after one of a later time, by time and number.
    late: BTreeMap<(u64, u64), Box<Observation>>,
    /// Those that came so far.
    arrived: u64,
}

impl Window {
    /// Takes one.
    pub fn push(&mut self, observation: Observation) {
        self.arrived += 1;
        let at = observation.at;
        if self.queue.back().is_none_or(|(_, last)| last.at <= at) {
            self.queue.push_back((self.arrived, observation));
        } else {
            // It is large, and the table moves its entries about.
            self.late.insert((at, self.arrived), Box::new(observation));
        }
    }

    /// Shows those until a time, in order, and lets go of them.
    pub fn release(&mut self, until: u64, mut show: impl FnMut(&mut Observation)) {
        loop {
            let queued = self.queue.front().map(|(number, first)| (first.at, *number));
            let late = self.late.first_entry();
            match (queued, late) {
                (queued, Some(late))
                    if late.key().0 <= until && queued.is_none_or(|it| *late.key() < it) =>
                {
                    show(&mut late.remove());
                }
                (Some((at, _)), _) if at <= until => {
                    if let Some((_, first)) = self.queue.front_mut() {
                        show(first);
                    }
                    self.queue.pop_front();
                }
                _ => break,
            }
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::observation::Fact;

    /// One of this time, and of this number among all.
    fn numbered(at: u64, number: u64) -> Observation {
        Observation { at, fact: Fact::Loss { kind: "x".into(), count: number } }
    }

    proptest! {
        /// Against sorting all there is at each release.
        #[test]
        fn what_is_released_is_in_order_of_time_and_arrival(
            steps in prop::collection::vec((0..20_u64, prop::option::weighted(0.2, 0..25_u64)), 0..60)
        ) {
            let mut window = Window::default();
            let mut waiting = Vec::new();
            let last = [(0, Some(u64::MAX))];
            for (number, (at, until)) in steps.into_iter().chain(last).enumerate() {
                window.push(numbered(at, number as u64));
                waiting.push((at, number as u64));
                if let Some(until) = until {
                    waiting.sort_unstable();
                    let count = waiting.partition_point(|(at, _)| *at <= until);
                    let expected: Vec<_> = waiting.drain(..count).collect();
                    let mut shown = Vec::new();
                    window.release(until, |observation| match observation.fact {
                        Fact::Loss { count, .. } => shown.push((observation.at, count)),
                        _ => unreachable!("only these were put in"),
                    });
                    prop_assert_eq!(shown, expected);
                }
            }
        }
    }
}
