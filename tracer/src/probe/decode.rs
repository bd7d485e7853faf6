//! From the kernel side's records to observations.

use std::{borrow::Cow, sync::Arc};

use bytemuck::{AnyBitPattern, NoUninit, pod_read_unaligned};
use hashbrown::HashMap;
use smol_str::SmolStr;
use tracer_common::{
    event::{self as wire, Kind},
    signal::SignalSet,
};

use crate::{
    host::sender::{CUT, command_line},
    model::{
        event::{Consumer, DispositionKind, ThreadRef},
        raw_name,
        signal::Signal,
    },
    observation::{
        Datagram, Environment, Fact, Generate, GenerateResult, Observation, Origin, Parent,
        ProcessId, Program, TICK_NS, Task,
    },
};

/// `SA_RESETHAND` (the same number on every architecture Linux has).
const SA_RESETHAND: u64 = 0x8000_0000;

/// The signal was queued (include/trace/events/signal.h).
const TRACE_SIGNAL_DELIVERED: u32 = 0;

/// Signals whose default action is another than to end the process without a core dump:
/// `SIG_KERNEL_COREDUMP_MASK`, `SIG_KERNEL_IGNORE_MASK` and `SIG_KERNEL_STOP_MASK`
/// (include/linux/signal.h).
const NOT_ENDING_AT_ONCE: SignalSet = {
    use nix::libc as c;
    let signals = [
        c::SIGQUIT,
        c::SIGILL,
        c::SIGTRAP,
        c::SIGABRT,
        c::SIGFPE,
        c::SIGSEGV,
        c::SIGBUS,
        c::SIGSYS,
        c::SIGXCPU,
        c::SIGXFSZ,
        c::SIGCONT,
        c::SIGCHLD,
        c::SIGWINCH,
        c::SIGURG,
        c::SIGSTOP,
        c::SIGTSTP,
        c::SIGTTIN,
        c::SIGTTOU,
    ];
    let mut set = SignalSet::EMPTY;
    let mut index = 0;
    while index < signals.len() {
        set = set.union(SignalSet::of(signals[index] as u32));
        index += 1;
    }
    set
};

/// A record that makes no sense: the kernel side and this side differ.
#[derive(Debug, thiserror::Error)]
#[error(
    "a record of kind {kind} and {length} bytes from the kernel side can't be read: \
     the eBPF object and this program don't match"
)]
pub struct BadRecord {
    kind: u32,
    length: usize,
}

/// What was told of senders that is remembered. Where there is more, what is old goes, or else all.
const MAX_ORIGINS: usize = 4_096;
/// When what was told of a sender is old, ns: signals refer to what was told a moment before
/// (`HOLDS_NS` of the kernel side).
const OLD_NS: u64 = 1_000_000_000;

/// Reads records.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    systemd_hierarchy: Option<u32>,
    /// Where senders come from, by when it was told.
    origins: HashMap<(ProcessId, u64), Arc<Origin>>,
}

impl Decoder {
    /// One that has read nothing. `systemd_hierarchy` is the id of the v1 hierarchy that systemd
    /// tracks units in, where there is one.
    #[must_use]
    pub fn new(systemd_hierarchy: Option<u32>) -> Self {
        Self { systemd_hierarchy, origins: HashMap::new() }
    }

