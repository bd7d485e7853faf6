//! `/proc/PID/stat` (proc_pid_stat(5)).

use super::number;
use crate::{
    host::{clock, read::of_process},
    model::raw_name,
    observation::TICK_NS,
};

/// `/proc/PID/stat`, as far as it is of use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) comm: String,
    pub(super) state: u8,
    pub(super) parent: u32,
    pub(super) threads: u32,
    pub(super) start_ticks: u64,
}

impl Stat {
    pub(super) fn of(pid: u32) -> Option<Self> {
        let mut stat = Self::parse(&of_process(format!("/proc/{pid}/stat")).ok()?)?;
        // In a time namespace it is set off before it is counted in ticks (`do_task_stat`), so
        // the host's can be told to the tick where the offset is in whole ticks.
        let ticks = clock::boot_offset_ns() / TICK_NS.cast_signed();
        stat.start_ticks = stat.start_ticks.saturating_add_signed(-ticks);
        Some(stat)
    }

    /// The name stands in parentheses and may have some itself, and spaces and line ends.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let open = bytes.iter().position(|byte| *byte == b'(')?;
        let close = bytes.iter().rposition(|byte| *byte == b')')?;
        let comm = raw_name::text(bytes.get(open + 1..close)?).into_owned();
        let rest: Vec<&[u8]> = bytes[close + 1..].trim_ascii().split(|it| *it == b' ').collect();
        // Fields 3, 4, 20 and 22 of proc_pid_stat(5).
        let field = |number: usize| rest.get(number - 3).copied();
        Some(Self {
            comm,
            state: *field(3)?.first()?,
            parent: number(field(4)?)?,
            threads: number(field(20)?)?,
            start_ticks: number(field(22)?)?,
        })
    }

    /// Whether the process has ended. (A first thread that has, while others go on, is shown
    /// as a zombie as well.)
    pub(super) fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_spaces_line_ends_and_half_a_letter() {
        let rest = b" S 17 1 1 0 -1 4194304 9 0 0 0 1 2 0 0 20 0 3 0 98765 1 2\n";
        for name in [&b"cat"[..], b"a) R 1 (b", b") S 2", b"x\ny", b"", b"xxxxxxxxxxxxxx\xc3"] {
            let line = [b"4711 (", name, b")", rest].concat();
            let stat = Stat::parse(&line).unwrap();
            assert_eq!(stat.comm, raw_name::text(name));
            assert_eq!((stat.state, stat.parent), (b'S', 17));
            assert_eq!((stat.threads, stat.start_ticks), (3, 98765));
        }
        for cut in [&b""[..], b"1", b"1 (cat", b"1 (cat)", b"1 (cat) S 17 1 1", b"1 )cat( S"] {
            assert_eq!(Stat::parse(cut), None);
        }
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_is_there() {
        let ended =
            Stat { comm: String::new(), state: b'Z', parent: 1, threads: 1, start_ticks: 1 };
        assert!(ended.is_zombie());
        assert!(!Stat { threads: 2, ..ended }.is_zombie());
    }
}
