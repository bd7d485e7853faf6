//! Whether a run has shown what it is made for.

use std::collections::BTreeMap;

use tracer_common::signal::SignalSet;

use super::steps::FRESH_NS;
use crate::{
    model::{event::DispositionKind, signal::Signal},
    observation::{Fact, Generate, Observation, ProcessId},
    timeline::notify::{Meaning, meaning, parse, says_ready},
};

/// A signal that met a mask waits for somebody who reads it, and that one for a processor: the
/// command has so many settle times then, and one whose answer is awaited.
const SETTLES_OF_LATE: u64 = 5;

/// How long a signal that was sent at rest may take until the kernel's record of it is here.
const AWAITED_NS: u64 = 1_000_000_000;

/// How long a reload may take from when it was asked for at rest until its signal is sent.
pub const RELOADS_NS: u64 = 5_000_000_000;

/// Signals with a sender that are taken down: one is sent, and a service may get others.
pub(super) const MAX_SENT: usize = 64;

/// Children of which it is not yet known what they are.
pub(super) const MAX_FRESH: usize = 1_024;

/// What a run has to come to. Times are in ns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Goal {
    /// READY=1 is to be said.
    pub ready: bool,
    /// systemd is to take the unit for up.
    pub up: bool,
    /// It goes on for so long after the fork at least.
    pub least_ns: u64,
    /// How long nothing is to change before it is over, and how long the command is to be there
    /// after a signal was placed.
    pub settle_ns: u64,
    /// The signals that steps are about: what is done about others changes nothing. A shell that
    /// runs commands in the foreground sets its actions for INT and QUIT again and again.
    pub signals: SignalSet,
    /// The signal that is placed, if one is.
    pub signal: Option<Signal>,
    /// Who sends it.
    pub sender: SentBy,
    /// The signal is to end the command: nothing else ends the run.
    pub ends: bool,
    /// It is to be answered with READY=1.
    pub answered: bool,
    /// At rest it is answered with RELOADING=1: that may take longer while the service starts.
    pub answers: bool,
}

/// Follows a run, by its facts.
#[derive(Clone, Debug)]
pub struct Watch {
    goal: Goal,
    /// The command.
    pid: u32,
    /// The path of its notify socket.
    socket: Option<String>,
    began: u64,
    /// When something changed last, `CLOCK_BOOTTIME` ns.
    changed: u64,
    /// When each child was forked that has neither executed a program nor ended (the same clock).
    fresh: BTreeMap<ProcessId, u64>,
    /// When READY=1 was said last (the same clock), and how often.
    ready: Option<u64>,
    readies: u32,
    /// When RELOADING=1 was said last.
    reloading: Option<u64>,
    /// When systemd took the unit for up.
    up: Option<u64>,
    /// When it was at rest, and a signal was sent.
    rested: Option<u64>,
    placed: Option<u64>,
    /// In which process the signal was placed.
    target: Option<(u32, Signal)>,
    /// The signal that was placed met a mask, and no handler of it was called yet.
    met_mask: bool,
    /// It was thrown away: nothing ends by it.
    ignored: bool,
    /// When the signal that is placed came (the same clock), and who sent each.
    sent: Vec<(u64, u32)>,
}

impl Watch {
    /// Of a command that was started at `began` (`CLOCK_BOOTTIME` ns).
    #[must_use]
    pub fn new(goal: Goal, pid: u32, socket: Option<String>, began: u64) -> Self {
        Self {
            goal,
            pid,
            socket,
            began,
            changed: began,
            fresh: BTreeMap::new(),
            ready: None,
            readies: 0,
            reloading: None,
            up: None,
            rested: None,
            placed: None,
            target: None,
            met_mask: false,
            ignored: false,
            sent: Vec::new(),
        }
    }

    /// The command is known from now on: that of a unit comes when systemd starts it.
    pub fn begin(&mut self, pid: u32, at: u64) {
        self.pid = pid;
        self.began = at;
        self.changed = at;
    }

    /// From now on it is this process that is to change nothing: the main one of `Type=forking`.
    pub fn follow(&mut self, pid: u32) {
        self.pid = pid;
    }

    /// systemd took the unit for up at this time.
    pub fn came_up(&mut self, at: u64) {
        self.up = Some(at);
    }

    /// It is at rest, and from now on it is to come to this: a signal is sent.
    pub fn rest(&mut self, goal: Goal, at: u64) {
        self.goal = goal;
        self.rested = Some(at);
    }

