//! Instants among the system calls: what a program does with a signal that it takes while it is
//! half set up.

use super::{SIMPLE, race};
use crate::support::{Compiled, PYTHON};

/// Its handler is there at once, and needs a table that is there 200 system calls later.
fn half_set_up() -> Compiled {
    Compiled::new(
        "#include <signal.h>\n#include <stdlib.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
         static int *volatile table;\n\
         static void on(int s) { *table = s; }\n\
         int main(void) {\n\
           signal(SIGHUP, on);\n\
           for (int i = 0; i < 200; i++) syscall(SYS_getppid);\n\
           table = malloc(sizeof *table);\n\
           for (int i = 0; i < 200; i++) syscall(SYS_getppid);\n\
           for (;;) pause();\n\
         }",
    )
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_sweeps_over_what_a_handler_meets_that_is_half_set_up() {
    let program = half_set_up();
    let mut options = SIMPLE.to_vec();
    options.extend(["--sweep", "16"]);
    for _ in 0..3 {
        let raced = race(&options, &[&program.path()]);
        let calls = raced.race["untouched"]["calls"].as_u64().unwrap();
        assert!((400..500).contains(&calls), "{calls}");
        let sweep = raced.race["signals"][0]["sweep"].as_array().unwrap();
        assert_eq!(sweep.len(), 16);
        let did: Vec<(u64, &str)> = sweep
            .iter()
            .map(|it| {
                let number = it["id"].as_str().unwrap().rsplit_once("call").unwrap().1;
                (number.parse().unwrap(), it["outcome"].as_str().unwrap())
            })
            .collect();
        // The calls of the program's own begin about 40 calls after its exec.
        let setup = calls - 401;
        for (number, outcome) in did {
            let expected = match number {
                _ if number < setup => "killed",
                _ if number < setup + 200 => "crashed",
                _ if number > setup + 205 => "taken",
                _ => continue,
            };
            assert_eq!(outcome, expected, "call {number} of {calls}: {}", raced.sentence());
        }
        assert!(
            raced.sentence().contains("otherwise than the interval around"),
            "{}",
            raced.sentence()
        );
        assert_eq!(raced.status, Some(3));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_repeats_an_instant_of_a_sweep() {
    let program = half_set_up();
    let mut options = SIMPLE.to_vec();
    options.extend(["--only", "HUP@exec1.call150", "--repeat", "3"]);
    let raced = race(&options, &[&program.path()]);
    assert_eq!(raced.outcomes(), [("HUP@exec1.call150", "crashed")], "{}", raced.stderr);
    assert_eq!(raced.interval("HUP@exec1.call150")["tries"].as_array().unwrap().len(), 3);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_sweeps_over_each_thread_of_a_program() {
    let program = Compiled::new(
        "#include <pthread.h>\n#include <signal.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
         static void on(int s) { (void)s; }\n\
         static void *work(void *it) { for (;;) { syscall(SYS_getppid); usleep(1000); } return it; }\n\
         int main(void) {\n\
           signal(SIGHUP, on);\n\
           pthread_t one, two;\n\
           pthread_create(&one, 0, work, 0); pthread_create(&two, 0, work, 0);\n\
           for (;;) pause();\n\
         }",
    );
    let mut options = SIMPLE.to_vec();
    options.extend(["--sweep", "12"]);
    let raced = race(&options, &[&program.path()]);
    let sweep = raced.race["signals"][0]["sweep"].as_array().unwrap();
    let of = |thread: &str| {
        let is_it = |it: &&serde_json::Value| it["id"].as_str().unwrap().contains(thread);
        sweep.iter().filter(is_it).count()
    };
    assert!(of("thread1.") > 0 && of("thread2.") > 0, "{sweep:#?}");
    let late = sweep.iter().filter(|it| it["id"].as_str().unwrap().contains("thread"));
    for it in late {
        assert_eq!(it["outcome"], "taken", "{it:#}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_sweeps_over_what_comes_after_a_program_executes_itself_anew() {
    let program = "import os, signal, sys, time\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         if len(sys.argv) < 2: os.execv(sys.executable, [sys.executable, '-c', os.environ['PROGRAM'], 'x'])\n\
         time.sleep(60)";
    let mut options = SIMPLE.to_vec();
    options.extend(["--sweep", "8", "--only", "HUP@exec2.call5"]);
    let line = format!("PROGRAM=\"$0\" exec {PYTHON} -c \"$0\"");
    let raced = race(&options, &["sh", "-c", &line, program]);
    assert_eq!(raced.outcomes(), [("HUP@exec2.call5", "killed")], "{}", raced.stderr);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_sweeps_over_the_first_system_calls_of_very_many_and_says_so() {
    let program = Compiled::new(
        "#include <signal.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
         static void on(int s) { (void)s; }\n\
         int main(void) {\n\
           for (int i = 0; i < 70000; i++) syscall(SYS_getppid);\n\
           signal(SIGHUP, on);\n\
           for (;;) pause();\n\
         }",
    );
    let mut options = SIMPLE.to_vec();
    options.extend(["--sweep", "1"]);
    let raced = race(&options, &[&program.path()]);
    let calls = raced.race["untouched"]["calls"].as_u64().unwrap();
    assert!(
        (65_000..=65_536).contains(&calls),
        "{calls}: those before its exec are no calls of it"
    );
    assert!(raced.stderr.contains("more than 65536 system calls"), "{}", raced.stderr);
    let sweep = raced.race["signals"][0]["sweep"].as_array().unwrap();
    assert_eq!(sweep[0]["outcome"], "killed", "{sweep:#?}");
}
