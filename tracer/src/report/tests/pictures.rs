//! Pictures, pages and trace events.

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::Value;

use super::{
    arbitrary,
    fixtures::{self, at, document, process},
};
use crate::{
    model::{
        document::{Document, Severity},
        event::What,
    },
    report::{Format, Style, html::details::MAX_BYTES, render},
};

/// Text that is markup, a way out of an attribute, and what XML can't hold.
const HOSTILE: &str =
    "</title></style><script>alert(1)</script>\"'><img src=x>&\u{1b}[2J\0\u{fffe}]]>";

fn svg(document: &Document) -> String {
    render(document, Format::Svg, Style::default())
}

fn html(document: &Document) -> String {
    render(document, Format::Html, Style::default())
}

fn events(document: &Document) -> Vec<Value> {
    let text = render(document, Format::TraceEvent, Style::default());
    let trace: Value = serde_json::from_str(&text).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

/// Reads XML to its end: quick-xml refuses what is not well-formed.
pub fn check_xml(text: &str) {
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(element) => {
                for attribute in element.attributes() {
                    attribute.unwrap();
                }
            }
            _ => {}
        }
    }
    let is_no_xml =
        |c: char| c.is_control() && !"\n\r\t".contains(c) || matches!(c, '\u{fffe}' | '\u{ffff}');
    assert!(!text.contains(is_no_xml), "{:?}", text.find(is_no_xml));
}

#[test]
fn a_process_that_comes_into_the_cgroup_is_drawn_from_there_on() {
    let mut document = fixtures::patroni_killed();
    let moved = What::Cgroup { process: Some(process(77, "moved")), path: "/a.service".into() };
    let events = &mut document.services[0].activations[0].events;
    let index = events.partition_point(|event| event.at_ns < at(100.0, moved.clone()).at_ns);
    events.insert(index, at(100.0, moved));
    let picture = svg(&document);
    let mut bars = picture.split("<rect ").filter(|it| it.contains("<title>moved[77]</title>"));
    let bar = bars.next().unwrap();
    assert!(bar.starts_with("class=\"life\" x=\"32.56%\""), "{bar}");
}

/// A document in which every text from outside is hostile.
fn hostile() -> Document {
    let mut document = fixtures::patroni_killed();
    document.host.hostname = HOSTILE.into();
    document.capture.backend = HOSTILE.into();
    let service = &mut document.services[0];
    service.name = HOSTILE.into();
    service.unit.as_mut().unwrap().service_type = Some(HOSTILE.into());
    let start = &mut service.activations[0];
    for event in &mut start.events {
        match &mut event.what {
            What::Exec { process, exe, .. } => {
                process.comm = HOSTILE.into();
                *exe = Some(HOSTILE.into());
            }
            What::Signal(sent) => {
                sent.target.comm = HOSTILE.into();
                sent.sender.as_mut().unwrap().command = Some(HOSTILE.into());
            }
            What::Systemd { state, result, .. } => {
                *state = HOSTILE.into();
                *result = Some(HOSTILE.into());
            }
            _ => {}
        }
    }
    for alert in &mut start.alerts {
        alert.id = HOSTILE.into();
        alert.message = HOSTILE.into();
        alert.consequence = HOSTILE.into();
        alert.mend = HOSTILE.into();
    }
    document
}

#[test]
fn the_picture_of_a_killed_service_says_when_what_killed_it() {
    let text = svg(&fixtures::patroni_killed());
    check_xml(&text);
    for word in
        ["HUP would", "HUP killed", "killed by HUP", "patroni.service", "prefers-color-scheme"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    insta::assert_snapshot!("killed_svg", text);
}

#[test]
fn the_picture_in_the_readme_is_what_its_capture_gives_today() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    let capture = fs::read(images.join("killed.json")).unwrap();
    let current = svg(&serde_json::from_slice(&capture).unwrap());
    let path = images.join("killed.svg");
    if std::env::var_os("SIGREADY_UPDATE").is_some() {
        fs::write(&path, &current).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == current,
        "docs/images/killed.svg is not what docs/images/killed.json gives; update it with \
         `SIGREADY_UPDATE=1 cargo test -p sigready readme` and look at it"
    );
}

#[test]
fn text_that_is_markup_stays_text() {
    let document = hostile();
    let picture = svg(&document);
    check_xml(&picture);
    let page = html(&document);
    for text in [&picture, &page] {
        assert!(text.contains("&lt;script&gt;"), "it is shown");
        for markup in ["<script>alert", "<img", "\u{1b}", "\0"] {
            assert!(!text.contains(markup), "{markup}");
        }
        for element in ["title", "style", "script"] {
            let ends = text.matches(&format!("</{element}>")).count();
            assert_eq!(ends, text.matches(&format!("<{element}")).count(), "{element}");
        }
    }
    assert!(!events(&document).is_empty());
}

