//! The clocks: events carry `CLOCK_BOOTTIME`, people read wall-clock time.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::observation::Anchor;

/// Nanoseconds of `CLOCK_BOOTTIME` now.
///
/// # Panics
///
/// On a kernel older than 2.6.39, which has no such clock.
#[must_use]
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// Nanoseconds of `CLOCK_MONOTONIC` now: systemd's clock, which stops in suspend.
///
/// # Panics
///
/// Never on Linux.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// The same instant on both clocks, to within the time two readings take.
#[must_use]
pub fn anchor() -> Anchor {
    Anchor { boot_ns: boot_ns(), wall: Timestamp::now() }
}
