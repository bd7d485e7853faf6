//! Who sent a signal to whom: other programs, other threads, the process itself, and
//! processes that follow one another under one pid.

use serde_json::Value;

use crate::support::{
    Compiled, PYTHON, Ran,
    container::{ANSWERING, Container, Hierarchy},
    file, python, run,
    traces::{Trace, hups},
};

fn main_pid(ran: &Ran) -> &Value {
    &ran.activation()["main_process"]["pid"]
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_program_that_is_gone_at_once_is_named_as_the_sender() {
    let ran = python(
        // Not by the subprocess module, which blocks signals until the program runs.
        "import os, signal\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         target = str(os.getpid())\n\
         if os.fork() == 0: os.execv('/bin/kill', ['kill', '-HUP', target])\n\
         os.wait()",
        &[],
    );
    let sender = &ran.hups()[0]["sender"];
    let execs = ran.events("exec");
    let killer = execs.iter().find(|exec| exec["process"]["comm"] == "kill").unwrap();
    assert_eq!((&sender["comm"], &sender["pid"]), (&"kill".into(), &killer["process"]["pid"]));
    assert_eq!(&ran.hups()[0]["target"]["pid"], main_pid(&ran));
    assert_eq!(ran.hup(0), ("handler", "handled"));
}

/// What was told of a sender a moment ago holds no longer than its program runs.
#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_sender_that_executes_another_program_at_once_is_told_with_that_ones_command() {
    let ran = python(
        "import os, signal\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         target = str(os.getpid())\n\
         script = 'kill -HUP $0; kill -HUP $0; exec /bin/kill -HUP $0'\n\
         if os.fork() == 0: os.execv('/bin/sh', ['sh', '-c', script, target])\n\
         os.wait()",
        &[],
    );
    let senders: Vec<_> = ran.hups().into_iter().map(|hup| &hup["sender"]).collect();
    let pid = &senders[0]["pid"];
    assert!(senders.len() == 3 && senders.iter().all(|it| it["pid"] == *pid), "{senders:?}");
    let commands: Vec<&str> = senders.iter().map(|it| it["command"].as_str().unwrap()).collect();
    assert!(commands[0].starts_with("sh -c kill -HUP") && commands[1] == commands[0]);
    assert!(commands[2].starts_with("/bin/kill -HUP "), "{commands:?}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn raised_by_the_process_itself_it_kills_and_names_itself() {
    let program = Compiled::new("#include <signal.h>\nint main(void) { return raise(SIGHUP); }");
    let ran = program.run(&[]);
    assert_eq!(ran.hup(0), ("default", "killed"));
    let hup = ran.hups()[0];
    assert_eq!((&hup["sender"]["pid"], &hup["target"]["pid"]), (main_pid(&ran), main_pid(&ran)));
    assert!(hup["sender"]["comm"].as_str().unwrap().starts_with("program"), "{hup}");
    assert_eq!((hup["si_code"].as_i64(), &hup["tid"]), (Some(-6), main_pid(&ran)));
    assert_eq!(ran.activation()["outcome"]["signal"], "HUP");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn sent_to_another_thread_it_names_that_thread_and_ends_the_whole_process() {
    let ran = python(
        "import signal, threading, time\n\
         other = threading.Thread(target=time.sleep, args=(10,), daemon=True)\n\
         other.start()\n\
         signal.pthread_kill(other.ident, signal.SIGHUP)\n\
         time.sleep(10)",
        &[],
    );
    assert_eq!(ran.hup(0), ("default", "killed"));
    let hup = ran.hups()[0];
    assert_eq!(&hup["target"]["pid"], main_pid(&ran));
    assert!(hup["tid"].is_u64() && &hup["tid"] != main_pid(&ran), "{hup}");
    assert_eq!(ran.activation()["outcome"]["signal"], "HUP");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn sent_to_a_process_group_it_is_told_once_for_each_member() {
    let ran = python(
        "import os, signal, time\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         child = os.fork()\n\
         if child == 0:\n    \
             signal.signal(signal.SIGHUP, signal.SIG_DFL)\n    \
             time.sleep(10)\n\
         time.sleep(0.2)\n\
         os.kill(0, signal.SIGHUP)\n\
         os.waitpid(child, 0)",
        &[],
    );
    let hups = ran.hups();
    assert_eq!(hups.len(), 2, "{hups:#?}");
    assert!(hups.iter().all(|hup| &hup["sender"]["pid"] == main_pid(&ran)));
    let (own, childs): (Vec<&Value>, Vec<&Value>) =
        hups.iter().partition(|hup| &hup["target"]["pid"] == main_pid(&ran));
    assert_eq!(
        (own[0]["disposition"].as_str(), own[0]["fate"].as_str()),
        (Some("handler"), Some("handled"))
    );
    assert_eq!(
        (childs[0]["disposition"].as_str(), childs[0]["fate"].as_str()),
        (Some("default"), Some("killed"))
    );
    assert_eq!(ran.activation()["outcome"]["code"], 0, "the child's death is not the service's");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn between_a_re_exec_and_its_new_handler_it_kills() {
    let directory = tempfile::tempdir().unwrap();
    let program = file(
        directory.path(),
        "service.py",
        "import os, signal, sys, time\n\
         again = len(sys.argv) > 1\n\
         if again: time.sleep(5)\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         if not again:\n    \
             time.sleep(0.3)\n    \
             os.execv('/usr/bin/python3', ['python3', __file__, 'again'])",
    );
    let ran = run(
        &["--type", "simple", "--timeout", "20s", "--send", "HUP@handler", "--send", "HUP@1s"],
        &[PYTHON, program.to_str().unwrap()],
    );
    assert_eq!(ran.events("exec").len(), 2, "{:#}", ran.activation());
    assert_eq!(ran.hup(0), ("handler", "handled"));
    assert_eq!(ran.hup(1), ("default", "killed"));
    assert_eq!(ran.alerts(), ["reload-before-handler"]);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn after_a_sigtimedwait_that_is_over_nobody_takes_it() {
    let program = Compiled::new(
        "#include <signal.h>\n#include <time.h>\n#include <unistd.h>\n\
         int main(void) {\n\
           sigset_t s; sigemptyset(&s); sigaddset(&s, SIGHUP);\n\
           sigprocmask(SIG_BLOCK, &s, 0);\n\
           struct timespec t = { .tv_nsec = 100000000 };\n\
           int first = sigtimedwait(&s, 0, &t);\n\
           usleep(600000);\n\
           return first == -1 ? 7 : 1;\n\
         }",
    );
    let ran = program.run(&["HUP@400ms"]);
    assert_eq!(ran.activation()["outcome"]["code"], 7, "the wait ended before the signal");
    assert_eq!(ran.hup(0), ("blocked", "pending"));
    let awaited = program.run(&["HUP@50ms"]);
    assert_eq!(awaited.hup(0), ("blocked", "handled"));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn what_waited_for_a_process_is_not_taken_by_the_next_one_under_its_pid() {
    // The first dies with a HUP waiting. The second, under the same pid, handles one.
    let program = Compiled::new(
        "#define _GNU_SOURCE\n\
         #include <linux/sched.h>\n#include <signal.h>\n#include <stdint.h>\n#include <sys/syscall.h>\n\
         #include <sys/wait.h>\n#include <unistd.h>\n\
         static void on(int s) { (void)s; }\n\
         int main(void) {\n\
           sigset_t hup; sigemptyset(&hup); sigaddset(&hup, SIGHUP);\n\
           pid_t first = fork();\n\
           if (first == 0) {\n\
             sigprocmask(SIG_BLOCK, &hup, 0);\n\
             usleep(400000); _exit(3);\n\
           }\n\
           usleep(200000); kill(first, SIGHUP); waitpid(first, 0, 0);\n\
           struct clone_args c = { .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&first, .set_tid_size = 1 };\n\
           pid_t second = syscall(SYS_clone3, &c, sizeof c);\n\
           if (second == 0) {\n\
             struct sigaction a = { .sa_handler = on };\n\
             sigaction(SIGHUP, &a, 0);\n\
             pause();\n\
             _exit(4);\n\
           }\n\
           if (second != first) return 9;\n\
           usleep(200000); kill(second, SIGHUP);\n\
           int status; waitpid(second, &status, 0);\n\
           return WIFEXITED(status) ? WEXITSTATUS(status) : 8;\n\
         }",
    );
    let ran = program.run(&[]);
    assert_eq!(ran.activation()["outcome"]["code"], 4, "the kernel's word: same pid, handled");
    assert_eq!(ran.hups()[0]["target"]["pid"], ran.hups()[1]["target"]["pid"]);
    assert_eq!(ran.hup(0), ("blocked", "pending"), "it waited to the end");
    assert_eq!(ran.hup(1), ("handler", "handled"));
    let pid = &ran.hups()[0]["target"]["pid"];
    let exits = ran.events("exit");
    let ends: Vec<Option<u64>> = exits
        .iter()
        .filter(|exit| &exit["process"]["pid"] == pid)
        .map(|exit| exit["code"].as_u64())
        .collect();
    assert_eq!(ends, [Some(3), Some(4)]);
}

/// A program that handles HUP and waits for one after `deed`, which has it sent.
fn after(includes: &str, deed: &str) -> Ran {
    let program = Compiled::new(&format!(
        "#define _GNU_SOURCE\n\
         #include <fcntl.h>\n#include <signal.h>\n#include <stdlib.h>\n#include <string.h>\n\
         #include <sys/prctl.h>\n#include <sys/syscall.h>\n#include <sys/wait.h>\n\
         #include <time.h>\n#include <unistd.h>\n{includes}\n\
         static volatile sig_atomic_t came;\n\
         static void on(int s) {{ (void)s; came = 1; }}\n\
         int main(void) {{\n\
           struct sigaction a = {{ .sa_handler = on }};\n\
           sigaction(SIGHUP, &a, 0);\n\
           {deed}\n\
           for (int i = 0; !came && i < 100; i++) usleep(20000);\n\
           return came ? 0 : 9;\n\
         }}"
    ));
    let ran = program.run(&[]);
    assert_eq!(ran.activation()["outcome"]["code"], 0, "a HUP came: {:#}", ran.activation());
    assert_eq!(ran.hup(0), ("handler", "handled"));
    ran
}

/// The HUP's `si_code`, if nobody is named as its sender.
fn code_without_sender(ran: &Ran) -> Option<i64> {
    let hup = ran.hups()[0];
    assert!(hup["sender"].is_null(), "{hup}");
    hup["si_code"].as_i64()
}

/// The HUP's `si_code`, if the service itself is named as its sender.
fn code_from_itself(ran: &Ran) -> Option<i64> {
    let hup = ran.hups()[0];
    assert_eq!(&hup["sender"]["pid"], main_pid(ran), "{hup}");
    hup["si_code"].as_i64()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_timer_that_runs_out_is_nobodys_signal() {
    let ran = after(
        "",
        "struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGHUP };\n\
         timer_t t; timer_create(CLOCK_MONOTONIC, &e, &t);\n\
         struct itimerspec when = { .it_value = { .tv_nsec = 100000000 } };\n\
         timer_settime(t, 0, &when, 0);",
    );
    assert_eq!(code_without_sender(&ran), Some(-2), "SI_TIMER");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_message_in_a_queue_is_nobodys_signal() {
    let ran = after(
        "#include <mqueue.h>\n#include <stdio.h>",
        "struct mq_attr size = { .mq_maxmsg = 1, .mq_msgsize = 8 };\n\
         char name[64]; snprintf(name, sizeof name, \"/sigready-%d\", getpid());\n\
         mqd_t q = mq_open(name, O_CREAT | O_RDWR, 0600, &size);\n\
         if (q == (mqd_t)-1) return 8;\n\
         mq_unlink(name);\n\
         struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGHUP };\n\
         if (mq_notify(q, &e)) return 7;\n\
         pid_t child = fork();\n\
         if (child == 0) _exit(mq_send(q, \"x\", 1, 0) != 0);\n\
         waitpid(child, 0, 0);",
    );
    assert_eq!(code_without_sender(&ran), Some(-3), "SI_MESGQ");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn input_on_a_descriptor_is_nobodys_signal() {
    let ran = after(
        "",
        "int p[2]; if (pipe(p)) return 8;\n\
         fcntl(p[0], F_SETOWN, getpid()); fcntl(p[0], F_SETSIG, SIGHUP);\n\
         fcntl(p[0], F_SETFL, O_ASYNC);\n\
         pid_t child = fork();\n\
         if (child == 0) _exit(write(p[1], \"x\", 1) != 1);\n\
         waitpid(child, 0, 0);",
    );
    assert_eq!(code_without_sender(&ran), Some(1), "POLL_IN");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_terminal_that_hangs_up_is_nobody() {
    // The child leads a session on a terminal whose other end its parent closes.
    let ran = after(
        "#include <sys/ioctl.h>",
        "int other = posix_openpt(O_RDWR | O_NOCTTY);\n\
         grantpt(other); unlockpt(other);\n\
         pid_t child = fork();\n\
         if (child == 0) {\n\
           setsid(); ioctl(open(ptsname(other), O_RDWR), TIOCSCTTY, 0); close(other);\n\
           for (int i = 0; !came && i < 100; i++) usleep(20000);\n\
           _exit(came ? 0 : 9);\n\
         }\n\
         usleep(300000); close(other);\n\
         int status; waitpid(child, &status, 0);\n\
         came = WIFEXITED(status) && WEXITSTATUS(status) == 0;",
    );
    assert_eq!(code_without_sender(&ran), Some(128), "SI_KERNEL");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_parent_that_dies_is_named_by_the_signal_its_child_asked_for() {
    let ran = after(
        "",
        "int p[2]; if (pipe(p)) return 8;\n\
         pid_t middle = fork();\n\
         if (middle == 0) {\n\
           if (fork() == 0) {\n\
             prctl(PR_SET_PDEATHSIG, SIGHUP);\n\
             if (write(p[1], \"x\", 1) != 1) _exit(7);\n\
             for (int i = 0; !came && i < 100; i++) usleep(20000);\n\
             if (write(p[1], came ? \"y\" : \"n\", 1) != 1) _exit(6);\n\
             _exit(0);\n\
           }\n\
           pause(); _exit(0);\n\
         }\n\
         char c; if (read(p[0], &c, 1) != 1) return 5;\n\
         kill(middle, SIGKILL); waitpid(middle, 0, 0);\n\
         if (read(p[0], &c, 1) != 1) return 4;\n\
         came = c == 'y';",
    );
    let hup = ran.hups()[0];
    let exits = ran.events("exit");
    let killed = exits.iter().find(|exit| exit["signal"] == "KILL").unwrap();
    assert_eq!(hup["sender"]["pid"], killed["process"]["pid"], "{hup}");
    assert_eq!(hup["si_code"], 0);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn whoever_queues_a_signal_is_named_but_not_where_the_code_is_that_of_a_timer() {
    let queued = after("", "union sigval v = { 0 }; sigqueue(getpid(), SIGHUP, v);");
    assert_eq!(code_from_itself(&queued), Some(-1), "SI_QUEUE");
    let with_code = |code: &str| {
        after(
            "",
            &format!(
                "siginfo_t i; memset(&i, 0, sizeof i);\n\
                 i.si_signo = SIGHUP; i.si_code = {code}; i.si_pid = 1;\n\
                 syscall(SYS_rt_sigqueueinfo, getpid(), SIGHUP, &i);"
            ),
        )
    };
    assert_eq!(code_from_itself(&with_code("-42")), Some(-42), "no kernel gives that");
    assert_eq!(code_without_sender(&with_code("SI_TIMER")), Some(-2));
    assert_eq!(code_without_sender(&with_code("SI_KERNEL")), Some(128));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn whoever_sends_through_a_pidfd_or_to_a_thread_is_named() {
    let pidfd = after(
        "",
        "int self = syscall(SYS_pidfd_open, getpid(), 0);\n\
         syscall(SYS_pidfd_send_signal, self, SIGHUP, 0, 0);",
    );
    assert_eq!(code_from_itself(&pidfd), Some(0), "SI_USER");
    let thread = after("", "syscall(SYS_tgkill, getpid(), gettid(), SIGHUP);");
    assert_eq!(code_from_itself(&thread), Some(-6), "SI_TKILL");
}

/// Handles HUP, once it runs.
const WEB: &str = "\
import signal, time
signal.signal(signal.SIGHUP, lambda *a: None)
open('/run/web-handles', 'w').close()
while True:
    time.sleep(1)
";
const WEB_UNIT: &str = "\
[Service]
ExecStart=/usr/bin/python3 /shared/web.py
ExecReload=/bin/kill -HUP $MAINPID
";
/// The same whose reload goes on for a while, and who asked for it waits.
const SLOW_RELOAD: &str = "\
[Service]
ExecReload=/bin/sleep 0.3
";
/// What logrotate does: a script of a timer's unit that finds a process and signals it.
const ROTATE: &str = "\
kill_it() { /bin/kill -HUP \"$1\"; }
kill_it \"$(systemctl show -p MainPID --value web)\"
sleep 1
";
const ROTATE_UNIT: &str = "\
[Service]
Type=oneshot
ExecStart=/bin/sh /shared/rotate.sh --daily
";

/// How often a script signals it.
const ROTATIONS: usize = 3;
/// How often the unit is reloaded through systemd where who asked is gone at once.
const QUICK_RELOADS: usize = 10;
/// How often where who asked is there for a while.
const SLOW_RELOADS: usize = 10;

fn told_of_senders(hierarchy: Hierarchy) {
    let files = [
        ("web.py", WEB),
        ("web.service", WEB_UNIT),
        ("slow.conf", SLOW_RELOAD),
        ("rotate.sh", ROTATE),
        ("rotate.service", ROTATE_UNIT),
    ];
    let container = Container::boot(hierarchy, ANSWERING, &files);
    container.wait_for("up");
    container.ask(
        "cp /shared/web.service /shared/rotate.service /run/systemd/system/
         systemctl daemon-reload",
    );
    let trace = Trace::start_in(&container, &["web"]);
    container.ask(
        "systemctl start web
         while [ ! -e /run/web-handles ]; do sleep 0.1; done",
    );
    for _ in 0..ROTATIONS {
        container.ask("systemctl start rotate");
    }
    for _ in 0..QUICK_RELOADS {
        container.ask("systemctl reload web; sleep 0.1");
    }
    container.ask(
        "mkdir /run/systemd/system/web.service.d
         cp /shared/slow.conf /run/systemd/system/web.service.d
         systemctl daemon-reload",
    );
    for _ in 0..SLOW_RELOADS {
        container.ask("systemctl reload web");
    }
    container.ask("systemctl kill -s HUP web; true");
    let traced = trace.end();
    container.over();
    let start = &traced.activations("web.service")[0];
    let hups = hups(start);
    assert_eq!(hups.len(), ROTATIONS + QUICK_RELOADS + SLOW_RELOADS + 1, "{start:#}");
    let pid = start["main_process"]["ns_pid"].as_u64().unwrap();
    let kill = format!("/bin/kill -HUP {pid}");

    let senders: Vec<&Value> = hups.iter().map(|hup| &hup["sender"]).collect();
    let (by_script, rest) = senders.split_at(ROTATIONS);
    for sender in by_script {
        assert_eq!(sender["comm"], "kill", "{sender:#}");
        assert_eq!(sender["command"], kill.as_str(), "{sender:#}");
        let parents = sender["parents"].as_array().unwrap();
        assert_eq!(parents.len(), 1, "{sender:#}");
        assert_eq!(parents[0]["comm"], "sh");
        assert_eq!(sender["asked_by"], Value::Null, "no systemd sent it");
    }
    // It is read for some milliseconds at most: on a busy host it may be unknown.
    let commands = by_script.iter().map(|sender| &sender["parents"][0]["command"]);
    let commands: Vec<&Value> = commands.filter(|command| !command.is_null()).collect();
    assert!(!commands.is_empty(), "{by_script:#?}");
    for command in commands {
        assert_eq!(command, "/bin/sh /shared/rotate.sh --daily");
    }

    let (by_reload, by_systemd) = rest.split_at(QUICK_RELOADS + SLOW_RELOADS);
    for sender in by_reload {
        assert_eq!((&sender["comm"], &sender["command"]), (&"kill".into(), &kill.as_str().into()));
        // Who asked is looked for while it is there: it may be gone.
        if let Some(asker) = sender["asked_by"].as_object() {
            assert_eq!(asker["command"], "systemctl reload web", "{asker:#?}");
            assert_eq!(asker["unit"], "scenario.service", "{asker:#?}");
        }
    }
    // It is looked for some milliseconds at most: on a busy host not every time.
    let mut slow = by_reload[QUICK_RELOADS..].iter();
    assert!(slow.any(|sender| sender["asked_by"].is_object()), "{by_reload:#?}");

    let by_systemd = by_systemd[0];
    assert_eq!(by_systemd["comm"], "systemd", "{by_systemd:#}");
    if let Hierarchy::Unified = hierarchy {
        assert_eq!(by_script[0]["unit"], "rotate.service", "{by_script:#?}");
        assert_eq!(by_reload[0]["unit"], "web.service", "{by_reload:#?}");
        assert_eq!(by_systemd["unit"], "init.scope", "{by_systemd:#}");
    }
    // Who asked is gone as soon as it is done: it is named, or it is not.
    if let Some(asker) = by_systemd["asked_by"].as_object() {
        assert_eq!(asker["command"], "systemctl kill -s HUP web");
    }
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn a_sender_is_told_with_its_command_its_unit_who_started_it_and_who_asked() {
    told_of_senders(Hierarchy::Unified);
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn in_a_v1_hierarchy_its_command_and_who_started_it_are_told_too() {
    told_of_senders(Hierarchy::V1);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_hostile_command_line_is_told_escaped_and_cut() {
    let ran = python(
        "import os, signal\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         target = str(os.getpid())\n\
         if os.fork() == 0:\n    \
             os.execv('/bin/sh', ['\\x1b[31m' + 'x' * 5000, '-c', 'kill -HUP ' + target])\n\
         os.wait()",
        &[],
    );
    let command = ran.hups()[0]["sender"]["command"].as_str().unwrap();
    assert!(command.starts_with("\u{1b}[31mxxx") && command.ends_with('…'), "{command:?}");
    assert!(command.chars().count() <= 512, "{command:?}");
}
