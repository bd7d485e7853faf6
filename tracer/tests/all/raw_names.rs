//! Names that are not text: of a program, of a process, of a cgroup.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::support::Compiled;

/// Cgroups of the unified hierarchy with such names, removed when dropped.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn make(endings: [&[u8]; 2]) -> Self {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let root = roots.iter().find(|root| Path::new(root).join("cgroup.procs").exists());
        let root = Path::new(root.expect("cgroup v2 is mounted"));
        let made = endings.map(|ending| {
            let mut name = OsString::from(format!("sigready-{}-", std::process::id()));
            name.push(OsStr::from_bytes(ending));
            let path = root.join(name);
            fs::create_dir(&path).unwrap();
            path
        });
        Self(made.into())
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let limit = Instant::now() + Duration::from_secs(10);
        for path in &self.0 {
            // What was in it may still be on its way out.
            while fs::remove_dir(path).is_err() && Instant::now() < limit {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A program that HUP kills, under a name whose last letter is cut in its comm.
fn program(directory: &Path) -> PathBuf {
    let compiled = Compiled::new(
        "#include <signal.h>\n#include <unistd.h>\n\
         int main(void) { raise(SIGHUP); return 0; }",
    );
    let path = directory.join(OsStr::from_bytes(b"slowly-starting\xc3\xa9\xff"));
    fs::copy(compiled.path(), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn report(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_command_whose_name_is_not_utf_8_is_followed_and_shown_by_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path());
    let output = directory.path().join("o.json");
    let ran = Command::new(cargo_bin("sigready"))
        .args(["run", "--type", "simple", "--until", "exit", "--timeout", "20s", "--output"])
        .arg(&output)
        .arg("--")
        .arg(&program)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let report = report(&output);
    let start = &report["services"][0]["activations"][0];
    assert_eq!(start["outcome"]["signal"], "HUP", "{report:#}");
    let exe = start["main_process"]["exe"].as_str().unwrap();
    assert!(exe.ends_with("/slowly-startingé\u{10feff}"), "{exe:?}");
    assert_eq!(start["main_process"]["comm"], "slowly-starting");

    let table = Command::new(cargo_bin("sigready")).arg("report").arg(&output).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("slowly-startingé\\xff"), "{table}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn cgroups_whose_names_differ_in_bytes_that_are_no_text_are_two_services() {
    let cgroups = Cgroups::make([b"\xfe", b"\xff"]);
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path());
    let output = directory.path().join("o.json");
    let mut trace = Command::new(cargo_bin("sigready"))
        .args(["trace", "--output"])
        .arg(&output)
        .args(cgroups.0.iter().flat_map(|path| [OsStr::new("--cgroup"), path.as_os_str()]))
        .stdin(Stdio::null())
        .stderr(File::create(directory.path().join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    let said = || fs::read_to_string(directory.path().join("stderr")).unwrap();
    while !said().contains("tracing") {
        assert!(trace.try_wait().unwrap().is_none() && Instant::now() < limit, "{}", said());
        thread::sleep(Duration::from_millis(10));
    }
    for cgroup in &cgroups.0 {
        let script = "echo $$ > \"$0/cgroup.procs\"; exec \"$1\"";
        let mut child = Command::new("/bin/sh");
        let ended = child.args(["-c", script]).arg(cgroup).arg(&program).status().unwrap();
        assert_eq!(ended.signal(), Some(1), "{ended}");
    }
    kill(Pid::from_raw(trace.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(trace.wait().unwrap().code(), Some(0), "{}", said());
    let report = report(&output);
    let names =
        report["services"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
    let mut names: Vec<_> = names.map(|name| name.rsplit('-').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["\u{10fefe}", "\u{10feff}"], "{report:#}\n{}", said());
    assert!(said().contains("\\xff"), "{}", said());
}
