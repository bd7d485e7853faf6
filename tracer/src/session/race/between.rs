//! What is done between two runs: files and whatever else the command leaves are put back.

use std::{
    os::fd::{AsRawFd as _, BorrowedFd},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::unistd::setsid;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::guard::Guard;
use crate::{
    model::text::Outside,
    session::{child::join, interrupts::Interrupts, leavings::end_all_of},
};

/// How long what was killed has to be gone.
const GONE: Duration = Duration::from_secs(1);

/// A command line of the shell's.
#[derive(Clone, Debug)]
pub struct Between {
    /// It.
    pub line: String,
    /// The longest that it may take.
    pub limit: Duration,
}

impl Between {
    /// Runs it, in a session of its own and in the cgroup behind `door`, if there is one. The guard
    /// knows of it, and ends it should this process be killed. What it leaves running is killed with
    /// the next run. An interrupt ends it, and is left for the next run to take, which ends then.
    ///
    /// # Errors
    ///
    /// It fails, or takes too long: the next run would not be what the one before was.
    pub async fn run(
        &self,
        interrupts: &Interrupts,
        guard: &mut Guard,
        door: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let mut child = self.start(door)?;
        guard.runs(child.id())?;
        let done = self.end_of(&mut child, interrupts).await;
        guard.runs(None)?;
        done
    }

    fn start(&self, door: Option<BorrowedFd<'_>>) -> Result<Child> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &self.line]).stdin(Stdio::null()).stdout(Stdio::null());
        let door = door.map(|door| door.as_raw_fd());
        let apart = move || {
            setsid()?;
            door.map_or(Ok(()), join)
        };
        // SAFETY: `apart` makes system calls only; it neither allocates nor locks.
        unsafe { shell.pre_exec(apart) };
        shell.kill_on_drop(true).spawn().context("cannot run /bin/sh")
    }

    /// Waits for its end, and makes it end where that is due.
    async fn end_of(&self, child: &mut Child, interrupts: &Interrupts) -> Result<()> {
        let line = Outside::new(&self.line);
        let ended = tokio::select! {
            ended = timeout(self.limit, child.wait()) => ended,
            () = interrupts.came() => {
                end(child).await;
                return Ok(());
            }
        };
        let Ok(ended) = ended else {
            end(child).await;
            bail!("--between '{line}' was not done in time");
        };
        let status = ended.context("cannot wait for the command of --between")?;
        if !status.success() {
            bail!("--between '{line}' failed: {status}");
        }
        Ok(())
    }
}

/// Kills the shell and what it started. One that waits for a file system or a device is left.
async fn end(shell: &mut Child) {
    if let Some(pid) = shell.id() {
        end_all_of(pid);
    }
    let _ = timeout(GONE, shell.wait()).await;
}
