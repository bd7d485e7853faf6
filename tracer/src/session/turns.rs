//! The loop that `run` and `trace` share. It goes in turns, and the work of a turn is bounded
//! by count and by time: whatever the kernel's stream or a bus delivers, signals, timers, the
//! command's end and systemd's news are looked at in every turn.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    Observer, Until,
    again::Way,
    capture::{Capture, Captured},
    ending::{Ending, Interrupted, Seen},
    interrupts::Interrupts,
};
use crate::{
    host::memory,
    model::{
        document::{Document, EndedBy, Severity},
        signal::Signal,
    },
    observation::Observation,
    probe::{attach::Attached, stream::Stream},
    timeline::Progress,
};

/// The longest a turn waits for something to happen.
const TICK: Duration = Duration::from_millis(50);
/// How long it takes until all has been asked and said that comes once.
const FIRST_LOOKS: Duration = Duration::from_secs(1);
/// The longest a turn takes in what has happened.
const TURN: Duration = Duration::from_millis(20);

/// What takes longer is told, so that a trace that was late can say why.
const LATE: Duration = Duration::from_secs(1);

/// What is traced: a command, or what there is on the host.
pub trait Subject {
    /// Is shown each observation of the kernel side, before anything is made of it.
    fn learn(&mut self, observation: &Observation);
    /// Does what is due.
    fn act(
        &mut self,
        capture: &mut Capture,
        observer: &dyn Observer,
        now: Instant,
    ) -> impl Future<Output = Result<()>>;
    /// How long until something is due, `longest` at most.
    fn patience(&self, longest: Duration, now: Instant) -> Duration;
    /// Waits for what the kernel side does not tell. Can be dropped and called again.
    fn news(&mut self) -> impl Future<Output = Result<News>>;
    /// Whether nothing is pending that [`Until`] has to wait for.
    fn is_settled(&self, now: Instant) -> bool;
    /// Whether nothing is left of it.
    fn is_over(&mut self, now: Instant) -> bool;
    /// Passes an interrupt on.
    fn forward(&mut self, signal: Signal, observer: &dyn Observer) -> Result<()>;
    /// An interrupt ends the session: somebody waits for the report.
    fn hurry(&mut self) {}
    /// Asks for what is still to be known at the end.
    fn last_news(&mut self, capture: &mut Capture) -> impl Future<Output = Vec<Observation>>;
    /// What was to be tested and was not, and why: a sentence each.
    fn untested(&self) -> Vec<String>;
    /// Nothing more is captured.
    fn session_ended(&mut self) -> Result<()>;
}

/// What the kernel side does not tell.
pub enum News {
    /// Facts, from systemd.
    Observed(Vec<Observation>),
    /// Something that was asked for is done.
    Done,
    /// The command has ended.
    Ended,
}

/// What a turn waited for.
enum Woken {
    Interrupt(Signal),
    News(News),
    Stream,
}

/// A session: a capture of a subject, and what ends it.
pub struct Session<'a, S> {
    capture: Capture,
    subject: S,
    ending: Ending,
    interrupts: Interrupts,
    observer: &'a dyn Observer,
    /// Whether there is more to take in than the last turn did.
    has_more: bool,
    shown: Progress,
    /// The worst alert in what was new in this turn.
    worst: Option<Severity>,
}

/// What is left of a session that is over.
pub struct Closed<S> {
    /// What was traced.
    pub subject: S,
    /// What was captured of it.
    pub captured: Captured,
    /// Where the next capture's records come from.
    pub stream: Stream,
}

impl<'a, S: Subject> Session<'a, S> {
    /// A session that has just begun.
    pub fn new(
        capture: Capture,
        subject: S,
        ending: Ending,
        interrupts: Interrupts,
        observer: &'a dyn Observer,
    ) -> Self {
        let shown = Progress::default();
        let has_more = false;
        Self { capture, subject, ending, interrupts, observer, has_more, shown, worst: None }
    }

    /// Takes in what happens until the session is to end.
    pub async fn follow(&mut self) -> Result<EndedBy> {
        memory::give_back();
        let mut first_looks = Some(Instant::now() + FIRST_LOOKS);
        loop {
            let now = Instant::now();
            if first_looks.take_if(|over| now >= *over).is_some() {
                memory::give_back();
            }
            self.subject.act(&mut self.capture, self.observer, now).await?;
            let began = tell_late("what was due", now);
            let woken = self.wait(began).await?;
            let began = tell_late("a wait", began);
            self.take()?;
            let began = tell_late("taking in what happened", began);
            match woken {
                Woken::Interrupt(signal) => match self.ending.interrupt(Instant::now()) {
                    Interrupted::Forward => self.subject.forward(signal, self.observer)?,
                    Interrupted::End => {
                        self.subject.hurry();
                        return Ok(EndedBy::Interrupt);
                    }
                },
                Woken::News(News::Observed(observations)) => self.capture.observe(observations),
                Woken::News(News::Done | News::Ended) | Woken::Stream => {}
            }
            self.show();
            let seen = self.seen();
            tell_late("looking how far it has come", began);
            if let Some(ended_by) = self.ending.reached(seen, Instant::now()) {
                return Ok(ended_by);
            }
        }
    }

