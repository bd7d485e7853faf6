//! One run after the other of a unit, with the programs attached once for all of them.

mod at_rest;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tracer_common::{
    place::{COMMAND, Order},
    signal::SignalSet,
};

use self::at_rest::Then;
use super::{
    super::{
        Asked, Blocked, Capture, Ending, Interrupts, Observer, Session, Until,
        turns::{Closed, News, Subject},
    },
    Asking, Between, Placing, Ran,
    guard::Guard,
    placing::{Came, Facts, empty, placer},
    resting::follow,
    stopped::{Sending, Sent},
    unit::RacedUnit,
};
use crate::{
    host::{
        cgroups::{Cgroup, Hierarchies},
        clock, procfs,
    },
    model::{document::EndedBy, glob::Glob, signal::Signal, text::Outside},
    observation::{Anchor, Fact, Observation, Task},
    probe::{
        attach::{Attached, Request, attach},
        place::{Placement, Placer, address},
        scope::ScopeMaps,
        stream::Stream,
    },
    race::{Active, Lineage, Origin, Watch},
    systemd::unit::Snapshot,
    timeline::{Builder, Counting, Scope, Selector, Setup},
};

/// How long systemd has to see the end of the main process.
const SEES_END: Duration = Duration::from_secs(1);

/// Runs a unit again and again.
pub struct UnitRacer<'a> {
    /// The unit. In the end it is to be brought back ([`RacedUnit::restore`]).
    pub unit: RacedUnit,
    hierarchies: &'a Hierarchies,
    recorded: SignalSet,
    between: Option<Between>,
    attached: Attached,
    placer: Placer,
    counts: bool,
    stream: Option<Stream>,
    interrupts: Interrupts,
    guard: Guard,
    observer: &'a dyn Observer,
    /// The place of its main process among the processes that come from what systemd starts; `None`
    /// for `Type=forking` until the untouched run is over.
    pub main_place: Option<u64>,
    /// How often the unit was started.
    pub runs: u64,
}

impl<'a> UnitRacer<'a> {
    /// Attaches the programs. From here on signals that end this process end the race.
    pub fn attach(
        unit: RacedUnit,
        hierarchies: &'a Hierarchies,
        request: &Request,
        counts: bool,
        between: Option<Between>,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        // Before the first thread that stays: it would take them.
        let blocked = Blocked::now()?;
        let guard = Guard::start(None)?;
        let mut attached = attach(request)?;
        let placer = placer(&mut attached, counts, true)?;
        let mut maps = ScopeMaps::of(&mut attached.ebpf);
        maps.add_name(unit.name())?;
        let is_of = |cgroup: &Cgroup| cgroup.path.split('/').any(|name| name == unit.name());
        for cgroup in hierarchies.scan().iter().filter(|cgroup| is_of(cgroup)) {
            maps.add_cgroup(cgroup)?;
        }
        let main_place = (!unit.is_forking()).then_some(COMMAND);
        Ok(Self {
            unit,
            hierarchies,
            recorded: request.dispositions,
            between,
            attached,
            placer,
            counts,
            stream: None,
            interrupts: Interrupts::start(blocked)?,
            guard,
            observer,
            main_place,
            runs: 0,
        })
    }

