use std::{
    fs::{self, File, OpenOptions, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::PathBuf,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::Mode,
    unistd::{geteuid, mkfifo},
};

use super::{destination::MAX_LINKS, *};

fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    save_here(path, &mut |out| Ok(out.write_all(bytes)?))
}

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
        assert!(std::env::var_os("CI").is_none(), "this test gives a file away: run it as root");
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
    mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
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
        assert!(refused.contains("user 65534") && refused.contains("not followed"), "{refused}");
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

#[test]
fn so_many_links_are_followed_as_the_kernel_follows() {
    let folder = tempfile::tempdir().unwrap();
    let path = |at: usize| folder.path().join(at.to_string());
    fs::write(path(0), "old").unwrap();
    for at in 1..=MAX_LINKS + 1 {
        symlink(path(at - 1), path(at)).unwrap();
    }
    save(&path(MAX_LINKS), b"new").unwrap();
    assert_eq!(fs::read(path(0)).unwrap(), b"new");
    let refused = refusal(&path(MAX_LINKS + 1), b"newer");
    assert!(refused.contains("ELOOP"), "{refused}");
    let kernels = fs::read(path(MAX_LINKS + 1)).unwrap_err();
    assert_eq!(kernels.raw_os_error(), Some(nix::libc::ELOOP));
    assert_eq!(fs::read(path(0)).unwrap(), b"new");
}
