//! The untouched run, which has to be a start that can be raced.

use std::time::Duration;

use anyhow::Result;
use tracer_common::{place::Order, signal::SignalSet};

use super::{
    super::BadRequest, Asking, Placing, Ran, Rounds, Runner, judging::ended_as, resting::longest,
    rounds::ATTEMPTS, rules::Part,
};
use crate::{
    model::{
        document::{EndedBy, OutcomeState},
        race::Role,
    },
    probe::place::{MAX_CHILD_EXITS, MAX_COUNTED},
    race::{Undisturbed, rest_id, role},
};

/// The untouched run.
pub(super) struct First {
    pub ran: Ran,
    pub before: Undisturbed,
    /// Whether it came to rest.
    pub rests: bool,
    /// How long its start took, ns.
    pub start_ns: u64,
    /// Zero of its timeline, `CLOCK_BOOTTIME` ns.
    pub zero: u64,
    pub limit: Duration,
    /// The signals that it answers at rest.
    pub answers: SignalSet,
}

impl Rounds<'_, '_> {
    /// The untouched run, which has to be a start that can be raced.
    pub(super) async fn first(&mut self) -> Result<First> {
        let rules = self.rules;
        let signal = rules.signals[0];
        let says_ready = rules.says_ready();
        // Once it is at rest, it is what shows what the signal does there.
        let is_reload = role(signal, &rules.reloads) == Role::Reload;
        let has_rest = is_reload || rules.part != Part::Plan && rules.wants(&rest_id(signal));
        let asking = Asking {
            placing: Placing { signal, at: None, order: Order::default(), by: rules.by },
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
        self.tell_left_out(&ran);
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

    /// Tells what there was no room for.
    fn tell_left_out(&self, ran: &Ran) {
        let is_full = |told: usize, most: u32| u32::try_from(told).is_ok_and(|told| told >= most);
        if !ran.has_all {
            self.observer.note(
                &"the start did more than could be followed: of what came late no interval is \
                  raced",
            );
        }
        if is_full(ran.came.counted.len(), MAX_COUNTED) {
            self.observer.note(&format_args!(
                "the start made more than {MAX_COUNTED} system calls: the later ones are not swept \
                 over"
            ));
        }
        if is_full(ran.came.child_exits.len(), MAX_CHILD_EXITS) {
            self.observer.note(&format_args!(
                "the start was told of more than {MAX_CHILD_EXITS} children that ended: the exits \
                 of the later ones are not raced"
            ));
        }
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
}
