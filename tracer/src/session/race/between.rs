//! What is done between two runs: files and whatever else the command leaves are put back.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use tokio::{process::Command, time::timeout};

use crate::model::text::Outside;

/// A command line of the shell's.
#[derive(Clone, Debug)]
pub struct Between {
    /// It.
    pub line: String,
    /// The longest that it may take.
    pub limit: Duration,
}

impl Between {
    /// Runs it. What it leaves running is killed with the next run.
    ///
    /// # Errors
    ///
    /// It fails, or takes too long: the next run would not be what the one before was.
    pub async fn run(&self) -> Result<()> {
        let line = Outside::new(&self.line);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &self.line]).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = shell.kill_on_drop(true).spawn().context("cannot run /bin/sh")?;
        let Ok(ended) = timeout(self.limit, child.wait()).await else {
            bail!("--between '{line}' was not done in time");
        };
        let status = ended.context("cannot wait for the command of --between")?;
        if !status.success() {
            bail!("--between '{line}' failed: {status}");
        }
        Ok(())
    }
}
