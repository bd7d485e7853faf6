//! The instant at rest: programs whose answer changes after their last step, where the kernel sees
//! nothing of it.

use super::{NOTIFY, PYTHON, SIMPLE, notify_service, race};
use crate::support::Compiled;

/// A program that marks itself in its own memory 40 ms after it has set its handler.
fn marked(on_signal: &str) -> Compiled {
    Compiled::new(&format!(
        "#include <signal.h>\n#include <stdlib.h>\n#include <unistd.h>\n\
         static volatile int up;\n\
         static void on(int s) {{ (void)s; {on_signal} }}\n\
         int main(void) {{ signal(SIGHUP, on); signal(SIGTERM, on); usleep(40000); up = 1; for (;;) pause(); }}"
    ))
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_what_a_program_does_at_rest_otherwise_than_right_after_its_last_step() {
    let early = marked("if (!up) _exit(3);");
    let late = marked("if (up) abort();");
    for _ in 0..3 {
        let raced = race(&SIMPLE, &[&early.path()]);
        assert_eq!(raced.interval("HUP@exec1.action1")["outcome"], "ended", "{:#}", raced.race);
        assert_eq!(raced.at_rest(), ("taken", false), "{:#}", raced.race);
        assert!(raced.sentence().contains("though not at rest"), "{}", raced.sentence());
        let raced = race(&SIMPLE, &[&late.path()]);
        assert_eq!(raced.interval("HUP@exec1.action1")["outcome"], "taken", "{:#}", raced.race);
        assert_eq!(raced.at_rest(), ("crashed", true), "{:#}", raced.race);
        assert_eq!(raced.status, Some(3));
        let sentence = raced.sentence();
        assert!(!sentence.contains("is taken") && sentence.contains("At rest HUP crashes"));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_tries_no_second_signal_where_a_first_one_at_rest_is_the_death_of_the_service() {
    // The action that its handler sets, and dies by, is none that a second one could meet.
    let dies = marked("if (up) { signal(s, SIG_DFL); raise(s); }");
    for _ in 0..3 {
        let raced = race(&SIMPLE, &[&dies.path()]);
        let start =
            [("HUP@fork", "killed"), ("HUP@exec1", "killed"), ("HUP@exec1.action1", "taken")];
        assert_eq!(raced.outcomes(), start, "{}", raced.stderr);
        assert_eq!(raced.at_rest(), ("killed", true), "{:#}", raced.race);
        assert_eq!(raced.race["untested"], serde_json::json!([]));
        assert!(raced.sentence().contains("At rest HUP kills"), "{}", raced.sentence());
        assert_eq!(raced.status, Some(3));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_at_rest_sends_the_signal_itself_once_nothing_has_changed_for_the_quiet_time() {
    let program = marked("");
    let raced = race(&SIMPLE, &[&program.path()]);
    let rest = &raced.race["signals"][0]["rest"];
    let tried = &rest["tries"][0];
    assert_eq!(tried["signal"]["si_code"], 0, "by kill(2): {tried:#}");
    assert_eq!(tried["signal"]["sender"]["comm"], "sigready");
    let last = raced.interval("HUP@exec1.action1")["from_ns"].as_i64().unwrap();
    let placed = tried["placed_ns"].as_i64().unwrap();
    assert!(placed >= last + 300_000_000, "{last} {placed}");
    assert_eq!(rest["from_ns"], raced.race["untouched"]["to_ns"]);
    // The untouched run is the one that it is sent in.
    assert_eq!(raced.race["runs"], 4);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_at_rest_has_the_idea_of_right_of_each_signal_and_is_raced_alone_and_often() {
    let hangs = marked("");
    let mut options = [&SIMPLE[..], &["--signal", "TERM", "--timeout", "2s"]].concat();
    let raced = race(&options, &[&hangs.path()]);
    assert_eq!(raced.at_rest(), ("hung", true), "{:#}", raced.race);
    let ends = marked("_exit(0);");
    let raced = race(&options, &[&ends.path()]);
    assert_eq!(raced.at_rest(), ("ended", false), "{:#}", raced.race);
    options.extend(["--signal", "INT", "--only", "INT@rest", "--repeat", "3", "--by", "kill"]);
    let raced = race(&options, &[&ends.path()]);
    assert_eq!(raced.outcomes(), [], "{:#}", raced.race);
    assert_eq!(raced.at_rest(), ("killed", false), "{:#}", raced.race);
    assert_eq!(raced.race["signals"][0]["rest"]["tries"].as_array().unwrap().len(), 3);
    assert_eq!(raced.race["runs"], 4);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_of_a_start_that_ends_by_itself_has_no_instant_at_rest_and_is_not_failed_for_that() {
    let options = ["--type", "simple", "--quiet-time", "400ms", "--signal", "WINCH"];
    let raced = race(&options, &["sh", "-c", "sleep 0.1; exit 0"]);
    assert_eq!(raced.at_rest(), ("not_reached", false), "{:#}", raced.race);
    assert_eq!(raced.status, Some(0), "{}", raced.stderr);
    assert!(raced.sentence().contains("it ended by itself, with code 0"), "{}", raced.sentence());
    // One that never comes to rest is another matter: nothing is known of it.
    let busy = Compiled::new(
        "#include <signal.h>\n#include <unistd.h>\n\
         int main(void) { for (;;) { signal(SIGWINCH, SIG_IGN); usleep(20000); } }",
    );
    let options = [&options[..], &["--timeout", "1s", "--only", "WINCH@rest"]].concat();
    let raced = race(&options, &[&busy.path()]);
    assert_eq!(raced.at_rest(), ("not_reached", false), "{:#}", raced.race);
    assert_eq!(raced.status, Some(1), "{}", raced.stderr);
    assert!(raced.stderr.contains("WINCH@rest: it was not at rest within"), "{}", raced.stderr);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_at_rest_of_a_service_that_says_ready_and_of_one_that_answers() {
    let handler = "signal.signal(signal.SIGHUP, lambda *a: None)";
    let service = notify_service(handler, "");
    let raced = race(&NOTIFY, &[PYTHON, "-c", &service]);
    assert_eq!(raced.at_rest(), ("taken", false), "{:#}", raced.race);
    let silent = race(
        &["--type", "notify-reload", "--settle", "150ms", "--timeout", "3s", "--only", "HUP@rest"],
        &[PYTHON, "-c", &service],
    );
    assert_eq!(silent.at_rest(), ("hung", true), "{:#}", silent.race);
    assert_eq!(silent.status, Some(3));
    // Without its handler it is killed at rest, too, and a reload reaches that.
    let none = race(&NOTIFY, &[PYTHON, "-c", &notify_service("pass", "")]);
    assert_eq!(none.at_rest(), ("killed", true), "{:#}", none.race);
    assert_eq!(none.race["signals"][0]["rest"]["counts"], true);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_at_rest_is_one_of_the_shares_of_several_processes() {
    let early = marked("if (!up) _exit(3);");
    let raced = race(&[&SIMPLE[..], &["--jobs", "2"]].concat(), &[&early.path()]);
    assert_eq!(raced.interval("HUP@exec1.action1")["outcome"], "ended", "{:#}", raced.race);
    assert_eq!(raced.at_rest(), ("taken", false), "{:#}", raced.race);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_of_a_service_whose_helper_says_ready_counts_what_its_handler_does_from_then_on() {
    // Its handler ends it until it is up, which is told of by a process that is not the main one.
    let service = |up: &str| {
        format!(
            "import os, signal, socket, time\n\
             up = False\n\
             def on(*_):\n    \
                 if not up: os._exit(9)\n\
             signal.signal(signal.SIGHUP, on)\n\
             time.sleep(0.05)\n\
             up = {up}\n\
             if os.fork() == 0:\n    \
                 s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n    \
                 s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n    \
                 os._exit(0)\n\
             os.wait()\n\
             while True: time.sleep(60)\n"
        )
    };
    for (up, status, outcome, options) in [
        ("True", Some(0), "taken", &[][..]),
        ("True", Some(0), "taken", &["--jobs", "2"]),
        ("True", Some(3), "taken", &["--strict"]),
        ("False", Some(3), "ended", &[]),
    ] {
        let raced = race(&[&NOTIFY[..], options].concat(), &[PYTHON, "-c", &service(up)]);
        assert_eq!(
            raced.outcomes(),
            [("HUP@fork", "killed"), ("HUP@exec1", "killed"), ("HUP@exec1.action1", "ended")]
        );
        let told = || format!("{options:?} {:#}", raced.race["signals"]);
        assert_eq!(raced.as_active(), (outcome, outcome == "ended"), "{}", told());
        assert_eq!(raced.at_rest(), (outcome, outcome == "ended"), "{}", told());
        assert_eq!(raced.status, status, "{}", told());
        assert_eq!(raced.interval("HUP@exec1.action1")["counts"], status == Some(3), "{}", told());
    }
    // It is raced alone, too.
    let only = ["--only", "HUP@active", "--repeat", "3"];
    let raced = race(&[&NOTIFY[..], &only].concat(), &[PYTHON, "-c", &service("True")]);
    assert_eq!((raced.as_active(), raced.status), (("taken", false), Some(0)), "{}", raced.stderr);
    let tries = raced.race["signals"][0]["active"]["tries"].as_array().unwrap();
    assert_eq!(tries.len(), 3, "{tries:?}");
}
