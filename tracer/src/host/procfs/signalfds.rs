//! The signals that a process reads from signalfds (`signalfd_show_fdinfo` in fs/signalfd.c).

use tracer_common::signal::SignalSet;

use super::numbers_in;
use crate::host::read::of_process;

/// Descriptors of a process that are looked at: programs make their signalfds early.
const MAX_DESCRIPTORS: usize = 256;

/// All that its signalfds are for, among its first descriptors; none if it can't be looked at.
pub(super) fn of(pid: u32) -> SignalSet {
    let descriptors = first(numbers_in(format!("/proc/{pid}/fdinfo")));
    let masks = descriptors.into_iter().filter_map(|descriptor| {
        mask(&of_process(format!("/proc/{pid}/fdinfo/{descriptor}")).ok()?)
    });
    masks.fold(SignalSet::EMPTY, SignalSet::union)
}

fn first(mut descriptors: Vec<u32>) -> Vec<u32> {
    descriptors.sort_unstable();
    descriptors.truncate(MAX_DESCRIPTORS);
    descriptors
}

fn mask(fdinfo: &[u8]) -> Option<SignalSet> {
    let line = fdinfo.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"sigmask:"));
    let digits = std::str::from_utf8(line?).ok()?.trim();
    u64::from_str_radix(digits, 16).ok().map(SignalSet)
}

#[cfg(test)]
mod tests {
    use nix::sys::{
        signal::{SigSet, Signal},
        signalfd::SignalFd,
    };

    use super::*;

    fn set(signal: Signal) -> SigSet {
        let mut set = SigSet::empty();
        set.add(signal);
        set
    }

    #[test]
    fn what_a_signalfd_of_a_process_reads_is_found() {
        let own = std::process::id();
        let (lost, power) = (Signal::SIGIO as u32, Signal::SIGPWR as u32);
        assert!(!of(own).contains(power));
        let kept = [set(Signal::SIGPWR), set(Signal::SIGIO)].map(|set| SignalFd::new(&set));
        let read = of(own);
        assert!(read.contains(power) && read.contains(lost), "{read:?}");
        drop(kept);
        assert!(!of(own).contains(power));
        assert_eq!(of(u32::MAX), SignalSet::EMPTY, "nobody's");
    }

    #[test]
    fn of_very_many_descriptors_the_first_are_looked_at() {
        let all: Vec<u32> = (0..1_000).rev().collect();
        assert_eq!(first(all), (0..MAX_DESCRIPTORS as u32).collect::<Vec<_>>());
    }

    #[test]
    fn other_descriptors_say_nothing_of_signals() {
        assert_eq!(
            mask(b"pos:\t0\nflags:\t02\nsigmask:\t0000000000004203\n"),
            Some(SignalSet(0x4203))
        );
        for other in [&b"pos:\t0\nflags:\t02\n"[..], b"sigmask:\tx\n", b"x sigmask:\t1\n", b""] {
            assert_eq!(mask(other), None);
        }
    }
}
