//! Nothing that others do keeps a trace from ending, or keeps anything attached.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::{
        fd::OwnedFd,
        unix::{net::UnixListener, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use jiff::Timestamp;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    libc,
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo, pipe2, write},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Compiled, Killed, run};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A cgroup of its own, gone when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let unified = mounts.find(|mount| mount[2] == "cgroup2").expect("cgroup v2 is mounted");
        let path = Path::new(unified[1]).join(format!("{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Its path from the hierarchy's root.
    fn name(&self) -> String {
        self.0.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Starts a program in it.
    fn start(&self, program: &str, arguments: &[&str]) -> Killed {
        let script = "echo $$ > \"$0/cgroup.procs\"; exec \"$@\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(&self.0).arg(program).args(arguments);
        Killed(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let limit = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.0).is_err() && Instant::now() < limit {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A trace that has begun.
struct Tracing {
    process: Killed,
    /// Kept open: it may still write there.
    stderr: BufReader<ChildStderr>,
    directory: TempDir,
}

impl Tracing {
    /// `sigready trace` with these arguments; its report is JSON.
    fn begin(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(cargo_bin("sigready"));
        command.arg("trace").args(arguments).arg("--output").arg(directory.path().join("o.json"));
        Self::spawn(command, directory)
    }

    fn spawn(mut command: Command, directory: TempDir) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("tracing"), "{line}");
        Self { process: Killed(process), stderr, directory }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.0.id().cast_signed())
    }

    /// Its exit status, or nothing if a signal ended it.
    fn wait(&mut self) -> Option<i32> {
        ended(&mut self.process.0)
    }

    fn report(&self) -> Value {
        let report = fs::read(self.directory.path().join("o.json")).unwrap();
        serde_json::from_slice(&report).unwrap()
    }
}

/// The exit status of a process that is to end, or nothing if a signal ended it.
fn ended(process: &mut Child) -> Option<i32> {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < limit, "it does not end");
        thread::sleep(Duration::from_millis(10));
    }
}

/// When a capture was over, by its report.
fn end_of(report: &Value) -> Timestamp {
    let began: Timestamp = report["capture"]["started_at"].as_str().unwrap().parse().unwrap();
    let took = Duration::from_nanos(report["capture"]["duration_ns"].as_u64().unwrap());
    began + took
}

