//! Real systemd as PID 1, in a container over a throw-away copy of the tests' root.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// How long a scenario may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the scenario once the system is up, and ends the container with it.
const UNIT: &str = "\
[Unit]
After=basic.target dbus.service
Wants=dbus.service
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=exec
ExecStart=/bin/bash -eux /shared/scenario.sh
StandardError=file:/shared/stderr
";

/// A scenario that does what it is asked ([`Container::ask`]) until there is a file `over`.
pub const ANSWERING: &str = "
    ip link set lo up
    set +xe
    touch /shared/up
    while [ ! -e /shared/over ]; do
        if [ -e /shared/question ]; then
            sh /shared/question > /shared/unfinished 2>&1
            rm /shared/question
            mv /shared/unfinished /shared/answer
        fi
        sleep 0.05
    done";

/// The root with the daemons, which `cargo xtask root` builds.
pub fn root() -> PathBuf {
    named_by("SIGREADY_ROOT")
}

/// The one with a newer systemd.
pub fn newer_root() -> PathBuf {
    named_by("SIGREADY_NEWER_ROOT")
}

/// The one with the newest systemd.
pub fn newest_root() -> PathBuf {
    named_by("SIGREADY_NEWEST_ROOT")
}

fn named_by(variable: &str) -> PathBuf {
    let Some(root) = std::env::var_os(variable) else {
        panic!("{variable} names a container root: run the tests with cargo xtask test");
    };
    PathBuf::from(root)
}

/// Which cgroups the container's systemd uses.
#[derive(Clone, Copy)]
pub enum Hierarchy {
    /// v2.
    Unified,
    /// v1, with units in the hierarchy named systemd.
    V1,
}

impl Hierarchy {
    fn value(self) -> &'static str {
        match self {
            Self::Unified => "1",
            Self::V1 => "0",
        }
    }
}

/// Where hierarchies that systemd-nspawn uses are mounted, if at all.
const HIERARCHIES: [&str; 3] =
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// Puts itself into the cgroup named $0 of each hierarchy, and runs the rest. Two nspawns in
/// one cgroup would boot both systems into the same one below it.
const IN_CGROUP: &str = r#"
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir "$hierarchy/$0" && echo $$ > "$hierarchy/$0/cgroup.procs"
done
exec "$@""#;

/// A booted container.
pub struct Container {
    nspawn: Child,
    shared: TempDir,
    /// Its cgroup in each hierarchy.
    name: String,
}

impl Container {
    /// Boots one that runs `scenario`, a bash script, which finds `/shared` and leaves
    /// its results there. `files` are put into that directory first.
    pub fn boot(hierarchy: Hierarchy, scenario: &str, files: &[(&str, &str)]) -> Self {
        Self::boot_in(root(), hierarchy, scenario, files)
    }

    /// The same over another root.
    pub fn boot_in(
        root: PathBuf,
        hierarchy: Hierarchy,
        scenario: &str,
        files: &[(&str, &str)],
    ) -> Self {
        Self::boot_with(root, &["--volatile=overlay"], hierarchy, scenario, files)
    }

    /// The same with a root that it may write to.
    pub fn boot_on(root: PathBuf, scenario: &str, files: &[(&str, &str)]) -> Self {
        Self::boot_with(root, &[], Hierarchy::Unified, scenario, files)
    }

