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
    Asking, Placing, Ran, Runner,
    judging::ended_as,
    resting::{AtRest, longest},
    rules::{Part, Rules, instant},
};
use crate::{
    model::{
        document::{EndedBy, OutcomeState},
        race::{By, Leftover, Outcome, Role, SignalRace, Try, Untouched},
        signal::Signal,
        text::Outside,
    },
    race::{
        At, Goal, Planned, SentBy, Steps, Undisturbed, active, calls, child_exits, discount,
        interval, is_answered, one, plan, rest, rest_id, role, second, sentences, sweep, untouched,
    },
};

/// How often an interval is tried until it is reached.
pub(super) const ATTEMPTS: u32 = 3;
/// The same of one that is counted by what differs from run to run.
const ATTEMPTS_AT_NUMBERS: u32 = 8;
/// So many of these are at the same number.
const AIMED: u32 = 3;
/// How many times as long as in the untouched run it may take to come to a system call.
const LATER: u64 = 3;

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
pub(super) struct First {
    pub ran: Ran,
    pub before: Undisturbed,
    /// Whether it came to rest.
    rests: bool,
    /// How long its start took, ns.
    start_ns: u64,
    /// Zero of its timeline, `CLOCK_BOOTTIME` ns.
    zero: u64,
    limit: Duration,
    /// The signals that it answers at rest.
    pub answers: SignalSet,
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
        let mut first = self.first().await?;
        let mut plans = Vec::new();
        for signal in &rules.signals {
            let steps = self.steps(&first.ran, *signal);
            let end = first.ran.span.1;
            let role = role(*signal, &rules.reloads);
            let (planned, left_out) = plan(&steps, *signal, role, &rules.service_type, end);
            let seconds = second(&steps, *signal, role, &rules.service_type, end);
            let swept = self.swept(&first, &steps, *signal);
            let exits = &first.ran.came.child_exits;
            let (exits, more) = child_exits(exits, &steps, *signal, role, &rules.service_type);
            let rest = rest(&steps, *signal, role, &rules.service_type, end);
            let is_first = *signal == rules.signals[0];
            if let Some(rest) = rest.as_ref().filter(|_| is_first && first.ran.rested.is_some())
                && is_answered(&self.judge(rest, *signal, &first.ran, &first, 1))
            {
                first.answers = signal.set();
            }
            let active = active(&steps, *signal, role, &rules.service_type, end);
            // What it does at rest tells what it may not do before: of the first signal it is known.
            let (early, late) = if is_first { (None, rest) } else { (rest, None) };
            let all = early.into_iter().chain(planned).chain(active).chain(late);
            let all = all.chain(seconds).chain(exits).chain(swept);
            // A reload is sent to the main process.
            let planned = all.filter(|it| it.main || rules.by != By::Reload).collect();
            plans.push(Plan { signal: *signal, role, planned, left_out });
            if more > 0 {
                self.observer.note(&format_args!(
                    "of the exits of children the first are raced, for {signal}: {more} are not"
                ));
            }
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
        let all = plans.iter().flat_map(|plan| &plan.planned).filter(|it| rules.wants(&it.id));
        let count = all.count();
        let steps = self.steps(&first.ran, rules.signals[0]);
        let mut untouched = untouched(&steps, first.ran.span.1, first.before.outcome.clone())
            .ok_or_else(|| anyhow::anyhow!("the kernel told of no start of the command"))?;
        let calls = calls(&first.ran.came.counted, &steps).len() as u64;
        untouched.calls = self.racer.counts().then_some(calls);
        let mut found =
            Found { untouched, signals: Vec::new(), leftovers: Vec::new(), interrupted: false };
        let mut number = 0;
        for Plan { signal, role, planned, left_out } in plans {
            let left_out = if rules.only.is_some() { 0 } else { left_out };
            let mut race = SignalRace { left_out, ..SignalRace::of(signal, role) };
            for planned in planned.iter().filter(|it| rules.wants(&it.id)) {
                number += 1;
                (self.say)(&format_args!("{number} of {count}: {}", planned.id));
                let mut tries = Vec::new();
                for time in 0..rules.repeat {
                    if !found.interrupted && rules.part != Part::Plan {
                        let done = self.reach(planned, signal, &first, time).await?;
                        found.interrupted = done.is_none();
                        tries.extend(done);
                    }
                }
                // What systemd holds back comes out as that.
                let all = rules.strict || rules.by == By::Reload;
                let interval = interval(planned, tries, all);
                if matches!(planned.at, At::Rest(_)) && interval.tries.iter().any(is_answered) {
                    first.answers = first.answers.union(signal.set());
                }
                match planned.at {
                    At::Step(_) => race.intervals.push(interval),
                    At::Second(_) => race.second.push(interval),
                    At::Call(_) => race.sweep.push(interval),
                    At::ChildExit(_) => race.child_exits.push(interval),
                    At::Rest(_) => race.rest = Some(interval),
                    At::Active(_) => race.active = Some(interval),
                }
            }
            if race.all().next().is_some() {
                discount(&mut race, &found.untouched);
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
        let (rules, counted) = (self.rules, calls(&first.ran.came.counted, steps));
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

    pub(super) fn steps_until(&self, end: u64, ran: &Ran, signal: Signal) -> Steps {
        let socket = self.racer.socket();
        let steps = Steps::of(&ran.facts, signal, ran.origin, socket.as_deref(), end);
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
        let says_ready = rules.says_ready();
        // Once it is at rest, it is what shows what the signal does there.
        let is_reload = role(signal, &rules.reloads) == Role::Reload;
        let has_rest = rules.part != Part::Plan && (is_reload || rules.wants(&rest_id(signal)));
        let asking = Asking {
            placing: Placing { signal, at: None, by: rules.by },
            goal: self.goal_of_start(),
            limit: rules.timeout,
            rest: has_rest.then(|| self.at_rest(signal, rules.timeout)),
        };
        let mut ran = self.untouched_run(&asking).await?;
        let not_up = self.not_up(&ran);
        let outcome = ended_as(&ran);
        let refuse = |sentence: String| Err(BadRequest::new(sentence).into());
        let what = match self.racer {
            Runner::Command(_) => "the command".to_owned(),
            Runner::Unit(racer) => racer.unit.name().to_owned(),
        };
        match (ran.ended_by, outcome.state) {
            (EndedBy::Interrupt, _) => anyhow::bail!("the race was ended in its untouched run"),
            // What came then is the signal's doing.
            _ if ran.rested.is_some() => {}
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
            _ => {}
        }
        if let Some(sentence) = not_up {
            return refuse(sentence);
        }
        self.take_main(&mut ran)?;
        if !ran.has_all {
            self.observer.note(
                &"the start did more than could be followed: of what came late no \
                                 interval is raced",
            );
        }
        let lasted = ran.span.1.saturating_sub(ran.span.0);
        let longest = longest(lasted);
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
            before: Undisturbed {
                readies: ran.rested.as_ref().map_or(ran.readies, |rested| rested.readies),
                outcome,
                answers: false,
            },
            rests: ran.rested.is_some() || ran.ended_by == EndedBy::Until,
            start_ns: last.unwrap_or(0).saturating_sub(ran.span.0),
            limit: rules.timeout.min(longest),
            answers: SignalSet::EMPTY,
            ran,
        })
    }

    /// A run of which no event was lost, as its steps are not known otherwise.
    pub(super) async fn whole(&mut self, asking: &Asking) -> Result<Ran> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let ran = self.racer.run(asking.clone()).await?;
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
        time: u16,
    ) -> Result<Option<Try>> {
        let (mut attempts, mut longest) = (0, ATTEMPTS);
        let is_rest = matches!(planned.at, At::Rest(_));
        let mut aimed = planned.clone();
        loop {
            attempts += 1;
            // The untouched run has come to rest itself, and had its first signal then; or it never has.
            let is_first = time == 0 && attempts == 1 && signal == self.rules.signals[0];
            let is_told = is_rest && (!first.rests || is_first && first.ran.rested.is_some());
            let tried = if is_told {
                Some((self.judge(planned, signal, &first.ran, first, attempts), None))
            } else {
                self.place(&aimed, signal, first, attempts).await?
            };
            let Some((tried, ran)) = tried else { return Ok(None) };
            if is_rest && !first.rests || tried.outcome != Outcome::NotReached {
                return Ok(Some(tried));
            }
            let now = ran.and_then(|ran| self.renumbered(planned, signal, first, &ran));
            let now = now.filter(|now| now.at != planned.at || longest > ATTEMPTS);
            let what = now.as_ref().map_or(tried.what.clone(), |now| now.told_as(signal));
            if let Some(now) = now {
                longest = ATTEMPTS_AT_NUMBERS;
                // Where it goes round, what the last run was is never what the next one is.
                aimed = if attempts % AIMED == 1 { now } else { aimed };
            }
            if attempts >= longest {
                return Ok(Some(Try { what, ..tried }));
            }
        }
    }

