//! Documents as captures give them. Their alerts are literal: what the rules say
//! is tested where the rules are.

use crate::model::{
    document::{
        Activation, Alert, Capture, Document, EndedBy, Exposure, ExposureKind, Host, Milestones,
        OutcomeState, ProcessOutcome, SCHEMA, Service, ServiceKind, Severity, Tool, WallTime,
    },
    event::{DispositionKind, Event, Fate, NotifyMessage, ProcessRef, SignalSent, What},
    signal::Signal,
    unit::UnitFacts,
};

/// Nanoseconds of a (fractional) number of milliseconds.
pub fn ms(milliseconds: f64) -> i64 {
    (milliseconds * 1e6).round() as i64
}

pub fn wall(text: &str) -> WallTime {
    WallTime(text.parse().unwrap())
}

pub fn process(pid: u32, comm: &str) -> ProcessRef {
    ProcessRef { pid, ns_pid: None, comm: comm.into(), exe: None, uid: None }
}

fn by(process: ProcessRef, exe: &str, uid: u32) -> ProcessRef {
    ProcessRef { exe: Some(exe.into()), uid: Some(uid), ..process }
}

pub fn at(milliseconds: f64, what: What) -> Event {
    Event { at_ns: ms(milliseconds), what }
}

fn fork(process: &ProcessRef, parent: &ProcessRef) -> What {
    What::Fork { process: process.clone(), parent: parent.clone() }
}

fn exec(process: &ProcessRef, exe: &str, filename: Option<&str>) -> What {
    What::Exec {
        process: process.clone(),
        exe: Some(exe.into()),
        filename: filename.map(Into::into),
        disposition: DispositionKind::Default,
        background: false,
    }
}

fn exit(process: &ProcessRef, signal: Option<Signal>, code: Option<u8>) -> What {
    What::Exit { process: process.clone(), signal, code, core_dumped: false }
}

fn handler(process: &ProcessRef, found: bool) -> What {
    What::Disposition {
        process: process.clone(),
        signal: Signal::HUP,
        disposition: DispositionKind::Handler,
        consumer: None,
        runtime: None,
        once: false,
        found,
        mask_unknown: false,
    }
}

fn hup(
    sender: ProcessRef,
    target: &ProcessRef,
    disposition: DispositionKind,
    fate: Fate,
) -> SignalSent {
    SignalSent {
        signal: Signal::HUP,
        sender: Some(sender.into()),
        target: target.clone(),
        tid: None,
        unblocked: None,
        si_code: 0,
        disposition,
        runtime: None,
        traced: false,
        fate,
        fate_ns: None,
        effect: None,
        effect_ns: None,
    }
}

/// READY=1 of a process, accepted.
pub fn ready(sender: &ProcessRef) -> NotifyMessage {
    notify(sender.clone(), &[("READY", "1")])
}

fn notify(sender: ProcessRef, assignments: &[(&str, &str)]) -> NotifyMessage {
    let assignments: Vec<(String, String)> =
        assignments.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let length = assignments.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
    NotifyMessage {
        sender,
        claimed_pid: None,
        destination: "/run/systemd/notify".into(),
        assignments,
        length: length as u32,
        result: 0,
        lines_left_out: 0,
        not_connected: false,
        accepted: Some(true),
        refusal: None,
        problem: None,
        effect: None,
        effect_ns: None,
    }
}

pub fn document(services: Vec<Service>) -> Document {
    let events = services
        .iter()
        .flat_map(|service| &service.activations)
        .map(|activation| activation.events.len() as u64)
        .sum();
    Document {
        schema: SCHEMA.into(),
        tool: Tool { name: "sigready".into(), version: "0.1.0".into() },
        host: Host {
            hostname: "db1".into(),
            kernel: "6.12.48+deb13-amd64".into(),
            boot_id: Some("0f0e0d0c-0b0a-4908-8706-050403020100".into()),
        },
        capture: Capture {
            command: "trace".into(),
            arguments: vec!["patroni.service".into()],
            backend: "tracepoint".into(),
            fallbacks: Vec::new(),
            signal: Signal::HUP,
            settle_ns: Some(5_000_000_000),
            started_at: wall("2026-01-01T00:00:00Z"),
            duration_ns: 2_000_000_000,
            ended_by: EndedBy::Timeout,
            events,
            lost: 0,
            losses: [].into(),
            services_left_out: 0,
            complete: true,
            main: None,
            untested: Vec::new(),
        },
        services,
    }
}