    fn boot_with(
        root: PathBuf,
        options: &[&str],
        hierarchy: Hierarchy,
        scenario: &str,
        files: &[(&str, &str)],
    ) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let shared = tempfile::tempdir().expect("a directory to share");
        let put = |name: &str, text: &str| {
            let file = shared.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        put("scenario.sh", scenario);
        put("scenario.service", UNIT);
        for (name, text) in files {
            put(name, text);
        }
        let console = fs::File::create(shared.path().join("console")).unwrap();
        let name =
            format!("sigready{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = shared.path().display();
        // Killing nspawn would leave its systemd running, so it is told to do the killing;
        // when the test is killed, the kernel tells it.
        let nspawn = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "sh", "-c", IN_CGROUP, &name])
            .args(["systemd-nspawn", "--kill-signal=SIGKILL"])
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", hierarchy.value())
            .args(["--quiet", "--register=no", "--keep-unit"])
            .args(options)
            .args(["--private-network", "--console=pipe", "--machine", &name, "--directory"])
            .arg(root)
            .arg(format!("--bind={directory}:/shared"))
            .arg(format!(
                "--bind-ro={directory}/scenario.service:/etc/systemd/system/scenario.service"
            ))
            .args(["--boot", "systemd.unit=scenario.service"])
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .process_group(0)
            .spawn()
            .expect("systemd-nspawn runs");
        Self { nspawn, shared, name }
    }

    /// The container's systemd, by its pid here.
    pub fn init(&self) -> u32 {
        let scopes = HIERARCHIES.iter().map(|hierarchy| {
            Path::new(hierarchy).join(&self.name).join("payload/init.scope/cgroup.procs")
        });
        let procs = scopes.filter_map(|procs| fs::read_to_string(procs).ok());
        let mut pids = procs.filter_map(|procs| procs.lines().next()?.parse().ok());
        pids.next().expect("the container has a systemd in a cgroup of its own")
    }

    /// A process of a unit in it, by its pid here.
    pub fn process_of(&self, unit: &str) -> Option<u32> {
        let units = HIERARCHIES.iter().map(|hierarchy| {
            Path::new(hierarchy).join(&self.name).join("payload/system.slice").join(unit)
        });
        let procs = units.filter_map(|unit| fs::read_to_string(unit.join("cgroup.procs")).ok());
        { procs }.find_map(|procs| procs.lines().next()?.parse().ok())
    }

    /// Waits until the scenario has made a file in `/shared`.
    pub fn wait_for(&self, name: &str) {
        let begun = Instant::now();
        while !self.shared.path().join(name).exists() {
            assert!(begun.elapsed() < PATIENCE, "no {name}:\n{}", self.read("stderr"));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Has a scenario that answers questions run a script, and gives what that printed.
    pub fn ask(&self, script: &str) -> String {
        self.put("asking", script);
        let file = |name: &str| self.shared.path().join(name);
        fs::rename(file("asking"), file("question")).unwrap();
        self.wait_for("answer");
        let answer = self.read("answer");
        fs::remove_file(file("answer")).unwrap();
        answer
    }

    /// Puts a file into `/shared`.
    pub fn put(&self, name: &str, text: &str) {
        fs::write(self.shared.path().join(name), text).unwrap();
    }

    /// Copies a file into `/shared`.
    pub fn copy(&self, file: &Path, name: &str) {
        fs::copy(file, self.shared.path().join(name)).unwrap();
    }

    /// Ends a scenario that waits for a file `over`.
    pub fn over(self) -> Results {
        self.put("over", "");
        self.finish()
    }

    /// Waits for the end of the scenario.
    pub fn finish(self) -> Results {
        self.finish_within(PATIENCE)
    }

    /// The same for a long one.
    pub fn finish_within(mut self, patience: Duration) -> Results {
        let begun = Instant::now();
        while self.nspawn.try_wait().unwrap().is_none() {
            assert!(
                begun.elapsed() < patience,
                "the scenario takes too long; console:\n{}\nscript:\n{}",
                self.read("console"),
                self.read("stderr")
            );
            thread::sleep(Duration::from_millis(50));
        }
        let read = |name| self.read(name);
        Results { stderr: read("stderr"), console: read("console"), container: self }
    }

    fn read(&self, name: &str) -> String {
        fs::read(self.shared.path().join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.nspawn.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill(Pid::from_raw(self.nspawn.id().cast_signed()), Signal::SIGTERM);
            let _ = self.nspawn.wait();
        }
        for hierarchy in HIERARCHIES {
            remove_cgroup(&Path::new(hierarchy).join(&self.name));
        }
    }
}

/// Removes a cgroup with those below it, as far as they are empty.
fn remove_cgroup(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

/// What a scenario left.
pub struct Results {
    /// Its trace.
    pub stderr: String,
    /// What systemd said.
    pub console: String,
    container: Container,
}

impl Results {
    /// A file the script left in `/shared`.
    pub fn file(&self, name: &str) -> String {
        let path = self.container.shared.path().join(name);
        fs::read_to_string(path).unwrap_or_else(|error| {
            panic!(
                "the scenario left no {name}: {error}\nscript:\n{}\nconsole:\n{}",
                self.stderr, self.console
            )
        })
    }
}
