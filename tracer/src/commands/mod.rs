//! What the commands do.

pub mod explain;
