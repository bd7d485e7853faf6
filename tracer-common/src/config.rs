//! What the loader tells the kernel side before anything is attached.

use bytemuck::{Pod, Zeroable};

use crate::signal::{MAX_SIGNAL, SignalSet};

/// Report every process.
pub const SCOPE_ALL: u32 = 0;
/// Report the processes whose thread group, or cgroup, is in the scope maps.
pub const SCOPE_LISTED: u32 = 1;

/// How many signals [`Config::dispositions`] may hold: each costs the kernel side a
/// look at every recorded event.
pub const MAX_DISPOSITIONS: u32 = 9;

/// The signals of [`Config::dispositions`] by number, in order, with zeros behind. Those that
/// are too many are left out.
#[must_use]
pub fn numbers(signals: SignalSet) -> [u64; MAX_DISPOSITIONS as usize] {
    let mut numbers = [0; MAX_DISPOSITIONS as usize];
    let signals = (1..=u64::from(MAX_SIGNAL)).filter(|signal| signals.contains(*signal as u32));
    numbers.iter_mut().zip(signals).for_each(|(number, signal)| *number = signal);
    numbers
}

/// Read-only settings of one capture.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Config {
    /// Signals whose generation and delivery are reported.
    pub signals: SignalSet,
    /// Signals whose disposition, mask and consumers are reported: at most
    /// [`MAX_DISPOSITIONS`].
    pub dispositions: SignalSet,
    /// `SCOPE_ALL` or `SCOPE_LISTED`.
    pub scope: u32,
    /// Every child forked by this process joins the scope; 0 for none.
    pub parent: u32,
    /// The process that tries out whether the hooked functions are called.
    pub loader: u32,
    /// Zero.
    pub reserved: u32,
}

/// Numbers of system calls that come through one program, as the architecture has them (`__NR_*`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Syscalls {
    /// `writev`
    pub writev: u32,
    /// `sendto`
    pub sendto: u32,
    /// `sendmsg`
    pub sendmsg: u32,
    /// `sendmmsg`
    pub sendmmsg: u32,
}

/// The calls whose entry and exit belong together, as numbers: what a thread is in, and
/// where the map `CALLED` counts that the loader came through the function.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Setting an action.
    Sigaction,
    /// Setting the mask.
    Sigprocmask,
    /// Making or changing a signalfd.
    Signalfd,
    /// Waiting for a signal.
    Sigtimedwait,
    /// Sending a message.
    Send,
    /// Connecting a socket.
    Connect,
    /// `sendto`, whatever the socket.
    Sendto,
    /// `sendmsg`, whatever the socket.
    Sendmsg,
}

/// How many there are.
pub const CALLS: u32 = 8;

/// The hash of a cgroup's name under which the scope map has it: FNV-1a, 64 bit.
#[must_use]
pub fn name_hash(name: &[u8]) -> u64 {
    let mut hash = FNV_OFFSET;
    for byte in name {
        hash = name_hash_step(hash, *byte);
    }
    hash
}

/// Where [`name_hash`] starts.
pub const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// One byte of [`name_hash`].
#[must_use]
pub const fn name_hash_step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Key of a cgroup in the scope map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct CgroupKey {
    /// `kn->id`.
    pub id: u64,
    /// `root->hierarchy_id`.
    pub hierarchy: u64,
}

/// Value of a process in the scope map: why it is in scope, by bits. It is as long as one is
/// set. This one: it is listed itself, or its parent was when it was forked.
pub const LISTED: u64 = 1 << 63;

/// The bit of a process that is in a listed cgroup of a hierarchy. (Ids beyond 62 share bits:
/// those of v1 hierarchies that were mounted again and again.)
#[must_use]
pub const fn in_hierarchy(hierarchy: u64) -> u64 {
    1 << (hierarchy % 63)
}

/// A member that the loader could not find in the kernel's BTF. Added to any address of
/// the kernel it gives one that can't be read.
pub const ABSENT: u64 = 1 << 63;

