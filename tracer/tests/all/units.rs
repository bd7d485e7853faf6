//! Units under real systemd, traced from outside of their container, with systemd's
//! own words as the witness.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::container::{Container, Hierarchy};
use crate::support::traces::{Trace, Traced, events};

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn patroni_reloaded_at_once_dies_of_hup_and_left_alone_gets_its_handler() {
    let trace = Trace::start(&["patroni.service", "--wait"]);
    let results = Container::boot(
        Hierarchy::Unified,
        // Time for the tracer to find the container's systemd.
        "sleep 2
         ip link set lo up
         systemctl start patroni && systemctl reload patroni
         sleep 1
         systemctl show patroni -p Type,Result,ActiveState,NRestarts > /shared/early
         systemctl start patroni
         for i in $(seq 100); do
             pid=$(systemctl show -P MainPID patroni)
             caught=$(sed -n 's/^SigCgt:\t//p' /proc/$pid/status)
             [ $((0x$caught & 1)) = 1 ] && break
             sleep 0.1
         done
         echo $pid > /shared/pid
         systemctl reload patroni
         sleep 0.5
         systemctl show patroni -p ActiveState,MainPID > /shared/late
         systemctl stop patroni
         journalctl -u patroni -o cat --no-pager > /shared/journal",
        &[],
    )
    .finish();
    let Traced { status, report, .. } = trace.end();

    // systemd's own words.
    let early = results.file("early");
    for fact in ["Type=simple", "Result=success", "ActiveState=inactive", "NRestarts=0"] {
        assert!(early.contains(fact), "{early}");
    }
    assert!(results.file("journal").contains("Deactivated successfully"));

    // The tracer's.
    assert_eq!(status, Some(3), "{report:#}");
    let services = report["services"].as_array().unwrap();
    assert_eq!(services.len(), 1);
    assert_eq!(services[0]["name"], "patroni.service");
    assert!(services[0]["cgroup"].as_str().unwrap().ends_with("/system.slice/patroni.service"));
    let activations = services[0]["activations"].as_array().unwrap();
    assert_eq!(activations.len(), 2, "{report:#}");

    let killed = &activations[0];
    assert_eq!(killed["outcome"]["state"], "killed");
    assert_eq!(killed["outcome"]["signal"], "HUP");
    assert_eq!(killed["milestones"]["handler_ns"], Value::Null);
    assert_eq!(killed["alerts"][0]["id"], "reload-before-handler");
    let hup = events(killed, "signal")[0];
    assert_eq!(hup["sender"]["comm"], "kill");
    assert_eq!(hup["disposition"], "default");
    assert_eq!(hup["fate"], "killed");
    let exposure = &killed["exposure"][0];
    assert_eq!(exposure["kind"], "fatal");
    // The signal may even have come between fork and exec.
    assert!(exposure["from_ns"].as_i64().unwrap() <= 0, "{exposure}");

    // And what the tracer knows of systemd is what systemd says.
    let unit = &services[0]["unit"];
    assert_eq!(unit["source"], "dbus", "{unit}");
    assert_eq!((&unit["type"], &unit["restart"]), (&json!("simple"), &json!("on-failure")));
    assert_eq!(unit["reload_signal"], "HUP");
    assert_eq!(unit["exec_reload"], json!(["/bin/kill -s HUP $MAINPID"]));
    assert_eq!(killed["systemd"]["result"], "success", "{killed:#}");
    assert_eq!(states(killed).last(), Some(&("inactive", "dead")), "{killed:#}");
    let consequence = killed["alerts"][0]["consequence"].as_str().unwrap();
    assert!(consequence.contains("Restart=on-failure does not restart it"), "{consequence}");
    assert!(consequence.contains("systemd says so itself"), "{consequence}");

    let unharmed = &activations[1];
    assert_eq!(unharmed["alerts"].as_array().unwrap().len(), 0, "{unharmed:#}");
    let handler = unharmed["milestones"]["handler_ns"].as_i64().unwrap();
    assert!(handler > 0);
    assert_eq!(unharmed["exposure"][0]["to_ns"].as_i64(), Some(handler));
    let hup = events(unharmed, "signal");
    let hup = hup.iter().find(|event| event["signal"] == "HUP").unwrap();
    assert_eq!(
        (hup["disposition"].as_str(), hup["fate"].as_str()),
        (Some("handler"), Some("handled"))
    );
    let pid: u64 = results.file("pid").trim().parse().unwrap();
    assert_eq!(unharmed["main_process"]["ns_pid"], pid);
    assert!(results.file("late").contains(&format!("MainPID={pid}")));
    let told = states(unharmed);
    for state in [("active", "running"), ("reloading", "reload"), ("inactive", "dead")] {
        assert!(told.contains(&state), "{told:?}");
    }
}

