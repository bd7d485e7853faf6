//! The stream of observations from the attached kernel side.

use std::{
    collections::BTreeMap,
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
    pairs::{Turns, place},
};

use super::{
    attach::{Attached, Reach},
    decode,
    hooks::first,
    losses::Losses,
};
use crate::{
    host::{clock, procfs},
    observation::{Fact, Observation},
};

/// Records taken from the ring at one go, so that a busy host can't hold the loop.
const BATCH: usize = 4096;
/// How often the loss counters are read. While a process is in bpf(2) for a map, the kernel
/// runs no program at a syscall's tracepoint on that CPU (`bpf_disable_instrumentation`), and
/// where the process can be preempted there, other processes' calls are missed.
const COUNT_LOSSES: Duration = Duration::from_secs(1);

/// The longest a record waits to be read where the kernel side wakes nobody for it.
const LATENCY: Duration = Duration::from_millis(50);

/// Reads records, and counts the ones that were lost.
pub struct Stream {
    ring: AsyncFd<RingBuf<MapData>>,
    lost: PerCpuArray<MapData, u64>,
    losses: Losses,
    /// When the counters were read.
    counted: Instant,
    /// Of the hooks with two programs, by CPU.
    turns: PerCpuArray<MapData, [u64; size_of::<Turns>() / 8]>,
    /// By the hook they are on.
    programs: BTreeMap<String, Vec<OwnedFd>>,
    /// What the kernel side has to say about itself: only when something is wrong.
    messages: Option<EbpfLogger<&'static dyn Log>>,
    systemd_hierarchy: Option<u32>,
    /// The longest to wait for being woken.
    longest: Duration,
    /// Taken from the ring, not decoded yet.
    records: Vec<Bytes>,
}

impl Stream {
    /// Takes the maps of an attached kernel side. Needs a tokio runtime.
    pub fn open(attached: &mut Attached, systemd_hierarchy: Option<u32>) -> Result<Self> {
        let ebpf = &mut attached.ebpf;
        let ring = ebpf.take_map("EVENTS").context("the eBPF object has no map 'EVENTS'")?;
        let lost = ebpf.take_map("LOST").context("the eBPF object has no map 'LOST'")?;
        let turns = ebpf.take_map("TURNS").context("the eBPF object has no map 'TURNS'")?;
        let ring = RingBuf::try_from(ring)?;
        let messages = EbpfLogger::init(ebpf)
            .inspect_err(|error| log::debug!("no messages from the kernel side: {error}"))
            .ok();
        // SAFETY: the descriptor is the ring's own and stays open until the ring, which
        // the AsyncFd owns, is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .context("cannot wait for the eBPF ring buffer")?;
        Ok(Self {
            ring,
            lost: PerCpuArray::try_from(lost)?,
            losses: Losses::default(),
            counted: Instant::now(),
            turns: PerCpuArray::try_from(turns)?,
            programs: loaded(ebpf)?,
            messages,
            systemd_hierarchy,
            longest: match attached.reach {
                Reach::Everything => LATENCY,
                Reach::Listed | Reach::ChildrenOf(_) => Duration::MAX,
            },
            records: Vec::new(),
        })
    }

    /// Waits at most `patience` for records, and returns what has come, now and then with
    /// the losses at its end.
    pub async fn next(&mut self, patience: Duration) -> Result<Vec<Observation>> {
        if self.drain() == 0 {
            let woken = timeout(patience.min(self.longest), self.ring.readable_mut()).await;
            if let Ok(ready) = woken {
                ready.context("cannot wait for the eBPF ring buffer")?.clear_ready();
            }
            self.drain();
        }
        let mut observations = self.observations()?;
        if self.counted.elapsed() >= COUNT_LOSSES {
            self.losses(&mut observations)?;
        }
        Ok(observations)
    }

    /// What is left in the ring, without waiting, with the losses at its end.
    pub fn rest(&mut self) -> Result<Vec<Observation>> {
        while self.drain() == BATCH {}
        let mut observations = self.observations()?;
        self.losses(&mut observations)?;
        Ok(observations)
    }

    /// How many events at most the kernel passed over because a program was running already
    /// when it was to run again on the same processor (`recursion_misses`, from 5.12 on):
    /// as many as every program on the hook missed, if ever all of them were put aside at one
    /// time. For the end of a capture: it has to be asked for program by program.
    #[must_use]
    pub fn skipped(&self) -> Vec<Observation> {
        let of_hook = |(first, programs): (&String, &Vec<OwnedFd>)| {
            let missed: Vec<u64> = programs.iter().filter_map(recursion_misses).collect();
            if missed.iter().any(|missed| *missed > 0) {
                log::info!("the kernel passed over programs at {first}: {missed:?}");
            }
            let is_covered = missed.len() > 1 && !self.may_miss(first);
            let count = missed.into_iter().min().filter(|_| !is_covered)?;
            let kind = format!("skipped at {first}").into();
            let fact = Fact::Loss { kind, count };
            (count > 0).then(|| Observation { at: clock::boot_ns(), fact })
        };
        self.programs.iter().filter_map(of_hook).collect()
    }

    /// Whether both programs on a hook were ever put aside at one time on a processor, as far
    /// as is known.
    fn may_miss(&self, first: &str) -> bool {
        let turns = place(first).and_then(|place| self.turns.get(&place, 0).ok());
        turns.is_none_or(|by_cpu| {
            by_cpu.iter().any(|turns| bytemuck::cast_ref::<_, Turns>(turns).may_have_missed())
        })
    }

    fn drain(&mut self) -> usize {
        let ring = self.ring.get_mut();
        let before = self.records.len();
        while self.records.len() - before < BATCH
            && let Some(record) = ring.next()
        {
            self.records.push(Bytes::copy_from_slice(&record));
        }
        self.records.len() - before
    }

    fn observations(&mut self) -> Result<Vec<Observation>> {
        let mut observations = Vec::with_capacity(self.records.len());
        for record in std::mem::take(&mut self.records) {
            let mut observation = decode::decode(&record, self.systemd_hierarchy)?;
            look_up(&mut observation.fact, &record);
            observations.push(observation);
        }
        if let Some(messages) = &mut self.messages {
            messages.flush();
        }
        Ok(observations)
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

/// Adds what only /proc can tell, while it can: the resolved path of a program.
fn look_up(fact: &mut Fact, record: &[u8]) {
    match fact {
        // The process may have gone on to another program since.
        Fact::Exec { task, exe, .. } => {
            if let Some(resolved) = procfs::exe(task.id)
                && resolved.rsplit('/').next() == decode::loaded_file(record).as_deref()
            {
                *exe = resolved;
            }
        }
        Fact::Notify(datagram) => datagram.exe = procfs::exe(datagram.sender.id),
        _ => {}
    }
}
