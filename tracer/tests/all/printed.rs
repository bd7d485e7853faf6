//! The commands that the README, the pages and the program's own sentences print, carried out:
//! against units of a container, with a daemon of its own for `run`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::support::container::{ANSWERING, Container, Hierarchy, newer_root};
use crate::support::printed::{in_sentences, last_option, on_pages};

/// How long a command is left alone before it gets what Ctrl-C sends.
const LEFT_ALONE: Duration = Duration::from_secs(3);
/// How many commands are carried out at a time.
const PLACES: usize = 3;
/// How long it may take to attach, and to end then.
const PATIENCE: Duration = Duration::from_mins(1);

/// Takes HUP, and says that it is there: in the directory that it runs in, and READY=1.
const DAEMON: &str = "#!/usr/bin/python3
import os, signal, socket, time
open('up', 'w').close()
signal.signal(signal.SIGHUP, lambda *_: None)
place = os.environ.get('NOTIFY_SOCKET', '')
if place:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b'READY=1', '\\0' + place[1:] if place[0] == '@' else place)
while True:
    time.sleep(1)
";

const UNIT: &str = "[Service]
Type=notify
ExecStart=/usr/bin/python3 /shared/app.py
ExecReload=/bin/kill -HUP $MAINPID
";

/// A place in which printed commands can be carried out.
struct Place {
    container: Container,
    /// Where they are run.
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let files = [("app.py", DAEMON), ("myservice.service", UNIT), ("worker@.service", UNIT)];
        let container = Container::boot_in(newer_root(), Hierarchy::Unified, ANSWERING, &files);
        container.wait_for("up");
        let started = container.ask(
            "cp /shared/*.service /run/systemd/system/
             systemctl daemon-reload
             systemctl start myservice worker@1 && echo started",
        );
        assert!(started.ends_with("started\n"), "{started}");
        let directory = tempfile::tempdir().unwrap();
        for name in ["myserviced", "server", "mydaemon", "service.py", "slow_start.py"] {
            let file = directory.path().join(name);
            fs::write(&file, DAEMON).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let place = Self { container, directory };
        for (format, name) in [("json", "start.json"), ("json", "out.json"), ("jsonl", "out.jsonl")]
        {
            let words = ["sigready", "run", "--type", "simple", "--format", format, "--output"];
            let words = [&words[..], &[name, "--", "true"]].concat();
            let (status, said) =
                place.carry_out(&words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(status, Some(0), "{said}");
        }
        place
    }

    /// A root, as it is named from here.
    fn root(&self) -> String {
        format!("/proc/{}/root", self.container.init())
    }

    /// The word that takes the place of one that stands for something of the reader's.
    fn word(&self, word: &str, runs: bool) -> Option<String> {
        let own = match word {
            "PROGRAM" | "/usr/bin/daemon" | "cron" => "./myserviced",
            "patroni" if runs => "./myserviced",
            "UNIT" | "daemon.service" | "patroni" | "patroni.service" => "myservice.service",
            "nginx" | "postgresql@*.service" => "worker@*.service",
            "FILE" => "start.json",
            "ID" => "reload-before-handler",
            "postgres" => "nobody",
            "4711" => {
                let pid = self.container.process_of("myservice.service");
                return pid.map(|pid| pid.to_string());
            }
            "/var/lib/machines/web" => return Some(self.root()),
            _ => return None,
        };
        Some(own.to_owned())
    }

    /// What is run for a command that is printed.
    fn words(&self, printed: &[String]) -> Vec<String> {
        let runs = printed[1] == "run";
        let own = |word: &String| self.word(word, runs).unwrap_or_else(|| word.clone());
        let mut words: Vec<String> = printed.iter().map(own).collect();
        // The units are a container's.
        let has = |option: &str| printed.iter().any(|word| word == option);
        let asks = ["trace", "lint"].contains(&&*printed[1]) || has("--unit");
        if asks && !["--root", "--pid", "--user", "--running"].into_iter().any(has) {
            words.splice(2..2, ["--root".to_owned(), self.root()]);
        }
        words
    }

    /// Carries a command out: what it traces is restarted meanwhile, and it gets an interrupt
    /// if it does not end by itself. Gives its exit status and what it said.
    fn carry_out(&self, words: &[String]) -> (Option<i32>, String) {
        let path = self.directory.path().join("said");
        let said = || String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let file = fs::File::create(&path).unwrap();
        // What has a screen gets a terminal.
        let is_live = words.iter().any(|word| word == "--live");
        let mut command = if is_live {
            let mut script = Command::new("script");
            let run = "stty rows 24 cols 300; exec \"$SIGREADY\" $ARGUMENTS";
            script.args(["--quiet", "--return", "--command", run, "/dev/null"]);
            script.env("SIGREADY", cargo_bin("sigready")).env("TERM", "xterm");
            // The places that are named here have no blank in their paths.
            script.env("ARGUMENTS", words[1..].join(" ")).stdin(Stdio::piped());
            script
        } else {
            let mut command = Command::new(cargo_bin("sigready"));
            command.args(&words[1..]);
            command
        };
        let mut child = command
            .current_dir(self.directory.path())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let up = self.directory.path().join("up");
        let _ = fs::remove_file(&up);
        let has_begun = || match &*words[1] {
            "trace" => said().contains("tracing"),
            "run" => up.exists(),
            _ => false,
        };
        wait(&mut child, PATIENCE, has_begun);
        if words[1] == "trace" && !words.iter().any(|word| word == "--restart") {
            self.container.ask("systemctl restart myservice worker@1");
        }
        // Some seconds, or until then.
        let is_limited = words[1] == "race"
            || words.windows(2).any(|pair| pair[0] == "--duration" && pair[1].ends_with('s'));
        wait(&mut child, if is_limited { PATIENCE } else { LEFT_ALONE }, || false);
        if child.try_wait().unwrap().is_none() {
            if let Some(mut keys) = child.stdin.take() {
                keys.write_all(b"q").unwrap();
                // Its end would be the terminal's.
                child.stdin = Some(keys);
            } else {
                kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
            }
            wait(&mut child, PATIENCE, || false);
        }
        let status = child.try_wait().unwrap();
        assert!(status.is_some(), "{words:?} does not end: {}", said());
        (status.unwrap().code(), said())
    }

    /// Carries a printed command out. Gives what was run and came of it if it is not as it should be.
    fn try_out(&self, printed: &[String]) -> Result<(), String> {
        let words = self.words(printed);
        let (status, said) = self.carry_out(&words);
        // A user, or a systemd, that this host does not have is what there is to say of one.
        let has = |option: &str| printed.iter().any(|word| word == option);
        let is_fine = if has("ada") {
            status == Some(2) && said.contains("no user 'ada'")
        } else if has("--running") && !Path::new("/run/systemd/system").is_dir() {
            status == Some(1) && said.contains("cannot reach systemd")
        } else {
            matches!(status, Some(0 | 3)) && !said.contains("nothing was seen")
        };
        println!("{status:?}: {}", words.join(" "));
        if is_fine { Ok(()) } else { Err(format!("{}\n{status:?}: {said}", words.join(" "))) }
    }
}

/// Waits until the process has ended, or it is so, or the time is over.
fn wait(child: &mut Child, limit: Duration, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() && !is_so() && begun.elapsed() < limit {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a word that stands in a sentence still belongs to the command.
fn is_of_command(place: &Place, word: &str) -> bool {
    const VALUES: [&str; 10] = [
        "json",
        "exit",
        "ready",
        "alert",
        "python3",
        "simple",
        "on-failure",
        "ada",
        "USR2",
        "never",
    ];
    let is_value = VALUES.contains(&word)
        || word.starts_with('-')
        || word.starts_with(|c: char| c.is_ascii_digit())
        || word.contains(['@', '.', '/']);
    is_value || place.word(word, true).is_some()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
#[ignore = "needs root, eBPF and a container root: run by cargo xtask test"]
fn every_printed_command_can_be_carried_out() {
    let place = Place::new();
    let sentences = in_sentences().into_iter().map(|(source, mut words)| {
        // Prose may go on behind the last option.
        let last = last_option(&words).unwrap();
        let rest = words[last + 1..].iter().take_while(|word| is_of_command(&place, word)).count();
        words.truncate(last + 1 + rest);
        (source, words)
    });
    let mut seen = BTreeSet::new();
    let mut pages: BTreeMap<PathBuf, Vec<Vec<String>>> = BTreeMap::new();
    for (page, printed) in on_pages().into_iter().chain(sentences) {
        if seen.insert(printed.clone()) {
            pages.entry(page).or_default().push(printed);
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
    // They wait more than they work. What a page prints may build on what stands above it.
    let mut pages: Vec<_> = pages.into_iter().collect();
    pages.sort_by_key(|(_, commands)| commands.len());
    let pages = Mutex::new(pages);
    let wrong = Mutex::new(Vec::new());
    let work = |place: &Place| {
        loop {
            let next = pages.lock().unwrap().pop();
            let Some((page, commands)) = next else { return };
            for printed in commands {
                if let Err(said) = place.try_out(&printed) {
                    wrong.lock().unwrap().push(format!("{}: {said}", name(&page)));
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..PLACES {
            scope.spawn(|| {
                let place = Place::new();
                work(&place);
                place.container.over();
            });
        }
        work(&place);
    });
    place.container.over();
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
