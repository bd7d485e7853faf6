//! The archive for hosts without a package manager: the program and its pages.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::Dist;
use crate::{process, workspace};

/// What is taken from the tree.
pub const FROM_TREE: [&str; 5] =
    ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "LICENSE-GPL"];

/// Makes it.
pub fn make(dist: &Dist, target: &str) -> Result<()> {
    let name = format!("sigready-{}-{target}", dist.version);
    let stage = dist.build.join("stage");
    let content = stage.join(&name);
    if stage.exists() {
        fs::remove_dir_all(&stage).context("cannot remove what was put together before")?;
    }
    fs::create_dir_all(&content)?;
    copy(&dist.program(target), &content.join("sigready"))?;
    for file in FROM_TREE {
        copy(&workspace::root().join(file), &content.join(file))?;
    }
    let licences = "LICENSES-THIRD-PARTY";
    copy(&dist.pages().join(licences), &content.join(licences))?;
    for directory in ["man", "completions"] {
        fs::create_dir_all(content.join(directory))?;
        for entry in fs::read_dir(dist.pages().join(directory))? {
            let entry = entry?;
            copy(&entry.path(), &content.join(directory).join(entry.file_name()))?;
        }
    }
    process::run(
        Command::new("tar")
            .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"])
            .args(["--mode=u=rwX,go=rX", "--use-compress-program=gzip -9n"])
            .arg(format!("--mtime=@{}", dist.time))
            .arg("--directory")
            .arg(&stage)
            .args(["--create", "--file"])
            .arg(dist.results.join(format!("{name}.tar.gz")))
            .arg(&name),
    )
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}
