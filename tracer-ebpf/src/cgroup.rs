//! Cgroups: made, removed, and joined by tasks.

use tracer_common::event::{CGROUP_ATTACH, CGROUP_MKDIR, CGROUP_RMDIR, Cgroup as Record, Kind};

use crate::{
    emit,
    kernel::{Cgroup, Task, read_string},
    scope::{self, ScopeFull},
};

/// A cgroup was made at `path` (a kernel string, from the root of its hierarchy).
/// Fails if it is in scope but there is no room to remember that.
#[inline(always)]
pub fn made(cgroup: Cgroup, path: u64) -> Result<(), ScopeFull> {
    if scope::made(cgroup)? {
        report(CGROUP_MKDIR, cgroup, path, Task::current());
    }
    Ok(())
}

/// A cgroup was removed.
#[inline(always)]
pub fn removed(cgroup: Cgroup, path: u64) {
    if scope::removed(cgroup) {
        report(CGROUP_RMDIR, cgroup, path, Task::current());
    }
}

/// `task` was moved into a cgroup.
#[inline(always)]
pub fn attached(cgroup: Cgroup, path: u64, task: Task) {
    if scope::attached(cgroup, task) {
        report(CGROUP_ATTACH, cgroup, path, task);
    }
}

#[inline(always)]
fn report(action: u32, cgroup: Cgroup, path: u64, task: Task) {
    emit::large_record::<Record>(Kind::Cgroup, |record| {
        let key = cgroup.key();
        record.header = emit::header(Kind::Cgroup, task);
        record.action = action;
        record.hierarchy = key.hierarchy as u32;
        record.id = key.id;
        read_string(path, &mut record.path);
    });
}
