//! The only part that knows eBPF: it loads and attaches the kernel side, and turns
//! its records, and what /proc says of processes older than the capture, into
//! observations.

pub mod attach;
pub mod backend;
pub mod btf;
pub mod decode;
mod grace_period;
pub mod hooks;
pub mod layout;
mod links;
pub mod lockdown;
mod lookups;
mod losses;
mod messages;
mod object;
pub mod place;
pub mod refusal;
pub mod scope;
pub mod stream;
pub mod tracefs;
mod trial;
mod verify;
