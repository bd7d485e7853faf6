//! Commands of every kind: what they leave, and holes that only their kind has.

use super::{NOTIFY, SIMPLE, notify_service, race};
use crate::support::{Compiled, PYTHON};

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_tells_what_a_command_leaves_running() {
    let script = "setsid sleep 4247.5 & exec sleep 60";
    let raced = race(&SIMPLE, &["sh", "-c", script]);
    let leftovers = raced.race["leftovers"].as_array().unwrap();
    assert_eq!(leftovers.len(), 1, "{leftovers:?}");
    assert_eq!(leftovers[0]["comm"], "sleep");
    assert!(leftovers[0]["runs"].as_u64().unwrap() >= 2, "{leftovers:?}");
    let none = race(&SIMPLE, &["sleep", "60"]);
    assert_eq!(none.race["leftovers"], serde_json::json!([]));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_of_the_signal_that_a_service_reloads_by() {
    let service = notify_service("signal.signal(signal.SIGUSR2, lambda *a: None)", "");
    let options = [&NOTIFY[..], &["--reload-signal", "USR2"]].concat();
    let raced = race(&options, &[PYTHON, "-c", &service]);
    assert_eq!(
        raced.outcomes(),
        [
            ("USR2@fork", "killed"),
            ("USR2@exec1", "killed"),
            ("USR2@exec1.action1", "taken"),
            ("USR2@exec1.ready1", "taken")
        ]
    );
    // What comes before READY=1 is held back, as for HUP.
    assert_eq!(raced.status, Some(0), "{}", raced.stderr);
    assert_eq!(raced.race["signals"][0]["role"], "reload");
    // Without that option nobody holds USR2 back, and it is to do no harm.
    let raced = race(&[&NOTIFY[..], &["--signal", "USR2"]].concat(), &[PYTHON, "-c", &service]);
    assert_eq!(raced.status, Some(3), "{}", raced.stderr);
    assert_eq!(raced.race["signals"][0]["role"], "other");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_while_a_service_stops() {
    let service = notify_service(
        "signal.signal(signal.SIGHUP, lambda *a: None)",
        "time.sleep(0.05); say('STOPPING=1'); signal.signal(signal.SIGHUP, signal.SIG_DFL)\n\
         time.sleep(0.3); sys.exit(0)",
    );
    for _ in 0..3 {
        let raced = race(&NOTIFY, &[PYTHON, "-c", &service]);
        assert_eq!(
            raced.outcomes()[2..],
            [
                ("HUP@exec1.action1", "taken"),
                ("HUP@exec1.ready1", "taken"),
                ("HUP@exec1.stopping1", "taken"),
                ("HUP@exec1.action2", "killed")
            ],
            "{}",
            raced.stderr
        );
        let hole = raced.interval("HUP@exec1.action2");
        assert_eq!((&hole["bad"], &hole["counts"]), (&true.into(), &false.into()));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_of_a_program_with_threads_from_its_first_call_on() {
    let program = Compiled::new(
        "#include <pthread.h>\n#include <signal.h>\n#include <unistd.h>\n\
         static void on(int s) { (void)s; }\n\
         static void *work(void *it) { for (;;) pause(); return it; }\n\
         __attribute__((constructor)) static void begin(void) {\n\
           pthread_t thread;\n\
           for (int i = 0; i < 4; i++) pthread_create(&thread, 0, work, 0);\n\
         }\n\
         int main(void) { usleep(20000); signal(SIGHUP, on); for (;;) pause(); }",
    );
    for by in ["kernel", "kill"] {
        let options = [&SIMPLE[..], &["--by", by]].concat();
        let raced = race(&options, &[&program.path()]);
        assert_eq!(
            raced.outcomes(),
            [("HUP@fork", "killed"), ("HUP@exec1", "killed"), ("HUP@exec1.action1", "taken")],
            "{by}: {}",
            raced.stderr
        );
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_of_a_program_that_gives_its_privileges_up() {
    let program = "import os, signal, time\n\
         signal.signal(signal.SIGHUP, lambda *a: None); time.sleep(0.02)\n\
         os.setgid(65534); os.setuid(65534); time.sleep(0.02)\n\
         signal.signal(signal.SIGHUP, signal.SIG_DFL); time.sleep(60)";
    for by in ["kernel", "kill"] {
        let options = [&SIMPLE[..], &["--by", by]].concat();
        let raced = race(&options, &[PYTHON, "-c", program]);
        assert_eq!(
            raced.outcomes()[2..],
            [("HUP@exec1.action1", "taken"), ("HUP@exec1.action2", "killed")],
            "{by}: {}",
            raced.stderr
        );
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_of_a_shell_script_with_a_trap() {
    let script = "trap 'true' HUP; while :; do sleep 0.05; done";
    let raced = race(&SIMPLE, &["sh", "-c", script]);
    let outcomes = raced.outcomes();
    assert_eq!(outcomes[..2], [("HUP@fork", "killed"), ("HUP@exec1", "killed")]);
    let trap = outcomes.iter().find(|(id, _)| id.contains("action")).unwrap();
    assert_eq!(trap.1, "taken", "{outcomes:?}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_of_a_program_that_holds_a_port_has_it_free_in_each_run() {
    let program = "import signal, socket, time\n\
         s = socket.socket(); s.bind(('127.0.0.1', 47391)); s.listen()\n\
         signal.signal(signal.SIGHUP, lambda *a: None); time.sleep(60)";
    let raced = race(&SIMPLE, &[PYTHON, "-c", program]);
    assert_eq!(
        raced.outcomes(),
        [("HUP@fork", "killed"), ("HUP@exec1", "killed"), ("HUP@exec1.action1", "taken")]
    );
}
