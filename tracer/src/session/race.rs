//! One run after the other of a command, with the programs attached once for all of them.

mod between;
mod cgroup;
mod command_run;
mod goals;
mod guard;
mod judging;
mod main_process;
mod placing;
mod reload;
mod resting;
mod rounds;
mod rules;
mod stopped;
mod unit;
mod unit_run;
mod untouched;
mod workers;

pub use self::{
    between::Between,
    guard::guard,
    placing::Placing,
    rounds::{Found, Rounds},
    rules::{Part, Rules, instant},
    unit::RacedUnit,
    unit_run::UnitRacer,
    workers::{Worked, work},
};

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tracer_common::{
    place::{COMMAND, Order},
    signal::SignalSet,
};

use self::{
    cgroup::{Cgroup, Cgroups},
    command_run::OneRun,
    guard::Guard,
    placing::{Came, Facts, empty, placer},
    resting::{AtRest, Rested, follow},
    stopped::{Sending, Sent},
};
use super::{
    Asked, Capture, Command, Ending, Held, Interrupts, NotifySocket, Observer, Schedule, Session,
    Startable, Stopped, Streams, Until,
    leavings::{end_descendants, left_running, take_orphans},
    turns::Closed,
};
use crate::{
    host::clock,
    model::{
        document::{Document, EndedBy},
        raw_name,
        text::Outside,
        unit::UnitFacts,
    },
    observation::Observation,
    probe::{
        attach::{Attached, Request, attach},
        place::{Placer, address},
        stream::Stream,
    },
    race::{Active, Goal, Origin, Reload, Watch},
    timeline::{Builder, Counting, Scope, Setup},
};

/// How long the command has to end by TERM after a run, before all of it is killed.
const STOP: Duration = Duration::from_secs(1);
/// How long what the command started has to end after it.
const FOLLOW: Duration = Duration::from_millis(100);
/// What a run gave.
pub struct Ran {
    /// What was captured, judged.
    pub document: Document,
    /// The facts that steps are told from, as far as there was room for them.
    pub facts: Vec<Observation>,
    /// Whether there was room for all.
    pub has_all: bool,
    /// What the kernel side told.
    pub came: Came,
    /// How often READY=1 was said.
    pub readies: u32,
    /// Why the signal was not sent although its instant came.
    pub unsent: Option<String>,
    /// The reload that systemd was asked for.
    pub reload: Option<Reload>,
    /// When the signal came with a sender, and who sent it, each time.
    pub sent: Vec<(u64, u32)>,
    /// When the command was started and until when its start was looked at (the same clock): to the
    /// end of the run, or until it was at rest.
    pub span: (u64, u64),
    /// When it was looked at last.
    pub until: u64,
    /// Whether it came to rest, and the signal was to be sent then.
    pub rested: Option<Rested>,
    /// Why the run ended.
    pub ended_by: EndedBy,
    /// What the command left running when it ended by itself.
    pub left: Vec<String>,
    /// The names of what it left running, however it ended, unless it was killed for being late.
    pub leftovers: Vec<String>,
    /// What is still there although it was killed.
    pub stuck: Vec<String>,
    /// By what the command is known among the processes.
    pub origin: Origin,
    /// Of a unit: whether and when systemd took it for active.
    pub active: Option<Active>,
    /// The place of its main process.
    pub main_place: u64,
    /// Of a unit: what systemd's start of it ended with, if it was not done.
    pub failed: Option<Outside>,
    /// Of a unit: its main process at the end, as its systemd's pids go.
    pub main: Option<u32>,
    /// Of a unit: the same of the last one that it had.
    pub exec_main: Option<u32>,
    /// Of a unit: what systemd makes of the end of that, in words.
    pub by_systemd: Option<String>,
}

/// What is raced: a command or a unit.
pub enum Runner<'a> {
    /// A command.
    Command(Racer<'a>),
    /// A unit.
    Unit(UnitRacer<'a>),
}

/// What one run is made for.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The signal, and where it is placed.
    pub placing: Placing,
    /// What the run is to come to.
    pub goal: Goal,
    /// The longest that it may take.
    pub limit: Duration,
    /// Once it has come to that, the signal is sent: what the run is to come to then.
    pub rest: Option<AtRest>,
}

impl Asking {
    /// How long the command must still be there after the signal, ns.
    fn settle_ns(&self) -> u64 {
        self.rest.as_ref().map_or(&self.goal, |rest| &rest.goal).settle_ns
    }
}

impl Ran {
    /// Keeps of it what tells of the start, where that was at rest before the end of the run; and the
    /// facts of what came then.
    fn until_rest(mut self) -> Self {
        if let Some(Rested { at, .. }) = self.rested {
            self.span.1 = at;
            self.came.counted.retain(|it| it.at_ns <= at);
            self.came.child_exits.retain(|it| it.at <= at);
        }
        self
    }
}

