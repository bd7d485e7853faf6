//! `/proc/PID/status` (proc_pid_status(5)).

use std::str;

use super::number;
use crate::{host::read::of_process, model::raw_name};

/// `/proc/PID/status`, as far as it is of use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Of this thread.
    pub(super) state: u8,
    pub(super) comm: String,
    pub(super) tgid: u32,
    pub(super) parent: u32,
    pub(super) uid: u32,
    pub(super) ns_pid: u32,
    pub(super) threads: u32,
    pub(super) pending: u64,
    pub(super) shared_pending: u64,
    pub(super) blocked: u64,
    pub(super) ignored: u64,
    pub(super) caught: u64,
}

impl Status {
    pub(super) fn of(pid: u32) -> Option<Self> {
        Some(Self::parse(&of_process(format!("/proc/{pid}/status")).ok()?))
    }

    pub(super) fn of_thread(pid: u32, thread: u32) -> Option<Self> {
        let path = format!("/proc/{pid}/task/{thread}/status");
        Some(Self::parse(&of_process(path).ok()?))
    }

    /// The kernel writes line ends in names as `\n`, so that each line is a field.
    fn parse(bytes: &[u8]) -> Self {
        let mut status = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (key, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let mut words = value.split(u8::is_ascii_whitespace);
            let mask = || {
                let digits = str::from_utf8(value).ok();
                digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
            };
            match key {
                b"State" => status.state = value.first().copied().unwrap_or(0),
                // The kernel writes line ends and backslashes in it as `\\n` and `\\\\`
                // (`proc_task_name`).
                b"Name" => status.comm = raw_name::text(value).into_owned(),
                b"PPid" => status.parent = number(value).unwrap_or(0),
                b"Tgid" => status.tgid = number(value).unwrap_or(0),
                b"Uid" => status.uid = words.next().and_then(number).unwrap_or(u32::MAX),
                b"NSpid" => status.ns_pid = words.next_back().and_then(number).unwrap_or(0),
                b"Threads" => status.threads = number(value).unwrap_or(0),
                b"SigPnd" => status.pending = mask(),
                b"ShdPnd" => status.shared_pending = mask(),
                b"SigBlk" => status.blocked = mask(),
                b"SigIgn" => status.ignored = mask(),
                b"SigCgt" => status.caught = mask(),
                _ => {}
            }
        }
        status
    }

    /// Whether the process has ended (see [`Stat::is_zombie`]).
    pub(super) fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }

    /// What the thread blocks: everything, once it has ended.
    pub(super) fn mask(&self) -> u64 {
        if matches!(self.state, b'Z' | b'X') { u64::MAX } else { self.blocked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_status_are_told_from_a_name_that_looks_like_one() {
        let text = b"Name:\tUid:\\nSigBlk:\t1\xff\nState:\tR (running)\nTgid:\t4\nPPid:\t3\n\
            Uid:\t33\t0\t0\t0\nNSpid:\t812\t5\nThreads:\t2\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000000002\n\
            SigBlk:\t8000000000000004\nSigIgn:\t0000000000000008\nSigCgt:\t0000000000000010\n";
        let expected = Status {
            state: b'R',
            comm: "Uid:\\nSigBlk:\t1\u{10feff}".to_owned(),
            tgid: 4,
            parent: 3,
            uid: 33,
            ns_pid: 5,
            threads: 2,
            pending: 1,
            shared_pending: 2,
            blocked: 0x8000_0000_0000_0004,
            ignored: 8,
            caught: 16,
        };
        assert_eq!(Status::parse(text), expected);
    }
}
