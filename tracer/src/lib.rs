//! sigready: was the service ready for its signals?
//!
//! Data flows one way: [`probe`] attaches eBPF programs and turns their records
//! into observations, [`timeline`] builds one timeline per service start from
//! them, [`rules`] judges it, and [`report`] prints or exports it. `timeline`
//! and `rules` are pure: no clock, no file, no kernel.

pub mod explain;
pub mod host;
pub mod lint;
pub mod model;
pub mod observation;
pub mod probe;
pub mod race;
pub mod report;
pub mod rules;
pub mod session;
pub mod systemd;
pub mod timeline;
