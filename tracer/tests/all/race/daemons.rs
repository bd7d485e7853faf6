//! Debian's own daemons with Debian's own units, raced: the tables in docs/race-daemons.md are made
//! of this.

mod at_random;

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use super::{Raced, units::race_for};
use crate::support::{
    container::{ANSWERING, Container, Hierarchy, newer_root, newest_root, root},
    table::Table,
    traces::Trace,
};

const HEAD: &str = "\
| unit | Type= | signal | what it does, from the fork on | beside the main process | an ordinary trace says | a reload does harm for | verdict |
|---|---|---|---|---|---|---|---|";
/// The place of what is told of other processes, with what is before the first bar.
const OTHERS: usize = 5;

/// What a Java program may be told to do at its last step.
const LATER_THAN_A_STEP: &str = "`ended` right after it; ";

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

/// What makes Debian's unit of Patroni one for the version whose makers mended it.
const MENDED: &str = "\
[Service]
Type=notify
Environment=PYTHONPATH=/opt/patroni
ExecStart=
ExecStart=/usr/bin/python3 -m patroni /etc/patroni/config.yml
";

/// A service in JavaScript that asks for HUP.
const NODE: &str = "\
process.on('SIGHUP', () => {});
setInterval(() => {}, 60000);
";

/// The same in Java, with work to do afterwards.
const JAVA: &str = "\
public class Service {
    public static void main(String[] arguments) throws Exception {
        sun.misc.Signal.handle(new sun.misc.Signal(\"HUP\"), signal -> {});
        for (int i = 0; i < 2000; i++) {
            new java.io.File(\"/run/java\").exists();
        }
        Thread.sleep(Long.MAX_VALUE);
    }
}
";

fn unit(command: &str) -> String {
    format!("[Service]\nExecStart={command}\nExecReload=/bin/kill -HUP $MAINPID\n")
}

/// What is raced under one systemd.
pub struct Debian {
    /// systemd's version, which stands above its table.
    systemd: &'static str,
    root: fn() -> PathBuf,
    units: &'static [&'static str],
}

/// All of them.
pub const BOOKWORM: Debian = Debian {
    systemd: "252",
    root,
    units: &[
        "chrony",
        "cron",
        "dnsmasq",
        "gunicorn",
        "haproxy",
        "java",
        "mosquitto",
        "nginx",
        "node",
        "patroni",
        "patroni-4",
        "pgbouncer",
        "prometheus-node-exporter",
        "redis-server",
        "rsyslog",
        "ssh",
        "unbound",
    ],
};
const TRIXIE: Debian = Debian { systemd: "257", root: newer_root, units: &LATER };
const FORKY: Debian = Debian { systemd: "262", root: newest_root, units: &LATER };
/// What the roots of later releases have.
const LATER: [&str; 8] = [
    "cron",
    "haproxy",
    "mosquitto",
    "nginx",
    "prometheus-node-exporter",
    "redis-server",
    "rsyslog",
    "ssh",
];

/// One row of a table.
struct Row {
    unit: String,
    service_type: String,
    signal: String,
    /// Spans of intervals of the main process with one outcome, in order of time.
    spans: String,
    /// The outcomes of other processes.
    others: String,
    /// What a trace in which nothing was sent says of the same.
    traced: String,
    /// How long a reload through systemd does harm.
    harm: String,
    verdict: String,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

/// The intervals of the main process, or of others.
fn intervals(raced: &Raced, main: bool) -> Vec<&Value> {
    let intervals = raced.race["signals"][0]["intervals"].as_array().unwrap().iter();
    intervals.filter(|it| it["main"] == main).collect()
}

/// The outcome at rest, where it is another than right after the last step: what the program does with
/// the signal has changed, and no step tells of it.
fn settled<'a>(raced: &'a Raced, main: &[&Value]) -> Option<&'a str> {
    let rest = raced.at_rest().0;
    (rest != "not_reached" && main.last()?["outcome"] != rest).then_some(rest)
}

/// For how long intervals do harm, from when the unit is up: at least so long, where it is known that
/// the last one comes to an end before the start is at rest.
fn harm(raced: &Raced, main: &[&Value]) -> i64 {
    let active = raced.race["untouched"]["active_ns"].as_i64().unwrap_or(0);
    let whole = main.len() - usize::from(settled(raced, main).is_some());
    let harmful = main[..whole].iter().filter(|it| it["bad"] == true && it["counts"] == true);
    let times = harmful.map(|it| {
        let (from, to) = (it["from_ns"].as_i64().unwrap(), it["to_ns"].as_i64().unwrap());
        (to - from.max(active)).max(0)
    });
    times.sum()
}

