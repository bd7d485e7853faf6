//! The stream of observations from the attached kernel side.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, RingBuf},
};
use aya_log::EbpfLogger;
use bytes::Bytes;
use log::Log;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout,
};
use tracer_common::{
    event::Kind,
    pairs::{Running, place},
    signal::SignalSet,
};

use super::{
    attach::{Attached, Reach},
    decode,
    hooks::first,
    losses::Losses,
};
use crate::{
    host::{
        bounded::{Bounded, Patience},
        cgroups::Hierarchies,
        clock, procfs, program,
        sender::{self, CUT, Shown},
    },
    model::runtime::Runtime,
    observation::{Asker, Fact, Generate, Observation, ProcessId, Program, unit_of},
};

/// How often the loss counters are read. While a process is in bpf(2) for a map, the kernel
/// runs no program at a syscall's tracepoint on that CPU (`bpf_disable_instrumentation`), and
/// where the process can be preempted there, other processes' calls are missed.
const COUNT_LOSSES: Duration = Duration::from_secs(1);

/// The longest a record waits to be read where the kernel side wakes nobody for it.
const LATENCY: Duration = Duration::from_millis(50);
/// How much later than the end of a capture a record's time may be: records of several CPUs
/// overtake each other in the ring by microseconds.
const OVERTAKING_NS: u64 = 1_000_000;
/// How long the look-ups of programs in /proc may take: each, and all of one go.
const LOOKUPS: Patience =
    Patience { each: Duration::from_millis(20), all: Duration::from_millis(40) };

/// How long it may take to read what programs are, which can be megabytes from a disk.
const READS: Patience =
    Patience { each: Duration::from_millis(100), all: Duration::from_millis(200) };
/// How long it may take to find who had a systemd send a signal.
const ASKERS: Patience =
    Patience { each: Duration::from_millis(40), all: Duration::from_millis(40) };
/// How long the look-ups of command lines may take: each, and all of one go.
const COMMANDS: Patience =
    Patience { each: Duration::from_millis(20), all: Duration::from_millis(100) };
/// The most processes that are looked at in one go, of those that signals come from.
const MAX_SENDERS: usize = 256;
/// How far above a process that sends for a systemd that may be: a shell, and what runs that.
const MAX_BELOW_SYSTEMD: usize = 3;

/// Reads records, and counts the ones that were lost.
pub struct Stream {
    ring: AsyncFd<RingBuf<MapData>>,
    lost: PerCpuArray<MapData, u64>,
    losses: Losses,
    /// When the counters were read.
    counted: Instant,
    /// Of the hooks with two programs, by CPU.
    running: PerCpuArray<MapData, [u64; size_of::<Running>() / 8]>,
    /// By the hook they are on.
    programs: BTreeMap<String, Vec<OwnedFd>>,
    /// What the kernel side has to say about itself: only when something is wrong.
    messages: Option<EbpfLogger<&'static dyn Log>>,
    systemd_hierarchy: Option<u32>,
    /// The longest to wait for being woken.
    longest: Duration,
    /// The programs that processes run.
    programs_of: Bounded<ProcessId, Option<String>>,
    /// What those are.
    executables: Bounded<ProcessId, Option<program::Read>>,
    /// The virtual machines that they have loaded.
    loaded: Bounded<ProcessId, Option<Runtime>>,
    /// What processes show of themselves.
    shown_of: Bounded<ProcessId, Option<Shown>>,
    /// Whether the command lines of programs are told too.
    tells_commands: bool,
    /// Who had a systemd (the first) send a signal (to the second).
    askers: Bounded<(ProcessId, ProcessId), Option<Asker>>,
}

impl Stream {
    /// Takes the maps of an attached kernel side. Needs a tokio runtime.
    pub fn open(
        attached: &mut Attached,
        systemd_hierarchy: Option<u32>,
        tells_commands: bool,
    ) -> Result<Self> {
        let ebpf = &mut attached.ebpf;
        let ring = ebpf.take_map("EVENTS").context("the eBPF object has no map 'EVENTS'")?;
        let lost = ebpf.take_map("LOST").context("the eBPF object has no map 'LOST'")?;
        let running = ebpf.take_map("RUNNING").context("the eBPF object has no map 'RUNNING'")?;
        let ring = RingBuf::try_from(ring)?;
        let messages = EbpfLogger::init(ebpf)
            .inspect_err(|error| log::debug!("no messages from the kernel side: {error}"))
            .ok();
        // SAFETY: the descriptor is the ring's own and stays open until the ring, which
        // the AsyncFd owns, is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .context("cannot wait for the eBPF ring buffer")?;
        let reader = program::Reader::default();
        let hierarchies = Hierarchies::find()?;
        let of_askers = hierarchies.clone();
        Ok(Self {
            ring,
            lost: PerCpuArray::try_from(lost)?,
            losses: Losses::default(),
            counted: Instant::now(),
            running: PerCpuArray::try_from(running)?,
            programs: loaded(ebpf)?,
            messages,
            tells_commands,
            systemd_hierarchy,
            longest: match attached.reach {
                Reach::Everything => LATENCY,
                Reach::Listed | Reach::ChildrenOf(_) => Duration::MAX,
            },
            programs_of: Bounded::new("sigready-exe", procfs::exe),
            executables: Bounded::new("sigready-program", move |id| reader.read(id)),
            loaded: Bounded::new("sigready-maps", program::loaded),
            shown_of: Bounded::new("sigready-sender", move |id| sender::shown(id, &hierarchies)),
            askers: Bounded::new("sigready-asker", move |(systemd, target)| {
                sender::asker(systemd, target, &of_askers)
            }),
        })
    }

