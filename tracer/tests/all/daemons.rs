//! Real daemons in several languages: what sigready says of a start is what strace saw
//! of another one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// Starts a daemon in a throw-away copy of the tests' root, with a network of its own.
/// `/run` is the host's: the notify socket is there.
const LAUNCHER: &str = r#"#!/bin/sh
set -eu
if [ -z "${LAUNCHED-}" ]; then
    LAUNCHED=1 exec unshare --mount --net "$0" "$@"
fi
scratch=$(dirname "$0")/scratch
mkdir -p "$scratch"
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay overlay "$scratch/root" \
    -o "lowerdir=$SIGREADY_ROOT,upperdir=$scratch/upper,workdir=$scratch/work"
mount -t proc proc "$scratch/root/proc"
mount --bind /run "$scratch/root/run"
for device in null zero urandom; do
    touch "$scratch/root/dev/$device"
    mount --bind "/dev/$device" "$scratch/root/dev/$device"
done
ip link set lo up
exec chroot "$scratch/root" "$@"
"#;

/// What of a start can be told by both.
#[derive(Debug, Default, PartialEq, Eq)]
struct Story {
    /// Programs, by the name they were executed as, that installed a handler for HUP.
    handle: BTreeSet<String>,
    /// Those that set it to be ignored.
    ignore: BTreeSet<String>,
    /// The texts sent to the notify socket, sorted.
    messages: Vec<String>,
    /// Whether the handler was there when READY=1 was sent; none if there was no READY=1.
    handler_before_ready: Option<bool>,
}

/// A daemon under test.
struct Daemon {
    command: &'static [&'static str],
    notifies: bool,
}

impl Daemon {
    /// Runs it under both, and compares.
    fn check(&self) -> Story {
        let seen = self.trace();
        let witnessed = self.strace();
        assert_eq!(seen, witnessed, "left: sigready, right: strace");
        seen
    }

