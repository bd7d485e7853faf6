//! `sigready report`: a saved report again, in any format.

use std::{
    io::{self, Read as _, stdout},
    path::Path,
};

use anyhow::Context as _;
use sigready::{model::document::Document, report::read, timeline::Counting};

use super::{Verdict, fault::Fault, messages::Messages, output, regular_file};
use crate::cli::Report;

/// The largest report that is read, bytes.
const MAX_SIZE: u64 = 1 << 30;

/// Runs the command.
pub fn run(options: &Report, messages: &Messages) -> Result<Verdict, Fault> {
    let bytes = bytes(&options.file)?;
    let document = read(&bytes)
        .map_err(|error| Fault::usage(format_args!("{}: {error}", options.file.display())))?;
    // As it was live.
    let counting = if is_named(&document) { Counting::OfSystem } else { Counting::All };
    output::write(&document, &options.output, &counting, stdout().lock(), messages)
}

/// Whether it is of units that were asked for by name.
fn is_named(document: &Document) -> bool {
    document.capture.arguments.iter().any(|argument| argument.ends_with(".service"))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let stdin = io::stdin().lock().take(MAX_SIZE + 1);
        let length = { stdin }.read_to_end(&mut bytes).context("cannot read stdin")?;
        if length as u64 > MAX_SIZE {
            return Err(Fault::usage(format_args!("stdin has more than {MAX_SIZE} bytes")));
        }
        return Ok(bytes);
    }
    regular_file::read(path, MAX_SIZE)
}
