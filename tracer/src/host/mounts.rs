//! What a process has mounted: what its root is made of, and on what kinds of file systems its
//! files are (proc_pid_mountinfo(5)).

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    str,
};

use super::read;

/// File systems that root alone can mount, on a disk, and those in memory: no program answers for
/// them. An overlay is not one of them: it may lie over any other.
const KERNELS: [&[u8]; 12] = [
    b"bcachefs",
    b"btrfs",
    b"erofs",
    b"ext2",
    b"ext3",
    b"ext4",
    b"f2fs",
    b"ramfs",
    b"squashfs",
    b"tmpfs",
    b"xfs",
    b"zfs",
];

/// The directories below the overlay that is a process's root; none if it is no overlay.
/// `process` is its directory in /proc. Waits for nothing.
#[must_use]
pub fn lower_of_root(process: &Path) -> Vec<PathBuf> {
    lower_of(&read::mounts(process.join("mountinfo")).unwrap_or_default())
}

/// Whether this mount of a process is known to be of a file system that no program answers for.
/// `process` is its directory in /proc. Waits for nothing.
#[must_use]
pub fn is_of_the_kernel(process: &Path, mount: u64) -> bool {
    let mounts = read::mounts(process.join("mountinfo")).unwrap_or_default();
    kind_of(&mounts, mount).is_some_and(|kind| KERNELS.contains(&kind))
}

/// The type of the file system that has been mounted by this id.
fn kind_of(mounts: &[u8], mount: u64) -> Option<&[u8]> {
    let line = mounts.split(|byte| *byte == b'\n').find(|line| {
        let id = line.split(|byte| *byte == b' ').next();
        id.and_then(|id| str::from_utf8(id).ok()?.parse().ok()) == Some(mount)
    })?;
    line.split(|byte| *byte == b' ').skip_while(|field| *field != b"-").nth(1)
}

fn lower_of(mounts: &[u8]) -> Vec<PathBuf> {
    let mut root = mounts
        .split(|byte| *byte == b'\n')
        .filter(|line| line.split(|byte| *byte == b' ').nth(4) == Some(b"/"));
    // The last one lies over those before it.
    let Some(line) = root.next_back() else {
        return Vec::new();
    };
    let mut fields = line.split(|byte| *byte == b' ').skip_while(|field| *field != b"-").skip(1);
    let (Some(b"overlay"), Some(options)) = (fields.next(), fields.nth(1)) else {
        return Vec::new();
    };
    let lower = options.split(|byte| *byte == b',').filter_map(|option| {
        option.strip_prefix(b"lowerdir=").or_else(|| option.strip_prefix(b"lowerdir+="))
    });
    let directories = lower.flat_map(|list| list.split(|byte| *byte == b':'));
    directories.map(|path| OsString::from_vec(path.to_vec()).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_file_system_is_told_by_the_id_of_its_mount() {
        let mounts = b"30 1 8:1 / / rw shared:1 master:2 - ext4 /dev/sda rw\n\
            301 30 0:61 / /a\\040- rw - fuse.sshfs - rw\n3 30 0:62 / /b rw - overlay - rw\nx\n4 - -";
        let kind = |mount| kind_of(mounts, mount).map(|kind| str::from_utf8(kind).unwrap());
        assert_eq!([30, 301, 3].map(kind), [Some("ext4"), Some("fuse.sshfs"), Some("overlay")]);
        assert_eq!([0, 1, 4, 31].map(kind), [None, None, Some("-"), None]);
    }

    #[test]
    fn the_directories_below_an_overlay_are_those_of_the_last_one_mounted_on_the_root() {
        let lower = |lines: &[&str]| lower_of(lines.join("\n").as_bytes());
        let overlay = |options: &str| {
            format!("300 299 0:60 / / rw,relatime shared:1 - overlay overlay rw,{options}")
        };
        let box_and_more = overlay("lowerdir=/var/lib/box:/more,upperdir=/u,workdir=/w");
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(lower(&[&box_and_more]), paths(&["/var/lib/box", "/more"]));
        assert_eq!(lower(&[&overlay("lowerdir+=/a,lowerdir+=/b")]), paths(&["/a", "/b"]));
        let below = overlay("lowerdir=/below");
        let elsewhere = "301 300 0:61 / /run rw - overlay overlay rw,lowerdir=/x";
        assert_eq!(lower(&[&below, &box_and_more, elsewhere]), paths(&["/var/lib/box", "/more"]));
        let plain = "1 0 8:1 / / rw - ext4 /dev/sda rw,lowerdir=/x";
        for none in [&[plain][..], &[&below, plain], &[], &["- overlay"], &["/ / / / / -"]] {
            assert_eq!(lower(none), paths(&[]), "{none:?}");
        }
    }
}
