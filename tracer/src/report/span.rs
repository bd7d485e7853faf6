//! The part of time in which a start could be seen, and the axis for it.

use super::axis::{Axis, Grain};
use crate::model::{
    document::Activation,
    event::{Effect, Fate, SignalSent, What},
};

/// Wall-clock times are saved to the microsecond, so that the end of the capture on a start's
/// timeline is known to so many ns; what lasted until then lasted to the end.
const EXACT_NS: u64 = 2_000;

/// When the activation could be seen.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its first moment.
    pub from: i64,
    /// When the capture joined, if that was later.
    pub seen: i64,
    /// Its exit, or the end of the capture.
    pub to: i64,
}

impl Span {
    /// Of an activation, where the capture ended at `end`.
    pub fn of(activation: &Activation, end: i64) -> Self {
        let exposures = activation.exposure.iter();
        let from = exposures.clone().map(|exposure| exposure.from_ns).min().unwrap_or(0).min(0);
        let seen = activation.joined_ns.unwrap_or(from).max(from);
        let last = exposures.map(|exposure| exposure.to_ns).max().unwrap_or(seen);
        let end = if end.abs_diff(last) < EXACT_NS { last } else { end.max(last) };
        let to = activation.milestones.exit_ns.unwrap_or(end).max(seen);
        Self { from, seen, to }
    }

    /// An axis for it that shows `more` moments too, with so many columns.
    pub fn axis(self, activation: &Activation, more: &[i64], columns: usize, grain: Grain) -> Axis {
        self.axis_within(self, activation, more, columns, grain)
    }

    /// The same from the first to the last moment of a longer one.
    pub fn axis_within(
        self,
        whole: Self,
        activation: &Activation,
        more: &[i64],
        columns: usize,
        grain: Grain,
    ) -> Axis {
        let milestones = &activation.milestones;
        let start_over = milestones.handler_ns.max(milestones.ready_ns);
        let mut moments = vec![self.from, self.seen, self.to];
        moments.extend([milestones.handler_ns, milestones.ready_ns].into_iter().flatten());
        moments.extend(
            activation.exposure.iter().flat_map(|exposure| [exposure.from_ns, exposure.to_ns]),
        );
        moments.retain(|at| (self.from..=self.to).contains(at));
        moments.extend(more);
        moments.extend([whole.from, whole.to]);
        Axis::with_grain(&moments, columns, grain, |from, to| {
            if self.seen > self.from {
                to <= self.seen
            } else {
                let is_before = to <= self.from;
                is_before || start_over.is_some_and(|over| from >= over) || from >= self.to
            }
        })
    }
}

/// What an instruction of the program itself raises: SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV.
const FAULTS: [u32; 5] = [4, 5, 7, 8, 11];

/// Whether it is a fault of the program's own that its handler took, as virtual machines have them
/// all the time: nobody sent it.
fn is_own_fault(sent: &SignalSent) -> bool {
    sent.sender.is_none() && sent.fate == Fate::Handled && FAULTS.contains(&sent.signal.number())
}

/// The signals sent to the main process, also the reloads of one that was it then; every one where
/// that is not known.
pub fn signals(activation: &Activation) -> Vec<(i64, &SignalSent)> {
    let main = activation.main_process.as_ref().map(|process| process.pid);
    let is_to_main = |sent: &SignalSent| {
        main.is_none_or(|pid| sent.target.pid == pid)
            || sent.effect.is_some_and(|effect| effect != Effect::LostProcess)
    };
    activation
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Signal(sent) if is_to_main(sent) && !is_own_fault(sent) => {
                Some((event.at_ns, &**sent))
            }
            _ => None,
        })
        .collect()
}