impl Row {
    fn new(unit: &str, raced: &Raced, service: &Value) -> Self {
        let start = service["activations"].as_array().unwrap().last().unwrap();
        let reload = service["unit"]["exec_reload"].as_array();
        let has_reload = reload.is_some_and(|lines| !lines.is_empty());
        let main = intervals(raced, true);
        let kinds = |main: bool| -> BTreeSet<&str> {
            let all = intervals(raced, main).into_iter().map(|it| text(&it["outcome"]));
            all.filter(|outcome| *outcome != "not_reached").collect()
        };
        // A trace follows what systemd starts until there is the main process.
        let is_starter = |it: &&&Value| !text(&it["id"]).contains("child");
        let starter = intervals(raced, false);
        let whole: Vec<&Value> = starter.iter().filter(is_starter).chain(&main).copied().collect();
        let (ours, theirs) = (by_outcome(&whole), by_exposure(start));
        let traced = if ours == theirs { "the same".to_owned() } else { theirs.join(", ") };
        let harm = harm(raced, &main);
        let later = settled(raced, &main).map(|it| format!(" right after it; `{it}` at rest"));
        let list = |words: BTreeSet<&str>| {
            if words.is_empty() {
                return "—".to_owned();
            }
            words.into_iter().collect::<Vec<_>>().join(", ")
        };
        Self {
            unit: unit.to_owned(),
            service_type: text(&raced.race["service_type"]).to_owned(),
            signal: text(&raced.race["signals"][0]["signal"]).to_owned(),
            spans: spans(&main) + &later.unwrap_or_default(),
            others: list(kinds(false)),
            traced,
            harm: if harm > 0 { format!("{} ms", harm / 1_000_000) } else { "—".to_owned() },
            verdict: match (harm > 0, has_reload) {
                (true, _) => "**a reload does harm**",
                (false, false) if main.iter().any(|it| it["bad"] == true) => {
                    "a signal does harm; its unit has no reload"
                }
                (false, _) => "no reload does harm",
            }
            .to_owned(),
        }
    }

    fn line(&self) -> String {
        let Self { unit, service_type, signal, spans, others, traced, harm, verdict } = self;
        format!(
            "| {unit} | {service_type} | {signal} | {spans} | {others} | {traced} | {harm} | \
             {verdict} |"
        )
    }

    /// What does not depend on how fast the machine is, nor on how many processes there are beside
    /// the main one, and which of them are reached, nor on whether a process said READY=1 shortly
    /// before another one's step or after it. A Java program that is hit at its last step may already
    /// have come to where it takes the signal.
    fn quality(line: &str) -> Vec<String> {
        let cells = line.split('|').map(str::trim).enumerate();
        let cells = cells.filter(|(place, _)| *place != OTHERS);
        let cells = cells.map(|(_, cell)| if cell.ends_with(" ms") { "a time" } else { cell });
        let unsteady = ["▹ ", LATER_THAN_A_STEP, " at rest"];
        let steady =
            |cell: &str| unsteady.iter().fold(cell.to_owned(), |it, word| it.replace(word, ""));
        cells.map(steady).collect()
    }
}