macro_rules! layout {
    ($($(#[$doc:meta])* $name:ident = $type:literal . $member:literal,)*) => {
        /// Byte offsets of the kernel struct members the kernel side reads, and values of
        /// enumerations, found in the running kernel's BTF; [`ABSENT`] where there is none.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Pod, Zeroable)]
        pub struct Layout {
            $($(#[$doc])* #[doc = concat!("`", $type, ".", $member, "`")] pub $name: u64,)*
        }

        impl Layout {
            /// The table before the loader has filled it.
            pub const ABSENT: Self = Self { $($name: ABSENT),* };
            /// Number of members.
            pub const LEN: usize = [$($type),*].len();
            /// Struct and member of each field, in the order of the fields. A member is a dotted
            /// path. It may end at an element of an array. An empty one stands for the struct's
            /// size. Where kernels have several names for it, `|` stands between them. One that
            /// not every kernel has ends with `?`. Values of enumerations are written alike.
            pub const MEMBERS: [(&'static str, &'static str); Self::LEN] = [$(($type, $member)),*];
        }
    };
}

layout! {
    task_tgid = "task_struct"."tgid",
    task_pid = "task_struct"."pid",
    task_comm = "task_struct"."comm",
    task_group_leader = "task_struct"."group_leader",
    task_parent = "task_struct"."real_parent",
    task_start_boottime = "task_struct"."start_boottime",
    task_cred = "task_struct"."real_cred",
    task_cgroups = "task_struct"."cgroups",
    task_sighand = "task_struct"."sighand",
    task_signal = "task_struct"."signal",
    task_blocked = "task_struct"."blocked",
    task_real_blocked = "task_struct"."real_blocked",
    task_pending = "task_struct"."pending.signal",
    task_thread_node = "task_struct"."thread_node",
    task_thread_pid = "task_struct"."thread_pid",
    task_files = "task_struct"."files",
    task_mm = "task_struct"."mm",
    task_ptrace = "task_struct"."ptrace",
    task_exit_code = "task_struct"."exit_code",
    task_flags = "task_struct"."flags",
    task_nvcsw = "task_struct"."nvcsw",
    task_nivcsw = "task_struct"."nivcsw",
    cred_uid = "cred"."uid",
    css_set_dfl_cgrp = "css_set"."dfl_cgrp",
    cgroup_kn = "cgroup"."kn",
    cgroup_root = "cgroup"."root",
    cgroup_parent_css = "cgroup"."self.parent",
    css_cgroup = "cgroup_subsys_state"."cgroup",
    cgroup_root_hierarchy_id = "cgroup_root"."hierarchy_id",
    kernfs_node_id = "kernfs_node"."id",
    kernfs_node_name = "kernfs_node"."name",
    sighand_action = "sighand_struct"."action",
    k_sigaction_handler = "k_sigaction"."sa.sa_handler",
    k_sigaction_flags = "k_sigaction"."sa.sa_flags",
    signal_flags = "signal_struct"."flags",
    signal_group_exit_code = "signal_struct"."group_exit_code",
    signal_thread_head = "signal_struct"."thread_head",
    signal_shared_pending = "signal_struct"."shared_pending.signal",
    signal_live = "signal_struct"."live.counter",
    siginfo_code = "kernel_siginfo"."si_code",
    pid_level = "pid"."level",
    pid_numbers = "pid"."numbers",
    upid_nr = "upid"."nr",
    mm_arg_start = "mm_struct"."arg_start",
    mm_arg_end = "mm_struct"."arg_end",
    mm_env_start = "mm_struct"."env_start",
    mm_env_end = "mm_struct"."env_end",
    bprm_filename = "linux_binprm"."filename",
    bprm_interp = "linux_binprm"."interp",
    bprm_file = "linux_binprm"."file",
    file_dentry = "file"."f_path.dentry",
    dentry_name = "dentry"."d_name.name",
    files_fdt = "files_struct"."fdt",
    fdtable_fd = "fdtable"."fd",
    fdtable_max_fds = "fdtable"."max_fds",
    file_inode = "file"."f_inode",
    file_private_data = "file"."private_data",
    inode_mode = "inode"."i_mode",
    socket_type = "socket"."type",
    socket_sk = "socket"."sk",
    sock_family = "sock"."__sk_common.skc_family",
    unix_sock_peer = "unix_sock"."peer",
    unix_sock_addr = "unix_sock"."addr",
    unix_address_len = "unix_address"."len",
    unix_address_name = "unix_address"."name",
    msghdr_name = "msghdr"."msg_name",
    msghdr_namelen = "msghdr"."msg_namelen",
    msghdr_control = "msghdr"."msg_control",
    msghdr_controllen = "msghdr"."msg_controllen",
    msghdr_iter = "msghdr"."msg_iter",
    /// Which `ITER_*` it is: up to 5.13 with the direction, as its lowest bit.
    iter_type = "iov_iter"."iter_type|type",
    /// The same, where it is without the direction.
    iter_pure_type = "iov_iter"."iter_type?",
    iter_offset = "iov_iter"."iov_offset",
    iter_iov = "iov_iter"."__iov|iov",
    iter_nr_segs = "iov_iter"."nr_segs",
    /// From 6.0 on.
    iter_ubuf = "iov_iter"."ubuf?",
    /// The value for one buffer, from 6.0 on.
    iter_is_ubuf = "iter_type"."ITER_UBUF?",
    /// The value for an array of buffers.
    iter_is_iovec = "iter_type"."ITER_IOVEC",
    /// The first argument of a syscall, by its register on x86-64; on arm64 it is the first
    /// of all registers.
    pt_regs_first = "pt_regs"."di|regs",
    /// The second one.
    pt_regs_second = "pt_regs"."si|regs[1]",
    /// The third one.
    pt_regs_third = "pt_regs"."dx|regs[2]",
    /// The fifth one.
    pt_regs_fifth = "pt_regs"."r8|regs[4]",
    /// The sixth one.
    pt_regs_sixth = "pt_regs"."r9|regs[5]",
    /// Not a member: the number of the helper that gives the current thread, typed, from 5.11
    /// on.
    current_task_btf = "bpf_func_id"."BPF_FUNC_get_current_task_btf?",
    /// Not a member: the distance between two elements of `sighand_struct.action`.
    k_sigaction_size = "k_sigaction"."",
    /// Not a member: the distance between two elements of `pid.numbers`.
    upid_size = "upid"."",
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn names_are_hashed_by_fnv_1a() {
        // Published test vectors (draft-eastlake-fnv).
        assert_eq!(name_hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(name_hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(name_hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn hierarchies_have_bits_of_their_own_beside_the_listed_one() {
        assert_eq!((in_hierarchy(0), in_hierarchy(1), in_hierarchy(62)), (1, 2, 1 << 62));
        assert_eq!(in_hierarchy(63), in_hierarchy(0));
        assert!((0..200).all(|hierarchy| in_hierarchy(hierarchy) & LISTED == 0));
    }

    #[test]
    fn a_set_of_signals_is_told_by_its_numbers_as_far_as_there_is_room() {
        let set = |signals: &[u32]| {
            signals.iter().fold(SignalSet::EMPTY, |set, signal| set.union(SignalSet::of(*signal)))
        };
        assert_eq!(numbers(SignalSet::EMPTY), [0; 9]);
        assert_eq!(numbers(set(&[64, 1, 15])), [1, 15, 64, 0, 0, 0, 0, 0, 0]);
        assert_eq!(numbers(SignalSet(u64::MAX)), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn members_that_are_easily_confused_are_the_right_ones() {
        let member = |offset: usize| Layout::MEMBERS[offset / size_of::<u64>()];
        let task = |member| ("task_struct", member);
        assert_eq!(member(offset_of!(Layout, task_tgid)), task("tgid"));
        assert_eq!(member(offset_of!(Layout, task_pid)), task("pid"));
        assert_eq!(member(offset_of!(Layout, task_start_boottime)), task("start_boottime"));
        assert_eq!(member(offset_of!(Layout, task_cred)), task("real_cred"));
        assert_eq!(member(offset_of!(Layout, task_blocked)), task("blocked"));
        assert_eq!(member(offset_of!(Layout, task_real_blocked)), task("real_blocked"));
        assert_eq!(member(offset_of!(Layout, task_pending)), task("pending.signal"));
        assert_eq!(member(offset_of!(Layout, cred_uid)), ("cred", "uid"));
        assert_eq!(
            member(offset_of!(Layout, signal_shared_pending)),
            ("signal_struct", "shared_pending.signal")
        );
        assert_eq!(
            member(offset_of!(Layout, signal_group_exit_code)),
            ("signal_struct", "group_exit_code")
        );
        assert_eq!(member(offset_of!(Layout, siginfo_code)), ("kernel_siginfo", "si_code"));
    }
}
