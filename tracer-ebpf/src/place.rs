//! Placing a signal: `race` alone loads these programs.
//!
//! They follow the steps of the command and of what it starts, by themselves and not by what
//! is recorded. At the step that is wanted the process sends itself the signal
//! (`bpf_send_signal`): a program runs at the end of a system call, and the signal is taken
//! before the call returns. They are attached after the programs that record, so that the step
//! is recorded before the signal.

mod child_exit;
mod said;

use core::ptr;

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_send_signal},
    macros::map,
    maps::{Array, HashMap},
    programs::TracePointContext,
};
use bytemuck::cast;
use tracer_common::{
    event::DISPOSITION_HANDLER,
    place::{
        ANEW, BESIDE, CALL, COMMAND, Counted, FORKS_APART, FORKS_SHARING, Kind, Name, Order,
        Placed, STEPS, child_place, parent_of,
    },
    signal::SignalSet,
};

pub use self::child_exit::{enter_waitid, exit_wait4, exit_waitid};
use self::said::said;
use crate::{
    kernel::{Action, Address, Cgroup, Task, Typed, now, read_user, with_current},
    scope,
    syscall::{argument, returned},
};

/// A process of the command.
#[repr(C)]
#[derive(Clone, Copy)]
struct Process {
    /// Its place in the tree.
    place: u64,
    /// How many programs it has executed.
    execs: u32,
    /// How many children it has started.
    forks: u32,
    /// Steps of each kind since the last exec.
    counts: [u32; STEPS],
    /// How many threads it has started since the last exec.
    threads: u32,
    /// How many children it was told the end of since then, of the name in the order. There are no
    /// bytes that nothing is written to, which the verifier would refuse.
    exits: u32,
    /// Its parent.
    parent: u32,
    /// Zero.
    reserved: u32,
}

/// A thread whose system calls are counted.
#[repr(C)]
#[derive(Clone, Copy)]
struct Thread {
    /// How many its process had started before it since the last exec.
    number: u32,
    /// How many ends of system calls it came to since then.
    calls: u32,
    /// 1 while it is in a handler that is for one delivery, and has made no call there.
    reset: u32,
}

/// A call that a thread is in: which, and what it was given.
#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    kind: u64,
    words: [u64; 5],
}

const ACTION: u64 = 1;
const MASK: u64 = 2;
const SIGNALFD: u64 = 3;
const SEND: u64 = 4;
const SEND_MESSAGE: u64 = 5;
const SEND_PIECES: u64 = 6;
const PREPARED: u64 = 7;
const WAIT: u64 = 8;

/// The last thing that is prepared in the command before its exec (`prctl`).
const PR_SET_PDEATHSIG: u64 = 1;
/// `sa_flags`: the action is the default again once the handler has been called.
const SA_RESETHAND: u64 = 0x8000_0000;

/// What is to be placed.
#[map]
static PLACE_ORDER: Array<Order> = Array::with_max_entries(1, 0);

/// What was placed.
#[map]
static PLACE_PLACED: Array<Placed> = Array::with_max_entries(1, 0);

/// The command and what it started, by thread group. The loader gives it room for `race`.
#[map]
static PLACE_PROCESSES: HashMap<u32, Process> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// Calls that their threads are in. The loader gives it room for `race`.
#[map]
static PLACE_CALLS: HashMap<u64, Call> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// Threads whose system calls are counted, by thread id. The loader gives it room for a sweep.
#[map]
static PLACE_THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// The ends of system calls as they came, while no step is wanted. The loader gives it room for a
/// sweep.
#[map]
static PLACE_COUNTED: Array<Counted> = Array::with_max_entries(1, 0);

const BPF_F_NO_PREALLOC: u32 = 1;

#[inline(always)]
fn tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The order, if there is one.
#[inline(always)]
fn order() -> Option<&'static Order> {
    PLACE_ORDER.get(0).filter(|order| order.starter | order.manager != 0)
}

/// The process of the command that runs this program, if it is one.
#[inline(always)]
fn current() -> Option<&'static mut Process> {
    let process = PLACE_PROCESSES.get_ptr_mut(tgid())?;
    // SAFETY: the entry stays until the process ends. What its threads count at one time may be
    // off by one, which the reader of what was placed sees.
    Some(unsafe { &mut *process })
}

