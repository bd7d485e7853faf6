//! The offsets the kernel side needs, from the running kernel's BTF.

use std::fmt;

use bytemuck::cast;
use tracer_common::config::{ABSENT, Layout};

use super::btf::Btf;

/// What a missing member costs, by the beginning of its name. The first that fits counts.
const FEATURES: [(&str, &str); 34] = [
    ("unix_", "where a connected socket's notify messages go"),
    ("fdtable", "where a connected socket's notify messages go"),
    ("files_struct", "where a connected socket's notify messages go"),
    ("file.f_inode", "where a connected socket's notify messages go"),
    ("file.private_data", "where a connected socket's notify messages go"),
    ("task_struct.files", "where a connected socket's notify messages go"),
    ("inode", "where a connected socket's notify messages go"),
    ("socket", "notify messages"),
    ("sock.", "notify messages"),
    ("msghdr", FENTRY_MESSAGES),
    ("iov_iter", FENTRY_MESSAGES),
    ("iter_type", FENTRY_MESSAGES),
    ("pt_regs", "waiting for signals and sends that fail, where they are read from syscalls"),
    ("mm_struct.arg", "the command lines of senders"),
    ("task_struct.real_parent", "the parents of senders"),
    ("mm_struct", "systemd's variables in a process's environment"),
    ("task_struct.mm", "systemd's variables in a process's environment"),
    ("linux_binprm", "the file names of programs"),
    ("file.f_path", "the file names of programs"),
    ("dentry", "the file names of programs"),
    ("cgroup", "which unit a process belongs to"),
    ("task_struct.cgroups", "which unit a process belongs to"),
    ("kernfs_node", "which unit a process belongs to"),
    ("css_set", "which unit a process belongs to"),
    ("kernel_siginfo", "who sent a signal"),
    ("cred", "the user ids of processes"),
    ("task_struct.real_cred", "the user ids of processes"),
    ("task_struct.thread_pid", "the ids of processes in their own namespace"),
    ("pid.", "the ids of processes in their own namespace"),
    ("upid.", "the ids of processes in their own namespace"),
    ("task_struct.ptrace", "whether a process is being debugged"),
    ("task_struct.nvcsw", MISSED),
    ("task_struct.nivcsw", MISSED),
    ("task_struct.real_blocked", "that a thread waits for a signal"),
];

const FENTRY_MESSAGES: &str = "notify messages, where they are read from kernel functions";

const MISSED: &str = "whether an event was missed while programs were preempted";

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
        self.feature().is_none()
    }

    /// What can't be seen without it.
    #[must_use]
    pub fn cost(&self) -> &'static str {
        self.feature().unwrap_or("what signals do to processes")
    }

    fn feature(&self) -> Option<&'static str> {
        let name = format!("{}.{}", self.structure, self.member);
        FEATURES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, cost)| *cost)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' in struct {}", self.member, self.structure)
    }
}

/// Finds every offset. Those the kernel doesn't have are listed, and reads through
/// them fail on the kernel side.
#[must_use]
pub fn find(btf: &Btf<'_>) -> (Layout, Vec<Missing>) {
    let mut missing = Vec::new();
    let offsets = Layout::MEMBERS.map(|(structure, member)| {
        let names = member.trim_end_matches('?');
        let found = names.split('|').find_map(|name| value(btf, structure, name));
        if found.is_none() && names == member {
            missing.push(Missing { structure, member });
        }
        found.map_or(ABSENT, u64::from)
    });
    (cast::<[u64; Layout::LEN], Layout>(offsets), missing)
}

fn value(btf: &Btf<'_>, structure: &str, name: &str) -> Option<u32> {
    if name.is_empty() {
        return btf.size(structure);
    }
    btf.member(structure, name).or_else(|| btf.element(structure, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_every_member() {
        let bytes = super::super::btf::read().unwrap();
        let btf = Btf::parse(&bytes, &[]).unwrap();
        let (layout, missing) = find(&btf);
        assert_eq!(missing, []);
        let blocked = btf.member("task_struct", "blocked").map(u64::from);
        assert_eq!(Some(layout.task_blocked), blocked);
        assert_eq!(layout.siginfo_code, 8);
        assert_eq!(
            layout.iter_is_iovec,
            u64::from(btf.element("iter_type", "ITER_IOVEC").unwrap())
        );
        // A handler, flags, a restorer and a mask, each as long as a word.
        assert_eq!(layout.k_sigaction_size, 4 * size_of::<usize>() as u64);
    }

    #[test]
    fn of_a_kernel_without_types_everything_is_missing_that_every_kernel_has() {
        let header = [&0xeb9f_u16.to_ne_bytes()[..], &[1, 0], &24_u32.to_ne_bytes(), &[0; 16]];
        let bytes = header.concat();
        let (layout, missing) = find(&Btf::parse(&bytes, &[]).unwrap());
        assert_eq!(cast::<Layout, [u64; Layout::LEN]>(layout), [ABSENT; Layout::LEN]);
        let expected: Vec<Missing> = Layout::MEMBERS
            .into_iter()
            .filter(|(_, member)| !member.ends_with('?'))
            .map(|(structure, member)| Missing { structure, member })
            .collect();
        assert_eq!(missing, expected);
    }

    #[test]
    fn what_is_missing_is_named_with_what_it_costs() {
        let missing = |structure, member| Missing { structure, member };
        let handler = missing("k_sigaction", "sa.sa_handler");
        assert_eq!(handler.to_string(), "'sa.sa_handler' in struct k_sigaction");
        assert!(handler.is_essential());
        assert_eq!(handler.cost(), "what signals do to processes");
        for (structure, member, cost) in [
            ("unix_sock", "peer", "where a connected socket's notify messages go"),
            ("file", "f_inode", "where a connected socket's notify messages go"),
            ("file", "f_path.dentry", "the file names of programs"),
            ("task_struct", "files", "where a connected socket's notify messages go"),
            ("task_struct", "cgroups", "which unit a process belongs to"),
            ("task_struct", "real_cred", "the user ids of processes"),
            ("socket", "sk", "notify messages"),
            ("sock", "__sk_common.skc_family", "notify messages"),
            ("pid", "level", "the ids of processes in their own namespace"),
        ] {
            let missing = missing(structure, member);
            assert!(!missing.is_essential(), "{missing}");
            assert_eq!(missing.cost(), cost, "{missing}");
        }
        for member in ["blocked", "sighand", "tgid", "pending.signal"] {
            assert!(missing("task_struct", member).is_essential(), "{member}");
        }
    }
}
