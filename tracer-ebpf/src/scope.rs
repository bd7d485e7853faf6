//! Which processes are reported.
//!
//! A process is in scope when its thread group is listed, or its cgroup in the
//! unified hierarchy is. Children inherit the first; cgroups made below a listed
//! one, or with a listed name, become listed as they are made, and are no longer as
//! they are removed. Processes in listed cgroups are kept in the map of processes, too:
//! as one is moved, it is in its new cgroup already.

use aya_ebpf::{
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid},
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use tracer_common::{
    config::{CgroupKey, FNV_OFFSET, LISTED, SCOPE_ALL, in_hierarchy, name_hash_step},
    event::Kind,
};

use crate::{
    emit,
    kernel::{Address, Cgroup, Pointer, Task, Typed, config, read_string},
};

/// Thread groups in scope, and why: [`LISTED`] and the bits of hierarchies.
#[map]
static SCOPE_PROCESSES: HashMap<u32, u64> = HashMap::with_max_entries(32768, BPF_F_NO_PREALLOC);

/// Cgroups in scope.
#[map]
static SCOPE_CGROUPS: HashMap<CgroupKey, u8> = HashMap::with_max_entries(16384, BPF_F_NO_PREALLOC);

/// Hashes of the names whose cgroups are in scope.
#[map]
static SCOPE_NAMES: HashMap<u64, u8> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// Entries are allocated as they come: few captures need more than a handful.
const BPF_F_NO_PREALLOC: u32 = 1;

/// The longest name a cgroup can have (`NAME_MAX`).
const NAME_LEN: usize = 255;

/// That of the cgroup that is being made, and the zero at its end.
#[map]
static NAME: PerCpuArray<[u8; NAME_LEN + 1]> = PerCpuArray::with_max_entries(1, 0);

/// Whether the whole host is reported.
#[inline(always)]
pub fn everything() -> bool {
    config().scope == SCOPE_ALL
}

#[inline(always)]
fn lists_process(tgid: u32) -> bool {
    reasons(tgid) != 0
}

/// Why a process is in scope, as the map has it: 0 for a process that isn't in it.
#[inline(always)]
fn reasons(tgid: u32) -> u64 {
    // SAFETY: the value is copied.
    unsafe { SCOPE_PROCESSES.get(tgid) }.copied().unwrap_or(0)
}

/// Whether a cgroup is listed.
#[inline(always)]
pub fn lists_cgroup(key: CgroupKey) -> bool {
    // SAFETY: the value is not kept.
    unsafe { SCOPE_CGROUPS.get(key) }.is_some()
}

/// Whether what happens to `task` is reported.
#[inline(always)]
pub fn covers(task: Task<impl Pointer>) -> bool {
    everything()
        || lists_process(task.tgid())
        || lists_cgroup(CgroupKey { id: task.cgroup().id(), hierarchy: 0 })
}

/// The same for the thread that runs now, whose ids the kernel gives for the asking: this
/// is all that a process out of scope pays for.
#[inline(always)]
pub fn covers_current() -> bool {
    everything() || lists_process((bpf_get_current_pid_tgid() >> 32) as u32) || {
        // SAFETY: a helper without arguments.
        let id = unsafe { bpf_get_current_cgroup_id() };
        lists_cgroup(CgroupKey { id, hierarchy: 0 })
    }
}

/// A process was forked: it joins for its parent's reasons, but for the place in the unified
/// hierarchy, where it may have been given another one (`CLONE_INTO_CGROUP`). Whether it is
/// reported.
#[inline(always)]
pub fn fork(parent: Task<Typed>, child: Task<Typed>) -> bool {
    if everything() {
        return true;
    }
    let parent_id = parent.tgid();
    let mut why = reasons(parent_id) & !in_hierarchy(0);
    if parent_id == config().parent {
        why |= LISTED;
    }
    if lists_cgroup(CgroupKey { id: child.cgroup().id(), hierarchy: 0 }) {
        why |= in_hierarchy(0);
    }
    if why != 0 {
        put(child.tgid(), why);
    }
    why != 0
}

/// A process that is in scope executes a program: it is kept from here on at the latest.
#[inline(always)]
pub fn executed(task: Task<Typed>) {
    if everything() || lists_process(task.tgid()) {
        return;
    }
    put(task.tgid(), in_hierarchy(0));
}

/// A process is gone; its id may come again as another's.
#[inline(always)]
pub fn exit(task: Task<Typed>) {
    let _ = SCOPE_PROCESSES.remove(task.tgid());
}

/// No more cgroups can be listed.
pub struct ScopeFull;

/// A cgroup was made. Whether it is reported.
#[inline(always)]
pub fn made(cgroup: Cgroup<Address>) -> Result<bool, ScopeFull> {
    if everything() {
        return Ok(true);
    }
    let inside = cgroup.parent().is_some_and(|parent| lists_cgroup(parent.key()));
    if !inside && !has_listed_name(cgroup) {
        return Ok(false);
    }
    if SCOPE_CGROUPS.insert(cgroup.key(), 1, 0).is_err() {
        emit::lost(Kind::Cgroup);
        return Err(ScopeFull);
    }
    Ok(true)
}

/// A cgroup was removed. Whether that is reported.
#[inline(always)]
pub fn removed(cgroup: Cgroup<Address>) -> bool {
    everything() || SCOPE_CGROUPS.remove(cgroup.key()).is_ok()
}

/// A task was moved into a cgroup. Whether it is reported: as a process joins, while it is in
/// scope, and as it leaves. In a v1 hierarchy the map of processes alone tells: the place in
/// the unified one says nothing.
#[inline(always)]
pub fn attached(cgroup: Cgroup<Address>, task: Task<Typed>) -> bool {
    if everything() {
        return true;
    }
    let key = cgroup.key();
    let (process, bit) = (task.tgid(), in_hierarchy(key.hierarchy));
    let before = reasons(process);
    if lists_cgroup(key) {
        put(process, before | bit);
        return true;
    }
    // A process is where its first thread is.
    if before & bit == 0 || task.tid() != process {
        return covers(task.by_helper());
    }
    if before == bit {
        let _ = SCOPE_PROCESSES.remove(process);
    } else {
        put(process, before & !bit);
    }
    true
}

#[inline(always)]
fn put(process: u32, why: u64) {
    if SCOPE_PROCESSES.insert(process, why, 0).is_err() {
        emit::lost(Kind::Fork);
    }
}

#[inline(always)]
fn has_listed_name(cgroup: Cgroup<Address>) -> bool {
    let Some(name) = cgroup.name() else {
        return false;
    };
    let Some(room) = NAME.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a per-CPU value of one program, which is told of one cgroup at a time.
    let room = unsafe { &mut *room };
    read_string(name, room);
    let mut hash = FNV_OFFSET;
    for byte in &room[..NAME_LEN] {
        match *byte {
            0 => break,
            byte => hash = name_hash_step(hash, byte),
        }
    }
    // SAFETY: the value is not kept.
    unsafe { SCOPE_NAMES.get(hash) }.is_some()
}