fn patroni_unit() -> UnitFacts {
    UnitFacts {
        service_type: Some("simple".into()),
        notify_access: Some("none".into()),
        restart: Some("on-failure".into()),
        reload_signal: Some(Signal::HUP),
        ..UnitFacts::default()
    }
}

fn unit(name: &str, facts: Option<UnitFacts>, activation: Activation) -> Service {
    Service {
        name: name.into(),
        kind: ServiceKind::Unit,
        cgroup: Some(format!("/system.slice/{name}")),
        unit: facts,
        unit_problem: None,
        owner: None,
        signal: None,
        starts_left_out: 0,
        activations: vec![activation],
    }
}

fn running(main: &ProcessRef) -> Activation {
    Activation {
        main_process: Some(main.clone()),
        supervisor: None,
        started_at: wall("2026-01-01T00:00:00.1Z"),
        invocation_id: None,
        joined_ns: None,
        milestones: Milestones { exec_ns: Some(0), ..Milestones::default() },
        exposure: vec![],
        events: vec![],
        omitted: 0,
        left_out: Vec::new(),
        unfollowed: 0,
        alerts: vec![],
        outcome: ProcessOutcome { state: OutcomeState::Running, signal: None, code: None },
        systemd: None,
    }
}

fn exposed(kind: ExposureKind, from: f64, to: f64) -> Exposure {
    Exposure { kind, from_ns: ms(from), to_ns: ms(to) }
}

/// Patroni before its fix: reloaded while Python still imports, and gone.
pub fn patroni_killed() -> Document {
    let systemd = process(1, "systemd");
    let child = process(4711, "(patroni)");
    let main = ProcessRef {
        ns_pid: Some(36),
        exe: Some("/usr/bin/python3.11".into()),
        ..process(4711, "patroni")
    };
    let kill = by(process(4720, "kill"), "/usr/bin/kill", 0);
    let activation = Activation {
        milestones: Milestones {
            exec_ns: Some(0),
            first_reload_ns: Some(ms(310.4)),
            exit_ns: Some(ms(311.02)),
            ..Milestones::default()
        },
        exposure: vec![exposed(ExposureKind::Fatal, 0.0, 311.02)],
        events: vec![
            at(-1.911, fork(&child, &systemd)),
            at(0.0, exec(&main, "/usr/bin/python3.11", Some("/usr/bin/patroni"))),
            at(
                310.4,
                What::Signal(Box::new(hup(kill, &main, DispositionKind::Default, Fate::Killed))),
            ),
            at(311.02, exit(&main, Some(Signal::HUP), None)),
        ],
        alerts: vec![Alert {
            id: "reload-before-handler".into(),
            severity: Severity::Error,
            at_ns: ms(310.4),
            events: vec![2, 3],
            message: "HUP from kill[4720] killed patroni[4711]: it had no handler for it yet".into(),
            consequence: "systemd takes death by HUP as a clean exit of a Type=simple service (\"Deactivated successfully\"): Restart=on-failure will not restart it, and it stays down".into(),
            mend: "let the service tell when it is ready: install the HUP handler first, then send READY=1, and set Type=notify. systemd then keeps a reload back until it is ready. Until then, in a drop-in:\n[Service]\nRestart=always".into(),
        }],
        outcome: ProcessOutcome { state: OutcomeState::Killed, signal: Some(Signal::HUP), code: None },
        ..running(&main)
    };
    document(vec![unit("patroni.service", Some(patroni_unit()), activation)])
}

