//! Saving without ever leaving half a file.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// Symbolic links followed one after the other before giving up, as the kernel does.
const MAX_LINKS: usize = 40;

/// Writes `bytes` to `path`, whole or not at all: on any failure an existing file
/// stays as it was. It keeps its mode and, where that is allowed, its owner; a
/// symbolic link stays, and the file it leads to is replaced.
///
/// `-` is stdout. What can't be replaced (a pipe, a device, a descriptor under
/// /dev/fd or /proc) is written to directly.
pub fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if path == Path::new("-") {
        let mut stdout = io::stdout().lock();
        return stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .context("cannot write to stdout");
    }
    let shown = path.display();
    let target = follow(path).with_context(|| format!("cannot write {shown}"))?;
    match fs::metadata(&target) {
        Ok(there) if there.is_dir() => {
            bail!("cannot write {shown}: it is a directory; name a file in it")
        }
        Ok(there) if there.is_file() && !target.starts_with("/proc") => {
            replace(&target, bytes, Some(&there)).with_context(|| {
                format!("cannot write {shown}; the file that is there was left as it was")
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            replace(&target, bytes, None).with_context(|| format!("cannot write {shown}"))
        }
        Ok(_) => write_directly(&target, bytes).with_context(|| format!("cannot write {shown}")),
        Err(error) => Err(error).with_context(|| format!("cannot write {shown}")),
    }
}

/// The file that a path leads to, whether it exists or not. Links in /proc are open
/// files and are not followed.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        // /dev/fd is itself a link into /proc.
        let (Ok(folder), Some(name)) = (folder(&path).canonicalize(), path.file_name()) else {
            return Ok(path);
        };
        path = folder.join(name);
        if path.starts_with("/proc") {
            return Ok(path);
        }
        match fs::read_link(&path) {
            Ok(next) => path = folder.join(next),
            // Not a link, or nothing there.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(nix::libc::ELOOP))
}

/// The folder a path is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn replace(target: &Path, bytes: &[u8], there: Option<&fs::Metadata>) -> anyhow::Result<()> {
    let folder = folder(target);
    // The mode of a new file is what the umask leaves of this.
    let file = tempfile::Builder::new()
        .prefix(".sigready-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .with_context(|| format!("cannot make a temporary file in {}", folder.display()))?;
    file.as_file().write_all(bytes)?;
    if let Some(there) = there {
        // Only root may give a file away; for others it becomes theirs.
        let _ = fchown(file.as_file(), Some(there.uid()), Some(there.gid()));
        file.as_file().set_permissions(there.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    // The data is safe and in place; whether its name survives a power cut now
    // depends on this, which some file systems refuse.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Appending, so that `--output /dev/stdout >> log` does what it says.
fn write_directly(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(target)?;
    file.write_all(bytes)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
        sys::stat::Mode,
        unistd::{geteuid, mkfifo},
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
        std::os::unix::fs::chown(&path, Some(4_711), Some(4_712)).unwrap();
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
}