/// What systemd said of a start: its states, in order.
fn states(activation: &Value) -> Vec<(&str, &str)> {
    events(activation, "systemd")
        .into_iter()
        .map(|event| {
            (event["state"].as_str().unwrap(), event["sub_state"].as_str().unwrap_or_default())
        })
        .collect()
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_notify_unit_is_followed_through_pre_start_reload_and_restart() {
    const SERVICE: &str = "\
import os, signal, socket, time
time.sleep(0.2)
signal.signal(signal.SIGHUP, lambda *a: None)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
s.send(b'READY=1\\nSTATUS=up')
while True:
    time.sleep(1)
";
    const UNIT: &str = "\
[Service]
Type=notify
ExecStartPre=/bin/sleep 0.1
ExecStart=/usr/bin/python3 /shared/service.py
ExecReload=/bin/kill -HUP $MAINPID
";
    let trace = Trace::start(&["probe*", "--wait"]);
    let results = Container::boot(
        Hierarchy::Unified,
        "cp /shared/probe.service /run/systemd/system/
         systemctl daemon-reload
         systemctl start probe && systemctl reload probe
         systemctl show -P MainPID probe > /shared/first
         systemctl restart probe
         systemctl show -P MainPID probe > /shared/second
         systemctl stop probe",
        &[("service.py", SERVICE), ("probe.service", UNIT)],
    )
    .finish();
    let Traced { status, report, .. } = trace.end();
    assert_eq!(status, Some(0), "{report:#}");
    let service = &report["services"][0];
    assert_eq!(service["name"], "probe.service");
    let activations = service["activations"].as_array().unwrap();
    assert_eq!(activations.len(), 2, "{report:#}");
    for (activation, witness) in activations.iter().zip(["first", "second"]) {
        let pid: u64 = results.file(witness).trim().parse().unwrap();
        assert_eq!(activation["main_process"]["ns_pid"], pid, "{activation:#}");
        let milestones = &activation["milestones"];
        let handler = milestones["handler_ns"].as_i64().unwrap();
        let ready = milestones["ready_ns"].as_i64().unwrap();
        assert!(0 < handler && handler < ready, "{milestones}");
        let message = events(activation, "notify")[0];
        assert_eq!(message["assignments"][0][0], "READY");
        assert_eq!(message["assignments"][1][1], "up");
        assert_eq!(activation["alerts"].as_array().unwrap().len(), 0, "{activation:#}");
        assert_eq!(message["accepted"], true, "{message} {}", service["unit_problem"]);
        assert!(states(activation).contains(&("active", "running")), "{activation:#}");
        // The pre-start process belongs to the same start, before its zero.
        let execs = events(activation, "exec");
        assert!(execs.iter().any(|exec| {
            exec["process"]["comm"] == "sleep" && exec["at_ns"].as_i64().unwrap() < 0
        }));
    }
    let hup = events(&activations[0], "signal");
    let hup = hup.iter().find(|event| event["signal"] == "HUP").unwrap();
    assert_eq!(
        (hup["sender"]["comm"].as_str(), hup["fate"].as_str()),
        (Some("kill"), Some("handled"))
    );
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_unit_in_a_v1_hierarchy_is_recognised_and_its_early_death_seen() {
    const UNIT: &str = "[Service]\nExecStart=/bin/sleep 60\nExecReload=/bin/kill -HUP $MAINPID\n";
    let trace = Trace::start(&["ancient", "--wait"]);
    let results = Container::boot(
        Hierarchy::V1,
        "cp /shared/ancient.service /run/systemd/system/
         systemctl daemon-reload
         systemctl start ancient
         systemctl show -P MainPID ancient > /shared/pid
         cat /proc/$(cat /shared/pid)/cgroup > /shared/cgroup
         systemctl reload ancient
         sleep 0.3
         systemctl show -p Result,ActiveState ancient > /shared/state",
        &[("ancient.service", UNIT)],
    )
    .finish();
    let Traced { status, report, .. } = trace.end();
    assert!(results.file("cgroup").contains("name=systemd:/system.slice/ancient.service"));
    assert!(results.file("state").contains("ActiveState=inactive"));
    assert_eq!(status, Some(3), "{report:#}");
    let activation = &report["services"][0]["activations"][0];
    let pid: u64 = results.file("pid").trim().parse().unwrap();
    assert_eq!(activation["main_process"]["ns_pid"], pid, "{report:#}");
    assert_eq!(activation["alerts"][0]["id"], "reload-before-handler");
    assert_eq!(activation["outcome"]["signal"], "HUP");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_start_too_short_to_ask_about_still_gets_systemds_result() {
    let unit = |command: &str, more: &str| {
        format!("[Service]\n{more}\nExecStart=/bin/sh -c '{command}'\n")
    };
    let trace = Trace::start(&["short-*", "--wait"]);
    let results = Container::boot(
        Hierarchy::Unified,
        "cp /shared/short-* /run/systemd/system/
         systemctl daemon-reload
         sleep 2
         systemctl start short-clean short-killed short-notify short-again || true
         sleep 1
         for unit in clean killed notify again; do
             systemctl show -p Result,NRestarts short-$unit > /shared/$unit
         done",
        &[
            ("short-clean.service", &unit("exit 0", "")),
            ("short-killed.service", &unit("kill -USR1 $$$$", "Restart=on-success")),
            ("short-notify.service", &unit("kill -HUP $$$$", "Type=notify")),
            ("short-again.service", &unit("kill -ABRT $$$$", "Restart=on-abnormal\nRestartSec=1h")),
        ],
    )
    .finish();
    let report = trace.end().report;
    for (name, result, last) in [
        ("clean", "success", ("inactive", "dead")),
        ("killed", "signal", ("failed", "failed")),
        ("notify", "protocol", ("failed", "failed")),
        ("again", "signal", ("activating", "auto-restart")),
    ] {
        assert!(results.file(name).contains(&format!("Result={result}")), "{}", results.file(name));
        let services = report["services"].as_array().unwrap();
        let service = services.iter().find(|s| s["name"] == format!("short-{name}.service"));
        let activation = &service.expect(name)["activations"][0];
        assert_eq!(activation["systemd"]["result"], result, "{activation:#}");
        assert_eq!(states(activation).last(), Some(&last), "{activation:#}");
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_systemd_that_executes_itself_anew_is_heard_again() {
    const UNIT: &str = "[Service]\nExecStart=/bin/sleep 60\nExecReload=/bin/kill -HUP $MAINPID\n";
    let trace = Trace::start(&["sleeper", "--wait"]);
    let results = Container::boot(
        Hierarchy::Unified,
        "cp /shared/sleeper.service /run/systemd/system/
         systemctl daemon-reload
         sleep 2
         systemctl start sleeper
         sleep 0.5
         systemctl daemon-reexec
         sleep 1
         systemctl reload sleeper
         sleep 1
         systemctl show -p Result,ActiveState sleeper > /shared/state",
        &[("sleeper.service", UNIT)],
    )
    .finish();
    let Traced { status, report, .. } = trace.end();
    assert!(results.file("state").contains("ActiveState=inactive"));
    assert_eq!(status, Some(3), "{report:#}");
    let activations = report["services"][0]["activations"].as_array().unwrap();
    assert_eq!(activations.len(), 1, "{report:#}");
    let told = states(&activations[0]);
    assert!(told.contains(&("active", "running")), "{told:?}");
    assert_eq!(told.last(), Some(&("inactive", "dead")), "{told:?}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn each_of_many_quick_restarts_is_a_start_with_its_own_result() {
    let unit = |pause: &str, command: &str| {
        format!(
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec={pause}\n\
             ExecStart=/bin/sh -c '{command}'\n"
        )
    };
    let trace = Trace::start(&["busy*", "--wait"]);
    let results = Container::boot(
        Hierarchy::Unified,
        "cp /shared/busy*.service /run/systemd/system/
         systemctl daemon-reload
         sleep 2
         for unit in busy busyer; do
             systemctl start $unit
             sleep 3
             systemctl show -P NRestarts $unit > /shared/$unit
             systemctl stop $unit
         done",
        &[
            ("busy.service", &unit("20ms", "exit 7")),
            ("busyer.service", &unit("0", "sleep 0.1; exit 7")),
        ],
    )
    .finish();
    let report = trace.end().report;
    for (name, knows_all) in [("busy", true), ("busyer", false)] {
        let restarts: usize = results.file(name).trim().parse().unwrap();
        assert!(restarts >= 10, "{restarts}");
        let services = report["services"].as_array().unwrap();
        let service = services.iter().find(|it| it["name"] == format!("{name}.service")).unwrap();
        let activations = service["activations"].as_array().unwrap();
        assert!(activations.len() > restarts, "{restarts} {report:#}");
        let mut invocations = HashSet::new();
        // The last was stopped.
        for activation in &activations[..restarts] {
            assert!(invocations.insert(activation["invocation_id"].as_str().unwrap()));
            assert_eq!(activation["outcome"]["code"], 7, "{activation:#}");
            // systemd tells of several steps at once when they follow at once.
            let result = &activation["systemd"]["result"];
            let unknown = !knows_all && result.is_null();
            assert!(unknown || result == "exit-code", "{activation:#}");
        }
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn units_of_one_glob_and_units_with_escaped_names_are_kept_apart() {
    let unit = |restart: &str| format!("[Service]\nRestart={restart}\nExecStart=/bin/sleep 60\n");
    let trace = Trace::start(&[r"foo\x2dbar@*", "twin?.service", "--wait"]);
    let results = Container::boot(
        Hierarchy::Unified,
        r"cp /shared/*.service /run/systemd/system/
          systemctl daemon-reload
          sleep 2
          systemctl start twin1 twin2 'foo\x2dbar@a-b.service' 'foo\x2dbar@c.service'
          systemd-run --unit twin3 /bin/sleep 60
          sleep 0.5
          systemctl show -P MainPID twin1 twin2 twin3 'foo\x2dbar@a-b' 'foo\x2dbar@c' \
              | grep . > /shared/pids
          systemctl stop twin1 twin2 twin3 'foo\x2dbar@a-b' 'foo\x2dbar@c'",
        &[
            ("twin1.service", &unit("on-failure")),
            ("twin2.service", &unit("always")),
            (r"foo\x2dbar@.service", &unit("no")),
        ],
    )
    .finish();
    let report = trace.end().report;
    let pids: Vec<u64> = results.file("pids").lines().map(|pid| pid.parse().unwrap()).collect();
    let expected = [
        ("twin1.service", "on-failure"),
        ("twin2.service", "always"),
        // A transient one, which is asked about while it is there.
        ("twin3.service", "no"),
        (r"foo\x2dbar@a-b.service", "no"),
        (r"foo\x2dbar@c.service", "no"),
    ];
    let services = report["services"].as_array().unwrap();
    assert_eq!(services.len(), expected.len(), "{report:#}");
    for ((name, restart), pid) in expected.iter().zip(pids) {
        let service = services.iter().find(|service| service["name"] == *name).expect(name);
        assert_eq!(service["unit"]["restart"], *restart, "{service:#}");
        assert_eq!(service["activations"][0]["main_process"]["ns_pid"], pid, "{service:#}");
        assert_eq!(service["activations"][0]["systemd"]["result"], "success", "{service:#}");
    }
}
