//! Opens and reads, in a process of its own, what may be on a file system that never answers.
//!
//! Whoever has a root directory, or a directory that a path leads through, may have mounted a
//! file system there whose requests a program of theirs takes and never answers. A thread that
//! waits for one can't be ended, not even by SIGKILL once the file system has taken the request
//! (`request_wait_answer` in fs/fuse/dev.c), and a process is not gone before its last thread is.
//! So it is this program, executed anew, that opens and reads; it hands over what it got, and is
//! left behind if it doesn't come back in time.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::{net::UnixStream as StdUnixStream, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    prctl,
    signal::Signal,
    socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
    statfs::{FUSE_SUPER_MAGIC, fstatfs},
};
use tokio::time::{sleep, timeout};

use crate::model::text::Outside;

/// The first argument of the executed program. No command of the command line has this name.
const MARK: &str = "--open-elsewhere";
/// How long it may take, or each step of it.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// The longest reply that is read, bytes: more than the settings of any unit.
const MAX_REPLY: usize = 64 * 1_024;
/// How long one that is done or killed takes to end, unless it is to be left behind.
const ENDING: Duration = Duration::from_millis(100);
/// How often it is looked whether there is an answer. To start the process takes longer.
const STEP: Duration = Duration::from_millis(1);
/// Processes that may be left behind. With more, nothing is opened until one has ended.
const MAX_LEFT: usize = 64;
/// The same of one file system, as far as it is known which one it is.
const MAX_LEFT_OF_ONE: usize = 2;
/// How much of a file is copied in one step, bytes.
const COPIED: usize = 64 * 1_024;

/// What a question is about: a root or a path, and a user where it is about one of theirs.
pub type About = (PathBuf, Option<u32>);

/// What is asked.
pub struct Question<'a> {
    /// What it is about.
    pub about: About,
    /// Its name, and what it takes.
    pub words: &'a [&'a OsStr],
    /// What the process finds as its stdin.
    pub input: Option<File>,
    /// How long the answer, or each step to it, may take.
    pub patience: Duration,
}

impl<'a> Question<'a> {
    /// One that is answered soon, with nothing to read.
    #[must_use]
    pub fn new(about: About, words: &'a [&'a OsStr]) -> Self {
        Self { about, words, input: None, patience: PATIENCE }
    }
}

/// What the process hands over.
pub enum Answer {
    /// Something that it has opened or connected.
    Descriptor(OwnedFd),
    /// Some text.
    Text(Vec<u8>),
}

/// Answers a question, in that process; `None` for one of another kind.
pub type Answering = fn(&[&OsStr]) -> Option<io::Result<Answer>>;

/// Asks, and gives the text of the answer.
///
/// # Errors
///
/// What the process says, or that it did not answer in time ([`io::ErrorKind::TimedOut`]).
pub async fn text(question: Question<'_>) -> io::Result<Vec<u8>> {
    ask(question).await.map(|(text, _)| text)
}

/// Asks, and gives what was opened.
///
/// # Errors
///
/// The same.
pub async fn descriptor(question: Question<'_>) -> io::Result<OwnedFd> {
    let (_, descriptors) = ask(question).await?;
    let opened = descriptors.into_iter().next();
    opened.ok_or_else(|| io::Error::other("nothing was handed over"))
}

/// Waits for one of the above. Not for where an event loop must not wait.
pub fn wait_for<T: Send>(opening: impl Future<Output = io::Result<T>> + Send) -> io::Result<T> {
    // What is above needs its timer alone.
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build();
    // An event loop can neither be run nor dropped on a thread that has one already.
    thread::scope(|scope| scope.spawn(|| runtime()?.block_on(opening)).join())
        .unwrap_or_else(|_| Err(io::Error::other("the thread that waited for it has failed")))
}

/// Has a question answered by this program, executed anew.
async fn ask(question: Question<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    let patience = question.patience;
    let opener = Opener::start(question, theirs.into())?;
    let read = reply(&ours, patience).await;
    opener.end().await;
    let (reply, descriptors) = read?;
    match reply.split_first() {
        Some((b'+', reply)) => Ok((reply.to_vec(), descriptors)),
        Some((b'-', error)) => Err(io::Error::other(Outside::new(&String::from_utf8_lossy(error)))),
        _ => Err(io::Error::other("the process that was to open it has failed")),
    }
}