    fn launcher(directory: &Path) -> PathBuf {
        let launcher = directory.join("launch");
        fs::write(&launcher, LAUNCHER).unwrap();
        fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)).unwrap();
        launcher
    }

    fn trace(&self) -> Story {
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report.json");
        let kind = if self.notifies { "notify" } else { "simple" };
        let time = if self.notifies { "60s" } else { "8s" };
        let status = Command::new(cargo_bin("sigready"))
            .args(["run", "--quiet", "--type", kind, "--timeout", time, "--output"])
            .arg(&report)
            .arg("--")
            .arg(Self::launcher(directory.path()))
            .args(self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "a start without a reload raises no error");
        let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        assert_eq!(report["capture"]["lost"], 0);
        story_of_report(&report["services"][0]["activations"][0])
    }

    fn strace(&self) -> Story {
        let directory = tempfile::tempdir().unwrap();
        let shared = TempDir::with_prefix_in("sigready-test-", "/run").unwrap();
        let address = shared.path().join("notify");
        let socket = UnixDatagram::bind(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let log = directory.path().join("strace");
        // systemd starts services with HUP at its default, whatever started the tests.
        let mut strace = Command::new("env")
            .args(["--default-signal=HUP", "strace"])
            .args(["-f", "-ttt", "-xx", "-s", "8192", "-e", "signal=none", "-e"])
            .arg("trace=execve,rt_sigaction,sendmsg,sendto,write,connect,clone,clone3,fork,vfork")
            .arg("-o")
            .arg(&log)
            .arg(Self::launcher(directory.path()))
            .args(self.command)
            .env("NOTIFY_SOCKET", &address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let limit = Duration::from_secs(if self.notifies { 60 } else { 12 });
        let mut message = [0; 8192];
        let mut ready = false;
        while begun.elapsed() < limit && !ready {
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                ready |= text.lines().any(|line| line == "READY=1");
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(ready, self.notifies, "strace's start says READY=1 if it is to");
        let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        // The daemon is strace's only child; strace ends with it.
        let children = format!("/proc/{0}/task/{0}/children", strace.id());
        for child in fs::read_to_string(children).unwrap().split_whitespace() {
            let _ = kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGTERM);
        }
        let patience = Instant::now();
        while strace.try_wait().unwrap().is_none() {
            if patience.elapsed() > Duration::from_secs(10) {
                strace.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(20));
        }
        story_of_strace(&fs::read_to_string(&log).unwrap(), end)
    }
}

fn base_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn story_of_report(activation: &Value) -> Story {
    let mut story = Story::default();
    let mut programs: BTreeMap<u64, String> = BTreeMap::new();
    let mut main_handles = false;
    for event in activation["events"].as_array().unwrap() {
        let process = |role: &str| event[role]["pid"].as_u64().unwrap();
        match event["kind"].as_str().unwrap() {
            "fork" => {
                let parent = programs.get(&process("parent")).cloned().unwrap_or_default();
                programs.insert(process("process"), parent);
            }
            "exec" => {
                let asked = event["filename"].as_str().or(event["exe"].as_str()).unwrap();
                programs.insert(process("process"), base_name(asked));
            }
            "disposition" if event["signal"] == "HUP" && event["at_ns"].as_i64().unwrap() >= 0 => {
                let program = programs.get(&process("process")).cloned().unwrap_or_default();
                match event["disposition"].as_str().unwrap() {
                    "handler" => {
                        main_handles = true;
                        story.handle.insert(program);
                    }
                    "ignored" => {
                        story.ignore.insert(program);
                    }
                    _ => {}
                }
            }
            "notify" => {
                let lines = event["assignments"].as_array().unwrap().iter();
                let text: Vec<String> = lines
                    .map(|line| {
                        format!("{}={}", line[0].as_str().unwrap(), line[1].as_str().unwrap())
                    })
                    .collect();
                if text.iter().any(|line| line == "READY=1") {
                    story.handler_before_ready.get_or_insert(main_handles);
                }
                // Comes right behind READY=1, which may end the trace.
                if text != ["BARRIER=1"] {
                    story.messages.push(text.join("\n"));
                }
            }
            _ => {}
        }
    }
    story.messages.sort();
    story
}

/// strace's log, up to `end` (seconds since the epoch).
fn story_of_strace(log: &str, end: f64) -> Story {
    let mut story = Story::default();
    let mut programs: BTreeMap<u64, String> = BTreeMap::new();
    let mut unfinished: BTreeMap<u64, String> = BTreeMap::new();
    let mut handles = false;
    for line in log.lines() {
        let mut words = line.splitn(3, ' ').filter(|word| !word.is_empty());
        let (Some(pid), Some(rest)) =
            (words.next(), line.split_once(' ').map(|(_, r)| r.trim_start()))
        else {
            continue;
        };
        let pid: u64 = pid.parse().unwrap();
        let (time, call) = rest.split_once(' ').unwrap();
        if time.parse::<f64>().unwrap() > end {
            continue;
        }
        // A call that others interrupt is written in two parts.
        let call = if let Some(begin) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begin.to_owned());
            continue;
        } else if call.starts_with("<... ") {
            let tail = call.split_once("resumed>").map_or("", |(_, tail)| tail);
            format!("{}{tail}", unfinished.remove(&pid).unwrap_or_default())
        } else {
            call.to_owned()
        };
        let program = programs.get(&pid).cloned().unwrap_or_default();
        let succeeded = !call.contains(") = -1") && !call.contains(" = ?");
        if call.starts_with("execve(") && succeeded {
            programs.insert(pid, base_name(&strings(&call)[0]));
        } else if ["clone(", "clone3(", "fork(", "vfork("].iter().any(|c| call.starts_with(c)) {
            if let Some(child) =
                call.rsplit(" = ").next().and_then(|child| child.trim().parse().ok())
            {
                programs.entry(child).or_insert(program);
            }
        } else if let Some(action) = call.strip_prefix("rt_sigaction(SIGHUP, {sa_handler=") {
            if action.starts_with("SIG_IGN") {
                story.ignore.insert(program);
            } else if !action.starts_with("SIG_DFL") {
                handles = true;
                story.handle.insert(program);
            }
        } else {
            for text in strings(&call) {
                // What is written to files may hold such lines among bytes of all kinds.
                let is_text = text.chars().all(|c| c == '\n' || !c.is_control());
                let is_message = ["READY=1", "STATUS=", "MAINPID="]
                    .iter()
                    .any(|key| text.lines().any(|line| line.starts_with(key)));
                if is_message && is_text && succeeded {
                    if text.lines().any(|line| line == "READY=1") {
                        story.handler_before_ready.get_or_insert(handles);
                    }
                    story.messages.push(text.trim_end_matches('\n').to_owned());
                }
            }
        }
    }
    story.messages.sort();
    story
}

