//! Debian's own daemons with Debian's own units, each restarted and reloaded as early as an
//! operator could: the table in docs/daemons.md is made of this.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::support::container::{ANSWERING, Container, Hierarchy};
use crate::support::traces::Trace;

/// Brings the committed table up to date instead of checking it.
const UPDATE: &str = "SIGREADY_UPDATE";
const BEGIN: &str = "<!-- made by cargo xtask daemons -->";
const END: &str = "<!-- end -->";

/// Debian has no unit for gunicorn. This one is as its makers advise.
const GUNICORN: &str = "\
[Service]
Type=notify
NotifyAccess=main
User=nobody
RuntimeDirectory=gunicorn
WorkingDirectory=/run/gunicorn
ExecStart=/usr/bin/gunicorn wsgiref.simple_server:demo_app
ExecReload=/bin/kill -s HUP $MAINPID
KillMode=mixed
TimeoutStopSec=5
PrivateTmp=true
";

/// Units whose reload waits for their start, so that many can be tried at once.
const AWAITED: [&str; 13] = [
    "chrony",
    "dnsmasq",
    "gunicorn",
    "haproxy",
    "lldpd",
    "mosquitto",
    "nginx",
    "pgbouncer",
    "postgresql@15-main",
    "redis-server",
    "rsyslog",
    "slapd",
    "ssh",
];
/// Those that use the same ports as some of them.
const RIVALS: [&str; 2] = ["apache2", "unbound"];
/// Units that are up for systemd before their programs are.
const NOT_AWAITED: [&str; 4] = ["cron", "patroni", "prometheus", "prometheus-node-exporter"];

/// How often they are reloaded at once, until one is harmed.
const TRIES: usize = 3;

/// Restarts units under a trace; gives the last start of each, with its service.
fn traced(
    container: &Container,
    units: &[&str],
    more: &[&str],
) -> BTreeMap<String, (Value, Value)> {
    let traced = Trace::start_in(container, &[&["--restart"], more, units].concat()).wait();
    let (report, said) = (traced.report, traced.said);
    assert_eq!(report["capture"]["lost"], 0, "{:#}", report["capture"]);
    let services = report["services"].as_array().unwrap();
    assert_eq!(services.len(), units.len(), "{said}");
    services
        .iter()
        .map(|service| {
            let name = service["name"].as_str().unwrap().to_owned();
            let last = service["activations"].as_array().unwrap().last().unwrap().clone();
            (name, (service.clone(), last))
        })
        .collect()
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    unit: String,
    service_type: String,
    /// What a reload sends.
    reload: String,
    /// When it takes that, and when it says READY=1.
    handler: String,
    ready: String,
    /// What that signal would do until then.
    exposure: String,
    /// What becomes of a reload right after the start.
    reloaded: String,
    alerts: String,
}

impl Row {
    fn new(unit: &str, service: &Value, calm: &Value, reloaded: &Value) -> Self {
        let list = |words: &[String]| match words {
            [] => "—".to_owned(),
            words => words.join(", "),
        };
        let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
        let after = |value: &Value| match value.as_i64() {
            Some(ns) => format!("{} ms", ns / 1_000_000),
            None => "—".to_owned(),
        };
        let facts = &service["unit"];
        let has_reload = facts["exec_reload"].as_array().is_some_and(|lines| !lines.is_empty());
        let reload = match facts["reload_signal"].as_str() {
            Some(signal) => signal.to_owned(),
            None if has_reload => "its own command".to_owned(),
            None => "—".to_owned(),
        };
        // A runtime that may or may not pass the signal on.
        let unknown = |span: &Value| span["kind"] == "unknown";
        let is_open = calm["exposure"].as_array().unwrap().iter().any(unknown);
        let mut exposure: Vec<String> = Vec::new();
        for span in calm["exposure"].as_array().unwrap() {
            let kind = format!("`{}`", text(&span["kind"]));
            if !exposure.contains(&kind) {
                exposure.push(kind);
            }
        }
        let handler = &calm["milestones"]["handler_ns"];
        let outcome = &reloaded["outcome"];
        let fate = match outcome["state"].as_str() {
            _ if !has_reload => "—".to_owned(),
            Some("killed") => format!(
                "killed by {}: result {}",
                text(&outcome["signal"]),
                text(&reloaded["systemd"]["result"])
            ),
            Some(state) => state.to_owned(),
            None => "unknown".to_owned(),
        };
        let alerts = reloaded["alerts"].as_array().unwrap().iter().map(|it| text(&it["id"]));
        let alerts: Vec<String> = alerts.map(|id| format!("`{id}`")).collect();
        Self {
            unit: unit.to_owned(),
            service_type: text(&facts["type"]),
            reload,
            handler: if is_open && handler.is_null() {
                "the runtime's".to_owned()
            } else {
                after(handler)
            },
            ready: after(&calm["milestones"]["ready_ns"]),
            exposure: list(&exposure),
            reloaded: fate,
            alerts: list(&alerts),
        }
    }

