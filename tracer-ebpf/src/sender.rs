//! Who sends signals. A program such as kill(1) is gone before anyone can ask: what it was started
//! with is read while it is there. It is reported once for all signals of a moment, in a record that
//! comes before theirs.

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::map, maps::LruHashMap};
use tracer_common::event::{COMMAND_LEN, Kind, SENDER_LOST, Sender};

use crate::{
    emit::{self, Maker},
    kernel::{Address, Cgroup, Pointer, Task, Typed, now, offset, read_string, with_current},
};

/// What was reported of a process.
#[repr(C)]
#[derive(Clone, Copy)]
struct Reported {
    /// When.
    at_ns: u64,
    /// Its memory, another one after an exec: a `struct mm_struct`.
    memory: u64,
    /// Where in that its arguments are.
    arguments: u64,
}

/// The senders that were reported last, by thread group.
#[map]
static SENDERS: LruHashMap<u32, Reported> = LruHashMap::with_max_entries(1024, 0);

/// For how long what was reported holds, ns: a process may write over its arguments, its parents may
/// end, and a record may be lost.
const HOLDS_NS: u64 = 100_000_000;

/// Reports where the current process comes from, which sends a signal to `target`, unless that was
/// done a moment ago. Gives when that was: see `Generate::sender_at`.
#[inline(always)]
pub fn report(target: Task<Typed>) -> u64 {
    with_current!(|task| report_of(task, target))
}

#[inline(always)]
fn report_of(sender: Task<impl Pointer>, target: Task<Typed>) -> u64 {
    let pid = sender.tgid();
    if pid == target.tgid() {
        return 0;
    }
    let memory = sender.0.member(offset!(task_mm)).step(0);
    let (at_ns, arguments) = (now(), memory.read(offset!(mm_arg_start)));
    // SAFETY: it is copied.
    if let Some(last) = unsafe { SENDERS.get(pid) }.copied()
        && last.memory == memory.get()
        && last.arguments == arguments
        && at_ns.wrapping_sub(last.at_ns) < HOLDS_NS
    {
        return last.at_ns;
    }
    let is_sent = emit::record::<Sender>(Kind::Sender, Maker::Sender, |record| {
        record.header = emit::header(Kind::Sender, sender);
        record.header.at_ns = at_ns;
        command(record, memory, arguments);
        let cgroup = sender.cgroup();
        if let Some(name) = cgroup.name() {
            read_string(name, &mut record.cgroup[0]);
        }
        if let Some(name) = cgroup.parent().and_then(Cgroup::name) {
            read_string(name, &mut record.cgroup[1]);
        }
        // The first process of all is a child of the idle task, which has the id 0 and is its
        // own.
        let mut task = sender.parent();
        for parent in &mut record.parents {
            *parent = task.describe_parent();
            task = task.parent();
        }
    });
    if !is_sent {
        return SENDER_LOST;
    }
    let reported = Reported { at_ns, memory: memory.get(), arguments };
    // Where there is no room it is reported again.
    let _ = SENDERS.insert(pid, reported, 0);
    at_ns
}

/// The arguments of the current process, where the memory that has them is resident.
#[inline(always)]
fn command(record: &mut Sender, memory: Address, begin: u64) {
    let end: u64 = memory.read(offset!(mm_arg_end));
    record.command_length = end.saturating_sub(begin).min(u64::from(u32::MAX)) as u32;
    let stored = record.command_length.min(COMMAND_LEN as u32);
    // SAFETY: the helper checks the address and writes `stored` bytes at most, as many as there
    // is room for.
    let failed = unsafe {
        bpf_probe_read_user(
            record.command.as_mut_ptr().cast::<c_void>(),
            stored,
            begin as *const c_void,
        )
    };
    if failed == 0 {
        record.command_stored = stored;
    }
}
