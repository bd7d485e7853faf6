//! `sigready report`: a saved report again, in any format.

use std::{
    fs::File,
    io::{self, Read, stdout},
    path::Path,
};

use anyhow::Context as _;
use sigready::{
    model::{document::Document, text::Outside},
    report::{BEGINNING, PassError, Saved, check_beginning},
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
        |error: PassError| Fault::usage(format_args!("{}: {error}", Outside::path(&options.file)));
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

/// What comes from stdin, so many bytes at most, if it begins as a report does.
fn kept(mut stdin: impl Read, most: u64) -> Result<File, Fault> {
    let mut beginning = Vec::new();
    let read = stdin.by_ref().take(BEGINNING).read_to_end(&mut beginning);
    read.context("cannot read stdin")?;
    check_beginning(&beginning).map_err(|error| Fault::usage(format_args!("stdin: {error}")))?;
    let mut file = tempfile::tempfile().context("cannot make a temporary file for stdin")?;
    let mut whole = beginning.chain(stdin).take(most + 1);
    let copied = io::copy(&mut whole, &mut file).context("cannot read stdin")?;
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
        let text = |length| b"{\"".chain(io::repeat(b'a')).take(length);
        let kept = |length, most| kept(text(length), most);
        for length in [2, 1_000, 500_000] {
            assert_eq!(kept(length, 500_000).unwrap().metadata().unwrap().len(), length);
        }
        for (length, most) in [(1_001, 1_000), (u64::MAX, 1_000), (u64::MAX, 500_000)] {
            let Err(Fault::Usage(refused)) = kept(length, most) else {
                panic!("{length} are kept")
            };
            assert_eq!(refused, format!("stdin has more than {most} bytes"));
        }
    }

    #[test]
    fn what_can_be_no_report_is_refused_by_its_first_bytes() {
        for endless in [&b"\0"[..], b" ", b"\n\t ", b"[", b"\xef\xbb\xbf1", b"{\0", b"{ "] {
            let mut taken = 0;
            let zeros = io::repeat(if endless.ends_with(b" ") { b' ' } else { 0 });
            let stdin = endless.chain(zeros);
            let counted = Counted { inner: stdin, taken: &mut taken };
            let Err(Fault::Usage(refused)) = kept(counted, MAX_STDIN) else {
                panic!("{endless:?} is kept")
            };
            assert!(refused.starts_with("stdin: it is not a sigready capture"), "{refused}");
            assert!(taken < 1 << 20, "{endless:?}: {taken}");
        }
        let Err(Fault::Usage(empty)) = kept(io::empty(), MAX_STDIN) else { panic!("it is kept") };
        assert!(empty.starts_with("stdin: it is empty"), "{empty}");
    }

    /// Counts what is read.
    struct Counted<'a, R> {
        inner: R,
        taken: &'a mut usize,
    }

    impl<R: Read> Read for Counted<'_, R> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let read = self.inner.read(room)?;
            *self.taken += read;
            Ok(read)
        }
    }
}
