//! The `fentry` backend's way in: the kernel functions that every caller of a concern
//! comes through, 32-bit programs and io_uring among them.
//!
//! Each hook but the rare ones has two programs (see `pairs`): both entries remember the
//! same, and what the first exit recalls is gone when the second one comes.
//!
//! What a function is given lies in kernel memory. User memory is read at the exit, as
//! in `syscall`.

use aya_ebpf::{
    EbpfContext,
    programs::{FEntryContext, FExitContext},
};
use tracer_common::{
    config::{ABSENT, Call},
    signal::SignalSet,
};

use crate::{
    disposition::{self, changed},
    emit::Maker,
    entered::{self, forget, recall, remember},
    kernel::{Address, Pointer, Task, Typed, config, now, offset, read_user, with_current},
    notify::{self, LENGTH_MASK, Message, Payload, Room, Space},
    pairs::Program,
    scope,
};

/// `how` of `sigprocmask`.
const SIG_BLOCK: u64 = 0;
const SIG_UNBLOCK: u64 = 1;
/// Bit of `iov_iter.type` (up to 5.13) that tells the direction, not the kind.
const DIRECTION: u8 = 1;

/// The pointer that is argument `n`: to a set of signals.
#[inline(always)]
fn address(context: &FEntryContext, n: usize) -> Address {
    Address::new(context.arg::<u64>(n))
}

/// What the function being left returns: an `int`, in a word whose upper half is undefined.
#[inline(always)]
fn returned(context: &FExitContext, arguments: usize) -> i32 {
    // `bpf_get_func_ret` came with 5.17; the trampoline has always put the value here.
    context.arg::<u64>(arguments) as i32
}

/// `do_sigaction`, entering.
#[inline(always)]
pub fn enter_sigaction(context: &FEntryContext, program: Program) {
    let signal = context.arg::<u64>(0) & 0xffff_ffff;
    if context.arg::<u64>(1) != 0 && config().dispositions.contains(signal as u32) {
        remember(Call::Sigaction, program, [signal, 0, 0, 0, 0]);
    }
}

/// The same, leaving.
#[inline(always)]
pub fn exit_sigaction(context: &FExitContext, program: Program) {
    entered::count(Call::Sigaction);
    if let Some(entered) = recall(Call::Sigaction) {
        if returned(context, 3) == 0 {
            let change = || [Call::Sigaction as u64, entered.arguments[0]];
            with_current!(|task| changed(task, Maker::Disposition(program), program, change));
        }
        forget();
    }
}

/// `rt_sigprocmask`, entering. What it does is told from the mask before and after.
#[inline(always)]
pub fn enter_rt_sigprocmask(program: Program) {
    remember(Call::Sigprocmask, program, [with_current!(|task| task.mask()).0, 0, 0, 0, 0]);
}

/// The same, leaving.
#[inline(always)]
pub fn exit_rt_sigprocmask(context: &FExitContext, program: Program) {
    masked(returned(context, 1), program);
}

/// `sigprocmask`, entering: goes on only if the mask of a recorded signal changes.
#[inline(always)]
pub fn enter_sigprocmask(context: &FEntryContext, program: Program) {
    let set: u64 = address(context, 1).read(0);
    let before = with_current!(|task| task.mask());
    let changed = match context.arg::<u64>(0) & 0xffff_ffff {
        SIG_BLOCK => set & !before.0,
        SIG_UNBLOCK => set & before.0,
        _ => set ^ before.0,
    };
    if SignalSet(changed).intersects(config().dispositions) {
        remember(Call::Sigprocmask, program, [before.0, 0, 0, 0, 0]);
    }
}

/// The same, leaving.
#[inline(always)]
pub fn exit_sigprocmask(context: &FExitContext, program: Program) {
    masked(returned(context, 3), program);
}

/// The mask was set, or the call failed.
#[inline(always)]
fn masked(result: i32, program: Program) {
    entered::count(Call::Sigprocmask);
    if let Some(entered) = recall(Call::Sigprocmask) {
        if result == 0 {
            let change = || [Call::Sigprocmask as u64, entered.arguments[0]];
            with_current!(|task| changed(task, Maker::Mask(program), program, change));
        }
        forget();
    }
}

