//! The host's cgroup hierarchies: unified (v2), hybrid, or v1.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use procfs::process::{MountInfo, Process};

/// How deep, and how many cgroups, a scan goes: more than any real host has.
const MAX_CGROUPS: usize = 65_536;

/// Where the hierarchies are mounted, and what tells the kernel's apart.
#[derive(Clone, Debug, Default)]
pub struct Hierarchies {
    /// Mount point of the unified hierarchy.
    pub unified: Option<PathBuf>,
    /// Mount point and id of the v1 hierarchy systemd tracks units in.
    pub systemd: Option<(PathBuf, u32)>,
}

/// A cgroup that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// 0 for the unified hierarchy.
    pub hierarchy: u32,
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// From the hierarchy's root.
    pub path: String,
}

impl Hierarchies {
    /// Finds the mounted ones.
    pub fn find() -> Result<Self> {
        let own = Process::myself().context("cannot read /proc/self: is /proc mounted?")?;
        let mounts = own.mountinfo().context("cannot read /proc/self/mountinfo")?;
        let at_root = |mount: &&MountInfo| mount.root == "/";
        let unified = mounts.iter().filter(at_root).find(|m| m.fs_type == "cgroup2");
        let systemd = mounts.iter().filter(at_root).find(|mount| {
            mount.fs_type == "cgroup"
                && mount.super_options.get("name").is_some_and(|n| n.as_deref() == Some("systemd"))
        });
        let id = own
            .cgroups()
            .context("cannot read /proc/self/cgroup")?
            .into_iter()
            .find(|group| group.controllers.iter().any(|name| name == "name=systemd"))
            .map(|group| group.hierarchy);
        Ok(Self {
            unified: unified.map(|mount| mount.mount_point.clone()),
            systemd: systemd.map(|mount| mount.mount_point.clone()).zip(id),
        })
    }

    /// The cgroups that are there now, parents before children.
    #[must_use]
    pub fn scan(&self) -> Vec<Cgroup> {
        let mut found = Vec::new();
        let systemd = self.systemd.iter().map(|(root, id)| (root.as_path(), *id));
        for (root, hierarchy) in self.unified.iter().map(|root| (root.as_path(), 0)).chain(systemd)
        {
            // What can't be read is gone again, or is the reader's to report.
            let _ = walk(root, root, hierarchy, &mut found);
        }
        found
    }

    /// The path of a process's cgroup: in systemd's v1 hierarchy where there is one
    /// and the process is in a unit there, else in the unified one.
    #[must_use]
    pub fn path_of(&self, process: &Process) -> Option<String> {
        let groups = process.cgroups().ok()?.0;
        let of = |hierarchy: u32| {
            groups.iter().find(|g| g.hierarchy == hierarchy).map(|g| g.pathname.clone())
        };
        let unified = of(0).filter(|path| path != "/");
        let systemd = self.systemd.as_ref().and_then(|(_, id)| of(*id)).filter(|path| path != "/");
        unified.or(systemd).or_else(|| Some("/".to_owned()))
    }
}

fn walk(root: &Path, directory: &Path, hierarchy: u32, found: &mut Vec<Cgroup>) -> io::Result<()> {
    if found.len() >= MAX_CGROUPS {
        return Ok(());
    }
    let inside = directory.strip_prefix(root).unwrap_or(directory);
    found.push(Cgroup {
        hierarchy,
        id: fs::metadata(directory)?.ino(),
        path: format!("/{}", inside.to_string_lossy()),
    });
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let _ = walk(root, &entry.path(), hierarchy, found);
        }
    }
    Ok(())
}
