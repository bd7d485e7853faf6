//! `race --unit --by reload`: systemd itself is asked for a reload while the process stands at the
//! instant.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

use super::{Raced, units};
use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root};

/// A handler after 60 ms, READY=1 30 ms later, and an answer to a reload as notify-reload has it.
const SERVICE: &str = "\
import os, signal, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(text):
    if 'NOTIFY_SOCKET' in os.environ:
        s.sendto(text.encode(), os.environ['NOTIFY_SOCKET'])
def on(*a):
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    say(f'RELOADING=1\\nMONOTONIC_USEC={now}')
    say('READY=1')
time.sleep(0.06)
signal.signal(signal.SIGHUP, on)
time.sleep(0.03)
say('READY=1')
while True:
    time.sleep(60)
";

const START: &str = "ExecStart=/usr/bin/python3 /shared/service.py\n";
const RELOAD: &str = "ExecReload=/bin/kill -HUP $MAINPID\n";

/// A container with a unit of each type.
fn container(root: PathBuf) -> Container {
    let unit = |kind: &str, more: &str| format!("[Service]\nType={kind}\n{START}{more}");
    let (hole, told) = (unit("simple", RELOAD), unit("notify", RELOAD));
    let (answers, none) = (unit("notify-reload", ""), unit("simple", ""));
    let files = [
        ("service.py", SERVICE),
        ("hole.service", hole.as_str()),
        ("told.service", told.as_str()),
        ("answers.service", answers.as_str()),
        ("none.service", none.as_str()),
    ];
    let scenario = format!(
        "cp /shared/*.service /run/systemd/system/
         rm /run/systemd/system/scenario.service
         systemctl daemon-reload
         {ANSWERING}"
    );
    let container = Container::boot_in(root, Hierarchy::Unified, &scenario, &files);
    container.wait_for("up");
    container
}

fn by_reload(container: &Container, unit: &str, more: &[&str]) -> Raced {
    units::race(container, unit, &[&["--by", "reload"], more].concat())
}

/// What was asked of systemd in the try of an interval, and what it came to.
fn asked(interval: &Value) -> (&Value, &str) {
    let tried = &interval["tries"][0];
    (&tried["reload"], tried["what"].as_str().unwrap())
}

/// Before its handler every reload kills a simple unit: from the first instant on at which systemd
/// is not itself busy with it.
fn a_hole_is_hit(container: &Container, fork: &str) {
    let raced = by_reload(container, "hole", &[]);
    let outcomes = raced.outcomes();
    assert_eq!(raced.status, Some(3), "{}\n{outcomes:?}", raced.stderr);
    assert_eq!(outcomes[0], ("HUP@fork", fork), "{:#}", raced.interval("HUP@fork"));
    let (last, before) = outcomes.split_last().unwrap();
    assert!(last.0.ends_with(".action1") && last.1 == "taken", "{outcomes:?}");
    assert!(before[1..].iter().all(|(_, did)| *did == "killed"), "{outcomes:?}");
    assert_eq!(raced.race["by"], "reload");
    let hit = raced.interval(before.last().unwrap().0);
    // The evidence: who sent it, and that it came while the process stood there.
    let sent = &hit["tries"][0]["signal"];
    assert_eq!((sent["si_code"].as_i64(), &sent["sender"]["comm"]), (Some(0), &"kill".into()));
    let (reload, _) = asked(hit);
    assert!(reload["sent_ns"].as_i64() <= reload["until_ns"].as_i64(), "{reload:#}");
    assert!(reload["sent_ns"].as_i64() >= reload["asked_ns"].as_i64(), "{reload:#}");
    assert_eq!((&hit["bad"], &hit["counts"]), (&true.into(), &true.into()));
    // At rest nothing stands still, and it is systemd, too, that has it sent.
    assert_eq!(raced.at_rest(), ("taken", false), "{:#}", raced.race["signals"][0]["rest"]);
    let (reload, _) = asked(&raced.race["signals"][0]["rest"]);
    assert!(["active", "reloading"].contains(&reload["state"].as_str().unwrap()), "{reload:#}");
    assert_eq!(reload["job"], "done", "{reload:#}");
    assert!(reload["sent_ns"].as_i64() >= reload["asked_ns"].as_i64(), "{reload:#}");
}

/// Until READY=1 systemd sends a notify unit nothing, and takes the reload for done.
fn reloads_are_held_back(container: &Container, unit: &str) {
    let raced = by_reload(container, unit, &[]);
    let outcomes = raced.outcomes();
    assert_eq!(raced.status, Some(0), "{}\n{outcomes:?}", raced.stderr);
    let is_ready = |it: &(&str, &str)| it.0.contains(".ready1") || it.0.contains(".reloading1");
    let (after, before): (Vec<_>, Vec<_>) = outcomes.iter().partition(|it| is_ready(it));
    assert!(before.len() >= 3 && !after.is_empty(), "{outcomes:?}");
    assert!(before.iter().all(|(_, did)| *did == "held_back"), "{outcomes:?}");
    assert!(after.iter().all(|(_, did)| *did == "taken"), "{outcomes:?}");
    for (id, _) in before {
        let interval = raced.interval(id);
        let (reload, what) = asked(interval);
        assert_eq!(interval["bad"], false);
        assert_eq!(reload["sent_ns"], Value::Null, "{interval:#}");
        assert!(what.contains("sent nothing, nor later"), "{what}");
    }
    assert_eq!(raced.at_rest(), ("taken", false), "{:#}", raced.race["signals"][0]["rest"]);
    let sentence = raced.sentence();
    assert!(sentence.contains("systemd holds reloads back from fork to"), "{sentence}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_by_reload_hits_the_hole_of_a_simple_unit_and_not_that_of_a_notify_unit() {
    let container = container(root());
    a_hole_is_hit(&container, "killed");
    reloads_are_held_back(&container, "told");
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_by_reload_is_held_back_while_systemd_waits_for_the_exec_of_its_own_program() {
    for root in [newer_root(), newest_root()] {
        let container = container(root);
        a_hole_is_hit(&container, "held_back");
        reloads_are_held_back(&container, "told");
        reloads_are_held_back(&container, "answers");
        container.over();
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_by_reload_is_refused_where_systemd_has_no_reload_to_send() {
    let container = container(root());
    for (unit, more, why) in [
        ("none", &[][..], "it has no ExecReload="),
        ("hole", &["--signal", "TERM"], "which sends it no TERM"),
    ] {
        let raced = by_reload(&container, unit, more);
        assert_eq!(raced.status, Some(2), "{}", raced.stderr);
        assert!(raced.stderr.contains(why), "{}", raced.stderr);
    }
    container.over();
    let output = Command::new(cargo_bin("sigready"))
        .args(["race", "--by", "reload", "--", "true"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--unit names"), "{stderr}");
}
