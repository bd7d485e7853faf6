//! Lives of processes as a kernel would tell them: what they do is random, what is told of it
//! hangs together.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use tracer_common::signal::{MAX_SIGNAL, SignalSet};

use super::story::{BEGIN, DEMO, STARTER, program, signals};
use crate::{
    model::{
        event::{Consumer, DispositionKind},
        signal::{DefaultAction, Signal},
        unit::{UnitFacts, UnitState},
    },
    observation::{
        Datagram, Environment, Fact, Generate, GenerateResult, Handler, Observation, ProcessId,
        Program, SignalState, TICK_NS, Task, UnitNews,
    },
};

/// The signals whose dispositions are reported: one more than is recorded, the last.
pub const REPORTED: [u32; 3] = [1, 15, MAX_SIGNAL];
const SEGV: u32 = 11;
/// The number of a handler that a runtime has for nearly all signals, and of a Java virtual
/// machine's two.
const CATCH_ALL: u32 = 1_000;
const JVMS: u32 = 1_001;
const JVMS_FAULTS: u32 = 1_002;

/// What a process may do next, or have done to it. Processes and threads are chosen by a
/// number, of which the rest counts; what can't be is left out.
#[derive(Clone, Debug)]
pub enum Step {
    Fork {
        shares_handlers: bool,
    },
    Thread,
    Exec(&'static str),
    Act {
        signal: u32,
        action: Act,
    },
    /// Go's runtime begins, or bash for a trap on EXIT, up to this signal.
    CatchAll {
        until: u32,
    },
    /// Go's runtime sets a thread aside.
    SetAside,
    Jvm,
    Mask {
        thread: usize,
        signal: u32,
        blocks: bool,
    },
    /// The same, and back again after so long, ns; meanwhile a handler may be set.
    MaskFor {
        thread: usize,
        signal: u32,
        ns: u64,
        acts: bool,
    },
    Signalfd,
    ReadSignalfd,
    Sigwait {
        thread: usize,
    },
    Kill {
        from: usize,
        signal: u32,
        thread: Option<usize>,
        lost_info: bool,
        prompt: bool,
    },
    Deliver {
        thread: usize,
    },
    /// It sets a signal's default and sends that to itself.
    Raise {
        signal: u32,
    },
    Exit {
        code: u8,
    },
    ThreadExit {
        thread: usize,
    },
    Notify {
        text: &'static str,
        from_main: bool,
        failed: bool,
    },
    MainPid {
        of: usize,
    },
    Says {
        state: &'static str,
        main: Option<usize>,
    },
    Settings {
        access: &'static str,
    },
    Restart,
}

/// What is set for a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Default,
    Ignore,
    Own { once: bool },
    CatchAll,
}

/// What happens after so long, to the process chosen so, and how late it is told.
#[derive(Clone, Debug)]
pub struct Turn {
    pub wait: u64,
    pub of: usize,
    pub step: Step,
    pub late: u64,
    pub very_late: u64,
    pub lost: bool,
}

fn signal() -> impl Strategy<Value = u32> {
    prop_oneof![12 => Just(1_u32), 2 => Just(15), 1 => Just(3), 1 => Just(20), 1 => Just(18),
        2 => Just(MAX_SIGNAL)]
}

fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        1 => Just(Act::Default),
        1 => Just(Act::Ignore),
        3 => Just(Act::Own { once: false }),
        1 => Just(Act::Own { once: true }),
        1 => Just(Act::CatchAll),
    ];
    let text = select(
        &[
            "READY=1",
            "READY=1\nSTATUS=up",
            "BARRIER=1",
            "STOPPING=1",
            "RELOADING=1",
            "READY=1\0=",
            "NOTIFYACCESS=all\nREADY=1",
            "NOTIFYACCESS=main",
        ][..],
    );
    let exe = prop_oneof![
        5 => Just("/bin/demo"),
        4 => select(&["/bin/plain", "/bin/bash", "/bin/zsh", "/bin/mksh", "/usr/bin/ruby3.1"][..]),
        4 => select(&["/usr/bin/prometheus", "/usr/bin/java", "/opt/interpreter"][..]),
    ];
    let state = select(&["activating", "active", "reloading", "failed"][..]);
    let lives = prop_oneof![
        3 => prop::bool::weighted(0.2).prop_map(|shares_handlers| Step::Fork { shares_handlers }),
        2 => Just(Step::Thread),
        3 => exe.prop_map(Step::Exec),
        2 => prop_oneof![3 => Just(0_u8), 1 => Just(1), 3 => Just(129)]
            .prop_map(|code| Step::Exit { code }),
        1 => (0..4_usize).prop_map(|thread| Step::ThreadExit { thread }),
        1 => Just(Step::Restart),
    ];
    let acts = prop_oneof![
        6 => (signal(), act).prop_map(|(signal, action)| Step::Act { signal, action }),
        3 => prop_oneof![4 => Just(MAX_SIGNAL), 1 => 1..MAX_SIGNAL]
            .prop_map(|until| Step::CatchAll { until }),
        2 => Just(Step::SetAside),
        2 => Just(Step::Jvm),
        3 => (0..4_usize, signal(), any::<bool>())
            .prop_map(|(thread, signal, blocks)| Step::Mask { thread, signal, blocks }),
        4 => (0..4_usize, signal(), select(&[5_000, 400_000, 990_000, 1_000_000, 1_100_000][..]),
              any::<bool>())
            .prop_map(|(thread, signal, ns, acts)| Step::MaskFor { thread, signal, ns, acts }),
        2 => Just(Step::Signalfd),
        2 => Just(Step::ReadSignalfd),
        2 => (0..4_usize).prop_map(|thread| Step::Sigwait { thread }),
    ];
    let sends = prop_oneof![
        8 => (0..6_usize, signal(), proptest::option::weighted(0.3, 0..4_usize),
              prop::bool::weighted(0.1), prop::bool::weighted(0.7))
            .prop_map(|(from, signal, thread, lost_info, prompt)| Step::Kill {
                from, signal, thread, lost_info, prompt
            }),
        3 => (0..4_usize).prop_map(|thread| Step::Deliver { thread }),
        3 => signal().prop_map(|signal| Step::Raise { signal }),
    ];
    let says = prop_oneof![
        4 => (text, any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(text, from_main, failed)| Step::Notify { text, from_main, failed }),
        1 => (0..6_usize).prop_map(|of| Step::MainPid { of }),
        1 => (state, proptest::option::weighted(0.3, 0..6_usize))
            .prop_map(|(state, main)| Step::Says { state, main }),
        1 => select(&["all", "main", "none", "exec"][..])
            .prop_map(|access| Step::Settings { access }),
    ];
    prop_oneof![3 => lives, 7 => acts, 6 => sends, 2 => says]
}

/// A random sequence of what happens; with `losses` some of it is not told.
pub fn turns(losses: bool) -> impl Strategy<Value = Vec<Turn>> {
    let wait = prop_oneof![
        4 => 5_000..300_000_u64,
        3 => 1_000_000..5_000_000_u64,
        2 => 20_000_000..120_000_000_u64,
        1 => 900_000_000..1_300_000_000_u64,
    ];
    let of = prop_oneof![3 => Just(0_usize), 1 => 0..6_usize];
    let late = prop_oneof![2 => Just(0_u64), 1 => 0..15_000_000_u64];
    let lost = prop::bool::weighted(if losses { 0.1 } else { 0.0 });
    let turn = (wait, of, step(), late, 0..400_000_000_u64, lost).prop_map(
        |(wait, of, step, late, very_late, lost)| Turn { wait, of, step, late, very_late, lost },
    );
    vec(turn, 0..40)
}

/// Whose lives are told, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A command's.
    Command,
    /// A unit's.
    Unit,
    /// A unit's that was up before the capture: its processes are looked at after so many turns.
    RunningUnit(usize),
}

