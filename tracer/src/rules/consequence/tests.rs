use super::*;
use crate::{
    model::{
        event::{DispositionKind::Default, Fate::Killed, ProcessRef},
        start_limit::StartLimit,
    },
    rules::testing::*,
};

#[test]
fn an_unknown_restart_setting_is_answered_with_those_that_would() {
    let told = |setting, result| {
        restart(setting, Prediction { result, restarts: None, decided_by: Decider::Restart }, None)
    };
    assert_eq!(
        told(None, ServiceResult::Protocol),
        "Restart= is unknown; always, on-failure and on-abnormal would restart it."
    );
    assert_eq!(
        told(Some("on-whim"), ServiceResult::Success),
        "Restart= is unknown; always and on-success would restart it."
    );
}

const HUP: End = End::Signal { signal: Signal::HUP, core_dumped: false };

#[test]
fn a_forking_service_has_two_processes_that_can_die() {
    assert_eq!(
        activation().unit("forking", "on-failure").asked(|case| death(case, HUP, 0)),
        "systemd takes death by HUP of the daemon of a Type=forking service as a clean exit \
         (result 'success'), of its ExecStart= process too, but as a failed start if a \
         PIDFile= is due (result 'protocol'). For the daemon: Restart=on-failure does not \
         restart it. It stays down, and nothing reports a failure."
    );
}

#[test]
fn a_forking_service_that_is_not_up_fails_where_its_pid_file_is_due() {
    let starting = |pid_file: &str| {
        activation()
            .unit("forking", "on-failure")
            .with(|facts| facts.pid_file = Some(pid_file.to_owned()))
            .systemd(0, "activating", Some("start"), "success")
            .exec(0)
    };
    let told = starting("/run/d.pid").asked(|case| death(case, HUP, 1.s()));
    assert_eq!(
        told,
        "systemd takes death by HUP before its PIDFile= was there as a failed start of a \
         Type=forking service (result 'protocol'): Restart=on-failure restarts it."
    );
    let told = starting("").asked(|case| death(case, HUP, 1.s()));
    assert!(told.contains("as a clean exit of a Type=forking service"), "{told}");
    // A daemon that was left behind may come up all the same.
    let left = |pid_file: &str| starting(pid_file).fork(500.ms(), 4712);
    assert_eq!(
        left("").asked(|case| death(case, HUP, 1.s())),
        "systemd takes death by HUP of the ExecStart= process of a Type=forking service as the end \
         of its start (result 'success'), and what that left running for the service. Once nothing \
         of it is left: Restart=on-failure does not restart it. It stays down, and nothing reports \
         a failure."
    );
    let remains = left("").with(|facts| facts.remain_after_exit = Some(true));
    let remains = remains.asked(|case| death(case, HUP, 1.s()));
    assert!(remains.contains("keeps the unit 'active (exited)'"), "{remains}");
    assert_eq!(
        left("/run/d.pid").asked(|case| death(case, HUP, 1.s())),
        "systemd takes death by HUP of the ExecStart= process of a Type=forking service for no \
         failure, and waits for the PIDFile= of what is left running until TimeoutStartSec= is over \
         (90 s unless set; result 'timeout'): Restart=on-failure restarts it."
    );
    // What a former start has left in the cgroup shows in that systemd waits.
    let of_former = |at, active: &str, sub: &str, result: &str| {
        let start = starting("/run/d.pid").systemd(at, active, Some(sub), result);
        start.asked(|case| death(case, HUP, 1.s()))
    };
    let stopped = of_former(3.s(), "inactive", "dead", "success");
    assert!(stopped.contains("for no failure, and waits for the PIDFile= of what is"), "{stopped}");
    assert!(stopped.contains("It was stopped before that: Result=success"), "{stopped}");
    for at in [1_010.ms(), 3.s()] {
        let failed = of_former(at, "failed", "failed", "protocol");
        assert!(failed.contains("as a failed start of a Type=forking service"), "{failed}");
    }
    // Within a moment it was not that for which it is over.
    for at in [1_010.ms(), 1_250.ms()] {
        let at_once = of_former(at, "inactive", "dead", "success");
        assert!(at_once.contains("(result 'protocol')"), "{at_once}");
    }
    let goes_on = |start: Start| start.systemd(1_100.ms(), "activating", Some("start"), "success");
    let stopped =
        goes_on(starting("/run/d.pid")).systemd(3.s(), "inactive", Some("dead"), "success");
    let stopped = stopped.asked(|case| death(case, HUP, 1.s()));
    assert!(stopped.contains("for no failure"), "{stopped}");
    let stopped = left("/run/d.pid").systemd(1_010.ms(), "inactive", Some("dead"), "success");
    let stopped = stopped.asked(|case| death(case, HUP, 1.s()));
    assert!(stopped.contains("for no failure"), "{stopped}");
    let failed =
        goes_on(left("/run/d.pid")).systemd(1_200.ms(), "failed", Some("failed"), "protocol");
    let failed = failed.asked(|case| death(case, HUP, 1.s()));
    assert!(failed.contains("as a failed start of a Type=forking service"), "{failed}");
    // Unless nothing of it is left when systemd reaps what it had started.
    let gone = left("/run/d.pid").systemd(1_010.ms(), "failed", Some("failed"), "protocol");
    let told = gone.asked(|case| death(case, HUP, 1.s()));
    assert_eq!(
        told,
        "systemd takes death by HUP before its PIDFile= was there as a failed start of a \
         Type=forking service (result 'protocol'): Restart=on-failure restarts it. systemd \
         says so itself: Result=protocol, and the unit is failed."
    );
    let active = starting("/run/d.pid").systemd(900.ms(), "active", None, "success");
    let told = active.asked(|case| death(case, HUP, 1.s()));
    assert!(told.contains("as a clean exit of a Type=forking service"), "{told}");
}

