//! A session that is ended by a signal, whatever it was started from and however busy the host is.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::Killed;

fn pid(process: &Killed) -> Pid {
    Pid::from_raw(process.0.id().cast_signed())
}

/// A shell without job control has what it starts in the background ignore INT. What comes before
/// the tracer is attached must not be lost.
#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn an_interrupt_during_the_start_ends_it_where_a_shell_ignored_those() {
    for command in [&["run", "--", "sleep", "60"][..], &["trace", "--all"], &["race", "--", "true"]]
    {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' INT; exec \"$@\"", "sh"]).arg(cargo_bin("sigready"));
        let quiet = shell.args(command).stdout(Stdio::null()).stderr(Stdio::null());
        let mut tracer = Killed(quiet.spawn().unwrap());
        let status = format!("/proc/{}/status", tracer.0.id());
        // It is the tracer, and it ignores INT no more: it has not attached its programs yet.
        let ignores = || {
            let text = fs::read_to_string(&status).unwrap();
            let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
            let is_shell = !text.starts_with("Name:\tsigready");
            is_shell || u64::from_str_radix(ignored.trim(), 16).unwrap() & 2 != 0
        };
        while ignores() {
            thread::sleep(Duration::from_millis(1));
        }
        kill(pid(&tracer), Signal::SIGINT).unwrap();
        let begun = Instant::now();
        let ended = tracer.0.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30), "{command:?} went on");
        // By the signal, or with a report of what little there was.
        let is_reported = matches!(ended.code(), Some(0 | 1 | 3));
        assert!(ended.signal() == Some(2) || is_reported, "{command:?}: {ended:?}");
    }
}

/// The nice value of a thread: the 19th field of its stat (proc_pid_stat(5)).
fn nice(stat: &str) -> i32 {
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn who_waits_for_a_report_does_not_wait_for_other_work_of_the_host() {
    let mut run = Command::new(cargo_bin("sigready"));
    let script = "trap : INT; echo ready; while :; do sleep 0.05; done";
    run.args(["run", "--until", "exit", "--", "sh", "-c", script]);
    let mut tracer = Killed(run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(tracer.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", tracer.0.id())).unwrap();
        let stats =
            tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
        stats.map(|stat| nice(&stat)).collect::<Vec<i32>>()
    };
    assert!(threads().iter().all(|nice| *nice == 0), "{:?}", threads());
    kill(pid(&tracer), Signal::SIGINT).unwrap();
    let limit = Instant::now() + Duration::from_secs(30);
    while !threads().iter().all(|nice| *nice == -20) {
        assert!(Instant::now() < limit, "{:?}", threads());
        thread::sleep(Duration::from_millis(5));
    }
    // The command took the first one, and goes on.
    kill(pid(&tracer), Signal::SIGINT).unwrap();
    tracer.0.wait().unwrap();
}
