//! What a signal does to a program that has no handler for it yet.

use crate::model::signal::{DefaultAction, Signal};

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// It dies.
    Dies,
    /// Nothing: the signal is lost.
    Lost,
    /// It stops until it is sent CONT.
    Stops,
}

/// The default action of a signal (signal(7)) in the main process of a service. TSTP, TTIN
/// and TTOU stop no process whose group has no parent in its session, and systemd's services
/// lead a session of their own (`get_signal` in the kernel's kernel/signal.c,
/// `is_current_pgrp_orphaned`).
pub(super) fn of(signal: Signal) -> Early {
    match signal.default_action() {
        DefaultAction::Terminate | DefaultAction::Dump => Early::Dies,
        DefaultAction::Stop if signal == Signal::STOP => Early::Stops,
        DefaultAction::Stop | DefaultAction::Ignore | DefaultAction::Continue => Early::Lost,
    }
}
