//! The `tracepoint` backend's way in: what a syscall was given is remembered at its
//! entry, and handed to the handler of its concern at its exit.
//!
//! User memory is read at the exit: what the kernel copied from is resident then,
//! while at the entry it may not have been touched yet.

use aya_ebpf::{macros::map, maps::ProgramArray, programs::TracePointContext};
use tracer_common::{config::Call, event::Kind, signal::SignalSet};

use crate::{
    disposition::{self, changed},
    emit::{self, Maker},
    entered::{self, Entered, forget, recall, remember},
    kernel::{config, read_user, syscalls, with_current},
    notify::{self, LENGTH_MASK, Message, Payload, Room, Space},
    pairs::Program,
    scope,
};

/// Messages of one `sendmmsg` that are reported. A program may be followed by some more than these
/// (`MAX_TAIL_CALL_CNT`, 32 at the least).
const MAX_MESSAGES: u64 = 32;

/// The programs at the end of a send, by [`Program`]: each calls itself. The loader puts them there.
#[map]
static EXIT_SEND: ProgramArray = ProgramArray::with_max_entries(2, 0);

/// `sizeof(struct mmsghdr)`
const MMSGHDR_LEN: u64 = 64;

/// Argument `n` of the syscall being entered (format of `sys_enter_*`: 8 bytes of
/// common fields, the number, then a word for each argument).
#[inline(always)]
pub fn argument(context: &TracePointContext, n: usize) -> u64 {
    // SAFETY: the helper checks the address; every hooked syscall has the argument.
    unsafe { context.read_at::<u64>(16 + 8 * n) }.unwrap_or(0)
}

/// The number of the syscall (a word of its own, of which older kernels use all).
#[inline(always)]
fn number(context: &TracePointContext) -> u32 {
    // SAFETY: as for `argument`.
    unsafe { context.read_at::<u32>(8) }.unwrap_or(u32::MAX)
}

/// What the syscall being left returns.
#[inline(always)]
pub fn returned(context: &TracePointContext) -> i64 {
    // SAFETY: as for `argument`.
    unsafe { context.read_at::<i64>(16) }.unwrap_or(-1)
}

/// `rt_sigaction(signal, new, old, size)`
#[inline(always)]
pub fn enter_sigaction(context: &TracePointContext, program: Program) {
    let (signal, new) = (argument(context, 0), argument(context, 1));
    if new != 0 && config().dispositions.contains(signal as u32) {
        remember(Call::Sigaction, program, [signal, 0, 0, 0, 0]);
    }
}

/// `rt_sigprocmask(how, new, old, size)`
#[inline(always)]
pub fn enter_sigprocmask(context: &TracePointContext, program: Program) {
    if argument(context, 1) != 0 {
        remember(Call::Sigprocmask, program, [with_current!(|task| task.mask()).0, 0, 0, 0, 0]);
    }
}

/// `signalfd4(fd, set, size, flags)` and `signalfd(fd, set, size)`
#[inline(always)]
pub fn enter_signalfd(context: &TracePointContext) {
    remember(Call::Signalfd, Program::First, [argument(context, 1), 0, 0, 0, 0]);
}

/// Leaving any of these. One program for all: the verifier would follow the list of threads in each.
#[inline(always)]
pub fn exit_change(context: &TracePointContext, program: Program) {
    if let Some(entered) = entered::recall_change() {
        if returned(context) >= 0 {
            if entered.call_and_word()[0] == Call::Signalfd as u64 {
                let set = entered.arguments[0];
                entered.arguments[0] = read_user(set).unwrap_or(0);
            }
            let entered = &*entered;
            let change = || entered.call_and_word();
            with_current!(|task| changed(task, Maker::Change(program), program, change));
        }
        forget();
    }
}

/// `rt_sigtimedwait(set, info, timeout, size)`
#[inline(always)]
pub fn enter_sigtimedwait(context: &TracePointContext) {
    if let Some(set) = read_user(argument(context, 0)) {
        disposition::waiting(SignalSet(set));
    }
}

/// The same, leaving.
#[inline(always)]
pub fn exit_sigtimedwait(context: &TracePointContext) {
    let result = returned(context);
    if result > 0 {
        disposition::taken(result as u32);
    }
}

/// By what call a message is sent.
#[derive(Clone, Copy)]
enum Way {
    /// `write`
    Write,
    /// `writev`
    Writev,
    /// `sendto`
    Sendto,
    /// `sendmsg`
    Sendmsg,
    /// `sendmmsg`
    Sendmmsg,
    /// `sendto` to an AF_UNIX address through what is no socket for it: it will fail.
    SendtoElsewhere,
    /// The same by `sendmsg`.
    SendmsgElsewhere,
}