/// Either, from their starts on.
pub fn begun() -> impl Strategy<Value = Of> {
    prop_oneof![Just(Of::Command), Just(Of::Unit)]
}

/// Any of them.
pub fn any_of() -> impl Strategy<Value = Of> {
    prop_oneof![3 => begun(), 2 => (0..5_usize).prop_map(Of::RunningUnit)]
}

/// What is observed, in the order it comes in.
pub fn observed(turns: &[Turn], of: Of) -> Vec<Observation> {
    let mut kernel = Kernel::new(of != Of::Command);
    if let Of::RunningUnit(_) = of {
        let main = &mut kernel.processes[0];
        (main.start_ns, main.id.start_ticks) = (BEGIN / 2, BEGIN / 2 / TICK_NS);
        kernel.told.retain(|it| matches!(it.observation.fact, Fact::CgroupPath { .. }));
    }
    for (index, turn) in turns.iter().enumerate() {
        if of == Of::RunningUnit(index) {
            kernel.look();
        }
        kernel.now += turn.wait;
        let first = kernel.told.len();
        kernel.step(turn.of, &turn.step);
        for (told, place) in kernel.told[first..].iter_mut().zip(0..) {
            told.late = match told.observation.fact {
                Fact::Notify(_) | Fact::Unit(_) => turn.very_late,
                _ => turn.late / (place + 1),
            };
            // Without its start nothing of a process is in scope.
            let fact = &told.observation.fact;
            let begins = matches!(fact, Fact::CgroupAttach { .. } | Fact::Found { .. });
            told.lost = turn.lost && !begins;
        }
    }
    kernel.end();
    let mut told = kernel.told;
    told.retain(|it| !it.lost);
    told.sort_by_key(|it| it.observation.at + it.late);
    told.into_iter().map(|it| it.observation).collect()
}

struct Telling {
    observation: Observation,
    late: u64,
    lost: bool,
}

#[derive(Clone, Debug)]
struct Thread {
    tid: u32,
    mask: SignalSet,
    pending: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Default,
    Ignore,
    Handler { number: u32, once: bool },
}

#[derive(Clone, Debug)]
struct Process {
    id: ProcessId,
    start_ns: u64,
    comm: String,
    program: Program,
    threads: Vec<Thread>,
    pending: Vec<u32>,
    /// Its table of handlers.
    table: usize,
    /// It has, or had, one table with another process.
    shares: bool,
    signalfd: SignalSet,
    alive: bool,
}

struct Kernel {
    is_unit: bool,
    now: u64,
    told: Vec<Telling>,
    processes: Vec<Process>,
    tables: Vec<BTreeMap<u32, Set>>,
    next_pid: u32,
    next_handler: u32,
    invocation: u32,
    /// The main process of the last start.
    main: usize,
}

impl Kernel {
    fn new(is_unit: bool) -> Self {
        let mut kernel = Self {
            is_unit,
            now: BEGIN,
            told: Vec::new(),
            processes: Vec::new(),
            tables: Vec::new(),
            next_pid: 10,
            next_handler: 1,
            invocation: 0,
            main: 0,
        };
        if is_unit {
            let path = DEMO.to_owned();
            kernel.tell(Fact::CgroupPath { hierarchy: 0, id: 1, path });
        }
        kernel.begin();
        kernel
    }

    fn tell(&mut self, fact: Fact) {
        self.now += 1_000;
        let observation = Observation { at: self.now, fact };
        self.told.push(Telling { observation, late: 0, lost: false });
    }

    /// Somebody starts the service.
    fn begin(&mut self) {
        self.tables.push(BTreeMap::new());
        let main = self.born(self.tables.len() - 1, SignalSet::EMPTY);
        self.main = main;
        self.invocation += 1;
        if self.is_unit {
            let (task, path) = (self.task(main, 0), DEMO.to_owned());
            self.tell(Fact::CgroupAttach { task, hierarchy: 0, tracks_units: true, path });
        } else {
            let parent = starter();
            let (child, state) = (self.task(main, 0), self.state(main));
            self.tell(Fact::Fork {
                parent,
                child,
                shares_handlers: false,
                shares_memory: false,
                state,
            });
        }
        self.exec(main, "/bin/demo");
    }

