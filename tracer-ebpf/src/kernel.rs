//! Typed reads of kernel structures.
//!
//! The offsets come from the running kernel's BTF: the loader finds them once
//! and stores them in [`LAYOUT`]. Every read goes through
//! `bpf_probe_read_kernel`, so a stale pointer gives `None`, never a fault.

use core::{ffi::c_void, hint::black_box, mem::MaybeUninit, ptr};

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_task, bpf_probe_read_kernel_str_bytes, bpf_probe_read_user,
        generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel},
    },
    macros::map,
    maps::PerCpuArray,
};
use bytemuck::Zeroable;
use tracer_common::{
    config::{CgroupKey, Config, Layout, MAX_DISPOSITIONS},
    event::{
        DISPOSITION_DEFAULT, DISPOSITION_HANDLER, DISPOSITION_IGNORED, Handler, SignalState,
        Task as WireTask,
    },
    signal::{MAX_SIGNAL, SignalSet},
};

/// Offsets of kernel struct members, set by the loader.
#[unsafe(no_mangle)]
pub static LAYOUT: Global<Layout> = Global::new(Layout::ABSENT);

/// Settings of this capture, set by the loader.
#[unsafe(no_mangle)]
pub static CONFIG: Global<Config> = Global::new(Config {
    signals: SignalSet::EMPTY,
    dispositions: SignalSet::EMPTY,
    scope: 0,
    parent: 0,
    loader: 0,
    reserved: 0,
});

/// One offset of [`LAYOUT`], without copying the whole table to the 512-byte stack.
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::layout_word(core::mem::offset_of!(tracer_common::config::Layout, $field))
    };
}
pub(crate) use offset;

/// The word of [`LAYOUT`] at a byte offset.
#[inline(always)]
pub fn layout_word(at: usize) -> u64 {
    // SAFETY: `offset!` passes offsets of fields, all of them `u64`. `Global<T>` is
    // `repr(transparent)`; the read is volatile because the loader, not this program,
    // sets the value.
    unsafe { ptr::read_volatile((&raw const LAYOUT).cast::<u64>().add(at / size_of::<u64>())) }
}

/// The settings of this capture.
#[inline(always)]
pub fn config() -> Config {
    CONFIG.load()
}

/// `signal->flags`: the thread group is stopped.
pub const SIGNAL_STOP_STOPPED: u32 = 0x1;
/// `signal->flags`: the thread group is exiting (include/linux/sched/signal.h).
pub const SIGNAL_GROUP_EXIT: u32 = 0x4;
/// `signal->flags`: an init that ignores signals without a handler.
pub const SIGNAL_UNKILLABLE: u32 = 0x40;
/// `sa_handler`: do what the kernel does by default.
const SIG_DFL: u64 = 0;
/// `sa_handler`: ignore the signal.
const SIG_IGN: u64 = 1;
/// A fault of memory, the same number on every architecture this runs on.
const SIGSEGV: u32 = 11;
/// `task->flags`: the thread is exiting (include/linux/sched.h).
const PF_EXITING: u32 = 0x4;
/// Threads whose masks are looked at before "blocked in every thread" is called unknown.
const MAX_THREADS: usize = 64;

/// The most that a `struct k_sigaction` has: `sa_handler`, `sa_flags`, `sa_restorer` and
/// `sa_mask`, of a word each.
const MAX_ACTION_LEN: u64 = 32;

/// A process's actions.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Actions([u8; (MAX_SIGNAL as u64 * MAX_ACTION_LEN) as usize]);

/// Room for those, which is too large for the stack: one for each [`Room`].
#[map]
static ACTIONS: PerCpuArray<Actions> = PerCpuArray::with_max_entries(3, 0);

/// Whose room it is. A program may be preempted by another one, though never by itself.
#[derive(Clone, Copy)]
pub enum Room {
    /// The first program at the exit of setting an action.
    First,
    /// The second one.
    Second,
    /// The program at the sending of a signal.
    Generate,
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Reads a `T` at a kernel address; zeros where that can't be read. That is what the
/// helper itself leaves then, and asking it whether it did would double the ways the
/// verifier has to follow.
#[inline(always)]
pub fn read<T: Zeroable>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper fills all of `value`, with zeros on failure
    // (`bpf_probe_read_kernel_common`), and zeros are a valid `T`.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast::<c_void>(),
            size_of::<T>() as u32,
            address as *const c_void,
        );
        value.assume_init()
    }
}

