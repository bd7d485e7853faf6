//! Which systemd a service belongs to: the host's, a user's, or that of a container.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str,
};

use procfs::process::Process;

use super::{
    opener::{self, UnitFile},
    ownership::{levels, whose},
    unit_files::UnitFiles,
    user::runtime_directory,
};
use crate::{
    host::{
        cgroups::{Cgroup, Hierarchies},
        read::bounded,
    },
    model::document::Owner,
};

/// Where every systemd keeps itself, below the cgroup it manages.
pub(super) const INIT_SCOPE: &str = "init.scope";
/// How much is read of a list of processes: more than the digits of a pid.
const MAX_PID: u64 = 16;

/// A systemd, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Manager {
    /// A D-Bus address that was given.
    Address(String),
    /// By the sockets below a root directory.
    Root {
        /// `/`, a container's root, or one that was given.
        root: PathBuf,
        /// The user whose manager it is; `None` for the system's.
        user: Option<u32>,
        /// Whether it counts pids in a namespace of its own.
        own_pids: bool,
    },
}

impl Manager {
    /// The host's own.
    #[must_use]
    pub fn host() -> Self {
        Self::Root { root: "/".into(), user: None, own_pids: false }
    }

    /// Whether the host runs systemd (sd_booted(3)). Where it doesn't, it has no units, whatever
    /// files lie about.
    #[must_use]
    pub fn host_runs() -> bool {
        Path::new("/run/systemd/system").is_dir()
    }

    /// Whether it is the host's own.
    #[must_use]
    pub fn is_host(&self) -> bool {
        *self == Self::host()
    }

    /// The system's below a directory, as a container's root is.
    #[must_use]
    pub fn below(root: PathBuf) -> Self {
        Self::Root { root, user: None, own_pids: true }
    }

    /// That of a user of this host.
    #[must_use]
    pub fn of_user(uid: u32) -> Self {
        Self::Root { root: "/".into(), user: Some(uid), own_pids: false }
    }

    /// The one that keeps a cgroup: whose own scope is beside it, or the nearest above.
    #[must_use]
    pub fn of(cgroup: &str, hierarchies: &Hierarchies) -> Option<Self> {
        let systemd = hierarchies.systemd.iter().map(|(root, _)| root);
        let roots: Vec<&PathBuf> = hierarchies.unified.iter().chain(systemd).collect();
        let relative = Path::new(cgroup.trim_start_matches('/'));
        // The unit's own cgroup is never a manager's.
        relative.ancestors().skip(1).find_map(|above| {
            roots.iter().find_map(|root| {
                Self::process(first_process(&root.join(above).join(INIT_SCOPE))?.cast_signed())
            })
        })
    }

    /// The cgroup that it keeps, if it runs.
    #[must_use]
    pub fn cgroup(&self, hierarchies: &Hierarchies) -> Option<String> {
        hierarchies.scan().into_iter().find_map(|cgroup| {
            let above = cgroup.path.strip_suffix(INIT_SCOPE)?.trim_end_matches('/');
            let other = Self::of(&cgroup.path, hierarchies)?;
            self.is_same(&other).then(|| above.to_owned())
        })
    }

    /// The cgroup that it will keep, where that is known before it runs: a user's.
    #[must_use]
    pub fn cgroup_to_be(&self) -> Option<String> {
        match self {
            Self::Root { user: Some(uid), own_pids: false, .. } => {
                Some(format!("/user.slice/user-{uid}.slice/user@{uid}.service"))
            }
            _ => None,
        }
    }

