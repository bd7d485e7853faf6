//! What happened to a service, told in facts: times are ms, processes are their pids.
//! A told story prints its timelines when the test that told it fails.

use std::{collections::BTreeMap, ops::Deref, thread};

use tracer_common::signal::SignalSet;

use crate::{
    model::{
        document::{Activation, Service},
        event::{Consumer, DispositionKind, Event, SignalSent, What},
        glob::Glob,
        runtime::Runtime,
        signal::Signal,
        unit::UnitFacts,
    },
    observation::{
        Anchor, Datagram, Environment, Fact, Generate, GenerateResult, Handler, Observation,
        ProcessId, Program, SignalState, TICK_NS, Task,
    },
    timeline::{Builder, Counting, Scope, Selector, Setup},
};

/// ns in a ms.
pub const MS: u64 = 1_000_000;
/// When stories begin, ns after boot.
pub const BEGIN: u64 = 5_000_000_000;
/// The process that starts things: the tracer, or systemd.
pub const STARTER: u32 = 1;
/// The cgroup of `demo.service`.
pub const DEMO: &str = "/system.slice/demo.service";

/// A handler that serves so many signals.
pub fn serving(count: u32) -> Handler {
    let serves = (1..=count).fold(SignalSet::EMPTY, |set, n| set.union(SignalSet::of(n)));
    Handler { serves, ..Handler::default() }
}

/// A Java virtual machine's for what shuts it down, as OpenJDK 17 was seen to install it:
/// HUP, QUIT and TERM have one handler, and ILL, BUS, FPE, SEGV, PIPE and XFSZ another.
pub fn jvms() -> Handler {
    Handler { serves: signals(&[1, 3, 15]), faults: signals(&[4, 7, 8, 11, 13, 25]) }
}

/// What stories say that their executables are.
pub fn program(exe: &str) -> Program {
    match exe {
        "/bin/plain" => Program::Plain,
        "/bin/bash" => Program::Of(Runtime::Bash),
        "/bin/zsh" => Program::Of(Runtime::Zsh),
        "/bin/mksh" => Program::Of(Runtime::Mksh),
        "/usr/bin/ruby3.1" => Program::Of(Runtime::Ruby),
        "/usr/bin/node" => Program::Of(Runtime::Node),
        "/usr/bin/prometheus" => Program::Of(Runtime::Go),
        "/usr/bin/java" => Program::Of(Runtime::Jvm),
        "/usr/bin/beam.smp" => Program::Of(Runtime::Erlang),
        "/opt/interpreter" => Program::Of(Runtime::Unlisted),
        _ => Program::Unread,
    }
}

/// A set of signals.
pub fn signals(numbers: &[u32]) -> SignalSet {
    numbers.iter().fold(SignalSet::EMPTY, |set, number| set.union(SignalSet::of(*number)))
}

/// Facts in the order they are told.
#[derive(Clone, Debug)]
pub struct Story {
    scope: Scope,
    facts: Option<UnitFacts>,
    recorded: SignalSet,
    pub observations: Vec<Observation>,
    processes: BTreeMap<u32, Actor>,
    end: u64,
}

#[derive(Clone, Debug)]
struct Actor {
    start_ns: u64,
    comm: String,
    state: SignalState,
}

impl Story {
    fn new(scope: Scope) -> Self {
        let starter =
            Actor { start_ns: 0, comm: "starter".to_owned(), state: SignalState::default() };
        Self {
            scope,
            facts: None,
            recorded: Signal::HUP.set(),
            observations: Vec::new(),
            processes: BTreeMap::from([(STARTER, starter)]),
            end: 1_000,
        }
    }

    /// `sigready run`.
    pub fn command() -> Self {
        Self::new(Scope::Command { parent: STARTER, name: "demo".to_owned() })
    }

    /// `sigready trace demo.service`.
    pub fn unit() -> Self {
        let name = Glob::new("demo*.service").unwrap();
        Self::selected(vec![Selector::Unit { name, system: None }])
    }

