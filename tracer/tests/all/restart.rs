//! `trace --restart` on a unit of a container, asked for from outside, with systemd as the
//! witness of what was done to it.

use std::{path::PathBuf, process::Command};

use assert_cmd::cargo::cargo_bin;
use serde_json::{Value, json};

use crate::support::container::{Container, Hierarchy, newer_root, root};
use crate::support::traces::{Trace, Traced, alerts, events, hups};

/// Keeps the container until it is told that the test is over.
const KEEP: &str = "
    touch /shared/up
    while [ ! -e /shared/over ]; do sleep 0.1; done
    systemctl show -p Result,NRestarts,ActiveState,MainPID,ControlGroup";

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_reload_while_patroni_starts_kills_it_through_systemd_and_by_hand() {
    let container = Container::boot(
        Hierarchy::Unified,
        &format!(
            "ip link set lo up\nsystemctl start patroni\nsleep 2\n{KEEP} patroni > /shared/state"
        ),
        &[],
    );
    container.wait_for("up");
    for how in ["systemd", "kill"] {
        let reload = format!("--reload-during-start={how}");
        let traced =
            Trace::start_in(&container, &["patroni", "--restart", &reload, "--duration", "4s"])
                .wait();
        assert!(
            traced.said.contains("asking systemd to restart patroni.service"),
            "{}",
            traced.said
        );
        assert_eq!(traced.status, Some(3), "{}", traced.said);
        let starts = traced.activations("patroni.service");
        let last = starts.last().unwrap();
        assert_eq!(last["outcome"]["signal"], "HUP", "{how}: {last:#}");
        assert_eq!(last["joined_ns"], Value::Null);
        assert!(alerts(last).contains(&"reload-before-handler"), "{how}: {last:#}");
        let sender = if how == "kill" { "sigready" } else { "kill" };
        assert!(
            hups(last).into_iter().any(|hup| hup["sender"]["comm"] == sender),
            "{how}: {last:#}"
        );
        assert_eq!(last["systemd"]["result"], "success", "{how}: {last:#}");
    }
    let state = container.over().file("state");
    assert!(state.contains("ActiveState=inactive") && state.contains("Result=success"), "{state}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_notify_unit_is_not_reloaded_by_systemd_before_it_is_ready() {
    const SERVICE: &str = "\
import os, signal, socket, time
time.sleep(0.5)
signal.signal(signal.SIGHUP, lambda *a: None)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
s.send(b'READY=1')
while True:
    time.sleep(1)
";
    const UNIT: &str = "\
[Service]
Type=notify
ExecStart=/usr/bin/python3 /shared/service.py
ExecReload=/bin/kill -HUP $MAINPID
";
    let container = Container::boot(
        Hierarchy::Unified,
        &format!(
            "cp /shared/told.service /run/systemd/system/
             ln -s told.service /run/systemd/system/teller.service
             systemctl daemon-reload
             {KEEP} told > /shared/state"
        ),
        &[("service.py", SERVICE), ("told.service", UNIT)],
    );
    container.wait_for("up");
    // By its other name.
    let traced = Trace::start_in(
        &container,
        &["teller", "--restart", "--reload-during-start", "--duration", "4s"],
    )
    .wait();
    assert!(
        traced.said.contains("teller.service is another name of told.service"),
        "{}",
        traced.said
    );
    assert_eq!(traced.status, Some(0), "{}\n{:#}", traced.said, traced.report);
    let start = &traced.activations("told.service")[0];
    assert_eq!(alerts(start), [""; 0], "{start:#}");
    let ready = start["milestones"]["ready_ns"].as_i64().unwrap();
    assert!(start["milestones"]["first_reload_ns"].as_i64().unwrap() > ready, "{start:#}");
    let state = container.over().file("state");
    assert!(state.contains("ActiveState=active"), "{state}");
    let facts = &traced.service("told.service")["unit"];
    let group = facts["control_group"].as_str().unwrap();
    assert!(state.lines().any(|line| line.strip_prefix("ControlGroup=") == Some(group)), "{state}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn units_of_the_system_below_a_root_leave_out_their_namesakes_elsewhere() {
    const UNIT: &str = "[Service]\nExecStart=/bin/sleep 60\n";
    let boot = || {
        let scenario = format!(
            "cp /shared/mate.service /run/systemd/system/
             systemctl daemon-reload
             systemctl start mate
             {KEEP} mate > /shared/state"
        );
        let container = Container::boot(Hierarchy::Unified, &scenario, &[("mate.service", UNIT)]);
        container.wait_for("up");
        container
    };
    let (one, other) = (boot(), boot());
    let everywhere = Trace::start(&["mate", "--duration", "1s"]).wait().report;
    let traced = Trace::start_in(&one, &["mate", "--duration", "1s"]).wait().report;
    for container in [one, other] {
        container.over();
    }
    let services = everywhere["services"].as_array().unwrap();
    assert_eq!(services.len(), 2, "{everywhere:#}");
    for service in services {
        assert_eq!(service["owner"], json!({"kind": "container", "uid": 0}), "{service:#}");
    }
    assert_eq!(traced["services"].as_array().unwrap().len(), 1, "{traced:#}");
    assert_eq!(traced["services"][0]["unit"]["source"], "dbus", "{traced:#}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_reload_that_systemd_does_not_run_or_that_fails_is_told_beside_what_else_there_is() {
    const FAILS: &str = "[Service]\nType=notify\nExecStart=/bin/false\nExecReload=/bin/true\n";
    const STAYS: &str = "[Service]\nExecStart=/bin/sleep 60\nExecReload=/bin/false\n";
    let scenario = format!(
        "cp /shared/*.service /run/systemd/system/\nsystemctl daemon-reload\n{KEEP} fails stays \
         > /shared/state"
    );
    let units = [("fails.service", FAILS), ("stays.service", STAYS)];
    let container = Container::boot(Hierarchy::Unified, &scenario, &units);
    container.wait_for("up");
    let traced = |unit| {
        let how = ["--restart", "--reload-during-start", "--duration", "2s"];
        Trace::start_in(&container, &[&[unit], &how[..]].concat()).wait()
    };
    let (fails, stays) = (traced("fails"), traced("stays"));
    let untested = "not tested: fails.service was not up when systemd was to reload it";
    assert!(fails.said.contains(untested), "{}", fails.said);
    assert_eq!(fails.status, Some(3), "it is ready-missing all the same: {}", fails.said);
    let failed = "systemd's reload of stays.service ended with 'failed'";
    assert!(stays.said.contains(failed), "{}", stays.said);
    assert!(!stays.said.contains("not tested"), "{}", stays.said);
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_unit_that_systemd_passes_over_and_one_without_a_reload_are_said_to_be_so() {
    const WAITS: &str = "[Unit]\nConditionPathExists=!/\n[Service]\nExecStart=/bin/sleep 60\n\
                         ExecReload=/bin/true\n";
    const PLAIN: &str = "[Service]\nExecStart=/bin/sleep 60\n";
    let scenario = format!(
        "cp /shared/*.service /run/systemd/system/\nsystemctl daemon-reload\n{KEEP} waits plain \
         > /shared/state"
    );
    let units = [("waits.service", WAITS), ("plain.service", PLAIN)];
    let container = Container::boot(Hierarchy::Unified, &scenario, &units);
    container.wait_for("up");
    let traced = |unit| {
        let how = ["--restart", "--reload-during-start", "--duration", "2s"];
        Trace::start_in(&container, &[&[unit], &how[..]].concat()).wait()
    };
    let (waits, plain) = (traced("waits"), traced("plain"));
    let unmet = "systemd did not start waits.service: not met is ConditionPathExists=!/";
    assert!(waits.said.contains(unmet), "{}", waits.said);
    assert!(waits.said.contains("nothing was seen of waits.service"), "{}", waits.said);
    assert_eq!(waits.status, Some(1));
    let has_none = "plain.service will not be reloaded: systemd has no reload for it";
    assert!(plain.said.contains(has_none), "{}", plain.said);
    assert!(!plain.said.contains("systemd would not"), "{}", plain.said);
    let how = ["waits", "--restart", "--reload-during-start=kill", "--duration", "1s"];
    let killed = Trace::start_in(&container, &how).wait();
    let unsent = "waits.service had no new main process: its reload signal was not sent";
    assert!(killed.said.contains(unsent), "{}", killed.said);
    assert_eq!(plain.activations("plain.service").len(), 1);
    // systemd's own words.
    let state = container.over().file("state");
    let states: Vec<&str> =
        state.lines().filter_map(|line| line.strip_prefix("ActiveState=")).collect();
    assert_eq!(states, ["inactive", "active"], "{state}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_restart_of_what_is_not_a_named_unit_is_refused() {
    for arguments in [&["nginx*", "--restart"][..], &["--all", "--restart"]] {
        let output =
            Command::new(cargo_bin("sigready")).arg("trace").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("--restart needs the names of units"), "{said}");
    }
}

/// A service that is busy for a while before it installs its handler, as others are that load much.
const HANDLES: &str = "\
import signal
sum(range(5_000_000))
signal.signal(signal.SIGHUP, lambda *_: None)
while True:
    signal.pause()
";

/// Restarts a unit with a signal to its new main process. Gives its HUPs, each with what the main
/// process had done between its exec and that.
fn aimed_at(root: PathBuf, unit: &str, prepare: &str) -> (Traced, Vec<(Vec<Value>, String)>) {
    let files = [("aim.service", unit), ("prepare.sh", prepare), ("handles.py", HANDLES)];
    let container = Container::boot_in(
        root,
        Hierarchy::Unified,
        &format!(
            "cp /shared/aim.service /run/systemd/system/\nsystemctl daemon-reload\n\
             systemctl start aim\n{KEEP} aim > /shared/state"
        ),
        &files,
    );
    container.wait_for("up");
    let how = ["aim", "--restart", "--reload-during-start=kill", "--duration", "5s"];
    let traced = Trace::start_in(&container, &how).wait();
    container.over();
    let starts = traced.activations("aim.service");
    let last = starts.last().unwrap();
    let main = &last["main_process"]["pid"];
    let events = last["events"].as_array().unwrap();
    let sent = hups(last).into_iter().map(|hup| {
        assert_eq!(&hup["target"]["pid"], main, "{last:#}");
        let before = events.iter().take_while(|event| *event != hup);
        let own = before.filter(|event| &event["process"]["pid"] == main);
        let own: Vec<&Value> = own.collect();
        let exec = own.iter().rposition(|event| event["kind"] == "exec");
        let exec = exec.unwrap_or_else(|| panic!("it came before the exec: {last:#}"));
        let since = own[exec + 1..].iter().map(|event| (*event).clone()).collect();
        (since, hup["fate"].as_str().unwrap().to_owned())
    });
    let sent = sent.collect();
    (traced, sent)
}

const PREPARES: &str = "\
[Service]
ExecStartPre=/bin/sh /shared/prepare.sh
ExecStart=/usr/bin/python3 /shared/handles.py
ExecReload=/bin/kill -HUP $MAINPID
";

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn the_reload_by_kill_hits_the_main_process_right_after_its_exec_and_no_command_before_it() {
    for root in [root(), newer_root()] {
        // It would take HUP for itself. A busy machine gets three starts in which the signal comes
        // before the interpreter has done anything.
        let is_first = |_| {
            let prepare = "for i in 1 2 3 4 5; do sleep 0.1; done\n";
            let (traced, sent) = aimed_at(root.clone(), PREPARES, prepare);
            let [(since, fate)] = &sent[..] else { panic!("{sent:?}\n{:#}", traced.report) };
            assert!(traced.said.contains(" after its exec"), "{}", traced.said);
            let is_first = since.is_empty();
            assert!(!is_first || fate == "killed" && traced.status == Some(3), "{sent:?}");
            is_first
        };
        assert!((0..3).any(is_first), "each time it had its handler");
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn of_a_daemon_in_the_background_the_reload_by_kill_hits_the_daemon_and_not_its_starter() {
    const FORKS: &str = "\
[Service]
Type=forking
PIDFile=/run/aim.pid
ExecStart=/bin/sh /shared/prepare.sh
ExecReload=/bin/kill -HUP $MAINPID
";
    const STARTER: &str = "(exec sleep 60) &\necho $! > /run/aim.pid\nsleep 0.3\n";
    let (traced, sent) = aimed_at(root(), FORKS, STARTER);
    let [(_, fate)] = &sent[..] else { panic!("{sent:?}\n{:#}", traced.report) };
    assert_eq!(fate, "killed", "{}", traced.said);
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn where_the_main_process_never_comes_it_is_said_that_nothing_was_tested() {
    let container = Container::boot(
        Hierarchy::Unified,
        &format!(
            "cp /shared/aim.service /run/systemd/system/\nsystemctl daemon-reload\n\
             {KEEP} aim > /shared/state"
        ),
        &[("aim.service", PREPARES), ("prepare.sh", "exit 1\n"), ("handles.py", HANDLES)],
    );
    container.wait_for("up");
    let how = ["aim", "--restart", "--reload-during-start=kill", "--duration", "2s"];
    let traced = Trace::start_in(&container, &how).wait();
    container.over();
    assert_eq!(traced.status, Some(1), "{}", traced.said);
    let untested = "aim.service had no new main process: its reload signal was not sent";
    assert!(traced.said.contains(&format!("not tested: {untested}")), "{}", traced.said);
    assert_eq!(traced.report["capture"]["untested"], json!([untested]));
}

/// As the units that systemd makes of scripts in /etc/init.d.
#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn of_a_unit_that_is_up_without_a_main_process_it_is_said_that_systemd_knows_none() {
    const SCRIPT: &str = "[Service]\nType=forking\nGuessMainPID=no\nRemainAfterExit=yes\n\
                          ExecStart=/bin/sh -c '(exec sleep 60) & sleep 0.1'\n";
    let container = Container::boot(
        Hierarchy::Unified,
        &format!(
            "cp /shared/script.service /run/systemd/system/\nsystemctl daemon-reload\n\
             {KEEP} script > /shared/state"
        ),
        &[("script.service", SCRIPT)],
    );
    container.wait_for("up");
    let how = ["script", "--restart", "--reload-during-start=kill", "--duration", "2s"];
    let traced = Trace::start_in(&container, &how).wait();
    let state = container.over().file("state");
    assert!(state.contains("ActiveState=active") && state.contains("MainPID=0"), "{state}");
    assert_eq!(traced.status, Some(1), "{}", traced.said);
    let untested = "script.service is up, and systemd knows no main process of it: its reload \
                    signal was not sent";
    assert_eq!(traced.report["capture"]["untested"], json!([untested]));
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn the_message_bus_that_systemd_is_asked_through_is_restarted_and_reloaded_as_others_are() {
    let scenario = format!("{KEEP} dbus > /shared/state");
    let container = Container::boot(Hierarchy::Unified, &scenario, &[]);
    container.wait_for("up");
    let traced = Trace::start_in(
        &container,
        &["dbus", "--restart", "--reload-during-start", "--duration", "8s"],
    )
    .wait();
    assert_eq!(traced.status, Some(0), "{}", traced.said);
    let starts = traced.activations("dbus.service");
    let last = starts.last().unwrap();
    assert_eq!((starts.len(), &last["joined_ns"]), (2, &Value::Null), "{}", traced.said);
    assert_eq!(last["main_process"]["comm"], "dbus-daemon", "{last:#}");
    assert_eq!(last["systemd"]["active_state"], "active", "{last:#}");
    let execs = events(last, "exec");
    assert!(execs.iter().any(|it| it["process"]["comm"] == "dbus-send"), "reloaded: {last:#}");
    assert!(container.over().file("state").contains("ActiveState=active"));
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn the_reload_by_kill_reaches_a_unit_that_is_restarted_together_with_the_message_bus() {
    const UNIT: &str = "[Service]\nExecStartPre=/bin/sleep 1\nExecStart=/bin/sleep infinity\n";
    let scenario = format!(
        "cp /shared/late.service /run/systemd/system/
         systemctl daemon-reload
         systemctl start late
         {KEEP} late > /shared/state"
    );
    let container = Container::boot(Hierarchy::Unified, &scenario, &[("late.service", UNIT)]);
    container.wait_for("up");
    let arguments = ["dbus", "late", "--restart", "--reload-during-start=kill", "--duration", "8s"];
    let traced = Trace::start_in(&container, &arguments).wait();
    let last = traced.activations("late.service").last().unwrap();
    assert_eq!(last["outcome"]["signal"], "HUP", "{}\n{last:#}", traced.said);
    assert_eq!(hups(last)[0]["sender"]["comm"], "sigready", "{last:#}");
    assert!(container.over().file("state").contains("ActiveState=inactive"));
}
