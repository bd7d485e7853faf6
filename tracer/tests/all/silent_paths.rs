//! Paths that lead to a file system that takes requests and never answers them: what was named by
//! a user holds no process, and costs a deadline and a sentence.

use std::{
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Compiled, Killed, file,
    fuse::{
        Fuse,
        Request::{Create, Fsync, Init, Lookup, Open, Read, Rename, Write},
    },
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

const UNIT: &str = "[Service]\nType=notify\nExecStart=/bin/a\nExecReload=/bin/kill -HUP $MAINPID\n";

/// What `sigready` says and how it ends; it must end.
fn sigready(arguments: &[&OsStr]) -> Output {
    let mut command = Command::new(cargo_bin("sigready"));
    command.args(arguments);
    ended(
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
    )
}

fn ended(mut child: Child) -> Output {
    wait(&mut child);
    child.wait_with_output().unwrap()
}

/// The exit status of one that must end, or nothing if a signal ended it.
fn wait(child: &mut Child) -> Option<i32> {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < limit, "it is held");
        thread::sleep(Duration::from_millis(10));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// That it ended by itself with this status, and says that nobody answered.
fn is_told(output: &Output, status: i32, what: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{what}: {said}");
    assert!(said.contains("file system did not answer within"), "{what}: {said}");
    assert!(!said.contains("panicked"), "{what}: {said}");
}

/// A directory with a unit file and a report in it.
fn files() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    file(directory.path(), "a.service", UNIT);
    let report = directory.path().join("r.jsonl");
    let ran = Command::new(cargo_bin("sigready"))
        .args(["run", "--type", "simple", "--output"])
        .arg(&report)
        .args(["--", "/bin/true"])
        .output()
        .unwrap();
    assert!(report.exists(), "{}", text(&ran.stderr));
    directory
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn files_that_are_read_hold_nothing() {
    let files = files();
    for (command, name) in [("lint", "a.service"), ("report", "r.jsonl")] {
        let original = files.path().join(name);
        let read = |fuse: &Fuse| {
            let path = fuse.path(name);
            sigready(&[command.as_ref(), path.as_ref()])
        };
        for silent in [(Init, 1), (Lookup, 1), (Open, 1), (Read, 1)] {
            let mut fuse = Fuse::new(Some(silent), &[&original]);
            let output = read(&fuse);
            fuse.wait_until_silent();
            is_told(&output, 2, &format!("{command}, {silent:?}"));
        }
        // Where it answers, it is read like any other, however often it is asked.
        let fuse = Fuse::new(None, &[&original]);
        let (there, here) = (read(&fuse), sigready(&[command.as_ref(), original.as_ref()]));
        assert_eq!(there.status.code(), here.status.code(), "{}", text(&there.stderr));
        let told = text(&there.stdout).replace(fuse.path("").to_str().unwrap(), "");
        let expected = text(&here.stdout).replace(&format!("{}/", files.path().display()), "");
        assert_eq!(told, expected);
        assert!(!expected.is_empty());
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn roots_cgroups_and_buses_hold_nothing() {
    for silent in [(Init, 1), (Lookup, 1)] {
        let mut fuse = Fuse::new(Some(silent), &[]);
        let output = sigready(&["lint".as_ref(), "--root".as_ref(), fuse.path("").as_ref()]);
        fuse.wait_until_silent();
        is_told(&output, 2, &format!("lint --root, {silent:?}"));

        let mut fuse = Fuse::new(Some(silent), &[]);
        let output = sigready(&["trace".as_ref(), "--cgroup".as_ref(), fuse.path("a").as_ref()]);
        fuse.wait_until_silent();
        is_told(&output, 2, &format!("--cgroup, {silent:?}"));

        let mut fuse = Fuse::new(Some(silent), &[]);
        let bus = format!("unix:path={}", fuse.path("bus").display());
        let arguments = ["trace", "--bus", &bus, "--wait", "--duration", "1s", "a.service", "-v"];
        let output = sigready(&arguments.map(OsStr::new));
        fuse.wait_until_silent();
        is_told(&output, 2, &format!("--bus, {silent:?}"));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_report_that_can_not_be_written_holds_nothing() {
    let files = files();
    let unit = files.path().join("a.service");
    let lint = |path: &Path| {
        sigready(&["lint".as_ref(), unit.as_ref(), "--output".as_ref(), path.as_ref()])
    };
    for silent in [(Init, 1), (Lookup, 1), (Create, 1), (Write, 1), (Fsync, 1), (Rename, 1)] {
        let mut fuse = Fuse::new(Some(silent), &[]);
        let output = lint(&fuse.path("o"));
        fuse.wait_until_silent();
        is_told(&output, 1, &format!("lint, {silent:?}"));
    }
    let own = std::process::id().to_string();
    for silent in [Some((Lookup, 1)), Some((Create, 1)), None] {
        let fuse = Fuse::new(silent, &[]);
        let path = fuse.path("o.json");
        let arguments = ["trace", "--pid", &own, "--duration", "200ms", "--output"];
        let arguments = arguments.iter().map(OsStr::new).chain([path.as_ref()]);
        let output = sigready(&arguments.collect::<Vec<_>>());
        if let Some(silent) = silent {
            is_told(&output, 1, &format!("trace, {silent:?}"));
        } else {
            assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output.stderr));
            let report: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            assert_eq!(report["capture"]["command"], "trace");
        }
    }
}

/// How many eBPF programs and links a process holds; none if it is gone.
fn attached(pid: &str) -> usize {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten();
    let infos = infos.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    infos.filter(|info| info.contains("prog_id:") || info.contains("link_id:")).count()
}

/// `run` of a program in a file system, for 3 s at most. What is said goes to a file: the command
/// has it open too.
fn run_of(fuse: &Fuse, program: &Path, said: &Path) -> Child {
    let path = fuse.path(program.file_name().unwrap().to_str().unwrap());
    let mut command = Command::new(cargo_bin("sigready"));
    command.args(["run", "--type", "simple", "--timeout", "3s", "--"]).arg(&path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(said).unwrap());
    command.spawn().unwrap()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_command_that_can_not_be_looked_up_is_told() {
    let program = Compiled::new("int main(void) { return 0; }");
    let path = program.path();
    let program = Path::new(&path);
    for silent in [(Init, 1), (Lookup, 1)] {
        let fuse = Fuse::new(Some(silent), &[program]);
        let path = fuse.path(program.file_name().unwrap().to_str().unwrap());
        let output = sigready(&["run".as_ref(), "--".as_ref(), path.as_ref()]);
        is_told(&output, 2, &format!("{silent:?}"));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn an_exec_that_does_not_end_is_told_on_an_interrupt_and_at_the_time_out() {
    let program = Compiled::new("int main(void) { return 0; }");
    let directory = tempfile::tempdir().unwrap();
    let said = directory.path().join("said");
    for silent in [(Open, 1), (Read, 1)] {
        for interrupted in [false, true] {
            let mut fuse = Fuse::new(Some(silent), &[Path::new(&program.path())]);
            let mut child = run_of(&fuse, Path::new(&program.path()), &said);
            let pid = child.id();
            fuse.wait_until_silent();
            assert!(attached(&pid.to_string()) > 0, "{silent:?}");
            let commands = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            assert!(!commands.trim().is_empty(), "{silent:?}");
            if interrupted {
                kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT).unwrap();
            }
            let status = wait(&mut child);
            let said = fs::read_to_string(&said).unwrap();
            if interrupted {
                assert_eq!(status, None, "{silent:?}: the signal ends it: {said}");
                assert!(said.contains("the command was not started yet"), "{said}");
            } else {
                assert_eq!(status, Some(1), "{silent:?}: {said}");
                assert!(said.contains("was not started in the time of --timeout"), "{said}");
            }
            // What waits for the file system is there still, and keeps nothing attached.
            for command in commands.split_whitespace() {
                assert!(Path::new("/proc").join(command).exists(), "{silent:?}");
                assert_eq!(attached(command), 0, "{silent:?}: process {command} keeps them");
            }
        }
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_signal_before_the_command_runs_leaves_nothing_of_the_notify_socket() {
    let program = Compiled::new("int main(void) { return 0; }");
    for signal in ["QUIT", "USR1", "RTMIN+5"] {
        let mut fuse = Fuse::new(Some((Open, 1)), &[Path::new(&program.path())]);
        let path = fuse.path(Path::new(&program.path()).file_name().unwrap().to_str().unwrap());
        let mut command = Command::new(cargo_bin("sigready"));
        command.args(["run", "--type", "notify", "--"]).arg(&path);
        // SAFETY: one system call. What a shell starts in the background ignores it.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGQUIT, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        fuse.wait_until_silent();
        let socket = bound_by(child.id());
        assert!(socket.exists(), "{socket:?}");
        let pid = child.id().to_string();
        assert!(Command::new("/bin/kill").args(["-s", signal, &pid]).status().unwrap().success());
        assert_eq!(wait(&mut child), None, "{signal} ends it");
        assert!(!socket.parent().unwrap().exists(), "{signal} left {socket:?}");
    }
}

/// The notify socket that a tracer made, as the kernel tells it (proc_pid_net(5), `unix`).
fn bound_by(pid: u32) -> PathBuf {
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    let own: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .map(|link| link.display().to_string())
        .collect();
    let mut paths = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(6);
        let socket = format!("socket:[{}]", words.next()?);
        let path = words.next()?;
        (path.starts_with("/run/sigready-") && own.contains(&socket)).then(|| path.into())
    });
    paths.next().expect("the tracer has a notify socket")
}

/// An overlay over another file system, gone when dropped.
struct Overlay(TempDir);

impl Overlay {
    fn over(lower: &Path) -> Self {
        let (point, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = format!("lowerdir={}:{}", lower.display(), empty.path().display());
        let (kind, flags) = (Some("overlay"), MsFlags::empty());
        mount(kind, point.path(), kind, flags, Some(options.as_str())).unwrap();
        Self(point)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// The first to open a program is the kernel that executes it, and the second who reads it.
#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_program_that_can_not_be_read_holds_nothing() {
    let program = Compiled::new("#include <unistd.h>\nint main(void) { for (;;) pause(); }");
    let path = program.path();
    let program = Path::new(&path);
    let name = program.file_name().unwrap();
    for under_overlay in [false, true] {
        let mut fuse = Fuse::new(Some((Open, 2)), &[program]);
        let overlay = under_overlay.then(|| Overlay::over(&fuse.path("")));
        let path = overlay.as_ref().map_or(fuse.path("").join(name), |it| it.0.path().join(name));
        let running = Killed(Command::new(&path).spawn().unwrap());
        let pid = running.0.id().to_string();
        let output = sigready(&["trace", "--pid", &pid, "--duration", "500ms"].map(OsStr::new));
        fuse.wait_until_silent();
        let said = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{under_overlay}: {said}");
    }
    // Of one that is executed while it is traced it is the same.
    let directory = tempfile::tempdir().unwrap();
    let mut fuse = Fuse::new(Some((Open, 2)), &[program]);
    let mut run = run_of(&fuse, program, &directory.path().join("said"));
    fuse.wait_until_silent();
    assert!(wait(&mut run).is_some());
}
