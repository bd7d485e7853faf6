//! Records as the bytes that the kernel side writes, and what is made of them. The bytes are
//! put together by hand, so that a change on either side shows here.

use nix::libc;

use super::*;
use crate::observation::{Handler, SignalState};

/// When it is all told, ns.
const AT: u64 = 5_000_000_007;

/// A record's bytes, in the order of its fields.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// The start of a record of this kind, by [`task`].
    fn record(kind: u32) -> Self {
        Self::record_of(kind, 4711)
    }

    fn record_of(kind: u32, pid: u32) -> Self {
        Self::default().u32(kind).u32(0).u64(AT).task(pid)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    /// Bytes, and zeros up to `length`.
    fn text(mut self, text: &[u8], length: usize) -> Self {
        let end = self.0.len() + length;
        self.0.extend(text);
        self.0.resize(end, 0);
        self
    }

    fn task(self, pid: u32) -> Self {
        self.u32(pid)
            .u32(pid + 1)
            .u32(17)
            .u32(33)
            .u64(1_234_567_890_123)
            .u64(987_654)
            .text(b"xxxxxxxxxxxxxx\xc3", 16)
    }

    fn state(self) -> Self {
        self.u64(1).u64(2).u64(4).u64(8).u64(16)
    }

    fn read(&self) -> Fact {
        let observation = Decoder::new(Some(3)).decode(&self.0).unwrap().unwrap();
        assert_eq!(observation.at, AT);
        observation.fact
    }
}

fn task(pid: u32) -> Task {
    Task {
        id: ProcessId { pid, start_ticks: 123_456 },
        tid: pid + 1,
        ns_pid: 17,
        uid: 33,
        start_ns: 1_234_567_890_123,
        cgroup_id: 987_654,
        comm: "xxxxxxxxxxxxxx\u{10fec3}".into(),
    }
}

fn state() -> SignalState {
    SignalState {
        ignored: SignalSet(1),
        caught: SignalSet(2),
        blocked: SignalSet(4),
        blocked_unknown: SignalSet(8),
        pending: SignalSet(16),
    }
}

fn signal(number: u32) -> Signal {
    Signal::from_number(number).unwrap()
}

#[test]
fn fork() {
    for (flags, shares_handlers, shares_memory) in
        [(0, false, false), (1, true, false), (2, false, true), (3, true, true)]
    {
        let record = Bytes::record(0).task(4720).u32(flags).u32(0).state();
        let expected = Fact::Fork {
            parent: task(4711),
            child: task(4720),
            shares_handlers,
            shares_memory,
            state: state(),
        };
        assert_eq!(record.read(), expected);
    }
}

fn exec_with(environment: u32) -> Bytes {
    Bytes::record(1)
        .state()
        .u32(environment)
        .u32(0)
        .text(b"0123456789abcdef0123456789abcdef", 32)
        .text(b"@/org/freedesktop/systemd1/notify\0x", 112)
        .text(b"./daemon\0rest", 256)
        .text(b"/usr/bin/perl\xff", 256)
        .text(b"perl5", 64)
}

#[test]
fn exec() {
    let with = |invocation, socket, control| Fact::Exec {
        task: task(4711),
        filename: "./daemon".to_owned(),
        exe: "/usr/bin/perl\u{10feff}".into(),
        file: "perl5".into(),
        program: Program::Unread,
        environment: Environment { invocation_id: invocation, notify_socket: socket, control },
        state: state(),
    };
    let id = || Some("0123456789abcdef0123456789abcdef".to_owned());
    let socket = || Some("@/org/freedesktop/systemd1/notify".to_owned());
    assert_eq!(exec_with(0).read(), with(None, None, false));
    assert_eq!(exec_with(1).read(), with(id(), None, false));
    assert_eq!(exec_with(2).read(), with(None, socket(), false));
    assert_eq!(exec_with(4).read(), with(None, None, true), "MAINPID=");
    assert_eq!(exec_with(8).read(), with(None, None, true), "SERVICE_RESULT=");
    assert_eq!(exec_with(15).read(), with(id(), socket(), true));
    let of_script = Loaded { file: "perl5".to_owned(), for_script: true };
    assert_eq!(loaded(&exec_with(0).0), Some(of_script));
    assert_eq!(loaded(&Bytes::record(2).text(b"", 900).0), None, "no exec");
}

