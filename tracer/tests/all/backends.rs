//! The two ways of seeing handlers and messages: they tell the same story, and one of
//! them misses what the documentation says it misses.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use assert_cmd::cargo::cargo_bin;
use nix::libc;
use serde_json::{Value, json};

use crate::support::{Compiled, Ran, fentry_works, proved, run, sigready};

/// Everything a service can do on signals, and each way to send a message.
const EVERYTHING: &str = r#"
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void on(int s) { (void)s; }

int main(void) {
  struct sockaddr_un name = { .sun_family = AF_UNIX };
  strcpy(name.sun_path, getenv("NOTIFY_SOCKET"));
  signal(SIGHUP, SIG_IGN);
  raise(SIGHUP);
  struct sigaction action = { .sa_handler = on, .sa_flags = SA_RESETHAND };
  sigaction(SIGHUP, &action, 0);
  raise(SIGHUP);
  action.sa_flags = 0;
  sigaction(SIGHUP, &action, 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, 0);
  sigprocmask(SIG_BLOCK, &set, 0);
  int fd = signalfd(-1, &set, 0);
  kill(getpid(), SIGHUP);
  kill(getpid(), SIGHUP);
  struct signalfd_siginfo info;
  if (read(fd, &info, sizeof info) != sizeof info) return 1;
  kill(getpid(), SIGHUP);
  sigtimedwait(&set, 0, 0);
  usleep(50000); /* so that it is no change of a moment */
  sigprocmask(SIG_UNBLOCK, &set, 0);
  int plain = socket(AF_UNIX, SOCK_DGRAM, 0);
  sendto(plain, "STATUS=one", 10, 0, (void *)&name, sizeof name);
  struct iovec pieces[3] = { { "STATUS=", 7 }, { 0, 0 }, { "two", 3 } };
  struct msghdr message = { .msg_name = &name, .msg_namelen = sizeof name,
                            .msg_iov = pieces, .msg_iovlen = 3 };
  union { char bytes[CMSG_SPACE(sizeof(struct ucred))]; struct cmsghdr align; } control;
  memset(&control, 0, sizeof control);
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_CREDENTIALS;
  header->cmsg_len = CMSG_LEN(sizeof(struct ucred));
  struct ucred who = { getpid(), getuid(), getgid() };
  memcpy(CMSG_DATA(header), &who, sizeof who);
  sendmsg(plain, &message, MSG_NOSIGNAL);
  struct mmsghdr several[2] = { { .msg_hdr = { .msg_name = &name, .msg_namelen = sizeof name,
                                               .msg_iov = pieces, .msg_iovlen = 3 } },
                                { .msg_hdr = { .msg_name = &name, .msg_namelen = sizeof name,
                                               .msg_iov = pieces, .msg_iovlen = 1 } } };
  sendmmsg(plain, several, 2, 0);
  int connected = socket(AF_UNIX, SOCK_DGRAM, 0);
  connect(connected, (void *)&name, sizeof name);
  if (write(connected, "STATUS=three", 12) != 12) return 2;
  if (writev(connected, pieces, 3) != 10) return 3;
  send(connected, "READY=1\nSTATUS=four", 19, 0);
  char large[4096];
  memset(large, 'x', sizeof large);
  memcpy(large, "STATUS=", 7);
  send(connected, large, sizeof large, 0);
  struct sockaddr_un nowhere = { .sun_family = AF_UNIX, .sun_path = "/run/nobody-is-here" };
  sendto(plain, "READY=1", 7, 0, (void *)&nowhere, sizeof nowhere);
  int wrong[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, wrong)) return 4;
  sendto(wrong[0], "STATUS=five", 11, 0, (void *)&name, sizeof name);
  sendmsg(wrong[0], &message, MSG_NOSIGNAL);
  send(wrong[0], "STATUS=to another", 17, 0);
  close(wrong[1]);
  sendmsg(wrong[1], &message, MSG_NOSIGNAL);
  int stream = socket(AF_UNIX, SOCK_STREAM, 0);
  connect(stream, (void *)&name, sizeof name);
  connect(stream, (void *)&nowhere, sizeof nowhere);
  pid_t child = fork();
  if (child == 0) {
    signal(SIGHUP, SIG_DFL);
    send(connected, "WATCHDOG=1", 10, 0);
    execl("/usr/bin/true", "true", (char *)0);
  }
  waitpid(child, 0, 0);
  signal(SIGHUP, SIG_DFL);
  raise(SIGHUP);
  return 0;
}
"#;