/// The process has made a step: where it is the one that is wanted, the signal is sent.
#[inline(always)]
fn reached(process: &mut Process, kind: Kind) {
    process.counts[kind as usize] += 1;
    let Some(order) = order() else { return };
    for from in &order.counted_from {
        if from.number == process.counts[kind as usize]
            && from.step == kind as u32
            && from.process == process.place
            && from.execs == process.execs
        {
            process.forks = ANEW;
            process.counts[Kind::Child as usize] = ANEW;
            process.counts[Kind::Block as usize] = ANEW;
            process.counts[Kind::Unblock as usize] = ANEW;
        }
    }
    if order.first_number != 0
        && order.first_number == process.counts[kind as usize]
        && order.first_step == kind as u32
        && order.process == process.place
        && order.first_execs == process.execs
    {
        // SAFETY: the helper takes any number, and refuses one that is no signal's.
        unsafe { bpf_send_signal(order.signal) };
    }
    if order.step != kind as u32
        || order.process != process.place
        || order.execs != process.execs
        || order.number != process.counts[kind as usize]
    {
        return;
    }
    place(order);
}

/// Sends what is ordered to the current process.
#[inline(always)]
fn place(order: &Order) {
    let Some(placed) = PLACE_PLACED.get_ptr_mut(0) else { return };
    // SAFETY: one thread alone comes here: each step is counted once.
    unsafe {
        (*placed).at_ns = now();
        (*placed).pid = tgid();
        (*placed).result = bpf_send_signal(order.sent);
    }
}

/// A task was forked.
#[inline(always)]
pub fn forked(parent: Task<Typed>, child: Task<Typed>) {
    let Some(order) = order() else { return };
    let Some(placed) = PLACE_PLACED.get_ptr_mut(0) else { return };
    let pid = child.tgid();
    if pid != child.tid() {
        return started(pid, child.tid());
    }
    if order.manager != 0 {
        // From systemd 255 on it is forked into the unit's cgroup.
        if parent.tgid() == order.manager && scope::lists_cgroup(child.cgroup().key()) {
            return joined(order, pid);
        }
    } else {
        // SAFETY: a word of a map; the starter alone writes it.
        let command = unsafe { &mut (*placed).command };
        if *command == 0 && parent.tid() == order.starter {
            *command = pid;
            return follow(pid, COMMAND, 0);
        }
    }
    let Some(process) = PLACE_PROCESSES.get_ptr_mut(parent.tgid()) else { return };
    // SAFETY: as for `current`.
    let process = unsafe { &mut *process };
    if process.place == BESIDE {
        return;
    }
    let other = if parent.shares_memory(child) { FORKS_APART } else { FORKS_SHARING };
    for from in &order.counted_from {
        if from.forks == other && from.process == process.place {
            return;
        }
    }
    process.forks += 1;
    if let Some(place) = child_place(process.place, process.forks) {
        follow(pid, place, parent.tgid());
    }
    // The parent runs this program, and the child does not run yet.
    reached(process, Kind::Child);
}

/// A task was moved into a cgroup: before 255 systemd moves what it has forked for a unit.
#[inline(always)]
pub fn attached(cgroup: Cgroup<Address>, task: Task<Typed>) {
    let Some(order) = order() else { return };
    let pid = task.tgid();
    if order.manager != 0
        && pid == task.tid()
        && task.parent().tgid() == order.manager
        && scope::lists_cgroup(cgroup.key())
    {
        joined(order, pid);
    }
}

/// A child of the unit's systemd has come into its cgroup. It may do so again: it is moved by
/// systemd and moves itself, and there may be several hierarchies.
#[inline(always)]
fn joined(order: &Order, pid: u32) {
    let Some(placed) = PLACE_PLACED.get_ptr_mut(0) else { return };
    if PLACE_PROCESSES.get_ptr_mut(pid).is_some() {
        return;
    }
    // SAFETY: words of a map. systemd forks one process at a time, and the kernel moves one at a
    // time.
    let (command, joined) = unsafe { (&mut (*placed).command, &mut (*placed).joined) };
    if *joined < order.before {
        *joined += 1;
        follow(pid, BESIDE, 0);
    } else if *command == 0 {
        *command = pid;
        follow(pid, COMMAND, 0);
    }
}