    fn born(&mut self, table: usize, mask: SignalSet) -> usize {
        let pid = self.next_pid;
        self.next_pid += 10;
        self.processes.push(Process {
            id: ProcessId { pid, start_ticks: self.now / TICK_NS },
            start_ns: self.now,
            comm: "demo".to_owned(),
            program: Program::default(),
            threads: vec![Thread { tid: pid, mask, pending: Vec::new() }],
            pending: Vec::new(),
            table,
            shares: false,
            signalfd: SignalSet::EMPTY,
            alive: true,
        });
        self.processes.len() - 1
    }

    fn task(&self, of: usize, thread: usize) -> Task {
        let process = &self.processes[of];
        let (tid, comm) = (process.threads[thread].tid, process.comm.clone());
        let start_ns = process.start_ns;
        Task { tid, start_ns, cgroup_id: 1, comm: comm.into(), ..Task::of(process.id) }
    }

    fn set(&self, of: usize, signal: u32) -> Set {
        let table = &self.tables[self.processes[of].table];
        table.get(&signal).copied().unwrap_or(Set::Default)
    }

    /// The signals that a process has set so.
    fn that_are(&self, of: usize, is_meant: impl Fn(Set) -> bool) -> SignalSet {
        let all = 1..=MAX_SIGNAL;
        let meant = all.filter(|signal| is_meant(self.set(of, *signal)));
        meant.fold(SignalSet::EMPTY, |set, signal| set.union(SignalSet::of(signal)))
    }

    fn state(&self, of: usize) -> SignalState {
        let process = &self.processes[of];
        let masks = process.threads.iter().map(|thread| thread.mask.0);
        let pending = process.threads.iter().flat_map(|thread| &thread.pending);
        let pending: Vec<u32> = pending.chain(&process.pending).copied().collect();
        SignalState {
            ignored: self.that_are(of, |set| set == Set::Ignore),
            caught: self.that_are(of, |set| matches!(set, Set::Handler { .. })),
            blocked: SignalSet(masks.fold(u64::MAX, |all, mask| all & mask)),
            pending: signals(&pending),
            blocked_unknown: SignalSet::EMPTY,
        }
    }

    fn handler(&self, of: usize, signal: u32) -> Handler {
        let same = |signal| match self.set(of, signal) {
            Set::Handler { number: of_it, .. } => self
                .that_are(of, |set| matches!(set, Set::Handler { number, .. } if number == of_it)),
            _ => SignalSet::EMPTY,
        };
        Handler { serves: same(signal), faults: same(SEGV) }
    }

