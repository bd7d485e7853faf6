//! A root directory seen as by those who have it for theirs: its absolute links stay inside.
//! Followed from outside, a link in a container would lead to a file or a socket of the host.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat},
    sys::stat::Mode,
};

use crate::model::raw_name;

/// A root directory.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    directory: OwnedFd,
}

/// Something below a root, held.
pub struct Reached(OwnedFd);

impl Root {
    /// Opens it: `/`, a directory with a system in it, `/proc/PID/root`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(path, flags, Mode::empty())?;
        Ok(Self { path: path.to_owned(), directory })
    }

    /// How a path inside is written outside: for people, and not to be opened.
    #[must_use]
    pub fn shown(&self, inside: &Path) -> PathBuf {
        self.path.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// What is at a path inside, links followed.
    pub fn reach(&self, inside: &Path) -> io::Result<Reached> {
        self.resolve(inside, OFlag::empty())
    }

    /// The same, but the link itself if it is one.
    pub fn reach_link(&self, inside: &Path) -> io::Result<Reached> {
        self.resolve(inside, OFlag::O_NOFOLLOW)
    }

    fn resolve(&self, inside: &Path, more: OFlag) -> io::Result<Reached> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | more)
            // `openat2(2)`, since 5.6.
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        loop {
            match openat2(&self.directory, inside, how) {
                // Something was renamed on the way.
                Err(Errno::EAGAIN) => {}
                reached => return Ok(Reached(reached?)),
            }
        }
    }

    /// The names in a directory.
    pub fn names(&self, inside: &Path) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.reach(inside)?.path())?.flatten();
        Ok(entries.map(|entry| raw_name::os_text(&entry.file_name()).into_owned()).collect())
    }
}

impl Reached {
    /// A path that leads here and nowhere else, as long as this is held.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        // A magic link: proc_pid_fd(5).
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// What it says, if it is a link.
    #[must_use]
    pub fn link(&self) -> Option<PathBuf> {
        readlinkat(&self.0, "").ok().map(PathBuf::from)
    }

    /// Opens it to be read.
    pub fn read(&self) -> io::Result<File> {
        File::open(self.path())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_stay_inside() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("etc/hostname"), "inside").unwrap();
        symlink("/etc/hostname", directory.path().join("absolute")).unwrap();
        symlink("../../../../../../etc/hostname", directory.path().join("upwards")).unwrap();
        symlink("/proc/self/environ", directory.path().join("away")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        for link in ["absolute", "upwards", "/absolute"] {
            let mut text = String::new();
            let reached = root.reach(Path::new(link)).unwrap();
            reached.read().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside", "{link}");
        }
        assert!(root.reach(Path::new("away")).is_err());
        let link = root.reach_link(Path::new("absolute")).unwrap().link();
        assert_eq!(link.unwrap(), Path::new("/etc/hostname"));
        assert_eq!(root.reach(Path::new("absolute")).unwrap().link(), None);
    }

    #[test]
    fn only_a_directory_is_a_root_and_it_is_shown_as_it_was_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Root::open(&file).is_err());
        let root = Root::open(directory.path()).unwrap();
        for inside in ["file", "/file"] {
            assert_eq!(root.shown(Path::new(inside)), file);
        }
        assert_eq!(root.names(Path::new("")).unwrap_or_default(), Vec::<String>::new());
        assert_eq!(root.names(Path::new("/")).unwrap(), ["file"]);
        assert!(root.names(Path::new("file")).is_err());
    }

    #[test]
    fn what_is_held_is_passed_on_to_no_program() {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};

        let root = Root::open(Path::new("/")).unwrap();
        let reached = root.reach(Path::new("proc")).unwrap();
        for held in [&root.directory, &reached.0] {
            let flags = FdFlag::from_bits_retain(fcntl(held, FcntlArg::F_GETFD).unwrap());
            assert!(flags.contains(FdFlag::FD_CLOEXEC));
        }
    }
}
