//! Times in a column, and spans in words.

use crate::model::span::decimal;
pub use crate::model::span::{length, span};

const SECOND: u64 = 1_000_000_000;

/// The unit of a column of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// To the microsecond.
    Milliseconds,
    /// To the tenth of a millisecond, once ten seconds are exceeded.
    Seconds,
}

impl Scale {
    /// The scale for times up to `furthest` from zero.
    pub fn for_times(furthest: u64) -> Self {
        if furthest < 10 * SECOND { Self::Milliseconds } else { Self::Seconds }
    }

    /// The unit's name.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
        }
    }

    /// One time in this unit, without its name.
    pub fn format(self, ns: i64) -> String {
        let (unit, decimals) = match self {
            Self::Milliseconds => (1_000_000, 3),
            Self::Seconds => (SECOND, 4),
        };
        let sign = if ns < 0 { "-" } else { "" };
        format!("{sign}{}", decimal(u128::from(ns.unsigned_abs()), unit, decimals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_a_column_keep_the_microsecond_of_a_start() {
        assert_eq!(Scale::for_times(310_400_000), Scale::Milliseconds);
        assert_eq!(Scale::Milliseconds.format(310_400_500), "310.401");
        assert_eq!(Scale::Milliseconds.format(-1_000), "-0.001");
        assert_eq!(Scale::for_times(60 * SECOND), Scale::Seconds);
        assert_eq!(Scale::Seconds.format(i64::MIN), "-9223372036.8548");
    }
}
