//! A limit in time.

use std::time::{Duration, Instant};

/// A limit in time, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// `span` after `now`; none where there is no span, where it is zero, and where it ends
    /// later than the clock can tell.
    #[must_use]
    pub fn after(span: Option<Duration>, now: Instant) -> Self {
        Self(span.filter(|span| !span.is_zero()).and_then(|span| now.checked_add(span)))
    }

    /// Whether it is over.
    #[must_use]
    pub fn has_passed(self, now: Instant) -> bool {
        self.0.is_some_and(|end| now >= end)
    }

    /// How long one may wait without missing it, `longest` at most.
    #[must_use]
    pub fn patience(self, longest: Duration, now: Instant) -> Duration {
        self.0.map_or(longest, |end| end.saturating_duration_since(now).min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_passes_at_its_end_and_not_before() {
        let start = Instant::now();
        let deadline = Deadline::after(Some(SECOND), start);
        assert!(!deadline.has_passed(start + SECOND / 2));
        assert!(deadline.has_passed(start + SECOND));
        assert_eq!(deadline.patience(SECOND * 9, start), SECOND);
        assert_eq!(deadline.patience(SECOND / 4, start), SECOND / 4);
        assert_eq!(deadline.patience(SECOND, start + SECOND * 3), Duration::ZERO);
    }

    #[test]
    fn no_span_none_at_all_and_one_that_no_clock_reaches_never_pass() {
        let now = Instant::now();
        for span in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            let deadline = Deadline::after(span, now);
            assert!(!deadline.has_passed(now + SECOND * 1_000_000), "{span:?}");
            assert_eq!(deadline.patience(SECOND, now), SECOND, "{span:?}");
        }
    }
}
