//! Instants at which a process is told that a child of it has ended. What the kernel does with a
//! signal is the same before and after; what the program does with it may not be.

use std::{collections::BTreeMap, fmt};

use tracer_common::{
    event::COMM_LEN,
    place::{self, Name},
};

use super::{
    interval::{At, Planned, Timeline, processes},
    shares::ANOTHER_START,
    steps::{Steps, order, write_children},
    sweep::{differing, start_end},
};
use crate::model::{
    race::{Interval, Outcome, Reach, ReportedStep, Role, StepKind, Try},
    raw_name,
    signal::Signal,
};

/// Of children of one name the first exits are raced: a script may run the same program a hundred
/// times.
const MAX_OF_A_NAME: u32 = 3;
/// So many are raced in all, for each signal.
const MAX_EXITS: usize = 30;

/// What is said of a run in which there was no such child.
const ABSENT: &str = "there was no such child in this run";

/// The end of a child, as its parent was told of it by wait4 or waitid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildExit {
    /// When, `CLOCK_BOOTTIME` ns.
    pub at: u64,
    /// The place of the parent in the tree of the command's processes.
    pub process: u64,
    /// How many programs the parent has executed by then.
    pub execs: u32,
    /// The child's name as it ended.
    pub child: Name,
}

/// By what it is found again in another run, however many other children there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exit {
    /// The place of the parent.
    pub process: u64,
    /// How many programs it has executed by then.
    pub execs: u32,
    /// The child's name as it ended.
    pub child: Name,
    /// Which one of that name it is since the last exec, from 1 on.
    pub number: u32,
}

impl fmt::Display for Exit {
    /// As in `--only`: `exec1.exit2-sed`. A character that a shell may take for something else is a
    /// `_`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        let plain = |byte| if is_plain(byte) { char::from(byte) } else { '_' };
        let name: String = bytes(self.child).map(plain).collect();
        write_children(f, self.process)?;
        if self.execs > 0 {
            write!(f, "exec{}.", self.execs)?;
        }
        write!(f, "exit{}-{name}", self.number)
    }
}

impl Exit {
    /// The order to place `signal` there.
    #[must_use]
    pub fn order(&self, signal: Signal) -> place::Order {
        let Self { process, execs, child, number } = *self;
        place::Order { child, ..order(signal, place::CHILD_EXIT, process, execs, number) }
    }

    /// Why the signal was not placed there in a run with these, in which the parent was looked for at the
    /// place `process`.
    #[must_use]
    pub fn missed(&self, process: u64, exits: &[ChildExit]) -> &'static str {
        let wanted = Self { process, ..*self };
        let came = numbered(exits).any(|(exit, _)| exit == wanted);
        if came { "the signal was not placed there" } else { ABSENT }
    }
}

/// The bytes of a name.
fn bytes(name: Name) -> impl Iterator<Item = u8> {
    bytemuck::cast::<_, [u8; COMM_LEN]>(name).into_iter().take_while(|byte| *byte != 0)
}

/// Each with when it was. What comes before the command's own exec is systemd's doing, or this tool's.
fn numbered(exits: &[ChildExit]) -> impl Iterator<Item = (Exit, u64)> {
    let mut counts = BTreeMap::new();
    let is_own = |exit: &&ChildExit| exit.execs > 0 || exit.process != place::COMMAND;
    exits.iter().filter(is_own).map(move |exit| {
        let ChildExit { at, process, execs, child } = *exit;
        let count = counts.entry((process, execs, child)).or_insert(0);
        *count += 1;
        (Exit { process, execs, child, number: *count }, at)
    })
}

/// The instants of a start, and how many there are no more room for: the main process's, and those of
/// others that are raced. `exits` are in order of time.
#[must_use]
pub fn child_exits(
    exits: &[ChildExit],
    steps: &Steps,
    signal: Signal,
    role: Role,
    service_type: &str,
) -> (Vec<Planned>, u64) {
    let end = start_end(steps);
    let timeline = Timeline { zero: steps.zero(), end };
    let is_raced = |(exit, at): &(Exit, u64)| exit.number <= MAX_OF_A_NAME && *at <= end;
    let mut planned: Vec<Planned> = numbered(exits)
        .filter(is_raced)
        .filter_map(|(exit, at)| {
            let mut all = processes(steps, role);
            let (main, process) = all.find(|(_, process)| process.place == exit.process)?;
            let at_ns = timeline.at(at);
            let name: Vec<u8> = bytes(exit.child).collect();
            let what = format!("exit of {}", raw_name::text(&name));
            let reached = super::reach(steps, role, service_type, at, at + 1);
            let told = Exit { process: steps.told_place(exit.process), ..exit };
            Some(Planned {
                id: format!("{signal}@{told}"),
                at: At::ChildExit(exit),
                process: process.who.clone(),
                programs: Vec::new(),
                main,
                after: ReportedStep { kind: StepKind::ChildExit, what, at_ns },
                before: None,
                to_ns: at_ns,
                reached: if main { reached } else { Reach::NotByReload },
            })
        })
        .collect();
    let left_out = planned.len().saturating_sub(MAX_EXITS);
    planned.truncate(MAX_EXITS);
    (planned, left_out as u64)
}

/// Whether an instant was not reached as there was no such child: what a start does not do there is
/// nothing to be tested. How many helpers it has may differ from run to run.
pub(super) fn is_absent(interval: &Interval, missed: &Try) -> bool {
    interval.after.kind == StepKind::ChildExit
        && [ABSENT, ANOTHER_START].contains(&missed.what.as_str())
}

/// What is said of those that came out otherwise than the interval that they are in.
pub(super) fn sentence(intervals: &[Interval], exits: &[Interval]) -> Option<String> {
    let others: Vec<&Interval> = differing(intervals, exits).collect();
    let first = others.first()?;
    let tried = exits.iter().filter(|it| it.outcome != Outcome::NotReached).count();
    Some(format!(
        "Right after {} of {tried} exits of its children it came out otherwise than the interval \
         around does: the first is {}, {}.",
        others.len(),
        first.id,
        first.outcome.word()
    ))
}
