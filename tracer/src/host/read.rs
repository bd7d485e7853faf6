//! Files whose size others decide.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// How much is read of a file that the kernel writes for a process: more than any of them has,
/// and longer an environment than systemd gives a program.
const MAX_OF_PROCESS: u64 = 1 << 20;
/// How much is read of `mountinfo`: some hundred thousand mounts.
const MAX_MOUNTS: u64 = 1 << 26;
/// How much is read of the list of a process's mappings.
const MAX_MAPS: u64 = 4 << 20;

/// `stat`, `status`, `children`, `cgroup` or `environ` of a process.
///
/// # Errors
/// See [`bounded`].
pub fn of_process(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    bounded(path, MAX_OF_PROCESS)
}

/// `mountinfo` of a process.
///
/// # Errors
/// See [`bounded`].
pub fn mounts(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    bounded(path, MAX_MOUNTS)
}

/// `maps` of a process.
///
/// # Errors
/// See [`bounded`].
pub fn maps(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    bounded(path, MAX_MAPS)
}

/// The first `max_bytes` bytes of a file: all of it, if it has no more.
///
/// # Errors
/// Those of opening and reading it. A process that ends meanwhile gives `ESRCH`.
pub fn bounded(path: impl AsRef<Path>, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_never_ends_is_read_to_the_limit_alone() {
        assert_eq!(bounded("/dev/zero", 5).unwrap(), [0; 5]);
        assert_eq!(bounded("/dev/null", 5).unwrap(), b"");
        assert!(bounded("/proc/self/no-such-file", 5).is_err());
    }

    #[test]
    fn what_is_read_of_a_process_has_a_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reads: [(fn(PathBuf) -> io::Result<Vec<u8>>, u64); 3] =
            [(of_process, 1 << 20), (maps, 4 << 20), (mounts, 64 << 20)];
        for (read, most) in reads {
            for (length, expected) in [(most - 1, most - 1), (most, most), (most + 1, most)] {
                file.as_file().set_len(length).unwrap();
                assert_eq!(read(file.path().into()).unwrap().len() as u64, expected);
            }
        }
    }
}
