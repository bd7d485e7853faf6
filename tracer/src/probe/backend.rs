//! How dispositions and notify messages are seen.

/// The ways, better one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Through the kernel functions that every caller comes through.
    Fentry,
    /// Through the entry and exit tracepoints of the syscalls.
    Tracepoint,
}

impl Backend {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// What a process can do that it does not show.
    #[must_use]
    pub fn blind_to(self) -> &'static [&'static str] {
        match self {
            Self::Fentry => {
                &["notify messages over AF_VSOCK", "sends that a security module refuses"]
            }
            Self::Tracepoint => &[
                "notify messages over AF_VSOCK",
                "handlers, masks and messages of 32-bit programs",
                "messages sent through io_uring",
            ],
        }
    }
}

/// Which backend is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The best that this host allows, concern by concern.
    #[default]
    Auto,
    /// This one or none.
    Only(Backend),
}
