//! `race --unit` of units with `Type=forking`: the main process is a child of what systemd starts.

use std::path::PathBuf;

use super::{Raced, units::race_for};
use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root};

/// It puts itself into the background by two forks, and is up once its PID is in the file. Its handler
/// comes 800 ms after systemd has taken it for active, however long that takes: a unit that comes after it
/// makes the file `race.up`. On a busy host the signal for that instant may come 300 ms later. Then it has
/// a worker that HUP stops. Where there is the file `race.varies`, it is another child of what systemd
/// starts in each start but the first.
const SERVICE: &str = "\
import os, signal, sys, time
HUP = signal.SIGHUP
if os.path.exists('/run/race.up'):
    os.remove('/run/race.up')
if sys.argv[1] == 'ignores':
    signal.signal(HUP, signal.SIG_IGN)
if sys.argv[1] == 'fails':
    def on(*a): sys.exit(9)
    signal.signal(HUP, on)
time.sleep(0.02)
def background():
    r, w = os.pipe()
    if os.fork():
        os.close(w)
        os.read(r, 1)
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    return True
if os.path.exists('/run/race.varies'):
    if os.path.exists('/run/race.other') and background():
        os.closerange(3, 20)
        time.sleep(60)
    open('/run/race.other', 'w')
if not background():
    os._exit(0)
open('/run/race.pid', 'w').write(str(os.getpid()))
os.closerange(3, 20)
while not os.path.exists('/run/race.up'):
    time.sleep(0.005)
time.sleep(0.8)
signal.signal(HUP, lambda *a: None)
if os.fork() == 0:
    signal.signal(HUP, signal.SIG_DFL)
while True:
    time.sleep(60)
";

/// It runs once the unit that wants it is active.
const UP: &str = "\
[Service]
Type=oneshot
ExecStart=/bin/touch /run/race.up
";

fn unit(how: &str, more: &str) -> String {
    format!(
        "[Unit]\nWants=up.service\nBefore=up.service\n\
         [Service]\nType=forking\nPIDFile=/run/race.pid\nTimeoutStopSec=2\n{more}\n\
         ExecStartPre=/bin/true\nExecStart=/usr/bin/python3 /shared/forks.py {how}\n\
         ExecReload=/bin/kill -HUP $MAINPID\n"
    )
}

fn container(root: PathBuf) -> Container {
    let (plain, ignores, fails) = (unit("plainly", ""), unit("ignores", ""), unit("fails", ""));
    let unknown = unit("plainly", "PIDFile=\nGuessMainPID=no");
    let files = [
        ("forks.py", SERVICE),
        ("forks.service", plain.as_str()),
        ("ignores.service", ignores.as_str()),
        ("fails.service", fails.as_str()),
        ("unknown.service", unknown.as_str()),
        ("up.service", UP),
    ];
    let scenario = format!(
        "cp /shared/{{forks,ignores,fails,unknown,up}}.service /run/systemd/system/
         systemctl daemon-reload
         {ANSWERING}"
    );
    let container = Container::boot_in(root, Hierarchy::Unified, &scenario, &files);
    container.wait_for("up");
    container
}

/// Races a unit of it: for a while after it is active something changes yet.
fn race(container: &Container, unit: &str, more: &[&str]) -> Raced {
    race_for(container, unit, &[&["--quiet-time", "2s", "--settle", "100ms"], more].concat())
}

/// The intervals of the main process, or those of others: id, outcome, whether it counts.
fn intervals(raced: &Raced, main: bool) -> Vec<(&str, &str, bool)> {
    raced
        .all()
        .filter(|it| it["main"] == main)
        .map(|it| {
            let word = |key: &str| it[key].as_str().unwrap();
            (word("id"), word("outcome"), it["counts"] == true)
        })
        .collect()
}