    fn line(&self) -> String {
        let Self { unit, service_type, reload, handler, ready, exposure, reloaded, alerts } = self;
        format!(
            "| {unit} | {service_type} | {reload} | {handler} | {ready} | {exposure} | {reloaded} \
             | {alerts} |"
        )
    }

    /// What does not depend on how fast the machine is.
    fn quality(line: &str) -> Vec<String> {
        let cells = line.split('|').map(str::trim);
        let cells = cells.map(|cell| if cell.ends_with(" ms") { "a time" } else { cell });
        cells.map(str::to_owned).collect()
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn debians_daemons_are_as_the_table_says() {
    let container =
        Container::boot(Hierarchy::Unified, ANSWERING, &[("gunicorn.service", GUNICORN)]);
    container.wait_for("up");
    // chronyd is told to leave the clock alone, and needs no capability for that.
    container.ask(
        "cp /shared/gunicorn.service /run/systemd/system/
         mkdir /run/systemd/system/chrony.service.d
         printf '[Unit]\nConditionCapability=\n' \
            > /run/systemd/system/chrony.service.d/container.conf
         systemctl daemon-reload",
    );
    let mut rows = Vec::new();
    let mut add = |calm: BTreeMap<String, (Value, Value)>,
                   reloaded: BTreeMap<String, (Value, Value)>| {
        for (name, (service, start)) in &calm {
            let (_, again) = &reloaded[name];
            // systemd's own word, asked for by its own tool.
            let shown = container.ask(&format!("systemctl show -P Result {name}"));
            assert_eq!(again["systemd"]["result"], shown.trim(), "{name}: {again:#}");
            rows.push(Row::new(name, service, start, again));
        }
    };
    let early = "--reload-during-start";
    for (units, time) in [(&AWAITED[..], "12s"), (&RIVALS, "6s")] {
        let calm = traced(&container, units, &["--duration", time]);
        add(calm, traced(&container, units, &[early, "--duration", time]));
        let names: Vec<String> = units.iter().map(|unit| format!("{unit}.service")).collect();
        container.ask(&format!("systemctl stop {}", names.join(" ")));
    }
    for unit in NOT_AWAITED {
        let calm = traced(&container, &[unit], &["--duration", "4s"]);
        let reload = || traced(&container, &[unit], &[early, "--duration", "3s"]);
        let is_harmed = |tried: &BTreeMap<String, (Value, Value)>| {
            tried.values().any(|(_, start)| start["alerts"] != json!([]))
        };
        // The reload and the program race, and on a busy machine the program may win.
        let mut tried = reload();
        for _ in 1..TRIES {
            if !is_harmed(&tried) {
                tried = reload();
            }
        }
        add(calm, tried);
        container.ask(&format!("systemctl stop {unit}"));
    }
    container.over();
    rows.sort_by(|a, b| a.unit.cmp(&b.unit));
    compare(&rows.iter().map(Row::line).collect::<Vec<_>>());
}

/// Holds the lines against the committed ones, or puts them in their place.
fn compare(lines: &[String]) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/daemons.md");
    let text = fs::read_to_string(&page).expect("docs/daemons.md is there");
    let (before, rest) = text.split_once(BEGIN).expect("the table's beginning");
    let (table, after) = rest.split_once(END).expect("the table's end");
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| unit");
    let committed: Vec<Vec<String>> = table.lines().filter(is_row).map(Row::quality).collect();
    if std::env::var_os(UPDATE).is_some() {
        let head = "| unit | Type= | a reload sends | takes it after | READY=1 after | exposure | reloaded at once | alerts |\n\
                    |---|---|---|---|---|---|---|---|";
        let table = format!("{BEGIN}\n{head}\n{}\n{END}", lines.join("\n"));
        fs::write(&page, format!("{before}{table}{after}")).unwrap();
        return;
    }
    let found: Vec<Vec<String>> = lines.iter().map(|line| Row::quality(line)).collect();
    assert_eq!(
        found,
        committed,
        "docs/daemons.md says otherwise; `cargo xtask daemons` makes it anew:\n{}",
        lines.join("\n")
    );
}
