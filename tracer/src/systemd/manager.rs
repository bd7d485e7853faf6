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
        cgroups::{self, Cgroup, Hierarchies},
        mounts,
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
        let relative = cgroups::directory(cgroup);
        // The unit's own cgroup is never a manager's.
        relative.ancestors().skip(1).find_map(|above| Self::beside(above, hierarchies))
    }

    /// The one whose own scope is in a cgroup, relative to the hierarchies' roots.
    fn beside(cgroup: &Path, hierarchies: &Hierarchies) -> Option<Self> {
        let systemd = hierarchies.systemd.iter().map(|(root, _)| root);
        let mut roots = hierarchies.unified.iter().chain(systemd);
        roots.find_map(|root| {
            Self::process(first_process(&root.join(cgroup).join(INIT_SCOPE))?.cast_signed())
        })
    }

    /// The one that this cgroup is the own scope of, and the cgroup that it keeps.
    fn with_scope(scope: &str, hierarchies: &Hierarchies) -> Option<(Self, String)> {
        let above = scope.strip_suffix(INIT_SCOPE)?.strip_suffix('/')?;
        let manager = Self::beside(&cgroups::directory(above), hierarchies)?;
        Some((manager, above.to_owned()))
    }

    /// The cgroup that it keeps, if it runs.
    #[must_use]
    pub fn cgroup(&self, hierarchies: &Hierarchies) -> Option<String> {
        hierarchies.scan().into_iter().find_map(|cgroup| {
            let (other, above) = Self::with_scope(&cgroup.path, hierarchies)?;
            self.is_same(&other).then_some(above)
        })
    }

    /// Its own process, if it runs.
    #[must_use]
    pub fn own_process(&self, hierarchies: &Hierarchies) -> Option<u32> {
        let scope = cgroups::directory(&self.cgroup(hierarchies)?).join(INIT_SCOPE);
        let systemd = hierarchies.systemd.iter().map(|(root, _)| root);
        let mut roots = hierarchies.unified.iter().chain(systemd);
        roots.find_map(|root| first_process(&root.join(&scope)))
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
        let is_claimed = |cgroup: &Cgroup| {
            matches!(whose(&levels(&cgroup.path, hierarchies), 0), Owner::Claimed { .. })
        };
        hierarchies
            .scan()
            .iter()
            .filter_map(|cgroup| Some((cgroup, Self::with_scope(&cgroup.path, hierarchies)?.0)))
            .filter(|(cgroup, _)| !is_claimed(cgroup))
            .map(|(_, manager)| manager)
            .collect()
    }

    /// The system's that run with this directory as their root or, if there is none, with a file
    /// system laid over it (as systemd-nspawn's --volatile=overlay does), reached through their
    /// processes: what those have mounted, their sockets' directory for one, is not below the
    /// directory. Of the second kind none that an unprivileged user made.
    #[must_use]
    pub fn running_in(root: &Path, hierarchies: &Hierarchies) -> Vec<Self> {
        let named = Self::below(root.to_owned());
        let of_containers = |managers: Vec<Self>| {
            let is_it = |it: &Self| it.has_own_pids() && it.user().is_none();
            managers.into_iter().filter(is_it).collect::<Vec<_>>()
        };
        let scan = hierarchies.scan();
        let scopes = scan.iter().filter(|cgroup| cgroup.path.ends_with("/init.scope"));
        let all = scopes.filter_map(|scope| Self::of(&scope.path, hierarchies)).collect();
        let mut running = of_containers(all);
        running.retain(|manager| manager.is_same(&named));
        if running.is_empty() {
            running = of_containers(Self::running(hierarchies));
            running.retain(|manager| manager.lies_over(root));
        }
        running.dedup();
        running
    }

    /// Whether its root is an overlay with this directory below.
    fn lies_over(&self, directory: &Path) -> bool {
        let Self::Root { root, .. } = self else {
            return false;
        };
        let (Some(process), Ok(directory)) = (root.parent(), directory.canonicalize()) else {
            return false;
        };
        mounts::lower_of_root(process).contains(&directory)
    }

    /// Its root directory, where it is known by that.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        match self {
            Self::Root { root, .. } => Some(root),
            Self::Address(_) => None,
        }
    }

    /// Whether one of its sockets can be connected to.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        let Self::Root { root, user, .. } = self else {
            return true;
        };
        let connects = |socket: &PathBuf| {
            opener::wait_for(async { opener::connect(root, *user, socket).await.map(drop) }).is_ok()
        };
        Self::sockets(*user).iter().any(connects)
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
    fn the_cgroup_that_a_manager_keeps_is_where_its_scope_is() {
        let pid = std::process::id();
        let (_root, hierarchies) =
            hierarchy(&[("", 1), ("a.slice/box", pid), ("a.slice/empty", 0)]);
        assert_eq!(Manager::host().cgroup(&hierarchies).as_deref(), Some(""));
        assert_eq!(own().cgroup(&hierarchies).as_deref(), Some("/a.slice/box"));
        assert_eq!(Manager::of_user(4_000_000_000).cgroup(&hierarchies), None);
        let to_be = |manager: Manager| manager.cgroup_to_be();
        let path = "/user.slice/user-7.slice/user@7.service".to_owned();
        assert_eq!(to_be(Manager::of_user(7)), Some(path));
        assert_eq!((to_be(Manager::host()), to_be(Manager::below("/x".into()))), (None, None));
    }

    #[test]
    fn the_host_runs_systemd_where_that_is_its_first_process() {
        let first = fs::read_to_string("/proc/1/comm").unwrap();
        assert_eq!(Manager::host_runs(), first.trim() == "systemd", "{first}");
    }

    #[test]
    fn a_managers_own_process_is_the_one_in_its_scope() {
        let pid = std::process::id();
        let (_root, hierarchies) = hierarchy(&[("", 1), ("a.slice/box", pid)]);
        assert_eq!(Manager::host().own_process(&hierarchies), Some(1));
        assert_eq!(own().own_process(&hierarchies), Some(pid));
        assert_eq!(Manager::of_user(4_000_000_000).own_process(&hierarchies), None);
    }

    #[test]
    fn a_systemd_of_the_hosts_namespaces_is_none_that_runs_in_a_directory() {
        let (_root, hierarchies) = hierarchy(&[("", 1), ("a.slice/box", std::process::id())]);
        assert_eq!(Manager::running_in(Path::new("/"), &hierarchies), []);
        assert!(!Manager::host().lies_over(Path::new("/")));
        assert!(!Manager::Address("unix:path=/x".to_owned()).lies_over(Path::new("/")));
        let nowhere = Manager::below("/proc/99999999/root".into());
        assert!(!nowhere.lies_over(Path::new("/")));
    }

    #[test]
    fn two_managers_are_one_by_their_root_and_user() {
        let at = |root: &str, user| Manager::Root { root: root.into(), user, own_pids: true };
        assert!(at("/x", None).is_same(&at("/x", None)));
        assert!(!at("/x", None).is_same(&at("/x", Some(7))));
        assert!(!at("/x", None).is_same(&at("/y", None)));
        assert!(Manager::below("/".into()).is_same(&Manager::host()), "however pids are counted");
        let address = |text: &str| Manager::Address(text.to_owned());
        assert!(address("a").is_same(&address("a")) && !address("a").is_same(&address("b")));
        assert!(!address("a").is_same(&at("/x", None)));
    }

    #[test]
    fn the_managers_that_run_are_those_whose_cgroup_nobody_claims() {
        let uid = nix::unistd::Uid::effective().as_raw();
        let of_user = format!("user.slice/user-{uid}.slice/user@{uid}.service");
        let in_a_unit = format!("a.service/user@{uid}.service");
        let pid = std::process::id();
        let (_root, hierarchies) = hierarchy(&[("", 1), (&of_user, pid), (&in_a_unit, pid)]);
        let mut running = Manager::running(&hierarchies);
        running.sort_by_key(|manager| !manager.is_host());
        assert_eq!(running, [Manager::host(), own()]);
    }

    #[test]
    fn a_managers_user_and_sockets_are_those_it_was_named_by() {
        let address = Manager::Address("unix:path=/x".to_owned());
        assert_eq!(Manager::of_user(7).user(), Some(7));
        assert_eq!(Manager::below("/x".into()).root(), Some(Path::new("/x")));
        assert_eq!(address.root(), None);
        assert_eq!((Manager::host().user(), address.user()), (None, None));
        assert!(address.has_own_pids() && address.may_listen(7) && address.may_run());
        let paths = |user| Manager::sockets(user).map(|path| path.display().to_string());
        assert_eq!(paths(None), ["run/dbus/system_bus_socket", "run/systemd/private"]);
        assert_eq!(paths(Some(7)), ["run/user/7/bus", "run/user/7/systemd/private"]);
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

    #[test]
    fn one_that_has_no_socket_is_not_reached_and_an_address_is_found_out_when_it_is_used() {
        let root = tempfile::tempdir().unwrap();
        assert!(!Manager::below(root.path().to_owned()).is_reachable());
        assert!(Manager::Address("unix:path=/nowhere".to_owned()).is_reachable());
    }

    #[test]
    fn of_a_list_of_processes_the_beginning_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("cgroup.procs");
        let first = |text: &str| {
            fs::write(&list, text).unwrap();
            first_process(directory.path())
        };
        assert_eq!(first(&"4194304\n".repeat(1_000)), Some(4_194_304));
        let digits = |count: usize| format!("{:0>count$}", 42);
        assert_eq!(first(&format!("{}7", digits(MAX_PID as usize))), Some(42));
        assert_eq!(first(&format!("{}7", digits(MAX_PID as usize - 1))), Some(427));
    }
}
