//! Where things are in this workspace.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process;

/// The workspace's root.
pub fn root() -> &'static Path {
    // xtask lies directly below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where builds and caches go: as cargo has it, from the environment or its settings.
pub fn target() -> &'static Path {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    TARGET.get_or_init(|| target_from_cargo().unwrap_or_else(|| root().join("target")))
}

fn target_from_cargo() -> Option<PathBuf> {
    let text = process::output(
        // Where this command was started: CARGO_TARGET_DIR may be relative to it.
        Command::new(cargo_path())
            .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
            .arg(root().join("Cargo.toml")),
    )
    .ok()?;
    let metadata: Value = serde_json::from_str(&text).ok()?;
    Some(PathBuf::from(metadata["target_directory"].as_str()?))
}

/// Where the tests' C programs are kept, once they are compiled.
pub fn programs() -> Result<PathBuf> {
    let directory = target().join("programs");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// Builds sigready as users have it, and gives its path.
pub fn sigready() -> Result<PathBuf> {
    let build = ["build", "--release", "--locked", "--package", "sigready"];
    process::run(cargo().args(build))?;
    Ok(target().join("release/sigready"))
}

/// The cargo that runs this, in the workspace's root.
pub fn cargo() -> Command {
    cargo_at(&cargo_path())
}

/// A certain cargo, in the workspace's root.
pub fn cargo_at(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.current_dir(root()).env("CARGO_TARGET_DIR", target());
    command
}

/// Where the cargo that runs this is.
pub fn cargo_path() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}