/// Intervals that follow one another and came out alike, as one: what the signal does, and until
/// when. `▹` where no reload through systemd comes in any of them.
fn spans(main: &[&Value]) -> String {
    let mut spans: Vec<(&str, bool, &Value)> = Vec::new();
    for interval in main {
        let (outcome, counts) = (text(&interval["outcome"]), interval["counts"] == true);
        match spans.last_mut() {
            Some((same, any, last)) if *same == outcome => {
                *any |= counts;
                *last = interval;
            }
            _ => spans.push((outcome, counts, interval)),
        }
    }
    let told = spans.iter().map(|(outcome, counts, last)| {
        let mark = if *counts { "" } else { "▹ " };
        match last["before"]["what"].as_str() {
            Some(until) => format!("{mark}`{outcome}` until {until}"),
            None => format!("{mark}`{outcome}`"),
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

/// What the signal did, in turn, in the words of a trace.
fn by_outcome(main: &[&Value]) -> Vec<String> {
    let words = main.iter().map(|it| match text(&it["outcome"]) {
        "killed" => "fatal",
        "ignored" => "lost",
        "pending" => "pending",
        _ => "handled",
    });
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.dedup();
    words
}

/// What a trace says that the signal would have done, in turn.
fn by_exposure(start: &Value) -> Vec<String> {
    let time = |span: &Value, key: &str| span[key].as_i64().unwrap();
    let mut words = Vec::new();
    let mut until = None;
    for span in start["exposure"].as_array().unwrap() {
        if span["kind"] == "not_ready" {
            continue;
        }
        if until.is_some_and(|until| until < time(span, "from_ns")) {
            words.push("handled".to_owned());
        }
        until = until.max(Some(time(span, "to_ns")));
        words.push(text(&span["kind"]).to_owned());
    }
    let end = start["events"].as_array().unwrap().iter().filter_map(|it| it["at_ns"].as_i64());
    if until <= end.max() {
        words.push("handled".to_owned());
    }
    words.dedup();
    words
}

/// What the kernel told of the signal in the run of an interval is what the interval is told as.
fn fates_agree(unit: &str, raced: &Raced) {
    for interval in intervals(raced, true).into_iter().chain(intervals(raced, false)) {
        for tried in interval["tries"].as_array().unwrap() {
            let fate = text(&tried["signal"]["fate"]);
            let agrees = match text(&tried["outcome"]) {
                "killed" => fate == "killed" || text(&tried["what"]).contains("later"),
                // One that was blocked is thrown away as the action is set to ignore it.
                "ignored" => ["ignored", "dropped"].contains(&fate),
                "taken" => !["killed", "ignored"].contains(&fate),
                "not_reached" => true,
                _ => fate != "killed",
            };
            assert!(agrees, "{unit}: {fate}: {interval:#}");
        }
    }
}

impl Debian {
    /// A container in which they can be started.
    pub fn boot(&self) -> Container {
        let node = unit("/usr/bin/node /shared/service.js");
        let java = unit("/usr/bin/java -cp /run/java Service");
        let files = [
            ("Service.java", JAVA),
            ("java.service", java.as_str()),
            ("gunicorn.service", GUNICORN),
            ("mended.conf", MENDED),
            ("service.js", NODE),
            ("node.service", node.as_str()),
        ];
        let container = Container::boot_in((self.root)(), Hierarchy::Unified, ANSWERING, &files);
        container.wait_for("up");
        // chronyd is told to leave the clock alone, and needs no capability for that. The journal is
        // not to start rsyslog, through its socket, between two runs: a file of rsyslog's own tells it
        // to, from Debian 13 on, and the last by its name holds.
        container.ask(
            "cd /run/systemd/system
             cp /shared/*.service .
             rm -f scenario.service
             mkdir -p ../journald.conf.d
             printf '[Journal]\nForwardToSyslog=no\n' > ../journald.conf.d/zz-container.conf
             systemctl restart systemd-journald
             mkdir chrony.service.d patroni-4.service.d
             printf '[Unit]\nConditionCapability=\n' > chrony.service.d/container.conf
             cp /lib/systemd/system/patroni.service patroni-4.service
             cp /shared/mended.conf patroni-4.service.d/
             ! command -v javac || javac -d /run/java /shared/Service.java
             systemctl daemon-reload",
        );
        container
    }

    fn check(&self) {
        let container = self.boot();
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        for unit in self.units {
            if unit.starts_with("patroni") {
                // Its first start makes the database, and no other one does.
                container.ask(
                    "systemctl start etcd patroni
                     for try in $(seq 300); do
                         /usr/lib/postgresql/15/bin/pg_isready -qh 127.0.0.1 && break
                         sleep 0.1
                     done
                     systemctl stop patroni",
                );
            }
            let options: &[&str] = match *unit {
                // A Java virtual machine is busy with itself for long.
                "java" => &["--settle", "300ms", "--quiet-time", "3s"],
                _ => &["--settle", "300ms", "--quiet-time", "1s"],
            };
            let raced = race_for(&container, unit, options);
            let is_known =
                || intervals(&raced, true).iter().all(|it| it["outcome"] != "not_reached");
            if raced.race.is_null() || !is_known() {
                let outcomes = if raced.race.is_null() { Vec::new() } else { raced.outcomes() };
                failed.push(format!("{unit}: {outcomes:?} {}", raced.stderr));
                continue;
            }
            println!("{unit}: {:?} {}", raced.outcomes(), raced.stderr);
            fates_agree(unit, &raced);
            let traced =
                Trace::start_in(&container, &["--restart", "--duration", "6s", unit]).wait();
            let name = format!("{unit}.service");
            let row = Row::new(&name, &raced, traced.service(&name));
            println!("{}", row.line());
            rows.push(row);
            container.ask(&format!("systemctl stop {unit} etcd"));
        }
        container.over();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        let table = Table {
            page: "race-daemons.md",
            made_by: "race-daemons",
            systemd: self.systemd,
            head: HEAD,
        };
        table.compare(&rows.iter().map(Row::line).collect::<Vec<_>>(), Row::quality);
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn races_of_debians_daemons_come_out_as_the_table_says() {
    BOOKWORM.check();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn races_of_debians_daemons_come_out_as_the_table_says_under_systemd_257() {
    TRIXIE.check();
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn races_of_debians_daemons_come_out_as_the_table_says_under_systemd_262() {
    FORKY.check();
}
