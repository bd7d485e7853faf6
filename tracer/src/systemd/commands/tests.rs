//! What commands mean, and real shells' word on it.

use std::{process, time::Instant};

use super::*;
use crate::model::signal::Signal;

fn parsed(line: &str) -> Vec<Command> {
    commands(&[line.to_owned()], str::to_owned)
}

fn sent(line: &str) -> Vec<(Option<Signal>, Target)> {
    let reload = reload(&parsed(line), Some("a.service"), &mut Budget::default());
    let sent = reload.sent().map(|sent| {
        let signal = match sent.signal {
            SentSignal::Known(signal) => Some(signal),
            SentSignal::Unknown(_) => None,
        };
        (signal, sent.target.clone())
    });
    sent.collect()
}

#[test]
fn kill_names_its_signal_in_many_ways() {
    for line in [
        "/bin/kill -HUP $MAINPID",
        "/bin/kill -SIGHUP $MAINPID",
        "/bin/kill -1 $MAINPID",
        "/bin/kill -s HUP $MAINPID",
        "/bin/kill -sHUP $MAINPID",
        "/bin/kill -HUP -- $MAINPID",
        "/usr/bin/kill --signal HUP $MAINPID",
        "/usr/bin/kill --signal=SIGHUP ${MAINPID}",
        "/usr/bin/kill --verbose -s HUP $MAINPID",
        "kill -n 1 $MAINPID",
        "/bin/sh -c 'exec /bin/kill -s hup $MAINPID'",
        "/bin/sh -ec 'kill -HUP \"$MAINPID\"'",
        "/bin/bash -o pipefail -c 'kill -HUP ${MAINPID}'",
        "/bin/sh -c 'sig=HUP; kill -$sig $MAINPID'",
        "/bin/sh -c 'kill -HUP $(systemctl show -p MainPID --value a)'",
        "/bin/sh -c 'for s in HUP; do kill -s $s $MAINPID; done'",
        "/bin/sh -c 'reload() { kill -HUP $MAINPID; }; reload'",
        "/usr/bin/env A=1 /bin/kill -HUP $MAINPID",
        "/usr/bin/timeout 5 /bin/kill -HUP $MAINPID",
        "/usr/bin/sudo -u web /bin/kill -HUP $MAINPID",
        "/bin/su -c 'kill -HUP $MAINPID' web",
        "/usr/sbin/runuser -u web -- /bin/kill -HUP $MAINPID",
        "/bin/sh -c \"sh -c 'kill -HUP $MAINPID'\"",
        "@/bin/kill kill -HUP $MAINPID",
        "/usr/bin/systemctl kill --kill-who=main --signal=HUP %n.service a",
    ] {
        let found: Vec<_> = sent(line);
        assert_eq!(found, [(Some(Signal::HUP), Target::Main)], "{line}");
    }
    assert_eq!(sent("/bin/kill -USR2 $MAINPID"), [("USR2".parse().ok(), Target::Main)]);
    assert_eq!(sent("/bin/kill $MAINPID"), [(Some(Signal::TERM), Target::Main)]);
    assert_eq!(sent("/bin/kill -RTMIN+3 $MAINPID"), [("RTMIN+3".parse().ok(), Target::Main)]);
}

#[test]
fn what_only_asks_sends_nothing() {
    for line in [
        "/bin/kill -0 $MAINPID",
        "/bin/kill -s 0 $MAINPID",
        "/bin/kill -l HUP",
        "/usr/bin/pkill -0 relayd",
        "/sbin/start-stop-daemon --stop --test --pidfile /x",
        "/sbin/start-stop-daemon --start --exec /x",
        "/bin/echo kill -HUP $MAINPID",
        "/bin/sh -c 'echo \"kill -HUP $MAINPID\"'",
        "/bin/sh -c ': kill -HUP $MAINPID # kill -TERM 1'",
        "/usr/sbin/nginx -s reload",
        "/usr/sbin/apachectl graceful",
        "/bin/sh -c 'echo reload > /run/x.socket'",
        "/bin/sh -c 'exit 0; kill -HUP $MAINPID'",
        "/usr/bin/systemctl kill -s HUP other.service",
    ] {
        assert_eq!(sent(line), [], "{line}");
    }
}

