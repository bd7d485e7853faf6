//! Services whose name on the message bus makes them ready (`Type=dbus`), with a real
//! dbus-daemon.

use std::path::PathBuf;

use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root};
use crate::support::traces::{Trace, alerts};

/// Takes the name of its first argument on the system's bus, and installs its handler before or
/// long after that.
const PROGRAM: &str = r"
import signal, socket, struct, sys, time
BUS = 'org.freedesktop.DBus'
def text(value): return struct.pack('<I', len(value)) + value.encode() + b'\0'
def pad(data, to): return data + b'\0' * (-len(data) % to)
def call(serial, member, signature='', body=b''):
    fields = b''
    for code, kind, value in (1, b'o', '/org/freedesktop/DBus'), (2, b's', BUS), (3, b's', member), (6, b's', BUS):
        fields = pad(fields, 8) + bytes([code, 1]) + kind + b'\0' + text(value)
    if signature:
        fields = pad(fields, 8) + b'\x08\x01g\0' + bytes([len(signature)]) + signature.encode() + b'\0'
    head = b'l\x01\0\x01' + struct.pack('<III', len(body), serial, len(fields))
    bus.sendall(pad(head + fields, 8) + body)
    bus.recv(65536)
name, how = sys.argv[1:]
def handle(): signal.signal(signal.SIGHUP, lambda *_: None)
if how == 'early':
    handle()
    time.sleep(1)
bus = socket.socket(socket.AF_UNIX)
bus.connect('/run/dbus/system_bus_socket')
bus.sendall(b'\0AUTH EXTERNAL 30\r\n')
bus.recv(1024)
bus.sendall(b'BEGIN\r\n')
call(1, 'Hello')
call(2, 'RequestName', 'su', pad(text(name), 4) + struct.pack('<I', 0))
if how == 'late':
    time.sleep(1)
    handle()
while True: time.sleep(1)
";

const POLICY: &str = r#"<busconfig><policy user="root">
<allow own="org.example.late"/><allow own="org.example.early"/>
</policy></busconfig>"#;

fn unit(how: &str) -> String {
    format!(
        "[Service]\nType=dbus\nBusName=org.example.{how}\nRestart=on-failure\n\
         ExecStart=/usr/bin/python3 /shared/program.py org.example.{how} {how}\n\
         ExecReload=/bin/kill -HUP $MAINPID\n"
    )
}

fn is_told(root: PathBuf) {
    let (late, early) = (unit("late"), unit("early"));
    let files = [
        ("program.py", PROGRAM),
        ("policy.conf", POLICY),
        ("late.service", &late),
        ("early.service", &early),
    ];
    let container = Container::boot_in(root, Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    container.ask(
        "cp /shared/*.service /run/systemd/system/
         cp /shared/policy.conf /etc/dbus-1/system.d/test.conf
         systemctl daemon-reload; systemctl reload dbus",
    );
    let trace = Trace::start_in(&container, &["--wait", "late.service", "early.service"]);
    let shown = container.ask(
        "exec 2>/dev/null
         systemctl start late && systemctl reload late
         systemctl start --no-block early; sleep 0.5
         systemctl kill --kill-who=main -s HUP early
         systemctl start early; sleep 0.5
         for unit in late early; do
            systemctl show -P ActiveState $unit; systemctl show -P Result $unit
         done",
    );
    let traced = trace.end();
    container.over();
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(words, ["inactive", "success", "active", "success"], "{shown}");

    let start = &traced.activations("late.service")[0];
    assert!(start["milestones"]["ready_ns"].is_i64(), "{start:#}");
    assert_eq!(alerts(start), ["ready-before-handler", "reload-before-handler"], "{start:#}");
    for alert in start["alerts"].as_array().unwrap() {
        let mend = alert["mend"].as_str().unwrap();
        assert!(mend.contains("then take the bus name"), "{mend}");
    }

    let start = &traced.activations("early.service")[0];
    assert_eq!(alerts(start), ["reload-before-ready"], "{start:#}");
    let message = start["alerts"][0]["message"].as_str().unwrap();
    assert!(message.ends_with("before its bus name."), "{message}");
    let spans = start["exposure"].as_array().unwrap();
    let not_ready = spans.iter().find(|span| span["kind"] == "not_ready").unwrap();
    assert_eq!(not_ready["to_ns"], start["milestones"]["ready_ns"], "{start:#}");
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_bus_name_makes_a_service_ready_under_systemd_252() {
    is_told(root());
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_bus_name_makes_a_service_ready_under_systemd_257() {
    is_told(newer_root());
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_bus_name_makes_a_service_ready_under_systemd_262() {
    is_told(newest_root());
}
