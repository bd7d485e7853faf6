//! The offsets the kernel side needs, from the running kernel's BTF.

use bytemuck::cast;
use tracer_common::config::{ABSENT, Layout};

use super::btf::Btf;

/// What a missing member costs.
const FEATURES: [(&str, &str); 9] = [
    ("unix_", "where a connected socket's notify messages go"),
    ("fdtable", "where a connected socket's notify messages go"),
    ("files_struct", "where a connected socket's notify messages go"),
    ("mm_struct", "systemd's variables in a process's environment"),
    ("linux_binprm", "the file names of programs"),
    ("cgroup", "which unit a process belongs to"),
    ("kernfs_node", "which unit a process belongs to"),
    ("css_set", "which unit a process belongs to"),
    ("cred", "the user ids of processes"),
];

/// Structs without which there is no telling what a signal did.
const ESSENTIAL: [&str; 7] = [
    "task_struct",
    "sighand_struct",
    "k_sigaction",
    "signal_struct",
    "kernel_siginfo",
    "pid",
    "upid",
];

/// A member the running kernel's BTF doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `struct`
    pub structure: &'static str,
    /// Dotted path of the member; empty for the struct's size.
    pub member: &'static str,
}

impl Missing {
    /// Whether nothing works without it.
    #[must_use]
    pub fn is_essential(&self) -> bool {
        ESSENTIAL.contains(&self.structure)
    }

    /// What can't be seen without it.
    #[must_use]
    pub fn cost(&self) -> &'static str {
        FEATURES
            .iter()
            .find(|(prefix, _)| self.structure.starts_with(prefix))
            .map_or("what signals do to processes", |(_, cost)| cost)
    }
}

/// Finds every offset. Those the kernel doesn't have are listed, and reads through
/// them fail on the kernel side.
#[must_use]
pub fn find(btf: &Btf<'_>) -> (Layout, Vec<Missing>) {
    let mut missing = Vec::new();
    let offsets = Layout::MEMBERS.map(|(structure, member)| {
        let found =
            if member.is_empty() { btf.size(structure) } else { btf.member(structure, member) };
        found.unwrap_or_else(|| {
            missing.push(Missing { structure, member });
            ABSENT
        })
    });
    (cast::<[u32; Layout::LEN], Layout>(offsets), missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_every_member() {
        let bytes = std::fs::read(super::super::btf::VMLINUX).unwrap();
        let (_, missing) = find(&Btf::parse(&bytes).unwrap());
        assert_eq!(missing, []);
    }
}