    /// `sigready trace` with these.
    pub fn selected(selectors: Vec<Selector>) -> Self {
        Self::new(Scope::Selected(selectors))
    }

    /// `sigready trace --pid`.
    pub fn process(pid: u32) -> Self {
        Self::selected(vec![Selector::Process(pid)])
    }

    pub fn with_facts(mut self, service_type: &str, notify_access: &str) -> Self {
        self.facts = Some(UnitFacts {
            service_type: Some(service_type.to_owned()),
            notify_access: Some(notify_access.to_owned()),
            ..UnitFacts::default()
        });
        self
    }

    /// The kernel side reports this signal too.
    pub fn recording(mut self, signal: Signal) -> Self {
        self.recorded = self.recorded.union(signal.set());
        self
    }

    pub fn until(mut self, end: u64) -> Self {
        self.end = end;
        self
    }

    pub fn task(&self, pid: u32) -> Task {
        let actor = self.processes.get(&pid).expect("a process of the story");
        let id = ProcessId { pid, start_ticks: actor.start_ns / TICK_NS };
        let (start_ns, comm) = (actor.start_ns, actor.comm.clone());
        Task { start_ns, cgroup_id: 1, comm: comm.into(), ..Task::of(id) }
    }

    fn state(&mut self, pid: u32) -> &mut SignalState {
        &mut self.processes.get_mut(&pid).expect("a process of the story").state
    }

    pub fn fact(mut self, at: u64, fact: Fact) -> Self {
        self.observations.push(Observation { at: BEGIN + at * MS, fact });
        self
    }

    fn born(mut self, at: u64, parent: u32, pid: u32) -> Self {
        let mut actor = self.processes[&parent].clone();
        actor.start_ns = BEGIN + at * MS;
        self.processes.insert(pid, actor);
        self
    }

    pub fn fork(self, at: u64, parent: u32, pid: u32) -> Self {
        self.forked(at, parent, pid, false)
    }

    /// The same, and the two have one table of handlers.
    pub fn share(self, at: u64, parent: u32, pid: u32) -> Self {
        self.forked(at, parent, pid, true)
    }

    fn forked(self, at: u64, parent: u32, pid: u32, shares_handlers: bool) -> Self {
        let story = self.born(at, parent, pid);
        let (parent, child) = (story.task(parent), story.task(pid));
        let state = story.processes[&pid].state;
        story.fact(at, Fact::Fork { parent, child, shares_handlers, shares_memory: false, state })
    }

    pub fn exec(self, at: u64, pid: u32, exe: &str) -> Self {
        self.exec_with(at, pid, exe, Environment::default())
    }

    /// An exec by systemd for the unit's start `invocation`.
    pub fn exec_in(self, at: u64, pid: u32, exe: &str, invocation: &str) -> Self {
        let invocation_id = Some(invocation.to_owned());
        self.exec_with(at, pid, exe, Environment { invocation_id, ..Environment::default() })
    }

    /// An exec of ExecReload= and the like.
    pub fn exec_control(self, at: u64, pid: u32, exe: &str, invocation: &str) -> Self {
        let invocation_id = Some(invocation.to_owned());
        let environment = Environment { invocation_id, control: true, ..Environment::default() };
        self.exec_with(at, pid, exe, environment)
    }

    fn exec_with(mut self, at: u64, pid: u32, exe: &str, environment: Environment) -> Self {
        let actor = self.processes.get_mut(&pid).expect("a process of the story");
        actor.comm = exe.rsplit('/').next().unwrap_or_default().to_owned();
        actor.state.caught = SignalSet::EMPTY;
        let state = actor.state;
        let (task, exe, program) = (self.task(pid), exe.to_owned(), program(exe));
        self.fact(
            at,
            Fact::Exec {
                task,
                filename: exe.clone(),
                file: exe.rsplit('/').next().unwrap().into(),
                exe: exe.into(),
                program,
                environment,
                state,
            },
        )
    }