impl Runner<'_> {
    /// Runs it once.
    pub async fn run(&mut self, asking: Asking) -> Result<Ran> {
        match self {
            Self::Command(racer) => Box::pin(racer.run(asking)).await,
            Self::Unit(racer) => Box::pin(racer.run(asking)).await,
        }
    }

    /// The path of its notify socket.
    #[must_use]
    pub fn socket(&self) -> Option<String> {
        match self {
            Self::Command(racer) => racer.socket(),
            Self::Unit(racer) => Some(racer.unit.socket()),
        }
    }

    /// Whether system calls are counted.
    #[must_use]
    pub fn counts(&self) -> bool {
        match self {
            Self::Command(racer) => racer.counts(),
            Self::Unit(racer) => racer.counts(),
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Command(racer) => &racer.name,
            Self::Unit(racer) => racer.unit.name(),
        }
    }

    /// How often it was started.
    #[must_use]
    pub fn runs(&self) -> u64 {
        match self {
            Self::Command(racer) => racer.runs,
            Self::Unit(racer) => racer.runs,
        }
    }

    /// How handlers and messages are seen.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Command(racer) => racer.backend(),
            Self::Unit(racer) => racer.backend(),
        }
    }
}

/// Runs a command again and again.
pub struct Racer<'a> {
    startable: &'a Startable,
    facts: UnitFacts,
    name: String,
    arguments: Vec<String>,
    recorded: SignalSet,
    streams: Streams,
    between: Option<Between>,
    attached: Attached,
    placer: Placer,
    counts: bool,
    stream: Option<Stream>,
    socket: Option<NotifySocket>,
    interrupts: Option<Interrupts>,
    cgroups: Option<Cgroups>,
    guard: Guard,
    observer: &'a dyn Observer,
    /// How often the command was started.
    pub runs: u64,
}

/// What is raced.
pub struct Raced<'a> {
    /// The command.
    pub startable: &'a Startable,
    /// The unit that it stands for.
    pub facts: UnitFacts,
    /// What it is called.
    pub name: String,
    /// Its command line.
    pub arguments: Vec<String>,
    /// Whether it has a notify socket.
    pub notifies: bool,
    /// Its standard streams.
    pub streams: Streams,
    /// Whether its system calls are counted.
    pub counts: bool,
    /// What is done between two runs.
    pub between: Option<Between>,
}

impl<'a> Racer<'a> {
    /// Attaches the programs.
    pub fn attach(raced: Raced<'a>, request: &Request, observer: &'a dyn Observer) -> Result<Self> {
        let cgroups = Cgroups::make();
        let guard = Guard::start(cgroups.as_ref().map(Cgroups::path))?;
        let mut attached = attach(request)?;
        let placer = placer(&mut attached, raced.counts, false)?;
        take_orphans()?;
        let Raced { startable, facts, name, arguments, notifies, streams, counts, between } = raced;
        Ok(Self {
            startable,
            facts,
            name,
            arguments,
            recorded: request.dispositions,
            streams,
            between,
            attached,
            placer,
            counts,
            stream: None,
            socket: notifies.then(NotifySocket::bind).transpose()?,
            interrupts: None,
            cgroups,
            guard,
            observer,
            runs: 0,
        })
    }

