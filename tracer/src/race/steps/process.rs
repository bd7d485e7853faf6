//! A process of the command, and the steps that it made.

use smol_str::SmolStr;
use tracer_common::place::{COMMAND, STEPS, child_place};

use super::key::{Key, Kind, told};
use crate::model::{event::ProcessRef, race::StepKind};

/// A mask that was set for less is none: a signal that comes meanwhile waits for that long, and
/// then does what it does in the interval.
const MOMENT_NS: u64 = 1_000_000;
/// The same of one of all signals, which the C library sets around a fork and the start of a
/// thread: where the host is busy, that takes long.
const MOMENT_OF_ALL_NS: u64 = 20_000_000;

/// A step of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is.
    pub key: Key,
    /// When it was, `CLOCK_BOOTTIME` ns.
    pub at: u64,
    /// In words.
    pub what: String,
    /// The same as one of few kinds.
    pub told: StepKind,
    /// Whether it set a handler for one delivery.
    pub once: bool,
}

/// A process of the command.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its place in the tree.
    pub place: u64,
    /// Who it is, by its name and program at the end.
    pub who: ProcessRef,
    /// When it was forked, `CLOCK_BOOTTIME` ns.
    pub began: u64,
    /// When it ended.
    pub ended: Option<u64>,
    execs: u32,
    forks: u32,
    counts: [u32; STEPS],
    /// Whether every thread blocks the signal.
    blocked: bool,
    block: Option<Block>,
    steps: Vec<Step>,
}

impl Process {
    /// What it did, in order of time.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The last step of it until a time.
    #[must_use]
    pub fn step_at(&self, at: u64) -> Option<&Step> {
        self.steps.iter().rev().find(|step| step.at <= at)
    }

    /// The program that it executed, if it executed one.
    pub(super) fn program(&self) -> Option<&SmolStr> {
        self.who.exe.as_ref().filter(|_| self.execs > 0)
    }

    /// One that begins at `at`, whose threads all block the signal or don't.
    pub(super) fn begun(at: u64, place: u64, who: ProcessRef, blocked: bool, what: &str) -> Self {
        let mut process = Self {
            place,
            who,
            began: at,
            ended: None,
            execs: 0,
            forks: 0,
            counts: [0; STEPS],
            blocked,
            block: None,
            steps: Vec::new(),
        };
        process.step(at, Kind::Begin, what.to_owned());
        process
    }

    /// It starts a child: gives the place of that.
    pub(super) fn forks(&mut self) -> Option<u64> {
        self.forks += 1;
        child_place(self.place, self.forks)
    }

    /// It executed a program.
    pub(super) fn executed(&mut self, at: u64, comm: &SmolStr, exe: &SmolStr, blocked: bool) {
        self.who.comm.clone_from(comm);
        self.who.exe = Some(exe.clone());
        self.execs += 1;
        self.counts = [0; STEPS];
        self.blocked = blocked;
        self.block = None;
        let program = exe.rsplit('/').next().unwrap_or(exe);
        self.step(at, Kind::Exec, format!("exec of {program}"));
    }

    /// Whether the handler that was set at `at` takes one signal alone.
    pub(super) fn takes_one(&mut self, at: u64, once: bool) {
        if let Some(last) = self.steps.last_mut().filter(|last| last.at == at) {
            last.once = once;
        }
    }

    /// A thread blocks the signal from now on, or does no longer; `blocked` if all of them do.
    /// Where it blocks, `all` signals or this one.
    pub(super) fn masked(&mut self, at: u64, blocks: bool, blocked: bool, all: bool) {
        let kind = if blocks { Kind::Block } else { Kind::Unblock };
        let what = if blocks { "blocked" } else { "unblocked" };
        let changes = self.blocked != blocked;
        self.blocked = blocked;
        if !changes {
            self.count(kind);
            return;
        }
        // For a moment, with nothing in between.
        if let Some(block) = self.block.take()
            && !blocked
            && block.was_short(at, self.forks)
            && self.steps.len() == block.index + 1
        {
            self.count(kind);
            self.steps.truncate(block.index);
            return;
        }
        self.step(at, kind, what.to_owned());
        if blocked {
            let (index, forks) = (self.steps.len() - 1, self.forks);
            self.block = Some(Block { since: at, index, forks, all });
        }
    }

    /// Counts a step, and gives its number.
    fn count(&mut self, kind: Kind) -> u32 {
        let count = &mut self.counts[kind as usize];
        *count += 1;
        *count
    }

    /// It made a step.
    pub(super) fn step(&mut self, at: u64, kind: Kind, what: String) {
        let number = self.count(kind);
        // What is prepared in the command before its exec is the tracer's own doing.
        if self.place == COMMAND && self.execs == 0 && kind != Kind::Begin {
            return;
        }
        // Who waits again and again, or reads a descriptor anew, does so as before.
        if matches!(kind, Kind::Signalfd | Kind::Sigwait) && number > 1 {
            return;
        }
        let key = Key { process: self.place, execs: self.execs, kind, number };
        self.steps.push(Step { key, at, what, told: told(kind), once: false });
    }
}

/// Where the threads of a process began to block the signal.
#[derive(Clone, Copy, Debug)]
struct Block {
    since: u64,
    /// The step's place in the list.
    index: usize,
    /// How many children the process had started by then.
    forks: u32,
    /// Whether it was all signals that they began to block.
    all: bool,
}

impl Block {
    /// Whether what ended at `at`, after so many forks, was for a moment: the C library's around
    /// a fork, or a short one.
    fn was_short(&self, at: u64, forks: u32) -> bool {
        let moment = if self.all { MOMENT_OF_ALL_NS } else { MOMENT_NS };
        at.saturating_sub(self.since) <= moment || self.all && forks > self.forks
    }
}
