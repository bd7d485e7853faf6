//! What only /proc can tell of the processes that records are of, while they are there: their
//! programs, their command lines, and where senders of signals come from. Each look-up may never
//! return, so all are bounded in time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use smol_str::SmolStr;
use tracer_common::signal::SignalSet;

use super::decode::Loaded;
use crate::{
    host::{
        bounded::{Bounded, Patience},
        cgroups::Hierarchies,
        procfs, program,
        sender::{self, CUT, Shown},
    },
    model::runtime::Runtime,
    observation::{Asker, Fact, Generate, Observation, Origin, ProcessId, Program, unit_of},
};

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
    Patience { each: Duration::from_millis(100), all: Duration::from_millis(200) };
/// The most processes that are looked at in one go, of those that signals come from.
const MAX_SENDERS: usize = 256;
/// What was found of senders that is kept. Where there is more, all of it goes.
const MAX_FOUND: usize = 1_024;
/// How far above a process that sends for a systemd that may be: a shell, and what runs that.
const MAX_BELOW_SYSTEMD: usize = 3;

/// Looks processes up.
pub struct Lookups {
    /// The programs that processes run.
    programs_of: Bounded<ProcessId, Option<String>>,
    /// What those are.
    executables: Bounded<ProcessId, Option<program::Read>>,
    /// The virtual machines that they have loaded.
    loaded: Bounded<ProcessId, Option<Runtime>>,
    /// What processes show of themselves.
    shown_of: Bounded<ProcessId, Option<Shown>>,
    /// Who had a systemd (the first) send a signal (to the second).
    askers: Bounded<(ProcessId, ProcessId), Option<Asker>>,
    /// What was found of senders, also that they are gone, by the address of what the kernel side
    /// had told of them, which is kept for as long as that stands for it.
    found: HashMap<usize, (Arc<Origin>, Arc<Origin>)>,
}

impl Lookups {
    /// In /proc and in these hierarchies.
    pub fn new(hierarchies: Hierarchies) -> Self {
        let reader = program::Reader::default();
        let of_askers = hierarchies.clone();
        Self {
            programs_of: Bounded::new("sigready-exe", procfs::exe),
            executables: Bounded::new("sigready-program", move |id| reader.read(id)),
            loaded: Bounded::new("sigready-maps", program::loaded),
            shown_of: Bounded::new("sigready-sender", move |id| sender::shown(id, &hierarchies)),
            askers: Bounded::new("sigready-asker", move |(systemd, target)| {
                sender::asker(systemd, target, &of_askers)
            }),
            found: HashMap::new(),
        }
    }

    /// Adds what only /proc can tell, while it can: the resolved paths of programs, what they
    /// are, and what they have loaded. `loaded` is what the kernel side told that execs did, each
    /// with the place of its observation.
    pub fn add_programs(&mut self, observations: &mut [Observation], loaded: &[(usize, Loaded)]) {
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
        let machines = answers(&mut self.loaded, LOOKUPS, observations, may_have_loaded);
        for (place, Loaded { file, for_script }) in loaded {
            let Some(Observation { fact: Fact::Exec { task, exe, program, .. }, .. }) =
                observations.get_mut(*place)
            else {
                continue;
            };
            // The process may have gone on to another program since.
            if let Some(resolved) = paths.get(&task.id)
                && resolved.rsplit('/').next() == Some(file)
            {
                *exe = SmolStr::from(resolved);
            }
            if let Some(read) = programs.get(&task.id).filter(|read| read.name == *file) {
                *program = match read.program {
                    Program::Plain if *for_script => Program::Of(Runtime::Unlisted),
                    program => program,
                };
            }
        }
        if paths.is_empty() && machines.is_empty() {
            return;
        }
        for observation in observations {
            match &mut observation.fact {
                Fact::Notify(datagram) => {
                    datagram.exe = paths.get(&datagram.sender.id).map(SmolStr::from);
                }
                Fact::Disposition { task, loaded, .. } => {
                    *loaded = machines.get(&task.id).copied();
                }
                _ => {}
            }
        }
    }

