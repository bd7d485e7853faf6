//! A trace that runs meanwhile.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Who is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A process that sleeps.
    Another,
    /// The one that measures.
    Bench,
    /// Everything.
    All,
}

/// A trace, attached.
pub struct Tracer {
    child: Child,
    sleeper: Child,
}

impl Tracer {
    /// Starts one, and waits until it is live.
    pub fn start(sigready: &Path, whom: Whom, options: &[&str]) -> Result<Self> {
        let sleeper = Command::new("sleep").arg("infinity").spawn().context("cannot run sleep")?;
        let mut command = Command::new(sigready);
        command.arg("trace").args(options);
        if !options.contains(&"--output") {
            command.args(["--format", "json", "--output", "/dev/null"]);
        }
        match whom {
            Whom::Another => command.args(["--pid", &sleeper.id().to_string()]),
            Whom::Bench => command.args(["--pid", &std::process::id().to_string()]),
            Whom::All => command.arg("--all"),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().context("cannot run sigready")?;
        let mut tracer = Self { child, sleeper };
        let stderr = tracer.child.stderr.take().context("sigready has no stderr")?;
        let mut stderr = BufReader::new(stderr);
        let mut said = String::new();
        while !said.contains("tracing ") {
            let length = stderr.read_line(&mut said)?;
            if length == 0 {
                tracer.child.wait()?;
                bail!("{}", said.trim_start_matches("sigready: ").trim_end());
            }
        }
        // What it says later is nobody's business, but it must be able to say it.
        thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        Ok(tracer)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it.
    pub fn end(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?;
        let status = self.child.wait()?;
        // 3: whatever else happens on this host may raise alerts.
        if !matches!(status.code(), Some(0 | 3)) {
            bail!("sigready failed: {status}");
        }
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        for child in [&mut self.child, &mut self.sleeper] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
