//! The table of runtimes against the real ones: what each has a handler for by itself, and what
//! comes of each signal.

use std::collections::BTreeMap;

use serde_json::Value;
use sigready::model::{
    runtime::{Action, ROWS, Runtime},
    signal::Signal,
};

use crate::support::container::{ANSWERING, Container, Hierarchy};

/// Starts a runtime with a program that asks for no signal, and sends it each signal that it
/// has a handler for. Prints what came of them.
const MEASURE: &str = r#"
import json, os, signal, subprocess, sys, time
UP = "/run/up"
FAULTS = {4, 5, 7, 8, 11, 31}
def start(command):
    def fresh():
        for number in range(1, 65):
            if number not in (9, 19, 32, 33):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.setsid()
    if os.path.exists(UP):
        os.remove(UP)
    null = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, preexec_fn=fresh)
    limit = time.time() + 30
    while not os.path.exists(UP) and time.time() < limit and process.poll() is None:
        time.sleep(.02)
    time.sleep(.3)
    return process
def caught(process):
    for line in open(f"/proc/{process.pid}/status"):
        if line.startswith("SigCgt"):
            return int(line.split()[1], 16)
def end(process):
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()
command = json.load(open("/shared/programs.json"))[sys.argv[1]]
process = start(command)
set_ = caught(process)
end(process)
came = {}
for number in (number for number in range(1, 32) if set_ >> (number - 1) & 1):
    if number in FAULTS:
        continue
    process = start(command)
    os.kill(process.pid, number)
    limit = time.time() + 2
    while process.poll() is None and time.time() < limit:
        time.sleep(.02)
    came[signal.Signals(number).name[3:]] = process.poll()
    end(process)
print(json.dumps(came))
"#;

/// Programs that ask for no signal: each says that it is up, and waits.
const PROGRAMS: &str = r#"{
    "python": ["python3", "-c", "open('/run/up', 'w'); import time; time.sleep(100)"],
    "perl": ["perl", "-e", "open F, '>/run/up'; close F; sleep 100"],
    "ruby": ["ruby", "-e", "File.write('/run/up', ''); sleep 100"],
    "node": ["node", "-e", "require('fs').writeFileSync('/run/up', ''); setInterval(()=>{}, 1e5)"],
    "jvm": ["java", "/shared/Waits.java"],
    "go": ["sh", "-c", "touch /run/up; exec prometheus-node-exporter --web.listen-address=127.0.0.1:9111"],
    "bash": ["bash", "-c", "trap : EXIT; : > /run/up; while :; do sleep 0.2; done"],
    "dash": ["dash", "-c", ": > /run/up; while :; do sleep 0.2; done"],
    "zsh": ["zsh", "-fc", ": > /run/up; while :; do sleep 0.2; done"],
    "mksh": ["mksh", "-c", ": > /run/up; while :; do sleep 0.2; done"],
    "ksh": ["ksh93", "-c", ": > /run/up; while :; do sleep 0.2; done"],
    "busybox": ["busybox", "sh", "-c", ": > /run/up; while :; do sleep 0.2; done"],
    "php": ["php", "-r", "touch('/run/up'); sleep(100);"],
    "erlang": ["erl", "-noshell", "-noinput", "-eval", "file:write_file(\"/run/up\", \"\")"],
    "lua": ["lua5.4", "-e", "io.open('/run/up', 'w'):close(); while true do end"],
    "tcl": ["tclsh", "/shared/waits.tcl"]
}"#;

const JAVA: &str = r#"
class Waits {
    public static void main(String[] arguments) throws Exception {
        java.nio.file.Files.writeString(java.nio.file.Path.of("/run/up"), "");
        Thread.sleep(100000);
    }
}
"#;

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn what_the_table_says_of_each_runtime_is_what_it_does() {
    let files = [
        ("measure.py", MEASURE),
        ("programs.json", PROGRAMS),
        ("Waits.java", JAVA),
        ("waits.tcl", "close [open /run/up w]\nafter 100000\n"),
    ];
    let container = Container::boot(Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    let programs: BTreeMap<String, Value> = serde_json::from_str(PROGRAMS).unwrap();
    for name in programs.into_keys() {
        let said = container.ask(&format!("python3 /shared/measure.py {name} 2>&1"));
        let came: BTreeMap<String, Option<i32>> =
            serde_json::from_str(said.lines().last().unwrap_or_default())
                .unwrap_or_else(|error| panic!("{name}: {error}: {said}"));
        let runtime: Runtime = serde_json::from_value(Value::from(name.as_str())).unwrap();
        let row = ROWS.iter().find(|row| row.runtime == runtime).unwrap();
        for (signal, effect) in row.handles {
            let status = came.get(&signal.to_string());
            let status = *status.unwrap_or_else(|| panic!("{name} has no handler for {signal}"));
            let number = signal.number().cast_signed();
            let is_so = match effect {
                Action::Dies => status == Some(-number),
                Action::Exits(code) => status == Some(i32::from(*code)),
                Action::Spares => status.is_none(),
                Action::Unknown => true,
            };
            assert!(is_so, "{name} on {signal}: {status:?}, and not {effect:?}");
        }
        for signal in came.keys() {
            let signal: Signal = signal.parse().unwrap();
            assert!(runtime.effect(signal).is_some(), "{name} has a handler for {signal}");
        }
    }
    container.over();
}
