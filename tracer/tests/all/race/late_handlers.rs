//! Programs whose handlers come late, or go again: each hole is found, and none is invented.

use serde_json::Value;

use super::{SIMPLE, of_c, pairs, race};
use crate::support::Compiled;

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_before_a_handler_and_none_after_it() {
    let (raced, outcomes) = of_c("usleep(20000); signal(SIGHUP, on);");
    assert_eq!(
        pairs(&outcomes),
        [("fork", "killed"), ("exec1", "killed"), ("exec1.action1", "taken")]
    );
    assert_eq!(raced.status, Some(3));
    let sentence = raced.sentence();
    assert!(sentence.contains("from fork to ") && sentence.contains("2 of 3"), "{sentence}");
    // The evidence is the signal of that run, which the kernel sent.
    let tried = &raced.interval("HUP@exec1")["tries"][0];
    assert_eq!(
        (tried["signal"]["si_code"].as_i64(), &tried["signal"]["sender"]),
        (Some(128), &Value::Null)
    );
    assert_eq!(tried["signal"]["fate"], "killed");
    assert_eq!(tried["exit"]["signal"], "HUP");
    let placed = tried["placed_ns"].as_i64().unwrap();
    assert!((0..15_000_000).contains(&placed), "right after the exec: {placed}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_between_two_handlers() {
    let (_, outcomes) = of_c(
        "signal(SIGHUP, on); usleep(10000); signal(SIGHUP, SIG_DFL); usleep(10000);\
         signal(SIGHUP, on); usleep(10000); signal(SIGHUP, SIG_IGN); usleep(10000);\
         signal(SIGHUP, on);",
    );
    assert_eq!(
        pairs(&outcomes)[2..],
        [
            ("exec1.action1", "taken"),
            ("exec1.action2", "killed"),
            ("exec1.action3", "taken"),
            ("exec1.action4", "ignored"),
            ("exec1.action5", "taken")
        ]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_after_a_handler_for_one_delivery_was_called() {
    let (_, outcomes) = of_c(
        "struct sigaction once = { .sa_handler = on, .sa_flags = SA_RESETHAND };\
         sigaction(SIGHUP, &once, 0); usleep(10000); raise(SIGHUP); usleep(10000);\
         signal(SIGHUP, on);",
    );
    assert_eq!(
        pairs(&outcomes)[2..],
        [
            // It takes the one handler there is from the program's own.
            ("exec1.action1", "killed"),
            ("exec1.reset1", "killed"),
            ("exec1.action2", "taken"),
            ("exec1.action1+reset1", "killed")
        ]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_that_a_second_signal_hits() {
    // The handler sets itself again, a moment after it was called.
    let again = "struct sigaction once = { .sa_handler = on, .sa_flags = SA_RESETHAND };\
                 sigaction(SIGHUP, &once, 0);";
    let (raced, outcomes) = of_c(again);
    assert_eq!(
        pairs(&outcomes),
        [
            ("fork", "killed"),
            ("exec1", "killed"),
            ("exec1.action1", "taken"),
            ("exec1.action1+reset1", "killed")
        ]
    );
    assert!(raced.sentence().contains("a second one kills"), "{}", raced.sentence());
    let second = raced.interval("HUP@exec1.action1+reset1");
    assert_eq!((&second["bad"], &second["counts"]), (&true.into(), &true.into()));
    // One that blocks the second until it has set itself again has no hole.
    let program = Compiled::new(
        "#include <signal.h>\n#include <unistd.h>\n\
         static void on(int s) {\n\
           struct sigaction once = { .sa_handler = on, .sa_flags = SA_RESETHAND };\n\
           sigaddset(&once.sa_mask, SIGHUP); sigaction(s, &once, 0);\n\
         }\n\
         int main(void) {\n\
           struct sigaction once = { .sa_handler = on, .sa_flags = SA_RESETHAND };\n\
           sigaddset(&once.sa_mask, SIGHUP); sigaction(SIGHUP, &once, 0);\n\
           for (;;) pause();\n\
         }",
    );
    let harmless = race(&SIMPLE, &[&program.path()]);
    assert_eq!(
        harmless.outcomes()[2..],
        [("HUP@exec1.action1", "taken"), ("HUP@exec1.action1+reset1", "taken")]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_between_unblocking_and_the_handler() {
    let (_, outcomes) = of_c(
        "sigset_t set; sigemptyset(&set); sigaddset(&set, SIGHUP);\
         sigprocmask(SIG_BLOCK, &set, 0); usleep(10000);\
         sigprocmask(SIG_UNBLOCK, &set, 0); usleep(10000); signal(SIGHUP, on);",
    );
    assert_eq!(
        pairs(&outcomes)[2..],
        [
            // It waits for the unblocking, and kills then.
            ("exec1.block1", "killed"),
            ("exec1.unblock1", "killed"),
            ("exec1.action1", "taken")
        ]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_invents_no_hole_where_a_blocked_signal_is_read_or_gets_its_handler() {
    let (raced, outcomes) = of_c(
        "sigset_t set; sigemptyset(&set); sigaddset(&set, SIGHUP);\
         sigprocmask(SIG_BLOCK, &set, 0); usleep(10000);\
         int fd = signalfd(-1, &set, 0); usleep(10000);\
         struct signalfd_siginfo info;\
         for (;;) if (read(fd, &info, sizeof info) < 0) return 1;",
    );
    assert_eq!(pairs(&outcomes)[2..], [("exec1.block1", "taken"), ("exec1.signalfd1", "taken")]);
    assert_eq!(raced.status, Some(3), "before it is blocked it kills");
    let (_, outcomes) = of_c(
        "sigset_t set; sigemptyset(&set); sigaddset(&set, SIGHUP);\
         sigprocmask(SIG_BLOCK, &set, 0); usleep(10000);\
         int got; for (;;) sigwait(&set, &got);",
    );
    assert_eq!(pairs(&outcomes)[2..], [("exec1.block1", "taken"), ("exec1.sigwait1", "taken")]);
    let (_, outcomes) = of_c(
        "sigset_t set; sigemptyset(&set); sigaddset(&set, SIGHUP);\
         sigprocmask(SIG_BLOCK, &set, 0); usleep(10000); signal(SIGHUP, on); usleep(10000);\
         sigprocmask(SIG_UNBLOCK, &set, 0); usleep(10000); sigprocmask(SIG_BLOCK, &set, 0);",
    );
    assert_eq!(
        pairs(&outcomes)[2..],
        [
            ("exec1.block1", "taken"),
            ("exec1.action1", "taken"),
            ("exec1.unblock1", "taken"),
            ("exec1.block2", "pending")
        ]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_after_a_program_executes_itself_anew() {
    let (_, outcomes) = of_c(
        "signal(SIGHUP, on); usleep(20000);\
         if (!getenv(\"AGAIN\")) { setenv(\"AGAIN\", \"1\", 1);\
         execl(\"/proc/self/exe\", \"again\", (char *)0); }",
    );
    assert_eq!(
        pairs(&outcomes)[1..],
        [
            ("exec1", "killed"),
            ("exec1.action1", "taken"),
            ("exec2", "killed"),
            ("exec2.action1", "taken")
        ]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_in_a_worker_and_a_reload_of_the_main_process_does_not_reach_it() {
    let (raced, outcomes) = of_c(
        "signal(SIGHUP, on); usleep(10000);\
         if (fork() == 0) { usleep(10000); signal(SIGHUP, SIG_DFL); usleep(10000);\
         signal(SIGHUP, on); for (;;) pause(); }",
    );
    assert_eq!(
        pairs(&outcomes)[2..],
        [
            ("exec1.action1", "taken"),
            ("exec1.fork1", "taken"),
            ("child1.fork", "taken"),
            ("child1.action1", "killed"),
            ("child1.action2", "taken")
        ]
    );
    let worker = raced.interval("HUP@child1.action1");
    assert_eq!((&worker["main"], &worker["counts"]), (&false.into(), &false.into()));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_what_the_main_process_does_to_a_worker_with_a_reload() {
    let program = Compiled::new(
        "#include <signal.h>\n#include <unistd.h>\n\
         static pid_t worker;\n\
         static void on(int s) { if (worker) kill(worker, s); }\n\
         int main(void) {\n\
           signal(SIGHUP, on);\n\
           pid_t child = fork();\n\
           if (child == 0) { signal(SIGHUP, SIG_DFL); for (;;) pause(); }\n\
           usleep(50000); worker = child; signal(SIGHUP, on);\n\
           for (;;) pause();\n\
         }",
    );
    let raced = race(&SIMPLE, &[&program.path()]);
    let last = raced.interval("HUP@exec1.action2");
    assert_eq!(last["outcome"], "killed", "{last:#}");
    assert!(last["tries"][0]["what"].as_str().unwrap().contains("another process"), "{last:#}");
    assert_eq!(raced.interval("HUP@exec1.action1")["outcome"], "taken");
}