    /// Reads one record. One that tells of a sender alone is kept for the signals that follow.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Option<Observation>, BadRecord> {
        let kind = bytes
            .get(..4)
            .and_then(|kind| kind.try_into().ok())
            .map_or(u32::MAX, u32::from_ne_bytes);
        let bad = BadRecord { kind, length: bytes.len() };
        if kind == Kind::Sender as u32 {
            return large(bytes).map(|record| self.sender(&record)).map(|()| None).ok_or(bad);
        }
        self.observation(kind, bytes).map(Some).ok_or(bad)
    }

    fn observation(&self, kind: u32, bytes: &[u8]) -> Option<Observation> {
        let header: wire::Header = prefix(bytes)?;
        let fact = match Kind::from_number(kind)? {
            Kind::Fork => fork(&prefix(bytes)?),
            Kind::Exec => exec(&*large(bytes)?),
            Kind::Exit => exit(&prefix(bytes)?),
            Kind::Generate => {
                let record = prefix(bytes)?;
                generate(&record, self.origin(&record))?
            }
            Kind::Deliver => deliver(&prefix(bytes)?)?,
            Kind::Disposition => disposition(&prefix(bytes)?)?,
            Kind::Mask => mask(&prefix(bytes)?),
            Kind::Consume => consume(&prefix(bytes)?)?,
            Kind::Notify => notify(bytes)?,
            Kind::Cgroup => cgroup(&*large(bytes)?, self.systemd_hierarchy),
            Kind::ThreadExit => thread_exit(&prefix(bytes)?),
            // It is no fact of its own.
            Kind::Sender => return None,
        };
        Some(Observation { at: header.at_ns, fact })
    }

    fn sender(&mut self, record: &wire::Sender) {
        let at = record.header.at_ns;
        if self.origins.len() >= MAX_ORIGINS {
            self.origins.retain(|(_, told), _| told.saturating_add(OLD_NS) > at);
        }
        if self.origins.len() >= MAX_ORIGINS {
            self.origins.clear();
        }
        self.origins.insert((id(&record.header.task), at), Arc::new(origin(record)));
    }

    /// What was told of the sender as it sent: nothing of the target itself, nor where that was
    /// lost.
    fn origin(&self, record: &wire::Generate) -> Option<Arc<Origin>> {
        self.origins.get(&(id(&record.header.task), record.sender_at)).cloned()
    }
}

/// What every record begins with.
#[must_use]
pub fn header(bytes: &[u8]) -> Option<wire::Header> {
    prefix(bytes)
}

/// What an exec loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The name of the file, symbolic links resolved.
    pub file: String,
    /// It is the interpreter of a script (`binfmt_script`, and what binfmt_misc names).
    pub for_script: bool,
}

/// What was loaded, if the record is of an exec.
#[must_use]
pub fn loaded(bytes: &[u8]) -> Option<Loaded> {
    header(bytes).filter(|header| header.kind == Kind::Exec as u32)?;
    let record = large::<wire::Exec>(bytes)?;
    let for_script = text(&record.filename) != text(&record.interp);
    Some(Loaded { file: text(&record.file).into_owned(), for_script })
}

fn prefix<T: AnyBitPattern>(bytes: &[u8]) -> Option<T> {
    bytes.get(..size_of::<T>()).map(pod_read_unaligned)
}

/// The same of a record that is not copied where it can be read as it is.
fn large<T: AnyBitPattern + NoUninit>(bytes: &[u8]) -> Option<Cow<'_, T>> {
    let bytes = bytes.get(..size_of::<T>())?;
    let in_place = bytemuck::try_from_bytes(bytes).map(Cow::Borrowed);
    Some(in_place.unwrap_or_else(|_| Cow::Owned(pod_read_unaligned(bytes))))
}

/// The text before the first zero byte.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    raw_name::text(&bytes[..end])
}

/// A name, which is short.
fn name(bytes: &[u8]) -> SmolStr {
    SmolStr::new(text(bytes))
}

fn id(task: &wire::Task) -> ProcessId {
    ProcessId { pid: task.pid, start_ticks: task.start_ns / TICK_NS }
}

fn task(task: &wire::Task) -> Task {
    Task {
        id: id(task),
        tid: task.tid,
        ns_pid: task.ns_pid,
        uid: task.uid,
        start_ns: task.start_ns,
        cgroup_id: task.cgroup_id,
        comm: name(&task.comm),
    }
}

fn fork(record: &wire::Fork) -> Fact {
    Fact::Fork {
        parent: task(&record.header.task),
        child: task(&record.child),
        shares_handlers: record.flags & wire::SHARES_HANDLERS != 0,
        shares_memory: record.flags & wire::SHARES_MEMORY != 0,
        state: record.state,
    }
}

fn exec(record: &wire::Exec) -> Fact {
    let has = |bit| record.environment & bit != 0;
    let mut exe = text(&record.interp);
    // fexecve(3) and systemd's executor: the name of the file says more than the descriptor.
    if exe.starts_with("/proc/self/fd/") || exe.starts_with("/dev/fd/") {
        exe = text(&record.file);
    }
    Fact::Exec {
        task: task(&record.header.task),
        filename: text(&record.filename).into_owned(),
        exe: exe.into(),
        file: text(&record.file).into(),
        program: Program::Unread,
        environment: Environment {
            invocation_id: has(wire::ENV_INVOCATION_ID)
                .then(|| text(&record.invocation_id).into_owned()),
            notify_socket: has(wire::ENV_NOTIFY_SOCKET)
                .then(|| text(&record.notify_socket).into_owned()),
            control: has(wire::ENV_MAINPID | wire::ENV_SERVICE_RESULT),
        },
        state: record.state,
    }
}

