//! The ends of children, as the processes of the command are told of them.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid, macros::map, maps::HashMap, programs::TracePointContext,
};
use bytemuck::cast;
use tracer_common::place::{BESIDE, CHILD_EXIT, Child, ChildExit, Name, ToldOfExit};

use super::{
    BPF_F_NO_PREALLOC, PLACE_PROCESSES, Process, WAIT, current, enter, leave, order, place, tgid,
};
use crate::{
    kernel::{Task, Typed, now, read_user},
    syscall::{argument, returned},
};

/// Where `siginfo_t` has `si_pid` of a child (include/uapi/asm-generic/siginfo.h, 64 bits).
const SI_PID: u64 = 16;

/// The names of children that have ended, as they ended, until their parents are told of it. The
/// loader gives it room for `race`.
#[map]
static PLACE_ENDED: HashMap<Child, Name> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// What processes were told. The loader gives it room for `race`.
#[map]
static PLACE_CHILD_EXITS: HashMap<ToldOfExit, ChildExit> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// The last thread of a process ends: it is the one that runs this program.
#[inline(always)]
pub fn ended(task: Task<Typed>) {
    let task = task.by_helper();
    let parent = task.parent().tgid();
    if PLACE_PROCESSES.get_ptr_mut(parent).is_some() {
        let child = Child { parent, pid: task.pid_for_parent() };
        // Without room its end is no step.
        let _ = PLACE_ENDED.insert(child, cast::<_, Name>(task.leader().comm()), 0);
    }
}

/// Leaving `wait4(pid, status, options, usage)`: it gives the child that it is about.
#[inline(always)]
pub fn exit_wait4(context: &TracePointContext) {
    if let Some(process) = current()
        && returned(context) > 0
    {
        told_of(process, returned(context) as u32);
    }
}

/// `waitid(which, id, info, options, usage)`
#[inline(always)]
pub fn enter_waitid(context: &TracePointContext) {
    if current().is_some() {
        enter(WAIT, [argument(context, 2), 0, 0, 0, 0]);
    }
}

/// The same, leaving: which child it is about is in what it has filled.
#[inline(always)]
pub fn exit_waitid(context: &TracePointContext) {
    if let Some((call, process)) = leave(|kind| kind == WAIT)
        && returned(context) == 0
        && let Some(pid) = read_user(call.words[0] + SI_PID)
    {
        told_of(process, pid);
    }
}

/// The current process was told of a child, which has ended or else was stopped.
#[inline(always)]
fn told_of(process: &mut Process, pid: u32) {
    let ended = Child { parent: tgid(), pid };
    // SAFETY: the name is copied; who is told first removes it.
    let Some(child) = (unsafe { PLACE_ENDED.get(ended) }).copied() else { return };
    if PLACE_ENDED.remove(ended).is_err() || process.place == BESIDE {
        return;
    }
    let told = ToldOfExit { at_ns: now(), thread: bpf_get_current_pid_tgid() };
    // Without room it is no step.
    let exit = ChildExit { process: process.place, execs: process.execs.into(), child };
    let _ = PLACE_CHILD_EXITS.insert(told, exit, 0);
    let Some(order) = order().filter(|order| order.child == child) else { return };
    process.exits += 1;
    if order.step == CHILD_EXIT
        && order.process == process.place
        && order.execs == process.execs
        && order.number == process.exits
    {
        place(order);
    }
}
