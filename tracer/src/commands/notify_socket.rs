//! The notify socket that `run` gives its command. The messages are seen by the kernel
//! side; here they are only taken, so that no sender waits.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use anyhow::{Context as _, Result};
use nix::{
    sys::socket::{setsockopt, sockopt::PassCred},
    unistd::{User, chown},
};
use tempfile::TempDir;
use tokio::net::UnixDatagram;

/// A bound datagram socket in a directory of its own, gone when dropped.
pub struct NotifySocket {
    socket: UnixDatagram,
    directory: TempDir,
}

impl NotifySocket {
    /// Binds one that `user` may send to. Needs a tokio runtime.
    pub fn bind(user: Option<&User>) -> Result<Self> {
        // As with systemd's own: /run, where no clean-up job comes by.
        let base = if fs::metadata("/run").is_ok_and(|run| !run.permissions().readonly()) {
            PathBuf::from("/run")
        } else {
            std::env::temp_dir()
        };
        let directory = tempfile::Builder::new()
            .prefix("sigready-")
            .tempdir_in(&base)
            .with_context(|| format!("cannot make a directory in {}", base.display()))?;
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path)
            .with_context(|| format!("cannot bind a notify socket at {}", path.display()))?;
        // A sender that passes credentials is refused by a socket that doesn't want them.
        setsockopt(&socket, PassCred, &true).context("cannot ask for senders' credentials")?;
        if let Some(user) = user {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))?;
            chown(&path, Some(user.uid), Some(user.gid))
                .with_context(|| format!("cannot give {} to user {}", path.display(), user.name))?;
        }
        Ok(Self { socket, directory })
    }

    /// Its address, for NOTIFY_SOCKET.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("notify")
    }

    /// Takes messages for as long as it is polled. Descriptors that come with one are
    /// closed, which is the answer that BARRIER=1 waits for (sd_notify_barrier(3)).
    pub async fn take_messages(&self) {
        // The rest of each message is thrown away with it.
        let mut message = [0];
        loop {
            if self.socket.recv(&mut message).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }
}