/// The strings in a call, which strace writes in hexadecimal.
fn strings(call: &str) -> Vec<String> {
    let decode = |text: &str| {
        let bytes: Vec<u8> = text
            .split("\\x")
            .skip(1)
            .filter_map(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    call.split('"').skip(1).step_by(2).map(decode).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn cron_in_c_handles_hup_and_notifies_nobody() {
    let story = Daemon { command: &["/usr/sbin/cron", "-f"], notifies: false }.check();
    assert_eq!(story.handle, set(&["cron"]));
    assert_eq!(story.messages, [""; 0]);
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn nginx_in_c_handles_hup_in_its_master() {
    let story = Daemon { command: &["/usr/sbin/nginx", "-g", "daemon off;"], notifies: false };
    assert_eq!(story.check().handle, set(&["nginx"]));
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn redis_in_c_ignores_hup_and_sends_several_messages() {
    let story = Daemon {
        command: &["/usr/bin/redis-server", "--supervised", "systemd", "--save", ""],
        notifies: true,
    }
    .check();
    assert_eq!(story.ignore, set(&["redis-server"]));
    assert_eq!(story.handler_before_ready, Some(false));
    assert!(story.messages.contains(&"READY=1".to_owned()), "{story:?}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn rsyslog_in_c_sends_ready_through_libsystemd() {
    let story = Daemon {
        command: &[
            "/bin/sh",
            "-c",
            "printf 'module(load=\"immark\")\\n*.* /dev/null\\n' > /etc/test.conf; \
             exec /usr/sbin/rsyslogd -n -f /etc/test.conf -i NONE",
        ],
        notifies: true,
    }
    .check();
    assert_eq!(story.handle, set(&["rsyslogd"]));
    assert!(story.handler_before_ready.is_some());
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn node_exporter_in_go_has_its_runtimes_handler() {
    let story = Daemon {
        command: &["/usr/bin/prometheus-node-exporter", "--web.listen-address=127.0.0.1:9100"],
        notifies: false,
    }
    .check();
    assert_eq!(story.handle, set(&["prometheus-node-exporter"]));
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn node_in_javascript_handles_hup_once_the_script_asks_for_it() {
    let story = Daemon {
        command: &[
            "/usr/bin/node",
            "-e",
            "process.on('SIGHUP', () => {}); setTimeout(() => {}, 60000)",
        ],
        notifies: false,
    };
    assert_eq!(story.check().handle, set(&["node"]));
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn gunicorn_in_python_has_its_handler_before_it_says_ready() {
    const APPLICATION: &str =
        "def app(environ, start):\n    start('200 OK', [])\n    return [b'']\n";
    let command: &'static [&'static str] = Box::leak(Box::new([
        "/bin/sh",
        "-c",
        "printf '%s' \"$0\" > /tmp/page.py; cd /tmp; exec /usr/bin/gunicorn -b 127.0.0.1:8000 page:app",
        APPLICATION,
    ]));
    let story = Daemon { command, notifies: true }.check();
    assert!(story.handle.contains("gunicorn") || story.handle.contains("python3"), "{story:?}");
    assert_eq!(story.handler_before_ready, Some(true));
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_shell_script_notifies_through_a_program_that_is_gone_at_once() {
    let story = Daemon {
        command: &[
            "/bin/bash",
            "-c",
            "trap : HUP; systemd-notify --ready --status=started; while :; do sleep 1; done",
        ],
        notifies: true,
    }
    .check();
    assert_eq!(story.handle, set(&["bash"]));
    assert_eq!(story.handler_before_ready, Some(true));
    assert_eq!(story.messages, ["READY=1\nSTATUS=started"]);
}