/// `write(fd, buffer, length)`, `writev(fd, pieces, count)`, `sendmsg(fd, message, flags)`,
/// `sendmmsg(fd, messages, count, flags)` and `sendto(fd, buffer, length, flags, name, name_length)`:
/// one program for all, as each would cost the start of a trace as much. Goes on only for AF_UNIX
/// datagram sockets of processes in scope, and where a message to such a one is about to fail, as
/// what it is to go through is another socket, or none. Most threads that come here are out of
/// scope, so nothing is read before.
#[inline(always)]
pub fn enter_send(context: &TracePointContext, program: Program) {
    if !scope::covers_current() {
        return;
    }
    let Some(send) = entered::new_send(program) else {
        return;
    };
    let peer = notify::socket_of(argument(context, 0))
        .and_then(|socket| notify::peer_of(socket, &mut send.destination));
    let (number, numbers, first) = (number(context), syscalls(), argument(context, 1));
    let mut name = [0; 2];
    let way = if number == numbers.sendto {
        name = [argument(context, 4), argument(context, 5)];
        match peer {
            Some(()) => Way::Sendto,
            None if notify::is_unix(name[0]) => Way::SendtoElsewhere,
            None => return,
        }
    } else if number == numbers.sendmsg {
        match peer {
            Some(()) => Way::Sendmsg,
            None if notify::is_unix(read_user(first).unwrap_or(0)) => Way::SendmsgElsewhere,
            None => return,
        }
    } else if peer.is_none() {
        return;
    } else if number == numbers.sendmmsg {
        Way::Sendmmsg
    } else if number == numbers.writev {
        Way::Writev
    } else {
        Way::Write
    };
    send.arguments = [first, argument(context, 2), name[0], name[1], way as u64];
    entered::remember_send(program, send);
}

/// `connect(fd, name, name_length)`
#[inline(always)]
pub fn enter_connect(context: &TracePointContext) {
    let arguments = [argument(context, 1), argument(context, 2), 0, 0, 0];
    remember(Call::Connect, Program::First, arguments);
}

/// The same, leaving.
#[inline(always)]
pub fn exit_connect(context: &TracePointContext) {
    if let Some(entered) = recall(Call::Connect) {
        let [name, length, ..] = entered.arguments;
        if returned(context) < 0 {
            notify::not_connected(entered.at_ns, returned(context), [name, length]);
        }
        forget();
    }
}

/// Leaving any of them. Of the messages of a `sendmmsg` the program tells one, and calls itself for
/// the next: the verifier would follow all ways through each of them.
#[inline(always)]
pub fn exit_send(context: &TracePointContext, program: Program) {
    let Some(send) = entered::recall_send() else {
        return;
    };
    let result = returned(context);
    let elsewhere = [Way::SendtoElsewhere as u64, Way::SendmsgElsewhere as u64];
    if result >= 0 && elsewhere.contains(&send.arguments[4]) {
        return forget();
    }
    // `sendmmsg` returns how many were sent (none, where it was given none), or the error of the
    // first.
    let (count, result) = if send.arguments[4] == Way::Sendmmsg as u64 && result >= 0 {
        (result as u64, 0)
    } else {
        (1, result)
    };
    let index = send.told;
    if index < count {
        send.told += 1;
        let room = program.into();
        notify::begin(send.at_ns, room);
        sent(send, index, result, room);
    }
    let left = count.saturating_sub(send.told);
    if left > 0 {
        if send.told < MAX_MESSAGES {
            // SAFETY: nothing is left to be done here that the next one does not do.
            unsafe { EXIT_SEND.tail_call(context, program as u32) };
        }
        emit::lost_many(Kind::Notify, left);
    }
    forget();
}

/// One of the messages was sent to the address given with it, else to the connected peer.
#[inline(always)]
fn sent(send: &Entered, index: u64, result: i64, room: Room) {
    let [first, second, third, fourth, entry] = send.arguments;
    let has_msghdr =
        [Way::Sendmsg as u64, Way::Sendmmsg as u64, Way::SendmsgElsewhere as u64].contains(&entry);
    // In the order of `struct msghdr`: msg_name, msg_namelen, msg_iov, msg_iovlen,
    // msg_control, msg_controllen.
    let words = if has_msghdr {
        read_user(first + index * MMSGHDR_LEN)
    } else {
        Some([third, fourth, first, second, 0, 0])
    };
    let Some([name, name_length, base, count, control, control_length]) = words else {
        return;
    };
    let Some(address) = entered::destination(send, room) else {
        return;
    };
    let name_length = name_length & LENGTH_MASK;
    if name != 0 && notify::given_address(Space::User, name, name_length, address).is_none() {
        return;
    }
    let payload = if has_msghdr || entry == Way::Writev as u64 {
        Payload::Pieces(base, count)
    } else {
        Payload::Flat(base, count)
    };
    let message = Message { result, payload, space: Space::User, control, control_length };
    notify::sent(&message, address, room);
}
