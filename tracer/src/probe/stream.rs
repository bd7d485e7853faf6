//! The stream of observations from the attached kernel side.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, mem,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, RingBuf},
};
use aya_log::EbpfLogger;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout,
};
use tracer_common::{
    event::Kind,
    pairs::{self, Running},
};

use super::{
    attach::Attached,
    decode::{self, Decoder},
    grace_period::GracePeriod,
    hooks::first,
    lookups::Lookups,
    losses::Losses,
    messages::Messages,
    place,
};
use crate::{
    host::{cgroups::Hierarchies, clock},
    observation::{Fact, Observation},
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
    /// What was told of events that were missed, by hook.
    skipped: BTreeMap<String, u64>,
    /// What the kernel side has to say about itself: only when something is wrong.
    messages: Option<EbpfLogger<Messages>>,
    /// What of it has been said.
    said: Messages,
    decoder: Decoder,
    /// A record that was read, and is of a later time than those that were asked for.
    ahead: Option<Vec<u8>>,
    grace_period: GracePeriod,
    lookups: Lookups,
    /// Whether the command lines of programs are told too.
    tells_commands: bool,
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
        let said = Messages::default();
        let messages = EbpfLogger::init_with_logger(ebpf, said.clone())
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
            running: PerCpuArray::try_from(running)?,
            programs: loaded(ebpf)?,
            skipped: BTreeMap::new(),
            messages,
            said,
            tells_commands,
            decoder: Decoder::new(systemd_hierarchy),
            ahead: None,
            grace_period: GracePeriod::new(),
            lookups: Lookups::new(Hierarchies::find()?),
        })
    }

    /// Waits until there are records, `patience` at most. Can be dropped and called again.
    pub async fn wait(&mut self, patience: Duration) -> Result<()> {
        let woken = timeout(patience.min(LATENCY), self.ring.readable_mut()).await;
        if let Ok(ready) = woken {
            ready.context("cannot wait for the eBPF ring buffer")?.clear_ready();
        }
        Ok(())
    }

    /// Takes `most` records at most, without waiting, to `into`, which is empty; now and then with
    /// the losses at their end. Tells whether there may be more.
    pub fn take(&mut self, most: usize, into: &mut VecDeque<Observation>) -> Result<bool> {
        let has_more = self.take_until(most, u64::MAX, into)?;
        if self.counted.elapsed() >= COUNT_LOSSES {
            into.extend(self.losses()?);
        }
        Ok(has_more)
    }

    /// Takes `most` records at most of those that were written until `end` (`CLOCK_BOOTTIME`
    /// ns), to `into`, which is empty. Tells whether there may be more of them. One that is later
    /// is kept for the next call.
    pub fn take_until(
        &mut self,
        most: usize,
        end: u64,
        into: &mut VecDeque<Observation>,
    ) -> Result<bool> {
        let mut loaded = Vec::new();
        let mut has_more = true;
        let decoder = &mut self.decoder;
        let mut read = Records { ring: self.ring.get_mut(), ahead: &mut self.ahead, end };
        while into.len() < most && has_more {
            has_more = read.next(|record| {
                loaded.extend(decode::loaded(record).map(|it| (into.len(), it)));
                into.extend(decoder.decode(record)?);
                anyhow::Ok(())
            })?;
        }
        let observations = into.make_contiguous();
        self.lookups.add_programs(observations, &loaded);
        self.lookups.add_senders(observations);
        if self.tells_commands {
            let commands = self.lookups.commands(observations);
            into.extend(commands);
        }
        if let Some(messages) = &mut self.messages {
            messages.flush();
        }
        Ok(has_more)
    }

    /// Waits until the programs that run now have sent what they know, as far as that does not
    /// take long.
    pub fn wait_for_programs(&mut self) {
        if !self.grace_period.wait() {
            log::debug!("it is not known whether all programs have sent their records");
        }
    }

    /// Throws away what is left of records until `end`, and gives all losses, those included.
    pub fn rest(&mut self, end: u64) -> Result<Vec<Observation>> {
        let mut left = BTreeMap::<&'static str, u64>::new();
        let mut count = |record: &[u8]| {
            if let Some(kind) = decode::header(record).and_then(|it| Kind::from_number(it.kind)) {
                *left.entry(kind.name()).or_default() += 1;
            }
            Ok(())
        };
        let mut read = Records { ring: self.ring.get_mut(), ahead: &mut self.ahead, end };
        while read.next(&mut count)? {}
        if let Some(messages) = &mut self.messages {
            messages.flush();
        }
        for (text, times) in self.said.repeated() {
            log::warn!("{text} (said {times} times)");
        }
        let at = clock::boot_ns();
        let loss = |(kind, count): (&'static str, u64)| Fact::Loss { kind: kind.into(), count };
        let mut observations: Vec<Observation> =
            left.into_iter().map(|left| Observation { at, fact: loss(left) }).collect();
        observations.extend(self.losses()?);
        Ok(observations)
    }

    /// The command lines of processes that were found.
    pub fn commands(&mut self, found: &[Observation]) -> Vec<Observation> {
        self.lookups.commands(found)
    }

    /// How many events were missed at most since this was asked for last. The kernel skips a
    /// program that would run within itself on a CPU, and counts that (`recursion_misses`, from
    /// 5.12 on): an event is missed if every program on its hook missed it, for which all of them
    /// have to be preempted at one time. For the end of a capture: it has to be asked for program
    /// by program.
    #[must_use]
    pub fn skipped(&mut self) -> Vec<Observation> {
        let mut told = mem::take(&mut self.skipped);
        let mut of_hook = |(first, programs): (&String, &Vec<OwnedFd>)| {
            let missed: Vec<u64> = programs.iter().filter_map(recursion_misses).collect();
            if missed.iter().any(|missed| *missed > 0) {
                log::info!("programs at {first} missed events: {missed:?}");
            }
            let is_covered = missed.len() > 1 && !self.may_miss(first);
            let all = missed.into_iter().min().filter(|_| !is_covered)?;
            let count = all.saturating_sub(told.insert(first.clone(), all).unwrap_or(0));
            let kind = format!("skipped at {first}").into();
            let fact = Fact::Loss { kind, count };
            (count > 0).then(|| Observation { at: clock::boot_ns(), fact })
        };
        let skipped = self.programs.iter().filter_map(&mut of_hook).collect();
        self.skipped = told;
        skipped
    }

    /// Whether both programs on a hook were ever preempted at one time on a CPU, as far as is
    /// known.
    fn may_miss(&self, first: &str) -> bool {
        let running = pairs::place(first).and_then(|place| self.running.get(&place, 0).ok());
        running.is_none_or(|by_cpu| {
            by_cpu.iter().any(|it| bytemuck::cast_ref::<_, Running>(it).may_have_missed())
        })
    }

    /// What was lost since this was asked last.
    fn losses(&mut self) -> Result<Vec<Observation>> {
        self.counted = Instant::now();
        let mut observations = Vec::new();
        for kind in Kind::ALL {
            let counts =
                self.lost.get(&(kind as u32), 0).context("cannot read the loss counters")?;
            if let Some(count) = self.losses.since_last(kind, counts.iter().sum()) {
                let fact = Fact::Loss { kind: kind.name().into(), count };
                observations.push(Observation { at: clock::boot_ns(), fact });
            }
        }
        Ok(observations)
    }
}

/// The records of a ring that were written until a time.
struct Records<'a> {
    ring: &'a mut RingBuf<MapData>,
    ahead: &'a mut Option<Vec<u8>>,
    end: u64,
}

impl Records<'_> {
    /// Shows the next one, if there is one. Whether there was.
    fn next(&mut self, show: impl FnOnce(&[u8]) -> Result<()>) -> Result<bool> {
        let end = self.end;
        if let Some(record) = self.ahead.take_if(|record| !is_later(record, end)) {
            show(&record)?;
            return Ok(true);
        }
        if self.ahead.is_some() {
            return Ok(false);
        }
        match self.ring.next() {
            Some(record) if is_later(&record, end) => *self.ahead = Some(record.to_vec()),
            Some(record) => {
                show(&record)?;
                return Ok(true);
            }
            None => {}
        }
        Ok(false)
    }
}

/// The programs that are in the kernel, by the hook they are on.
fn loaded(ebpf: &Ebpf) -> Result<BTreeMap<String, Vec<OwnedFd>>> {
    let mut programs = BTreeMap::<_, Vec<_>>::new();
    for (name, program) in ebpf.programs().filter(|(name, _)| !name.starts_with(place::PREFIX)) {
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