#[test]
fn the_first_that_reaches_the_service_is_the_reload() {
    let signal = |lines: &[&str]| {
        let argvs: Vec<Vec<String>> =
            lines.iter().flat_map(|line| parsed(line)).map(|command| command.argv).collect();
        crate::systemd::reload::signal(&argvs)
    };
    let usr2 = "USR2".parse().ok();
    assert_eq!(signal(&["/usr/sbin/haproxy -c -f x", "/bin/kill -USR2 $MAINPID"]), usr2);
    assert_eq!(signal(&["/usr/sbin/haproxy -c ; /bin/kill -USR2 $MAINPID"]), usr2);
    assert_eq!(signal(&["/bin/sh -c 'kill -0 $MAINPID && kill -USR2 $MAINPID'"]), usr2);
    assert_eq!(signal(&["/bin/sh -c 'kill -USR2 $MAINPID; sleep 2; kill -0 $MAINPID'"]), usr2);
    assert_eq!(signal(&["/bin/sh -c 'rndc reload >/dev/null 2>&1 || kill -USR2 $MAINPID'"]), usr2);
    assert_eq!(signal(&["/bin/kill -$SIG $MAINPID ; /bin/kill -USR2 $MAINPID"]), None);
    assert_eq!(signal(&["/usr/bin/pkill -USR2 $MAINPID"]), None);
    assert_eq!(signal(&[]), None);
}

#[test]
fn the_target_is_told_apart() {
    let named = |name: &str| Target::Named(name.to_owned());
    for (line, target) in [
        ("/usr/bin/pkill -HUP -F /run/x.pid", Target::PidFile),
        ("/bin/sh -c 'exec pkill -HUP -L -F /run/x.pid'", Target::PidFile),
        ("/bin/sh -c 'test -f /x && kill -HUP $(cat /run/x.pid)'", Target::PidFile),
        ("/bin/sh -c 'kill -HUP `cat /run/x.pid`'", Target::PidFile),
        ("/bin/sh -c 'kill -HUP $(< /run/x.pid)'", Target::PidFile),
        ("/bin/sh -c 'p=$(cat /run/x.pid); kill -HUP \"$p\"'", Target::PidFile),
        ("/sbin/start-stop-daemon --stop --signal HUP --pidfile /run/x", Target::PidFile),
        ("/sbin/start-stop-daemon -K -s HUP -p /run/x", Target::PidFile),
        ("/sbin/start-stop-daemon --stop --retry HUP/5/TERM --exec /x", named("/x")),
        ("/sbin/start-stop-daemon --signal=HUP --name relayd", named("relayd")),
        ("/usr/bin/pkill -HUP relayd", named("relayd")),
        ("/usr/bin/pkill --signal HUP -x relayd", named("relayd")),
        ("/usr/bin/pkill -HUP -u web", named("web")),
        ("/usr/bin/killall -q -s HUP relayd", named("relayd")),
        ("/usr/bin/killall -HUP relayd", named("relayd")),
        ("/bin/sh -c 'kill -HUP $(pidof relayd)'", named("relayd")),
        ("/usr/bin/pkill -HUP -g $MAINPID", Target::Group),
        ("/bin/kill -HUP -- -${MAINPID}", Target::Group),
        ("/bin/sh -c 'kill -HUP -$MAINPID'", Target::Group),
        ("/usr/bin/systemctl kill -s HUP a", Target::Unit),
        ("/usr/bin/pkill -HUP $MAINPID", Target::Nobody),
    ] {
        assert_eq!(sent(line), [(Some(Signal::HUP), target)], "{line}");
    }
}