/// Handler, then READY=1, then a reload that is handled half a minute later.
pub fn good_start() -> Document {
    let systemd = process(1, "systemd");
    let main = by(process(5120, "patroni"), "/usr/bin/python3.13", 106);
    let reloader = by(process(5301, "systemctl"), "/usr/bin/systemctl", 0);
    let mut reload = hup(reloader, &main, DispositionKind::Handler, Fate::Handled);
    reload.fate_ns = Some(ms(30_100.061));
    let activation = Activation {
        milestones: Milestones {
            exec_ns: Some(0),
            handler_ns: Some(ms(286.13)),
            ready_ns: Some(ms(537.4)),
            first_reload_ns: Some(ms(30_100.0)),
            ..Milestones::default()
        },
        exposure: vec![
            exposed(ExposureKind::Fatal, 0.0, 286.13),
            exposed(ExposureKind::NotReady, 286.13, 537.4),
        ],
        events: vec![
            at(-2.02, fork(&process(5120, "(patroni)"), &systemd)),
            at(0.0, exec(&main, "/usr/bin/python3.13", Some("/usr/bin/patroni"))),
            at(286.13, handler(&main, false)),
            at(
                537.4,
                What::Notify(Box::new(notify(
                    main.clone(),
                    &[
                        ("READY", "1"),
                        ("STATUS", "no action. I am (db1), the leader with the lock"),
                    ],
                ))),
            ),
            at(30_100.0, What::Signal(Box::new(reload))),
            at(
                30_100.2,
                What::Notify(Box::new(notify(
                    main.clone(),
                    &[("RELOADING", "1"), ("MONOTONIC_USEC", "83116201992")],
                ))),
            ),
            at(30_131.0, What::Notify(Box::new(notify(main.clone(), &[("READY", "1")])))),
        ],
        ..running(&main)
    };
    let facts = UnitFacts {
        service_type: Some("notify".into()),
        notify_access: Some("main".into()),
        ..patroni_unit()
    };
    let mut document = document(vec![unit("patroni.service", Some(facts), activation)]);
    document.capture.duration_ns = 60_000_000_000;
    document
}

/// A daemon that ran for hours before the capture joined it, which lost events as well.
pub fn joined_late() -> Document {
    let main = by(process(812, "nginx"), "/usr/sbin/nginx", 0);
    let joined = 11_040_000.0;
    let logrotate = by(process(90_211, "logrotate"), "/usr/sbin/logrotate", 0);
    let activation = Activation {
        started_at: wall("2025-12-31T20:56:00Z"),
        joined_ns: Some(ms(joined)),
        milestones: Milestones {
            handler_ns: Some(ms(joined)),
            first_reload_ns: Some(ms(joined + 700.0)),
            ..Milestones::default()
        },
        events: vec![
            at(joined, handler(&main, true)),
            at(joined + 410.0, What::Loss { count: 12 }),
            at(
                joined + 700.0,
                What::Signal(Box::new(hup(
                    logrotate,
                    &main,
                    DispositionKind::Handler,
                    Fate::Handled,
                ))),
            ),
        ],
        ..running(&main)
    };
    let mut document = document(vec![unit("nginx.service", None, activation)]);
    let capture = &mut document.capture;
    capture.lost = 12;
    capture.losses = [("notify".into(), 2), ("signal".into(), 10)].into();
    capture.complete = false;
    capture.ended_by = EndedBy::Interrupt;
    document
}

/// A process that tries to take over the terminal by every text it controls.
pub fn hostile() -> Document {
    let clear = "\u{1b}[2J\u{1b}[H";
    let main =
        by(process(666, "\u{1b}]0;owned\u{7}"), &format!("/tmp/{clear}\u{202e}hs.live"), 1000);
    let mut message = notify(
        by(process(667, "ev\u{200b}il\u{9b}31m"), "/tmp/x", 1000),
        &[("READY", "1"), ("STATUS", &format!("{clear}\nNo alerts.\r{}", "データ".repeat(60)))],
    );
    message.accepted = Some(false);
    message.problem = Some("sent by pid 667, and NotifyAccess=main admits 666 alone".into());
    let activation = Activation {
        milestones: Milestones { exec_ns: Some(0), ..Milestones::default() },
        exposure: vec![exposed(ExposureKind::Fatal, 0.0, 1_900.0)],
        events: vec![
            at(0.0, exec(&main, "/tmp/\u{1b}[8mhidden", Some("/tmp/a b\tc"))),
            at(3.0, What::Notify(Box::new(message))),
            at(4.0, What::Cgroup { process: None, path: "/system.slice/\u{1b}[31mred".into() }),
            at(
                5.0,
                What::Systemd {
                    state: "failed\u{7}".into(),
                    sub_state: None,
                    result: None,
                    reload_result: None,
                },
            ),
        ],
        alerts: vec![Alert {
            id: "ready-rejected\u{1b}[0m; rm -rf /".into(),
            severity: Severity::Error,
            at_ns: ms(3.0),
            events: vec![1, 99],
            message: "READY=1 from ev\u{200b}il\u{9b}31m[667] was refused\nNo alerts.".into(),
            consequence: format!("{clear}the start will time out"),
            mend: "NotifyAccess=all\u{85}".into(),
        }],
        ..running(&main)
    };
    let mut document = document(vec![unit("a\\x2db\u{1b}[5m.service", None, activation)]);
    document.host.hostname = "db1\u{1b}c".into();
    document
}

