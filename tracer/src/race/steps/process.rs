//! A process of the command, and the steps that it made.

use std::collections::BTreeMap;

use smol_str::SmolStr;
use tracer_common::place::{COMMAND, STEPS, child_place};

use super::key::{Key, Kind, reported};
use crate::{
    model::{
        document::{OutcomeState, ProcessOutcome},
        event::ProcessRef,
        race::StepKind,
        signal::Signal,
    },
    observation::ProcessId,
};

/// A mask that was set for less is none: a signal that comes meanwhile waits for that long, and
/// then does what it does in the interval.
const MOMENT_NS: u64 = 1_000_000;
/// The same of one of all signals, which the C library sets around a fork and the start of a
/// thread: where the host is busy, that takes long.
const MOMENT_OF_ALL_NS: u64 = 20_000_000;

/// A child that executes nothing for so long after its fork is no helper that is yet to execute its
/// program: on a busy host that takes long.
pub(in crate::race) const FRESH_NS: u64 = 100_000_000;

/// The most programs of a process that are remembered.
pub(in crate::race) const MAX_PROGRAMS: usize = 16;

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
    /// Whether it set a handler.
    pub handles: bool,
    /// Whether that is for one delivery.
    pub once: bool,
    /// How many steps of each kind the process had made by then since its last exec, also those
    /// that are told of nobody.
    counts: [u32; STEPS],
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
    /// How it was at the end of the run.
    pub outcome: ProcessOutcome,
    execs: u32,
    forks: u32,
    counts: [u32; STEPS],
    /// Whether every thread blocks the signal.
    blocked: bool,
    block: Option<Block>,
    steps: Vec<Step>,
    forked: Vec<Forked>,
    /// When it executed its first program, and its name then.
    first: Option<(u64, SmolStr)>,
    /// The files of the programs that it executed, the first ones.
    programs: Vec<SmolStr>,
}

/// A child that a process forked.
#[derive(Clone, Debug)]
pub(in crate::race) struct Forked {
    /// The child.
    pub child: ProcessId,
    /// The fork.
    pub step: Step,
    /// Whether the child runs in the memory of its parent until it executes a program.
    pub shares_memory: bool,
}

impl Process {
    /// What it did, in order of time.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a step was the last one of it until a time. Forks don't count: which of them are
    /// steps depends on what becomes of the child, and a signal may end it.
    #[must_use]
    pub fn was_last(&self, key: Key, at: u64) -> bool {
        let until = |step: &&Step| step.at <= at;
        let other = |step: &&Step| step.key.kind != Kind::Child;
        let last = self.steps.iter().rev().filter(until).find(other);
        if key.kind != Kind::Child {
            return last.is_some_and(|last| last.key == key);
        }
        let fork = self.forked.iter().map(|it| &it.step).filter(until).find(|it| it.key == key);
        fork.is_some_and(|fork| last.is_none_or(|last| last.at <= fork.at))
    }