    /// Waits until there are records, `patience` at most. Can be dropped and called again.
    pub async fn wait(&mut self, patience: Duration) -> Result<()> {
        let woken = timeout(patience.min(self.longest), self.ring.readable_mut()).await;
        if let Ok(ready) = woken {
            ready.context("cannot wait for the eBPF ring buffer")?.clear_ready();
        }
        Ok(())
    }

    /// Takes `most` records at most, without waiting; now and then with the losses at their
    /// end. Fewer than that, and the ring is empty.
    pub fn take(&mut self, most: usize) -> Result<Vec<Observation>> {
        let mut observations = self.take_until(most, u64::MAX)?;
        if self.counted.elapsed() >= COUNT_LOSSES {
            self.losses(&mut observations)?;
        }
        Ok(observations)
    }

    /// Takes `most` records at most of those that were written until `end` (`CLOCK_BOOTTIME`
    /// ns). Fewer than that, and there are no more of them. One that is later is dropped.
    pub fn take_until(&mut self, most: usize, end: u64) -> Result<Vec<Observation>> {
        let mut records = Vec::new();
        let ring = self.ring.get_mut();
        while records.len() < most
            && let Some(record) = ring.next()
        {
            records.push(Bytes::copy_from_slice(&record));
            if is_later(&record, end) {
                break;
            }
        }
        let mut observations = Vec::with_capacity(records.len());
        for record in &records {
            observations.push(decode::decode(record, self.systemd_hierarchy)?);
        }
        if records.last().is_some_and(|record| is_later(record, end)) {
            observations.pop();
            // So that the caller sees that there are no more.
            debug_assert!(observations.len() < most);
        }
        self.look_up(&mut observations, &records);
        self.look_for_senders(&mut observations);
        if self.tells_commands {
            self.add_commands(&mut observations);
        }
        if let Some(messages) = &mut self.messages {
            messages.flush();
        }
        Ok(observations)
    }

