//! What is found in units, by their text.

use super::*;
use crate::systemd::unit_files::parse;

/// A unit with this section.
fn subject(service: &str) -> Subject {
    let text = format!("[Service]\nExecStart=/usr/bin/relayd\n{service}");
    let (facts, commands) = parse("a.service", &text).unwrap();
    Subject { name: "a.service".to_owned(), files: Vec::new(), facts, commands }
}

/// One that reloads by a signal to its main process.
fn unit(service_type: &str, restart: &str, signal: &str) -> String {
    let reload = if signal.is_empty() {
        String::new()
    } else {
        format!("ExecReload=/bin/kill -{signal} $MAINPID\n")
    };
    format!("Type={service_type}\nRestart={restart}\n{reload}")
}

fn all(service: &str) -> Vec<Finding> {
    findings(&Case::new(&subject(service), &system()))
}

fn system() -> Location {
    Location { directory: "/etc/systemd/system".into(), options: String::new() }
}

fn ids(service: &str) -> Vec<(String, Severity)> {
    all(service).into_iter().map(|it| (it.id, it.severity)).collect()
}

/// The findings for another `ExecStart=`.
fn starting(command: &str, service: &str) -> Vec<(String, Severity)> {
    ids(&format!("ExecStart=\nExecStart={command}\n{service}"))
}

/// The one with this id.
fn one(service: &str, id: &str) -> Finding {
    all(service).into_iter().find(|finding| finding.id == id).unwrap()
}

fn unknown(service: &str) -> Option<String> {
    let unknown = Case::new(&subject(service), &system()).unknown();
    (!unknown.is_empty()).then(|| unknown.join("; "))
}

fn found(id: &str, severity: Severity) -> Vec<(String, Severity)> {
    vec![(id.to_owned(), severity)]
}

const AWAITED: &str = "reload-not-awaited";
const HUP: &str = "ExecReload=/bin/kill -HUP $MAINPID\n";

#[test]
fn a_simple_service_that_reloads_by_hup_and_stays_down_is_an_error() {
    for restart in ["no", "on-failure", "on-abnormal", "on-abort"] {
        let simple = unit("simple", restart, "HUP");
        assert_eq!(ids(&simple), found(AWAITED, Severity::Error), "{restart}");
    }
}

#[test]
fn one_that_is_restarted_is_a_warning_without_a_drop_in() {
    for service in [unit("exec", "always", "HUP"), unit("simple", "on-failure", "USR1")] {
        assert_eq!(ids(&service), found(AWAITED, Severity::Warning));
        assert_eq!(one(&service, AWAITED).drop_in, None);
    }
}

#[test]
fn what_waits_for_ready_or_reloads_in_another_way_is_not_found() {
    for service_type in ["notify", "notify-reload", "forking", "dbus", "oneshot"] {
        assert_eq!(ids(&unit(service_type, "no", "HUP")), [], "{service_type}");
    }
    assert_eq!(ids(&unit("simple", "no", "")), []);
    assert_eq!(ids("ExecReload=/usr/sbin/nginx -s reload\n"), []);
    assert_eq!(ids("ExecReload=/bin/kill -0 $MAINPID\n"), []);
    assert_eq!(ids(&format!("{HUP}ExecReload=\n")), []);
}

#[test]
fn a_start_post_that_waits_holds_reloads_back_and_one_that_is_over_at_once_does_not() {
    for waits in [
        "/bin/sh -c 'until curl -fs http://localhost/; do sleep 0.2; done'",
        "/bin/sleep 2",
        "/usr/bin/timeout 30 /bin/sh -c 'while ! test -S /run/x; do sleep 1; done'",
        "/bin/sh -c 'sleep 1; echo up'",
    ] {
        assert_eq!(ids(&format!("{HUP}ExecStartPost={waits}\n")), [], "{waits}");
    }
    for over in ["/bin/true", "/bin/chmod 660 /run/x", "/bin/sh -c 'echo $MAINPID > /run/x.pid'"] {
        let service = format!("{HUP}ExecStartPost={over}\n");
        assert_eq!(ids(&service), found(AWAITED, Severity::Error), "{over}");
    }
    let other = format!("{HUP}ExecStartPost=/usr/bin/wait-for-it\n");
    assert_eq!(ids(&other), []);
    assert!(unknown(&other).unwrap().contains("ExecStartPost="));
}

