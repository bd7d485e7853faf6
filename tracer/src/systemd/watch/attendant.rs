//! Attends to one manager: listens to what its systemd says of the units that are watched.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    time::Duration,
};

use anyhow::Result;
use futures_lite::{StreamExt as _, future::poll_once};
use tokio::{
    sync::{
        mpsc::{Receiver, Sender},
        oneshot,
    },
    time::sleep,
};
use zbus::{Message, MessageStream};

use super::super::{
    bus::{self, Bus},
    limits::Pace,
    manager::Manager,
    opener::UnitFile,
    properties::{self, Properties},
    service_states::{Learned, Services},
};
use crate::{
    host::clock,
    model::{document::Owner, text::Outside, unit::UnitFacts},
    observation::{Fact, Observation, UnitNews},
};

/// How long after a connection failed or broke the next is tried: systemd may be starting,
/// or executing itself anew.
const RETRY: Duration = Duration::from_millis(250);
/// The same once it has failed as often as a systemd takes to start.
const LATER_RETRY: Duration = Duration::from_secs(1);
/// How many times the first is the one.
const SOON_RETRIES: u32 = 40;
/// Units of one manager that are watched. The one that has been watched longest gives way.
const MAX_WATCHED: usize = 4_096;
/// Observations of one systemd's units that are told at once: settings and states of all that
/// are watched.
const TOLD_AT_ONCE: usize = 4 * MAX_WATCHED;
/// The same for long, a millisecond. A systemd that says more waits.
const TOLD_PER_MS: usize = 2;

/// No host sleeps for less, ns.
const SHORTEST_SLEEP_NS: u64 = 100_000_000;

/// What a manager's task is asked for.
pub(super) enum Request {
    /// Watch a unit from now on.
    Watch(Watched),
    /// Ask for all units once more, and say when that is done.
    Finish(oneshot::Sender<()>),
}

/// A unit that is watched.
pub struct Watched {
    pub(super) name: String,
    pub(super) cgroup: String,
    /// The user its cgroup belongs to.
    uid: u32,
    /// Whether systemd has told its settings.
    has_facts: bool,
}

impl Watched {
    /// One of which nothing is known but its name, its cgroup, and the user that belongs to.
    #[must_use]
    pub fn new(name: String, cgroup: String, uid: u32) -> Self {
        Self { name, cgroup, uid, has_facts: false }
    }

    /// What is told of it once systemd has answered. It has an owner where it is kept elsewhere.
    fn answered(
        &mut self,
        systemd: Option<String>,
        answer: &Result<(Properties, Properties)>,
    ) -> UnitNews {
        let news = UnitNews { cgroup: self.cgroup.clone(), ..UnitNews::default() };
        let (unit, service) = match answer {
            Ok(properties) => properties,
            Err(error) => return UnitNews { problem: Some(format!("{error:#}")), ..news },
        };
        // One that was here may have been moved since.
        if !self.has_facts
            && let Some(elsewhere) = properties::kept_elsewhere(service, &self.cgroup)
        {
            let name = Outside::new(&self.name);
            let problem = Some(format!("systemd keeps {name} in {elsewhere}, and not here"));
            let owner = Some(Owner::Claimed { uid: self.uid });
            return UnitNews { problem, owner, ..news };
        }
        let problem = properties::problem(unit);
        let facts = || UnitFacts { systemd, ..properties::facts(unit, service) };
        let facts = problem.is_none().then(facts);
        self.has_facts |= facts.is_some();
        UnitNews { facts, problem, ..news }
    }

    /// What is told of it without systemd: its files tell what it would have loaded.
    fn unanswered(&self, failure: &anyhow::Error, files: io::Result<UnitFile>) -> UnitNews {
        let (facts, addition) = match files {
            Ok(UnitFile::Unit { facts, .. }) => {
                (Some(*facts), "; the settings are from unit files".to_owned())
            }
            Ok(UnitFile::Masked) => (None, ", and it is masked".to_owned()),
            Ok(UnitFile::Nothing) => (None, String::new()),
            Err(error) => (None, format!("; its unit files can't be read: {error}")),
        };
        let problem = Some(format!("{failure:#}{addition}"));
        UnitNews { cgroup: self.cgroup.clone(), facts, problem, ..UnitNews::default() }
    }
}

/// Attends to one manager.
pub(super) struct Attendant {
    manager: Manager,
    /// By their objects.
    watched: BTreeMap<String, Watched>,
    /// Their objects, the one that has been watched longest first.
    order: VecDeque<String>,
    services: Services,
    /// systemd's version.
    version: Option<String>,
    /// It has come back to the bus, and knows nothing of who is to be told.
    has_come: bool,
    sleep: Sleep,
    pace: Pace,
    news_sender: Sender<Observation>,
}

