//! Files whose size others decide.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// The first `max_bytes` bytes of a file: all of it, if it has no more.
///
/// # Errors
/// Those of opening and reading it. A process that ends meanwhile gives `ESRCH`.
pub fn bounded(path: impl AsRef<Path>, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_read_to_the_limit_alone() {
        assert_eq!(bounded("/dev/zero", 5).unwrap(), [0; 5]);
        assert_eq!(bounded("/dev/null", 5).unwrap(), b"");
        assert!(bounded("/proc/self/no-such-file", 5).is_err());
    }
}