#[inline(always)]
fn follow(pid: u32, place: u64, parent: u32) {
    let process = Process {
        place,
        execs: 0,
        forks: 0,
        counts: [0; STEPS],
        threads: 0,
        exits: 0,
        parent,
        reserved: 0,
    };
    // Without room its steps are not reached, and that is told.
    let _ = PLACE_PROCESSES.insert(pid, process, 0);
    let _ = PLACE_THREADS.insert(pid, Thread { number: 0, calls: 0, reset: 0 }, 0);
}

/// A process started a thread.
#[inline(always)]
fn started(pid: u32, thread: u32) {
    let Some(process) = PLACE_PROCESSES.get_ptr_mut(pid) else { return };
    // SAFETY: as for `current`.
    let process = unsafe { &mut *process };
    process.threads += 1;
    let _ = PLACE_THREADS.insert(thread, Thread { number: process.threads, calls: 0, reset: 0 }, 0);
}

/// The current thread comes to the end of a system call.
#[inline(always)]
pub fn called() {
    let Some(process) = current() else { return };
    let Some(order) = order() else { return };
    // What is prepared in the command before its exec is the tracer's own doing.
    if process.place == COMMAND && process.execs == 0 {
        return;
    }
    let Some(thread) = PLACE_THREADS.get_ptr_mut(bpf_get_current_pid_tgid() as u32) else { return };
    // SAFETY: the thread's own entry, which stays until it ends.
    let thread = unsafe { &mut *thread };
    thread.calls += 1;
    if order.number == 0 {
        return count(process, thread);
    }
    if order.step == CALL
        && order.process == process.place
        && order.execs == process.execs
        && order.thread == thread.number
        && order.number == thread.calls
    {
        place(order);
    }
}

/// Tells of the end of a system call.
#[inline(always)]
fn count(process: &Process, thread: &Thread) {
    let Some(placed) = PLACE_PLACED.get_ptr_mut(0) else { return };
    // SAFETY: a word of a map. Of two threads that come here at one time, one may not be told of.
    let index = unsafe { ptr::read_volatile(&raw const (*placed).counted) };
    let Some(counted) = PLACE_COUNTED.get_ptr_mut(index) else { return };
    // SAFETY: as above; what is read of it is read once the run is over.
    unsafe {
        ptr::write_volatile(&raw mut (*placed).counted, index + 1);
        *counted = Counted {
            at_ns: now(),
            process: process.place,
            execs: process.execs,
            thread: thread.number,
            number: thread.calls,
            reserved: 0,
        };
    }
}

/// The current process executed a program.
#[inline(always)]
pub fn executed(task: Task<Typed>) {
    let Some(process) = current() else { return };
    if process.execs == 0
        && let Some(order) = order().filter(|order| order.leaves_out != 0)
        && order.child != cast::<_, Name>(task.comm())
    {
        leave_out(order, process);
    }
    process.execs += 1;
    process.counts = [0; STEPS];
    process.threads = 0;
    process.exits = 0;
    // The thread that executes it is the first one from now on, and no other is left.
    let _ = PLACE_THREADS.insert(tgid(), Thread { number: 0, calls: 0, reset: 0 }, 0);
    reached(process, Kind::Exec);
}

/// A child turns out to be a helper: those that come later have the number that they would have without
/// it.
#[inline(always)]
fn leave_out(order: &Order, process: &mut Process) {
    let number = process.place as u32 & (2 * ANEW - 1);
    if number <= ANEW || parent_of(process.place) != order.counted_from[0].process {
        return;
    }
    process.place = BESIDE;
    let Some(parent) = PLACE_PROCESSES.get_ptr_mut(process.parent) else { return };
    // SAFETY: as for `current`. What is counted here and by the parent at one time may be off by one,
    // which the reader of what was placed sees.
    let parent = unsafe { &mut *parent };
    parent.forks -= 1;
    parent.counts[Kind::Child as usize] -= 1;
}

