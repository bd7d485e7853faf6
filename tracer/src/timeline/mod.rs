//! From observations to one timeline per service start. Pure: what goes in are
//! facts with their times, what comes out is the document.
//!
//! [`builder`] puts the observations in order of time, [`attribution`] finds the
//! service and the activation each belongs to, and [`activation`] turns what was
//! collected for one activation into its timeline: events, what became of signals
//! ([`fate`]), milestones and exposure.

pub mod activation;
pub mod admission;
pub mod attribution;
pub mod builder;
pub mod collected;
pub mod counting;
pub mod exposure;
pub mod fate;
pub mod masks;
pub mod notify;
pub mod posture;
pub mod processes;
pub mod runtimes;
pub mod scope;

pub use self::{
    builder::{Anchor, Builder, FreshMain, Progress, Setup},
    counting::Counting,
    scope::{Scope, Selector},
};

#[cfg(test)]
mod tests;
