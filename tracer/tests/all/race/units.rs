//! `race --unit`: units of a container whose systemd is the real one, raced from outside.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;

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

/// It starts only where the start before has left nothing.
const LOCKS: &str = "\
[Service]
ExecStart=/bin/sh -c 'test -e /run/race.lock && exit 7; : > /run/race.lock; exec sleep 60'
ExecReload=/bin/kill -HUP $MAINPID
";

/// It fails unless there is a file.
const FAILS: &str = "\
[Service]
ExecStart=/bin/sh -c 'test -e /run/race.ok || exit 3; exec sleep 60'
ExecReload=/bin/kill -HUP $MAINPID
";

/// Its helpers have other ids in the container than outside of it. One is a first process of its own
/// pid namespace, too.
const HELPED: &str = "\
[Service]
ExecStart=/bin/bash -c 'mkdir -p /run/helped; unshare -fp --kill-child cat /dev/null; trap \"\" HUP; exec sleep 60'
ExecReload=/bin/kill -HUP $MAINPID
";

/// A process that says READY=1, and nothing else.
const READY: &str = "\
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])
";

/// A child says READY=1, which systemd does not take.
const UNHEARD: &str = "\
[Service]
Type=notify
NotifyAccess=main
ExecStart=/bin/sh -c 'python3 /shared/ready.py; exec sleep 60'
ExecReload=/bin/kill -HUP $MAINPID
";

/// It is active long after it has changed nothing for a while.
const POSTED: &str = "\
[Service]
ExecStart=/bin/sleep 60
ExecStartPost=/bin/sleep 1
ExecReload=/bin/kill -HUP $MAINPID
";

/// It stops with the unit that is raced.
const BOUND: &str = "\
[Unit]
PartOf=plain.service
[Service]
ExecStart=/bin/sleep 3600
";

/// A container with the units.
fn container(root: std::path::PathBuf, hierarchy: Hierarchy) -> Container {
    let files = [
        ("service.py", SERVICE),
        ("plain.service", SIMPLE),
        ("told.service", NOTIFY),
        ("locks.service", LOCKS),
        ("fails.service", FAILS),
        ("helped.service", HELPED),
        ("ready.py", READY),
        ("unheard.service", UNHEARD),
        ("posted.service", POSTED),
        ("bound@.service", BOUND),
    ];
    let scenario = format!(
        "cp /shared/{{plain,told,locks,fails,helped,unheard,posted,bound@}}.service /run/systemd/system/
         systemctl daemon-reload
         {ANSWERING}"
    );
    let container = Container::boot_in(root, hierarchy, &scenario, &files);
    container.wait_for("up");
    container
}

/// How long a start is looked at that is over soon.
const SOON: [&str; 4] = ["--quiet-time", "400ms", "--settle", "100ms"];

/// The words of a race of a unit of it.
fn words(container: &Container, unit: &str, more: &[&str]) -> Vec<String> {
    let root = format!("/proc/{}/root", container.init());
    let fixed = ["--color", "never", "race", "--unit", unit, "--root", &root];
    [&fixed[..], more].concat().into_iter().map(str::to_owned).collect()
}

/// Races a unit of it whose start is over soon.
pub fn race(container: &Container, unit: &str, more: &[&str]) -> Raced {
    race_for(container, unit, &[&SOON[..], more].concat())
}

/// Races a unit of it.
pub fn race_for(container: &Container, unit: &str, more: &[&str]) -> Raced {
    let more = [&["--yes", "--format", "json"], more].concat();
    let output = Command::new(cargo_bin("sigready"))
        .args(words(container, unit, &more))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Raced::of(&output)
}

fn state(container: &Container, unit: &str) -> String {
    container.ask(&format!("systemctl is-active {unit}")).trim().to_owned()
}