    /// Takes a fact.
    pub fn learn(&mut self, observation: &Observation) {
        let at = observation.at;
        self.learn_child(at, &observation.fact);
        match &observation.fact {
            Fact::Exec { task, .. } if task.id.pid == self.pid => {
                self.changed = self.changed.max(at);
            }
            Fact::Disposition { task, signal, .. }
                if task.id.pid == self.pid && self.goal.signals.intersects(signal.set()) =>
            {
                self.changed = self.changed.max(at);
            }
            Fact::Consume { task, set, .. }
                if task.id.pid == self.pid && self.goal.signals.intersects(*set) =>
            {
                self.changed = self.changed.max(at);
            }
            Fact::Notify(datagram)
                if datagram.errno == 0
                    && self.socket.as_deref() == Some(&datagram.destination)
                    && datagram.payload.as_deref().is_some_and(says_ready) =>
            {
                self.ready = self.ready.max(Some(at));
                self.readies += 1;
                self.changed = self.changed.max(at);
            }
            // It reloads or stops: what is left of that is a part of what is raced.
            Fact::Notify(datagram)
                if datagram.errno == 0 && self.socket.as_deref() == Some(&datagram.destination) =>
            {
                let said = datagram.payload.as_deref().and_then(|it| means(it, datagram.length));
                if said.is_some() {
                    self.changed = self.changed.max(at);
                }
                if said == Some(Meaning::Reloading) {
                    self.reloading = self.reloading.max(Some(at));
                }
            }
            Fact::Generate(sent)
                if self.goal.signal == Some(sent.signal) && self.is_placed(sent) =>
            {
                self.placed = self.placed.max(Some(at));
                self.target = Some((sent.target.id.pid, sent.signal));
                self.met_mask |= sent.disposition == DispositionKind::Blocked;
                self.ignored = sent.disposition == DispositionKind::Ignored;
                if let Some(sender) = sent.sender.as_ref().filter(|_| self.sent.len() < MAX_SENT) {
                    self.sent.push((at, sender.id.pid));
                }
            }
            // It was let through, or a thread that waited for it got it.
            Fact::Deliver { task, signal, .. } | Fact::Taken { task, signal }
                if self.met_mask && self.target == Some((task.id.pid, *signal)) =>
            {
                self.met_mask = false;
                self.changed = self.changed.max(at);
            }
            _ => {}
        }
    }

    /// Follows the children until it is known what they are: a worker, or a helper.
    fn learn_child(&mut self, at: u64, fact: &Fact) {
        match fact {
            Fact::Fork { child, .. } if self.fresh.len() < MAX_FRESH => {
                self.fresh.insert(child.id, at);
            }
            Fact::Exec { task, .. } | Fact::Exit { task, .. } => {
                self.fresh.remove(&task.id);
            }
            _ => {}
        }
    }

    /// Whether a signal comes from who is to send it.
    fn is_placed(&self, sent: &Generate) -> bool {
        let sender = sent.sender.as_ref().map(|sender| sender.id.pid);
        let SentBy::Systemd(systemd) = self.goal.sender else {
            return self.goal.sender.is(sender, sent.si_code);
        };
        // Itself, or what it has started for the reload; not the service, which it has started too.
        let parents = sent.origin.iter().flat_map(|origin| &origin.parents).map(|it| it.id.pid);
        let mut line = sender.into_iter().chain(parents);
        sent.si_code == SI_USER
            && sent.target.id.pid == self.pid
            && line.by_ref().take_while(|pid| *pid != self.pid).any(|pid| pid == systemd)
    }

    /// When signals came that are placed with a sender (`CLOCK_BOOTTIME` ns), and who sent them.
    #[must_use]
    pub fn sent(&self) -> &[(u64, u32)] {
        &self.sent
    }

    /// Whether READY=1 was said.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// How often it was.
    #[must_use]
    pub fn readies(&self) -> u32 {
        self.readies
    }

    /// When there is nothing more to wait for, `CLOCK_BOOTTIME` ns; `None` as long as that
    /// depends on what is to come.
    #[must_use]
    pub fn settles(&self) -> Option<u64> {
        let is_due = self.goal.ready && self.ready.is_none()
            || self.goal.up && self.up.is_none()
            || self.goal.ends && self.placed.is_some() && !self.ignored
            || self.goal.answered && self.placed.is_some() && self.ready <= self.placed
            // It has begun to answer, of whatever type it is.
            || self.placed.is_some() && self.reloading > self.placed.max(self.ready);
        if is_due {
            return None;
        }
        let last = self.placed.max(self.up).unwrap_or(0).max(self.changed);
        let awaits_answer =
            self.goal.answers && self.placed.is_some() && self.reloading < self.placed;
        let times = if self.met_mask || awaits_answer { SETTLES_OF_LATE } else { 1 };
        let settled = last.saturating_add(times.saturating_mul(self.goal.settle_ns));
        let settled = settled.max(self.began.saturating_add(self.goal.least_ns));
        let comes = match self.goal.sender {
            SentBy::Systemd(_) => RELOADS_NS,
            SentBy::Kernel | SentBy::Process(_) => AWAITED_NS,
        };
        let awaited = self.rested.filter(|_| self.placed.is_none());
        let settled = settled.max(awaited.map_or(0, |at| at.saturating_add(comes)));
        // Those that come later are not waited for: a shell may have one after another.
        let before = self.fresh.values().filter(|at| **at <= settled && self.goal.signal.is_none());
        let known = before.max().map_or(0, |at| at.saturating_add(FRESH_NS));
        Some(settled.max(known))
    }
}

/// Whether a message says that the service is ready, reloads or stops.
fn means(payload: &[u8], length: u32) -> Option<Meaning> {
    let message = parse(payload, length);
    meaning(&message.assignments).filter(|_| message.malformed.is_none())
}

/// Who sends a signal that is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SentBy {
    /// The kernel.
    #[default]
    Kernel,
    /// This process, by kill(2).
    Process(u32),
    /// This systemd, or what it starts for a reload.
    Systemd(u32),
}

impl SentBy {
    /// Whether a signal with this sender and `si_code` is from it.
    #[must_use]
    pub fn is(self, sender: Option<u32>, si_code: i32) -> bool {
        match self {
            Self::Kernel => sender.is_none() && si_code == SI_KERNEL,
            Self::Process(pid) | Self::Systemd(pid) => sender == Some(pid) && si_code == SI_USER,
        }
    }
}

/// `si_code` of kill(2).
const SI_USER: i32 = 0;
/// `si_code` of a signal from the kernel (include/uapi/asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;
