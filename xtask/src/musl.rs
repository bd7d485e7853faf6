//! Static programs from Rust alone: its own linker and its own musl.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// rustc's flags for a program that is linked with what Rust brings.
pub const STATIC: [&str; 3] =
    ["-Clinker=rust-lld", "-Clinker-flavor=ld.lld", "-Clink-self-contained=yes"];

/// Fetches the standard library for a target, unless it is here.
pub fn add(target: &str) -> Result<()> {
    process::run(Command::new("rustup").args(["target", "add", target]))
        .with_context(|| format!("the standard library for {target} is needed"))
}
