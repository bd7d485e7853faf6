//! A process that ends what a race has started if this one can't: it waits for this one's end,
//! however that comes, and then kills the command of the run, stopped or not, and all it started.
//!
//! It is this program, executed anew, in a session of its own. It knows the cgroups of the race,
//! and the command of the run, which it is told through a pipe whose end is this process's. Of a
//! unit nothing is killed: what is stopped goes on.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::{Pid, setsid},
};

use super::cgroup;
use crate::host::{
    cgroups::{self, Hierarchies},
    descendants, procfs,
};

/// The first argument of the executed program. No command of the command line has this name.
const MARK: &str = "--guard-race";
/// How long it goes on killing what starts others.
const LIMIT: Duration = Duration::from_secs(2);
/// How long what was killed has to be gone: on a busy host the kernel takes its time.
const GONE: Duration = Duration::from_secs(10);
/// What it is told once a unit is back: no path, so that no cgroup of a unit holds.
const OVER: &str = "over";
/// How often it looks for more.
const LOOK: Duration = Duration::from_millis(5);

/// The process.
pub struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts it for a race whose cgroups are in `cgroups`, if it has any.
    pub fn start(cgroups: Option<&Path>) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("sigready-guard").arg(MARK).arg(cgroups.unwrap_or(Path::new("")));
        command.env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let apart = || {
            // No terminal's and no group's signal is to reach it.
            setsid()?;
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGTSTP]
            {
                // SAFETY: it sets no handler.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            Ok(())
        };
        // SAFETY: `apart` makes system calls only; it neither allocates nor locks.
        unsafe { command.pre_exec(apart) };
        let mut child =
            command.spawn().context("cannot start a process that ends what a race leaves")?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The command that runs now, or that of `--between`, each in a session of its own; `None` if none
    /// does.
    pub fn runs(&mut self, command: Option<u32>) -> Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        writeln!(pipe, "{}", command.unwrap_or(0))
            .context("the process that ends what a race leaves is gone")
    }

    /// The cgroup of the unit that is raced. What is stopped in it goes on again, and nothing is
    /// killed: it is systemd's.
    pub fn continues(&mut self, cgroup: &str) -> Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        writeln!(pipe, "{cgroup}").context("the process that ends what a race leaves is gone")
    }

    /// The unit is back as it was, and nothing stops a process of it any more: there is nothing to
    /// wait for.
    pub fn is_over(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        // If it is gone, it does not wait either.
        let _ = writeln!(pipe, "{OVER}");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // It ends with the pipe.
        self.pipe = None;
        let _ = self.child.wait();
    }
}

/// Does the work of that process, if this is one; gives its exit status.
#[must_use]
pub fn guard(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().skip(1).take(2).collect();
    let [mark, cgroups] = &arguments[..] else { return None };
    if mark.as_os_str() != OsStr::new(MARK) {
        return None;
    }
    let (unit, command) =
        last_named(BufReader::new(std::io::stdin()).lines().map_while(Result::ok));
    // A unit's process may be stopped for as long as its start takes; what is between two starts is
    // there in none.
    if let Some(command) = command {
        end_session(command);
    } else if let Some(unit) = unit {
        go_on(&unit);
    }
    if !cgroups.is_empty() {
        cgroup::end(Path::new(cgroups), GONE);
    }
    Some(ExitCode::SUCCESS)
}

/// The unit's cgroup and the command that it was told of: what was told last of each is what holds.
fn last_named(lines: impl Iterator<Item = String>) -> (Option<String>, Option<u32>) {
    let (mut unit, mut command) = (None, None);
    for line in lines {
        match line.parse() {
            Ok(pid) => command = Some(pid).filter(|pid: &u32| *pid != 0),
            Err(_) => unit = Some(line).filter(|line| line.starts_with('/')),
        }
    }
    (unit, command)
}

/// Has what is stopped in a unit's cgroup go on: the kernel side may stop a process until it is
/// detached, which takes a moment longer than the end of who had it.
fn go_on(cgroup: &str) {
    let Ok(hierarchies) = Hierarchies::find() else { return };
    let roots = hierarchies.unified.iter().chain(hierarchies.systemd.iter().map(|(root, _)| root));
    let directories: Vec<_> = roots.map(|root| root.join(cgroups::directory(cgroup))).collect();
    let limit = Instant::now() + GONE;
    while Instant::now() < limit {
        let pids = directories.iter().flat_map(|directory| cgroup::all_pids(directory));
        for pid in pids.filter(|pid| procfs::is_stopped(pid.as_raw().unsigned_abs())) {
            let _ = kill(pid, Signal::SIGCONT);
        }
        thread::sleep(LOOK);
    }
}

/// Kills a command, all in its session, and all that they have started, until there are none.
fn end_session(command: u32) {
    let limit = Instant::now() + LIMIT;
    let mut known = BTreeSet::new();
    let alive = |pid: &u32| procfs::name(*pid).is_some();
    while Instant::now() < limit {
        let before = known.len();
        known.extend(descendants::in_session(command));
        descendants::follow(&mut known);
        if known.len() == before && !known.iter().any(alive) {
            return;
        }
        for pid in known.iter().filter(|pid| alive(pid)) {
            let _ = i32::try_from(*pid).map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_last_holds_and_of_a_unit_that_is_back_there_is_nothing_to_do() {
        let named = |lines: &[&str]| last_named(lines.iter().map(|line| (*line).to_owned()));
        let unit = Some("/system.slice/x.service".to_owned());
        assert_eq!(named(&["7", "0", "/system.slice/x.service"]), (unit.clone(), None));
        assert_eq!(named(&["/a", "/system.slice/x.service", "7"]), (unit, Some(7)));
        assert_eq!(named(&["/system.slice/x.service", "7", "0", OVER]), (None, None));
        assert_eq!(named(&[]), (None, None));
    }

    #[test]
    fn what_is_no_guard_is_left_to_the_command_line() {
        let of = |words: &[&str]| guard(words.iter().map(OsString::from));
        assert!(of(&["sigready"]).is_none());
        assert!(of(&["sigready", "race", "--guard-race"]).is_none());
        assert!(of(&["sigready", MARK]).is_none());
    }
}
