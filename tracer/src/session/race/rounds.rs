//! All runs of a race: the untouched one, and then one for each interval.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    time::Duration,
};

use anyhow::Result;
use tracer_common::signal::SignalSet;

use super::{
    super::{BadRequest, Observer},
    Placing, Ran, Runner,
};
use crate::{
    model::{
        document::{EndedBy, OutcomeState, ProcessOutcome},
        errno,
        race::{By, Leftover, Outcome, Role, SignalRace, Try, Untouched},
        signal::Signal,
        span,
        text::Outside,
    },
    race::{
        At, Call, Goal, Planned, Run, SentBy, Steps, Undisturbed, calls, interval, one, plan, role,
        second, sentences, sweep, tried, untouched,
    },
};

/// How often an interval is tried until it is reached.
const ATTEMPTS: u32 = 3;
/// How many times as long as in the untouched run it may take to come to a system call.
const LATER: u64 = 3;
/// What a run with a signal has beside three times as long as the untouched one took.
const LONGER: Duration = Duration::from_secs(5);

/// What is raced, and how.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The signals.
    pub signals: Vec<Signal>,
    /// Those that reload, beside HUP.
    pub reloads: Vec<Signal>,
    /// Who sends them.
    pub by: By,
    /// How many instants among its system calls are raced.
    pub sweep: usize,
    /// The unit's `Type=`.
    pub service_type: String,
    /// Of a unit: whether systemd has a reload to send.
    pub can_reload: Option<bool>,
    /// Whether every instant counts.
    pub strict: bool,
    /// The one interval that is raced.
    pub only: Option<String>,
    /// Which of the others.
    pub part: Part,
    /// How often each is.
    pub repeat: u16,
    /// The longest that a run may take.
    pub timeout: Duration,
    /// How long nothing is to change for a start to be over that does not say so.
    pub quiet: Duration,
    /// How long the command must still be there after the signal.
    pub settle: Duration,
}

/// What is raced of a start, of which other processes race the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    All,
    /// Nothing: the command is started once, to see which intervals there are.
    Plan,
    /// The intervals of these ids, as far as there are such.
    These(Vec<String>),
}

/// What a race found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The run in which nothing was placed.
    pub untouched: Untouched,
    /// What each signal did.
    pub signals: Vec<SignalRace>,
    /// What the command left running.
    pub leftovers: Vec<Leftover>,
    /// Whether somebody ended the race.
    pub interrupted: bool,
}

/// The untouched run.
struct First {
    ran: Ran,
    before: Undisturbed,
    /// How long its start took, ns.
    start_ns: u64,
    /// Zero of its timeline, `CLOCK_BOOTTIME` ns.
    zero: u64,
    limit: Duration,
}

/// What is raced of a signal.
struct Plan {
    signal: Signal,
    role: Role,
    /// The intervals, those of a second signal, and the instants of the sweep.
    planned: Vec<Planned>,
    left_out: u64,
}

/// Races a command.
pub struct Rounds<'a, 'b> {
    /// Runs it.
    pub racer: &'a mut Runner<'b>,
    /// What, and how.
    pub rules: &'a Rules,
    /// Is told what happens.
    pub observer: &'a dyn Observer,
    /// Is told what is done.
    pub say: &'a dyn Fn(&dyn Display),
    /// What the command left running, by name, and in how many runs.
    pub leftovers: BTreeMap<String, u64>,
}

