//! Which signals commands send and to whom, and how much of their text is read.

mod main_processes;
mod scripts;

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
        let target = match &sent.target {
            Target::Named(name, _) => named(name),
            other => other.clone(),
        };
        (signal, target)
    });
    sent.collect()
}

/// Those of a name, however it is looked for.
fn named(name: &str) -> Target {
    Target::Named(name.to_owned(), Match::Other)
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
        "/bin/bash -c 'kill -n 1 $MAINPID'",
        "/bin/bash -c 'kill -SIGHUP -- $MAINPID'",
        "/bin/sh -c '/bin/kill -SIGHUP -- $MAINPID'",
        "/bin/sh -c 'env kill --signal HUP $MAINPID'",
        "/bin/sh -c 'kill -s HUP -- $MAINPID'",
        "/bin/sh -c 'kill -shup $MAINPID'",
        "/bin/sh -c 'kill -1 $MAINPID'",
        "/bin/sh -c 'echo $MAINPID | xargs -r kill -HUP'",
        "/bin/sh -c 'echo $MAINPID | xargs -I{} kill -s HUP {}'",
        "/bin/sh -c 'false && kill -TERM $MAINPID; kill -HUP $MAINPID'",
        "/bin/sh -c 'stop() { kill -TERM $MAINPID; }; kill -HUP $MAINPID'",
        "/bin/sh -c 'kill -0 $MAINPID && kill -HUP $MAINPID; true'",
        "/bin/sh -c 'true || kill -TERM $MAINPID && kill -HUP $MAINPID'",
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
        "/bin/kill -a --timeout 5000 TERM -q 7 -r -HUP $MAINPID",
        "/bin/kill --queue=7 -HUP $MAINPID",
        "/bin/sh -c 'kill -HUP $(echo $MAINPID)'",
        "/bin/sh -c 'kill -HUP \"`systemctl show -P MainPID a`\"'",
        "/usr/bin/systemctl kill -sHUP --kill-whom=main-fail a.service",
        "/usr/bin/systemctl -M box kill -s HUP --kill-whom main a",
        "/usr/bin/systemctl kill --kill-who=main --signal=HUP %n.service a",
        "/bin/bash -c \"kill -s $\\\"HUP\\\" $MAINPID\"",
        "/bin/bash -c \"kill -s $'HUP' $MAINPID\"",
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
        "/bin/kill -s0 $MAINPID",
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
        "/usr/bin/systemctl kill --kill-whom=control -s HUP a.service",
        "/usr/bin/systemctl show a",
        "/bin/kill -L",
        "/bin/kill --table $MAINPID",
        "/bin/kill -p $MAINPID",
        "/bin/sh -c 'kill -HUP $$$$'",
        "/bin/sh -c 'kill -HUP $PPID'",
        "/bin/sh -c 'kill -HUP $(systemctl show -p MainPID --value other)'",
        "/bin/sh -c 'relayd & kill -HUP $!'",
        "/bin/sh -c 'kill -HUP %1'",
        "/bin/kill -HUP 1",
        "/usr/bin/pkill -l",
        "/usr/bin/pkill -HUP -P $MAINPID",
        "/usr/bin/killall --list",
        "/usr/bin/killall -s 0 relayd",
        "/sbin/start-stop-daemon --pidfile /x",
        "/sbin/start-stop-daemon --start --signal HUP --exec /x",
        "/sbin/start-stop-daemon --stop --signal 0 --pidfile /x",
        "/sbin/start-stop-daemon --status --signal HUP --pidfile /x",
    ] {
        assert_eq!(sent(line), [], "{line}");
    }
}

#[test]
fn nothing_is_run_of_a_script_after_its_shell_has_become_another_program() {
    let script = |text: &str| {
        let sent = sent(&format!("/bin/sh -c '{text}'"));
        assert!(sent.iter().all(|(_, target)| *target == Target::Main), "{text}");
        sent.into_iter().map(|(signal, _)| signal).collect::<Vec<_>>()
    };
    let (hup, usr2) = (Some(Signal::HUP), "USR2".parse().ok());
    assert_eq!(script("exec kill -USR2 $MAINPID; kill -HUP $MAINPID"), [usr2]);
    // It only redirects, or is not in place of the shell, or may not come to it.
    assert_eq!(script("exec > /dev/null; kill -HUP $MAINPID"), [hup]);
    assert_eq!(script("env A=1 kill -USR2 $MAINPID; kill -HUP $MAINPID"), [usr2, hup]);
    let perhaps = "test -e /x && exec kill -USR2 $MAINPID; kill -HUP $MAINPID";
    assert_eq!(script(perhaps), [usr2, hup]);
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
    assert_eq!(signal(&["/bin/kill -${SIG} $MAINPID ; /bin/kill -USR2 $MAINPID"]), None);
    assert_eq!(signal(&["/usr/bin/pkill -USR2 $MAINPID"]), None);
    assert_eq!(signal(&[]), None);
}

