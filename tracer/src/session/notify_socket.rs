//! The notify socket that `run` gives its command. The messages are seen by the kernel
//! side; here they are only taken, by a thread of its own, so that no sender waits.

use std::{
    env, fs, io,
    net::Shutdown,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt::PassCred};

use crate::temporary::Temporary;

/// A bound datagram socket in a directory of its own, gone when dropped.
pub struct NotifySocket {
    socket: Arc<UnixDatagram>,
    is_over: Arc<AtomicBool>,
    path: PathBuf,
    #[allow(dead_code, reason = "the directory goes with it")]
    directory: Temporary,
}

impl NotifySocket {
    /// Binds one that every user may send to, as everyone may to systemd's: a daemon may
    /// change its user before it says READY=1. Its directory can be entered by all and
    /// written to by this user alone.
    pub fn bind() -> Result<Self> {
        // As with systemd's own: /run, where no clean-up job comes by. A long $TMPDIR leaves
        // no room in the address (`sun_path`).
        let bases = [PathBuf::from("/run"), env::temp_dir(), PathBuf::from("/tmp")];
        let mut refused = None;
        for base in &bases {
            match bind_below(base) {
                Ok((directory, path, socket)) => {
                    // A sender that passes credentials is refused by a socket that doesn't
                    // want them.
                    setsockopt(&socket, PassCred, &true)
                        .context("cannot ask for senders' credentials")?;
                    let is_over = Arc::default();
                    return Ok(Self { socket: Arc::new(socket), is_over, path, directory });
                }
                Err(error) => {
                    refused =
                        Some(anyhow!(error).context(format!(
                            "cannot make a notify socket below {}",
                            base.display()
                        )));
                }
            }
        }
        Err(refused.unwrap_or_else(|| anyhow!("there is no place for a notify socket")))
    }

    /// Its address, for NOTIFY_SOCKET.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes messages from now on. Descriptors that come with one are closed, which is the
    /// answer that BARRIER=1 waits for (sd_notify_barrier(3)).
    pub fn take_messages(&self) -> Result<()> {
        let (socket, is_over) = (Arc::clone(&self.socket), Arc::clone(&self.is_over));
        let take = move || {
            // The rest of each message is thrown away with it.
            let mut message = [0];
            while !is_over.load(Ordering::Acquire) {
                let _ = socket.recv(&mut message);
            }
        };
        thread::Builder::new()
            .name("sigready-notify".to_owned())
            .spawn(take)
            .context("cannot start a thread that takes notify messages")?;
        Ok(())
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Wakes the thread.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn bind_below(base: &Path) -> io::Result<(Temporary, PathBuf, UnixDatagram)> {
    let (directory, path) = Temporary::directory(base)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
    let path = path.join("notify");
    let socket = UnixDatagram::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
    Ok((directory, path, socket))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn everyone_may_send_and_nobody_else_may_change_it() {
        let socket = NotifySocket::bind().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(socket.path()), 0o777);
        assert_eq!(mode(socket.path().parent().unwrap()), 0o711);
    }

    #[test]
    fn messages_are_taken_and_nothing_is_left_behind() {
        let socket = NotifySocket::bind().unwrap();
        socket.take_messages().unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let path = socket.path().to_owned();
        // More than a queue holds.
        for _ in 0..5_000 {
            sender.send_to(b"STATUS=x", &path).unwrap();
        }
        let thread = Arc::downgrade(&socket.socket);
        drop(socket);
        assert!(!path.parent().unwrap().exists());
        let limit = Instant::now() + Duration::from_secs(10);
        while thread.strong_count() > 0 {
            assert!(Instant::now() < limit, "the thread ends");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
