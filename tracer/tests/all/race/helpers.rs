//! Workers that come after another number of helpers in each start: what is told of one is true of it.

use super::{Raced, SIMPLE, race};
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

/// A race of a start that has 3, 2, 3, 0 or 1 helpers before it does `work` (where `helpers` is
/// written), by the number of the run.
fn raced(helper: &str, main: &str) -> Raced {
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
    race(&SIMPLE, &[&program, file.to_str().unwrap()])
}

/// The outcomes of its intervals.
fn outcomes(helper: &str, main: &str) -> Vec<(String, String)> {
    let raced = raced(helper, main);
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

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_tells_the_end_of_a_worker_from_that_of_a_helper_in_its_place() {
    // A helper ends with the code that the worker's handler ends it with.
    let worker = "act(SIGHUP, on); helpers; if (!fork()) { usleep(5000); act(SIGHUP, leave);\
                  for (;;) pause(); }";
    let found = [("exec1.fork1", "taken"), ("child1.fork", "taken"), ("child1.action1", "ended")];
    let leaves = "static void leave(int s) { (void)s; _exit(0); }\n";
    each_time(&[&format!("{leaves}{BARE}")], worker, &[&START[..], &found].concat());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_tells_two_workers_that_are_alike_apart() {
    // A helper that still runs as the second worker is forked has the number of one of them.
    let helper = "static void helper(void) { if (!fork()) { usleep(3000); _exit(0); } }\n";
    let worker = |hole: &str| {
        format!(
            "if (!fork()) {{ usleep(20000); act(SIGHUP, SIG_IGN); usleep(20000);\
             act(SIGHUP, {hole}); for (;;) pause(); }}\n"
        )
    };
    let (one, other) = (worker("on"), worker("SIG_DFL"));
    let main = format!("act(SIGHUP, on); helpers; {one} helpers; {other}");
    let found = [
        ("exec1.fork1", "taken"),
        ("exec1.fork2", "taken"),
        ("child1.fork", "taken"),
        ("child1.action1", "ignored"),
        ("child1.action2", "taken"),
        ("child2.fork", "taken"),
        ("child2.action1", "ignored"),
        ("child2.action2", "killed"),
    ];
    each_time(&[helper], &main, &[&START[..], &found].concat());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_tries_the_exit_of_a_workers_child_however_many_helpers_come_before_the_worker() {
    // Until it goes on from there it is no good time for a HUP.
    let worker = "act(SIGHUP, on); helpers; if (!fork()) { usleep(5000); act(SIGHUP, on_half);\
                  half = 1; spawned(); half = 0; for (;;) pause(); }";
    let half = "static volatile sig_atomic_t half;\n\
                static void on_half(int s) { (void)s; if (half) _exit(9); }\n";
    let spawned = SPAWNED.replace("helper(void)", "spawned(void)").replace("true", "false");
    for helper in [FORKED, BARE] {
        for _ in 0..3 {
            let raced = raced(&format!("{half}{spawned}{helper}"), worker);
            let exits = raced.race["signals"][0]["child_exits"].as_array().unwrap().iter();
            let exits = exits.filter(|it| it["id"] == "HUP@child1.exit1-false");
            let found: Vec<_> = exits.map(|it| it["outcome"].as_str().unwrap()).collect();
            assert_eq!(found, ["ended"], "{helper}: {}", raced.stderr);
            assert_eq!(raced.interval("HUP@child1.action1")["outcome"], "taken");
        }
    }
}

/// Of what processes are told of their children, so much is taken down.
#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_tries_the_exits_of_the_first_children_of_very_many() {
    for (helpers, is_tried) in [(2, true), (100, false)] {
        // Each of them has helpers of its own.
        let program = Compiled::new(&format!(
            "#include <signal.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/prctl.h>\n\
             #include <sys/socket.h>\n#include <sys/un.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
             static void on(int s) {{ (void)s; }}\n\
             static void helper(const char *name, int own) {{\n\
               pid_t p = fork();\n\
               if (p) {{ waitpid(p, 0, 0); return; }}\n\
               prctl(PR_SET_NAME, name);\n\
               for (; own > 0; own--) helper(\"own\", 0);\n\
               _exit(0);\n\
             }}\n\
             int main(void) {{\n\
               signal(SIGHUP, on);\n\
               for (int i = 0; i < {helpers}; i++) helper(\"early\", 41);\n\
               helper(\"late\", 0);\n\
               struct sockaddr_un to = {{ .sun_family = AF_UNIX }};\n\
               strcpy(to.sun_path, getenv(\"NOTIFY_SOCKET\"));\n\
               int fd = socket(AF_UNIX, SOCK_DGRAM, 0);\n\
               sendto(fd, \"READY=1\", 7, 0, (struct sockaddr *)&to, sizeof to);\n\
               for (;;) pause();\n\
             }}"
        ));
        let options = ["--type", "notify", "--quiet-time", "300ms", "--settle", "100ms"];
        let raced = race(&options, &[&program.path()]);
        let exits = raced.race["signals"][0]["child_exits"].as_array().unwrap();
        let of = |name: &str| exits.iter().any(|it| it["id"].as_str().unwrap().ends_with(name));
        assert_eq!((of("-early"), of("-late")), (true, is_tried), "{:?}", raced.outcomes());
        let said = raced.stderr.contains("more than 4096 children that ended");
        assert_eq!(said, !is_tried, "{}", raced.stderr);
    }
}
