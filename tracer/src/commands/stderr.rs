//! Where messages go. A pipe that nobody empties, or a terminal whose output is stopped, does not
//! keep a trace from going on: what can't be written in time is left out, and counted.

use std::{
    io::{self, Write, stderr},
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a message waits for room, unless the one before has waited in vain.
const PATIENCE: Duration = Duration::from_millis(100);
/// What a pipe with room takes without waiting (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4_096;

/// Whether the last message found no room.
static IS_FULL: AtomicBool = AtomicBool::new(false);
/// Messages that were left out and not told of.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// stderr, for messages alone.
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let patience = if IS_FULL.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        if !is_ready(patience) {
            IS_FULL.store(true, Ordering::Relaxed);
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
            return Ok(bytes.len());
        }
        IS_FULL.store(false, Ordering::Relaxed);
        let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            let line = format!("sigready: {left_out} messages are left out: there was no room\n");
            stderr().write_all(line.as_bytes())?;
        }
        for piece in bytes.chunks(PIECE) {
            if !is_ready(PATIENCE) {
                IS_FULL.store(true, Ordering::Relaxed);
                break;
            }
            stderr().write_all(piece)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

/// Whether stderr takes something without waiting, after `patience` at the longest. One that is
/// closed does: it refuses at once.
pub fn is_ready(patience: Duration) -> bool {
    let stderr = stderr();
    let mut descriptor = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
    poll(&mut descriptor, patience) != Ok(0)
}