    #[allow(clippy::too_many_lines, reason = "an arm for each step")]
    fn step(&mut self, of: usize, step: &Step) {
        let alive: Vec<usize> =
            (0..self.processes.len()).filter(|index| self.processes[*index].alive).collect();
        if let Step::Restart = step {
            if self.is_unit && alive.is_empty() {
                self.begin();
            }
            return;
        }
        let Some(of) = alive.get(of % alive.len().max(1)).copied() else {
            return;
        };
        let some = |index: usize| alive[index % alive.len()];
        let threads = self.processes[of].threads.len();
        // Runtimes do not share their handlers with another process.
        let is_runtimes = matches!(
            step,
            Step::CatchAll { .. }
                | Step::SetAside
                | Step::Jvm
                | Step::Act { action: Act::CatchAll, .. }
        );
        if is_runtimes && self.processes[of].shares {
            return;
        }
        match *step {
            Step::Fork { shares_handlers } => self.fork(of, shares_handlers),
            Step::Thread => {
                let process = &mut self.processes[of];
                let tid = process.id.pid + process.threads.len() as u32;
                let mask = process.threads[0].mask;
                if threads < 4 && process.threads.iter().all(|thread| thread.tid != tid) {
                    process.threads.push(Thread { tid, mask, pending: Vec::new() });
                }
            }
            Step::Exec(exe) => self.exec(of, exe),
            Step::Act { signal, action } => {
                let set = match action {
                    Act::Default => Set::Default,
                    Act::Ignore => Set::Ignore,
                    Act::Own { once } => {
                        self.next_handler += 1;
                        Set::Handler { number: self.next_handler, once }
                    }
                    Act::CatchAll => Set::Handler { number: CATCH_ALL, once: false },
                };
                self.act(of, signal, set);
            }
            Step::CatchAll { until } => {
                let set = Set::Handler { number: CATCH_ALL, once: false };
                for signal in (1..=until).filter(|signal| ![9, 19, 32, 33].contains(signal)) {
                    if self.set(of, signal) != Set::Ignore {
                        self.act(of, signal, set);
                    }
                }
            }
            Step::SetAside => {
                let process = &mut self.processes[of];
                let tid = process.id.pid + 9;
                if process.threads.iter().any(|thread| thread.tid == tid) {
                    return;
                }
                let mask = SignalSet::EMPTY;
                process.threads.push(Thread { tid, mask, pending: Vec::new() });
                self.mask(of, threads, SignalSet(!Signal::HUP.set().0));
            }
            Step::Jvm => {
                for signal in [4, 7, 8, SEGV, 13, 25] {
                    self.act(of, signal, Set::Handler { number: JVMS_FAULTS, once: false });
                }
                for signal in [3, 1, 2, 15] {
                    self.act(of, signal, Set::Handler { number: JVMS, once: false });
                }
            }
            Step::Mask { thread, signal, blocks } => {
                self.mask_one(of, thread % threads, signal, blocks);
            }
            Step::MaskFor { thread, signal, ns, acts } => {
                let thread = thread % threads;
                let mask = self.processes[of].threads[thread].mask;
                let blocks = !mask.contains(signal);
                self.mask_one(of, thread, signal, blocks);
                if acts {
                    self.next_handler += 1;
                    let number = self.next_handler;
                    self.act(of, signal, Set::Handler { number, once: false });
                }
                self.now += ns;
                if self.processes[of].alive {
                    self.mask(of, thread, mask);
                }
            }
            Step::Signalfd => {
                self.processes[of].signalfd = Signal::HUP.set();
                self.consume(of, 0, Consumer::Signalfd);
            }
            Step::ReadSignalfd => {
                let process = &mut self.processes[of];
                let set = process.signalfd;
                let queues = process.threads.iter_mut().map(|thread| &mut thread.pending);
                for queue in queues.chain([&mut process.pending]) {
                    queue.retain(|signal| !set.contains(*signal));
                }
            }
            Step::Sigwait { thread } => self.sigwait(of, thread % threads),
            Step::Kill { from, signal, thread, lost_info, prompt } => {
                let sender = (from != 5).then(|| some(from));
                let thread = thread.map(|thread| thread % threads);
                self.send(sender, of, signal, thread, lost_info);
                if prompt {
                    self.deliver_all(of);
                }
            }
            Step::Deliver { thread } => self.deliver(of, thread % threads),
            Step::Raise { signal } => {
                self.act(of, signal, Set::Default);
                self.send(Some(of), of, signal, Some(0), false);
                if self.processes[of].alive {
                    self.mask_one(of, 0, signal, false);
                }
            }
            Step::Exit { code } => self.exit(of, None, code),
            Step::ThreadExit { thread } => {
                let thread = thread % threads;
                if thread > 0 {
                    let pending = signals(&self.processes[of].threads[thread].pending);
                    if pending.0 != 0 {
                        let task = self.task(of, thread);
                        self.tell(Fact::ThreadExit { task, pending });
                    }
                    self.processes[of].threads.remove(thread);
                }
            }
            Step::Notify { text, from_main, failed } => {
                let sender = if from_main { alive[0] } else { of };
                self.notify(sender, text.to_owned(), failed);
            }
            Step::MainPid { of: main } => {
                let pid = self.processes[some(main)].id.pid;
                self.notify(of, format!("MAINPID={pid}"), false);
            }
            Step::Says { state, main } => {
                let main = main.map(|main| self.processes[some(main)].id.pid);
                self.says(state, main);
            }
            Step::Settings { access } => self.settings(access),
            Step::Restart => {}
        }
    }