#[test]
fn a_start_that_waits_for_a_pid_file_and_is_stopped_is_told_as_that() {
    let waiting = || {
        let start = activation().unit("forking", "no").with(|facts| {
            (facts.pid_file, facts.timeout_start_ns) =
                (Some("/run/d.pid".to_owned()), Some(90_000_000_000));
        });
        let start = start.systemd(0, "activating", Some("start"), "success").exec(0);
        start.forks(1.ms(), by("starter"), itself())
    };
    let told = |start: Start| start.asked(|case| death(case, HUP, 1.s()));
    let stopped = waiting().systemd(5.s(), "inactive", Some("dead"), "success");
    let text = "does not restart it. It was stopped before that: Result=success, and the unit is \
                inactive.";
    assert!(told(stopped).ends_with(text));
    let waited = waiting().systemd(90.s(), "failed", Some("failed"), "timeout");
    let waited = told(waited);
    assert!(waited.ends_with("systemd says so itself: Result=timeout, and the unit is failed."));
    let slowly = waiting().systemd(4.s(), "deactivating", Some("stop-sigterm"), "success");
    let slowly = slowly.systemd(5.s(), "inactive", Some("dead"), "success");
    assert!(told(slowly).ends_with(text), "what is stopped has not come up");
    // Another process took the place of the one that died.
    let up = waiting().systemd(2.s(), "active", Some("running"), "success");
    let up = told(up.systemd(5.s(), "inactive", Some("dead"), "success"));
    assert!(up.contains("But systemd itself says Result=success"), "{up}");
}

#[test]
fn a_daemon_that_dies_before_its_pid_file_is_there_is_waited_for() {
    let starting = |by: ProcessRef| {
        let start = activation().unit("forking", "on-failure").with(|facts| {
            (facts.pid_file, facts.timeout_start_ns) =
                (Some("/run/d.pid".to_owned()), Some(90_000_000_000));
        });
        let start = start.systemd(0, "activating", Some("start"), "success").exec(0);
        let start = start.forks(1.ms(), by, itself());
        start.asked(|case| (death(case, HUP, 1.s()), restarts(case, HUP, 1.s())))
    };
    let (told, comes_back) = starting(by("starter"));
    assert_eq!(
        told,
        "systemd does not see death by HUP of the daemon of a Type=forking service before its \
         PIDFile= is there: it waits for that until TimeoutStartSec= is over (90 s; result \
         'timeout'): Restart=on-failure restarts it."
    );
    assert_eq!(comes_back, Some(true));
    assert!(starting(by("systemd")).0.contains("'protocol'"));
}

#[test]
fn a_daemon_that_needs_no_pid_file_is_not_waited_for() {
    let start = activation().unit("forking", "on-failure");
    let start = start.with(|facts| facts.pid_file = Some(String::new()));
    let start = start.systemd(0, "activating", Some("start"), "success").exec(0);
    let start = start.forks(1.ms(), by("starter"), itself());
    let told = start.asked(|case| death(case, HUP, 1.s()));
    assert!(told.contains("as a clean exit of a Type=forking service"), "{told}");
}

#[test]
fn a_daemon_that_dies_when_systemd_has_read_its_pid_file_is_missed() {
    let start = activation().unit("forking", "no").with(|facts| {
        (facts.pid_file, facts.timeout_start_ns) =
            (Some("/run/d.pid".to_owned()), Some(90_000_000_000));
    });
    let start = start.systemd(0, "activating", Some("start"), "success").exec(0);
    let start = start.forks(1.ms(), by("starter"), itself());
    // It is told as up, and its end after that.
    let start = start.systemd(1.s() + 5.ms(), "active", Some("running"), "success");
    let start = start.systemd(1.s() + 6.ms(), "failed", Some("failed"), "signal");
    let abort = End::Signal { signal: "ABRT".parse().unwrap(), core_dumped: false };
    let told = start.asked(|case| death(case, abort, 1.s()));
    assert_eq!(
        told,
        "systemd takes death by ABRT as a failure of a Type=forking service (result 'signal'): \
         Restart=no does not restart it. systemd says so itself: Result=signal, and the unit is \
         failed."
    );
}

