//! The tests of the program as a whole, and of the library where it meets the kernel.
//!
//! They are one program, so that they are linked once. Most of them need root, eBPF or
//! real systemd in a container; those are marked `#[ignore]` and run by `cargo xtask test`.

mod architecture;
mod backends;
mod bad_input;
mod browser;
mod bus_names;
mod consequences;
mod container_roots;
mod daemons;
mod debian;
mod facts;
mod failed_reloads;
mod foreign_systemds;
mod interrupted;
mod languages;
mod late;
mod lint;
mod live;
mod main_process;
mod messages;
mod package;
mod patroni;
mod printed;
mod printed_systemctl;
mod privileges;
mod protocol;
mod race;
mod raw_names;
mod reload_signals;
mod restart;
mod run_environment;
mod runtimes;
mod sandboxed;
mod senders;
mod signals;
mod silent_paths;
mod stalls;
mod start_limit;
mod support;
mod terminal;
mod unanswered;
mod units;
mod usage;
mod user_units;
mod verifier;
