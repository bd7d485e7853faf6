//! Processes that were running before the trace: by pid, and by cgroup.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A service that is up: it has its handler and says so.
struct Running(Child);

impl Running {
    fn start() -> Self {
        const PROGRAM: &str = "import signal, time\n\
            signal.signal(signal.SIGHUP, lambda *a: None)\n\
            print('up', flush=True)\n\
            while True: time.sleep(1)";
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", PROGRAM])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal that it handles, and waits until it is delivered: both are told under the lock that
    /// /proc takes to say what is pending (`get_signal`, `task_sig`).
    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
        let limit = Instant::now() + PATIENCE;
        let is_pending = || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
            let sets = status.lines().filter_map(|line| {
                line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))
            });
            sets.map(str::trim).any(|set| set != "0000000000000000")
        };
        while is_pending() {
            assert!(Instant::now() < limit, "{signal} is not delivered");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Traces while `deed` is done, and gives the exit status and the report.
fn trace(arguments: &[&str], deed: impl FnOnce()) -> (Option<i32>, Value) {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.json");
    let mut child = Command::new(cargo_bin("sigready"))
        .arg("trace")
        .args(arguments)
        .args(["--format", "json", "--output"])
        .arg(&report)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("tracing"), "{line}");
    deed();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let status = child.wait().unwrap();
    (status.code(), serde_json::from_slice(&fs::read(report).unwrap()).unwrap())
}

/// What every trace of a process that was there has to say.
fn assert_joined_late(report: &Value, pid: u32) {
    let activation = &report["services"][0]["activations"][0];
    assert_eq!(activation["main_process"]["pid"], pid, "{report:#}");
    assert!(activation["joined_ns"].as_i64().unwrap() > 0, "{activation:#}");
    assert_eq!(activation["milestones"]["handler_ns"], Value::Null, "nobody saw it come");
    assert_eq!(report["capture"]["complete"], false);
    let ids: Vec<&str> = activation["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["capture-incomplete"]);
    let found = &activation["events"][0];
    assert_eq!(
        (found["kind"].as_str(), found["found"].as_bool()),
        (Some("disposition"), Some(true))
    );
    assert_eq!(found["disposition"], "handler");
    let hup = activation["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["signal"] == "HUP" && e["kind"] == "signal");
    assert_eq!(hup.unwrap()["fate"], "handled");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_running_process_is_joined_late_by_its_pid() {
    let service = Running::start();
    let pid = service.pid().to_string();
    let (status, report) = trace(&["--pid", &pid], || service.send(Signal::SIGHUP));
    assert_eq!(status, Some(0), "a warning alone is not a failure");
    assert_joined_late(&report, service.pid());
    assert_eq!(report["services"][0]["kind"], "process");
}

/// A cgroup of the unified hierarchy, removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(name: &str) -> Self {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let root = roots.iter().find(|root| Path::new(root).join("cgroup.procs").exists());
        let path = Path::new(root.expect("cgroup v2 is mounted")).join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn everything_in_a_cgroup_is_joined_by_the_path_of_its_directory() {
    let name = format!("sigready-test-{}", std::process::id());
    let cgroup = Cgroup::make(&name);
    let service = Running::start();
    fs::write(cgroup.0.join("cgroup.procs"), service.pid().to_string()).unwrap();
    let path = cgroup.0.to_string_lossy().into_owned();
    let (status, report) = trace(&["--cgroup", &path], || service.send(Signal::SIGHUP));
    assert_eq!(status, Some(0));
    assert_joined_late(&report, service.pid());
    assert_eq!(report["services"][0]["name"], format!("/{name}"));
    assert_eq!(report["services"][0]["kind"], "cgroup");
    drop(service);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_process_that_ends_ends_its_trace_and_is_reported() {
    let service = Running::start();
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.json");
    let mut child = Command::new(cargo_bin("sigready"))
        .args(["trace", "--pid", &service.pid().to_string(), "--output"])
        .arg(&report)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    kill(Pid::from_raw(service.pid().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let activation = &report["services"][0]["activations"][0];
    assert_eq!(activation["outcome"]["signal"], "TERM", "{report:#}");
    assert_eq!(report["capture"]["ended_by"], "exit");
}
