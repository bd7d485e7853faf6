//! `sigready lint` against real unit files, and what it says against what systemd says.

use std::{collections::HashMap, fs, process::Command};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use sigready::systemd::unit_files::{Found, UnitFiles};

use crate::support::container::{Container, Hierarchy, newer_root, newest_root, root};

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

/// A program of tests: what it does is in its arguments.
const PROGRAM: &str = r#"
import os, signal, socket, subprocess, sys, time
def say(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"]); s.send(text)
def mark(name):
    open(f"/run/marks/{name}", "w").close()
os.makedirs("/run/marks", exist_ok=True)
for word in sys.argv[1:]:
    what, _, value = word.partition("=")
    if what == "sleep": time.sleep(float(value))
    elif what == "handle": signal.signal(getattr(signal, value), lambda *_: mark("reloaded"))
    elif what == "child": subprocess.Popen([sys.executable, __file__, *value.split(",")])
    elif what == "say": say(value.replace(":", "=").encode())
    elif what == "feed":
        while True: say(b"WATCHDOG=1"); time.sleep(.2)
    elif what == "bare": os.execvp("sleep", ["sleep", "100"])
while True: time.sleep(100)
"#;

/// A unit that a finding is about, and how its harm is seen: what a script prints without the
/// drop-in that lint gives, and with it.
struct Proof {
    finding: &'static str,
    service: &'static str,
    provoke: &'static str,
    harm: &'static str,
    mended: &'static str,
}

const RELOADS_EARLY: &str = "systemctl start $u; systemctl reload $u; sleep 1.5; \
                             systemctl show -P ActiveState,SubState $u | xargs";
const RELOADS: &str = "systemctl start $u; sleep 1; systemctl reload $u && echo done; sleep 1; \
                       systemctl is-active $u; ls /run/marks | xargs";
// Whether `systemctl reload` says that it is done where the main process died is a race.
const RELOADS_ANYHOW: &str =
    "systemctl start $u; sleep 1; systemctl reload $u; sleep 1; systemctl is-active $u";
const LATE: &str =
    "ExecStart=/usr/bin/python3 /shared/program sleep=3 handle=SIGHUP handle=SIGUSR1";

#[rustfmt::skip]
const PROOFS: [Proof; 25] = [
    Proof { finding: "reload-not-awaited", service: "Restart=on-failure\nExecReload=/bin/kill -HUP $MAINPID",
        provoke: RELOADS_EARLY, harm: "inactive dead", mended: "active running" },
    Proof { finding: "reload-not-awaited", service: "Restart=always\nExecReload=/bin/kill -HUP $MAINPID\n[Unit]\nStartLimitBurst=1",
        provoke: RELOADS_EARLY, harm: "failed failed", mended: "active running" },
    Proof { finding: "reload-not-awaited", service: "Restart=on-failure\nExecReload=/bin/kill -HUP $MAINPID\n[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1min",
        provoke: RELOADS_EARLY, harm: "inactive dead", mended: "active running" },
    Proof { finding: "reload-not-awaited", service: "Type=exec\nExecReload=/bin/sh -c 'kill -0 $MAINPID && kill -HUP $MAINPID'",
        provoke: RELOADS_EARLY, harm: "inactive dead", mended: "active running" },
    Proof { finding: "reload-not-awaited", service: "Restart=always\nRemainAfterExit=yes\nExecReload=/bin/kill -HUP $MAINPID",
        provoke: RELOADS_EARLY, harm: "active exited", mended: "active running" },
    Proof { finding: "reload-not-awaited", service: "RemainAfterExit=yes\nExecReload=/usr/bin/env kill -s HUP $MAINPID",
        provoke: RELOADS_EARLY, harm: "active exited", mended: "active running" },
    Proof { finding: "reload-not-awaited", service: "Restart=always\nRestartPreventExitStatus=SIGHUP 3\nExecReload=/bin/kill -HUP $MAINPID",
        provoke: RELOADS_EARLY, harm: "inactive dead", mended: "active running" },
    Proof { finding: "reload-not-awaited", service: "Restart=always\nRestartSec=infinity\nExecReload=/bin/kill -HUP $MAINPID",
        provoke: RELOADS_EARLY, harm: "activating auto-restart", mended: "active running" },
    Proof { finding: "reload-not-awaited", service: "RestartSec=infinity\nExecReload=/bin/kill -HUP $MAINPID",
        provoke: RELOADS_EARLY, harm: "inactive dead", mended: "active running" },
    Proof { finding: "reload-not-awaited", service: "Restart=on-failure\nSuccessExitStatus=SIGUSR1\nExecReload=/bin/kill -USR1 $MAINPID",
        provoke: RELOADS_EARLY, harm: "inactive dead", mended: "active running" },
    Proof { finding: "reload-ends-it", service: "ExecStart=\nExecStart=/usr/bin/python3 /shared/program handle=SIGHUP\nExecReload=/bin/kill $MAINPID\nRestart=on-failure",
        provoke: "systemctl start $u; sleep 1; systemctl reload $u; sleep 1; systemctl is-active $u; ls /run/marks | xargs",
        harm: "inactive", mended: "active reloaded" },
    Proof { finding: "reload-ends-it", service: "Type=notify-reload\nReloadSignal=SIGTERM\nExecStart=\nExecStart=/usr/bin/python3 /shared/program handle=SIGHUP say=READY:1",
        provoke: "systemctl start $u; systemctl reload --no-block $u; sleep 1; systemctl is-active $u | sed s/failed/inactive/; ls /run/marks | xargs",
        harm: "inactive", mended: "reloading reloaded" },
    Proof { finding: "reload-hits-shell", service: "ExecStart=\nExecStart=/usr/bin/flock /run/lock/proof /bin/sleep 100\nRestart=on-failure\nExecReload=/bin/kill -HUP $MAINPID",
        provoke: RELOADS_ANYHOW, harm: "inactive", mended: "active" },
    Proof { finding: "reload-hits-shell", service: "ExecStart=\nExecStart=/bin/sh -c 'run() { /bin/sleep 100; }; run'\nRestart=on-failure\nExecReload=/bin/kill -HUP $MAINPID",
        provoke: RELOADS_ANYHOW, harm: "inactive", mended: "active" },
    Proof { finding: "reload-hits-shell", service: "ExecStart=\nExecStart=/bin/sh -c '/bin/sleep 100; true'\nRestart=on-failure\nExecReload=/bin/kill -HUP $MAINPID",
        provoke: RELOADS_ANYHOW, harm: "inactive", mended: "active" },
    Proof { finding: "reload-hits-shell", service: "ExecStart=\nExecStart=/usr/bin/zsh -c '/bin/sleep 100; true'\nExecReload=/bin/kill -HUP $MAINPID",
        provoke: RELOADS_ANYHOW, harm: "failed", mended: "active" },
    Proof { finding: "reload-reaches-nobody", service: "ExecStart=\nExecStart=/usr/bin/python3 /shared/program handle=SIGHUP\nExecReload=/usr/bin/pkill -HUP $MAINPID",
        provoke: RELOADS, harm: "active", mended: "done active reloaded" },
    Proof { finding: "reload-reaches-nobody", service: "ExecStart=\nExecStart=/usr/bin/python3 /shared/program handle=SIGHUP\nExecReload=/usr/bin/pkill -HUP",
        provoke: RELOADS, harm: "active", mended: "done active reloaded" },
    Proof { finding: "reload-reaches-nobody", service: "ExecStart=\nExecStart=/usr/bin/python3 /shared/program handle=SIGHUP\nExecReload=/bin/kill -HUP -- -$MAINPID",
        provoke: RELOADS, harm: "active", mended: "done active reloaded" },
    Proof { finding: "reload-signals-all", service: "ExecStart=\nExecStart=/usr/bin/python3 /shared/program handle=SIGHUP child=bare\nExecReload=/usr/bin/systemctl kill -s HUP %n",
        provoke: "systemctl start $u; sleep 1; systemctl reload $u && echo done; sleep 1; pgrep -xcr S sleep",
        harm: "0", mended: "done 1" },
    Proof { finding: "reload-signals-all", service: "ExecStart=\nExecStart=/usr/bin/python3 /shared/program handle=SIGHUP child=bare\nExecReload=/bin/kill -HUP -- -${MAINPID}",
        provoke: "systemctl start $u; sleep 1; systemctl reload $u && echo done; sleep 1; pgrep -xcr S sleep",
        harm: "done 0", mended: "done 1" },
    Proof { finding: "notify-access-narrow", service: "Type=notify\nTimeoutStartSec=3\nExecStart=\nExecStart=/bin/sh -c '/usr/bin/python3 /shared/program say=READY:1; true'",
        provoke: "systemctl start $u; for it in ActiveState Result; do systemctl show -P $it $u; done | xargs",
        harm: "failed timeout", mended: "active success" },
    Proof { finding: "notify-access-narrow", service: "Type=notify\nTimeoutStartSec=3\nExecStart=\nExecStart=/usr/bin/timeout 1h /usr/bin/python3 /shared/program say=READY:1",
        provoke: "systemctl start $u; for it in ActiveState Result; do systemctl show -P $it $u; done | xargs",
        harm: "failed timeout", mended: "active success" },
    Proof { finding: "notify-access-narrow", service: "WatchdogSec=2\nExecStart=\nExecStart=/bin/sh -c '/usr/bin/python3 /shared/program feed; echo $?'",
        provoke: "systemctl start $u; sleep 4; for it in ActiveState Result; do systemctl show -P $it $u; done | xargs",
        harm: "failed watchdog", mended: "active success" },
    Proof { finding: "start-without-limit", service: "Type=notify\nTimeoutStartSec=0",
        provoke: "systemctl start --no-block $u; sleep 1; for it in ActiveState TimeoutStartUSec; do systemctl show -P $it $u; done | xargs",
        harm: "activating infinity", mended: "activating 10min" },
];

#[test]
#[ignore = "needs root and a container root: run by cargo xtask test"]
fn every_drop_in_takes_the_harm_away_under_real_systemd() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = vec![("program".to_owned(), PROGRAM.to_owned())];
    for (index, proof) in PROOFS.iter().enumerate() {
        let path = directory.path().join(format!("proof{index}.service"));
        let text = format!("[Service]\nTimeoutStopSec=2\n{LATE}\n{}\n", proof.service);
        fs::write(&path, &text).unwrap();
        let (_, findings, said) = lint(&[path.to_str().unwrap()]);
        let found = findings["units"][0]["findings"].as_array().unwrap();
        let finding = found.iter().find(|finding| finding["id"] == proof.finding);
        let finding = finding.unwrap_or_else(|| panic!("{text}: {findings:#} {said}"));
        let drop_in = finding["drop_in"]["text"].as_str().unwrap();
        files.push((format!("units/proof{index}.service"), text));
        files.push((format!("drop-ins/proof{index}"), drop_in.to_owned()));
        files.push((format!("provoke/proof{index}"), proof.provoke.to_owned()));
    }
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let scenario = "
        set +ex
        prove() {
            rm -rf /run/marks; mkdir /run/marks
            u=$1 bash /shared/provoke/$1 2>/dev/null | xargs > /shared/$1.$2
            systemctl stop $1 2>/dev/null
            systemctl reset-failed $1 2>/dev/null
        }
        cp /shared/units/* /run/systemd/system/
        systemctl daemon-reload
        cd /shared/units
        for unit in *; do prove ${unit%.service} without; done
        for unit in *; do
            mkdir /run/systemd/system/$unit.d
            cp /shared/drop-ins/${unit%.service} /run/systemd/system/$unit.d/50-reload.conf
        done
        systemctl daemon-reload
        for unit in *; do prove ${unit%.service} with; done";
    // They wait more than they work, so all at a time.
    let containers = [root(), newer_root(), newest_root()]
        .map(|root| (root.clone(), Container::boot_in(root, Hierarchy::Unified, scenario, &files)));
    for (root, container) in containers {
        let results = container.finish_within(std::time::Duration::from_secs(400));
        let mut wrong = Vec::new();
        // The oldest one has no such type, and the others no such shell.
        let oldest = self::root();
        let has_all = |proof: &Proof| {
            let lacks = if root == oldest { "Type=notify-reload" } else { "/usr/bin/zsh" };
            !proof.service.contains(lacks)
        };
        for (index, proof) in PROOFS.iter().enumerate().filter(|(_, proof)| has_all(proof)) {
            let seen = |when| results.file(&format!("proof{index}.{when}")).trim().to_owned();
            let (without, with) = (seen("without"), seen("with"));
            if (&*without, &*with) != (proof.harm, proof.mended) {
                let Proof { finding, service, .. } = proof;
                wrong.push(format!("{finding}: {service}\n  without: {without}\n  with: {with}"));
            }
        }
        assert!(wrong.is_empty(), "{}:\n{}", root.display(), wrong.join("\n"));
    }
}

#[test]
#[ignore = "needs root and a container root: run by cargo xtask test"]
fn running_services_that_a_reload_would_kill_now_are_named_and_brought_back() {
    let unit = |start: &str, more: &str| {
        format!("[Service]\nExecStart={start}\nExecReload=/bin/kill -HUP $MAINPID\n{more}\n")
    };
    let python = "/usr/bin/python3 /shared/program";
    let bare = unit("/bin/sleep 100", "Restart=on-failure");
    let handles = unit(&format!("{python} handle=SIGHUP"), "");
    let ignores = unit("/usr/bin/nohup /bin/sleep 100", "");
    let starting = unit("/bin/sleep 100", "ExecStartPost=/bin/sleep 60");
    let other = "[Service]\nExecStart=/bin/sleep 100\nExecReload=/bin/true\n";
    let files = [
        ("units/bare.service", &*bare),
        ("units/handles.service", &handles),
        ("units/ignores.service", &ignores),
        ("units/starting.service", &starting),
        ("units/other.service", other),
        ("program", PROGRAM),
    ];
    let scenario = "
        set +ex
        while [ ! -e /shared/copied ]; do sleep 0.1; done
        cp /shared/units/* /run/systemd/system/
        systemctl daemon-reload
        systemctl start bare handles ignores other
        systemctl start --no-block starting
        sleep 2
        /shared/sigready lint --running --format json > /shared/found 2> /shared/said
        echo $? > /shared/status
        /shared/sigready lint --running bare > /shared/table 2>&1
        /shared/sigready lint --running nothing-such > /shared/none 2>&1; echo $? >> /shared/none
        systemctl reload bare; sleep 1; systemctl is-active bare > /shared/without
        mkdir /run/systemd/system/bare.service.d
        python3 -c \"import json; [open('/run/systemd/system/bare.service.d/50.conf', 'w').write(f['drop_in']['text']) for u in json.load(open('/shared/found'))['units'] if u['name'] == 'bare.service' for f in u['findings']]\"
        systemctl daemon-reload; systemctl start bare; sleep 1
        systemctl reload bare; sleep 1; systemctl is-active bare > /shared/with";
    for root in [root(), newer_root()] {
        let container = Container::boot_in(root, Hierarchy::Unified, scenario, &files);
        container.copy(&cargo_bin("sigready"), "sigready");
        container.put("copied", "");
        let results = container.finish();
        let found = results.file("found");
        let said = results.file("said");
        let found: Value = serde_json::from_str(&found).unwrap_or_else(|_| panic!("{found}{said}"));
        let ours = ["bare", "handles", "ignores", "starting", "other"];
        let mut named = HashMap::new();
        for unit in found["units"].as_array().unwrap() {
            let name = unit["name"].as_str().unwrap().trim_end_matches(".service").to_owned();
            let finding = &unit["findings"][0];
            assert_eq!(finding["id"], "reload-kills-now", "{finding:#}");
            named.insert(name, finding["severity"].as_str().unwrap().to_owned());
        }
        named.retain(|name, _| ours.contains(&&**name));
        let expected = [("bare", "error"), ("ignores", "warning")];
        let expected = expected.map(|(name, severity)| (name.to_owned(), severity.to_owned()));
        assert_eq!(named, HashMap::from(expected), "{found:#}");
        assert_eq!(results.file("status").trim(), "3");
        assert!(results.file("table").contains("error[reload-kills-now]"));
        let none = results.file("none");
        assert!(none.contains("no service 'nothing-such.service' runs"), "{none}");
        assert!(none.ends_with("2\n"), "{none}");
        assert_eq!(results.file("without").trim(), "inactive");
        assert_eq!(results.file("with").trim(), "active");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_what_is_too_large_is_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    nix::unistd::mkfifo(&path("fifo.service"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let large = fs::File::create(path("large.service")).unwrap();
    large.set_len((1 << 20) + 1).unwrap();
    for (file, sentence) in [
        ("/dev/zero".into(), "not a regular file"),
        ("/dev/null".into(), "not a regular file"),
        (path("fifo.service"), "not a regular file"),
        (path("large.service"), "more than 1048576 bytes"),
    ] {
        let (status, _, said) = lint(&[file.to_str().unwrap()]);
        assert_eq!(status, Some(2), "{}: {said}", file.display());
        assert!(said.contains(sentence), "{}: {said}", file.display());
    }
    large.set_len((1 << 36) + 1).unwrap();
    for (file, sentence) in [
        ("/dev/zero".into(), "not a regular file"),
        (path("fifo.service"), "not a regular file"),
        (path("large.service"), "more than 68719476736 bytes"),
    ] {
        let output = Command::new(cargo_bin("sigready")).arg("report").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn findings_as_json_are_harmless_on_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("evil.service");
    let text = "[Service]\nExecStart=/bin/x \u{9b}2J\u{202e}gpj\u{7f}\nExecReload=/bin/kill -HUP $MAINPID\n";
    fs::write(&file, text).unwrap();
    let output = Command::new(cargo_bin("sigready"))
        .args(["lint", "--format", "json"])
        .arg(&file)
        .output()
        .unwrap();
    let json = String::from_utf8(output.stdout).unwrap();
    assert!(!json.contains(['\u{9b}', '\u{202e}', '\u{7f}']), "{json}");
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["units"][0]["unit"]["exec_start"][0], "/bin/x \u{9b}2J\u{202e}gpj\u{7f}");
}

#[test]
fn every_unit_of_a_root_is_judged_however_many_there_are() {
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("etc/systemd/system");
    fs::create_dir_all(&units).unwrap();
    for number in 0..1_001 {
        let text = "[Service]\nExecStart=/bin/a\nExecReload=/bin/kill -HUP $MAINPID\n";
        fs::write(units.join(format!("a{number}.service")), text).unwrap();
    }
    let (status, judged, said) = lint(&["--root", root.path().to_str().unwrap()]);
    assert_eq!(status, Some(3), "{said}");
    let judged = judged["units"].as_array().unwrap();
    assert_eq!(judged.len(), 1_001);
    assert!(judged.iter().all(|it| !it["findings"].as_array().unwrap().is_empty()));
}
