//! The fold says of every start what its facts say, all taken together.

use proptest::prelude::*;

use super::{
    lives::{self, Of, Step, Turn},
    reference::{self, Met, Told, ToldSignal},
    story::{BEGIN, Story},
};
use crate::{
    model::{document::Activation, event::What, signal::Signal},
    observation::Observation,
    timeline::{Builder, activation},
};

/// After everything, `CLOCK_BOOTTIME` ns.
const END: u64 = BEGIN + 100_000_000_000;

fn said(activation: &Activation, reload: Signal) -> Told {
    let mut signals = Vec::new();
    let mut messages = Vec::new();
    for event in &activation.events {
        match &event.what {
            What::Signal(sent) => signals.push(ToldSignal {
                at_ns: event.at_ns,
                signal: sent.signal,
                fate: sent.fate,
                fate_ns: sent.fate_ns,
                met: Met::Of(sent.runtime.filter(|_| sent.signal == reload)),
            }),
            What::Notify(message) => messages.push((event.at_ns, message.accepted)),
            _ => {}
        }
    }
    Told {
        milestones: activation.milestones,
        exposure: activation.exposure.clone(),
        outcome: activation.outcome.clone(),
        signals,
        messages,
    }
}

/// The same turns, with no process that shares its handlers and is no thread: those are followed
/// where both are known as the second is started, and else it depends on when they are placed.
fn apart(turns: &[Turn]) -> Vec<Turn> {
    let mut turns = turns.to_vec();
    for turn in &mut turns {
        if let Step::Fork { shares_handlers } = &mut turn.step {
            *shares_handlers = false;
        }
    }
    turns
}

/// Builds the timelines, and compares each with the reference.
fn compare(turns: &[Turn], of: Of) -> Result<(), TestCaseError> {
    let story = if of == Of::Command { Story::command() } else { Story::unit() };
    let setup = story.recording(Signal::TERM).setup();
    let observations: Vec<Observation> = lives::observed(turns, of);
    let mut builder = Builder::new(setup);
    for observation in &observations {
        builder.observe(observation.clone());
    }
    builder.end();
    let mut failed = None;
    builder.visit(END, |start, frame, states| {
        let told = activation::timeline(start, frame, states);
        assert_eq!(told.omitted, 0, "a story below the bounds");
        let (mut said, expected) =
            (said(&told, frame.signal), reference::tell(start, frame, states));
        for (said, expected) in said.signals.iter_mut().zip(&expected.signals) {
            if expected.met == Met::Unheard {
                said.met = Met::Unheard;
            }
        }
        if said != expected && failed.is_none() {
            let mut facts = start.learned.clone();
            facts.sort_by_key(|(at, _)| *at);
            let facts: Vec<String> =
                facts.iter().map(|(at, fact)| format!("{} {fact:?}", at - BEGIN)).collect();
            failed = Some(format!(
                "{}\nmains {:?}\nthe fold: {said:#?}\nthe reference: {expected:#?}",
                facts.join("\n"),
                start.mains
            ));
        }
    });
    match failed {
        Some(failed) => Err(TestCaseError::fail(failed)),
        None => Ok(()),
    }
}

/// A case takes long: half as many as of others.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.div_ceil(2), ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_fold_says_what_all_facts_together_say(
        turns in lives::turns(false),
        of in lives::any_of(),
    ) {
        let turns = if let Of::RunningUnit(_) = of { apart(&turns) } else { turns };
        compare(&turns, of)?;
    }

    #[test]
    fn the_fold_says_what_those_facts_say_that_are_not_lost(
        turns in lives::turns(true),
        of in lives::begun(),
    ) {
        compare(&apart(&turns), of)?;
    }
}
