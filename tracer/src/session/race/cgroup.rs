//! A cgroup for each run: what a command starts can't leave it, whoever its parent is.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::host::cgroups::{self, Hierarchies};

/// How long it may take until a cgroup whose processes were killed and waited for is empty.
const EMPTY: Duration = Duration::from_millis(500);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(2);
/// How far down cgroups that a command has made are followed.
const MAX_DEPTH: usize = 16;

/// Where the cgroups of a race are made: a cgroup below this process's own.
pub struct Cgroups {
    path: PathBuf,
    made: u64,
}

/// The cgroup of a run. It ends with its processes when it is dropped.
pub struct Cgroup {
    path: PathBuf,
    processes: File,
}

impl Cgroups {
    /// `None` where none can be made: there is no cgroup file system here, or it can't be
    /// written to.
    #[must_use]
    pub fn make() -> Option<Self> {
        let hierarchies = Hierarchies::find().ok()?;
        let own = hierarchies.paths_of(std::process::id());
        let mounts = hierarchies.unified.iter().map(|point| (point, 0));
        let mounts = mounts.chain(hierarchies.systemd.iter().map(|(point, id)| (point, *id)));
        mounts.into_iter().find_map(|(point, hierarchy)| {
            let (_, below) = own.iter().find(|(of, _)| *of == hierarchy)?;
            let name = format!("sigready-race-{}", std::process::id());
            let path = point.join(cgroups::directory(below)).join(name);
            fs::create_dir(&path).ok()?;
            let mut cgroups = Self { path, made: 0 };
            // A cgroup of threads, or of a controller that wants none, takes no process.
            cgroups.next().is_ok().then_some(cgroups)
        })
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One for the next run.
    pub fn next(&mut self) -> io::Result<Cgroup> {
        self.made += 1;
        let path = self.path.join(format!("run-{}", self.made));
        fs::create_dir(&path)?;
        match OpenOptions::new().write(true).open(path.join("cgroup.procs")) {
            Ok(processes) => Ok(Cgroup { path, processes }),
            Err(error) => {
                let _ = fs::remove_dir(&path);
                Err(error)
            }
        }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        end(&self.path, EMPTY);
    }
}

impl Cgroup {
    /// Kills all that is in it, stopped or not.
    pub fn kill(&self) {
        kill_all(&self.path);
    }

    /// Where a process writes `0` to join it.
    #[must_use]
    pub fn door(&self) -> BorrowedFd<'_> {
        self.processes.as_fd()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        end(&self.path, EMPTY);
    }
}

/// Kills all that is in a cgroup or below it, stopped or not, and removes it once that is gone.
pub fn end(path: &Path, patience: Duration) {
    let limit = Instant::now() + patience;
    loop {
        kill_all(path);
        if remove(path, 0) || Instant::now() >= limit {
            return;
        }
        thread::sleep(LOOK);
    }
}

fn kill_all(path: &Path) {
    // From 5.14 on the kernel kills all in one go.
    if fs::write(path.join("cgroup.kill"), "1").is_err() {
        kill_each(path, 0);
    }
}

/// The processes in a cgroup and below it.
pub fn all_pids(path: &Path) -> Vec<Pid> {
    fn add(path: &Path, depth: usize, all: &mut Vec<Pid>) {
        all.extend(pids(path));
        for below in directories(path).into_iter().filter(|_| depth < MAX_DEPTH) {
            add(&below, depth + 1, all);
        }
    }
    let mut all = Vec::new();
    add(path, 0, &mut all);
    all
}

fn kill_each(path: &Path, depth: usize) {
    for pid in pids(path) {
        let _ = kill(pid, Signal::SIGKILL);
    }
    for below in directories(path).into_iter().filter(|_| depth < MAX_DEPTH) {
        kill_each(&below, depth + 1);
    }
}

/// Whether it is gone.
fn remove(path: &Path, depth: usize) -> bool {
    for below in directories(path).into_iter().filter(|_| depth < MAX_DEPTH) {
        remove(&below, depth + 1);
    }
    match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn pids(path: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process of another namespace.
    let numbers = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0);
    numbers.map(Pid::from_raw).collect()
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir())).map(|it| it.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deeper_than_cgroups_are_followed_stays() {
        let top = tempfile::tempdir().unwrap();
        let below = |depth: usize| (0..depth).fold(top.path().to_owned(), |it, _| it.join("a"));
        fs::create_dir_all(below(MAX_DEPTH + 1)).unwrap();
        for (depth, pid) in [(0, 10), (MAX_DEPTH, 11), (MAX_DEPTH + 1, 12)] {
            fs::write(below(depth).join("cgroup.procs"), format!("{pid}\n0\n")).unwrap();
        }
        assert_eq!(all_pids(top.path()), [10, 11].map(Pid::from_raw));
        for depth in [0, MAX_DEPTH, MAX_DEPTH + 1] {
            fs::remove_file(below(depth).join("cgroup.procs")).unwrap();
        }
        assert!(!remove(top.path(), 0));
        assert!(below(MAX_DEPTH + 1).exists());
        assert!(remove(&below(1), 0), "it is followed from there");
    }
}
