//! Services with holes at known places: each is found, and none is invented, three times.

use serde_json::Value;

use super::{SIMPLE, pairs, race};
use crate::support::{Compiled, PYTHON};

/// What the services below are made of.
const HEAD: &str = "\
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static volatile sig_atomic_t got;
static void on(int s) { got = s; }
static volatile sig_atomic_t half;
static void on_half(int s) { got = s; if (half) _exit(9); }
static void act(int s, void (*to)(int)) { struct sigaction a = { .sa_handler = to }; sigaction(s, &a, 0); }
static void mask(int how, int s) { sigset_t m; sigemptyset(&m); sigaddset(&m, s); pthread_sigmask(how, &m, 0); }
static void *wait_for_it(void *it) { sigset_t m; int s; sigemptyset(&m); sigaddset(&m, SIGHUP); for (;;) sigwait(&m, &s); return it; }
static void *work(void *it) { for (;;) { syscall(SYS_getppid); usleep(1000); } return it; }
static void thread(void *(*does)(void *)) { pthread_t t; pthread_create(&t, 0, does, 0); }
static void helper(void) { pid_t p; char *v[] = { \"true\", 0 }; posix_spawn(&p, \"/bin/true\", 0, 0, v, environ); waitpid(p, 0, 0); }
static int run(const char *file) { int fd = open(file, O_RDWR | O_CREAT, 0600); unsigned char n = 0; read(fd, &n, 1); n++; pwrite(fd, &n, 1, 0); close(fd); return n; }
static void use_them(void) { (void)run, (void)on, (void)on_half, (void)act, (void)mask, (void)wait_for_it, (void)work, (void)thread, (void)helper; }
";

/// A service that does this, and waits then.
fn program(main: &str) -> Compiled {
    Compiled::new(&format!(
        "{HEAD}int main(int count, char **words) {{ (void)count; (void)words; use_them();\n{main}\n\
         for (;;) pause(); }}"
    ))
}

/// The outcomes of a race of it, alike three times. `main` is what it does, with the path of a file
/// of its own as an argument.
fn outcomes(main: &str, options: &[&str]) -> Vec<(String, String)> {
    let program = program(main);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs");
    let (program, file) = (program.path(), file.to_str().unwrap().to_owned());
    let options = [&SIMPLE[..], options].concat();
    let mut first = Vec::new();
    for number in 0..3 {
        let raced = race(&options, &[&program, &file]);
        let own = |(id, did): (&str, &str)| (id.to_owned(), did.to_owned());
        let found: Vec<_> = raced.outcomes().into_iter().map(own).collect();
        if number == 0 {
            first = found;
        } else {
            assert_eq!(found, first, "{}", raced.stderr);
        }
    }
    first
}

fn hup(main: &str) -> Vec<(String, String)> {
    let all = outcomes(main, &[]);
    all.into_iter().map(|(id, did)| (id.replace("HUP@", ""), did)).collect()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_holes_of_a_start_that_has_other_helpers_each_time() {
    // It has 0 to 4 helpers, by the number of the run, which it keeps in a file.
    let found = hup("int n = run(words[1]);\
         for (int i = 0; i < n % 3; i++) helper();\
         act(SIGHUP, on); for (int i = 0; i < n % 2 * 2; i++) helper();\
         mask(SIG_BLOCK, SIGHUP); act(SIGHUP, SIG_DFL); usleep(5000 + n % 3 * 5000);\
         mask(SIG_UNBLOCK, SIGHUP); usleep(5000); act(SIGHUP, on);");
    assert_eq!(
        pairs(&found),
        [
            ("fork", "killed"),
            ("exec1", "killed"),
            ("exec1.action1", "taken"),
            ("exec1.block1", "killed"),
            ("exec1.action2", "killed"),
            ("exec1.unblock1", "killed"),
            ("exec1.action3", "taken"),
        ]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_holes_of_a_start_that_has_20_to_50_helpers_and_another_number_each_time() {
    // 27, 34, 41, 48, 24, 31, … before its handler, each with a mask, and three before its worker.
    let program = program(
        "int n = run(words[1]);\
         for (int i = 0; i < 20 + n * 7 % 31; i++) { mask(SIG_BLOCK, SIGHUP); helper();\
         mask(SIG_UNBLOCK, SIGHUP); }\
         act(SIGHUP, on);\
         for (int i = 0; i < 3; i++) helper();\
         mask(SIG_BLOCK, SIGHUP); usleep(5000);\
         if (!fork()) { act(SIGHUP, SIG_DFL); mask(SIG_UNBLOCK, SIGHUP); usleep(5000);\
         act(SIGHUP, on); for (;;) pause(); }\
         act(SIGHUP, SIG_DFL); usleep(5000); mask(SIG_UNBLOCK, SIGHUP); usleep(5000);\
         act(SIGHUP, on);",
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs");
    let raced = race(&SIMPLE, &[&program.path(), file.to_str().unwrap()]);
    // Whether a mask around a helper is one of a moment, which is no step, is chance; and so is whether
    // another run has as many helpers.
    let is_helpers = |id: &str| {
        let number = id.rsplit("block").next().and_then(|it| it.parse::<u32>().ok());
        id.contains("block") && number.is_some_and(|it| it <= 27)
    };
    let mut found = raced.outcomes();
    let is_told = |did: &str| matches!(did, "killed" | "not_reached");
    found.retain(|(id, did)| id.contains("child") || !(is_helpers(id) && is_told(did)));
    assert_eq!(
        found,
        [
            ("HUP@fork", "killed"),
            ("HUP@exec1", "killed"),
            ("HUP@exec1.action1", "taken"),
            ("HUP@exec1.block28", "killed"),
            ("HUP@exec1.fork1", "killed"),
            ("HUP@exec1.action2", "killed"),
            ("HUP@exec1.unblock28", "killed"),
            ("HUP@exec1.action3", "taken"),
            ("HUP@child1.fork", "killed"),
            ("HUP@child1.action1", "killed"),
            ("HUP@child1.unblock1", "killed"),
            ("HUP@child1.action2", "taken"),
        ],
        "{}",
        raced.stderr
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_of_a_worker_that_comes_after_other_helpers_each_time() {
    // The fork of the worker is the third one of the main process in the untouched run, then the fifth
    // and the first, in turn; so is the mask around it, and one of its number is another one's.
    let program = program(
        "int n = run(words[1]);\
         for (int i = 0; i < n % 3 * 2; i++) { mask(SIG_BLOCK, SIGHUP); helper();\
         usleep(2000); mask(SIG_UNBLOCK, SIGHUP); }\
         act(SIGHUP, on); mask(SIG_BLOCK, SIGHUP); usleep(5000);\
         if (!fork()) { act(SIGHUP, SIG_DFL); mask(SIG_UNBLOCK, SIGHUP); usleep(5000);\
         act(SIGHUP, on); for (;;) pause(); }\
         usleep(5000); mask(SIG_UNBLOCK, SIGHUP);",
    );
    for _ in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runs");
        let raced = race(&SIMPLE, &[&program.path(), file.to_str().unwrap()]);
        assert_eq!(
            raced.outcomes(),
            [
                ("HUP@fork", "killed"),
                ("HUP@exec1", "killed"),
                ("HUP@exec1.block1", "killed"),
                ("HUP@exec1.unblock1", "killed"),
                ("HUP@exec1.block2", "killed"),
                ("HUP@exec1.unblock2", "killed"),
                ("HUP@exec1.action1", "taken"),
                ("HUP@exec1.block3", "taken"),
                ("HUP@exec1.fork1", "taken"),
                ("HUP@exec1.unblock3", "taken"),
                ("HUP@child1.fork", "killed"),
                ("HUP@child1.action1", "killed"),
                ("HUP@child1.unblock1", "killed"),
                ("HUP@child1.action2", "taken"),
            ],
            "{}",
            raced.stderr
        );
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_of_a_worker_that_later_starts_have_helpers_right_before() {
    // The first start has none.
    let program = program(
        "int n = run(words[1]);\
         act(SIGHUP, on); if (n > 1) { helper(); helper(); }\
         if (!fork()) { act(SIGHUP, SIG_DFL); usleep(5000); act(SIGHUP, on); for (;;) pause(); }",
    );
    for _ in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runs");
        let raced = race(&SIMPLE, &[&program.path(), file.to_str().unwrap()]);
        assert_eq!(
            raced.outcomes(),
            [
                ("HUP@fork", "killed"),
                ("HUP@exec1", "killed"),
                ("HUP@exec1.action1", "taken"),
                ("HUP@exec1.fork1", "taken"),
                ("HUP@child1.fork", "taken"),
                ("HUP@child1.action1", "killed"),
                ("HUP@child1.action2", "taken"),
            ],
            "{}",
            raced.stderr
        );
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_what_a_handler_does_right_after_a_helper_however_many_others_there_were() {
    // In the first run mkdir is the first helper, later there are others before and after it. The
    // handler ends the program from before mkdir until a while after it, where no step is.
    let program = program(
        "int n = run(words[1]);\
         act(SIGHUP, on_half); for (int i = 1; i < n; i++) helper();\
         half = 1; pid_t p; char *v[] = { \"mkdir\", \"-p\", \"/\", 0 };\
         posix_spawn(&p, \"/bin/mkdir\", 0, 0, v, environ); siginfo_t i;\
         if (n % 2) waitid(P_PID, p, &i, WEXITED); else waitpid(p, 0, 0);\
         usleep(5000); half = 0; helper();",
    );
    for _ in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("runs");
        let raced = race(&SIMPLE, &[&program.path(), file.to_str().unwrap()]);
        assert_eq!(
            raced.outcomes(),
            [("HUP@fork", "killed"), ("HUP@exec1", "killed"), ("HUP@exec1.action1", "taken")]
        );
        let exits = raced.race["signals"][0]["child_exits"].as_array().unwrap().iter();
        let came = |it: &Value| (it["id"].clone(), it["outcome"].clone(), it["bad"].clone());
        assert_eq!(
            exits.map(came).collect::<Vec<_>>(),
            [
                ("HUP@exec1.exit1-mkdir".into(), "ended".into(), true.into()),
                ("HUP@exec1.exit1-true".into(), "taken".into(), false.into()),
            ]
        );
        let told = "the first is HUP@exec1.exit1-mkdir, ended.";
        assert!(raced.sentence().ends_with(told), "{}", raced.sentence());
        assert_eq!(raced.race["untested"], serde_json::json!([]));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_of_a_service_that_a_reload_has_execute_itself_anew() {
    let anew = "if (got) execl(\"/proc/self/exe\", words[0], words[1], \"again\", (char *)0);";
    let service = |before: &str, handler: &str| {
        hup(&format!(
            "if (count < 3) {{ act(SIGHUP, on); for (;;) {{ {before}{anew} usleep(1000); }} }}\
             usleep(5000); {handler}"
        ))
    };
    let start = [("fork", "killed"), ("exec1", "killed"), ("exec1.action1", "taken")];
    let hole = service("", "act(SIGHUP, on);");
    let exposed = [("rest+exec2", "killed"), ("rest+exec2.action1", "taken")];
    assert_eq!(pairs(&hole), [&start[..], &exposed].concat());
    // It blocks the signal until its handler is there again.
    let mended =
        service("if (got) mask(SIG_BLOCK, SIGHUP);", "act(SIGHUP, on); mask(SIG_UNBLOCK, SIGHUP);");
    let blocked = [("rest+exec2", "taken"), ("rest+exec2.action1", "taken")];
    assert_eq!(pairs(&mended), [&start[..], &blocked].concat());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_of_threads_that_do_not_block_what_another_one_waits_for() {
    let found = hup(
        "thread(work); thread(work); usleep(10000); mask(SIG_BLOCK, SIGHUP); thread(wait_for_it);\
         usleep(20000); act(SIGHUP, on);",
    );
    assert_eq!(
        pairs(&found),
        [
            ("fork", "killed"),
            ("exec1", "killed"),
            ("exec1.sigwait1", "killed"),
            ("exec1.action1", "taken"),
        ]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_after_a_thread_executes_the_program_anew_that_ignores_it_until_then() {
    let found = hup("if (count < 3) { act(SIGHUP, SIG_IGN); usleep(10000);\
         if (!fork()) _exit(0); wait(0);\
         execl(\"/proc/self/exe\", words[0], words[1], \"2\", (char *)0); }\
         usleep(10000); act(SIGHUP, SIG_DFL); usleep(10000); act(SIGHUP, on);");
    assert_eq!(
        pairs(&found),
        [
            ("fork", "killed"),
            ("exec1", "killed"),
            ("exec1.action1", "ignored"),
            ("exec2", "ignored"),
            ("exec2.action1", "killed"),
            ("exec2.action2", "taken"),
        ]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_of_a_shell_script_whose_helpers_come_and_go() {
    let script = "trap 'x=1' HUP; sleep 0.03; trap - HUP; sleep 0.03; trap 'x=2' HUP;\
                  while :; do sleep 0.05; done";
    for _ in 0..3 {
        let raced = race(&SIMPLE, &["bash", "-c", script]);
        let found = raced.outcomes();
        assert!(!found.iter().any(|(id, _)| id.contains("child")), "{found:?}");
        assert_eq!(found.last().map(|it| it.1), Some("taken"), "{found:?}");
        // Before the first trap, and between two of them.
        let holes = found.split(|it| it.1 != "killed").filter(|it| !it.is_empty()).count();
        assert_eq!(holes, 2, "{found:?}");
        // The start is over although the shell sets INT's action for each of its commands: else
        // it is looked at for 30 s.
        let looked_at = raced.race["untouched"]["to_ns"].as_i64().unwrap();
        assert!(looked_at < 10_000_000_000, "{looked_at}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_where_a_signal_that_ends_is_lost_or_ends_with_another_code() {
    let found = outcomes(
        "usleep(5000); act(SIGTERM, on); usleep(10000); got = 0; act(SIGUSR1, on);\
         while (!got) usleep(3000); return got == SIGTERM ? 0 : 7;",
        &["--signal", "TERM", "--signal", "INT", "--signal", "USR1", "--timeout", "2s"],
    );
    assert_eq!(
        pairs(&found),
        [
            ("TERM@fork", "killed"),
            ("TERM@exec1", "killed"),
            ("TERM@exec1.action1", "hung"),
            ("INT@fork", "killed"),
            ("INT@exec1", "killed"),
            ("USR1@fork", "killed"),
            ("USR1@exec1", "killed"),
            ("USR1@exec1.action1", "ended"),
        ]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_that_a_signal_between_the_fork_of_a_worker_and_the_handler_leaves_the_worker() {
    let program = program(
        "helper(); pid_t worker = fork(); if (worker == 0) for (;;) pause(); usleep(10000);\
         act(SIGTERM, on); while (!got) usleep(3000); kill(worker, SIGTERM); return 0;",
    );
    for _ in 0..3 {
        let raced = race(&[&SIMPLE[..], &["--signal", "TERM"]].concat(), &[&program.path()]);
        assert_eq!(
            raced.outcomes(),
            [
                ("TERM@fork", "killed"),
                ("TERM@exec1", "killed"),
                ("TERM@exec1.fork1", "killed"),
                ("TERM@exec1.action1", "ended"),
            ]
        );
        let is_bad = |id: &str| raced.interval(id)["bad"].as_bool().unwrap();
        assert!(is_bad("TERM@exec1.fork1"), "{}", raced.stderr);
        assert!(!is_bad("TERM@exec1") && !is_bad("TERM@exec1.action1"), "{}", raced.stderr);
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_between_two_forks_of_workers_in_the_main_process_and_in_the_later_worker() {
    let found = hup("act(SIGHUP, on); usleep(10000);\
         if (!fork()) { act(SIGHUP, on); for (;;) pause(); }\
         usleep(10000); act(SIGHUP, SIG_DFL); usleep(10000);\
         if (!fork()) { usleep(20000); act(SIGHUP, on); for (;;) pause(); }\
         usleep(10000); act(SIGHUP, on);");
    assert_eq!(
        pairs(&found),
        [
            ("fork", "killed"),
            ("exec1", "killed"),
            ("exec1.action1", "taken"),
            ("exec1.fork1", "taken"),
            ("exec1.action2", "killed"),
            ("exec1.fork2", "killed"),
            ("exec1.action3", "taken"),
            ("child1.fork", "taken"),
            ("child1.action1", "taken"),
            ("child2.fork", "killed"),
            ("child2.action1", "taken"),
        ]
    );
}

/// A thread that sets the handler late.
const LATE: &str = "static void *late(void *it) { usleep(40000); act(SIGHUP, on); return it; }\n";

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_until_a_thread_sets_the_handler_beside_helpers_that_come_by_vfork() {
    let service = Compiled::new(&format!(
        "{HEAD}{LATE}int main(void) {{ use_them(); thread(late); helper();\n\
         if (!vfork()) {{ execl(\"/bin/true\", \"true\", (char *)0); _exit(1); }} wait(0);\n\
         for (;;) pause(); }}"
    ));
    for _ in 0..3 {
        let raced = race(&SIMPLE, &[&service.path()]);
        assert_eq!(
            raced.outcomes(),
            [("HUP@fork", "killed"), ("HUP@exec1", "killed"), ("HUP@exec1.action1", "taken")]
        );
        assert_eq!(raced.at_rest(), ("taken", false));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_holes_of_a_service_that_gives_root_up_executes_itself_and_stops_by_itself() {
    let service = "import os, signal, socket, sys, time\n\
         def say(text):\n    \
             s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n    \
             s.connect(os.environ['NOTIFY_SOCKET'])\n    \
             s.sendall(text)\n\
         HUP = signal.SIGHUP\n\
         if os.getuid() == 0:\n    \
             signal.signal(HUP, signal.SIG_IGN); time.sleep(0.02)\n    \
             os.setgid(65534); os.setuid(65534)\n    \
             signal.signal(HUP, signal.SIG_DFL)\n    \
             os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])\n\
         signal.signal(HUP, lambda *a: None)\n\
         say(b'READY=1'); time.sleep(0.05)\n\
         say(b'STOPPING=1'); signal.signal(HUP, signal.SIG_DFL); time.sleep(60)\n";
    for _ in 0..3 {
        let starts = "import sys; exec(sys.argv[1])";
        let raced = race(&["--settle", "200ms"], &[PYTHON, "-c", starts, service]);
        let found = raced.outcomes();
        let expected = [
            ("HUP@fork", "killed"),
            ("HUP@exec1", "killed"),
            ("HUP@exec1.action1", "ignored"),
            ("HUP@exec1.action2", "killed"),
            ("HUP@exec2", "killed"),
            ("HUP@exec2.action1", "taken"),
            ("HUP@exec2.ready1", "taken"),
            ("HUP@exec2.stopping1", "taken"),
            ("HUP@exec2.action2", "killed"),
        ];
        assert_eq!(found, expected, "{}", raced.stderr);
        // It stops: no reload through systemd reaches that, nor what is at rest then.
        assert_eq!(raced.at_rest(), ("killed", true));
        assert_eq!(raced.race["signals"][0]["rest"]["counts"], false);
        assert_eq!(raced.status, Some(0), "{}", raced.stderr);
    }
}