#[test]
fn the_end_of_a_start_that_may_still_become_ready_waits_for_the_time_out() {
    let told = activation()
        .unit("notify", "on-failure")
        .admits("all")
        .with(|facts| facts.remain_after_exit = Some(true))
        .exec(0)
        .asked(|case| death(case, HUP, 1.s()));
    assert_eq!(
        told,
        "systemd takes death by HUP before READY=1 as no end of the start: with \
         RemainAfterExit=yes another process may still say it. It waits until \
         TimeoutStartSec= is over (result 'timeout'): Restart=on-failure restarts it."
    );
}

#[test]
fn an_end_is_told_for_any_unit_where_the_settings_are_unknown() {
    let told = |start: Start, end| start.exec(0).asked(|case| death(case, end, 1.s()));
    assert_eq!(
        told(activation(), HUP),
        "The unit's settings are unknown: systemd takes death by HUP of a Type=simple service \
         as a clean exit (result 'success'), and Restart=on-failure does not restart it. As \
         Type=notify its start fails before READY=1 (result 'protocol'), and \
         Restart=on-failure restarts it."
    );
    let after = "The unit's settings are unknown: systemd takes death by HUP after the start \
                 as a clean exit (result 'success'); Restart=on-failure does not restart it.";
    assert_eq!(told(activation().ready(1.s()), HUP), after);
    assert_eq!(told(activation().joined(0), HUP), after);
    assert_eq!(
        told(activation(), End::Code(1)),
        "The unit's settings are unknown: systemd takes an exit with code 1 as a failure \
         (result 'exit-code'); Restart=on-failure restarts it."
    );
    let of_tomorrow = activation().unit("of-tomorrow", "no");
    assert!(told(of_tomorrow, HUP).starts_with("The unit's settings are unknown: "));
}

#[test]
fn what_a_command_was_told_counts_with_a_restart_setting_alone() {
    let told = |start: Start| start.exec(0).asked(|case| death(case, HUP, 1.s()));
    assert!(told(activation().command()).starts_with("The unit's settings are unknown: "));
    let told = told(activation().command().with(|facts| facts.restart = Some("no".to_owned())));
    assert!(told.ends_with("Restart=no does not restart it."), "{told}");
}

#[test]
fn each_consequence_is_told_for_the_unit_and_for_an_unknown_one() {
    type Consequence = fn(&Case) -> String;
    let asked = |what: Consequence, service_type: Option<&str>| match service_type {
        Some(service_type) => activation().unit(service_type, "no").asked(what),
        None => activation().asked(what),
    };
    let cases: [(Consequence, &str, &str); 9] = [
        (lost_reload, "notify-reload", "systemctl reload waits for RELOADING=1"),
        (lost_reload, "simple", "done once ExecReload= has returned"),
        (reload_in_start, "notify", "into the start while a Type=notify unit is activating"),
        (reload_in_start, "notify-reload", "while a Type=notify-reload unit is activating"),
        (reload_in_start, "dbus", "into the start while a Type=dbus unit is activating"),
        (reload_in_start, "simple", "counts a Type=simple unit as started without waiting"),
        (unanswered_reload, "notify-reload", "hangs until TimeoutStartSec= is over"),
        (endless_reloading, "notify-reload", "The unit stays in state 'reloading'"),
        (untimed_reloading, "notify-reload", "does not count it as the answer"),
    ];
    for (what, service_type, text) in cases {
        let told = asked(what, Some(service_type));
        assert!(told.contains(text) && !told.contains(UNKNOWN), "{told}");
        let told = asked(what, None);
        assert!(told.starts_with(UNKNOWN) && told.contains(':'), "{told}");
    }
    let told = asked(reload_in_start, None);
    assert!(told.contains("only Type=notify makes systemctl reload wait"), "{told}");
}

#[test]
fn what_another_signal_reloads_does_not_wait_for_the_answer_to_this_one() {
    let mut document = activation()
        .unit("notify-reload", "no")
        .reloads_by(Signal::USR1)
        .with(|facts| facts.exec_reload = Some(Vec::new()))
        .document();
    document.services[0].signal = Some(Signal::HUP);
    let service = &document.services[0];
    let activation = &service.activations[0];
    let told = lost_reload(&Case { capture: &document.capture, service, activation });
    assert!(told.contains("the unit's own reload does not send it"), "{told}");
}

#[test]
fn the_wait_for_ready_is_as_long_as_the_unit_sets_it() {
    let waits = |limit| {
        let start = activation().unit("notify", "no").exec(0);
        let told = start.with(|facts| facts.timeout_start_ns = limit).asked(never_ready);
        let (_, rest) = told.split_once("is over (").unwrap();
        rest.split_once(')').unwrap().0.to_owned()
    };
    assert_eq!(waits(Some(0)), "never, here");
    assert_eq!(waits(Some(90_000_000_000)), "90 s");
    assert_eq!(waits(None), "90 s unless set");
}

