//! `struct cgroup`.

use tracer_common::config::CgroupKey;

use super::{Address, Pointer, offset};

/// A `struct cgroup`.
#[derive(Clone, Copy)]
pub struct Cgroup<P>(pub P);

impl<P: Pointer> Cgroup<P> {
    /// Its id; 0 where that can't be read.
    #[inline(always)]
    pub fn id(self) -> u64 {
        self.0.step(offset!(cgroup_kn)).read(offset!(kernfs_node_id))
    }

    /// Its id and hierarchy.
    #[inline(always)]
    pub fn key(self) -> CgroupKey {
        let hierarchy: u32 =
            self.0.step(offset!(cgroup_root)).read(offset!(cgroup_root_hierarchy_id));
        CgroupKey { id: self.id(), hierarchy: u64::from(hierarchy) }
    }

    /// The one it lies in.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        self.0.follow(offset!(cgroup_parent_css))?.follow(offset!(css_cgroup)).map(Self)
    }

    /// Where its name is.
    #[inline(always)]
    pub fn name(self) -> Option<Address> {
        self.0.follow(offset!(cgroup_kn))?.follow_address(offset!(kernfs_node_name))
    }
}
