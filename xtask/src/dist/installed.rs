//! The packages as users install them: on fresh systems, over the version before, and removed
//! again. No root is changed: each system is thrown away.

mod container;
mod rpm;

use std::{env, path::PathBuf};

use anyhow::Result;

use super::{Dist, packages};
use crate::{process, root};

/// A package, and the same as a lower version.
struct Pair {
    before: PathBuf,
    now: PathBuf,
}

impl Pair {
    /// The pair of those with a certain end of their names.
    fn find(dist: &Dist, between: &str, end: &str) -> Result<Self> {
        let beginning = |version: &str| format!("sigready{between}{version}-");
        Ok(Self {
            before: packages::find(&lower(dist), &beginning(packages::LOWER), end)?,
            now: packages::find(&dist.results, &beginning(&dist.version), end)?,
        })
    }
}

/// Where the packages of the version before are.
fn lower(dist: &Dist) -> PathBuf {
    dist.build.join("lower")
}

/// Fails early where it can't be checked.
pub fn prepare() -> Result<()> {
    process::need_root("installing the packages in containers")?;
    container::prepare()?;
    rpm::prepare()
}

/// Installs what was made for the platforms.
pub fn check(dist: &Dist, targets: &[&str]) -> Result<()> {
    super::renew(&lower(dist))?;
    for target in targets {
        packages::make_lower(dist, target, &lower(dist))?;
        let processor = target.split('-').next().unwrap_or_default();
        rpm::check(dist, processor, &Pair::find(dist, "-", &format!("1.{processor}.rpm"))?)?;
        // A system of another processor's would have to be emulated, and can't be traced so.
        if processor == env::consts::ARCH {
            let debs = Pair::find(dist, "_", &format!("1_{}.deb", debian(processor)))?;
            for recipe in root::ALL {
                container::check(dist, &root::prepare(recipe)?, &debs)?;
            }
        }
    }
    Ok(())
}

/// Debian's name of a processor.
fn debian(processor: &str) -> &str {
    match processor {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
