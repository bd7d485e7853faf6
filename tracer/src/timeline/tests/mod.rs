//! The builder as a whole: facts in, timelines out.

mod agreement;
mod announced;
mod attribution;
mod bounds;
mod building;
mod choice;
mod counting;
mod effects;
mod fates;
mod jobs;
mod lives;
mod looks;
mod main_process;
mod one_story;
mod postures;
mod properties;
mod readiness;
mod reference;
mod replay;
mod runtimes;
mod states;
pub(super) mod story;
mod systemd;
