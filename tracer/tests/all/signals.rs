//! What the kernel does with a signal in each state of its target, and what the
//! timeline says of it.

use serde_json::json;

use crate::support::{Compiled, python, run};

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_default_hup_kills_and_is_seen_as_hup_not_as_kill() {
    let ran = python("import time; time.sleep(10)", &["HUP@100ms"]);
    assert_eq!(ran.status, Some(3));
    assert_eq!(ran.hup(0), ("default", "killed"));
    let sender = &ran.hups()[0]["sender"];
    assert_eq!((sender["comm"].as_str(), sender["uid"].as_u64()), (Some("sigready"), Some(0)));
    assert_eq!(ran.activation()["outcome"]["signal"], "HUP");
    assert_eq!(ran.alerts(), ["reload-before-handler"]);
    assert!(ran.events("signal").iter().all(|event| event["signal"] != "KILL"));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn blocked_in_the_first_thread_alone_it_kills_at_once() {
    let ran = python(
        "import signal, threading, time\n\
         def helper():\n    \
             open('/proc/self/task/%d/comm' % threading.get_native_id(), 'w').write('helper')\n    \
             print(threading.get_native_id(), flush=True)\n    \
             time.sleep(10)\n\
         threading.Thread(target=helper, daemon=True).start()\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n\
         time.sleep(10)",
        &["HUP@300ms"],
    );
    assert_eq!(ran.hup(0), ("default", "killed"));
    assert_eq!(ran.hups()[0].get("fate_ns"), None, "at once");
    let tid: u32 = ran.stdout.trim().parse().unwrap();
    assert_eq!(ran.hups()[0]["unblocked"], json!({ "tid": tid, "comm": "helper" }));
    let alert = &ran.activation()["alerts"][0];
    let named = format!("the main thread blocks it, but thread {tid} (helper) did not");
    assert!(alert["message"].as_str().unwrap().contains(&named), "{alert:#}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn blocked_everywhere_it_waits_and_kills_when_unblocked() {
    let ran = python(
        "import signal, time\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n\
         time.sleep(0.6)\n\
         signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])\n\
         time.sleep(10)",
        &["HUP@300ms"],
    );
    assert_eq!(ran.hup(0), ("blocked", "killed"));
    let (sent, died) = (&ran.hups()[0]["at_ns"], &ran.hups()[0]["fate_ns"]);
    assert!(died.as_i64().unwrap() - sent.as_i64().unwrap() > 100_000_000, "{sent} {died}");
    assert_eq!(ran.activation()["outcome"]["signal"], "HUP");
    let masks = ran.events("mask");
    assert_eq!(
        masks.iter().map(|mask| mask["blocked"].as_bool().unwrap()).collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn ignored_it_is_lost() {
    let ran = python(
        "import signal, time; signal.signal(signal.SIGHUP, signal.SIG_IGN); time.sleep(0.6)",
        &["HUP@300ms"],
    );
    assert_eq!(ran.hup(0), ("ignored", "ignored"));
    assert_eq!(ran.alerts(), ["reload-ignored"]);
    assert_eq!(ran.status, Some(0), "a warning");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn with_a_handler_it_is_handled_and_the_handler_dates_from_its_installation() {
    let ran = python(
        "import signal, time\n\
         time.sleep(0.2)\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         time.sleep(0.6)",
        &["HUP@handler"],
    );
    assert_eq!(ran.hup(0), ("handler", "handled"));
    assert_eq!(ran.alerts(), [""; 0]);
    let handler = ran.activation()["milestones"]["handler_ns"].as_i64().unwrap();
    assert!(handler > 200_000_000, "{handler}");
    assert_eq!(ran.activation()["exposure"][0]["to_ns"].as_i64(), Some(handler));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_handler_for_one_delivery_leaves_the_second_to_kill() {
    let program = Compiled::new(
        "#include <signal.h>\n#include <unistd.h>\n\
         static void on(int s) { (void)s; }\n\
         int main(void) {\n\
           struct sigaction a = { .sa_handler = on, .sa_flags = SA_RESETHAND };\n\
           sigaction(SIGHUP, &a, 0);\n\
           for (;;) pause();\n\
         }",
    );
    let ran = program.run(&["HUP@100ms", "HUP@300ms"]);
    assert_eq!(ran.hup(0), ("handler", "handled"));
    assert_eq!(ran.hup(1), ("default", "killed"));
    assert_eq!(ran.events("disposition").iter().filter(|e| e["once"] == true).count(), 1);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn exec_keeps_what_is_ignored_and_blocked_and_takes_handlers_away() {
    let ran = python(
        "import os, signal\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n\
         os.execv('/usr/bin/sleep', ['sleep', '10'])",
        &["HUP@500ms"],
    );
    assert_eq!(ran.hup(0), ("default", "killed"));
    let execs = ran.events("exec");
    assert_eq!(execs.len(), 2);
    assert_eq!(execs[1]["disposition"], "default");
    assert!(ran.activation()["milestones"]["last_exec_ns"].as_i64().unwrap() > 0);
    let ignored = python(
        "import os, signal\n\
         signal.signal(signal.SIGHUP, signal.SIG_IGN)\n\
         os.execv('/usr/bin/sleep', ['sleep', '1'])",
        &["HUP@500ms"],
    );
    assert_eq!(ignored.events("exec")[1]["disposition"], "ignored");
    assert_eq!(ignored.hup(0), ("ignored", "ignored"));
    let blocked = python(
        "import os, signal\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n\
         os.execv('/usr/bin/sleep', ['sleep', '1'])",
        &["HUP@500ms"],
    );
    assert_eq!(blocked.events("exec")[1]["disposition"], "blocked");
    assert_eq!(blocked.hup(0), ("blocked", "pending"));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn blocked_and_read_by_a_signalfd_it_is_handled() {
    let program = Compiled::new(
        "#include <signal.h>\n#include <sys/signalfd.h>\n#include <unistd.h>\n\
         int main(void) {\n\
           sigset_t s; sigemptyset(&s); sigaddset(&s, SIGHUP);\n\
           sigprocmask(SIG_BLOCK, &s, 0);\n\
           int fd = signalfd(-1, &s, 0);\n\
           struct signalfd_siginfo i;\n\
           return read(fd, &i, sizeof i) == sizeof i ? 0 : 1;\n\
         }",
    );
    let ran = program.run(&["HUP@200ms"]);
    assert_eq!(ran.hup(0), ("blocked", "handled"));
    assert_eq!(ran.activation()["outcome"]["code"], 0);
    assert!(ran.events("disposition").iter().any(|event| event["consumer"] == "signalfd"));
    // It ends by what it does on the reload.
    assert_eq!(ran.alerts(), ["reload-ends-service"]);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn blocked_and_awaited_by_sigwait_it_is_handled() {
    let ran = python(
        "import signal\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n\
         signal.sigwait([signal.SIGHUP])",
        &["HUP@300ms"],
    );
    assert_eq!(ran.hup(0), ("blocked", "handled"));
    assert!(ran.events("disposition").iter().any(|event| event["consumer"] == "sigwait"));
    assert_eq!(ran.activation()["outcome"]["code"], 0);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_second_one_of_its_kind_is_coalesced_while_the_first_waits() {
    let ran = python(
        "import signal, time\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n\
         time.sleep(0.7)",
        &["HUP@300ms", "HUP@400ms"],
    );
    assert_eq!(ran.hup(0), ("blocked", "pending"));
    assert_eq!(ran.hup(1), ("blocked", "coalesced"));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn setting_it_ignored_throws_away_what_waits() {
    let ran = python(
        "import signal, time\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n\
         time.sleep(0.5)\n\
         signal.signal(signal.SIGHUP, signal.SIG_IGN)\n\
         time.sleep(0.1)",
        &["HUP@300ms"],
    );
    assert_eq!(ran.hup(0), ("blocked", "dropped"));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_signal_to_one_thread_names_the_thread() {
    let ran = python(
        "import signal, threading\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         signal.pthread_kill(threading.get_ident(), signal.SIGHUP)",
        &[],
    );
    let hup = ran.hups()[0];
    assert_eq!(ran.hup(0), ("handler", "handled"));
    assert_eq!(hup["tid"], hup["target"]["pid"]);
    assert_eq!(hup["sender"]["pid"], hup["target"]["pid"], "it sent it to itself");
    assert_eq!(ran.alerts(), [""; 0], "a signal to oneself is no reload");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_signal_that_dumps_core_kills_by_its_own_name() {
    let ran = run(
        &["--until", "exit", "--timeout", "20s", "--type", "simple", "--send", "QUIT@200ms"],
        &["/usr/bin/sleep", "10"],
    );
    let quit = ran.events("signal").into_iter().find(|event| event["signal"] == "QUIT").unwrap();
    assert_eq!(
        (quit["disposition"].as_str(), quit["fate"].as_str()),
        (Some("default"), Some("killed"))
    );
    assert_eq!(ran.activation()["outcome"]["signal"], "QUIT");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_signal_from_the_kernel_has_no_sender() {
    let ran = run(
        &["--until", "exit", "--timeout", "20s", "--type", "simple"],
        &["/usr/bin/python3", "-c", "import ctypes; ctypes.string_at(0)"],
    );
    let fault = ran.events("signal").into_iter().find(|event| event["signal"] == "SEGV").unwrap();
    assert!(fault["sender"].is_null());
    assert_eq!(fault["fate"], "killed");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn an_init_without_a_handler_ignores_it() {
    let ran = run(
        &["--until", "exit", "--timeout", "20s", "--type", "simple"],
        &[
            "/usr/bin/unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "/usr/bin/python3",
            "-c",
            "import os, time\n\
             if os.fork() == 0:\n    os.kill(1, 1)\n    os._exit(0)\n\
             time.sleep(0.5)",
        ],
    );
    assert_eq!(ran.hup(0), ("ignored", "ignored"));
    assert_eq!(ran.hups()[0]["target"]["ns_pid"], 1);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_pid_in_its_own_namespace_is_told_beside_the_hosts() {
    let ran = run(
        &["--until", "exit", "--timeout", "20s", "--type", "simple"],
        &["/usr/bin/unshare", "--pid", "--fork", "/usr/bin/true"],
    );
    let execs = ran.events("exec");
    let inner = execs.iter().find(|event| event["exe"] == "/usr/bin/true").unwrap();
    assert_eq!(inner["process"]["ns_pid"], 1);
    assert_ne!(inner["process"]["pid"], 1);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn blocked_in_more_threads_than_are_looked_at_it_is_told_as_blocked() {
    let program = Compiled::new(
        "#include <pthread.h>\n#include <signal.h>\n#include <unistd.h>\n\
         static void *wait_for_ever(void *x) { for (;;) pause(); return x; }\n\
         int main(void) {\n\
           sigset_t s; sigemptyset(&s); sigaddset(&s, SIGHUP);\n\
           pthread_sigmask(SIG_BLOCK, &s, 0);\n\
           for (int i = 0; i < 69; i++) { pthread_t t; pthread_create(&t, 0, wait_for_ever, 0); }\n\
           sleep(1); _exit(0);\n\
         }",
    );
    let ran = program.run(&["HUP@500ms"]);
    assert_eq!(ran.hup(0), ("blocked", "pending"));
    assert!(!ran.alerts().contains(&"reload-before-handler"), "{:?}", ran.alerts());
}
