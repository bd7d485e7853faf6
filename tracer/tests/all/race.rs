//! A signal at every instant of a start: programs with holes at known places.

mod between;
mod commands;
mod daemons;
mod forking;
mod helpers;
mod holes;
mod jobs;
mod late_handlers;
mod reloads;
mod rest;
mod senders;
mod sweeps;
mod units;
mod users;
mod workflow;

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

use crate::support::{Compiled, PYTHON, command_of, sigready};

/// A race and its result.
struct Raced {
    status: Option<i32>,
    stderr: String,
    race: Value,
}

impl Raced {
    /// What a race that prints JSON came to; `Null` where it printed none.
    fn of(output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let race = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Self { status: output.status.code(), stderr, race }
    }

    /// The intervals of all signals, and the instants that were swept over.
    fn all(&self) -> impl Iterator<Item = &Value> {
        let signals = self.race["signals"].as_array().unwrap();
        signals.iter().flat_map(|it| {
            ["intervals", "second", "sweep"]
                .into_iter()
                .flat_map(|list| it[list].as_array().unwrap())
        })
    }

    /// Their outcomes, by what `--only` takes, in their order.
    fn outcomes(&self) -> Vec<(&str, &str)> {
        self.all().map(|it| (it["id"].as_str().unwrap(), it["outcome"].as_str().unwrap())).collect()
    }

    fn interval(&self, id: &str) -> &Value {
        let found = self.all().find(|it| it["id"] == id);
        found.unwrap_or_else(|| panic!("no {id}: {:#}", self.race))
    }

    /// What came of the first signal at rest, and whether that is bad.
    fn at_rest(&self) -> (&str, bool) {
        let rest = &self.race["signals"][0]["rest"];
        let outcome = rest["outcome"].as_str();
        (outcome.unwrap_or_else(|| panic!("{}", self.stderr)), rest["bad"] == true)
    }

    /// The same of what came as systemd took the unit for active.
    fn as_active(&self) -> (&str, bool) {
        let active = &self.race["signals"][0]["active"];
        let outcome = active["outcome"].as_str();
        (outcome.unwrap_or_else(|| panic!("{}", self.stderr)), active["bad"] == true)
    }

    fn sentence(&self) -> &str {
        self.race["signals"][0]["sentence"].as_str().unwrap()
    }
}

fn race(options: &[&str], command: &[&str]) -> Raced {
    let (output, race) = command_of("race", options, command);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Raced { status: output.status.code(), stderr, race }
}

/// Options for a program that is done with its start within 300 ms.
const SIMPLE: [&str; 6] = ["--type", "simple", "--quiet-time", "300ms", "--settle", "100ms"];

/// The outcomes of a C program's intervals for HUP. They come out alike three times.
fn of_c(body: &str) -> (Raced, Vec<(String, String)>) {
    let program = Compiled::new(&format!(
        "#include <signal.h>\n#include <stdlib.h>\n#include <sys/signalfd.h>\n\
         #include <unistd.h>\n\
         static void on(int s) {{ (void)s; }}\n\
         int main(void) {{\n(void)on;\n{body}\nfor (;;) pause();\n}}"
    ));
    let own = |raced: &Raced| -> Vec<(String, String)> {
        let outcomes = raced.outcomes();
        outcomes.into_iter().map(|(id, did)| (id.replace("HUP@", ""), did.to_owned())).collect()
    };
    let first = race(&SIMPLE, &[&program.path()]);
    let outcomes = own(&first);
    for _ in 0..2 {
        let again = race(&SIMPLE, &[&program.path()]);
        assert_eq!(own(&again), outcomes, "{}", again.stderr);
    }
    (first, outcomes)
}

fn pairs(outcomes: &[(String, String)]) -> Vec<(&str, &str)> {
    outcomes.iter().map(|(id, did)| (id.as_str(), did.as_str())).collect()
}