    /// A process is started where it is not seen, and is soon in `demo.service`.
    pub fn appear(self, at: u64, pid: u32) -> Self {
        let path = DEMO.to_owned();
        self.born(at, STARTER, pid).fact(0, Fact::CgroupPath { hierarchy: 0, id: 1, path })
    }

    /// systemd moves a process into a cgroup.
    pub fn attach(mut self, at: u64, pid: u32, path: &str) -> Self {
        if !self.processes.contains_key(&pid) {
            self = self.born(at, STARTER, pid);
        }
        let (task, path) = (self.task(pid), path.to_owned());
        self.fact(at, Fact::CgroupAttach { task, hierarchy: 0, tracks_units: true, path })
    }

    /// systemd starts a process in `demo.service`: its fork is not reported.
    pub fn start(self, at: u64, pid: u32, exe: &str, invocation: &str) -> Self {
        self.attach(at, pid, DEMO).exec_in(at + 1, pid, exe, invocation)
    }

    /// A process that was there before, with `caught` handled.
    pub fn found(mut self, pid: u32, parent: u32, path: &str, caught: &[Signal]) -> Self {
        let caught = caught.iter().fold(SignalSet::EMPTY, |set, s| set.union(s.set()));
        let state = SignalState { caught, ..SignalState::default() };
        let start_ns = BEGIN / 2 + u64::from(pid) * TICK_NS;
        self.processes.insert(pid, Actor { start_ns, comm: "old".to_owned(), state });
        let task = Task { cgroup_id: 0, ..self.task(pid) };
        let (exe, cgroup) = (Some("/usr/bin/old".into()), Some(path.to_owned()));
        let (environment, program) = (Environment::default(), Program::Unread);
        self.fact(0, Fact::Found { task, parent, exe, program, cgroup, environment, state })
    }

    /// What was found last shows this id in its environment.
    pub fn with_id(mut self, id: &str) -> Self {
        if let Some(Observation { fact: Fact::Found { environment, .. }, .. }) =
            self.observations.last_mut()
        {
            environment.invocation_id = Some(id.to_owned());
        }
        self
    }

    pub fn handler(self, at: u64, pid: u32) -> Self {
        self.action(at, pid, Signal::HUP, DispositionKind::Handler, 1)
    }

    /// A Java virtual machine's handler for HUP.
    pub fn jvm_handler(self, at: u64, pid: u32) -> Self {
        self.action_with(at, pid, Signal::HUP, DispositionKind::Handler, jvms())
    }

    /// Sets what a process does on a signal; the handler serves so many signals.
    pub fn action(
        self,
        at: u64,
        pid: u32,
        signal: Signal,
        disposition: DispositionKind,
        count: u32,
    ) -> Self {
        self.action_with(at, pid, signal, disposition, serving(count))
    }

    /// The same with that handler.
    pub fn action_with(
        mut self,
        at: u64,
        pid: u32,
        signal: Signal,
        disposition: DispositionKind,
        handler: Handler,
    ) -> Self {
        let state = self.state(pid);
        state.caught.0 &= !signal.set().0;
        state.ignored.0 &= !signal.set().0;
        match disposition {
            DispositionKind::Handler => state.caught = state.caught.union(signal.set()),
            DispositionKind::Ignored => state.ignored = state.ignored.union(signal.set()),
            _ => {}
        }
        let state = *state;
        let task = self.task(pid);
        let (once, loaded) = (false, None);
        self.fact(at, Fact::Disposition { task, signal, disposition, once, handler, loaded, state })
    }

    /// The last handler was set by a process that has loaded this virtual machine.
    pub fn having_loaded(mut self, runtime: Runtime) -> Self {
        let last = self.observations.last_mut().expect("a handler was set");
        let Fact::Disposition { loaded, .. } = &mut last.fact else {
            panic!("no handler was set: {last:?}");
        };
        *loaded = Some(runtime);
        self
    }