/// `do_signalfd4`, entering. It changes the set it is given.
#[inline(always)]
pub fn enter_signalfd(context: &FEntryContext) {
    remember(Call::Signalfd, Program::First, [address(context, 1).read(0), 0, 0, 0, 0]);
}

/// The same, leaving.
#[inline(always)]
pub fn exit_signalfd(context: &FExitContext) {
    entered::count(Call::Signalfd);
    if let Some(entered) = recall(Call::Signalfd) {
        if returned(context, 3) >= 0 {
            let change = || [Call::Signalfd as u64, entered.arguments[0]];
            // They are rare: see `Task::by_helper`.
            changed(Task::current_address(), Maker::Signalfd, Program::First, change);
        }
        forget();
    }
}

/// `do_sigtimedwait`, entering.
#[inline(always)]
pub fn enter_sigtimedwait(context: &FEntryContext) {
    disposition::waiting(SignalSet(address(context, 0).read(0)));
}

/// The same, leaving.
#[inline(always)]
pub fn exit_sigtimedwait(context: &FExitContext) {
    waited(returned(context, 3));
}

/// `rt_sigtimedwait`, entering: its first argument is where the set is.
#[inline(always)]
pub fn enter_rt_sigtimedwait(context: &FEntryContext) {
    let set: u64 = registers(context).read(offset!(pt_regs_first));
    if let Some(set) = read_user(set) {
        disposition::waiting(SignalSet(set));
    }
}

/// The same, leaving.
#[inline(always)]
pub fn exit_rt_sigtimedwait(context: &FExitContext) {
    waited(returned(context, 1));
}

/// The wait gave a signal, or failed.
#[inline(always)]
fn waited(result: i32) {
    entered::count(Call::Sigtimedwait);
    if result > 0 {
        disposition::taken(result as u32);
    }
}

/// `unix_dgram_sendmsg`, entering: goes on for messages of processes in scope to sockets
/// that may be a notify socket.
#[inline(always)]
pub fn enter_sendmsg(context: &FEntryContext, program: Program) {
    if !scope::covers_current() {
        return;
    }
    let Some(send) = entered::new_send(program) else {
        return;
    };
    let address = &mut send.destination;
    let msg = Typed::new(context.arg::<u64>(1));
    let name_length: u32 = msg.read(offset!(msghdr_namelen));
    // SOCK_SEQPACKET sockets send through the same function.
    if notify::peer_of(Typed::new(context.arg::<u64>(0)), address).is_none() {
        return;
    }
    if name_length != 0 {
        let Some(name) = msg.follow_address(offset!(msghdr_name)) else {
            return;
        };
        if notify::given_address(Space::Kernel, name.get(), u64::from(name_length), address)
            .is_none()
        {
            return;
        }
    }
    if !notify::may_be_notify_socket(address) {
        return;
    }
    let [way, base, length] = payload(msg.member(offset!(msghdr_iter)), context.arg::<u64>(2));
    send.arguments = [way, base, length, 0, 0];
    entered::remember_send(program, send);
}

/// Ways a payload lies in memory.
const FLAT: u64 = 0;
const PIECES: u64 = 1;
const UNREADABLE: u64 = 2;

/// Where the bytes lie that a `struct iov_iter` is to deliver, before any are taken.
#[inline(always)]
fn payload(iter: Address, length: u64) -> [u64; 3] {
    let mut kind: u8 = (iter + offset!(iter_type)).read_all();
    if offset!(iter_pure_type) == ABSENT {
        kind &= !DIRECTION;
    }
    let start: u64 = iter.read(offset!(iter_offset));
    let kind = u64::from(kind);
    if offset!(iter_is_ubuf) != ABSENT && kind == offset!(iter_is_ubuf) {
        return [FLAT, iter.read::<u64>(offset!(iter_ubuf)) + start, length];
    }
    if kind != offset!(iter_is_iovec) || start != 0 {
        return [UNREADABLE, 0, length];
    }
    [PIECES, iter.read(offset!(iter_iov)), iter.read(offset!(iter_nr_segs))]
}

