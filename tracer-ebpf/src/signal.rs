//! Signals: generated and delivered.

use core::ptr;

use bytemuck::Zeroable;
use tracer_common::{
    event::{
        BLOCKED_UNKNOWN, DISPOSITION_DEFAULT, DISPOSITION_HANDLER, Deliver, Generate, Kind, Origin,
        TARGET_BLOCKED, TARGET_DYING, TARGET_STOPPED, TARGET_TRACED, TARGET_UNKILLABLE,
        TARGET_WAITING, TO_THREAD,
    },
    signal::SignalSet,
};

use crate::{
    emit::{self, Maker},
    kernel::{
        Action, Address, Pointer, SIGNAL_GROUP_EXIT, SIGNAL_STOP_STOPPED, SIGNAL_UNKILLABLE,
        Signals, Task, Typed, config, disposition_of, offset, with_current,
    },
    scope, sender, served,
};

/// `SEND_SIG_NOINFO`: a sentinel in place of a siginfo, for a signal from user space.
const SEND_SIG_NOINFO: u64 = 0;
/// `SEND_SIG_PRIV`: the same for one from the kernel.
const SEND_SIG_PRIV: u64 = 1;
/// `si_code` of a signal from the kernel.
const SI_KERNEL: i32 = 0x80;
/// The codes below 1 that are no process's word (include/uapi/asm-generic/siginfo.h): a timer
/// ran out, a message or input came, the C library's own work is done. Who runs then has
/// nothing to do with it. A process that gives such a code to `rt_sigqueueinfo` is not told
/// from the kernel.
const SI_TIMER: i32 = -2;
const SI_MESGQ: i32 = -3;
const SI_ASYNCIO: i32 = -4;
const SI_SIGIO: i32 = -5;
const SI_DETHREAD: i32 = -7;
const SI_ASYNCNL: i32 = -60;
/// What every thread of a dying group is sent; it tells nothing that the cause didn't.
const SIGKILL: u32 = 9;

/// A siginfo from its code on, as user space has it on 64 bits, and the kernel: pid and uid are those
/// of a sender (include/uapi/asm-generic/siginfo.h). Read at one go, as each call of the helper takes
/// as long as all of that.
#[repr(C)]
#[derive(Clone, Copy, Zeroable)]
struct Siginfo {
    code: i32,
    padding: u32,
    pid: u32,
    uid: u32,
}

/// What a siginfo, or the sentinel in its place, says of the sender.
#[inline(always)]
fn cause(info: Address, record: &mut Generate) {
    let (origin, code) = match info.get() {
        SEND_SIG_NOINFO => (Origin::User, 0),
        SEND_SIG_PRIV => (Origin::Kernel, SI_KERNEL),
        _ => {
            let Siginfo { code, pid, uid, .. } = (info + offset!(siginfo_code)).read_all();
            match code {
                1.. | SI_TIMER | SI_MESGQ | SI_ASYNCIO | SI_SIGIO | SI_DETHREAD | SI_ASYNCNL => {
                    (Origin::Kernel, code)
                }
                // `kill`, `tgkill`, `sigqueue` and what no kernel gives: the current task did it.
                _ => {
                    (record.si_pid, record.si_uid) = (pid, uid);
                    (Origin::User, code)
                }
            }
        }
    };
    record.origin = origin as u32;
    record.si_code = code;
}