    async fn place(
        &mut self,
        planned: &Planned,
        signal: Signal,
        first: &First,
        attempts: u32,
    ) -> Result<Option<(Try, Option<Ran>)>> {
        let placing = Placing { signal, at: Some(planned.at), by: self.rules.by };
        let (goal, rest) = match planned.at {
            At::Rest(_) => (self.goal_of_start(), Some(self.at_rest(signal, first.limit))),
            At::Active(_) => {
                let then = self.at_rest(signal, first.limit);
                // It has come to that at once.
                let goal = Goal { ready: !then.goal.up, settle_ns: 0, ..then.goal.clone() };
                (Goal { ends: false, answered: false, ..goal }, Some(then))
            }
            _ => (self.goal_of(planned, signal, first), None),
        };
        let ran = self.racer.run(Asking { placing, goal, limit: first.limit, rest }).await?;
        self.tell(&ran);
        if ran.ended_by == EndedBy::Interrupt {
            return Ok(None);
        }
        Ok(Some((self.judge(planned, signal, &ran, first, attempts), Some(ran))))
    }

    /// What the start is to come to for it to be over.
    fn goal_of_start(&self) -> Goal {
        let rules = self.rules;
        let says_ready = rules.says_ready();
        Goal {
            ready: says_ready,
            up: matches!(self.racer, Runner::Unit(_)),
            least_ns: 0,
            settle_ns: nanoseconds(if says_ready { rules.settle } else { rules.quiet }),
            signals: self.signals(),
            signal: None,
            sender: SentBy::Kernel,
            ends: false,
            answered: false,
            answers: false,
        }
    }

