//! What a command leaves running is ended: this process takes orphans in, so that everything a
//! command started is below it, and nothing gets away.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::host::{descendants::follow, procfs};

/// How long it may take until all are gone.
const GONE: Duration = Duration::from_secs(2);
/// How often it is looked whether they are.
const LOOK: Duration = Duration::from_millis(2);

/// Processes whose parents end are this process's children from now on (`prctl(2)`,
/// `PR_SET_CHILD_SUBREAPER`).
pub fn take_orphans() -> Result<()> {
    prctl::set_child_subreaper(true).context("cannot take in what a command leaves running")
}

/// The names of what descends from this process, but for `helper`, and is still there after
/// `patience`.
pub async fn left_running(helper: u32, patience: Duration) -> Vec<String> {
    let limit = Instant::now() + patience;
    loop {
        let names: Vec<String> = descendants(helper).into_iter().filter_map(procfs::name).collect();
        if names.is_empty() || Instant::now() >= limit {
            return names;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Kills all that descends from this process, but for `helper`, and waits until it is gone. Gives
/// the names of those that are still there: they wait for a file system or a device.
#[must_use]
pub fn end_descendants(helper: u32) -> Vec<String> {
    let limit = Instant::now() + GONE;
    loop {
        let found = descendants(helper);
        if found.is_empty() {
            return Vec::new();
        }
        if Instant::now() >= limit {
            let name = |pid: &u32| procfs::name(*pid).map(|name| format!("{name} (pid {pid})"));
            return found.iter().filter_map(name).collect();
        }
        for pid in found {
            let Ok(pid) = i32::try_from(pid).map(Pid::from_raw) else { continue };
            // One may be gone, or another's child; the next look tells.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
        thread::sleep(LOOK);
    }
}

/// Kills a process and all that descends from it.
pub fn end_all_of(root: u32) {
    let mut found = BTreeSet::from([root]);
    follow(&mut found);
    for pid in found.into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
        // One may be gone.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// All that descends from this process, but for `helper`.
fn descendants(helper: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from_iter(procfs::children(std::process::id()));
    found.remove(&helper);
    follow(&mut found);
    found
}
