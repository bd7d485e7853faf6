//! The crates as a registry has them.

use anyhow::Result;

use super::Dist;
use crate::process;

/// Packs them, and builds each from what is packed alone.
pub fn check(dist: &Dist) -> Result<()> {
    process::run(dist.cargo().args([
        "package",
        "--locked",
        "--allow-dirty",
        "--package",
        "tracer-common",
        "--package",
        "sigready",
    ]))
}
