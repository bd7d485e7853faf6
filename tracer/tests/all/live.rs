//! `trace --live`, in pseudo-terminals: the screen, its keys, and that the terminal is as before
//! once it is over.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use tempfile::TempDir;

use crate::support::{Killed, PYTHON};

/// How long something may take on a busy host.
const PATIENCE: Duration = Duration::from_mins(1);
/// Another screen, and the one before.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
/// What comes before a screen that is drawn anew.
const CLEAR: &str = "\x1b[2J";

/// A service: it takes HUP after a while, and sends itself one.
const SERVICE: &str = "
import os, signal, time
time.sleep(0.3)
signal.signal(signal.SIGHUP, lambda *_: None)
os.kill(os.getpid(), signal.SIGHUP)
while True:
    time.sleep(0.1)
";

/// A pseudo-terminal in which a shell's text runs.
struct Terminal {
    _script: Killed,
    keys: ChildStdin,
    output: Arc<Mutex<Vec<u8>>>,
    directory: TempDir,
}

impl Terminal {
    /// Begins to run a text: before and after it, the terminal's modes are written down. `$1` is
    /// the program.
    fn run(text: &str, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "stty rows 24 cols 100\nstty -g > before\n{text}\necho $? > status\nstty -g > after\n"
        );
        fs::write(directory.path().join("text"), text).unwrap();
        let command = format!("bash text {}", cargo_bin("sigready").display());
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .current_dir(directory.path())
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keys = script.stdin.take().unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        let (mut shown, theirs) = (script.stdout.take().unwrap(), Arc::clone(&output));
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = shown.read(&mut piece) {
                theirs.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Self { _script: Killed(script), keys, output, directory }
    }

    /// All that was written to the terminal.
    fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    /// Waits until the terminal was written this.
    fn wait_for(&self, text: &str) {
        self.wait_until(&format!("{text:?}"), || self.output().contains(text));
    }

    /// Has all drawn anew until the screen has this text.
    fn wait_for_screen(&mut self, text: &str) {
        let begun = Instant::now();
        loop {
            self.press("\x0c");
            thread::sleep(Duration::from_millis(250));
            let screen = words(self.output().rsplit(CLEAR).next().unwrap());
            if screen.contains(text) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "no {text:?} in {screen:?}");
        }
    }

    fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "no {what} in {:?}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// Waits for the end of the text, and for the terminal to be as before. Gives the status.
    fn is_as_before(&self) -> String {
        self.wait_until("end", || self.file("after").ends_with('\n'));
        assert_eq!(self.file("after"), self.file("before"));
        self.file("status").trim().to_owned()
    }
}

