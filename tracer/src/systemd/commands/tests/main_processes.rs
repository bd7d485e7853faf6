//! What the main process of `ExecStart=` becomes, and real shells' word on it.

use std::process;

use super::parsed;
use crate::{
    model::signal::Signal,
    systemd::commands::{Budget, MainProcess, Takes, main_process},
};

fn main_of(line: &str) -> MainProcess {
    main_process(&parsed(line)[0], &mut Budget::default())
}

#[test]
fn a_shell_that_stays_tells_what_it_ignores_handles_and_runs() {
    let stay = |line: &str| match main_of(line) {
        MainProcess::Stays(stay) => stay,
        other => panic!("{line}: {other:?}"),
    };
    let usr1: Signal = "USR1".parse().unwrap();
    let told = stay("/bin/sh -c 'trap \"\" HUP; trap x USR1 EXIT; trap - TERM; daemon; true'");
    assert_eq!((told.by.as_str(), told.is_shell), ("sh", true));
    assert_eq!((told.ignores, told.handles), (vec![Signal::HUP], vec![usr1]));
    assert!(!told.speaks && told.has_children);
    let told = stay("/bin/sh -c 'trap -- x HUP; trap -- \"\" HUP; :'");
    assert_eq!((told.ignores, told.handles), (vec![Signal::HUP], vec![]));
    assert!(!told.has_children, "it runs nothing else");
    assert!(stay("/bin/sh -c '/bin/systemd-notify --ready; :'").speaks);
    assert!(stay("/bin/sh -c '(exec daemon); :'").has_children);
    // What was ignored at its beginning stays so.
    let nohup = stay("/usr/bin/nohup /bin/sh -c 'trap x HUP; daemon; :'");
    assert_eq!((nohup.ignores, nohup.handles), (vec![Signal::HUP], vec![]));
    let timeout = stay("/usr/bin/timeout 5 daemon");
    assert_eq!((timeout.by.as_str(), timeout.is_shell), ("timeout", false));
    assert!(stay("/bin/bash -c 'f() { daemon; }; f'").has_children, "a function stays");
    let maybe = stay("/bin/bash -c '[ -e /x ] && trap x HUP; daemon; :'");
    assert_eq!(maybe.takes(Signal::HUP), Takes::Unknown);
    let in_function = stay("/bin/bash -c 'f() { trap x HUP; }; f; while :; do work; done'");
    assert_eq!(in_function.takes(Signal::HUP), Takes::Handled);
    assert!(stay("/bin/bash -c 'trap : HUP; daemon'").defers_traps);
    assert!(!stay("/bin/bash -c 'trap : HUP; daemon & wait'").defers_traps);
    assert!(!in_function.defers_traps);
    assert!(!stay("/bin/sh -c 'trap : HUP; wait'").defers_traps, "it runs no program");
    assert!(!stay("/bin/sh -c 'trap : HUP; work & daemon'").defers_traps);
    assert_eq!(stay("/usr/bin/env sh -c daemon").by, "sh");
    assert_eq!(stay("/bin/sh -c '(eval x); daemon; :'").by, "sh");
}

#[test]
fn what_waits_does_with_a_signal_is_what_its_program_does() {
    for (line, usr1, hup) in [
        ("flock /run/x daemon", Takes::Default, Takes::Default),
        ("time daemon", Takes::Default, Takes::Default),
        ("unshare -pf daemon", Takes::Default, Takes::Default),
        ("setsid -w daemon", Takes::Default, Takes::Default),
        ("dbus-run-session -- daemon", Takes::Default, Takes::Default),
        ("su -c daemon web", Takes::Lost, Takes::Lost),
        ("runuser -u web -- daemon", Takes::Lost, Takes::Lost),
        ("script -qc daemon /dev/null", Takes::Lost, Takes::Lost),
        ("tini -- daemon", Takes::PassedOn, Takes::PassedOn),
        ("timeout 5 daemon", Takes::Default, Takes::PassedOnOnce),
        ("timeout --foreground 5 daemon", Takes::Default, Takes::PassedOn),
        ("xvfb-run daemon", Takes::Unknown, Takes::Unknown),
        ("nohup flock /run/x daemon", Takes::Default, Takes::Lost),
        ("sh -c 'daemon; :'", Takes::Default, Takes::Default),
        ("env --block-signal=HUP sh -c 'daemon; :'", Takes::Default, Takes::Lost),
    ] {
        let MainProcess::Stays(stay) = main_of(line) else {
            panic!("{line}");
        };
        assert_eq!((stay.takes(Signal::USR1), stay.takes(Signal::HUP)), (usr1, hup), "{line}");
    }
}