    /// Throws away what is left of records until `end`, and gives all losses, those included.
    pub fn rest(&mut self, end: u64) -> Result<Vec<Observation>> {
        let mut left = BTreeMap::<&'static str, u64>::new();
        while let Some(record) = self.ring.get_mut().next() {
            if is_later(&record, end) {
                break;
            }
            if let Some(kind) = decode::header(&record).and_then(|it| Kind::from_number(it.kind)) {
                *left.entry(kind.name()).or_default() += 1;
            }
        }
        let at = clock::boot_ns();
        let loss = |(kind, count): (&'static str, u64)| Fact::Loss { kind: kind.into(), count };
        let mut observations: Vec<Observation> =
            left.into_iter().map(|left| Observation { at, fact: loss(left) }).collect();
        self.losses(&mut observations)?;
        Ok(observations)
    }

    /// Adds what only /proc can tell, while it can: the resolved paths of programs, what they
    /// are, and what they have loaded.
    fn look_up(&mut self, observations: &mut [Observation], records: &[Bytes]) {
        let exec = |fact: &Fact| match fact {
            Fact::Exec { task, .. } => Some(task.id),
            _ => None,
        };
        let sender = |fact: &Fact| match fact {
            Fact::Notify(datagram) => Some(datagram.sender.id),
            _ => None,
        };
        // What loads a virtual machine that may stand behind its handlers has it handle faults.
        let may_have_loaded = |fact: &Fact| match fact {
            Fact::Disposition { task, handler, .. } => {
                (handler.faults != SignalSet::EMPTY).then_some(task.id)
            }
            _ => None,
        };
        let paths =
            answers(&mut self.programs_of, LOOKUPS, observations, |it| exec(it).or(sender(it)));
        let programs = answers(&mut self.executables, READS, observations, exec);
        let loaded = answers(&mut self.loaded, LOOKUPS, observations, may_have_loaded);
        for (observation, record) in observations.iter_mut().zip(records) {
            match &mut observation.fact {
                // The process may have gone on to another program since.
                Fact::Exec { task, exe, program, .. } => {
                    let file = decode::loaded_file(record);
                    if let Some(resolved) = paths.get(&task.id)
                        && resolved.rsplit('/').next() == file.as_deref()
                    {
                        exe.clone_from(resolved);
                    }
                    if let Some(read) = programs.get(&task.id)
                        && Some(&read.name) == file.as_ref()
                    {
                        *program = match read.program {
                            Program::Plain if decode::is_script(record) => {
                                Program::Of(Runtime::Unlisted)
                            }
                            program => program,
                        };
                    }
                }
                Fact::Notify(datagram) => {
                    datagram.exe = paths.get(&datagram.sender.id).cloned();
                }
                Fact::Disposition { task, loaded: found, .. } => {
                    *found = loaded.get(&task.id).copied();
                }
                _ => {}
            }
        }
    }

    /// Adds the command lines of the programs that processes begin to run, and of those that were
    /// found.
    pub fn add_commands(&mut self, observations: &mut Vec<Observation>) {
        let begun = observations.iter().filter_map(|observation| match &observation.fact {
            Fact::Exec { task, .. } | Fact::Found { task, .. } => Some((observation.at, task)),
            _ => None,
        });
        let begun: Vec<_> = begun.map(|(at, task)| (at, task.clone())).collect();
        let ids: Vec<ProcessId> = begun.iter().map(|(_, task)| task.id).collect();
        let shown = self.shown_of.ask(&ids, COMMANDS);
        observations.extend(begun.into_iter().zip(shown).filter_map(|((at, task), shown)| {
            let line = shown??.command?;
            Some(Observation { at, fact: Fact::CommandLine { task, line } })
        }));
    }

    /// Adds what /proc tells of senders that are still there: their cgroups, what was cut off
    /// their command lines, and who had a systemd send.
    fn look_for_senders(&mut self, observations: &mut [Observation]) {
        let sent = observations.iter_mut().filter_map(|observation| match &mut observation.fact {
            Fact::Generate(generate) if generate.origin.is_some() => Some(&mut **generate),
            _ => None,
        });
        let mut sent: Vec<&mut Generate> = sent.collect();
        if sent.is_empty() {
            return;
        }
        let asked = sent.iter().filter_map(|generate| for_whom(generate)).collect::<BTreeSet<_>>();
        let asked: Vec<_> = asked.into_iter().take(1).collect();
        // First: who asked by systemctl(1) is soon gone.
        let client = self.askers.ask(&asked, ASKERS).into_iter().flatten().flatten().next();
        let ids: BTreeSet<ProcessId> =
            sent.iter().flat_map(|generate| processes(generate)).collect();
        let ids: Vec<ProcessId> = ids.into_iter().take(MAX_SENDERS).collect();
        let shown = self.shown_of.ask(&ids, LOOKUPS).into_iter().map(Option::flatten);
        let shown: BTreeMap<ProcessId, Shown> =
            ids.into_iter().zip(shown).filter_map(|(id, shown)| Some((id, shown?))).collect();
        for generate in &mut sent {
            let is_asked = for_whom(generate).is_some_and(|it| asked.contains(&it));
            let sender = generate.sender.as_ref().and_then(|sender| shown.get(&sender.id));
            let Some(origin) = &mut generate.origin else { continue };
            if let Some(sender) = sender {
                let whole = origin.command.as_ref().is_some_and(|line| !line.ends_with(CUT));
                // What it was as it sent counts: it may have gone on to another program.
                let same = origin.command.as_ref().is_none_or(|line| {
                    let begin = line.trim_end_matches(CUT);
                    sender.command.as_ref().is_some_and(|whole| whole.starts_with(begin))
                });
                if !whole && same {
                    origin.command.clone_from(&sender.command);
                }
                // In a v1 hierarchy /proc alone tells it.
                let is_in_unit = |path: &&String| unit_of(path).is_some();
                if let Some(path) = sender.cgroup.as_ref().filter(is_in_unit) {
                    origin.cgroup = Some(path.clone());
                }
            }
            for parent in &mut origin.parents {
                if let Some(Shown { command, cgroup }) = shown.get(&parent.id) {
                    parent.command.clone_from(command);
                    parent.cgroup.clone_from(cgroup);
                }
            }
            origin.asked_by = client.clone().filter(|_| is_asked).map(Box::new);
        }
    }

    /// How many events were missed at most. The kernel skips a program that would run within
    /// itself on a CPU, and counts that (`recursion_misses`, from 5.12 on): an event is missed
    /// if every program on its hook missed it, for which all of them have to be preempted at
    /// one time. For the end of a capture: it has to be asked for program by program.
    #[must_use]
    pub fn skipped(&self) -> Vec<Observation> {
        let of_hook = |(first, programs): (&String, &Vec<OwnedFd>)| {
            let missed: Vec<u64> = programs.iter().filter_map(recursion_misses).collect();
            if missed.iter().any(|missed| *missed > 0) {
                log::info!("programs at {first} missed events: {missed:?}");
            }
            let is_covered = missed.len() > 1 && !self.may_miss(first);
            let count = missed.into_iter().min().filter(|_| !is_covered)?;
            let kind = format!("skipped at {first}").into();
            let fact = Fact::Loss { kind, count };
            (count > 0).then(|| Observation { at: clock::boot_ns(), fact })
        };
        self.programs.iter().filter_map(of_hook).collect()
    }

    /// Whether both programs on a hook were ever preempted at one time on a CPU, as far as is
    /// known.
    fn may_miss(&self, first: &str) -> bool {
        let running = place(first).and_then(|place| self.running.get(&place, 0).ok());
        running.is_none_or(|by_cpu| {
            by_cpu.iter().any(|it| bytemuck::cast_ref::<_, Running>(it).may_have_missed())
        })
    }

    fn losses(&mut self, observations: &mut Vec<Observation>) -> Result<()> {
        self.counted = Instant::now();
        for kind in Kind::ALL {
            let counts =
                self.lost.get(&(kind as u32), 0).context("cannot read the loss counters")?;
            if let Some(count) = self.losses.since_last(kind, counts.iter().sum()) {
                let fact = Fact::Loss { kind: kind.name().into(), count };
                observations.push(Observation { at: clock::boot_ns(), fact });
            }
        }
        Ok(())
    }
}

/// Asks once for each process that `wanted` names, and gives the answers there are.
fn answers<A: Send + 'static>(
    reader: &mut Bounded<ProcessId, Option<A>>,
    patience: Patience,
    observations: &[Observation],
    wanted: impl Fn(&Fact) -> Option<ProcessId>,
) -> BTreeMap<ProcessId, A> {
    let wanted: BTreeSet<ProcessId> =
        observations.iter().filter_map(|observation| wanted(&observation.fact)).collect();
    let wanted: Vec<ProcessId> = wanted.into_iter().collect();
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let found = reader.ask(&wanted, patience).into_iter().map(Option::flatten);
    wanted.into_iter().zip(found).filter_map(|(id, found)| Some((id, found?))).collect()
}