    fn has_runtime(&self, of: usize) -> bool {
        matches!(self.processes[of].program, Program::Of(_))
            || self.tables[self.processes[of].table]
                .values()
                .any(|set| matches!(set, Set::Handler { number, .. } if *number >= CATCH_ALL))
    }

    fn fork(&mut self, of: usize, shares_handlers: bool) {
        if self.processes.len() >= 6 {
            return;
        }
        let shares_handlers = shares_handlers && !self.has_runtime(of);
        let table = if shares_handlers {
            self.processes[of].table
        } else {
            let table = self.tables[self.processes[of].table].clone();
            self.tables.push(table);
            self.tables.len() - 1
        };
        let mask = self.processes[of].threads[0].mask;
        let child = self.born(table, mask);
        self.processes[child].comm = self.processes[of].comm.clone();
        self.processes[child].program = self.processes[of].program;
        self.processes[child].shares = shares_handlers;
        self.processes[of].shares |= shares_handlers;
        self.processes[child].signalfd = self.processes[of].signalfd;
        let (parent, state) = (self.task(of, 0), self.state(child));
        let child = self.task(child, 0);
        self.tell(Fact::Fork { parent, child, shares_handlers, shares_memory: false, state });
    }

    fn exec(&mut self, of: usize, exe: &str) {
        let mut table = self.tables[self.processes[of].table].clone();
        table.retain(|_, set| *set == Set::Ignore);
        self.tables.push(table);
        let process = &mut self.processes[of];
        process.table = self.tables.len() - 1;
        process.threads.truncate(1);
        process.comm = exe.rsplit('/').next().unwrap_or_default().to_owned();
        process.signalfd = SignalSet::EMPTY;
        let (task, state, exe) = (self.task(of, 0), self.state(of), exe.to_owned());
        let invocation_id = self.is_unit.then(|| self.invocation.to_string());
        let environment = Environment { invocation_id, ..Environment::default() };
        let program = program(&exe);
        self.processes[of].program = program;
        self.tell(Fact::Exec {
            task,
            filename: exe.clone(),
            file: exe.rsplit('/').next().unwrap().into(),
            exe: exe.into(),
            program,
            environment,
            state,
        });
    }

    fn act(&mut self, of: usize, signal: u32, set: Set) {
        self.tables[self.processes[of].table].insert(signal, set);
        let (disposition, once) = match set {
            Set::Default => (DispositionKind::Default, false),
            Set::Ignore => (DispositionKind::Ignored, false),
            Set::Handler { once, .. } => (DispositionKind::Handler, once),
        };
        if set == Set::Ignore {
            let process = &mut self.processes[of];
            let queues = process.threads.iter_mut().map(|thread| &mut thread.pending);
            for queue in queues.chain([&mut process.pending]) {
                queue.retain(|pending| *pending != signal);
            }
        }
        if !REPORTED.contains(&signal) {
            return;
        }
        let (task, state, handler) = (self.task(of, 0), self.state(of), self.handler(of, signal));
        let signal = number(signal);
        let loaded = None;
        self.tell(Fact::Disposition { task, signal, disposition, once, handler, loaded, state });
    }

    fn mask(&mut self, of: usize, thread: usize, after: SignalSet) {
        let Some(it) = self.processes[of].threads.get_mut(thread) else {
            return;
        };
        let before = std::mem::replace(&mut it.mask, after);
        let (task, state) = (self.task(of, thread), self.state(of));
        self.tell(Fact::Mask { task, before, after, state });
        // What waited is taken on the way out of the system call.
        self.deliver(of, thread);
    }