#[test]
fn a_signal_that_is_harmless_by_default_is_lost_and_stop_stops() {
    for signal in ["CHLD", "CONT", "URG", "WINCH", "TSTP", "TTIN", "TTOU"] {
        let finding = one(&unit("simple", "no", signal), AWAITED);
        assert_eq!((finding.severity, finding.drop_in), (Severity::Warning, None), "{signal}");
        assert!(finding.consequence.contains("is lost"), "{}", finding.consequence);
    }
    let stop = one(&unit("simple", "no", "STOP"), AWAITED);
    assert!(stop.consequence.contains("stops until"), "{}", stop.consequence);
}

#[test]
fn what_the_main_process_ignores_from_its_first_moment_is_lost_and_does_not_kill() {
    for start in [
        "/usr/bin/nohup /usr/bin/java -jar x",
        "/bin/sh -c 'trap \"\" HUP; exec relayd'",
        "/bin/sh -c 'trap \"\" 1 USR1; exec nice -n 5 relayd'",
        "/bin/bash -c 'trap \"\" SIGHUP; relayd'",
        "/usr/bin/env --ignore-signal=HUP relayd",
        "/usr/bin/nice -n 5 nohup relayd",
        "/bin/sh -c 'exec env --ignore-signal=HUP relayd'",
    ] {
        let service = format!("ExecStart=\nExecStart={start}\n{HUP}");
        let finding = one(&service, AWAITED);
        assert_eq!(finding.severity, Severity::Warning, "{start}");
        assert!(finding.consequence.contains("is lost"), "{start}: {}", finding.consequence);
    }
    for start in [
        "/bin/sh -c 'trap \"\" HUP; trap - HUP; exec relayd'",
        "/bin/sh -c 'trap \"\" USR1; exec relayd'",
        "/bin/sh -c '(trap \"\" HUP); exec relayd'",
        "/bin/dash -c 'trap \"\" SIGHUP; exec relayd'",
        "/bin/sh -c 'trap reload HUP; exec relayd'",
        "/usr/bin/nice nohupd",
        "/usr/bin/nohup env --default-signal=HUP relayd",
    ] {
        assert_eq!(starting(start, HUP), found(AWAITED, Severity::Error), "{start}");
    }
}

#[test]
fn a_blocked_signal_waits() {
    let service = format!("ExecStart=\nExecStart=/usr/bin/env --block-signal=HUP relayd\n{HUP}");
    let finding = one(&service, AWAITED);
    assert_eq!((finding.severity, finding.drop_in), (Severity::Warning, None));
    assert!(finding.consequence.contains("The reload waits"), "{}", finding.consequence);
}

#[test]
fn the_result_is_said_as_systemd_gives_it() {
    let says = |service: &str, text: &str| {
        let consequence = one(service, AWAITED).consequence;
        assert!(consequence.contains(text), "{consequence}");
    };
    says(&unit("simple", "on-failure", "HUP"), "(result 'success': a clean exit)");
    says(&format!("{}SuccessExitStatus=USR1\n", unit("simple", "no", "USR1")), "a clean exit");
    says(&format!("{}RemainAfterExit=yes\n", unit("simple", "always", "HUP")), "active (exited)");
    let prevent = format!("{}RestartPreventExitStatus=HUP\n", unit("simple", "always", "HUP"));
    says(&prevent, "RestartPreventExitStatus= keeps it down");
}

/// A program that asks the daemon by its socket fails as long as that is not there.
#[test]
fn a_signal_that_is_sent_where_a_command_fails_can_come_early() {
    let service = "ExecReload=/bin/sh -c 'rndc reload >/dev/null 2>&1 || kill -HUP $MAINPID'\n";
    let finding = one(service, AWAITED);
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.message.contains("sends HUP, if what comes before it fails, before"));
    // Of a longer chain the text does not tell.
    let chain = "ExecReload=/bin/sh -c 'test -e /x && a || kill -HUP $MAINPID'\n";
    assert_eq!(ids(chain), []);
}

