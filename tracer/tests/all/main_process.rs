//! Which process is the main one, on three releases of systemd: commands before, beside and after
//! it are not, nor is what it leaves behind.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root};
use crate::support::traces::{Trace, Traced, alerts, events};

/// Leaves a helper for a while when it is told to stop.
const HELPED: &str = "\
import os, signal, socket, sys, time
def say(text):
    if 'NOTIFY_SOCKET' in os.environ:
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text, os.environ['NOTIFY_SOCKET'])
signal.signal(signal.SIGHUP, lambda *_: None)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = os.getppid()
    while os.getppid() == parent: time.sleep(0.02)
    time.sleep(0.2)
    os._exit(0)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
say(b'READY=1')
while True: signal.pause()
";

/// Executes itself anew when it is reloaded.
const ANEW: &str = "\
import os, signal, socket, sys
def anew(*_):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    os.execv(sys.executable, [sys.executable, *sys.argv])
signal.signal(signal.SIGHUP, anew)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])
while True: signal.pause()
";

/// Hands over to a successor when it is reloaded.
const SUCCEEDED: &str = "\
import os, signal, socket, sys, time
def say(text):
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.sendto(text.encode(), os.environ['NOTIFY_SOCKET'])
asked = []
signal.signal(signal.SIGHUP, lambda *_: asked.append(1))
if len(sys.argv) == 1: say('READY=1')
while True:
    time.sleep(0.02)
    if asked:
        successor = os.fork()
        if successor == 0: os.execv(sys.executable, [sys.executable, sys.argv[0], 'successor'])
        time.sleep(0.2)
        say(f'MAINPID={successor}\\nREADY=1')
        time.sleep(0.2)
        os._exit(0)
";

/// Units, without `[Service]`.
const UNITS: [(&str, &str); 9] = [
    ("helped-notify", "Type=notify\nExecStart=/usr/bin/python3 /shared/helped.py"),
    ("helped-simple", "Type=simple\nExecStart=/usr/bin/python3 /shared/helped.py"),
    (
        "prepared",
        "Type=notify\nExecCondition=/bin/true\nExecStartPre=/bin/true\nExecStartPre=/bin/true\n\
         ExecStart=/usr/bin/python3 /shared/helped.py",
    ),
    (
        "unprepared",
        "Type=simple\nRestart=on-failure\nRestartSec=1h\nExecStartPre=/bin/sleep 30\n\
         ExecStart=/usr/bin/python3 /shared/helped.py",
    ),
    ("once", "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecReload=/bin/sleep 0.1"),
    (
        "anew",
        "Type=notify\nExecStart=/usr/bin/python3 /shared/anew.py\nExecReload=/bin/kill -HUP $MAINPID",
    ),
    (
        "succeeded",
        "Type=notify\nExecStart=/usr/bin/python3 /shared/succeeded.py\n\
         ExecReload=/bin/kill -HUP $MAINPID",
    ),
    (
        "stop-fails",
        "Type=simple\nRestart=on-failure\nRestartSec=1h\nExecStart=/bin/sleep 1000\n\
         ExecReload=/bin/kill -HUP $MAINPID\nExecStop=/bin/sh -c 'exit 2'",
    ),
    (
        "unknown",
        "Type=forking\nGuessMainPID=no\nRestart=on-failure\nExecStart=/bin/sh -c 'sleep 1000 &'",
    ),
];

/// What is done to them. Each line that is printed is a unit and its MainPID.
const SCRIPT: &str = "
    exec 2>/dev/null
    pid() { echo $1 $(systemctl show -P MainPID $1); }
    for unit in helped-notify helped-simple prepared; do
        systemctl start $unit; sleep 0.5; pid $unit; systemctl stop $unit
    done
    systemctl start --no-block unprepared; sleep 0.5; systemctl kill -s HUP unprepared
    systemctl start once; sleep 0.2; systemctl reload once; sleep 0.3
    systemctl start anew; pid anew; systemctl reload anew; sleep 1
    systemctl start succeeded; systemctl reload succeeded; sleep 1; pid succeeded
    systemctl start stop-fails; sleep 0.5; systemctl reload stop-fails; sleep 0.5
    systemctl start unknown; sleep 0.3; systemctl kill -s HUP unknown; sleep 0.5
";

fn only<'a>(traced: &'a Traced, unit: &str) -> &'a Value {
    let starts = traced.activations(&format!("{unit}.service"));
    assert_eq!(starts.len(), 1, "{unit}: {starts:#?}");
    &starts[0]
}

fn consequence(start: &Value) -> &str {
    start["alerts"][0]["consequence"].as_str().unwrap()
}

