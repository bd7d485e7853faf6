//! What a process's root is mounted from (proc_pid_mountinfo(5)).

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use super::read::bounded;

/// How much is read of `mountinfo`: some hundred thousand mounts.
const MAX_MOUNTS: u64 = 1 << 26;

/// The directories below the overlay that is a process's root; none if it is no overlay.
/// `process` is its directory in /proc. Waits for nothing.
#[must_use]
pub fn lower_of_root(process: &Path) -> Vec<PathBuf> {
    lower_of(&bounded(process.join("mountinfo"), MAX_MOUNTS).unwrap_or_default())
}

fn lower_of(mounts: &[u8]) -> Vec<PathBuf> {
    let root = mounts
        .split(|byte| *byte == b'\n')
        .filter(|line| line.split(|byte| *byte == b' ').nth(4) == Some(b"/"));
    // The last one lies over those before it.
    let Some(line) = root.last() else {
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
