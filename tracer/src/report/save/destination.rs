//! Where a path leads to, and what is done there.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt as _,
            fs::{PermissionsExt as _, fchown},
        },
    },
    path::{Component, Path},
};

use anyhow::{Context as _, bail};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat},
    sys::{
        stat::{FileStat, Mode, SFlag, fstat, fstatat},
        statfs::{FUSE_SUPER_MAGIC, PROC_SUPER_MAGIC, fstatfs},
    },
    unistd::geteuid,
};

use super::{Content, fill, kind};
use crate::{
    host::{opener::has_a_program, temporary::Temporary},
    model::text::Outside,
};

/// Symbolic links followed one after the other before giving up, as the kernel does.
pub(super) const MAX_LINKS: usize = 40;

/// Where a path leads to: a name in a directory that is held open.
pub struct Destination {
    directory: OwnedFd,
    /// What is known of the directory.
    about: FileStat,
    /// Whether it is in /proc, whose links are open files.
    pub in_proc: bool,
    /// Whether a program answers for a file system on the way to it (FUSE).
    passes_a_program: bool,
    name: OsString,
}

impl Destination {
    /// Follows a path, which need not exist, and links as far as they are trusted.
    pub fn find(path: &Path) -> anyhow::Result<Self> {
        let mut left = components(path)?;
        let mut at = Self::directory(AT_FDCWD, OsStr::new("."), OFlag::empty())?;
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            at.name = name;
            let Some(there) = at.there()? else {
                if left.is_empty() {
                    return Ok(at);
                }
                return Err(Errno::ENOENT.into());
            };
            let is_link = kind(&there) == SFlag::S_IFLNK;
            if is_link && !(at.in_proc && left.is_empty()) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::ELOOP.into());
                }
                if !at.trusts(&there) {
                    bail!(
                        "'{}' is a symbolic link that user {} has put there, and others than \
                         you can write to its directory: it is not followed",
                        Outside::path(&at.name),
                        there.st_uid
                    );
                }
                if !at.in_proc {
                    let mut target = components(Path::new(&readlinkat(&at.directory, &*at.name)?))?;
                    target.append(&mut left);
                    left = target;
                    continue;
                }
            }
            if left.is_empty() {
                return Ok(at);
            }
            // A link that takes the directory's place now is not followed either.
            let nofollow = if at.in_proc { OFlag::empty() } else { OFlag::O_NOFOLLOW };
            let passed = at.passes_a_program;
            at = Self::directory(&at.directory, &at.name, nofollow)?;
            at.passes_a_program |= passed;
        }
        // It ends in '/', '.' or '..'.
        Err(Errno::EISDIR).context("it is a directory; name a file in it")
    }

    /// A directory, with no name in it yet.
    fn directory(from: impl AsFd, name: &OsStr, how: OFlag) -> anyhow::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | how;
        let directory = openat(from, name, flags, Mode::empty())?;
        let about = fstat(&directory)?;
        let kind = fstatfs(&directory)?.filesystem_type();
        Ok(Self {
            directory,
            about,
            in_proc: kind == PROC_SUPER_MAGIC,
            passes_a_program: kind == FUSE_SUPER_MAGIC,
            name: OsString::new(),
        })
    }

    /// What has the name, if anything has; of a link, the link.
    pub fn there(&self) -> nix::Result<Option<FileStat>> {
        match fstatat(&self.directory, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(there) => Ok(Some(there)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a program answers for a file system on the way here, or for that of what is
    /// there.
    pub fn passes_a_program(&self, there: Option<&FileStat>) -> bool {
        let is_mounted = || there.is_some_and(|there| there.st_dev != self.about.st_dev);
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = || openat(&self.directory, &*self.name, flags, Mode::empty()).ok();
        let has_one = || open().is_some_and(|it| has_a_program(it).unwrap_or(true));
        self.passes_a_program || (is_mounted() && has_one())
    }

    /// Whether others than this user and root can write to the directory.
    pub fn is_shared(&self) -> bool {
        is_shared(&self.about, geteuid().as_raw())
    }

    /// Whether what is there was put there by this user or root.
    pub fn trusts(&self, there: &FileStat) -> bool {
        is_own(there.st_uid, geteuid().as_raw()) || !self.is_shared()
    }

    /// Replaces what is there by a new file, in one step; `like` says whose it is and who may
    /// read it.
    pub fn replace(
        &self,
        content: &mut Content<'_>,
        like: Option<&FileStat>,
    ) -> anyhow::Result<()> {
        // The mode of a new file is what the umask leaves of this. A file that others may not
        // read is not theirs to read meanwhile.
        let mode = if like.is_some() { 0o600 } else { 0o666 };
        let (temporary, name, file) = self.temporary(mode)?;
        let file = fill(file, content)?;
        if let Some(like) = like {
            // Only root may give a file away; for others it becomes theirs.
            let _ = fchown(&file, Some(like.st_uid), Some(like.st_gid));
            file.set_permissions(Permissions::from_mode(like.st_mode & 0o777))?;
        }
        file.sync_all()?;
        renameat(&self.directory, &*name, &self.directory, &*self.name)?;
        temporary.keep();
        // The data is safe and in place; whether its name survives a power cut now
        // depends on this, which some file systems refuse.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let _ = openat(&self.directory, ".", flags, Mode::empty())
            .map(|directory| File::from(directory).sync_all());
        Ok(())
    }

    /// A new file in the directory, under a name that nobody can guess.
    fn temporary(&self, mode: u32) -> anyhow::Result<(Temporary, OsString, File)> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let random = RandomState::new().build_hasher().finish();
        let name = OsString::from(format!(".sigready-{random:016x}"));
        let created = Temporary::file(self.directory.try_clone()?, name.clone(), |directory| {
            Ok(openat(directory, &*name, flags, Mode::from_bits_truncate(mode))?)
        });
        let (temporary, file) = created.context("cannot make a temporary file beside it")?;
        Ok((temporary, name, File::from(file)))
    }

    /// Appending, so that `--output /dev/stdout >> log` does what it says.
    pub fn write_directly(
        &self,
        content: &mut Content<'_>,
        there: &FileStat,
    ) -> anyhow::Result<()> {
        let nofollow = if self.in_proc { OFlag::empty() } else { OFlag::O_NOFOLLOW };
        let flags =
            OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | nofollow;
        let file = File::from(openat(&self.directory, &*self.name, flags, Mode::empty())?);
        let opened = fstat(&file)?;
        if !self.in_proc && (opened.st_dev, opened.st_ino) != (there.st_dev, there.st_ino) {
            bail!("something else has taken its place");
        }
        fill(file, content)?;
        Ok(())
    }
}

/// Whether a file of user `owner` is this user's or root's.
fn is_own(owner: u32, user: u32) -> bool {
    owner == user || owner == 0
}

/// Whether others than this user and root can write to a directory.
fn is_shared(directory: &FileStat, user: u32) -> bool {
    !is_own(directory.st_uid, user) || directory.st_mode & 0o022 != 0
}

/// The names in a path. One that ends in a slash ends in a name of the directory itself.
fn components(path: &Path) -> anyhow::Result<VecDeque<OsString>> {
    if path.as_os_str().is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let name = |component: Component<'_>| component.as_os_str().to_owned();
    let mut names: VecDeque<OsString> = path.components().map(name).collect();
    if path.as_os_str().as_bytes().ends_with(b"/") {
        names.push_back(".".into());
    }
    Ok(names)
}
