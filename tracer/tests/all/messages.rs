//! Notify messages through every way a program may send them, compared with what the
//! programs are known to send.

use serde_json::Value;

use crate::support::{Compiled, Ran, python_notify, run};

fn message<'a>(ran: &'a Ran, key: &str) -> &'a Value {
    let messages = ran.events("notify");
    let found = messages.iter().find(|message| {
        message["assignments"].as_array().unwrap().iter().any(|line| line[0] == key)
    });
    found.unwrap_or_else(|| panic!("no {key}: {:#}", ran.activation()))
}

/// Opens the socket, then does what the test says with `s` and `address`.
fn sender(deed: &str) -> String {
    format!(
        "import os, socket, signal, struct, time, ctypes\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         address = os.environ['NOTIFY_SOCKET']\n\
         s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         {deed}\n\
         time.sleep(0.1)"
    )
}

fn ready_through(deed: &str) -> Ran {
    let ran = python_notify(&sender(deed), &[]);
    let ready = message(&ran, "READY");
    assert_eq!(ready["assignments"][0], serde_json::json!(["READY", "1"]));
    assert_eq!(ready["assignments"][1], serde_json::json!(["STATUS", "over"]));
    assert_eq!((ready["result"].as_i64(), ready["accepted"].as_bool()), (Some(0), Some(true)));
    assert!(ready["destination"].as_str().unwrap().starts_with("/run/sigready-"), "{ready}");
    assert!(ready["sender"]["exe"].as_str().unwrap().starts_with("/usr/bin/python3"));
    assert_eq!(ready["sender"]["uid"], 0);
    assert!(ran.activation()["milestones"]["ready_ns"].as_i64().unwrap() > 0);
    assert_eq!(ran.status, Some(0), "{:#}", ran.activation());
    ran
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn sendto_with_an_address_is_seen() {
    ready_through("s.sendto(b'READY=1\\nSTATUS=over', address)");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn connect_and_send_is_seen() {
    ready_through("s.connect(address); s.send(b'READY=1\\nSTATUS=over\\n')");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn connect_and_write_is_seen() {
    ready_through("s.connect(address); os.write(s.fileno(), b'READY=1\\nSTATUS=over')");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn connect_and_writev_in_pieces_is_seen_whole() {
    ready_through(
        "s.connect(address); os.writev(s.fileno(), [b'READY', b'=1\\nSTA', b'', b'TUS=over'])",
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn sendmsg_in_pieces_with_an_address_is_seen_whole() {
    ready_through("s.sendmsg([b'READY=1\\n', b'STATUS=', b'over'], [], 0, address)");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn each_message_of_a_sendmmsg_is_seen() {
    let program = Compiled::new(
        "#define _GNU_SOURCE\n\
         #include <stdlib.h>\n#include <string.h>\n#include <sys/socket.h>\n#include <sys/un.h>\n\
         #include <unistd.h>\n\
         int main(void) {\n\
           struct sockaddr_un a = { .sun_family = AF_UNIX };\n\
           strncpy(a.sun_path, getenv(\"NOTIFY_SOCKET\"), sizeof a.sun_path - 1);\n\
           int s = socket(AF_UNIX, SOCK_DGRAM, 0);\n\
           struct iovec one = { \"STATUS=one\", 10 }, ready = { \"READY=1\", 7 };\n\
           struct mmsghdr m[32] = {};\n\
           for (int i = 0; i < 32; i++) {\n\
             m[i].msg_hdr.msg_name = &a; m[i].msg_hdr.msg_namelen = sizeof a;\n\
             m[i].msg_hdr.msg_iov = i == 31 ? &ready : &one; m[i].msg_hdr.msg_iovlen = 1;\n\
           }\n\
           if (sendmmsg(s, m, 0, 0) != 0) return 2;\n\
           return sendmmsg(s, m, 32, 0) == 32 ? 0 : 1;\n\
         }",
    );
    let ran = run(&["--until", "exit", "--timeout", "20s"], &[&program.path()]);
    assert_eq!(ran.activation()["outcome"]["code"], 0);
    assert_eq!(ran.events("notify").len(), 32, "one that sends nothing is no message");
    assert_eq!(message(&ran, "STATUS")["assignments"][0][1], "one");
    assert_eq!(message(&ran, "READY")["assignments"][0][1], "1");
}

/// The alert that a message could not be sent, or that the socket could not be connected to.
fn not_sent(deed: &str) -> String {
    let ran = python_notify(&sender(&format!("try:\n    {deed}\nexcept OSError: pass")), &[]);
    let alerts = ran.activation()["alerts"].as_array().unwrap();
    let alert = alerts.iter().find(|alert| alert["id"] == "notify-send-failed");
    let alert = alert.unwrap_or_else(|| panic!("{deed}: {:#}", ran.activation()));
    alert["message"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_message_through_what_is_no_socket_for_it_is_seen_with_its_error() {
    let through = |fd: &str, error: &str| {
        let message = not_sent(&format!(
            "name = struct.pack('H', 1) + address.encode() + b'\\0'; \
             ctypes.CDLL(None).sendto({fd}, b'READY=1', 7, 0, name, len(name))"
        ));
        assert!(message.starts_with("READY from python3"), "{message}");
        assert!(message.contains(&format!(": {error} (")), "{message}");
    };
    through("socket.socketpair()[0].detach()", "EISCONN");
    through("socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach()", "EOPNOTSUPP");
    through("os.open('/dev/null', os.O_WRONLY)", "ENOTSOCK");
    through("999", "EBADF");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_notify_socket_that_cannot_be_connected_to_is_seen_with_the_error() {
    let message = not_sent("os.chroot('/mnt'); s.connect(address)");
    assert!(message.contains("could not connect to /run/sigready-"), "{message}");
    assert!(message.contains("ENOENT"), "{message}");
    let message = not_sent("socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(address)");
    assert!(message.contains("EPROTOTYPE"), "{message}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn an_abstract_address_is_written_with_an_at_sign() {
    let ran = python_notify(
        &sender(
            "name = f'sigready/test/notify/{os.getpid()}'\n\
             r = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); r.bind('\\0' + name)\n\
             s.sendto(b'READY=1', '\\0' + name)",
        ),
        &[],
    );
    let ready = message(&ran, "READY");
    assert!(
        ready["destination"].as_str().unwrap().starts_with("@sigready/test/notify/"),
        "{ready}"
    );
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn datagrams_to_other_sockets_are_nobodys_business() {
    let ran = python_notify(
        &sender(
            "r = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); r.bind('\\0x' + str(os.getpid()))\n\
             s.sendto(b'READY=1', '\\0x' + str(os.getpid()))\n\
             s.sendto(b'STATUS=mine', address)",
        ),
        &[],
    );
    assert_eq!(ran.events("notify").len(), 1);
    assert_eq!(message(&ran, "STATUS")["assignments"][0][1], "mine");
    assert_eq!(ran.alerts(), ["ready-missing"]);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn ready_from_a_child_is_refused_unless_all_are_admitted() {
    let child = |stays: &str| {
        sender(&format!(
            "if os.fork() == 0:\n    s.sendto(b'READY=1', address)\n    time.sleep({stays})\n    \
             os._exit(0)\nos.wait()"
        ))
    };
    let refused = python_notify(&child("0"), &[]);
    assert_eq!(message(&refused, "READY")["accepted"], false);
    assert_eq!(refused.activation()["milestones"]["ready_ns"], Value::Null);
    assert!(refused.alerts().contains(&"ready-rejected"), "{:?}", refused.alerts());
    let admitted = python_notify(&child("1.5"), &["--notify-access", "all"]);
    assert_eq!(message(&admitted, "READY")["accepted"], true);
    assert_eq!(admitted.alerts(), [""; 0]);
    // systemd may look for its cgroup too late.
    let hasty = python_notify(&child("0"), &["--notify-access", "all"]);
    let ready = message(&hasty, "READY");
    assert_eq!(ready["accepted"], Value::Null, "{ready:#}");
    assert!(ready["problem"].as_str().unwrap().contains("could not tell whose it was"));
    assert_eq!(hasty.alerts(), [""; 0]);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_sender_that_speaks_for_its_parent_says_so_in_its_credentials() {
    let ran = python_notify(
        &sender(
            "main = os.getpid()\n\
             if os.fork() == 0:\n    \
                 creds = struct.pack('iII', main, 0, 0)\n    \
                 s.sendmsg([b'READY=1'], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, creds)], 0, address)\n    \
                 os._exit(0)\n\
             os.wait()",
        ),
        &[],
    );
    let ready = message(&ran, "READY");
    let main = &ran.activation()["main_process"]["pid"];
    assert_eq!(&ready["claimed_pid"], main);
    assert_ne!(&ready["sender"]["pid"], main);
    assert_eq!(ready["accepted"], true);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_send_that_fails_is_told_with_its_error() {
    let ran = python_notify(
        &sender(
            "try: s.sendto(b'STATUS=lost', '/run/sigready-nowhere/notify')\nexcept OSError: pass\n\
             s.sendto(b'READY=1', address)",
        ),
        &[],
    );
    let failed = ran.events("notify")[0];
    assert_eq!((failed["result"].as_i64(), failed["accepted"].as_bool()), (Some(2), Some(false)));
    assert!(ran.alerts().contains(&"notify-send-failed"), "{:?}", ran.alerts());
    assert!(ran.activation()["milestones"]["ready_ns"].is_i64());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn only_the_whole_line_ready_1_makes_ready() {
    for payload in ["READY=0", "XREADY=1", "READY=11", "STATUS=READY=1", "READY=1\\0STATUS=x"] {
        let ran = python_notify(&sender(&format!("s.sendto(b'{payload}', address)")), &[]);
        assert_eq!(ran.events("notify").len(), 1, "{payload}");
        assert_eq!(ran.activation()["milestones"]["ready_ns"], Value::Null, "{payload}");
        assert_eq!(ran.alerts(), ["ready-missing"], "{payload}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_zero_byte_at_the_very_end_and_a_missing_newline_spoil_nothing() {
    for payload in ["READY=1\\0", "STATUS=x\\nREADY=1", "\\n\\nREADY=1\\n"] {
        let ran = python_notify(&sender(&format!("s.sendto(b'{payload}', address)")), &[]);
        assert_eq!(message(&ran, "READY")["accepted"], true, "{payload}");
        assert!(ran.activation()["milestones"]["ready_ns"].is_i64(), "{payload}");
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn stopping_in_the_same_message_takes_ready_back() {
    let ran = python_notify(&sender("s.sendto(b'READY=1\\nSTOPPING=1', address)"), &[]);
    assert_eq!(message(&ran, "READY")["accepted"], true);
    assert_eq!(ran.activation()["milestones"]["ready_ns"], Value::Null);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn to_a_socket_whose_file_is_gone_only_those_who_were_connected_can_send() {
    let ran = python_notify(
        &sender(
            "s.connect(address); os.unlink(address)\n\
             t = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
             try: t.sendto(b'STATUS=late', address)\nexcept OSError as e: assert e.errno == 2\n\
             s.send(b'READY=1')",
        ),
        &[],
    );
    assert_eq!(ran.activation()["outcome"]["code"], 0, "{}", ran.stderr);
    let late = message(&ran, "STATUS");
    assert_eq!((late["result"].as_i64(), late["accepted"].as_bool()), (Some(2), Some(false)));
    let ready = message(&ran, "READY");
    assert_eq!((ready["result"].as_i64(), ready["accepted"].as_bool()), (Some(0), Some(true)));
    assert_eq!(ran.alerts(), ["notify-send-failed"]);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn systemd_notify_is_named_and_speaks_for_its_parent() {
    let ran = run(
        &["--until", "exit", "--timeout", "20s"],
        &["/bin/sh", "-c", "trap : HUP; systemd-notify --ready; sleep 0.1"],
    );
    let ready = message(&ran, "READY");
    let main = &ran.activation()["main_process"]["pid"];
    assert_eq!(ready["sender"]["comm"], "systemd-notify");
    assert!(ready["sender"]["exe"].as_str().unwrap().ends_with("/systemd-notify"), "{ready}");
    assert_ne!(&ready["sender"]["pid"], main);
    assert_eq!((&ready["claimed_pid"], &ready["accepted"]), (main, &Value::Bool(true)));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_message_of_4096_bytes_is_seen_whole_and_a_longer_one_is_refused() {
    let ran = python_notify(
        &sender(
            "s.sendto(b'STATUS=' + b'x' * 4090, address)\n\
             s.sendto(b'READY=1\\nSTATUS=' + b'y' * 4081, address)",
        ),
        &[],
    );
    let messages = ran.events("notify");
    assert_eq!(
        (messages[0]["length"].as_u64(), messages[0]["accepted"].as_bool()),
        (Some(4097), Some(false))
    );
    assert_eq!(
        (messages[1]["length"].as_u64(), messages[1]["accepted"].as_bool()),
        (Some(4096), Some(true))
    );
    assert_eq!(messages[1]["assignments"][1][1].as_str().unwrap().len(), 4081);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn what_is_not_utf_8_neither_breaks_the_report_nor_the_readiness() {
    let ran = python_notify(&sender("s.sendto(b'STATUS=\\xff\\xfe\\nREADY=1', address)"), &[]);
    assert_eq!(message(&ran, "STATUS")["assignments"][0][1], "\u{10feff}\u{10fefe}");
    assert!(ran.activation()["milestones"]["ready_ns"].is_i64());
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn ready_before_the_handler_is_an_error_of_its_own() {
    let ran = python_notify(
        "import os, socket, signal, time\n\
         s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n\
         time.sleep(0.2)\n\
         signal.signal(signal.SIGHUP, lambda *a: None)\n\
         time.sleep(0.2)",
        &[],
    );
    assert_eq!(ran.alerts(), ["ready-before-handler"]);
    assert_eq!(ran.status, Some(3));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn more_threads_that_send_at_one_time_than_there_is_room_for_are_counted_and_leave_nothing() {
    // A first process has 4,200 threads in sends that can't go on, and is killed in them. Room
    // is for 4,096. What says READY=1 afterwards finds room.
    let program = Compiled::new(
        "#include <pthread.h>\n#include <signal.h>\n#include <stdlib.h>\n#include <string.h>\n\
         #include <sys/socket.h>\n#include <sys/un.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
         static struct sockaddr_un full = { .sun_family = AF_UNIX, .sun_path = \"\\0full-socket\" };\n\
         static socklen_t length = sizeof(sa_family_t) + 12;\n\
         static int s;\n\
         static void *send_for_ever(void *x) {\n\
           for (;;) sendto(s, \"x\", 1, 0, (struct sockaddr *)&full, length);\n\
           return x;\n\
         }\n\
         static void many(void) {\n\
           pthread_attr_t small; pthread_attr_init(&small); pthread_attr_setstacksize(&small, 16384);\n\
           for (int i = 0; i < 4200; i++) {\n\
             pthread_t t; if (pthread_create(&t, &small, send_for_ever, 0)) _exit(9);\n\
           }\n\
         }\n\
         int main(void) {\n\
           int receiver = socket(AF_UNIX, SOCK_DGRAM, 0);\n\
           s = socket(AF_UNIX, SOCK_DGRAM, 0);\n\
           if (bind(receiver, (struct sockaddr *)&full, length)) return 8;\n\
           int begun[2]; char c;\n\
           if (pipe(begun)) return 7;\n\
           pid_t first = fork();\n\
           if (first == 0) { many(); if (write(begun[1], \"x\", 1) != 1) _exit(6); pause(); }\n\
           if (read(begun[0], &c, 1) != 1) return 5;\n\
           sleep(2); kill(first, SIGKILL); waitpid(first, 0, 0);\n\
           struct sockaddr_un manager = { .sun_family = AF_UNIX };\n\
           strcpy(manager.sun_path, getenv(\"NOTIFY_SOCKET\"));\n\
           const char *ready = \"READY=1\";\n\
           sendto(s, ready, strlen(ready), 0, (struct sockaddr *)&manager, sizeof manager);\n\
           usleep(200000); return 0;\n\
         }",
    );
    let ran = run(
        &["--until", "exit", "--timeout", "30s", "--buffer", "16384", "--type", "notify"],
        &[&program.path()],
    );
    let losses = &ran.report["capture"]["losses"];
    assert_eq!(losses["notify"], 104, "4,200 threads and room for 4,096: {losses}");
    assert_eq!(message(&ran, "READY")["accepted"], true);
}
