//! A race: the untouched run, and then one for each interval.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use anyhow::Result;

use super::{
    super::{BadRequest, Observer},
    Asking, Placing, Ran, Runner,
    judging::Shown,
    rules::{Part, Rules, instant},
    untouched::First,
};
use crate::{
    host::clock,
    model::{
        document::EndedBy,
        race::{By, Leftover, Outcome, Role, SignalRace, Try, Untouched},
        signal::Signal,
        text::Outside,
    },
    race::{
        At, Goal, Helpers, Planned, Steps, active, calls, child_exits, discount, interval,
        is_answered, one, plan, rest, role, seconds, sentences, sweep, untouched,
    },
};

/// How often an interval is tried until it is reached.
pub(super) const ATTEMPTS: u32 = 3;
/// The same of a worker or a mask, whose number may differ from run to run.
const ATTEMPTS_AT_HELPERS: u32 = 16;
/// The same right at a fork, if another run than the untouched one has shown it: there no helper is known
/// as one yet.
const ATTEMPTS_AT_FORKS: u32 = 48;

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

/// What is raced of a signal.
struct Plan {
    signal: Signal,
    role: Role,
    /// The intervals, those of a second signal, and the instants of the sweep.
    planned: Vec<Planned>,
    left_out: u64,
}

/// An interval, by the numbers that it has in the run with these steps, and how helpers are taken.
pub(super) type Aim = (Planned, Steps, Helpers);

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
        let plans = self.plans(&mut first);
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
                    At::Second(_) | At::AfterRest(_) => race.second.push(interval),
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

    /// What is raced of the start, for each signal.
    fn plans(&self, first: &mut First) -> Vec<Plan> {
        let rules = self.rules;
        let mut plans = Vec::new();
        for signal in &rules.signals {
            let steps = self.steps(&first.ran, *signal);
            let end = first.ran.span.1;
            let role = role(*signal, &rules.reloads);
            let is_first = *signal == rules.signals[0];
            let (planned, left_out) = plan(&steps, *signal, role, &rules.service_type, end);
            // What it was sent at rest, in the untouched run, is the first one.
            let is_known = is_first && first.ran.rested.is_some();
            let rested = (is_known && rules.by != By::Reload)
                .then(|| self.steps_until(first.ran.until, &first.ran, *signal));
            let kind = &rules.service_type;
            let seconds = seconds(&steps, rested.as_ref(), *signal, role, kind);
            let swept = self.swept(first, &steps, *signal);
            let exits = &first.ran.came.child_exits;
            let (exits, more) = child_exits(exits, &steps, *signal, role, &rules.service_type);
            let rest = rest(&steps, *signal, role, &rules.service_type, end);
            let at_rest = rest.clone().filter(|_| is_known);
            if let Some(aim) = at_rest.map(|rest| (rest, steps.clone(), Helpers::Counted))
                && is_answered(&self.judge(
                    (&aim, &aim.0),
                    *signal,
                    &first.ran,
                    first,
                    &Shown::default(),
                ))
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
        plans
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

    /// Places the signal in an interval, again while that is not reached; `None` once the race
    /// was interrupted.
    async fn reach(
        &mut self,
        planned: &Planned,
        signal: Signal,
        first: &First,
        time: u16,
    ) -> Result<Option<Try>> {
        let mut shown = Shown::default();
        let untouched = self.steps(&first.ran, signal);
        let by_helpers = planned.is_counted_by_helpers(&untouched);
        // It may have the number of the untouched run, with helpers or without, or that of an earlier run.
        let mut as_untouched = (planned.clone(), untouched, Helpers::LeftOut);
        let mut as_earlier: Vec<Aim> = Vec::new();
        let is_rest = matches!(planned.at, At::Rest(_));
        loop {
            shown.attempts += 1;
            let attempts = shown.attempts;
            // The untouched run has come to rest itself, and had its first signal then; or it never has.
            let is_first = time == 0 && attempts == 1 && signal == self.rules.signals[0];
            let is_told = is_rest && (!first.rests || is_first && first.ran.rested.is_some());
            if is_told {
                let aim = (&as_untouched, planned);
                return Ok(Some(self.judge(aim, signal, &first.ran, first, &shown)));
            }
            as_untouched.2 = if attempts <= 2 { Helpers::LeftOut } else { Helpers::Counted };
            let aim = earlier(attempts, &as_earlier).unwrap_or(&as_untouched);
            let placed = self.place(aim, planned, signal, first, &shown).await?;
            let Some((tried, steps)) = placed else { return Ok(None) };
            let most = match (by_helpers, planned.is_at_fork() && !as_earlier.is_empty()) {
                (false, _) => ATTEMPTS,
                (true, false) => ATTEMPTS_AT_HELPERS,
                (true, true) => ATTEMPTS_AT_FORKS,
            };
            if tried.outcome != Outcome::NotReached || attempts >= most {
                return Ok(Some(tried));
            }
            shown.learn(&tried);
            let now = planned.renumbered(&as_untouched.1, &steps);
            as_earlier.extend(now.map(|now| (now, steps, Helpers::Counted)));
        }
    }

    async fn place(
        &mut self,
        aim: &Aim,
        untouched: &Planned,
        signal: Signal,
        first: &First,
        shown: &Shown,
    ) -> Result<Option<(Try, Steps)>> {
        let (planned, of, helpers) = aim;
        let order = planned.order(signal, of, *helpers);
        let placing = Placing { signal, at: Some(planned.at), order, by: self.rules.by };
        let (goal, rest) = match planned.at {
            At::Rest(_) => (self.goal_of_start(), Some(self.at_rest(signal, first.limit))),
            At::AfterRest(_) => {
                let mut rest = self.at_rest(signal, first.limit);
                rest.goal.sender = self.sender(false);
                (self.goal_of_start(), Some(rest))
            }
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
        let steps = self.steps(&ran, signal);
        Ok(Some((self.judge((aim, untouched), signal, &ran, first, shown), steps)))
    }

    /// Keeps what a run has left running, and tells what is still there.
    pub(super) fn tell(&mut self, ran: &Ran) {
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

/// By the number of which earlier run an interval is looked for, if by one. A start may have one number
/// of helpers every other time, so it is the same one for several runs in a row; and where each start has
/// another number, which one comes is chance.
fn earlier(attempts: u32, earlier: &[Aim]) -> Option<&Aim> {
    match attempts {
        3..=4 | 11..=16 => earlier.last(),
        17.. => earlier.get(clock::boot_ns() as usize / 1_000 % (earlier.len() + 1)),
        _ => None,
    }
}