fn is_known_at_every_moment(root: PathBuf) {
    let mut files = vec![
        ("helped.py".to_owned(), HELPED.to_owned()),
        ("anew.py".to_owned(), ANEW.to_owned()),
        ("succeeded.py".to_owned(), SUCCEEDED.to_owned()),
    ];
    let names = UNITS.map(|(name, _)| format!("{name}.service"));
    let units = UNITS.iter().map(|(name, settings)| {
        (format!("units/{name}.service"), format!("[Service]\n{settings}\n"))
    });
    files.extend(units);
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let container = Container::boot_in(root, Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    container.ask("cp /shared/units/* /run/systemd/system/; systemctl daemon-reload");
    let mut arguments = vec!["--wait"];
    arguments.extend(names.iter().map(String::as_str));
    let trace = Trace::start_in(&container, &arguments);
    let said = container.ask(SCRIPT);
    let traced = trace.end();
    container.over();
    // The main process is systemd's.
    for line in said.lines() {
        let (unit, pid) = line.split_once(' ').unwrap();
        let main = &only(&traced, unit)["main_process"];
        assert_eq!(main["ns_pid"], pid.parse::<u64>().unwrap(), "{unit}: {main}");
    }
    // It is systemd's word that the prediction agrees with.
    let services = traced.report["services"].as_array().unwrap();
    for start in services.iter().flat_map(|service| service["activations"].as_array().unwrap()) {
        for alert in start["alerts"].as_array().unwrap() {
            let consequence = alert["consequence"].as_str().unwrap();
            assert!(!consequence.contains("But systemd itself"), "{consequence}");
        }
    }
    for unit in ["helped-notify", "helped-simple", "prepared", "once", "anew", "succeeded"] {
        assert_eq!(alerts(only(&traced, unit)), [""; 0], "{unit}");
    }
    let helped = only(&traced, "helped-notify");
    assert_eq!(helped["outcome"]["code"], 0);
    let unprepared = only(&traced, "unprepared");
    assert_eq!(unprepared["main_process"], Value::Null, "{unprepared:#}");
    assert_eq!(alerts(unprepared), ["reload-kills-process"]);
    assert!(consequence(unprepared).contains("(result 'signal')"), "{}", consequence(unprepared));
    assert_eq!(only(&traced, "once")["main_process"]["comm"], "true");
    let anew = only(&traced, "anew");
    let milestone = |name: &str| anew["milestones"][name].as_i64().unwrap();
    assert!(milestone("handler_ns") < milestone("first_reload_ns"), "{:#}", anew["milestones"]);
    assert!(milestone("last_exec_ns") > milestone("first_reload_ns"), "{:#}", anew["milestones"]);
    let hand_overs = events(only(&traced, "succeeded"), "notify");
    assert_eq!(hand_overs.len(), 2);
    assert!(hand_overs.iter().all(|told| told["accepted"] == true), "{hand_overs:#?}");
    let stop_fails = consequence(only(&traced, "stop-fails"));
    assert!(stop_fails.contains("ExecStop="), "{stop_fails}");
    let unknown = consequence(only(&traced, "unknown"));
    assert!(unknown.contains("knows no main process"), "{unknown}");
}

/// Leaves a process of each of its starts running.
const LEAVING: &str = "[Service]\nKillMode=process\nExecReload=/bin/kill -HUP $MAINPID\n\
    ExecStart=/bin/sh -c 'sleep 1000 & touch /run/%N; exec sleep 1001'\n";

/// Starts a unit and waits until it has left something behind.
const LEAVE: &str = "
    start() { rm -f /run/$1; systemctl start $1; until [ -e /run/$1 ]; do sleep 0.02; done; }
    for unit in down up; do
        for n in 1 2; do start $unit; systemctl stop $unit; done
    done
    start up
    systemctl show -P MainPID up
";

fn is_not_what_former_starts_left(root: PathBuf) {
    let files = [("units/down.service", LEAVING), ("units/up.service", LEAVING)];
    let container = Container::boot_in(root, Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    container.ask("cp /shared/units/* /run/systemd/system/; systemctl daemon-reload");
    let main: u64 = container.ask(LEAVE).trim().parse().unwrap();
    let trace = Trace::start_in(&container, &["down.service", "up.service"]);
    // systemd is asked what it says of the units.
    container.ask("sleep 1");
    let traced = trace.end();
    container.over();
    let mains = |unit: &str| {
        let told = |start: &Value| {
            let main = start["main_process"]["ns_pid"].as_u64();
            (main, alerts(start).join(" "))
        };
        traced.activations(unit).iter().map(told).collect::<Vec<_>>()
    };
    let joined = |main: Option<u64>| (main, "capture-incomplete".to_owned());
    assert_eq!(mains("down.service"), [joined(None), joined(None)]);
    assert_eq!(mains("up.service"), [joined(None), joined(None), joined(Some(main))]);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn under_systemd_252_what_former_starts_left_is_no_main_process() {
    is_not_what_former_starts_left(root());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn under_systemd_262_what_former_starts_left_is_no_main_process() {
    is_not_what_former_starts_left(newest_root());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn under_systemd_252_the_main_process_is_known_at_every_moment() {
    is_known_at_every_moment(root());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn under_systemd_257_the_main_process_is_known_at_every_moment() {
    is_known_at_every_moment(newer_root());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn under_systemd_262_the_main_process_is_known_at_every_moment() {
    is_known_at_every_moment(newest_root());
}
