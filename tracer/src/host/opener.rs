//! Opens and reads what is below roots that are not the host's own, in a process of its own.
//!
//! Whoever has such a root may have mounted a file system there that never answers. A thread
//! that waits for one can't be ended, not even by SIGKILL once the file system has taken the
//! request (`request_wait_answer` in fs/fuse/dev.c), and a process is not gone before its last
//! thread is. So it is this program, executed anew, that opens and reads; it hands over what it
//! got, and is left behind if it doesn't come back in time.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, IoSlice, IoSliceMut, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::{fs::MetadataExt as _, net::UnixStream as StdUnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use nix::sys::{
    prctl,
    signal::Signal,
    socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::{
    root::Root,
    unit_files::{Found, UnitFiles},
    user::User,
};
use crate::model::{text::Outside, unit::UnitFacts};

/// The first argument of the executed program. No command of the command line has this name.
const MARK: &str = "--open-below-another-root";
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest reply that is read, bytes: more than the settings of any unit.
const MAX_REPLY: usize = 64 * 1_024;
/// How long one that is done or killed takes to end, unless it is to be left behind.
const ENDING: Duration = Duration::from_millis(100);
/// How often it is looked whether there is an answer. To start the process takes longer.
const STEP: Duration = Duration::from_millis(1);
/// Processes that may be left behind. With more, nothing is opened until one has ended.
const MAX_LEFT: usize = 64;
/// The same below one root, for one user.
const MAX_LEFT_OF_ONE: usize = 2;

/// What a question is about: a root, and a user where it is about one of theirs.
type About = (PathBuf, Option<u32>);

/// What the files of a unit say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitFile {
    /// Its settings, and its name if that it was asked by is an alias.
    Unit {
        /// Its own name.
        name: String,
        /// Its settings.
        facts: Box<UnitFacts>,
    },
    /// It is masked.
    Masked,
    /// There is no such file.
    Nothing,
}

impl From<Found> for UnitFile {
    fn from(found: Found) -> Self {
        match found {
            Found::Unit { name, facts, .. } => Self::Unit { name, facts },
            Found::Masked => Self::Masked,
            Found::Nothing => Self::Nothing,
        }
    }
}

/// Connects to a socket by its path below a root: the system's or a user's.
pub async fn connect(root: &Path, user: Option<u32>, socket: &Path) -> io::Result<StdUnixStream> {
    let words = ["connect".as_ref(), root.as_ref(), socket.as_ref()];
    let (_, descriptors) = ask((root.to_owned(), user), &words).await?;
    let Some(descriptor) = descriptors.into_iter().next() else {
        return Err(io::Error::other("the connection was not handed over"));
    };
    Ok(StdUnixStream::from(descriptor))
}

/// Reads a unit's files: the system's below a root, or those of a user of this host.
pub async fn unit(root: &Path, user: Option<u32>, name: &str) -> io::Result<UnitFile> {
    let uid = user.map(|uid| uid.to_string()).unwrap_or_default();
    let words = ["unit".as_ref(), root.as_ref(), OsStr::new(&uid), OsStr::new(name)];
    let (reply, _) = ask((root.to_owned(), user), &words).await?;
    Ok(serde_json::from_slice(&reply)?)
}

/// Whether two paths lead to the same directory.
pub async fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let words = ["same".as_ref(), one.as_ref(), other.as_ref()];
    let (reply, _) = ask((other.to_owned(), None), &words).await?;
    Ok(serde_json::from_slice(&reply)?)
}

/// Waits for one of the above. Not for where an event loop must not wait.
pub fn wait_for<T: Send>(opening: impl Future<Output = io::Result<T>> + Send) -> io::Result<T> {
    // What is above needs its timer alone.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    // An event loop can't be run on a thread that has one already.
    thread::scope(|scope| scope.spawn(|| runtime.block_on(opening)).join())
        .unwrap_or_else(|_| Err(io::Error::other("the thread that waited for it has failed")))
}

/// Has a question answered by this program, executed anew.
async fn ask(about: About, words: &[&OsStr]) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    let opener = Opener::start(about, words, theirs.into())?;
    let reading = async {
        let (mut reply, mut descriptors) = (Vec::new(), Vec::new());
        let mut buffer = [0; 4_096];
        loop {
            let (length, more) = match receive(&ours, &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sleep(STEP).await;
                    continue;
                }
                received => received?,
            };
            descriptors.extend(more);
            reply.extend_from_slice(&buffer[..length]);
            if length == 0 {
                return Ok((reply, descriptors));
            }
            if reply.len() > MAX_REPLY || descriptors.len() > 1 {
                return Err(io::Error::other("there is too much of it"));
            }
        }
    };
    let read = timeout(PATIENCE, reading).await;
    opener.end().await;
    let Ok(read) = read else {
        let late = format!("its file system did not answer within {} s", PATIENCE.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, late));
    };
    let (reply, descriptors) = read?;
    match reply.split_first() {
        Some((b'+', reply)) => Ok((reply.to_vec(), descriptors)),
        Some((b'-', error)) => Err(io::Error::other(Outside::new(&String::from_utf8_lossy(error)))),
        _ => Err(io::Error::other("the process that was to open it has failed")),
    }
}