/// Whether the last program of the script has the pid of the shell, by the shell itself.
fn executes(shell: &str, script: &str) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("prog");
    std::fs::write(&program, "#!/bin/sh\necho $$ > $PIDFILE\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let pid_file = directory.path().join("pid");
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let mut child = process::Command::new(shell)
        .args(["-c", script])
        .env("PATH", path)
        .env("PIDFILE", &pid_file)
        .stdout(process::Stdio::null())
        .stderr(process::Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{shell}: {error}"));
    child.wait().unwrap();
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    pid.trim() == child.id().to_string()
}

#[test]
fn which_process_the_program_becomes_is_what_real_shells_make_of_it() {
    let scripts = [
        "prog",
        "prog;",
        "true; prog",
        "true\nprog",
        "true\n\nprog\n",
        "prog # why",
        "A=1 prog",
        "prog \"$(echo a)\"",
        "true && prog",
        "false || prog",
        "true; true && prog",
        "true\ntrue && prog",
        "true && true\nprog",
        "true && true && prog",
        "true && true || prog && prog",
        "true & prog",
        "true | cat; prog",
        "if true; then :; fi; prog",
        "a() { :; }; prog",
        "prog > /dev/null",
        "prog 2>&1",
        "! prog",
        "{ prog; }",
        "(prog)",
        "if true; then prog; fi",
        "for i in 1; do prog; done",
        "case a in a) prog;; esac",
        "true | prog",
        "prog | cat",
        "prog & wait",
        "prog; true",
        "set -e; prog",
        "cd /; command prog",
        "trap : USR1; prog",
        "trap '' USR1; prog",
        "trap : USR1; trap - USR1; prog",
        "trap : EXIT; prog",
        "exec prog",
        "exec 3> /dev/null; prog; true",
        "exec > /dev/null; exec prog",
        "true && exec prog",
        "cd / && A=1 exec prog",
        "(exec prog); true",
        "exec prog > /dev/null",
        "{ exec prog; }",
        "env A=1 prog",
        "exec env A=1 nice prog",
        "eval 'exec prog'",
    ];
    for shell in ["bash", "dash"] {
        for script in scripts {
            let quoted = script.replace('\'', r"\'").replace('\n', r"\n").replace('$', "$$");
            let command = parsed(&format!("/bin/{shell} -c '{quoted}'")).remove(0);
            let said = match main_process(&command, &mut Budget::default()) {
                MainProcess::Program { .. } => true,
                MainProcess::Stays(_) => false,
                // Nothing is claimed.
                MainProcess::Unknown(_) => continue,
                MainProcess::Leaves(by) => panic!("{by}"),
            };
            assert_eq!(said, executes(shell, script), "{shell} -c {script:?}");
        }
    }
}

#[test]
fn text_that_is_there_to_hurt_the_reader_is_left_unread_in_time() {
    let begun = Instant::now();
    let nested = |open: &str, close: &str, depth| open.repeat(depth) + "a" + &close.repeat(depth);
    let hostile = [
        nested("$(", ")", 5_000),
        nested("$(", ")", 47),
        nested("(", ")", 20_000),
        nested("{ ", "; }", 399),
        nested("if a; then ", "; fi", 3_000),
        nested("case x in x) ", ";; esac", 3_000),
        nested("while ", "; do b; done", 2_000),
        nested("${a:-", "}", 10_000),
        nested("<(", ")", 5_000),
        "${".repeat(20_000),
        "$((".repeat(10_000),
        "a[".repeat(20_000),
        "[[ ".repeat(10_000),
        "`".repeat(30_000),
        "\\".repeat(60_000),
        "<".repeat(60_000),
        "cat <<E\n".repeat(5_000),
        "a;".repeat(30_000),
        "a && ".repeat(10_000),
        "a | ".repeat(10_000),
        "{a,b}".repeat(10_000),
        "sh -c ".repeat(10_000),
        "env ".repeat(10_000) + "kill -HUP $MAINPID",
        "a".repeat(1 << 20),
        "f() { f; }; ".repeat(90),
    ];
    for script in hostile {
        let line = format!("/bin/sh -c '{script}'");
        let commands = parsed(&line);
        let begun = Instant::now();
        let _ = reload(&commands, None, &mut Budget::default());
        for command in &commands {
            let _ = main_process(command, &mut Budget::default());
        }
        let start: String = script.chars().take(20).collect();
        assert!(begun.elapsed().as_millis() < 3_000, "{start}: {:?}", begun.elapsed());
    }
    // A unit with many such lines costs no more than one.
    let lines = vec![format!("/bin/sh -c '{}'", nested("$(", ")", 40)); 10_000];
    let _ = reload(&commands(&lines, str::to_owned), None, &mut Budget::default());
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}
