//! `sigready report`: a saved report again, in any format.

use std::{
    fs::File,
    io::{self, Read, stdout},
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
    kept(io::stdin().lock(), MAX_STDIN)
}

/// What comes from stdin, so many bytes at most.
fn kept(stdin: impl Read, most: u64) -> Result<File, Fault> {
    let mut file = tempfile::tempfile().context("cannot make a temporary file for stdin")?;
    let copied = io::copy(&mut stdin.take(most + 1), &mut file).context("cannot read stdin")?;
    if copied > most {
        return Err(Fault::usage(format_args!("stdin has more than {most} bytes")));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_of_stdin_than_it_may_have() {
        let kept = |length| kept(io::repeat(b'a').take(length), 1_000);
        assert_eq!(kept(1_000).unwrap().metadata().unwrap().len(), 1_000);
        for length in [1_001, u64::MAX] {
            let Err(Fault::Usage(refused)) = kept(length) else { panic!("{length} are kept") };
            assert_eq!(refused, "stdin has more than 1000 bytes");
        }
    }
}