impl Rounds<'_, '_> {
    /// Races it.
    ///
    /// # Errors
    ///
    /// A [`BadRequest`] where the command is none that can be raced, or there is no such
    /// interval.
    pub async fn race(&mut self) -> Result<Found> {
        let rules = self.rules;
        (self.say)(&"the untouched run");
        let first = self.first().await?;
        let mut plans = Vec::new();
        for signal in &rules.signals {
            let steps = self.steps(&first.ran, *signal);
            let end = first.ran.span.1;
            let role = role(*signal, &rules.reloads);
            let (planned, left_out) = plan(&steps, *signal, role, &rules.service_type, end);
            let seconds = second(&steps, *signal, role, &rules.service_type, end);
            let swept = self.swept(&first, &steps, *signal);
            let all = planned.into_iter().chain(seconds).chain(swept);
            // A reload is sent to the main process.
            let planned = all.filter(|it| it.main || rules.by != By::Reload).collect();
            plans.push(Plan { signal: *signal, role, planned, left_out });
        }
        let known = plans.iter().flat_map(|plan| &plan.planned).map(|it| it.id.as_str());
        if let Some(only) = &rules.only
            && !known.clone().any(|id| id == only)
        {
            let known: Vec<&str> = known.collect();
            return Err(BadRequest::new(format_args!(
                "there is no interval '{}' in this start: there are {}",
                Outside::new(only),
                known.join(", ")
            ))
            .into());
        }
        let is_wanted = |it: &Planned| {
            let is_mine = match &rules.part {
                Part::All | Part::Plan => true,
                Part::These(ids) => ids.contains(&it.id),
            };
            is_mine && rules.only.as_ref().is_none_or(|only| *only == it.id)
        };
        let all = plans.iter().flat_map(|plan| &plan.planned).filter(|it| is_wanted(it));
        let count = all.count();
        let steps = self.steps(&first.ran, rules.signals[0]);
        let mut untouched = untouched(&steps, first.ran.span.1, first.before.outcome.clone())
            .ok_or_else(|| anyhow::anyhow!("the kernel told of no start of the command"))?;
        let calls = calls(&first.ran.counted, &steps).len() as u64;
        untouched.calls = self.racer.counts().then_some(calls);
        let mut found =
            Found { untouched, signals: Vec::new(), leftovers: Vec::new(), interrupted: false };
        let mut number = 0;
        for Plan { signal, role, planned, left_out } in plans {
            let left_out = if rules.only.is_some() { 0 } else { left_out };
            let mut race = SignalRace {
                signal,
                role,
                sentence: String::new(),
                intervals: Vec::new(),
                second: Vec::new(),
                sweep: Vec::new(),
                left_out,
            };
            for planned in planned.iter().filter(|it| is_wanted(it)) {
                number += 1;
                (self.say)(&format_args!("{number} of {count}: {}", planned.id));
                let mut tries = Vec::new();
                for _ in 0..rules.repeat {
                    if !found.interrupted && rules.part != Part::Plan {
                        let done = self.reach(planned, signal, &first).await?;
                        found.interrupted = done.is_none();
                        tries.extend(done);
                    }
                }
                let list = match planned.at {
                    At::Step(_) => &mut race.intervals,
                    At::Second(_) => &mut race.second,
                    At::Call(_) => &mut race.sweep,
                };
                // What systemd holds back comes out as that.
                let all = rules.strict || rules.by == By::Reload;
                list.push(interval(planned, tries, all));
            }
            if race.all().next().is_some() {
                let (name, kind) = (self.racer.name(), &rules.service_type);
                race.sentence = sentences(name, kind, &race, &found.untouched);
                found.signals.push(race);
            }
        }
        let leftovers = std::mem::take(&mut self.leftovers).into_iter();
        found.leftovers = leftovers.map(|(comm, runs)| Leftover { comm, runs }).collect();
        Ok(found)
    }

    /// The instants among the system calls of the start: those that a sweep is over, and the one
    /// that `--only` names.
    fn swept(&self, first: &First, steps: &Steps, signal: Signal) -> Vec<Planned> {
        let (rules, counted) = (self.rules, calls(&first.ran.counted, steps));
        let (role, kind) = (role(signal, &rules.reloads), rules.service_type.as_str());
        let one = |(of, call)| {
            if of == signal { one(&counted, call, steps, signal, role, kind) } else { None }
        };
        match (rules.only.as_deref().and_then(instant), &rules.part) {
            (Some(only), _) => one(only).into_iter().collect(),
            (None, Part::These(ids)) => {
                ids.iter().filter_map(|id| instant(id)).filter_map(one).collect()
            }
            (None, Part::All | Part::Plan) => {
                sweep(&counted, steps, signal, role, kind, rules.sweep)
            }
        }
    }

    pub(super) fn steps(&self, ran: &Ran, signal: Signal) -> Steps {
        self.steps_until(ran.span.1, ran, signal)
    }

    fn steps_until(&self, end: u64, ran: &Ran, signal: Signal) -> Steps {
        let (socket, facts) = (self.racer.socket(), &ran.facts);
        let steps = Steps::of(facts, signal, ran.origin, socket.as_deref(), end);
        let steps = steps.with_main(ran.main_place).with_reload(self.rules.can_reload);
        match ran.active {
            Some(active) => steps.with_active(active),
            None => steps,
        }
    }