#[test]
fn systemds_own_word_stands_beside_the_prediction() {
    let killed = |result| {
        activation()
            .unit("simple", "always")
            .exec(0)
            .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
            .systemd(6.ms(), "inactive", None, result)
    };
    let restarted =
        killed("success").systemd(7.ms(), "activating", Some("auto-restart"), "success");
    let alerts = restarted.judged(&["reload-before-handler"]);
    assert!(
        alerts[0].consequence.ends_with(
            "Restart=always restarts it. systemd says so itself: Result=success, and it \
             restarts the unit."
        ),
        "{}",
        alerts[0].consequence
    );
    let alerts = killed("timeout").judged(&["reload-before-handler"]);
    assert!(
        alerts[0].consequence.ends_with(
            "But systemd itself says Result=timeout, and the unit is inactive: its word counts."
        ),
        "{}",
        alerts[0].consequence
    );
}

#[test]
fn a_stop_command_that_failed_decides_and_what_an_operator_does_later_does_not() {
    use crate::model::event::ProcessRef;
    let stop = || ProcessRef { pid: 4799, ..by("sh") };
    let exit =
        |code| What::Exit { process: stop(), signal: None, code: Some(code), core_dumped: false };
    let moved = What::Cgroup { process: Some(stop()), path: "/demo".to_owned() };
    let forked = What::Fork { process: stop(), parent: by("systemd") };
    for came in [moved, forked] {
        let stopped = |code, result| {
            activation()
                .unit("simple", "on-failure")
                .exec(0)
                .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
                .event(7.ms(), came.clone())
                .event(8.ms(), exit(code))
                .systemd(9.ms(), "activating", Some("auto-restart"), result)
        };
        let alerts = stopped(2, "exit-code").judged(&["reload-before-handler"]);
        assert_eq!(
            alerts[0].consequence,
            "systemd takes death by HUP as a clean exit of a Type=simple service and runs \
             ExecStop= or ExecStopPost=, which failed: an exit with code 2 (result \
             'exit-code'): Restart=on-failure restarts it. systemd says so itself: \
             Result=exit-code, and it restarts the unit."
        );
    }
    let killed = |signal: &str| {
        let signal = signal.parse().unwrap();
        let start = activation().unit("simple", "on-failure").reloads_by(signal).exec(0);
        let start = start.signal(5.ms(), signal, Default, Killed, by("kill"));
        start.systemd(6.ms(), "activating", Some("auto-restart"), "signal")
    };
    // Somebody stops what was to be restarted.
    let stopped = killed("USR1").systemd(5.s(), "inactive", Some("dead"), "success");
    let alerts = stopped.judged(&["reload-before-handler"]);
    assert!(!alerts[0].consequence.contains("But systemd"), "{}", alerts[0].consequence);
    let over = activation().unit("simple", "always").exec(0);
    let over = over.signal(5.ms(), Signal::HUP, Default, Killed, by("kill"));
    let over = over.systemd(6.ms(), "inactive", Some("dead"), "success");
    let over = over.systemd(7.ms(), "activating", Some("auto-restart"), "success");
    let stopped = over.systemd(5.s(), "inactive", Some("dead"), "success");
    let alerts = stopped.judged(&["reload-before-handler"]);
    let told = &alerts[0].consequence;
    assert!(told.ends_with("Result=success, and it restarts the unit."), "{told}");
}

#[test]
fn a_child_that_fails_and_a_command_that_works_are_no_failed_stop_command() {
    let stopped = |parent: &str, code| {
        let process = ProcessRef { pid: 4_730, ..by("rm") };
        let fork = What::Fork { process: process.clone(), parent: by(parent) };
        let exit = What::Exit { process, signal: None, code: Some(code), core_dumped: false };
        activation()
            .unit("simple", "on-failure")
            .exec(0)
            .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
            .event(7.ms(), fork)
            .event(8.ms(), exit)
            .systemd(9.ms(), "failed", Some("failed"), "exit-code")
            .asked(|case| death(case, HUP, 6.ms()))
    };
    assert!(stopped("systemd", 3).contains("ExecStop= or ExecStopPost=, which failed"));
    for told in [stopped("sh", 3), stopped("systemd", 0)] {
        assert!(!told.contains("ExecStop="), "{told}");
    }
}

