//! `sigready report`: a saved report again, in any format.

use std::{
    fs,
    io::{self, Read as _, stdout},
    path::Path,
};

use anyhow::Context as _;
use sigready::report::read;

use super::{Verdict, fault::Fault, messages::Messages, output};
use crate::cli::Report;

/// Runs the command.
pub fn run(options: &Report, messages: &Messages) -> Result<Verdict, Fault> {
    let bytes = bytes(&options.file)?;
    let document = read(&bytes)
        .map_err(|error| Fault::usage(format_args!("{}: {error}", options.file.display())))?;
    output::write(&document, &options.output, stdout().lock(), messages)
}

fn bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).context("cannot read stdin")?;
        return Ok(bytes);
    }
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => {
            Fault::usage(format_args!("cannot read {}: {error}", path.display()))
        }
        _ => anyhow::Error::new(error).context(format!("cannot read {}", path.display())).into(),
    })
}
