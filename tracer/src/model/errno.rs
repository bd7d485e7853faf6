//! Error numbers in words, those that the C library has no words for too.

use std::io;

use nix::errno::Errno;

/// What the kernel uses inside, and lets out at times (include/linux/errno.h): to whoever traces
/// system calls, and from parts of it that an architecture lacks.
const KERNELS_OWN: [(i32, &str, &str); 19] = [
    (512, "ERESTARTSYS", "interrupted by a signal"),
    (513, "ERESTARTNOINTR", "interrupted by a signal, and begun again"),
    (514, "ERESTARTNOHAND", "interrupted by a signal"),
    (515, "ENOIOCTLCMD", "no such ioctl command"),
    (516, "ERESTART_RESTARTBLOCK", "interrupted by a signal, and to be gone on with"),
    (517, "EPROBE_DEFER", "a driver asks to be tried again later"),
    (518, "EOPENSTALE", "the file on the server is another by now"),
    (519, "ENOPARAM", "the parameter is not supported"),
    (521, "EBADHANDLE", "the NFS file handle is not valid"),
    (522, "ENOTSYNC", "it was changed by somebody else meanwhile"),
    (523, "EBADCOOKIE", "the cookie is stale"),
    (524, "ENOTSUPP", "this kernel does not support it"),
    (525, "ETOOSMALL", "the buffer or request is too small"),
    (526, "ESERVERFAULT", "the server failed"),
    (527, "EBADTYPE", "the server does not support the type"),
    (528, "EJUKEBOX", "the server asks to be tried again later"),
    (529, "EIOCBQUEUED", "it was queued, and will end later"),
    (530, "ERECALLCONFLICT", "it conflicts with a state that was recalled"),
    (531, "ENOGRACE", "the NFS server does not take back what was held before"),
];

/// The name and the meaning of an error number (a positive errno); none for a number that nobody
/// has named.
#[must_use]
pub fn named(errno: i32) -> Option<(String, &'static str)> {
    if let Some((_, name, words)) = KERNELS_OWN.iter().find(|(number, ..)| *number == errno) {
        return Some(((*name).to_owned(), words));
    }
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => None,
        known => Some((format!("{known:?}"), known.desc())),
    }
}

/// Whether a call that ended with it (a positive errno) was interrupted by a signal, and may be begun
/// anew by the kernel: after a handler with `SA_RESTART`, or where there is none (`handle_signal` and
/// `arch_do_signal_or_restart` in arch/x86/kernel/signal.c). Else the program gets EINTR.
#[must_use]
pub fn begins_anew(errno: i32) -> bool {
    (512..=514).contains(&errno)
}

/// The meaning of an error number (a positive errno).
#[must_use]
pub fn words(errno: i32) -> String {
    named(errno).map_or_else(|| format!("error {errno}"), |it| it.1.to_owned())
}

/// An error with its causes, as a sentence.
#[must_use]
pub fn chain(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(of_cause).collect();
    causes.join(": ")
}

/// One cause. What the C library has words for stays as it is.
fn of_cause(cause: &(dyn std::error::Error + 'static)) -> String {
    let number = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    match number {
        Some(number) if Errno::from_raw(number) == Errno::UnknownErrno => {
            format!("{} (os error {number})", words(number))
        }
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_only_the_kernel_has_are_told_in_words() {
        assert_eq!(words(111), "Connection refused");
        assert_eq!(words(524), "this kernel does not support it");
        assert_eq!(named(524).unwrap().0, "ENOTSUPP");
        assert_eq!(words(4000), "error 4000");
    }

    #[test]
    fn no_number_is_unknown_in_an_error_with_causes() {
        let refused = |number| {
            let cause = io::Error::from_raw_os_error(number);
            chain(&anyhow::Error::new(cause).context("cannot attach"))
        };
        assert_eq!(refused(524), "cannot attach: this kernel does not support it (os error 524)");
        assert_eq!(refused(1), "cannot attach: Operation not permitted (os error 1)");
        for number in 512..=531 {
            assert!(!refused(number).contains("Unknown error"), "{}", refused(number));
        }
    }
}
