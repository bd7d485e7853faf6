//! Watches units at their managers, beside the kernel's stream and never in its way:
//! each manager has a task of its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use anyhow::Result;
use futures_lite::{StreamExt as _, future::poll_once};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{sleep, timeout},
};
use zbus::{Message, MessageStream};

use super::{
    bus::{self, Bus},
    heard::{Heard, Learned},
    manager::Manager,
    properties,
    unit_files::Found,
};
use crate::{
    host::clock,
    model::unit::UnitFacts,
    observation::{Fact, Observation, UnitNews},
};

/// How long after a connection failed or broke the next is tried: systemd may be starting,
/// or executing itself anew.
const RETRY: Duration = Duration::from_millis(250);
/// How long the last answers may take when the trace is over.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Services heard of that are kept, besides those watched.
const MAX_HEARD: usize = 4_096;

/// What a manager's task is asked for.
enum Request {
    /// Watch a unit from now on.
    Watch(Watched),
    /// Ask for all units once more, and say when that is done.
    Finish(oneshot::Sender<()>),
}

/// The watched managers.
pub struct Watch {
    managers: HashMap<Manager, UnboundedSender<Request>>,
    tell: UnboundedSender<Observation>,
    told: UnboundedReceiver<Observation>,
    /// The cgroups of units whose settings were asked for and neither they nor a reason why
    /// they are unknown have come.
    unanswered: BTreeSet<String>,
}

impl Default for Watch {
    fn default() -> Self {
        let (tell, told) = unbounded_channel();
        Self { managers: HashMap::new(), tell, told, unanswered: BTreeSet::new() }
    }
}

impl Watch {
    /// Connects to a manager before any of its units is seen. Needs a tokio runtime.
    pub fn expect(&mut self, manager: &Manager) {
        self.task(manager);
    }

    /// Watches a unit: its settings are told, and every state from now on.
    pub fn unit(&mut self, manager: &Manager, name: String, cgroup: String) {
        self.unanswered.insert(cgroup.clone());
        let watched = Watched { name, cgroup, has_facts: false };
        // The task ends with the runtime, and not before.
        let _ = self.task(manager).send(Request::Watch(watched));
    }

    fn task(&mut self, manager: &Manager) -> &UnboundedSender<Request> {
        self.managers.entry(manager.clone()).or_insert_with(|| {
            let (ask, requests) = unbounded_channel();
            let attendant = Attendant {
                manager: manager.clone(),
                watched: BTreeMap::new(),
                heard: HashMap::new(),
                version: None,
                has_come: false,
                tell: self.tell.clone(),
            };
            tokio::spawn(attendant.attend(requests));
            ask
        })
    }

    /// The next that is learned. Can be dropped and called again.
    pub async fn next(&mut self) -> Observation {
        match self.told.recv().await {
            Some(observation) => {
                self.answered(&observation);
                observation
            }
            // This end holds a sender too.
            None => std::future::pending().await,
        }
    }

    /// Asks for all units a last time, and gives what has been learned by then.
    pub async fn finish(mut self) -> Vec<Observation> {
        let mut answers = Vec::new();
        for manager in self.managers.values() {
            let (done, answered) = oneshot::channel();
            if manager.send(Request::Finish(done)).is_ok() {
                answers.push(answered);
            }
        }
        let all = async {
            for answer in answers {
                // One that has no connection drops the question.
                let _ = answer.await;
            }
        };
        if timeout(LAST_ANSWERS, all).await.is_err() {
            log::warn!("systemd did not answer within {} s", LAST_ANSWERS.as_secs());
        }
        let mut rest = Vec::new();
        while let Ok(observation) = self.told.try_recv() {
            self.answered(&observation);
            rest.push(observation);
        }
        rest.extend(self.unanswered.into_iter().map(|cgroup| {
            let problem = Some("systemd had not answered when the trace ended".to_owned());
            let news = UnitNews { cgroup, problem, ..UnitNews::default() };
            Observation { at: clock::boot_ns(), fact: Fact::Unit(Box::new(news)) }
        }));
        rest
    }

    fn answered(&mut self, observation: &Observation) {
        if let Fact::Unit(news) = &observation.fact
            && (news.facts.is_some() || news.problem.is_some())
        {
            self.unanswered.remove(&news.cgroup);
        }
    }
}

/// A unit that is watched.
struct Watched {
    name: String,
    cgroup: String,
    /// Whether systemd has told its settings.
    has_facts: bool,
}

/// Attends to one manager.
struct Attendant {
    manager: Manager,
    /// By their objects.
    watched: BTreeMap<String, Watched>,
    /// By their objects.
    heard: HashMap<String, Heard>,
    /// systemd's version.
    version: Option<String>,
    /// It has come back to the bus, and knows nothing of who is to be told.
    has_come: bool,
    tell: UnboundedSender<Observation>,
}

