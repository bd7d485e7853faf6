//! The builder as a whole: facts in, timelines out.

mod attribution;
mod counting;
mod fates;
mod postures;
mod properties;
mod readiness;
mod story;
mod systemd;
