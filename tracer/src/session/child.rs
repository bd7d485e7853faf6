//! The command that `run` starts, as systemd would start a service.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    ptr,
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
    unistd::{Gid, Pid, Uid, User, getgrouplist, setgid, setgroups, setsid, setuid},
};
use tokio::{process::Child as TokioChild, time::timeout};
use tracer_common::signal::MAX_SIGNAL;

use super::BadRequest;
use crate::model::signal::Signal;

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
    pub fn start(&self, socket: Option<&Path>) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        // What is said to this process's own manager is not the command's business.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        let mut credentials = None;
        let mut open = Vec::new();
        if let Some(user) = &self.user {
            command.env_clear().envs(environment(user, env::vars_os()));
            credentials = Some(Credentials::of(user)?);
            open = descriptors();
        }
        if let Some(socket) = socket {
            command.env("NOTIFY_SOCKET", socket);
        }
        let prepare = move || prepare(credentials.as_ref(), &open);
        // SAFETY: `prepare` makes system calls only; it neither allocates nor locks.
        unsafe { command.pre_exec(prepare) };
        let child = tokio::process::Command::from(command).spawn().map_err(|error| {
            let sentence = format!("cannot run {}: {error}", self.program.display());
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOEXEC) => anyhow::Error::new(BadRequest::new(format_args!(
                    "{sentence} (a script needs a first line such as #!/bin/sh)"
                ))),
                Some(Errno::ENOENT) => anyhow::Error::new(BadRequest::new(format_args!(
                    "{sentence} (the file is there: its interpreter is missing)"
                ))),
                Some(Errno::EACCES) => anyhow::Error::new(BadRequest::new(sentence)),
                _ => anyhow::Error::new(error)
                    .context(format!("cannot run {}", self.program.display())),
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

/// The descriptors that are open besides the standard streams.
fn descriptors() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return (libc::STDERR_FILENO + 1..DESCRIPTORS).collect();
    };
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    entries.filter_map(number).filter(|number| *number > libc::STDERR_FILENO).collect()
}

/// What happens in the child before its exec.
fn prepare(credentials: Option<&Credentials>, open: &[i32]) -> io::Result<()> {
    setsid()?;
    for signal in 1..=MAX_SIGNAL {
        // The kernel's own `struct sigaction`, all zero: the default action (`SIG_DFL`). libc
        // has no way to those it keeps for itself.
        let default = [0_u64; 4];
        // SAFETY: the kernel reads a struct of that size, and sets no handler. KILL and STOP
        // refuse.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null::<u64>(),
                size_of::<u64>(),
            );
        }
    }
    SigSet::empty().thread_set_mask()?;
    for descriptor in open {
        // SAFETY: a flag of a descriptor; one that is gone refuses.
        unsafe { libc::fcntl(*descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
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
    Ok(())
}

fn find_user(name: &str) -> Result<User> {
    // A zero byte ends a name for libc.
    let found = if name.contains('\0') { None } else { User::from_name(name)? };
    Ok(found
        .ok_or_else(|| BadRequest::new(format_args!("there is no user '{name}' on this host")))?)
}

/// Finds a program as execvp(3) does, so that a mistake is told before anything starts.
fn find_program(name: &OsStr) -> Result<PathBuf, BadRequest> {
    let shown = Path::new(name).display();
    if name.as_bytes().contains(&b'/') {
        return match fs::metadata(name) {
            Err(error) => Err(BadRequest::new(format_args!("cannot run {shown}: {error}"))),
            Ok(found) if found.is_dir() => {
                Err(BadRequest::new(format_args!("cannot run {shown}: it is a directory")))
            }
            Ok(found) if found.permissions().mode() & 0o111 == 0 => Err(BadRequest::new(
                format_args!("cannot run {shown}: it is not executable (chmod +x makes it so)"),
            )),
            Ok(_) => Ok(PathBuf::from(name)),
        };
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| {
            fs::metadata(file)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| {
            BadRequest::new(format_args!(
                "cannot run '{shown}': there is no such program in PATH (give its full path?)"
            ))
        })
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
        if let Ok(ended) = timeout(STOP_TIME, self.wait()).await {
            return ended.map(|_| Stopped::ByTerm);
        }
        self.send(Signal::KILL)?;
        match timeout(KILL_TIME, self.wait()).await {
            Ok(ended) => ended.map(|_| Stopped::ByKill),
            Err(_) => Ok(Stopped::Not),
        }
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
    fn a_program_or_user_that_is_not_there_is_a_bad_request() {
        for name in ["/no/such/program", "/", "/etc/passwd", "no-such-program"] {
            let refused = find_program(OsStr::new(name)).unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
        let refused = find_user("no such user").unwrap_err();
        assert!(refused.is::<BadRequest>(), "{refused}");
    }
}
