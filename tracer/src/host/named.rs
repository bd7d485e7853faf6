//! Paths that were named by a user. They may lead to a file system that never answers, so they
//! are followed by a process of their own ([`super::opener`]).

use std::{
    env,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Seek as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use super::opener::{Answer, Question, copy, descriptor, has_a_program, text, wait_for};

/// The most that is copied of a file that a program answers for, bytes.
const MAX_COPIED: u64 = 1 << 33;
/// Where programs are looked for if there is no `PATH`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Opens a file of at most so many bytes to be read. A device or a FIFO would have its reader
/// wait, or give it bytes without end: neither is opened. What is on a file system that a program
/// answers for is copied first.
///
/// # Errors
///
/// A reason why it can't be read.
pub fn open(path: &Path, max: u64) -> io::Result<File> {
    // What this process has open, another one has not.
    if is_kernels(path) {
        return regular(path, max);
    }
    let max = max.to_string();
    let words = ["file".as_ref(), path.as_os_str(), OsStr::new(&max)];
    wait_for(descriptor(Question::new((path.to_owned(), None), &words))).map(File::from)
}

/// Whether there is a file of that name.
///
/// # Errors
///
/// It can't be told in time.
pub fn is_file(path: &Path) -> io::Result<bool> {
    let words = ["is-file".as_ref(), path.as_os_str()];
    let answer = wait_for(text(Question::new((path.to_owned(), None), &words)))?;
    Ok(!answer.is_empty())
}

/// Whether there is something else than a socket at a path.
///
/// # Errors
///
/// It can't be told in time.
pub fn is_no_socket(path: &Path) -> io::Result<bool> {
    let words = ["is-no-socket".as_ref(), path.as_os_str()];
    let answer = wait_for(text(Question::new((path.to_owned(), None), &words)))?;
    Ok(!answer.is_empty())
}

/// A directory's path without links and dots; `None` if there is none.
///
/// # Errors
///
/// It can't be told in time.
pub fn directory(path: &Path) -> io::Result<Option<PathBuf>> {
    let words = ["directory".as_ref(), path.as_os_str()];
    let answer = wait_for(text(Question::new((path.to_owned(), None), &words)))?;
    Ok(path_in(answer))
}

/// The program that execvp(3) would execute by this name; `None` if there is none in `PATH`.
///
/// # Errors
///
/// A reason why the one whose path is given can't be executed, or that none was found in time.
pub fn program(name: &OsStr) -> io::Result<Option<PathBuf>> {
    let path = env::var_os("PATH").unwrap_or_else(|| PATH.into());
    let words = ["program".as_ref(), name, &path];
    let answer = wait_for(text(Question::new((name.into(), None), &words)))?;
    Ok(path_in(answer))
}

/// Connects to a socket.
///
/// # Errors
///
/// A reason why that can't be done.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let words = ["socket".as_ref(), path.as_os_str()];
    descriptor(Question::new((path.to_owned(), None), &words)).await.map(UnixStream::from)
}

fn path_in(bytes: Vec<u8>) -> Option<PathBuf> {
    (!bytes.is_empty()).then(|| std::ffi::OsString::from_vec(bytes).into())
}

/// Answers what is asked above.
#[must_use]
pub fn answer(words: &[&OsStr]) -> Option<io::Result<Answer>> {
    let told = |path: Option<PathBuf>| {
        Answer::Text(path.map(|path| path.into_os_string().into_vec()).unwrap_or_default())
    };
    let answer = match *words {
        [question, path, max] if question == "file" => {
            let max = max.to_str().and_then(|max| max.parse().ok()).unwrap_or(0);
            regular(Path::new(path), max)
                .and_then(at_hand)
                .map(|file| Answer::Descriptor(file.into()))
        }
        [question, path] if question == "is-file" => {
            Ok(told(Path::new(path).is_file().then(|| path.into())))
        }
        [question, path] if question == "is-no-socket" => {
            let found = fs::metadata(path).is_ok_and(|it| !it.file_type().is_socket());
            Ok(told(found.then(|| path.into())))
        }
        [question, path] if question == "directory" => Ok(told(resolved(Path::new(path)))),
        [question, name, path] if question == "program" => found(name, path).map(told),
        [question, path] if question == "socket" => {
            UnixStream::connect(Path::new(path)).map(|stream| Answer::Descriptor(stream.into()))
        }
        _ => return None,
    };
    Some(answer)
}

/// Whether a path begins where the kernel's own file systems are.
fn is_kernels(path: &Path) -> bool {
    path.starts_with("/proc") || path.starts_with("/dev")
}

fn regular(path: &Path, max: u64) -> io::Result<File> {
    let not_regular = || io::Error::other("it is not a regular file");
    // To open a device can be to act on it.
    if !fs::metadata(path)?.is_file() {
        return Err(not_regular());
    }
    // Nor does it wait for a FIFO that was put there just now.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(not_regular());
    }
    if about.len() > max {
        return Err(io::Error::other(format!("it has more than {max} bytes")));
    }
    Ok(file)
}