/// A thread exits.
#[inline(always)]
pub fn exited(task: Task<Typed>) {
    let _ = PLACE_CALLS.remove(bpf_get_current_pid_tgid());
    let _ = PLACE_THREADS.remove(task.tid());
    if task.signal().live() == 0 {
        child_exit::ended(task);
        if let Some(process) = current().filter(|process| process.execs == 0)
            && let Some(order) = order().filter(|order| order.leaves_out != 0)
        {
            leave_out(order, process);
        }
        let _ = PLACE_PROCESSES.remove(task.tgid());
    }
}

/// The current thread is about to call a handler.
#[inline(always)]
pub fn delivered(signal: u32, action: Typed) {
    if current().is_none() {
        return;
    }
    let action = Action::at(action);
    if is_wanted(signal)
        && action.disposition() == DISPOSITION_HANDLER
        && action.flags & SA_RESETHAND != 0
        && let Some(thread) = PLACE_THREADS.get_ptr_mut(bpf_get_current_pid_tgid() as u32)
    {
        // SAFETY: the thread's own entry, which stays until it ends.
        unsafe { (*thread).reset = 1 };
    }
}

/// The current thread enters a system call: a unit's main process its first one, or the first one
/// in a handler that is for one delivery, which is where that step is. As the handler is called the
/// kernel has not blocked yet what it blocks meanwhile (`signal_setup_done`).
#[inline(always)]
pub fn entered() {
    let Some(process) = current() else { return };
    // It has begun when it is known, which may be after its fork.
    if process.place == COMMAND
        && process.execs == 0
        && process.counts[Kind::Begin as usize] == 0
        && order().is_some_and(|order| order.manager != 0)
    {
        reached(process, Kind::Begin);
    }
    let Some(thread) = PLACE_THREADS.get_ptr_mut(bpf_get_current_pid_tgid() as u32) else { return };
    // SAFETY: as above.
    let thread = unsafe { &mut *thread };
    if thread.reset != 0 {
        thread.reset = 0;
        reached(process, Kind::Reset);
    }
}

#[inline(always)]
fn is_wanted(signal: u32) -> bool {
    order().is_some_and(|order| order.signal == signal)
}

/// Whether the signal is in a set.
#[inline(always)]
fn has_wanted(set: SignalSet) -> bool {
    order().is_some_and(|order| set.contains(order.signal))
}

/// Remembers a call that the current thread enters.
#[inline(always)]
fn enter(kind: u64, words: [u64; 5]) {
    let _ = PLACE_CALLS.insert(bpf_get_current_pid_tgid(), Call { kind, words }, 0);
}

/// The call that it leaves, if that was remembered, and the process.
#[inline(always)]
fn leave(is_it: impl FnOnce(u64) -> bool) -> Option<(Call, &'static mut Process)> {
    let process = current()?;
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the thread's own entry, which is copied.
    let call = unsafe { PLACE_CALLS.get(thread) }.copied()?;
    let _ = PLACE_CALLS.remove(thread);
    is_it(call.kind).then_some((call, process))
}

/// `prctl(option, …)`
#[inline(always)]
pub fn enter_prctl(context: &TracePointContext) {
    if current().is_some_and(|process| process.place == COMMAND && process.execs == 0)
        && argument(context, 0) == PR_SET_PDEATHSIG
    {
        enter(PREPARED, [0; 5]);
    }
}

/// The same, leaving.
#[inline(always)]
pub fn exit_prctl() {
    if let Some((_, process)) = leave(|kind| kind == PREPARED) {
        reached(process, Kind::Begin);
    }
}

/// Leaving `clone`, `clone3`, `fork` or `vfork`: the child comes this way too.
#[inline(always)]
pub fn exit_fork(context: &TracePointContext) {
    let Some(process) = current() else { return };
    let begun = process.counts[Kind::Begin as usize];
    if returned(context) == 0 && process.place != COMMAND && process.execs == 0 && begun == 0 {
        reached(process, Kind::Begin);
    }
}

