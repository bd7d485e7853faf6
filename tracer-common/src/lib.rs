//! What the kernel side and the user side of sigready say to each other.
//!
//! [`event`] holds the records that travel up through the ring buffer,
//! [`config`] what the loader tells the kernel side before it attaches, [`pairs`] the
//! hooks with two programs, [`place`] where a signal is to be placed, and [`signal`] the
//! signal sets both use. Every type is plain data with no padding, so that either side reads
//! exactly the bytes the other wrote.
#![no_std]

pub mod config;
pub mod event;
pub mod pairs;
pub mod place;
pub mod signal;
