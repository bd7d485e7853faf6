//! `struct task_struct`, and what the threads of a process share.

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_task, bpf_get_current_uid_gid,
    generated::bpf_get_current_task_btf,
};
use bytemuck::{Zeroable as _, cast};
use tracer_common::{
    config::MAX_DISPOSITIONS,
    event::{COMM_LEN, Parent, SignalState, Task as WireTask},
    signal::SignalSet,
};

use super::{
    Address, Cgroup, Pointer, Typed, config, disposition, forgotten, nonzero, offset,
    shared::{Actions, SIG_IGN, Shared, Signals},
};

/// `task->flags`: the thread is exiting (include/linux/sched.h).
const PF_EXITING: u32 = 0x4;
/// Threads whose masks are looked at before "blocked in every thread" is called unknown.
const MAX_THREADS: usize = 64;

/// A `struct task_struct`: one thread.
#[derive(Clone, Copy)]
pub struct Task<P>(pub P);

/// A `struct pid`: the ids of a task in the pid namespaces that it lives in.
#[derive(Clone, Copy)]
struct Numbers(Address);

impl Numbers {
    /// How many namespaces its innermost one is in.
    #[inline(always)]
    fn level(self) -> u32 {
        self.0.read(offset!(pid_level))
    }

    /// The id in the one at a level.
    #[inline(always)]
    fn at(self, level: u32) -> u32 {
        let numbers = self.0 + offset!(pid_numbers);
        (numbers + u64::from(level) * offset!(upid_size)).read(offset!(upid_nr))
    }
}

/// Gives the thread that runs this program to `$work`, as a typed pointer where the kernel has
/// the helper for that (from 5.11 on). The verifier sees one of the two ways alone.
macro_rules! with_current {
    (|$task:ident| $work:expr) => {
        if $crate::kernel::offset!(current_task_btf) == tracer_common::config::ABSENT {
            let $task = $crate::kernel::Task::current_address();
            $work
        } else {
            let $task = $crate::kernel::Task::current_typed();
            $work
        }
    };
}
pub(crate) use with_current;

impl Task<Address> {
    /// The thread that runs this program: see [`with_current`].
    #[inline(always)]
    pub fn current_address() -> Self {
        // SAFETY: a helper without arguments.
        Self(Address::new(unsafe { bpf_get_current_task() }))
    }
}

impl Task<Typed> {
    /// The same, to be read by the helper: for what happens so seldom that a trace is better off
    /// with a shorter start (see [`Typed`]).
    #[inline(always)]
    pub fn by_helper(self) -> Task<Address> {
        Task(self.0.member(0))
    }

    /// The thread that runs this program: see [`with_current`].
    #[inline(always)]
    pub fn current_typed() -> Self {
        // SAFETY: a helper without arguments.
        Self(Typed::new(unsafe { bpf_get_current_task_btf() } as u64))
    }
}

impl<P: Pointer> Task<P> {
    /// How often another thread has run in its place (`__schedule` counts what the thread
    /// did itself, and where it was preempted, apart).
    #[inline(always)]
    pub fn switches(self) -> u64 {
        self.0.read::<u64>(offset!(task_nvcsw)) + self.0.read::<u64>(offset!(task_nivcsw))
    }