/// The file itself, or a copy of what a program answers for: it may answer once and not again.
fn at_hand(file: File) -> io::Result<File> {
    if has_a_program(&file)? { copied(file, MAX_COPIED) } else { Ok(file) }
}

/// A copy of a file of at most so many bytes: it may have another size than it says.
fn copied(mut file: File, most: u64) -> io::Result<File> {
    let mut copied = tempfile::tempfile()?;
    if copy(&mut file, &mut copied, most + 1)? > most {
        return Err(io::Error::other(format!(
            "it has more than {most} bytes, on a file system that a program answers for"
        )));
    }
    copied.rewind()?;
    Ok(copied)
}

/// A directory's path without links and dots; `None` if there is none.
#[must_use]
pub fn resolved(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|path| path.is_dir())
}

/// Finds a program as execvp(3) does, so that a mistake is told before anything starts.
fn found(name: &OsStr, path: &OsStr) -> io::Result<Option<PathBuf>> {
    if name.as_bytes().contains(&b'/') {
        let about = fs::metadata(name)?;
        if about.is_dir() {
            return Err(io::Error::other("it is a directory"));
        }
        if about.permissions().mode() & 0o111 == 0 {
            return Err(io::Error::other("it is not executable (chmod +x makes it so)"));
        }
        return Ok(Some(name.into()));
    }
    let is_program = |file: &PathBuf| {
        fs::metadata(file)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    Ok(env::split_paths(path).map(|directory| directory.join(name)).find(is_program))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// The text of an answer.
    fn told(words: &[&str]) -> io::Result<String> {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        match answer(&words).expect("a question that is known")? {
            Answer::Text(text) => Ok(String::from_utf8(text).unwrap()),
            Answer::Descriptor(opened) => io::read_to_string(File::from(opened)),
        }
    }

    fn refused(words: &[&str]) -> String {
        told(words).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_if_it_is_a_regular_one_of_so_many_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "text").unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(told(&["file", path, "4"]).unwrap(), "text");
        assert_eq!(refused(&["file", path, "3"]), "it has more than 3 bytes");
        for other in ["/dev/zero", "/"] {
            assert_eq!(refused(&["file", other, "4"]), "it is not a regular file");
        }
        assert!(refused(&["file", "/no/such", "4"]).contains("No such file"));
        assert_eq!(told(&["is-file", path]).unwrap(), path);
        assert_eq!(told(&["is-file", "/"]).unwrap(), "");
    }

    #[test]
    fn what_is_at_a_path_is_a_socket_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        for (path, is_told) in [
            (path.to_str().unwrap(), false),
            ("/no/such", false),
            ("/etc/passwd", true),
            ("/", true),
            ("/dev/null", true),
        ] {
            assert_eq!(!told(&["is-no-socket", path]).unwrap().is_empty(), is_told, "{path}");
        }
    }

    #[test]
    fn what_is_at_hand_is_the_file_itself() {
        let mut file = at_hand(tempfile::tempfile().unwrap()).unwrap();
        let mut text = String::new();
        assert_eq!(file.read_to_string(&mut text).unwrap(), 0);
    }

    #[test]
    fn of_a_file_that_has_no_end_no_more_is_copied_than_may_be() {
        let copy_of = |path: &str| copied(File::open(path).unwrap(), 5);
        assert_eq!(io::read_to_string(copy_of("/dev/null").unwrap()).unwrap(), "");
        let refused = copy_of("/dev/zero").unwrap_err().to_string();
        assert!(refused.starts_with("it has more than 5 bytes, on a file system"), "{refused}");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"12345").unwrap();
        file.rewind().unwrap();
        assert_eq!(io::read_to_string(copied(file, 5).unwrap()).unwrap(), "12345");
    }

    #[test]
    fn a_directory_is_told_without_links_and_dots() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        fs::create_dir(top.join("a")).unwrap();
        std::os::unix::fs::symlink("a", top.join("link")).unwrap();
        let path = |rest: &str| format!("{}/{rest}", top.display());
        assert_eq!(told(&["directory", &path("a/../link/.")]).unwrap(), path("a"));
        assert_eq!(told(&["directory", &path("no")]).unwrap(), "");
        assert_eq!(told(&["directory", "/etc/passwd"]).unwrap(), "");
    }

    #[test]
    fn a_program_is_found_as_execvp_finds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sh");
        fs::write(&path, "").unwrap();
        let path = format!("{}:/usr/bin:/bin", directory.path().display());
        let found = told(&["program", "sh", &path]).unwrap();
        assert!(["/usr/bin/sh", "/bin/sh"].contains(&found.as_str()), "{found}");
        assert_eq!(told(&["program", "/bin/sh", ""]).unwrap(), "/bin/sh");
        assert_eq!(told(&["program", "no-such-program", &path]).unwrap(), "");
        assert!(refused(&["program", "/no/such", &path]).contains("No such file"));
        assert_eq!(refused(&["program", "/", &path]), "it is a directory");
        assert!(refused(&["program", "/etc/passwd", &path]).contains("chmod +x"));
    }

    #[test]
    fn another_question_is_not_answered() {
        assert!(answer(&[OsStr::new("other"), OsStr::new("/")]).is_none());
        assert!(answer(&[]).is_none());
    }
}
