//! The command that `run` starts, as systemd would start a service.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    fs, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{self, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    libc,
    sys::{
        prctl,
        signal::{SigSet, Signal as NixSignal},
    },
    unistd::{Gid, Pid, Uid, User, getgrouplist, getppid, setgid, setgroups, setsid, setuid},
};
use tokio::{process::Child as TokioChild, time::timeout};
use tracer_common::signal::MAX_SIGNAL;

use super::BadRequest;
use crate::{
    host::{named, own_signals},
    model::{signal::Signal, text::Outside},
};

/// How long a command is given between SIGTERM and SIGKILL.
const STOP_TIME: Duration = Duration::from_secs(5);
/// How long it may take to end by SIGKILL.
const KILL_TIME: Duration = Duration::from_secs(2);
/// systemd's PATH for services (systemd.exec(5), "Environment Variables in Spawned
/// Processes"), with /sbin and /bin, as it has on systems where those are directories of
/// their own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The highest descriptor looked for where /proc can't be read.
const DESCRIPTORS: i32 = 1024;

/// A command that can be started: its program exists and may be executed.
pub struct Startable {
    program: PathBuf,
    arguments: Vec<OsString>,
    user: Option<User>,
}

/// The standard streams of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Those of this process.
    Ours,
    /// This process's stderr alone.
    Stderr,
    /// None at all.
    None,
}

/// What a process takes on to be another user's.
struct Credentials {
    user: Uid,
    group: Gid,
    groups: Vec<Gid>,
}

impl Startable {
    /// Checks a command line and a user's name.
    pub fn check(command: &[OsString], user: Option<&str>) -> Result<Self> {
        let (name, arguments) =
            command.split_first().ok_or_else(|| BadRequest::new("there is no command to run"))?;
        let user = user.map(find_user).transpose()?;
        Ok(Self { program: find_program(name)?, arguments: arguments.to_vec(), user })
    }

    /// Starts it in a session of its own, with every signal at its default and no ambient
    /// capability; as another user, with nothing open but its standard streams and with
    /// systemd's environment. `socket` is where it is to say READY=1.
    pub fn start(&self, socket: Option<&Path>, streams: Streams) -> Result<Child> {
        self.start_in(socket, streams, None)
    }

    /// The same, in a cgroup where one is given: by the file that it is joined through.
    pub fn start_in(
        &self,
        socket: Option<&Path>,
        streams: Streams,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        if streams != Streams::Ours {
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        if streams == Streams::None {
            command.stderr(Stdio::null());
        }
        // What is said to this process's own manager is not the command's business.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        let mut credentials = None;
        if let Some(user) = &self.user {
            command.env_clear().envs(environment(user, env::vars_os()));
            credentials = Some(Credentials::of(user)?);
        }
        let closed = descriptors(self.user.is_some());
        if let Some(socket) = socket {
            command.env("NOTIFY_SOCKET", socket);
        }
        let tracer = process::id();
        let cgroup = cgroup.map(|file| file.as_raw_fd());
        let prepare = move || {
            if let Some(file) = cgroup {
                join(file)?;
            }
            prepare(tracer, credentials.as_ref(), &closed)
        };
        // SAFETY: `prepare` makes system calls only; it neither allocates nor locks.
        unsafe { command.pre_exec(prepare) };
        let child = tokio::process::Command::from(command).spawn().map_err(|error| {
            let sentence = format!("cannot run {}: {error}", Outside::path(&self.program));
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOEXEC) => anyhow::Error::new(BadRequest::new(format_args!(
                    "{sentence} (a script needs a first line such as #!/bin/sh)"
                ))),
                Some(Errno::ENOENT) => anyhow::Error::new(BadRequest::new(format_args!(
                    "{sentence} (the file is there: its interpreter is missing)"
                ))),
                Some(Errno::EACCES) => anyhow::Error::new(BadRequest::new(sentence)),
                _ => anyhow::Error::new(error)
                    .context(format!("cannot run {}", Outside::path(&self.program))),
            }
        })?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        Ok(Child { pid: pid.context("the command has no process id")?, child })
    }
}

impl Credentials {
    fn of(user: &User) -> Result<Self> {
        let name = CString::new(user.name.as_bytes());
        let name = name.context("the user's name holds a zero byte")?;
        let groups = getgrouplist(&name, user.gid)
            .with_context(|| format!("cannot look up the groups of user {}", user.name))?;
        Ok(Self { user: user.uid, group: user.gid, groups })
    }
}

