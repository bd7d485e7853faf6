//! `cargo xtask ebpf`: the committed eBPF object and where it came from.
//!
//! The object lies beside its source, so that building sigready needs nothing but
//! stable Rust. Its provenance says which sources and which toolchain made it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{process, toolchain::Toolchain, workspace};

/// Options of the command.
#[derive(Args)]
pub struct Options {
    /// Build nothing new: fail if the committed object is stale or other bytes than its
    /// source gives.
    #[arg(long)]
    pub check: bool,
}

/// What the object is made from.
const SOURCES: [&str; 4] =
    ["tracer-ebpf/Cargo.toml", "tracer-ebpf/src", "tracer-common/Cargo.toml", "tracer-common/src"];
/// Crates that end up in it.
const CRATES: [&str; 7] = [
    "aya-ebpf",
    "aya-ebpf-bindings",
    "aya-ebpf-cty",
    "aya-ebpf-macros",
    "aya-log-common",
    "aya-log-ebpf",
    "bytemuck",
];

/// Where an object came from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Provenance {
    /// SHA-256 of the sources: see `source_hash`.
    source: String,
    /// SHA-256 of the object.
    object: String,
    /// First line of `rustc -vV`.
    rustc: String,
    /// Its LLVM.
    llvm: u32,
    /// `bpf-linker --version`
    linker: String,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    if options.check { check() } else { rebuild() }
}

fn object_path() -> PathBuf {
    workspace::root().join("tracer-ebpf/object/sigready.bpf.o")
}

fn provenance_path() -> PathBuf {
    workspace::root().join("tracer-ebpf/object/provenance.toml")
}

fn build_directory() -> PathBuf {
    workspace::target().join("ebpf")
}

fn rebuild() -> Result<()> {
    let toolchain = Toolchain::prepare()?;
    let built = toolchain.build(&build_directory())?;
    fs::create_dir_all(workspace::root().join("tracer-ebpf/object"))?;
    fs::copy(&built, object_path()).context("cannot write the object")?;
    let provenance = Provenance {
        source: source_hash()?,
        object: file_hash(&object_path())?,
        rustc: first_line(&toolchain.rustc),
        llvm: toolchain.llvm,
        linker: toolchain.linker,
    };
    let text = format!(
        "# What made sigready.bpf.o. Written by `cargo xtask ebpf`.\n{}",
        toml::to_string(&provenance)?
    );
    fs::write(provenance_path(), text).context("cannot write the provenance")?;
    let length = fs::metadata(object_path())?.len();
    eprintln!("wrote {} ({length} bytes)", object_path().display());
    Ok(())
}

fn check() -> Result<()> {
    let text = fs::read_to_string(provenance_path())
        .context("there is no committed object: run 'cargo xtask ebpf'")?;
    let recorded: Provenance = toml::from_str(&text).context("the provenance is malformed")?;
    if file_hash(&object_path())? != recorded.object {
        bail!(
            "the committed object is not the one its provenance speaks of: run 'cargo xtask ebpf'"
        );
    }
    if source_hash()? != recorded.source {
        bail!("the committed object is stale: run 'cargo xtask ebpf' and commit the result");
    }
    if !process::is_root() && !Path::new("/usr/bin/rustc").exists() {
        warn_unchecked("its toolchain is not here, and installing it needs root");
        return Ok(());
    }
    let toolchain = Toolchain::prepare()?;
    let here = (first_line(&toolchain.rustc), toolchain.llvm, toolchain.linker.clone());
    if here != (recorded.rustc.clone(), recorded.llvm, recorded.linker.clone()) {
        warn_unchecked(&format!(
            "it was made by {} with {}, and here are {} with {}",
            recorded.rustc, recorded.linker, here.0, here.2
        ));
        return Ok(());
    }
    let built = toolchain.build(&build_directory())?;
    if file_hash(&built)? != recorded.object {
        bail!(
            "the committed object has other bytes than its source gives with the recorded \
             toolchain ({}): run 'cargo xtask ebpf' and commit the result",
            built.display()
        );
    }
    eprintln!("the committed object is what its source and the recorded toolchain give");
    Ok(())
}

/// The bytes could not be compared. The source hash has been.
fn warn_unchecked(why: &str) {
    eprintln!("WARNING: the object's bytes were not compared: {why}.");
    eprintln!("WARNING: only that it belongs to this source was checked.");
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Hash of the sources: each file's path and content, in order of path, and the versions
/// of the crates in it.
fn source_hash() -> Result<String> {
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

/// Name and version of the crates in the object, from Cargo.lock.
fn locked_crates() -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let text = fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    let lock: Lock = toml::from_str(&text).context("Cargo.lock is malformed")?;
    let known = |package: &&Package| CRATES.contains(&package.name.as_str());
    let found: Vec<String> = lock
        .package
        .iter()
        .filter(known)
        .map(|package| format!("{} {}\n", package.name, package.version))
        .collect();
    if found.len() != CRATES.len() {
        bail!("Cargo.lock has {} of the {} crates of the object", found.len(), CRATES.len());
    }
    Ok(found)
}

fn file_hash(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