/// The words of a screen that was drawn from nothing: blanks are moves of the cursor there.
fn words(screen: &str) -> String {
    let mut text = String::new();
    let mut parts = screen.split("\x1b[");
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(part.len() - 1);
        let (command, rest) = part.split_at(end + 1);
        text.push_str(if command.ends_with('H') { " " } else { "" });
        text.push_str(rest);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn service() -> Killed {
    Killed(Command::new(PYTHON).args(["-c", SERVICE]).spawn().unwrap())
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn the_screen_follows_a_start_opens_its_timeline_and_is_gone_before_the_report() {
    let directory = tempfile::tempdir().unwrap();
    mkfifo(&directory.path().join("go"), Mode::S_IRWXU).unwrap();
    let shell = Killed(
        Command::new("sh")
            .args(["-c", "read line < go; exec \"$0\" -c \"$1\""])
            .args([PYTHON, SERVICE])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let pid = shell.0.id();
    let trace = format!("\"$1\" trace --live --pid {pid} --format json > report");
    let mut terminal = Terminal::run(&trace, &[]);
    terminal.wait_for(ENTER);
    terminal.wait_for_screen(&format!("tracing pid {pid}"));
    terminal.wait_for_screen("q end and report Enter timeline");
    fs::write(directory.path().join("go"), "\n").unwrap();
    terminal.press("\r");
    terminal.wait_for_screen("Esc back");
    terminal.wait_for_screen("HUP handler installed");
    terminal.press("\x1b");
    // With another key right behind it, it would be another one.
    thread::sleep(Duration::from_millis(300));
    terminal.wait_for_screen("Enter timeline");
    terminal.press("s");
    terminal.wait_for_screen("s sort (by name)");
    assert!(!terminal.output().contains(LEAVE));
    terminal.press("q");
    terminal.wait_for(LEAVE);
    assert_eq!(terminal.is_as_before(), "0");
    let report: serde_json::Value = serde_json::from_str(&terminal.file("report")).unwrap();
    assert_eq!(report["services"][0]["name"], format!("pid {pid}"));
    assert_eq!(report["capture"]["ended_by"], "interrupt");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn signals_and_alerts_show_up_and_ctrl_c_ends_it_with_the_report_on_the_terminal() {
    let service = service();
    let pid = service.0.id();
    let mut terminal = Terminal::run(&format!("\"$1\" trace --live --pid {pid}"), &[]);
    terminal.wait_for_screen(&format!("pid {pid} ????"));
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGHUP).unwrap();
    terminal.wait_for_screen("HUP handled");
    terminal.press("\x03");
    terminal.wait_for(LEAVE);
    terminal.wait_for("Capture of ");
    assert_eq!(terminal.is_as_before(), "0");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn the_terminal_is_as_before_however_a_signal_ends_the_process() {
    let service = service();
    for (signal, status) in [(Signal::SIGTERM, "0"), (Signal::SIGUSR1, "138")] {
        let trace = format!(
            "sh -c 'echo $$ > pid; exec \"$0\" trace --live --pid {} --output report.json' \"$1\"",
            service.0.id()
        );
        let terminal = Terminal::run(&trace, &[]);
        terminal.wait_for("q end and report");
        let pid = terminal.file("pid").trim().parse().unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        terminal.wait_for(LEAVE);
        assert_eq!(terminal.is_as_before(), status, "{signal}");
        assert_eq!(terminal.file("report.json").starts_with('{'), status == "0");
    }
}

/// Has a shell run the trace as a job, which stops; then what stands between the two, and the job
/// is brought to the foreground once there is a file.
fn job(pid: u32, between: &str) -> String {
    format!(
        r#"set -m
sh -c 'echo $$ > pid; exec "$0" trace --live --pid {pid} --output report.json' "$1"
stty -g > stopped
{between}
while [ ! -e go ]; do sleep 0.05; done
fg"#
    )
}

/// The state of a process, as /proc has it.
fn state(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap()[..1].to_owned()
}

/// Waits until a process has had some turns: its threads have waited for something so often since.
fn has_turned(pid: i32) {
    let waits = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        let counts = texts.filter_map(|text| {
            let mut lines = text.lines();
            lines.find_map(|line| {
                line.strip_prefix("voluntary_ctxt_switches:\t")?.parse::<u64>().ok()
            })
        });
        counts.sum::<u64>()
    };
    let (begun, before) = (Instant::now(), waits());
    while waits() < before + 30 {
        assert!(begun.elapsed() < PATIENCE, "it does not turn");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How much was written to the terminal.
fn length(terminal: &Terminal) -> usize {
    terminal.output.lock().unwrap().len()
}

/// What was written from there on.
fn since(terminal: &Terminal, length: usize) -> String {
    String::from_utf8_lossy(&terminal.output.lock().unwrap()[length..]).into_owned()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_job_that_stops_gives_the_terminal_back_and_takes_it_again_when_it_goes_on() {
    let service = service();
    for signal in [Some(Signal::SIGTSTP), None] {
        let mut terminal = Terminal::run(&job(service.0.id(), ""), &[]);
        terminal.wait_for("q end and report");
        let pid: i32 = terminal.file("pid").trim().parse().unwrap();
        match signal {
            Some(signal) => kill(Pid::from_raw(pid), signal).unwrap(),
            None => terminal.press("\x1a"),
        }
        terminal.wait_for(LEAVE);
        terminal.wait_until("stop", || terminal.file("stopped").ends_with('\n'));
        assert_eq!(terminal.file("stopped"), terminal.file("before"));
        assert_eq!(state(pid), "T");
        let shown = length(&terminal);
        fs::write(terminal.directory.path().join("go"), "").unwrap();
        terminal.wait_until("screen", || {
            let output = since(&terminal, shown);
            output.contains(ENTER) && output.contains(CLEAR)
        });
        terminal.wait_for_screen("q end and report");
        terminal.press("q");
        assert_eq!(terminal.is_as_before(), "0");
        assert!(terminal.file("report.json").starts_with('{'));
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn in_the_background_the_trace_goes_on_without_the_terminal() {
    let service = service();
    let between = "bg\nread -r line < /dev/tty\necho \"$line\" > typed";
    let mut terminal = Terminal::run(&job(service.0.id(), between), &[]);
    terminal.wait_for("q end and report");
    let pid: i32 = terminal.file("pid").trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTSTP).unwrap();
    terminal.wait_until("stop", || terminal.file("stopped").ends_with('\n'));
    terminal.press("q\r");
    // What is typed is for the shell.
    terminal.wait_until("line", || terminal.file("typed") == "q\n");
    let shown = length(&terminal);
    has_turned(pid);
    assert_eq!(since(&terminal, shown), "");
    assert_ne!(state(pid), "T");
    fs::write(terminal.directory.path().join("go"), "").unwrap();
    terminal.wait_until("screen", || since(&terminal, shown).contains(ENTER));
    kill(Pid::from_raw(service.0.id().cast_signed()), Signal::SIGHUP).unwrap();
    terminal.wait_for_screen("HUP handled");
    terminal.press("q");
    assert_eq!(terminal.is_as_before(), "0");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn after_a_stop_that_nothing_can_take_the_screen_is_drawn_anew() {
    let service = service();
    // A shell has modes of its own between the two.
    let mut terminal = Terminal::run(&job(service.0.id(), "stty \"$(cat before)\""), &[]);
    terminal.wait_for("q end and report");
    let pid: i32 = terminal.file("pid").trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    terminal.wait_until("stop", || terminal.file("stopped").ends_with('\n'));
    let shown = length(&terminal);
    fs::write(terminal.directory.path().join("go"), "").unwrap();
    terminal.wait_until("screen", || since(&terminal, shown).contains(CLEAR));
    // Without a line's end: the modes are the screen's again.
    terminal.press("q");
    assert_eq!(terminal.is_as_before(), "0");
}

/// Stops the output of the terminal, as Ctrl-S does, once there is a file.
const STOPS: &str = r#"(while [ ! -e go ]; do sleep 0.05; done
/usr/bin/python3 -c 'import os, termios
termios.tcflow(os.open("/dev/tty", os.O_RDWR), termios.TCOOFF)'
touch stopped) &"#;

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_terminal_that_takes_nothing_holds_nothing_up() {
    let service = service();
    let pid = service.0.id();
    let trace = format!(
        "{STOPS}\nsh -c 'echo $$ > pid; exec \"$0\" trace --live --pid {pid} --duration 8s \
         --output report.json' \"$1\""
    );
    let mut terminal = Terminal::run(&trace, &[]);
    terminal.wait_for("q end and report");
    fs::write(terminal.directory.path().join("go"), "").unwrap();
    let stopped = terminal.directory.path().join("stopped");
    terminal.wait_until("stop", || stopped.exists());
    let tracer: i32 = terminal.file("pid").trim().parse().unwrap();
    // What was on its way is there.
    has_turned(tracer);
    let shown = terminal.output().len();
    for _ in 0..3 {
        terminal.press("\x0c");
        has_turned(tracer);
    }
    assert_eq!(terminal.output().len(), shown, "it takes something");
    terminal.wait_for(LEAVE);
    assert_eq!(terminal.is_as_before(), "0");
    let report: serde_json::Value = serde_json::from_str(&terminal.file("report.json")).unwrap();
    let took = report["capture"]["duration_ns"].as_u64().unwrap();
    assert!((8_000_000_000..12_000_000_000).contains(&took), "{took}");
    assert_eq!(report["capture"]["ended_by"], "timeout");
    assert_eq!(report["capture"]["lost"], 0);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn no_color_and_a_narrow_terminal_are_heeded() {
    let service = service();
    let pid = service.0.id();
    let trace = format!("stty rows 6 cols 20; stty -g > before\n\"$1\" trace --live --pid {pid}");
    let mut terminal = Terminal::run(&trace, &[("NO_COLOR", "1")]);
    terminal.wait_for("q end and report");
    let before = terminal.output().len();
    terminal.press("\r");
    terminal.wait_until("another screen", || terminal.output().len() > before);
    terminal.press("q");
    terminal.wait_until("end", || terminal.file("after").ends_with('\n'));
    let output = terminal.output();
    let screen = output.split(LEAVE).next().unwrap();
    let colour = |digit: char| (b'0'..=b'7').map(char::from).map(move |c| format!("{digit}{c}"));
    for code in colour('3').chain(colour('9')) {
        assert!(!screen.contains(&format!("\x1b[{code}m")), "{code}: {screen:?}");
    }
    assert_eq!(terminal.is_as_before(), "0");
}

#[test]
fn without_a_terminal_live_is_refused_with_a_sentence() {
    let alone = |environment: &[(&str, &str)]| {
        let output = Command::new("setsid")
            .args(["--wait"])
            .arg(cargo_bin("sigready"))
            .args(["trace", "--live", "--all"])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(output.status.signal(), None);
        String::from_utf8(output.stderr).unwrap()
    };
    let none = alone(&[("TERM", "xterm")]);
    assert!(none.contains("--live needs a terminal, and there is none (/dev/tty: "), "{none}");
    assert!(none.contains("leave --live out"), "{none}");
    let dumb = alone(&[("TERM", "dumb")]);
    assert!(dumb.contains("TERM says 'dumb'"), "{dumb}");
}

#[test]
fn in_the_background_of_a_terminal_live_is_refused() {
    let text = "set -m\n\"$1\" trace --live --all &\nwait $!";
    let terminal = Terminal::run(text, &[]);
    terminal.wait_for("bring it to the foreground");
    assert_eq!(terminal.is_as_before(), "2");
}
