//! Where the sender of a signal comes from, as far as /proc tells it: its command line, its
//! cgroup, and who had a systemd send it.

use std::{fs, str};

use super::{
    cgroups::Hierarchies,
    procfs,
    read::{bounded, of_process},
};
use crate::{
    model::{glob::Glob, raw_name, scripts, text::clipped},
    observation::{Asker, Origin, Parent, ProcessId, unit_of},
};

/// Stands at the end of a command line of which there is more.
pub const CUT: char = '…';
/// The most characters that are kept of a command line.
const LONGEST_COMMAND: usize = 512;
/// How much is read of a command line, bytes: a virtual machine's class path comes before what it
/// runs.
const MAX_COMMAND: u64 = 65_536;
/// How many parents of a process that asked are looked at: as many as the kernel side tells.
const MAX_PARENTS: usize = tracer_common::event::PARENTS;
/// What has systemd send signals to a service.
const VERBS: [&str; 11] = [
    "reload",
    "reload-or-restart",
    "reload-or-try-restart",
    "try-reload-or-restart",
    "force-reload",
    "restart",
    "try-restart",
    "condrestart",
    "condreload",
    "kill",
    "stop",
];

/// What /proc shows of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Its arguments, with spaces between them.
    pub command: Option<String>,
    /// What it runs as an interpreter, with its own arguments, in the same way.
    pub script: Option<String>,
    /// Its cgroup's path.
    pub cgroup: Option<String>,
}

/// What /proc shows of this very process now; may wait for it (see [`procfs::snapshot`]).
#[must_use]
pub fn shown(id: ProcessId, hierarchies: &Hierarchies) -> Option<Shown> {
    let arguments = arguments(id.pid);
    let shown = Shown {
        command: arguments.as_deref().and_then(command_line),
        script: arguments.as_deref().and_then(script_line),
        cgroup: path(id.pid, hierarchies),
    };
    // Read afterwards: had the pid been taken over before, this would show it.
    (procfs::id(id.pid) == Some(id)).then_some(shown)
}

/// The path of its cgroup in the hierarchy that shows its unit, if one does.
fn path(pid: u32, hierarchies: &Hierarchies) -> Option<String> {
    let mut paths = hierarchies.paths_of(pid);
    let in_unit = paths.iter().position(|(_, path)| unit_of(path).is_some()).unwrap_or(0);
    (in_unit < paths.len()).then(|| paths.swap_remove(in_unit).1)
}

fn arguments(pid: u32) -> Option<Vec<u8>> {
    bounded(format!("/proc/{pid}/cmdline"), MAX_COMMAND).ok()
}

fn command(pid: u32) -> Option<String> {
    command_line(&arguments(pid)?)
}

/// What an interpreter runs that has these arguments, with a zero byte after each.
fn script_line(arguments: &[u8]) -> Option<String> {
    let end = arguments.iter().rposition(|byte| *byte != 0)?;
    let words: Vec<_> = arguments[..=end].split(|byte| *byte == 0).map(raw_name::text).collect();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let line = scripts::script(&words)?.join(" ");
    Some(clipped(&line, LONGEST_COMMAND).into_owned())
}

/// Arguments with a zero byte after each, as a line. `None` if there are none.
#[must_use]
pub fn command_line(arguments: &[u8]) -> Option<String> {
    let end = arguments.iter().rposition(|byte| *byte != 0)?;
    let words = arguments[..=end].split(|byte| *byte == 0).map(raw_name::text);
    let line = words.collect::<Vec<_>>().join(" ");
    Some(clipped(&line, LONGEST_COMMAND).into_owned())
}

/// The process that had `systemd` signal `target`: the one systemctl that runs in systemd's pid
/// namespace and names the target's unit, where there is exactly one. May wait for processes
/// (see [`procfs::snapshot`]).
#[must_use]
pub fn asker(systemd: ProcessId, target: ProcessId, hierarchies: &Hierarchies) -> Option<Asker> {
    let of_target = path(target.pid, hierarchies)?;
    let unit = unit_of(&of_target)?;
    let namespace = pid_namespace(systemd.pid)?;
    // It may end at any time, and has no arguments any more then: they are read once.
    let mut askers = procfs::pids().into_iter().filter_map(|pid| {
        let is_it = of_process(format!("/proc/{pid}/comm"))
            .is_ok_and(|comm| comm == b"systemctl\n")
            && pid_namespace(pid) == Some(namespace);
        let id = procfs::id(pid).filter(|_| is_it)?;
        let arguments = arguments(pid)?;
        names(&arguments, unit).then_some((id, arguments))
    });
    let (id, arguments) = askers.next().filter(|_| askers.next().is_none())?;
    let status = procfs::brief(id.pid)?;
    let origin = Origin {
        command: command_line(&arguments),
        cgroup: path(id.pid, hierarchies),
        parents: parents(status.parent, hierarchies),
        asked_by: None,
    };
    (procfs::id(id.pid) == Some(id)).then_some(Asker {
        id,
        ns_pid: status.ns_pid,
        comm: status.comm.into(),
        uid: status.uid,
        origin,
    })
}