#[test]
fn exit() {
    let with = |status: u32| Bytes::record(2).u32(status).u32(0).state().read();
    let ended = |signal, code, core_dumped| Fact::Exit {
        task: task(4711),
        signal,
        code,
        core_dumped,
        state: state(),
    };
    assert_eq!(with(0), ended(None, 0, false));
    assert_eq!(with(0xfe00), ended(None, 254, false));
    assert_eq!(with(1), ended(Some(Signal::HUP), 0, false));
    assert_eq!(with(64), ended(Some(signal(64)), 0, false));
    assert_eq!(with(0x8b), ended(Some(signal(11)), 0, true));
}

#[test]
fn where_a_sender_comes_from() {
    let line = |length, stored, command: &'static [u8]| {
        origin(From { command: (length, stored, command), ..From::default() }).command
    };
    assert_eq!(line(14, 14, b"kill\0-HUP\x00431\0").as_deref(), Some("kill -HUP 431"));
    assert_eq!(line(600, 4, b"kill").as_deref(), Some("kill…"), "there is more of it");
    assert_eq!(line(14, 0, b""), None, "it could not be read");
    assert_eq!(line(600, 600, b"kill").as_deref(), Some("kill…"), "no more than there is room for");
    let cgroup = |own: &'static [u8], above: &'static [u8]| {
        origin(From { cgroup: (own, above), ..From::default() }).cgroup
    };
    assert_eq!(
        cgroup(b"cron.service\0", b"system.slice").as_deref(),
        Some("system.slice/cron.service")
    );
    assert_eq!(cgroup(b"a.service", b"").as_deref(), Some("/a.service"));
    assert_eq!(cgroup(b"", b""), None, "the root, as of every process in v1 hierarchies");
    let parents = origin(From { parents: 8, ..From::default() }).parents;
    let pids: Vec<u32> = parents.iter().map(|parent| parent.id.pid).collect();
    assert_eq!(pids, [1, 2, 3, 4, 5, 6, 7, 8]);
    let expected = Parent {
        id: ProcessId { pid: 1, start_ticks: 2 },
        ns_pid: 7,
        cgroup_id: 99,
        comm: "sh".into(),
        command: None,
        cgroup: None,
    };
    assert_eq!(parents[0], expected);
}

#[test]
fn a_signal_has_what_was_told_of_its_sender_when_it_says_and_nothing_where_that_was_lost() {
    let decoder = &mut Decoder::default();
    decoder.decode(&told_of(1, From::default()).0).unwrap();
    let mut origin = |sender, at| read(decoder, &sent_by(sender, |it| it.sender_at = at)).origin;
    let first = origin(1, AT).unwrap();
    assert!(Arc::ptr_eq(&first, &origin(1, AT).unwrap()), "it is put into words once");
    assert_eq!(origin(1, 0), None, "the target itself, or the kernel");
    assert_eq!(origin(1, wire::SENDER_LOST), None);
    assert_eq!((origin(1, AT + 1), origin(2, AT)), (None, None), "that was lost on the way");
}