#[test]
fn a_command_of_exec_start_post_that_fails_after_the_death_decides() {
    let posted = |signal_at: i64, code, result: &str| {
        let process = ProcessRef { pid: 4_730, ..by("sh") };
        let fork = What::Fork { process: process.clone(), parent: by("systemd") };
        let exit = What::Exit { process, signal: None, code: Some(code), core_dumped: false };
        activation()
            .unit("simple", "on-failure")
            .event(-1.ms(), fork)
            .exec(0)
            .systemd(2.ms(), "activating", Some("start-post"), "success")
            .signal(signal_at, Signal::HUP, Default, Killed, by("kill"))
            .event(8.ms(), exit)
            .systemd(9.ms(), "failed", Some("failed"), result)
            .systemd(10.ms(), "activating", Some("auto-restart"), result)
            .asked(|case| death(case, HUP, signal_at + 1.ms()))
    };
    assert_eq!(
        posted(5.ms(), 4, "exit-code"),
        "systemd takes death by HUP as a clean exit of a Type=simple service and runs \
         ExecStartPost=, which failed: an exit with code 4 (result 'exit-code'): \
         Restart=on-failure restarts it. systemd says so itself: Result=exit-code, and it restarts \
         the unit."
    );
    assert!(!posted(5.ms(), 0, "exit-code").contains("ExecStartPost="));
    // systemd does not mind.
    assert!(!posted(5.ms(), 4, "success").contains("ExecStartPost="));
}

#[test]
fn a_stop_command_that_failed_decides_where_the_capture_ends_before_the_unit_is_over() {
    let stopping = |code| {
        let process = ProcessRef { pid: 4_730, ..by("rm") };
        let fork = What::Fork { process: process.clone(), parent: by("systemd") };
        let exit = What::Exit { process, signal: None, code: Some(code), core_dumped: false };
        activation()
            .unit("simple", "on-failure")
            .exec(0)
            .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
            .systemd(7.ms(), "deactivating", Some("stop"), "success")
            .event(7.ms(), fork)
            .event(8.ms(), exit)
            .systemd(9.ms(), "deactivating", Some("stop-post"), "exit-code")
            .asked(|case| death(case, HUP, 6.ms()))
    };
    let told = stopping(1);
    assert!(
        told.contains("ExecStop= or ExecStopPost=, which failed: an exit with code 1"),
        "{told}"
    );
    assert!(told.contains("Restart=on-failure restarts it"), "{told}");
    assert!(!stopping(0).contains("ExecStop="));
}

#[test]
fn a_stop_command_that_fails_does_not_change_a_failure_or_what_remains() {
    let process = || ProcessRef { pid: 4_730, ..by("rm") };
    let stopped = |start: Start, end| {
        start
            .exec(0)
            .exit(5.ms(), 1)
            .forks(7.ms(), by("systemd"), process())
            .left(8.ms(), process(), 2)
            .systemd(9.ms(), "failed", Some("failed"), "exit-code")
            .asked(|case| death(case, end, 5.ms()))
    };
    let unit = || activation().unit("simple", "on-failure");
    let failed = stopped(unit(), End::Code(1));
    assert!(failed.contains("an exit with code 1 as a failure"), "{failed}");
    // It is to systemd as if it had not ended: nothing is run.
    let remains = unit().with(|facts| facts.remain_after_exit = Some(true));
    let remains = stopped(remains, HUP);
    assert!(remains.contains("keeps the unit 'active (exited)'"), "{remains}");
}

#[test]
fn a_command_that_fails_while_the_unit_is_up_is_no_stop_command() {
    let process = || ProcessRef { pid: 4_730, ..by("check") };
    let told = activation()
        .unit("simple", "on-failure")
        .exec(0)
        .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
        .systemd(6.ms(), "active", Some("running"), "success")
        .forks(7.ms(), by("systemd"), process())
        .left(8.ms(), process(), 2)
        .asked(|case| death(case, HUP, 6.ms()));
    assert!(!told.contains("ExecStop="), "{told}");
}

#[test]
fn a_unit_that_is_being_stopped_is_not_over() {
    let alerts = activation()
        .unit("simple", "no")
        .exec(0)
        .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
        .systemd(6.ms(), "deactivating", Some("stop-post"), "success")
        .systemd(7.ms(), "inactive", Some("dead"), "success")
        .judged(&["reload-before-handler"]);
    let told = &alerts[0].consequence;
    assert!(told.ends_with("Result=success, and the unit is inactive."), "{told}");
}

#[test]
fn what_systemd_said_before_the_death_is_not_about_it() {
    let alerts = activation()
        .unit("simple", "always")
        .systemd(0, "inactive", None, "success")
        .exec(1.ms())
        .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
        .judged(&["reload-before-handler"]);
    assert!(
        alerts[0].consequence.ends_with("Restart=always restarts it."),
        "{}",
        alerts[0].consequence
    );
}

