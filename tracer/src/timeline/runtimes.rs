//! What tells the handlers of language runtimes from those of programs, which the kernel
//! doesn't know. The executable says which runtime there is, and the table in
//! [`crate::model::runtime`] what that does. Only where the executable could not be read do the
//! handlers themselves have to tell: weak evidence.

use tracer_common::signal::{MAX_SIGNAL, SignalSet};

use crate::{
    model::{
        runtime::{Criterion, Runtime},
        signal::Signal,
    },
    observation::{Generate, Handler, Program},
};

/// From how many signals on a handler they share is a runtime's catch-all, if the faults are
/// among them. Go's runtime has 60; bash has 17 for a trap on EXIT, in this order: HUP INT
/// ILL TRAP ABRT FPE BUS SEGV SYS PIPE ALRM TERM XCPU XFSZ VTALRM USR1 USR2, without those
/// that are ignored, as PIPE is under systemd (`initialize_terminating_signals` in its sig.c).
const CATCH_ALL: u32 = 12;

/// The faults: ILL BUS FPE SEGV.
const FAULTS: SignalSet = set(&[4, 7, 8, 11]);

/// How many signals the thread blocks that Go's runtime sets aside when the program asks
/// for signals (`ensureSigM` in signal_unix.go): all that it may.
const SET_ASIDE: u32 = 30;

/// The signals that have one handler in a Java virtual machine: ILL BUS FPE SEGV PIPE XFSZ
/// (`PosixSignals::install_signal_handlers` in OpenJDK's signals_posix.cpp).
const JVM_FAULTS: SignalSet = set(&[4, 7, 8, 11, 13, 25]);

/// The signals that a Java virtual machine takes to shut down: HUP INT TERM
/// (`java.lang.Terminator.setup`).
const JVM_SHUTDOWN: SignalSet = set(&[1, 2, 15]);

/// The signal on which it prints its threads, QUIT. It has the same handler for those that
/// shut it down and for what programs ask for (`os::user_handler`), set before or after them.
const JVM_BREAK: SignalSet = set(&[3]);

const fn set(signals: &[u32]) -> SignalSet {
    let mut set = SignalSet::EMPTY;
    let mut index = 0;
    while index < signals.len() {
        set = set.union(SignalSet::of(signals[index]));
        index += 1;
    }
    set
}

/// Whether a handler is a runtime's for nearly all signals.
#[must_use]
pub fn is_catch_all(handler: Handler) -> bool {
    catches_all(handler.serves)
}

/// Whether these signals are so many, and among them those that no program has one handler
/// for together with its reload signal.
fn catches_all(signals: SignalSet) -> bool {
    signals.0 & FAULTS.0 == FAULTS.0 && signals.0.count_ones() >= CATCH_ALL
}

/// Whether a handler of `signal` is that of a Java virtual machine, which shuts down on it
/// unless the program has asked for it.
#[must_use]
pub fn is_jvms(handler: Handler, signal: Signal) -> bool {
    let has_faults = handler.faults.0 & JVM_FAULTS.0 == JVM_FAULTS.0;
    has_faults
        && !catches_all(handler.faults)
        && !handler.faults.intersects(handler.serves)
        && signal.set().intersects(JVM_SHUTDOWN)
}

/// Whether it is as the virtual machine sets it first, before it serves anything that the
/// program asks for.
#[must_use]
pub fn is_jvms_first(handler: Handler, signal: Signal) -> bool {
    let own = JVM_SHUTDOWN.union(JVM_BREAK);
    is_jvms(handler, signal) && handler.serves.0 & !own.0 == 0
}

/// Whether a process that catches these signals runs a language runtime.
#[must_use]
pub fn is_runtimes(caught: SignalSet) -> bool {
    let of_jvm = JVM_FAULTS.union(JVM_SHUTDOWN).union(JVM_BREAK);
    // Where INT was ignored, as in a shell's background, it stays so.
    let of_jvm = of_jvm.0 & !Signal::INT.set().0;
    catches_all(caught) || caught.0 & of_jvm == of_jvm
}

/// Whether a thread has just become the one that takes signals for the program: it
/// blocks the ordinary ones, but not those that a runtime must never miss.
#[must_use]
pub fn is_forwarder(before: SignalSet, after: SignalSet) -> bool {
    let last = SignalSet::of(MAX_SIGNAL);
    after.intersects(last)
        && !before.intersects(last)
        && !after.intersects(Signal::HUP.set())
        && after.0.count_ones() >= SET_ASIDE
}

