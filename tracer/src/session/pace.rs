//! How often something is done that costs time.

use std::time::{Duration, Instant};

/// How much longer than it takes is waited until it is done again.
const REST: u32 = 10;

/// When something costly is due again: at an interval, and the more seldom the longer it
/// takes, so that it never takes more than a tenth of the time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// At most once in `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, next: None }
    }

    /// Whether it is due.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// It was done, from `began` to `ended`.
    pub fn done(&mut self, began: Instant, ended: Instant) {
        let rest = ended.saturating_duration_since(began).saturating_mul(REST);
        self.next = ended.checked_add(rest.max(self.interval));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_quick_is_done_at_its_interval_and_what_is_slow_a_tenth_of_the_time() {
        let start = Instant::now();
        let mut pace = Pace::new(50 * MS);
        assert!(pace.is_due(start), "at once");
        pace.done(start, start + MS);
        assert!(!pace.is_due(start + 50 * MS));
        assert!(pace.is_due(start + 51 * MS));
        pace.done(start, start + 100 * MS);
        assert!(!pace.is_due(start + 1_099 * MS));
        assert!(pace.is_due(start + 1_100 * MS));
    }
}
