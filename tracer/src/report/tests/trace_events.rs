//! Trace events are what Perfetto's trace processor takes in whole: its rules, as they stand in
//! `importers/json` and `importers/common` of its source.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;

use super::{arbitrary, fixtures};
use crate::{
    model::{
        document::Document,
        event::{Event, What},
    },
    report::{Format, Style, render},
};

/// How deep it nests the slices of a row.
const MAX_DEPTH: usize = 512;

/// What it would find.
#[derive(Debug, Default)]
struct Found {
    slices: usize,
    flows: usize,
}

fn events(document: &Document) -> Vec<Value> {
    let text = render(document, Format::TraceEvent, Style::default());
    let mut trace: Value = serde_json::from_str(&text).unwrap();
    match trace["traceEvents"].take() {
        Value::Array(events) => events,
        other => panic!("no events: {other}"),
    }
}

/// Nanoseconds, as it rounds what is told in microseconds.
fn ns(value: &Value) -> i64 {
    (value.as_f64().unwrap_or_default() * 1_000.0).round() as i64
}

/// Takes the events in as it does, and says which it would drop or count as an error.
fn taken_in(events: &[Value]) -> Result<Found, String> {
    let (names, mut slices): (Vec<_>, Vec<_>) = events.iter().partition(|event| event["ph"] == "M");
    if let Some(name) = names.iter().find(|event| event["args"]["name"] == "") {
        return Err(format!("an empty name: {name}"));
    }
    // Stable, as its sorter is.
    slices.sort_by_key(|event| ns(&event["ts"]));
    let mut rows: BTreeMap<(u64, u64), Vec<(i64, i64)>> = BTreeMap::new();
    let mut begun = BTreeSet::new();
    let mut found = Found::default();
    for event in slices {
        let (from, length) = (ns(&event["ts"]), ns(&event["dur"]));
        if from < 0 || length < 0 {
            return Err(format!("before zero: {event}"));
        }
        let row = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let open = rows.entry(row).or_default();
        while let Some((begin, end)) = open.last().copied() {
            let are_instants = begin == end && length == 0;
            if end > from || end == from && are_instants {
                break;
            }
            open.pop();
        }
        if open.iter().any(|(_, end)| from < *end && from + length > *end) {
            return Err(format!("it overlaps another one: {event}"));
        }
        if open.len() >= MAX_DEPTH {
            return Err(format!("it is in too many others: {event}"));
        }
        open.push((from, from + length));
        found.slices += 1;
        let id = event["bind_id"].as_str();
        if event["flow_out"] == true && !begun.insert(id) {
            return Err(format!("a flow that began before: {event}"));
        }
        if event["flow_in"] == true {
            if !begun.contains(&id) {
                return Err(format!("a flow that has not begun: {event}"));
            }
            found.flows += 1;
        }
    }
    Ok(found)
}

fn happened(document: &Document) -> impl Iterator<Item = &Event> {
    document.services.iter().flat_map(|it| &it.activations).flat_map(|it| &it.events)
}

#[test]
fn each_slice_is_taken_in_and_each_signal_whose_sender_is_known_is_a_flow() {
    for (name, document) in fixtures::all() {
        let events = events(&document);
        let found = taken_in(&events).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        assert_eq!(found.slices, events.iter().filter(|event| event["ph"] != "M").count());
        let is_sent =
            |event: &&Event| matches!(&event.what, What::Signal(sent) if sent.sender.is_some());
        assert_eq!(found.flows, happened(&document).filter(is_sent).count(), "{name}");
    }
}

#[test]
fn what_began_before_the_capture_begins_with_it_and_says_when_it_did() {
    let joined = fixtures::joined_late();
    let events = events(&joined);
    let early = events.iter().filter(|event| event["args"]["began"].is_string());
    let early: Vec<&Value> = early.collect();
    assert!(!early.is_empty(), "{events:?}");
    for event in early {
        assert_eq!(event["ts"], 0.0, "{event}");
        let began = event["args"]["began"].as_str().unwrap();
        assert!(began.ends_with(" before the capture"), "{event}");
    }
    let end = events.iter().map(|event| ns(&event["ts"]) + ns(&event["dur"])).max().unwrap();
    assert!(end <= joined.capture.duration_ns as i64, "{end}: the length is what was seen");
}

