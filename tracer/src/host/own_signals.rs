//! This process's own signals, by the kernel's system calls: a C library keeps some for itself (32
//! to 34 in musl, 32 and 33 in glibc) and has no way to them. Each is a system call alone, as may
//! be made between fork and exec.

use std::{io, ptr};

use nix::libc;
use tracer_common::signal::SignalSet;

/// The size of the kernel's signal sets, bytes.
const SET_SIZE: usize = size_of::<u64>();

/// The kernel's `struct sigaction`: the handler, flags, what returns from it, and a mask.
type Action = [u64; 4];

/// Has a signal do what it does by default. KILL and STOP always do.
pub fn set_default(signal: u32) {
    // All zero is the default action (`SIG_DFL`).
    let default = Action::default();
    // SAFETY: the kernel reads a struct of that size, and sets no handler.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            default.as_ptr(),
            ptr::null::<Action>(),
            SET_SIZE,
        );
    }
}

/// The handler of a signal, or `SIG_DFL` or `SIG_IGN`; `None` if there is no such signal.
#[must_use]
pub fn handler(signal: u32) -> Option<libc::sighandler_t> {
    let mut action = Action::default();
    // SAFETY: the kernel writes a struct of that size, and changes nothing.
    let read = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            ptr::null::<Action>(),
            action.as_mut_ptr(),
            SET_SIZE,
        )
    };
    (read == 0).then(|| usize::try_from(action[0]).ok()).flatten()
}

/// Blocks signals in this thread, and in those that it starts from now on.
///
/// # Errors
///
/// The kernel refuses.
pub fn block(set: SignalSet) -> io::Result<()> {
    change_mask(libc::SIG_BLOCK, set)
}

/// Lets signals through in this thread.
///
/// # Errors
///
/// The kernel refuses.
pub fn unblock(set: SignalSet) -> io::Result<()> {
    change_mask(libc::SIG_UNBLOCK, set)
}

fn change_mask(how: i32, set: SignalSet) -> io::Result<()> {
    // SAFETY: the kernel reads a set of that size.
    let changed = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const set,
            ptr::null::<SignalSet>(),
            SET_SIZE,
        )
    };
    if changed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits for one of a set of blocked signals, and gives its number; `None` if something else came
/// in between.
#[must_use]
pub fn wait(set: SignalSet) -> Option<u32> {
    // SAFETY: the kernel reads a set of that size, and writes nothing.
    let came = unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const set,
            ptr::null::<libc::siginfo_t>(),
            ptr::null::<libc::timespec>(),
            SET_SIZE,
        )
    };
    u32::try_from(came).ok().filter(|came| *came > 0)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn signals_that_the_c_library_keeps_are_blocked_and_waited_for() {
        // A thread of its own, whose mask ends with it.
        let waiter = thread::spawn(|| {
            let set = SignalSet::of(34).union(SignalSet::of(64));
            block(set).unwrap();
            for signal in [34, 64] {
                // SAFETY: a system call on plain numbers; this thread is there.
                let result = unsafe {
                    let (process, thread) = (libc::getpid(), libc::gettid());
                    libc::syscall(libc::SYS_tgkill, process, thread, signal)
                };
                assert_eq!(result, 0);
                assert_eq!(wait(set), Some(signal));
            }
            unblock(set).unwrap();
        });
        waiter.join().unwrap();
    }

    #[test]
    fn what_is_done_on_each_signal_is_known() {
        assert_eq!(handler(64), Some(libc::SIG_DFL));
        assert_eq!(handler(34), Some(libc::SIG_DFL));
        // Rust's own library ignores it.
        assert_eq!(handler(libc::SIGPIPE.unsigned_abs()), Some(libc::SIG_IGN));
        assert_eq!(handler(65), None);
    }
}