/// The first interval, the one before the handler, and those after it.
fn holes_are_found(container: &Container, by: &str) {
    let begun = Instant::now();
    let raced = race(container, "plain", &["--by", by]);
    let spent = begun.elapsed();
    let raced_for = Duration::from_nanos(raced.race["duration_ns"].as_u64().unwrap());
    assert!(spent < raced_for + Duration::from_secs(7), "{raced_for:?} of {spent:?}");
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
    assert_eq!(raced.at_rest(), ("taken", false), "{:#}", raced.race["signals"][0]["rest"]);
    // systemd takes it for active long before the handler is there.
    assert_eq!(raced.as_active(), ("killed", true), "{:#}", raced.race["signals"][0]["active"]);
    let as_active = &raced.race["signals"][0]["active"];
    assert_eq!((&as_active["from_ns"], &as_active["counts"]), (&active.into(), &true.into()));
    assert_eq!(as_active["tries"][0]["signal"]["si_code"], 0, "by kill(2)");
    assert_eq!(raced.race["signals"][0]["rest"]["counts"], true);
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
    assert_eq!(raced.at_rest(), ("taken", false));
    assert_eq!(raced.as_active(), ("taken", false));
    // systemd's own record of the unit is the one from before the signal.
    let ended = race(&container, "told", &["--signal", "TERM", "--only", "TERM@rest"]);
    assert_eq!(ended.at_rest(), ("killed", false), "{:#}", ended.race);
    // Nothing else needs the unit, and systemd would have forgotten it by then.
    let what = ended.race["signals"][0]["rest"]["tries"][0]["what"].as_str().unwrap();
    assert_eq!(what, "died of TERM; systemd takes that for a clean end");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let untouched = &raced.race["untouched"];
    let (ready, active) = (&untouched["ready_ns"], &untouched["active_ns"]);
    assert!(active.as_i64().unwrap() > ready.as_i64().unwrap(), "{untouched:#}");
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_passes_nothing_where_systemd_does_not_take_it_for_active() {
    for root in [root(), newer_root()] {
        let container = container(root, Hierarchy::Unified);
        let raced = race(&container, "unheard", &["--timeout", "2s"]);
        assert_eq!(raced.status, Some(2), "{}", raced.stderr);
        let told = "unheard.service said READY=1, and systemd did not take it for active within 2";
        assert!(raced.stderr.contains(told), "{}", raced.stderr);
        assert!(raced.stderr.contains("NotifyAccess="), "{}", raced.stderr);
        // What it waits for before it is active is waited for.
        let raced = race(&container, "posted", &[]);
        let active = raced.race["untouched"]["active_ns"].as_i64();
        assert!(active.is_some_and(|active| active > 900_000_000), "{active:?} {}", raced.stderr);
        assert_eq!(raced.as_active(), ("killed", true), "{}", raced.stderr);
        assert_eq!(raced.status, Some(3), "{}", raced.stderr);
        container.over();
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_comes_right_after_the_exits_of_its_helpers() {
    // From 255 on systemd executes a program of its own first.
    for (root, exec) in [(root(), "exec1"), (newest_root(), "exec2")] {
        let container = container(root, Hierarchy::Unified);
        let raced = race(&container, "helped", &[]);
        let exits = raced.race["signals"][0]["child_exits"].as_array().unwrap().iter();
        let found: Vec<_> = exits
            .map(|it| {
                let sent = &it["tries"][0]["signal"];
                (it["id"].as_str().unwrap(), it["outcome"].as_str().unwrap(), &sent["si_code"])
            })
            .collect();
        let ids = ["mkdir", "unshare"].map(|name| format!("HUP@{exec}.exit1-{name}"));
        let kernel = serde_json::json!(0x80);
        assert_eq!(found, [&ids[0], &ids[1]].map(|id| (id.as_str(), "killed", &kernel)));
        container.over();
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_needs_to_be_agreed_to() {
    let container = container(root(), Hierarchy::Unified);
    let output = Command::new(cargo_bin("sigready"))
        .args(words(&container, "plain", &SOON))
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

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_starts_those_again_that_stop_with_it_and_refuses_where_they_are_too_many() {
    let container = container(root(), Hierarchy::Unified);
    let up = || container.ask("systemctl list-units --no-legend 'bound@*' | grep -c ' active '");
    container.ask("systemctl start plain $(seq -f 'bound@%g' 65)");
    let began = container.ask("systemctl show -p ExecMainPID plain");
    let raced = race(&container, "plain", &["--only", "HUP@fork"]);
    assert_eq!(raced.status, Some(2), "{}", raced.stderr);
    assert!(raced.stderr.contains("more than 64 units"), "{}", raced.stderr);
    assert_eq!(container.ask("systemctl show -p ExecMainPID plain"), began, "it was not stopped");
    assert_eq!(up().trim(), "65");
    container.ask("systemctl stop bound@65");
    let raced = race(&container, "plain", &["--only", "HUP@fork"]);
    assert_eq!(raced.outcomes(), [("HUP@fork", "killed")], "{}", raced.stderr);
    assert_eq!(up().trim(), "64");
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_sweeps_over_the_system_calls_of_its_start() {
    for root in [root(), newest_root()] {
        let container = container(root, Hierarchy::Unified);
        let raced = race(&container, "told", &["--sweep", "6", "--strict"]);
        assert_eq!(raced.status, Some(3), "{}\n{:?}", raced.stderr, raced.outcomes());
        let calls = raced.race["untouched"]["calls"].as_u64().unwrap();
        assert!(calls > 100, "python makes some: {calls}");
        let sweep = raced.race["signals"][0]["sweep"].as_array().unwrap();
        assert_eq!(sweep.len(), 6, "{:?}", raced.outcomes());
        let did: Vec<&str> = sweep.iter().map(|it| it["outcome"].as_str().unwrap()).collect();
        assert_eq!(did[0], "killed", "{did:?}");
        assert!(did.iter().all(|it| ["killed", "taken"].contains(it)), "{did:?}");
        let sentence = raced.sentence();
        assert!(sentence.contains("came out as the interval around does"), "{sentence}");
        container.over();
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_has_files_put_back_before_each_start_and_the_last_one_too() {
    let container = container(root(), Hierarchy::Unified);
    let lock = format!("/proc/{}/root/run/race.lock", container.init());
    let between = format!("rm -f {lock}; echo >> {lock}.count");
    for (before, after) in [("", "inactive"), ("systemctl start locks", "active")] {
        container.ask(&format!("rm -f /run/race.lock*; {before}"));
        let raced = race(&container, "locks", &["--between", &between]);
        let outcomes = raced.outcomes();
        assert!(outcomes.len() >= 2, "{outcomes:?} {}", raced.stderr);
        assert!(outcomes.iter().all(|(_, did)| *did == "killed"), "{outcomes:?}");
        assert_eq!(state(&container, "locks"), after, "{}", raced.stderr);
        let runs = raced.race["runs"].as_u64().unwrap();
        let count = container.ask("wc -l < /run/race.lock.count").trim().parse::<u64>().unwrap();
        // Before each start but the first; where it was up, before that too, and before the last.
        assert_eq!(count, if after == "active" { runs + 1 } else { runs }, "{}", raced.stderr);
    }
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_that_has_failed_tells_that_this_is_forgotten() {
    let container = container(root(), Hierarchy::Unified);
    container.ask("systemctl start fails; sleep 0.2; touch /run/race.ok");
    assert_eq!(state(&container, "fails"), "failed");
    let raced = race(&container, "fails", &[]);
    assert_eq!(raced.status, Some(3), "{}", raced.stderr);
    assert_eq!(state(&container, "fails"), "inactive");
    assert!(raced.stderr.contains("was failed, and is inactive"), "{}", raced.stderr);
    container.over();
}

/// A race of a unit on a terminal, with what is answered there.
fn on_a_terminal(container: &Container, answer: &str) -> (Option<i32>, String) {
    let mut words = vec![cargo_bin("sigready").display().to_string()];
    words.extend(self::words(container, "plain", &SOON));
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = script.stdout.take().unwrap();
    let mut output = Vec::new();
    let mut piece = [0; 4_096];
    while !String::from_utf8_lossy(&output).contains("Go on? [y/N]") {
        let count = shown.read(&mut piece).unwrap();
        assert!(count > 0, "it does not ask: {}", String::from_utf8_lossy(&output));
        output.extend_from_slice(&piece[..count]);
    }
    assert_eq!(state(container, "plain"), "inactive", "nothing is done before the answer");
    let mut keys = script.stdin.take().unwrap();
    keys.write_all(answer.as_bytes()).unwrap();
    shown.read_to_end(&mut output).unwrap();
    (script.wait().unwrap().code(), String::from_utf8_lossy(&output).into_owned())
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_asks_on_a_terminal_and_does_nothing_without_a_yes() {
    let container = container(root(), Hierarchy::Unified);
    for answer in ["n\n", "\n", "yess\n"] {
        let (status, output) = on_a_terminal(&container, answer);
        assert_eq!(status, Some(2), "{answer:?}: {output}");
        assert!(output.contains("nothing was done"), "{answer:?}: {output}");
    }
    assert!(container.ask("systemctl show -p ExecMainPID plain").contains("ExecMainPID=0"));
    let (status, output) = on_a_terminal(&container, "y\n");
    assert_eq!(status, Some(3), "{output}");
    assert!(output.contains("HUP kills plain.service"), "{output}");
    container.over();
}

/// Ends a race of a unit by a signal, at some moment of it.
fn ended_by(container: &Container, signal: nix::sys::signal::Signal, after: Duration) {
    let more = [&["--yes", "--by", "kill", "--repeat", "50"], &SOON[..]].concat();
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
