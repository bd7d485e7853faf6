//! The terminal report, as people see it.

use super::fixtures::{self, all};
use crate::{
    model::{
        document::{Activation, Owner, Service},
        event::{Refusal, What},
    },
    report::{Format, Style, render, text},
};

fn table(document: &crate::model::document::Document, width: u16, color: bool) -> String {
    render(document, Format::Table, Style { color, width })
}

#[test]
fn every_fixture_reads_well_in_80_and_120_columns() {
    for (name, document) in all() {
        for width in [80, 120] {
            insta::assert_snapshot!(format!("{name}_{width}"), table(&document, width, false));
        }
    }
}

#[test]
fn why_a_message_did_not_arrive_is_said_once() {
    let row = |result, refusal, why: &str| {
        let mut document = fixtures::patroni_killed();
        let mut message = fixtures::ready(&fixtures::process(7, "x"));
        message.result = result;
        message.accepted = Some(false);
        message.refusal = Some(refusal);
        message.problem = Some(why.to_owned());
        let events = &mut document.services[0].activations[0].events;
        *events = vec![fixtures::at(1.0, What::Notify(Box::new(message)))];
        let table = table(&document, 300, false);
        let line =
            table.lines().find(|line| line.contains("READY=1 ") || line.contains("READY=1;"));
        line.unwrap_or_default().split_once("READY=1").unwrap_or_default().1.to_owned()
    };
    let gone = "the send failed: No such file or directory";
    assert_eq!(row(2, Refusal::Send, gone), "; the send failed: No such file or directory");
    assert_eq!(row(0, Refusal::NotifyAccess, "NotifyAccess=none"), "; refused: NotifyAccess=none");
}

#[test]
fn the_header_says_whose_unit_it_is() {
    let header = |owner| {
        let mut document = fixtures::patroni_killed();
        document.services[0].owner = owner;
        let table = table(&document, 300, false);
        table.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let claimed = header(Some(Owner::Claimed { uid: 1000 }));
    assert!(claimed.contains("patroni.service (claimed by uid 1000): killed"), "{claimed}");
    assert!(claimed.contains("no unit of a systemd that root runs"), "{claimed}");
    for (owner, words) in [
        (Owner::Host, "of the host, Type="),
        (Owner::Container { uid: 0 }, "of a container, Type="),
        (Owner::Container { uid: 7 }, "of a container that uid 7 runs, Type="),
        (Owner::User { uid: 7 }, "of uid 7, Type="),
        (Owner::Unmanaged, "kept by no systemd, Type="),
    ] {
        let header = header(Some(owner));
        assert!(header.contains("patroni.service: killed"), "{header}");
        assert!(header.contains(words), "{header}");
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for (name, document) in all() {
        for width in [0, 60, 61, 79, 80, 120, 300] {
            for line in table(&document, width, false).lines() {
                assert!(text::width(line) <= usize::from(width.max(60)), "{name} {width}: {line}");
            }
        }
    }
}

#[test]
fn colours_change_nothing_but_the_colour() {
    for (name, document) in all() {
        let coloured = table(&document, 80, true);
        let plain = table(&document, 80, false);
        assert!(!plain.contains('\x1b'), "{name}");
        assert!(coloured.contains("\x1b["), "{name}");
        assert_eq!(without_colours(&coloured), plain, "{name}");
    }
}

/// Takes out SGR sequences, and nothing else that begins with an escape.
fn without_colours(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        out.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap();
        assert_eq!(&after[end..=end], "m", "not a colour: {after:?}");
        rest = &after[end + 1..];
    }
    out + rest
}

#[test]
fn the_evidence_of_an_alert_is_shown_however_long_the_list() {
    let mut document = fixtures::forty_processes();
    let activation = &mut document.services[0].activations[0];
    activation.alerts[0].events = vec![40, 41, 60];
    let table = table(&document, 80, false);
    assert_eq!(table.matches('►').count(), 3);
    assert!(table.contains("more events, see --format json"));
}

#[test]
fn with_many_starts_those_with_alerts_are_named_again_at_the_end() {
    let table = table(&fixtures::restarted(), 120, false);
    let (_, end) = table.split_once("In all: 2 services, 3 starts, 1 error, 0 warnings.").unwrap();
    assert!(end.contains("patroni.service, start 1 of 2: killed by HUP"), "{end}");
    assert!(!end.contains("start 2 of 2"), "{end}");
}

#[test]
fn without_a_main_process_a_strip_does_not_say_that_anything_is_taken() {
    let strip = |has_main: bool| {
        let mut document = fixtures::good_start();
        let start = &mut document.services[0].activations[0];
        if !has_main {
            (start.main_process, start.exposure) = (None, Vec::new());
        }
        let table = table(&document, 80, false);
        (table.contains("─ be taken"), table.contains("? not seen"))
    };
    assert_eq!(strip(true), (true, false));
    assert_eq!(strip(false), (false, true));
}

#[test]
fn no_alerts_is_said_only_where_all_was_seen() {
    for (name, mut document) in all() {
        document
            .services
            .iter_mut()
            .flat_map(|service| &mut service.activations)
            .for_each(|activation| activation.alerts.clear());
        let says_so = table(&document, 80, false).contains("No alerts.\n");
        let all_seen = !matches!(name, "joined_late" | "nothing_seen" | "no_start_seen");
        assert_eq!(says_so, all_seen, "{name}");
    }
    // One service of three was not seen, and the table says so of that one.
    assert!(table(&fixtures::restarted(), 80, false).contains("its main process was not seen"));
    let mut document = fixtures::good_start();
    document.capture.complete = false;
    assert!(!table(&document, 80, false).contains("No alerts."));
    document.services.extend(fixtures::joined_late().services);
    let unwrapped = table(&document, 80, false).replace('\n', " ");
    assert!(unwrapped.contains("other services were running before it"), "{unwrapped}");
}

#[test]
fn of_very_many_services_a_thousand_are_named_and_the_others_counted() {
    let mut document = fixtures::patroni_killed();
    let start = document.services[0].activations.remove(0);
    let service = document.services[0].clone();
    document.services = (0..1_002)
        .map(|index| Service { name: format!("s{index}.service"), ..service.clone() })
        .collect();
    let nothing = table(&document, 80, false).replace('\n', " ");
    assert!(nothing.contains("s999.service, 2 more."), "{nothing}");
    for service in &mut document.services {
        // Their events are told elsewhere.
        service.activations = vec![Activation { events: Vec::new(), ..start.clone() }];
    }
    let many = table(&document, 80, false);
    assert_eq!(many.matches("  s999.service: ").count(), 1);
    assert!(!many.contains("  s1000.service: "), "its headline is above, and not again");
    assert!(
        many.contains("\n  … and 2 more starts with alerts\n"),
        "{}",
        &many[many.len() - 999..]
    );
}
