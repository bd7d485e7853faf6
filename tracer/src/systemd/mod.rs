//! What systemd knows of its units: the one module that speaks D-Bus and reads unit
//! files. It gives observations like those of the kernel side, for the timeline.

pub mod bus;
pub mod commands;
mod limits;
pub mod manager;
pub mod opener;
pub mod ownership;
mod private;
pub mod properties;
pub mod reload;
pub mod root;
mod service_states;
pub mod thread;
pub mod unit;
pub mod unit_files;
pub mod user;
pub mod watch;
