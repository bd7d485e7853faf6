//! The licences of what is linked in, in full, as they ask to be passed on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{Dist, TARGETS};
use crate::process;

/// How the names of files with licences begin.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// What cargo says of a workspace.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Null for what is linked in.
    kind: Option<String>,
}

/// Writes `LICENSES-THIRD-PARTY`.
pub fn write(dist: &Dist) -> Result<()> {
    let mut command = dist.cargo();
    command.args(["metadata", "--locked", "--format-version", "1"]);
    for target in TARGETS {
        command.args(["--filter-platform", target]);
    }
    let metadata: Metadata = serde_json::from_str(&process::output(&mut command)?)
        .context("what cargo says of the workspace is malformed")?;
    let linked = metadata.linked();
    let mut text =
        "What sigready is made from besides its own source, and under which licences.\n".to_owned();
    // Many crates have the same text.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata.packages.iter().filter(|package| linked.contains(&package.id)) {
        let licence = package.license.as_deref().unwrap_or("see below");
        writeln!(text, "  {} {}: {licence}", package.name, package.version)?;
        for file in licences(package)? {
            let content = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            texts
                .entry(content.trim().to_owned())
                .or_default()
                .push(format!("{} {}", package.name, package.version));
        }
    }
    for (licence, mut packages) in texts {
        packages.dedup();
        write!(text, "\n{}\n{}:\n\n{licence}\n", "-".repeat(80), packages.join(", "))?;
    }
    fs::write(dist.pages().join("LICENSES-THIRD-PARTY"), text)
        .context("cannot write the licences of third parties")
}

impl Metadata {
    /// What sigready links in, by id, from outside of the workspace.
    fn linked(&self) -> BTreeSet<String> {
        let own = self.packages.iter().filter(|package| package.source.is_none());
        let mut open: Vec<&str> = own
            .filter(|package| package.name == "sigready")
            .map(|package| package.id.as_str())
            .collect();
        let mut reached = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !reached.insert(id.to_owned()) {
                continue;
            }
            let dependencies = self.resolve.nodes.iter().filter(|node| node.id == id);
            let linked = dependencies
                .flat_map(|node| &node.deps)
                .filter(|dependency| dependency.dep_kinds.iter().any(|it| it.kind.is_none()));
            open.extend(linked.map(|dependency| dependency.pkg.as_str()));
        }
        let is_own = |id: &String| {
            self.packages.iter().any(|package| package.id == *id && package.source.is_none())
        };
        reached.retain(|id| !is_own(id));
        reached
    }
}

/// The files with a crate's licences, in order of name.
fn licences(package: &Package) -> Result<Vec<PathBuf>> {
    let directory = package.manifest_path.parent().unwrap_or(Path::new("/"));
    let mut found = Vec::new();
    for entry in
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && NAMES.iter().any(|beginning| name.starts_with(beginning)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
