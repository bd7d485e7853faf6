//! Files and directories that are gone when the process ends, however it ends, SIGKILL apart.
//!
//! Each is removed when its owner is dropped. Where a signal ends the process first, nothing
//! is dropped: then [`remove_all`] does it.

use std::{
    ffi::OsString,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::unistd::{UnlinkatFlags, unlinkat};

/// What is to be removed.
enum Entry {
    /// A file in a directory that is open.
    File { directory: OwnedFd, name: OsString },
    /// A directory and the files in it.
    Directory(PathBuf),
}

impl Entry {
    fn remove(&self) {
        // Whatever can't be removed now can't be removed at all.
        let _ = match self {
            Self::File { directory, name } => {
                unlinkat(directory.as_fd(), name.as_os_str(), UnlinkatFlags::NoRemoveDir)
                    .map_err(io::Error::from)
            }
            Self::Directory(path) => fs::remove_dir_all(path),
        };
    }
}

static ENTRIES: Mutex<Vec<(u64, Entry)>> = Mutex::new(Vec::new());

fn entries() -> MutexGuard<'static, Vec<(u64, Entry)>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that is removed when this is dropped.
#[derive(Debug)]
pub struct Temporary(u64);

impl Temporary {
    /// A file that `make` makes in a directory. No signal comes between the two.
    pub fn file<T>(
        directory: OwnedFd,
        name: OsString,
        make: impl FnOnce(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<(Self, T)> {
        let mut entries = entries();
        let file = make(&directory)?;
        Ok((Self::add(&mut entries, Entry::File { directory, name }), file))
    }

    /// A directory of its own below `base`, which its owner alone can list and write to.
    pub fn directory(base: &Path) -> io::Result<(Self, PathBuf)> {
        let mut entries = entries();
        let made = tempfile::Builder::new().prefix("sigready-").tempdir_in(base)?.keep();
        Ok((Self::add(&mut entries, Entry::Directory(made.clone())), made))
    }

    fn add(entries: &mut Vec<(u64, Entry)>, entry: Entry) -> Self {
        let id = entries.last().map_or(0, |(last, _)| last + 1);
        entries.push((id, entry));
        Self(id)
    }

    /// It stays, or has another name by now.
    pub fn keep(self) {
        entries().retain(|(id, _)| *id != self.0);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut entries = entries();
        if let Some(at) = entries.iter().position(|(id, _)| *id == self.0) {
            entries.remove(at).1.remove();
        }
    }
}

/// Removes everything there is. For the end of the process: nothing new is made afterwards.
pub fn remove_all() {
    let mut entries = entries();
    for (_, entry) in entries.drain(..) {
        entry.remove();
    }
    // Nobody gets the lock any more.
    std::mem::forget(entries);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_with_its_owner_and_a_file_that_is_kept_stays() {
        let base = tempfile::tempdir().unwrap();
        let (owner, directory) = Temporary::directory(base.path()).unwrap();
        fs::write(directory.join("inside"), b"").unwrap();
        drop(owner);
        assert!(!directory.exists());

        let open = || OwnedFd::from(fs::File::open(base.path()).unwrap());
        let make = |name: &'static str| {
            Temporary::file(open(), name.into(), |_| fs::write(base.path().join(name), b""))
                .unwrap()
                .0
        };
        make("kept").keep();
        drop(make("dropped"));
        let names: Vec<_> = fs::read_dir(base.path()).unwrap().map(|it| it.unwrap()).collect();
        assert_eq!(names.len(), 1);
        assert_eq!(names[0].file_name(), "kept");
    }
}