    /// What it is to come to once it is at rest and the signal was sent, within `limit` at most.
    fn at_rest(&self, signal: Signal, limit: Duration) -> AtRest {
        let role = role(signal, &self.rules.reloads);
        let goal = Goal {
            settle_ns: nanoseconds(self.rules.settle),
            signal: Some(signal),
            sender: self.sender(true),
            ends: role == Role::End,
            answered: role == Role::Reload && self.rules.service_type == "notify-reload",
            ..self.goal_of_start()
        };
        AtRest { goal, limit }
    }

    /// What a run with a signal in an interval is to come to.
    fn goal_of(&self, planned: &Planned, signal: Signal, first: &First) -> Goal {
        let role = role(signal, &self.rules.reloads);
        let settle_ns = nanoseconds(self.rules.settle);
        let start_ns = match planned.at {
            At::Step(_) | At::Second(_) | At::Rest(_) | At::Active(_) => first.start_ns,
            // It is awaited for longer than it took to come to it in the untouched run.
            At::Call(_) | At::ChildExit(_) => {
                let zero = first.ran.span.0.cast_signed();
                let after = first.zero.cast_signed().saturating_add(planned.to_ns) - zero;
                first.start_ns.max(after.unsigned_abs().saturating_mul(LATER))
            }
        };
        Goal {
            ready: first.before.readies > 0,
            up: self.forks(),
            least_ns: start_ns.saturating_add(settle_ns),
            settle_ns,
            signals: self.signals(),
            signal: Some(signal),
            sender: self.sender(false),
            ends: role == Role::End && planned.main,
            answered: planned.main
                && role == Role::Reload
                && self.rules.service_type == "notify-reload",
            answers: planned.main && first.answers.intersects(signal.set()),
        }
    }

    /// All that are raced.
    fn signals(&self) -> SignalSet {
        self.rules.signals.iter().fold(SignalSet::EMPTY, |set, it| set.union(it.set()))
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

pub(super) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
