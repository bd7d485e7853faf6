//! What a unit's reload sends, and to whom: a real-time signal, TERM, and a program below a
//! supervisor.

use crate::support::container::{ANSWERING, Container, Hierarchy};
use crate::support::traces::{Trace, alerts, events};

/// Writes its pid, and has no handler.
const PROGRAM: &str = "\
import os, time
open('/run/program.pid', 'w').write(str(os.getpid()))
time.sleep(60)
";

/// Goes into the background, and writes its pid 0.5 s later.
const DAEMON: &str = "\
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
time.sleep(float(sys.argv[1]))
open('/run/daemon.pid', 'w').write(str(os.getpid()))
time.sleep(60)
";

const REAL_TIME: &str = "\
[Service]
ExecStart=/usr/bin/python3 /shared/program.py
ExecReload=/bin/kill -s RTMIN+1 $MAINPID
";
const SUPERVISED: &str = "\
[Service]
ExecStart=/bin/sh -c 'trap : HUP; /usr/bin/python3 /shared/program.py & while :; do wait; sleep 0.1; done'
";
/// Its reload stops it and starts it again, and systemd looks for the new one too early.
const ANEW: &str = "\
[Service]
Type=forking
PIDFile=/run/daemon.pid
ExecStart=/usr/bin/python3 /shared/daemon.py 0
ExecReload=/bin/sh -c 'kill -TERM $MAINPID; sleep 0.3; /usr/bin/python3 /shared/daemon.py 0.5'
Restart=on-failure
";

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn the_reload_signal_of_a_unit_is_followed_to_the_process_it_is_for() {
    let container = Container::boot(
        Hierarchy::Unified,
        ANSWERING,
        &[("program.py", PROGRAM), ("daemon.py", DAEMON)],
    );
    container.wait_for("up");
    for (name, text) in [("real-time", REAL_TIME), ("supervised", SUPERVISED), ("anew", ANEW)] {
        container.put(&format!("{name}.service"), text);
    }
    container.ask("cp /shared/*.service /run/systemd/system/; systemctl daemon-reload");

    let trace = Trace::start_in(&container, &["--wait", "real-time.service", "anew.service"]);
    let shown = container.ask(
        "exec 2>/dev/null
         systemctl start real-time && systemctl reload real-time
         systemctl start anew; sleep 0.5; systemctl reload anew; sleep 1
         systemctl show -P ActiveState real-time anew",
    );
    let traced = trace.end();
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["failed", "inactive"], "{shown}");
    let service = traced.service("real-time.service");
    assert_eq!(service["signal"], "RTMIN+1", "{service:#}");
    let start = &service["activations"][0];
    let sent = events(start, "signal");
    let sent = sent.iter().find(|sent| sent["signal"] == "RTMIN+1").unwrap();
    assert_eq!((&sent["fate"], &sent["effect"]), (&"killed".into(), &"ended".into()));
    assert_eq!(alerts(start), ["reload-before-handler"]);
    let start = &traced.activations("anew.service")[0];
    assert_eq!(alerts(start), ["reload-ends-service"], "{start:#}");

    // The supervisor has a handler, and what it looks after has none. An interpreter's script is
    // known by its name as well as by the command line.
    for pattern in ["*program.py", "program.py"] {
        let trace =
            Trace::start_in(&container, &["--wait", "--main", pattern, "supervised.service"]);
        container.ask(
            "systemctl stop supervised; rm -f /run/program.pid; systemctl start supervised
             while [ ! -s /run/program.pid ]; do sleep 0.05; done
             sleep 0.5
             kill -HUP $(cat /run/program.pid); sleep 0.5",
        );
        let traced = trace.end();
        let start = traced.activations("supervised.service").last().unwrap();
        let main = start["main_process"]["comm"].as_str().unwrap();
        assert!(main.starts_with("python3"), "{pattern}: {start:#}");
        assert_eq!(start["supervisor"]["comm"], "sh", "{pattern}: {start:#}");
        assert_eq!(start["outcome"]["signal"], "HUP", "{pattern}: {start:#}");
        assert_eq!(alerts(start), ["reload-before-handler"], "{pattern}: {start:#}");
    }
    container.over();
}
