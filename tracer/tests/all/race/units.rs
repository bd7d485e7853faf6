//! `race --unit`: units of a container whose systemd is the real one, raced from outside.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

use super::Raced;
use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root};

/// A handler after 60 ms, and READY=1 a little later. What comes before it as ExecStartPre= is
/// stopped by HUP too, and a child of it as well.
const SERVICE: &str = "\
import os, signal, socket, sys, time
time.sleep(0.06)
signal.signal(signal.SIGHUP, lambda *a: None)
time.sleep(0.03)
if 'NOTIFY_SOCKET' in os.environ:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect(os.environ['NOTIFY_SOCKET'])
    s.send(b'READY=1')
while True:
    time.sleep(60)
";

const SIMPLE: &str = "\
[Service]
ExecStartPre=/bin/sh -c 'sleep 0.02; /bin/true'
ExecStartPre=/bin/true
ExecStart=/usr/bin/python3 /shared/service.py
ExecStartPost=/bin/true
ExecReload=/bin/kill -HUP $MAINPID
ExecStopPost=/bin/true
Restart=always
RestartSec=500ms
StartLimitIntervalSec=1h
StartLimitBurst=2
";

const NOTIFY: &str = "\
[Service]
Type=notify
ExecStart=/usr/bin/python3 /shared/service.py
ExecReload=/bin/kill -HUP $MAINPID
";

/// A container with both units.
fn container(root: std::path::PathBuf, hierarchy: Hierarchy) -> Container {
    let files = [("service.py", SERVICE), ("plain.service", SIMPLE), ("told.service", NOTIFY)];
    let scenario = format!(
        "cp /shared/plain.service /shared/told.service /run/systemd/system/
         systemctl daemon-reload
         {ANSWERING}"
    );
    let container = Container::boot_in(root, hierarchy, &scenario, &files);
    container.wait_for("up");
    container
}

/// The words of a race of a unit of it.
fn words(container: &Container, unit: &str, more: &[&str]) -> Vec<String> {
    let root = format!("/proc/{}/root", container.init());
    let fixed = ["--color", "never", "race", "--unit", unit, "--root", &root];
    let times = ["--quiet-time", "400ms", "--settle", "100ms"];
    [&fixed[..], &times, more].concat().into_iter().map(str::to_owned).collect()
}

pub fn race(container: &Container, unit: &str, more: &[&str]) -> Raced {
    let more = [&["--yes", "--format", "json"], more].concat();
    let output = Command::new(cargo_bin("sigready"))
        .args(words(container, unit, &more))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let race = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Raced { status: output.status.code(), stderr, race }
}

fn state(container: &Container, unit: &str) -> String {
    container.ask(&format!("systemctl is-active {unit}")).trim().to_owned()
}

