//! systemd's own part in a start: what it executes before the service's program, and what that
//! forks to set things up.

/// What systemd (255 and later) executes first in every process it starts. It executes
/// the service's own program, with the environment that tells what that is for, and blocks
/// every signal until then.
const EXECUTOR: &str = "systemd-executor";

/// Whether a program is systemd's own, and not yet the service's.
#[must_use]
pub fn is_executor(exe: &str) -> bool {
    exe.rsplit('/').next() == Some(EXECUTOR)
}