#[test]
fn the_target_is_told_apart() {
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
        ("/usr/bin/pkill -HUP $MAINPID", Target::Nobody(Nobody::PidForName)),
        ("/usr/bin/pkill -HUP 4711", Target::Nobody(Nobody::PidForName)),
        ("/usr/bin/pkill -HUP -F /run/x 4711", Target::Nobody(Nobody::PidForName)),
        ("/bin/kill -HUP", Target::Nobody(Nobody::NoPid)),
        ("/usr/bin/pkill -HUP", Target::Nobody(Nobody::NoName)),
        ("/usr/bin/killall -HUP", Target::Nobody(Nobody::NoName)),
        ("/usr/bin/systemctl kill -s HUP", Target::Nobody(Nobody::NoUnit)),
        ("/usr/bin/pkill -HUP relayd other", refused("other")),
        ("/usr/sbin/killall5 -HUP", Target::Host),
        ("/bin/kill -HUP -1", Target::Host),
        ("/bin/kill -s HUP -- -1", Target::Host),
        ("/bin/sh -c 'kill -HUP -1'", Target::Host),
        ("/bin/kill -HUP ''", Target::Nobody(Nobody::NoPid)),
        (":/bin/kill -HUP ''", Target::Nobody(Nobody::NoPid)),
        ("/bin/kill -HUP -- -", Target::Nobody(Nobody::NoPid)),
        ("/bin/sh -c 'kill -HUP'", Target::Nobody(Nobody::NoPid)),
        ("/bin/kill -HUP %i", Target::Unknown("%i".to_owned())),
        ("/bin/sh -c 'kill -HUP -- $MAINPID'", refused("--")),
        ("/bin/sh -c 'kill -HUP -- -$MAINPID'", refused("--")),
        ("/bin/sh -c 'kill -HUP foo $MAINPID'", refused("foo")),
        ("/bin/sh -c 'kill -s HUP -$MAINPID'", refused("-$MAINPID")),
        ("/bin/sh -c 'cat /run/x | xargs kill -HUP'", Target::PidFile),
        ("/bin/sh -c 'other | xargs kill -HUP'", Target::Unknown("$(other)".to_owned())),
        ("/usr/bin/xargs -a /run/x kill -HUP", Target::Unknown("…".to_owned())),
        (
            "/usr/bin/pkill -HUP my-long-daemon-name",
            Target::Nobody(Nobody::LongName("my-long-daemon-name".to_owned())),
        ),
        ("/usr/bin/pkill -f -HUP my-long-daemon-name", named("my-long-daemon-name")),
        ("/usr/bin/killall -HUP my-long-daemon-name", named("my-long-daemon-name")),
        ("/usr/bin/pkill --signal=HUP --pidfile=/run/x", Target::PidFile),
        ("/usr/bin/pkill -HUP --pidfile /run/x", Target::PidFile),
        ("/usr/bin/pkill -HUP -F/run/x", Target::PidFile),
        ("/usr/bin/pkill -HUP -s $MAINPID", Target::Group),
        ("/usr/bin/pkill -HUP -o relayd", named("relayd")),
        ("/usr/bin/pkill -HUP -U web -G web relayd", named("relayd")),
        ("/usr/bin/pkill -HUP -f -- -relayd", named("-relayd")),
        ("/usr/bin/pkill -fx -HUP relayd", named("relayd")),
        ("/usr/bin/pkill -HUP --${HOW} relayd", named("relayd")),
        ("/usr/bin/killall -o 1d -HUP relayd", named("relayd")),
        ("/usr/bin/killall -g -HUP relayd", named("relayd")),
        ("/usr/bin/killall -s HUP -e relayd", named("relayd")),
        ("/usr/bin/pkill -HUP a-name-of-15-by", named("a-name-of-15-by")),
        ("/usr/bin/pkill -HUP a-name-of-16-byt", {
            Target::Nobody(Nobody::LongName("a-name-of-16-byt".to_owned()))
        }),
        ("/usr/bin/killall -r -HUP relayd", named("relayd")),
        ("/usr/bin/killall -e -u web -HUP relayd", named("relayd")),
        ("/usr/bin/killall --signal=HUP relayd", named("relayd")),
        ("/usr/bin/killall --signal HUP relayd", named("relayd")),
        ("/sbin/killproc -HUP relayd", named("relayd")),
        ("/sbin/killproc -p /run/x -HUP relayd", Target::PidFile),
        ("/usr/bin/pkill -p -HUP relayd", named("relayd")),
        ("/usr/bin/kill -HUP relayd", named("relayd")),
        ("/bin/sh -c 'kill -HUP $(pgrep -x relayd)'", named("relayd")),
        ("/bin/sh -c 'kill -HUP $(head -1 /run/x)'", Target::PidFile),
        ("/bin/sh -c 'kill -HUP $(other)'", Target::Unknown("$(other)".to_owned())),
        ("/bin/sh -c 'kill -HUP $(echo $A $MAINPID)'", {
            Target::Unknown("$(echo $A $MAINPID)".to_owned())
        }),
        ("/bin/sh -c 'kill -HUP $(systemctl show a)'", {
            Target::Unknown("$(systemctl show a)".to_owned())
        }),
        ("/sbin/start-stop-daemon --stop --signal HUP --pid $MAINPID", Target::Main),
        ("/sbin/start-stop-daemon -K -s HUP -x /x -p /run/x", Target::PidFile),
        ("/sbin/start-stop-daemon -K -s HUP -p /run/x -x /x", Target::PidFile),
        ("/sbin/start-stop-daemon -K -R -HUP/5 -u web", named("web")),
        ("/sbin/start-stop-daemon -K -s HUP", Target::Unknown("start-stop-daemon".to_owned())),
        ("/usr/bin/systemctl kill --signal HUP a", Target::Unit),
        ("/usr/bin/systemctl --quiet kill -s HUP a.service", Target::Unit),
        ("/usr/bin/systemctl kill -s HUP $UNIT", Target::Unknown("$UNIT".to_owned())),
        ("/usr/bin/systemctl kill -s HUP --kill-whom=${A} a", Target::Unknown("$A".to_owned())),
    ] {
        assert_eq!(sent(line), [(Some(Signal::HUP), target)], "{line}");
    }
    let two = ["one", "two"].map(|name| (Some(Signal::HUP), named(name)));
    assert_eq!(sent("/usr/bin/killall -HUP one two"), two);
}

