//! A race in several processes at a time.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Raced, SIMPLE, race};
use crate::support::{Compiled, sigready};

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_in_several_processes_comes_to_what_one_process_finds() {
    let program = Compiled::new(
        "#include <signal.h>\n#include <unistd.h>\n\
         static void on(int s) { (void)s; }\n\
         int main(void) { usleep(5000); signal(SIGHUP, on); usleep(5000);\n\
         signal(SIGHUP, SIG_DFL); usleep(5000); signal(SIGHUP, on);\n\
         if (fork() == 0) { usleep(5000); signal(SIGHUP, SIG_IGN); for (;;) pause(); }\n\
         for (;;) pause(); }",
    );
    let path = program.path();
    let options = [&SIMPLE[..], &["--signal", "HUP", "--signal", "TERM"]].concat();
    let one = race(&options, &[&path]);
    for jobs in ["2", "5"] {
        let several = race(&[&options[..], &["--jobs", jobs]].concat(), &[&path]);
        assert_eq!(several.outcomes(), one.outcomes(), "{}", several.stderr);
        assert_eq!(several.status, Some(3), "{}", several.stderr);
        assert_eq!(several.race["options"], one.race["options"]);
        let runs = |raced: &Raced| raced.race["runs"].as_u64().unwrap();
        assert!(runs(&several) > runs(&one));
    }
    // The instants of a sweep are chosen once.
    let swept = race(&[&options[..], &["--sweep", "6", "--jobs", "3"]].concat(), &[&path]);
    assert_eq!(swept.all().count(), one.all().count() + 12, "{}", swept.stderr);
    let missed = swept.outcomes().into_iter().filter(|it| it.1 == "not_reached").count();
    assert_eq!(missed, 0, "{:?}", swept.race["untested"]);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_in_several_processes_refuses_what_one_process_refuses() {
    let one = sigready(&["race", "--", "false"]);
    let several = sigready(&["race", "--jobs", "3", "--", "false"]);
    assert_eq!((one.status.code(), several.status.code()), (Some(2), Some(2)));
    assert_eq!(String::from_utf8_lossy(&several.stderr), String::from_utf8_lossy(&one.stderr));
}

/// A race in three processes of a command that waits for so long, and writes to a file before.
fn started(marker: &str, file: &Path, output: Stdio) -> Child {
    let script = format!("echo >>{}; exec sleep {marker}", file.display());
    Command::new(cargo_bin("sigready"))
        .args(["race", "--format", "json"])
        .args(SIMPLE)
        .args(["--sweep", "90", "--jobs", "3", "--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// How many processes have this on their command line.
fn running(marker: &str) -> usize {
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).contains(marker))
    });
    lines.filter(|has| *has).count()
}

/// Waits until the command came so far in as many runs as the untouched ones and these.
fn has_raced(file: &Path, runs: usize) {
    let limit = Instant::now() + Duration::from_mins(1);
    while fs::read(file).map_or(0, |text| text.len()) < 4 + runs {
        assert!(Instant::now() < limit, "they did not begin");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_in_several_processes_that_is_interrupted_tells_what_they_found() {
    let marker = "4248.25";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs");
    let child = started(marker, &file, Stdio::piped());
    // More than the three that are under way.
    has_raced(&file, 9);
    let asked = Instant::now();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let raced = Raced::of(&child.wait_with_output().unwrap());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let of = |outcome: &str| raced.outcomes().iter().filter(|it| it.1 == outcome).count();
    assert!(of("killed") > 0 && of("not_reached") > 0, "{:?}", raced.outcomes());
    assert!(raced.race["untested"].as_array().unwrap().len() >= of("not_reached"));
    assert_eq!(running(marker), 0);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_in_several_processes_that_is_killed_leaves_none_of_them() {
    let marker = "4248.75";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs");
    let mut child = started(marker, &file, Stdio::null());
    has_raced(&file, 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let limit = Instant::now() + Duration::from_secs(10);
    while running(marker) > 0 {
        assert!(Instant::now() < limit, "{} are left", running(marker));
        thread::sleep(Duration::from_millis(20));
    }
}
