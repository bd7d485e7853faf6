//! What is to be traced, checked against what is there.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use anyhow::Result;
use sigready::{
    host::{
        cgroups::Hierarchies,
        named,
        procfs::{self, Kind, Membership},
    },
    model::{raw_name, signal::Signal, text::Outside},
    probe::{
        attach::{Attached, Reach},
        scope::{MAX_NAMES, ScopeMaps},
    },
    session::BadRequest,
    systemd::{
        bus,
        manager::Manager,
        opener::{UnitFile, wait_for},
    },
    timeline::{Counting, Scope, Selector},
};

use crate::{
    cli::Trace,
    commands::{
        fault::Fault,
        messages::Messages,
        unit_names::{is_glob, matcher, service},
    },
};

/// What is to be traced, checked against what is there.
pub struct Wanted {
    /// Unit names and globs, with their suffix.
    units: Vec<String>,
    /// Those of them that the host has.
    of_host: BTreeSet<String>,
    /// The signals that their files say they reload by.
    reload_signals: BTreeSet<Signal>,
    /// The cgroup of the system that they are to be units of, if one was named that runs.
    system: Option<String>,
    pids: Vec<u32>,
    /// Paths from the hierarchy's root.
    cgroups: Vec<String>,
    all: bool,
}

impl Wanted {
    /// Checks what was asked for. An alias is taken for the unit it names.
    pub fn resolve(
        options: &Trace,
        named: Option<&Manager>,
        hierarchies: &Hierarchies,
        messages: &Messages,
    ) -> Result<Self, Fault> {
        check_bus(named)?;
        let asked: BTreeSet<&String> = options.units.iter().collect();
        if asked.len() > MAX_NAMES && !options.units.iter().any(|unit| is_glob(unit)) {
            return Err(Fault::usage(format_args!(
                "{} units are named, and no more than {MAX_NAMES} can be traced by their names: \
                 name them by a glob, or trace --all",
                asked.len()
            )));
        }
        let system = named.and_then(|manager| manager.cgroup(hierarchies));
        if let (Some(user), None, false) = (&options.user, &system, options.wait) {
            let user = Outside::new(user);
            return Err(Fault::usage(format_args!(
                "no systemd of user '{user}' runs: it does while they are logged in, and always \
                 after 'loginctl enable-linger {user}' (to trace its first start, add --wait)"
            )));
        }
        let system = system.or_else(|| named.and_then(Manager::cgroup_to_be));
        let manager = match named {
            None | Some(Manager::Address(_)) => Manager::host(),
            Some(named) => named.clone(),
        };
        // What can't be read is told once its systemd can't be asked either.
        let read = |unit: &str| wait_for(manager.unit_file(unit)).unwrap_or(UnitFile::Nothing);
        let mut units = Vec::new();
        let mut of_host = BTreeSet::new();
        let mut reload_signals = BTreeSet::new();
        for given in &options.units {
            let unit = service(given)?;
            matcher(&unit)?;
            if is_glob(&unit) {
                units.push(unit);
                continue;
            }
            let found = read(&unit);
            if let UnitFile::Unit { name, facts } = &found {
                reload_signals.extend(facts.reload_signal);
                if Manager::host_runs() {
                    of_host.insert(name.clone());
                }
            }
            match found {
                UnitFile::Unit { name, .. } if name != unit => {
                    messages.note(format_args!("{unit} is another name of {name}"));
                    units.push(name);
                }
                UnitFile::Masked if !runs(&unit, hierarchies) => {
                    return Err(Fault::usage(format_args!(
                        "'{unit}' is masked: systemd won't start it (systemctl unmask {unit})"
                    )));
                }
                UnitFile::Nothing if !options.wait && !runs(&unit, hierarchies) => {
                    return Err(Fault::usage(format_args!(
                        "there is no unit '{unit}' on this host: no unit file and no cgroup has \
                         that name (if it is a user's, or in a container that is yet to start, \
                         add --wait)"
                    )));
                }
                UnitFile::Unit { .. } | UnitFile::Masked | UnitFile::Nothing => units.push(unit),
            }
        }
        // One that is named a thousand times is looked at once.
        let pids: BTreeSet<u32> = options.pid.iter().copied().collect();
        for pid in &pids {
            check_process(*pid)?;
        }
        let cgroup = |path: &PathBuf| cgroup_path(path, hierarchies, named::directory);
        let cgroups = options.cgroup.iter().map(cgroup);
        let cgroups = cgroups.collect::<Result<_, _>>()?;
        let pids = pids.into_iter().collect();
        Ok(Self { units, of_host, reload_signals, system, pids, cgroups, all: options.all })
    }

