//! Fills the kernel side's scope maps. It is attached already, so a process that
//! appears meanwhile is either listed by its parent or found by the scan.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData},
};
use tracer_common::config::{LISTED, in_hierarchy, name_hash};

use crate::host::cgroups::Cgroup;

/// The most names that can be listed: the room of `SCOPE_NAMES` (`tracer-ebpf/src/scope.rs`).
pub const MAX_NAMES: usize = 1_024;

/// Adds what is to be reported.
pub struct ScopeMaps<'a> {
    ebpf: &'a mut Ebpf,
}

impl<'a> ScopeMaps<'a> {
    /// The maps of an attached kernel side.
    pub fn of(ebpf: &'a mut Ebpf) -> Self {
        Self { ebpf }
    }

    /// Every cgroup that will be made with this name, and what is made inside it.
    pub fn add_name(&mut self, name: &str) -> Result<()> {
        let mut names: HashMap<&mut MapData, u64, u8> = self.map("SCOPE_NAMES")?;
        names
            .insert(name_hash(name.as_bytes()), 1, 0)
            .context("cannot list one more unit in the kernel's scope map: try --all")
    }

    /// A cgroup that is there.
    pub fn add_cgroup(&mut self, cgroup: &Cgroup) -> Result<()> {
        let mut cgroups: HashMap<&mut MapData, [u64; 2], u8> = self.map("SCOPE_CGROUPS")?;
        cgroups
            .insert([cgroup.id, u64::from(cgroup.hierarchy)], 1, 0)
            .context("cannot list one more cgroup in the kernel's scope map: try --all")
    }

    /// A process and what it will fork.
    pub fn add_process(&mut self, pid: u32) -> Result<()> {
        self.put(pid, LISTED)
    }

    /// A process that is in a listed cgroup of a hierarchy, until it is moved out of it. In a
    /// v1 hierarchy that is all that puts it in scope.
    pub fn add_member(&mut self, pid: u32, hierarchy: u32) -> Result<()> {
        self.put(pid, in_hierarchy(u64::from(hierarchy)))
    }

    /// Takes back a process that turned out to be gone, or moved: the kernel side may not
    /// have had it when it left.
    pub fn remove_member(&mut self, pid: u32, hierarchy: u32) -> Result<()> {
        let mut processes: HashMap<&mut MapData, u32, u64> = self.map("SCOPE_PROCESSES")?;
        let rest = processes.get(&pid, 0).unwrap_or(0) & !in_hierarchy(u64::from(hierarchy));
        if rest == 0 {
            // It is gone, which is as well.
            let _ = processes.remove(&pid);
            return Ok(());
        }
        processes.insert(pid, rest, 0).context("cannot write the kernel's scope map")
    }

    fn put(&mut self, pid: u32, reason: u64) -> Result<()> {
        let mut processes: HashMap<&mut MapData, u32, u64> = self.map("SCOPE_PROCESSES")?;
        let reasons = processes.get(&pid, 0).unwrap_or(0) | reason;
        processes
            .insert(pid, reasons, 0)
            .context("cannot list one more process in the kernel's scope map: try --all")
    }

    /// A process and all its descendants, `children_of` telling the children that are
    /// there. Repeats until none is new: a child forked before its parent was listed
    /// is found by the next look.
    pub fn add_tree(&mut self, pid: u32, children_of: impl Fn(u32) -> Vec<u32>) -> Result<()> {
        let mut listed = HashSet::from([pid]);
        self.add_process(pid)?;
        loop {
            let new: Vec<u32> = listed
                .iter()
                .flat_map(|parent| children_of(*parent))
                .filter(|child| !listed.contains(child))
                .collect();
            if new.is_empty() {
                return Ok(());
            }
            for child in new {
                self.add_process(child)?;
                listed.insert(child);
            }
        }
    }

    fn map<K: Pod, V: Pod>(&mut self, name: &str) -> Result<HashMap<&mut MapData, K, V>> {
        let map = self
            .ebpf
            .map_mut(name)
            .with_context(|| format!("the built-in eBPF object has no map '{name}'"))?;
        HashMap::try_from(map)
            .with_context(|| format!("the map '{name}' of the eBPF object has another shape"))
    }
}