    fn mask_one(&mut self, of: usize, thread: usize, signal: u32, blocks: bool) {
        let mask = self.processes[of].threads[thread].mask;
        let set = SignalSet::of(signal);
        let after = if blocks { mask.union(set) } else { SignalSet(mask.0 & !set.0) };
        self.mask(of, thread, after);
    }

    fn consume(&mut self, of: usize, thread: usize, consumer: Consumer) {
        let (task, set, state) = (self.task(of, thread), Signal::HUP.set(), self.state(of));
        self.tell(Fact::Consume { task, consumer, set, state });
    }

    /// A thread waits, and takes what is there.
    fn sigwait(&mut self, of: usize, thread: usize) {
        self.consume(of, thread, Consumer::Sigwait);
        let process = &mut self.processes[of];
        let mut queues = [&mut process.threads[thread].pending, &mut process.pending];
        let is_taken = queues.iter_mut().any(|queue| {
            let place = queue.iter().position(|signal| *signal == 1);
            place.map(|place| queue.remove(place)).is_some()
        });
        if is_taken {
            let task = self.task(of, thread);
            self.tell(Fact::Taken { task, signal: Signal::HUP });
        }
    }

    fn send(
        &mut self,
        sender: Option<usize>,
        of: usize,
        signal: u32,
        thread: Option<usize>,
        lost_info: bool,
    ) {
        let process = &self.processes[of];
        let is_blocked = match thread {
            Some(thread) => process.threads[thread].mask.contains(signal),
            None => process.threads.iter().all(|thread| thread.mask.contains(signal)),
        };
        let set = self.set(of, signal);
        let disposition = match set {
            _ if is_blocked => DispositionKind::Blocked,
            Set::Default => DispositionKind::Default,
            Set::Ignore => DispositionKind::Ignored,
            Set::Handler { .. } => DispositionKind::Handler,
        };
        let action = number(signal).default_action();
        let is_ignored = match set {
            Set::Ignore => true,
            Set::Default => matches!(action, DefaultAction::Ignore | DefaultAction::Continue),
            Set::Handler { .. } => false,
        };
        let queue = match thread {
            Some(thread) => &process.threads[thread].pending,
            None => &process.pending,
        };
        let is_there = signal < 32 && queue.contains(&signal);
        let result = if is_ignored && !is_blocked {
            GenerateResult::Ignored
        } else if is_there {
            GenerateResult::AlreadyPending
        } else if lost_info {
            GenerateResult::LostInfo
        } else {
            GenerateResult::Queued
        };
        let is_queued = matches!(result, GenerateResult::Queued | GenerateResult::LostInfo);
        let condemned = is_queued
            && disposition == DispositionKind::Default
            && action == DefaultAction::Terminate;
        let generate = Generate {
            sender: sender.map(|sender| self.task(sender, 0)),
            origin: None,
            target: self.task(of, thread.unwrap_or(0)),
            signal: number(signal),
            result,
            si_code: 0,
            disposition,
            mask_unknown: false,
            traced: false,
            to_thread: thread.is_some(),
            awaited: false,
            unblocked: None,
            handler: self.handler(of, signal),
            dying_of: condemned.then(|| number(signal)),
        };
        self.tell(Fact::Generate(Box::new(generate)));
        if condemned {
            self.exit(of, Some(signal), 0);
        } else if is_queued {
            let process = &mut self.processes[of];
            match thread {
                Some(thread) => process.threads[thread].pending.push(signal),
                None => process.pending.push(signal),
            }
        }
    }

    fn deliver_all(&mut self, of: usize) {
        for thread in 0..self.processes[of].threads.len() {
            self.deliver(of, thread);
        }
    }