#[test]
fn a_start_that_ended_before_ready_is_told_by_how_it_ended() {
    let usr1 = "USR1".parse().unwrap();
    let start = |start: Start| start.exec(0);
    let notify = || start(activation().unit("notify", "on-abort"));
    let told = notify().signal(1.s(), usr1, Default, Killed, by("kill")).asked(never_ready);
    assert_eq!(
        told,
        "The start of a Type=notify service fails when it ends before READY=1 (result \
         'signal'): Restart=on-abort restarts it."
    );
    let abort = || notify().dies(1.s(), "ABRT".parse().unwrap());
    let told = abort().asked(never_ready);
    assert!(told.contains("(result 'signal')"), "{told}");
    let told = abort().dumping_core().asked(never_ready);
    assert!(told.contains("(result 'core-dump')"), "{told}");
    let told = notify().exit(1.s(), 7).asked(never_ready);
    assert!(told.contains("(result 'exit-code'): Restart=on-abort does not"), "{told}");
    assert_eq!(
        start(activation().command()).exit(1.s(), 0).asked(never_ready),
        "The unit's settings are unknown: as Type=notify, the start of a Type=notify service \
         fails when it ends before READY=1 (result 'protocol'): Restart= is unknown; always, \
         on-failure and on-abnormal would restart it."
    );
}

#[test]
fn a_oneshot_killed_by_hup_has_failed() {
    let alerts = activation()
        .unit("oneshot", "no")
        .exec(0)
        .signal(5.ms(), Signal::HUP, Default, Killed, by("kill"))
        .judged(&["reload-before-handler"]);
    assert_eq!(
        alerts[0].consequence,
        "systemd takes death by HUP as a failure of a Type=oneshot service (result 'signal'): \
         Restart=no does not restart it."
    );
}

#[test]
fn a_command_before_the_main_process_that_is_killed_fails_the_start() {
    let told = |start: Start| start.asked(|case| death_before_main(case, Signal::HUP, 1.s()));
    assert_eq!(
        told(activation().unit("notify", "on-failure")),
        "systemd takes death by HUP of a command of ExecCondition= or ExecStartPre= as a failed \
         start (result 'signal'): Restart=on-failure restarts it."
    );
    assert_eq!(
        told(activation()),
        "The unit's settings are unknown: systemd takes death by HUP of a command of \
         ExecCondition= or ExecStartPre= as a failed start (result 'signal')."
    );
}

#[test]
fn what_waits_for_ever_to_be_restarted_stays_down() {
    let waits = |setting: &str| {
        let start = activation().unit("simple", setting).exec(0);
        start.with(|facts| facts.restart_never = Some(true))
    };
    let again = waits("always").systemd(2.s(), "activating", Some("auto-restart"), "success");
    let told = again.clone().asked(|case| death(case, HUP, 1.s()));
    assert_eq!(
        told,
        "systemd takes death by HUP as a clean exit of a Type=simple service (result 'success'): \
         systemd would start it again, but only after RestartSec=infinity, which never comes: it \
         stays down, in state 'activating (auto-restart)', and nothing reports a failure. systemd \
         says so itself: Result=success, and it waits to restart the unit."
    );
    assert_eq!(again.asked(|case| restarts(case, HUP, 1.s())), Some(false));
    // Where Restart= would not start it again, there is nothing to wait for.
    let told = waits("on-failure").asked(|case| death(case, HUP, 1.s()));
    assert!(told.contains("Restart=on-failure does not restart it."), "{told}");
    let listed = waits("no").with(|facts| {
        let forced = facts.restart_force_exit_status.get_or_insert_default();
        forced.signals.push(Signal::HUP);
    });
    let told = listed.asked(|case| death(case, HUP, 1.s()));
    assert!(told.contains("which never comes"), "{told}");
    let slow = waits("always").asked(|case| restart_after(case, ServiceResult::Timeout, None));
    assert!(slow.contains("which never comes"), "{slow}");
}

/// A unit that is started at most so often in 10 s, and again 100 ms after its end.
fn limited(restart: &str, starts: u32) -> Start {
    activation().unit("simple", restart).with(|facts| {
        let within_ns = Some(10_000_000_000);
        facts.start_limit = Some(StartLimit { starts, within_ns, action: None });
        facts.restart_delay_ns = Some(100_000_000);
    })
}