    /// Its thread group id.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        self.0.read(offset!(task_tgid))
    }

    /// Its thread id.
    #[inline(always)]
    pub fn tid(self) -> u32 {
        self.0.read(offset!(task_pid))
    }

    /// The first thread of its thread group.
    #[inline(always)]
    pub fn leader(self) -> Task<Address> {
        Task(self.0.member(offset!(task_group_leader)).step(0))
    }

    /// Its exit status, as wait(2) gives it.
    #[inline(always)]
    pub fn exit_code(self) -> u32 {
        self.0.read(offset!(task_exit_code))
    }

    /// Its cgroup in the unified hierarchy.
    #[inline(always)]
    pub fn cgroup(self) -> Cgroup<Address> {
        let set = self.0.member(offset!(task_cgroups)).step(0);
        Cgroup(set.step(offset!(css_set_dfl_cgrp)))
    }

    /// What a record says of it. The name is the process's, not the thread's.
    #[inline(always)]
    pub fn describe(self) -> WireTask {
        let cred = self.0.follow_address(offset!(task_cred));
        let uid = cred.map_or(u32::MAX, |cred| cred.read(offset!(cred_uid)));
        self.describe_as(uid, self.cgroup().id())
    }

    /// The same, given that of the thread that runs this program: it may be that one.
    #[inline(always)]
    pub fn describe_given(self, current: WireTask) -> WireTask {
        if self.tid() == current.tid { current } else { self.describe() }
    }

    /// The same of the thread that runs this program, of which the kernel gives the user and the
    /// cgroup for the asking.
    #[inline(always)]
    pub fn describe_current(self) -> WireTask {
        let uid = bpf_get_current_uid_gid() as u32;
        // SAFETY: a helper without arguments.
        let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
        self.describe_as(uid, cgroup_id)
    }

    #[inline(always)]
    fn describe_as(self, uid: u32, cgroup_id: u64) -> WireTask {
        let (pid, tid) = (self.tgid(), self.tid());
        let mut task = WireTask { pid, tid, uid, cgroup_id, ..WireTask::zeroed() };
        if pid == tid {
            self.describe_process(&mut task);
        } else {
            self.leader().describe_process(&mut task);
        }
        task
    }

    /// What a record says of the process of which this is the first thread.
    #[inline(always)]
    fn describe_process(self, task: &mut WireTask) {
        task.ns_pid = self.namespace_pid(task.pid);
        task.start_ns = self.0.read(offset!(task_start_boottime));
        task.comm = self.comm();
    }

    /// The first thread of the process that started it, or took it on (`real_parent`).
    #[inline(always)]
    pub fn parent(self) -> Task<Address> {
        Task(self.0.member(offset!(task_parent)).step(0)).leader()
    }

    /// What a record says of a process as a parent. There is no branch in it: it is asked for in
    /// a loop, and the verifier would follow both ways every time.
    #[inline(always)]
    pub fn describe_parent(self) -> Parent {
        Parent {
            pid: self.tgid(),
            ns_pid: self.number(),
            start_ns: self.0.read(offset!(task_start_boottime)),
            cgroup_id: self.cgroup().id(),
            comm: self.comm(),
        }
    }

    /// Its `struct pid`: its ids in all pid namespaces that it lives in.
    #[inline(always)]
    fn numbers(self) -> Numbers {
        Numbers(self.0.member(offset!(task_thread_pid)).step(0))
    }

    /// `task_pid_vnr`: its id in the innermost pid namespace it lives in; `global` is that in
    /// the outermost.
    #[inline(always)]
    fn namespace_pid(self, global: u32) -> u32 {
        if self.numbers().level() == 0 { global } else { self.number() }
    }

    /// The same without a branch, but for one that can't be told, which is 0.
    #[inline(always)]
    fn number(self) -> u32 {
        let numbers = self.numbers();
        numbers.at(numbers.level())
    }

    /// Its id in the pid namespace that its parent lives in, which is its own or one around it;
    /// 0 where that can't be told (`task_pid_nr_ns`).
    #[inline(always)]
    pub fn pid_for_parent(self) -> u32 {
        let level = self.parent().numbers().level();
        self.numbers().at(level)
    }

    /// Whether the two have one table of actions.
    #[inline(always)]
    pub fn shares_handlers(self, other: Self) -> bool {
        self.has_same(other, offset!(task_sighand))
    }

    /// Whether the two run in the same memory.
    #[inline(always)]
    pub fn shares_memory(self, other: Self) -> bool {
        self.has_same(other, offset!(task_mm))
    }

    /// Whether the pointers at an offset lead both to the same.
    #[inline(always)]
    fn has_same(self, other: Self, offset: u64) -> bool {
        let [own, others] = [self, other].map(|task| task.0.member(offset));
        own.read::<u64>(0) == others.read::<u64>(0)
    }

    /// The signals that wait for this thread alone.
    #[inline(always)]
    pub fn pending(self) -> SignalSet {
        SignalSet(self.0.read(offset!(task_pending)))
    }

    /// Its `signal_struct`. It is to be asked for once, where the programs' ways have not parted
    /// yet: see [`Typed`].
    #[inline(always)]
    pub fn signal(self) -> Signals<P> {
        Signals(self.0.step(offset!(task_signal)))
    }

    /// All that its process shares. As for [`Task::signal`].
    #[inline(always)]
    pub fn shared(self) -> Shared<P> {
        Shared { signals: self.signal(), sighand: self.0.step(offset!(task_sighand)) }
    }

    /// What its process does on signals.
    #[inline(always)]
    pub fn actions(self) -> Option<Actions> {
        self.0.follow_address(offset!(task_sighand)).map(Actions::of)
    }

    /// Its name.
    #[inline(always)]
    pub fn comm(self) -> [u8; COMM_LEN] {
        cast(self.0.read_pair(offset!(task_comm)))
    }

    /// Its own mask (`blocked`).
    #[inline(always)]
    pub fn mask(self) -> SignalSet {
        SignalSet(self.0.read(offset!(task_blocked)))
    }

    /// What it blocked before `sigtimedwait` let the awaited signals through (`real_blocked`).
    #[inline(always)]
    pub fn real_mask(self) -> SignalSet {
        SignalSet(self.0.read(offset!(task_real_blocked)))
    }

    /// Whether ptrace is attached to it.
    #[inline(always)]
    pub fn is_traced(self) -> bool {
        self.0.read::<u32>(offset!(task_ptrace)) != 0
    }

    /// Whether it is one that lives and blocks one of `of`.
    #[inline(always)]
    pub fn blocks(self, of: SignalSet) -> bool {
        self.exiting() == 0 && self.mask().union(self.real_mask()).intersects(of)
    }

    /// All ones for a thread that is exiting, which takes no signal, else 0. Without a
    /// branch: the verifier would follow both ways for every thread.
    #[inline(always)]
    fn exiting(self) -> u64 {
        let flags: u32 = self.0.read(offset!(task_flags));
        nonzero(u64::from(flags & PF_EXITING)).wrapping_neg()
    }

    /// Which of `of` every live thread of its group, which shares `signals`, blocks, and which a
    /// thread awaits.
    #[inline(always)]
    pub fn group_masks(self, signals: Signals<P>, of: SignalSet) -> GroupMasks {
        let mut masks = GroupMasks {
            blocked: of,
            last: Address::new(0),
            awaited: SignalSet::EMPTY,
            unknown: false,
        };
        let live = signals.live();
        if live == 0 {
            // The last thread has exited: what it blocked is all there is to tell.
            masks.blocked.0 &= self.mask().0;
            return masks;
        }
        if live == 1 && self.exiting() == 0 {
            // It is the only one.
            masks.add(self);
            return masks;
        }
        let Some(signals) = self.0.follow_address(offset!(task_signal)) else {
            return masks;
        };
        let head = signals + offset!(signal_thread_head);
        let mut node = Address::new(head.read(0));
        for _ in 0..MAX_THREADS {
            // Once one thread takes every signal asked for, the answer is known.
            if node == head || node.get() == 0 || masks.blocked == SignalSet::EMPTY {
                return masks;
            }
            let thread = node - offset!(task_thread_node);
            masks.add(Task(thread));
            masks.last = thread;
            node = Address::new(node.read(0));
        }
        masks.unknown = true;
        masks
    }

    /// Tells the state of the signals whose dispositions are recorded, for the whole process, in a
    /// record: of what is there the verifier knows nothing, so that each finding does not double
    /// the ways it has to follow. It is zeros before.
    #[inline(always)]
    pub fn signal_state(self, shared: Shared<P>, state: &mut SignalState) {
        self.actions_and_pending(shared, state);
        let masks = self.group_masks(shared.signals, config().dispositions);
        state.blocked = masks.blocked;
        if masks.unknown {
            state.blocked_unknown = masks.blocked;
        }
    }

    /// The same where this is the only thread: of a process that has been forked, has executed a
    /// program (`de_thread`), or is at its end. The verifier, which can't know that, would follow
    /// the list of threads.
    #[inline(always)]
    pub fn signal_state_of_one(self, shared: Shared<P>, state: &mut SignalState) {
        self.actions_and_pending(shared, state);
        let blocked = self.mask().0 | self.real_mask().0;
        state.blocked = SignalSet(blocked & config().dispositions.0);
    }

    /// What all of a process's threads have in common of that state, and what waits for this one.
    #[inline(always)]
    fn actions_and_pending(self, shared: Shared<P>, state: &mut SignalState) {
        let Shared { signals, sighand } = shared;
        let actions = offset!(sighand_action) + offset!(k_sigaction_handler);
        for index in 0..MAX_DISPOSITIONS {
            // The verifier knows the settings, and goes round no more often than needed.
            let signal = disposition(index);
            if signal == 0 {
                break;
            }
            let index = signal - 1;
            let handler: u64 = sighand.read(actions + index * offset!(k_sigaction_size));
            // To verifiers since 2025 it is a pointer, until it has been in the record.
            let handler = forgotten(handler, &mut state.pending.0);
            let caught = nonzero(handler & !SIG_IGN);
            state.caught.0 |= caught << (index & 63);
            state.ignored.0 |= (handler & (caught ^ SIG_IGN)) << (index & 63);
        }
        let waiting = self.pending().0 | signals.pending().0;
        state.pending = SignalSet(waiting & config().dispositions.0);
    }
}

/// See [`Task::group_masks`].
pub struct GroupMasks {
    /// Blocked by every thread.
    pub blocked: SignalSet,
    /// The thread that was looked at last, a `struct task_struct`: where one signal was asked for
    /// and is not in `blocked`, the first that doesn't block it. 0 where no list was gone through.
    pub last: Address,
    /// Let through by a thread in `sigtimedwait` for that call alone.
    pub awaited: SignalSet,
    /// There were more threads than were looked at.
    pub unknown: bool,
}

impl GroupMasks {
    #[inline(always)]
    fn add<P: Pointer>(&mut self, thread: Task<P>) {
        let (own, real) = (thread.mask().0, thread.real_mask().0);
        let exiting = thread.exiting();
        self.blocked.0 &= own | real | exiting;
        self.awaited.0 |= real & !own & !exiting;
    }
}