/// The runtime that a process has, if it is known.
#[must_use]
pub fn known(program: Program) -> Option<Runtime> {
    match program {
        Program::Of(runtime) => Some(runtime),
        Program::Unread | Program::Plain => None,
    }
}

/// Whether handlers of this program may be a catch-all: its runtime has one, or it is not known
/// what runs.
#[must_use]
pub fn may_catch_all(program: Program) -> bool {
    match program {
        Program::Unread => true,
        Program::Plain => false,
        Program::Of(runtime) => {
            let told = runtime.row().map(|row| row.criterion);
            matches!(told, Some(Criterion::ByForwarder | Criterion::ByShared))
        }
    }
}

/// Whether a thread of this program may be one that passes signals on ([`is_forwarder`]).
#[must_use]
pub fn may_forward(program: Program) -> bool {
    matches!(program, Program::Unread | Program::Of(Runtime::Go))
}

/// Whose the first handler is that a program with this runtime has for a signal since its exec;
/// `None` if it is the program's wish. `was_ignored` says that the signal was ignored then.
#[must_use]
pub fn first(runtime: Runtime, signal: Signal, was_ignored: bool) -> Option<Runtime> {
    runtime.effect(signal)?;
    match runtime.row().map(|row| row.criterion) {
        Some(Criterion::BySecond { even_ignored }) => {
            (!was_ignored || even_ignored).then_some(runtime)
        }
        // It is not in the table, or no handler tells.
        Some(Criterion::ByNothing) | None => Some(Runtime::Forwarding),
        // By what the handlers share.
        Some(Criterion::ByShared | Criterion::ByForwarder) => None,
    }
}

/// The same for one that is set again.
#[must_use]
pub fn again(runtime: Runtime, signal: Signal) -> Option<Runtime> {
    runtime.effect(signal)?;
    match runtime.row().map(|row| row.criterion) {
        Some(Criterion::ByNothing) | None => Some(Runtime::Forwarding),
        Some(_) => None,
    }
}

/// The code that a process exits with where a signal kills it by its runtime's own handler.
/// `whose` is the runtime that the signal met. One that is told to end, and does so with code 0,
/// has done as it was told: Erlang's and SBCL's stop the program in order.
#[must_use]
pub fn exit_code(program: Program, whose: Option<Runtime>, sent: &Generate) -> Option<u8> {
    let is_order = matches!(sent.signal, Signal::INT | Signal::QUIT | Signal::TERM);
    let code = match (program, whose) {
        (Program::Of(runtime), Some(_)) => runtime.exit_code(sent.signal),
        (Program::Unread, _) if is_jvms(sent.handler, sent.signal) => {
            Runtime::Jvm.exit_code(sent.signal)
        }
        _ => None,
    };
    code.filter(|code| *code != 0 || !is_order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_set_aside_that_blocks_the_ordinary_signals_and_not_hup() {
        let (none, all) = (SignalSet::EMPTY, SignalSet(!Signal::HUP.set().0));
        assert!(is_forwarder(none, all));
        assert!(!is_forwarder(all, all), "it is already");
        assert!(!is_forwarder(none, SignalSet(u64::MAX)), "as for a fork");
        assert!(!is_forwarder(none, SignalSet(all.0 >> 1)), "without the last");
        let of = |count: u32| SignalSet(u64::MAX << (64 - count));
        assert!(is_forwarder(none, of(SET_ASIDE)));
        assert!(!is_forwarder(none, of(SET_ASIDE - 1)), "too few");
    }

    #[test]
    fn a_virtual_machines_faults_are_few() {
        let handler = |faults| Handler { serves: Signal::HUP.set(), faults };
        assert!(is_jvms(handler(JVM_FAULTS), Signal::HUP));
        let most = SignalSet(!Signal::HUP.set().0);
        assert!(!is_jvms(handler(most), Signal::HUP), "a catch-all has them");
    }

    #[test]
    fn go_and_what_is_not_known_may_have_a_thread_that_passes_signals_on() {
        assert!(may_forward(Program::Unread) && may_forward(Program::Of(Runtime::Go)));
        assert!(!may_forward(Program::Plain) && !may_forward(Program::Of(Runtime::Node)));
    }

    #[test]
    fn a_handler_that_is_set_again_is_the_programs_wish_unless_no_handler_tells_whose_it_is() {
        assert_eq!(again(Runtime::Unlisted, Signal::HUP), Some(Runtime::Forwarding));
        assert_eq!(again(Runtime::Ruby, Signal::HUP), None);
    }
}
