//! Records that were lost, by kind.

use tracer_common::event::Kind;

/// Counters that only grow, as they were when they were last read.
#[derive(Debug, Default)]
pub struct Losses {
    before: [u64; Kind::ALL.len()],
}

impl Losses {
    /// How many more were lost since the last time, given how many were in all; none for a
    /// kind of which no more were.
    pub fn since_last(&mut self, kind: Kind, total: u64) -> Option<u64> {
        let before = &mut self.before[kind as usize];
        let more = total.saturating_sub(*before);
        *before = total;
        (more > 0).then_some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_is_told_once_and_each_kind_for_itself() {
        let mut losses = Losses::default();
        assert_eq!(losses.since_last(Kind::Fork, 0), None);
        assert_eq!(losses.since_last(Kind::Fork, 5), Some(5));
        assert_eq!(losses.since_last(Kind::Fork, 5), None);
        assert_eq!(losses.since_last(Kind::ThreadExit, 3), Some(3));
        assert_eq!(losses.since_last(Kind::Fork, 7), Some(2));
        assert_eq!(losses.since_last(Kind::ThreadExit, 3), None);
    }
}
