//! Cgroups: made, removed, and joined by tasks.

use tracer_common::event::{self, CGROUP_ATTACH, CGROUP_MKDIR, CGROUP_RMDIR, Kind};

use crate::{
    emit::{self, Maker},
    kernel::{Address, Cgroup, Pointer, Task, Typed, read_string},
    scope::{self, ScopeFull},
};

/// A cgroup was made at `path` (a kernel string, from the root of its hierarchy).
/// Fails if it is in scope but there is no room to remember that.
#[inline(always)]
pub fn made(cgroup: Cgroup<Address>, path: Address) -> Result<(), ScopeFull> {
    if scope::made(cgroup)? {
        report(CGROUP_MKDIR, cgroup, path, None::<Task<Typed>>);
    }
    Ok(())
}

/// A cgroup was removed.
#[inline(always)]
pub fn removed(cgroup: Cgroup<Address>, path: Address) {
    if scope::removed(cgroup) {
        report(CGROUP_RMDIR, cgroup, path, None::<Task<Typed>>);
    }
}

/// `task` was moved into a cgroup.
#[inline(always)]
pub fn attached(cgroup: Cgroup<Address>, path: Address, task: Task<Typed>) {
    if scope::attached(cgroup, task) {
        report(CGROUP_ATTACH, cgroup, path, Some(task));
    }
}

/// About `task`, or else the current one.
#[inline(always)]
fn report(action: u32, cgroup: Cgroup<Address>, path: Address, task: Option<Task<impl Pointer>>) {
    emit::record::<event::Cgroup>(Kind::Cgroup, Maker::Cgroup, |record| {
        let key = cgroup.key();
        record.header = match task {
            Some(task) => emit::header_of_other(Kind::Cgroup, task),
            None => emit::header_of_current(Kind::Cgroup),
        };
        record.action = action;
        record.hierarchy = key.hierarchy as u32;
        record.id = key.id;
        read_string(path, &mut record.path);
    });
}