#[test]
fn an_init_ends_with_128_and_the_number_once_its_program_has_died() {
    let with = |restart: &str| {
        format!("ExecStart=\nExecStart=/usr/bin/tini -- relayd\nRestart={restart}\n{HUP}")
    };
    // Before it passes signals on it dies itself, which is clean.
    let down = one(&with("on-failure"), AWAITED);
    assert_eq!(down.severity, Severity::Error);
    assert!(down.drop_in.unwrap().text.ends_with("\nRestartForceExitStatus=SIGHUP\n"));
    let down = one(&with("on-success"), AWAITED);
    let text = "The program dies, and tini exits with 129 (result 'exit-code'), \
                Restart=on-success does not start it again.";
    assert_eq!((down.severity, &*down.consequence), (Severity::Error, text));
    assert!(down.drop_in.unwrap().text.ends_with("\nRestartForceExitStatus=129\n"));
    let down = one(&with("no"), AWAITED);
    assert!(down.drop_in.unwrap().text.ends_with("\nRestartForceExitStatus=SIGHUP 129\n"));
    let prevented = with("always\nRestartPreventExitStatus=3 129 SIGUSR1");
    let text = one(&prevented, AWAITED).drop_in.unwrap().text;
    assert!(text.ends_with("=\nRestartPreventExitStatus=SIGUSR1 3\n"), "{text}");
    assert_eq!(one(&with("always"), AWAITED).severity, Severity::Warning);
}

#[test]
fn a_virtual_machine_dies_of_the_signal_or_ends_with_a_code_of_its_own() {
    let with = |restart: &str| {
        format!("ExecStart=\nExecStart=/usr/bin/java -jar x\nRestart={restart}\n{HUP}")
    };
    // The code is no clean exit, and the death before its handler is one.
    let down = one(&with("on-failure"), AWAITED);
    assert_eq!(down.severity, Severity::Error);
    assert!(down.drop_in.unwrap().text.ends_with("\nRestartForceExitStatus=SIGHUP\n"));
    let down = one(&with("on-success"), AWAITED);
    let text = "Once the Java virtual machine has a handler of its own, it exits with 129 \
                (result 'exit-code'), Restart=on-success does not start it again.";
    assert_eq!((down.severity, &*down.consequence), (Severity::Error, text));
    let down = one(&with("no"), AWAITED);
    assert!(down.drop_in.unwrap().text.ends_with("\nRestartForceExitStatus=SIGHUP 129\n"));
}

#[test]
fn a_shell_with_a_handler_of_its_own_exits_by_it_at_every_reload() {
    let with = |shell: &str, restart: &str| {
        let start = format!("/usr/bin/{shell} -c 'while :; do sleep 1; done'");
        one(
            &format!("ExecStart=\nExecStart={start}\nRestart={restart}\n{HUP}"),
            "reload-hits-shell",
        )
    };
    let told = with("zsh", "on-failure");
    let words = "the shell exits with 1, by a handler of its own (result 'exit-code'), and \
                 Restart=on-failure starts it again";
    assert!(told.consequence.contains(words), "{}", told.consequence);
    assert!(told.consequence.contains("kills it (result 'success'"), "{}", told.consequence);
    assert_eq!(told.severity, Severity::Error);
    let lines = |shell: &str| with(shell, "no").drop_in.unwrap().text;
    assert!(lines("zsh").ends_with("RestartForceExitStatus=SIGHUP 1\n"), "{}", lines("zsh"));
    assert!(lines("mksh").ends_with("RestartForceExitStatus=SIGHUP 129\n"));
    assert!(lines("bash").ends_with("RestartForceExitStatus=SIGHUP\n"));
}

#[test]
fn the_drop_in_takes_away_what_keeps_the_service_down() {
    let lines = |service: &str| {
        let drop_in = one(service, AWAITED).drop_in.unwrap();
        assert_eq!(drop_in.path, "/etc/systemd/system/a.service.d/50-reload-not-awaited.conf");
        let settings = drop_in.text.lines().filter(|line| !line.starts_with('#'));
        settings.collect::<Vec<_>>().join(" ")
    };
    let with = |more: &str, restart: &str| format!("{}{more}\n", unit("simple", restart, "HUP"));
    assert_eq!(lines(&with("", "no")), "[Service] RestartForceExitStatus=SIGHUP");
    assert_eq!(lines(&with("RemainAfterExit=yes", "always")), "[Service] RemainAfterExit=no");
    assert_eq!(
        lines(&with("RemainAfterExit=yes", "no")),
        "[Service] RemainAfterExit=no RestartForceExitStatus=SIGHUP"
    );
    assert_eq!(lines(&with("RestartSec=infinity", "always")), "[Service] RestartSec=100ms");
    assert_eq!(
        lines(&with("RestartSec=infinity", "no")),
        "[Service] RestartSec=100ms RestartForceExitStatus=SIGHUP"
    );
    assert_eq!(
        lines(&with("RestartPreventExitStatus=HUP 3", "always")),
        "[Service] RestartPreventExitStatus= RestartPreventExitStatus=3"
    );
}

