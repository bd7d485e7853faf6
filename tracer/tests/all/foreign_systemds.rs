//! What is not ours may not stall, fill or fool a trace: a bus that is none, a root that never
//! answers, a cgroup that a user gave a unit's name.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::chown,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sigready::host::namespaces;
use tempfile::TempDir;
use zbus::Message;

use crate::support::traces::{Trace, Traced};

/// How long after its end by `--duration` a trace may take.
const PATIENCE: Duration = Duration::from_secs(6);
const NOBODY: u32 = 65_534;

/// Cgroups that are removed in the end.
struct Cgroups {
    top: PathBuf,
}

impl Cgroups {
    fn new(name: &str) -> Self {
        let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let unified = hierarchy.into_iter().find(|root| root.join("cgroup.procs").exists());
        let top = unified.expect("a v2 hierarchy").join(format!("{name}{}", std::process::id()));
        fs::create_dir(&top).unwrap();
        Self { top }
    }

    fn make(&self, name: &str) -> PathBuf {
        let path = self.top.join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // What was in them may still be on its way out.
        for _ in 0..50 {
            remove(&self.top);
            if !self.top.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a shell script in a cgroup.
fn within(cgroup: &Path, script: &str) -> Running {
    let procs = cgroup.join("cgroup.procs");
    let script = format!("echo 0 > {}; {script}", procs.display());
    Running(Command::new("sh").args(["-c", &script]).spawn().unwrap())
}

/// Waits for a trace, which is to be over by then.
fn wait(trace: Trace, patience: Duration) -> Option<Traced> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(trace.wait()));
    receive.recv_timeout(patience).ok()
}

/// What a bus does once somebody has connected.
type Behaviour = fn(&mut UnixStream) -> std::io::Result<()>;

/// Authenticates as a bus does, and reads no more.
fn authenticate(stream: &mut UnixStream) -> std::io::Result<()> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"BEGIN\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        read.push(byte[0]);
        if read.ends_with(b"\r\n") && read.windows(4).any(|word| word == b"AUTH") {
            stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")?;
            read.clear();
        }
    }
    Ok(())
}

fn line_without_end(stream: &mut UnixStream) -> std::io::Result<()> {
    loop {
        stream.write_all(&[b'A'; 8_192])?;
    }
}

fn empty_line(stream: &mut UnixStream) -> std::io::Result<()> {
    stream.write_all(b"\n")
}

fn lines_without_end(stream: &mut UnixStream) -> std::io::Result<()> {
    loop {
        stream.write_all(&b"DATA\r\n".repeat(1_000))?;
    }
}

fn silence(stream: &mut UnixStream) -> std::io::Result<()> {
    authenticate(stream)?;
    thread::sleep(Duration::from_mins(1));
    Ok(())
}

fn a_message_that_says_it_is_huge(stream: &mut UnixStream) -> std::io::Result<()> {
    authenticate(stream)?;
    let length = 127_u32 << 20;
    let rest = [&1_u32.to_le_bytes()[..], &0_u32.to_le_bytes()].concat();
    stream.write_all(&[&[b'l', 2, 0, 1][..], &length.to_le_bytes(), &rest].concat())?;
    loop {
        stream.write_all(&[0; 8_192])?;
    }
}

fn messages_without_end(stream: &mut UnixStream) -> std::io::Result<()> {
    authenticate(stream)?;
    let text = "x".repeat(900_000);
    let signal = Message::signal(
        "/org/freedesktop/systemd1/unit/a_2eservice",
        "org.freedesktop.DBus.Properties",
        "PropertiesChanged",
    );
    let signal = signal.unwrap().build(&text).unwrap();
    loop {
        stream.write_all(signal.data())?;
    }
}

fn resident_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_024
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_bus_that_is_none_neither_stalls_nor_fills_a_trace() {
    let behaviours: [(&str, Behaviour); 6] = [
        ("a line without end", line_without_end),
        ("an empty line", empty_line),
        ("lines without end", lines_without_end),
        ("silence", silence),
        ("a message that says it is huge", a_message_that_says_it_is_huge),
        ("messages without end", messages_without_end),
    ];
    for (what, behaviour) in behaviours {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut stream = stream;
                    let _ = behaviour(&mut stream);
                });
            }
        });
        let address = format!("unix:path={}", path.display());
        let begun = Instant::now();
        let mut trace = Running(
            Command::new(cargo_bin("sigready"))
                .args(["trace", "--bus", &address, "--wait", "--duration", "2s"])
                .args(["none.service", "-v"])
                .stdout(Stdio::null())
                .stderr(fs::File::create(directory.path().join("said")).unwrap())
                .spawn()
                .unwrap(),
        );
        let mut most = 0;
        let status = loop {
            if let Some(status) = trace.0.try_wait().unwrap() {
                break status;
            }
            most = most.max(resident_mib(trace.0.id()));
            assert!(begun.elapsed() < Duration::from_mins(1), "{what}: it does not end");
            thread::sleep(Duration::from_millis(20));
        };
        let said = fs::read_to_string(directory.path().join("said")).unwrap();
        println!("{what}: {:?}, {most} MiB\n{said}", begun.elapsed());
        // Nothing was seen of it.
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        assert!(most < 200, "{what}: {most} MiB");
    }
}

