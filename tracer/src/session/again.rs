//! Which services are told again although nothing of them is new: time alone makes an alert of
//! some things.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::Pace;

/// How often each is told again, at most.
const ROUND: Duration = Duration::from_secs(1);
/// Services that are told again in one go where each go is to be short.
const AT_ONCE: u64 = 32;

/// How the services that are told again are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All at once, and the more seldom the longer that takes.
    All,
    /// A few at a time.
    InTurn,
}

/// The services that are told again, by their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// The first one of the next go.
    next: u64,
    round: Pace,
}

impl Default for Again {
    fn default() -> Self {
        // No round has begun.
        Self { next: u64::MAX, round: Pace::new(ROUND) }
    }
}

impl Again {
    /// The numbers of those that are due at `now`, where the next service will have the number
    /// `end`.
    pub fn due(&mut self, way: Way, end: u64, now: Instant) -> Range<u64> {
        if way == Way::All {
            return if self.round.is_due(now) { 0..u64::MAX } else { 0..0 };
        }
        if self.next >= end {
            if !self.round.is_due(now) {
                return 0..0;
            }
            self.round.done(now, now);
            self.next = 0;
        }
        let first = self.next;
        self.next = first.saturating_add(AT_ONCE);
        first..self.next
    }

    /// All were told, from `began` to `ended`.
    pub fn all_told(&mut self, began: Instant, ended: Instant) {
        self.round.done(began, ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn in_turn_each_is_told_once_a_second_and_few_in_one_go() {
        let (mut again, start) = (Again::default(), Instant::now());
        let mut due = |ms: u32| again.due(Way::InTurn, 70, start + ms * MS);
        assert_eq!(due(0), 0..32);
        assert_eq!(due(100), 32..64);
        assert_eq!(due(200), 64..96);
        assert!(due(300).is_empty() && due(999).is_empty());
        assert_eq!(due(1_000), 0..32);
        // A round that takes longer begins anew at once.
        assert_eq!((due(1_900), due(2_800), due(3_700)), (32..64, 64..96, 0..32));
    }

    #[test]
    fn all_are_told_once_a_second_and_more_seldom_if_that_takes_long() {
        let (mut again, start) = (Again::default(), Instant::now());
        let is_due = |again: &mut Again, ms: u32| {
            let due = again.due(Way::All, 3, start + ms * MS);
            assert!(due.is_empty() || due == (0..u64::MAX));
            !due.is_empty()
        };
        assert!(is_due(&mut again, 0));
        again.all_told(start, start + 10 * MS);
        assert!(!is_due(&mut again, 1_009) && is_due(&mut again, 1_010));
        again.all_told(start, start + 500 * MS);
        assert!(!is_due(&mut again, 5_499) && is_due(&mut again, 5_500));
    }

    #[test]
    fn where_there_is_no_service_none_is_told() {
        let mut again = Again::default();
        let start = Instant::now();
        assert_eq!(again.due(Way::InTurn, 0, start), 0..32, "a round of nobody");
        assert!(again.due(Way::InTurn, 0, start + MS).is_empty());
    }
}