#[test]
fn a_reload_that_sends_term_is_a_stop_or_a_restart() {
    let ends = "reload-ends-it";
    for reload in [
        "/bin/kill $MAINPID",
        "/bin/kill -TERM $MAINPID",
        "/bin/kill -s INT $MAINPID",
        "/usr/bin/pkill relayd",
        "/bin/sh -c 'kill -CONT $MAINPID; kill -TERM $MAINPID'",
        "/bin/kill -HUP $MAINPID ; /bin/kill $MAINPID",
        "/usr/bin/killall -w relayd",
        "/sbin/start-stop-daemon --stop --pidfile /run/x.pid",
        "/usr/bin/systemctl kill %n",
        "/bin/sh -c 'kill $(pidof relayd)'",
    ] {
        let service = |restart: &str| format!("Restart={restart}\nExecReload={reload}\n");
        assert_eq!(ids(&service("on-failure")), found(ends, Severity::Error), "{reload}");
        assert_eq!(ids(&service("always")), found(ends, Severity::Warning), "{reload}");
    }
    let reload = "ExecReload=/bin/sh -c 'kill $(cat /run/x); sleep 1; /usr/bin/relayd --detach'\n";
    assert_eq!(ids(&format!("Type=forking\nPIDFile=/run/x\n{reload}")), []);
    assert_eq!(ids(reload), found(ends, Severity::Error));
    for again in [
        "start-stop-daemon --start --exec /usr/bin/relayd",
        "su -c \"relayd --detach\" web",
        "systemctl restart a",
        "/etc/init.d/a start",
    ] {
        let reload = format!("ExecReload=/bin/sh -c 'kill $(cat /run/x); sleep 1; {again}'\n");
        assert_eq!(ids(&format!("Type=forking\nPIDFile=/run/x\n{reload}")), [], "{again}");
    }
    let by_systemd = one("Type=notify-reload\nReloadSignal=SIGTERM\n", ends);
    assert!(by_systemd.drop_in.unwrap().text.contains("ReloadSignal=SIGHUP"));
}

#[test]
fn a_shell_that_stays_dies_of_the_reload() {
    let hits = "reload-hits-shell";
    for start in [
        "/bin/sh -c 'relayd'",
        "/bin/sh -c 'prepare; relayd; echo $?'",
        "/bin/bash -c 'relayd | logger'",
        "/bin/bash -c 'relayd & wait'",
        "/bin/bash -c 'exec > /var/log/x; relayd; true'",
        "/usr/bin/env A=1 /bin/dash -c 'relayd'",
        "/bin/bash -c 'f() { relayd; }; f'",
        "/usr/bin/flock /run/x relayd",
        "/usr/bin/unshare -pf relayd",
    ] {
        assert_eq!(starting(start, HUP), found(hits, Severity::Error), "{start}");
        let always =
            starting(start, &format!("Restart=always\nType=notify\nNotifyAccess=all\n{HUP}"));
        assert!(always.contains(&(hits.to_owned(), Severity::Warning)), "{start}: {always:?}");
    }
    let by_systemd = "Type=notify-reload\nNotifyAccess=all\n";
    for start in ["/bin/sh -c 'relayd; true'", "/usr/bin/flock /run/x relayd"] {
        assert_eq!(starting(start, by_systemd), found(hits, Severity::Error), "{start}");
    }
    let lost = |start: &str, text: &str| {
        let service =
            format!("Type=notify\nNotifyAccess=all\nExecStart=\nExecStart={start}\n{HUP}");
        let finding = one(&service, hits);
        assert_eq!((finding.severity, finding.drop_in), (Severity::Warning, None), "{start}");
        assert!(finding.consequence.contains(text), "{start}: {}", finding.consequence);
    };
    lost("/usr/sbin/runuser -u web -- relayd", "Every reload is lost");
    lost("/bin/su -c relayd web", "Every reload is lost");
    lost("/usr/bin/timeout 1d relayd", "Every reload after the first is lost");
    lost("/bin/bash -c 'trap : HUP; relayd'", "does nothing for as long as");
    for start in [
        "/bin/sh -c 'trap \"kill -HUP $!\" HUP; relayd & wait'",
        "/bin/sh -c 'trap \"\" HUP; relayd; true'",
        "/bin/sh -c 'exec relayd'",
    ] {
        assert!(!starting(start, HUP).iter().any(|(id, _)| id == hits), "{start}");
    }
    let by_pid_file = "ExecReload=/bin/sh -c 'kill -HUP $(cat /run/relayd.pid)'\n";
    assert_eq!(starting("/bin/sh -c 'relayd; true'", by_pid_file), found(AWAITED, Severity::Error));
}

