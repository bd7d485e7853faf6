//! Files that were named on the command line.

use std::{
    fs::{self, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::fcntl::OFlag;

use super::fault::Fault;

/// Reads one of at most so many bytes. A device or a FIFO would have its reader wait, or give
/// it bytes without end: neither is read.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, Fault> {
    let cannot = |why: &dyn std::fmt::Display| {
        Fault::usage(format_args!("cannot read {}: {why}", path.display()))
    };
    let not_regular = "it is not a regular file";
    // To open a device can be to act on it.
    if !fs::metadata(path).map_err(|error| cannot(&error))?.is_file() {
        return Err(cannot(&not_regular));
    }
    // Nor does it wait for a FIFO that was put there just now.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = file.map_err(|error| cannot(&error))?;
    let about = file.metadata().map_err(|error| cannot(&error))?;
    if !about.is_file() {
        return Err(cannot(&not_regular));
    }
    let mut bytes = Vec::new();
    // One that is being written may have grown since.
    if about.len() <= max {
        file.take(max + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    }
    if about.len().max(bytes.len() as u64) > max {
        return Err(cannot(&format_args!("it has more than {max} bytes")));
    }
    Ok(bytes)
}
