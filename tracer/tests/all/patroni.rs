//! Patroni with its etcd and its PostgreSQL, up to a running cluster of one: Debian's version
//! with Debian's unit, and the version whose makers mended the hole. systemd and Patroni's own
//! tool are the witnesses.

use serde_json::{Value, json};

use crate::support::container::{ANSWERING, Container, Hierarchy};
use crate::support::traces::{Trace, alerts, events, hups};

/// What makes Debian's unit one for the mended version.
const NOTIFY: &str = "\
[Service]
Type=notify
Environment=PYTHONPATH=/opt/patroni
ExecStart=
ExecStart=/usr/bin/python3 -m patroni /etc/patroni/config.yml
";
/// Prints what Patroni's own tool says of the cluster, once it has a leader that runs.
const LEADER: &str = r#"
for try in $(seq 100); do
    patronictl -c /etc/patroni/config.yml list -f json > /tmp/cluster
    jq -e 'any(.Role == "Leader" and .State == "running")' /tmp/cluster > /tmp/is-led && break
    sleep 0.3
done
cat /tmp/cluster"#;

/// A container with etcd, and with the unit `patroni` up to a running cluster.
fn cluster(more: &str) -> Container {
    let container = Container::boot(Hierarchy::Unified, ANSWERING, &[]);
    container.wait_for("up");
    container.ask(&format!(
        "mkdir -p /run/systemd/system/patroni.service.d
         cat > /run/systemd/system/patroni.service.d/test.conf <<'END'\n{more}END
         systemctl daemon-reload
         systemctl start etcd patroni"
    ));
    assert_is_led(&container);
    container
}

fn assert_is_led(container: &Container) {
    let said = container.ask(LEADER);
    let members: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    let member = &members[0];
    assert_eq!((&member["Role"], &member["State"]), (&json!("Leader"), &json!("running")));
}

/// The HUP of the one reload. PostgreSQL's processes send each other more of them.
fn reload(start: &Value) -> &Value {
    let hups = hups(start).into_iter().filter(|hup| hup["sender"]["comm"] == "kill");
    let hups: Vec<&Value> = hups.collect();
    let [hup] = hups[..] else { panic!("{} reloads: {start:#}", hups.len()) };
    hup
}

/// What systemd says of the unit.
fn state(container: &Container) -> String {
    container.ask("systemctl show patroni -p Type,ActiveState,SubState,Result,NRestarts")
}

/// Ends the unit first: PostgreSQL waits for its clients when all are told to end at once.
fn over(container: Container) {
    container.ask("systemctl stop patroni");
    container.over();
}

/// Restarts it under a trace, and reloads it once the cluster runs.
fn reloaded_in_time(container: &Container) -> Value {
    let trace = Trace::start_in(container, &["patroni"]);
    container.ask("systemctl restart patroni");
    assert_is_led(container);
    container.ask("systemctl reload patroni");
    let traced = trace.end();
    assert_is_led(container);
    assert_eq!(traced.status, Some(0), "{}", traced.said);
    let start = traced.activations("patroni.service").last().unwrap();
    assert_eq!(start["outcome"]["state"], "running", "{start:#}");
    assert_eq!(alerts(start), [""; 0]);
    let hup = reload(start);
    assert_eq!(hup["disposition"], "handler");
    assert!(hup["at_ns"].as_i64() > start["milestones"]["handler_ns"].as_i64());
    start.clone()
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_reload_right_after_the_start_takes_debians_patroni_and_its_database_down() {
    let container = cluster("");
    let start = reloaded_in_time(&container);
    assert_eq!(start["milestones"]["ready_ns"], Value::Null);

    let arguments = ["patroni", "--restart", "--reload-during-start", "--duration", "4s"];
    let traced = Trace::start_in(&container, &arguments).wait();
    assert_eq!(traced.status, Some(3), "{}", traced.said);
    let start = traced.activations("patroni.service").last().unwrap();
    assert_eq!(alerts(start), ["reload-before-handler"], "{start:#}");
    assert_eq!(start["outcome"]["signal"], "HUP");
    assert_eq!(start["systemd"]["result"], "success");
    let consequence = start["alerts"][0]["consequence"].as_str().unwrap();
    assert!(consequence.contains("does not restart it"), "{consequence}");

    let state = state(&container);
    for said in ["Type=simple", "ActiveState=inactive", "Result=success", "NRestarts=0"] {
        assert!(state.contains(said), "{state}");
    }
    assert!(container.ask("systemctl is-failed patroni").contains("inactive"));
    let database = container.ask("/usr/lib/postgresql/15/bin/pg_isready -h 127.0.0.1");
    assert!(database.contains("no response"), "{database}");
    over(container);
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn the_same_reload_waits_for_the_mended_patroni_and_its_cluster_runs_on() {
    let container = cluster(NOTIFY);
    let start = reloaded_in_time(&container);
    let milestones = &start["milestones"];
    assert!(milestones["ready_ns"].as_i64() > milestones["handler_ns"].as_i64(), "{milestones:#}");
    let ready = events(&start, "notify")[0];
    assert_eq!(ready["accepted"], true, "{ready:#}");

    let arguments = ["patroni", "--restart", "--reload-during-start", "--duration", "10s"];
    let traced = Trace::start_in(&container, &arguments).wait();
    assert_is_led(&container);
    assert_eq!(traced.status, Some(0), "{}", traced.said);
    let start = traced.activations("patroni.service").last().unwrap();
    assert_eq!(alerts(start), [""; 0], "{start:#}");
    let hup = reload(start);
    assert_eq!(hup["disposition"], "handler");
    assert!(hup["at_ns"].as_i64() > start["milestones"]["ready_ns"].as_i64());
    let state = state(&container);
    for said in ["Type=notify", "ActiveState=active", "SubState=running", "Result=success"] {
        assert!(state.contains(said), "{state}");
    }
    over(container);
}
