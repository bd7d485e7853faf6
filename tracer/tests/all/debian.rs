//! Debian's own daemons with Debian's own units, each restarted and reloaded as early as an
//! operator could: the table in docs/daemons.md is made of this.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root};
use crate::support::{table::Table, traces::Trace};

const HEAD: &str = "\
| unit | Type= | a reload sends | takes it after | READY=1 after | exposure | reloaded at once | effect | alerts |
|---|---|---|---|---|---|---|---|---|";

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

/// What is tried under one systemd.
struct Debian {
    /// systemd's version, which stands above its table.
    systemd: &'static str,
    root: fn() -> PathBuf,
    /// Units whose reload waits for their start, so that many can be tried at once. Those that
    /// use the same ports are in another group.
    awaited: &'static [&'static [&'static str]],
    /// Units that are up for systemd before their programs are.
    not_awaited: &'static [&'static str],
}

const BOOKWORM: Debian = Debian {
    systemd: "252",
    root,
    awaited: &[
        &[
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
        ],
        &["apache2", "unbound"],
    ],
    not_awaited: &["cron", "patroni", "prometheus", "prometheus-node-exporter"],
};
const TRIXIE: Debian = Debian { systemd: "257", root: newer_root, ..LATER };
const FORKY: Debian = Debian { systemd: "262", root: newest_root, ..LATER };
/// What the roots of later releases have.
const LATER: Debian = Debian {
    systemd: "",
    root,
    awaited: &[&["haproxy", "mosquitto", "nginx", "redis-server", "rsyslog", "ssh"]],
    not_awaited: &["cron", "prometheus-node-exporter"],
};

/// How often those are reloaded at once, until one is harmed.
const TRIES: usize = 3;
/// How long a service is watched beyond what its start takes.
const REST: Duration = Duration::from_secs(4);

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
    /// What became of the service then.
    effect: String,
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
            effect: list(&effects(reloaded)),
            alerts: list(&alerts),
        }
    }

    fn line(&self) -> String {
        let Self { unit, service_type, reload, handler, ready, exposure, reloaded, .. } = self;
        let Self { effect, alerts, .. } = self;
        format!(
            "| {unit} | {service_type} | {reload} | {handler} | {ready} | {exposure} | {reloaded} \
             | {effect} | {alerts} |"
        )
    }

    /// What does not depend on how fast the machine is.
    fn quality(line: &str) -> Vec<String> {
        let cells = line.split('|').map(str::trim);
        let cells = cells.map(|cell| if cell.ends_with(" ms") { "a time" } else { cell });
        cells.map(str::to_owned).collect()
    }
}

/// What became of a service after its reloads.
fn effects(start: &Value) -> Vec<String> {
    let mut effects = Vec::new();
    for event in start["events"].as_array().unwrap() {
        if let Some(effect) = event["effect"].as_str()
            && !effects.iter().any(|known| known == effect)
        {
            effects.push(effect.to_owned());
        }
    }
    effects
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn debians_daemons_are_as_the_table_says() {
    BOOKWORM.check();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn debians_daemons_are_as_the_table_says_under_systemd_257() {
    TRIXIE.check();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn debians_daemons_are_as_the_table_says_under_systemd_262() {
    FORKY.check();
}

impl Debian {
    fn check(&self) {
        let files = [("gunicorn.service", GUNICORN)];
        let container = Container::boot_in((self.root)(), Hierarchy::Unified, ANSWERING, &files);
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
        // The effect of a reload is told a second after it, which a busy machine may bring late.
        let early = ["--reload-during-start", "--settle", "1s"];
        let mut busy = Duration::ZERO;
        for units in self.awaited {
            let names: Vec<String> = units.iter().map(|unit| format!("{unit}.service")).collect();
            // As fast as the machine is now.
            let begun = Instant::now();
            container.ask(&format!("systemctl restart {}", names.join(" ")));
            busy = busy.max(begun.elapsed());
            let time = format!("{}ms", (begun.elapsed() * 2 + REST).as_millis());
            let watched = ["--duration", &time];
            let calm = traced(&container, units, &watched);
            add(calm, traced(&container, units, &[&early[..], &watched].concat()));
            container.ask(&format!("systemctl stop {}", names.join(" ")));
        }
        let time = format!("{}ms", (busy / 2 + REST).as_millis());
        let watched = ["--duration", &time];
        for unit in self.not_awaited {
            let calm = traced(&container, &[unit], &watched);
            let reload = || traced(&container, &[unit], &[&early[..], &watched].concat());
            // By the signal: a reload that failed before it was sent is tried again, and told.
            let is_harmed = |tried: &BTreeMap<String, (Value, Value)>| {
                let mut starts = tried.values().map(|(_, start)| start);
                starts.any(|start| {
                    println!("{unit}, reloaded at once: {:#}", start["alerts"]);
                    let mut alerts = start["alerts"].as_array().unwrap().iter();
                    alerts.any(|alert| alert["id"] != "reload-failed")
                })
            };
            // The reload and the program race, and on a busy machine the program may win.
            let mut tried = reload();
            for _ in 1..TRIES {
                if !is_harmed(&tried) && has_reload(&tried) {
                    tried = reload();
                }
            }
            add(calm, tried);
            container.ask(&format!("systemctl stop {unit}"));
        }
        container.over();
        rows.sort_by(|a, b| a.unit.cmp(&b.unit));
        let table =
            Table { page: "daemons.md", made_by: "daemons", systemd: self.systemd, head: HEAD };
        table.compare(&rows.iter().map(Row::line).collect::<Vec<_>>(), Row::quality);
    }
}

/// Whether these have a reload at all: where they have none, trying again shows nothing.
fn has_reload(tried: &BTreeMap<String, (Value, Value)>) -> bool {
    let lines = |service: &Value| service["unit"]["exec_reload"].as_array().map_or(0, Vec::len);
    tried.values().any(|(service, _)| lines(service) > 0)
}