/// Receives bytes, and the descriptors that come with them; no bytes at the end. It does not wait.
fn receive(stream: &StdUnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 2]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just put them into this process (unix(7)), and nobody else
            // has their numbers.
            descriptors
                .extend(received.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    Ok((message.bytes, descriptors))
}

/// A process that opens. Dropped, it is killed, and left behind if it does not end by that.
struct Opener(Option<(About, Child)>);

/// Those that were killed and have not ended.
static LEFT: Mutex<Vec<(About, Child)>> = Mutex::new(Vec::new());

impl Opener {
    fn start(about: About, words: &[&OsStr], reply: OwnedFd) -> io::Result<Self> {
        {
            let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
            left.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
            may_start(&about, left.iter().map(|(about, _)| about))?;
        }
        let child = Command::new("/proc/self/exe")
            .arg(MARK)
            .args(words)
            .env_clear()
            .current_dir("/")
            // Ctrl-C is for the one that waits.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(reply)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(Some((about, child))))
    }

    /// Ends it, and gives it some time for that.
    async fn end(mut self) {
        let ending = async {
            while let Some((_, child)) = &mut self.0 {
                let _ = child.kill();
                if !matches!(child.try_wait(), Ok(None)) {
                    self.0 = None;
                    return;
                }
                sleep(STEP).await;
            }
        };
        let _ = timeout(ENDING, ending).await;
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        if let Some((about, mut child)) = self.0.take() {
            let _ = child.kill();
            LEFT.lock().unwrap_or_else(PoisonError::into_inner).push((about, child));
        }
    }
}

/// Whether one more may be left behind. Nobody's file systems keep others' from being read.
fn may_start<'a>(about: &About, left: impl Iterator<Item = &'a About> + Clone) -> io::Result<()> {
    if left.clone().filter(|other| *other == about).count() >= MAX_LEFT_OF_ONE {
        return Err(io::Error::other("its file system did not answer before"));
    }
    if left.count() >= MAX_LEFT {
        return Err(io::Error::other(format!("{MAX_LEFT} file systems do not answer already")));
    }
    Ok(())
}

