//! Bad input that needs no privileges to be told: one sentence, the right exit status.

use std::{fs, process::Command};

use assert_cmd::cargo::cargo_bin;

use crate::support::{file, sigready};

/// Exit status and stderr.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = sigready(arguments);
    assert!(output.stdout.is_empty(), "nothing on stdout: {output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_unknown_signal_is_named_with_what_to_write_instead() {
    for arguments in [
        &["run", "--signal", "HUPP", "--", "true"][..],
        &["run", "--send", "HUPP@1s", "--", "true"],
        &["trace", "--signal", "99", "x"],
    ] {
        let (status, stderr) = refused(arguments);
        assert_eq!(status, Some(2), "{stderr}");
        assert!(stderr.contains("is not a signal") && stderr.contains("SIGUSR1"), "{stderr}");
    }
}

#[test]
fn a_signal_that_no_process_can_take_is_no_reload_signal() {
    for arguments in [
        &["run", "--signal", "KILL", "--", "true"][..],
        &["run", "--record", "SIGSTOP", "--", "true"],
        &["trace", "--signal", "19", "x"],
    ] {
        let (status, stderr) = refused(arguments);
        assert_eq!(status, Some(2), "{stderr}");
        assert!(stderr.contains("no process can catch, block or ignore"), "{stderr}");
    }
}

#[test]
fn a_command_that_cannot_be_run_is_told_before_anything_is_attached() {
    let directory = tempfile::tempdir().unwrap();
    let plain = file(directory.path(), "plain", "x");
    for (command, reason) in [
        ("no-such-program", "no such program in PATH"),
        ("/no/such/program", "No such file"),
        (directory.path().to_str().unwrap(), "it is a directory"),
        (plain.to_str().unwrap(), "not executable"),
    ] {
        let (status, stderr) = refused(&["run", "--", command]);
        assert_eq!(status, Some(2), "{stderr}");
        assert!(stderr.contains(reason) && stderr.contains(command), "{stderr}");
    }
}

