//! What is found in units, by their text.

use super::*;
use crate::systemd::unit_files::parse;

/// A unit with this section.
fn subject(service: &str) -> Subject {
    let text = format!("[Service]\nExecStart=/usr/bin/relayd\n{service}");
    let (facts, commands) = parse("a.service", &text).unwrap();
    Subject { name: "a.service".to_owned(), files: Vec::new(), facts, commands }
}

/// One that reloads by a signal to its main process.
fn unit(service_type: &str, restart: &str, signal: &str) -> String {
    let reload = if signal.is_empty() {
        String::new()
    } else {
        format!("ExecReload=/bin/kill -{signal} $MAINPID\n")
    };
    format!("Type={service_type}\nRestart={restart}\n{reload}")
}

fn all(service: &str) -> Vec<Finding> {
    findings(&Case::new(&subject(service), &system()))
}

fn system() -> Place {
    Place { directory: "/etc/systemd/system".into(), options: String::new() }
}

fn ids(service: &str) -> Vec<(String, Severity)> {
    all(service).into_iter().map(|it| (it.id, it.severity)).collect()
}

fn unknown(service: &str) -> Option<String> {
    Case::new(&subject(service), &system()).unknown()
}

fn found(id: &str, severity: Severity) -> Vec<(String, Severity)> {
    vec![(id.to_owned(), severity)]
}

#[test]
fn a_simple_service_that_reloads_by_hup_and_stays_down_is_an_error() {
    for restart in ["no", "on-failure", "on-abnormal", "on-abort"] {
        let simple = unit("simple", restart, Some(Signal::HUP));
        assert_eq!(ids(&simple), found("reload-not-awaited", Severity::Error), "{restart}");
    }
}

#[test]
fn one_that_is_restarted_is_a_warning() {
    let always = unit("exec", "always", Some(Signal::HUP));
    assert_eq!(ids(&always), found("reload-not-awaited", Severity::Warning));
    let usr1 = unit("simple", "on-failure", "USR1".parse().ok());
    assert_eq!(ids(&usr1), found("reload-not-awaited", Severity::Warning));
}

#[test]
fn what_waits_for_ready_or_reloads_in_another_way_is_not_found() {
    assert_eq!(ids(&unit("notify", "no", Some(Signal::HUP))), []);
    assert_eq!(ids(&unit("notify-reload", "no", Some(Signal::HUP))), []);
    assert_eq!(ids(&unit("simple", "no", None)), []);
    assert_eq!(ids(&unit("forking", "no", Some(Signal::HUP))), []);
    assert_eq!(ids(&UnitFacts::default()), []);
}

#[test]
fn a_reload_that_sends_term_is_a_stop() {
    let term = unit("notify", "always", Some(Signal::TERM));
    assert_eq!(ids(&term), found("reload-ends-it", Severity::Error));
}

#[test]
fn the_drop_in_is_one_that_changes_the_prediction() {
    let simple = unit("simple", "on-failure", Some(Signal::HUP));
    let finding = &findings("a.service", &simple, &system())[0];
    let drop_in = finding.drop_in.as_ref().unwrap();
    assert_eq!(drop_in.path, "/etc/systemd/system/a.service.d/50-reload.conf");
    assert!(drop_in.text.starts_with("[Service]\n"), "{}", drop_in.text);
    assert!(drop_in.text.contains("\nRestartForceExitStatus=SIGHUP\n"), "{}", drop_in.text);
}

#[test]
fn a_users_unit_is_mended_in_their_own_directory() {
    let place = Place {
        directory: "/home/ada/.config/systemd/user".into(),
        options: "--user ada".to_owned(),
    };
    let simple = unit("simple", "on-failure", Some(Signal::HUP));
    let finding = &findings("a.service", &simple, &place)[0];
    let path = &finding.drop_in.as_ref().unwrap().path;
    assert_eq!(path, "/home/ada/.config/systemd/user/a.service.d/50-reload.conf");
    let command = "sigready trace --user ada --restart --reload-during-start a.service";
    assert!(finding.mend.ends_with(command), "{}", finding.mend);
}

#[test]
fn notify_access_is_too_wide_for_any_process_and_too_narrow_for_a_shells_child() {
    let all = UnitFacts { notify_access: Some("all".to_owned()), ..unit("notify", "no", None) };
    assert_eq!(ids(&all), found("notify-access-wide", Severity::Warning));
    let start = |line: &str| UnitFacts {
        exec_start: Some(vec![line.to_owned()]),
        ..unit("notify", "no", None)
    };
    let narrow = found("notify-access-narrow", Severity::Warning);
    assert_eq!(ids(&start("/bin/sh -c prepare; daemon")), narrow);
    assert_eq!(ids(&start("/bin/sh -c prepare; exec daemon")), []);
    assert_eq!(ids(&start("/usr/bin/daemon -c x")), []);
}

#[test]
fn a_notify_unit_whose_start_has_no_limit_is_named() {
    let limit = |limit| UnitFacts { timeout_start_ns: limit, ..unit("notify", "no", None) };
    assert_eq!(ids(&limit(Some(0))), found("start-without-limit", Severity::Warning));
    assert_eq!(ids(&limit(Some(90_000_000_000))), []);
    assert_eq!(ids(&limit(None)), []);
    let simple = UnitFacts { timeout_start_ns: Some(0), ..unit("simple", "no", None) };
    assert_eq!(ids(&simple), []);
}

#[test]
fn the_worst_unit_comes_first() {
    let units = vec![
        ("b.service".to_owned(), Vec::new(), unit("simple", "always", Some(Signal::HUP))),
        ("c.service".to_owned(), Vec::new(), unit("simple", "no", Some(Signal::HUP))),
        ("a.service".to_owned(), Vec::new(), unit("simple", "always", Some(Signal::HUP))),
        ("d.service".to_owned(), Vec::new(), unit("oneshot", "no", None)),
    ];
    let lint = Lint::of(units, &system());
    let names: Vec<_> = lint.units.iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(names, ["c.service", "a.service", "b.service"]);
    assert_eq!(lint.examined, 4);
}
