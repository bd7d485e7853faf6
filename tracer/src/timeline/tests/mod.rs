//! The builder as a whole: facts in, timelines out.

mod attribution;
mod fates;
mod postures;
mod readiness;
mod story;
