//! How often a unit may be started.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A unit's limit of starts. systemd refuses a start beyond it, its own `Restart=` as well as
/// anybody else's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartLimit {
    /// `StartLimitBurst=`: how many starts are let through; 0 for any number.
    pub starts: u32,
    /// `StartLimitIntervalSec=`: in what time, ns; 0 for no limit, null for a time that does not
    /// end.
    pub within_ns: Option<u64>,
    /// `StartLimitAction=`: what systemd does besides once there are more: `none`, `reboot`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl StartLimit {
    /// Whether any number of starts is let through.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.starts == 0 || self.within_ns == Some(0)
    }

    /// Whether systemd refuses a start at `next`, where it was started at these times before, ns,
    /// in order of time. The first start begins the time of the limit, and the first one after
    /// that time begins another (`ratelimit_below` in src/basic/ratelimit.c). A start beyond the limit
    /// that came about all the same is the first one after somebody had systemd forget the others
    /// (`systemctl reset-failed`).
    #[must_use]
    pub fn refuses(&self, starts: impl IntoIterator<Item = i64>, next: i64) -> bool {
        if self.is_off() {
            return false;
        }
        let is_within = |begin: i64, at: i64| {
            let since = u64::try_from(at.saturating_sub(begin)).unwrap_or(0);
            self.within_ns.is_none_or(|within| since <= within)
        };
        let mut window = None;
        for at in starts {
            window = match window {
                Some((begin, count)) if count < self.starts && is_within(begin, at) => {
                    Some((begin, count + 1))
                }
                _ => Some((at, 1_u32)),
            };
        }
        window.is_some_and(|(begin, count)| count >= self.starts && is_within(begin, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(starts: u32, within_ns: Option<u64>) -> StartLimit {
        StartLimit { starts, within_ns, action: None }
    }

    #[test]
    fn starts_are_counted_from_the_first_one_until_its_time_is_over() {
        let two = limit(2, Some(10));
        assert!(!two.refuses([0], 10));
        assert!(two.refuses([0, 5], 10));
        assert!(!two.refuses([0, 5], 11), "the first one after that begins anew");
        assert!(!two.refuses([0, 9, 11], 12), "the window is fixed, and does not slide");
        assert!(two.refuses([0, 9, 11, 12], 13));
        assert!(limit(1, Some(10)).refuses([0], 10));
        assert!(!limit(1, Some(10)).refuses([0], 11));
        assert!(!limit(1, Some(10)).refuses([], 11));
    }

    #[test]
    fn a_start_beyond_the_limit_that_came_about_is_the_first_of_others() {
        let two = limit(2, Some(10));
        assert!(two.refuses([0, 1], 2));
        assert!(!two.refuses([0, 1, 2], 3));
        assert!(two.refuses([0, 1, 2, 3], 4));
        assert!(!two.refuses([0, 1, 9, 19], 20), "its time is its own");
    }

    #[test]
    fn a_limit_may_be_off_or_never_end() {
        assert!(!limit(0, Some(10)).refuses([0, 1, 2], 3));
        assert!(!limit(0, None).refuses([0, 1, 2], 3));
        assert!(!limit(1, Some(0)).refuses([0], 0));
        assert!(limit(1, None).refuses([i64::MIN], i64::MAX));
        assert!(!limit(2, None).refuses([0], i64::MAX));
    }
}
