//! Units whose settings make systemd fork helpers before the exec, and systemd's executor: one
//! start each, of the process that systemd calls the main one.

use std::{fmt::Write as _, path::PathBuf};

use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root};
use crate::support::traces::{Trace, alerts, events};

const PROGRAM: &str = "\
import os, signal, socket
signal.signal(signal.SIGHUP, lambda *_: None)
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])
while True: signal.pause()
";

/// Names of units, and the settings that are theirs.
const UNITS: [(&str, &str); 8] = [
    ("plain", ""),
    ("user", "User=daemon"),
    ("runtime", "RuntimeDirectory=runtime"),
    ("user-runtime", "User=daemon\nRuntimeDirectory=user-runtime"),
    ("user-state", "User=daemon\nStateDirectory=user-state\nCacheDirectory=user-cache"),
    ("protected", "ProtectSystem=strict\nPrivateTmp=yes\nProtectHome=yes"),
    ("users", "PrivateUsers=yes"),
    ("all", "User=daemon\nRuntimeDirectory=all\nLogsDirectory=all\nProtectSystem=full"),
];

fn each_has_one_start(root: PathBuf) {
    let unit = |settings: &str| {
        format!(
            "[Service]\nType=notify\nExecStart=/usr/bin/python3 /shared/program.py\n\
             ExecReload=/bin/kill -HUP $MAINPID\n{settings}\n"
        )
    };
    let names = UNITS.map(|(name, _)| format!("sandboxed-{name}.service"));
    let mut files = vec![("program.py".to_owned(), PROGRAM.to_owned())];
    files.extend(names.iter().zip(UNITS).map(|(name, (_, set))| (name.clone(), unit(set))));
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let container = Container::boot_in(root, Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    container.ask(
        "chmod -R go+rX /shared; cp /shared/sandboxed-*.service /run/systemd/system/; \
         systemctl daemon-reload",
    );
    let mut arguments = vec!["--wait"];
    arguments.extend(names.iter().map(String::as_str));
    let trace = Trace::start_in(&container, &arguments);
    let mut script = String::new();
    for name in &names {
        write!(script, "systemctl start {name}; systemctl show -P MainPID {name}; ").unwrap();
    }
    let pids = container.ask(&script);
    let traced = trace.end();
    container.over();
    let pids: Vec<u64> = pids.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids.len(), names.len(), "{pids:?}");
    for (name, pid) in names.iter().zip(pids) {
        let starts = traced.activations(name);
        let of = |start: &serde_json::Value| {
            (start["main_process"].clone(), start["outcome"].clone(), alerts(start).len())
        };
        let told: Vec<_> = starts.iter().map(of).collect();
        assert_eq!(starts.len(), 1, "{name}: {told:#?}");
        assert_eq!(starts[0]["main_process"]["ns_pid"], pid, "{name}: {told:#?}");
        assert_eq!(alerts(&starts[0]), [""; 0], "{name}");
        // The timeline begins with the program's exec, and not with systemd's own.
        let program = events(&starts[0], "exec")
            .into_iter()
            .find(|exec| exec["filename"] == "/usr/bin/python3" && exec["at_ns"] == 0);
        assert!(program.is_some(), "{name}: {:#?}", events(&starts[0], "exec"));
        assert_eq!(starts[0]["milestones"]["exec_ns"], 0, "{name}");
        assert!(starts[0]["milestones"]["ready_ns"].is_i64(), "{name}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn under_systemd_252_each_sandboxed_unit_has_one_start() {
    each_has_one_start(root());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn under_systemd_257_each_sandboxed_unit_has_one_start() {
    each_has_one_start(newer_root());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn under_systemd_262_each_sandboxed_unit_has_one_start() {
    each_has_one_start(newest_root());
}
