//! Files that were named on the command line.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use sigready::{host::named, model::text::Outside, session::BadRequest};

use super::fault::Fault;

/// Reads one of at most so many bytes.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = open(path, max)?.take(max + 1).read_to_end(&mut bytes);
    read.map_err(|error| match error.kind() {
        // It was opened so that nobody waits for it.
        io::ErrorKind::WouldBlock => cannot(path, io::Error::other("there is nothing in it yet")),
        _ => cannot(path, error),
    })?;
    // One that is being written may have grown since.
    if bytes.len() as u64 > max {
        return Err(cannot(path, io::Error::other(format!("it has more than {max} bytes"))));
    }
    Ok(bytes)
}

/// Opens one of at most so many bytes, and no device or FIFO.
pub fn open(path: &Path, max: u64) -> Result<File, Fault> {
    named::open(path, max).map_err(|error| cannot(path, error))
}

fn cannot(path: &Path, why: io::Error) -> Fault {
    BadRequest::unless_short(format_args!("cannot read {}", Outside::path(path)), why).into()
}
