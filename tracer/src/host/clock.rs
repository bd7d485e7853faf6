//! The clocks: events carry `CLOCK_BOOTTIME`, people read wall-clock time.
//!
//! In a time namespace both boot-relative clocks, and the start times in /proc, are set off
//! (time_namespaces(7)). The kernel side's are not, so what is read here is the host's.

use std::sync::OnceLock;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

use super::read::of_process;
use crate::observation::Anchor;

/// How far a time namespace sets the clocks off, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offsets {
    monotonic: i64,
    boot: i64,
}

impl Offsets {
    /// Those of this process.
    fn own() -> Self {
        static OWN: OnceLock<Offsets> = OnceLock::new();
        *OWN.get_or_init(|| {
            // Kernels without time namespaces don't have the file.
            let text = of_process("/proc/self/timens_offsets").unwrap_or_default();
            Self::parse(&String::from_utf8_lossy(&text))
        })
    }

    /// Lines of a clock's name, seconds and nanoseconds.
    fn parse(text: &str) -> Self {
        let mut offsets = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [clock, seconds, nanoseconds] = words[..] else { continue };
            let (Ok(seconds), Ok(nanoseconds)) = (seconds.parse::<i64>(), nanoseconds.parse())
            else {
                continue;
            };
            let offset = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
            match clock {
                "monotonic" => offsets.monotonic = offset,
                "boottime" => offsets.boot = offset,
                _ => {}
            }
        }
        offsets
    }
}

/// How much later `CLOCK_BOOTTIME`, and the start times in /proc, are here than the host's, ns.
#[must_use]
pub fn boot_offset_ns() -> i64 {
    Offsets::own().boot
}

fn now(clock: ClockId, offset: i64) -> u64 {
    let now = clock_gettime(clock).expect("Linux has this clock since 2.6.39");
    (now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64).saturating_add_signed(-offset)
}

/// Nanoseconds of the host's `CLOCK_BOOTTIME` now.
///
/// # Panics
///
/// On a kernel older than 2.6.39, which has no such clock.
#[must_use]
pub fn boot_ns() -> u64 {
    now(ClockId::CLOCK_BOOTTIME, Offsets::own().boot)
}

/// Nanoseconds of the host's `CLOCK_MONOTONIC` now: systemd's clock, which stops in suspend.
///
/// # Panics
///
/// Never on Linux.
#[must_use]
pub fn monotonic_ns() -> u64 {
    now(ClockId::CLOCK_MONOTONIC, Offsets::own().monotonic)
}

/// The same instant on both clocks, to within the time two readings take.
#[must_use]
pub fn anchor() -> Anchor {
    Anchor { boot_ns: boot_ns(), wall: Timestamp::now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_the_kernel_writes_them() {
        let text = "monotonic         500         7\nboottime          -2 999999999\n";
        let expected = Offsets { monotonic: 500_000_000_007, boot: -1_000_000_001 };
        assert_eq!(Offsets::parse(text), expected);
        assert_eq!(Offsets::parse("realtime 1 2\nboottime x 1\nboottime 1\n"), Offsets::default());
    }
}
