//! Signal numbers and sets, in the kernel's own representation.

use bytemuck::{Pod, Zeroable};

/// The highest signal number (`_NSIG`, the same on every architecture this runs on).
pub const MAX_SIGNAL: u32 = 64;

/// A set of signals: bit `n - 1` stands for signal `n`, as in `sigset_t`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    /// The set of one signal; empty when `signal` is not in `1..=64`.
    #[must_use]
    pub const fn of(signal: u32) -> Self {
        if signal == 0 || signal > MAX_SIGNAL {
            return Self::EMPTY;
        }
        Self(1 << (signal - 1))
    }

    /// This set and `other` together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `signal` is a member.
    #[must_use]
    pub const fn contains(self, signal: u32) -> bool {
        self.0 & Self::of(signal).0 != 0
    }

    /// Whether it has every signal that can be blocked, those that the C library keeps to itself (32
    /// and 33) too. `sigprocmask` of a C library never blocks these: what does is the library around
    /// a fork or the start of a thread, or the runtime of Go.
    #[must_use]
    pub const fn is_of_a_runtime(self) -> bool {
        const KILL_AND_STOP: u64 = SignalSet::of(9).0 | SignalSet::of(19).0;
        self.0 | KILL_AND_STOP == u64::MAX
    }

    /// Whether the two sets have a member in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
