//! Which systemd a service belongs to: the host's, a user's, or that of a container.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use procfs::process::Process;

use super::{
    opener::{self, UnitFile},
    ownership::{levels, whose},
    unit_files::UnitFiles,
    user::runtime_directory,
};
use crate::{
    host::cgroups::{Cgroup, Hierarchies},
    model::document::Owner,
};

/// Where every systemd keeps itself, below the cgroup it manages.
pub(super) const INIT_SCOPE: &str = "init.scope";

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
                let procs = root.join(above).join(INIT_SCOPE).join("cgroup.procs");
                let pid = fs::read_to_string(procs).ok()?.lines().next()?.parse().ok()?;
                Self::process(pid)
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
        let inner = status.nspid?.last().copied()?;
        let own_pids = inner != pid;
        let root = if own_pids { format!("/proc/{pid}/root").into() } else { PathBuf::from("/") };
        let user = (inner != 1).then_some(status.euid);
        Some(Self::Root { root, user, own_pids })
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