fn exit(record: &wire::Exit) -> Fact {
    Fact::Exit {
        task: task(&record.header.task),
        signal: Signal::from_number(record.status & 0x7f),
        code: (record.status >> 8) as u8,
        core_dumped: record.status & 0x80 != 0,
        state: record.state,
    }
}

fn thread_exit(record: &wire::ThreadExit) -> Fact {
    Fact::ThreadExit { task: task(&record.header.task), pending: record.pending }
}

fn generate(record: &wire::Generate, origin: Option<Arc<Origin>>) -> Option<Fact> {
    let has = |bit| record.flags & bit != 0;
    // Blocked comes first: the kernel keeps even an ignored signal that is blocked
    // (`sig_task_ignored` is not asked then).
    let is_unknown = has(wire::BLOCKED_UNKNOWN);
    let is_blocked = has(wire::TARGET_BLOCKED) || is_unknown && only_blocked_is_left(record);
    let kind = if is_blocked {
        DispositionKind::Blocked
    } else if has(wire::TARGET_UNKILLABLE) {
        DispositionKind::Ignored
    } else {
        disposition_kind(record.disposition)?
    };
    Some(Fact::Generate(Box::new(Generate {
        sender: (record.origin == wire::Origin::User as u32).then(|| task(&record.header.task)),
        origin,
        target: task(&record.target),
        signal: Signal::from_number(record.signal)?,
        result: match record.result {
            TRACE_SIGNAL_DELIVERED => GenerateResult::Queued,
            1 => GenerateResult::Ignored,
            2 => GenerateResult::AlreadyPending,
            3 => GenerateResult::Overflow,
            _ => GenerateResult::LostInfo,
        },
        si_code: record.si_code,
        disposition: kind,
        mask_unknown: is_unknown && !is_blocked,
        traced: has(wire::TARGET_TRACED),
        to_thread: has(wire::TO_THREAD),
        awaited: has(wire::TARGET_WAITING),
        unblocked: (record.unblocked_tid != 0)
            .then(|| ThreadRef { tid: record.unblocked_tid, comm: name(&record.unblocked_comm) }),
        handler: record.handler,
        dying_of: if has(wire::TARGET_DYING) {
            Signal::from_number(record.group_exit_code & 0x7f)
        } else {
            None
        },
    })))
}

/// In words.
fn origin(record: &wire::Sender) -> Origin {
    let parents = record.parents.iter().take_while(|parent| parent.pid != 0).map(parent).collect();
    let stored = (record.command_stored as usize).min(wire::COMMAND_LEN);
    let mut command = command_line(&record.command[..stored]);
    if let Some(command) = &mut command
        && record.command_length as usize > stored
    {
        command.push(CUT);
    }
    // The end of the path.
    let [own, above] = record.cgroup.each_ref().map(|name| text(name));
    let cgroup = (!own.is_empty()).then(|| format!("{above}/{own}"));
    Origin { command, cgroup, parents, asked_by: None }
}

fn parent(parent: &wire::Parent) -> Parent {
    Parent {
        id: ProcessId { pid: parent.pid, start_ticks: parent.start_ns / TICK_NS },
        ns_pid: parent.ns_pid,
        cgroup_id: parent.cgroup_id,
        comm: name(&parent.comm),
        command: None,
        cgroup: None,
    }
}

/// What the kernel did not do shows that every thread blocks a signal: had any one let it
/// through, its default action had made the whole group exit by now (`complete_signal` and
/// `wants_signal`, kernel/signal.c). Not if the action dumps core, which begins later, or if
/// the target is traced, stopped, immune or dying already. (The kernel passes over a thread
/// that has another signal to take and is not running, too: for so short a time that it is
/// not told apart.)
fn only_blocked_is_left(record: &wire::Generate) -> bool {
    const OTHER_REASONS: u32 = wire::TARGET_TRACED
        | wire::TARGET_STOPPED
        | wire::TARGET_UNKILLABLE
        | wire::TARGET_DYING
        | wire::TO_THREAD;
    record.result == TRACE_SIGNAL_DELIVERED
        && record.disposition == wire::DISPOSITION_DEFAULT
        && !NOT_ENDING_AT_ONCE.contains(record.signal)
        && record.flags & OTHER_REASONS == 0
}

