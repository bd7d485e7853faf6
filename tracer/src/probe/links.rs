//! What keeps programs attached, and how the kernel is made to let go of them.

use std::thread;

use nix::{
    libc,
    sched::{CloneFlags, clone},
    sys::wait::waitpid,
};

/// Keeps a program attached, and in the kernel, until it is dropped.
pub type Link = Box<dyn Send>;

/// Bytes of stack that a child needs which does nothing: the C library's wrapper runs on it.
const STACK: usize = 16 * 1024;

/// All that keep programs attached.
///
/// Closing the last descriptor of one waits for grace periods of the kernel's, those of syscalls
/// for one after the other (`perf_trace_event_unreg` under `event_mutex`): a second together, and
/// longer on a busy machine. Nobody is to wait for that. So a child that has them open too ends
/// at once, and does the waiting inside the kernel, on its way out (`exit_files`).
pub struct Links(Vec<Link>);

impl Links {
    /// These.
    #[must_use]
    pub fn new(links: Vec<Link>) -> Self {
        Self(links)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let mut stack = vec![0; STACK];
        let child = {
            let nothing = Box::new(|| 0);
            let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
            // SAFETY: the child shares the memory, for which this thread waits (`CLONE_VFORK`),
            // and it returns at once: it calls nothing but `_exit`. The descriptors it has are
            // copies, which it doesn't touch.
            unsafe { clone(nothing, &mut stack, flags, Some(libc::SIGCHLD)) }
        };
        // Without a child these are the last, and this process waits. Else they are closed
        // without waiting, and the child is to be waited for where this process lives on.
        self.0.clear();
        if let Ok(child) = child {
            let name = "sigready-detach".to_owned();
            let _ = thread::Builder::new().name(name).spawn(move || waitpid(child, None));
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
