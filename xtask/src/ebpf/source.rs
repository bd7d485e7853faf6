//! What the object is made from, as one hash.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::hex;
use crate::workspace;

/// Files and directories of the kernel side.
const SOURCES: [&str; 4] =
    ["tracer-ebpf/Cargo.toml", "tracer-ebpf/src", "tracer-common/Cargo.toml", "tracer-common/src"];
/// Hash of the sources: each file's path and content, in order of path, and the versions
/// of the crates in it.
pub fn hash() -> Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&workspace::root().join(source), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(workspace::root())?;
        hash.update(name.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
        hash.update([0]);
    }
    for line in locked_crates()? {
        hash.update(line);
    }
    Ok(hex(&hash.finalize()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// Name and version of the kernel side's dependencies, in order of name.
fn locked_crates() -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace::root().join("Cargo.lock"))
        .context("cannot read Cargo.lock")?;
    let lock: Lock = toml::from_str(&text).context("Cargo.lock is malformed")?;
    Ok(lock.closure("tracer-ebpf"))
}

/// Cargo.lock.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Each a name, with the version where the lock has several.
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Lock {
    /// What a package depends on, directly or not, its macros and build scripts included.
    fn closure(&self, root: &str) -> Vec<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![root];
        while let Some(wanted) = open.pop() {
            for package in self.package.iter().filter(|package| package.is(wanted)) {
                if reached.insert((&package.name, &package.version)) {
                    open.extend(package.dependencies.iter().map(String::as_str));
                }
            }
        }
        reached.into_iter().map(|(name, version)| format!("{name} {version}\n")).collect()
    }
}

impl Package {
    fn is(&self, dependency: &str) -> bool {
        let mut words = dependency.split(' ');
        words.next() == Some(self.name.as_str())
            && words.next().is_none_or(|version| version == self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_dependencies_belong_to_the_source() {
        let lock: Lock = toml::from_str(
            r#"
            [[package]]
            name = "top"
            version = "0.1.0"
            dependencies = ["direct", "twice 2.0.0"]
            [[package]]
            name = "direct"
            version = "1.0.0"
            dependencies = ["indirect", "top"]
            [[package]]
            name = "indirect"
            version = "1.1.0"
            [[package]]
            name = "twice"
            version = "1.0.0"
            [[package]]
            name = "twice"
            version = "2.0.0"
            [[package]]
            name = "unrelated"
            version = "3.0.0"
            "#,
        )
        .unwrap();
        assert_eq!(
            lock.closure("top"),
            ["direct 1.0.0\n", "indirect 1.1.0\n", "top 0.1.0\n", "twice 2.0.0\n"]
        );
    }
}