fn deliver(record: &wire::Deliver) -> Option<Fact> {
    Some(Fact::Deliver {
        task: task(&record.header.task),
        signal: Signal::from_number(record.signal)?,
        disposition: disposition_kind(record.disposition)?,
        once: record.sa_flags & SA_RESETHAND != 0,
        unkillable: record.flags & wire::TARGET_UNKILLABLE != 0,
    })
}

fn disposition(record: &wire::Disposition) -> Option<Fact> {
    Some(Fact::Disposition {
        task: task(&record.header.task),
        signal: Signal::from_number(record.signal)?,
        disposition: disposition_kind(record.disposition)?,
        once: record.sa_flags & SA_RESETHAND != 0,
        handler: record.handler,
        loaded: None,
        state: record.state,
    })
}

fn disposition_kind(number: u32) -> Option<DispositionKind> {
    match number {
        wire::DISPOSITION_DEFAULT => Some(DispositionKind::Default),
        wire::DISPOSITION_IGNORED => Some(DispositionKind::Ignored),
        wire::DISPOSITION_HANDLER => Some(DispositionKind::Handler),
        _ => None,
    }
}

fn mask(record: &wire::Mask) -> Fact {
    Fact::Mask {
        task: task(&record.header.task),
        before: record.before,
        after: record.after,
        state: record.state,
    }
}

fn consume(record: &wire::Consume) -> Option<Fact> {
    let task = task(&record.header.task);
    let consumer = match record.way {
        wire::CONSUME_SIGNALFD => Consumer::Signalfd,
        wire::CONSUME_SIGWAIT => Consumer::Sigwait,
        _ => return Some(Fact::Taken { task, signal: Signal::from_number(record.signal)? }),
    };
    Some(Fact::Consume { task, consumer, set: record.set, state: record.state })
}

fn notify(bytes: &[u8]) -> Option<Fact> {
    const PAYLOAD: usize = std::mem::offset_of!(wire::Notify, payload);
    // The record is cut after what is stored of its payload.
    let mut whole = vec![0; size_of::<wire::Notify>()];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let record: wire::Notify = prefix(&whole)?;
    let payload = record.payload.get(..record.stored as usize)?;
    if bytes.len() < PAYLOAD + payload.len() {
        return None;
    }
    let has = |bit| record.flags & bit != 0;
    Some(Fact::Notify(Box::new(Datagram {
        sender: task(&record.header.task),
        exe: None,
        claimed_pid: has(wire::HAS_CREDENTIALS).then_some(record.claimed_pid),
        destination: address(record.address.path.get(..record.address.length as usize)?),
        payload: (!has(wire::PAYLOAD_UNREADABLE)).then(|| payload.to_vec()),
        length: record.length,
        errno: record.result.min(0).saturating_neg(),
        not_connected: has(wire::NOT_CONNECTED),
    })))
}

/// An address as people write it: an abstract one begins with `@`, and has every
/// byte given, while a path ends at its zero byte (`unix(7)`).
fn address(sun_path: &[u8]) -> String {
    match sun_path {
        [0, name @ ..] => format!("@{}", raw_name::text(name).replace('\0', "@")),
        path => text(path).into_owned(),
    }
}

fn cgroup(record: &wire::Cgroup, systemd_hierarchy: Option<u32>) -> Fact {
    let (hierarchy, id, path) = (record.hierarchy, record.id, text(&record.path).into_owned());
    if record.action == wire::CGROUP_MKDIR {
        return Fact::CgroupPath { hierarchy, id, path };
    }
    if record.action == wire::CGROUP_RMDIR {
        return Fact::CgroupGone { hierarchy, id, path };
    }
    let tracks_units = Some(hierarchy) == systemd_hierarchy || hierarchy == 0;
    Fact::CgroupAttach { task: task(&record.header.task), hierarchy, tracks_units, path }
}

#[cfg(test)]
mod tests;
