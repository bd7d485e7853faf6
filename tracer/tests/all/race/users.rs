//! `race --unit --user`: a unit of a user's own systemd, which runs here for that. It is asked by its
//! private socket: its message bus takes no root.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::cargo::cargo_bin;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{NOTIFY, Raced};
use crate::support::PYTHON;

/// nobody, which every host has.
const UID: u32 = 65_534;
const HIERARCHIES: [&str; 3] =
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// In a mount namespace of its own, where the host is one that runs systemd.
const START: &str = r#"
for directory in $CGROUPS; do echo $$ > $directory/cgroup.procs; done
mkdir -p /run/systemd
mount -t tmpfs none /run/systemd
mkdir /run/systemd/system
exec setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH="$PATH" HOME="$HOME" \
    XDG_RUNTIME_DIR=/run/user/65534 /lib/systemd/systemd --user --unit=basic.target"#;

/// A user's systemd.
struct UsersSystemd {
    process: Child,
    home: TempDir,
    cgroups: Vec<PathBuf>,
    /// Cgroups above them that were not there before.
    made: Vec<PathBuf>,
}

impl UsersSystemd {
    /// With a unit `mine`, which says READY=1 50 ms after its exec, and sets its handler before.
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let units = home.path().join(".config/systemd/user");
        fs::create_dir_all(&units).unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let handler = "signal.signal(signal.SIGHUP, lambda *a: None)";
        fs::write(home.path().join("service.py"), super::notify_service(handler, "")).unwrap();
        let service = home.path().join("service.py");
        let unit = format!(
            "[Service]\nType=notify\nExecStart={PYTHON} {}\nExecReload=/bin/kill -HUP $MAINPID\n",
            service.display()
        );
        fs::write(units.join("mine.service"), unit).unwrap();
        let runtime = Path::new("/run/user/65534");
        fs::create_dir_all(runtime).unwrap();
        chown(runtime, Some(UID), Some(UID)).unwrap();
        fs::set_permissions(runtime, fs::Permissions::from_mode(0o700)).unwrap();
        let mounted = HIERARCHIES.map(Path::new).into_iter();
        let mounted = mounted.filter(|path| path.join("cgroup.procs").exists());
        let cgroups: Vec<PathBuf> = mounted
            .map(|path| path.join("user.slice/user-65534.slice/user@65534.service"))
            .collect();
        let above = cgroups.iter().filter_map(|it| it.ancestors().nth(2).map(Path::to_owned));
        let made = above.filter(|it| !it.exists()).collect();
        for cgroup in &cgroups {
            fs::create_dir_all(cgroup).unwrap();
            chown(cgroup, Some(UID), Some(UID)).unwrap();
            for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"] {
                let _ = chown(cgroup.join(file), Some(UID), Some(UID));
            }
        }
        let names: Vec<String> = cgroups.iter().map(|it| it.display().to_string()).collect();
        let process = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", START])
            .env("CGROUPS", names.join(" "))
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { process, home, cgroups, made };
        let limit = Instant::now() + Duration::from_secs(30);
        while this.ask(&["is-active", "basic.target"]).trim() != "active" {
            assert!(Instant::now() < limit, "the user's systemd does not start");
            thread::sleep(Duration::from_millis(100));
        }
        this
    }

    fn ask(&self, words: &[&str]) -> String {
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "systemctl", "--user"])
            .args(words)
            .env("XDG_RUNTIME_DIR", "/run/user/65534")
            .env("HOME", self.home.path())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for UsersSystemd {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let limit = Instant::now() + Duration::from_secs(10);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < limit {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        for cgroup in &self.cgroups {
            let slice = cgroup.parent().unwrap();
            let _ = Command::new("find")
                .arg(slice)
                .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
                .stderr(Stdio::null())
                .status();
        }
        for cgroup in &self.made {
            let _ = fs::remove_dir(cgroup);
        }
        let _ = fs::remove_dir_all("/run/user/65534");
    }
}

fn race(by: &str) -> Raced {
    let output = Command::new(cargo_bin("sigready"))
        .args(["race", "--unit", "mine", "--user", "nobody", "--yes", "--by", by])
        .args(["--format", "json"])
        .args(NOTIFY)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Raced::of(&output)
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn race_of_a_users_unit_is_asked_of_the_users_own_systemd() {
    let systemd = UsersSystemd::start();
    for (by, before) in [("kernel", "killed"), ("kill", "killed"), ("reload", "held_back")] {
        systemd.ask(&["start", "mine"]);
        let raced = race(by);
        assert_eq!(raced.status, Some(0), "{by}: {}", raced.stderr);
        let outcomes = raced.outcomes();
        let (last, earlier) = outcomes.split_last().unwrap();
        assert!(last.0.ends_with(".ready1") && last.1 == "taken", "{by}: {outcomes:?}");
        assert_eq!(outcomes[0], ("HUP@fork", before), "{by}: {outcomes:?}");
        let is_handler = |id: &str| id.ends_with(".action1") && by != "reload";
        let expected = |id: &str| if is_handler(id) { "taken" } else { before };
        assert!(earlier.iter().all(|(id, did)| *did == expected(id)), "{by}: {outcomes:?}");
        assert_eq!(raced.race["service_type"], "notify");
        assert_eq!(systemd.ask(&["is-active", "mine"]).trim(), "active", "{}", raced.stderr);
    }
}
