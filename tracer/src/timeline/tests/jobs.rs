//! What becomes of a service whose main process ignores the reload signal, and whose other
//! processes die of it.

use super::story::Story;
use crate::{
    model::{
        event::{DispositionKind, Effect},
        signal::Signal,
    },
    observation::GenerateResult,
};

const SENDER: u32 = 5;

/// A main process that ignores HUP, and the HUP of `systemctl kill` to it and to its job.
fn signalled(to_job: bool) -> Story {
    let story = Story::command().with_type("simple", "no").until(20_000);
    let story = story.found(SENDER, 1, "/elsewhere", &[]).fork(0, 1, 10).exec(10, 10, "/bin/demo");
    let story = story.ignoring(20, 10, Signal::HUP).fork(30, 10, 11).exec(31, 11, "/bin/job");
    let story = story.action(32, 11, Signal::HUP, DispositionKind::Default, 1);
    let story = story.hup(1_000, SENDER, 10);
    if to_job { story.hup(1_001, SENDER, 11).killed(1_002, 11, Signal::HUP) } else { story }
}

/// The effect of the HUP to the main process.
fn effect(story: &Story) -> Option<Effect> {
    story.told().signals().first().and_then(|sent| sent.effect)
}

#[test]
fn who_ignores_it_survives_unless_a_job_is_lost() {
    assert_eq!(effect(&signalled(false)), Some(Effect::Survived));
    assert_eq!(effect(&signalled(true)), Some(Effect::LostProcess));
}

#[test]
fn who_ends_because_its_job_was_killed_was_ended_by_the_reload() {
    let ended = |to_job: bool, at: u64| effect(&signalled(to_job).exit(at, 10, 1));
    assert_eq!(ended(true, 1_300), Some(Effect::Ended));
    assert_eq!(ended(true, 2_100), Some(Effect::LostProcess), "the settle time was over");
    assert_eq!(ended(false, 1_300), Some(Effect::Survived), "nothing came of it");
    let stopped = signalled(true).hup_with(1_100, SENDER, 10, |sent| {
        sent.signal = Signal::TERM;
        sent.disposition = DispositionKind::Handler;
        sent.dying_of = None;
        sent.result = GenerateResult::Queued;
    });
    assert_eq!(effect(&stopped.exit(1_300, 10, 1)), Some(Effect::LostProcess), "told to end");
}