#[test]
fn what_no_xml_may_hold_is_not_in_a_picture() {
    let mut document = fixtures::patroni_killed();
    document.services[0].name = "\u{fffe}\u{ffff}\u{1}\u{7f}".into();
    check_xml(&svg(&document));
}

#[test]
fn a_page_asks_for_nothing_and_runs_nothing_but_its_filter() {
    let page = html(&fixtures::patroni_killed());
    assert!(page.contains("default-src 'none'"));
    for request in ["http:", "https:", "url(", "@import", "onload", "onclick", "fetch(", "eval("] {
        assert!(!page.contains(request), "{request}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("; script-src 'sha256-") && !page.contains("script-src 'unsafe"));
}

#[test]
fn evidence_leads_to_its_row_and_marks_do_too() {
    let document = fixtures::patroni_killed();
    let page = html(&document);
    let start = &document.services[0].activations[0];
    for index in &start.alerts[0].events {
        let link = format!("href=\"#s0e{index}\"");
        assert!(page.matches(&link).count() >= 2, "from the alert and from the mark: {link}");
        assert_eq!(page.matches(&format!("id=\"s0e{index}\"")).count(), 1);
    }
}

/// So many starts; the last one alone has an alert.
fn many(count: usize) -> Document {
    let killed = fixtures::patroni_killed();
    let mut calm = killed.services[0].clone();
    calm.activations[0].alerts.clear();
    let mut services = vec![calm; count];
    for (index, service) in services.iter_mut().enumerate() {
        service.name = format!("calm{index}.service");
    }
    services.push(killed.services[0].clone());
    document(services)
}

#[test]
fn a_picture_of_many_starts_has_the_one_with_alerts_and_counts_the_others() {
    let text = svg(&many(500));
    check_xml(&text);
    assert!(text.contains("… and 489 more starts"));
    assert!(text.contains("error[reload-before-handler]"));
    assert!(text.len() < 400_000, "{}", text.len());
}

#[test]
fn a_page_of_many_starts_has_an_overview_and_those_with_alerts_first() {
    let page = html(&many(500));
    assert!(page.matches("<a href=\"#s").count() > 500);
    let line = |start: &str| page.find(&format!("<a href=\"#{start}\">")).unwrap();
    assert!(line("s500") < line("s0") && line("s0") < line("s499"));
    let first = page.find("<details class=\"start\"").unwrap();
    assert!(page[first..].starts_with("<details class=\"start\" id=\"s500\" open"));
    assert_eq!(page.matches("<details class=\"start\"").count(), 501);
}

#[test]
fn a_page_of_too_many_starts_counts_those_without_alerts_that_it_has_no_room_for() {
    const START: &str = "<details class=\"start\"";
    let few = html(&many(2));
    let size = few.split(START).nth(2).unwrap().len();
    let all = MAX_BYTES / size * 5 / 4;
    let page = html(&many(all));
    let from = page.find(START).unwrap();
    let to = page.find(": there was no room for their details").unwrap();
    assert!(
        (MAX_BYTES..MAX_BYTES + 2 * size).contains(&(to - from)),
        "{} of {size} each",
        to - from
    );
    assert!(page[from..].contains("error[reload-before-handler]"));
    let left_out = all + 1 - page.matches(START).count();
    assert!(page[..to].ends_with(&format!("… and {left_out} more starts without alerts")));
}

#[test]
fn a_page_says_how_many_starts_there_are_and_how_many_have_alerts() {
    let mut document = many(3);
    assert!(html(&document).contains("<p>4 starts of 4 services: 1 with errors</p>"));
    document.services[0].activations[0].alerts = document.services[3].activations[0].alerts.clone();
    document.services[0].activations[0].alerts[0].severity = Severity::Warning;
    let both = "<p>4 starts of 4 services: 1 with errors, 1 with warnings alone</p>";
    assert!(html(&document).contains(both));
    let mut alone = many(1);
    alone.services.truncate(1);
    assert!(html(&alone).contains("<p>1 start: no alerts</p>"));
}

#[test]
fn a_page_tells_of_starts_with_errors_before_those_with_warnings_alone() {
    let mut document = many(2);
    let mut warned = document.services[2].activations[0].alerts.clone();
    warned[0].severity = Severity::Warning;
    document.services[1].activations[0].alerts = warned;
    let page = html(&document);
    let starts: Vec<&str> =
        page.split("<details class=\"start\" id=\"").skip(1).map(|it| &it[..2]).collect();
    assert_eq!(starts, ["s2", "s1", "s0"]);
}

#[test]
fn what_is_chosen_on_a_page_is_looked_for_in_its_form_which_its_starts_follow() {
    let page = html(&fixtures::patroni_killed());
    assert!(
        page.contains(":has(")
            && page.matches(":has(").count() == page.matches(".choices:has(").count()
    );
    let form = page.find("<form class=\"choices\"").unwrap();
    let end = form + page[form..].find("</form>").unwrap();
    let start = page.find("<details class=\"start\"").unwrap();
    assert!(
        end < start && !page[end..start].contains("<div") && !page[end..start].contains("<section")
    );
}

#[test]
fn the_pictures_of_a_page_have_names_of_their_own() {
    let mut document = fixtures::patroni_killed();
    let again = document.services[0].activations[0].clone();
    document.services[0].activations.push(again);
    let page = html(&document);
    for start in 1..=2 {
        let name =
            format!("role=\"region\" aria-label=\"Timeline of patroni.service, start {start}\"");
        assert_eq!(page.matches(&name).count(), 1, "{name}");
    }
}

#[test]
fn an_alert_without_evidence_has_no_heading_for_it() {
    let mut document = fixtures::patroni_killed();
    let headings = |document: &Document| html(document).matches("<dt>evidence</dt>").count();
    assert_eq!(headings(&document), 1);
    document.services[0].activations[0].alerts[0].events.clear();
    assert_eq!(headings(&document), 0);
}

#[test]
fn a_document_without_a_start_says_so_in_every_format() {
    let empty = document(Vec::new());
    for text in [svg(&empty), html(&empty)] {
        assert!(text.contains("Nothing was seen"), "{text}");
    }
    assert_eq!(events(&empty), Vec::<Value>::new());
}

#[test]
fn a_signal_is_a_flow_from_its_sender_to_its_target() {
    let events = events(&fixtures::patroni_killed());
    let flow = |direction: &str| {
        events
            .iter()
            .find(|event| event[direction] == true)
            .unwrap_or_else(|| panic!("{direction}"))
    };
    let (out, into) = (flow("flow_out"), flow("flow_in"));
    assert_eq!(out["bind_id"], into["bind_id"]);
    assert_eq!(into["pid"], 4711);
    assert_ne!(out["pid"], into["pid"]);
    assert_eq!(into["name"], "HUP killed");
}

#[test]
fn slices_of_a_track_are_nested_or_apart() {
    for document in [fixtures::patroni_killed(), fixtures::good_start(), many(3)] {
        let events = events(&document);
        let slices: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        assert!(slices.len() > 3);
        let of = |slice: &Value| {
            let from = slice["ts"].as_f64().unwrap();
            (from, from + slice["dur"].as_f64().unwrap())
        };
        for (index, one) in slices.iter().enumerate() {
            assert!(of(one).0 <= of(one).1);
            for other in &slices[index + 1..] {
                if (&one["pid"], &one["tid"]) != (&other["pid"], &other["tid"]) {
                    continue;
                }
                let ((from, to), (later, end)) = (of(one), of(other));
                let is_apart = to <= later || end <= from;
                let is_nested = from <= later && end <= to || later <= from && to <= end;
                assert!(is_apart || is_nested, "{one} {other}");
            }
        }
    }
}

#[test]
fn a_pid_that_is_used_again_has_two_lanes() {
    let mut document = fixtures::patroni_killed();
    let start = &mut document.services[0].activations[0];
    let child = process(9000, "first");
    let exit = |process| What::Exit { process, signal: None, code: Some(0), core_dumped: false };
    let fork = |process| What::Fork { process, parent: fixtures::process(4711, "patroni") };
    start.events = vec![
        at(1.0, fork(child.clone())),
        at(2.0, exit(child.clone())),
        at(3.0, fork(process(9000, "second"))),
        at(4.0, exit(process(9000, "second"))),
    ];
    start.alerts.clear();
    let text = svg(&document);
    assert!(text.contains(">first[9000]<") && text.contains(">second[9000]<"), "{text}");
}

#[test]
fn the_worst_starts_are_drawn_when_there_is_no_room_for_all() {
    let mut document = many(20);
    let last = document.services.len() - 1;
    let mut warned = document.services[last].clone();
    warned.name = "warned.service".into();
    warned.activations[0].alerts[0].severity = Severity::Warning;
    document.services.insert(15, warned);
    let text = svg(&document);
    assert!(text.contains("warned.service") && text.contains("error[reload-before-handler]"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_document_gives_a_picture_that_is_xml_and_trace_events_that_are_json(
        document in arbitrary::document(),
    ) {
        check_xml(&svg(&document));
        for event in events(&document) {
            prop_assert!(event["ts"].is_null() || event["ts"].as_f64().is_some(), "{}", event);
            prop_assert!(event["dur"].is_null() || event["dur"].as_f64() >= Some(0.0), "{}", event);
        }
    }
}