    /// Goes on, after an end that was none, until this ends it.
    pub async fn follow_on(&mut self, ending: Ending) -> Result<EndedBy> {
        self.ending = ending;
        self.follow().await
    }

    /// What is traced.
    pub fn subject(&mut self) -> &mut S {
        &mut self.subject
    }

    /// Waits for something to happen. Which of several things is seen first is left to chance,
    /// so that none keeps the others from being seen.
    async fn wait(&mut self, now: Instant) -> Result<Woken> {
        // Timers and descriptors are looked at when this yields, and not before.
        tokio::task::yield_now().await;
        let patience = self.subject.patience(self.ending.patience(TICK, now), now);
        let has_more = self.has_more;
        let stream = async {
            if has_more {
                return Ok(());
            }
            self.capture.wait(patience).await
        };
        tokio::select! {
            signal = self.interrupts.next() => Ok(Woken::Interrupt(signal)),
            news = self.subject.news() => Ok(Woken::News(news?)),
            woken = stream => woken.map(|()| Woken::Stream),
        }
    }

    /// Takes in what the kernel side has told, for as long as nothing else is due.
    fn take(&mut self) -> Result<()> {
        let now = Instant::now();
        let limit = now + self.subject.patience(TURN, now);
        self.has_more = self.capture.take(limit, |observation| self.subject.learn(observation))?;
        Ok(())
    }

    fn show(&mut self) {
        let progress = self.capture.progress();
        if progress != self.shown {
            self.observer.progress(&progress);
            self.shown = progress;
        }
        self.worst = None;
        let waits = matches!(self.ending.until(), Some(Until::Alert(Some(_))));
        let waits = waits && self.subject.is_settled(Instant::now());
        if waits || self.observer.follows() {
            let way = if waits { Way::All } else { Way::InTurn };
            if let Some(news) = self.capture.news(way) {
                self.worst = self.capture.worst(&news);
                self.observer.news(news);
            }
        }
    }

    fn seen(&mut self) -> Seen {
        let now = Instant::now();
        let until = self.subject.is_settled(now)
            && match self.ending.until() {
                Some(Until::Ready) => self.capture.progress().ready,
                Some(Until::Exit) => self.capture.progress().exited,
                Some(Until::Settled) => true,
                Some(Until::Alert(least)) => {
                    least.is_some_and(|least| self.worst.is_some_and(|worst| worst >= least))
                }
                None => false,
            };
        Seen { until, exit: self.subject.is_over(now) }
    }

    /// Ends the capture, takes the programs out of the kernel, and judges. From now on an
    /// interrupt ends the process.
    pub async fn end(self, ended_by: EndedBy, attached: Attached) -> Result<(S, Document)> {
        self.interrupts.session_is_over();
        let Closed { subject, captured, stream } = self.close().await?;
        let began = Instant::now();
        // A report can wait for its reader for ever, and nothing is to be attached meanwhile.
        drop(stream);
        attached.detach();
        let began = tell_late("detaching the programs", began);
        let mut document = captured.document(ended_by);
        document.capture.untested = subject.untested();
        tell_late("judging", began);
        Ok((subject, document))
    }

    /// Ends the capture, and leaves the programs in the kernel.
    pub async fn close(mut self) -> Result<Closed<S>> {
        let began = Instant::now();
        let answers = self.subject.last_news(&mut self.capture).await;
        self.capture.observe(answers);
        let began = tell_late("asking a last time", began);
        let (captured, stream) = self.capture.end(|observation| self.subject.learn(observation))?;
        tell_late("taking in what happened last", began);
        self.subject.session_ended()?;
        Ok(Closed { subject: self.subject, captured, stream })
    }
}

/// Tells if something that began then has taken long. Gives the time now.
fn tell_late(what: &str, began: Instant) -> Instant {
    let now = Instant::now();
    let took = now.saturating_duration_since(began);
    if took >= LATE {
        log::info!("{what} took {:.1} s", took.as_secs_f64());
    }
    now
}
