//! What the host says of itself without eBPF and without systemd: its clocks, its cgroups,
//! its processes; and what there is to be careful about with files.

pub mod beside;
pub mod bounded;
pub mod cgroups;
pub mod clock;
pub mod contained;
pub mod descendants;
pub mod memory;
pub mod mounts;
pub mod named;
pub mod namespaces;
pub mod opener;
pub mod own_signals;
pub mod priority;
pub mod procfs;
pub mod program;
pub mod read;
pub mod sender;
pub mod temporary;
pub mod terminal;