    /// The untouched run, which has to be a start that can be raced.
    async fn first(&mut self) -> Result<First> {
        let rules = self.rules;
        let signal = rules.signals[0];
        let says_ready = matches!(rules.service_type.as_str(), "notify" | "notify-reload");
        let goal = Goal {
            ready: says_ready,
            up: self.forks(),
            least_ns: 0,
            settle_ns: nanoseconds(if says_ready { rules.settle } else { rules.quiet }),
            signals: self.signals(),
            signal: None,
            sender: SentBy::Kernel,
            ends: false,
            answered: false,
        };
        let mut ran = self.whole(Placing { signal, at: None, by: rules.by }, &goal).await?;
        let outcome = ended_as(&ran);
        let refuse = |sentence: String| Err(BadRequest::new(sentence).into());
        let what = match self.racer {
            Runner::Command(_) => "the command".to_owned(),
            Runner::Unit(racer) => racer.unit.name().to_owned(),
        };
        match (ran.ended_by, outcome.state) {
            (EndedBy::Interrupt, _) => anyhow::bail!("the race was ended in its untouched run"),
            (_, OutcomeState::Killed) => {
                let by = outcome.signal.map_or_else(String::new, |by| format!(" of {by}"));
                return refuse(format!(
                    "{what} died{by} without a signal from here: there is no start to race"
                ));
            }
            (EndedBy::Exit, _) if says_ready && ran.readies == 0 => {
                let code = outcome.code.unwrap_or_default();
                let left = if ran.left.is_empty() {
                    "a service that does not say READY=1 is raced with --type simple".to_owned()
                } else {
                    format!(
                        "it left {} running: a service that puts itself into the background is \
                         raced in the foreground",
                        ran.left.join(", ")
                    )
                };
                return refuse(format!(
                    "{what} exited with code {code} before it was ready, without a signal from \
                     here; {left}"
                ));
            }
            (_, OutcomeState::Exited) if !ran.left.is_empty() => {
                return refuse(format!(
                    "{what} exited and left {} running: a service that puts itself into \
                     the background is raced in the foreground",
                    ran.left.join(", ")
                ));
            }
            (EndedBy::Timeout, _) if says_ready => {
                return refuse(format!(
                    "{what} did not say READY=1 within {}: a service that does not say it is \
                     raced with --type simple, and one that takes longer with --timeout",
                    span::length(nanoseconds(rules.timeout))
                ));
            }
            _ => {}
        }
        self.take_main(&mut ran)?;
        if !ran.has_all {
            self.observer.note(
                &"the start did more than could be followed: of what came late no \
                                 interval is raced",
            );
        }
        let lasted = ran.span.1.saturating_sub(ran.span.0);
        let longest = Duration::from_nanos(lasted).saturating_mul(3).saturating_add(LONGER);
        let last = rules
            .signals
            .iter()
            .filter_map(|signal| {
                let steps = self.steps(&ran, *signal);
                let both = steps.main().into_iter().chain(steps.starter());
                both.filter_map(|it| it.steps().last()).map(|step| step.at).max()
            })
            .max();
        let zero = self.steps(&ran, signal).zero();
        Ok(First {
            zero,
            before: Undisturbed { readies: ran.readies, outcome },
            start_ns: last.unwrap_or(0).saturating_sub(ran.span.0),
            limit: rules.timeout.min(longest),
            ran,
        })
    }

