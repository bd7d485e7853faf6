//! What real systemd does when the main process of a service ends, against what sigready
//! predicts, for every row of the matrix: the older systemd of the tests' root and two newer ones.

use std::{collections::HashMap, fmt::Write as _, path::PathBuf, time::Duration};

use sigready::{
    model::{
        signal::Signal,
        unit::{ExitStatuses, UnitFacts},
    },
    rules::result::{Decider, End, ServiceResult, Stage, predict, predict_stop},
};

use crate::support::container::{Container, Hierarchy, Results, newer_root, newest_root, root};

/// Runs as a service: leaves a mark, gets to its stage, and ends.
const SERVICE: &str = r#"
: > "/run/marks/$3"
case $1 in
    ready)
        # systemd 262 looks for the handler of a Type=notify-reload service then.
        trap : HUP
        systemd-notify --ready
        trap - HUP ;;
    forked)
        mkfifo "/run/$3.up"
        exec 3<>"/run/$3.up"
        (
            # The daemon; its parent, which systemd waits for, ends first. It waits without a
            # process of its own: a process that ends while systemd 252 looks for the main
            # process counts as one more (pid_is_my_child), and then no main process is known.
            read -r _ <&3
            # A shell has what is in the background ignore INT.
            exec env --default-signal=INT sh /shared/service.sh plain "$2" "$3" 3<&-
        ) &
        echo $! > "/run/$3.pid"
        exit 0 ;;
    left)
        (
            # The daemon ends once systemd has seen the end of what it started.
            while kill -0 $$ 2>&-; do sleep 0.1; done
            exec env --default-signal=INT sh /shared/service.sh plain "$2" "$3"
        ) &
        exit 0 ;;
    named) exec python3 /shared/named.py "$2" "$3" ;;
esac
case $2 in
    [0-9]*) exit "$2" ;;
    *) kill "-$2" $$ ;;
esac
# It should not have come here.
exit 99
"#;

/// Takes a name on the system bus, and keeps it until it ends as it was told. The two
/// messages are the whole of the protocol that this takes.
const NAMED: &str = r"
import os, signal, socket, struct, sys, time
def text(s): return struct.pack('<I', len(s)) + s.encode() + b'\0'
def pad(b, n): return b + b'\0' * (-len(b) % n)
def call(serial, member, signature=None, body=b''):
    fields = b''
    for code, kind, value in [(1, 'o', '/org/freedesktop/DBus'), (6, 's', 'org.freedesktop.DBus'),
                              (2, 's', 'org.freedesktop.DBus'), (3, 's', member)]:
        fields = pad(fields, 8) + bytes([code, 1]) + kind.encode() + b'\0' + text(value)
    if signature:
        fields = pad(fields, 8) + bytes([8, 1]) + b'g\0' + bytes([len(signature)]) + signature + b'\0'
    head = struct.pack('<BBBBIII', ord('l'), 1, 0, 1, len(body), serial, len(fields))
    return pad(head + fields, 8) + body
bus = socket.socket(socket.AF_UNIX)
bus.connect('/run/dbus/system_bus_socket')
bus.sendall(b'\0AUTH EXTERNAL ' + b'0'.hex().encode() + b'\r\n')
bus.recv(100)
bus.sendall(b'BEGIN\r\n' + call(1, 'Hello'))
bus.recv(10000)
name = 'org.sigready.' + sys.argv[2]
bus.sendall(call(2, 'RequestName', b'su', pad(text(name), 4) + struct.pack('<I', 4)))
bus.recv(10000)
while not os.path.exists('/run/' + sys.argv[2] + '.up'):
    time.sleep(0.1)
bus.set_inheritable(True)
# Python ignores it.
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv('/bin/sh', ['sh', '/shared/service.sh', 'plain', sys.argv[1], sys.argv[2]])
";

/// Lets root own the names of the services.
const POLICY: &str = r#"<busconfig><policy user="root">
<allow own_prefix="org.sigready"/></policy></busconfig>"#;

