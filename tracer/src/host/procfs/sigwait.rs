//! What a process blocks of which a thread waits for signals in `sigtimedwait`
//! (`do_sigtimedwait` in kernel/signal.c). While it waits, the kernel takes what it waits for out of
//! its mask, so that `SigBlk` of that thread lacks what the program does block. For which signals it
//! waits is in the program's memory alone, which may be where no read comes back from.

use nix::libc;
use tracer_common::signal::SignalSet;

use super::{number, status::Status, threads};
use crate::host::read::of_process;

/// What the threads of a process block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Blocked {
    /// What all of them block, or may block.
    pub(super) by_all: SignalSet,
    /// Of that, what a thread may wait for, or not block: it can't be told which.
    pub(super) unknown: SignalSet,
}

/// What one thread blocks, and whether it waits for signals.
type Thread = (u64, bool);

/// Looks at the threads of a process. May wait for it (see [`super::snapshot`]).
pub(super) fn blocked(pid: u32, status: &Status) -> Blocked {
    let look = |thread: u32, status: &Status| {
        (status.mask(), status.state == b'S' && is_waiting(pid, thread))
    };
    let first = look(pid, status);
    if status.threads <= 1 {
        return of(&[first], status.ignored | status.caught);
    }
    // What the first thread neither blocks nor waits for, the process does not block.
    if first == (0, false) {
        return Blocked::default();
    }
    let of_thread = |thread| Some(look(thread, &Status::of_thread(pid, thread)?));
    let all: Vec<Thread> = threads(pid).into_iter().filter_map(of_thread).collect();
    of(&[&[first], all.as_slice()].concat(), status.ignored | status.caught)
}

/// Told of all threads, and of the signals that do something else than the default: nobody blocks
/// those to wait for them.
fn of(threads: &[Thread], set: u64) -> Blocked {
    let both = |masks: u64, mask: u64| masks & mask;
    let all = threads.iter().map(|(mask, _)| *mask).fold(u64::MAX, both);
    let others = threads.iter().filter(|(_, waits)| !waits).map(|(mask, _)| *mask);
    let may_be = others.reduce(both).unwrap_or(u64::MAX) & !set | all;
    Blocked { by_all: SignalSet(may_be), unknown: SignalSet(may_be & !all) }
}

/// Whether a thread is in that system call (`proc_pid_syscall` in fs/proc/base.c).
fn is_waiting(pid: u32, thread: u32) -> bool {
    let call = of_process(format!("/proc/{pid}/task/{thread}/syscall"));
    call.is_ok_and(|call| is_sigtimedwait(&call))
}

fn is_sigtimedwait(call: &[u8]) -> bool {
    let mut words = call.split(u8::is_ascii_whitespace);
    words.next().and_then(number::<i64>) == Some(libc::SYS_rt_sigtimedwait)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use nix::{
        sys::signal::{SigSet, Signal},
        unistd::gettid,
    };

    use super::*;

    const USR1: u64 = 1 << 9;
    const TERM: u64 = 1 << 14;

    fn told(by_all: u64, unknown: u64) -> Blocked {
        Blocked { by_all: SignalSet(by_all), unknown: SignalSet(unknown) }
    }

    #[test]
    fn what_all_others_block_one_that_waits_may_wait_for() {
        assert_eq!(of(&[(USR1 | TERM, false), (TERM, true)], 0), told(USR1 | TERM, USR1));
        assert_eq!(of(&[(USR1 | TERM, false), (TERM, false)], 0), told(TERM, 0), "it would kill");
        let free = [(USR1, false), (0, true), (0, false)];
        assert_eq!(of(&free, 0), told(0, 0), "one that does not block it takes it");
    }

    #[test]
    fn of_a_process_whose_only_thread_waits_nothing_is_known_of_what_has_its_default_action() {
        assert_eq!(of(&[(TERM, true)], USR1), told(!USR1, !(USR1 | TERM)));
        assert_eq!(of(&[(TERM, false)], USR1), told(TERM, 0));
    }

    #[test]
    fn a_thread_that_waits_for_signals_is_told_from_others() {
        let (own, (here, begun)) = (std::process::id(), mpsc::channel());
        // Nobody sends it: the thread ends with the tests.
        thread::spawn(move || {
            here.send(gettid().as_raw().cast_unsigned()).unwrap();
            SigSet::from_iter([Signal::SIGPWR]).wait()
        });
        let thread = begun.recv().unwrap();
        while !is_waiting(own, thread) {
            thread::yield_now();
        }
        assert!(!is_waiting(own, gettid().as_raw().cast_unsigned()), "it looks");
        assert!(!is_sigtimedwait(b"running\n") && !is_sigtimedwait(b""));
    }
}
