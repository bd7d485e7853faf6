//! The only part that knows eBPF: it loads and attaches the kernel side, and turns
//! its records, and what /proc says of processes older than the capture, into
//! observations.

pub mod attach;
pub mod btf;
pub mod cgroups;
pub mod clock;
pub mod decode;
pub mod layout;
pub mod procfs;
pub mod scope;
pub mod stream;
pub mod tracefs;

/// How dispositions and notify messages are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Through the entry and exit tracepoints of the syscalls.
    Tracepoint,
}

impl Backend {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tracepoint => "tracepoint",
        }
    }
}