impl Attendant {
    pub(super) fn new(manager: Manager, news_sender: Sender<Observation>) -> Self {
        Self {
            manager,
            watched: BTreeMap::new(),
            order: VecDeque::new(),
            services: Services::default(),
            version: None,
            has_come: false,
            sleep: Sleep::default(),
            pace: Pace::new(TOLD_AT_ONCE, TOLD_PER_MS),
            news_sender,
        }
    }

    /// Connects, and again when the connection breaks, until nobody wants anything.
    pub(super) async fn attend(mut self, mut requests: Receiver<Request>) {
        let mut failures = 0;
        loop {
            let failure = match self.connect().await {
                Ok((bus, stream)) => {
                    failures = 0;
                    match self.serve(&bus, stream, &mut requests).await {
                        Some(failure) => failure,
                        None => break,
                    }
                }
                Err(failure) => failure,
            };
            failures += 1;
            if self.is_over(&failure, failures, &mut requests).await {
                break;
            }
        }
        if self.services.forgotten() > 0 {
            log::warn!(
                "a systemd told of more services than are remembered: {} were forgotten",
                self.services.forgotten()
            );
        }
    }

    /// Waits for the next try. Requests wait for it too, but for the last: that has no answer.
    async fn is_over(
        &mut self,
        failure: &anyhow::Error,
        failures: u32,
        requests: &mut Receiver<Request>,
    ) -> bool {
        let objects: Vec<String> = self.watched.keys().cloned().collect();
        for object in objects {
            self.tell_problem(&object, failure, failures).await;
        }
        let pause = sleep(if failures < SOON_RETRIES { RETRY } else { LATER_RETRY });
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return false,
                request = requests.recv() => match request {
                    Some(Request::Watch(watched)) => {
                        let object = self.watch(watched).await;
                        self.tell_problem(&object, failure, 1).await;
                    }
                    Some(Request::Finish(_)) | None => return true,
                },
            }
        }
    }

    async fn connect(&mut self) -> Result<(Bus, MessageStream)> {
        let bus = Bus::connect(&self.manager).await?;
        let mut stream = bus.messages();
        self.answer(&mut stream, bus.subscribe()).await?;
        self.version = self.answer(&mut stream, bus.version()).await.ok();
        Ok((bus, stream))
    }

    /// Serves until the connection breaks (why), or nobody wants anything any more.
    async fn serve(
        &mut self,
        bus: &Bus,
        mut stream: MessageStream,
        requests: &mut Receiver<Request>,
    ) -> Option<anyhow::Error> {
        self.ask_all(bus, &mut stream).await;
        loop {
            if std::mem::take(&mut self.has_come) {
                if let Err(error) = self.answer(&mut stream, bus.renew()).await {
                    return Some(error);
                }
                self.ask_all(bus, &mut stream).await;
            }
            tokio::select! {
                biased;
                request = requests.recv() => match request? {
                    Request::Watch(watched) => {
                        let object = self.watch(watched).await;
                        self.ask(bus, &mut stream, &object).await;
                    }
                    Request::Finish(done) => {
                        self.ask_all(bus, &mut stream).await;
                        let _ = done.send(());
                        return None;
                    }
                },
                message = stream.next() => match message {
                    Some(Ok(message)) => self.take_in(&message).await,
                    Some(Err(error)) => return Some(bus::Failure::from(error).into()),
                    None => return Some(anyhow::anyhow!("systemd closed the connection")),
                },
            }
        }
    }

    /// Waits for an answer, and takes in what systemd says by itself until then: what it had
    /// said before it answered comes first. It is older, and may be of starts that the answer
    /// does not know any more.
    async fn answer<T>(&mut self, stream: &mut MessageStream, asked: impl Future<Output = T>) -> T {
        tokio::pin!(asked);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut asked => break answer,
                Some(Ok(message)) = stream.next() => self.take_in(&message).await,
            }
        };
        // What was read by then: no more, as there may be no end of it.
        for _ in 0..bus::MAX_QUEUED {
            let Some(Some(Ok(message))) = poll_once(stream.next()).await else {
                break;
            };
            self.take_in(&message).await;
        }
        answer
    }

    /// Watches a unit from now on, and tells what systemd said of it before. A unit that systemd
    /// has moved is watched in its new cgroup.
    async fn watch(&mut self, watched: Watched) -> String {
        let object = bus::object(&watched.name);
        self.services.watched(&object);
        let is_same = |known: &Watched| known.cgroup == watched.cgroup;
        if !self.watched.get(&object).is_some_and(is_same) {
            self.order.retain(|other| *other != object);
            self.order.push_back(object.clone());
            self.watched.insert(object.clone(), watched);
        }
        if self.order.len() > MAX_WATCHED
            && let Some(longest) = self.order.pop_front()
        {
            self.watched.remove(&longest);
            self.services.forget(&longest);
            log::warn!("more than {MAX_WATCHED} units of one systemd: one is not watched any more");
            self.tell(loss(1)).await;
        }
        self.tell_states(&object).await;
        object
    }

    async fn ask_all(&mut self, bus: &Bus, stream: &mut MessageStream) {
        let objects: Vec<String> = self.watched.keys().cloned().collect();
        for object in objects {
            self.ask(bus, stream, &object).await;
        }
    }

    /// Asks for everything about a unit, and tells it.
    async fn ask(&mut self, bus: &Bus, stream: &mut MessageStream, object: &str) {
        let Some(name) = self.watched.get(object).map(|watched| watched.name.clone()) else {
            return;
        };
        let asked = async {
            bus.load(&name).await?;
            let unit = bus.properties(object, bus::UNIT).await?;
            let service = bus.properties(object, bus::SERVICE).await?;
            anyhow::Ok((unit, service))
        };
        let answer = self.answer(stream, asked).await;
        let systemd = self.version.clone();
        let Some(watched) = self.watched.get_mut(object) else {
            return;
        };
        let told = watched.answered(systemd, &answer);
        if told.owner.is_some() {
            self.watched.remove(object);
            self.order.retain(|watched| watched != object);
            self.services.forget(object);
            return self.tell(news(told)).await;
        }
        self.tell(news(told)).await;
        if let Ok((unit, service)) = answer {
            self.services.watched(object).answer(unit, service);
            self.tell_states(object).await;
        }
    }

    /// Takes in what systemd says by itself. It tells of the service first and then of
    /// the unit (`bus_unit_send_change_signal` in src/core/dbus-unit.c).
    async fn take_in(&mut self, message: &Message) {
        self.has_come |= bus::has_come(message);
        let Some((object, interface, changed)) = bus::changed(message) else {
            return;
        };
        if interface == bus::SERVICE {
            self.services.announced(object).service_changed(changed);
        } else if interface == bus::UNIT
            && let Some(states) = self.services.get(&object)
        {
            states.unit_changed(changed);
            self.tell_states(&object).await;
        }
    }

    /// Tells the states of a watched unit that have not been told yet.
    async fn tell_states(&mut self, object: &str) {
        let own_pids = self.manager.has_own_pids();
        let (Some(watched), Some(states)) = (self.watched.get(object), self.services.get(object))
        else {
            return;
        };
        let boot = clock::boot_ns();
        let slept = self.sleep.until(boot, clock::monotonic_ns());
        let cgroup = watched.cgroup.clone();
        let unreported: Vec<Learned> = states.unreported().collect();
        for Learned { since, invocation_id } in unreported {
            let at = since.monotonic_us.saturating_mul(1_000).saturating_add(slept);
            let news = UnitNews {
                cgroup: cgroup.clone(),
                state: Some(since.state),
                invocation_id,
                own_pids,
                ..UnitNews::default()
            };
            // It says when its state changed, which can't be later than now.
            self.tell(Observation { at: at.min(boot), fact: Fact::Unit(Box::new(news)) }).await;
        }
    }

    /// Tells why systemd can't be asked. Its files are read at the first failure.
    async fn tell_problem(&mut self, object: &str, failure: &anyhow::Error, failures: u32) {
        let Some(watched) = self.watched.get(object).filter(|watched| !watched.has_facts) else {
            return;
        };
        if failures > 1 {
            return;
        }
        let files = self.manager.unit_file(&watched.name).await;
        self.tell(news(watched.unanswered(failure, files))).await;
    }

    /// Waits as long as there is no room.
    async fn tell(&mut self, observation: Observation) {
        self.pace.wait().await;
        self.pace.take(1);
        // Nobody listens any more when the trace is over.
        let _ = self.news_sender.send(observation).await;
    }
}

/// How long the host has slept: `CLOCK_BOOTTIME` counts that, and `CLOCK_MONOTONIC`, which systemd's
/// times are of, does not.
#[derive(Default)]
struct Sleep {
    ns: Option<u64>,
}

impl Sleep {
    /// By how much two clocks differ that were read one after the other. What is less than a sleep
    /// is the time between the two: a state that is told twice is to have one time.
    fn until(&mut self, boot: u64, monotonic: u64) -> u64 {
        let now = boot.saturating_sub(monotonic);
        match self.ns {
            Some(known) if known.abs_diff(now) < SHORTEST_SLEEP_NS => known,
            _ => *self.ns.insert(now),
        }
    }
}

pub(super) fn news(unit: UnitNews) -> Observation {
    Observation { at: clock::boot_ns(), fact: Fact::Unit(Box::new(unit)) }
}

/// So much of what a systemd told of watched units was lost.
pub(super) fn loss(count: u64) -> Observation {
    Observation { at: clock::boot_ns(), fact: Fact::Loss { kind: "systemd".into(), count } }
}

#[cfg(test)]
mod tests;