/// The environment that systemd gives a service with User=: of the caller's, the locale alone.
fn environment(
    user: &User,
    ours: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let is_locale = |name: &OsStr| {
        let name = name.as_bytes();
        name == b"LANG" || name == b"LANGUAGE" || name.starts_with(b"LC_")
    };
    let locale = ours.filter(|(name, _)| is_locale(name));
    let theirs: [(&str, &OsStr); 5] = [
        ("PATH", OsStr::new(PATH)),
        ("HOME", user.dir.as_os_str()),
        ("LOGNAME", OsStr::new(&user.name)),
        ("USER", OsStr::new(&user.name)),
        ("SHELL", user.shell.as_os_str()),
    ];
    let theirs = theirs.into_iter().filter(|(_, value)| !value.is_empty());
    locale.chain(theirs.map(|(name, value)| (name.into(), value.to_owned()))).collect()
}

/// The descriptors besides the standard streams that the command does not inherit: those that an
/// exec would close, or `all`. They are closed before it: an exec may wait for a file system that
/// never answers, and is not to keep what is attached then.
fn descriptors(all: bool) -> Vec<i32> {
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let listed: Vec<i32> = match fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries.filter_map(number).collect(),
        Err(_) => (0..DESCRIPTORS).collect(),
    };
    let is_closed = |number: &i32| {
        // SAFETY: it only reads the flags of a descriptor; one that is gone has none.
        let flags = unsafe { libc::fcntl(*number, libc::F_GETFD) };
        *number > libc::STDERR_FILENO && flags >= 0 && (all || flags & libc::FD_CLOEXEC != 0)
    };
    listed.into_iter().filter(is_closed).collect()
}

/// Puts this process into a cgroup, by its `cgroup.procs`. A system call alone, for a new process.
pub fn join(file: i32) -> io::Result<()> {
    // SAFETY: it reads one byte of a constant. 0 is who writes it (cgroups(7)).
    let written = unsafe { libc::write(file, c"0".as_ptr().cast(), 1) };
    if written == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What happens in the child of `tracer` before its exec.
fn prepare(tracer: u32, credentials: Option<&Credentials>, closed: &[i32]) -> io::Result<()> {
    setsid()?;
    (1..=MAX_SIGNAL).for_each(own_signals::set_default);
    SigSet::empty().thread_set_mask()?;
    for descriptor in closed {
        // SAFETY: what owned it is another process's now, or is gone with the exec.
        unsafe { libc::close(*descriptor) };
    }
    if let Some(Credentials { user, group, groups }) = credentials {
        setgroups(groups)?;
        setgid(*group)?;
        setuid(*user)?;
    }
    // SAFETY: changes this thread's ambient set alone. Kernels before 4.3 have none.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    // Last: a change of credentials takes it back (prctl(2)). If this tool is killed
    // and can't say a word, the command is told to stop rather than left behind.
    prctl::set_pdeathsig(NixSignal::SIGTERM)?;
    // It may have been killed before that: then nothing is to begin.
    if getppid().as_raw().cast_unsigned() != tracer {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe));
    }
    Ok(())
}

fn find_user(name: &str) -> Result<User> {
    // A zero byte ends a name for libc.
    let found = if name.contains('\0') { None } else { User::from_name(name)? };
    Ok(found.ok_or_else(|| {
        BadRequest::new(format_args!("there is no user '{}' on this host", Outside::new(name)))
    })?)
}

/// Finds a program, so that a mistake is told before anything starts.
fn find_program(name: &OsStr) -> Result<PathBuf> {
    let shown = Outside::path(Path::new(name));
    match named::program(name) {
        Ok(Some(program)) => Ok(program),
        Ok(None) => Err(BadRequest::new(format_args!(
            "cannot run '{shown}': there is no such program in PATH (give its full path?)"
        ))
        .into()),
        Err(error) => Err(BadRequest::unless_short(format_args!("cannot run {shown}"), error)),
    }
}

/// How a command was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It ended by SIGTERM, or by itself.
    ByTerm,
    /// It did not in time, and was killed.
    ByKill,
    /// It is still there.
    Not,
}

/// The running command.
pub struct Child {
    pid: Pid,
    child: TokioChild,
}

