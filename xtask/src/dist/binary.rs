//! The program, static, for a platform.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use super::Dist;
use crate::{musl, process, workspace};

/// The most that the program may have, bytes.
const MOST: u64 = 8 * 1024 * 1024;

/// Builds it.
pub fn build(dist: &Dist, target: &str) -> Result<()> {
    musl::add(target)?;
    let mut flags = musl::STATIC.map(str::to_owned).to_vec();
    flags.push(format!("--remap-path-prefix={}=/sigready", workspace::root().display()));
    flags.push(format!("--remap-path-prefix={}=/cargo", cargo_home()?.display()));
    process::run(
        dist.cargo()
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .args(["build", "--locked", "--profile", "dist", "--target", target])
            .args(["--package", "sigready", "--bin", "sigready"]),
    )?;
    let length = fs::metadata(dist.program(target)).context("cargo built no program")?.len();
    if length > MOST {
        bail!("sigready for {target} has {length} bytes, more than {MOST}");
    }
    eprintln!("sigready for {target} has {length} bytes");
    Ok(())
}

/// Where cargo keeps the sources of crates.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}