    /// How handlers and messages are seen.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.attached.backend.name()
    }

    /// Whether system calls are counted.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// Starts the unit once, and follows that. It is down afterwards.
    pub async fn run(&mut self, asking: Asking) -> Result<Ran> {
        self.unit.unit().stop().await?;
        self.put_back().await?;
        self.unit.unit().forget_failures().await;
        let anchor = clock::anchor();
        let name = self.unit.name().to_owned();
        let builder = self.builder(&asking.placing, asking.settle_ns(), anchor)?;
        let Asking { placing, goal, limit, rest } = asking;
        let systemd_hierarchy = self.hierarchies.systemd.as_ref().map(|(_, id)| *id);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => Stream::open(&mut self.attached, systemd_hierarchy, false)?,
        };
        empty(&mut stream)?;
        self.placer.arm(self.order(&placing))?;
        let asked = Asked { command: "race", arguments: vec![name], signal: placing.signal };
        let mut capture = Capture::of_stream(asked, builder, stream, &self.attached, anchor);
        capture.observe(self.hierarchies.scan().into_iter().map(path_known));
        let mut sending = placing.sending(&self.placer, Some(self.unit.reloaded()))?;
        let began = anchor.boot_ns;
        let job = self.unit.unit().start().await?;
        self.runs += 1;
        let socket = self.unit.socket();
        let subject = OneRun {
            watch: Watch::new(goal, 0, Some(socket), began),
            unit: &mut self.unit,
            guard: &mut self.guard,
            hierarchies: self.hierarchies,
            placement: self.placer.placement(),
            began,
            job,
            main_place: self.main_place,
            command: None,
            lineage: None,
            told_main: None,
            has_ended: false,
            up: Up::No,
            failed: None,
            facts: Facts::default(),
            seen: None,
            active: None,
        };
        let ending = Ending::new(Some(Until::Settled), Some(limit), false, Instant::now());
        let mut session =
            Session::new(capture, subject, ending, self.interrupts.clone(), self.observer);
        let signal_it =
            async |run: &mut OneRun<'_>, goal| run.rest(goal, &placing, &mut sending).await;
        let followed = follow(&mut session, rest, began, signal_it).await;
        let closed = session.close().await;
        let Sent { unsent, reload } = sending.map(Sending::end).unwrap_or_default();
        let ((ended_by, told), Closed { subject, captured, stream }) = (followed?, closed?);
        let (at_rest, not_sent) = told.unzip();
        let until = clock::boot_ns();
        let OneRun { watch, command, has_ended, failed, facts, seen, active, .. } = subject;
        // How it was at rest, and not what the signal has made of it.
        let (rested, then) = at_rest.unzip();
        let end = Then { active, main: seen.as_ref().and_then(|seen| seen.main_pid) };
        let Then { active, main } = then.flatten().unwrap_or(end);
        let came = Came::of(&mut self.placer, &placing, self.counts)?;
        self.stream = Some(stream);
        self.unit.unit().stop().await?;
        if let (None, Some(result)) = (command, &failed) {
            anyhow::bail!(
                "systemd's start of {} ended with '{result}' before its main process was there",
                self.unit.name()
            );
        }
        Ok(Ran {
            document: captured.document(ended_by),
            has_all: !facts.is_full,
            facts: facts.kept,
            readies: watch.readies(),
            unsent: unsent.or(not_sent.flatten()),
            reload,
            sent: watch.sent().to_vec(),
            span: (began, until),
            until,
            rested,
            ended_by: self.interrupts.or_waiting(match command {
                None => EndedBy::Timeout,
                Some(_) => ended_by,
            }),
            left: Vec::new(),
            leftovers: Vec::new(),
            stuck: Vec::new(),
            origin: Origin::Main(came.command),
            came,
            active: Some(active.map_or(Active::Never, Active::Since)),
            by_systemd: seen
                .as_ref()
                .filter(|_| has_ended || failed.is_some())
                .and_then(Snapshot::made_of_end),
            main_place: self.main_place.unwrap_or(COMMAND),
            failed,
            main,
            exec_main: seen.and_then(|seen| seen.last_main_pid),
        }
        .until_rest())
    }

    /// Has what a start leaves put back, if there was one: by a run, or as the unit was found up.
    async fn put_back(&mut self) -> Result<()> {
        match &self.between {
            Some(between) if self.runs > 0 || self.unit.was_up() => {
                between.run(&self.interrupts, &mut self.guard, None).await
            }
            _ => Ok(()),
        }
    }

    /// Brings the unit back to how it was found: see [`RacedUnit::restore`].
    pub async fn restore(&mut self, patience: Duration) -> Result<Option<String>> {
        // What it is stopped for, and whether it could be, is looked at then.
        let _ = self.unit.unit().stop().await;
        let put_back = self.put_back().await;
        let restored = self.unit.restore(patience).await?;
        put_back.map(|()| restored)
    }

    /// What the timeline of a run is folded by.
    fn builder(&self, placing: &Placing, settle_ns: u64, anchor: Anchor) -> Result<Builder> {
        let name = Glob::only(self.unit.name()).context("the unit's name is no name")?;
        let system = Some(self.unit.system().to_owned()).filter(|system| !system.is_empty());
        let selector = Selector::Unit { name, system };
        Ok(Builder::new(Setup {
            scope: Scope::Selected(vec![selector]),
            reload_signal: placing.signal,
            units_choose: false,
            fresh: true,
            counting: Counting::All,
            recorded: self.recorded,
            shown: placing.signal.set(),
            facts: Some(self.unit.facts().clone()),
            settle_ns,
            placed: true,
            main: None,
            anchor,
        }))
    }

    fn order(&self, placing: &Placing) -> Order {
        let (manager, before) = (self.unit.systemd(), self.unit.before_main());
        let order = Order { manager, before, ..placing.order() };
        order.with_notify(address(self.unit.socket().as_ref()))
    }

    /// Takes the programs out of the kernel. From now on an interrupt ends the process.
    pub fn end(mut self) {
        self.interrupts.session_is_over();
        if self.placer.disarm().is_ok() {
            self.guard.is_over();
        }
        drop((self.stream, self.placer));
        self.attached.detach();
    }
}

/// A cgroup that is there: before anything that is told of it.
fn path_known(cgroup: Cgroup) -> Observation {
    let Cgroup { hierarchy, id, path } = cgroup;
    Observation { at: 0, fact: Fact::CgroupPath { hierarchy, id, path } }
}