/// Reads a pointer at a kernel address; null is `None`.
#[inline(always)]
pub fn read_pointer(address: u64) -> Option<u64> {
    Some(read::<u64>(address)).filter(|pointer| *pointer != 0)
}

/// Reads a `T` at a user address of the current process.
#[inline(always)]
pub fn read_user<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails where it can't be read.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// Copies a zero-terminated kernel string; returns its length without the zero.
#[inline(always)]
pub fn read_string(address: u64, into: &mut [u8]) -> usize {
    // SAFETY: the helper checks the address and never writes past `into`.
    unsafe { bpf_probe_read_kernel_str_bytes(address as *const u8, into) }.map_or(0, <[u8]>::len)
}

/// A `struct task_struct`: one thread.
#[derive(Clone, Copy)]
pub struct Task(pub u64);

impl Task {
    /// The thread that runs this program.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: a helper without arguments.
        Self(unsafe { bpf_get_current_task() })
    }

    /// How often another thread has run in its place (`__schedule` counts what the thread
    /// did itself, and where it was preempted, apart).
    #[inline(always)]
    pub fn switches(self) -> u64 {
        let [own, others]: [u64; 2] =
            [read(self.0 + offset!(task_nvcsw)), read(self.0 + offset!(task_nivcsw))];
        own + others
    }

    /// Its thread group id.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        read(self.0 + offset!(task_tgid))
    }

    /// Its thread id.
    #[inline(always)]
    pub fn tid(self) -> u32 {
        read(self.0 + offset!(task_pid))
    }

    /// The first thread of its thread group.
    #[inline(always)]
    pub fn leader(self) -> Self {
        Self(read_pointer(self.0 + offset!(task_group_leader)).unwrap_or(self.0))
    }

    /// Its cgroup in the unified hierarchy.
    #[inline(always)]
    pub fn cgroup_id(self) -> u64 {
        (|| {
            let set = read_pointer(self.0 + offset!(task_cgroups))?;
            let cgroup = read_pointer(set + offset!(css_set_dfl_cgrp))?;
            Some(Cgroup(cgroup).key().id)
        })()
        .unwrap_or(0)
    }

    /// What a record says of it. The name is the process's, not the thread's.
    #[inline(always)]
    pub fn describe(self) -> WireTask {
        let leader = self.leader();
        let uid = read_pointer(self.0 + offset!(task_cred))
            .map_or(u32::MAX, |cred| read(cred + offset!(cred_uid)));
        WireTask {
            pid: self.tgid(),
            tid: self.tid(),
            ns_pid: leader.namespace_pid(),
            uid,
            start_ns: read(leader.0 + offset!(task_start_boottime)),
            cgroup_id: self.cgroup_id(),
            comm: read(leader.0 + offset!(task_comm)),
        }
    }

    /// `task_pid_vnr`: its id in the innermost pid namespace it lives in.
    #[inline(always)]
    fn namespace_pid(self) -> u32 {
        (|| {
            let pid = read_pointer(self.0 + offset!(task_thread_pid))?;
            let level: u32 = read(pid + offset!(pid_level));
            let number = pid + offset!(pid_numbers) + u64::from(level) * offset!(upid_size);
            Some(read(number + offset!(upid_nr)))
        })()
        .unwrap_or(0)
    }

    /// Whether the two have one table of actions.
    #[inline(always)]
    pub fn shares_handlers(self, other: Self) -> bool {
        let [own, others]: [u64; 2] =
            [self, other].map(|task| read(task.0 + offset!(task_sighand)));
        own == others
    }

    /// The signals that wait for this thread alone.
    #[inline(always)]
    pub fn pending(self) -> SignalSet {
        SignalSet(read(self.0 + offset!(task_pending)))
    }

    /// Its `signal_struct`.
    #[inline(always)]
    pub fn signal(self) -> Option<Signals> {
        read_pointer(self.0 + offset!(task_signal)).map(Signals)
    }

    /// The action for `signal`.
    #[inline(always)]
    pub fn action(self, signal: u32) -> Option<Action> {
        if signal == 0 || signal > MAX_SIGNAL {
            return None;
        }
        let sighand = read_pointer(self.0 + offset!(task_sighand))?;
        let index = u64::from(signal - 1) * offset!(k_sigaction_size);
        Some(Action::at(sighand + offset!(sighand_action) + index))
    }

    /// Which signals have `address` as their handler, and which have SIGSEGV's. The actions
    /// are read at one go, as a helper's call costs more than all that it copies.
    #[inline(always)]
    pub fn handler(self, address: u64, room: Room) -> Handler {
        let mut handler = Handler::default();
        let size = offset!(k_sigaction_size);
        let Some(sighand) = read_pointer(self.0 + offset!(task_sighand)) else {
            return handler;
        };
        let Some(actions) = ACTIONS.get_ptr_mut(room as u32).filter(|_| size <= MAX_ACTION_LEN)
        else {
            return handler;
        };
        // SAFETY: `size` keeps what is copied within `actions`, and the helper leaves zeros
        // where it can't read.
        unsafe {
            bpf_probe_read_kernel(
                actions.cast::<c_void>(),
                MAX_SIGNAL * size as u32,
                (sighand + offset!(sighand_action)) as *const c_void,
            );
        }
        let at = |index: u32| {
            let offset = u64::from(index) * size + offset!(k_sigaction_handler);
            // SAFETY: within the action of a signal, as the verifier, which knows the offsets,
            // makes sure; aligned as in the kernel.
            unsafe { actions.cast::<u64>().byte_add(offset as usize).read() }
        };
        let fault = at(SIGSEGV - 1);
        for index in 0..MAX_SIGNAL {
            let other = at(index);
            handler.serves.0 |= (nonzero(other ^ address) ^ 1) << index;
            handler.faults.0 |= (nonzero(other ^ fault) ^ 1) << index;
        }
        if fault <= SIG_IGN {
            handler.faults = SignalSet::EMPTY;
        }
        handler
    }

    /// Its own mask (`blocked`).
    #[inline(always)]
    pub fn mask(self) -> SignalSet {
        SignalSet(read(self.0 + offset!(task_blocked)))
    }

    /// What it blocked before `sigtimedwait` let the awaited signals through (`real_blocked`).
    #[inline(always)]
    pub fn real_mask(self) -> SignalSet {
        SignalSet(read(self.0 + offset!(task_real_blocked)))
    }

    /// Whether ptrace is attached to it.
    #[inline(always)]
    pub fn is_traced(self) -> bool {
        read::<u32>(self.0 + offset!(task_ptrace)) != 0
    }

    /// Which of `of` every live thread of its group blocks, and which a thread awaits.
    #[inline(always)]
    pub fn group_masks(self, of: SignalSet) -> GroupMasks {
        let mut masks = GroupMasks { blocked: of, awaited: SignalSet::EMPTY, unknown: false };
        let Some(signals) = self.signal().filter(|signals| signals.live() != 0) else {
            // The last thread has exited: what it blocked is all there is to tell.
            masks.blocked.0 &= self.mask().0;
            return masks;
        };
        let head = signals.0 + offset!(signal_thread_head);
        let mut node: u64 = read(head);
        for _ in 0..MAX_THREADS {
            // Once one thread takes every signal asked for, the answer is known.
            if node == head || node == 0 || masks.blocked == SignalSet::EMPTY {
                return masks;
            }
            let thread = Self(node - offset!(task_thread_node));
            let (own, real) = (thread.mask().0, thread.real_mask().0);
            // All ones for a thread that is exiting, which takes no signal. Without a
            // branch: the verifier would follow both ways for every thread.
            let flags: u32 = read(thread.0 + offset!(task_flags));
            let exiting = nonzero(u64::from(flags & PF_EXITING)).wrapping_neg();
            masks.blocked.0 &= own | real | exiting;
            masks.awaited.0 |= real & !own & !exiting;
            node = read(node);
        }
        masks.unknown = true;
        masks
    }

    /// The state of the signals in `of`, for the whole process.
    #[inline(always)]
    pub fn signal_state(self, of: SignalSet) -> SignalState {
        let mut state = SignalState::zeroed();
        let actions = read_pointer(self.0 + offset!(task_sighand))
            .map_or(0, |sighand| sighand + offset!(sighand_action) + offset!(k_sigaction_handler));
        let mut rest = of.0;
        for _ in 0..MAX_DISPOSITIONS {
            // The verifier knows the settings, and goes round no more often than needed.
            if rest == 0 {
                break;
            }
            let lowest = rest & rest.wrapping_neg();
            rest ^= lowest;
            let index = u64::from(lowest.trailing_zeros() & 63);
            let handler: u64 = read(actions + index * offset!(k_sigaction_size));
            match handler {
                SIG_DFL => {}
                SIG_IGN => state.ignored.0 |= lowest,
                _ => state.caught.0 |= lowest,
            }
        }
        let masks = self.group_masks(of);
        state.blocked = masks.blocked;
        if masks.unknown {
            state.blocked_unknown = masks.blocked;
        }
        let own = self.pending().0;
        let shared = self
            .signal()
            .map_or(0, |signals| read::<u64>(signals.0 + offset!(signal_shared_pending)));
        state.pending = SignalSet((own | shared) & of.0);
        state
    }
}

