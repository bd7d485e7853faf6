//! Whose a unit is. A unit's name on a cgroup says little: whoever has a cgroup delegated to
//! them makes more below it, under any name, and may put a systemd of their own into one.
//!
//! Only the owner of a directory makes one in it. So a cgroup is as much to be trusted as the
//! owners of the directories above it, down from the root: they are the host's root, but for
//! two places where root itself hands a part of the tree over. These are a user's manager, to
//! that user, and a container, to the container's root.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use procfs::process::Process;

use super::manager::{INIT_SCOPE, first_process};
use crate::{
    host::{cgroups::Hierarchies, namespaces},
    model::{document::Owner, raw_name},
};

/// What is known of a cgroup on the way to a unit's, and of the unit's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Its name; the root has none.
    pub name: String,
    /// The user its directory belongs to; `None` if it is gone.
    pub uid: Option<u32>,
    /// The systemd that has its own scope in it.
    pub keeper: Option<Keeper>,
}

/// A process that lives where a systemd does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeper {
    /// Its user.
    pub uid: u32,
    /// Whether it is the host's init.
    pub is_host: bool,
    /// Whether it is the init of a pid namespace of its own, as a container's is.
    pub is_init: bool,
    /// Who made the user namespaces it is in; empty for the host's.
    pub makers: Vec<u32>,
    /// The user who is root in its user namespace.
    pub root: Option<u32>,
}

/// Whose the unit of the last cgroup is. The first `named` of the cgroups are those of a system
/// that was asked for by `--root` or `--user`: it is taken for what it is, whoever runs it.
#[must_use]
pub fn whose(levels: &[Level], named: usize) -> Owner {
    let Some((unit, above)) = levels.split_last() else {
        return Owner::Unmanaged;
    };
    let mut keeper = Owner::Unmanaged;
    // Who makes cgroups here.
    let mut maker = 0;
    // The names between the keeper's cgroup and this one.
    let mut between: Vec<&str> = Vec::new();
    for (index, level) in above.iter().enumerate() {
        let uid = level.uid.unwrap_or(maker);
        let of_user = level.name == format!("user@{uid}.service");
        let handed_over = match &level.keeper {
            _ if index + 1 < named => None,
            Some(found) if index + 1 == named => Some(match found {
                _ if found.is_host => Owner::Host,
                _ if of_user && !found.is_init => Owner::User { uid },
                _ => Owner::Container { uid: found.makers.first().copied().unwrap_or(found.uid) },
            }),
            None if index + 1 == named && of_user => Some(Owner::User { uid }),
            Some(found) if found.is_host => Some(Owner::Host),
            Some(found) if found.is_init => {
                if let Some(other) = found.makers.iter().find(|maker| **maker != 0) {
                    return Owner::Claimed { uid: *other };
                }
                let is_root = |uid| uid == maker || Some(uid) == found.root;
                match [uid, found.uid].into_iter().find(|uid| !is_root(*uid)) {
                    Some(other) => return Owner::Claimed { uid: other },
                    None => Some(Owner::Container { uid: 0 }),
                }
            }
            Some(found) if found.uid != uid => return Owner::Claimed { uid: found.uid },
            Some(_) if of_user && is_kept(keeper, &between) => Some(Owner::User { uid }),
            _ if uid != maker => return Owner::Claimed { uid },
            _ => None,
        };
        if index < named || handed_over.is_some() {
            maker = uid;
            between.clear();
        } else {
            between.push(&level.name);
        }
        keeper = handed_over.unwrap_or(keeper);
    }
    let uid = unit.uid.unwrap_or(maker);
    match keeper {
        // systemd gives a unit's own cgroup to its User= with Delegate=.
        Owner::Unmanaged if uid != 0 => Owner::Claimed { uid },
        Owner::Unmanaged => keeper,
        _ if between.iter().all(|name| name.ends_with(".slice")) => keeper,
        // It was made inside of another unit's.
        _ => Owner::Claimed { uid },
    }
}

/// Whether a system's manager keeps a unit below these: slices, and nothing else.
fn is_kept(keeper: Owner, between: &[&str]) -> bool {
    matches!(keeper, Owner::Host | Owner::Container { .. })
        && between.iter().all(|name| name.ends_with(".slice"))
}