impl Attendant {
    /// Connects, and again when the connection breaks, until nobody wants anything.
    async fn attend(mut self, mut requests: UnboundedReceiver<Request>) {
        loop {
            let failure = match self.connect().await {
                Ok((bus, stream)) => match self.serve(&bus, stream, &mut requests).await {
                    Some(failure) => failure,
                    None => return,
                },
                Err(failure) => failure,
            };
            self.tell_problem(&failure);
            // Requests wait for the next try, but for the last: that has no answer.
            let pause = sleep(RETRY);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    request = requests.recv() => match request {
                        Some(Request::Watch(watched)) => {
                            self.watch(watched);
                            self.tell_problem(&failure);
                        }
                        Some(Request::Finish(_)) | None => return,
                    },
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(Bus, MessageStream)> {
        let bus = Bus::connect(&self.manager).await?;
        let stream = bus.subscribe().await?;
        self.version = bus.version().await.ok();
        Ok((bus, stream))
    }

    /// Serves until the connection breaks (why), or nobody wants anything any more.
    async fn serve(
        &mut self,
        bus: &Bus,
        mut stream: MessageStream,
        requests: &mut UnboundedReceiver<Request>,
    ) -> Option<anyhow::Error> {
        self.ask_all(bus, &mut stream).await;
        loop {
            if std::mem::take(&mut self.has_come) {
                if let Err(error) = bus.renew().await {
                    return Some(error);
                }
                self.ask_all(bus, &mut stream).await;
            }
            tokio::select! {
                request = requests.recv() => match request? {
                    Request::Watch(watched) => {
                        let object = self.watch(watched);
                        self.ask(bus, &mut stream, &object).await;
                    }
                    Request::Finish(done) => {
                        self.ask_all(bus, &mut stream).await;
                        let _ = done.send(());
                    }
                },
                message = stream.next() => match message {
                    Some(Ok(message)) => self.hear(&message),
                    Some(Err(error)) => return Some(error.into()),
                    None => return Some(anyhow::anyhow!("systemd closed the connection")),
                },
            }
        }
    }

    /// Watches a unit from now on, and tells what was heard of it before.
    fn watch(&mut self, watched: Watched) -> String {
        let object = bus::object(&watched.name);
        self.watched.entry(object.clone()).or_insert(watched);
        self.tell_states(&object);
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
        let Some(watched) = self.watched.get(object) else {
            return;
        };
        let answer = async {
            bus.load(&watched.name).await?;
            let unit = bus.properties(object, bus::UNIT).await?;
            let service = bus.properties(object, bus::SERVICE).await?;
            anyhow::Ok((unit, service))
        };
        let answer = answer.await;
        // What systemd had said before it answered comes first: it is older, and may be of
        // starts that the answer does not know any more.
        while let Some(Some(Ok(message))) = poll_once(stream.next()).await {
            self.hear(&message);
        }
        let Some(watched) = self.watched.get_mut(object) else {
            return;
        };
        match answer {
            Ok((unit, service)) => {
                let problem = properties::problem(&unit);
                let systemd = self.version.clone();
                let facts = || UnitFacts { systemd, ..properties::facts(&service) };
                let facts = problem.is_none().then(facts);
                watched.has_facts |= facts.is_some();
                tell_news(&self.tell, watched, facts, problem);
                self.heard.entry(object.to_owned()).or_default().answer(unit, service);
                self.tell_states(object);
            }
            Err(error) => tell_news(&self.tell, watched, None, Some(format!("{error:#}"))),
        }
    }

    /// Takes in what systemd says by itself. It tells of the service first and then of
    /// the unit (`bus_unit_send_change_signal` in src/core/dbus-unit.c).
    fn hear(&mut self, message: &Message) {
        self.has_come |= bus::has_come(message);
        let Some((object, interface, changed)) = bus::changed(message) else {
            return;
        };
        if interface == bus::SERVICE {
            if self.heard.len() >= MAX_HEARD && !self.heard.contains_key(&object) {
                self.heard.retain(|object, _| self.watched.contains_key(object));
            }
            self.heard.entry(object).or_default().service_changed(changed);
        } else if interface == bus::UNIT
            && let Some(heard) = self.heard.get_mut(&object)
        {
            heard.unit_changed(changed);
            self.tell_states(&object);
        }
    }

    /// Tells the states of a watched unit that have not been told yet.
    fn tell_states(&mut self, object: &str) {
        let own_pids = self.manager.has_own_pids();
        let (Some(watched), Some(heard)) = (self.watched.get(object), self.heard.get_mut(object))
        else {
            return;
        };
        let (boot, monotonic) = (clock::boot_ns(), clock::monotonic_ns());
        for Learned { since, invocation_id } in heard.untold() {
            let at = (boot + since.monotonic_us * 1_000).saturating_sub(monotonic);
            let news = UnitNews {
                cgroup: watched.cgroup.clone(),
                state: Some(since.state),
                invocation_id,
                own_pids,
                ..UnitNews::default()
            };
            // Nobody listens any more when the trace is over.
            let _ = self.tell.send(Observation { at, fact: Fact::Unit(Box::new(news)) });
        }
    }

    /// Without systemd, its files tell what it would have loaded.
    fn tell_problem(&self, failure: &anyhow::Error) {
        let files = self.manager.unit_files();
        for watched in self.watched.values().filter(|watched| !watched.has_facts) {
            let found = files.as_ref().map_or(Found::Nothing, |files| files.read(&watched.name));
            let (facts, addition) = match found {
                Found::Unit { facts, .. } => (Some(*facts), "; the settings are from unit files"),
                Found::Masked => (None, ", and it is masked"),
                Found::Nothing => (None, ""),
            };
            let problem = Some(format!("{failure:#}{addition}"));
            tell_news(&self.tell, watched, facts, problem);
        }
    }
}

fn tell_news(
    tell: &UnboundedSender<Observation>,
    watched: &Watched,
    facts: Option<UnitFacts>,
    problem: Option<String>,
) {
    let cgroup = watched.cgroup.clone();
    let news = UnitNews { cgroup, facts, problem, ..UnitNews::default() };
    let fact = Fact::Unit(Box::new(news));
    // Nobody listens any more when the trace is over.
    let _ = tell.send(Observation { at: clock::boot_ns(), fact });
}
