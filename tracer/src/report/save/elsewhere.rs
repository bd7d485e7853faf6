//! Saving where a program may answer for a file system, and may never do it: then a process of
//! its own saves ([`crate::host::opener`]).

use std::{
    ffi::OsStr,
    io::{self, Seek as _},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;

use super::{Content, destination::Destination, save_here};
use crate::{
    host::opener::{Answer, Question, copy, text, wait_for},
    model::text::Outside,
};

/// How long each step may take of a process that saves.
const SAVING: Duration = Duration::from_secs(10);

/// Writes `bytes` to `path`: see [`save_with`].
///
/// # Errors
///
/// A sentence that says what can't be written and why.
pub fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    save_with(path, &mut |out| Ok(out.write_all(bytes)?))
}

/// Writes what `content` writes to `path`: see [`save_here`], which does it in this process if no
/// program answers for a file system on the way.
///
/// # Errors
///
/// A sentence that says what can't be written and why; or `content` failed.
pub fn save_with(path: &Path, content: &mut Content<'_>) -> anyhow::Result<()> {
    if path == Path::new("-") || !passes_a_program(path)? {
        return save_here(path, content);
    }
    let mut saved = tempfile::tempfile().context("cannot make a temporary file for the report")?;
    content(&mut saved)?;
    saved.rewind().context("cannot read the report back")?;
    let words = ["save".as_ref(), path.as_os_str()];
    let question = Question::new((path.to_owned(), None), &words);
    let question = Question { input: Some(saved), patience: SAVING, ..question };
    match wait_for(text(question)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(silent(path, error)),
        Err(error) => Err(error.into()),
    }
}

fn passes_a_program(path: &Path) -> anyhow::Result<bool> {
    let words = ["passes".as_ref(), path.as_os_str()];
    match wait_for(text(Question::new((path.to_owned(), None), &words))) {
        Ok(answer) => Ok(!answer.is_empty()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(silent(path, error)),
        // It is told by this process, which fails as that one did.
        Err(_) => Ok(false),
    }
}

fn silent(path: &Path, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("cannot write {}", Outside::path(path)))
}

/// Answers what is asked above.
#[must_use]
pub fn answer(words: &[&OsStr]) -> Option<io::Result<Answer>> {
    let answer = match *words {
        [question, path] if question == "passes" => Destination::find(Path::new(path))
            .and_then(|place| Ok(place.passes_a_program(place.there()?.as_ref())))
            .map(|passes| if passes { b"yes".to_vec() } else { Vec::new() }),
        [question, path] if question == "save" => {
            let mut input = io::stdin().lock();
            save_here(Path::new(path), &mut |out| {
                copy(&mut input, out, u64::MAX)?;
                Ok(())
            })
            .map(|()| Vec::new())
        }
        _ => return None,
    };
    Some(answer.map(Answer::Text).map_err(|error| io::Error::other(format!("{error:#}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_answers_for_a_temporary_directory_and_another_question_is_not_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let asked = |words: &[&OsStr]| match answer(words) {
            Some(Ok(Answer::Text(text))) => text,
            _ => panic!("no answer"),
        };
        assert_eq!(asked(&["passes".as_ref(), path.as_os_str()]), b"");
        assert!(answer(&["passes".as_ref(), OsStr::new("/no/such")]).unwrap().is_err());
        assert!(answer(&["other".as_ref(), path.as_os_str()]).is_none());
    }
}