#[test]
fn what_a_program_begins_with_is_what_those_before_it_made_of_signals() {
    let hup = || vec![Signal::HUP];
    for (line, ignores, blocks) in [
        ("nohup daemon", hup(), vec![]),
        ("nohup env --default-signal=HUP daemon", vec![], vec![]),
        ("nohup env --default-signal daemon", vec![], vec![]),
        ("env --ignore-signal=HUP daemon", hup(), vec![]),
        ("env --ignore-signal=SIGHUP --default-signal=HUP daemon", vec![], vec![]),
        ("env --default-signal=HUP --ignore-signal=HUP daemon", hup(), vec![]),
        ("env --block-signal=HUP daemon", vec![], hup()),
        ("env --block-signal=HUP env --default-signal=HUP daemon", vec![], vec![]),
        ("sh -c 'exec env --ignore-signal=HUP daemon'", hup(), vec![]),
        ("env --block-signal=HUP sh -c 'exec daemon'", vec![], hup()),
    ] {
        let MainProcess::Program { initial, .. } = main_of(line) else {
            panic!("{line}");
        };
        assert_eq!((initial.ignores, initial.blocks), (ignores, blocks), "{line}");
    }
    let MainProcess::Program { initial, .. } = main_of("env --ignore-signal daemon") else {
        panic!();
    };
    assert!(initial.ignores.contains(&Signal::HUP) && initial.ignores.contains(&Signal::USR1));
}

#[test]
fn what_the_main_process_becomes_is_told_or_said_to_be_unknown() {
    let program = |line: &str| match main_of(line) {
        MainProcess::Program { name, .. } => Some(name),
        _ => None,
    };
    for line in [
        "/bin/daemon -x",
        "/usr/bin/env A=1 /bin/daemon",
        "/bin/sh -c 'true && exec /bin/daemon'",
        "/bin/bash -c '/bin/daemon'",
        "/bin/rbash -c 'a; /bin/daemon'",
        "/bin/bash -c \"sh -c 'exec /bin/daemon'\"",
        "/bin/sh -c 'run() { exec /bin/daemon; }; run'",
        "/usr/bin/busybox sh -c 'true; /bin/daemon'",
        "/usr/bin/busybox /bin/daemon",
        "/usr/bin/strace -D -o /x /bin/daemon",
        "/usr/bin/flock -nF /run/x /bin/daemon",
    ] {
        assert_eq!(program(line).as_deref(), Some("/bin/daemon"), "{line}");
    }
    for (line, why) in [
        ("/bin/ksh -c 'daemon'", "ksh may execute its last command in its own place"),
        ("/bin/sh -c 'a || exec daemon'", "whether its shell executes the program depends"),
        ("/bin/sh -c 'eval x; daemon'", "whether its shell executes the program depends"),
        ("/bin/sh -c $SCRIPT", "its ExecStart= is shell text that can't be read"),
        ("$DAEMON -x", "its program is the value of a variable"),
        ("/usr/bin/sudo daemon", "whether sudo stays the main process depends on it"),
    ] {
        assert_eq!(main_of(line), MainProcess::Unknown(why.to_owned()), "{line}");
    }
    assert_eq!(main_of("/usr/bin/setsid daemon"), MainProcess::Leaves("setsid".to_owned()));
    for line in ["/bin/sh -c 'daemon &'", "/bin/sh -c 'a; daemon & echo $! > /run/x'"] {
        assert_eq!(main_of(line), MainProcess::Leaves("sh".to_owned()), "{line}");
    }
    let deep = |depth| format!("/usr/bin/{}daemon", "env A=1 ".repeat(depth));
    assert_eq!(program(&deep(8)).as_deref(), Some("daemon"));
    assert_eq!(program(&deep(9)), None);
    // Each shell that becomes its last command is one step too.
    let in_shells = |depth| format!("/bin/bash -c '{}bash -c daemon'", "env A=1 ".repeat(depth));
    assert_eq!(program(&in_shells(6)).as_deref(), Some("daemon"));
    assert_eq!(program(&in_shells(7)), None);
    let executed = |depth| format!("/bin/sh -c 'exec {}daemon'", "env A=1 ".repeat(depth));
    assert_eq!(program(&executed(7)).as_deref(), Some("daemon"));
    assert_eq!(program(&executed(8)), None);
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
        "true && true; prog",
        "true || true; prog",
        "true & true; prog",
        "true; true && true; prog",
        "true && { true && exec prog; }",
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
        "f() { prog; }; f",
        "f() { exec prog; }; f; true",
        "f() { prog; }; true && f",
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
