//! The signals that are captured.

use tracer_common::{
    config::MAX_DISPOSITIONS,
    signal::{MAX_SIGNAL, SignalSet},
};

use super::BadRequest;
use crate::{
    model::signal::Signal,
    probe::{
        attach::{Reach, Request},
        backend,
    },
};

/// What is wanted of the kernel side.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The reload signal that was named, if one was.
    pub signal: Option<Signal>,
    /// Signals to record besides.
    pub record: Vec<Signal>,
    /// KiB for events that wait to be read: a power of two of pages.
    pub buffer: u32,
    /// How handlers and messages are to be seen.
    pub backend: backend::Wanted,
}

impl Wanted {
    /// The reload signal where no unit has one of its own.
    #[must_use]
    pub fn reload(&self) -> Signal {
        self.signal.unwrap_or(Signal::HUP)
    }
}

/// The signals that are captured.
pub struct Recorded {
    /// Those whose sending is.
    pub sent: SignalSet,
    /// Those whose dispositions are.
    pub dispositions: SignalSet,
    /// Those of them that were asked for.
    pub shown: SignalSet,
    buffer: u32,
    backend: backend::Wanted,
}

/// Signals that a runtime installs its catch-all handler for after HUP and the faults, so that
/// the kernel side sees by then how many share it: XFSZ, which bash has too, and the last,
/// which Go's runtime also blocks in the thread that passes signals on.
const TELLTALES: SignalSet = SignalSet::of(25).union(SignalSet::of(MAX_SIGNAL));
/// What ends or reloads services: INT QUIT ABRT KILL USR1 SEGV USR2 TERM.
const ALWAYS: [u32; 8] = [2, 3, 6, 9, 10, 11, 12, 15];
/// What units reload by, besides HUP: USR1 USR2.
const RELOADS: [u32; 2] = [10, 12];
/// What reloads that are restarts send: TERM QUIT.
const ENDS: [u32; 2] = [15, 3];
/// Ignored by what a shell starts in the background: INT.
const OF_BACKGROUND: u32 = 2;
/// The most signals whose dispositions can be recorded, the reload signal included.
pub const MAX_RECORDED: u32 = MAX_DISPOSITIONS - TELLTALES.0.count_ones();

impl Recorded {
    /// Those that were asked for, and those that always are.
    pub fn asked(wanted: &Wanted) -> Result<Self, BadRequest> {
        let asked = wanted.record.iter().copied().chain([wanted.reload()]);
        let dispositions = asked.fold(SignalSet::EMPTY, |set, signal| set.union(signal.set()));
        if dispositions.union(TELLTALES).0.count_ones() > MAX_DISPOSITIONS {
            return Err(BadRequest::new(format_args!(
                "{} signals are too many to record: the limit is {MAX_RECORDED}, the reload \
                 signal included",
                dispositions.0.count_ones(),
            )));
        }
        let always = ALWAYS.into_iter().map(SignalSet::of);
        let sent = always.fold(dispositions, SignalSet::union);
        let mut recorded = Self {
            sent,
            dispositions,
            shown: dispositions,
            buffer: wanted.buffer,
            backend: wanted.backend,
        };
        recorded.add(OF_BACKGROUND);
        Ok(recorded)
    }

    /// Records the dispositions of one more signal, if there is room: whether there was.
    fn add(&mut self, signal: u32) -> bool {
        let more = self.dispositions.union(SignalSet::of(signal));
        let fits = more.union(TELLTALES).0.count_ones() <= MAX_DISPOSITIONS;
        if fits {
            self.dispositions = more;
        }
        fits
    }

    /// The same for units, which have reload signals of their own: `theirs` as far as they are
    /// known before, and those that are in use, are captured too, as far as there is room.
    pub fn of_units(
        wanted: &Wanted,
        theirs: impl IntoIterator<Item = Signal>,
    ) -> Result<Self, BadRequest> {
        let mut recorded = Self::asked(wanted)?;
        if wanted.signal.is_none() {
            recorded.dispositions = recorded.shown;
            for signal in theirs {
                if !recorded.add(signal.number()) {
                    log::warn!(
                        "no room for {signal}, by which a unit reloads: what its processes do on it \
                         is not recorded (--record fewer signals, or trace fewer units)"
                    );
                }
            }
            for signal in RELOADS.into_iter().chain([OF_BACKGROUND]).chain(ENDS) {
                recorded.add(signal);
            }
            recorded.sent = recorded.sent.union(recorded.dispositions);
        }
        Ok(recorded)
    }

    /// What the kernel side is asked for.
    #[must_use]
    pub fn request(&self, reach: Reach) -> Request {
        Request {
            signals: self.sent,
            dispositions: self.dispositions.union(TELLTALES),
            reach,
            buffer: self.buffer * 1024,
            backend: self.backend,
            places: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(signal: Option<u32>, record: &[u32]) -> Wanted {
        let signal_of = |number: u32| Signal::from_number(number).unwrap();
        Wanted {
            signal: signal.map(signal_of),
            record: record.iter().copied().map(signal_of).collect(),
            buffer: 4096,
            backend: backend::Wanted::Auto,
        }
    }

    #[test]
    fn units_may_reload_by_other_signals_unless_one_is_named() {
        for signal in [3, 10, 12, 15].map(SignalSet::of) {
            let units = Recorded::of_units(&wanted(None, &[]), []).unwrap();
            assert!(units.dispositions.intersects(signal) && !units.shown.intersects(signal));
            let named = Recorded::of_units(&wanted(Some(1), &[]), []).unwrap();
            assert!(!named.dispositions.intersects(signal));
        }
    }

    #[test]
    fn a_units_own_real_time_signal_is_recorded_before_those_that_any_may_have() {
        let real_time = Signal::from_number(36).unwrap();
        let recorded =
            |record: &[u32]| Recorded::of_units(&wanted(None, record), [real_time]).unwrap();
        let plain = recorded(&[]);
        assert!(plain.dispositions.intersects(real_time.set()));
        assert!(plain.sent.intersects(real_time.set()));
        let most: Vec<u32> = (40..38 + MAX_RECORDED).collect();
        let tight = recorded(&most);
        assert!(tight.dispositions.intersects(real_time.set()));
        assert!(!tight.dispositions.intersects(SignalSet::of(12)), "no room is left");
        let full: Vec<u32> = (40..39 + MAX_RECORDED).collect();
        assert!(!recorded(&full).dispositions.intersects(real_time.set()));
        let named = Recorded::of_units(&wanted(Some(1), &[]), [real_time]).unwrap();
        assert!(!named.dispositions.intersects(real_time.set()), "another was named");
    }

    #[test]
    fn one_signal_more_than_there_is_room_for_is_refused_and_the_limit_named() {
        let most: Vec<u32> = (34..33 + MAX_RECORDED).collect();
        Recorded::asked(&wanted(None, &most)).unwrap();
        let more: Vec<u32> = (34..34 + MAX_RECORDED).collect();
        let refused = Recorded::asked(&wanted(None, &more)).err().unwrap().to_string();
        assert!(refused.contains(&format!("the limit is {MAX_RECORDED}")), "{refused}");
    }
}
