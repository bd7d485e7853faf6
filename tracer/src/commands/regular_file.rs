//! Files that were named on the command line.

use std::{
    fmt::Display,
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::fcntl::OFlag;

use super::fault::Fault;

/// Reads one of at most so many bytes.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = open(path, max)?.take(max + 1).read_to_end(&mut bytes);
    read.map_err(|error| cannot(path, error))?;
    // One that is being written may have grown since.
    if bytes.len() as u64 > max {
        return Err(too_large(path, max));
    }
    Ok(bytes)
}

/// Opens one of at most so many bytes. A device or a FIFO would have its reader wait, or give
/// it bytes without end: neither is opened.
pub fn open(path: &Path, max: u64) -> Result<File, Fault> {
    let not_regular = || cannot(path, "it is not a regular file");
    // To open a device can be to act on it.
    if !fs::metadata(path).map_err(|error| cannot(path, error))?.is_file() {
        return Err(not_regular());
    }
    // Nor does it wait for a FIFO that was put there just now.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = file.map_err(|error| cannot(path, error))?;
    let about = file.metadata().map_err(|error| cannot(path, error))?;
    if !about.is_file() {
        return Err(not_regular());
    }
    if about.len() > max {
        return Err(too_large(path, max));
    }
    Ok(file)
}

fn too_large(path: &Path, max: u64) -> Fault {
    cannot(path, format_args!("it has more than {max} bytes"))
}

fn cannot(path: &Path, why: impl Display) -> Fault {
    Fault::usage(format_args!("cannot read {}: {why}", path.display()))
}
