//! A document that was written, read back and judged again says the same.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    lives,
    story::{BEGIN, Story},
};
use crate::{
    model::{
        document::{
            Capture, Document, EndedBy, Host, OutcomeState, ProcessOutcome, SCHEMA, Tool, WallTime,
        },
        signal::Signal,
    },
    report::{Format, Style, read, render},
    rules::judge,
    timeline::Builder,
};

const LASTED: u64 = 100_000_000_000;

pub fn document(turns: &[lives::Turn], of: lives::Of) -> Document {
    let story = if of == lives::Of::Command { Story::command() } else { Story::unit() };
    let mut builder = Builder::new(story.recording(Signal::TERM).setup());
    for observation in lives::observed(turns, of) {
        builder.observe(observation);
    }
    builder.end();
    Document {
        schema: SCHEMA.to_owned(),
        tool: Tool { name: "sigready".to_owned(), version: "0.1.0".to_owned() },
        host: Host { hostname: "db1".to_owned(), kernel: "6.18.44".to_owned(), boot_id: None },
        capture: Capture {
            command: "trace".to_owned(),
            arguments: Vec::new(),
            backend: "fentry".to_owned(),
            fallbacks: Vec::new(),
            signal: Signal::HUP,
            settle_ns: Some(builder.settle_ns()),
            started_at: WallTime("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap()),
            duration_ns: LASTED,
            ended_by: EndedBy::Interrupt,
            events: builder.events(),
            lost: 0,
            losses: builder.losses(),
            services_left_out: builder.services_left_out(),
            complete: true,
            main: None,
            untested: Vec::new(),
        },
        services: builder.services(BEGIN + LASTED),
    }
}

proptest! {
    #[test]
    fn a_document_that_is_read_back_and_judged_again_is_the_same_to_the_byte(
        turns in lives::turns(true),
        of in lives::any_of(),
    ) {
        let mut document = document(&turns, of);
        judge(&mut document);
        for format in [Format::Json, Format::Jsonl] {
            let written = |document: &Document| render(document, format, Style::default());
            let said = written(&document);
            let mut again = read(said.as_bytes()).unwrap();
            prop_assert_eq!(written(&again), said.clone());
            for start in again.services.iter_mut().flat_map(|service| &mut service.activations) {
                start.alerts.clear();
            }
            judge(&mut again);
            prop_assert_eq!(written(&again), said);
        }
    }
}

/// The property above would hold of documents without alerts too.
#[test]
fn a_life_that_ends_by_an_early_reload_is_judged() {
    let kill = lives::Turn {
        wait: 1_000_000,
        of: 0,
        step: lives::Step::Kill {
            from: 5,
            signal: 1,
            thread: None,
            lost_info: false,
            prompt: true,
        },
        late: 0,
        very_late: 0,
        lost: false,
    };
    let fork = lives::Turn { step: lives::Step::Fork { shares_handlers: false }, ..kill.clone() };
    let by_child = lives::Turn {
        step: lives::Step::Kill {
            from: 1,
            signal: 1,
            thread: None,
            lost_info: false,
            prompt: true,
        },
        ..kill.clone()
    };
    let mut document = document(&[fork, by_child], lives::Of::Command);
    judge(&mut document);
    let start = &document.services[0].activations[0];
    let killed =
        ProcessOutcome { state: OutcomeState::Killed, signal: Some(Signal::HUP), code: None };
    assert_eq!(start.outcome, killed);
    let ids: Vec<&str> = start.alerts.iter().map(|alert| alert.id.as_str()).collect();
    assert_eq!(ids, ["reload-before-handler"]);
}