    /// Whether the two have the same root directory, however it is named, and user.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Root { root, user, .. }, Self::Root { root: its, user: their, .. }) => {
                user == their
                    && (root == its
                        || opener::wait_for(opener::is_same(root, its)).unwrap_or(false))
            }
            _ => self == other,
        }
    }

    /// Those of the host, of containers that root runs and of the host's users that run now.
    #[must_use]
    pub fn running(hierarchies: &Hierarchies) -> Vec<Self> {
        let scan = hierarchies.scan();
        let scopes = scan.iter().filter(|cgroup| cgroup.path.ends_with("/init.scope"));
        let is_claimed = |cgroup: &Cgroup| {
            matches!(whose(&levels(&cgroup.path, hierarchies), 0), Owner::Claimed { .. })
        };
        scopes
            .filter(|scope| !is_claimed(scope))
            .filter_map(|scope| Self::of(&scope.path, hierarchies))
            .collect()
    }

    /// Whether it may run still: not a container's whose root is gone with its processes.
    #[must_use]
    pub fn may_run(&self) -> bool {
        match self {
            // Of the link, which is the kernel's own; not of what it leads to.
            Self::Root { root, .. } if root.starts_with("/proc") => {
                fs::symlink_metadata(root).is_ok()
            }
            Self::Root { .. } | Self::Address(_) => true,
        }
    }

    fn process(pid: i32) -> Option<Self> {
        if pid == 1 {
            return Some(Self::host());
        }
        let status = Process::new(pid).ok()?.status().ok()?;
        Some(Self::with(pid, status.nspid?.last().copied()?, status.euid))
    }

    /// The manager that a process is, by its pid here and in its own namespace, and its user.
    fn with(pid: i32, inner: i32, uid: u32) -> Self {
        let own_pids = inner != pid;
        let root = if own_pids { format!("/proc/{pid}/root").into() } else { PathBuf::from("/") };
        let user = (inner != 1).then_some(uid);
        Self::Root { root, user, own_pids }
    }

    /// What the files of a unit say, where they can be found: those of a user in a container
    /// can't.
    pub async fn unit_file(&self, name: &str) -> io::Result<UnitFile> {
        match self {
            Self::Root { root, user: None, .. } if self.is_host() => {
                Ok(UnitFiles::of_system(root)?.read(name).into())
            }
            Self::Root { root, user: None, .. } => opener::unit(root, None, name).await,
            Self::Root { root, user, own_pids: false } => opener::unit(root, *user, name).await,
            Self::Root { .. } | Self::Address(_) => Ok(UnitFile::Nothing),
        }
    }

    /// The user whose manager it is.
    #[must_use]
    pub fn user(&self) -> Option<u32> {
        match self {
            Self::Root { user, .. } => *user,
            Self::Address(_) => None,
        }
    }

    /// Whether a socket of its may be listened to by this user. A user whose directory it is in
    /// may have put a link to another's there, the host's for one.
    #[must_use]
    pub fn may_listen(&self, uid: u32) -> bool {
        match self {
            Self::Root { user: Some(user), own_pids: false, .. } => uid == *user,
            Self::Root { user: None, .. } if self.is_host() => uid == 0,
            // A container's root and users have other numbers here.
            Self::Root { .. } | Self::Address(_) => true,
        }
    }

    /// Whether it counts pids in a namespace of its own, as far as is known.
    #[must_use]
    pub fn has_own_pids(&self) -> bool {
        match self {
            // An address is given for what is not found by itself.
            Self::Address(_) => true,
            Self::Root { own_pids, .. } => *own_pids,
        }
    }

    /// Its sockets below its root: the message bus first, which takes callers from other
    /// pid namespaces; then its private one, which is there without a bus.
    #[must_use]
    pub fn sockets(user: Option<u32>) -> [PathBuf; 2] {
        match user {
            None => ["run/dbus/system_bus_socket".into(), "run/systemd/private".into()],
            Some(uid) => {
                let directory = runtime_directory(uid);
                [directory.join("bus"), directory.join("systemd/private")]
            }
        }
    }
}