    /// A thread takes what it can from its queue and the process's.
    fn deliver(&mut self, of: usize, thread: usize) {
        while self.processes[of].alive {
            let process = &mut self.processes[of];
            let Some(it) = process.threads.get_mut(thread) else { return };
            let mask = it.mask;
            let open = |signal: &u32| !mask.contains(*signal);
            let signal = if let Some(place) = it.pending.iter().position(open) {
                it.pending.remove(place)
            } else if let Some(place) = process.pending.iter().position(open) {
                process.pending.remove(place)
            } else {
                return;
            };
            let (disposition, once) = match self.set(of, signal) {
                Set::Default => (DispositionKind::Default, false),
                Set::Ignore => (DispositionKind::Ignored, false),
                Set::Handler { once, .. } => (DispositionKind::Handler, once),
            };
            if once {
                self.tables[self.processes[of].table].insert(signal, Set::Default);
            }
            let task = self.task(of, thread);
            let signal = number(signal);
            self.tell(Fact::Deliver { task, signal, disposition, once, unkillable: false });
            if disposition == DispositionKind::Default && signal.default_action().is_fatal() {
                self.exit(of, Some(signal.number()), 0);
            }
        }
    }

    fn exit(&mut self, of: usize, by: Option<u32>, code: u8) {
        self.now += 30_000;
        let (task, state) = (self.task(of, 0), self.state(of));
        let signal = by.map(number);
        self.tell(Fact::Exit { task, signal, code, core_dumped: false, state });
        self.processes[of].alive = false;
    }

    fn notify(&mut self, of: usize, text: String, failed: bool) {
        let datagram = Datagram {
            sender: self.task(of, 0),
            exe: None,
            claimed_pid: None,
            destination: "/run/systemd/notify".to_owned(),
            length: text.len() as u32,
            payload: Some(text.into_bytes()),
            errno: if failed { 11 } else { 0 },
            not_connected: false,
        };
        self.tell(Fact::Notify(Box::new(datagram)));
    }

    fn says(&mut self, state: &str, main_pid: Option<u32>) {
        let state = UnitState { active_state: state.to_owned(), main_pid, ..UnitState::default() };
        self.news(UnitNews {
            state: Some(state),
            invocation_id: Some(self.invocation.to_string()),
            ..UnitNews::default()
        });
    }

    fn settings(&mut self, access: &str) {
        let facts = UnitFacts {
            service_type: Some("notify".to_owned()),
            notify_access: Some(access.to_owned()),
            ..UnitFacts::default()
        };
        self.news(UnitNews { facts: Some(facts), ..UnitNews::default() });
    }

    fn news(&mut self, news: UnitNews) {
        let cgroup = DEMO.to_owned();
        self.tell(Fact::Unit(Box::new(UnitNews { cgroup, ..news })));
    }

    /// /proc is read.
    fn look(&mut self) {
        for of in 0..self.processes.len() {
            if self.processes[of].alive {
                let task = Task { cgroup_id: 0, ..self.task(of, 0) };
                let exe = Some(format!("/bin/{}", task.comm).into());
                let (program, state) = (self.processes[of].program, self.state(of));
                let environment = Environment {
                    invocation_id: Some(self.invocation.to_string()),
                    ..Environment::default()
                };
                let (parent, cgroup) = (STARTER, Some(DEMO.to_owned()));
                self.tell(Fact::Found { task, parent, exe, program, cgroup, environment, state });
            }
        }
    }

    /// The capture ends: those that live are looked at.
    fn end(&mut self) {
        self.now += 500_000_000;
        for of in 0..self.processes.len() {
            if self.processes[of].alive {
                let (id, state) = (self.processes[of].id, self.state(of));
                self.tell(Fact::Left { id, state });
            }
        }
    }
}

fn number(signal: u32) -> Signal {
    Signal::from_number(signal).expect("a signal's number")
}

fn starter() -> Task {
    let id = ProcessId { pid: STARTER, start_ticks: 0 };
    Task { cgroup_id: 1, comm: "starter".into(), ..Task::of(id) }
}