    /// A run of which no event was lost, as its steps are not known otherwise.
    async fn whole(&mut self, placing: Placing, goal: &Goal) -> Result<Ran> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let ran = self.racer.run(placing, goal.clone(), self.rules.timeout).await?;
            self.tell(&ran);
            let lost = &ran.document.capture.losses;
            if lost.is_empty() || ran.ended_by == EndedBy::Interrupt {
                return Ok(ran);
            }
            if attempts == ATTEMPTS {
                let kinds = lost.iter().map(|(kind, count)| format!("{kind} {count}"));
                anyhow::bail!(
                    "events of the untouched run were lost ({}), so its steps are not known: is \
                     the host busy?",
                    kinds.collect::<Vec<_>>().join(", ")
                );
            }
        }
    }

    /// Places the signal in an interval, again while that is not reached; `None` once the race
    /// was interrupted.
    async fn reach(
        &mut self,
        planned: &Planned,
        signal: Signal,
        first: &First,
    ) -> Result<Option<Try>> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Some(tried) = self.place(planned, signal, first, attempts).await? else {
                return Ok(None);
            };
            if tried.outcome != Outcome::NotReached || attempts == ATTEMPTS {
                return Ok(Some(tried));
            }
        }
    }

    async fn place(
        &mut self,
        planned: &Planned,
        signal: Signal,
        first: &First,
        attempts: u32,
    ) -> Result<Option<Try>> {
        let role = role(signal, &self.rules.reloads);
        let settle_ns = nanoseconds(self.rules.settle);
        let start_ns = match planned.at {
            At::Step(_) | At::Second(_) => first.start_ns,
            // A call is awaited for longer than it took to come to it in the untouched run.
            At::Call(_) => {
                let zero = first.ran.span.0.cast_signed();
                let after = first.zero.cast_signed().saturating_add(planned.to_ns) - zero;
                first.start_ns.max(after.unsigned_abs().saturating_mul(LATER))
            }
        };
        let goal = Goal {
            ready: first.before.readies > 0,
            up: self.forks(),
            least_ns: start_ns.saturating_add(settle_ns),
            settle_ns,
            signals: self.signals(),
            signal: Some(signal),
            sender: self.sender(),
            ends: role == Role::End && planned.main,
            answered: planned.main
                && role == Role::Reload
                && self.rules.service_type == "notify-reload",
        };
        let placing = Placing { signal, at: Some(planned.at), by: self.rules.by };
        let ran = self.racer.run(placing, goal, first.limit).await?;
        self.tell(&ran);
        if ran.ended_by == EndedBy::Interrupt {
            return Ok(None);
        }
        let steps = self.steps(&ran, signal);
        let missed = match (ran.placed, ran.refused) {
            _ if ran.document.capture.lost > 0 => {
                Some(format!("{} events of this run were lost", ran.document.capture.lost))
            }
            (_, Some(number)) => {
                Some(format!("the kernel refused to send the signal: {}", errno::words(number)))
            }
            _ if ran.unsent.is_some() => ran.unsent.clone(),
            (Some(_), None) if !planned.is_of(&steps) => {
                Some("another program is in its place in this run".to_owned())
            }
            (Some((_, at)), None)
                if !planned.holds(&self.steps_until(planned.until(at), &ran, signal), at) =>
            {
                Some("another step came first in this run".to_owned())
            }
            _ => self.another_main(&ran, &steps),
        };
        let zero = i128::from(steps.zero());
        let on_timeline =
            |at: u64| (i128::from(at) - zero).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        // Of a reload, the record tells who sent the signal.
        let came = ran.placed.and_then(|(_, placed)| {
            let sent = ran.sent.iter().find(|(at, _)| *at >= placed);
            sent.filter(|_| ran.reload.is_some()).copied()
        });
        let reload = ran.reload.as_ref().map(|reload| {
            let sent = came.map(|(at, _)| at);
            (reload.told(sent, on_timeline), reload.held(sent))
        });
        let run = Run {
            document: &ran.document,
            sender: came.map_or_else(|| self.sender(), |(_, sender)| SentBy::Process(sender)),
            placed: ran.placed.map(|(pid, at)| (pid, on_timeline(at))),
            missed,
            readies: ran.readies,
            down: self.down(&ran),
            left: &ran.left,
            by_systemd: ran.by_systemd.clone(),
            lasted_ns: ran.span.1.saturating_sub(ran.span.0),
            reload,
        };
        let before = self.undisturbed(planned, &first.ran, &first.before);
        Ok(Some(tried(&run, &before, signal, role, attempts)))
    }

    /// All that are raced.
    fn signals(&self) -> SignalSet {
        self.rules.signals.iter().fold(SignalSet::EMPTY, |set, it| set.union(it.set()))
    }

    fn sender(&self) -> SentBy {
        match self.rules.by {
            By::Kernel => SentBy::Kernel,
            By::Kill => SentBy::Process(std::process::id()),
            By::Reload => match &*self.racer {
                Runner::Unit(racer) => SentBy::Systemd(racer.unit.systemd()),
                Runner::Command(_) => SentBy::Kernel,
            },
        }
    }

    /// Keeps what a run has left running, and tells what is still there.
    fn tell(&mut self, ran: &Ran) {
        for comm in ran.leftovers.iter().collect::<BTreeSet<_>>() {
            *self.leftovers.entry(comm.clone()).or_default() += 1;
        }
        if !ran.stuck.is_empty() {
            self.observer.note(&format_args!(
                "killed, and still there: {}: they wait for a file system or a device",
                ran.stuck.join(", ")
            ));
        }
    }
}

/// The signal and the call of an instant that `--only` names.
#[must_use]
pub fn instant(id: &str) -> Option<(Signal, Call)> {
    let (signal, call) = id.split_once('@')?;
    Some((signal.parse().ok()?, Call::parse(call)?))
}

/// How the command was at the end of a run.
fn ended_as(ran: &Ran) -> ProcessOutcome {
    let starts = ran.document.services.iter().flat_map(|service| &service.activations);
    let last = starts.last().map(|start| start.outcome.clone());
    last.unwrap_or(ProcessOutcome { state: OutcomeState::Running, signal: None, code: None })
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