/// A service that says READY=1 late, by the library or by hand.
fn notify_service(before_ready: &str, after_ready: &str) -> String {
    format!(
        "import os, signal, socket, sys, time\n\
         def say(text):\n    \
             s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n    \
             s.connect(os.environ['NOTIFY_SOCKET'])\n    \
             s.sendall(text.encode())\n\
         say('STATUS=starting')\n\
         time.sleep(0.05)\n\
         {before_ready}\n\
         say('STATUS=up\\nREADY=1')\n\
         {after_ready}\n\
         time.sleep(60)\n"
    )
}

const NOTIFY: [&str; 2] = ["--settle", "150ms"];

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_holds_what_comes_before_ready_back_unless_it_is_strict() {
    let handler = "signal.signal(signal.SIGHUP, lambda *a: None)";
    let service = notify_service(handler, "");
    let lenient = race(&NOTIFY, &[PYTHON, "-c", &service]);
    assert_eq!(
        lenient.outcomes(),
        [
            ("HUP@fork", "killed"),
            ("HUP@exec1", "killed"),
            ("HUP@exec1.action1", "taken"),
            ("HUP@exec1.ready1", "taken")
        ]
    );
    assert_eq!(lenient.status, Some(0), "{}", lenient.stderr);
    assert!(lenient.sentence().contains("As Type=notify systemd holds reloads back"));
    assert_eq!(lenient.interval("HUP@exec1")["reached"], "not_by_reload");
    assert_eq!(lenient.interval("HUP@exec1.ready1")["reached"], "reached");
    let strict = race(&["--strict", "--settle", "150ms"], &[PYTHON, "-c", &service]);
    assert_eq!(strict.status, Some(3));
    // The handler after READY=1: that is a hole.
    let late = race(&NOTIFY, &[PYTHON, "-c", &notify_service("pass", handler)]);
    assert_eq!(late.interval("HUP@exec1.ready1")["outcome"], "killed");
    assert_eq!(late.interval("HUP@exec1.action1")["outcome"], "taken");
    assert_eq!(late.status, Some(3));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_tells_what_hangs_crashes_and_ends() {
    let service = notify_service(
        "ready = False\n\
         def on(*a):\n    \
             if not ready: time.sleep(60)\n    \
             os.kill(os.getpid(), signal.SIGSEGV)\n\
         signal.signal(signal.SIGHUP, on); time.sleep(0.02); ready = True",
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); time.sleep(0.02)\n\
         signal.signal(signal.SIGHUP, on); time.sleep(0.02)\n\
         signal.signal(signal.SIGHUP, lambda *a: sys.exit(4))",
    );
    let raced = race(&["--settle", "150ms", "--timeout", "2s"], &[PYTHON, "-c", &service]);
    assert_eq!(
        raced.outcomes()[2..],
        [
            ("HUP@exec1.action1", "hung"),
            ("HUP@exec1.ready1", "crashed"),
            ("HUP@exec1.action2", "ignored"),
            ("HUP@exec1.action3", "crashed"),
            ("HUP@exec1.action4", "ended")
        ]
    );
    let what = |id: &str| raced.interval(id)["tries"][0]["what"].as_str().unwrap().to_owned();
    assert!(
        what("HUP@exec1.action1").contains("did not say READY=1"),
        "{raced:?}",
        raced = raced.race
    );
    assert!(what("HUP@exec1.action3").contains("SEGV"));
    assert_eq!(what("HUP@exec1.action4"), "exited with code 4");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_waits_for_the_answer_of_a_notify_reload_service_and_tells_where_none_comes() {
    let service = |answers: &str| {
        notify_service(
            &format!(
                "def on(*a):\n    \
                     now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000\n    \
                     {answers}\n\
                 signal.signal(signal.SIGHUP, on)"
            ),
            "while True: time.sleep(0.01)",
        )
    };
    let options = ["--type", "notify-reload", "--settle", "150ms", "--timeout", "4s"];
    let slow = "say(f'RELOADING=1\\nMONOTONIC_USEC={now}'); time.sleep(0.6); say('READY=1')";
    let slow = race(&options, &[PYTHON, "-c", &service(slow)]);
    assert_eq!(slow.interval("HUP@exec1.ready1")["outcome"], "taken", "{:#}", slow.race);
    assert_eq!(slow.status, Some(0), "{}", slow.stderr);
    let silent = race(&options, &[PYTHON, "-c", &service("pass")]);
    assert_eq!(silent.interval("HUP@exec1.ready1")["outcome"], "hung", "{:#}", silent.race);
    assert_eq!(silent.status, Some(3), "{}", silent.stderr);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_has_files_put_back_between_runs() {
    let directory = tempfile::tempdir().unwrap();
    let lock = directory.path().join("lock");
    let lock = lock.to_str().unwrap();
    let script = format!("test -e {lock} && exit 7; : > {lock}; exec sleep 60");
    let between = format!("rm -f {lock}");
    let mut options = SIMPLE.to_vec();
    options.extend(["--between", &between]);
    let raced = race(&options, &["sh", "-c", &script]);
    let outcomes = raced.outcomes();
    assert!(outcomes.contains(&("HUP@exec2", "killed")), "{outcomes:?}");
    assert!(outcomes.iter().all(|(_, did)| *did == "killed"), "{outcomes:?}");
    let arguments = ["race", "--type", "simple", "--quiet-time", "300ms", "--between", "exit 5"];
    let failed = sigready(&[&arguments[..], &["--", "sleep", "60"]].concat());
    let stderr = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("--between 'exit 5' failed: exit status: 5"), "{stderr}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_has_an_idea_of_right_for_each_signal() {
    let program = "import signal, subprocess, time\n\
         signal.signal(signal.SIGUSR1, lambda *a: None)\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(0.02)\n\
         signal.signal(signal.SIGTERM, signal.SIG_DFL)\n\
         time.sleep(60)";
    let mut options = vec!["--type", "simple", "--quiet-time", "300ms", "--settle", "100ms"];
    options.extend([
        "--timeout",
        "2s",
        "--signal",
        "TERM",
        "--signal",
        "USR1",
        "--signal",
        "WINCH",
    ]);
    let raced = race(&options, &[PYTHON, "-c", program]);
    let bad = |id: &str| {
        let it = raced.interval(id);
        (it["outcome"].as_str().unwrap().to_owned(), it["bad"].as_bool().unwrap())
    };
    let of = |outcome: &str, is_bad| (outcome.to_owned(), is_bad);
    assert_eq!(bad("TERM@fork"), of("killed", false));
    assert_eq!(bad("TERM@exec1"), of("killed", false));
    assert_eq!(bad("TERM@exec1.action1"), of("ignored", true));
    assert_eq!(bad("TERM@exec1.action2"), of("killed", false));
    assert_eq!(bad("USR1@exec1"), of("killed", true));
    assert_eq!(bad("USR1@exec1.action1"), of("taken", false));
    assert_eq!(bad("WINCH@exec1"), of("ignored", false));
    assert_eq!(raced.status, Some(3));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_repeats_one_interval_and_tells_unsteady_outcomes() {
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    // Every second start has its handler at once.
    let program = format!(
        "import os, signal, time\n\
         n = os.path.getsize({count:?}) if os.path.exists({count:?}) else 0\n\
         open({count:?}, 'a').write('x')\n\
         signal.signal(signal.SIGHUP, signal.SIG_DFL if n % 2 else lambda *a: None)\n\
         time.sleep(60)"
    );
    let mut options = SIMPLE.to_vec();
    options.extend(["--only", "HUP@exec1.action1", "--repeat", "4"]);
    let raced = race(&options, &[PYTHON, "-c", &program]);
    assert_eq!(raced.outcomes(), [("HUP@exec1.action1", "killed")]);
    let interval = raced.interval("HUP@exec1.action1");
    assert_eq!(interval["steady"], false);
    let tries = interval["tries"].as_array().unwrap();
    let outcomes: Vec<&str> = tries.iter().map(|it| it["outcome"].as_str().unwrap()).collect();
    let mut counts = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("killed", 2), ("taken", 2)]));
    assert!(raced.sentence().contains("now one way, now another"));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_tells_an_interval_that_no_run_reaches_and_does_not_pass_it() {
    let directory = tempfile::tempdir().unwrap();
    let once = directory.path().join("once");
    // The second handler is set in the first start alone.
    let program = format!(
        "import os, signal, time\n\
         signal.signal(signal.SIGHUP, lambda *a: None); time.sleep(0.02)\n\
         if not os.path.exists({once:?}):\n    \
             open({once:?}, 'w'); signal.signal(signal.SIGHUP, lambda *a: None)\n\
         time.sleep(60)"
    );
    let mut options = SIMPLE.to_vec();
    options.extend(["--only", "HUP@exec1.action2"]);
    let raced = race(&options, &[PYTHON, "-c", &program]);
    assert_eq!(raced.outcomes(), [("HUP@exec1.action2", "not_reached")]);
    assert_eq!(raced.interval("HUP@exec1.action2")["tries"][0]["attempts"], 3);
    assert_eq!(raced.status, Some(1), "{}", raced.stderr);
    assert!(raced.stderr.contains("not tested: HUP@exec1.action2"), "{}", raced.stderr);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_refuses_what_is_no_start_with_a_sentence() {
    for (options, command, reason) in [
        (&["--signal", "KILL"][..], &["true"][..], "KILL can't be raced"),
        (&["--signal", "STOP"], &["true"], "STOP can't be raced"),
        (&[], &["/no/such/program"], "cannot run /no/such/program"),
        (&[], &["true"], "exited with code 0 before it was ready"),
        (&["--timeout", "300ms"], &["sleep", "60"], "did not say READY=1 within 300 ms"),
        (&["--type", "simple"], &["sh", "-c", "kill -SEGV $$"], "died of SEGV"),
        (&["--type", "simple"], &["sh", "-c", "setsid sleep 60 & exit 0"], "left sleep (pid"),
        (
            &["--type", "simple", "--quiet-time", "50ms", "--only", "HUP@exec7"],
            &["sleep", "60"],
            "there are HUP@fork, HUP@exec1",
        ),
        (&["--repeat", "0"], &["true"], "0 is not in 1..=1000"),
        (&["--timeout", "0"], &["true"], "from 100ms to 1h"),
    ] {
        let arguments = [&["race"][..], options, &["--"], command].concat();
        let output = sigready(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

/// How many processes have this argument.
fn running(argument: &str) -> usize {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let lines = pids.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
        .count()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_leaves_nothing_running_and_nothing_stopped() {
    // A helper that leaves its session and its parent, and ignores TERM.
    let script = "(trap '' TERM HUP; setsid sleep 4242.5 & ) ; trap '' TERM; sleep 4242.5";
    let mut options = SIMPLE.to_vec();
    options.extend(["--signal", "HUP"]);
    let raced = race(&options, &["sh", "-c", script]);
    assert!(raced.race["runs"].as_u64().unwrap() >= 3, "{:#}", raced.race);
    assert_eq!(running("4242.5"), 0);
    // The tracer is killed in the middle: the command is told to end, and none is stopped.
    let mut tracer = Command::new(cargo_bin("sigready"))
        .args(["race", "--type", "simple", "--quiet-time", "30s", "--", "sleep", "4243.5"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let limit = Instant::now() + Duration::from_secs(30);
    // The tracer has it as an argument, too.
    while running("4243.5") < 2 {
        assert!(Instant::now() < limit, "the command runs");
        thread::sleep(Duration::from_millis(10));
    }
    tracer.kill().unwrap();
    tracer.wait().unwrap();
    while running("4243.5") > 0 {
        assert!(Instant::now() < limit, "it ends");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_writes_junit_that_names_each_failure_with_the_command_to_repeat_it() {
    let mut arguments = vec!["race", "--format", "junit"];
    arguments.extend(SIMPLE);
    arguments.extend(["--", "sleep", "60"]);
    let output = sigready(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains(
            "<testsuites name=\"sigready race\" tests=\"3\" skipped=\"0\" failures=\"3\""
        ),
        "{text}"
    );
    assert!(text.contains("--settle 100ms --only HUP@exec1 -- sleep 60"), "{text}");
}
