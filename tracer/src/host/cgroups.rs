//! The host's cgroup hierarchies: unified (v2), hybrid, or v1.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    str,
};

use anyhow::{Context as _, Result};

use super::read;
use crate::model::raw_name;

/// How many cgroups a scan finds: more than any real host has.
const MAX_CGROUPS: usize = 262_144;

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
        let mounts = read::mounts("/proc/self/mountinfo")
            .context("cannot read /proc/self/mountinfo: is /proc mounted?")?;
        let mounts = || mounts.split(|byte| *byte == b'\n').filter_map(Mount::parse);
        let unified = mounts().find(|mount| mount.kind == b"cgroup2");
        let systemd = mounts().find(|mount| {
            mount.kind == b"cgroup"
                && mount.options.split(|byte| *byte == b',').any(|it| it == b"name=systemd")
        });
        let groups =
            read::of_process("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
        let id = groups_in(&groups)
            .find(|group| group.controllers.split(|it| *it == b',').any(|it| it == b"name=systemd"))
            .map(|group| group.hierarchy);
        Ok(Self {
            unified: unified.map(|mount| mount.point),
            systemd: systemd.map(|mount| mount.point).zip(id),
        })
    }

    /// The cgroups that are there now, parents before children. Those beyond the bound are left
    /// out, with a warning.
    #[must_use]
    pub fn scan(&self) -> Vec<Cgroup> {
        let found = self.scan_most(MAX_CGROUPS);
        if found.len() >= MAX_CGROUPS {
            log::warn!("there are more than {MAX_CGROUPS} cgroups: the others are not looked at");
        }
        found
    }

    fn scan_most(&self, most: usize) -> Vec<Cgroup> {
        let mut found = Vec::new();
        let systemd = self.systemd.iter().map(|(root, id)| (root.as_path(), *id));
        for (root, hierarchy) in self.unified.iter().map(|root| (root.as_path(), 0)).chain(systemd)
        {
            // What can't be read is gone again, or is the reader's to report.
            let _ = walk(root, root, hierarchy, most, &mut found);
        }
        found
    }

    /// The path of a process's cgroup: in systemd's v1 hierarchy where there is one
    /// and the process is in a unit there, else in the unified one.
    #[must_use]
    pub fn path_of(&self, pid: u32) -> Option<String> {
        let paths = self.paths_of(pid);
        let first = paths.iter().position(|(_, path)| path != "/").unwrap_or(0);
        paths.into_iter().nth(first).map(|(_, path)| path)
    }

    /// The paths of a process's cgroups, each after its hierarchy: in the unified one (or
    /// its root, where there is none), and in systemd's. Empty if the process is gone.
    #[must_use]
    pub fn paths_of(&self, pid: u32) -> Vec<(u32, String)> {
        let Ok(bytes) = read::of_process(format!("/proc/{pid}/cgroup")) else {
            return Vec::new();
        };
        let of = |hierarchy: u32| {
            let group = groups_in(&bytes).find(|group| group.hierarchy == hierarchy);
            group.map(|group| (hierarchy, raw_name::text(group.path).into_owned()))
        };
        let unified = of(0).unwrap_or_else(|| (0, "/".to_owned()));
        let systemd = self.systemd.as_ref().and_then(|(_, id)| of(*id));
        [Some(unified), systemd].into_iter().flatten().collect()
    }
}

/// A cgroup's directory, from where its hierarchy is mounted.
#[must_use]
pub fn directory(path: &str) -> PathBuf {
    raw_name::of(path.trim_start_matches('/')).into_owned().into()
}

/// A line of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)) whose root is that of the file
/// system.
struct Mount<'a> {
    point: PathBuf,
    kind: &'a [u8],
    options: &'a [u8],
}

impl<'a> Mount<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let mut last = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, options) = (last.next()?, last.nth(1)?);
        (root == b"/").then(|| Self { point: unescaped(point), kind, options })
    }
}

/// A path in which the kernel has written white space and `\` as three octal digits each.
fn unescaped(path: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) if *byte == b'\\' => {
                bytes.push(code);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

/// A line of `/proc/PID/cgroup` (cgroups(7)).
struct Group<'a> {
    hierarchy: u32,
    controllers: &'a [u8],
    path: &'a [u8],
}

fn groups_in(bytes: &[u8]) -> impl Iterator<Item = Group<'_>> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let hierarchy = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        Some(Group { hierarchy, controllers: fields.next()?, path: fields.next()? })
    })
}

fn walk(
    root: &Path,
    directory: &Path,
    hierarchy: u32,
    most: usize,
    found: &mut Vec<Cgroup>,
) -> io::Result<()> {
    if found.len() >= most {
        return Ok(());
    }
    let inside = directory.strip_prefix(root).unwrap_or(directory);
    found.push(Cgroup {
        hierarchy,
        id: fs::metadata(directory)?.ino(),
        path: format!("/{}", raw_name::os_text(inside)),
    });
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let _ = walk(root, &entry.path(), hierarchy, most, found);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_mount_point_may_hold_spaces_and_bytes_that_are_no_text() {
        let line = b"31 24 0:26 / /sys/fs/my\\040cg\\134\xff rw,nosuid shared:9 master:1 - cgroup none rw,xattr,name=systemd";
        let mount = Mount::parse(line).unwrap();
        assert_eq!(mount.point.as_os_str().as_bytes(), b"/sys/fs/my cg\\\xff");
        assert_eq!((mount.kind, mount.options), (&b"cgroup"[..], &b"rw,xattr,name=systemd"[..]));
        let below = b"31 24 0:26 /below /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert!(Mount::parse(below).is_none(), "not the hierarchy's root");
        assert!(Mount::parse(b"31 24 0:26 / /sys/fs/cgroup rw").is_none());
    }

    #[test]
    fn a_cgroups_path_may_hold_colons_and_bytes_that_are_no_text() {
        let groups: Vec<_> = groups_in(b"4:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/d\xff\nx\n")
            .map(|group| (group.hierarchy, group.controllers, group.path))
            .collect();
        let expected: [(u32, &[u8], &[u8]); 3] =
            [(4, b"cpu,cpuacct", b"/a"), (1, b"name=systemd", b"/b:c"), (0, b"", b"/d\xff")];
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_scan_finds_so_many_cgroups_and_no_more() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a/b/c", "d\n\x1b[2J", "e"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let hierarchies = Hierarchies { unified: Some(root.path().to_owned()), systemd: None };
        let paths = |most| {
            let found = hierarchies.scan_most(most).into_iter();
            found.map(|cgroup| cgroup.path).collect::<Vec<_>>()
        };
        let all = paths(100);
        assert_eq!(all.len(), 6, "{all:?}");
        for path in ["/", "/a", "/a/b", "/a/b/c", "/d\n\x1b[2J", "/e"] {
            assert!(all.iter().any(|found| found == path), "{path:?}");
        }
        for most in 0..6 {
            assert_eq!(paths(most), all[..most]);
        }
    }

    #[test]
    fn the_hosts_hierarchies_are_found_and_this_process_in_them() {
        let hierarchies = Hierarchies::find().unwrap();
        let own = hierarchies.path_of(std::process::id()).unwrap();
        assert!(own.starts_with('/'), "{own}");
        let scan = hierarchies.scan();
        assert!(hierarchies.unified.is_none() || scan.iter().any(|it| it.hierarchy == 0));
    }
}