    /// How handlers and messages are seen.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.attached.backend.name()
    }

    /// The path of the command's notify socket.
    #[must_use]
    pub fn socket(&self) -> Option<String> {
        self.socket.as_ref().map(|socket| raw_name::os_text(socket.path()).into_owned())
    }

    /// Whether system calls are counted.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// Runs the command once. Nothing of it is left running afterwards.
    pub async fn run(&mut self, asking: Asking) -> Result<Ran> {
        let settle_ns = asking.settle_ns();
        let Asking { placing, goal, limit, rest } = asking;
        let between_cgroup = self.put_back().await?;
        let anchor = clock::anchor();
        let builder = Builder::new(Setup {
            scope: Scope::Command { parent: std::process::id(), name: self.name.clone() },
            reload_signal: placing.signal,
            units_choose: false,
            fresh: false,
            counting: Counting::All,
            recorded: self.recorded,
            shown: placing.signal.set(),
            facts: Some(self.facts.clone()),
            settle_ns,
            placed: true,
            main: None,
            anchor,
        });
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => Stream::open(&mut self.attached, None, false)?,
        };
        empty(&mut stream)?;
        self.placer.arm(self.order(&placing))?;
        let asked =
            Asked { command: "race", arguments: self.arguments.clone(), signal: placing.signal };
        let mut capture = Capture::of_stream(asked, builder, stream, &self.attached, anchor);
        let cgroup = self.cgroups.as_mut().map(Cgroups::next).transpose();
        let cgroup = cgroup.context("cannot make a cgroup for a run")?;
        let sending = placing.sending(&self.placer, None)?;
        let (child, interrupts) = self.start(limit, cgroup.as_ref())?;
        capture.set_command(child.pid());
        self.guard.runs(Some(child.pid()))?;
        self.runs += 1;
        let began = anchor.boot_ns;
        let schedule = Schedule::new(&[], child.pid(), placing.signal);
        let subject = OneRun {
            watch: Watch::new(goal, child.pid(), self.socket(), began),
            command: Command::new(child, None, schedule),
            facts: Facts::default(),
            left: Vec::new(),
        };
        let ending = Ending::new(Some(Until::Settled), Some(limit), false, Instant::now());
        let mut session = Session::new(capture, subject, ending, interrupts, self.observer);
        let at_rest = async |run: &mut OneRun, goal| Ok(run.rest(goal, placing.signal));
        let (ended_by, sent) = follow(&mut session, rest, began, at_rest).await?;
        let (rested, not_sent) = sent.unzip();
        let ended_by =
            self.interrupts.as_ref().map_or(ended_by, |interrupts| interrupts.or_waiting(ended_by));
        let Closed { subject, captured, stream } = session.close().await?;
        let until = clock::boot_ns();
        let OneRun { watch, mut command, facts, left } = subject;
        let Sent { unsent, reload } = sending.map(Sending::end).unwrap_or_default();
        let came = Came::of(&mut self.placer, &placing, self.counts)?;
        self.stream = Some(stream);
        let stopped =
            if command.is_running() { command.stop_within(STOP).await? } else { Stopped::ByTerm };
        let helper = self.guard.pid();
        let leftovers = match stopped {
            Stopped::ByTerm => left_running(helper, FOLLOW).await,
            Stopped::ByKill | Stopped::Not => Vec::new(),
        };
        cgroup.as_ref().map(Cgroup::kill);
        let stuck = end_descendants(helper);
        drop((cgroup, between_cgroup));
        self.guard.runs(None)?;
        Ok(Ran {
            document: captured.document(ended_by),
            has_all: !facts.is_full,
            facts: facts.kept,
            came,
            readies: watch.readies(),
            unsent: unsent.or(not_sent.flatten()),
            reload,
            sent: watch.sent().to_vec(),
            span: (began, until),
            until,
            rested,
            ended_by,
            left,
            leftovers,
            stuck,
            origin: Origin::ChildOf(std::process::id()),
            active: None,
            main_place: COMMAND,
            failed: None,
            main: None,
            exec_main: None,
            by_systemd: None,
        }
        .until_rest())
    }

    /// Does what is to be done between two runs. What it started stays in a cgroup until the end of
    /// the next run.
    async fn put_back(&mut self) -> Result<Option<Cgroup>> {
        let (Some(between), Some(interrupts)) = (&self.between, &self.interrupts) else {
            return Ok(None);
        };
        let cgroup = self.cgroups.as_mut().map(Cgroups::next).transpose();
        let cgroup = cgroup.context("cannot make a cgroup for --between")?;
        let door = cgroup.as_ref().map(Cgroup::door);
        let done = between.run(interrupts, &mut self.guard, door).await;
        if done.is_err() {
            // No run follows, which would do it.
            let _ = end_descendants(self.guard.pid());
        }
        done.map(|()| cgroup)
    }

    /// What the kernel side is told for a run.
    fn order(&self, placing: &Placing) -> Order {
        match &self.socket {
            Some(socket) => placing.order().with_notify(address(socket.path())),
            None => placing.order(),
        }
    }

    /// Starts the command. The first time, signals that end this process are held meanwhile;
    /// from then on a thread takes them.
    fn start(
        &mut self,
        limit: Duration,
        cgroup: Option<&Cgroup>,
    ) -> Result<(super::Child, Interrupts)> {
        let door = cgroup.map(Cgroup::door);
        let socket = self.socket.as_ref().map(NotifySocket::path);
        if let Some(interrupts) = &self.interrupts {
            let child = self.startable.start_in(socket, self.streams, door)?;
            return Ok((child, interrupts.clone()));
        }
        let held = Held::now(limit)?;
        let child = self.startable.start_in(socket, self.streams, door)?;
        let interrupts = Interrupts::start(held.block()?)?;
        self.socket.as_ref().map(NotifySocket::take_messages).transpose()?;
        self.interrupts = Some(interrupts.clone());
        Ok((child, interrupts))
    }

    /// Takes the programs out of the kernel. From now on an interrupt ends the process.
    pub fn end(self) {
        if let Some(interrupts) = &self.interrupts {
            interrupts.session_is_over();
        }
        drop((self.stream, self.placer));
        self.attached.detach();
    }
}