#[test]
fn a_start_that_used_up_the_limit_is_not_followed_by_another() {
    let told = |start: Start, end, at| start.exec(0).asked(|case| death(case, end, at));
    assert_eq!(
        told(limited("always", 1), HUP, 1.s()),
        "systemd takes death by HUP as a clean exit of a Type=simple service (result 'success'): \
         Restart=always would restart it, but StartLimitBurst=1 lets one start through in 10 s, \
         and this was it: the unit has failed (result 'start-limit-hit')."
    );
    for (release, result) in [
        (Some("257.9-1"), "result 'exit-code'"),
        (Some("262-1"), "result 'start-limit-hit'"),
        (None, "result 'exit-code', or 'start-limit-hit' under newer releases of systemd"),
    ] {
        let failing = limited("on-failure", 1);
        let failing = failing.with(|facts| facts.systemd = release.map(str::to_owned));
        let told = told(failing, End::Code(3), 1.s());
        assert!(told.ends_with(&format!("has failed ({result}).")), "{told}");
    }
    for (start, at) in [
        (limited("always", 2), 1.s()),
        (limited("always", 0), 1.s()),
        // The time of the limit is over.
        (limited("always", 1), 9_950.ms()),
        (limited("always", 1).with(|facts| facts.restart_delay_ns = Some(11_000_000_000)), 1.s()),
        // How long it waits is unknown.
        (limited("always", 1).with(|facts| facts.restart_delay_ns = None), 1.s()),
    ] {
        let told = told(start, HUP, at);
        assert!(told.ends_with("Restart=always restarts it."), "{told}");
    }
    let forever = limited("always", 1).with(|facts| {
        facts.restart_delay_ns = None;
        let limit = facts.start_limit.as_mut().unwrap();
        limit.within_ns = None;
        limit.action = Some("reboot-force".to_owned());
    });
    let told_forever = told(forever, HUP, 1.s());
    assert!(told_forever.contains("in all its time (StartLimitIntervalSec=infinity), and this"));
    assert!(told_forever.ends_with(
        "(result 'start-limit-hit'), and systemd carries out StartLimitAction=reboot-force."
    ));
    // Where nothing would start it again, the limit says nothing.
    let told_down = told(limited("no", 1), HUP, 1.s());
    assert!(told_down.contains("Restart=no does not restart it."), "{told_down}");
}

#[test]
fn the_time_of_a_limit_is_told_as_it_is_set() {
    let told = |within_ns| {
        let unit = limited("always", 1).with(|facts| {
            facts.start_limit.as_mut().unwrap().within_ns = Some(within_ns);
        });
        unit.exec(0).asked(|case| death(case, HUP, 1.s()))
    };
    assert!(told(2_000_000_000).contains("one start through in 2 s,"), "{}", told(2_000_000_000));
    assert!(told(2_500_000_000).contains("through in 2.50 s,"), "{}", told(2_500_000_000));
}

#[test]
fn whether_the_limit_refuses_a_start_depends_on_when_systemd_gives_up_waiting() {
    let told = |timeout_ns| {
        let unit = limited("on-failure", 1).with(|facts| {
            facts.service_type = Some("notify".to_owned());
            facts.timeout_start_ns = Some(timeout_ns);
        });
        unit.exec(0).asked(never_ready)
    };
    let soon = told(5_000_000_000);
    assert!(soon.contains("StartLimitBurst=1 lets one start through"), "{soon}");
    for late in [90_000_000_000, 0] {
        let told = told(late);
        assert!(told.ends_with("Restart=on-failure restarts it."), "{told}");
    }
}

#[test]
fn it_may_be_known_whether_it_comes_back_where_it_is_not_whether_it_was_up() {
    let comes_back = |start: Start| {
        let start = start.with(|facts| facts.service_type = Some("forking".to_owned()));
        start.exec(0).asked(|case| restarts(case, HUP, 1.s()))
    };
    let unit = |restart: &str| comes_back(activation().unit("forking", restart));
    assert_eq!(["always", "no", "on-failure"].map(unit), [Some(true), Some(false), None]);
    assert_eq!(comes_back(limited("always", 1)), Some(false), "the limit refuses it");
}

/// Whether systemd starts a unit again that it may start twice in 10 s: it ended after 1 s, and an
/// earlier start came 8 s before this one.
fn restarts_after(earlier: impl Fn(Start) -> Start, ids: [Option<&str>; 2]) -> Option<bool> {
    let [before, this] = ids.map(|id| id.map(str::to_owned));
    let mut document = limited("always", 2).exec(0).document();
    let mut earlier = earlier(limited("always", 2)).exec(0).document();
    let mut earlier = earlier.services.remove(0).activations.remove(0);
    earlier.invocation_id = before;
    let service = &mut document.services[0];
    service.activations[0].invocation_id = this;
    service.activations[0].started_at.0 += jiff::SignedDuration::from_nanos(8.s());
    service.activations.insert(0, earlier);
    let service = &document.services[0];
    let activation = &service.activations[1];
    restarts(&Case { capture: &document.capture, service, activation }, HUP, 1.s())
}

#[test]
fn a_start_that_was_told_of_twice_counts_once_for_the_limit() {
    let of = |ids| restarts_after(|start| start, ids);
    assert_eq!(of([None, None]), Some(false));
    assert_eq!(of([Some("a"), Some("b")]), Some(false));
    assert_eq!(of([Some("a"), Some("a")]), Some(true));
}

#[test]
fn a_start_counts_from_its_first_command_on() {
    let after = |state: &str, sub: &str| {
        let earlier = |start: Start| start.systemd(-2.s(), state, Some(sub), "success");
        restarts_after(earlier, [None, None])
    };
    assert_eq!(after("activating", "start-pre"), Some(true), "the time of the limit is over");
    assert_eq!(after("activating", "auto-restart"), Some(false));
    assert_eq!(after("inactive", "dead"), Some(false));
}