fn with(backend: &str, command: &[&str]) -> Ran {
    run(&["--backend", backend, "--until", "exit", "--timeout", "20s"], command)
}

/// The events without what differs from run to run: times, ids, which become numbers in the
/// order they come, and executables, which are looked up while their processes live.
fn story(ran: &Ran) -> Vec<Value> {
    let mut ids = BTreeMap::new();
    let events = ran.activation()["events"].as_array().unwrap();
    events.iter().map(|event| without_chance(event, &mut ids)).collect()
}

fn without_chance(value: &Value, ids: &mut BTreeMap<u64, usize>) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let is_told = |name: &str| !name.ends_with("_ns") && name != "exe";
    let told = members.iter().filter(|(name, _)| is_told(name));
    told.map(|(name, value)| {
        let told = match (name.as_str(), value) {
            ("pid" | "tid" | "ns_pid" | "claimed_pid", Value::Number(id)) => {
                let next = ids.len();
                json!(ids.entry(id.as_u64().unwrap()).or_insert(next))
            }
            ("problem", Value::String(text)) => {
                json!(text.split(|c: char| c.is_ascii_digit()).collect::<String>())
            }
            ("destination", Value::String(path)) if path.contains("/sigready-") => json!("notify"),
            _ => without_chance(value, ids),
        };
        (name.clone(), told)
    })
    .collect()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn both_backends_tell_the_same_story_event_by_event() {
    let program = Compiled::new(EVERYTHING);
    let by_syscalls = with("tracepoint", &[&program.path()]);
    assert_eq!(by_syscalls.report["capture"]["backend"], "tracepoint");
    assert_eq!(by_syscalls.report["capture"].get("fallbacks"), None, "it was asked for");
    assert_eq!(by_syscalls.activation()["outcome"]["signal"], "HUP");
    let story_by_syscalls = story(&by_syscalls);
    let of_kind = |kind| story_by_syscalls.iter().filter(|event| event["kind"] == kind).count();
    assert!(of_kind("notify") == 13 && of_kind("mask") >= 2, "{story_by_syscalls:#?}");
    proved("handlers, masks, signalfd, sigwait", true);
    proved("messages by write, writev, send, sendto, sendmsg, sendmmsg", true);
    let failed = |event: &&Value| event["result"].as_i64().is_some_and(|errno| errno > 0);
    let failed: Vec<&Value> = story_by_syscalls.iter().filter(failed).collect();
    let errors: Vec<i64> = failed.iter().map(|event| event["result"].as_i64().unwrap()).collect();
    assert_eq!(
        errors,
        [libc::EISCONN, libc::EISCONN, libc::EBADF, libc::EPROTOTYPE].map(i64::from)
    );
    proved("messages and connections that fail before they come to the socket", true);
    if fentry_works() {
        let by_functions = with("fentry", &[&program.path()]);
        assert_eq!(by_functions.report["capture"]["backend"], "fentry");
        let story_by_functions = story(&by_functions);
        for (function, syscall) in story_by_functions.iter().zip(&story_by_syscalls) {
            assert_eq!(function, syscall, "left: fentry, right: tracepoint");
        }
        assert_eq!(story_by_functions.len(), story_by_syscalls.len());
        proved("the same timeline, event by event, with the other backend", true);
    } else {
        let refused = sigready(&["run", "--backend", "fentry", "--", "/bin/true"]);
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains("'do_sigaction' can't be hooked") && stderr.contains("--backend auto"),
            "{stderr}"
        );
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn the_best_backend_is_chosen_and_why_it_is_not_is_told() {
    let ran = with("auto", &["/bin/true"]);
    let capture = &ran.report["capture"];
    if fentry_works() {
        assert_eq!(capture["backend"], "fentry");
        // Functions that a compiler has built into others are named.
        let fallbacks: Vec<&str> = capture["fallbacks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|fallback| fallback["shows"].as_str().unwrap())
            .collect();
        assert!(!fallbacks.contains(&"signal handlers"), "{capture:#}");
        assert!(!fallbacks.contains(&"notify messages"), "{capture:#}");
        // In Debian's 6.12 and 7.2 they are; the functions that the syscalls begin in are not.
        for fallback in capture["fallbacks"].as_array().into_iter().flatten() {
            let instead = fallback["instead"].as_str().unwrap();
            assert!(
                instead.ends_with("_sys_rt_sigprocmask")
                    || instead.ends_with("_sys_rt_sigtimedwait"),
                "{capture:#}"
            );
        }
        if crate::support::wants_fentry() {
            for shows in ["blocked signals", "signalfd", "waiting for signals"] {
                let what = format!("{shows}: of 32-bit programs too");
                proved(&what, !fallbacks.contains(&shows));
            }
        }
    } else {
        assert_eq!(capture["backend"], "tracepoint");
        let fallback = &capture["fallbacks"][0];
        assert_eq!(fallback["function"], "do_sigaction", "{capture:#}");
        assert!(fallback["reason"].as_str().unwrap().contains("the kernel says"), "{capture:#}");
        assert_eq!(fallback["instead"], "syscall tracepoints", "{capture:#}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_message_sent_through_io_uring_is_seen_by_fentry_alone() {
    let program = Compiled::new(
        r#"
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int main(void) {
  struct io_uring_params p;
  memset(&p, 0, sizeof p);
  int ring = syscall(SYS_io_uring_setup, 1, &p);
  if (ring < 0) return 9;
  char *sq = mmap(0, p.sq_off.array + 4 * p.sq_entries, PROT_READ | PROT_WRITE, MAP_SHARED,
                  ring, IORING_OFF_SQ_RING);
  char *cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
                  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
  struct io_uring_sqe *sqe = mmap(0, p.sq_entries * sizeof *sqe, PROT_READ | PROT_WRITE,
                                  MAP_SHARED, ring, IORING_OFF_SQES);
  struct sockaddr_un name = { .sun_family = AF_UNIX };
  strcpy(name.sun_path, getenv("NOTIFY_SOCKET"));
  struct iovec pieces[2] = { { "READY=1\n", 8 }, { "STATUS=ring", 11 } };
  struct msghdr message = { .msg_name = &name, .msg_namelen = sizeof name,
                            .msg_iov = pieces, .msg_iovlen = 2 };
  memset(sqe, 0, sizeof *sqe);
  sqe->opcode = IORING_OP_SENDMSG;
  sqe->fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  sqe->addr = (unsigned long)&message;
  sqe->len = 1;
  *(unsigned *)(sq + p.sq_off.array) = 0;
  __atomic_store_n((unsigned *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
  if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) != 1) return 8;
  return ((struct io_uring_cqe *)(cq + p.cq_off.cqes))->res != 19;
}
"#,
    );
    let ran = run(&["--until", "exit", "--timeout", "20s"], &[&program.path()]);
    assert_eq!(ran.activation()["outcome"]["code"], 0, "the ring was used: {}", ran.activation());
    let messages = ran.events("notify");
    proved("messages sent through io_uring", !messages.is_empty());
    if ran.report["capture"]["backend"] == "fentry" {
        assert_eq!(messages.len(), 1, "{}", ran.activation());
        assert_eq!(messages[0]["assignments"], json!([["READY", "1"], ["STATUS", "ring"]]));
        assert_eq!(messages[0]["sender"]["pid"], ran.activation()["main_process"]["pid"]);
    } else {
        assert_eq!(messages.len(), 0, "as docs/compatibility.md says");
    }
}

/// A system call of a 32-bit program, and the compiler that makes such, with its option. The
/// numbers of the calls are the same on both architectures.
#[cfg(target_arch = "x86_64")]
const CALL_OF_32_BITS: &str = r#"
static int call(int n, long a, long b, long c, long d) {
  int r;
  __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
  return r;
}
"#;
#[cfg(target_arch = "x86_64")]
const COMPILER_OF_32_BITS: (&str, &str) = ("gcc", "-m32");
#[cfg(target_arch = "aarch64")]
const CALL_OF_32_BITS: &str = r#"
static int call(int n, long a, long b, long c, long d) {
  register long r0 __asm__("r0") = a;
  register long r1 __asm__("r1") = b;
  register long r2 __asm__("r2") = c;
  register long r3 __asm__("r3") = d;
  register long r7 __asm__("r7") = n;
  __asm__ volatile("svc #0" : "+r"(r0) : "r"(r1), "r"(r2), "r"(r3), "r"(r7) : "memory");
  return r0;
}
"#;
#[cfg(target_arch = "aarch64")]
const COMPILER_OF_32_BITS: (&str, &str) = ("arm-linux-gnueabihf-gcc", "-marm");

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_32_bit_programs_handler_is_seen_by_fentry_alone_and_its_signals_by_both() {
    let source = format!(
        r"
struct action {{ void (*handler)(int); unsigned long flags; void (*restorer)(void);
                unsigned long mask[2]; }};

{CALL_OF_32_BITS}
static void on(int s) {{ (void)s; }}

void _start(void) {{
  struct action a = {{ on, 0, 0, {{ 0, 0 }} }};
  call(174, 1, 0, 0, 8); /* rt_sigaction, which asks for nothing */
  int failed = call(174, 1, (long)&a, 0, 8);
  call(37, call(20, 0, 0, 0, 0), 1, 0, 0); /* kill(getpid(), SIGHUP) */
  call(1, failed ? 1 : 0, 0, 0, 0);
}}
"
    );
    let program = Compiled::by(
        COMPILER_OF_32_BITS.0,
        &[COMPILER_OF_32_BITS.1, "-nostdlib", "-fno-pie", "-no-pie"],
        &source,
    );
    let ran = program.run(&[]);
    assert_eq!(ran.activation()["outcome"]["code"], 0, "{}", ran.activation());
    let (disposition, _) = ran.hup(0);
    assert_eq!(disposition, "handler", "read from the kernel when the signal came");
    // The exec's own state apart, which both read.
    let handlers =
        ran.events("disposition").iter().filter(|it| it["disposition"] == "handler").count();
    proved("handlers of 32-bit programs", handlers > 0);
    let expected = usize::from(ran.report["capture"]["backend"] == "fentry");
    assert_eq!(handlers, expected, "{}", ran.activation());
}

/// `sigready run -- COMMAND` on a kernel whose type information has been doctored.
fn on_a_kernel_where(from: &str, to: &str, command: &str) -> (Option<i32>, String, Option<Value>) {
    assert_eq!(from.len(), to.len());
    let mut types = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let (from, to) = (format!("\0{from}\0"), format!("\0{to}\0"));
    let at = types.windows(from.len()).position(|it| it == from.as_bytes()).unwrap();
    types[at..at + to.len()].copy_from_slice(to.as_bytes());
    let directory = tempfile::tempdir().unwrap();
    let doctored = directory.path().join("vmlinux");
    let report = directory.path().join("report.json");
    fs::write(&doctored, types).unwrap();
    let script = "mount --bind \"$1\" /sys/kernel/btf/vmlinux && exec \"$2\" run \
                  --timeout 20s --output \"$3\" -- /bin/sh -c \"$4\"";
    let output = Command::new("unshare")
        .args(["--mount", "/bin/sh", "-c", script, "sh"])
        .args([doctored.as_path(), &cargo_bin("sigready"), &report, Path::new(command)])
        .output()
        .unwrap();
    let report = fs::read(&report).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap());
    (output.status.code(), String::from_utf8(output.stderr).unwrap(), report)
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_member_that_only_messages_need_is_named_if_a_kernel_renamed_it_and_the_rest_works() {
    let notify = "trap : HUP; systemd-notify --ready; exit 0";
    let (status, stderr, report) = on_a_kernel_where("nr_segs", "nr_xxxx", notify);
    assert!(stderr.contains("'nr_segs' in struct iov_iter"), "{stderr}");
    if crate::support::wants_fentry() {
        assert_eq!(status, Some(1), "asked for by name, it is refused: {stderr}");
        return;
    }
    assert!(stderr.contains("notify messages"), "{stderr}");
    let report = report.unwrap_or_else(|| panic!("{stderr}"));
    let milestones = &report["services"][0]["activations"][0]["milestones"];
    assert!(milestones["ready_ns"].is_number(), "seen at the syscalls: {report:#}");
    assert!(milestones["handler_ns"].is_number(), "{report:#}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_member_that_everything_needs_is_named_if_a_kernel_renamed_it() {
    let (status, stderr, report) = on_a_kernel_where("group_exit_code", "group_xxxx_code", ":");
    assert_eq!((status, report), (Some(1), None), "{stderr}");
    assert!(stderr.contains("'group_exit_code' in struct signal_struct"), "{stderr}");
}
