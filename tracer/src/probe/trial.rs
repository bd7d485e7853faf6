//! Whether a hooked kernel function is called at all: found by calling it.
//!
//! A compiler may build a function into its callers and still leave it in place for
//! others. A hook on it then loads, and never sees a thing.

use std::{
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
    ptr,
};

use anyhow::{Context as _, Result};
use aya::{Ebpf, maps::Array};
use nix::{
    libc,
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction},
        signalfd::SignalFd,
        socket::{MsgFlags, UnixAddr, sendmsg},
    },
};
use tracer_common::config::Call;

/// Comes through the function once, in a way that changes nothing, and looks whether the
/// kernel side has noticed.
pub fn is_called(ebpf: &Ebpf, call: Call) -> Result<bool> {
    let map = ebpf.map("CALLED").context("the eBPF object has no map 'CALLED'")?;
    let called: Array<_, u32> = Array::try_from(map)?;
    make(call);
    Ok(called.get(&(call as u32), 0).context("cannot read the map 'CALLED'")? > 0)
}

/// Where no socket can be.
const NOBODY: &str = "/proc/self/nobody";

/// Makes the system call that a service would make. What it returns doesn't matter.
fn make(call: Call) {
    match call {
        Call::Sigaction => {
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: no handler is installed. Nothing here handles SIGWINCH.
            let _ = unsafe { sigaction(Signal::SIGWINCH, &default) };
        }
        Call::Sigprocmask => {
            let _ = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        }
        Call::Signalfd => {
            let _ = SignalFd::new(&SigSet::empty());
        }
        Call::Sigtimedwait => {
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: the set and the time are valid, and the information is not asked for.
            unsafe {
                libc::sigtimedwait(SigSet::empty().as_ref(), ptr::null_mut(), &raw const at_once)
            };
        }
        // An empty datagram to nobody: the kernel refuses it.
        Call::Send | Call::Sendto => {
            if let Ok(socket) = UnixDatagram::unbound() {
                let _ = socket.send_to(b"", NOBODY);
            }
        }
        Call::Sendmsg => {
            if let (Ok(socket), Ok(nobody)) = (UnixDatagram::unbound(), UnixAddr::new(NOBODY)) {
                let (none, flags) = (&[], MsgFlags::empty());
                let _ = sendmsg(socket.as_raw_fd(), none, &[], flags, Some(&nobody));
            }
        }
        Call::Connect => {
            if let Ok(socket) = UnixDatagram::unbound() {
                let _ = socket.connect(NOBODY);
            }
        }
    }
}