/// A signal was generated for `target`, and the kernel has decided what to do with it:
/// `complete_signal` has run, so a fatal one has marked the thread group already.
#[inline(always)]
pub fn generated(signal: u32, info: Address, target: Task<Typed>, to_process: bool, result: u32) {
    if !config().signals.contains(signal) || !scope::covers(target) {
        return;
    }
    let signals = target.signal();
    emit::record::<Generate>(Kind::Generate, Maker::Generate, |record| {
        record.si_uid = u32::MAX;
        cause(info, record);
        // SAFETY: a reference is valid to read. Volatile, so that whatever the cause is the
        // verifier finds one state here.
        let origin = unsafe { ptr::read_volatile(&raw const record.origin) };
        if origin == Origin::User as u32 {
            record.sender_at = sender::report(target);
        }
        if to_process {
            masks_of_process(record, signal, target, signals);
        } else {
            record.flags = TO_THREAD | masks_of_thread(signal, target);
        }
        record.header = emit::header_of_current(Kind::Generate);
        record.target = target.describe_given(record.header.task);
        record.signal = signal;
        record.result = result;
        if let Some(actions) = target.actions()
            && let Some(handler) = actions.handler_of(signal)
        {
            record.disposition = disposition_of(handler);
            if record.disposition == DISPOSITION_HANDLER {
                let at_ns = record.header.at_ns;
                record.handler = served::by(target, signal, actions, handler, at_ns);
            }
        }
        group(record, signals);
        if target.is_traced() {
            record.flags |= TARGET_TRACED;
        }
    });
}

/// What has been decided for the target's whole thread group.
#[inline(always)]
fn group(record: &mut Generate, signals: Signals<Typed>) {
    let group = signals.flags();
    if group & SIGNAL_GROUP_EXIT != 0 {
        record.flags |= TARGET_DYING;
        record.group_exit_code = signals.group_exit_code();
    }
    if group & SIGNAL_STOP_STOPPED != 0 {
        record.flags |= TARGET_STOPPED;
    }
    if group & SIGNAL_UNKILLABLE != 0 && record.disposition == DISPOSITION_DEFAULT {
        record.flags |= TARGET_UNKILLABLE;
    }
}

/// Who of the target's threads could take a signal that was sent to the process: any.
#[inline(always)]
fn masks_of_process(
    record: &mut Generate,
    signal: u32,
    target: Task<Typed>,
    signals: Signals<Typed>,
) {
    let bit = SignalSet::of(signal);
    let masks = target.group_masks(signals, bit);
    if masks.blocked.intersects(bit) {
        record.flags |= if masks.unknown { BLOCKED_UNKNOWN } else { TARGET_BLOCKED };
    } else if masks.last.get() != 0 && target.blocks(bit) {
        let thread = Task(masks.last);
        record.unblocked_tid = thread.tid();
        record.unblocked_comm = thread.comm();
    }
    if masks.awaited.intersects(bit) {
        record.flags |= TARGET_WAITING;
    }
}

/// Whether a thread that a signal was sent to could take it.
#[inline(always)]
fn masks_of_thread(signal: u32, target: Task<Typed>) -> u32 {
    let bit = SignalSet::of(signal);
    let mut flags = 0;
    let (own, real) = (target.mask(), target.real_mask());
    if own.union(real).intersects(bit) {
        flags |= TARGET_BLOCKED;
    }
    if real.intersects(bit) && !own.intersects(bit) {
        flags |= TARGET_WAITING;
    }
    flags
}

/// The current thread took a signal out of its queue, and will now do what `action`
/// (a `struct k_sigaction`) says.
#[inline(always)]
pub fn delivered(signal: u32, info: Address, action: Typed) {
    if signal == SIGKILL || !config().signals.contains(signal) || !scope::covers_current() {
        return;
    }
    let action = Action::at(action);
    // As small as it is, it is made on the stack.
    let record = Deliver {
        header: emit::header_of_current(Kind::Deliver),
        signal,
        si_code: info.read(offset!(siginfo_code)),
        disposition: action.disposition(),
        flags: with_current!(|task| unkillable(task)),
        sa_flags: action.flags,
    };
    emit::send(Kind::Deliver, &record);
}

/// `TARGET_UNKILLABLE` if no default action ends the process that `task` belongs to.
#[inline(always)]
fn unkillable(task: Task<impl Pointer>) -> u32 {
    if task.signal().flags() & SIGNAL_UNKILLABLE == 0 { 0 } else { TARGET_UNKILLABLE }
}