    /// The units that were asked for by their names; none if any was asked for by a glob.
    pub fn exact(&self) -> Option<&[String]> {
        let exact = !self.units.is_empty() && !self.units.iter().any(|unit| is_glob(unit));
        exact.then_some(self.units.as_slice())
    }

    /// How much of the host the kernel side reports.
    pub fn reach(&self) -> Reach {
        if self.all || self.units.iter().any(|unit| is_glob(unit)) {
            Reach::Everything
        } else {
            Reach::Listed
        }
    }

    /// What the timelines are built of.
    pub fn scope(&self, options: &Trace) -> Scope {
        if options.all {
            return Scope::All;
        }
        let units = self.units.iter().filter_map(|unit| matcher(unit).ok());
        let system = &self.system;
        let units = units.map(|name| Selector::Unit { name, system: system.clone() });
        let pids = self.pids.iter().copied().map(Selector::Process);
        let cgroups = self.cgroups.iter().cloned().map(Selector::Cgroup);
        Scope::Selected(units.chain(pids).chain(cgroups).collect())
    }

    /// Which of the units of a name count as the one that was asked for.
    pub fn counting(&self, options: &Trace, named: Option<&Manager>) -> Counting {
        match named {
            _ if options.any || self.units.is_empty() => Counting::All,
            Some(_) => Counting::OfSystem,
            None => Counting::HostFirst { of_host: self.of_host.clone() },
        }
    }

    /// The signals that the units are known to reload by.
    pub fn reload_signals(&self) -> impl Iterator<Item = Signal> {
        self.reload_signals.iter().copied()
    }

    /// The cgroup of the system that was named, if it is known.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// For the record.
    pub fn arguments(&self) -> Vec<String> {
        if self.all {
            return vec!["all units and containers".to_owned()];
        }
        let pids = self.pids.iter().map(|pid| format!("pid {pid}"));
        self.units.iter().cloned().chain(pids).chain(self.cgroups.iter().cloned()).collect()
    }

    /// Tells the attached kernel side, which reports nothing else.
    pub fn list(&self, attached: &mut Attached, hierarchies: &Hierarchies) -> Result<()> {
        if matches!(self.reach(), Reach::Everything) {
            return Ok(());
        }
        let mut maps = ScopeMaps::of(&mut attached.ebpf);
        for unit in &self.units {
            maps.add_name(unit)?;
        }
        for pid in &self.pids {
            maps.add_tree(*pid, procfs::children)?;
        }
        for cgroup in hierarchies.scan() {
            if self.includes(&cgroup.path) {
                maps.add_cgroup(&cgroup)?;
            }
        }
        // In a v1 hierarchy it is the processes that are listed, not their cgroup.
        for Membership { pid, hierarchy, path } in procfs::memberships(hierarchies) {
            if !self.includes(&path) {
                continue;
            }
            maps.add_member(pid, hierarchy)?;
            // It may have left or ended before it was listed, and then nobody takes it off.
            let is_still = |it: &Membership| it.hierarchy == hierarchy && self.includes(&it.path);
            let members = procfs::memberships_of(pid, hierarchies);
            if procfs::name(pid).is_none() || !members.iter().any(is_still) {
                maps.remove_member(pid, hierarchy)?;
            }
        }
        Ok(())
    }

