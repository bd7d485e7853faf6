//! Where a signal is to be placed: told to the programs that place it, and by them.
//!
//! A step is found again by what it is: which process makes it, after how many of its execs,
//! and which one of its kind it is since then.

use bytemuck::{Pod, Zeroable};

use crate::event::{ADDRESS_LEN, COMM_LEN};

/// The name of a process with zeros behind it, as words: the kernel side moves bytes one by one.
pub type Name = [u64; COMM_LEN / 8];

/// The kinds of steps, as numbers.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The process begins: its fork is over. Of the command itself: what is prepared in it
    /// before its exec is over.
    Begin,
    /// It executed a program.
    Exec,
    /// It set what it does on the signal.
    Action,
    /// A thread of it began to block the signal.
    Block,
    /// A thread of it stopped to block the signal.
    Unblock,
    /// It made a signalfd for the signal, or changed one to it.
    Signalfd,
    /// A thread of it begins to wait for the signal in sigwait.
    Sigwait,
    /// A handler that is for one delivery (`SA_RESETHAND`) has been called.
    Reset,
    /// It said READY=1.
    Ready,
    /// It said RELOADING=1.
    Reloading,
    /// It said STOPPING=1.
    Stopping,
    /// It forked a child.
    Child,
}

/// How many there are.
pub const STEPS: usize = 12;

/// In the place of a [`Kind`]: the end of a system call of a thread, whichever it is.
pub const CALL: u32 = STEPS as u32;

/// The same: the process is told that a child has ended, by wait4 or waitid.
pub const CHILD_EXIT: u32 = CALL + 1;

/// The command's own place in the tree of processes.
pub const COMMAND: u64 = 1;

/// The place of a process of a unit that is not its main one, nor comes from that.
pub const BESIDE: u64 = 0;

/// Bits of a place for each generation.
const GENERATION: u32 = 12;

/// The place of the `fork`-th child (from 1 on) of the process at `parent`; `None` where it is
/// too far down, or there were too many forks.
#[must_use]
pub const fn child_place(parent: u64, fork: u32) -> Option<u64> {
    if parent >> (64 - GENERATION) != 0 || fork == 0 || fork >> GENERATION != 0 {
        return None;
    }
    Some((parent << GENERATION) | fork as u64)
}

/// The place of the process that started the one at a place.
#[must_use]
pub const fn parent_of(place: u64) -> u64 {
    place >> GENERATION
}

/// Words of an address.
pub const ADDRESS_WORDS: usize = ADDRESS_LEN.div_ceil(8);

/// From which step on the forks and masks of a process are counted anew, from [`ANEW`] on. How many
/// came before it differs from run to run, where the process has other helpers each time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct CountedFrom {
    /// The place of the process.
    pub process: u64,
    /// The step, a [`Kind`] as its number, which is none of those.
    pub step: u32,
    /// How many programs the process has executed by then.
    pub execs: u32,
    /// Which one of its kind it is since the last exec; 0 for none at all.
    pub number: u32,
    /// Which forks of the process are counted: [`FORKS_APART`], [`FORKS_SHARING`], 0 for all.
    pub forks: u32,
}

/// The forks whose child has memory of its own.
pub const FORKS_APART: u32 = 1;

/// Those whose child runs in the memory of its parent until it executes a program (`vfork`,
/// `posix_spawn`): it is no worker that executes nothing.
pub const FORKS_SHARING: u32 = 2;

/// What forks and masks are counted from where they are counted anew: none before has such a number,
/// in a start that can be raced, and a place has room for as many more.
pub const ANEW: u32 = 1 << (GENERATION - 1);

/// What is to be placed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Order {
    /// The thread whose next child is the command; 0 for a unit, and while nothing is to be placed.
    pub starter: u32,
    /// The systemd whose child the command is, a unit's main process; 0 for none.
    pub manager: u32,
    /// How many of its children come into the unit's cgroup before that: those of `ExecCondition=`
    /// and `ExecStartPre=`.
    pub before: u32,
    /// The signal that the steps are about.
    pub signal: u32,
    /// The place of the process in the tree: [`COMMAND`], [`child_place`].
    pub process: u64,
    /// A [`Kind`] as its number, [`CALL`] or [`CHILD_EXIT`].
    pub step: u32,
    /// How many programs the process has executed by then.
    pub execs: u32,
    /// Which one of its kind it is since the last exec, from 1 on; 0 for none at all.
    pub number: u32,
    /// Of a [`CALL`], the thread: how many the process had started before it since the last exec.
    pub thread: u32,
    /// The signal that is sent there.
    pub sent: u32,
    /// The same of the step at which the process is sent `signal` a first time: `step`, `execs` and
    /// `number`, which is 0 for none.
    pub first_step: u32,
    /// How many programs it has executed by then.
    pub first_execs: u32,
    /// Which one of its kind it is.
    pub first_number: u32,
    /// From where the forks of the process's parent are counted, and its own forks and masks.
    pub counted_from: [CountedFrom; 2],
    /// 1 where a child of that parent is counted no more once it ends without having executed a
    /// program, or its first one has another name than `child`: it was a helper.
    pub leaves_out: u32,
    /// Zero.
    pub reserved: u32,
    /// Of a [`CHILD_EXIT`], the name of the child as it ended: only those of that name are
    /// counted. Where helpers are left out, that of the first program of the wanted one; zeros where
    /// it executes none.
    pub child: Name,
    /// The path of the notify socket, with zeros behind it.
    pub notify: [u64; ADDRESS_WORDS],
    /// Which bits of that count.
    pub notify_mask: [u64; ADDRESS_WORDS],
}

