//! The workflow in docs/race.md, for a small service with a hole, and without it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use assert_cmd::cargo::cargo_bin;

use crate::support::PYTHON;

const PAGE: &str = include_str!("../../../../docs/race.md");

/// What the workflow's steps run, each in a line.
fn steps() -> Vec<String> {
    let (_, workflow) = PAGE.split_once("```yaml\n").unwrap();
    let (workflow, _) = workflow.split_once("```").unwrap();
    let of_step = |step: &str| -> Option<String> {
        let (_, run) = step.split_once("run: ")?;
        Some(run.trim_start_matches('>').split_whitespace().collect::<Vec<_>>().join(" "))
    };
    workflow.split("\n      - ").filter_map(of_step).collect()
}

/// The service, which says READY=1 before its handler is there or after.
fn service(is_mended: bool) -> String {
    let handler = "signal.signal(signal.SIGHUP, lambda *a: None)";
    let ready = "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                 s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])";
    let [first, second] = if is_mended { [handler, ready] } else { [ready, handler] };
    format!(
        "#!{PYTHON}\nimport os, signal, socket, sys, time\nassert sys.argv[1:] == ['--fg']\n\
         {first}\ntime.sleep(0.05)\n{second}\nwhile True: signal.pause()\n"
    )
}

/// What the step that races ends with, the file that it leaves, and the job's log.
fn raced(step: &str, is_mended: bool) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let server = directory.path().join("server");
    fs::write(&server, service(is_mended)).unwrap();
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
    let home = directory.path().join("home");
    let program = home.join(".cargo/bin/sigready");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(cargo_bin("sigready"), &program).unwrap();
    // These tests are root's already.
    let step = step.strip_prefix("sudo ").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", step]).env("HOME", &home).current_dir(&directory);
    let output = shell.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), report(&directory.path().join("race.xml")), log)
}

fn report(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_in_the_printed_workflow_fails_before_the_mend_and_passes_after_it() {
    let steps = steps();
    let [install, build, race] = &steps[..] else { panic!("{steps:?}") };
    assert!(install.starts_with("cargo install "), "{install}");
    assert!(build.starts_with("make "), "{build}");
    let (status, report, log) = raced(race, false);
    assert_eq!(status, Some(3), "{report}");
    // Nobody has to fetch the report to know what failed.
    assert!(log.contains("HUP kills server from fork to"), "{log}");
    assert!(log.contains("again: sigready race --only HUP@exec1.ready1 -- ./server --fg"), "{log}");
    assert_eq!(log.matches("again: ").count(), 1, "what does not count is none: {log}");
    assert!(report.contains("<failure") && report.contains("HUP@exec1.ready1"), "{report}");
    let (status, report, log) = raced(race, true);
    assert_eq!(status, Some(0), "{report}");
    assert!(!log.contains("again: ") && log.contains("TERM harms server at no instant"), "{log}");
    assert!(report.contains("<testcase") && !report.contains("<failure"), "{report}");
}
