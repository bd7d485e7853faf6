//! Saving without ever leaving half a file, and without being led anywhere by what others put
//! into a directory that they can write to.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, BufWriter, IntoInnerError, Write},
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
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
    unistd::geteuid,
};

use crate::host::temporary::Temporary;

/// Symbolic links followed one after the other before giving up, as the kernel does.
const MAX_LINKS: usize = 40;
/// Names tried for a temporary file.
const MAX_NAMES: usize = 16;

/// Writes what is to be in a file.
pub type Content<'a> = dyn FnMut(&mut dyn Write) -> anyhow::Result<()> + 'a;

/// Writes `bytes` to `path`: see [`save_with`].
///
/// # Errors
///
/// A sentence that says what can't be written and why.
pub fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    save_with(path, &mut |out| Ok(out.write_all(bytes)?))
}

/// Writes what `content` writes to `path`, whole or not at all: on any failure an existing file
/// stays as it was. It keeps its mode and, where that is allowed, its owner; a
/// symbolic link stays, and the file it leads to is replaced.
///
/// What another user put into a directory that others can write to is not trusted: a link
/// there is not followed, a pipe is not written to, and a file is replaced by one that is the
/// caller's, with the mode of a new file. Root's own links and files are trusted everywhere.
///
/// `-` is stdout. What can't be replaced (a pipe, a device, a descriptor under
/// /dev/fd or /proc) is written to directly.
///
/// # Errors
///
/// A sentence that says what can't be written and why; or `content` failed.
pub fn save_with(path: &Path, content: &mut Content<'_>) -> anyhow::Result<()> {
    if path == Path::new("-") {
        drop(fill(io::stdout().lock(), content).context("cannot write to stdout")?);
        return Ok(());
    }
    let shown = path.display();
    let place = Place::find(path).with_context(|| format!("cannot write {shown}"))?;
    let there = place.there().with_context(|| format!("cannot write {shown}"))?;
    let Some(there) = there else {
        return place.replace(content, None).with_context(|| format!("cannot write {shown}"));
    };
    let trusted = place.trusts(&there);
    match kind(&there) {
        SFlag::S_IFDIR => bail!("cannot write {shown}: it is a directory; name a file in it"),
        SFlag::S_IFREG if !place.in_proc => {
            // Another name of a file elsewhere says nothing of how this one is to be.
            let like = Some(there).filter(|it| trusted && (it.st_nlink == 1 || !place.is_shared()));
            place.replace(content, like.as_ref()).with_context(|| {
                format!("cannot write {shown}; the file that is there was left as it was")
            })
        }
        _ if !trusted => bail!(
            "cannot write {shown}: user {} has put it there, and others than you can write to \
             its directory",
            there.st_uid
        ),
        _ => place.write_directly(content, &there).with_context(|| format!("cannot write {shown}")),
    }
}

/// The type of a file.
/// Writes all of it to `out`, which is given back.
fn fill<W: Write>(out: W, content: &mut Content<'_>) -> anyhow::Result<W> {
    let mut out = BufWriter::new(out);
    content(&mut out)?;
    Ok(out.into_inner().map_err(IntoInnerError::into_error)?)
}

fn kind(file: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(file.st_mode & SFlag::S_IFMT.bits())
}

/// Where a path leads to: a name in a directory that is held open.
struct Place {
    directory: OwnedFd,
    /// What is known of the directory.
    about: FileStat,
    /// Whether it is in /proc, whose links are open files.
    in_proc: bool,
    name: OsString,
}

