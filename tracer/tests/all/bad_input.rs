//! What must not go wrong while tracing: hostile programs, no privileges, the tracer
//! ended from outside, a disk that is full.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::support::{PYTHON, file, python, python_notify, run};

/// sigready as a user without any rights, from a place that user can reach.
fn unprivileged(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("sigready");
    fs::copy(cargo_bin("sigready"), &copy).unwrap();
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn without_privileges_it_says_which_are_needed_and_starts_nothing() {
    let output = unprivileged(&["run", "--", "/usr/bin/touch", "/tmp/never"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("CAP_BPF") && stderr.contains("sigready doctor"), "{stderr}");
    let output = unprivileged(&["doctor", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(findings["works"], false);
    let checks = findings["checks"].as_array().unwrap();
    let missing = checks.iter().find(|check| check["name"] == "capabilities").unwrap();
    assert_eq!(missing["status"], "missing");
    assert!(missing["mend"].as_str().unwrap().contains("root"));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn doctor_says_that_it_works_where_it_does() {
    let output = crate::support::sigready(&["doctor", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let best = if crate::support::fentry_works() { "fentry" } else { "tracepoint" };
    assert_eq!(
        (findings["works"].as_bool(), findings["backend"].as_str()),
        (Some(true), Some(best))
    );
}

const TRACEPOINTS: &str = "--backend tracepoint --type simple";

/// `sigready run -- true` with syscall tracepoints on a host prepared by a script, in
/// mounts of its own. `$2` is an empty directory.
fn on_a_host_where(preparation: &str) -> (Option<i32>, String) {
    let scratch = tempfile::tempdir().unwrap();
    let script = format!("set -e; {preparation} \"$1\" run {TRACEPOINTS} -- /bin/true");
    let output = Command::new("unshare")
        .args(["--mount", "/bin/sh", "-c", &script, "sh"])
        .arg(cargo_bin("sigready"))
        .arg(scratch.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_kernel_without_type_information_is_told_with_the_option_it_lacks() {
    let (status, stderr) = on_a_host_where("mount -t tmpfs tmpfs /sys/kernel/btf;");
    assert_eq!(status, Some(1), "{stderr}");
    assert!(
        stderr.contains("CONFIG_DEBUG_INFO_BTF") && stderr.contains("/sys/kernel/btf"),
        "{stderr}"
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_kernel_without_tracefs_is_told_with_the_option_it_lacks() {
    let (status, stderr) = on_a_host_where(
        "mount --bind /sys/kernel/btf \"$2\"; mount -t tmpfs tmpfs /sys/kernel; \
         mkdir /sys/kernel/btf; mount --bind \"$2\" /sys/kernel/btf;",
    );
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stderr.contains("CONFIG_FTRACE_SYSCALLS"), "{stderr}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn where_tracefs_may_not_be_mounted_the_command_that_mounts_it_is_told() {
    let (status, stderr) = on_a_host_where(
        "umount /sys/kernel/tracing /sys/kernel/debug 2>/dev/null || true; \
         set -- setpriv --bounding-set=-sys_admin \"$1\"; exec \"$@\" run --backend tracepoint --type simple -- /bin/true;",
    );
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stderr.contains("mount -t tracefs tracefs /sys/kernel/tracing"), "{stderr}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn tracefs_is_not_left_mounted() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    run(&["--type", "simple"], &["/usr/bin/true"]);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_command_that_dies_at_once_is_seen_from_exec_to_exit() {
    let ran = run(&["--type", "simple"], &["/usr/bin/false"]);
    assert_eq!(ran.activation()["outcome"]["code"], 1);
    assert_eq!((ran.events("exec").len(), ran.events("exit").len()), (1, 1));
    assert_eq!(ran.report["capture"]["complete"], true);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn five_hundred_children_that_end_in_each_others_way_are_all_seen() {
    let ran = python(
        "import os\n\
         for i in range(500):\n    \
             if os.fork() == 0: os._exit(i % 100)\n\
         for i in range(500): os.wait()",
        &[],
    );
    assert_eq!(ran.events("fork").len(), 501, "and the command itself");
    let codes = |code: u64| ran.events("exit").iter().filter(|it| it["code"] == code).count();
    // The command's own is one of those with 0.
    let expected: Vec<usize> = (0..100).map(|code| if code == 0 { 6 } else { 5 }).collect();
    assert_eq!((0..100).map(codes).collect::<Vec<_>>(), expected);
    assert_eq!(ran.report["capture"]["lost"], 0);
}

/// What a daemon does once it has been started: `first` is what the command does, who forked it.
fn daemon(first: &str) -> String {
    format!(
        "import os, time\n\
         if os.fork(): {first}; os._exit(0)\n\
         os.setsid()\n\
         time.sleep(0.02)\n\
         if os.fork(): os._exit(0)\n\
         null = os.open('/dev/null', os.O_RDWR)\n\
         for fd in 0, 1, 2: os.dup2(null, fd)\n\
         time.sleep(30)"
    )
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_daemon_that_forks_away_is_named_and_left_alone_whether_or_not_it_is_waited_for() {
    for first in ["os.wait()", "pass"] {
        let ran = python(&daemon(first), &[]);
        let named = ran.stderr.split("left processes running: ").nth(1).unwrap_or_default();
        let pids: Vec<i32> = named
            .split("(pid ")
            .skip(1)
            .map(|it| it.split(')').next().unwrap().parse().unwrap())
            .collect();
        let forks = ran.events("fork");
        let last = forks.last().unwrap()["process"]["pid"].as_i64().unwrap();
        assert_eq!(pids, [i32::try_from(last).unwrap()], "{first}: {}", ran.stderr);
        kill(Pid::from_raw(pids[0]), Signal::SIGKILL).expect("it was left running");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn names_and_texts_full_of_escapes_do_not_reach_the_terminal() {
    let program = "import ctypes, os, socket, time\n\
        ctypes.CDLL(None).prctl(15, b'\\x1b[31mred\\n', 0, 0, 0)\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        s.sendto(b'STATUS=\\x1b]0;owned\\x07\\x1b[2J\\nREADY=1', os.environ['NOTIFY_SOCKET'])\n\
        time.sleep(0.1)";
    let json = python_notify(program, &[]);
    let message = json.events("notify")[0];
    assert_eq!(message["sender"]["comm"], "\u{1b}[31mred\n", "JSON has it as it was");
    assert_eq!(message["assignments"][0][1], "\u{1b}]0;owned\u{7}\u{1b}[2J");
    let table = crate::support::sigready(&["run", "--until", "exit", "--", PYTHON, "-c", program]);
    let text = String::from_utf8(table.stderr).unwrap();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    assert!(text.contains(r"\x1b[31mred"), "{text}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn the_commands_own_output_is_left_alone() {
    let output = crate::support::sigready(&[
        "run",
        "--type",
        "simple",
        "--",
        PYTHON,
        "-c",
        "import os; os.write(1, b'\\x00\\xffout'); os.write(2, b'err')",
    ]);
    assert_eq!(output.stdout, b"\x00\xffout");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("err") && stderr.contains("exited with code 0"), "{stderr}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn colours_come_only_when_asked_for_or_on_a_terminal() {
    let run = |color: &str| {
        let output = crate::support::sigready(&[
            "--color",
            color,
            "run",
            "--type",
            "simple",
            "--",
            "/usr/bin/true",
        ]);
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(!run("auto").contains('\u{1b}'), "stderr is a pipe here");
    assert!(run("always").contains('\u{1b}'));
    assert!(!run("never").contains('\u{1b}'));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn fail_on_decides_which_alerts_make_the_exit_status() {
    let ignoring =
        "import signal, time; signal.signal(signal.SIGHUP, signal.SIG_IGN); time.sleep(0.5)";
    let status = |level: &str| {
        run(
            &["--type", "simple", "--fail-on", level, "--send", "HUP@300ms"],
            &[PYTHON, "-c", ignoring],
        )
        .status
    };
    assert_eq!(status("warning"), Some(3));
    assert_eq!(status("error"), Some(0));
    let killed = run(
        &["--type", "simple", "--fail-on", "never", "--send", "HUP@100ms"],
        &["/usr/bin/sleep", "9"],
    );
    assert_eq!((killed.status, killed.alerts()), (Some(0), vec!["reload-before-handler"]));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn the_command_runs_as_the_user_asked_for_and_may_notify() {
    let program = "import os, socket\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n\
        print(os.getuid(), os.getgid(), os.environ['USER'], os.getgroups())";
    let ran = python_notify(program, &["--user", "nobody"]);
    assert_eq!(ran.stdout, "65534 65534 nobody [65534]\n");
    assert_eq!(ran.events("notify")[0]["sender"]["uid"], 65534);
    assert!(ran.activation()["milestones"]["ready_ns"].is_i64());
}

/// A trace of `sleep` that has begun: the tracer, and the pid of its command.
#[allow(clippy::zombie_processes, reason = "the callers wait for it")]
fn begun(stdout: Stdio) -> (Child, i32) {
    let tracer = Command::new(cargo_bin("sigready"))
        .args(["run", "--type", "simple", "--", "/usr/bin/sleep", "300"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stdout)
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", tracer.id());
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let pids = fs::read_to_string(&children).unwrap();
        if let Some(pid) = pids.split_whitespace().next() {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if comm == "sleep\n" {
                return (tracer, pid.parse().unwrap());
            }
        }
        assert!(Instant::now() < limit, "the command does not come");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a process is gone.
fn assert_goes(pid: i32) {
    let limit = Instant::now() + Duration::from_secs(20);
    while fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n") {
        assert!(Instant::now() < limit, "process {pid} is left behind");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Ids of the eBPF programs that a process has open.
fn programs_of(pid: u32) -> Vec<u64> {
    let mut ids: Vec<u64> = fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .filter_map(|info| {
            info.lines().find_map(|line| line.strip_prefix("prog_id:\t")?.parse().ok())
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 10, "the tracer has its programs open: {ids:?}");
    ids
}

/// Waits until none of these programs is in the kernel any more.
fn assert_unloaded(ids: &[u64]) {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let output = Command::new("bpftool").args(["prog", "show", "--json"]).output().unwrap();
        let programs: Value = serde_json::from_slice(&output.stdout).unwrap();
        let loaded = programs.as_array().unwrap().iter();
        let left: Vec<u64> = loaded
            .filter_map(|program| program["id"].as_u64())
            .filter(|id| ids.contains(id))
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < limit, "left in the kernel: {left:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn interrupted_it_forwards_reports_and_lets_go() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (tracer, command) = begun(Stdio::piped());
        let pid = tracer.id();
        let programs = programs_of(pid);
        kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
        let output = tracer.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(
            stderr.contains("forwarding") && stderr.contains("when it was interrupted"),
            "{stderr}"
        );
        assert_goes(command);
        assert_unloaded(&programs);
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn killed_it_leaves_neither_programs_nor_its_command() {
    let (mut tracer, command) = begun(Stdio::null());
    let programs = programs_of(tracer.id());
    kill(Pid::from_raw(tracer.id().cast_signed()), Signal::SIGKILL).unwrap();
    tracer.wait().unwrap();
    assert_goes(command);
    assert_unloaded(&programs);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_reader_that_went_away_is_no_reason_to_panic_or_to_leave_the_command() {
    let (mut tracer, command) = begun(Stdio::piped());
    drop(tracer.stderr.take());
    kill(Pid::from_raw(tracer.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(tracer.wait().unwrap().code(), Some(1), "the report could not be written");
    assert_goes(command);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_full_disk_leaves_the_old_report_whole() {
    // A file system of one page, in a mount namespace of its own.
    let script = "set -e\n\
        mount -t tmpfs -o size=8k tmpfs \"$1\"\n\
        printf old > \"$1/report.json\"\n\
        set +e\n\
        \"$2\" run --type simple --format json --output \"$1/report.json\" -- /bin/sh -c 'for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done'\n\
        echo \"status $?\"\n\
        cat \"$1/report.json\"; ls \"$1\"";
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "/bin/sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(cargo_bin("sigready"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stdout, "status 1\noldreport.json\n", "{stderr}");
    assert!(stderr.contains("No space left"), "{stderr}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_saved_report_prints_the_same_bytes_as_the_live_one() {
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("saved.jsonl").to_string_lossy().into_owned();
    let ran = crate::support::sigready(&[
        "run",
        "--type",
        "simple",
        "--send",
        "HUP@100ms",
        "--output",
        &saved,
        "--",
        "/usr/bin/sleep",
        "9",
    ]);
    assert_eq!(ran.status.code(), Some(3));
    let json = crate::support::sigready(&["report", &saved, "--format", "json"]);
    assert_eq!(json.status.code(), Some(3), "a saved report has the same verdict");
    let again = file(directory.path(), "again.json", &json.stdout);
    let jsonl = crate::support::sigready(&["report", again.to_str().unwrap(), "--format", "jsonl"]);
    assert_eq!(jsonl.stdout, fs::read(&saved).unwrap());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn events_that_find_no_room_are_counted_by_kind_and_shown() {
    // While the tracer is stopped, nobody reads the smallest buffer there is.
    let program = "import os, signal, time\n\
        tracer = os.getppid()\n\
        os.kill(tracer, signal.SIGSTOP)\n\
        for i in range(200):\n    \
            if os.fork() == 0: os._exit(0)\n    \
            os.wait()\n\
        os.kill(tracer, signal.SIGCONT)\n\
        time.sleep(0.5)";
    let ran = run(&["--type", "simple", "--buffer", "4"], &[PYTHON, "-c", program]);
    let capture = &ran.report["capture"];
    assert_eq!(capture["complete"], false);
    let losses = capture["losses"].as_object().unwrap();
    let (forks, exits) = (losses["fork"].as_u64().unwrap(), losses["exit"].as_u64().unwrap());
    assert!(forks > 100 && exits > 100, "{capture}");
    assert_eq!(
        capture["lost"].as_u64().unwrap(),
        losses.values().map(|n| n.as_u64().unwrap()).sum::<u64>()
    );
    // Nothing is lost without being counted.
    assert_eq!(forks + ran.events("fork").len() as u64, 201);
    assert_eq!(ran.alerts(), ["capture-incomplete"]);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn the_time_is_up_for_a_service_that_never_says_ready() {
    let ran = run(&["--timeout", "500ms"], &["/usr/bin/sleep", "300"]);
    assert_eq!((ran.status, ran.alerts()), (Some(3), vec!["ready-missing"]));
    assert_eq!(ran.report["capture"]["ended_by"], "timeout");
    assert!(ran.stderr.contains("stopped process"), "{}", ran.stderr);
}
