//! Why a command could not do its work, and the exit status that says so.

use std::{fmt::Display, io};

use sigready::session::BadRequest;

/// A failure.
#[derive(Debug)]
pub enum Fault {
    /// The tool, or the host, could not do it.
    Failed(anyhow::Error),
    /// What was asked for can't be: it names something that does not exist.
    Usage(String),
    /// Whoever read the output has gone; there is nobody to tell.
    Closed,
}

impl Fault {
    /// A [`Fault::Usage`] with this sentence.
    pub fn usage(sentence: impl Display) -> Self {
        Self::Usage(sentence.to_string())
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Closed => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl From<BadRequest> for Fault {
    fn from(request: BadRequest) -> Self {
        Self::usage(request)
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        if let Some(request) = error.downcast_ref::<BadRequest>() {
            return Self::usage(request);
        }
        let closed = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe);
        if closed { Self::Closed } else { Self::Failed(error) }
    }
}
