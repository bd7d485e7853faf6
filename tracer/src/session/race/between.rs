//! What is done between two runs: files and whatever else the command leaves are put back.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    model::text::Outside,
    session::{interrupts::Interrupts, leavings::end_all_of},
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
    /// Runs it. What it leaves running is killed with the next run. An interrupt ends it, and is
    /// left for the next run to take, which ends then.
    ///
    /// # Errors
    ///
    /// It fails, or takes too long: the next run would not be what the one before was.
    pub async fn run(&self, interrupts: &Interrupts) -> Result<()> {
        let line = Outside::new(&self.line);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &self.line]).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = shell.kill_on_drop(true).spawn().context("cannot run /bin/sh")?;
        let ended = tokio::select! {
            ended = timeout(self.limit, child.wait()) => ended,
            () = interrupts.came() => {
                end(&mut child).await;
                return Ok(());
            }
        };
        let Ok(ended) = ended else {
            end(&mut child).await;
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