/// A command that starts forty children, is reloaded too early to be ready, and
/// ends by itself; run without systemd.
pub fn forty_processes() -> Document {
    let shell = by(process(2000, "sh"), "/usr/bin/dash", 0);
    let main = by(process(2001, "gunicorn"), "/usr/bin/python3.11", 33);
    let mut events = vec![
        at(-0.4, fork(&process(2001, "sigready"), &process(1999, "sigready"))),
        at(0.0, exec(&main, "/usr/bin/python3.11", Some("/usr/bin/gunicorn"))),
        at(212.0, handler(&main, false)),
    ];
    for child in 0..40_u32 {
        let worker = process(2002 + child, "gunicorn");
        let begin = 230.0 + f64::from(child) * 9.5;
        events.push(at(begin, fork(&worker, &main)));
        events.push(at(begin + 1.5, handler(&worker, false)));
    }
    events.push(at(
        432.0,
        What::Signal(Box::new(hup(shell, &main, DispositionKind::Handler, Fate::Handled))),
    ));
    events.push(at(640.5, What::Notify(Box::new(notify(main.clone(), &[("READY", "1")])))));
    for child in 0..40_u32 {
        let worker = process(2002 + child, "gunicorn");
        events.push(at(1_500.0 + f64::from(child), exit(&worker, None, Some(0))));
    }
    events.push(at(1_560.0, exit(&main, None, Some(0))));
    events.sort_by_key(|event| event.at_ns);
    let reload = events.iter().position(|event| matches!(event.what, What::Signal(_))).unwrap();
    let ready = events.iter().position(|event| matches!(event.what, What::Notify(_))).unwrap();
    let activation = Activation {
        milestones: Milestones {
            exec_ns: Some(0),
            handler_ns: Some(ms(212.0)),
            ready_ns: Some(ms(640.5)),
            first_reload_ns: Some(ms(432.0)),
            exit_ns: Some(ms(1_560.0)),
            ..Milestones::default()
        },
        exposure: vec![
            exposed(ExposureKind::Fatal, 0.0, 212.0),
            exposed(ExposureKind::NotReady, 212.0, 640.5),
        ],
        events,
        omitted: 210,
        left_out: Vec::new(),
        unfollowed: 0,
        alerts: vec![Alert {
            id: "reload-before-ready".into(),
            severity: Severity::Warning,
            at_ns: ms(432.0),
            events: vec![reload, ready],
            message: "HUP from sh[2000] met gunicorn[2001] 208 ms before it said READY=1".into(),
            consequence: "what it read and set up until then may be half old and half new; the settings of its unit are unknown".into(),
            mend: "reload it through systemd (`systemctl reload`), which waits for READY=1 under Type=notify".into(),
        }],
        outcome: ProcessOutcome { state: OutcomeState::Exited, signal: None, code: Some(0) },
        ..running(&main)
    };
    let mut document = document(vec![Service {
        name: "gunicorn".into(),
        kind: ServiceKind::Command,
        cgroup: None,
        unit: None,
        unit_problem: None,
        owner: None,
        signal: None,
        starts_left_out: 0,
        activations: vec![activation],
    }]);
    document.capture.command = "run".into();
    document.capture.ended_by = EndedBy::Exit;
    document
}

/// A unit that dies and is started anew, beside one whose start was not seen.
pub fn restarted() -> Document {
    let mut document = patroni_killed();
    let mut second = good_start().services.remove(0).activations.remove(0);
    second.started_at = wall("2026-01-01T00:00:00.5Z");
    second.events.truncate(4);
    second.milestones.first_reload_ns = None;
    document.services[0].activations.push(second);
    let unseen = Activation { main_process: None, ..running(&process(1, "init")) };
    document.services.push(unit("cron.service", None, unseen));
    document
}

/// Every fixture, by name.
pub fn all() -> Vec<(&'static str, Document)> {
    let mut unseen_start = patroni_killed();
    unseen_start.services[0].activations.clear();
    vec![
        ("patroni_killed", patroni_killed()),
        ("good_start", good_start()),
        ("joined_late", joined_late()),
        ("hostile", hostile()),
        ("forty_processes", forty_processes()),
        ("restarted", restarted()),
        ("nothing_seen", document(vec![])),
        ("no_start_seen", unseen_start),
    ]
}