    /// Blocks HUP in the only thread, or unblocks it.
    pub fn mask(mut self, at: u64, pid: u32, blocked: bool) -> Self {
        let set = |on: bool| if on { Signal::HUP.set() } else { SignalSet::EMPTY };
        self.state(pid).blocked = set(blocked);
        let (task, state) = (self.task(pid), *self.state(pid));
        self.fact(at, Fact::Mask { task, before: set(!blocked), after: set(blocked), state })
    }

    /// Go's `signal.Notify`: a thread of the runtime's sets itself aside.
    pub fn set_aside(mut self, at: u64, pid: u32) -> Self {
        let task = Task { tid: pid + 1_000, ..self.task(pid) };
        let (before, after) = (SignalSet::EMPTY, SignalSet(!Signal::HUP.set().0));
        let state = *self.state(pid);
        self.fact(at, Fact::Mask { task, before, after, state })
    }

    pub fn consume(mut self, at: u64, pid: u32, consumer: Consumer) -> Self {
        let (task, set) = (self.task(pid), Signal::HUP.set());
        let state = *self.state(pid);
        self.fact(at, Fact::Consume { task, consumer, set, state })
    }

    /// HUP from `sender` to `pid`, as the kernel would decide it.
    pub fn hup(self, at: u64, sender: u32, pid: u32) -> Self {
        self.hup_with(at, sender, pid, |_| {})
    }

    /// The same with a change.
    pub fn hup_with(
        mut self,
        at: u64,
        sender: u32,
        pid: u32,
        change: impl FnOnce(&mut Generate),
    ) -> Self {
        let hup = Signal::HUP.set();
        let state = *self.state(pid);
        let disposition = if state.blocked.intersects(hup) {
            DispositionKind::Blocked
        } else if state.ignored.intersects(hup) {
            DispositionKind::Ignored
        } else if state.caught.intersects(hup) {
            DispositionKind::Handler
        } else {
            DispositionKind::Default
        };
        let ignored = disposition == DispositionKind::Ignored;
        let mut generate = Generate {
            sender: Some(self.task(sender)),
            origin: None,
            target: self.task(pid),
            signal: Signal::HUP,
            result: if ignored { GenerateResult::Ignored } else { GenerateResult::Queued },
            si_code: 0,
            disposition,
            mask_unknown: false,
            traced: false,
            to_thread: false,
            awaited: false,
            unblocked: None,
            handler: Handler::default(),
            dying_of: (disposition == DispositionKind::Default).then_some(Signal::HUP),
        };
        change(&mut generate);
        self.fact(at, Fact::Generate(Box::new(generate)))
    }

    pub fn deliver(self, at: u64, pid: u32, disposition: DispositionKind, once: bool) -> Self {
        let task = self.task(pid);
        self.fact(
            at,
            Fact::Deliver { task, signal: Signal::HUP, disposition, once, unkillable: false },
        )
    }

    pub fn taken(self, at: u64, pid: u32) -> Self {
        let task = self.task(pid);
        self.fact(at, Fact::Taken { task, signal: Signal::HUP })
    }

    pub fn exit(self, at: u64, pid: u32, code: u8) -> Self {
        self.ended(at, pid, None, code, SignalSet::EMPTY)
    }

    pub fn killed(self, at: u64, pid: u32, signal: Signal) -> Self {
        self.ended(at, pid, Some(signal), 0, SignalSet::EMPTY)
    }

    pub fn ended(
        mut self,
        at: u64,
        pid: u32,
        signal: Option<Signal>,
        code: u8,
        pending: SignalSet,
    ) -> Self {
        let state = SignalState { pending, ..*self.state(pid) };
        let task = self.task(pid);
        self.fact(at, Fact::Exit { task, signal, code, core_dumped: false, state })
    }

    /// A process ignores a signal; what it starts does too.
    pub fn ignoring(self, at: u64, pid: u32, signal: Signal) -> Self {
        self.action(at, pid, signal, DispositionKind::Ignored, 0)
    }

