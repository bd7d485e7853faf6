//! Syscall tracepoints are attached by the ids that tracefs lists. Where it isn't
//! mounted, it is mounted for one thread alone, so that the host stays as it was.

use std::{fs, io, path::Path, thread};

use anyhow::{Context as _, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Where tracefs belongs. The kernel makes the directory when it has tracing.
pub const MOUNT_POINT: &str = "/sys/kernel/tracing";
/// Where older set-ups have it.
const OLD_MOUNT_POINT: &str = "/sys/kernel/debug/tracing";

/// Whether tracefs can be read where the kernel's tools look for it.
#[must_use]
pub fn is_mounted() -> bool {
    [MOUNT_POINT, OLD_MOUNT_POINT]
        .iter()
        .any(|mount_point| Path::new(mount_point).join("events").is_dir())
}

/// Whether tracefs is there, for others.
fn is_closed() -> bool {
    fs::read_dir(MOUNT_POINT).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Runs `job` where tracefs is mounted: here if it is, else on a thread with a mount
/// namespace of its own, which goes when the thread ends.
pub fn with<T: Send>(job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if is_mounted() {
        return job();
    }
    if is_closed() {
        bail!(
            "tracefs is mounted at {MOUNT_POINT}, but may not be read by this process: run \
             sigready as root, or with CAP_DAC_READ_SEARCH"
        );
    }
    if !Path::new(MOUNT_POINT).is_dir() {
        bail!(
            "this kernel has no tracefs ({MOUNT_POINT} does not exist), so syscalls can't be \
             traced: it needs CONFIG_FTRACE_SYSCALLS"
        );
    }
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            mount_privately().with_context(|| {
                format!(
                    "tracefs is not mounted, and could not be mounted for this process alone: \
                     run 'mount -t tracefs tracefs {MOUNT_POINT}' and try again"
                )
            })?;
            job()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn mount_privately() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tracefs"), MOUNT_POINT, Some("tracefs"), flags, None::<&str>)?;
    Ok(())
}
