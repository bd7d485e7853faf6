//! What the reload signal would have done, along a start.

use super::{paint::Ink, span::Span};
use crate::model::document::{Activation, ExposureKind};

/// What it would have done at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    Unseen,
    Safe,
    Unknown,
    NotReady,
    Pending,
    Lost,
    Fatal,
}

impl Harm {
    /// In the order in which they are drawn: what does more harm covers what does less.
    pub const ALL: [Self; 7] = [
        Self::Unseen,
        Self::Safe,
        Self::Unknown,
        Self::NotReady,
        Self::Pending,
        Self::Lost,
        Self::Fatal,
    ];

    /// Good or bad.
    pub fn ink(self) -> Ink {
        match self {
            Self::Unseen => Ink::Faint,
            Self::Safe => Ink::Good,
            Self::Unknown | Self::NotReady | Self::Pending | Self::Lost => Ink::Warning,
            Self::Fatal => Ink::Error,
        }
    }

    /// What it is called; of a service that is ready once it says READY=1, or by its bus name.
    pub fn legend(self, by_name: bool) -> &'static str {
        match self {
            Self::NotReady if by_name => "come before its bus name",
            Self::Unseen => "not seen",
            Self::Safe => "be taken",
            Self::Unknown => "be taken or kill: can't be told",
            Self::NotReady => "come before READY=1",
            Self::Pending => "wait: blocked",
            Self::Lost => "be lost",
            Self::Fatal => "kill",
        }
    }
}

/// A part of a start with one harm, from and to on its timeline.
pub type Part = (Harm, i64, i64);

/// The parts of a start, in the order in which they are drawn over each other.
pub fn parts(activation: &Activation, span: &Span) -> Vec<Part> {
    let mut parts = Vec::new();
    if span.seen > span.from {
        parts.push((Harm::Unseen, span.from, span.seen));
    }
    // Where no main process was, nothing took the signal.
    let at_rest = if activation.main_process.is_some() { Harm::Safe } else { Harm::Unseen };
    parts.push((at_rest, span.seen, span.to));
    for (kind, harm) in [
        (ExposureKind::Unknown, Harm::Unknown),
        (ExposureKind::NotReady, Harm::NotReady),
        (ExposureKind::Pending, Harm::Pending),
        (ExposureKind::Lost, Harm::Lost),
        (ExposureKind::Fatal, Harm::Fatal),
    ] {
        let exposures = activation.exposure.iter().filter(|exposure| exposure.kind == kind);
        parts.extend(exposures.map(|it| (harm, it.from_ns, it.to_ns.max(it.from_ns))));
    }
    parts
}
