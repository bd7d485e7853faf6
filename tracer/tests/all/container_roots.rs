//! `--root`, given the directory that is a container's root.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use assert_cmd::cargo::cargo_bin;
use tempfile::TempDir;

use crate::support::{
    container::{ANSWERING, Container, Hierarchy, newer_root, root},
    traces::{Trace, hups},
};

/// A directory that is a throw-away copy of a root.
struct Copy(TempDir);

impl Copy {
    fn of(root: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [upper, work, merged] = ["upper", "work", "merged"].map(|it| directory.path().join(it));
        for made in [&upper, &work, &merged] {
            std::fs::create_dir(made).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            root.display(),
            upper.display(),
            work.display()
        );
        let mounted = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(&merged)
            .status();
        assert!(mounted.unwrap().success(), "{options}");
        Self(directory)
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("merged")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.directory()).status();
    }
}

/// What takes HUP only after a second.
const LATE: &str = "\
import signal, time
time.sleep(1)
signal.signal(signal.SIGHUP, lambda *_: None)
while True:
    time.sleep(1)
";
const UNIT: &str = "\
[Service]
Type=exec
Restart=on-failure
ExecStart=/usr/bin/python3 /shared/late.py
ExecReload=/bin/kill -HUP $MAINPID
";
const FILES: [(&str, &str); 2] = [("late.py", LATE), ("late.service", UNIT)];

/// Traces the container's unit by the directory; what its systemd says of it is known.
fn traced_by_directory(copy: &Copy, container: Container) {
    container.wait_for("up");
    container.ask("cp /shared/late.service /run/systemd/system/ && systemctl daemon-reload");
    let directory = copy.directory();
    let trace = Trace::start(&["--root", directory.to_str().unwrap(), "late"]);
    container.ask("systemctl start late && systemctl reload late; sleep 0.5");
    let traced = trace.end();
    let service = traced.service("late.service");
    assert_eq!(
        (&service["unit"]["type"], &service["unit"]["restart"]),
        (&"exec".into(), &"on-failure".into())
    );
    let start = &traced.activations("late.service")[0];
    assert_eq!(hups(start)[0]["fate"], "killed");
    assert_eq!(start["alerts"][0]["id"], "reload-before-handler");
    assert_eq!(
        (&start["systemd"]["active_state"], &start["systemd"]["result"]),
        (&"inactive".into(), &"success".into())
    );
    // It is started anew by the systemd that the directory leads to.
    let again = Trace::start(&[
        "--root",
        directory.to_str().unwrap(),
        "--restart",
        "--until",
        "exit",
        "--duration",
        "3s",
        "late",
    ])
    .wait();
    assert!(!again.activations("late.service").is_empty());
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_containers_root_directory_leads_to_its_systemd() {
    let copy = Copy::of(&newer_root());
    let container = Container::boot_on(copy.directory(), ANSWERING, &FILES);
    traced_by_directory(&copy, container);
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_directory_leads_to_the_systemd_of_the_container_that_runs_on_an_overlay_of_it() {
    let copy = Copy::of(&root());
    let boot = || Container::boot_in(copy.directory(), Hierarchy::Unified, ANSWERING, &FILES);
    traced_by_directory(&copy, boot());
    let refused = || {
        let trace = Command::new(cargo_bin("sigready"))
            .args(["trace", "--root", copy.directory().to_str().unwrap(), "late"])
            .output()
            .unwrap();
        (trace.status.code(), String::from_utf8_lossy(&trace.stderr).into_owned())
    };
    let (status, said) = refused();
    assert!(status == Some(2) && said.contains("no systemd runs with the root"), "{said}");
    let two = [boot(), boot()];
    for container in &two {
        container.wait_for("up");
    }
    let (status, said) = refused();
    assert!(status == Some(2) && said.contains("several systemds run over"), "{said}");
    // Each can be named, as the sentence says.
    for container in &two {
        assert!(said.contains(&format!("/proc/{}/root", container.init())), "{said}");
    }
    for container in two {
        container.over();
    }
}
