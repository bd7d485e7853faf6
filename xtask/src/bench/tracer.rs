//! A trace that runs meanwhile.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A trace, attached.
pub struct Tracer {
    child: Child,
    /// What is traced, unless that is everything.
    sleeper: Child,
    /// Processor time that it took to get here, s.
    before: f64,
}

impl Tracer {
    /// Starts one of a process that sleeps, unless the options name something else.
    pub fn start(sigready: &Path, options: &[&str]) -> Result<Self> {
        let sleeper = Command::new("sleep").arg("infinity").spawn().context("cannot run sleep")?;
        let mut command = Command::new(sigready);
        command.arg("trace").args(options).args(["--format", "json", "--output", "/dev/null"]);
        if !options.contains(&"--all") {
            command.args(["--pid", &sleeper.id().to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().context("cannot run sigready")?;
        let mut tracer = Self { child, sleeper, before: 0.0 };
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
        thread::spawn(move || drain(stderr));
        tracer.before = spent(tracer.child.id())?;
        Ok(tracer)
    }

    /// Ends it, and gives the processor time it took while it traced, s.
    pub fn end(mut self) -> Result<f64> {
        let spent = spent(self.child.id())? - self.before;
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?;
        let status = self.child.wait()?;
        // 3: whatever else happens on this host may raise alerts.
        if !matches!(status.code(), Some(0 | 3)) {
            bail!("sigready failed: {status}");
        }
        Ok(spent)
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

/// What it says later is nobody's business, but it must be able to say it.
fn drain(mut stderr: BufReader<ChildStderr>) {
    let _ = stderr.read_to_end(&mut Vec::new());
}

/// Processor time of all threads of a process, s (/proc/PID/task/TID/schedstat: ns first).
fn spent(pid: u32) -> Result<f64> {
    let mut seconds = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("cannot read /proc")? {
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let ns: Option<f64> = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
        seconds += ns.unwrap_or(0.0) / 1e9;
    }
    Ok(seconds)
}