    /// HUP that its handler takes a millisecond later.
    pub fn taken_hup(self, at: u64, sender: u32, pid: u32) -> Self {
        self.hup(at, sender, pid).deliver(at + 1, pid, DispositionKind::Handler, false)
    }

    /// The unit's or command's settings.
    pub fn with_type(mut self, service_type: &str, restart: &str) -> Self {
        let facts = self.facts.get_or_insert_default();
        facts.service_type = Some(service_type.to_owned());
        facts.notify_access = Some("main".to_owned());
        facts.restart = Some(restart.to_owned());
        self
    }

    /// The signal that the unit's reload sends.
    pub fn reloading_by(mut self, signal: Option<Signal>) -> Self {
        self.facts.get_or_insert_default().reload_signal = signal;
        self
    }

    /// The signal by which systemd has the unit stop.
    pub fn stopping_by(mut self, signal: Signal) -> Self {
        self.facts.get_or_insert_default().kill_signal = Some(signal);
        self
    }

    /// `TimeoutStartSec=` of the unit, in ms.
    pub fn with_start_limit(mut self, ms: u64) -> Self {
        self.facts.get_or_insert_default().timeout_start_ns = Some(ms * MS);
        self
    }

    pub fn notify(self, at: u64, pid: u32, text: &str) -> Self {
        self.datagram(at, pid, text, |_| {})
    }

    pub fn datagram(
        self,
        at: u64,
        pid: u32,
        text: &str,
        change: impl FnOnce(&mut Datagram),
    ) -> Self {
        let mut datagram = Datagram {
            sender: self.task(pid),
            exe: None,
            claimed_pid: None,
            destination: "/run/systemd/notify".to_owned(),
            payload: Some(text.as_bytes().to_vec()),
            length: text.len() as u32,
            errno: 0,
            not_connected: false,
        };
        change(&mut datagram);
        self.fact(at, Fact::Notify(Box::new(datagram)))
    }

    pub fn setup(&self) -> Setup {
        Setup {
            main: None,
            scope: self.scope.clone(),
            reload_signal: Signal::HUP,
            units_choose: true,
            fresh: false,
            counting: Counting::All,
            recorded: self.recorded,
            shown: Signal::HUP.set(),
            facts: self.facts.clone(),
            settle_ns: 1_000 * MS,
            placed: false,
            anchor: Anchor { boot_ns: BEGIN, wall: "2026-01-01T00:00:00Z".parse().unwrap() },
        }
    }

    /// The timelines.
    pub fn told(&self) -> Told {
        let mut builder = Builder::new(self.setup());
        for observation in &self.observations {
            builder.observe(observation.clone());
        }
        builder.end();
        Told { services: builder.services(BEGIN + self.end * MS) }
    }
}

/// The timelines of a story.
pub struct Told {
    pub services: Vec<Service>,
}

impl Told {
    pub fn starts(&self) -> &[Activation] {
        assert_eq!(self.services.len(), 1, "services");
        &self.services[0].activations
    }

    pub fn signals(&self) -> Vec<&SignalSent> {
        let signal = |event: &'_ Event| matches!(event.what, What::Signal(_));
        self.events
            .iter()
            .filter(|event| signal(event))
            .map(|event| match &event.what {
                What::Signal(sent) => sent.as_ref(),
                _ => unreachable!(),
            })
            .collect()
    }
}

/// The only start of the only service.
impl Deref for Told {
    type Target = Activation;

    fn deref(&self) -> &Activation {
        assert_eq!(self.starts().len(), 1, "starts");
        &self.starts()[0]
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        for service in &self.services {
            for start in &service.activations {
                eprintln!("{}: main {:?}", service.name, start.main_process);
                eprintln!("  {:?}\n  {:?}", start.milestones, start.exposure);
                for event in &start.events {
                    eprintln!("  {}", serde_json::to_string(event).unwrap_or_default());
                }
            }
        }
    }
}