    fn includes(&self, path: &str) -> bool {
        let of_unit = path.split('/').any(|name| self.units.iter().any(|unit| unit == name));
        of_unit
            || self.cgroups.iter().any(|cgroup| {
                path.strip_prefix(cgroup.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// Whether only processes were asked for, and none is left.
    pub fn is_gone(&self) -> bool {
        !self.pids.is_empty()
            && self.units.is_empty()
            && self.cgroups.is_empty()
            && self.pids.iter().all(|pid| procfs::name(*pid).is_none())
    }
}

/// Whether a bus that was named can be one: a socket, or nothing yet.
fn check_bus(manager: Option<&Manager>) -> Result<(), Fault> {
    let Some(Manager::Address(address)) = manager else { return Ok(()) };
    let Some(path) = bus::socket_path(address) else { return Ok(()) };
    let shown = Outside::path(&path);
    let is_other = named::is_no_socket(&path).map_err(|error| {
        BadRequest::unless_short(format_args!("cannot look for a bus at {shown}"), error)
    })?;
    if is_other {
        return Err(Fault::usage(format_args!("--bus names {shown}, which is no socket")));
    }
    Ok(())
}

/// Whether there is a cgroup of this unit, in this or a container's tree.
fn runs(unit: &str, hierarchies: &Hierarchies) -> bool {
    hierarchies.scan().iter().any(|cgroup| cgroup.path.rsplit('/').next() == Some(unit))
}

/// Whether it is a process, and one that runs a program.
fn check_process(pid: u32) -> Result<(), Fault> {
    match procfs::kind(pid) {
        Kind::Process => Ok(()),
        Kind::Thread { of } => Err(Fault::usage(format_args!(
            "{pid} is a thread of process {of}: give the process's id"
        ))),
        Kind::Kernel => Err(Fault::usage(format_args!(
            "process {pid} is the kernel's own: it has no handlers, and no program is run by it"
        ))),
        Kind::Nothing => Err(Fault::usage(format_args!("there is no process {pid}"))),
    }
}

/// A cgroup's path from its hierarchy's root, given that or the path of its directory, links
/// and dots resolved by `resolved`.
fn cgroup_path(
    given: &Path,
    hierarchies: &Hierarchies,
    resolved: impl Fn(&Path) -> io::Result<Option<PathBuf>>,
) -> Result<String, Fault> {
    let systemd = hierarchies.systemd.iter().map(|(root, _)| root);
    let roots: Vec<PathBuf> =
        hierarchies.unified.iter().chain(systemd).filter_map(|it| it.canonicalize().ok()).collect();
    let below = |path: &Path| {
        let path = resolved(path).map_err(|error| {
            let path = Outside::path(path);
            BadRequest::unless_short(format_args!("cannot look for a cgroup at {path}"), error)
        })?;
        let inside = |path: &Path| {
            roots.iter().find_map(|root| path.strip_prefix(root).map(Path::to_owned).ok())
        };
        Ok::<_, Fault>(path.as_deref().and_then(inside))
    };
    let inside = given.strip_prefix("/").unwrap_or(given);
    let mut found = if given.is_absolute() { below(given)? } else { None };
    for root in &roots {
        if found.is_none() {
            found = below(&root.join(inside))?;
        }
    }
    let refused = |why: &str| {
        let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
        Err(Fault::usage(format_args!(
            "{why} {} (looked below {})",
            Outside::path(given),
            roots.join(" and ")
        )))
    };
    match found {
        None => refused("there is no cgroup"),
        Some(inside) if inside.as_os_str().is_empty() => {
            refused("every process is in the root of a hierarchy (use --all):")
        }
        Some(inside) => Ok(format!("/{}", raw_name::os_text(&inside))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any directory will do as a hierarchy.
    fn taken(root: &Path, given: &str) -> Result<String, String> {
        let hierarchies = Hierarchies { unified: Some(root.to_owned()), systemd: None };
        let resolved = |path: &Path| Ok(named::resolved(path));
        cgroup_path(Path::new(given), &hierarchies, resolved).map_err(|fault| match fault {
            Fault::Usage(sentence) => sentence,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_cgroup_is_the_same_however_its_path_is_written() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("cgroup");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        let whole = |rest: &str| format!("{}{rest}", root.display());
        for given in ["/a/b", "a/b", "a//b/", "a/./b", "a/../a/b", "/a/b/../../a/b"] {
            assert_eq!(taken(&root, given).unwrap(), "/a/b", "{given}");
            let given = whole(&format!("/{given}"));
            assert_eq!(taken(&root, &given).unwrap(), "/a/b", "{given}");
        }
    }

    #[test]
    fn what_is_outside_or_all_there_is_or_not_there_is_refused() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("cgroup");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(root.join("a/cgroup.procs"), "").unwrap();
        for given in ["..", "../..", "a/../..", "/../cgroup/..", "no", "a/cgroup.procs"] {
            assert!(taken(&root, given).unwrap_err().contains("there is no cgroup"), "{given}");
        }
        for given in ["/", ".", "a/..", &root.display().to_string()] {
            assert!(taken(&root, given).unwrap_err().contains("--all"), "{given}");
        }
    }
}