/// Answers, if this is the program executed anew. To be called before anything else.
#[must_use]
pub fn serve(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let words: Vec<OsString> = arguments.into_iter().skip(1).collect();
    let (mark, words) = words.split_first()?;
    if mark != MARK {
        return None;
    }
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let sent = match answer(words) {
        Ok(Answer::Connected(stream)) => hand_over(&stream),
        Ok(Answer::Json(json)) => io::stdout().write_all(&[b"+", &json[..]].concat()),
        Err(error) => io::stdout().write_all(format!("-{}", Outside::quoting(&error)).as_bytes()),
    };
    Some(if sent.and_then(|()| io::stdout().flush()).is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

enum Answer {
    Connected(StdUnixStream),
    Json(Vec<u8>),
}

fn answer(words: &[OsString]) -> io::Result<Answer> {
    let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
    match words[..] {
        [question, root, socket] if question == "connect" => {
            let reached = Root::open(Path::new(root))?.reach(Path::new(socket))?;
            Ok(Answer::Connected(StdUnixStream::connect(reached.path())?))
        }
        [question, root, user, name] if question == "unit" => {
            let files = match user.to_str().map(str::parse) {
                Some(Ok(uid)) => match User::numbered(uid) {
                    Some(user) => UnitFiles::of_user(&user)?,
                    None => return Err(io::Error::other(format!("there is no user {uid}"))),
                },
                _ => UnitFiles::of_system(Path::new(root))?,
            };
            let found = UnitFile::from(files.read(&name.to_string_lossy()));
            Ok(Answer::Json(serde_json::to_vec(&found)?))
        }
        [question, one, other] if question == "same" => {
            let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
            let same = (one.dev(), one.ino()) == (other.dev(), other.ino());
            Ok(Answer::Json(serde_json::to_vec(&same)?))
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn hand_over(stream: &StdUnixStream) -> io::Result<()> {
    let descriptors = [stream.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let sent = sendmsg::<()>(
        io::stdout().as_raw_fd(),
        &[IoSlice::new(b"+")],
        &rights,
        MsgFlags::empty(),
        None,
    );
    sent.map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_program_executed_anew_answers() {
        for arguments in [&["sigready"][..], &["sigready", "trace", MARK], &[]] {
            assert_eq!(serve(arguments.iter().map(OsString::from)), None);
        }
    }

    #[test]
    fn one_root_that_never_answers_does_not_keep_others_from_being_read() {
        let about = |root: usize| (PathBuf::from(format!("/proc/{root}/root")), None);
        let starts = |root, left: &[About]| may_start(&about(root), left.iter()).is_ok();
        let twice = vec![about(1); MAX_LEFT_OF_ONE];
        assert!(starts(1, &twice[1..]) && !starts(1, &twice) && starts(2, &twice));
        let of_user = (about(1).0, Some(7));
        assert!(may_start(&of_user, twice.iter()).is_ok());
        let many: Vec<About> = (0..MAX_LEFT).map(about).collect();
        assert!(starts(MAX_LEFT, &many[1..]) && !starts(MAX_LEFT, &many));
    }

    fn asked(words: &[&OsStr]) -> io::Result<Answer> {
        answer(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn two_paths_are_the_same_where_they_lead_to_one_directory() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        let same = |one: &Path, other: &Path| match asked(&[
            "same".as_ref(),
            one.as_ref(),
            other.as_ref(),
        ]) {
            Ok(Answer::Json(json)) => serde_json::from_slice::<bool>(&json).unwrap(),
            _ => panic!("no answer"),
        };
        assert!(same(directory.path(), &link));
        assert!(!same(directory.path(), Path::new("/")));
        let gone = ["same".as_ref(), OsStr::new("/"), directory.path().join("gone").as_ref()]
            .map(OsStr::to_owned);
        assert!(answer(&gone).is_err());
    }

    #[test]
    fn a_socket_is_connected_to_below_its_root_and_handed_over() {
        let directory = tempfile::tempdir().unwrap();
        let listener =
            std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
        let words = ["connect".as_ref(), directory.path().as_os_str(), "/socket".as_ref()];
        let Ok(Answer::Connected(mut stream)) = asked(&words) else { panic!("no connection") };
        stream.write_all(b"hello").unwrap();
        drop(stream);
        let (mut accepted, _) = listener.accept().unwrap();
        assert_eq!(io::read_to_string(&mut accepted).unwrap(), "hello");
    }

    #[test]
    fn a_question_that_is_none_and_a_user_that_is_none_are_refused() {
        for words in [&["other", "/", "7", "a.service"][..], &["other", "/", "/"], &["unit"], &[]] {
            let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
            assert!(asked(&words).is_err(), "{words:?}");
        }
        let unknown = asked(&["unit", "/", "4000000000", "a.service"].map(OsStr::new));
        assert!(unknown.is_err_and(|error| error.to_string().contains("no user 4000000000")));
    }

    #[test]
    fn descriptors_come_with_the_bytes_beside_them() {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        let sent = fs::File::open("/dev/null").unwrap();
        let descriptors = [sent.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let parts = [IoSlice::new(b"+abc")];
        sendmsg::<()>(theirs.as_raw_fd(), &parts, &rights, MsgFlags::empty(), None).unwrap();
        drop(theirs);
        let mut buffer = [0; 16];
        let (length, received) = receive(&ours, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], received.len()), (&b"+abc"[..], 1));
        assert!(fs::File::from(received.into_iter().next().unwrap()).metadata().is_ok());
        let (length, received) = receive(&ours, &mut buffer).unwrap();
        assert_eq!((length, received.len()), (0, 0));
    }

    #[test]
    fn what_files_say_is_handed_over_whole() {
        let directory = tempfile::tempdir().unwrap();
        let units = directory.path().join("etc/systemd/system");
        fs::create_dir_all(&units).unwrap();
        fs::write(units.join("a.service"), "[Service]\nType=notify\nExecStart=/bin/a\n").unwrap();
        std::os::unix::fs::symlink("/dev/null", units.join("m.service")).unwrap();
        let read = |name: &str| {
            let words = ["unit".into(), directory.path().into(), "".into(), name.into()];
            match answer(&words) {
                Ok(Answer::Json(json)) => serde_json::from_slice::<UnitFile>(&json).unwrap(),
                _ => panic!("no answer for {name}"),
            }
        };
        let UnitFile::Unit { name, facts } = read("a.service") else { panic!("no unit") };
        assert_eq!((name.as_str(), facts.is_notify()), ("a.service", true));
        assert_eq!(read("m.service"), UnitFile::Masked);
        assert_eq!(read("b.service"), UnitFile::Nothing);
    }
}
