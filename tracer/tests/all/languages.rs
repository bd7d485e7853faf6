//! What language runtimes do on HUP while their programs have not asked for it, and after;
//! systemd is the witness.

use serde_json::{Value, json};

use crate::support::container::{ANSWERING, Container, Hierarchy};
use crate::support::traces::{Trace, Traced, alerts, hups};

/// Runs until it is ended. Asks for HUP first if it is told to.
const JAVA: &str = r#"
import java.nio.file.*;

class Service {
    static void mark(String name) {
        try {
            Files.writeString(Path.of("/run", name), "");
        } catch (java.io.IOException error) {
            throw new RuntimeException(error);
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 1) {
            sun.misc.Signal.handle(new sun.misc.Signal("HUP"), it -> mark("reloaded"));
        }
        mark(arguments[0]);
        Thread.sleep(Long.MAX_VALUE);
    }
}
"#;

/// The same in Ruby, which sets a trap if it is told to.
const RUBY: &str = "\
trap('HUP') { File.write('/run/trapped', '') } if ARGV.length > 1
File.write('/run/' + ARGV[0], '')
sleep
";

/// A script that cleans up when it ends, and never asks.
const BASH: &str = "\
trap 'rm /run/$1' EXIT
: > /run/$1
while :; do sleep 0.1; done
";

/// The same in JavaScript, which never asks.
const JAVASCRIPT: &str = "\
require('fs').writeFileSync('/run/script.up', '');
setInterval(() => {}, 60000);
";

/// Being named here, the units stay loaded when they are over, and systemd remembers how.
const KEEPER: &str = "[Unit]\nAfter=plain.service asks.service script.service ruby.service \
                      traps.service bash.service\n";

/// How long a service that announces nothing has to have run before its start counts as
/// over, ns.
const SETTLED_NS: i64 = 10_000_000_000;

fn unit(command: &str) -> String {
    format!(
        "[Service]\nRestart=no\nExecStart={command}\nExecReload=/bin/kill -HUP $MAINPID\n\
         SuccessExitStatus=143\n"
    )
}

/// The only start of a unit.
fn start<'a>(traced: &'a Traced, unit: &str) -> &'a Value {
    let starts = traced.activations(unit);
    assert_eq!(starts.len(), 1, "{starts:#?}");
    &starts[0]
}

/// The alert that is due for a reload that killed.
fn due(start: &Value) -> &'static str {
    let reload = start["milestones"]["first_reload_ns"].as_i64().unwrap();
    if reload < SETTLED_NS { "reload-before-handler" } else { "reload-never-handled" }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_handler_of_the_runtimes_own_is_told_from_the_programs() {
    let plain = unit("/usr/bin/java /shared/Service.java plain.up");
    let asks = unit("/usr/bin/java /shared/Service.java asks.up HUP");
    let script = unit("/usr/bin/node /shared/service.js");
    let ruby = unit("/usr/bin/ruby /shared/service.rb ruby.up");
    let traps = unit("/usr/bin/ruby /shared/service.rb traps.up HUP");
    let bash = unit("/bin/bash /shared/service.bash bash.up");
    let files = [
        ("Service.java", JAVA),
        ("service.bash", BASH),
        ("bash.service", &*bash),
        ("service.rb", RUBY),
        ("ruby.service", &*ruby),
        ("traps.service", &*traps),
        ("service.js", JAVASCRIPT),
        ("plain.service", &*plain),
        ("asks.service", &*asks),
        ("script.service", &*script),
        ("keeper.target", KEEPER),
    ];
    let container = Container::boot(Hierarchy::Unified, ANSWERING, &files);
    container.wait_for("up");
    container.ask(
        "cp /shared/*.service /shared/*.target /run/systemd/system/
         systemctl daemon-reload
         systemctl start keeper.target",
    );
    let trace = Trace::start_in(&container, &["plain", "asks", "script", "ruby", "traps", "bash"]);
    let shown = container.ask(
        "for unit in plain asks script ruby traps bash; do
             systemctl start $unit
             while [ ! -e /run/$unit.up ]; do sleep 0.1; done
             systemctl reload $unit
         done
         for unit in plain script ruby bash; do
             while systemctl is-active --quiet $unit; do sleep 0.1; done
         done
         while [ ! -e /run/reloaded ] || [ ! -e /run/trapped ]; do sleep 0.1; done
         systemctl show -p Id,Result,ExecMainStatus,ActiveState \
             plain asks script ruby traps bash",
    );
    let traced = trace.end();
    container.over();
    let systemd_says = |lines: &[&str]| {
        let mut units = shown.split("\n\n");
        let is_so = units.any(|unit| lines.iter().all(|it| unit.lines().any(|line| line == *it)));
        assert!(is_so, "{lines:?} of {shown}");
    };
    assert_eq!(traced.report["capture"]["lost"], 0, "{:#}", traced.report["capture"]);

    let plain = start(&traced, "plain.service");
    systemd_says(&["Id=plain.service", "Result=exit-code", "ExecMainStatus=129"]);
    assert_eq!(plain["outcome"], json!({"state": "exited", "signal": null, "code": 129}));
    assert_eq!(plain["milestones"]["handler_ns"], Value::Null, "{plain:#}");
    let hup = hups(plain)[0];
    assert_eq!((&hup["runtime"], &hup["fate"]), (&json!("jvm"), &json!("killed")), "{hup:#}");
    assert_eq!(alerts(plain), [due(plain)], "{plain:#}");
    let consequence = plain["alerts"][0]["consequence"].as_str().unwrap();
    assert!(consequence.contains("(result 'exit-code'): Restart=no does not"), "{consequence}");
    assert!(consequence.contains("systemd says so itself"), "{consequence}");

    for unit in ["asks.service", "traps.service"] {
        let start = start(&traced, unit);
        systemd_says(&[&format!("Id={unit}"), "Result=success", "ActiveState=active"]);
        assert_eq!(start["outcome"]["state"], "running");
        assert!(start["milestones"]["handler_ns"].as_i64() > Some(0), "{start:#}");
        let hup = hups(start)[0];
        assert_eq!((&hup["runtime"], &hup["fate"]), (&Value::Null, &json!("handled")), "{hup:#}");
        assert_eq!(alerts(start), [""; 0], "{start:#}");
    }

    for (unit, runtime) in [("ruby.service", "ruby"), ("bash.service", "bash")] {
        let start = start(&traced, unit);
        systemd_says(&[&format!("Id={unit}"), "Result=success", "ExecMainStatus=1"]);
        assert_eq!(start["outcome"]["signal"], "HUP");
        assert_eq!(start["milestones"]["handler_ns"], Value::Null, "{start:#}");
        assert_eq!(hups(start)[0]["runtime"], runtime, "{start:#}");
        assert_eq!(alerts(start), [due(start)], "{start:#}");
    }

    let script = start(&traced, "script.service");
    systemd_says(&["Id=script.service", "Result=success", "ExecMainStatus=1"]);
    assert_eq!(script["outcome"]["signal"], "HUP", "{script:#}");
    assert_eq!(alerts(script), [due(script)], "{script:#}");
}
