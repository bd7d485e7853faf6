//! `sigready report`: a saved report again, in any format.

use std::{
    fs::File,
    io::{self, Read as _, stdout},
    path::Path,
};

use anyhow::Context as _;
use sigready::{
    model::document::Document,
    report::{PassError, Saved},
    timeline::Counting,
};

use super::{
    Verdict,
    fault::Fault,
    messages::Messages,
    output::{self, Look},
    regular_file,
};
use crate::cli::Report;

/// The largest report that is read, bytes. It is read a part at a time.
const MAX_SIZE: u64 = 1 << 36;
/// The most that is read from stdin, bytes: it is kept in a temporary file meanwhile.
const MAX_STDIN: u64 = 1 << 33;

/// Runs the command.
pub fn run(options: &Report, messages: &Messages) -> Result<Verdict, Fault> {
    let refused =
        |error: PassError| Fault::usage(format_args!("{}: {error}", options.file.display()));
    let mut saved = Saved::open(file(&options.file)?).map_err(refused)?;
    let look = Look::at(&mut saved, &options.output, &counting).map_err(refused)?;
    output::write(&mut saved, &look, &options.output, stdout().lock(), messages)
}

/// What counted live: units that were asked for by name are those of the system.
fn counting(document: &Document) -> Counting {
    let mut arguments = document.capture.arguments.iter();
    let is_named = arguments.any(|argument| argument.ends_with(".service"));
    if is_named { Counting::OfSystem } else { Counting::All }
}

/// The file. It is read more than once, so that what comes from a pipe is put into one.
fn file(path: &Path) -> Result<File, Fault> {
    if path != Path::new("-") {
        return regular_file::open(path, MAX_SIZE);
    }
    let mut file = tempfile::tempfile().context("cannot make a temporary file for stdin")?;
    let copied = io::copy(&mut io::stdin().lock().take(MAX_STDIN + 1), &mut file);
    if copied.context("cannot read stdin")? > MAX_STDIN {
        return Err(Fault::usage(format_args!("stdin has more than {MAX_STDIN} bytes")));
    }
    Ok(file)
}
