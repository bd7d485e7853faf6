//! `sigready lint` against real unit files, and what it says against what systemd says.

#[path = "support/container.rs"]
mod container;

use std::{collections::HashMap, fs, process::Command};

use assert_cmd::cargo::cargo_bin;
use container::{Container, Hierarchy, newer_root, root};
use serde_json::Value;
use sigready::systemd::unit_files::{Found, UnitFiles};

/// Runs it; gives its exit status, its findings, and what it said.
fn lint(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = Command::new(cargo_bin("sigready"))
        .args(["lint", "--format", "json"])
        .args(arguments)
        .output()
        .unwrap();
    let findings = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), findings, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_file_is_judged_without_being_installed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.service");
    fs::write(
        &file,
        "[Service]\nExecStart=/bin/mine\nRestart=on-failure\nExecReload=kill -HUP $MAINPID\n",
    )
    .unwrap();
    let (status, findings, _) = lint(&[file.to_str().unwrap()]);
    assert_eq!(status, Some(3), "{findings:#}");
    assert_eq!(findings["schema"], "sigready/lint/v1");
    assert_eq!(findings["units"][0]["name"], "mine.service");
    assert_eq!(findings["units"][0]["findings"][0]["id"], "reload-not-awaited");
    let (status, ..) = lint(&["--fail-on", "never", file.to_str().unwrap()]);
    assert_eq!(status, Some(0));
}

#[test]
fn what_is_no_service_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("a.socket"), "[Socket]\nListenStream=1\n").unwrap();
    fs::write(path("b.service"), [0_u8, 255, 27, 10].repeat(5_000)).unwrap();
    let empty = directory.path().to_str().unwrap();
    for (arguments, sentence) in [
        (vec![path("a.socket")], "no [Service] section"),
        (vec![path("b.service")], "no [Service] section"),
        (vec![path("c.service")], "cannot read"),
        (vec![path(".")], "cannot read"),
        (vec!["no-such-unit".to_owned()], "no unit file of 'no-such-unit.service'"),
        (vec!["no-such-*".to_owned()], "no service matches 'no-such-*'"),
        (vec!["[.service".to_owned()], "not a unit name or glob"),
        (vec!["--root".to_owned(), empty.to_owned()], "there are no unit files below"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (status, _, said) = lint(&arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(sentence), "{arguments:?}: {said}");
    }
}

#[test]
#[ignore = "needs root and a container root: run by cargo xtask test"]
fn the_settings_read_from_files_are_those_that_systemd_loads() {
    for root in [root(), newer_root()] {
        let files = UnitFiles::of_system(&root).unwrap();
        let names: Vec<String> =
            files.services().into_iter().filter(|name| !name.contains("@.")).collect();
        assert!(names.len() > 50, "{names:?}");
        let scenario = "systemctl show -p Id,LoadState,Type,NotifyAccess,Restart,KillMode,\
                        RemainAfterExit $(cat /shared/names) > /shared/shown";
        let shared = [("names", &*names.join(" "))];
        let results =
            Container::boot_in(root.clone(), Hierarchy::Unified, scenario, &shared).finish();
        let mut compared = 0;
        for shown in results.file("shown").split("\n\n") {
            let shown: HashMap<&str, &str> =
                shown.lines().filter_map(|line| line.split_once('=')).collect();
            let id = shown["Id"];
            // The test's own.
            if id == "scenario.service" {
                continue;
            }
            match files.read(id) {
                Found::Unit { name, facts, .. } if name == id && shown["LoadState"] == "loaded" => {
                    let yes = |flag| if flag { "yes" } else { "no" };
                    let read = [
                        ("Type", facts.service_type.as_deref()),
                        ("NotifyAccess", facts.notify_access.as_deref()),
                        ("Restart", facts.restart.as_deref()),
                        ("KillMode", facts.kill_mode.as_deref()),
                        ("RemainAfterExit", facts.remain_after_exit.map(yes)),
                    ];
                    for (setting, value) in read {
                        assert_eq!(value, Some(shown[setting]), "{setting} of {id}");
                    }
                    compared += 1;
                }
                Found::Masked => assert_eq!(shown["LoadState"], "masked", "{id}"),
                _ => assert_ne!(shown["LoadState"], "loaded", "{id}"),
            }
        }
        assert!(compared > 50, "only {compared} compared");
    }
}

#[test]
#[ignore = "needs root and a container root: run by cargo xtask test"]
fn the_drop_in_brings_patroni_back_after_an_early_reload() {
    let root = root();
    let (status, findings, _) = lint(&["--root", root.to_str().unwrap(), "patroni"]);
    assert_eq!(status, Some(3), "{findings:#}");
    let drop_in = &findings["units"][0]["findings"][0]["drop_in"];
    // It is below the root that was named.
    let path = drop_in["path"].as_str().unwrap();
    let path = path.strip_prefix(root.to_str().unwrap()).unwrap();
    assert!(path.starts_with("/etc/systemd/system/"), "{path}");
    let scenario = format!(
        "ip link set lo up
         mkdir -p $(dirname {path})
         cp /shared/drop-in {path}
         systemctl daemon-reload
         systemctl start patroni && systemctl reload patroni
         sleep 2
         systemctl show -p NRestarts,ActiveState patroni > /shared/state"
    );
    let text = drop_in["text"].as_str().unwrap();
    let results = Container::boot(Hierarchy::Unified, &scenario, &[("drop-in", text)]).finish();
    let state = results.file("state");
    assert!(state.contains("NRestarts=1") && state.contains("ActiveState=active"), "{state}");
}