#[test]
fn a_reload_that_signals_no_process_is_named_and_nothing_else_is() {
    let nobody = "reload-reaches-nobody";
    for reload in [
        "/usr/bin/pkill -HUP $MAINPID",
        "/usr/bin/killall -s HUP ${MAINPID}",
        "/bin/kill -HUP -- -$MAINPID",
        "/bin/kill -HUP -$MAINPID",
        "/bin/kill -HUP $(cat /run/x)",
        "/bin/kill -HUP `cat /run/x`",
        ":/bin/kill -HUP $MAINPID",
        "/bin/kill -HUP $$MAINPID",
        "/bin/kill -HUP",
        "/bin/sh -c 'kill -HUP -- $MAINPID'",
        "/usr/bin/pkill -HUP my-long-daemon-name",
        "/usr/bin/pkill -HUP",
        "/usr/bin/pkill -HUP relayd other",
        "/usr/bin/killall -HUP",
        "/usr/bin/systemctl kill -s HUP",
    ] {
        let service = format!("ExecReload={reload}\n");
        let all = ids(&service);
        // Once mended, those arrive.
        let arrives = [" -- -$MAINPID", " -HUP -$MAINPID", ":/bin/kill", "$$MAINPID"];
        let arrives = arrives.iter().any(|it| reload.contains(it)) && !reload.contains("sh -c");
        let also = arrives.then(|| (AWAITED.to_owned(), Severity::Warning));
        let expected = found(nobody, Severity::Warning).into_iter().chain(also);
        assert_eq!(all, expected.collect::<Vec<_>>(), "{reload}");
        let text = one(&service, nobody).drop_in.unwrap().text;
        assert!(text.contains("ExecReload=/bin/kill -HUP $MAINPID"), "{text}");
        // It would reach the shell, and kill it.
        let in_shell = format!("ExecStart=\nExecStart=/bin/sh -c 'relayd; true'\n{service}");
        assert_eq!(one(&in_shell, nobody).drop_in, None, "{reload}");
    }
    for reload in [
        "/bin/sh -c 'kill -SIGHUP $MAINPID'",
        "/bin/sh -c 'kill --signal HUP $MAINPID'",
        "/bin/kill -$SIG $MAINPID",
    ] {
        let service = format!("ExecReload={reload}\n");
        assert_eq!(ids(&service), found(nobody, Severity::Warning), "{reload}");
        assert_eq!(one(&service, nobody).drop_in, None, "{reload}");
    }
    let oneshot = format!("Type=oneshot\nRemainAfterExit=yes\n{HUP}");
    assert_eq!(ids(&oneshot), found(nobody, Severity::Warning));
    assert_eq!(one(&oneshot, nobody).drop_in, None);
    let group = ids("ExecReload=/bin/kill -HUP -- -${MAINPID}\n");
    assert!(!group.iter().any(|(id, _)| id == nobody), "{group:?}");
}

