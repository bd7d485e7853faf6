//! A user's unit: their own systemd says what there is to know of it, where it can be asked.

use std::{path::Path, process::Command};

use assert_cmd::cargo::cargo_bin;
use serde_json::{Value, json};

use crate::support::container::{ANSWERING, Container, Hierarchy};
use crate::support::traces::{Trace, alerts, hups};

/// A user whose systemd runs, with a unit. Without logind, which would make the directory and
/// start it at a login.
const PREPARE: &str = r"
useradd --create-home --uid 4711 ada
mkdir -p /run/user/4711 /home/ada/.config/systemd/user
cat > /home/ada/.config/systemd/user/mine.service <<'END'
[Service]
ExecStart=/usr/bin/python3 -c 'import time; time.sleep(60)'
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
END
chown -R ada /run/user/4711 /home/ada
mkdir -p /run/systemd/system/user@4711.service.d
cat > /run/systemd/system/user@4711.service.d/alone.conf <<'END'
[Service]
PAMName=
Environment=XDG_RUNTIME_DIR=/run/user/4711
END
systemctl daemon-reload
systemctl start user@4711 --job-mode=ignore-dependencies
systemctl is-active user@4711";
const RELOAD_AT_ONCE: &str = "
as_ada() {
    setpriv --reuid ada --regid ada --clear-groups env XDG_RUNTIME_DIR=/run/user/4711 \"$@\"
}
as_ada systemctl --user start mine
as_ada systemctl --user reload mine
sleep 1
as_ada systemctl --user show mine -p Result -p ActiveState";
const CLEAR: &str = "
systemctl stop user@4711 --job-mode=ignore-dependencies
rm -rf /run/systemd/system/user@4711.service.d
systemctl daemon-reload
userdel --remove --force ada";

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// On a host with systemd that is the user's host. A user's systemd takes no root of another
/// pid namespace than its own, so one in a container can't be asked.
#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn of_a_users_unit_the_users_systemd_tells_where_it_can_be_reached() {
    let is_booted = Path::new("/run/systemd/system").is_dir();
    let container = (!is_booted).then(|| {
        let container = Container::boot(Hierarchy::Unified, ANSWERING, &[]);
        container.wait_for("up");
        container
    });
    let ask = |script| match &container {
        Some(container) => container.ask(script),
        None => shell(script),
    };
    let prepared = ask(PREPARE);
    assert!(prepared.ends_with("active\n"), "{prepared}");
    let trace = Trace::start(&["mine", "--wait"]);
    let shown = ask(RELOAD_AT_ONCE);
    let traced = trace.end();
    let asked = is_booted.then(|| {
        let how = ["--restart", "--reload-during-start=kill", "--duration", "3s"];
        let restarted = Trace::start(&[&["--user", "ada", "mine"], &how[..]].concat()).wait();
        let arguments = ["lint", "--user", "4711", "mine", "--format", "json"];
        let linted = Command::new(cargo_bin("sigready")).args(arguments).output().unwrap();
        (restarted, linted)
    });
    ask(CLEAR);
    if let Some(container) = container {
        container.over();
    }

    assert!(shown.contains("Result=success") && shown.contains("ActiveState=inactive"), "{shown}");
    let start = &traced.activations("mine.service")[0];
    assert_eq!(start["outcome"]["signal"], "HUP", "{start:#}");
    assert_eq!(alerts(start), ["reload-before-handler"]);
    let service = traced.service("mine.service");
    assert_eq!(service["owner"], json!({"kind": "user", "uid": 4711}), "{service:#}");
    let consequence = start["alerts"][0]["consequence"].as_str().unwrap();
    if let Some((restarted, linted)) = asked {
        let start = restarted.activations("mine.service").last().unwrap();
        assert_eq!(start["outcome"]["signal"], "HUP", "{start:#}");
        assert_eq!(hups(start)[0]["sender"]["comm"], "sigready", "{start:#}");
        let findings: Value = serde_json::from_slice(&linted.stdout).unwrap();
        let finding = &findings["units"][0]["findings"][0];
        assert_eq!(finding["id"], "reload-not-awaited", "{findings:#}");
        let drop_in = "/home/ada/.config/systemd/user/mine.service.d/50-reload-not-awaited.conf";
        assert_eq!(finding["drop_in"]["path"], drop_in);
        assert_eq!(service["unit"]["source"], "dbus", "{service:#} {}", traced.said);
        assert_eq!(service["unit"]["restart"], "on-failure");
        assert_eq!(start["systemd"]["result"], "success", "{start:#}");
        assert!(consequence.contains("systemd says so itself: Result=success"), "{consequence}");
    } else {
        assert_eq!(service["unit"], Value::Null, "{service:#}");
        let problem = service["unit_problem"].as_str().unwrap();
        assert!(problem.contains("cannot reach systemd through"), "{problem}");
        assert!(consequence.contains("The unit's settings are unknown"), "{consequence}");
    }
}
