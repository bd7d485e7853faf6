//! Saving without ever leaving half a file, and without being led anywhere by what others put
//! into a directory that they can write to.

mod destination;
mod elsewhere;

use std::{
    io::{self, BufWriter, IntoInnerError, Write},
    path::Path,
};

use anyhow::{Context as _, bail};
use nix::sys::stat::{FileStat, SFlag};

use self::destination::Destination;
pub use self::elsewhere::{answer, save, save_with};
use crate::model::text::Outside;

/// Writes what is to be in a file.
pub type Content<'a> = dyn FnMut(&mut dyn Write) -> anyhow::Result<()> + 'a;

/// Writes what `content` writes to `path`, whole or not at all: on any failure an existing file
/// stays as it was. It keeps its mode and, where that is allowed, its owner; a
/// symbolic link stays, and the file it leads to is replaced.
///
/// What another user put into a directory that others can write to is not trusted: a link
/// there is not followed, a pipe is not written to, and a file is replaced by one that is the
/// caller's, with the mode of a new file. Root's own links and files are trusted everywhere.
///
/// `-` is stdout. What can't be replaced (a pipe, a device, a descriptor under
/// /dev/fd or /proc) is written to directly.
///
/// # Errors
///
/// A sentence that says what can't be written and why; or `content` failed.
pub fn save_here(path: &Path, content: &mut Content<'_>) -> anyhow::Result<()> {
    if path == Path::new("-") {
        drop(fill(io::stdout().lock(), content).context("cannot write to stdout")?);
        return Ok(());
    }
    let shown = Outside::path(path);
    let place = Destination::find(path).with_context(|| format!("cannot write {shown}"))?;
    let there = place.there().with_context(|| format!("cannot write {shown}"))?;
    let Some(there) = there else {
        return place.replace(content, None).with_context(|| format!("cannot write {shown}"));
    };
    let trusted = place.trusts(&there);
    match kind(&there) {
        SFlag::S_IFDIR => bail!("cannot write {shown}: it is a directory; name a file in it"),
        SFlag::S_IFREG if !place.in_proc => {
            // Another name of a file elsewhere says nothing of how this one is to be.
            let like = Some(there).filter(|it| trusted && (it.st_nlink == 1 || !place.is_shared()));
            place.replace(content, like.as_ref()).with_context(|| {
                format!("cannot write {shown}; the file that is there was left as it was")
            })
        }
        _ if !trusted => bail!(
            "cannot write {shown}: user {} has put it there, and others than you can write to \
             its directory",
            there.st_uid
        ),
        _ => place.write_directly(content, &there).with_context(|| format!("cannot write {shown}")),
    }
}

/// Writes all of it to `out`, which is given back.
fn fill<W: Write>(out: W, content: &mut Content<'_>) -> anyhow::Result<W> {
    let mut out = BufWriter::new(out);
    content(&mut out)?;
    Ok(out.into_inner().map_err(IntoInnerError::into_error)?)
}

/// The type of a file.
fn kind(file: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(file.st_mode & SFlag::S_IFMT.bits())
}

#[cfg(test)]
mod tests;