/// A FUSE file system on /run of a mount namespace that takes what it is asked and never
/// answers, once it has begun. Whoever waits for it can't be killed.
const NEVER_ANSWERS: &str = r"
import ctypes, os, struct, sys, time
open(sys.argv[1] + '/cgroup.procs', 'w').write('0')
fuse = os.open('/dev/fuse', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f'fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other'.encode()
if libc.mount(b'never', b'/run', b'fuse', 0, options) != 0:
    sys.exit('mount: ' + os.strerror(ctypes.get_errno()))
print('mounted', flush=True)
request = os.read(fuse, 1 << 20)
length, code, unique = struct.unpack_from('<IIQ', request)
begun = struct.pack('<IIIIHHIIHHI', 7, 31, 0, 0, 0, 0, 4096, 0, 0, 0, 0) + bytes(28)
os.write(fuse, struct.pack('<IiQ', 16 + len(begun), 0, unique) + begun)
while True:
    os.read(fuse, 1 << 20)
    print('asked', flush=True)
";

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_root_that_never_answers_does_not_stall_a_trace() {
    let cgroups = Cgroups::new("never");
    let (scope, unit) = (cgroups.make("init.scope"), cgroups.make("never.service"));
    let mut attacker = Running(
        Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "python3", "-c", NEVER_ANSWERS])
            .arg(&scope)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = [0; 8];
    attacker.0.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"mounted\n");

    let trace = Trace::start(&["never.service", "--wait", "--duration", "5s"]);
    let service = within(&unit, "exec sleep 30");
    let traced = wait(trace, Duration::from_secs(5) + PATIENCE);
    // It was asked, so that it is not by luck that nobody waited.
    let mut asked = [0; 6];
    attacker.0.stdout.as_mut().unwrap().read_exact(&mut asked).unwrap();
    drop(attacker);
    drop(service);
    assert_eq!(&asked, b"asked\n");
    let traced = traced.expect("it ends as long as nobody answers");
    let service = traced.service("never.service");
    let problem = service["unit_problem"].as_str().unwrap();
    assert!(problem.contains("its file system did not answer within"), "{service:#}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_cgroup_that_a_user_gave_a_units_name_is_shown_as_claimed_and_ends_no_wait() {
    let cgroups = Cgroups::new("forged");
    let delegated = cgroups.make("delegated");
    chown(&delegated, Some(NOBODY), Some(NOBODY)).unwrap();
    let forged = cgroups.make("delegated/forged.service");
    chown(&forged, Some(NOBODY), Some(NOBODY)).unwrap();
    let until = ["--wait", "--until", "exit", "--duration", "3s"];

    let as_nobody =
        format!("exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups sleep 0.3");

    let trace = Trace::start(&[&["forged.service"], &until[..]].concat());
    let process = within(&forged, &as_nobody);
    let traced = trace.wait();
    drop(process);
    assert_eq!(traced.report["capture"]["ended_by"], "timeout", "{:#}", traced.report);
    let service = traced.service("forged.service");
    assert_eq!(service["owner"]["kind"], "claimed", "{service:#}");
    assert_eq!(service["owner"]["uid"], NOBODY);
    assert_eq!(service["unit"], serde_json::Value::Null);
    let problem = service["unit_problem"].as_str().unwrap();
    assert!(problem.contains("claimed by uid 65534"), "{problem}");
    assert_eq!(traced.status, Some(1), "the unit itself was not seen");

    let trace = Trace::start(&[&["forged.service", "--any"], &until[..]].concat());
    let process = within(&forged, &as_nobody);
    let traced = trace.wait();
    drop(process);
    assert_eq!(traced.report["capture"]["ended_by"], "until", "{:#}", traced.report);

    // What root made counts, also beside one that is claimed.
    let real = cgroups.make("forged.service");
    let trace = Trace::start(&[&["forged.service"], &until[..]].concat());
    let processes = [within(&forged, "exec sleep 30"), within(&real, "exec sleep 0.3")];
    let traced = trace.wait();
    drop(processes);
    assert_eq!(traced.report["capture"]["ended_by"], "until", "{:#}", traced.report);
    let services = traced.report["services"].as_array().unwrap().iter();
    let owners: Vec<&str> = services.filter_map(|it| it["owner"]["kind"].as_str()).collect();
    assert_eq!(owners.len(), 2);
    assert!(owners.contains(&"claimed") && owners.contains(&"unmanaged"), "{owners:?}");
}

/// Makes user namespaces, one in the other, until the kernel makes no more, and says how many.
const NESTED: &str = r#"
unshare --user --map-root-user sh -c "$1" sh "$1" $(($2 + 1)) 2> /dev/null && exit
echo $$ $2
sleep 60
"#;

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn who_made_user_namespaces_is_told_however_deep_they_are() {
    let mut command = Command::new("sh");
    let mut shell =
        command.args(["-c", NESTED, "sh", NESTED, "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (pid, depth) = line.trim().split_once(' ').unwrap();
    let makers = namespaces::makers(pid.parse().unwrap());
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
    let depth: usize = depth.parse().unwrap();
    assert!(depth > 20, "{depth}");
    assert_eq!(makers.unwrap(), vec![0; depth]);
}