/// The end of a system call, as it was counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Counted {
    /// When, `CLOCK_BOOTTIME` ns; 0 for none.
    pub at_ns: u64,
    /// The place of the process.
    pub process: u64,
    /// How many programs the process has executed by then.
    pub execs: u32,
    /// Its thread: see [`Order::thread`].
    pub thread: u32,
    /// Which one of the thread's it is since the last exec, from 1 on.
    pub number: u32,
    /// Zero.
    pub reserved: u32,
}

/// A process and a child of it, by the id that the child has for the process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Child {
    /// The thread group of the process.
    pub parent: u32,
    /// The child's id in the pid namespace of the process.
    pub pid: u32,
}

/// When a process was told that a child had ended, and in which thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ToldOfExit {
    /// When, `CLOCK_BOOTTIME` ns.
    pub at_ns: u64,
    /// The thread.
    pub thread: u64,
}

/// The end of a child, as the process was told of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ChildExit {
    /// The place of the process.
    pub process: u64,
    /// How many programs the process has executed by then.
    pub execs: u64,
    /// The child's name as it ended.
    pub child: Name,
}

/// What was placed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Placed {
    /// When, `CLOCK_BOOTTIME` ns; 0 if the step was not reached.
    pub at_ns: u64,
    /// What `bpf_send_signal` gave: 0, or a negative errno.
    pub result: i64,
    /// The process.
    pub pid: u32,
    /// The command, once it was forked.
    pub command: u32,
    /// How many ends of system calls were counted.
    pub counted: u32,
    /// How many children of a unit's systemd came into its cgroup before the command.
    pub joined: u32,
}

impl Order {
    /// Sets where notify messages go: a path shorter than [`ADDRESS_LEN`].
    #[must_use]
    pub fn with_notify(mut self, path: &[u8]) -> Self {
        let mut bytes = [0; 8 * ADDRESS_WORDS];
        let mut mask = [0; 8 * ADDRESS_WORDS];
        for (index, byte) in path.iter().take(ADDRESS_LEN - 1).enumerate() {
            bytes[index] = *byte;
            mask[index] = u8::MAX;
        }
        // The zero byte that ends it counts too.
        mask[path.len().min(ADDRESS_LEN - 1)] = u8::MAX;
        self.notify = bytemuck::cast(bytes);
        self.notify_mask = bytemuck::cast(mask);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_of_a_tree_has_a_place_of_its_own_as_far_as_there_is_room() {
        let first = child_place(COMMAND, 1).unwrap();
        let second = child_place(COMMAND, 2).unwrap();
        let below = child_place(first, 2).unwrap();
        assert!(first != second && below != second && below != first && first != COMMAND);
        assert_eq!(child_place(COMMAND, 0), None);
        assert_eq!(child_place(COMMAND, 4096), None);
        let mut place = COMMAND;
        for _ in 0..5 {
            place = child_place(place, 4095).unwrap();
        }
        assert_eq!(child_place(place, 1), None);
    }

    #[test]
    fn an_address_counts_up_to_the_zero_byte_that_ends_it() {
        let order = Order::default().with_notify(b"/run/x/notify");
        let bytes: [u8; 8 * ADDRESS_WORDS] = bytemuck::cast(order.notify);
        let mask: [u8; 8 * ADDRESS_WORDS] = bytemuck::cast(order.notify_mask);
        assert_eq!(&bytes[..14], b"/run/x/notify\0");
        assert!(mask[..14].iter().all(|it| *it == u8::MAX));
        assert!(mask[14..].iter().all(|it| *it == 0));
    }

    #[test]
    fn the_kinds_are_numbered_up_to_their_number() {
        assert_eq!(Kind::Child as usize + 1, STEPS);
    }
}
