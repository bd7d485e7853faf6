//! The Debian package and the RPM: tracer/Cargo.toml says what is in them.

use anyhow::Result;

use super::Dist;
use crate::{process, tool::install};

/// The release of cargo-deb.
const DEB: &str = "3.8.0";
/// The release of cargo-generate-rpm.
const RPM: &str = "0.21.1";

/// Makes both from the program that was built.
pub fn make(dist: &Dist, target: &str) -> Result<()> {
    install("cargo-deb", DEB, &["--debug"])?;
    install("cargo-generate-rpm", RPM, &["--debug"])?;
    process::run(
        dist.cargo()
            .args(["deb", "--package", "sigready", "--locked", "--no-build", "--no-strip"])
            .args(["--profile", "dist", "--target", target, "--output"])
            .arg(&dist.results),
    )?;
    process::run(
        dist.cargo()
            .args(["generate-rpm", "--package", "tracer", "--profile", "dist"])
            .args(["--target", target, "--auto-req", "disabled", "--source-date", &dist.time])
            .arg("--target-dir")
            .arg(&dist.build)
            .arg("--output")
            .arg(&dist.results),
    )
}
