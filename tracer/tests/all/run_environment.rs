//! What a command inherits under `sigready run`, and what it does not: as under systemd.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Stdio},
};

use assert_cmd::cargo::cargo_bin;
use nix::libc;

use crate::support::{PYTHON, python_notify, run};

/// A field of /proc/PID/status as the command printed it.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn every_signal_is_at_its_default_and_none_is_blocked() {
    let mut sigready = Command::new(cargo_bin("sigready"));
    sigready
        .args(["run", "--type", "simple", "--", "/usr/bin/cat", "/proc/self/status"])
        .stdin(Stdio::null());
    let prepare = || {
        for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGXFSZ, libc::SIGRTMIN() + 3, 64] {
            // SAFETY: system calls on plain numbers and a set that is made here.
            unsafe {
                libc::signal(signal, libc::SIG_IGN);
                let mut set = std::mem::zeroed();
                libc::sigaddset(&raw mut set, signal);
                libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            }
        }
        Ok(())
    };
    // SAFETY: `prepare` makes system calls only.
    let output = unsafe { sigready.pre_exec(prepare) }.output().unwrap();
    let status = String::from_utf8(output.stdout).unwrap();
    for set in ["SigIgn:", "SigBlk:", "SigPnd:"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set} {status}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn ambient_capabilities_stay_behind() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("sigready");
    fs::copy(cargo_bin("sigready"), &copy).unwrap();
    // tracefs is mounted for others than root.
    let script = "mountpoint -q /sys/kernel/tracing || mount -t tracefs t /sys/kernel/tracing\n\
        c=+bpf,+perfmon,+dac_read_search\n\
        exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=$c --ambient-caps=$c \
        -- \"$1\" run --until exit -- /usr/bin/cat /proc/self/status";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"])
        .arg(&copy)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if paranoid.trim() == "3" && output.status.code() == Some(1) {
        // Debian's kernels can keep tracepoints from all but CAP_SYS_ADMIN.
        let told = "kernel.perf_event_paranoid is 3. Run sigready as root, or run \
                    'sysctl kernel.perf_event_paranoid=2'";
        assert!(stderr.contains(told), "{stderr}");
        assert!(output.stdout.is_empty(), "the command has not run");
        return;
    }
    let status = String::from_utf8(output.stdout).unwrap();
    assert!(!status.is_empty(), "{stderr}");
    for set in ["CapAmb:", "CapEff:", "CapPrm:"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set} {stderr}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn another_user_has_systemds_environment_and_three_descriptors() {
    let mut sigready = Command::new(cargo_bin("sigready"));
    sigready
        .args(["run", "--user", "nobody", "--type", "simple", "--", "/bin/sh", "-c"])
        .arg("env; echo; ls /proc/self/fd; echo; id -u; id -G")
        .env_clear()
        .envs([("LANG", "C.UTF-8"), ("SECRET", "1"), ("PATH", "/usr/bin:/bin:/opt/x")])
        .stdin(Stdio::null());
    // Something open that is inherited, as a careless parent leaves it.
    // SAFETY: one system call.
    let output = unsafe {
        sigready.pre_exec(|| {
            libc::dup2(1, 77);
            Ok(())
        })
    }
    .output()
    .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let mut parts = stdout.split("\n\n");
    let mut names: Vec<_> =
        parts.next().unwrap().lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    // sh(1) adds PWD, and some shells more of their own.
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    assert_eq!(names, ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER"], "{stdout}");
    // 3 is the directory that ls(1) reads.
    assert_eq!(parts.next().unwrap(), "0\n1\n2\n3", "{stdout}");
    assert_eq!(parts.next().unwrap(), "65534\n65534\n", "{stdout}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_daemon_that_gives_up_root_itself_can_still_say_ready() {
    let program = "import os, socket\n\
        os.setgroups([]); os.setgid(65534); os.setuid(65534)\n\
        path = os.environ['NOTIFY_SOCKET']\n\
        for harm in (os.unlink, lambda path: os.rename(path, path + '2'),\n\
                     lambda path: open(os.path.dirname(path) + '/x', 'w')):\n    \
            try: harm(path); print('done')\n    \
            except PermissionError: pass\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        s.sendto(b'READY=1', path)";
    let ran = python_notify(program, &[]);
    assert_eq!(ran.stdout, "", "others can't harm the socket");
    assert_eq!(ran.events("notify")[0]["result"], 0);
    assert!(ran.activation()["milestones"]["ready_ns"].is_i64(), "{:#}", ran.activation());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn where_run_is_read_only_the_notify_socket_is_elsewhere() {
    let script = "mount -t tmpfs -o ro t /run && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"])
        .arg(cargo_bin("sigready"))
        .args([
            "run",
            "--until",
            "exit",
            "--",
            PYTHON,
            "-c",
            "import os, socket\n\
            s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
            s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n\
            print(os.path.dirname(os.environ['NOTIFY_SOCKET']))",
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("sigready-") && !stdout.starts_with("/run"), "{stdout} {stderr}");
    assert!(!std::path::Path::new(stdout.trim()).exists(), "it is gone afterwards");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn nothing_of_the_notify_socket_is_left_whatever_ends_the_tracer() {
    let ours = || -> Vec<_> {
        let entries = fs::read_dir("/run").unwrap().filter_map(Result::ok);
        entries.map(|entry| entry.file_name()).collect()
    };
    // 32 and 33 are those that the C library keeps for itself.
    let signals = [
        "QUIT", "USR1", "32", "33", "RTMIN", "RTMIN+5", "RTMAX", "TERM", "ABRT", "XCPU", "SYS",
        "ILL", "FPE", "TRAP",
    ];
    for signal in signals {
        // It signals its parent, which traces it.
        let script = format!(
            "echo $NOTIFY_SOCKET; kill -s {signal} $PPID; sleep 0.3; kill -s {signal} $PPID; sleep 5"
        );
        let output = Command::new(cargo_bin("sigready"))
            .args(["run", "--", "/bin/bash", "-c", &script])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let socket = String::from_utf8(output.stdout).unwrap();
        let name = socket.trim().split('/').nth(2).unwrap().to_owned();
        assert!(name.starts_with("sigready-"), "{socket}");
        assert!(!ours().contains(&name.into()), "{signal} left {socket}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn without_another_user_the_environment_is_the_callers() {
    let ran = run(&["--type", "simple"], &["/bin/sh", "-c", "echo $PATH"]);
    assert_eq!(ran.stdout.trim(), std::env::var("PATH").unwrap());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_caller_that_ignores_chld_gets_the_report_and_the_commands_status() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.json");
    let output = Command::new("env")
        .arg("--ignore-signal=CHLD")
        .arg(cargo_bin("sigready"))
        .args(["run", "--type", "simple", "--until", "exit", "--output"])
        .arg(&report)
        .args(["--", "/bin/sh", "-c", "sleep 0.2; grep SigIgn /proc/self/status"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(fs::read_to_string(&report).unwrap().contains("\"exited\""), "{stderr}");
    assert_eq!(field(&String::from_utf8_lossy(&output.stdout), "SigIgn:"), "0000000000000000");
}
