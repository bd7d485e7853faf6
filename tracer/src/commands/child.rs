//! The command that `run` starts, as systemd would start a service.

use std::{
    ffi::{CString, OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    libc,
    sys::{
        prctl,
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal as NixSignal, sigaction},
    },
    unistd::{Pid, User, initgroups, setgid, setsid, setuid},
};
use sigready::model::signal::Signal;
use tokio::{process::Child as TokioChild, time::timeout};

use super::{fault::Fault, notify_socket::NotifySocket};

/// How long a command is given between SIGTERM and SIGKILL.
const STOP_TIME: Duration = Duration::from_secs(5);

/// A command that can be started: its program exists and may be executed.
pub struct Startable {
    program: PathBuf,
    arguments: Vec<OsString>,
    user: Option<User>,
}

impl Startable {
    /// Checks a command line and a user's name.
    pub fn check(command: &[OsString], user: Option<&str>) -> Result<Self, Fault> {
        let (name, arguments) =
            command.split_first().ok_or_else(|| Fault::usage("there is no command to run"))?;
        let user = user.map(find_user).transpose()?;
        Ok(Self { program: find_program(name)?, arguments: arguments.to_vec(), user })
    }

    /// The user it will run as, where that is another.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Starts it in a session of its own, with every signal at its default.
    pub fn start(&self, socket: Option<&NotifySocket>) -> Result<Child, Fault> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        // What is said to this process's own manager is not the command's business.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        if let Some(socket) = socket {
            command.env("NOTIFY_SOCKET", socket.path());
        }
        let user = self.user.clone();
        let user_name = user.as_ref().map(|user| CString::new(user.name.as_bytes())).transpose();
        let user_name = user_name.context("the user's name holds a zero byte")?;
        if let Some(user) = &user {
            command.env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.dir);
        }
        let prepare = move || prepare(user.as_ref().zip(user_name.as_deref()));
        // SAFETY: `prepare` makes system calls only; it neither allocates nor locks
        // (initgroups reads /etc/group, in a process that had one thread when it forked).
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, prepare) };
        let child = tokio::process::Command::from(command).spawn().map_err(|error| {
            let sentence = format!("cannot run {}: {error}", self.program.display());
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOEXEC) => Fault::usage(format_args!(
                    "{sentence} (a script needs a first line such as #!/bin/sh)"
                )),
                Some(Errno::ENOENT) => Fault::usage(format_args!(
                    "{sentence} (the file is there: its interpreter is missing)"
                )),
                Some(Errno::EACCES) => Fault::usage(sentence),
                _ => Fault::Failed(anyhow::Error::new(error).context(sentence)),
            }
        })?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        Ok(Child { pid: pid.context("the command has no process id")?, child })
    }
}

/// What happens in the child before its exec.
fn prepare(user: Option<(&User, &std::ffi::CStr)>) -> io::Result<()> {
    setsid()?;
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in NixSignal::iterator() {
        // SAFETY: no handler is installed, only the default action. KILL and STOP refuse.
        let _ = unsafe { sigaction(signal, &default) };
    }
    SigSet::empty().thread_set_mask()?;
    if let Some((user, name)) = user {
        initgroups(name, user.gid)?;
        setgid(user.gid)?;
        setuid(user.uid)?;
    }
    // Last: a change of credentials takes it back (prctl(2)). If this tool is killed
    // and can't say a word, the command is told to stop rather than left behind.
    prctl::set_pdeathsig(NixSignal::SIGTERM)?;
    Ok(())
}

fn find_user(name: &str) -> Result<User, Fault> {
    User::from_name(name)
        .with_context(|| format!("cannot look up user '{name}'"))?
        .ok_or_else(|| Fault::usage(format_args!("there is no user '{name}' on this host")))
}

/// Finds a program as execvp(3) does, so that a mistake is told before anything starts.
fn find_program(name: &OsStr) -> Result<PathBuf, Fault> {
    let shown = Path::new(name).display();
    if name.as_bytes().contains(&b'/') {
        return match std::fs::metadata(name) {
            Err(error) => Err(Fault::usage(format_args!("cannot run {shown}: {error}"))),
            Ok(found) if found.is_dir() => {
                Err(Fault::usage(format_args!("cannot run {shown}: it is a directory")))
            }
            Ok(found) if found.permissions().mode() & 0o111 == 0 => Err(Fault::usage(
                format_args!("cannot run {shown}: it is not executable (chmod +x makes it so)"),
            )),
            Ok(_) => Ok(PathBuf::from(name)),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| {
            std::fs::metadata(file)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| {
            Fault::usage(format_args!(
                "cannot run '{shown}': there is no such program in PATH (give its full path?)"
            ))
        })
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

    /// Asks it to stop, and makes it stop if it takes longer than [`STOP_TIME`].
    /// Tells whether it had to be killed.
    pub async fn stop(&mut self) -> Result<bool> {
        self.send(Signal::TERM)?;
        if let Ok(ended) = timeout(STOP_TIME, self.wait()).await {
            return ended.map(|_| false);
        }
        self.send(Signal::KILL)?;
        self.wait().await.map(|_| true)
    }
}