/// A process by its pid, and those that it comes from.
fn parents(nearest: u32, hierarchies: &Hierarchies) -> Vec<Parent> {
    let mut parents = Vec::new();
    let mut next = nearest;
    while parents.len() < MAX_PARENTS
        && let Some(brief) = procfs::brief(next).filter(|_| next != 0)
    {
        parents.push(Parent {
            id: brief.id,
            ns_pid: brief.ns_pid,
            cgroup_id: 0,
            comm: brief.comm.into(),
            command: command(next),
            cgroup: path(next, hierarchies),
        });
        next = brief.parent;
    }
    parents
}

/// Its inode number, which no other has while it is there.
fn pid_namespace(pid: u32) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|namespace| namespace.ino())
}

/// Whether the arguments of a systemctl have systemd signal this unit.
fn names(arguments: &[u8], unit: &str) -> bool {
    let words = arguments.split(|byte| *byte == 0).skip(1);
    let mut words =
        words.filter_map(|word| str::from_utf8(word).ok()).filter(|word| !word.starts_with('-'));
    words.any(|word| VERBS.contains(&word))
        && words.any(|word| {
            let whole =
                if word.contains('.') { word.to_owned() } else { format!("{word}.service") };
            whole == unit || Glob::with_escapes(&whole).is_ok_and(|glob| glob.is_match(unit))
        })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn arguments_are_words_of_a_line() {
        let line = |bytes: &[u8]| command_line(bytes);
        assert_eq!(line(b"kill\0-HUP\x00431\0").as_deref(), Some("kill -HUP 431"));
        assert_eq!(line(b"nginx: master\0\0\0\0").as_deref(), Some("nginx: master"));
        assert_eq!(line(b"a\0\0b\0").as_deref(), Some("a  b"), "an empty argument is one");
        assert_eq!(line(b"\xff\0").as_deref(), Some("\u{10feff}"));
        assert_eq!((line(b""), line(b"\0\0")), (None, None));
        let long = line(&[b'x'; 5_000]).unwrap();
        assert_eq!((long.chars().count(), long.ends_with(CUT)), (LONGEST_COMMAND, true));
    }

    #[test]
    fn a_systemctl_names_the_unit_that_it_has_signalled() {
        let of = |line: &str| names(line.replace(' ', "\0").as_bytes(), "web@1.service");
        for line in [
            "systemctl reload web@1",
            "systemctl reload web@1.service",
            "systemctl --no-block reload other web@1",
            "/bin/systemctl kill -s HUP web@1.service",
            "systemctl -q try-reload-or-restart web@*",
            "systemctl kill --signal=HUP web@1",
        ] {
            assert!(of(line), "{line}");
        }
        for line in [
            "systemctl",
            "systemctl reload",
            "systemctl reload web",
            "systemctl status web@1",
            "systemctl web@1 reload",
            "systemctl show reload.service web@1.socket",
            "systemctl reload web@[",
        ] {
            assert!(!of(line), "{line}");
        }
        let nested = format!("systemctl reload {}{}", "{".repeat(30_000), "}".repeat(30_000));
        assert!(!of(&nested), "what others name a unit can't overflow the stack");
    }

    #[test]
    fn a_process_is_shown_and_another_start_of_its_pid_is_not() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let id = procfs::id(child.id()).unwrap();
        while command(id.pid).as_deref() != Some("/bin/sleep 60") {
            std::thread::yield_now();
        }
        let hierarchies = Hierarchies::find().unwrap();
        assert_eq!(shown(id, &hierarchies).unwrap().command.as_deref(), Some("/bin/sleep 60"));
        assert_eq!(shown(ProcessId { start_ticks: id.start_ticks + 1, ..id }, &hierarchies), None);
        let from = parents(id.pid, &hierarchies);
        assert_eq!((from[0].id, from[1].id.pid), (id, std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(shown(id, &hierarchies), None);
    }

    #[test]
    fn so_much_is_read_of_a_command_line_and_so_many_parents_are_told_of() {
        // Each shell waits for the next one, which is told the number of those that are left.
        let script = "test \"$1\" = 0 && exec sleep 60; sh -c \"$0\" \"$0\" $(($1 - 1)) \"$2\"; :";
        let long = "x".repeat(MAX_COMMAND as usize);
        let depth = (MAX_PARENTS + 2).to_string();
        let mut child =
            Command::new("sh").args(["-c", script, script, &depth, &long]).spawn().unwrap();
        let mut shells = vec![child.id()];
        while shells.len() < MAX_PARENTS + 2 {
            shells.extend(procfs::children(*shells.last().unwrap()));
        }
        let read = arguments(child.id()).unwrap();
        let from = parents(*shells.last().unwrap(), &Hierarchies::find().unwrap());
        for pid in shells {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        child.wait().unwrap();
        assert_eq!((read.len() as u64, read.ends_with(b"xxx")), (MAX_COMMAND, true));
        assert_eq!(from.len(), MAX_PARENTS);
    }
}