/// The first interval, the one before the handler, and those after it.
fn holes_are_found(container: &Container, by: &str) {
    let raced = race(container, "plain", &["--by", by]);
    let outcomes = raced.outcomes();
    assert_eq!(raced.status, Some(3), "{}\n{outcomes:?}", raced.stderr);
    let (last, before) = outcomes.split_last().unwrap();
    assert!(last.0.ends_with(".action1") && last.1 == "taken", "{by}: {outcomes:?}");
    assert_eq!(outcomes[0], ("HUP@fork", "killed"), "{by}");
    assert!(before.len() >= 2, "{by}: {outcomes:?}");
    assert!(before.iter().all(|(_, did)| *did == "killed"), "{by}: {outcomes:?}");
    // It is active once ExecStartPost= is done: until then systemd holds reloads back.
    let active = raced.race["untouched"]["active_ns"].as_i64().unwrap();
    for interval in raced.all() {
        let counts = interval["to_ns"].as_i64().unwrap() > active;
        assert_eq!(interval["counts"], counts, "{interval:#}");
    }
    let tried = &raced.interval("HUP@fork")["tries"][0];
    let what = tried["what"].as_str().unwrap();
    assert!(what.contains("systemd takes that for a clean end"), "{what}");
    assert_eq!(raced.race["unit"], "plain.service");
    let process = raced.race["untouched"]["process"]["exe"].as_str().unwrap();
    assert!(process.contains("python3"), "{process}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_finds_its_hole_and_leaves_it_as_it_was() {
    let container = container(root(), Hierarchy::Unified);
    assert_eq!(state(&container, "plain"), "inactive");
    holes_are_found(&container, "kernel");
    assert_eq!(state(&container, "plain"), "inactive");
    container.ask("systemctl start plain");
    holes_are_found(&container, "kill");
    assert_eq!(state(&container, "plain"), "active");
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_begins_at_its_fork_where_systemd_executes_a_program_of_its_own_first() {
    for root in [newer_root(), newest_root()] {
        let container = container(root, Hierarchy::Unified);
        holes_are_found(&container, "kernel");
        container.over();
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_follows_its_type() {
    let container = container(root(), Hierarchy::Unified);
    let raced = race(&container, "told", &[]);
    assert_eq!(raced.status, Some(0), "{}\n{:?}", raced.stderr, raced.outcomes());
    assert_eq!(raced.race["service_type"], "notify");
    let bad: Vec<_> = raced.all().filter(|it| it["bad"] == true).collect();
    assert!(bad.len() >= 2 && bad.iter().all(|it| it["counts"] == false), "{bad:#?}");
    assert_eq!(raced.outcomes().last().unwrap().1, "taken");
    let untouched = &raced.race["untouched"];
    let (ready, active) = (&untouched["ready_ns"], &untouched["active_ns"]);
    assert!(active.as_i64().unwrap() > ready.as_i64().unwrap(), "{untouched:#}");
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_needs_to_be_agreed_to() {
    let container = container(root(), Hierarchy::Unified);
    let output = Command::new(cargo_bin("sigready"))
        .args(words(&container, "plain", &[]))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("plain.service is inactive") && stderr.contains("--yes"), "{stderr}");
    assert_eq!(
        container.ask("systemctl show -p NRestarts -p ExecMainPID plain").lines().last(),
        Some("ExecMainPID=0")
    );
    for (unit, why) in [("nothing", "no unit file"), ("systemd-tmpfiles-setup", "oneshot")] {
        let raced = race(&container, unit, &[]);
        assert_eq!(raced.status, Some(2), "{unit}: {}", raced.stderr);
        assert!(raced.stderr.contains(why), "{unit}: {}", raced.stderr);
    }
    container.over();
}

/// Ends a race of a unit by a signal, at some moment of it.
fn ended_by(container: &Container, signal: nix::sys::signal::Signal, after: Duration) {
    let more = ["--yes", "--by", "kill", "--repeat", "50"];
    let mut tracer = Command::new(cargo_bin("sigready"))
        .args(words(container, "plain", &more))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(after);
    let pid = nix::unistd::Pid::from_raw(tracer.id().cast_signed());
    nix::sys::signal::kill(pid, signal).unwrap();
    tracer.wait().unwrap();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_that_is_interrupted_leaves_it_as_it_was() {
    let container = container(root(), Hierarchy::Unified);
    container.ask("systemctl start plain");
    for after in [2_000, 3_300] {
        ended_by(&container, nix::sys::signal::Signal::SIGINT, Duration::from_millis(after));
        assert_eq!(state(&container, "plain"), "active");
    }
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_that_is_killed_leaves_no_process_of_it_stopped() {
    let container = container(root(), Hierarchy::Unified);
    for step in 0..6 {
        let after = Duration::from_millis(2_500 + 137 * step);
        ended_by(&container, nix::sys::signal::Signal::SIGKILL, after);
        let limit = Instant::now() + Duration::from_secs(5);
        let stopped = || container.ask("grep -l '^State:.T' /proc/[0-9]*/status");
        // One that has not begun by then is in order, too.
        while stopped().contains("/status") && !stopped().contains("No such") {
            assert!(Instant::now() < limit, "after {after:?}: {}", stopped());
        }
        container.ask("systemctl stop plain; systemctl reset-failed plain");
    }
    container.over();
}