#[test]
fn what_a_stop_command_makes_of_a_clean_death_counts() {
    let service = |restart: &str, stop: &str| format!("Restart={restart}\nExecStop={stop}\n{HUP}");
    let kill = "/bin/kill -TERM $MAINPID";
    let failing = one(&service("on-failure", kill), AWAITED);
    assert_eq!((failing.severity, failing.drop_in), (Severity::Warning, None));
    assert!(failing.consequence.contains("Restart=on-failure starts it again"));
    let ignored = service("on-failure", "-/bin/kill -TERM $MAINPID");
    assert_eq!(ids(&ignored), found(AWAITED, Severity::Error));
    assert_eq!(ids(&service("no", kill)), found(AWAITED, Severity::Error));
    let other = service("on-failure", "/usr/sbin/relayctl quit");
    assert_eq!(ids(&other), found(AWAITED, Severity::Warning));
    assert!(unknown(&other).unwrap().contains("relayctl"));
    assert_eq!(unknown(&service("always", "/usr/sbin/relayctl quit")), None);
}

#[test]
fn a_signal_to_every_process_is_named() {
    let all = "reload-signals-all";
    for reload in [
        "/usr/bin/systemctl kill -s HUP %n",
        "/bin/systemctl --signal=SIGHUP kill a",
        "/bin/kill -HUP -- -${MAINPID}",
        "/bin/sh -c 'kill -HUP -$MAINPID'",
        "/usr/bin/pkill -HUP -g ${MAINPID}",
        "/bin/kill -HUP -1",
        "/usr/sbin/killall5 -1",
    ] {
        let ids = ids(&format!("Type=notify\nExecReload={reload}\n"));
        assert_eq!(ids, found(all, Severity::Warning), "{reload}");
    }
    for reload in [
        "/usr/bin/systemctl kill --kill-who=main -s HUP %n",
        "/usr/bin/systemctl kill --kill-whom main -s HUP %n",
        "/usr/bin/systemctl kill -s HUP other.service",
        "/usr/bin/systemctl kill -s WINCH %n",
    ] {
        assert_eq!(ids(&format!("Type=notify\nExecReload={reload}\n")), [], "{reload}");
    }
}

#[test]
fn what_the_text_does_not_tell_is_said_to_be_unknown() {
    for (service, what) in [
        ("ExecReload=/bin/kill -${SIG} $MAINPID\n", "which signal"),
        ("ExecReload=/usr/sbin/nginx -s reload\n", "it runs nginx"),
        ("ExecReload=/usr/bin/pkill -HUP other\n", "pkill looks for 'other'"),
        ("ExecReload=/bin/sh -c 'if a; then kill $MAINPID; fi'\n", "whether its reload sends TERM"),
        (
            "ExecStart=\nExecStart=/bin/bash -c 'a; exit ${X[0]}'\nExecReload=/bin/kill -HUP $MAINPID\n",
            { "which process a reload's HUP meets" },
        ),
        ("ExecReload=/bin/sh -c 'kill -$SIG $MAINPID'\n", "which signal"),
        ("ExecReload=/bin/sh -c 'kill -s $(cat /etc/sig) $MAINPID'\n", "which signal"),
        ("ExecReload=/bin/kill -HUP $OTHER\n", "whom"),
        ("ExecReload=/bin/sh -c 'kill -HUP $MAINPID'\"\"' ; if'\n", "can't be read"),
        ("ExecReload=/bin/sh -c $SCRIPT\n", "can't be read"),
    ] {
        assert_eq!(ids(service), [], "{service}");
        assert!(unknown(service).unwrap().contains(what), "{service}: {:?}", unknown(service));
    }
    let start = "Type=notify\nExecStart=\nExecStart=/bin/sh -c 'if a; then exec b; fi; c'\n";
    assert_eq!(ids(start), []);
    assert!(unknown(start).unwrap().contains("which process speaks"));
    assert_eq!(unknown(HUP), None);
}

#[test]
fn a_users_unit_is_mended_in_their_own_directory() {
    let place = Location {
        directory: "/home/ada/.config/systemd/user".into(),
        options: "--user ada".to_owned(),
    };
    let subject = subject(HUP);
    let finding = &findings(&Case::new(&subject, &place))[0];
    let path = &finding.drop_in.as_ref().unwrap().path;
    assert_eq!(path, "/home/ada/.config/systemd/user/a.service.d/50-reload-not-awaited.conf");
    let command = "sigready trace --user ada --restart --reload-during-start a.service";
    assert!(finding.mend.ends_with(command), "{}", finding.mend);
}

