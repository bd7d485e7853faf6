//! What is said of a service that is to be started again, where the limit of its starts counts,
//! against what systemd then does: by the releases of the three roots.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{
    container::{Container, Hierarchy, newer_root, newest_root, root},
    traces::{Trace, Traced},
};

/// Dies of HUP, a clean end.
const SLEEPS: &str = "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\n";
/// Never says READY=1, so that its death is a failure.
const WAITS: &str =
    "[Service]\nType=notify\nExecStart=/bin/sleep 1000\nRestart=on-failure\nRestartSec=200ms\n";

/// The names of the units begin with `$r`.
const SCENARIO: &str = "
    sleep 2
    cp /shared/units/* /run/systemd/system/
    systemctl daemon-reload
    for unit in $r-once $r-fails $r-long; do
        systemctl start --no-block $unit
        sleep 0.5
        systemctl kill -s HUP $unit
    done
    systemctl start $r-twice
    for i in 1 2; do
        sleep 0.5
        systemctl kill -s HUP $r-twice
        sleep 1
    done
    for unit in $r-once $r-fails $r-long $r-twice; do
        systemctl show -p ActiveState,Result,NRestarts $unit > /shared/$unit
    done
    systemctl stop $r-long";

/// `failed` is the result of a failure whose next start is refused. Traces that go on at one time would
/// see each other's units: `release` is in their names.
fn traced(root: PathBuf, release: &str, failed: &str) {
    let named = |unit: &str| format!("{release}-{unit}");
    let services = ["once", "fails", "long", "twice"].map(|unit| named(unit) + ".service");
    let services = services.iter().map(String::as_str);
    let trace = Trace::start(&services.chain(["--wait", "--signal", "HUP"]).collect::<Vec<_>>());
    let unit = |name: &str, limit: &str, service: &str| {
        (format!("units/{}.service", named(name)), format!("[Unit]\n{limit}\n{service}"))
    };
    let units = [
        unit("once", "StartLimitBurst=1", SLEEPS),
        unit("fails", "StartLimitBurst=1", WAITS),
        unit("long", "StartLimitBurst=1\nStartLimitIntervalSec=100ms", SLEEPS),
        unit("twice", "StartLimitBurst=2", SLEEPS),
    ];
    let scenario = SCENARIO.replace("$r", release);
    let files: Vec<(&str, &str)> =
        units.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let container = Container::boot_in(root, Hierarchy::Unified, &scenario, &files);
    let results = container.finish();
    let traced = trace.end();

    let refused = |unit: &str, result: &str, restarts: u32| {
        let unit = &named(unit);
        let shown = results.file(unit);
        for fact in
            ["ActiveState=failed", &format!("Result={result}"), &format!("NRestarts={restarts}")]
        {
            assert!(shown.contains(fact), "{unit}: {shown}");
        }
        let last = traced.activations(&format!("{unit}.service")).last().unwrap();
        let told = consequence(last);
        assert!(told.contains(&format!("the unit has failed (result '{result}').")), "{told}");
        let word =
            format!(" systemd says so itself: Result={result}, and it refuses the start after");
        assert!(told.contains(&word), "{told}");
    };
    refused("once", "start-limit-hit", 1);
    refused("fails", failed, 1);
    refused("twice", "start-limit-hit", 2);
    let long = results.file(&named("long"));
    assert!(long.contains("ActiveState=active"), "{long}");
    restarted(&traced, &named("long.service"));
    restarted(&traced, &named("twice.service"));
}

/// The first start was followed by another, and that is said of it.
fn restarted(traced: &Traced, unit: &str) {
    let activations = traced.activations(unit);
    assert_eq!(activations.len(), 2, "{activations:#?}");
    let told = consequence(&activations[0]);
    assert!(told.contains("Restart=always restarts it. systemd says so itself:"), "{told}");
}

/// What the one alert says that follows.
fn consequence(activation: &Value) -> &str {
    let alerts = activation["alerts"].as_array().unwrap();
    assert_eq!(alerts.len(), 1, "{activation:#}");
    alerts[0]["consequence"].as_str().unwrap()
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_start_that_the_limit_forbids_is_foretold() {
    traced(root(), "older", "protocol");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_newer_systemd_refuses_the_same() {
    traced(newer_root(), "newer", "protocol");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn the_newest_systemd_refuses_the_same() {
    traced(newest_root(), "newest", "start-limit-hit");
}
