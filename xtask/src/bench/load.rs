//! What others on the host do meanwhile.

use std::{
    fs::File,
    io::Write as _,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{SigHandler, Signal, kill, signal},
    unistd::getpid,
};

/// How long one is done at a time.
const SLICE: Duration = Duration::from_millis(200);

/// Something that is done again and again.
pub struct Load {
    /// What it is.
    pub name: &'static str,
    /// How often it is done between two looks at the clock.
    batch: u32,
    once: Box<dyn Fn() -> Result<()>>,
}

impl Load {
    /// ns for one.
    pub fn time(&self) -> Result<f64> {
        let (begun, mut count) = (Instant::now(), 0.0);
        while begun.elapsed() < SLICE {
            for _ in 0..self.batch {
                (self.once)()?;
            }
            count += f64::from(self.batch);
        }
        Ok(begun.elapsed().as_secs_f64() * 1e9 / count)
    }
}

/// Has this process take USR1.
pub fn handle_signals() -> Result<()> {
    extern "C" fn taken(_: i32) {}
    // SAFETY: the handler does nothing.
    unsafe { signal(Signal::SIGUSR1, SigHandler::Handler(taken)) }?;
    Ok(())
}

/// Every load. A socket is made in `directory`.
pub fn all(directory: &Path) -> Result<Vec<Load>> {
    handle_signals()?;
    let null = File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
    let address = directory.join("socket");
    let _ = std::fs::remove_file(&address);
    let receiver = UnixDatagram::bind(&address).context("cannot make a socket")?;
    let sender = UnixDatagram::unbound()?;
    sender.connect(&address)?;
    let load = |name, batch, once| Load { name, batch, once };
    Ok(vec![
        load(
            "write(2) of a byte to /dev/null",
            1_000,
            Box::new(move || Ok((&null).write_all(b"x")?)) as Box<dyn Fn() -> Result<()>>,
        ),
        load(
            "a datagram sent and received",
            100,
            Box::new(move || {
                sender.send(b"READY=0")?;
                receiver.recv(&mut [0; 16])?;
                Ok(())
            }),
        ),
        load(
            "kill(2) with a signal that is ignored",
            1_000,
            Box::new(|| Ok(kill(getpid(), Signal::SIGWINCH)?)),
        ),
        load(
            "kill(2) with a signal that is handled",
            1_000,
            Box::new(|| Ok(kill(getpid(), Signal::SIGUSR1)?)),
        ),
        load(
            "sigaction(2) for a signal that is not recorded",
            1_000,
            Box::new(|| {
                // SAFETY: the default action, which WINCH has already, runs no code of ours.
                unsafe { signal(Signal::SIGWINCH, SigHandler::SigDfl) }?;
                Ok(())
            }),
        ),
        load(
            "a program started and waited for",
            10,
            Box::new(|| {
                let status = Command::new("/bin/true").stdin(Stdio::null()).status()?;
                if !status.success() {
                    bail!("/bin/true failed: {status}");
                }
                Ok(())
            }),
        ),
    ])
}