/// 1, or 0 for zero, without a branch: for loops in which the verifier would follow both
/// ways every time. The compiler is kept from seeing the comparison in it.
#[inline(always)]
pub fn nonzero(value: u64) -> u64 {
    black_box(value | value.wrapping_neg()) >> 63
}

/// See [`Task::group_masks`].
pub struct GroupMasks {
    /// Blocked by every thread.
    pub blocked: SignalSet,
    /// Let through by a thread in `sigtimedwait` for that call alone.
    pub awaited: SignalSet,
    /// There were more threads than were looked at.
    pub unknown: bool,
}

/// A `struct signal_struct`: what the threads of a group share.
#[derive(Clone, Copy)]
pub struct Signals(pub u64);

impl Signals {
    /// `SIGNAL_*` flags.
    #[inline(always)]
    pub fn flags(self) -> u32 {
        read(self.0 + offset!(signal_flags))
    }

    /// The exit status of a group that is exiting as one.
    #[inline(always)]
    pub fn group_exit_code(self) -> u32 {
        read(self.0 + offset!(signal_group_exit_code))
    }

    /// How many threads have not come to their end.
    #[inline(always)]
    pub fn live(self) -> u32 {
        read(self.0 + offset!(signal_live))
    }
}

/// What a process does on a signal (`struct k_sigaction`).
#[derive(Clone, Copy)]
pub struct Action {
    /// `sa_handler`: 0 default, 1 ignore, else an address.
    pub handler: u64,
    /// `sa_flags`
    pub flags: u64,
}

