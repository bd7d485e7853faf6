//! Who sends the signal: the kernel, or a real kill(2) to a stopped process.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;

use super::{Raced, SIMPLE, race, running};
use crate::support::{Compiled, PYTHON};

fn by_kill(command: &[&str]) -> Raced {
    let mut options = SIMPLE.to_vec();
    options.extend(["--by", "kill"]);
    race(&options, command)
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_by_kill_comes_out_as_by_the_kernel_with_a_real_sender() {
    let program = Compiled::new(
        "#include <signal.h>\n#include <unistd.h>\n\
         static void on(int s) { (void)s; }\n\
         int main(void) {\n\
           usleep(20000); signal(SIGHUP, on); usleep(10000); signal(SIGHUP, SIG_IGN);\n\
           usleep(10000); signal(SIGHUP, on); usleep(10000);\n\
           if (fork() == 0) { signal(SIGHUP, SIG_DFL); for (;;) pause(); }\n\
           for (;;) pause();\n\
         }",
    );
    let raced = by_kill(&[&program.path()]);
    let expected = [
        ("HUP@fork", "killed"),
        ("HUP@exec1", "killed"),
        ("HUP@exec1.action1", "taken"),
        ("HUP@exec1.action2", "ignored"),
        ("HUP@exec1.action3", "taken"),
        ("HUP@exec1.fork1", "taken"),
        ("HUP@child1.fork", "taken"),
        ("HUP@child1.action1", "killed"),
    ];
    assert_eq!(raced.outcomes(), expected, "{}", raced.stderr);
    let tried = &raced.interval("HUP@exec1.action1")["tries"][0];
    assert_eq!(tried["signal"]["si_code"], 0);
    assert_eq!(tried["signal"]["sender"]["comm"], "sigready");
    assert_eq!(raced.race["by"], "kill");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_by_kill_is_not_stopped_by_what_a_program_does_with_cont() {
    for cont in ["signal.SIG_IGN", "lambda *a: None"] {
        let program = format!(
            "import signal, time\n\
             signal.signal(signal.SIGCONT, {cont})\n\
             signal.signal(signal.SIGHUP, lambda *a: None)\n\
             while True: time.sleep(60)"
        );
        let raced = by_kill(&[PYTHON, "-c", &program]);
        assert_eq!(
            raced.outcomes(),
            [("HUP@fork", "killed"), ("HUP@exec1", "killed"), ("HUP@exec1.action1", "taken")],
            "{cont}: {}",
            raced.stderr
        );
    }
}

/// The states of the processes with this argument.
fn stopped(argument: &str) -> usize {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let is_it = |line: &[u8]| line.split(|byte| *byte == 0).any(|it| it == argument.as_bytes());
    pids.filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| is_it(&line)))
        .filter(|entry| {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            status.contains("State:\tT")
        })
        .count()
}

/// A race is killed again and again, each time a little later: some of that is while the command
/// is stopped. Helpers have left its session and their parent, and ignore what they can.
#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_that_is_killed_leaves_nothing_running_and_nothing_stopped() {
    const ARGUMENT: &str = "4246.5";
    let script = format!("(trap '' TERM HUP; setsid sleep {ARGUMENT} & ) ; exec sleep {ARGUMENT}");
    for after in (0..12).map(|step| Duration::from_millis(37 * step)) {
        let mut tracer = Command::new(cargo_bin("sigready"))
            .args(["race", "--by", "kill", "--type", "simple", "--quiet-time", "50ms"])
            .args(["--settle", "50ms", "--repeat", "100", "--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let limit = Instant::now() + Duration::from_secs(30);
        while running(ARGUMENT) < 1 {
            assert!(Instant::now() < limit, "the command runs");
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(after);
        let cgroups = format!("sigready-race-{}", tracer.id());
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        let limit = Instant::now() + Duration::from_secs(10);
        while running(ARGUMENT) > 0 || is_there(&cgroups) {
            assert!(
                Instant::now() < limit,
                "after {after:?}: {} run, {} of them stopped, cgroup {}",
                running(ARGUMENT),
                stopped(ARGUMENT),
                is_there(&cgroups)
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether there is a cgroup of this name anywhere.
fn is_there(name: &str) -> bool {
    let found = Command::new("find").args(["/sys/fs/cgroup", "-name", name]).output().unwrap();
    !found.stdout.is_empty()
}