#[test]
fn of_what_was_told_of_too_many_senders_the_old_goes_first() {
    let decoder = &mut Decoder::default();
    let told = |decoder: &mut Decoder, sender, at: u64| {
        let mut record = told_of(sender, From::default());
        record.0[8..16].copy_from_slice(&at.to_ne_bytes());
        decoder.decode(&record.0).unwrap();
    };
    let is_known = |decoder: &mut Decoder, sender, at| {
        read(decoder, &sent_by(sender, |it| it.sender_at = at)).origin.is_some()
    };
    told(decoder, 1, AT);
    told(decoder, 3, AT + 2 * OLD_NS);
    assert!(is_known(decoder, 1, AT), "while there is room the old stays, too");
    for sender in 1..=MAX_ORIGINS as u32 {
        told(decoder, sender, AT + u64::from(sender % 2) * OLD_NS);
    }
    told(decoder, 5_000, AT + OLD_NS);
    assert!(is_known(decoder, 1, AT + OLD_NS) && is_known(decoder, 5_000, AT + OLD_NS));
    assert!(!is_known(decoder, 2, AT));
    for sender in 10_000..10_000 + 2 * MAX_ORIGINS as u32 {
        told(decoder, sender, AT + OLD_NS);
        assert!(is_known(decoder, sender, AT + OLD_NS), "the last one is always");
    }
    assert!(decoder.origins.len() <= MAX_ORIGINS);
}

#[test]
fn thread_exit() {
    let expected = Fact::ThreadExit { task: task(4711), pending: SignalSet(0x8000_0000_0000_0001) };
    assert_eq!(Bytes::record(10).u64(0x8000_0000_0000_0001).read(), expected);
}