#[test]
fn a_schedule_that_begins_with_a_time_sends_term() {
    let term = Some(Signal::TERM);
    for line in [
        "/sbin/start-stop-daemon --stop --retry 5 --pidfile /run/x",
        "/sbin/start-stop-daemon --stop --retry=5 --pidfile=/run/x",
        "/sbin/start-stop-daemon --stop --pidfile /run/x -- --signal HUP",
    ] {
        assert_eq!(sent(line), [(term, Target::PidFile)], "{line}");
    }
    assert_eq!(sent("/usr/bin/systemctl kill a"), [(term, Target::Unit)]);
    assert_eq!(sent("/bin/kill -- -${MAINPID}"), [(term, Target::Group)]);
    assert_eq!(sent("/usr/bin/killall relayd"), [(term, named("relayd"))]);
}

fn refused(word: &str) -> Target {
    Target::Nobody(Nobody::Refused(word.to_owned()))
}

#[test]
fn what_the_kill_of_dash_or_bash_does_not_take_is_refused() {
    for (line, word) in [
        ("/bin/sh -c 'kill -SIGHUP $MAINPID'", "-SIGHUP"),
        ("/bin/dash -c 'kill -s SIGHUP $MAINPID'", "-s"),
        ("/bin/sh -c 'kill --signal HUP $MAINPID'", "--signal"),
        ("/bin/sh -c 'kill --signal=HUP $MAINPID'", "--signal=HUP"),
        ("/bin/sh -c 'kill -n 1 $MAINPID'", "-n"),
        ("/bin/sh -c 'command kill -SIGHUP $MAINPID'", "-SIGHUP"),
        ("/bin/sh -c 'kill HUP $MAINPID'", "HUP"),
        ("/bin/bash -c 'kill --signal HUP $MAINPID'", "--signal"),
        ("/bin/kill -n 1 $MAINPID", "-n"),
    ] {
        let targets: Vec<Target> = sent(line).into_iter().map(|(_, target)| target).collect();
        assert_eq!(targets, [refused(word)], "{line}");
    }
}

