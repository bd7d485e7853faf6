//! The builder as a whole: facts in, timelines out.

mod agreement;
mod attribution;
mod bounds;
mod counting;
mod fates;
mod lives;
mod main_process;
mod postures;
mod properties;
mod readiness;
mod reference;
mod replay;
mod runtimes;
mod story;
mod systemd;