/// A signal with every field set apart: `change` sets some otherwise.
#[derive(Clone, Copy)]
struct Sent {
    signal: u32,
    result: u32,
    si_code: i32,
    origin: u32,
    disposition: u32,
    flags: u32,
    group_exit_code: u32,
    unblocked: (u32, &'static [u8]),
    sender_at: u64,
}

fn generated(change: impl FnOnce(&mut Sent)) -> Generate {
    read(&mut Decoder::default(), &sent_by(4711, change))
}

fn read(decoder: &mut Decoder, record: &Bytes) -> Generate {
    match decoder.decode(&record.0).unwrap().unwrap().fact {
        Fact::Generate(generate) => *generate,
        other => panic!("{other:?}"),
    }
}

fn sent_by(sender: u32, change: impl FnOnce(&mut Sent)) -> Bytes {
    let mut sent = Sent {
        signal: 1,
        result: 0,
        si_code: -6,
        origin: 0,
        disposition: 0,
        flags: 0,
        group_exit_code: 0,
        unblocked: (0, b""),
        sender_at: 0,
    };
    change(&mut sent);
    Bytes::record_of(3, sender)
        .task(4720)
        .u32(sent.signal)
        .u32(sent.result)
        .i32(sent.si_code)
        .u32(sent.origin)
        .u32(99)
        .u32(98)
        .u32(sent.disposition)
        .u32(sent.flags)
        .u32(sent.group_exit_code)
        .u32(sent.unblocked.0)
        .text(sent.unblocked.1, 16)
        .u64(0x101)
        .u64(0x400)
        .u64(sent.sender_at)
}

/// What is told of a sender at [`AT`].
#[derive(Clone, Copy, Default)]
struct From {
    command: (u32, u32, &'static [u8]),
    cgroup: (&'static [u8], &'static [u8]),
    parents: u32,
}

fn told_of(sender: u32, from: From) -> Bytes {
    let mut record = Bytes::record_of(11, sender)
        .u32(from.command.0)
        .u32(from.command.1)
        .text(from.command.2, 256)
        .text(from.cgroup.0, 128)
        .text(from.cgroup.1, 128);
    for number in 1..=from.parents {
        record = record.u32(number).u32(7).u64(20_000_000).u64(99).text(b"sh", 16);
    }
    record.text(b"", 40 * (8 - from.parents as usize))
}

/// What is made of it for a signal.
fn origin(from: From) -> Origin {
    let decoder = &mut Decoder::default();
    assert!(decoder.decode(&told_of(4711, from).0).unwrap().is_none(), "it is no fact");
    let origin = read(decoder, &sent_by(4711, |it| it.sender_at = AT)).origin;
    Origin::clone(&origin.unwrap())
}

fn plain() -> Generate {
    Generate {
        sender: Some(task(4711)),
        origin: None,
        target: task(4720),
        signal: Signal::HUP,
        result: GenerateResult::Queued,
        si_code: -6,
        disposition: DispositionKind::Default,
        mask_unknown: false,
        traced: false,
        to_thread: false,
        awaited: false,
        unblocked: None,
        handler: Handler { serves: SignalSet(0x101), faults: SignalSet(0x400) },
        dying_of: None,
    }
}

#[test]
fn generate() {
    assert_eq!(generated(|_| ()), plain());
    let expected = Generate { sender: None, si_code: 128, signal: signal(64), ..plain() };
    let by_the_kernel = |it: &mut Sent| (it.origin, it.si_code, it.signal) = (1, 128, 64);
    assert_eq!(generated(by_the_kernel), expected);
    let thread = ThreadRef { tid: 4721, comm: "rdk:main".into() };
    let expected = Generate { unblocked: Some(thread), ..plain() };
    assert_eq!(generated(|it| it.unblocked = (4721, b"rdk:main")), expected);
}

#[test]
fn what_became_of_a_signal_at_its_sending() {
    let results = [
        GenerateResult::Queued,
        GenerateResult::Ignored,
        GenerateResult::AlreadyPending,
        GenerateResult::Overflow,
        GenerateResult::LostInfo,
    ];
    for (number, result) in (0..).zip(results) {
        assert_eq!(generated(|it| it.result = number), Generate { result, ..plain() });
    }
}

#[test]
fn every_bit_of_a_signals_target_has_its_own_meaning() {
    use DispositionKind::{Blocked, Default, Ignored};
    for (number, disposition) in [(0, Default), (1, Ignored), (2, DispositionKind::Handler)] {
        let expected = Generate { disposition, ..plain() };
        assert_eq!(generated(|it| it.disposition = number), expected);
        // Blocked comes before all.
        let expected = Generate { disposition: Blocked, ..plain() };
        let blocked = |it: &mut Sent| (it.disposition, it.flags) = (number, 1);
        assert_eq!(generated(blocked), expected);
    }
    let cases = [
        (1 << 1, Generate { traced: true, ..plain() }),
        (1 << 2, Generate { disposition: Ignored, ..plain() }),
        (1 << 4, Generate { to_thread: true, ..plain() }),
        (1 << 5, Generate { disposition: Blocked, ..plain() }),
        (1 << 6, Generate { awaited: true, ..plain() }),
        (1 << 5 | 1 << 7, Generate { mask_unknown: true, ..plain() }),
        (1 << 7, plain()),
    ];
    for (flags, expected) in cases {
        assert_eq!(generated(|it| it.flags = flags), expected, "flags {flags:#x}");
    }
    let dying = |it: &mut Sent| (it.flags, it.group_exit_code) = (1 << 3, 0x8b);
    assert_eq!(generated(dying), Generate { dying_of: Some(signal(11)), ..plain() });
    assert_eq!(generated(|it| it.group_exit_code = 11), plain(), "it is not dying");
}

#[test]
fn what_only_its_blocking_explains_is_blocked_in_all_threads() {
    const UNKNOWN: u32 = 1 << 5;
    let unknown = Generate { mask_unknown: true, ..plain() };
    for other_reason in [1 << 1, 1 << 3, 1 << 7] {
        let told = generated(|it| it.flags = UNKNOWN | other_reason);
        assert_eq!((told.disposition, told.mask_unknown), (DispositionKind::Default, true));
    }
    for number in [libc::SIGQUIT, libc::SIGCHLD, libc::SIGTSTP].map(i32::cast_unsigned) {
        let told = generated(|it| (it.flags, it.signal) = (UNKNOWN, number));
        assert_eq!(told, Generate { signal: signal(number), ..unknown.clone() });
    }
    for number in [15, 34] {
        let told = generated(|it| (it.flags, it.signal) = (UNKNOWN, number));
        assert_eq!((told.disposition, told.mask_unknown), (DispositionKind::Blocked, false));
    }
    let pending_already = generated(|it| (it.flags, it.result) = (UNKNOWN, 2));
    assert!(pending_already.mask_unknown);
    let handled = generated(|it| (it.flags, it.disposition) = (UNKNOWN, 2));
    assert_eq!((handled.disposition, handled.mask_unknown), (DispositionKind::Handler, true));
    let immune = generated(|it| it.flags = UNKNOWN | 1 << 2);
    assert_eq!((immune.disposition, immune.mask_unknown), (DispositionKind::Ignored, true));
}

const RESETHAND: u64 = 0x8000_0000;

#[test]
fn deliver() {
    let with = |disposition: u32, flags: u32, sa_flags: u64| {
        let record = Bytes::record(4).u32(1).i32(0).u32(disposition).u32(flags).u64(sa_flags);
        record.read()
    };
    let expected = |disposition, once, unkillable| Fact::Deliver {
        task: task(4711),
        signal: Signal::HUP,
        disposition,
        once,
        unkillable,
    };
    assert_eq!(with(2, 0, !RESETHAND), expected(DispositionKind::Handler, false, false));
    assert_eq!(with(2, 0, RESETHAND), expected(DispositionKind::Handler, true, false));
    assert_eq!(with(0, 0, 0), expected(DispositionKind::Default, false, false));
    assert_eq!(with(0, 1 << 2, 0), expected(DispositionKind::Default, false, true));
}

#[test]
fn disposition() {
    for (sa_flags, once) in [(!RESETHAND, false), (RESETHAND, true)] {
        let record = Bytes::record(5).state().u32(1).u32(2).u64(sa_flags).u64(0x101).u64(0x400);
        let expected = Fact::Disposition {
            task: task(4711),
            signal: Signal::HUP,
            disposition: DispositionKind::Handler,
            once,
            handler: Handler { serves: SignalSet(0x101), faults: SignalSet(0x400) },
            loaded: None,
            state: state(),
        };
        assert_eq!(record.read(), expected);
    }
}

#[test]
fn mask() {
    let expected = Fact::Mask {
        task: task(4711),
        before: SignalSet(32),
        after: SignalSet(64),
        state: state(),
    };
    assert_eq!(Bytes::record(6).state().u64(32).u64(64).read(), expected);
}

#[test]
fn consume() {
    let with = |way: u32| Bytes::record(7).state().u32(way).u32(1).u64(0x11).read();
    let by = |consumer| Fact::Consume {
        task: task(4711),
        consumer,
        set: SignalSet(0x11),
        state: state(),
    };
    assert_eq!(with(0), by(Consumer::Signalfd));
    assert_eq!(with(1), by(Consumer::Sigwait));
    assert_eq!(with(2), Fact::Taken { task: task(4711), signal: Signal::HUP });
}

/// A datagram of `payload` to an address of so many bytes.
fn sent(result: i32, flags: u32, address: &[u8], payload: &[u8]) -> Bytes {
    Bytes::record(8)
        .i32(result)
        .u32(flags)
        .u32(5000)
        .u32(payload.len() as u32)
        .u32(42)
        .u32(0)
        .text(address, 108)
        .u32(address.len() as u32)
        .text(payload, payload.len())
}

#[test]
fn notify() {
    let expected = Datagram {
        sender: task(4711),
        exe: None,
        claimed_pid: None,
        destination: "/run/systemd/notify".to_owned(),
        payload: Some(b"READY=1\xff".to_vec()),
        length: 5000,
        errno: 0,
        not_connected: false,
    };
    let read = |record: Bytes| match record.read() {
        Fact::Notify(datagram) => *datagram,
        other => panic!("{other:?}"),
    };
    let path = b"/run/systemd/notify\0";
    assert_eq!(read(sent(8, 0, path, b"READY=1\xff")), expected);
    let told = read(sent(8, 1 << 1, path, b"READY=1\xff"));
    assert_eq!(told, Datagram { claimed_pid: Some(42), ..expected.clone() });
    let told = read(sent(-32, 1, path, b"READY=1\xff"));
    assert_eq!(told, Datagram { payload: None, errno: 32, ..expected.clone() });
    let told = read(sent(8, 0, b"\0/org/a\0b", b"READY=1\xff"));
    assert_eq!(told, Datagram { destination: "@/org/a@b".to_owned(), ..expected.clone() });
    let told = read(sent(-2, 1 << 2, path, b""));
    let payload = Some(Vec::new());
    assert_eq!(told, Datagram { payload, length: 5000, errno: 2, not_connected: true, ..expected });
}

#[test]
fn a_message_of_which_less_is_there_than_it_says_is_refused() {
    let whole = sent(8, 0, b"/run/systemd/notify", b"READY=1").0;
    assert!(Decoder::default().decode(&whole[..whole.len() - 1]).is_err());
    let mut too_long = sent(8, 0, b"/run/systemd/notify", &[b'x'; 4096]).0;
    assert!(Decoder::default().decode(&too_long).is_ok());
    too_long.extend([b'x'; 8]);
    assert!(Decoder::default().decode(&too_long).is_err());
}

#[test]
fn cgroup() {
    let with = |action: u32, hierarchy: u32| {
        let record = Bytes::record(9).u32(action).u32(hierarchy).u64(7890);
        record.text(b"/system.slice/a.service\0x", 256).read()
    };
    let (id, path) = (7890, "/system.slice/a.service".to_owned());
    assert_eq!(with(0, 2), Fact::CgroupPath { hierarchy: 2, id, path: path.clone() });
    assert_eq!(with(2, 2), Fact::CgroupGone { hierarchy: 2, id, path: path.clone() });
    // Units are tracked in the unified hierarchy, or in the v1 hierarchy 3.
    for (hierarchy, tracks_units) in [(0, true), (2, false), (3, true)] {
        let path = path.clone();
        let expected = Fact::CgroupAttach { task: task(4711), hierarchy, tracks_units, path };
        assert_eq!(with(1, hierarchy), expected);
    }
}

#[test]
fn every_record_begins_with_its_header() {
    let record = header(&Bytes::record(8).0).unwrap();
    let said = (record.kind, record.at_ns, record.task.pid, record.task.cgroup_id);
    assert_eq!(said, (8, 5_000_000_007, 4711, 987_654));
    assert!(header(&Bytes::record(8).0[..63]).is_none());
}

#[test]
fn a_program_that_is_loaded_by_its_descriptor_goes_by_the_name_of_its_file() {
    let loaded = |interp: &[u8]| {
        let record = Bytes::record(1).state().u32(0).u32(0).text(b"", 32).text(b"", 112);
        match record.text(b"3", 256).text(interp, 256).text(b"daemon", 64).read() {
            Fact::Exec { exe, .. } => exe,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(loaded(b"/dev/fd/3"), "daemon");
    assert_eq!(loaded(b"/proc/self/fd/3"), "daemon");
    assert_eq!(loaded(b"/usr/dev/fd/3"), "/usr/dev/fd/3");
}

#[test]
fn what_is_no_record_is_refused_with_its_kind_and_length() {
    let unknown = Bytes::record(wire::KINDS).text(b"", 900);
    let error = Decoder::default().decode(&unknown.0).unwrap_err().to_string();
    let kind = format!("kind {} ", wire::KINDS);
    assert!(error.contains(&kind) && error.contains(" 964 bytes"), "{error}");
    for kind in 0..wire::KINDS {
        let cut = Bytes::record(kind);
        assert!(
            Decoder::default().decode(&cut.0).is_err(),
            "kind {kind} without anything after its header"
        );
    }
    assert!(Decoder::default().decode(b"").is_err());
    let signal_0 = Bytes::record(4).u32(0).i32(0).u32(0).u32(0).u64(0);
    assert!(Decoder::default().decode(&signal_0.0).is_err());
}
