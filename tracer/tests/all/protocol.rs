//! What three releases of systemd make of what services say, against what is told of it: READY=1
//! without a handler, STOPPING=1 and on, reloads without an answer, a watchdog that is not heard.

use std::path::PathBuf;

use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root};
use crate::support::traces::{Trace, alerts};

/// Behaves as its argument says.
const PROGRAM: &str = "\
import os, signal, socket, sys, time
def say(text):
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.sendto(text.encode(), os.environ['NOTIFY_SOCKET'])
def took(*_): pass
def stopping(*_):
    say('STOPPING=1'); time.sleep(0.3); say('READY=1')
def endless(*_):
    say(f'RELOADING=1\\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}')
how = sys.argv[1]
if how == 'ignored': signal.signal(signal.SIGHUP, signal.SIG_IGN)
if how not in ('late', 'ignored'):
    handler = {'stopping': stopping, 'endless': endless}.get(how, took)
    signal.signal(signal.SIGHUP, handler)
say('READY=1')
if how == 'worker':
    if os.fork() == 0:
        while True:
            say('WATCHDOG=1'); time.sleep(0.2)
time.sleep(0.5)
if how in ('late', 'ignored'): signal.signal(signal.SIGHUP, took)
while True: time.sleep(1)
";

/// A unit, what it is, and what must be told of it: an alert, and words of its consequence.
struct Told {
    name: &'static str,
    settings: &'static str,
    /// The first release that knows the type.
    since: u32,
    /// The alert up to this release, and from it on.
    alert: [(&'static str, &'static str); 2],
    from: u32,
    /// What systemd says of it by then: the same two.
    shown: [&'static str; 2],
}

const RUN: &str = "ExecStart=/usr/bin/python3 /shared/program.py";

const UNITS: [Told; 8] = [
    Told {
        name: "late",
        settings: "Type=notify-reload",
        since: 253,
        alert: [
            ("ready-before-handler", "From systemd 262 on this start fails"),
            ("start-refused", "(result 'protocol')"),
        ],
        from: 262,
        shown: ["ActiveState=active", "Result=protocol"],
    },
    Told {
        name: "ignored",
        settings: "Type=notify-reload",
        since: 253,
        alert: [
            ("ready-before-handler", "From systemd 262 on this start fails"),
            ("start-refused", "(result 'protocol')"),
        ],
        from: 262,
        shown: ["ActiveState=active", "Result=protocol"],
    },
    Told {
        name: "stopping",
        settings: "Type=notify\nTimeoutStopSec=1",
        since: 0,
        alert: [("stopping-then-on", "does not take it back"); 2],
        from: 0,
        shown: ["Result=timeout"; 2],
    },
    Told {
        name: "reloaded-stopping",
        settings: "Type=notify\nTimeoutStopSec=1\n\
                   ExecReload=/bin/sh -c 'kill -HUP $MAINPID; sleep 0.6'",
        since: 0,
        alert: [
            ("stopping-then-on", "lets READY=1 take STOPPING=1 back"),
            ("stopping-then-on", "STOPPING=1 is final from systemd 259 on"),
        ],
        from: 259,
        shown: ["ActiveState=active", "Result=timeout"],
    },
    Told {
        name: "silent",
        settings: "Type=notify-reload\nTimeoutStartSec=2",
        since: 253,
        alert: [("reload-unanswered", "TimeoutStartSec="); 2],
        from: 0,
        shown: ["ActiveState=active"; 2],
    },
    Told {
        name: "endless",
        settings: "Type=notify-reload\nTimeoutStartSec=2",
        since: 253,
        alert: [
            ("reloading-malformed", "does not return"),
            ("reloading-malformed", "counts as failed"),
        ],
        from: 259,
        shown: ["ActiveState=reloading", "ActiveState=active"],
    },
    Told {
        name: "watched",
        settings: "Type=notify\nWatchdogSec=1",
        since: 0,
        alert: [("watchdog-refused", "(result 'watchdog')"); 2],
        from: 0,
        shown: ["Result=watchdog"; 2],
    },
    Told {
        name: "worker",
        settings: "Type=notify\nWatchdogSec=1",
        since: 0,
        alert: [("watchdog-refused", "(result 'watchdog')"); 2],
        from: 0,
        shown: ["Result=watchdog"; 2],
    },
];

const SCRIPT: &str = "
    systemctl start --no-block $units
    sleep 1.5
    systemctl kill --kill-who=main -s HUP stopping
    for unit in reloaded-stopping silent endless; do systemctl reload --no-block $unit; done
    sleep 6
    for unit in $units; do systemctl show -p Id,ActiveState,Result $unit | tr '\\n' ' '; echo; done
";

fn is_told(root: PathBuf, release: u32) {
    let units: Vec<&Told> = UNITS.iter().filter(|unit| unit.since <= release).collect();
    let names: Vec<String> = units.iter().map(|unit| format!("{}.service", unit.name)).collect();
    let mut files = vec![("program.py".to_owned(), PROGRAM.to_owned())];
    files.extend(units.iter().map(|Told { name, settings, .. }| {
        let unit = format!("[Service]\n{settings}\n{RUN} {name}\n");
        (format!("units/{name}.service"), unit.replace("reloaded-stopping\n", "stopping\n"))
    }));
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let container = Container::boot_in(root, Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    container.ask("cp /shared/units/* /run/systemd/system/; systemctl daemon-reload");
    let mut arguments = vec!["--wait"];
    arguments.extend(names.iter().map(String::as_str));
    let trace = Trace::start_in(&container, &arguments);
    let list: Vec<&str> = units.iter().map(|unit| unit.name).collect();
    let shown = container.ask(&format!("units='{}'\n{SCRIPT}", list.join(" ")));
    let traced = trace.end();
    container.over();
    for Told { name, alert, from, shown: expected, .. } in units {
        let which = usize::from(release >= *from);
        let (id, words) = alert[which];
        let unit = format!("Id={name}.service ");
        let line = shown.lines().find(|line| line.contains(unit.trim())).unwrap();
        assert!(line.contains(expected[which]), "{line}");
        let starts = traced.activations(&format!("{name}.service"));
        let start = &starts[0];
        assert_eq!(alerts(start), [id], "{name}: {start:#}");
        let consequence = start["alerts"][0]["consequence"].as_str().unwrap();
        assert!(consequence.contains(words), "{name}: {consequence}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn what_systemd_252_makes_of_messages_is_told() {
    is_told(root(), 252);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn what_systemd_257_makes_of_messages_is_told() {
    is_told(newer_root(), 257);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn what_systemd_262_makes_of_messages_is_told() {
    is_told(newest_root(), 262);
}