/// `rt_sigaction(signal, new, old, size)`
#[inline(always)]
pub fn enter_sigaction(context: &TracePointContext) {
    if current().is_some() && argument(context, 1) != 0 && is_wanted(argument(context, 0) as u32) {
        enter(ACTION, [0; 5]);
    }
}

/// The same, leaving.
#[inline(always)]
pub fn exit_sigaction(context: &TracePointContext) {
    if let Some((_, process)) = leave(|kind| kind == ACTION)
        && returned(context) == 0
    {
        reached(process, Kind::Action);
    }
}

/// `rt_sigprocmask(how, set, old, size)`
#[inline(always)]
pub fn enter_sigprocmask(context: &TracePointContext) {
    if current().is_some() && argument(context, 1) != 0 {
        enter(MASK, [with_current!(|task| task.mask()).0, 0, 0, 0, 0]);
    }
}

/// The same, leaving. What a runtime blocks around a fork is no step: how many there are depends on
/// how many helpers a start has.
#[inline(always)]
pub fn exit_sigprocmask() {
    let Some((call, process)) = leave(|kind| kind == MASK) else { return };
    let (before, after) = (SignalSet(call.words[0]), with_current!(|task| task.mask()));
    if before.is_of_a_runtime() || after.is_of_a_runtime() {
        return;
    }
    if has_wanted(SignalSet(!before.0 & after.0)) {
        reached(process, Kind::Block);
    } else if has_wanted(SignalSet(before.0 & !after.0)) {
        reached(process, Kind::Unblock);
    }
}

/// `signalfd4(fd, set, size, flags)` and `signalfd(fd, set, size)`
#[inline(always)]
pub fn enter_signalfd(context: &TracePointContext) {
    if current().is_some() {
        enter(SIGNALFD, [argument(context, 1), 0, 0, 0, 0]);
    }
}

/// The same, leaving.
#[inline(always)]
pub fn exit_signalfd(context: &TracePointContext) {
    if let Some((call, process)) = leave(|kind| kind == SIGNALFD)
        && returned(context) >= 0
        && read_user(call.words[0]).is_some_and(|set| has_wanted(SignalSet(set)))
    {
        reached(process, Kind::Signalfd);
    }
}

/// `rt_sigtimedwait(set, info, timeout, size)`: the signal is there as the wait begins.
#[inline(always)]
pub fn enter_sigtimedwait(context: &TracePointContext) {
    let Some(process) = current() else { return };
    if read_user(argument(context, 0)).is_some_and(|set| has_wanted(SignalSet(set))) {
        reached(process, Kind::Sigwait);
    }
}

/// `sendto(fd, buffer, length, flags, name, name_length)`
#[inline(always)]
pub fn enter_sendto(context: &TracePointContext) {
    if current().is_some() {
        let word = |index| argument(context, index);
        enter(SEND, [word(0), word(1), word(2), word(4), word(5)]);
    }
}

/// `write(fd, buffer, length)`
#[inline(always)]
pub fn enter_write(context: &TracePointContext) {
    if current().is_some() {
        enter(SEND, [argument(context, 0), argument(context, 1), argument(context, 2), 0, 0]);
    }
}

/// `writev(fd, pieces, count)`
#[inline(always)]
pub fn enter_writev(context: &TracePointContext) {
    if current().is_some() {
        enter(SEND_PIECES, [argument(context, 0), argument(context, 1), 0, 0, 0]);
    }
}

/// `sendmsg(fd, message, flags)` and `sendmmsg(fd, messages, count, flags)`, of which the first
/// message is looked at.
#[inline(always)]
pub fn enter_sendmsg(context: &TracePointContext) {
    if current().is_some() {
        enter(SEND_MESSAGE, [argument(context, 0), argument(context, 1), 0, 0, 0]);
    }
}

/// Leaving any of them.
#[inline(always)]
pub fn exit_send(context: &TracePointContext) {
    let is_send = |kind| matches!(kind, SEND | SEND_MESSAGE | SEND_PIECES);
    if let Some((call, process)) = leave(is_send)
        && returned(context) >= 0
        && let Some(kind) = said(&call)
    {
        reached(process, kind);
    }
}