impl Place {
    /// Follows a path, which need not exist, and links as far as they are trusted.
    fn find(path: &Path) -> anyhow::Result<Self> {
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
                        at.name.display(),
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
            at = Self::directory(&at.directory, &at.name, nofollow)?;
        }
        // It ends in '/', '.' or '..'.
        Err(Errno::EISDIR).context("it is a directory; name a file in it")
    }

    /// A directory, with no name in it yet.
    fn directory(from: impl AsFd, name: &OsStr, how: OFlag) -> anyhow::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | how;
        let directory = openat(from, name, flags, Mode::empty())?;
        let about = fstat(&directory)?;
        let in_proc = fstatfs(&directory)?.filesystem_type() == PROC_SUPER_MAGIC;
        Ok(Self { directory, about, in_proc, name: OsString::new() })
    }

    /// What has the name, if anything has; of a link, the link.
    fn there(&self) -> nix::Result<Option<FileStat>> {
        match fstatat(&self.directory, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(there) => Ok(Some(there)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether others than this user and root can write to the directory.
    fn is_shared(&self) -> bool {
        is_shared(&self.about, geteuid().as_raw())
    }

    /// Whether what is there was put there by this user or root.
    fn trusts(&self, there: &FileStat) -> bool {
        is_own(there.st_uid, geteuid().as_raw()) || !self.is_shared()
    }

    /// Replaces what is there by a new file, in one step; `like` says whose it is and who may
    /// read it.
    fn replace(&self, content: &mut Content<'_>, like: Option<&FileStat>) -> anyhow::Result<()> {
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
        let mut refused = Errno::EEXIST.into();
        for _ in 0..MAX_NAMES {
            let random = RandomState::new().build_hasher().finish();
            let name = OsString::from(format!(".sigready-{random:016x}"));
            let created = Temporary::file(self.directory.try_clone()?, name.clone(), |directory| {
                Ok(openat(directory, &*name, flags, Mode::from_bits_truncate(mode))?)
            });
            match created {
                Ok((temporary, file)) => return Ok((temporary, name, File::from(file))),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refused = error,
                Err(error) => {
                    refused = error;
                    break;
                }
            }
        }
        Err(refused).context("cannot make a temporary file beside it")
    }

    /// Appending, so that `--output /dev/stdout >> log` does what it says.
    fn write_directly(&self, content: &mut Content<'_>, there: &FileStat) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        os::unix::fs::{MetadataExt as _, chown, lchown, symlink},
        path::PathBuf,
    };

    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
        sys::stat::Mode,
        unistd::mkfifo,
    };

    use super::*;

    fn refusal(path: &Path, bytes: &[u8]) -> String {
        format!("{:#}", save(path, bytes).unwrap_err())
    }

    /// Names in a folder.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_has_the_mode_any_new_file_has() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        save(&ours, b"one").unwrap();
        fs::write(&plain, b"").unwrap();
        assert_eq!(fs::read(&ours).unwrap(), b"one");
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        fs::write(&path, "old and longer").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        save(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(names(folder.path()), ["out.json"]);
    }

    #[test]
    fn a_file_that_root_replaces_keeps_its_owner() {
        if !geteuid().is_root() {
            assert!(
                std::env::var_os("CI").is_none(),
                "this test gives a file away: run it as root"
            );
            eprintln!("left out: only root may give a file away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        fs::write(&path, "old").unwrap();
        chown(&path, Some(4_711), Some(4_712)).unwrap();
        save(&path, b"new").unwrap();
        let there = fs::metadata(&path).unwrap();
        assert_eq!((there.uid(), there.gid()), (4_711, 4_712));
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_link_stays_and_the_file_it_leads_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("there")).unwrap();
        let real = folder.path().join("there/real.json");
        let (link, second) = (folder.path().join("link"), folder.path().join("second"));
        symlink("there/real.json", &link).unwrap();
        symlink(&link, &second).unwrap();
        // At first the link leads nowhere.
        for text in ["one", "two"] {
            save(&second, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&real).unwrap(), text);
            assert!(link.is_symlink() && second.is_symlink() && !real.is_symlink());
        }
        symlink("loop", folder.path().join("loop")).unwrap();
        let refusal = refusal(&folder.path().join("loop"), b"");
        assert!(refusal.contains("symbolic links"), "{refusal}");
    }

    #[test]
    fn a_directory_and_a_missing_folder_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refusal(folder.path(), b"").contains("is a directory"));
        let missing = refusal(&folder.path().join("no/out.json"), b"");
        assert!(missing.contains("no/out.json"), "{missing}");
        assert!(missing.contains("No such file or directory"), "{missing}");
    }

    #[test]
    fn devices_and_pipes_are_written_to_and_not_replaced() {
        save(Path::new("/dev/null"), b"text").unwrap();
        let full = refusal(Path::new("/dev/full"), b"text");
        assert!(full.contains("/dev/full") && full.contains("No space left"), "{full}");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path).unwrap()
        });
        save(&path, b"through the pipe").unwrap();
        assert_eq!(reader.join().unwrap(), "through the pipe");
    }

    #[test]
    fn an_open_file_named_by_its_descriptor_is_added_to() {
        use std::os::fd::AsRawFd as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "before\n").unwrap();
        let log = OpenOptions::new().append(true).open(&path).unwrap();
        save(Path::new(&format!("/dev/fd/{}", log.as_raw_fd())), b"after\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nafter\n");
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_whole() {
        if !geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "this test mounts a tmpfs: run it as root");
            eprintln!("left out: a full disk can be made by root only");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // The mounts of this thread alone, gone when it ends.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
            .unwrap();
        let path = folder.path().join("out.json");
        save(&path, b"the old one").unwrap();
        let refusal = refusal(&path, &vec![b'x'; 200_000]);
        assert!(refusal.contains("out.json"), "{refusal}");
        assert!(refusal.contains("left as it was"), "{refusal}");
        assert!(refusal.contains("No space left on device"), "{refusal}");
        assert!(!refusal.contains(".sigready-"), "{refusal}");
        assert_eq!(fs::read(&path).unwrap(), b"the old one");
        assert_eq!(names(folder.path()), ["out.json"]);
    }

    /// Somebody else.
    const OTHER: u32 = 65534;

    /// A directory that everyone can write to, as /tmp, or nothing if this is not root.
    fn shared() -> Option<tempfile::TempDir> {
        if !geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "this test gives files away: run it as root");
            eprintln!("left out: only root can give files to another user");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        Some(folder)
    }

    #[test]
    fn the_link_of_another_is_not_followed_wherever_in_the_path_it_is() {
        let Some(folder) = shared() else { return };
        let (victim, link) = (folder.path().join("victim"), folder.path().join("link"));
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("file"), "precious").unwrap();
        for (target, path) in [
            (victim.join("file"), link.clone()),
            (victim.join("new"), link.clone()),
            (victim.clone(), link.join("file")),
            (PathBuf::from("victim"), link.join("new")),
        ] {
            symlink(&target, &link).unwrap();
            lchown(&link, Some(OTHER), Some(OTHER)).unwrap();
            let refused = refusal(&path, b"report");
            assert!(
                refused.contains("user 65534") && refused.contains("not followed"),
                "{refused}"
            );
            // One's own is.
            lchown(&link, Some(0), Some(0)).unwrap();
            save(&path, b"precious").unwrap();
            fs::remove_file(&link).unwrap();
            assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "precious");
            let _ = fs::remove_file(victim.join("new"));
        }
    }

    #[test]
    fn the_file_of_another_gives_way_to_one_that_is_the_callers() {
        let Some(folder) = shared() else { return };
        let (theirs, plain) = (folder.path().join("theirs"), folder.path().join("plain"));
        fs::write(&plain, b"").unwrap();
        fs::write(&theirs, "theirs").unwrap();
        fs::set_permissions(&theirs, Permissions::from_mode(0o666)).unwrap();
        chown(&theirs, Some(OTHER), Some(OTHER)).unwrap();
        let mut open = File::open(&theirs).unwrap();
        save(&theirs, b"report").unwrap();
        let (is, mode) = (fs::metadata(&theirs).unwrap(), fs::metadata(&plain).unwrap().mode());
        assert_eq!((is.uid(), is.mode()), (0, mode));
        let mut text = String::new();
        io::Read::read_to_string(&mut open, &mut text).unwrap();
        assert_eq!(text, "theirs", "who has it open sees nothing of the report");
    }

    #[test]
    fn a_second_name_of_a_file_elsewhere_says_nothing_of_the_new_one() {
        let Some(folder) = shared() else { return };
        let secret = folder.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o4777)).unwrap();
        let path = folder.path().join("out");
        fs::hard_link(&secret, &path).unwrap();
        save(&path, b"report").unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7022, 0);
    }

    #[test]
    fn the_pipe_of_another_is_not_written_to() {
        let Some(folder) = shared() else { return };
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        chown(&path, Some(OTHER), Some(OTHER)).unwrap();
        assert!(refusal(&path, b"report").contains("user 65534"));
    }

    #[test]
    fn a_path_that_ends_as_a_directory_is_none_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        for path in ["in/", "in/.", "in/.."] {
            let refused = refusal(&folder.path().join(path), b"");
            assert!(refused.contains("is a directory"), "{refused}");
        }
        assert!(refusal(&folder.path().join("new/"), b"").contains("No such file"));
        assert!(refusal(Path::new(""), b"").contains("No such file"));
        assert_eq!(names(folder.path()), ["in"]);
    }
}