/// What is known of the cgroups from the root to this one.
#[must_use]
pub fn levels(cgroup: &str, hierarchies: &Hierarchies) -> Vec<Level> {
    let systemd = hierarchies.systemd.iter().map(|(root, _)| root);
    let roots: Vec<&PathBuf> = hierarchies.unified.iter().chain(systemd).collect();
    let mut inside = PathBuf::new();
    let names = cgroup.split('/').filter(|name| !name.is_empty());
    let mut levels = Vec::new();
    for name in [""].into_iter().chain(names) {
        inside.push(raw_name::of(name));
        let directories = || roots.iter().map(|root| root.join(&inside));
        let metadata = directories().filter_map(|directory| fs::metadata(directory).ok());
        levels.push(Level {
            name: name.to_owned(),
            // Whoever has it in one hierarchy may put processes there.
            uid: metadata.map(|metadata| metadata.uid()).max(),
            keeper: directories().find_map(|directory| keeper(&directory)),
        });
    }
    levels
}

fn keeper(directory: &Path) -> Option<Keeper> {
    let pid = first_process(&directory.join(INIT_SCOPE))?;
    let status = Process::new(pid.cast_signed()).ok()?.status().ok()?;
    let inner = status.nspid?.last().copied()?;
    Some(Keeper {
        uid: status.euid,
        is_host: pid == 1,
        is_init: inner == 1 && pid != 1,
        // Where that can't be read, its user stands for whoever made it.
        makers: namespaces::makers(pid).unwrap_or_else(|_| vec![status.euid]),
        root: namespaces::root_of(pid).ok().flatten(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Owner = Owner::Host;
    const CONTAINER: Owner = Owner::Container { uid: 0 };

    fn user(uid: u32) -> Owner {
        Owner::User { uid }
    }

    fn claimed(uid: u32) -> Owner {
        Owner::Claimed { uid }
    }

    /// The host's systemd.
    fn init() -> Keeper {
        Keeper { is_host: true, root: Some(0), ..Keeper::default() }
    }

    /// A user's, in the host's namespaces.
    fn manager(uid: u32) -> Keeper {
        Keeper { uid, root: Some(0), ..Keeper::default() }
    }

    /// A container's, in the host's user namespace.
    fn container() -> Keeper {
        Keeper { is_init: true, root: Some(0), ..Keeper::default() }
    }

    /// A container's in a user namespace of its own: who made it, and who is its root.
    fn in_namespace(makers: &[u32], root: u32) -> Keeper {
        Keeper {
            uid: root,
            is_init: true,
            makers: makers.to_vec(),
            root: Some(root),
            ..Keeper::default()
        }
    }

    /// What it is, the path below the root, who lives where a systemd does, whose it is.
    type Case = (&'static str, String, Vec<(&'static str, Keeper)>, Owner);

    /// Cgroups below a root with the host's systemd: `name:uid`, the user 0 if not said.
    fn tree(path: &str, keepers: &[(&str, Keeper)]) -> Vec<Level> {
        let root = Level { uid: Some(0), keeper: Some(init()), ..Level::default() };
        let below = path.split('/').map(|part| {
            let (name, uid) = part.split_once(':').unwrap_or((part, "0"));
            let keeper = keepers.iter().find(|(of, _)| *of == name).map(|(_, it)| it.clone());
            Level { name: name.to_owned(), uid: uid.parse().ok(), keeper }
        });
        [root].into_iter().chain(below).collect()
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn who_a_unit_is_kept_by() {
        let user_1000 = "user.slice/user-1000.slice/user@1000.service:1000";
        let cases: Vec<Case> = vec![
            ("the host's", "system.slice/a.service".into(), vec![], HOST),
            ("in a slice", "a.slice/a-b.slice/a.service".into(), vec![], HOST),
            ("with User= and Delegate=", "system.slice/a.service:65534".into(), vec![], HOST),
            ("gone already", "system.slice:-/a.service:-".into(), vec![], HOST),
            (
                "a user's",
                format!("{user_1000}/app.slice:1000/a.service:1000"),
                vec![("user@1000.service", manager(1000))],
                user(1000),
            ),
            (
                "the manager itself",
                user_1000.into(),
                vec![("user@1000.service", manager(1000))],
                HOST,
            ),
            (
                "in a user's other unit",
                format!("{user_1000}/app.slice:1000/b.service:1000/a.service:1000"),
                vec![("user@1000.service", manager(1000))],
                claimed(1000),
            ),
            (
                "where a user's manager does not run",
                format!("{user_1000}/a.service:1000"),
                vec![],
                claimed(1000),
            ),
            (
                "a container of root's",
                "machine.slice/machine-a.scope/payload/system.slice/a.service".into(),
                vec![("payload", container())],
                CONTAINER,
            ),
            (
                "a docker container with a systemd",
                "system.slice/docker-0a.scope/system.slice/a.service".into(),
                vec![("docker-0a.scope", container())],
                CONTAINER,
            ),
            (
                "a docker container without",
                "system.slice/docker-0a.scope/a.service".into(),
                vec![],
                claimed(0),
            ),
            (
                "a container whose root is mapped",
                "machine.slice/a.scope/payload:524288/system.slice:524288/a.service:524288".into(),
                vec![("payload", in_namespace(&[0], 524_288))],
                CONTAINER,
            ),
            (
                "in what such a container delegates to one of its users",
                "a.scope/payload:524288/system.slice:524288/b.service:525288/a.service:525288"
                    .into(),
                vec![("payload", in_namespace(&[0], 524_288))],
                claimed(525_288),
            ),
            (
                "a user's in a container",
                "payload/user.slice/user-7.slice/user@7.service:7/app.slice:7/a.service:7".into(),
                vec![("payload", container()), ("user@7.service", manager(7))],
                user(7),
            ),
            (
                "a container that a user runs",
                format!(
                    "{user_1000}/user.slice:1000/libpod-a.scope:1000/system.slice:1000/a.service:1000"
                ),
                vec![
                    ("user@1000.service", manager(1000)),
                    ("libpod-a.scope", in_namespace(&[1000], 1000)),
                ],
                claimed(1000),
            ),
            (
                "a container that a user runs in root's cgroup",
                "a.scope/a.service".into(),
                vec![("a.scope", in_namespace(&[1000], 1000))],
                claimed(1000),
            ),
            (
                "a namespace made by a user of a container",
                "payload/a.scope/a.service".into(),
                vec![("payload", container()), ("a.scope", in_namespace(&[1000, 0], 0))],
                claimed(1000),
            ),
            (
                "delegated to a user",
                "delegated:65534/a.service:65534".into(),
                vec![],
                claimed(65_534),
            ),
            (
                "delegated to a user who has a systemd of their own",
                "delegated:65534/a.service:65534".into(),
                vec![("delegated", in_namespace(&[65_534], 65_534))],
                claimed(65_534),
            ),
            (
                "the same with a program of root's in its place",
                "delegated:65534/a.service:65534".into(),
                vec![("delegated", manager(0))],
                claimed(0),
            ),
            (
                "the same in a root's slice",
                "system.slice/b.slice:65534/a.service:65534".into(),
                vec![],
                claimed(65_534),
            ),
            (
                "named like a user's manager and none",
                "delegated.slice:7/user@7.service:7/a.service:7".into(),
                vec![("user@7.service", manager(7))],
                claimed(7),
            ),
            (
                "named like another user's manager",
                "user.slice/user@8.service:7/a.service:7".into(),
                vec![("user@8.service", manager(7))],
                claimed(7),
            ),
            (
                "a user's manager inside of a unit",
                "system.slice/b.service/user@7.service:7/a.service:7".into(),
                vec![("user@7.service", manager(7))],
                claimed(7),
            ),
            (
                "a container whose init is not its root",
                "a.scope/a.service".into(),
                vec![("a.scope", Keeper { uid: 1000, ..container() })],
                claimed(1000),
            ),
            (
                "made by root in another unit's",
                "system.slice/b.service/a.service".into(),
                vec![],
                claimed(0),
            ),
        ];
        for (what, path, keepers, owner) in cases {
            assert_eq!(whose(&tree(&path, &keepers), 0), owner, "{what}: {path}");
        }
    }

    #[test]
    fn without_a_systemd_a_cgroup_is_its_owners() {
        let level = |name: &str, uid| Level { name: name.to_owned(), uid: Some(uid), keeper: None };
        let in_root = |unit| whose(&[level("", 0), level("a.service", unit)], 0);
        assert_eq!((in_root(0), in_root(65_534)), (Owner::Unmanaged, claimed(65_534)));
        let below = [level("", 0), level("x", 7), level("a.service", 7)];
        assert_eq!(whose(&below, 0), claimed(7));
        assert_eq!(whose(&[], 0), Owner::Unmanaged);
    }

    #[test]
    fn a_system_that_was_named_is_taken_for_what_it_is_and_not_what_is_claimed_in_it() {
        let rootless = [("a.scope", in_namespace(&[1000], 1000))];
        let unit = tree("a.scope:1000/system.slice:1000/a.service:1000", &rootless);
        assert_eq!(whose(&unit, 2), Owner::Container { uid: 1000 });
        let delegated = tree("a.scope:1000/b.service:1007/a.service:1007", &rootless);
        assert_eq!(whose(&delegated, 2), claimed(1007));

        let path = "user.slice/user-7.slice/user@7.service:7/app.slice:7/a.service:7";
        let running = [("user@7.service", manager(7))];
        assert_eq!(whose(&tree(path, &running), 4), user(7));
        // Its systemd has ended, and so its scope is gone.
        assert_eq!(whose(&tree(path, &[]), 4), user(7));
        assert_eq!(whose(&tree("system.slice/a.service", &[]), 1), HOST);

        // Whoever has what is above it.
        let below = tree("home.slice:1000/a.scope:1000/a.service:1000", &rootless);
        assert_eq!(whose(&below, 3), Owner::Container { uid: 1000 });
        // In another of its units.
        let inside = tree("a.scope:1000/b.service:1000/a.service:1000", &rootless);
        assert_eq!(whose(&inside, 2), claimed(1000));
        // A container in the place of a user's manager, and a program that is no init elsewhere.
        let in_place = [("user@7.service", in_namespace(&[7], 7))];
        assert_eq!(whose(&tree("user@7.service:7/a.service:7", &in_place), 2), {
            Owner::Container { uid: 7 }
        });
        let program = [("a.scope", manager(7))];
        assert_eq!(whose(&tree("a.scope:7/a.service:7", &program), 2), Owner::Container { uid: 7 });
    }

    #[test]
    fn what_is_known_of_cgroups_is_read_from_their_directories() {
        let root = tempfile::tempdir().unwrap();
        let scope = root.path().join("a.slice").join(INIT_SCOPE);
        fs::create_dir_all(root.path().join("a.slice/a.service")).unwrap();
        fs::create_dir_all(&scope).unwrap();
        fs::write(scope.join("cgroup.procs"), format!("{}\n", std::process::id())).unwrap();
        let hierarchies = Hierarchies { unified: Some(root.path().to_owned()), systemd: None };

        let own = nix::unistd::Uid::effective().as_raw();
        let found = levels("/a.slice/a.service/gone", &hierarchies);
        let names: Vec<&str> = found.iter().map(|level| level.name.as_str()).collect();
        assert_eq!(names, ["", "a.slice", "a.service", "gone"]);
        let uids: Vec<Option<u32>> = found.iter().map(|level| level.uid).collect();
        assert_eq!(uids, [Some(own), Some(own), Some(own), None]);
        let keepers: Vec<bool> = found.iter().map(|level| level.keeper.is_some()).collect();
        assert_eq!(keepers, [false, true, false, false]);
        let keeper = found[1].keeper.as_ref().unwrap();
        assert_eq!((keeper.uid, keeper.is_host, &keeper.makers[..]), (own, false, &[][..]));
        fs::write(scope.join("cgroup.procs"), "1\n").unwrap();
        let init = levels("/a.slice", &hierarchies).remove(1).keeper.unwrap();
        assert!(init.is_host && !init.is_init, "{init:?}");
        assert_eq!(levels("/", &hierarchies).len(), 1);
    }

    #[test]
    fn the_keeper_of_a_container_is_found_below_a_cgroup_whose_name_is_no_text() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

        let root = tempfile::tempdir().unwrap();
        for (name, has_keeper) in [(&b"box\xff"[..], true), (b"box\xfe", false)] {
            let payload = root.path().join(OsStr::from_bytes(name)).join("payload");
            let scope = payload.join(INIT_SCOPE);
            fs::create_dir_all(payload.join("a.service")).unwrap();
            fs::create_dir_all(&scope).unwrap();
            let pids = if has_keeper { format!("{}\n", std::process::id()) } else { String::new() };
            fs::write(scope.join("cgroup.procs"), pids).unwrap();
        }
        let hierarchies = Hierarchies { unified: Some(root.path().to_owned()), systemd: None };
        for (name, has_keeper) in [(&b"box\xff"[..], true), (b"box\xfe", false)] {
            let name = raw_name::text(name);
            let found = levels(&format!("/{name}/payload/a.service"), &hierarchies);
            assert_eq!(found[1].name, name);
            assert!(found.iter().all(|level| level.uid.is_some()), "each is there: {found:?}");
            let keepers: Vec<bool> = found.iter().map(|level| level.keeper.is_some()).collect();
            assert_eq!(keepers, [false, false, has_keeper, false]);
        }
    }
}