#[test]
fn what_dash_sends_is_what_dash_takes() {
    for (arguments, arrives) in [
        ("-HUP $MAINPID", true),
        ("-hup $MAINPID", true),
        ("-SIGHUP $MAINPID", false),
        ("-s HUP $MAINPID", true),
        ("-s SIGHUP $MAINPID", false),
        ("-s HUP -- $MAINPID", true),
        ("-sHUP $MAINPID", true),
        ("-HUP -- $MAINPID", false),
        ("-- $MAINPID", true),
        ("--signal HUP $MAINPID", false),
        ("-n 1 $MAINPID", false),
        ("-RTMIN+1 $MAINPID", true),
        ("-HUP foo $MAINPID", false),
        ("-HUP $MAINPID foo", true),
        ("$MAINPID", true),
    ] {
        let script = format!("kill {arguments}");
        let line = format!("/bin/dash -c '{script}'");
        let said = sent(&line).iter().any(|(_, target)| *target == Target::Main);
        assert_eq!(said, arrives, "{line}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let status = std::process::Command::new("dash")
            .args(["-c", &script])
            .env("MAINPID", child.id().to_string())
            .stderr(std::process::Stdio::null())
            .status();
        status.unwrap();
        if arrives {
            assert!(!child.wait().unwrap().success(), "{script}");
        } else {
            assert_eq!(child.try_wait().unwrap(), None, "{script}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

#[test]
fn what_is_meant_for_a_value_and_passed_on_as_it_is_written_reaches_nobody() {
    for (line, expected) in [
        ("/bin/kill -HUP -$MAINPID", "-$MAINPID"),
        ("/bin/kill -HUP -- -$MAINPID", "-$MAINPID"),
        ("/bin/kill -HUP $(cat /run/x)", "$(cat"),
        ("/bin/kill -HUP `cat /run/x`", "`cat"),
        ("/bin/kill -HUP -- -$(cat /run/x)", "-$(cat"),
        ("/bin/kill -HUP $$MAINPID", "$MAINPID"),
        (":/bin/kill -HUP $MAINPID", "$MAINPID"),
        ("/bin/kill -$SIG $MAINPID", "-$SIG"),
    ] {
        let found: Vec<Target> = sent(line).into_iter().map(|(_, target)| target).collect();
        assert_eq!(found, [Target::Nobody(Nobody::Literal(expected.to_owned()))], "{line}");
    }
    assert_eq!(sent("/bin/kill -HUP $MAINPID relayd").len(), 2);
}

#[test]
fn a_name_is_compared_with_what_the_kernel_calls_the_program() {
    let is = |line: &str, program: &str| {
        let reload = reload(&parsed(line), None, &mut Budget::default());
        let target = &reload.sent().next().unwrap().target;
        target.is_program(Some(program), &format!("{program} --fg"))
    };
    for (line, program, expected) in [
        ("pkill -HUP daemon", "/usr/bin/daemon", Some(true)),
        ("pkill -HUP daem", "/usr/bin/daemon", Some(true)),
        ("pkill -HUP ^daemon$", "/usr/bin/daemon", Some(true)),
        ("pkill -x -HUP daem", "/usr/bin/daemon", None),
        ("pkill -HUP other", "/usr/bin/daemon", None),
        ("pkill -HUP app.py", "/usr/bin/python3", None),
        ("pkill -HUP my-long-daemon", "/usr/bin/my-long-daemon-name", Some(true)),
        ("pkill -HUP daemon-name", "/usr/bin/my-long-daemon-name", None),
        ("pkill -f -HUP fg", "/usr/bin/daemon", Some(true)),
        ("pkill --full -HUP fg", "/usr/bin/daemon", Some(true)),
        ("pkill -n -HUP daem", "/usr/bin/daemon", Some(true)),
        ("pkill -uroot -HUP daem", "/usr/bin/daemon", Some(true)),
        ("pkill --exact -HUP daem", "/usr/bin/daemon", None),
        ("pkill --exact -HUP daemon", "/usr/bin/daemon", Some(true)),
        ("pkill -fx -HUP fg", "/usr/bin/daemon", None),
        ("pkill -f -x -HUP '/usr/bin/daemon --fg'", "/usr/bin/daemon", Some(true)),
        ("pkill --exact --full -HUP daemon", "/usr/bin/daemon", None),
        ("pkill -HUP 'd.*n'", "/usr/bin/daemon", None),
        ("killall -HUP my-long-daemon-name", "/opt/my-long-daemon-name", Some(true)),
        ("killall -HUP daem", "/usr/bin/daemon", None),
        ("killall -e -HUP daemon", "/usr/bin/daemon", Some(true)),
        ("killall -r -HUP daemon", "/usr/bin/daemon", None),
        ("killall --regexp -HUP daemon", "/usr/bin/daemon", None),
        ("killall --exact -HUP daemon", "/usr/bin/daemon", Some(true)),
        ("pkill -HUP -u web", "/usr/bin/daemon", None),
        ("sh -c 'kill -HUP $(pidof daemon)'", "/usr/bin/daemon", Some(true)),
        ("sh -c 'kill -HUP $(pgrep -f fg)'", "/usr/bin/daemon", Some(true)),
        ("sh -c 'kill -HUP $(pgrep --full fg)'", "/usr/bin/daemon", Some(true)),
        ("sh -c 'kill -HUP $(pgrep fg)'", "/usr/bin/daemon", None),
        ("sh -c 'kill -HUP $(pgrep daem)'", "/usr/bin/daemon", Some(true)),
        ("sh -c 'kill -HUP $(pgrep daem-fx)'", "/usr/bin/daem-fx-on", Some(true)),
        ("sh -c 'kill -HUP $(pgrep --logpidfile daem)'", "/usr/bin/daemon", Some(true)),
        ("sh -c 'kill -HUP $(pgrep -x daem)'", "/usr/bin/daemon", None),
        ("sh -c 'kill -HUP $(pgrep --exact daem)'", "/usr/bin/daemon", None),
        ("sh -c 'kill -HUP $(pgrep -fx daemon)'", "/usr/bin/daemon", None),
        ("start-stop-daemon --stop -s HUP -n daemon", "/usr/bin/daemon", Some(true)),
        ("start-stop-daemon --stop -s HUP --name=daem", "/usr/bin/daemon", None),
        ("start-stop-daemon --stop -s HUP -x /usr/bin/daemon", "/usr/bin/daemon", Some(true)),
        ("kill -HUP $MAINPID", "/usr/bin/daemon", Some(true)),
    ] {
        assert_eq!(is(line, program), expected, "{line}: {program}");
    }
}

#[test]
fn what_can_not_be_told_of_a_reload_is_said() {
    let unknown =
        |line: &str| reload(&parsed(line), Some("a.service"), &mut Budget::default()).unknown();
    for (line, expected) in [
        ("/bin/kill -${SIG} $MAINPID", &["which signal its reload sends: '$SIG'"][..]),
        ("/usr/bin/systemctl kill -s${SIG} a", &["which signal its reload sends: '$SIG'"]),
        ("/bin/kill -HUP $OTHER", &["whom its reload signals: '$OTHER'"]),
        ("/bin/kill -${SIG} 1", &[]),
        ("/bin/kill -HUP $MAINPID ; /bin/kill -${SIG} $MAINPID", {
            &["which signal its reload sends: '$SIG'"]
        }),
        ("/bin/kill -HUP 1 ; /bin/kill -HUP $OTHER", &["whom its reload signals: '$OTHER'"]),
        ("/bin/other ; /bin/kill -HUP $OTHER", {
            &["what its reload does: it runs other", "whom its reload signals: '$OTHER'"]
        }),
        ("/bin/other", &["what its reload does: it runs other"]),
        ("/bin/sh -c 'eval kill -HUP $MAINPID'", &["what its reload does: it runs eval"]),
        ("/usr/bin/docker kill -s HUP x", &["what its reload does: it runs docker"]),
        ("/bin/sh -c '$RELOAD now'", &["what its reload does: it runs $RELOAD"]),
        // A command that comes first checks, as a rule.
        ("/bin/other -t ; /bin/kill -HUP $MAINPID", &[]),
        ("/bin/sh -c 'test -e /x; echo reload > /run/x.socket'", &[]),
        ("/bin/sh -c 'if test -e /x; then kill -HUP $MAINPID; fi'", {
            &["whether its reload sends HUP: that depends on what comes before"]
        }),
        ("/bin/sh -c '[ -f x ] && kill -TERM $MAINPID || kill -HUP $MAINPID'", {
            &[
                "whether its reload sends TERM: that depends on what comes before",
                "whether its reload sends HUP: that depends on what comes before",
            ]
        }),
    ] {
        assert_eq!(unknown(line), expected, "{line}");
    }
    let unread = unknown("/bin/sh -c $SCRIPT").remove(0);
    assert!(unread.contains("can't be read"), "{unread}");
}

#[test]
fn shells_that_stand_too_deep_in_others_are_not_read() {
    let sent_at = |depth: usize| {
        let line = format!("/usr/bin/{}kill -HUP $MAINPID", "env A=1 ".repeat(depth));
        sent(&line).len()
    };
    assert_eq!((sent_at(6), sent_at(7)), (1, 0));
    let in_shell = |depth: usize| {
        let line = format!("/bin/sh -c '{}kill -HUP $MAINPID'", "env A=1 ".repeat(depth));
        sent(&line).len()
    };
    assert_eq!((in_shell(5), in_shell(6)), (1, 0));
}

#[test]
fn what_a_reload_runs_after_its_first_signal_may_start_the_service_again() {
    let again = |line: &str| {
        let reload = reload(&parsed(line), None, &mut Budget::default());
        reload.starts_again(Some("/usr/sbin/relayd"))
    };
    let after = |what: &str| format!("/bin/sh -c 'kill $MAINPID; {what}'");
    for what in [
        "relayd",
        "/opt/relayd -d",
        "env A=1 relayd",
        "daemonize relayd",
        "systemctl start x",
        "service x restart",
        "/etc/init.d/x try-restart",
        "invoke-rc.d x start",
    ] {
        assert!(again(&after(what)), "{what}");
    }
    for what in ["true", "systemctl status x", "other start", "/etc/init.d/x stop", "relay"] {
        assert!(!again(&after(what)), "{what}");
    }
    assert!(!again("/bin/sh -c 'relayd; kill $MAINPID'"), "it was before the signal");
    let unknown = reload(&parsed(&after("relayd")), None, &mut Budget::default());
    assert!(!unknown.starts_again(None));
}

/// `a` in so many of these.
fn nested(open: &str, close: &str, depth: usize) -> String {
    open.repeat(depth) + "a" + &close.repeat(depth)
}

#[test]
fn text_that_is_there_to_hurt_the_reader_is_left_unread() {
    for script in [
        nested("$(", ")", 5_000),
        nested("(", ")", 20_000),
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
    ] {
        let start: String = script.chars().take(20).collect();
        let commands = parsed(&format!("/bin/sh -c '{script}'"));
        let mut budget = Budget::default();
        let unknown = reload(&commands, None, &mut budget).unknown().join("; ");
        assert!(unknown.contains("can't be read"), "{start}: {unknown}");
        let main = main_process(&commands[0], &mut budget);
        let is_unread = matches!(&main, MainProcess::Unknown(why) if why.contains("can't be read"));
        assert!(is_unread, "{start}: {main:?}");
        assert!(budget.takes_script(&"a".repeat(16 << 10)), "{start}: nothing of it was parsed");
    }
}

#[test]
fn the_most_that_is_read_is_read_to_its_end() {
    for script in [
        nested("$(", ")", 47),
        nested("{ ", "; }", 399),
        "<".repeat(16_000),
        "\\".repeat(32_000),
        "cat <<E\n".repeat(2_000),
        "a && ".repeat(3_000) + "a",
        "a | ".repeat(4_000) + "a",
        "sh -c ".repeat(2_500),
        "env ".repeat(4_000) + "kill -HUP $MAINPID",
        nested("if a; then ", "; fi", 1_000),
        nested("while ", "; do b; done", 900),
    ] {
        let commands = parsed(&format!("/bin/sh -c '{script}'"));
        let mut budget = Budget::default();
        let _ = reload(&commands, None, &mut budget);
        assert!(!budget.takes_script(&"a".repeat(16 << 10)), "{script:.20} was parsed");
    }
    let after = |commands: usize| {
        let line = format!("/bin/sh -c '{}kill -HUP $MAINPID'", "a;".repeat(commands));
        sent(&line).len()
    };
    assert_eq!((after(3_900), after(4_000)), (1, 0));
}

#[test]
fn many_lines_cost_no_more_than_what_is_read_of_one_unit() {
    let lines = vec![format!("/bin/sh -c '{}'", nested("$(", ")", 40)); 10_000];
    let mut budget = Budget::default();
    let reload = reload(&commands(&lines, str::to_owned), None, &mut budget);
    assert!(!reload.unknown().is_empty());
    let left = |budget: Budget, depth| budget.clone().takes_script(&"(".repeat(depth));
    assert_eq!((left(budget, 8), left(budget, 9)), (true, false), "the first line was parsed");
}