#[test]
fn a_process_without_a_name_gets_no_empty_one() {
    let mut document = fixtures::patroni_killed();
    for event in &mut document.services[0].activations[0].events {
        if let What::Exec { process, .. } = &mut event.what {
            process.comm = "".into();
        }
        if let What::Signal(sent) = &mut event.what {
            sent.target.comm = "".into();
        }
    }
    taken_in(&events(&document)).unwrap();
}

#[test]
fn a_pid_that_is_given_again_is_two_lives() {
    let mut document = fixtures::forty_processes();
    let lives = |document: &Document| {
        let events = events(document);
        taken_in(&events).unwrap();
        events.iter().filter(|event| event["cat"] == "process" && event["ph"] == "X").count()
    };
    let once = lives(&document);
    let start = &mut document.services[0].activations[0];
    let fork = start.events.iter().find(|event| matches!(event.what, What::Fork { .. })).cloned();
    let mut again = fork.expect("there is one");
    again.at_ns = start.events.last().unwrap().at_ns + 1_000;
    start.events.push(again);
    assert_eq!(lives(&document), once + 1);
}

#[test]
fn a_pid_in_two_starts_at_a_time_has_a_row_for_each() {
    let mut document = fixtures::forty_processes();
    let once = events(&document).iter().filter(|event| event["ph"] != "M").count();
    let mut again = document.services[0].clone();
    again.name = "again.service".into();
    let start = &mut again.activations[0].started_at.0;
    *start = start.checked_add(jiff::SignedDuration::from_millis(1)).unwrap();
    document.services.push(again);
    let events = events(&document);
    let found = taken_in(&events).unwrap();
    assert_eq!(found.slices, 2 * once);
    let is_name = |event: &&Value| event["name"] == "thread_name";
    let row = |event: &Value| (event["pid"].as_u64(), event["tid"].as_u64());
    let names: BTreeSet<_> = events.iter().filter(is_name).map(row).collect();
    let unnamed = events.iter().find(|it| it["ph"] != "M" && !names.contains(&row(it)));
    assert_eq!(unnamed, None);
}

#[test]
fn who_sent_a_signal_is_called_by_the_unit_it_was_in() {
    let document = fixtures::patroni_killed();
    let name_of_sender = |document: &Document| {
        let sender = happened(document).find_map(|event| match &event.what {
            What::Signal(sent) => sent.sender.as_ref().map(|sender| sender.pid),
            _ => None,
        });
        let events = events(document);
        let names = events.iter().filter(|event| event["name"] == "process_name");
        let name = { names }.find(|event| event["pid"] == sender.unwrap()).unwrap();
        name["args"]["name"].as_str().unwrap().to_owned()
    };
    let sent_from = |unit: Option<&str>| {
        let mut document = document.clone();
        // Nothing but its signal is seen of it.
        let events = &mut document.services[0].activations[0].events;
        events.retain(|event| matches!(event.what, What::Signal(_)));
        for event in events {
            let What::Signal(sent) = &mut event.what else { continue };
            if let Some(sender) = &mut sent.sender {
                sender.process.comm = "sh".into();
                sender.unit = unit.map(Into::into);
            }
        }
        name_of_sender(&document)
    };
    assert_eq!(sent_from(Some("cron.service")), "sh [cron.service]");
    assert_eq!(sent_from(None), "sh");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_of_any_document_is_before_zero_or_has_an_empty_name(
        document in arbitrary::document(),
    ) {
        for event in events(&document) {
            prop_assert!(event["ph"] != "M" || event["args"]["name"] != "", "{}", event);
            prop_assert!(event["ts"].is_null() || event["ts"].as_f64() >= Some(0.0), "{}", event);
        }
    }
}
