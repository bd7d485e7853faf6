//! What keeps programs attached, and how the kernel is made to let go of them.

use std::{io::pipe, os::fd::AsRawFd as _, thread};

use nix::{
    libc,
    sys::wait::waitpid,
    unistd::{ForkResult, fork},
};

/// Keeps a program attached, and in the kernel, until it is dropped.
pub type Link = Box<dyn Send>;

/// All that keep programs attached.
///
/// Closing the last descriptor of one waits for grace periods of the kernel's, those of syscalls
/// for one after the other (`perf_trace_event_unreg` under `event_mutex`): a second together, and
/// longer on a busy machine. Nobody is to wait for that. So a child has them open too, until this
/// process has closed them. Then it ends, and does the waiting inside the kernel, on its way out
/// (`exit_files`).
pub struct Links(Vec<Link>);

impl Links {
    /// These.
    #[must_use]
    pub fn new(links: Vec<Link>) -> Self {
        Self(links)
    }

    /// And these.
    pub fn add(&mut self, links: Vec<Link>) {
        self.0.extend(links);
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        // Without a child these are the last, and this process waits.
        let Ok((closed, closing)) = pipe() else { return };
        // SAFETY: the child makes system calls alone, on descriptors that are open: it neither
        // allocates nor locks, and runs no destructor.
        match unsafe { fork() } {
            // SAFETY: system calls on numbers that are descriptors here, and a byte to read to.
            Ok(ForkResult::Child) => unsafe {
                libc::close(closing.as_raw_fd());
                // It comes to its end when this process has closed its own.
                let mut nothing = 0_u8;
                libc::read(closed.as_raw_fd(), (&raw mut nothing).cast(), 1);
                libc::_exit(0)
            },
            Ok(ForkResult::Parent { child }) => {
                self.0.clear();
                drop(closing);
                // Where this process lives on.
                let name = "sigready-detach".to_owned();
                let _ = thread::Builder::new().name(name).spawn(move || waitpid(child, None));
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read as _, pipe},
        os::fd::OwnedFd,
    };

    use super::*;

    #[test]
    fn what_they_keep_is_let_go_of() {
        let (mut reader, writer) = pipe().unwrap();
        drop(Links::new(vec![Box::new(File::from(OwnedFd::from(writer)))]));
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "nobody has the other end open");
    }
}
