//! Commands of cargo's that are built from the registry, at a release that is written down.

use std::process::Command;

use anyhow::Result;

use crate::{process, workspace};

/// Installs one, unless this release of it is there. `options` are of `cargo install`.
pub fn install(name: &str, version: &str, options: &[&str]) -> Result<()> {
    let command = name.strip_prefix("cargo-").unwrap_or(name);
    let is_there = process::output(workspace::cargo().args([command, "--version"]));
    // Some say their name before it, in one way or another.
    if is_there.is_ok_and(|it| it.split(' ').next_back() == Some(version)) {
        return Ok(());
    }
    eprintln!("building {name} {version}: this takes some minutes, once");
    process::run(
        Command::new(workspace::cargo_path())
            // Away from this workspace's cargo settings.
            .current_dir("/")
            .args(["install", name, "--version", version, "--locked"])
            .args(options),
    )
}
