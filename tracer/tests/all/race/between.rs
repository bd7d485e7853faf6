//! What is done between two runs, and does not end.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Raced, SIMPLE, running};

/// A race whose `--between` starts a `sleep` of this many seconds and waits for it.
fn race_beside(seconds: &str, options: &[&str]) -> Command {
    let mut race = Command::new(cargo_bin("sigready"));
    race.arg("race").args(SIMPLE).args(options).args(["--format", "json"]);
    race.args(["--between", &format!("sleep {seconds} & wait"), "--", "sleep", "60"]);
    race.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    race
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_ends_all_that_a_command_between_runs_has_started_once_its_time_is_over() {
    let seconds = "4242.125";
    let output = race_beside(seconds, &["--timeout", "2s"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("was not done in time"), "{stderr}");
    assert_eq!(running(seconds), 0);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_that_is_interrupted_between_runs_ends_with_its_report_and_leaves_nothing() {
    let seconds = "4242.375";
    let child = race_beside(seconds, &[]).spawn().unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    while running(seconds) == 0 {
        assert!(Instant::now() < limit, "nothing was done between runs");
        thread::sleep(Duration::from_millis(5));
    }
    let asked = Instant::now();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let raced = Raced::of(&child.wait_with_output().unwrap());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(raced.status, Some(1), "{}", raced.stderr);
    assert!(!raced.race["untested"].as_array().unwrap().is_empty(), "{:#}", raced.race);
    assert_eq!(running(seconds), 0);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_that_is_killed_while_something_is_done_between_runs_leaves_nothing_of_that() {
    let kills = |between: &str, seconds: &str, in_run: &str| {
        let mut race = Command::new(cargo_bin("sigready"));
        race.arg("race").args(SIMPLE).args(["--between", between, "--", "sleep", in_run]);
        race.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = race.spawn().unwrap();
        let limit = Instant::now() + Duration::from_secs(20);
        // The one that is raced, when it is started anew beside what was left.
        let is_there = || running(seconds) > 0 && (in_run == "60" || running(in_run) > 1);
        while !is_there() {
            assert!(Instant::now() < limit, "nothing was done between runs");
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let limit = Instant::now() + Duration::from_secs(15);
        while running(seconds) > 0 {
            assert!(Instant::now() < limit, "{between}: it is still there");
            thread::sleep(Duration::from_millis(10));
        }
    };
    kills("sleep 4242.625 & wait", "4242.625", "60");
    // One that has left the session of the shell, while that waits and once it has ended.
    kills("setsid sleep 4242.875 & wait", "4242.875", "60");
    kills("setsid sleep 4242.9375 & sleep 0.2", "4242.9375", "4243.9375");
}