#[test]
fn earlier_starts_count_for_the_limit() {
    let started = |starts: u32, since: i64| {
        let mut document = limited("always", starts).exec(0).document();
        let service = &mut document.services[0];
        let earlier = service.activations[0].clone();
        service.activations.insert(0, earlier);
        let later = jiff::SignedDuration::from_nanos(since);
        service.activations[1].started_at.0 += later;
        let service = &document.services[0];
        let activation = &service.activations[1];
        let case = Case { capture: &document.capture, service, activation };
        (death(&case, HUP, 1.s()), restarts(&case, HUP, 1.s()))
    };
    let (told, restarts) = started(2, 2.s());
    assert!(told.contains("StartLimitBurst=2 lets 2 starts through in 10 s"), "{told}");
    assert!(told.contains("this was the last of them"), "{told}");
    assert_eq!(restarts, Some(false));
    assert_eq!(started(3, 2.s()).1, Some(true));
    assert_eq!(started(2, 20.s()).1, Some(true), "it was long ago");
}

#[test]
fn a_limit_that_systemd_did_not_hold_to_is_not_told() {
    let told = |is_next: bool| {
        let ended = limited("always", 1).systemd(-5.ms(), "inactive", Some("dead"), "success");
        let ended = ended.exec(0).systemd(1_001.ms(), "inactive", Some("dead"), "success");
        let ended = ended.systemd(1_002.ms(), "activating", Some("auto-restart"), "success");
        let mut document = ended.document();
        let service = &mut document.services[0];
        if is_next {
            let mut next = service.activations[0].clone();
            next.started_at.0 += jiff::SignedDuration::from_nanos(1_200.ms());
            service.activations.push(next);
        }
        let service = &document.services[0];
        let activation = &service.activations[0];
        let case = Case { capture: &document.capture, service, activation };
        death(&case, HUP, 1.s())
    };
    assert!(told(false).contains("this was it"), "{}", told(false));
    // Somebody had systemd forget the start before (`systemctl reset-failed`).
    assert!(
        told(true).ends_with(
            "Restart=always restarts it. systemd says so itself: Result=success, and it restarts \
             the unit."
        ),
        "{}",
        told(true)
    );
}

#[test]
fn systemd_says_that_it_refused_the_start_that_was_due() {
    let ended = |limit: u32| {
        limited("always", limit)
            .exec(0)
            .systemd(1_001.ms(), "inactive", Some("dead"), "success")
            .systemd(1_002.ms(), "activating", Some("auto-restart"), "success")
    };
    let refused = |start: Start| {
        let queued =
            start.systemd(1_100.ms(), "activating", Some("auto-restart-queued"), "success");
        queued.systemd(1_101.ms(), "failed", Some("failed"), "start-limit-hit")
    };
    let told = |start: Start| start.asked(|case| death(case, HUP, 1.s()));
    // There may have been a start before the capture.
    for limit in [1, 2] {
        let told = told(refused(ended(limit)));
        assert!(
            told.ends_with(
                " systemd says so itself: Result=start-limit-hit, and it refuses the start after \
                 that."
            ),
            "{told}"
        );
    }
    let unlimited = told(refused(ended(0)));
    assert!(
        unlimited.ends_with(
            " But systemd itself says Result=start-limit-hit, and it refuses the start after that: \
             its word counts."
        ),
        "{unlimited}"
    );
    // A trace that ends before does not know.
    let early = told(ended(1));
    assert!(early.ends_with("(result 'start-limit-hit')."), "{early}");
}

#[test]
fn a_start_that_was_stopped_before_ready_to_be_started_again_has_a_next_one() {
    let stopped = activation().unit("notify", "no").exec(0);
    let stopped = stopped.systemd(20.s(), "deactivating", Some("stop-sigterm"), "success");
    let stopped = stopped.signal(20.s(), Signal::TERM, Default, Killed, by("systemd"));
    let mut document =
        stopped.systemd(20.s() + 5.ms(), "inactive", Some("dead"), "success").document();
    let service = &mut document.services[0];
    let mut next = service.activations[0].clone();
    next.started_at.0 += jiff::SignedDuration::from_nanos(21.s());
    service.activations.push(next);
    let service = &document.services[0];
    let activation = &service.activations[0];
    let case = Case { capture: &document.capture, service, activation };
    let told = never_ready(&case);
    assert!(told.ends_with("(result 'success'), and it was started again after that."), "{told}");
}

#[test]
fn a_start_that_failed_for_want_of_something_else_is_no_limit_of_starts() {
    let ended = limited("always", 5)
        .exec(0)
        .systemd(1_001.ms(), "inactive", Some("dead"), "success")
        .systemd(1_002.ms(), "activating", Some("auto-restart"), "success")
        .systemd(1_101.ms(), "failed", Some("failed"), "resources");
    let told = ended.asked(|case| death(case, HUP, 1.s()));
    assert!(!told.contains("StartLimitBurst"), "{told}");
    assert!(told.contains("But systemd itself says Result=resources"), "{told}");
}
