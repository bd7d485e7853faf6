//! Reloads whose commands fail under real systemd: which one it was, how it ended, and whether the
//! program has its reload all the same.

use std::path::PathBuf;

use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root};
use crate::support::traces::{Trace, alerts};

/// A unit whose ExecReload= is `reload`.
fn unit(reload: &str) -> String {
    format!(
        "[Service]\nTimeoutStartSec=2\n\
         ExecStart=/usr/bin/python3 -c 'import signal, time; signal.signal(1, print); \
         time.sleep(60)'\n{reload}\n"
    )
}

const HUP: &str = "ExecReload=/bin/kill -HUP $MAINPID";

/// Units by what their commands do, with the result that systemd has, and what the alert says.
const CASES: [(&str, &str, &str, &str); 5] = [
    (
        "checks",
        "ExecReload=/bin/sh -c 'exit 7'\nExecReload=/bin/kill -HUP $MAINPID",
        "exit-code",
        "exited with code 7. HUP was not sent.",
    ),
    (
        "late",
        "ExecReload=/bin/kill -HUP $MAINPID\nExecReload=/bin/sh -c 'exit 3'",
        "exit-code",
        "it has its reload, though systemd has it as failed.",
    ),
    ("slow", "ExecReload=/bin/sleep 50", "timeout", "when TimeoutStartSec= was over."),
    ("crashes", "ExecReload=/bin/sh -c 'kill -KILL $$$$'", "signal", "died of KILL."),
    (
        "missing",
        "ExecReload=/no/such/program",
        "exit-code",
        "could not be executed (exit code 203).",
    ),
];

fn is_told(root: PathBuf) {
    let units: Vec<(String, String)> =
        { CASES.iter() }.map(|case| (format!("{}.service", case.0), unit(case.1))).collect();
    let well = unit(HUP);
    let mut files: Vec<(&str, &str)> =
        units.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    files.push(("well.service", &well));
    let container = Container::boot_in(root, Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    container.ask("cp /shared/*.service /run/systemd/system/; systemctl daemon-reload");
    let names = files.iter().map(|(name, _)| *name);
    let arguments: Vec<&str> = ["--wait", "--settle", "500ms"].into_iter().chain(names).collect();
    let trace = Trace::start_in(&container, &arguments);
    let shown = container.ask(
        "exec 2>/dev/null
         for unit in checks late slow crashes missing well; do
            systemctl start $unit; sleep 0.5
            systemctl reload $unit; echo $?; systemctl show -P ReloadResult $unit
         done; sleep 1",
    );
    let traced = trace.end();
    container.over();
    let words: Vec<&str> = shown.split_whitespace().collect();
    let results: Vec<&str> = { CASES.iter() }.flat_map(|case| ["1", case.2]).collect();
    assert_eq!(words, [&results[..], &["0", "success"]].concat(), "{shown}");

    for (name, _, result, says) in CASES {
        let start = &traced.activations(&format!("{name}.service"))[0];
        assert_eq!(alerts(start), ["reload-failed"], "{start:#}");
        let alert = &start["alerts"][0];
        let message = alert["message"].as_str().unwrap();
        assert!(message.ends_with(says), "{message}");
        let end = alert["events"].as_array().unwrap().last().unwrap().as_u64().unwrap();
        let end = &start["events"][usize::try_from(end).unwrap()];
        assert_eq!(end["reload_result"], result, "{end:#}");
    }
    let well = &traced.activations("well.service")[0];
    assert_eq!(alerts(well), [""; 0], "{well:#}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_failed_reload_is_told_with_its_command_under_systemd_252() {
    is_told(root());
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_failed_reload_is_told_with_its_command_under_systemd_257() {
    is_told(newer_root());
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_failed_reload_is_told_with_its_command_under_systemd_262() {
    is_told(newest_root());
}