fn the_hole_after_the_start_is_found(root: PathBuf, by: &str) {
    let container = container(root);
    let raced = race(&container, "forks", &["--by", by]);
    assert_eq!(raced.status, Some(3), "{}\n{:?}", raced.stderr, raced.outcomes());
    assert_eq!(
        intervals(&raced, true),
        [
            ("HUP@child1.child1.fork", "killed", true),
            ("HUP@child1.child1.action1", "taken", true),
            ("HUP@child1.child1.fork1", "taken", true),
        ],
        "{by}"
    );
    assert_eq!(raced.at_rest(), ("taken", false), "{:#}", raced.race["signals"][0]["rest"]);
    assert_eq!(raced.as_active(), ("killed", true), "{:#}", raced.race["signals"][0]["active"]);
    // Up once the handler is not there yet: a reload through systemd reaches the hole.
    let hole = raced.interval("HUP@child1.child1.fork");
    let active = raced.race["untouched"]["active_ns"].as_i64().unwrap();
    let within = hole["from_ns"].as_i64().unwrap()..hole["to_ns"].as_i64().unwrap();
    assert!(within.contains(&active), "{active} in {within:?}");
    let others = intervals(&raced, false);
    assert!(others.iter().all(|it| !it.2), "{others:?}");
    let worker = others.iter().filter(|it| it.0.starts_with("HUP@child1.child1.child1."));
    let worker: Vec<_> = worker.map(|it| it.1).collect();
    assert_eq!(worker, ["taken", "killed"], "{others:?}");
    let starter = others.iter().filter(|it| !it.0.contains("child"));
    assert!(starter.clone().count() >= 2, "{others:?}");
    assert!(starter.clone().all(|it| it.1 == "killed"), "{others:?}");
    let what = raced.interval("HUP@fork")["tries"][0]["what"].as_str().unwrap();
    // HUP is a clean end for systemd, but nothing is left then.
    assert!(what.contains("systemd calls it failed (protocol)"), "{what}");
    assert_eq!(container.ask("systemctl is-active forks").trim(), "inactive");
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_that_forks_finds_the_hole_of_the_process_that_stays() {
    the_hole_after_the_start_is_found(root(), "kernel");
    the_hole_after_the_start_is_found(root(), "kill");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_that_forks_finds_its_hole_under_newer_systemds() {
    for root in [newer_root(), newest_root()] {
        the_hole_after_the_start_is_found(root, "kernel");
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_that_forks_has_systemd_reload_the_process_that_stays() {
    let container = container(root());
    let raced = race(&container, "forks", &["--by", "reload"]);
    let outcomes = intervals(&raced, true);
    // At its fork systemd is still starting it; the file comes later.
    assert_eq!(
        outcomes,
        [
            ("HUP@child1.child1.fork", "held_back", true),
            ("HUP@child1.child1.action1", "taken", true),
            ("HUP@child1.child1.fork1", "taken", true),
        ],
        "{}",
        raced.stderr
    );
    assert!(intervals(&raced, false).is_empty(), "a reload is sent to the main process");
    // Right after a step no reload comes through, and as soon as it is up one does.
    assert_eq!(raced.as_active(), ("killed", true), "{:#}", raced.race["signals"][0]["active"]);
    let sentence = raced.sentence();
    assert!(sentence.contains("As soon as systemd takes it for active HUP kills"), "{sentence}");
    assert!(sentence.contains("right after no step of its start"), "{sentence}");
    assert_eq!(raced.status, Some(3), "{}", raced.stderr);
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_that_forks_tells_what_became_of_its_start() {
    let container = container(root());
    // What starts it goes on, and so does the unit.
    let raced = race(&container, "ignores", &["--strict"]);
    let starter = raced.interval("HUP@exec1.action1");
    assert_eq!((&starter["outcome"], &starter["bad"]), (&"ignored".into(), &false.into()));
    // What starts it says that it has failed, and the unit does not come up.
    let raced = race(&container, "fails", &["--strict"]);
    let starter = raced.interval("HUP@exec1.action1");
    assert_eq!((&starter["outcome"], &starter["bad"]), (&"ended".into(), &true.into()));
    let what = starter["tries"][0]["what"].as_str().unwrap();
    assert!(what.contains("code 9") && what.contains("failed (exit-code)"), "{what}");
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_that_forks_passes_nothing_where_its_main_process_is_another_each_time() {
    let container = container(root());
    container.ask("touch /run/race.varies");
    let raced = race(&container, "forks", &[]);
    let main = intervals(&raced, true);
    assert_eq!(main.len(), 3, "{main:?}");
    assert!(main.iter().all(|it| it.1 == "not_reached"), "{main:?}");
    let what = raced.interval(main[0].0)["tries"][0]["what"].as_str().unwrap();
    assert!(what.contains("another one in this run"), "{what}");
    assert_eq!(raced.status, Some(1), "{}", raced.stderr);
    container.over();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn race_of_a_unit_that_forks_is_refused_where_systemd_knows_no_main_process_or_it_does_not_start() {
    let container = container(root());
    let unknown = race(&container, "unknown", &[]);
    assert_eq!(unknown.status, Some(2), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("knows no main process of it"), "{}", unknown.stderr);
    container.ask(
        "mkdir /run/systemd/system/forks.service.d
         printf '[Service]\nExecStart=\nExecStart=/bin/sh -c \"sleep 0.1; exit 3\"\n' \
            > /run/systemd/system/forks.service.d/x.conf
         systemctl daemon-reload",
    );
    let failing = race(&container, "forks", &[]);
    assert_eq!(failing.status, Some(2), "{}", failing.stderr);
    assert!(failing.stderr.contains("ended with 'failed'"), "{}", failing.stderr);
    container.over();
}