impl Action {
    /// Reads the one at a kernel address.
    #[inline(always)]
    pub fn at(address: u64) -> Self {
        Self {
            handler: read(address + offset!(k_sigaction_handler)),
            flags: read(address + offset!(k_sigaction_flags)),
        }
    }

    /// `DISPOSITION_*`
    #[inline(always)]
    pub fn disposition(self) -> u32 {
        match self.handler {
            SIG_DFL => DISPOSITION_DEFAULT,
            SIG_IGN => DISPOSITION_IGNORED,
            _ => DISPOSITION_HANDLER,
        }
    }
}

/// A `struct cgroup`.
#[derive(Clone, Copy)]
pub struct Cgroup(pub u64);

impl Cgroup {
    /// Its id and hierarchy.
    #[inline(always)]
    pub fn key(self) -> CgroupKey {
        let id = read_pointer(self.0 + offset!(cgroup_kn))
            .map_or(0, |node| read(node + offset!(kernfs_node_id)));
        let hierarchy: u32 = read_pointer(self.0 + offset!(cgroup_root))
            .map_or(0, |root| read(root + offset!(cgroup_root_hierarchy_id)));
        CgroupKey { id, hierarchy: u64::from(hierarchy) }
    }

    /// The one it lies in.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        let css = read_pointer(self.0 + offset!(cgroup_parent_css))?;
        read_pointer(css + offset!(css_cgroup)).map(Self)
    }

    /// Address of its name.
    #[inline(always)]
    pub fn name(self) -> Option<u64> {
        let node = read_pointer(self.0 + offset!(cgroup_kn))?;
        read_pointer(node + offset!(kernfs_node_name))
    }
}