/// Starts the services of one target after the other, and waits until systemd has nothing
/// left to do for them. What waits to be up is told so by a file.
const SCENARIO: &str = "
    mkdir /run/marks
    cp /shared/units/* /run/systemd/system/
    cp /shared/policy.conf /etc/dbus-1/system.d/
    busctl call org.freedesktop.DBus / org.freedesktop.DBus ReloadConfig
    set +x
    systemctl daemon-reload
    list() { systemctl list-units --no-legend --plain --state=$1 'row*.service' | cut -d' ' -f1; }
    while read target count; do
        systemctl start --no-block $target
        for i in $(seq 300); do
            sleep 0.1
            for unit in $(list running); do
                up=/run/${unit%.service}.up
                if [ -p $up ]; then echo 1<>$up; else : > $up; fi
            done
            [ $(ls /run/marks | wc -l) -ge $count ] || continue
            [ -z \"$(list running,start,start-post,stop-sigterm)\" ] && break
        done
    done < /shared/targets
    systemctl show $(cat /shared/names) -p Id,Result,SubState,LoadState,ExecMainCode,ExecStart,Type > /shared/shown
    systemctl --version | head -1 > /shared/version
    ls /run/marks > /shared/marked
";
/// Services that are started at one time.
const AT_ONCE: usize = 150;
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_mins(5);

const RESTARTS: [&str; 7] =
    ["no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"];
const ENDS: [&str; 9] = ["HUP", "INT", "TERM", "PIPE", "USR1", "KILL", "ABRT", "0", "1"];

/// One service, and how it ends.
#[derive(Clone)]
struct Row {
    facts: UnitFacts,
    stage: Stage,
    end: &'static str,
}

impl Row {
    fn new(service_type: &str, stage: Stage, end: &'static str, restart: &str) -> Self {
        let access = match service_type {
            "notify" | "notify-reload" => "all",
            _ => "none",
        };
        Self {
            facts: UnitFacts {
                service_type: Some(service_type.to_owned()),
                notify_access: Some(access.to_owned()),
                restart: Some(restart.to_owned()),
                pid_file: Some(if service_type == "forking" { "/run/pid" } else { "" }.to_owned()),
                ..UnitFacts::default()
            },
            stage,
            end,
        }
    }

    fn service_type(&self) -> &str {
        self.facts.service_type.as_deref().unwrap()
    }

    /// Whether systemd refuses such a unit (`service_verify`).
    fn is_refused(&self) -> bool {
        let forces = self.facts.restart_force_exit_status.is_some();
        let again = matches!(self.facts.restart.as_deref(), Some("always" | "on-success"));
        self.service_type() == "oneshot" && (forces || again)
    }

    /// Whether what comes of it may depend on more than the settings and the end: a start
    /// with RemainAfterExit= may go on without its process.
    fn is_open(&self) -> bool {
        let starting = self.stage == Stage::Starting;
        let remains = self.facts.remain_after_exit == Some(true);
        match self.service_type() {
            "notify" | "notify-reload" => starting && remains,
            "dbus" => remains,
            _ => false,
        }
    }

    /// What the service does before its end.
    fn prelude(&self) -> &'static str {
        match (self.service_type(), self.stage) {
            ("notify" | "notify-reload", Stage::Started) => "ready",
            ("forking", Stage::Started) => "forked",
            ("forking", Stage::Unwatched) => "left",
            ("dbus", Stage::Started) => "named",
            _ => "plain",
        }
    }

    fn unit(&self, name: &str) -> String {
        let facts = &self.facts;
        let mut unit = String::from("[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=1h\n");
        unit.push_str("TimeoutStartSec=1h\nLimitCORE=infinity\nIgnoreSIGPIPE=no\n");
        let mut set = |name: &str, value: &str| writeln!(unit, "{name}={value}").unwrap();
        if self.stage == Stage::Unwatched {
            set("TimeoutStartSec", "5s");
        }
        set("Type", self.service_type());
        set("NotifyAccess", facts.notify_access.as_deref().unwrap());
        set("Restart", facts.restart.as_deref().unwrap());
        for (name, list) in [
            ("SuccessExitStatus", &facts.success_exit_status),
            ("RestartPreventExitStatus", &facts.restart_prevent_exit_status),
            ("RestartForceExitStatus", &facts.restart_force_exit_status),
        ] {
            if let Some(list) = list {
                let codes = list.codes.iter().map(u8::to_string);
                let signals = list.signals.iter().map(|signal| format!("SIG{signal}"));
                set(name, &codes.chain(signals).collect::<Vec<_>>().join(" "));
            }
        }
        if facts.remain_after_exit == Some(true) {
            set("RemainAfterExit", "yes");
        }
        match self.service_type() {
            "dbus" => set("BusName", &format!("org.sigready.{name}")),
            "forking" if facts.pid_file.as_deref() != Some("") => {
                set("PIDFile", &format!("/run/{name}.pid"));
            }
            _ => {}
        }
        if facts.guess_main_pid == Some(false) {
            set("GuessMainPID", "no");
        }
        for command in facts.exec_stop.iter().flatten() {
            set("ExecStop", command);
        }
        let dash = if facts.ignores_failure == Some(true) { "-" } else { "" };
        set(
            "ExecStart",
            &format!("{dash}/bin/sh /shared/service.sh {} {} {name}", self.prelude(), self.end),
        );
        unit
    }

    fn describe(&self) -> String {
        format!("{:?} at {:?} ends by {}", self.facts, self.stage, self.end)
    }
}

/// The whole matrix: every type, stage, end and Restart=, and every other setting that
/// decides, on those of them that it could decide otherwise.
fn matrix() -> Vec<Row> {
    use Stage::{Started, Starting, Unwatched};
    let kinds = [
        ("simple", Started),
        ("exec", Started),
        ("idle", Started),
        ("notify", Starting),
        ("notify", Started),
        ("notify-reload", Starting),
        ("notify-reload", Started),
        ("oneshot", Starting),
        ("forking", Starting),
        ("forking", Unwatched),
        ("forking", Started),
        ("dbus", Starting),
        ("dbus", Started),
    ];
    let mut rows = Vec::new();
    for (service_type, stage) in kinds {
        for end in ENDS {
            for restart in RESTARTS {
                rows.push(Row::new(service_type, stage, end, restart));
            }
        }
    }
    let changes: [fn(&mut UnitFacts); 7] = [
        |facts| facts.success_exit_status = Some(statuses()),
        |facts| facts.restart_prevent_exit_status = Some(statuses()),
        |facts| facts.restart_force_exit_status = Some(statuses()),
        |facts| {
            facts.restart_prevent_exit_status = Some(statuses());
            facts.restart_force_exit_status = Some(statuses());
        },
        |facts| facts.remain_after_exit = Some(true),
        |facts| {
            facts.remain_after_exit = Some(true);
            facts.restart_force_exit_status = Some(statuses());
        },
        |facts| facts.ignores_failure = Some(true),
    ];
    for change in changes {
        for (service_type, stage) in kinds {
            for end in ["HUP", "USR1", "0", "1"] {
                for restart in ["no", "on-failure"] {
                    let mut row = Row::new(service_type, stage, end, restart);
                    change(&mut row.facts);
                    rows.push(row);
                }
            }
        }
    }
    // Without a PIDFile=, systemd guesses which process is the daemon.
    for stage in [Starting, Started] {
        for end in ENDS {
            for restart in ["no", "on-success", "on-failure"] {
                let mut row = Row::new("forking", stage, end, restart);
                row.facts.pid_file = Some(String::new());
                rows.push(row);
            }
        }
    }
    // It looks for none, and knows no main process.
    for end in ENDS {
        for (restart, remains) in [("always", false), ("on-failure", false), ("on-failure", true)] {
            let mut row = Row::new("forking", Started, end, restart);
            row.facts.pid_file = Some(String::new());
            row.facts.guess_main_pid = Some(false);
            row.facts.remain_after_exit = Some(remains);
            rows.push(row);
        }
    }
    // A stop command runs after a clean end, and fails.
    for (service_type, stage) in kinds {
        for end in ["HUP", "0", "1"] {
            for restart in ["no", "on-failure"] {
                let mut row = Row::new(service_type, stage, end, restart);
                row.facts.exec_stop = Some(vec![STOP.to_owned()]);
                rows.push(row);
            }
        }
    }
    rows
}

/// A command that fails, and how it ends.
const STOP: &str = "/bin/sh -c 'exit 3'";
const STOP_ENDS: End = End::Code(3);

/// A list for the settings that take one.
fn statuses() -> ExitStatuses {
    let signals = ["HUP", "USR1", "ABRT"].iter().map(|name| name.parse::<Signal>().unwrap());
    ExitStatuses { codes: vec![1], signals: signals.collect() }
}

/// What systemd says of a unit.
type Shown = HashMap<String, String>;

fn shown(results: &Results) -> HashMap<String, Shown> {
    let text = results.file("shown");
    let units = text.split("\n\n").map(|unit| {
        unit.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Shown>()
    });
    units.map(|unit| (unit["Id"].clone(), unit)).collect()
}

/// What real systemd did, and what was predicted, where the two differ.
fn disagreements(rows: &[(String, Row)], results: &Results) -> Vec<String> {
    let shown = shown(results);
    let marked = results.file("marked");
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (name, row) in rows {
        let unit = shown.get(&format!("{name}.service"));
        let Some(unit) = unit.filter(|unit| unit["LoadState"] == "loaded") else {
            assert!(row.is_refused(), "{unit:?}: {}", row.describe());
            continue;
        };
        if unit["Type"] != row.service_type() {
            // Older than the type, it takes it for another.
            assert_eq!(row.service_type(), "notify-reload");
            continue;
        }
        assert!(marked.lines().any(|mark| mark == name), "{name} never ran: {}", row.describe());
        let end = match row.end.parse::<u8>() {
            Ok(code) => End::Code(code),
            Err(_) => End::Signal {
                signal: row.end.parse().unwrap(),
                // Of the main process (CLD_DUMPED), or of that which was to start it.
                core_dumped: unit["ExecMainCode"] == "3" || unit["ExecStart"].contains("=dumped"),
            },
        };
        let Some(predicted) = predict(&row.facts, end, row.stage) else {
            if row.is_open() {
                continue;
            }
            wrong.push(format!("no prediction, systemd {unit:?}: {}", row.describe()));
            continue;
        };
        compared += 1;
        let stops = row.facts.exec_stop.is_some() && predicted.result == ServiceResult::Success;
        let predicted = if stops && predicted.decided_by != Decider::Remain {
            predict_stop(&row.facts, end, row.stage, STOP_ENDS)
        } else {
            predicted
        };
        let actual = (unit["Result"].as_str(), unit["SubState"].starts_with("auto-restart"));
        if actual != (predicted.result.name(), predicted.restarts == Some(true)) {
            wrong.push(format!("{predicted:?}, systemd {unit:?}: {}", row.describe()));
        }
    }
    assert!(compared * 10 > rows.len() * 7, "only {compared} of {} rows compared", rows.len());
    wrong
}

fn agree(root: PathBuf, version: &str, rows: Vec<Row>) {
    let rows: Vec<(String, Row)> =
        rows.into_iter().enumerate().map(|(n, row)| (format!("row{n}"), row)).collect();
    let mut files: Vec<(String, String)> =
        rows.iter().map(|(name, row)| (format!("units/{name}.service"), row.unit(name))).collect();
    // Targets that want them keep them loaded when they are over.
    let (mut targets, mut count) = (String::new(), 0);
    for (number, rows) in rows.chunks(AT_ONCE).enumerate() {
        let names: Vec<String> = rows.iter().map(|(name, _)| format!("{name}.service")).collect();
        let target = format!("rows{number}.target");
        files.push((format!("units/{target}"), format!("[Unit]\nWants={}\n", names.join(" "))));
        count += rows.iter().filter(|(_, row)| !row.is_refused()).count();
        writeln!(targets, "{target} {count}").unwrap();
    }
    files.push(("targets".to_owned(), targets));
    let names: Vec<String> = rows.iter().map(|(name, _)| format!("{name}.service")).collect();
    files.push(("names".to_owned(), names.join(" ")));
    files.push(("service.sh".to_owned(), SERVICE.to_owned()));
    files.push(("named.py".to_owned(), NAMED.to_owned()));
    files.push(("policy.conf".to_owned(), POLICY.to_owned()));
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let results =
        Container::boot_in(root, Hierarchy::Unified, SCENARIO, &files).finish_within(PATIENCE);
    assert!(results.file("version").starts_with(version), "{}", results.file("version"));
    let wrong = disagreements(&rows, &results);
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
#[ignore = "needs root and a container root: run by cargo xtask test"]
fn systemd_252_does_with_every_row_what_is_predicted() {
    agree(root(), "systemd 252", matrix());
}

#[test]
#[ignore = "needs root and a container root: run by cargo xtask test"]
fn systemd_257_does_with_every_row_what_is_predicted() {
    agree(newer_root(), "systemd 257", matrix());
}

/// Whether a row is of those that tell one systemd from another: its code for these is the
/// same for the ends and the settings of Restart= that are left out.
fn is_telling(row: &Row) -> bool {
    let restart = row.facts.restart.as_deref();
    ["HUP", "USR1", "0"].contains(&row.end) && ["always", "on-failure"].map(Some).contains(&restart)
}

#[test]
#[ignore = "needs root and a container root: run by cargo xtask test"]
fn systemd_262_does_with_the_telling_rows_what_is_predicted() {
    let mut rows = matrix();
    rows.retain(is_telling);
    agree(newest_root(), "systemd 262", rows);
}
