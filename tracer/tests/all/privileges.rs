//! What sigready may do: with how little it works, and what it gives up once attached.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

use crate::support::{proved, run};

/// Numbers of capabilities (capabilities(7)).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn in_a_pid_namespace_of_its_own_it_says_that_nothing_can_be_traced() {
    let within = |arguments: &[&str]| {
        let output = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .arg(cargo_bin("sigready"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    for arguments in [&["run", "--", "/bin/true"][..], &["trace", "--all", "--duration", "1s"]] {
        let said = within(arguments);
        assert!(said.contains("process ids of its own"), "{said}");
        assert!(said.contains("--pid=host"), "{said}");
    }
    let found: Value = {
        let said = within(&["doctor", "--format", "json"]);
        let json = said.split("\n}").next().unwrap();
        serde_json::from_str(&format!("{json}\n}}")).unwrap()
    };
    assert_eq!(found["works"], false);
    assert_eq!(found["checks"][1]["name"], "process ids");
    assert_eq!(found["checks"][1]["status"], "missing");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn cap_bpf_and_cap_perfmon_are_enough_where_functions_can_be_hooked() {
    // Where something has to be seen at syscall tracepoints, tracefs is needed, which only
    // root may read.
    let capture = &run(&["--type", "simple"], &["/bin/true"]).report["capture"];
    let mut fallbacks = capture["fallbacks"].as_array().into_iter().flatten();
    let capabilities = if capture["backend"] == "fentry"
        && fallbacks.all(|fallback| fallback["instead"] != "syscall tracepoints")
    {
        "+bpf,+perfmon"
    } else {
        "+bpf,+perfmon,+dac_read_search"
    };
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = directory.path().join("sigready");
    fs::copy(cargo_bin("sigready"), &copy).unwrap();
    let report = directory.path().join("report.json");
    // Up to 5.10 maps count as locked memory, which only an administrator may have much of.
    let script = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs \
                  /sys/kernel/tracing; ulimit -l unlimited 2>/dev/null; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "/bin/bash", "-c", script, "bash"])
        .args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["--bounding-set=-all,".to_owned() + capabilities])
        .args(["--inh-caps=".to_owned() + capabilities])
        .args(["--ambient-caps=".to_owned() + capabilities])
        .arg(&copy)
        .args(["run", "--type", "simple", "--send", "HUP@exec", "--output"])
        .arg(&report)
        .args(["--", "/bin/sleep", "5"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let enough = "CAP_BPF and CAP_PERFMON are enough";
    // Debian's kernels can keep tracepoints from all but CAP_SYS_ADMIN.
    if stderr.contains("kernel.perf_event_paranoid is 3") {
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_ne!(capabilities, "+bpf,+perfmon", "functions are no perf events: {stderr}");
        proved(enough, false);
        return;
    }
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["capture"]["backend"], capture["backend"]);
    let activation = &report["services"][0]["activations"][0];
    assert_eq!(activation["outcome"]["signal"], "HUP", "{report:#}");
    assert_eq!(activation["alerts"][0]["id"], "reload-before-handler");
    proved(enough, capabilities == "+bpf,+perfmon");
}

/// A set of capabilities in a process's status.
fn set(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn once_attached_it_keeps_only_what_it_needs_and_takes_nothing_from_its_command() {
    let mut tracer = Command::new(cargo_bin("sigready"))
        .args(["run", "--type", "simple", "--until", "exit", "--", "/bin/sleep", "600"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = tracer.id();
    let limit = Instant::now() + Duration::from_mins(1);
    let command: u32 = loop {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let child = children.split_whitespace().next().and_then(|child| child.parse().ok());
        if let Some(child) = child
            && fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|it| it == "sleep\n")
        {
            break child;
        }
        assert!(Instant::now() < limit, "the command does not come");
        thread::sleep(Duration::from_millis(20));
    };
    let needless = [CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON];
    let sets = loop {
        let sets =
            ["CapEff:", "CapPrm:", "CapBnd:", "CapInh:", "CapAmb:"].map(|name| set(pid, name));
        let has = |capability: &u32| sets.iter().any(|set| set >> capability & 1 == 1);
        // They go once it is attached; what is kept for good is told below.
        if !needless.iter().any(has) || Instant::now() > limit {
            break sets;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let own = set(std::process::id(), "CapEff:");
    let commands = set(command, "CapEff:");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid.cast_signed()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    tracer.wait().unwrap();
    for capability in needless {
        let held: Vec<bool> = sets.iter().map(|set| set >> capability & 1 == 1).collect();
        assert!(!held.contains(&true), "capability {capability}: {held:?}");
    }
    assert!(sets[0] >> CAP_BPF & 1 == 1, "the maps are still to be read");
    assert_eq!(commands, own, "the command has all that it was started with");
}
