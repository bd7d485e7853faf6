//! Taking in what the kernel side has told, for as long as there is time.

use std::{collections::VecDeque, mem, time::Instant};

use anyhow::Result;

use crate::observation::Observation;

/// The most records that are taken from the ring at one go: some milliseconds' work on a busy
/// machine, as time is looked at in between.
const BATCH: usize = 512;

/// Where observations come from, and where they go.
pub trait Flow {
    /// Reads so many at most, to `into`, which is empty. Tells whether there may be more.
    fn read(&mut self, most: usize, into: &mut VecDeque<Observation>) -> Result<bool>;
    /// Takes one.
    fn take(&mut self, observation: Observation);
    /// What time it is.
    fn now(&self) -> Instant;
}

/// What was read, and not taken yet.
#[derive(Default)]
pub struct Intake(VecDeque<Observation>);

impl Intake {
    /// Reads and takes until there is no more, or until `limit`; one at least of what there is.
    /// Tells whether there is more.
    pub fn take(&mut self, flow: &mut impl Flow, limit: Instant) -> Result<bool> {
        loop {
            let mut is_all = false;
            if self.0.is_empty() {
                is_all = !flow.read(BATCH, &mut self.0)?;
            }
            while let Some(observation) = self.0.pop_front() {
                flow.take(observation);
                if flow.now() >= limit {
                    break;
                }
            }
            if is_all && self.0.is_empty() {
                return Ok(false);
            }
            if flow.now() >= limit {
                return Ok(true);
            }
        }
    }

    /// What was read and not taken.
    pub fn rest(&mut self) -> VecDeque<Observation> {
        mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observation::Fact;

    const MS: Duration = Duration::from_millis(1);

    /// Observations that never end, or so many; to read or to take one takes time.
    struct Slow {
        left: u64,
        taken: Vec<u64>,
        now: Instant,
        reading: Duration,
        taking: Duration,
    }

    impl Slow {
        fn new(left: u64, reading: Duration, taking: Duration) -> Self {
            Self { left, taken: Vec::new(), now: Instant::now(), reading, taking }
        }
    }

    impl Flow for Slow {
        fn read(&mut self, most: usize, into: &mut VecDeque<Observation>) -> Result<bool> {
            self.now += self.reading;
            let count = self.left.min(most as u64);
            let fact = || Fact::Loss { kind: "x".into(), count: 1 };
            into.extend((0..count).map(|it| Observation { at: self.left - it, fact: fact() }));
            self.left -= count;
            Ok(count == most as u64)
        }

        fn take(&mut self, observation: Observation) {
            self.now += self.taking;
            self.taken.push(observation.at);
        }

        fn now(&self) -> Instant {
            self.now
        }
    }

    #[test]
    fn what_never_ends_is_taken_until_the_limit_and_goes_on_where_it_stopped() {
        let mut flow = Slow::new(u64::MAX, MS, MS);
        let mut intake = Intake::default();
        for turn in 1..=100 {
            let begun = flow.now;
            assert!(intake.take(&mut flow, begun + 20 * MS).unwrap());
            // What was begun before the limit is done to its end: at most a read, and one taken.
            let took = flow.now - begun;
            assert!((20 * MS..=21 * MS).contains(&took), "turn {turn}: {took:?}");
        }
        let expected: Vec<u64> = (0..flow.taken.len() as u64).map(|it| u64::MAX - it).collect();
        assert_eq!(flow.taken, expected);
    }

    #[test]
    fn one_is_taken_of_what_there_is_however_late_it_is() {
        let mut flow = Slow::new(1_000, MS, MS);
        let mut intake = Intake::default();
        let past = flow.now;
        assert!(intake.take(&mut flow, past).unwrap());
        assert!(intake.take(&mut flow, past).unwrap());
        assert_eq!(flow.taken, [1_000, 999]);
        assert_eq!(intake.rest().len(), BATCH - 2);
    }

    #[test]
    fn all_there_is_is_taken_where_there_is_time() {
        for count in [0, 1, BATCH as u64, 5 * BATCH as u64, 5 * BATCH as u64 + 7] {
            let mut flow = Slow::new(count, Duration::ZERO, Duration::ZERO);
            let limit = flow.now + MS;
            assert!(!Intake::default().take(&mut flow, limit).unwrap());
            assert_eq!(flow.taken.len() as u64, count);
        }
    }
}