/// The first of the processes in a cgroup, by its directory.
pub(super) fn first_process(directory: &Path) -> Option<u32> {
    let list = bounded(directory.join("cgroup.procs"), MAX_PID).ok()?;
    str::from_utf8(list.split(|byte| *byte == b'\n').next()?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hierarchy with these scopes, and the pid in each.
    fn hierarchy(scopes: &[(&str, u32)]) -> (tempfile::TempDir, Hierarchies) {
        let root = tempfile::tempdir().unwrap();
        for (cgroup, pid) in scopes {
            let scope = root.path().join(cgroup).join(INIT_SCOPE);
            fs::create_dir_all(&scope).unwrap();
            fs::write(scope.join("cgroup.procs"), format!("{pid}\n99999999\n")).unwrap();
        }
        let hierarchies = Hierarchies { unified: Some(root.path().to_owned()), systemd: None };
        (root, hierarchies)
    }

    fn own() -> Manager {
        Manager::of_user(nix::unistd::Uid::effective().as_raw())
    }

    #[test]
    fn the_nearest_systemd_above_a_cgroup_keeps_it() {
        let (_root, hierarchies) =
            hierarchy(&[("", 1), ("a.slice/box", std::process::id()), ("a.slice/empty", 0)]);
        let of = |cgroup: &str| Manager::of(cgroup, &hierarchies);
        assert_eq!(of("/a.slice/a.service"), Some(Manager::host()));
        assert_eq!(of("/a.slice/box/system.slice/a.service"), Some(own()));
        assert_eq!(of("/a.slice/box/a.service/deep/er"), Some(own()));
        // What is in a unit's own cgroup does not keep it, nor does one that is gone.
        assert_eq!(of("/a.slice/box"), Some(Manager::host()));
        assert_eq!(of("/a.slice/empty/a.service"), Some(Manager::host()));
        assert_eq!(of("/init.scope"), Some(Manager::host()));
        let (_root, nobody) = hierarchy(&[]);
        assert_eq!(Manager::of("/a.service", &nobody), None);
    }

    #[test]
    fn a_systemd_in_a_v1_hierarchy_is_found_too() {
        let (root, _) = hierarchy(&[("box", std::process::id())]);
        let hierarchies = Hierarchies { unified: None, systemd: Some((root.path().to_owned(), 9)) };
        assert_eq!(Manager::of("/box/a.service", &hierarchies), Some(own()));
    }

    #[test]
    fn a_process_is_the_hosts_a_users_or_a_containers_systemd() {
        assert_eq!(Manager::process(1), Some(Manager::host()));
        assert_eq!(Manager::process(std::process::id().cast_signed()), Some(own()));
        assert_eq!(Manager::process(99_999_999), None);
        assert_eq!(Manager::with(4711, 4711, 7), Manager::of_user(7));
        let inside = |user| Manager::Root { root: "/proc/4711/root".into(), user, own_pids: true };
        // Whoever the container's root is outside.
        assert_eq!(Manager::with(4711, 1, 524_288), inside(None));
        assert_eq!(Manager::with(4711, 40, 7), inside(Some(7)));
        assert!(Manager::with(4711, 1, 0).has_own_pids());
        assert!(!Manager::with(4711, 4711, 7).has_own_pids());
    }

    #[test]
    fn whoever_listens_in_a_managers_place_is_not_asked() {
        let user = Manager::of_user(7);
        assert!(user.may_listen(7) && !user.may_listen(0) && !user.may_listen(8));
        assert!(Manager::host().may_listen(0) && !Manager::host().may_listen(7));
        assert!(Manager::below("/proc/4711/root".into()).may_listen(524_288));
    }

    #[test]
    fn a_container_whose_processes_are_gone_does_not_run() {
        assert!(Manager::host().may_run() && Manager::of_user(7).may_run());
        assert!(Manager::below("/nowhere/at/all".into()).may_run());
        assert!(Manager::below("/proc/self/root".into()).may_run());
        assert!(!Manager::below("/proc/99999999/root".into()).may_run());
    }
}
