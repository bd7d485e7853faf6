//! What a shell does to this process as its job: it stops it, and has it go on.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    libc,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction},
};

/// It is to stop.
static STOPS: AtomicBool = AtomicBool::new(false);
/// It has been stopped, and goes on.
static GOES_ON: AtomicBool = AtomicBool::new(false);

/// Only remembers. Async-signal-safe.
extern "C" fn note(signal: libc::c_int) {
    let what = if signal == libc::SIGTSTP { &STOPS } else { &GOES_ON };
    what.store(true, Ordering::Release);
}

/// Takes note of both from now on. Who started this with TSTP ignored wants it so.
///
/// # Errors
///
/// The kernel does not take a handler.
pub(super) fn heed() -> io::Result<()> {
    set(Signal::SIGCONT, SigHandler::Handler(note))?;
    let before = set(Signal::SIGTSTP, SigHandler::Handler(note))?;
    if is_ignored(&before) {
        set(Signal::SIGTSTP, SigHandler::SigIgn)?;
    }
    Ok(())
}

/// Both do again what they do by default, unless they are ignored.
pub(super) fn heed_no_more() {
    for signal in [Signal::SIGCONT, Signal::SIGTSTP] {
        if set(signal, SigHandler::SigDfl).is_ok_and(|before| is_ignored(&before)) {
            let _ = set(signal, SigHandler::SigIgn);
        }
    }
}

/// Whether it is to stop; told once.
pub(super) fn is_to_stop() -> bool {
    STOPS.swap(false, Ordering::AcqRel)
}

/// Whether it has gone on since; told once.
pub(super) fn has_gone_on() -> bool {
    GOES_ON.swap(false, Ordering::AcqRel)
}

/// Stops the process as TSTP does by default, until it is to go on. Where nobody could have it go
/// on, as no shell looks after it, the kernel does not stop it (`is_current_pgrp_orphaned()`).
pub(super) fn stop() {
    if set(Signal::SIGTSTP, SigHandler::SigDfl).is_err() {
        return;
    }
    let only = SigSet::from(Signal::SIGTSTP);
    let _ = only.thread_unblock();
    // To this thread, which so has it before it goes on.
    let _ = raise(Signal::SIGTSTP);
    let _ = only.thread_block();
    let _ = set(Signal::SIGTSTP, SigHandler::Handler(note));
}

fn is_ignored(action: &SigAction) -> bool {
    matches!(action.handler(), SigHandler::SigIgn)
}

fn set(signal: Signal, handler: SigHandler) -> nix::Result<SigAction> {
    // Nothing that waits is to be disturbed.
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler stores a flag, which is async-signal-safe.
    unsafe { sigaction(signal, &action) }
}