#[test]
fn a_printed_command_can_be_given_to_a_shell() {
    let place = Location {
        directory: "/etc/systemd/system".into(),
        options: format!("--root {}", shell_word("/srv/ro ot")),
    };
    for (unit, expected) in [
        ("a@.service", "--root '/srv/ro ot' --restart a@INSTANCE.service"),
        (r"a\x2db.service", r"--root '/srv/ro ot' --restart 'a\x2db.service'"),
        ("it's.service", r"--root '/srv/ro ot' --restart 'it'\''s.service'"),
        ("a@1.service", "--root '/srv/ro ot' --restart a@1.service"),
    ] {
        assert_eq!(place.trace(unit, ""), format!("sigready trace {expected}"), "{unit}");
    }
}

#[test]
fn a_signal_that_the_unit_names_in_a_variable_is_known() {
    let by_variable = "Environment=SIG=HUP\nExecReload=/bin/kill -${SIG} $MAINPID\n";
    assert_eq!(ids(by_variable), found(AWAITED, Severity::Error));
    let by_file = format!("EnvironmentFile=/etc/x\n{by_variable}");
    assert_eq!(ids(&by_file), []);
    assert!(unknown(&by_file).unwrap().contains("which signal"));
}

#[test]
fn notify_access_is_too_wide_for_any_process_and_too_narrow_for_a_child() {
    let wide = found("notify-access-wide", Severity::Warning);
    assert_eq!(ids("Type=notify\nNotifyAccess=all\n"), wide);
    for start in [
        "/bin/sh -c 'prepare; daemon'",
        "/bin/bash -c 'systemd-notify --ready; daemon; true'",
        "/usr/bin/flock /run/x daemon",
        "/usr/sbin/runuser -u web -- daemon",
        "/usr/bin/setsid daemon",
    ] {
        assert_eq!(starting(start, "Type=notify\nNotifyAccess=all\n"), [], "{start}");
    }
    // A worker of it may be what speaks, as squid's does.
    assert_eq!(one("Type=notify\nNotifyAccess=all\n", "notify-access-wide").drop_in, None);
    let narrow = found("notify-access-narrow", Severity::Warning);
    for start in [
        "/bin/sh -c 'prepare; daemon'",
        "/bin/sh -c 'bundle exec puma'",
        "/bin/bash -c 'exec > /x 2>&1; daemon; echo over'",
        "/bin/bash -c 'daemon 2>&1 | logger'",
        "/bin/bash -c 'trap cleanup EXIT TERM; daemon'",
        "/bin/bash -c 'daemon > /var/log/x'",
        "/bin/bash -c '(exec daemon)'",
        "/usr/bin/timeout 1d daemon",
        "/usr/bin/flock /run/x daemon",
        "/bin/su -c daemon web",
        "/usr/bin/tini -- daemon",
        "/usr/sbin/runuser -u web -- daemon",
        "/usr/bin/script -qc daemon /dev/null",
        "/usr/bin/dbus-run-session daemon",
    ] {
        assert_eq!(starting(start, "Type=notify\n"), narrow, "{start}");
    }
    for start in [
        "/bin/sh -c 'prepare; exec daemon'",
        "/bin/sh -c 'cd /srv && exec daemon'",
        "/bin/sh -c '[ -e /x ] && exec a; exec b'",
        "/bin/sh -c 'exec > /x; exec env A=1 daemon'",
        "/bin/bash -c 'source /etc/x; daemon --foreground'",
        "/bin/bash -lc daemon",
        "/usr/bin/daemon -c x",
        "/usr/bin/env A=1 daemon",
        "/bin/bash -c 'daemon & systemd-notify --ready; wait'",
        "/bin/sh /usr/lib/daemon.sh",
    ] {
        assert_eq!(starting(start, "Type=notify\n"), [], "{start}");
    }
    let shell = "/bin/bash -c 'daemon & systemd-notify --ready; wait'";
    assert_eq!(starting(shell, "Type=notify\nUser=web\n"), narrow);
    let watchdog = starting("/bin/sh -c 'a; daemon -F; echo $?'", "WatchdogSec=15\n");
    assert_eq!(watchdog, narrow);
    assert_eq!(starting("/bin/sh -c 'a; daemon -F'", "WatchdogSec=0\n"), []);
}