/// The processes that a signal comes from.
fn processes(generate: &Generate) -> impl Iterator<Item = ProcessId> {
    let parents = generate.origin.iter().flat_map(|origin| &origin.parents);
    generate.sender.iter().map(|sender| sender.id).chain(parents.map(|parent| parent.id))
}

/// The systemd that sent a signal, itself or by a command of the target's unit, and the target.
fn for_whom(generate: &Generate) -> Option<(ProcessId, ProcessId)> {
    let sender = generate.sender.as_ref()?;
    let is_systemd = |comm: &str, ns_pid: u32| comm == "systemd" || ns_pid == 1;
    if is_systemd(&sender.comm, sender.ns_pid) {
        return Some((sender.id, generate.target.id));
    }
    let mut parents = generate.origin.as_ref()?.parents.iter().take(MAX_BELOW_SYSTEMD);
    let systemd = parents.find(|parent| is_systemd(&parent.comm, parent.ns_pid))?;
    (sender.cgroup_id == generate.target.cgroup_id).then_some((systemd.id, generate.target.id))
}

/// The programs that are in the kernel, by the hook they are on.
fn loaded(ebpf: &Ebpf) -> Result<BTreeMap<String, Vec<OwnedFd>>> {
    let mut programs = BTreeMap::<_, Vec<_>>::new();
    for (name, program) in ebpf.programs() {
        let Ok(descriptor) = program.fd() else { continue };
        let descriptor = descriptor
            .as_fd()
            .try_clone_to_owned()
            .context("cannot keep the eBPF programs open")?;
        programs.entry(first(name).to_owned()).or_default().push(descriptor);
    }
    Ok(programs)
}

/// What `/proc/self/fdinfo` says of a program (`bpf_prog_show_fdinfo`).
fn recursion_misses(program: &OwnedFd) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    let info = fs::read_to_string(path).ok()?;
    info.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
}

/// Whether a record is of a later time than `end`.
fn is_later(record: &[u8], end: u64) -> bool {
    decode::header(record).is_some_and(|header| header.at_ns > end.saturating_add(OVERTAKING_NS))
}