    /// The command lines of the programs that processes begin to run, and of those that were
    /// found.
    pub fn commands(&mut self, observations: &[Observation]) -> Vec<Observation> {
        let begun = observations.iter().filter_map(|observation| match &observation.fact {
            Fact::Exec { task, .. } | Fact::Found { task, .. } => Some((observation.at, task)),
            _ => None,
        });
        let begun: Vec<_> = begun.map(|(at, task)| (at, task.clone())).collect();
        let ids: Vec<ProcessId> = begun.iter().map(|(_, task)| task.id).collect();
        let shown = self.shown_of.ask(&ids, COMMANDS);
        let told = begun.into_iter().zip(shown).filter_map(|((at, task), shown)| {
            let shown = shown??;
            let (line, script) = (shown.command?, shown.script);
            Some(Observation { at, fact: Fact::CommandLine { task, line, script } })
        });
        told.collect()
    }

    /// Adds what /proc tells of senders that are still there: their cgroups, what was cut off
    /// their command lines, and who had a systemd send.
    pub fn add_senders(&mut self, observations: &mut [Observation]) {
        let sent = observations.iter_mut().filter_map(|observation| match &mut observation.fact {
            Fact::Generate(generate) if generate.origin.is_some() => Some(&mut **generate),
            _ => None,
        });
        let sent: Vec<&mut Generate> = sent.collect();
        if sent.is_empty() {
            return;
        }
        let asked = sent.iter().filter_map(|generate| for_whom(generate)).min();
        // First: who asked by systemctl(1) is soon gone.
        let client =
            self.askers.ask(asked.as_slice(), ASKERS).into_iter().flatten().flatten().next();
        // What the kernel side told of a sender is one for many signals, and so is what is found.
        let mut news = HashMap::new();
        let mut ids = BTreeSet::new();
        for generate in &sent {
            let Some(origin) = &generate.origin else { continue };
            if !self.found.contains_key(&address(origin)) {
                news.entry(address(origin)).or_insert_with(|| {
                    ids.extend(processes(generate));
                    (Arc::clone(origin), generate.sender.as_ref().map(|sender| sender.id))
                });
            }
        }
        let ids: Vec<ProcessId> = ids.into_iter().take(MAX_SENDERS).collect();
        let answers = self.shown_of.ask(&ids, LOOKUPS);
        let answers: BTreeMap<ProcessId, Option<Shown>> =
            ids.into_iter().zip(answers).filter_map(|(id, answer)| Some((id, answer?))).collect();
        let mut unanswered = HashMap::new();
        if self.found.len() + news.len() > MAX_FOUND {
            self.found.clear();
        }
        for (at, (told, sender)) in news {
            let mut origin = Origin::clone(&told);
            add_shown(&mut origin, sender, &answers);
            // One that is gone stays gone. Without an answer it is looked for again if it sends again.
            let is_answered = sender.is_some_and(|sender| answers.contains_key(&sender));
            let found = if is_answered { &mut self.found } else { &mut unanswered };
            found.insert(at, (told, Arc::new(origin)));
        }
        for generate in sent {
            let is_asked = asked.is_some() && for_whom(generate) == asked;
            let Some(origin) = &mut generate.origin else { continue };
            let at = address(origin);
            if let Some((_, found)) = self.found.get(&at).or_else(|| unanswered.get(&at)) {
                *origin = Arc::clone(found);
            }
            if is_asked && let Some(client) = &client {
                Arc::make_mut(origin).asked_by = Some(Box::new(client.clone()));
            }
        }
    }
}

/// What tells what the kernel side told of a sender at one time from all else that is kept.
fn address(origin: &Arc<Origin>) -> usize {
    Arc::as_ptr(origin).addr()
}

/// Adds to what the kernel side told of a sender what it and those that it comes from show.
fn add_shown(
    origin: &mut Origin,
    sender: Option<ProcessId>,
    answers: &BTreeMap<ProcessId, Option<Shown>>,
) {
    let shown = |id: &ProcessId| answers.get(id).and_then(Option::as_ref);
    if let Some(sender) = sender.and_then(|sender| shown(&sender)) {
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
        if let Some(Shown { command, cgroup, .. }) = shown(&parent.id) {
            parent.command.clone_from(command);
            parent.cgroup.clone_from(cgroup);
        }
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

#[cfg(test)]
mod tests;