/// The same, leaving.
#[inline(always)]
pub fn exit_sendmsg(context: &FExitContext, program: Program) {
    entered::count(Call::Send);
    let Some(entered) = recall(Call::Send) else {
        return;
    };
    let Some(address) = entered::destination(entered, program.into()) else {
        return;
    };
    let msg = Typed::new(context.arg::<u64>(1));
    let [way, base, length, ..] = entered.arguments;
    let message = Message {
        result: i64::from(returned(context, 3)),
        payload: match way {
            FLAT => Payload::Flat(base, length),
            PIECES => Payload::Pieces(base, length),
            _ => Payload::Unreadable(length),
        },
        space: Space::Kernel,
        control: msg.read(offset!(msghdr_control)),
        control_length: msg.read(offset!(msghdr_controllen)),
    };
    let room = program.into();
    notify::begin(entered.at_ns, room);
    notify::sent(&message, address, room);
    forget();
}

/// The registers that a process entered a syscall with, in a program at the syscall's function.
/// They are its first argument. It is read by the helper, as verifiers refuse to load an argument
/// of which the kernel's types have a declaration alone (Debian's 5.10: "arg0 type FWD is not a
/// struct").
#[inline(always)]
fn registers(context: &impl EbpfContext) -> Address {
    Address::new(Address::new(context.as_ptr() as u64).read(0))
}

/// `connect`, leaving.
#[inline(always)]
pub fn exit_connect(context: &FExitContext) {
    let result = returned(context, 1);
    if result >= 0 {
        return;
    }
    entered::count(Call::Connect);
    if scope::covers_current() {
        let registers = registers(context);
        let name = registers.read(offset!(pt_regs_second));
        let length = registers.read(offset!(pt_regs_third));
        notify::not_connected(now(), i64::from(result), [name, length]);
    }
}

/// `sendto`, leaving.
#[inline(always)]
pub fn exit_sendto(context: &FExitContext) {
    let result = returned(context, 1);
    if result >= 0 {
        return;
    }
    entered::count(Call::Sendto);
    failed(context, result, Room::Sendto, |registers| {
        let name: u64 = registers.read(offset!(pt_regs_fifth));
        let length: u64 = registers.read(offset!(pt_regs_sixth));
        let base: u64 = registers.read(offset!(pt_regs_second));
        let count: u64 = registers.read(offset!(pt_regs_third));
        Some(Failed { name: [name, length], payload: Payload::Flat(base, count), control: [0; 2] })
    });
}

/// `sendmsg`, leaving.
#[inline(always)]
pub fn exit_sys_sendmsg(context: &FExitContext) {
    let result = returned(context, 1);
    if result >= 0 {
        return;
    }
    entered::count(Call::Sendmsg);
    failed(context, result, Room::Sendmsg, |registers| {
        // As in `struct msghdr`.
        let message: u64 = registers.read(offset!(pt_regs_second));
        let [name, length, base, count, control, control_length] = read_user(message)?;
        Some(Failed {
            name: [name, length],
            payload: Payload::Pieces(base, count),
            control: [control, control_length],
        })
    });
}

/// What was to be sent, in user memory: addresses and lengths.
struct Failed {
    name: [u64; 2],
    payload: Payload,
    control: [u64; 2],
}

/// A send failed. If it was one to an AF_UNIX address through what is no socket for it, it never
/// came to the function that tells of others.
#[inline(always)]
fn failed(
    context: &FExitContext,
    result: i32,
    room: Room,
    given: impl FnOnce(Address) -> Option<Failed>,
) {
    // Where the tracepoints at these syscalls are in use, they tell of it.
    if !scope::covers_current() || recall(Call::Send).is_some() {
        return;
    }
    let registers = registers(context);
    let Some(Failed { name: [name, length], payload, control: [control, control_length] }) =
        given(registers)
    else {
        return;
    };
    if !notify::is_unix(name) {
        return;
    }
    let socket = notify::socket_of(registers.read(offset!(pt_regs_first)));
    if socket.and_then(notify::datagrams).is_some() {
        return;
    }
    let Some(address) = entered::new_address(room) else {
        return;
    };
    if notify::given_address(Space::User, name, length & LENGTH_MASK, address).is_none() {
        return;
    }
    let result = i64::from(result);
    let message = Message { result, payload, space: Space::User, control, control_length };
    notify::begin(now(), room);
    notify::sent(&message, address, room);
}