#[test]
fn an_unknown_user_unit_pid_or_cgroup_is_named() {
    for (arguments, reason) in [
        (&["run", "--user", "nobody-such", "--", "true"][..], "no user 'nobody-such'"),
        (&["trace", "--user", "nobody-such", "x"], "no user 'nobody-such'"),
        (&["trace", "--user", "nobody", "x"], "no systemd of user 'nobody' runs"),
        (&["lint", "--user", "nobody-such"], "no user 'nobody-such'"),
        (&["lint", "--root", "/no/such"], "cannot open /no/such"),
        (&["trace", "no-such-unit"], "no unit 'no-such-unit.service'"),
        (&["trace", "bad[glob"], "not a unit name or glob"),
        (&["trace", "--pid", "4194304"], "no process 4194304"),
        (&["trace", "--pid", "4194305"], "4194305 is not in 1..=4194304"),
        (&["trace", "--cgroup", "/no/such"], "no cgroup /no/such"),
        (&["explain", "reload-before-handle"], "reload-before-handler"),
    ] {
        let (status, stderr) = refused(arguments);
        assert_eq!(status, Some(2), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    }
}

#[test]
fn what_can_be_nothing_is_refused_with_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let plain = file(directory.path(), "plain", "x");
    let bus = format!("unix:path={}", plain.display());
    for (arguments, reason) in [
        (&["trace", "*.[st]ocket"][..], "a socket unit"),
        (&["trace", "x.Service", "--wait"], "in small letters"),
        (&["trace", "x.automount"], "an automount unit"),
        (&["lint", "x.socket"], "a socket unit"),
        (&["lint", "--running", "x.timer"], "a timer unit"),
        (&["trace", "x", "--wait", "--bus", "foo"], "not a D-Bus address"),
        (&["trace", "x", "--wait", "--bus", "tcp:host=127.0.0.1,port=1"], "a Unix socket"),
        (&["trace", "x", "--wait", "--bus", "unix:path=%00"], "zero byte"),
        (&["trace", "x", "--wait", "--bus", &bus], "is no socket"),
        (&["trace", "x", "--wait", "--bus", "unix:path=/"], "is no socket"),
        (&["trace", "x", "--wait", "--duration", "9223372036854775807s"], "10 years"),
        (&["run", "--timeout", "9223372036854775807s", "--", "true"], "10 years"),
        (&["run", "--send", "HUP@ready+9223372036854775807s", "--", "true"], "10 years"),
        (&["run", "--main", "", "--", "true"], "fits no process"),
        (&["trace", "--all", "--main", ""], "fits no process"),
        (&["lint", "/proc/kmsg"], "/proc/kmsg"),
        (&["report", "/proc/kmsg"], "/proc/kmsg"),
    ] {
        let (status, stderr) = refused(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}

#[test]
fn more_units_than_the_kernel_side_has_room_for_are_refused_with_their_number() {
    let names: Vec<String> = (0..1_100).map(|n| format!("x{n}")).collect();
    let mut arguments = vec!["trace", "--wait", "--duration", "1ms"];
    arguments.extend(names.iter().map(String::as_str));
    let (status, stderr) = refused(&arguments);
    assert_eq!(status, Some(2), "{stderr}");
    assert!(stderr.contains("1100 units are named, and no more than 1024"), "{stderr}");
}

#[test]
fn what_is_said_of_long_arguments_is_short() {
    let long = "A".repeat(100_000);
    let path = format!("/no/{long}");
    for arguments in [
        &["trace", &long][..],
        &["trace", "--cgroup", &long],
        &["trace", "--pid", &long],
        &["trace", "x", "--user", &long],
        &["trace", "x", "--root", &path],
        &["trace", "x", "--wait", "--bus", &long],
        &["trace", &format!("[{}", &long[..240])],
        &["run", &long],
        &["run", &path],
        &["run", "--user", &long, "--", "true"],
        &["run", "--main", &format!("[{long}"), "--", "true"],
        &["run", "--exec-reload", &format!("\"{long}"), "--", "true"],
        &["run", "--signal", &long, "--", "true"],
        &["run", "--send", &long, "--", "true"],
        &["explain", &long],
        &["report", &long],
        &["lint", &long],
        &["lint", &path],
        &["lint", "--root", &path],
        &["lint", "--user", &long],
        &["doctor", &long],
        &[&long],
    ] {
        let (status, stderr) = refused(arguments);
        assert_eq!(status, Some(2), "{:?}: {stderr:.300}", arguments[0]);
        assert!(stderr.len() < 1_500, "{:.40?}: {}", arguments, stderr.len());
    }
}

#[test]
fn what_has_no_end_and_is_no_report_is_refused_at_once() {
    let report = Command::new(cargo_bin("sigready"))
        .args(["report", "-"])
        .stdin(fs::File::open("/dev/zero").unwrap())
        .output()
        .unwrap();
    assert_eq!(report.status.code(), Some(2));
    let stderr = String::from_utf8(report.stderr).unwrap();
    assert!(stderr.contains("it is not a sigready capture"), "{stderr}");
}

#[test]
fn too_many_signals_to_record_are_refused_with_the_limit() {
    let mut arguments = vec!["run"];
    for signal in ["USR1", "USR2", "INT", "TERM", "QUIT", "ALRM", "CONT"] {
        arguments.extend(["--record", signal]);
    }
    arguments.extend(["--", "true"]);
    let (status, stderr) = refused(&arguments);
    assert_eq!(status, Some(2), "{stderr}");
    assert!(stderr.contains("the limit is 7"), "{stderr}");
}

#[test]
fn a_file_that_is_no_report_is_refused_with_what_is_wrong_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let put =
        |name: &str, text: &str| file(directory.path(), name, text).to_string_lossy().into_owned();
    for path in [
        put("empty", ""),
        put("cut.json", "{\"schema\": \"sigready/timeline/v1\", \"tool\": {"),
        put("foreign.json", "{\"hello\": 1}"),
        put("array.json", "[1, 2]"),
        put("text", "hello"),
        put("future.json", "{\"schema\": \"sigready/timeline/v9\"}"),
        put("binary", "\u{0}\u{1}\u{1b}[31m"),
        put("cut.jsonl", "{\"record\":\"capture\"}\n"),
        "/no/such/file".to_owned(),
        directory.path().to_string_lossy().into_owned(),
    ] {
        let (status, stderr) = refused(&["report", &path]);
        assert_eq!(status, Some(2), "{path}: {stderr}");
        assert!(stderr.contains(&path), "{stderr}");
        assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn explain_lists_every_alert_and_finding_and_prints_each_page() {
    let list = sigready(&["explain"]);
    assert_eq!(list.status.code(), Some(0));
    let list = String::from_utf8(list.stdout).unwrap();
    let lines = || list.lines().filter(|line| line.starts_with(' '));
    assert_eq!(lines().count(), 19 + 9, "{list}");
    for line in lines() {
        let id = line.split_whitespace().next().unwrap();
        let page = sigready(&["explain", id]);
        assert!(String::from_utf8(page.stdout).unwrap().contains(id));
    }
}

#[test]
fn help_has_examples_and_the_exit_statuses() {
    let help = String::from_utf8(sigready(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("Exit status:"), "{help}");
    for command in ["run", "trace", "lint", "report", "doctor", "explain"] {
        let help = String::from_utf8(sigready(&[command, "--help"]).stdout).unwrap();
        assert!(help.contains("Examples:"), "{command}: {help}");
    }
}