/// Reads a reply to its end: a point for each step that was done, and then the reply itself.
async fn reply(ours: &StdUnixStream, patience: Duration) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut reply, mut descriptors) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4_096];
    loop {
        let piece = async {
            loop {
                match receive(ours, &mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(STEP).await,
                    received => return received,
                }
            }
        };
        let Ok(piece) = timeout(patience, piece).await else {
            let seconds = patience.as_secs();
            return Err(silent(format!("its file system did not answer within {seconds} s")));
        };
        let (length, more) = piece?;
        if length == 0 {
            return Ok((reply, descriptors));
        }
        let steps = if reply.is_empty() {
            buffer[..length].iter().take_while(|byte| **byte == b'.').count()
        } else {
            0
        };
        descriptors.extend(more);
        reply.extend_from_slice(&buffer[steps..length]);
        if reply.len() > MAX_REPLY || descriptors.len() > 1 {
            return Err(io::Error::other("there is too much of it"));
        }
    }
}

fn silent(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why.into())
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
    fn start(question: Question, reply: OwnedFd) -> io::Result<Self> {
        {
            let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
            left.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
            may_start(&question.about, left.iter().map(|(about, _)| about))?;
        }
        let child = Command::new("/proc/self/exe")
            .arg(MARK)
            .args(question.words)
            .env_clear()
            // Ctrl-C is for the one that waits.
            .process_group(0)
            .stdin(question.input.map_or_else(Stdio::null, Stdio::from))
            .stdout(reply)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(Some((question.about, child))))
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
        return Err(silent("its file system did not answer before"));
    }
    if left.count() >= MAX_LEFT {
        return Err(silent(format!("{MAX_LEFT} file systems do not answer already")));
    }
    Ok(())
}

/// Answers, if this is the program executed anew: by the first that knows the question. To be
/// called before anything else.
#[must_use]
pub fn serve(
    arguments: impl IntoIterator<Item = OsString>,
    answering: &[Answering],
) -> Option<ExitCode> {
    let words: Vec<OsString> = arguments.into_iter().skip(1).collect();
    let (mark, words) = words.split_first()?;
    if mark != MARK {
        return None;
    }
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
    let answer = answering.iter().find_map(|answer| answer(&words));
    let sent = match answer.unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into())) {
        Ok(Answer::Descriptor(opened)) => hand_over(&opened),
        Ok(Answer::Text(text)) => io::stdout().write_all(&[b"+", &text[..]].concat()),
        Err(error) => io::stdout().write_all(format!("-{}", Outside::quoting(&error)).as_bytes()),
    };
    Some(if sent.and_then(|()| io::stdout().flush()).is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn hand_over(opened: &OwnedFd) -> io::Result<()> {
    let descriptors = [opened.as_raw_fd()];
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

/// Tells who waits that another step is done. In the process that opens alone.
pub fn goes_on() {
    // Who does not wait any more has killed this process.
    let _ = nix::unistd::write(io::stdout().as_fd(), b".");
}

/// Copies to the end, `most` bytes at most, and tells of each step. Gives how many there were.
///
/// # Errors
///
/// Those of reading and writing.
pub fn copy(from: &mut dyn Read, to: &mut dyn io::Write, most: u64) -> io::Result<u64> {
    let mut from = from.take(most);
    let mut piece = vec![0; COPIED];
    let mut copied = 0;
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(copied),
            Ok(length) => {
                to.write_all(&piece[..length])?;
                copied += length as u64;
                goes_on();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A file in memory with these contents, to be handed over: for what is longer than a reply.
///
/// # Errors
///
/// There is no memory for it.
pub fn in_memory(contents: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"sigready", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(contents)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

/// Whether a program answers for the file system that something is on (FUSE).
///
/// # Errors
///
/// It does not say.
pub fn has_a_program(opened: impl AsFd) -> io::Result<bool> {
    Ok(fstatfs(opened)?.filesystem_type() == FUSE_SUPER_MAGIC)
}

#[cfg(test)]
mod tests;
