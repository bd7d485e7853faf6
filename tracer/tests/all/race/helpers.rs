//! Workers that come after another number of helpers in each start: what is told of one is true of it.

use super::{SIMPLE, race};
use crate::support::Compiled;

/// A helper by `posix_spawn`, which runs in its parent's memory.
const SPAWNED: &str = "static void helper(void) { pid_t p; char *v[] = { \"true\", 0 };\
    posix_spawn(&p, \"/bin/true\", 0, 0, v, environ); waitpid(p, 0, 0); }\n";

/// One by fork and exec.
const FORKED: &str = "static void helper(void) { pid_t p = fork(); if (!p) {\
    execl(\"/bin/true\", \"true\", (char *)0); _exit(1); } waitpid(p, 0, 0); }\n";

/// One that executes nothing.
const BARE: &str = "static void helper(void) { pid_t p = fork(); if (!p) _exit(0);\
    waitpid(p, 0, 0); }\n";

/// Outcomes of a start that has 3, 2, 3, 0 or 1 helpers before it does `work` (where `helpers` is
/// written), by the number of the run.
fn outcomes(helper: &str, main: &str) -> Vec<(String, String)> {
    let main =
        main.replace("helpers;", "for (int i = (n * n * 7 + n / 3) % 4; i > 0; i--) helper();\n");
    let program = Compiled::new(&format!(
        "#include <fcntl.h>\n#include <signal.h>\n#include <spawn.h>\n#include <stdlib.h>\n\
         #include <sys/wait.h>\n#include <unistd.h>\n\
         extern char **environ;\n\
         static void on(int s) {{ (void)s; }}\n\
         static void act(int s, void (*to)(int)) {{ struct sigaction a = {{ .sa_handler = to }};\
         sigaction(s, &a, 0); }}\n\
         static int run(const char *file) {{ int fd = open(file, O_RDWR | O_CREAT, 0600);\
         unsigned char n = 0; (void)!read(fd, &n, 1); n++; (void)!pwrite(fd, &n, 1, 0); close(fd);\
         return n; }}\n\
         {helper}\
         int main(int count, char **words) {{ (void)count; int n = run(words[1]);\n{main}\n\
         for (;;) pause(); }}"
    ));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runs");
    let program = program.path();
    let raced = race(&SIMPLE, &[&program, file.to_str().unwrap()]);
    raced.outcomes().into_iter().map(|(id, did)| (id.replace("HUP@", ""), did.to_owned())).collect()
}

fn each_time(helpers: &[&str], main: &str, expected: &[(&str, &str)]) {
    for helper in helpers {
        for _ in 0..3 {
            let found = outcomes(helper, main);
            assert_eq!(super::pairs(&found), expected, "{helper}");
        }
    }
}

const START: [(&str, &str); 3] =
    [("fork", "killed"), ("exec1", "killed"), ("exec1.action1", "taken")];

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_does_not_take_the_death_of_a_spawned_helper_for_that_of_a_worker() {
    // The helpers set the default action as they begin, where the worker has the handler.
    let worker = "act(SIGHUP, on); helpers; if (!fork()) for (;;) pause();";
    let expected = [&START[..], &[("exec1.fork1", "taken"), ("child1.fork", "taken")]].concat();
    each_time(&[SPAWNED], worker, &expected);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_does_not_take_what_a_helper_sets_for_what_a_worker_sets() {
    let worker = "helpers; if (!fork()) { usleep(5000); act(SIGHUP, on); for (;;) pause(); }\
                  usleep(2000); act(SIGHUP, on);";
    let found = [
        ("fork", "killed"),
        ("exec1", "killed"),
        ("exec1.fork1", "killed"),
        ("exec1.action1", "taken"),
        ("child1.fork", "killed"),
        ("child1.action1", "taken"),
    ];
    each_time(&[SPAWNED, FORKED, BARE], worker, &found);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_of_a_worker_however_the_helpers_before_it_are_started() {
    let worker = "act(SIGHUP, on); helpers; if (!fork()) { usleep(5000); act(SIGHUP, SIG_DFL);\
                  usleep(5000); act(SIGHUP, on); for (;;) pause(); }";
    let found = [
        ("exec1.fork1", "taken"),
        ("child1.fork", "taken"),
        ("child1.action1", "killed"),
        ("child1.action2", "taken"),
    ];
    each_time(&[SPAWNED, FORKED, BARE], worker, &[&START[..], &found].concat());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_finds_the_hole_of_a_worker_that_executes_a_program_by_the_name_of_that() {
    let worker = "act(SIGHUP, on); helpers; if (!fork()) { act(SIGHUP, SIG_IGN); usleep(2000);\
                  act(SIGHUP, SIG_DFL); usleep(2000); act(SIGHUP, SIG_IGN);\
                  execl(\"/bin/sleep\", \"sleep\", \"1000\", (char *)0); }";
    let found = [
        ("exec1.fork1", "taken"),
        ("child1.fork", "taken"),
        ("child1.action1", "ignored"),
        ("child1.action2", "killed"),
        ("child1.action3", "ignored"),
        ("child1.exec1", "ignored"),
    ];
    each_time(&[SPAWNED, FORKED, BARE], worker, &[&START[..], &found].concat());
}