    /// What the number of a step depends on helpers from; `None` where it has made no such step.
    pub(in crate::race) fn since_steady(&self, key: Key) -> Option<Since<'_>> {
        let all = self.steps.iter().chain(self.forked.iter().map(|it| &it.step));
        let at = all.into_iter().find(|step| step.key == key)?.at;
        let before = self.steps.iter().take_while(|step| step.at <= at && step.key != key);
        let step = before.filter(|step| step.key.is_steady()).last()?;
        let counted = step.counts[key.kind as usize];
        if key.kind != Kind::Child {
            return Some(Since { step, number: key.number.checked_sub(counted)?, fork: None });
        }
        let fork = self.fork(key)?;
        let number = self.forks_until(fork, step).count().try_into().ok()?;
        Some(Since { step, number, fork: Some(fork) })
    }

    /// The forks from a step on, up to this one, of children that are like its own.
    pub(in crate::race) fn forks_until<'a>(
        &'a self,
        fork: &'a Forked,
        from: &'a Step,
    ) -> impl Iterator<Item = &'a Forked> {
        let after = from.counts[Kind::Child as usize];
        self.forked.iter().filter(move |it| {
            let (key, last) = (it.step.key, fork.step.key);
            key.execs == last.execs
                && (after + 1..=last.number).contains(&key.number)
                && it.shares_memory == fork.shares_memory
        })
    }

    /// The step of this process that is like the one of another run's, which is no fork.
    pub(in crate::race) fn like(&self, other: &Self, key: Key) -> Option<Key> {
        let of_this = |key: Key| Key { process: self.place, ..key };
        if key.is_steady() {
            return Some(of_this(key));
        }
        let Since { step, number, .. } = other.since_steady(key)?;
        let steady = self.steps.iter().find(|it| it.key == of_this(step.key))?;
        let number = steady.counts[key.kind as usize].checked_add(number)?;
        let like = of_this(Key { number, ..key });
        (self.since_steady(like)?.step.key == steady.key).then_some(like)
    }

    /// Whether the fork of a child here is like one of another run's: the two come after the same step,
    /// and the children share the memory of their parents or don't.
    pub(in crate::race) fn forks_alike(&self, key: Key, other: &Self, fork: Key) -> bool {
        let (Some(own), Some(others)) = (self.since_steady(key), other.since_steady(fork)) else {
            return false;
        };
        let shares = |since: &Since<'_>| since.fork.map(|fork| fork.shares_memory);
        own.step.key == Key { process: self.place, ..others.step.key }
            && shares(&own) == shares(&others)
    }

    /// The forks of its children, in order of time.
    pub(in crate::race) fn forked(&self) -> &[Forked] {
        &self.forked
    }

    /// The fork of a child.
    fn fork(&self, key: Key) -> Option<&Forked> {
        self.forked.iter().find(|it| it.step.key == key)
    }

    /// The name of the first program that it executed, if it did so before `at`.
    pub(in crate::race) fn first_program(&self, at: u64) -> Option<&SmolStr> {
        self.first.as_ref().filter(|(first, _)| *first < at).map(|(_, name)| name)
    }

    /// The child that it forked at a step.
    pub(super) fn child(&self, key: Key) -> Option<ProcessId> {
        self.fork(key).map(|it| it.child)
    }

    /// The forks of these children are steps of it, told by these numbers.
    pub(super) fn keep_forks_of(&mut self, children: &BTreeMap<ProcessId, u32>) {
        let kept = self.forked.iter().filter_map(|it| Some((it, children.get(&it.child)?)));
        self.steps.extend(kept.map(|(it, number)| Step {
            what: format!("fork of child {number}"),
            ..it.step.clone()
        }));
        self.steps.sort_by_key(|step| step.at);
    }

    /// The programs that it executed, the first ones: the names of their files, which are known
    /// also of one that ended at once.
    #[must_use]
    pub fn programs(&self) -> &[SmolStr] {
        &self.programs
    }

    /// Whether it executed nothing although it ran for a while, up to `end`.
    pub(super) fn is_settled(&self, end: u64) -> bool {
        self.execs > 0 || end.saturating_sub(self.began) >= FRESH_NS
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
            outcome: ProcessOutcome { state: OutcomeState::Running, signal: None, code: None },
            execs: 0,
            forks: 0,
            counts: [0; STEPS],
            blocked,
            block: None,
            steps: Vec::new(),
            forked: Vec::new(),
            first: None,
            programs: Vec::new(),
        };
        process.step(at, Kind::Begin, what.to_owned());
        process
    }

    /// It ended, by a signal or with this exit code.
    pub(super) fn exited(&mut self, at: u64, signal: Option<Signal>, code: u8) {
        self.ended = Some(at);
        self.outcome = match signal {
            Some(_) => ProcessOutcome { state: OutcomeState::Killed, signal, code: None },
            None => ProcessOutcome { state: OutcomeState::Exited, signal, code: Some(code) },
        };
    }

    /// It starts a child: gives the place of that.
    pub(super) fn forks(&mut self, at: u64, child: ProcessId, shares_memory: bool) -> Option<u64> {
        self.forks += 1;
        let number = self.count(Kind::Child);
        // A unit's main process is systemd's own before its exec.
        if self.place != COMMAND || self.execs > 0 {
            let key = Key { process: self.place, execs: self.execs, kind: Kind::Child, number };
            let step = self.made(key, at, "fork of a child".to_owned());
            self.forked.push(Forked { child, step, shares_memory });
        }
        child_place(self.place, self.forks)
    }

    /// It executed a program.
    pub(super) fn executed(
        &mut self,
        at: u64,
        comm: &SmolStr,
        (exe, file): (&SmolStr, &SmolStr),
        blocked: bool,
    ) {
        self.who.comm.clone_from(comm);
        self.who.exe = Some(exe.clone());
        if self.programs.len() < MAX_PROGRAMS {
            self.programs.push(file.clone());
        }
        self.first.get_or_insert_with(|| (at, comm.clone()));
        self.execs += 1;
        self.counts = [0; STEPS];
        self.blocked = blocked;
        self.block = None;
        let program = exe.rsplit('/').next().unwrap_or(exe);
        self.step(at, Kind::Exec, format!("exec of {program}"));
    }

    /// At `at` it set a handler, which takes one signal alone if `once`.
    pub(super) fn handles(&mut self, at: u64, once: bool) {
        if let Some(last) = self.steps.last_mut().filter(|last| last.at == at) {
            (last.handles, last.once) = (true, once);
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
        let step = self.made(key, at, what);
        self.steps.push(step);
    }

    /// A step that it has just made, and counted.
    fn made(&self, key: Key, at: u64, what: String) -> Step {
        Step {
            key,
            at,
            what,
            told: reported(key.kind),
            handles: false,
            once: false,
            counts: self.counts,
        }
    }
}

/// The last step before another one whose number does not depend on how many helpers the process has
/// started.
pub(in crate::race) struct Since<'a> {
    /// That step.
    pub step: &'a Step,
    /// Which one of its kind the other one is since then; of a fork, of those whose children are alike.
    pub number: u32,
    /// The other one, where it is a fork.
    pub fork: Option<&'a Forked>,
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
