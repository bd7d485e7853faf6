//! Which processes are reported.
//!
//! A process is in scope when its thread group is listed, or its cgroup in the
//! unified hierarchy is. Children inherit the first; cgroups made below a listed
//! one, or with a listed name, become listed as they are made.

use aya_ebpf::{
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid},
    macros::map,
    maps::HashMap,
};
use tracer_common::{
    config::{CgroupKey, FNV_OFFSET, SCOPE_ALL, name_hash_step},
    event::Kind,
};

use crate::{
    emit,
    kernel::{Cgroup, Task, config, read},
};

/// Thread groups in scope.
#[map]
static SCOPE_PROCESSES: HashMap<u32, u8> = HashMap::with_max_entries(32768, BPF_F_NO_PREALLOC);

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

/// Whether the whole host is reported.
#[inline(always)]
pub fn everything() -> bool {
    config().scope == SCOPE_ALL
}

#[inline(always)]
fn lists_process(tgid: u32) -> bool {
    // SAFETY: the value is not kept.
    unsafe { SCOPE_PROCESSES.get(tgid) }.is_some()
}

#[inline(always)]
fn lists_cgroup(key: CgroupKey) -> bool {
    // SAFETY: the value is not kept.
    unsafe { SCOPE_CGROUPS.get(key) }.is_some()
}

/// Whether what happens to `task` is reported.
#[inline(always)]
pub fn covers(task: Task) -> bool {
    everything()
        || lists_process(task.tgid())
        || lists_cgroup(CgroupKey { id: task.cgroup_id(), hierarchy: 0 })
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

/// A process was forked: it joins if its parent is listed. Whether it is reported.
#[inline(always)]
pub fn fork(parent: Task, child: Task) -> bool {
    let parent_id = parent.tgid();
    if parent_id == config().parent || lists_process(parent_id) {
        join(child);
    }
    covers(child)
}

/// A process is gone; its id may come again as another's.
#[inline(always)]
pub fn exit(task: Task) {
    let _ = SCOPE_PROCESSES.remove(task.tgid());
}

/// No more cgroups can be listed.
pub struct ScopeFull;

/// A cgroup was made. Whether it is reported.
#[inline(always)]
pub fn made(cgroup: Cgroup) -> Result<bool, ScopeFull> {
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

/// A task was moved into a cgroup. Whether it is reported. In a v1 hierarchy the
/// process itself is listed: its place in the unified one says nothing.
#[inline(always)]
pub fn attached(cgroup: Cgroup, task: Task) -> bool {
    let key = cgroup.key();
    let listed = lists_cgroup(key);
    if listed && key.hierarchy != 0 {
        join(task);
    }
    listed || covers(task)
}

#[inline(always)]
fn join(task: Task) {
    if SCOPE_PROCESSES.insert(task.tgid(), 1, 0).is_err() {
        emit::lost(Kind::Fork);
    }
}

#[inline(always)]
fn has_listed_name(cgroup: Cgroup) -> bool {
    let Some(name) = cgroup.name() else {
        return false;
    };
    let mut hash = FNV_OFFSET;
    for index in 0..NAME_LEN {
        match read::<u8>(name + index as u64) {
            0 => break,
            byte => hash = name_hash_step(hash, byte),
        }
    }
    // SAFETY: the value is not kept.
    unsafe { SCOPE_NAMES.get(hash) }.is_some()
}