/// A unit in one run.
struct OneRun<'u> {
    watch: Watch,
    unit: &'u mut RacedUnit,
    guard: &'u mut Guard,
    hierarchies: &'u Hierarchies,
    placement: Placement,
    began: u64,
    /// Its start.
    job: String,
    /// The place of its main process, if that is known.
    main_place: Option<u64>,
    /// The process that systemd has started.
    command: Option<u32>,
    /// From that to the main process.
    lineage: Option<Lineage>,
    /// Of an untouched start of `Type=forking`: the main process, as systemd tells.
    told_main: Option<u32>,
    /// The main process has ended.
    has_ended: bool,
    /// Whether systemd takes it for up.
    up: Up,
    /// What became of the start, if it was not done.
    failed: Option<Outside>,
    facts: Facts,
    /// What systemd says at the end.
    seen: Option<Snapshot>,
    /// When it became active.
    active: Option<u64>,
}

/// Whether systemd has taken a unit for up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Up {
    No,
    /// Yes; which process its main one is, is yet to be asked.
    Now,
    Yes,
}

impl OneRun<'_> {
    /// Asks the kernel side whether the process that systemd starts is there.
    fn find_command(&mut self, at: u64) -> Result<()> {
        let command = self.placement.placed()?.command;
        if command != 0 {
            self.command = Some(command);
            self.lineage = self.main_place.map(|place| Lineage::of(place, command));
            self.watch.begin(command, at);
            // From the untouched run on, in which nothing is stopped, it knows.
            if let Some(path) = self.hierarchies.path_of(command) {
                self.guard.continues(&path)?;
            }
        }
        Ok(())
    }

    /// The main process, once it is there; where its place is not known yet, never.
    fn main(&self) -> Option<u32> {
        self.lineage.as_ref().and_then(Lineage::found).or(self.told_main)
    }

    /// Of an untouched start of `Type=forking`: systemd tells now which process is the main one.
    async fn ask_for_main(&mut self) -> Result<()> {
        let main = self.unit.unit().look().await?.main_pid;
        let is_it = |task: &Task| Some(task.ns_pid) == main || Some(task.id.pid) == main;
        let forked = self.facts.kept.iter().rev().find_map(|observation| match &observation.fact {
            Fact::Fork { child, .. } if is_it(child) => Some(child.id.pid),
            _ => None,
        });
        if let Some(main) = forked {
            self.told_main = Some(main);
            self.watch.follow(main);
        }
        Ok(())
    }
}

impl Subject for OneRun<'_> {
    fn learn(&mut self, observation: &Observation) {
        let is_arrival = matches!(
            observation.fact,
            Fact::Fork { .. } | Fact::CgroupAttach { .. } | Fact::Exec { .. }
        );
        if self.command.is_none() && is_arrival {
            // What fails here fails again, and is told then.
            let _ = self.find_command(observation.at);
        } else if let Some(lineage) = &mut self.lineage
            && let Some(main) = lineage.learn(&observation.fact)
        {
            self.watch.follow(main);
        }
        self.watch.learn(observation);
        if let Fact::Exit { task, .. } = &observation.fact {
            self.has_ended |= Some(task.id.pid) == self.main();
        }
        self.facts.learn(observation);
    }

    async fn act(&mut self, _: &mut Capture, _: &dyn Observer, _: Instant) -> Result<()> {
        if self.command.is_none() {
            self.find_command(clock::boot_ns())?;
        }
        if self.up == Up::Now {
            self.up = Up::Yes;
            if self.main_place.is_none() {
                self.ask_for_main().await?;
            }
        }
        Ok(())
    }

    fn patience(&self, longest: Duration, _: Instant) -> Duration {
        let settles = self.watch.settles().filter(|_| self.command.is_some());
        let left = settles.map(|at| at.saturating_sub(clock::boot_ns()));
        left.map_or(longest, |left| longest.min(Duration::from_nanos(left)))
    }

    async fn news(&mut self) -> Result<News> {
        let (job, result) = self.unit.unit().next_end().await?;
        if job == self.job && result == Outside::new("done") {
            self.up = Up::Now;
            self.watch.came_up(clock::boot_ns());
        } else if job == self.job {
            self.failed = Some(result);
        }
        Ok(News::Done)
    }

    fn is_settled(&self, _: Instant) -> bool {
        self.command.is_some() && self.watch.settles().is_some_and(|at| clock::boot_ns() >= at)
    }

    fn is_over(&mut self, _: Instant) -> bool {
        self.has_ended
            || self.failed.is_some() && self.command.is_none_or(|command| !is_there(command))
    }

    fn forward(&mut self, _: Signal, _: &dyn Observer) -> Result<()> {
        Ok(())
    }

    async fn last_news(&mut self, _: &mut Capture) -> Vec<Observation> {
        let patience = if self.has_ended { SEES_END } else { Duration::ZERO };
        match self.unit.unit().look_at_end(patience).await {
            Ok(seen) => {
                let (news, active) = self.unit.news(&seen, self.began);
                self.active = active;
                self.seen = Some(seen);
                news
            }
            Err(error) => {
                log::warn!("{error:#}");
                Vec::new()
            }
        }
    }

    fn untested(&self) -> Vec<String> {
        Vec::new()
    }

    fn session_ended(&mut self) -> Result<()> {
        Ok(())
    }
}

fn is_there(pid: u32) -> bool {
    procfs::name(pid).is_some()
}
