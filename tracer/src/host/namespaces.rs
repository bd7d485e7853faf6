//! Who made the user namespaces that a process is in, and whether the host's processes are seen.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use nix::{ioctl_none_bad, ioctl_read_bad, libc::uid_t, request_code_none};

// ioctl_nsfs(2), where `NSIO` is 0xb7.
ioctl_none_bad!(
    /// `NS_GET_PARENT`: a descriptor of the namespace above.
    ns_get_parent,
    request_code_none!(0xb7, 2)
);
ioctl_read_bad!(
    /// `NS_GET_OWNER_UID`: who made a user namespace.
    ns_get_owner_uid,
    request_code_none!(0xb7, 4),
    uid_t
);

/// The inode number of the first pid namespace, the host's (`PROC_PID_INIT_INO` in
/// include/linux/proc_ns.h).
const HOST_PIDS: u64 = 0xefff_fffc;

/// What is said where [`has_host_pids`] is not so.
pub const OTHER_PIDS: &str = "this is a container with process ids of its own, and the kernel tells \
                              of processes by the host's";
/// What is to be done about it.
pub const OTHER_PIDS_MEND: &str =
    "run sigready on the host, or give the container the host's pid namespace (--pid=host)";

/// Whether this process knows processes by the same ids as the kernel side: not in a container
/// with a pid namespace of its own. Where /proc does not say, it is taken to be so.
#[must_use]
pub fn has_host_pids() -> bool {
    fs::metadata("/proc/self/ns/pid").map_or(true, |namespace| namespace.ino() == HOST_PIDS)
}

/// The user ids, as this process sees them, of those who made the user namespaces that a
/// process is in, the innermost first. None for one in this process's own. The kernel lets them
/// nest 33 deep (`create_user_ns` in kernel/user_namespace.c).
pub fn makers(pid: u32) -> io::Result<Vec<u32>> {
    let path = format!("/proc/{pid}/ns/user");
    // The target of the link names the namespace: user:[4026531837].
    if fs::read_link(&path)? == fs::read_link("/proc/self/ns/user")? {
        return Ok(Vec::new());
    }
    let own = identity(&File::open("/proc/self/ns/user")?)?;
    let mut namespace = OwnedFd::from(File::open(&path)?);
    let mut makers = Vec::new();
    while identity(&namespace)? != own {
        makers.push(maker(&namespace)?);
        namespace = parent(&namespace)?;
    }
    Ok(makers)
}

fn identity(namespace: &impl AsFd) -> io::Result<(u64, u64)> {
    let stat = nix::sys::stat::fstat(namespace)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn maker(namespace: &OwnedFd) -> io::Result<u32> {
    let mut uid = 0;
    // SAFETY: the descriptor is open, and the kernel writes one `uid_t` through the pointer,
    // which outlives the call (`ns_ioctl` in fs/nsfs.c, since 4.11).
    unsafe { ns_get_owner_uid(namespace.as_raw_fd(), &raw mut uid) }?;
    Ok(uid)
}

fn parent(namespace: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open, and no memory is passed.
    let descriptor = unsafe { ns_get_parent(namespace.as_raw_fd()) }?;
    // SAFETY: the kernel has just opened it for this process (`open_related_ns` in fs/nsfs.c),
    // and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The user id, as this process sees it, of root in a process's user namespace; `None` where
/// it has no root.
pub fn root_of(pid: u32) -> io::Result<Option<u32>> {
    Ok(root_in(&fs::read_to_string(format!("/proc/{pid}/uid_map"))?))
}

/// A line has the first id inside, the first outside, and how many (user_namespaces(7)).
fn root_in(map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace();
        let (inside, outside) = (numbers.next()?, numbers.next()?);
        (inside == "0").then(|| outside.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_its_own_namespace_which_nobody_below_it_made() {
        assert_eq!(makers(std::process::id()).unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn root_is_who_the_map_says() {
        assert_eq!(root_in("         0          0 4294967295\n"), Some(0));
        assert_eq!(root_in("0 1000 1\n1 100000 65536\n"), Some(1000));
        assert_eq!(root_in("1 100000 65536\n"), None);
        assert_eq!(root_in("10 1000 1\n"), None);
        assert_eq!(root_in(""), None);
    }
}
