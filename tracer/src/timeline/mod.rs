//! From observations to one timeline per service start. Pure: what goes in are
//! facts with their times, what comes out is the document.
//!
//! [`builder`] puts the observations in order of time, [`attribution`] finds the
//! service and the start each belongs to, and [`start`] folds it into the state of that
//! start, whose size is bounded: what its processes do on signals ([`signals`]), what becomes
//! of signals ([`fate`]) and of the service after reloads ([`effect`]), and events for people ([`events`]). [`activation`] tells the
//! timeline from that.

mod activation;
mod admission;
mod attribution;
mod builder;
mod choice;
mod counting;
pub mod effect;
mod events;
mod executor;
mod exposure;
mod fate;
mod masks;
pub mod notify;
mod origin;
mod processes;
mod runtimes;
pub mod scope;
mod setup;
mod signals;
mod start;
mod window;

pub use self::{
    builder::{Builder, News, Progress},
    choice::MainPattern,
    counting::{Counting, counted},
    executor::is_executor,
    scope::{Scope, Selector},
    setup::Setup,
};

#[cfg(test)]
mod tests;