#[test]
fn a_notify_unit_whose_start_has_no_limit_is_named() {
    let unlimited = found("start-without-limit", Severity::Warning);
    assert_eq!(ids("Type=notify\nTimeoutStartSec=infinity\n"), unlimited);
    assert_eq!(ids("Type=notify\nTimeoutSec=0\n"), unlimited);
    assert_eq!(ids("Type=notify\nTimeoutStartSec=90\n"), []);
    assert_eq!(ids("Type=notify\n"), []);
    assert_eq!(ids("TimeoutStartSec=0\n"), []);
}

#[test]
fn the_worst_unit_comes_first() {
    let subject = |name: &str, service: &str| Subject { name: name.to_owned(), ..subject(service) };
    let units = vec![
        subject("b.service", &unit("simple", "always", "HUP")),
        subject("c.service", &unit("simple", "no", "HUP")),
        subject("a.service", &unit("simple", "always", "HUP")),
        subject("d.service", &unit("oneshot", "no", "")),
    ];
    let lint = LintReport::of(units, &system());
    let names: Vec<_> = lint.units.iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(names, ["c.service", "a.service", "b.service"]);
    assert_eq!(lint.examined, 4);
}

#[test]
fn however_long_a_command_is_what_is_said_of_it_is_short() {
    let long = "A".repeat(100_000);
    for service in [
        format!("ExecReload=/bin/kill -{long} $MAINPID\n"),
        format!("ExecReload=/bin/kill -HUP {long}\n"),
        format!("ExecReload=/bin/kill -HUP $MAINPID{long}\n"),
        format!("ExecReload=/bin/kill -HUP $(cat {long})\n"),
        format!("ExecReload=/usr/bin/pkill -HUP {long}\n"),
        format!("ExecReload=/bin/sh -c 'kill -HUP $MAINPID; {long}'\n"),
        format!("Type=simple\nRestart={long}\nExecReload=/bin/kill -HUP $MAINPID\n"),
        format!("ExecStart=/usr/bin/{long}\nExecReload=/bin/kill -HUP $MAINPID\n"),
    ] {
        let lint = LintReport::of(vec![subject(&service)], &system());
        for finding in lint.findings() {
            for text in [&finding.message, &finding.consequence, &finding.mend] {
                assert!(text.chars().count() <= MAX_TEXT, "{}", finding.id);
            }
        }
        for unknown in &lint.unknown {
            assert!(unknown.what.chars().count() <= MAX_TEXT, "{service:.40}");
        }
        let facts = subject(&service).facts;
        for line in facts.exec_reload.iter().chain(&facts.exec_start).flatten() {
            assert!(line.chars().count() <= 8_192, "{service:.40}");
        }
    }
}

#[test]
fn what_the_limit_of_starts_forbids_starts_nothing_again() {
    let limited = |restart: &str| {
        let service = format!("Type=simple\nRestart={restart}\n{HUP}[Unit]\nStartLimitBurst=1\n");
        one(&service, AWAITED)
    };
    for restart in ["always", "on-success"] {
        let finding = limited(restart);
        assert_eq!(finding.severity, Severity::Error, "{restart}");
        assert!(finding.consequence.contains("start-limit-hit"), "{}", finding.consequence);
        let drop_in = finding.drop_in.unwrap().text;
        assert!(drop_in.starts_with("[Unit]\n") && drop_in.contains("StartLimitBurst=5"));
    }
    // Which releases keep the result of a failure is not known from files.
    let failed = "Type=simple\nRestart=on-failure\nExecReload=/bin/kill -USR1 $MAINPID\n";
    let failed = one(&format!("{failed}[Unit]\nStartLimitBurst=1\n"), AWAITED);
    assert!(
        failed
            .consequence
            .ends_with("(result 'signal', or 'start-limit-hit' under newer releases of systemd)."),
        "{}",
        failed.consequence
    );
    let drop_in = limited("on-failure").drop_in.unwrap().text;
    for line in ["[Service]\n", "RestartForceExitStatus=SIGHUP\n", "[Unit]\n", "StartLimitBurst=5"]
    {
        assert!(drop_in.contains(line), "{line}: {drop_in}");
    }
    let free = one(&format!("Type=simple\nRestart=always\n{HUP}"), AWAITED);
    assert_eq!((free.severity, free.drop_in), (Severity::Warning, None));
}