impl Child {
    /// Its process id, good until it has been waited for.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Waits for its end. May be called again afterwards.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.context("cannot wait for the command")
    }

    /// Whether it has been waited for.
    pub fn has_ended(&self) -> bool {
        self.child.id().is_none()
    }

    /// Sends it a signal, unless it has ended.
    pub fn send(&self, signal: Signal) -> Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        // nix's kill(2) knows no real-time signals.
        // SAFETY: a system call on plain numbers; the pid is not reused before `wait`.
        let result = unsafe { libc::kill(self.pid.as_raw(), signal.number().cast_signed()) };
        match Errno::result(result) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot send {signal} to the command"))
            }
        }
    }

    /// Waits for its end after it was sent SIGTERM, and kills it if that takes longer than
    /// some seconds. One that waits for a file system or a device may not end by that either.
    pub async fn stop(&mut self) -> Result<Stopped> {
        stop(self, STOP_TIME).await
    }

    /// The same, where it has so long to end before it is killed.
    pub async fn stop_within(&mut self, time: Duration) -> Result<Stopped> {
        stop(self, time).await
    }
}

/// What can be waited for, and killed.
trait Mortal {
    async fn end(&mut self) -> Result<()>;
    fn kill(&mut self) -> Result<()>;
}

impl Mortal for Child {
    async fn end(&mut self) -> Result<()> {
        self.wait().await.map(drop)
    }

    fn kill(&mut self) -> Result<()> {
        self.send(Signal::KILL)
    }
}

async fn stop(mortal: &mut impl Mortal, time: Duration) -> Result<Stopped> {
    if let Ok(ended) = timeout(time, mortal.end()).await {
        return ended.map(|()| Stopped::ByTerm);
    }
    mortal.kill()?;
    match timeout(KILL_TIME, mortal.end()).await {
        Ok(ended) => ended.map(|()| Stopped::ByKill),
        Err(_) => Ok(Stopped::Not),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            name: "ada".to_owned(),
            passwd: CString::default(),
            uid: Uid::from_raw(1000),
            gid: Gid::from_raw(1000),
            gecos: CString::default(),
            dir: "/home/ada".into(),
            shell: "/bin/bash".into(),
        }
    }

    #[test]
    fn another_user_gets_systemds_environment_and_the_locale() {
        let ours = [
            "SECRET=1",
            "LANG=de_DE.UTF-8",
            "LC_TIME=C",
            "HOME=/root",
            "PATH=/opt",
            "LD_PRELOAD=x",
        ];
        let ours = ours.map(|it| it.split_once('=').unwrap());
        let ours = ours.into_iter().map(|(name, value)| (name.into(), value.into()));
        let mut given = environment(&user(), ours);
        given.sort();
        let names: Vec<_> = given.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["HOME", "LANG", "LC_TIME", "LOGNAME", "PATH", "SHELL", "USER"]);
        assert_eq!((given[0].1.to_str(), given[4].1.to_str()), (Some("/home/ada"), Some(PATH)));
    }

    #[test]
    fn a_user_that_is_not_there_is_a_bad_request() {
        let refused = find_user("no such user").unwrap_err();
        assert!(refused.is::<BadRequest>(), "{refused}");
    }

    /// One that ends so long after it was told to, and after it was killed, if ever.
    struct Slow {
        by_term: Option<Duration>,
        by_kill: Option<Duration>,
        killed: bool,
    }

    impl Mortal for Slow {
        async fn end(&mut self) -> Result<()> {
            match if self.killed { self.by_kill } else { self.by_term } {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
            Ok(())
        }

        fn kill(&mut self) -> Result<()> {
            self.killed = true;
            Ok(())
        }
    }

    #[test]
    fn a_command_has_five_seconds_to_end_and_two_once_it_is_killed() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        // Time goes on only where nothing else can.
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        let seconds = Duration::from_secs;
        for (by_term, by_kill, expected, took) in [
            (Some(4), None, Stopped::ByTerm, 4),
            (Some(6), Some(1), Stopped::ByKill, 6),
            (None, Some(3), Stopped::Not, 7),
            (None, None, Stopped::Not, 7),
        ] {
            let (by_term, by_kill) = (by_term.map(seconds), by_kill.map(seconds));
            let mut slow = Slow { by_term, by_kill, killed: false };
            runtime.block_on(async {
                let begun = tokio::time::Instant::now();
                assert_eq!(stop(&mut slow, STOP_TIME).await.unwrap(), expected);
                assert_eq!(begun.elapsed(), seconds(took), "{expected:?}");
            });
        }
    }
}
