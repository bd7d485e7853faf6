//! The program, static, for a platform.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use super::Dist;
use crate::{musl, process, workspace};

/// The most that the program may have, bytes.
const MOST: u64 = 6_000_000;

/// Flags for a small program. Functions with the same code are one, as Rust promises no address of
/// their own to them, and what is moved when the program is loaded takes a bit each. Where a panic is
/// the end, nothing reads tables for unwinding; with frame pointers a profiler finds its way without
/// them, and locals have shorter addresses.
const SMALL: [&str; 4] = [
    "-Clink-arg=--icf=all",
    "-Clink-arg=--pack-dyn-relocs=relr",
    "-Cforce-frame-pointers=yes",
    "-Cforce-unwind-tables=no",
];
/// What the command line and its commands are built with, beside the library: each event goes
/// through the library, and little through them.
const OF_COMMANDS: &str = "-Copt-level=z";

/// Builds it.
pub fn build(dist: &Dist, target: &str) -> Result<()> {
    musl::add(target)?;
    let mut flags = musl::STATIC.map(str::to_owned).to_vec();
    flags.extend(SMALL.map(str::to_owned));
    flags.push(format!("--remap-path-prefix={}=/sigready", workspace::root().display()));
    flags.push(format!("--remap-path-prefix={}=/cargo", cargo_home()?.display()));
    process::run(
        dist.cargo()
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .args(["rustc", "--locked", "--profile", "dist", "--target", target])
            .args(["--package", "sigready", "--bin", "sigready", "--", OF_COMMANDS]),
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