/// Waits until a process has been on a CPU for so long.
fn has_run(process: &Child, long_enough: Duration) {
    let limit = Instant::now() + PATIENCE;
    let ran = || {
        // In ns (`proc_pid_schedstat`).
        let times = fs::read_to_string(format!("/proc/{}/schedstat", process.id())).unwrap();
        Duration::from_nanos(times.split(' ').next().unwrap().parse().unwrap())
    };
    while ran() < long_enough {
        assert!(Instant::now() < limit, "it does not run");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_systemd_that_never_answers_is_not_waited_for_once_a_trace_is_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    let bus = directory.path().join("bus");
    let silent = UnixListener::bind(&bus).unwrap();
    let address = format!("unix:path={}", bus.display());
    let cgroup = Cgroup::new("silent.service");
    let _service = cgroup.start("sleep", &["60"]);
    let mut trace = Tracing::begin(&["--bus", &address, &cgroup.name()]);
    let mut asking = silent.accept().unwrap().0;
    asking.read_exact(&mut [0]).unwrap();
    let asked = Instant::now();
    kill(trace.pid(), Signal::SIGINT).unwrap();
    assert_eq!(trace.wait(), Some(0));
    let took = asked.elapsed();
    let mut said = String::new();
    trace.stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("systemd did not answer within 0.5 s"), "{said}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Signals itself at full speed, for ever; the signal is ignored.
const STORM: &str = "
#include <signal.h>
#include <unistd.h>
int main(void) {
    signal(SIGUSR1, SIG_IGN);
    for (;;) kill(getpid(), SIGUSR1);
}";

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn two_processes_that_signal_at_full_speed_do_not_keep_a_trace_from_ending() {
    let storm = Compiled::new(STORM);
    for how in ["interrupt", "duration"] {
        let cgroup = Cgroup::new(&format!("storm-{how}"));
        let name = cgroup.name();
        let mut arguments = vec!["--cgroup", &name];
        if how == "duration" {
            arguments.extend(["--duration", "3s"]);
        }
        let mut trace = Tracing::begin(&arguments);
        let began = Timestamp::now();
        let storms = [cgroup.start(&storm.path(), &[]), cgroup.start(&storm.path(), &[])];
        let asked = if how == "duration" {
            began + Duration::from_secs(3)
        } else {
            for storm in &storms {
                has_run(&storm.0, Duration::from_secs(1));
            }
            kill(trace.pid(), Signal::SIGINT).unwrap();
            Timestamp::now()
        };
        assert!(matches!(trace.wait(), Some(0 | 3)));
        drop(storms);
        let report = trace.report();
        // On a busy machine; the work itself is bounded by a second and a half.
        let late = end_of(&report).duration_since(asked);
        assert!(late < jiff::SignedDuration::from_secs(5), "{how}: {late}");
        assert!(report["capture"]["events"].as_u64().unwrap() > 10_000, "it was a storm");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_hang_up_ends_a_trace_with_its_report_unless_it_is_ignored() {
    let own = std::process::id().to_string();
    // These tests may run under nohup(1) themselves.
    let begin = |action: libc::sighandler_t| {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(cargo_bin("sigready"));
        command.args(["trace", "--pid", &own, "--output"]).arg(directory.path().join("o.json"));
        // SAFETY: one system call.
        unsafe {
            command.pre_exec(move || {
                libc::signal(libc::SIGHUP, action);
                Ok(())
            });
        }
        Tracing::spawn(command, directory)
    };
    let mut trace = begin(libc::SIG_DFL);
    kill(trace.pid(), Signal::SIGHUP).unwrap();
    assert!(matches!(trace.wait(), Some(0 | 3)));
    assert_eq!(trace.report()["capture"]["ended_by"], "interrupt");

    let mut trace = begin(libc::SIG_IGN);
    // One that is ignored and not blocked is dropped as it is sent (`sig_ignored`). While a thread
    // starts another one, the C library blocks all.
    let limit = Instant::now() + PATIENCE;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", trace.pid())).unwrap();
        let has_hup = |set: &str| {
            let set = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
            u64::from_str_radix(set.trim(), 16).unwrap() & 1 == 1
        };
        assert!(has_hup("SigIgn:"), "nohup keeps it: {status}");
        if !has_hup("SigBlk:") {
            break;
        }
        assert!(Instant::now() < limit, "nohup keeps it: {status}");
    }
    kill(trace.pid(), Signal::SIGHUP).unwrap();
    assert!(trace.process.0.try_wait().unwrap().is_none(), "nohup keeps it");
    kill(trace.pid(), Signal::SIGTERM).unwrap();
    assert!(matches!(trace.wait(), Some(0 | 3)));
}

/// How many eBPF programs and links a process has open.
fn attached(pid: Pid) -> usize {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let infos = infos.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    infos.filter(|info| info.contains("prog_id:") || info.contains("link_id:")).count()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_report_that_nobody_reads_keeps_nothing_attached_and_can_be_ended() {
    let own = std::process::id().to_string();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let mut command = Command::new(cargo_bin("sigready"));
        command.args(["trace", "--pid", &own, "--duration", "200ms", "--output"]).arg(&fifo);
        let mut trace = Tracing::spawn(command, directory);
        let limit = Instant::now() + PATIENCE;
        while attached(trace.pid()) > 0 {
            assert!(Instant::now() < limit, "{} are attached", attached(trace.pid()));
            thread::sleep(Duration::from_millis(20));
        }
        // Nothing comes after that could be waited for: in this time it would end if it did not wait.
        thread::sleep(Duration::from_millis(300));
        assert!(trace.process.0.try_wait().unwrap().is_none(), "it waits for a reader");
        kill(trace.pid(), signal).unwrap();
        assert_eq!(trace.wait(), None, "the signal ends it");
    }
}

/// A pipe that is full, and that nobody reads.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
    while write(&writer, &[b'x'; 4_096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn messages_that_nobody_reads_do_not_keep_a_trace_from_ending() {
    let (reader, writer) = full_pipe();
    let directory = tempfile::tempdir().unwrap();
    let own = std::process::id().to_string();
    let mut command = Command::new(cargo_bin("sigready"));
    command.args(["-vv", "trace", "--pid", &own, "--duration", "200ms", "--output"]);
    command.arg(directory.path().join("o.json"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let mut process = Killed(command.spawn().unwrap());
    let status = ended(&mut process.0);
    assert!(matches!(status, Some(0 | 3)), "{status:?}");
    let report = fs::read(directory.path().join("o.json")).unwrap();
    serde_json::from_slice::<Value>(&report).unwrap();
    drop(reader);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_service_that_floods_its_notify_socket_is_not_held_up() {
    let flood = Compiled::new(
        "#include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/socket.h>
        #include <sys/un.h>
        #include <time.h>
        int main(void) {
            struct sockaddr_un to = {.sun_family = AF_UNIX};
            strcpy(to.sun_path, getenv(\"NOTIFY_SOCKET\"));
            int s = socket(AF_UNIX, SOCK_DGRAM, 0);
            char text[4096];
            memset(text, 'x', sizeof text);
            memcpy(text, \"STATUS=\", 7);
            struct timespec a, b;
            clock_gettime(CLOCK_MONOTONIC, &a);
            for (int i = 0; i < 20000; i++)
                if (sendto(s, text, sizeof text, 0, (void *)&to, sizeof to) < 0) return 1;
            clock_gettime(CLOCK_MONOTONIC, &b);
            printf(\"%ld\\n\", (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000);
            return sendto(s, \"READY=1\", 7, 0, (void *)&to, sizeof to) < 0;
        }",
    );
    let ran = run(&["--until", "exit", "--timeout", "60s"], &[&flood.path()]);
    let took: u64 = ran.stdout.trim().parse().unwrap_or_else(|_| panic!("{}", ran.stderr));
    assert!(took < 10_000, "{took} ms for what takes a tenth of a second");
}
