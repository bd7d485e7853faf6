//! The terminal report, as people see it.

use std::collections::BTreeSet;

use super::fixtures::{self, all};
use crate::{
    model::{
        document::{
            Activation, Document, Exposure, ExposureKind, OutcomeState, Owner, ProcessOutcome,
            Service,
        },
        event::{DispositionKind, Effect, Event, Fate, Refusal, What},
        signal::Signal,
        unit::UnitState,
    },
    report::{Format, Style, render, text},
};

fn table(document: &Document, width: u16, color: bool) -> String {
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
fn the_headline_names_the_signal_where_the_unit_has_no_reload() {
    let headline = |exec_reload: Option<&[&str]>, service_type: &str| {
        let mut document = fixtures::patroni_killed();
        let unit = document.services[0].unit.get_or_insert_default();
        unit.exec_reload = exec_reload.map(|it| it.iter().map(|it| (*it).to_owned()).collect());
        unit.service_type = Some(service_type.to_owned());
        for event in &mut document.services[0].activations[0].events {
            if let What::Signal(sent) = &mut event.what {
                sent.effect = Some(Effect::Ended);
            }
        }
        table(&document, 300, false).lines().next().unwrap().to_owned()
    };
    let none = headline(Some(&[]), "simple");
    assert!(none.contains(", ended by HUP [1 error]"), "{none}");
    for (exec_reload, service_type) in [
        (Some(&["/bin/kill -HUP $MAINPID"][..]), "simple"),
        (Some(&[]), "notify-reload"),
        (None, "simple"),
    ] {
        let its = headline(exec_reload, service_type);
        assert!(its.contains(", ended by its reload [1 error]"), "{its}");
    }
}

#[test]
fn a_signal_is_the_reload_of_a_unit_whose_command_may_send_any_while_systemd_reloads_alone() {
    let headline = |state: &str| {
        let mut document = fixtures::patroni_killed();
        let service = &mut document.services[0];
        let unit = service.unit.get_or_insert_default();
        (unit.exec_reload, unit.reload_signal) = (Some(vec!["/bin/ctl replace".to_owned()]), None);
        let events = &mut service.activations[0].events;
        events.retain(|event| !matches!(event.what, What::Systemd { .. }));
        for event in events.iter_mut() {
            if let What::Signal(sent) = &mut event.what {
                sent.effect = Some(Effect::Ended);
            }
        }
        let (state, sub_state) = (state.to_owned(), None);
        let what = What::Systemd { state, sub_state, result: None, reload_result: None };
        events.insert(0, Event { at_ns: events[0].at_ns, what });
        // The alert's evidence are events by their places.
        service.activations[0].alerts.clear();
        table(&document, 300, false).lines().next().unwrap().to_owned()
    };
    let (during, otherwise) = (headline("reloading"), headline("active"));
    assert!(during.contains(", ended by its reload"), "{during}");
    assert!(otherwise.contains(", ended by HUP"), "{otherwise}");
}

#[test]
fn what_dies_of_a_signal_that_it_never_handles_is_not_told_as_early() {
    let headline = |id: &str| {
        let mut document = fixtures::patroni_killed();
        document.services[0].activations[0].alerts[0].id = id.to_owned();
        table(&document, 300, false).lines().next().unwrap().to_owned()
    };
    let early = headline("reload-before-handler");
    assert!(early.contains("killed by HUP 311 ms after exec, before it had a handler"), "{early}");
    let never = headline("reload-never-handled");
    assert!(never.contains("after exec, which it has no handler for"), "{never}");
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
fn the_reload_of_a_main_process_that_another_took_the_place_of_is_on_the_strip() {
    let strip = |effect: Effect| {
        let mut document = fixtures::good_start();
        let start = &mut document.services[0].activations[0];
        for event in &mut start.events {
            if let What::Signal(sent) = &mut event.what {
                sent.target.pid += 1;
                sent.effect = Some(effect);
            }
        }
        table(&document, 80, false).contains("none sent")
    };
    assert!(!strip(Effect::Replaced));
    assert!(strip(Effect::LostProcess));
}

#[test]
fn what_runs_in_a_unit_that_systemd_has_as_down_is_told_with_that() {
    let title = |state: &str| {
        let mut document = fixtures::good_start();
        let state = UnitState { active_state: state.to_owned(), ..UnitState::default() };
        document.services[0].activations[0].systemd = Some(state);
        table(&document, 120, false).lines().next().unwrap().to_owned()
    };
    assert!(title("inactive").contains("running, but systemd has the unit as inactive"));
    assert!(title("failed").contains("running, but systemd has the unit as failed"));
    assert!(!title("active").contains("systemd"));
}

#[test]
fn what_lasts_to_the_end_is_drawn_to_the_end_though_times_are_saved_to_the_microsecond() {
    let lost = |to_ns: i64| {
        let mut document = fixtures::good_start();
        let capture = &document.capture;
        let start = &document.services[0].activations[0];
        let began = capture.started_at.0.as_microsecond() - start.started_at.0.as_microsecond();
        let end = began * 1_000 + i64::try_from(capture.duration_ns).unwrap();
        let start = &mut document.services[0].activations[0];
        start.exposure =
            vec![Exposure { kind: ExposureKind::Lost, from_ns: 0, to_ns: end + to_ns }];
        table(&document, 80, false).contains("be taken")
    };
    for rounding in [-999, -1, 0, 1, 999] {
        assert!(!lost(rounding), "{rounding} ns");
    }
    assert!(lost(-1_000_000_000), "it took it from then on");
}

#[test]
fn a_service_that_is_being_stopped_is_not_said_to_run_on() {
    for (mut document, words) in [
        (fixtures::good_start(), "being stopped"),
        (fixtures::joined_late(), "already running when the capture began, and is being stopped"),
    ] {
        let said = |document: &Document| table(document, 80, false).replace('\n', " ");
        assert!(!said(&document).contains("stopped"), "{}", said(&document));
        let start = &mut document.services[0].activations[0];
        let state = UnitState { active_state: "deactivating".to_owned(), ..UnitState::default() };
        start.systemd = Some(state);
        assert!(said(&document).contains(words), "{}", said(&document));
    }
}

#[test]
fn a_handler_that_was_there_when_the_capture_joined_came_before_it() {
    let row = |exposure: Vec<Exposure>| {
        let mut document = fixtures::joined_late();
        let start = &mut document.services[0].activations[0];
        (start.milestones.handler_ns, start.exposure) = (None, exposure);
        let table = table(&document, 80, false);
        table.lines().find(|line| line.trim_start().starts_with("handler")).unwrap().to_owned()
    };
    assert!(row(Vec::new()).contains("before the capture"));
    let from_ns = fixtures::joined_late().services[0].activations[0].joined_ns.unwrap();
    let kills = Exposure { kind: ExposureKind::Fatal, from_ns, to_ns: from_ns + 1_000_000 };
    assert!(row(vec![kills]).contains("none since the capture joined"));
    // Another process of the service was looked at first.
    let later = |kind: Option<ExposureKind>, from_ns: i64| {
        let mut document = fixtures::joined_late();
        let start = &mut document.services[0].activations[0];
        start.events[0].at_ns += 100_000;
        start.milestones.handler_ns = None;
        let looked = from_ns + 100_000;
        start.exposure = vec![Exposure { kind: ExposureKind::Unknown, from_ns, to_ns: looked }];
        start.exposure.extend(kind.map(|kind| {
            let to_ns = looked + 1_000_000;
            Exposure { kind, from_ns: looked, to_ns }
        }));
        table(&document, 80, false).contains("before the capture")
    };
    assert!(later(None, from_ns) && !later(Some(ExposureKind::Fatal), from_ns));
    let unknown = Exposure { kind: ExposureKind::Unknown, from_ns, to_ns: from_ns + 1_000_000 };
    assert!(row(vec![unknown]).contains("since when can't be told"));
    let to_the_end = Exposure { to_ns: i64::MAX, ..unknown };
    assert!(row(vec![to_the_end]).contains("none since the capture joined"));
    let mut document = fixtures::joined_late();
    document.services[0].activations[0].milestones.handler_ns = Some(from_ns + 900_000_000);
    assert!(table(&document, 80, false).contains("before the capture"), "it is set anew later");
}

#[test]
fn faults_of_a_virtual_machine_that_it_handles_are_no_signals_that_were_sent() {
    let said = |fate: Fate| {
        let mut document = fixtures::patroni_killed();
        let start = &mut document.services[0].activations[0];
        let is_sent = |event: &&mut Event| matches!(event.what, What::Signal(_));
        let event = start.events.iter_mut().find(is_sent).unwrap();
        let What::Signal(sent) = &mut event.what else { unreachable!() };
        (sent.signal, sent.sender, sent.fate) = ("SEGV".parse().unwrap(), None, fate);
        let table = table(&document, 120, false);
        (
            table.contains("▲SEGV") || table.contains("SEGV killed▲"),
            table.contains("SEGV from the kernel"),
        )
    };
    assert_eq!(said(Fate::Handled), (false, true));
    assert_eq!(said(Fate::Killed), (true, true));
}

#[test]
fn events_that_were_left_out_for_want_of_room_hide_no_alert() {
    let mut document = fixtures::good_start();
    document.capture.complete = false;
    document.services[0].activations[0].omitted = 700;
    assert!(table(&document, 80, false).contains("No alerts."));
    document.services[0].starts_left_out = 1;
    assert!(!table(&document, 80, false).contains("No alerts."));
}

#[test]
fn the_exec_at_which_time_begins_is_shown_of_a_starter_too() {
    let mut document = fixtures::forty_processes();
    let activation = &mut document.services[0].activations[0];
    let starter = activation.events[20].clone();
    activation.milestones.exec_ns = Some(starter.at_ns);
    let shown = crate::report::cut::shown(activation, &BTreeSet::new(), Signal::HUP);
    assert!(shown.contains(&20), "{shown:?}");
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
fn a_code_of_a_service_that_ran_before_the_capture_is_not_taken_for_systemds() {
    let told = |joined: bool| {
        let mut document = fixtures::joined_late();
        let start = &mut document.services[0].activations[0];
        start.joined_ns = start.joined_ns.filter(|_| joined);
        start.milestones.exec_ns = None;
        start.outcome =
            ProcessOutcome { state: OutcomeState::Exited, signal: None, code: Some(217) };
        table(&document, 120, false)
    };
    assert!(told(true).contains("exited with code 217,"), "{}", told(true));
    assert!(told(false).contains("exited with code 217/USER,"), "{}", told(false));
}

#[test]
fn a_start_that_was_over_before_its_main_process_is_told_as_that() {
    let told = |sub: &str, last: &str, result: &str| {
        let mut document = fixtures::restarted();
        let start = &mut document.services[1].activations[0];
        let state = |at_ms: f64, state: &str, sub: &str| {
            let (state, sub_state) = (state.to_owned(), Some(sub.to_owned()));
            fixtures::at(
                at_ms,
                What::Systemd { state, sub_state, result: None, reload_result: None },
            )
        };
        start.events = vec![state(0.5, "activating", sub), state(9.0, last, "dead")];
        let (active_state, result) = (last.to_owned(), Some(result.to_owned()));
        start.systemd = Some(UnitState { active_state, result, ..UnitState::default() });
        start.exposure = vec![Exposure { kind: ExposureKind::Unknown, from_ns: 0, to_ns: 9 }];
        let told = table(&document, 120, false);
        told[told.find("cron.service").unwrap()..].to_owned()
    };
    let failed = told("start-pre", "failed", "exit-code");
    assert!(
        failed
            .contains("cron.service: failed at ExecStartPre=, before its main process (exit-code)"),
        "{failed}"
    );
    assert!(!failed.contains("not all was seen") && !failed.contains("would"), "{failed}");
    let skipped = told("condition", "inactive", "exec-condition");
    assert!(
        skipped.contains("cron.service: not started, as its ExecCondition= has it"),
        "{skipped}"
    );
    let stopped = told("start-pre", "inactive", "success");
    assert!(stopped.contains("cron.service: ended at ExecStartPre="), "{stopped}");
    // It may yet come.
    let goes_on = told("start-pre", "activating", "success");
    assert!(goes_on.contains("cron.service: no main process was seen"), "{goes_on}");
    assert!(goes_on.contains("would"), "{goes_on}");
}

#[test]
fn what_is_stopped_before_its_main_process_has_not_failed_where_the_next_start_is_refused() {
    let told = |first: Option<&str>| {
        let mut document = fixtures::restarted();
        let start = &mut document.services[1].activations[0];
        let state = |at_ms: f64, state: &str, sub: &str, result: Option<&str>| {
            let (state, sub_state) = (state.to_owned(), Some(sub.to_owned()));
            let result = result.map(str::to_owned);
            fixtures::at(at_ms, What::Systemd { state, sub_state, result, reload_result: None })
        };
        start.events = vec![
            state(0.5, "activating", "start-pre", None),
            state(8.0, "inactive", "dead", first),
            state(9.0, "failed", "failed", Some("start-limit-hit")),
        ];
        let (active_state, result) = ("failed".to_owned(), Some("start-limit-hit".to_owned()));
        start.systemd = Some(UnitState { active_state, result, ..UnitState::default() });
        let told = table(&document, 120, false);
        told[told.find("cron.service").unwrap()..].lines().next().unwrap().to_owned()
    };
    assert_eq!(told(None), "cron.service: ended at ExecStartPre=, before its main process");
    let failed = told(Some("exit-code"));
    assert!(
        failed.contains("failed at ExecStartPre=, before its main process (exit-code)"),
        "{failed}"
    );
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

#[test]
fn what_is_not_known_of_a_mask_is_not_told_as_blocked() {
    let mut document = fixtures::joined_late();
    let event = &mut document.services[0].activations[0].events[0];
    if let What::Disposition { disposition, mask_unknown, .. } = &mut event.what {
        (*disposition, *mask_unknown) = (DispositionKind::Blocked, true);
    }
    let table = table(&document, 120, false);
    let words =
        "when the capture joined: a thread waits in sigwait; whether HUP is blocked is not seen";
    assert!(table.contains(words), "{table}");
}
