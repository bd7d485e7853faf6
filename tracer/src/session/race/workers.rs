//! Other processes of this program, each of which races a share of the intervals.
//!
//! The kernel side has one order at a time, so each of them attaches programs of its own.

use std::{ffi::OsString, process::Stdio};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use super::super::BadRequest;
use crate::model::{race::Race, text::Outside};

/// The most that a worker's result may have, bytes.
const MAX_RESULT: u64 = 256 << 20;
/// The most that is kept of what it says beside it, bytes.
const MAX_SAID: u64 = 64 << 10;

/// What the workers came to.
#[derive(Debug, Default)]
pub struct Worked {
    /// Their results.
    pub races: Vec<Race>,
    /// What they said beside them, in lines.
    pub said: Vec<String>,
    /// Whether somebody ended the race.
    pub interrupted: bool,
}

/// What a worker came to.
struct Output {
    code: Option<i32>,
    result: Vec<u8>,
    said: String,
}

/// Runs this program with each of these arguments, all at one time. An interrupt is handed on, and
/// what they found until then counts. `say` is told how many have ended.
///
/// # Errors
///
/// A [`BadRequest`] where a worker has one; what it says where it has no result.
pub async fn work(
    arguments: Vec<Vec<OsString>>,
    shows_stderr: bool,
    say: &dyn Fn(usize),
) -> Result<Worked> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot take SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot take SIGTERM")?;
    let (is_to_end, end) = watch::channel(());
    let mut running = JoinSet::new();
    for arguments in arguments {
        let child = start(&arguments, shows_stderr)?;
        running.spawn(output(child, end.clone()));
    }
    let mut worked = Worked::default();
    let mut failed = None;
    let mut ended = 0;
    while !running.is_empty() {
        let output = tokio::select! {
            Some(output) = running.join_next() => output,
            _ = interrupt.recv() => {
                worked.interrupted = true;
                is_to_end.send_replace(());
                continue;
            }
            _ = terminate.recv() => {
                worked.interrupted = true;
                is_to_end.send_replace(());
                continue;
            }
        };
        ended += 1;
        say(ended);
        let output = output.context("a process that races has failed")?;
        if let Err(error) = output.and_then(|output| worked.take(&output))
            && failed.is_none()
        {
            // The others are not needed any more.
            failed = Some(error);
            is_to_end.send_replace(());
        }
    }
    match failed {
        // One that had no time for its untouched run has nothing to tell.
        Some(error) if !worked.interrupted => Err(error),
        _ => Ok(worked),
    }
}

fn start(arguments: &[OsString], shows_stderr: bool) -> Result<Child> {
    let stderr = if shows_stderr { Stdio::inherit() } else { Stdio::piped() };
    Command::new("/proc/self/exe")
        .args(arguments)
        // Ctrl-C is for the one that waits, and is handed on.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a process that races")
}

/// What it gives. It is interrupted once `end` says so.
async fn output(mut child: Child, mut end: watch::Receiver<()>) -> Result<Output> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = async { tokio::join!(read(stdout, MAX_RESULT), read(stderr, MAX_SAID)) };
    tokio::pin!(reading);
    let ((result, beyond), (said, _)) = loop {
        tokio::select! {
            read = &mut reading => break read,
            Ok(()) = end.changed() => {
                if let Some(pid) = child.id() {
                    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT);
                }
            }
        }
    };
    let status = child.wait().await.context("cannot wait for a process that races")?;
    if beyond > 0 {
        bail!("the result of a process that races has more than {MAX_RESULT} bytes");
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(Output { code: status.code(), result, said })
}

/// Reads to the end, and keeps so many bytes. Gives how many there were beyond them.
async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> (Vec<u8>, u64) {
    let (mut kept, mut beyond) = (Vec::new(), 0);
    if let Some(mut from) = from {
        let _ = (&mut from).take(most).read_to_end(&mut kept).await;
        beyond = tokio::io::copy(&mut from, &mut tokio::io::sink()).await.unwrap_or(0);
    }
    (kept, beyond)
}

impl Worked {
    fn take(&mut self, output: &Output) -> Result<()> {
        let said = output.said.lines().map(|line| line.strip_prefix("sigready: ").unwrap_or(line));
        let said: Vec<String> = said.map(|line| Outside::new(line).to_string()).collect();
        if let Ok(race) = serde_json::from_slice(&output.result) {
            self.races.push(race);
            self.said.extend(said);
            return Ok(());
        }
        let why = said.join("; ");
        match output.code {
            Some(2) => Err(BadRequest::new(why).into()),
            _ if why.is_empty() => bail!("a process that races ended without a result"),
            _ => bail!("{why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running<T>(it: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(it)
    }

    /// What a process gives that writes so many bytes to stdout, and to stderr.
    fn gives(bytes: u64, said: u64) -> Result<Output> {
        running(async {
            let line = format!("head -c {bytes} /dev/zero; head -c {said} /dev/zero >&2");
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).stdout(Stdio::piped()).stderr(Stdio::piped());
            let (_is_to_end, end) = watch::channel(());
            output(shell.spawn().unwrap(), end).await
        })
    }

    #[test]
    fn a_result_that_is_too_long_is_refused_and_of_messages_the_first_are_kept() {
        let output = gives(MAX_RESULT, MAX_SAID + 1).unwrap();
        assert_eq!((output.code, output.result.len() as u64), (Some(0), MAX_RESULT));
        assert_eq!(output.said.len() as u64, MAX_SAID);
        let refused = gives(MAX_RESULT + 1, 0).map(drop).unwrap_err().to_string();
        assert!(refused.contains("more than 268435456 bytes"), "{refused}");
    }
}
