//! Units whose systemd can't be asked: without a bus, refused by it, or hanging. What can't be
//! known is said with its reason, and the trace goes on.

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::support::container::{ANSWERING, Container, Hierarchy};
use crate::support::traces::{Trace, Traced, hups};

const MUTE: &str = "\
[Service]
Restart=on-failure
ExecStart=/usr/bin/python3 -c 'import signal, time; signal.signal(1, print); time.sleep(60)'
ExecReload=/bin/kill -HUP $MAINPID
";
/// Lets nobody but systemd itself talk to systemd.
const POLICY: &str = r#"
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <policy context="mandatory">
    <deny send_destination="org.freedesktop.systemd1"/>
  </policy>
</busconfig>
"#;

/// A container with the unit.
fn mute() -> Container {
    let files = [("mute.service", MUTE), ("policy.conf", POLICY)];
    let container = Container::boot(Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    container.ask("cp /shared/mute.service /run/systemd/system/; systemctl daemon-reload");
    container
}

/// That the settings come from the files, for this reason, and nothing is made up.
fn assert_from_files(traced: &Traced, reason: &str) {
    let service = traced.service("mute.service");
    assert_eq!(service["unit"]["source"], "unit_files", "{service:#}");
    assert_eq!(service["unit"]["restart"], "on-failure");
    assert_eq!(service["unit"]["reload_signal"], "HUP");
    let problem = service["unit_problem"].as_str().unwrap();
    assert!(problem.contains(reason), "{problem}");
    assert!(problem.ends_with("; the settings are from unit files"), "{problem}");
    for start in traced.activations("mute.service") {
        assert_eq!(start["systemd"], Value::Null, "{start:#}");
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn without_any_bus_the_unit_files_tell_the_settings() {
    let container = mute();
    container.ask(
        "systemctl start mute
         systemctl stop dbus.socket dbus.service
         mount -t tmpfs tmpfs /run/dbus",
    );
    let traced = Trace::start_in(&container, &["mute", "--duration", "1s"]).wait();
    assert_from_files(&traced, "cannot reach systemd through");
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_bus_that_refuses_is_quoted() {
    let container = mute();
    let said = container.ask(
        "systemctl start mute
         cp /shared/policy.conf /etc/dbus-1/system.d/
         systemctl reload dbus
         busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 \
            org.freedesktop.systemd1.Manager Version",
    );
    assert!(said.contains("Access denied"), "the bus refuses: {said}");
    let traced = Trace::start_in(&container, &["mute", "--duration", "1s"]).wait();
    assert_from_files(&traced, "AccessDenied");
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_systemd_that_hangs_costs_its_words_and_nothing_else() {
    let container = mute();
    container.ask("systemctl start mute; sleep 0.5");
    let systemd = Pid::from_raw(container.init().cast_signed());
    let main = container.ask("systemctl show -P MainPID mute");
    kill(systemd, Signal::SIGSTOP).unwrap();
    let trace = Trace::start_in(&container, &["mute", "--duration", "7s"]);
    container.ask(&format!("kill -HUP {main}"));
    let traced = trace.wait();
    kill(systemd, Signal::SIGCONT).unwrap();
    assert_from_files(&traced, "no answer within 5 s");
    let start = &traced.activations("mute.service")[0];
    assert_eq!(hups(start)[0]["disposition"], "handler", "{start:#}");
    // Once it goes on, all of it is known.
    let traced = Trace::start_in(&container, &["mute", "--duration", "1s"]).wait();
    let service = traced.service("mute.service");
    assert_eq!(service["unit"]["source"], "dbus", "{service:#}");
    assert_eq!(service["unit_problem"], Value::Null);
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_masked_unit_is_refused_and_one_that_runs_all_the_same_is_traced() {
    let container = mute();
    // Masked while it runs: systemd keeps it, and says so.
    container.ask(
        "systemctl start mute
         mkdir -p /etc/systemd/system.control
         ln -s /dev/null /etc/systemd/system.control/mute.service
         ln -s /dev/null /etc/systemd/system/never.service
         systemctl daemon-reload",
    );
    let shown = container.ask("systemctl show -p LoadState,ActiveState mute");
    assert!(shown.contains("masked") && shown.contains("ActiveState=active"), "{shown}");
    let traced = Trace::start_in(&container, &["mute", "--duration", "1s"]).wait();
    let start = &traced.activations("mute.service")[0];
    assert_eq!(start["systemd"]["active_state"], "active", "{:#}", traced.report);
    let root = format!("/proc/{}/root", container.init());
    for (unit, reason) in [("never", "is masked"), ("nothing", "there is no unit")] {
        let arguments = ["trace", "--root", &root, unit];
        let output = Command::new(cargo_bin("sigready")).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason), "{said}");
    }
    container.over();
}
